//! Owns a client of Bayeux: one session at a time, over long-polling or a WebSocket. Source: §9.1, §9.4.
//!
//! It makes one attempt and reports: a session that is cut, forgotten or refused ends with [`Closed`], and whoever holds it
//! decides what comes next. [`BayeuxClient::handshake`] opens a session, [`BayeuxClient::resume`] goes on with one that was cut.

mod driver;
mod link;
mod machine;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chat_core::{Delivery, Error, ErrorKind, Result, Secret};
use chat_net::{Net, http::CookieJar, same_origin};
use http::{HeaderMap, HeaderValue, Uri};
use serde_json::{Map, Value, value::RawValue};
use tokio::sync::{mpsc, oneshot};

use self::{
    driver::{Driver, Order, Task},
    link::Endpoint,
    machine::{Machine, Way},
};
use super::message::BROWSER_COOKIE;

/// Settings of a [`BayeuxClient`]. Start from [`BayeuxConfig::new`] and set what differs.
#[derive(Clone)]
#[non_exhaustive]
pub struct BayeuxConfig {
    /// Where the server listens, as `https://host/genesys/cometd`. The WebSocket's URL is the same with `wss`.
    pub url: String,
    /// Try a WebSocket first, and fall back to long-polling if it cannot be opened or the handshake over it fails.
    pub websocket: bool,
    /// Append a meta message's name to the path of its request, as the vendor's own clients do (`…/cometd/handshake`).
    pub append_meta: bool,
    /// Offer the acknowledgement extension. It is used only if the server confirms it.
    pub acknowledge: bool,
    /// Sent with each request and upgrade.
    pub headers: HeaderMap,
    /// How long things may take.
    pub timings: Timings,
    /// Most events that wait for a slow reader. Beyond it the client connects no more until they are taken.
    pub max_waiting: usize,
}

impl fmt::Debug for BayeuxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BayeuxConfig")
            .field("websocket", &self.websocket)
            .field("append_meta", &self.append_meta)
            .field("acknowledge", &self.acknowledge)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timings", &self.timings)
            .field("max_waiting", &self.max_waiting)
            .finish_non_exhaustive()
    }
}

impl BayeuxConfig {
    /// A server at `url`, with WebSocket, acknowledgements and the default timings.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            websocket: true,
            append_meta: true,
            acknowledge: true,
            headers: HeaderMap::new(),
            timings: Timings::default(),
            max_waiting: 1024,
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// The answer to a handshake, a publish or a subscription; and of a held connect, what it may take beyond its hold.
    /// Default 10 s.
    pub request: Duration,
    /// How long a connect is held if the server does not say. Default 60 s.
    pub hold: Duration,
    /// The answer to a disconnect. Default 2 s.
    pub disconnect: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            hold: Duration::from_secs(60),
            disconnect: Duration::from_secs(2),
        }
    }
}

/// A message that the server pushed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Incoming {
    /// Its channel.
    pub channel: String,
    /// Its payload, as it came.
    pub data: Box<RawValue>,
}

/// Payloads may hold keys and words of people: only their size shows.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("channel", &self.channel)
            .field("data_bytes", &self.data.get().len())
            .finish()
    }
}

/// What happens to a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A message was pushed.
    Delivery(Incoming),
    /// A connect was answered: the server is there.
    Alive,
    /// The session is over for this client; nothing follows.
    Closed(Closed),
}

/// Why a session is over for this client.
#[derive(Debug, Clone)]
pub enum Closed {
    /// The server was not reached, or failed. The session may be there still: [`BayeuxClient::resume`].
    Unconnected(Error),
    /// The server does not know the session (any more), or wants a new one: [`BayeuxClient::handshake`].
    Forgotten(Error),
    /// The server says to stop.
    Refused(Error),
    /// [`Publisher::disconnect`] was called.
    Left,
}

impl Closed {
    /// The error that it is.
    pub fn into_error(self) -> Error {
        match self {
            Self::Unconnected(error) | Self::Forgotten(error) | Self::Refused(error) => error,
            Self::Left => Error::new(ErrorKind::Cancelled, "the Bayeux session was left"),
        }
    }
}

/// What it takes to go on with a session after a cut: its id, what was acknowledged, and its cookies.
#[derive(Clone)]
pub struct BayeuxSession {
    client_id: Secret,
    ack: Option<i64>,
    way: Way,
    cookies: Cookies,
}

impl fmt::Debug for BayeuxSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BayeuxSession").field("way", &self.way).finish_non_exhaustive()
    }
}

impl BayeuxSession {
    /// The `Cookie` header for requests that accompany the session, at any path of its server (§4.1, §9.3). `None` for other
    /// origins, and if there is nothing to send.
    pub fn cookies(&self, uri: &Uri) -> Option<HeaderValue> {
        self.cookies.header_for(uri)
    }

    /// Whether what is pushed is acknowledged, and repeated if it got lost.
    pub fn is_acknowledged(&self) -> bool {
        self.ack.is_some()
    }

    /// Whether messages travel over a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.way == Way::WebSocket
    }
}

/// A session's cookies. `BAYEUX_BROWSER` may lack a path, which then would be that of the handshake's request; it is meant for
/// all paths of the server.
#[derive(Clone)]
struct Cookies {
    jar: CookieJar,
    /// Where the cookies come from.
    home: Uri,
}

impl Cookies {
    fn header_for(&self, uri: &Uri) -> Option<HeaderValue> {
        if !same_origin(&self.home, uri) {
            return None;
        }
        let is_browser =
            |cookie: &String| cookie.strip_prefix(BROWSER_COOKIE).is_some_and(|rest| rest.starts_with('='));
        let (there, at_home) = (self.jar.header_for(uri), self.jar.header_for(&self.home));
        let list = |header: &Option<HeaderValue>| -> Vec<String> {
            let text = header.as_ref().and_then(|header| header.to_str().ok()).unwrap_or_default();
            text.split("; ").filter(|cookie| !cookie.is_empty()).map(str::to_owned).collect()
        };
        let mut cookies = list(&there);
        if !cookies.iter().any(is_browser) {
            cookies.extend(list(&at_home).into_iter().filter(is_browser));
        }
        let mut value = HeaderValue::try_from(cookies.join("; ")).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Opens sessions with one server.
#[derive(Debug, Clone)]
pub struct BayeuxClient {
    net: Net,
    endpoint: Arc<Endpoint>,
    config: Arc<BayeuxConfig>,
}

impl BayeuxClient {
    /// A client of the server in `config`.
    ///
    /// # Errors
    /// `Config` if the URL cannot be used.
    pub fn new(net: &Net, config: BayeuxConfig) -> Result<Self> {
        let endpoint = Arc::new(Endpoint::new(&config)?);
        Ok(Self { net: net.clone(), endpoint, config: Arc::new(config) })
    }

    /// Opens a session: handshake and first connect. One attempt, with the fall-back from WebSocket to long-polling.
    ///
    /// # Errors
    /// What the HTTP client and the dialer say; for refusals the kind by the error's number and the retry by the advice.
    ///
    /// # Cancel safety
    /// Dropping the future closes whatever was opened; the server forgets the session by itself.
    pub async fn handshake(&self) -> Result<(Publisher, Deliveries)> {
        if self.config.websocket {
            match self.open(Way::WebSocket, None).await {
                Err(error) => tracing::debug!(%error, "no session over a WebSocket; long-polling instead"),
                opened => return opened,
            }
        }
        self.open(Way::LongPolling, None).await
    }

    /// Goes on with a session that was cut. The same way is taken first; over a WebSocket that cannot be opened any more,
    /// long-polling.
    ///
    /// # Errors
    /// As [`handshake`](Self::handshake); `SessionLost` if the server has forgotten the session.
    ///
    /// # Cancel safety
    /// As [`handshake`](Self::handshake).
    pub async fn resume(&self, session: BayeuxSession) -> Result<(Publisher, Deliveries)> {
        if session.way == Way::WebSocket {
            match self.open(Way::WebSocket, Some(session.clone())).await {
                Err(error) if *error.kind() != ErrorKind::SessionLost => {
                    tracing::debug!(%error, "no WebSocket; long-polling instead");
                }
                settled => return settled,
            }
        }
        self.open(Way::LongPolling, Some(session)).await
    }

    async fn open(&self, way: Way, session: Option<BayeuxSession>) -> Result<(Publisher, Deliveries)> {
        let cookies = match &session {
            Some(session) => session.cookies.clone(),
            None => Cookies { jar: CookieJar::new(), home: self.endpoint.home().clone() },
        };
        let machine = Machine::new(way, self.config.timings, self.config.acknowledge);
        let link = self.endpoint.link(&self.net, way, cookies.clone(), self.config.timings);
        let (orders, received) = mpsc::channel(ORDERS);
        let (events, deliveries) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared::default());
        let mut driver = Driver::new(
            link.await?,
            machine,
            received,
            events,
            Arc::clone(&shared),
            self.config.max_waiting,
            cookies,
            way,
        );
        driver.establish(session.map(|session| (session.client_id, session.ack))).await?;
        let task = Task::spawn(driver);
        Ok((
            Publisher { orders, shared: Arc::clone(&shared) },
            Deliveries { events: deliveries, shared, done: false, _task: task },
        ))
    }
}

/// Requests that wait for their turn.
const ORDERS: usize = 32;
/// Events between the driver and its reader.
const EVENTS: usize = 64;

/// What driver, publisher and reader share.
#[derive(Debug, Default)]
struct Shared(Mutex<SharedState>);

#[derive(Debug, Default)]
struct SharedState {
    session: Option<BayeuxSession>,
    closed: Option<Closed>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way in. A clone is cheap. Requests go one at a time, in order.
#[derive(Debug, Clone)]
pub struct Publisher {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

impl Publisher {
    /// Publishes and waits for the server's acknowledgement, which says *received* and no more.
    ///
    /// # Errors
    /// `SessionLost` with `NotSent` if the server does not know the session; other refusals by number, with `Refused`. What the
    /// HTTP client says. `Unknown` if the session ends first.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown.
    pub async fn publish(&self, channel: &str, data: Box<RawValue>) -> Result<()> {
        self.order(|answer| Order::Publish { channel: channel.into(), data, answer }).await
    }

    /// Subscribes to a channel. Errors and cancel safety as [`publish`](Self::publish).
    pub async fn subscribe(&self, channel: &str) -> Result<()> {
        self.order(|answer| Order::Subscribe { channel: channel.into(), answer }).await
    }

    /// Closes the session on the server: [`Closed::Left`] follows, within [`Timings::disconnect`] once earlier requests are
    /// answered. `ext` goes along (§9.4, rule 6).
    ///
    /// # Errors
    /// `NotSent` if the session is over already.
    ///
    /// # Cancel safety
    /// Once begun, it is carried out.
    pub async fn disconnect(&self, ext: Map<String, Value>) -> Result<()> {
        self.orders.send(Order::Disconnect { ext }).await.map_err(|_| over())
    }

    /// What it takes to go on with the session.
    pub fn session(&self) -> Option<BayeuxSession> {
        self.shared.lock().session.clone()
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<Result<()>>) -> Order) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| over())?;
        answered.await.unwrap_or_else(|_| Err(over().with_delivery(Delivery::Unknown)))
    }
}

fn over() -> Error {
    Error::new(ErrorKind::Network, "the Bayeux session is over").with_delivery(Delivery::NotSent)
}

/// The way out: what is pushed, in order, then exactly one [`Event::Closed`]. Dropping it stops the client without a word to the
/// server.
#[derive(Debug)]
pub struct Deliveries {
    events: mpsc::Receiver<Event>,
    shared: Arc<Shared>,
    done: bool,
    _task: Task,
}

impl Deliveries {
    /// The next event; `None` after [`Event::Closed`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.events.recv().await {
            return Some(event);
        }
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let closed = self.shared.lock().closed.take().unwrap_or_else(|| {
            Closed::Unconnected(Error::new(ErrorKind::Internal, "the Bayeux client's task stopped"))
        });
        Some(Event::Closed(closed))
    }
}
