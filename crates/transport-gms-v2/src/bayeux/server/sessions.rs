//! Owns the server's side of the protocol, without I/O: sessions, their queues, and which connect is held. Source: §9.1.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque, hash_map::Entry},
    time::Duration,
};

use chat_core::Secret;
use tokio::{sync::watch, time::Instant};

use super::{ServerConfig, UnknownSession};
use crate::bayeux::message::{
    Ack, Advice, BayeuxError, CONNECT, HANDSHAKE, LONG_POLLING, Message, Reconnect, UNKNOWN_SESSION,
    WEBSOCKET,
};

/// Longest name of a channel that is subscribed to, in bytes.
const CHANNEL_MAX: usize = 1024;

/// What a held connect, or a socket, waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signal {
    /// The client left by itself.
    left: bool,
}

#[derive(Debug)]
struct Session {
    browser: Option<Secret>,
    queue: VecDeque<Queued>,
    /// The number of the last batch, if acknowledgements are spoken.
    batch: Option<i64>,
    /// The connect that is held.
    held: Option<u64>,
    /// Publishes whose reply may carry deliveries.
    publishing: usize,
    /// The socket that takes deliveries at once: the newest, for older ones may lead nowhere.
    socket: Option<u64>,
    expires: Instant,
    connected: bool,
    shared_browser: bool,
    subscriptions: BTreeSet<String>,
    wake: watch::Sender<Signal>,
}

#[derive(Debug)]
struct Queued {
    /// The batch that it was last sent in.
    batch: Option<i64>,
    message: Message,
}

/// What becomes of a connect.
#[derive(Debug)]
pub(super) enum Connect {
    /// It is answered, with what waited.
    Answered(Vec<Message>),
    /// It is held, at most until this moment, under this number.
    Held(u64, Instant),
    /// It was replaced by another one.
    Replaced,
}

/// All sessions of one server.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) config: ServerConfig,
    all: HashMap<Secret, Session>,
    /// The sessions of each browser.
    of_browser: HashMap<Secret, HashSet<Secret>>,
    /// Forgotten, which nobody was told yet.
    overrun: Vec<Secret>,
    last_hold: u64,
    last_socket: u64,
    lost: u64,
}

impl Sessions {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self {
            config,
            all: HashMap::new(),
            of_browser: HashMap::new(),
            overrun: Vec::new(),
            last_hold: 0,
            last_socket: 0,
            lost: 0,
        }
    }

    fn advice(&self, shared_browser: bool) -> Advice {
        let interval = if shared_browser { self.config.shared_interval } else { self.config.interval };
        Advice {
            reconnect: Some(Reconnect::Retry),
            interval: Some(millis(interval)),
            timeout: Some(millis(self.config.hold)),
            max_interval: None,
            multiple_clients: shared_browser.then_some(true),
        }
    }

    fn reply(request: &Message) -> Message {
        let mut reply = Message::new(request.channel.clone());
        reply.id.clone_from(&request.id);
        reply.successful = Some(true);
        reply
    }

    /// An unsuccessful reply.
    pub(super) fn refusal(request: &Message, code: u16, text: &str) -> Message {
        let mut reply = Self::reply(request);
        reply.successful = Some(false);
        reply.error = Some(BayeuxError::new(code, text));
        reply
    }

    /// The reply to who speaks for no session. Only a connect is told what to do (§9.1).
    fn unknown(&self, request: &Message, reconnect: Reconnect) -> Message {
        let text = match self.config.unknown_session {
            UnknownSession::UnknownClient => "Unknown client",
            UnknownSession::SessionUnknown => "session_unknown",
        };
        let mut reply = Self::refusal(request, UNKNOWN_SESSION, text);
        if request.channel == CONNECT {
            let interval = (reconnect == Reconnect::Handshake).then_some(0);
            reply.advice = Some(Advice { reconnect: Some(reconnect), interval, ..Advice::default() });
        }
        reply
    }

    /// Opens a session under `client_id`, for the browser of that cookie.
    pub(super) fn handshake(
        &mut self,
        now: Instant,
        request: &Message,
        client_id: Secret,
        browser: Option<Secret>,
    ) -> Message {
        if self.all.len() >= self.config.max_sessions {
            let mut reply = Self::refusal(request, 503, "too many sessions");
            reply.advice = Some(Advice::retry_after(Duration::from_secs(1)));
            return reply;
        }
        let acknowledge = self.config.acknowledge && request.ack() == Some(Ack::Supported(true));
        if let Some(browser) = &browser {
            self.of_browser.entry(browser.clone()).or_default().insert(client_id.clone());
        }
        let session = Session {
            browser,
            queue: VecDeque::new(),
            batch: acknowledge.then_some(0),
            held: None,
            publishing: 0,
            socket: None,
            expires: now + self.config.max_interval,
            connected: false,
            shared_browser: false,
            subscriptions: BTreeSet::new(),
            wake: watch::Sender::new(Signal::default()),
        };
        self.all.insert(client_id.clone(), session);
        let mut reply = Self::reply(request);
        reply.channel = HANDSHAKE.into();
        reply.client_id = Some(client_id);
        reply.version = Some("1.0".into());
        reply.minimum_version = Some("1.0".into());
        reply.supported_connection_types = match self.config.websocket {
            true => vec![WEBSOCKET.into(), LONG_POLLING.into()],
            false => vec![LONG_POLLING.into()],
        };
        reply.advice = Some(self.advice(false));
        if acknowledge {
            reply = reply.with_ack(Ack::Supported(true));
        }
        reply
    }

    /// The session that a request speaks for, or the refusal.
    pub(super) fn authorise(
        &self,
        request: &Message,
        browser: Option<&Secret>,
    ) -> Result<Secret, Box<Message>> {
        let id = request.client_id.as_ref();
        let known = id.and_then(|id| self.all.get_key_value(id)).filter(|(_, session)| {
            !self.config.require_browser || session.browser.is_none() || session.browser.as_ref() == browser
        });
        known.map(|(id, _)| id.clone()).ok_or_else(|| Box::new(self.unknown(request, Reconnect::Handshake)))
    }

    /// What wakes a held connect or a socket of this session.
    pub(super) fn watch(&self, id: &Secret) -> Option<watch::Receiver<Signal>> {
        self.all.get(id).map(|session| session.wake.subscribe())
    }

    /// Takes a connect in. `alone`: it came without company and may be held.
    pub(super) fn connect(&mut self, now: Instant, id: &Secret, request: &Message, alone: bool) -> Connect {
        let browser = self.all.get(id).and_then(|session| session.browser.as_ref());
        let mut of_browser = browser.and_then(|browser| self.of_browser.get(browser)).into_iter().flatten();
        let polls = |session: &Session| session.held.is_some() && session.socket.is_none();
        let sharing = of_browser.any(|other| other != id && self.all.get(other).is_some_and(polls));
        let (hold, limit) = (self.config.hold, self.config.sessions_per_browser);
        let Some(session) = self.all.get_mut(id) else {
            return Connect::Answered(vec![self.unknown(request, Reconnect::Handshake)]);
        };
        if let (Some(_), Some(Ack::Batch(received))) = (session.batch, request.ack()) {
            session.queue.retain(|queued| queued.batch.is_none_or(|batch| batch > received));
            for queued in &mut session.queue {
                // It was sent and did not arrive.
                queued.batch = None;
            }
        }
        let shared = sharing && session.socket.is_none() && limit == super::PerBrowser::One;
        let changed = std::mem::replace(&mut session.shared_browser, shared) != shared;
        let first = !std::mem::replace(&mut session.connected, true);
        let asked = request.advice.and_then(|advice| advice.timeout).map(Duration::from_millis);
        let hold = asked.map_or(hold, |asked| asked.min(hold));
        if session.held.take().is_some() {
            session.wake.send_modify(|_| {});
        }
        if !alone || shared || changed || first || hold.is_zero() || session.has_news() {
            let advice = (first || changed).then(|| self.advice(shared));
            return Connect::Answered(self.answer(now, id, request, advice));
        }
        self.last_hold += 1;
        session.held = Some(self.last_hold);
        Connect::Held(self.last_hold, now + hold)
    }

    fn answer(
        &mut self,
        now: Instant,
        id: &Secret,
        request: &Message,
        advice: Option<Advice>,
    ) -> Vec<Message> {
        let expires = now + self.config.interval + self.config.max_interval;
        let Some(session) = self.all.get_mut(id) else { return Vec::new() };
        session.held = None;
        session.expires = expires;
        let mut reply = Self::reply(request);
        reply.advice = advice;
        let mut messages = match &mut session.batch {
            Some(batch) => {
                *batch += 1;
                reply = reply.with_ack(Ack::Batch(*batch));
                session
                    .queue
                    .iter_mut()
                    .map(|queued| {
                        queued.batch = Some(*batch);
                        queued.message.clone()
                    })
                    .collect()
            }
            None => session.take(),
        };
        messages.push(reply);
        messages
    }

    /// Looks at a held connect again: something woke it, or its time is over.
    pub(super) fn release(
        &mut self,
        now: Instant,
        id: &Secret,
        request: &Message,
        hold: u64,
        until: Instant,
        signal: Signal,
    ) -> Connect {
        let Some(session) = self.all.get(id) else {
            let reconnect = if signal.left { Reconnect::None } else { Reconnect::Handshake };
            return Connect::Answered(vec![self.unknown(request, reconnect)]);
        };
        if session.held != Some(hold) {
            return Connect::Replaced;
        }
        // Sockets take what comes without the connect's help, unless it is acknowledged.
        let news = session.has_news()
            && (session.socket.is_none() || session.batch.is_some())
            && (session.publishing == 0 || session.batch.is_some() || !self.config.deliver_with_publish);
        if news || now >= until {
            Connect::Answered(self.answer(now, id, request, None))
        } else {
            Connect::Held(hold, until)
        }
    }

    /// The held connect's exchange is gone.
    pub(super) fn abandon(&mut self, now: Instant, id: &Secret, hold: u64) {
        let expires = now + self.config.interval + self.config.max_interval;
        if let Some(session) = self.all.get_mut(id).filter(|session| session.held == Some(hold)) {
            session.held = None;
            session.expires = expires;
        }
    }

    /// A publish begins: what is delivered until it ends may share its reply.
    pub(super) fn publish_begun(&mut self, id: &Secret) {
        if let Some(session) = self.all.get_mut(id) {
            session.publishing += 1;
        }
    }

    /// A publish is over. `reply`: what waits goes into its reply; otherwise whoever waits is woken.
    pub(super) fn publish_ended(&mut self, id: &Secret, reply: bool) -> Vec<Message> {
        let with_publish = self.config.deliver_with_publish;
        let Some(session) = self.all.get_mut(id) else { return Vec::new() };
        session.publishing = session.publishing.saturating_sub(1);
        let taken =
            if reply && with_publish && session.batch.is_none() { session.take() } else { Vec::new() };
        session.wake.send_modify(|_| {});
        taken
    }

    /// The reply to a publish or another request that was carried out.
    pub(super) fn accepted(request: &Message) -> Message {
        Self::reply(request)
    }

    pub(super) fn subscribe(&mut self, id: &Secret, request: &Message, on: bool) -> Message {
        if request.subscription.iter().any(|channel| channel.len() > CHANNEL_MAX) {
            return Self::refusal(request, 403, "a channel's name is too long");
        }
        if let Some(session) = self.all.get_mut(id) {
            for channel in &request.subscription {
                let room = session.subscriptions.len() < self.config.max_subscriptions;
                match on {
                    true if room => drop(session.subscriptions.insert(channel.clone())),
                    true => return Self::refusal(request, 403, "too many subscriptions"),
                    false => drop(session.subscriptions.remove(channel)),
                }
            }
        }
        let mut reply = Self::reply(request);
        reply.subscription.clone_from(&request.subscription);
        reply
    }

    /// Whether the session has asked for this channel.
    pub(super) fn is_subscribed(&self, id: &Secret, channel: &str) -> bool {
        self.all.get(id).is_some_and(|session| session.subscriptions.contains(channel))
    }

    /// The client says goodbye.
    pub(super) fn disconnect(&mut self, id: &Secret, request: &Message) -> Message {
        if let Some(session) = self.remove(id) {
            session.wake.send_modify(|signal| signal.left = true);
        }
        Self::reply(request)
    }

    /// Forgets a session without a word.
    pub(super) fn forget(&mut self, id: &Secret) -> bool {
        let session = self.remove(id);
        if let Some(session) = &session {
            session.wake.send_modify(|_| {});
        }
        session.is_some()
    }

    fn remove(&mut self, id: &Secret) -> Option<Session> {
        let session = self.all.remove(id)?;
        if let Some(browser) = &session.browser
            && let Entry::Occupied(mut of_browser) = self.of_browser.entry(browser.clone())
        {
            of_browser.get_mut().remove(id);
            if of_browser.get().is_empty() {
                of_browser.remove();
            }
        }
        Some(session)
    }

    /// Queues a message for a session. `false` if the session is not known, or its queue is full (it is forgotten then).
    pub(super) fn deliver(&mut self, id: &Secret, message: Message) -> bool {
        let Some(session) = self.all.get_mut(id) else { return false };
        let reachable = session.held.is_some() || session.socket.is_some() || session.publishing > 0;
        if self.config.lose_unheld && session.batch.is_none() && !reachable {
            self.lost += 1;
            return true;
        }
        if session.queue.len() >= self.config.max_queue {
            self.forget(id);
            self.overrun.push(id.clone());
            return false;
        }
        session.queue.push_back(Queued { batch: None, message });
        session.wake.send_modify(|_| {});
        true
    }

    /// A socket serves this session from now on: the one of this number. `None` if the session is not known (any more).
    pub(super) fn bind(&mut self, now: Instant, id: &Secret) -> Option<(u64, watch::Receiver<Signal>)> {
        let expires = now + self.config.max_interval;
        let session = self.all.get_mut(id)?;
        self.last_socket += 1;
        (session.socket, session.expires) = (Some(self.last_socket), expires);
        session.wake.send_modify(|_| {});
        Some((self.last_socket, session.wake.subscribe()))
    }

    /// The socket of this number is gone.
    pub(super) fn unbind(&mut self, now: Instant, id: &Secret, socket: u64) {
        let expires = now + self.config.max_interval;
        if let Some(session) = self.all.get_mut(id).filter(|session| session.socket == Some(socket)) {
            (session.socket, session.expires) = (None, expires);
        }
    }

    /// What this socket may send at once. `None` if its session is not known any more, or has another socket.
    pub(super) fn take_for_socket(&mut self, id: &Secret, socket: u64) -> Option<Vec<Message>> {
        let with_publish = self.config.deliver_with_publish;
        let session = self.all.get_mut(id).filter(|session| session.socket == Some(socket))?;
        let now = session.batch.is_none() && (session.publishing == 0 || !with_publish);
        Some(if now { session.take() } else { Vec::new() })
    }

    /// Whether some session was opened by the browser of that cookie.
    pub(super) fn knows_browser(&self, browser: &Secret) -> bool {
        self.of_browser.contains_key(browser)
    }

    /// Whether the session is known.
    pub(super) fn knows(&self, id: &Secret) -> bool {
        self.all.contains_key(id)
    }

    /// Those that were forgotten because too much waited for them.
    pub(super) fn overrun(&mut self) -> Vec<Secret> {
        std::mem::take(&mut self.overrun)
    }

    /// Whether somebody has to be forgotten, or told of, before this request is looked at. Looking through all sessions is the
    /// sweeper's work; a silent session is none all the same, and makes room.
    pub(super) fn is_due(&self, now: Instant, request: &Message) -> bool {
        let silent = |id: &Secret| self.all.get(id).is_some_and(|session| session.is_silent(now));
        let full = request.channel == HANDSHAKE && self.all.len() >= self.config.max_sessions;
        full || !self.overrun.is_empty() || request.client_id.as_ref().is_some_and(silent)
    }

    /// Forgets the sessions that have been silent for too long, and names them.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Secret> {
        let silent = self.all.iter().filter(|(_, session)| session.is_silent(now));
        let expired: Vec<_> = silent.map(|(id, _)| id.clone()).collect();
        for id in &expired {
            self.forget(id);
        }
        expired
    }

    /// When to [`expire`](Self::expire) next; `None` without sessions.
    pub(super) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        let busy = |session: &Session| session.held.is_some() || session.publishing > 0;
        // A busy session cannot expire sooner than this.
        let later = now + self.config.max_interval;
        self.all.values().map(|session| if busy(session) { later } else { session.expires }).min()
    }

    /// The sessions there are.
    pub(super) fn ids(&self) -> Vec<Secret> {
        self.all.keys().cloned().collect()
    }

    /// The node starts anew: every session is forgotten.
    pub(super) fn restart(&mut self) -> Vec<Secret> {
        let all = self.ids();
        for id in &all {
            self.forget(id);
        }
        all
    }

    /// How many sessions there are, and how many deliveries were lost because no connect was held.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.all.len(), self.lost)
    }
}

impl Session {
    /// No connect came for too long.
    fn is_silent(&self, now: Instant) -> bool {
        self.held.is_none() && self.publishing == 0 && self.expires <= now
    }

    fn has_news(&self) -> bool {
        self.queue.iter().any(|queued| queued.batch.is_none())
    }

    fn take(&mut self) -> Vec<Message> {
        self.queue.drain(..).map(|queued| queued.message).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
