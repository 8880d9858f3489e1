//! Owns a server of Bayeux, for one application: sessions, held connects, acknowledgements. Source: §9.1.
//!
//! The HTTP server is the caller's: it hands over headers and bodies, or an upgraded socket. Publishes go to the
//! [`Application`]; there is no broadcasting. Time is tokio's.

mod config;
mod sessions;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use chat_core::Secret;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, value::RawValue};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};

pub use self::config::{PerBrowser, ServerConfig, UnknownSession};
use self::sessions::{Connect, Sessions, Signal};
use super::message::{
    self, Advice, BROWSER_COOKIE, CONNECT, CONTENT_TYPE, DISCONNECT, HANDSHAKE, Message, SUBSCRIBE,
    UNSUBSCRIBE,
};

/// Why a publish is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The number.
    pub code: u16,
    /// The words.
    pub text: String,
    /// When to try again, as advice.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without advice.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), retry_after: None }
    }
}

/// How a session ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Ended {
    /// The client said goodbye, with these extensions.
    Disconnected(Map<String, Value>),
    /// No connect came for too long.
    Expired,
    /// Too much waited for it ([`ServerConfig::max_queue`]).
    Overrun,
    /// The application closed it.
    Closed,
    /// The server was restarted.
    Restarted,
}

/// What stands behind a server.
#[async_trait]
pub trait Application: Send + Sync + 'static {
    /// A message was published. Runs to its end even if the client does not wait for it. What it delivers to `client` before it
    /// returns may share the reply.
    ///
    /// # Errors
    /// The refusal is told to the client.
    async fn on_publish(&self, client: &Client, channel: &str, data: Box<RawValue>) -> Result<(), Refusal>;

    /// A session ended.
    fn on_ended(&self, _client: &Client, _how: Ended) {}
}

/// A session, as the application sees it. A clone is cheap and keeps nothing alive.
#[derive(Clone)]
pub struct Client {
    id: Secret,
    server: Weak<Inner>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(..)")
    }
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Client {}

impl Client {
    /// The session's id: whoever knows it can speak for it.
    pub fn id(&self) -> &Secret {
        &self.id
    }

    /// Delivers a message. `false` if the session is not known (any more), or is none now because too much waits for it: the
    /// application is told soon.
    pub fn deliver(&self, channel: &str, data: Box<RawValue>) -> bool {
        let Some(server) = self.server.upgrade() else { return false };
        let mut message = Message::new(channel);
        message.data = Some(data);
        server.lock().deliver(&self.id, message)
    }

    /// Whether the session is known.
    pub fn is_open(&self) -> bool {
        self.server.upgrade().is_some_and(|server| server.lock().knows(&self.id))
    }

    /// Closes the session: whoever connects to it next is told that it is unknown.
    pub fn close(&self) {
        if let Some(server) = self.server.upgrade()
            && server.lock().forget(&self.id)
        {
            server.application.on_ended(self, Ended::Closed);
        }
    }

    /// Whether the session has subscribed to `channel`.
    pub fn is_subscribed(&self, channel: &str) -> bool {
        self.server.upgrade().is_some_and(|server| server.lock().is_subscribed(&self.id, channel))
    }
}

struct Inner {
    sessions: Mutex<Sessions>,
    application: Arc<dyn Application>,
    /// There is a first session, or no server any more.
    changed: Arc<Notify>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. A clone is cheap and the same server.
#[derive(Clone)]
pub struct BayeuxServer(Arc<Inner>);

impl fmt::Debug for BayeuxServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BayeuxServer").field("sessions", &self.0.lock().counts().0).finish()
    }
}

/// Where a message came from.
#[derive(Debug, Clone)]
struct Origin {
    browser: Option<Secret>,
    socket: bool,
}

/// Sessions are looked through this often at most.
const SWEEP: Duration = Duration::from_millis(100);
/// Most messages of one body, or of one frame.
const BATCH_MAX: usize = 64;
/// Most requests of one socket that are being carried out. No more is read before one is answered.
const RUNNING_MAX: usize = 64;

/// Who left, and with which extensions.
type Goodbye = (Secret, Map<String, Value>);

/// What becomes of a message.
enum Step {
    Replies(Vec<Message>),
    Held(Held),
    Publish(Publish),
}

impl BayeuxServer {
    /// A server for `application`.
    pub fn new(config: ServerConfig, application: Arc<dyn Application>) -> Self {
        let sessions = Mutex::new(Sessions::new(config));
        Self(Arc::new(Inner { sessions, application, changed: Arc::default() }))
    }

    /// Changes settings while running; sessions stay.
    pub fn configure(&self, change: impl FnOnce(&mut ServerConfig)) {
        change(&mut self.0.lock().config);
    }

    /// Whether it offers WebSockets now.
    pub fn has_websockets(&self) -> bool {
        self.0.lock().config.websocket
    }

    /// Forgets all sessions, as a restarted node does.
    pub fn restart(&self) {
        let forgotten = self.0.lock().restart();
        self.tell_ended(forgotten, &Ended::Restarted);
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.0.lock().counts().0
    }

    /// The sessions there are.
    pub fn clients(&self) -> Vec<Client> {
        let ids = self.0.lock().ids();
        ids.into_iter().map(|id| self.client(id)).collect()
    }

    /// How many deliveries were lost for want of a held connect ([`ServerConfig::lose_unheld`]).
    pub fn lost(&self) -> u64 {
        self.0.lock().counts().1
    }

    /// Whether a request brings the cookie of a known session, for requests beside the protocol (§9.3).
    pub fn knows_browser(&self, headers: &HeaderMap) -> bool {
        browser(headers).is_some_and(|browser| self.0.lock().knows_browser(&browser))
    }

    /// Forgets silent sessions and tells the application; ends with the server. Spawn it once.
    pub fn sweeper(&self) -> impl Future<Output = ()> + Send + use<> {
        let (server, changed) = (Arc::downgrade(&self.0), Arc::clone(&self.0.changed));
        async move {
            while let Some(inner) = server.upgrade() {
                let server = Self(inner);
                server.tell_gone();
                let next = server.0.lock().next_expiry(Instant::now());
                drop(server);
                match next {
                    Some(next) => sleep_until(next.max(Instant::now() + SWEEP)).await,
                    None => changed.notified().await,
                }
            }
        }
    }

    /// Forgets silent sessions, and tells of all that were forgotten.
    fn tell_gone(&self) {
        let (expired, overrun) = {
            let mut sessions = self.0.lock();
            (sessions.expire(Instant::now()), sessions.overrun())
        };
        self.tell_ended(expired, &Ended::Expired);
        self.tell_ended(overrun, &Ended::Overrun);
    }

    fn tell_ended(&self, ids: Vec<Secret>, how: &Ended) {
        for id in ids {
            self.0.application.on_ended(&self.client(id), how.clone());
        }
    }

    fn client(&self, id: Secret) -> Client {
        Client { id, server: Arc::downgrade(&self.0) }
    }

    /// Answers one HTTP request, whatever its path's last segment.
    ///
    /// # Cancel safety
    /// Dropping the future is the client's going away: a held connect is let go, a publish is carried out.
    pub async fn exchange(&self, headers: &HeaderMap, body: &[u8]) -> Response<String> {
        let single = body.trim_ascii_start().first() == Some(&b'{');
        let messages = match message::decode(body) {
            Ok(messages)
                if (1..=BATCH_MAX).contains(&messages.len())
                    && (!single || self.0.lock().config.single_object) =>
            {
                messages
            }
            _ => return respond(StatusCode::BAD_REQUEST, &[], None),
        };
        let mut origin = Origin { browser: browser(headers), socket: false };
        let mut cookie = None;
        if origin.browser.is_none() && messages.iter().any(|message| message.channel == HANDSHAKE) {
            let fresh = uuid::Uuid::new_v4().simple().to_string();
            cookie = set_cookie(&fresh, self.0.lock().config.browser_path.as_deref());
            origin.browser = Some(fresh.into());
        }
        let alone = messages.len() == 1;
        let mut replies = Vec::new();
        for message in messages {
            match self.step(message, &origin, alone) {
                Step::Replies(more) => replies.extend(more),
                Step::Publish(publish) => replies.extend(publish.carried_out().await),
                Step::Held(held) => match held.released().await {
                    Some(more) => replies.extend(more),
                    None => return respond(self.0.lock().config.replaced_status, &[], None),
                },
            }
        }
        respond(StatusCode::OK, &replies, cookie)
    }

    /// Serves one WebSocket to its end. `incoming` ends with the socket; `outgoing` takes one text per frame.
    ///
    /// # Cancel safety
    /// As [`exchange`](Self::exchange).
    pub async fn socket<I, O>(&self, headers: &HeaderMap, incoming: I, outgoing: O)
    where
        I: Stream<Item = String> + Send,
        O: Sink<String> + Send,
    {
        let origin = Origin { browser: browser(headers), socket: true };
        let mut incoming = std::pin::pin!(incoming.fuse());
        let mut outgoing = std::pin::pin!(outgoing);
        let mut running: FuturesUnordered<BoxFuture<'static, Vec<Message>>> = FuturesUnordered::new();
        let mut bound: Option<Bound> = None;
        // A socket that serves nobody, or whose client takes nothing, is not kept.
        let patience = {
            let sessions = self.0.lock();
            sessions.config.hold.max(sessions.config.max_interval)
        };
        let mut idle_since = Instant::now();
        loop {
            let messages = tokio::select! {
                biased;
                frame = incoming.next(), if running.len() < RUNNING_MAX => {
                    let Some(frame) = frame else { return };
                    let messages = match message::decode(frame.as_bytes()) {
                        Ok(messages) if messages.len() <= BATCH_MAX => messages,
                        _ => return,
                    };
                    let mut replies = Vec::new();
                    for message in messages {
                        match self.step(message, &origin, true) {
                            Step::Replies(more) => replies.extend(more),
                            Step::Publish(publish) => running.push(publish.carried_out().boxed()),
                            Step::Held(held) => {
                                running.push(async move { held.released().await.unwrap_or_default() }.boxed());
                            }
                        }
                    }
                    replies
                }
                Some(messages) = running.next(), if !running.is_empty() => messages,
                messages = pushed(bound.as_mut()), if bound.is_some() => match messages {
                    Some(messages) => messages,
                    None => {
                        (bound, idle_since) = (None, Instant::now());
                        continue;
                    }
                },
                () = sleep_until(idle_since + patience), if bound.is_none() && running.is_empty() => return,
            };
            // The session of this socket, from its handshake or its first connect on.
            for message in &messages {
                let opened = message.channel == HANDSHAKE || message.channel == CONNECT;
                if let Some(id) =
                    message.client_id.as_ref().filter(|_| opened && message.successful == Some(true))
                {
                    bound = self.bind(id.clone(), bound.take());
                }
            }
            if !messages.is_empty() {
                let frame = message::encode(&strip_ids(messages));
                match timeout(patience, outgoing.send(frame)).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
        }
    }

    fn bind(&self, id: Secret, bound: Option<Bound>) -> Option<Bound> {
        match bound {
            Some(bound) if bound.id == id => Some(bound),
            _ => {
                let (socket, signal) = self.0.lock().bind(Instant::now(), &id)?;
                Some(Bound { server: self.clone(), id, socket, signal })
            }
        }
    }

    fn step(&self, request: Message, origin: &Origin, alone: bool) -> Step {
        let now = Instant::now();
        let due = self.0.lock().is_due(now, &request);
        if due {
            self.tell_gone();
        }
        let (step, left) = self.step_in(&mut self.0.lock(), now, request, origin, alone);
        if let Some((id, ext)) = left {
            self.tell_ended(vec![id], &Ended::Disconnected(ext));
        }
        step
    }

    /// What becomes of a message, and who left with it.
    fn step_in(
        &self,
        sessions: &mut Sessions,
        now: Instant,
        request: Message,
        origin: &Origin,
        alone: bool,
    ) -> (Step, Option<Goodbye>) {
        let replied = |reply| (Step::Replies(vec![reply]), None);
        if request.channel == HANDSHAKE {
            let id = Secret::from(uuid::Uuid::new_v4().simple().to_string());
            self.0.changed.notify_one();
            return replied(sessions.handshake(now, &request, id, origin.browser.clone()));
        }
        let id = match sessions.authorise(&request, origin.browser.as_ref()) {
            Ok(id) => id,
            Err(refusal) => return replied(*refusal),
        };
        let step = match request.channel.as_str() {
            CONNECT => match (sessions.connect(now, &id, &request, alone), sessions.watch(&id)) {
                (Connect::Answered(mut replies), _) => {
                    if origin.socket
                        && let Some(reply) = replies.last_mut()
                    {
                        // Says which session the socket serves; taken off again before it is sent.
                        reply.client_id = Some(id);
                    }
                    Step::Replies(replies)
                }
                (Connect::Held(hold, until), Some(signal)) => {
                    Step::Held(Held { server: self.clone(), id, request, hold, until, signal, done: false })
                }
                _ => Step::Replies(Vec::new()),
            },
            SUBSCRIBE => return replied(sessions.subscribe(&id, &request, true)),
            UNSUBSCRIBE => return replied(sessions.subscribe(&id, &request, false)),
            DISCONNECT => {
                let reply = sessions.disconnect(&id, &request);
                return (Step::Replies(vec![reply]), Some((id, request.ext)));
            }
            _ if request.is_meta() => {
                return replied(Sessions::refusal(&request, 404, "unknown meta channel"));
            }
            channel if !channel.starts_with('/') => {
                return replied(Sessions::refusal(&request, 400, "invalid channel"));
            }
            _ => {
                sessions.publish_begun(&id);
                Step::Publish(Publish { server: self.clone(), id, request, ended: false })
            }
        };
        (step, None)
    }
}

/// A connect that is held.
struct Held {
    server: BayeuxServer,
    id: Secret,
    request: Message,
    hold: u64,
    until: Instant,
    signal: watch::Receiver<Signal>,
    done: bool,
}

impl Held {
    /// Its answer; `None` if it was replaced.
    async fn released(mut self) -> Option<Vec<Message>> {
        loop {
            let signal = *self.signal.borrow_and_update();
            let step = self.server.0.lock().release(
                Instant::now(),
                &self.id,
                &self.request,
                self.hold,
                self.until,
                signal,
            );
            match step {
                Connect::Answered(replies) => {
                    self.done = true;
                    return Some(replies);
                }
                Connect::Replaced => return None,
                Connect::Held(..) => {}
            }
            tokio::select! {
                changed = self.signal.changed() => if changed.is_err() {
                    // The session is gone; the next look says how.
                    tokio::task::yield_now().await;
                },
                () = sleep_until(self.until) => {}
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.done {
            self.server.0.lock().abandon(Instant::now(), &self.id, self.hold);
        }
    }
}

/// A publish that is being carried out.
struct Publish {
    server: BayeuxServer,
    id: Secret,
    request: Message,
    ended: bool,
}

impl Publish {
    /// Its reply, after what shares it.
    async fn carried_out(mut self) -> Vec<Message> {
        let server = self.server.clone();
        let client = server.client(self.id.clone());
        let channel = self.request.channel.clone();
        let data = self.request.data.take();
        // In a task of its own: a client that goes away does not stop what it asked for.
        let carried_out = tokio::spawn(async move {
            match data {
                Some(data) => server.0.application.on_publish(&client, &channel, data).await,
                None => Err(Refusal::new(400, "no data")),
            }
        });
        let result = carried_out.await.unwrap_or_else(|_| Err(Refusal::new(500, "the application failed")));
        self.ended = true;
        let mut replies = self.server.0.lock().publish_ended(&self.id, true);
        replies.push(match result {
            Ok(()) => Sessions::accepted(&self.request),
            Err(refusal) => {
                let mut reply = Sessions::refusal(&self.request, refusal.code, &refusal.text);
                reply.advice = refusal.retry_after.map(Advice::retry_after);
                reply
            }
        });
        replies
    }
}

impl Drop for Publish {
    fn drop(&mut self) {
        if !self.ended {
            self.server.0.lock().publish_ended(&self.id, false);
        }
    }
}

/// The session that a socket serves.
struct Bound {
    server: BayeuxServer,
    id: Secret,
    /// Its number.
    socket: u64,
    signal: watch::Receiver<Signal>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.server.0.lock().unbind(Instant::now(), &self.id, self.socket);
    }
}

/// What the session of a socket is given at once; `None` if there is no such session any more.
async fn pushed(bound: Option<&mut Bound>) -> Option<Vec<Message>> {
    let bound = bound?;
    loop {
        bound.signal.borrow_and_update();
        let messages = bound.server.0.lock().take_for_socket(&bound.id, bound.socket)?;
        if !messages.is_empty() {
            return Some(messages);
        }
        // An error means that the session is gone, which the next look shows.
        let _ = bound.signal.changed().await;
    }
}

/// The session's id stands in the reply to a handshake only.
fn strip_ids(mut messages: Vec<Message>) -> Vec<Message> {
    for message in &mut messages {
        if message.channel != HANDSHAKE {
            message.client_id = None;
        }
    }
    messages
}

fn browser(headers: &HeaderMap) -> Option<Secret> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|cookie| {
        let value = cookie.trim().strip_prefix(BROWSER_COOKIE)?.strip_prefix('=')?;
        (!value.is_empty()).then(|| value.into())
    })
}

fn set_cookie(value: &str, path: Option<&str>) -> Option<HeaderValue> {
    let path = path.map(|path| format!("; Path={path}")).unwrap_or_default();
    let mut cookie = HeaderValue::try_from(format!("{BROWSER_COOKIE}={value}{path}; HttpOnly")).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

fn respond(status: StatusCode, messages: &[Message], cookie: Option<HeaderValue>) -> Response<String> {
    let mut response = Response::new(message::encode(messages));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
