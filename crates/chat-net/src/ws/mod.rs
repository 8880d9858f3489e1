//! Owns the WebSocket side: the dialer, which opens one connection per call, and the connection.

mod burst;
mod connect;
mod stream;

use std::{fmt, sync::Arc, time::Duration};

use chat_core::{Delivery, Error, Result, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        error::ProtocolError,
        protocol::{Role, WebSocketConfig},
    },
};

pub use self::stream::{WsMessage, WsSink, WsSource, WsStream, WsText};
use self::{
    burst::Burst,
    connect::Tcp,
    stream::{Io, Socket},
};
#[cfg(feature = "memory")]
use crate::memory::MemoryNetwork;
use crate::{
    config::NetConfig,
    error::{broken, timed_out},
    http::{CookieJar, not_json, status_error, unexpected},
    policy::HostPolicy,
};

/// Opens WebSocket connections. A clone is cheap; build one for all sessions.
#[derive(Clone)]
pub struct Dialer(Arc<Inner>);

struct Inner {
    connector: Connector,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    write_timeout: Duration,
    settings: WebSocketConfig,
    agent: HeaderValue,
    extra: HeaderMap,
    policy: HostPolicy,
}

enum Connector {
    Tcp(Tcp),
    #[cfg(feature = "memory")]
    Memory(MemoryNetwork),
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

/// What to dial.
#[derive(Debug, Clone)]
#[must_use]
pub struct DialRequest {
    url: Secret,
    headers: HeaderMap,
    handed_out: Option<HostPolicy>,
    max_message_bytes: Option<usize>,
    cookies: Option<CookieJar>,
}

impl DialRequest {
    /// A `wss` URL (or `ws`, where the policy allows it), used as given. Treated as a secret.
    pub fn new(url: impl Into<Secret>) -> Self {
        Self {
            url: url.into(),
            headers: HeaderMap::new(),
            handed_out: None,
            max_message_bytes: None,
            cookies: None,
        }
    }

    /// The URL came from a vendor's answer: it is checked against this policy instead of the dialer's, addresses included, and
    /// the configured extra headers stay away from it.
    pub fn handed_out(mut self, policy: HostPolicy) -> Self {
        self.handed_out = Some(policy);
        self
    }

    /// Adds a header to the upgrade request. Treated as a secret.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.append(name, value);
        self
    }

    /// Sends the jar's cookies with the upgrade, unless a `Cookie` header is given, and keeps those of the answer.
    pub fn cookies(mut self, jar: CookieJar) -> Self {
        self.cookies = Some(jar);
        self
    }

    /// Overrides the cap of a received message, in bytes.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = Some(bytes);
        self
    }
}

/// tungstenite's own buffers take 256 KiB a connection; chat messages are small. The read buffer stays for as long as the
/// connection; bursts are read by [`Burst`].
const READ_BUFFER: usize = 512;
const WRITE_BUFFER: usize = 4 * 1024;

fn limits(settings: WebSocketConfig, max_message: usize) -> WebSocketConfig {
    settings
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
        // Room for the largest message over what waits already; what does not fit is refused.
        .max_write_buffer_size(max_message.saturating_add(64 * 1024))
}

impl Dialer {
    /// A dialer over TCP and TLS.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](chat_core::ErrorKind::Config): headers, proxy or certificates malformed, or no TLS provider.
    pub fn new(config: &NetConfig) -> Result<Self> {
        Self::over_tcp(config, crate::tls::client_config(&config.trust)?)
    }

    pub(crate) fn over_tcp(config: &NetConfig, tls: Arc<ClientConfig>) -> Result<Self> {
        Self::build(config, Connector::Tcp(Tcp::new(tls, config.proxy.as_ref())?))
    }

    /// A dialer through a network in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](chat_core::ErrorKind::Config): headers malformed.
    #[cfg(feature = "memory")]
    pub fn in_memory(network: &MemoryNetwork, config: &NetConfig) -> Result<Self> {
        Self::build(config, Connector::Memory(network.clone()))
    }

    fn build(config: &NetConfig, connector: Connector) -> Result<Self> {
        let (agent, extra) = config.headers()?;
        let settings =
            WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
        Ok(Self(Arc::new(Inner {
            connector,
            connect_timeout: config.connect_timeout,
            handshake_timeout: config.handshake_timeout,
            write_timeout: config.write_timeout,
            settings: limits(settings, config.max_message_bytes),
            agent,
            extra,
            policy: config.policy.clone(),
        })))
    }

    /// Opens one connection: one attempt over all addresses of the host, no retry.
    ///
    /// # Errors
    /// `HostRefused`; `Network`, `Timeout`, `Tls` with `NotSent` before the upgrade was asked for, `Network` and `Timeout` with
    /// `Unknown` after; what the status of a refusal means ([`status_error`], with `Retry-After`); `UnexpectedResponse` for
    /// redirects and for answers that are no upgrade.
    ///
    /// # Cancel safety
    /// Dropping the future closes whatever was opened.
    pub async fn dial(&self, request: DialRequest) -> Result<WsStream> {
        let started = Instant::now();
        let result = self.open(request).await;
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = if result.is_ok() { "success" } else { "failure" };
        metrics::counter!("chat_net_dials_total", "outcome" => outcome).increment(1);
        metrics::histogram!("chat_net_dial_seconds").record(started.elapsed());
        match &result {
            Ok(_) => tracing::debug!(millis, "WebSocket open"),
            Err(error) => tracing::debug!(%error, delivery = ?error.delivery(), millis, "WebSocket failure"),
        }
        result
    }

    async fn open(&self, request: DialRequest) -> Result<WsStream> {
        let inner = &*self.0;
        let policy = request.handed_out.as_ref().unwrap_or(&inner.policy);
        let url = policy.parse(request.url.expose())?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(Error::invalid_input("the URL is not for a WebSocket"));
        }
        // Unlike `Url`, a URI has no fragment, which a handshake must not send.
        let mut upgrade = url
            .as_str()
            .into_client_request()
            .map_err(|_| Error::invalid_input("the URL is not acceptable"))?;
        let headers = upgrade.headers_mut();
        for (name, value) in &request.headers {
            headers.append(name, value.clone());
        }
        headers.entry(header::USER_AGENT).or_insert_with(|| inner.agent.clone());
        let uri = url.as_str().parse::<Uri>().ok();
        let jar = request.cookies.zip(uri);
        if let Some(cookies) = jar.as_ref().and_then(|(jar, uri)| jar.header_for(uri)) {
            headers.entry(header::COOKIE).or_insert(cookies);
        }
        if request.handed_out.is_none() {
            crate::http::add_missing(headers, &inner.extra);
        }
        let connecting = async {
            match &inner.connector {
                Connector::Tcp(tcp) => tcp.connect(&url, policy).await,
                #[cfg(feature = "memory")]
                Connector::Memory(network) => {
                    let host = url.host_str().unwrap_or_default();
                    let port = url.port_or_known_default().unwrap_or_default();
                    match network.connect(&format!("{host}:{port}")).await {
                        Ok(stream) => Ok(Box::new(stream) as Io),
                        Err(error) => Err(crate::error::not_connected(&error)),
                    }
                }
            }
        };
        let io = timeout(inner.connect_timeout, connecting)
            .await
            .map_err(|_| timed_out("connect", Delivery::NotSent))??;
        let settings = match request.max_message_bytes {
            Some(bytes) => limits(inner.settings, bytes),
            None => inner.settings,
        };
        let handshake = client_async_with_config(upgrade, Burst::new(io), Some(settings));
        match timeout(inner.handshake_timeout, handshake).await {
            Ok(Ok((stream, response))) => {
                if let Some((jar, uri)) = &jar {
                    jar.store(uri, response.headers());
                }
                // Anew: the handshake leaves a larger buffer behind, empty because `Burst` stops at the head's end.
                let stream = stream.into_inner();
                let stream = WebSocketStream::from_raw_socket(stream, Role::Client, Some(settings)).await;
                Ok(WsStream::new(Socket::new(stream), inner.write_timeout))
            }
            Ok(Err(error)) => Err(not_upgraded(error)),
            Err(_) => Err(timed_out("WebSocket handshake", Delivery::Unknown)),
        }
    }
}

const HANDSHAKE: &str = "WebSocket handshake";

fn not_upgraded(error: tungstenite::Error) -> Error {
    use tungstenite::Error as E;
    match error {
        E::Http(response) => refused(&response),
        E::Io(error) => broken(&error),
        E::Protocol(error @ ProtocolError::HandshakeIncomplete) => broken(&error),
        E::Protocol(error) => crate::error::caused(unexpected(HANDSHAKE), &error),
        E::Capacity(_) | E::AttackAttempt => unexpected("WebSocket handshake: the answer is too long"),
        _ => unexpected(HANDSHAKE),
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> Error {
    let (status, headers) = (response.status(), response.headers());
    if status.is_client_error() || status.is_server_error() {
        return status_error(status, headers, HANDSHAKE);
    }
    let body = response.body().as_deref().unwrap_or_default();
    if status.is_redirection() {
        return status_error(status, headers, "redirects are refused");
    }
    not_json(HANDSHAKE, status, headers, body)
}
