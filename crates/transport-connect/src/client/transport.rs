//! Owns the transport: its builder, and one attempt to start, join or resume.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chat_core::{
    Capabilities, Capability, ClientToken, ConnectError, ConnectRequest, Connection, Delivery, Error,
    ErrorKind, Intent, Result, Retry, SavedSession, Secret, StartRequest, Transport, TransportId,
    event_channel,
};
use chat_net::{
    HostPolicy, Net, NetConfig,
    ws::{DialRequest, WsStream},
};
use tokio::time::{Instant, timeout};

use super::{
    TRANSPORT_ID,
    details::{Details, capabilities},
    driver::{Driver, Shared},
    files::Uploads,
    handle::Handle,
    service::{Credentials, Service, life, text},
    start::{self, MapAnswer},
    tap::{Tap, Tapped},
};
use crate::{
    config::{ConnectConfig, ParticipantKind, StartChat, Timings},
    error::{ended, is_denied_by_service, unexpected},
    machine::SocketMachine,
    map::Chat,
    wire::participant::{
        ConnectionType, CreateParticipantConnectionAnswer, GetTranscriptAnswer, GetTranscriptRequest,
        TRANSCRIPT_PATH,
    },
};

/// Amazon Connect as a chat transport. A clone is cheap; one serves any number of chats.
///
/// ```
/// use transport_connect::{ConnectTransport, StartChat};
///
/// let transport = ConnectTransport::builder()
///     .region("eu-central-1")
///     .start_chat(StartChat::new("https://shop.example/start-chat").with_header("x-api-key", "…"))
///     .build()?;
/// # Ok::<(), chat_core::Error>(())
/// ```
///
/// `Join` and `Resume` take `{contactId, participantId, participantToken, initialContactId?}`, in either casing.
#[derive(Debug, Clone)]
pub struct ConnectTransport(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: ConnectConfig,
    map: Option<MapAnswer>,
    pub(super) service: Arc<Service>,
    pub(super) uploads: Arc<Uploads>,
    /// Chats that were started, by their key: a repeated start is the same start.
    started: Mutex<VecDeque<(ClientToken, Details)>>,
}

/// How many started chats are remembered.
const REMEMBERED: usize = 256;

/// Builds a [`ConnectTransport`].
#[derive(Debug, Default)]
#[must_use]
pub struct ConnectBuilder {
    config: ConnectConfig,
    map: Option<MapAnswer>,
    net: Option<Net>,
}

impl ConnectBuilder {
    /// Takes a whole configuration, replacing what was set before.
    pub fn config(mut self, config: ConnectConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the AWS region of the instance.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.config.region = Some(region.into());
        self
    }

    /// Sets the base URL of the Participant Service, instead of the region's.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.config.endpoint = Some(url.into());
        self
    }

    /// Sets how chats are started.
    pub fn start_chat(mut self, start: StartChat) -> Self {
        self.config.start_chat = Some(start);
        self
    }

    /// Reads the start-chat endpoint's answer with a function of your own first.
    pub fn map_start_answer(mut self, map: MapAnswer) -> Self {
        self.map = Some(map);
        self
    }

    /// Sets which kind of participant uses it.
    pub fn participant(mut self, kind: ParticipantKind) -> Self {
        self.config.participant = kind;
        self
    }

    /// Uses FIPS endpoints.
    pub fn fips(mut self, on: bool) -> Self {
        self.config.fips = on;
        self
    }

    /// Uses endpoints that also have IPv6 addresses.
    pub fn dual_stack(mut self, on: bool) -> Self {
        self.config.dual_stack = on;
        self
    }

    /// Allows one more host for socket, upload and download URLs.
    pub fn allow_host(mut self, suffix: impl Into<String>) -> Self {
        self.config.allowed_hosts.push(suffix.into());
        self
    }

    /// Sets the times.
    pub fn timings(mut self, timings: Timings) -> Self {
        self.config.timings = timings;
        self
    }

    /// Shares a network with other transports; by default one is made.
    pub fn net(mut self, net: Net) -> Self {
        self.net = Some(net);
        self
    }

    /// Checks everything. No I/O.
    ///
    /// # Errors
    /// `Config`, with the reason.
    pub fn build(self) -> Result<ConnectTransport> {
        let Self { config, map, net } = self;
        config.check()?;
        if let Some(start) = &config.start_chat {
            HostPolicy::configured().check(start.url.expose()).map_err(|error| {
                Error::new(ErrorKind::Config, format!("start-chat URL: {}", error.context()))
            })?;
            for (name, value) in &start.headers {
                start::header_of(name, value)?;
            }
        }
        let net = match net {
            Some(net) => net,
            None => Net::new(&NetConfig::default())?,
        };
        let service = Arc::new(Service::new(&config, net)?);
        Ok(ConnectTransport(Arc::new(Inner {
            config,
            map,
            service,
            uploads: Arc::default(),
            started: Mutex::default(),
        })))
    }
}

impl ConnectTransport {
    /// Starts building one.
    pub fn builder() -> ConnectBuilder {
        ConnectBuilder::default()
    }
}

/// What a denial means (§7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The chat was never connected: access denied.
    First,
    /// It was: the chat is over.
    Again,
}

#[async_trait]
impl Transport for ConnectTransport {
    fn id(&self) -> TransportId {
        TRANSPORT_ID
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.0.config)
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let ConnectRequest { intent, tap, .. } = request;
        let tap = Tap::new(tap);
        match intent {
            Intent::Start(request) => {
                let details = self.0.start(&request, &tap.0).await?;
                self.0.open(details.clone(), Stage::First, tap).await.map_err(|error| {
                    if is_denied_by_service(&error) {
                        // Dead: nothing to come back to.
                        self.0.forget(&details);
                        return error.into();
                    }
                    ConnectError { error, saved: Some(Box::new(details.to_saved())) }
                })
            }
            Intent::Join(saved) => Ok(self.0.open(Details::from_saved(&saved)?, Stage::First, tap).await?),
            Intent::Resume(saved) => Ok(self.0.open(Details::from_saved(&saved)?, Stage::Again, tap).await?),
            _ => Err(Error::unsupported(Capability::Join, TRANSPORT_ID).into()),
        }
    }

    /// Asks for a connection token and throws it away: nobody sees it.
    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        let details = Details::from_saved(saved)?;
        let types = [ConnectionType::ConnectionCredentials];
        match self
            .0
            .service
            .create_connection(&details.participant_token, &types, false, &Tap::default())
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if is_denied_by_service(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    async fn start(&self, request: &StartRequest, tap: &Tap) -> Result<Details> {
        let Some(config) = &self.config.start_chat else {
            return Err(Error::unsupported(Capability::Start, TRANSPORT_ID));
        };
        if let Some(key) = &request.key
            && let Some(details) = self.remembered(key)
        {
            return Ok(details);
        }
        let details = start::start(&self.service.net, config, self.map.as_ref(), request, tap).await?;
        if let Some(key) = &request.key {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if started.len() == REMEMBERED {
                started.pop_front();
            }
            started.push_back((key.clone(), details.clone()));
        }
        Ok(details)
    }

    fn remembered(&self, key: &ClientToken) -> Option<Details> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.iter().find(|(known, _)| known == key).map(|(_, details)| details.clone())
    }

    fn forget(&self, details: &Details) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.retain(|(_, known)| known.contact_id != details.contact_id);
    }

    /// Credentials and URL, socket, subscription.
    async fn open(
        &self,
        mut details: Details,
        stage: Stage,
        (tap, tapped): (Tap, Option<Tapped>),
    ) -> Result<Connection> {
        let service = &self.service;
        let timings = &service.timings;
        let kind = self.config.participant;
        let types = [ConnectionType::Websocket, ConnectionType::ConnectionCredentials];
        let agent = kind == ParticipantKind::Agent;
        let (answer, server_now) = service
            .create_connection(&details.participant_token, &types, agent, &tap)
            .await
            .map_err(|error| match stage {
                Stage::Again if is_denied_by_service(&error) => ended(&error),
                _ => error,
            })?;
        let issued = Instant::now();
        let CreateParticipantConnectionAnswer { websocket, connection_credentials } = answer;
        let socket = websocket.unwrap_or_default();
        let token = connection_credentials.unwrap_or_default();
        let (Some(url), Some(token_value)) = (socket.url, token.connection_token) else {
            return Err(unexpected("CreateParticipantConnection: a part is missing"));
        };
        if details.initial_contact_id.is_none() {
            details.initial_contact_id = initial_contact(service, &token_value, &tap).await;
        }
        let stream = dial(service, url).await?;
        let url_life = life(socket.connection_expiry.as_deref(), server_now)
            .map(|life| life.saturating_sub(issued.elapsed()));
        let mut machine = SocketMachine::new(*timings);
        machine.opened(Instant::now(), url_life);

        let chat: Arc<Chat> = Arc::new(details.chat(kind));
        let shared = Arc::new(Shared::default());
        let credentials = Arc::new(Credentials::new(
            details.participant_token.clone(),
            token_value,
            life(token.expiry.as_deref(), server_now),
            timings,
            tap,
        ));
        let (sender, events) = event_channel(self.config.event_buffer.0);
        let mut driver = Box::new(Driver::new(
            stream,
            machine,
            Arc::clone(&chat),
            sender,
            tapped,
            Arc::clone(&shared),
            Arc::clone(service),
            Arc::clone(&credentials),
        ));
        driver.establish().await?;
        tokio::spawn(driver.run());
        Ok(Connection {
            session: details.info(&chat),
            capabilities: details.capabilities(&self.config),
            saved: details.to_saved(),
            handle: Arc::new(Handle {
                service: Arc::clone(service),
                credentials,
                chat,
                shared,
                uploads: Arc::clone(&self.uploads),
            }),
            events,
        })
    }
}

/// Opens a socket at a URL that the vendor handed out.
pub(super) async fn dial(service: &Service, url: Secret) -> Result<WsStream> {
    let request = DialRequest::new(url).handed_out(service.handed_out.clone());
    match timeout(service.timings.open, service.net.dialer().dial(request)).await {
        Ok(stream) => stream.map_err(refused_socket),
        Err(_) => {
            Err(Error::new(ErrorKind::Timeout, "the socket did not open").with_delivery(Delivery::NotSent))
        }
    }
}

/// Which chain a joined chat belongs to; only the transcript tells. Best effort: without it the contact's own id serves.
async fn initial_contact(service: &Service, token: &Secret, tap: &Tap) -> Option<String> {
    let request = GetTranscriptRequest { max_results: Some(1), ..GetTranscriptRequest::default() };
    let reply = service.post("GetTranscript", TRANSCRIPT_PATH, token, &request, tap).await.ok()?;
    GetTranscriptAnswer::decode(text(&reply).ok()?)?.initial_contact_id.filter(|id| !id.is_empty())
}

/// A URL that is refused says nothing about the chat: it may have been used up, or be too old. The next attempt has a new one.
fn refused_socket(error: Error) -> Error {
    match error.kind() {
        ErrorKind::AccessDenied
        | ErrorKind::Unauthorized
        | ErrorKind::NotFound
        | ErrorKind::Refused
        | ErrorKind::Conflict => Error::new(ErrorKind::Refused, "the socket's URL was refused")
            .with_vendor(error.vendor().clone())
            .with_retry(Retry::Backoff)
            .with_delivery(Delivery::NotSent),
        _ => error.with_delivery(Delivery::NotSent),
    }
}
