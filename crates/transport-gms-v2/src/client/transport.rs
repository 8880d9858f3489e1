//! Owns the transport: its builder, and one attempt to start, join or resume.

use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    Capabilities, Capability, ConnectError, ConnectRequest, Connection, Error, Intent, Result, SavedSession,
    Secret, Transport, TransportId,
};
use chat_net::{Net, NetConfig};

use super::{
    TRANSPORT_ID,
    capabilities::capabilities,
    chat::{Chat, Mode},
    cometd::{self, Hub, NotOpen},
    polling,
    service::Service,
};
use crate::config::{CometdConfig, GmsConfig, Timings};

/// Genesys GMS as a chat transport. A clone is cheap; one serves any number of chats.
///
/// ```
/// use transport_gms_v2::GmsTransport;
///
/// let transport = GmsTransport::builder()
///     .data_url("https://gms.example/genesys/2/chat/customer-support")
///     .apikey("…")
///     .build()?;
/// # Ok::<(), chat_core::Error>(())
/// ```
///
/// `Join` and `Resume` take the vendor's session data, `{secureKey, sessionID, alias, userId}`; `position`, `epoch`, `mode` and
/// the like are this library's own, and may be missing.
///
/// # A start whose answer is lost
/// GMS cannot tell a repeated start from another one, so no start is repeated by itself once it may have arrived: the error says
/// [`Delivery::Unknown`](chat_core::Delivery::Unknown) and [`Retry::Never`](chat_core::Retry::Never). A chat that did begin hears
/// nothing of its customer and is closed by the service after 45 s ([`Timings::disconnect_budget`]). An
/// [`initial_message`](chat_core::StartRequest::initial_message) belongs to the start: if it cannot be sent, the chat is ended
/// again and the start has failed.
#[derive(Debug, Clone)]
pub struct GmsTransport(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: GmsConfig,
    pub(crate) service: Service,
    /// Unless chats are polled alone.
    pub(crate) cometd: Option<Hub>,
}

/// Builds a [`GmsTransport`].
#[derive(Debug, Default)]
#[must_use]
pub struct GmsBuilder {
    config: GmsConfig,
    net: Option<Net>,
}

impl GmsBuilder {
    /// Takes a whole configuration, replacing what was set before.
    pub fn config(mut self, config: GmsConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the whole chat URL, service name included.
    pub fn data_url(mut self, url: impl Into<String>) -> Self {
        self.config.data_url = Some(url.into());
        self
    }

    /// Pushes over CometD instead of polling.
    pub fn cometd(mut self, cometd: CometdConfig) -> Self {
        self.config.cometd = Some(cometd);
        self
    }

    /// Allows `http` to other machines than this one.
    pub fn allow_plain_text(mut self, on: bool) -> Self {
        self.config.allow_plain_text = on;
        self
    }

    /// Sends an API key.
    pub fn apikey(mut self, key: impl Into<Secret>) -> Self {
        self.config.apikey = Some(key.into());
        self
    }

    /// Sends `Authorization`.
    pub fn authorization(mut self, value: impl Into<Secret>) -> Self {
        self.config.authorization = Some(value.into());
        self
    }

    /// Sends a further header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.config.headers.insert(name.into(), value.into());
        self
    }

    /// Sets a user datum of every chat.
    pub fn user_datum(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.user_data.insert(key.into(), value.into());
        self
    }

    /// Sends a token with each message, which its echo brings back.
    pub fn correlation_token(mut self, on: bool) -> Self {
        self.config.correlation_token = on;
        self
    }

    /// Sends read receipts.
    pub fn read_receipts(mut self, on: bool) -> Self {
        self.config.read_receipts = on;
        self
    }

    /// Sets the times.
    pub fn timings(mut self, timings: Timings) -> Self {
        self.config.timings = timings;
        self
    }

    /// Shares a network with other transports; by default one is made. The network's own policy decides about plain text then.
    pub fn net(mut self, net: Net) -> Self {
        self.net = Some(net);
        self
    }

    /// Checks everything. No I/O.
    ///
    /// # Errors
    /// `Config`, with the reason.
    pub fn build(self) -> Result<GmsTransport> {
        let Self { config, net } = self;
        config.check()?;
        let net = match net {
            Some(net) => net,
            None => Net::new(&NetConfig::default().policy(config.policy()))?,
        };
        let cometd = Hub::new(&config, &net)?;
        let service = Service::new(&config, net)?;
        Ok(GmsTransport(Arc::new(Inner { config, service, cometd })))
    }
}

impl GmsTransport {
    /// Starts building one.
    pub fn builder() -> GmsBuilder {
        GmsBuilder::default()
    }
}

#[async_trait]
impl Transport for GmsTransport {
    fn id(&self) -> TransportId {
        TRANSPORT_ID
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.0.config, self.0.mode(None))
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let ConnectRequest { intent, tap, .. } = request;
        let inner = &self.0;
        match intent {
            Intent::Start(start) => {
                if inner.mode(None) == Mode::Cometd {
                    match cometd::start(inner, &start, tap).await {
                        Err(NotOpen::GivenUp(error)) => falls_back(&error),
                        opened => return Ok(opened.map_err(NotOpen::into_error)?),
                    }
                }
                Ok(polling::start(inner, &start, tap).await?)
            }
            Intent::Join(saved) | Intent::Resume(saved) => {
                if inner.mode(Mode::of(&saved)) == Mode::Cometd {
                    let chat = Chat::resumed(&saved, Mode::Cometd, &inner.config)?;
                    match cometd::resume(inner, chat, tap).await {
                        Err(NotOpen::GivenUp(error)) => falls_back(&error),
                        opened => return Ok(opened.map_err(NotOpen::into_error)?),
                    }
                }
                let chat = Chat::resumed(&saved, Mode::Polling, &inner.config)?;
                let chat_id = chat.followed.identity().chat_id.clone();
                let connection = polling::resume(inner, chat, tap).await?;
                if let (Some(hub), Some(chat_id)) = (&inner.cometd, chat_id) {
                    hub.forget(&chat_id);
                }
                Ok(connection)
            }
            _ => Err(Error::unsupported(Capability::Join, TRANSPORT_ID).into()),
        }
    }

    /// Asks for nothing: nobody sees it.
    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        match self.0.config.data_url {
            Some(_) => polling::verify(&self.0, Chat::resumed(saved, Mode::Polling, &self.0.config)?).await,
            None => cometd::verify(&self.0, &Chat::resumed(saved, Mode::Cometd, &self.0.config)?).await,
        }
    }
}

impl Inner {
    /// How a chat is followed that was followed like this before.
    fn mode(&self, before: Option<Mode>) -> Mode {
        match (&self.config.cometd, before) {
            (None, _) => Mode::Polling,
            (Some(_), Some(mode)) => mode,
            (Some(_), None) => Mode::Cometd,
        }
    }
}

fn falls_back(error: &Error) {
    tracing::warn!(%error, "CometD has failed too often: the chat is polled");
}
