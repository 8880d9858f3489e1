//! Owns the client's side of the protocol, without I/O: facts and `now` in, actions out. Source: §9.1, §9.4.
//!
//! One attempt: at the first failure of the session the machine says why and stops. Going on, with the same session or a new
//! one, is the caller's decision.

use std::{collections::VecDeque, time::Duration};

use chat_core::{Delivery, Error, ErrorKind, Retry, Secret};
use serde_json::{Map, Value, value::RawValue};
use tokio::time::Instant;

use super::{Closed, Incoming, Timings};
use crate::bayeux::message::{
    self, Ack, Advice, CONNECT, DISCONNECT, HANDSHAKE, LONG_POLLING, MAX_HOLD, MAX_INTERVAL, Message,
    Reconnect, SUBSCRIBE, UNKNOWN_SESSION, WEBSOCKET, bounded,
};

/// Connects that bring nothing and are not held, before they are paced.
const UNHELD: u32 = 5;
/// An answer that comes sooner was not held.
const HELD: Duration = Duration::from_secs(1);

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Each request is an exchange with a deadline of its own, which the HTTP client keeps.
    LongPolling,
    /// One socket; the machine keeps the deadlines.
    WebSocket,
}

impl Way {
    pub(super) const fn connection_type(self) -> &'static str {
        match self {
            Self::LongPolling => LONG_POLLING,
            Self::WebSocket => WEBSOCKET,
        }
    }
}

/// A message to send, and how long its answer may take.
#[derive(Debug)]
pub(super) struct Request {
    /// Names the exchange.
    pub(super) id: u64,
    pub(super) message: Message,
    pub(super) within: Duration,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Output {
    Send(Box<Request>),
    /// The first connect was answered: the session stands.
    Connected,
    Deliver(Incoming),
    /// A connect was answered.
    Alive,
    /// The request of the application was answered.
    Answered(Result<(), Error>),
    /// It is over; nothing follows.
    Over(Closed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Handshaking(Sent),
    /// Connected, or about to be.
    Open,
    Leaving(Sent),
    Over,
}

/// A request that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    id: u64,
    at: Instant,
    by: Instant,
}

impl Sent {
    /// Whether `reply` answers it. Old servers leave the id out; then the exchange tells.
    fn is_answered_by(self, reply: &Message, exchange: Option<u64>) -> bool {
        match &reply.id {
            Some(id) => *id == self.id.to_string(),
            None => exchange == Some(self.id),
        }
    }
}

/// Where the one connect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connect {
    /// Due at this moment.
    Due(Instant),
    Out(Sent),
}

/// The protocol of one session.
#[derive(Debug)]
pub(super) struct Machine {
    timings: Timings,
    way: Way,
    phase: Phase,
    last_id: u64,
    client_id: Option<Secret>,
    /// The last batch that was received, if the server acknowledged the extension.
    ack: Option<i64>,
    offer_ack: bool,
    interval: Duration,
    hold: Duration,
    connect: Option<Connect>,
    connected: bool,
    /// The application does not take what comes: no further connect.
    paused: bool,
    unheld: u32,
    /// The application's one request.
    request: Option<Sent>,
    out: VecDeque<Output>,
}

impl Machine {
    pub(super) fn new(way: Way, timings: Timings, offer_ack: bool) -> Self {
        Self {
            timings,
            way,
            phase: Phase::New,
            last_id: 0,
            client_id: None,
            ack: None,
            offer_ack,
            interval: Duration::ZERO,
            hold: timings.hold,
            connect: None,
            connected: false,
            paused: false,
            unheld: 0,
            request: None,
            out: VecDeque::new(),
        }
    }

    /// Opens a new session.
    pub(super) fn handshake(&mut self, now: Instant) {
        let mut message = Message::new(HANDSHAKE);
        message.version = Some("1.0".into());
        message.minimum_version = Some("1.0".into());
        message.supported_connection_types = match self.way {
            Way::LongPolling => vec![LONG_POLLING.into()],
            Way::WebSocket => vec![WEBSOCKET.into(), LONG_POLLING.into()],
        };
        if self.offer_ack {
            message = message.with_ack(Ack::Supported(true));
        }
        self.phase = Phase::Handshaking(self.send(now, message, self.timings.request));
    }

    /// Goes on with a session that the server may still know.
    pub(super) fn resume(&mut self, now: Instant, client_id: Secret, ack: Option<i64>) {
        (self.client_id, self.ack) = (Some(client_id), ack);
        self.open(now);
    }

    fn open(&mut self, now: Instant) {
        self.phase = Phase::Open;
        self.connect = Some(Connect::Due(now));
        self.pursue(now);
    }

    /// The session's id, once there is one, and the last batch received.
    pub(super) fn session(&self) -> Option<(&Secret, Option<i64>)> {
        self.client_id.as_ref().map(|id| (id, self.ack))
    }

    /// Whether the application's next request may go.
    pub(super) fn is_free(&self) -> bool {
        self.connected && self.phase == Phase::Open && self.request.is_none()
    }

    /// Publishes. Only while [`is_free`](Self::is_free).
    pub(super) fn publish(&mut self, now: Instant, channel: String, data: Box<RawValue>) {
        let mut message = Message::new(channel);
        message.data = Some(data);
        self.request = Some(self.send(now, message, self.timings.request));
    }

    /// Subscribes. Only while [`is_free`](Self::is_free).
    pub(super) fn subscribe(&mut self, now: Instant, channel: String) {
        let mut message = Message::new(SUBSCRIBE);
        message.subscription = vec![channel];
        self.request = Some(self.send(now, message, self.timings.request));
    }

    /// Says goodbye. Only while [`is_free`](Self::is_free).
    pub(super) fn disconnect(&mut self, now: Instant, ext: Map<String, Value>) {
        let mut message = Message::new(DISCONNECT);
        message.ext = ext;
        self.phase = Phase::Leaving(self.send(now, message, self.timings.disconnect));
    }

    fn send(&mut self, now: Instant, mut message: Message, within: Duration) -> Sent {
        self.last_id += 1;
        let id = self.last_id;
        message.id = Some(id.to_string());
        message.client_id.clone_from(&self.client_id);
        self.out.push_back(Output::Send(Box::new(Request { id, message, within })));
        Sent { id, at: now, by: now + within }
    }

    /// Holds connects back, or lets them go again.
    pub(super) fn pause(&mut self, now: Instant, on: bool) {
        self.paused = on;
        self.pursue(now);
    }

    /// Sends the next connect once it is due.
    fn pursue(&mut self, now: Instant) {
        let due = matches!(self.connect, Some(Connect::Due(at)) if at <= now);
        if !due || self.paused || self.phase != Phase::Open {
            return;
        }
        let mut message = Message::new(CONNECT);
        message.connection_type = Some(self.way.connection_type().into());
        let mut hold = self.hold;
        if !self.connected {
            // Answered at once: so both sides know where they are.
            message.advice = Some(Advice { timeout: Some(0), ..Advice::default() });
            hold = Duration::ZERO;
        }
        if let Some(batch) = self.ack {
            message = message.with_ack(Ack::Batch(batch));
        }
        self.connect = Some(Connect::Out(self.send(now, message, hold + self.timings.request)));
    }

    fn over(&mut self, closed: Closed) {
        if self.phase == Phase::Over {
            return;
        }
        let left = matches!(self.phase, Phase::Leaving(_));
        self.phase = Phase::Over;
        self.connect = None;
        if self.request.take().is_some() {
            let error = Error::new(ErrorKind::Network, "the Bayeux session is gone");
            self.out.push_back(Output::Answered(Err(error.with_delivery(Delivery::Unknown))));
        }
        self.out.push_back(Output::Over(if left { Closed::Left } else { closed }));
    }

    /// Messages arrived: the answer to the exchange, or (`None`) a frame.
    pub(super) fn received(&mut self, now: Instant, exchange: Option<u64>, messages: Vec<Message>) {
        // With acknowledgements, what came with a connect that nobody waits for comes again.
        let stale = self.ack.is_some()
            && messages.iter().any(|m| m.channel == CONNECT && m.is_reply() && !self.is_ours(m, exchange));
        let (replies, pushed): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| message.is_meta() || message.is_reply());
        let mut brought = false;
        for message in pushed {
            if let Some(data) = message.data
                && !stale
                && self.phase != Phase::Over
            {
                brought = true;
                self.out.push_back(Output::Deliver(Incoming { channel: message.channel, data }));
            }
        }
        for reply in replies {
            self.reply(now, exchange, reply, brought);
        }
        if let Some(exchange) = exchange {
            let error = || Error::new(ErrorKind::UnexpectedResponse, "the answer holds no reply");
            self.failed(Some(exchange), error());
        }
    }

    fn is_ours(&self, reply: &Message, exchange: Option<u64>) -> bool {
        matches!(self.connect, Some(Connect::Out(sent)) if sent.is_answered_by(reply, exchange))
    }

    fn reply(&mut self, now: Instant, exchange: Option<u64>, reply: Message, brought: bool) {
        if self.phase == Phase::Over {
            return;
        }
        let successful = reply.successful.unwrap_or(reply.error.is_none());
        match (self.phase, reply.channel.as_str()) {
            (Phase::Handshaking(sent), HANDSHAKE) if sent.is_answered_by(&reply, exchange) => {
                self.shaken(now, &reply, successful);
            }
            (Phase::Leaving(sent), DISCONNECT) if sent.is_answered_by(&reply, exchange) => {
                self.over(Closed::Left);
            }
            (_, DISCONNECT) => {
                let error = Error::new(ErrorKind::SessionLost, "the server closed the Bayeux session");
                self.over(Closed::Forgotten(error.with_retry(Retry::Backoff)));
            }
            (_, CONNECT) if self.is_ours(&reply, exchange) => {
                self.connect_answered(now, &reply, successful, brought);
            }
            _ => self.request_answered(exchange, &reply, successful),
        }
    }

    fn shaken(&mut self, now: Instant, reply: &Message, successful: bool) {
        if !successful {
            let error = message::refusal(reply, "handshake");
            let none = reply.advice.and_then(|advice| advice.reconnect) == Some(Reconnect::None);
            return self.over(if none { Closed::Refused(error) } else { Closed::Forgotten(error) });
        }
        let Some(client_id) = reply.client_id.clone().filter(|id| !id.expose().is_empty()) else {
            let error = Error::new(ErrorKind::UnexpectedResponse, "the handshake names no session");
            return self.over(Closed::Forgotten(error));
        };
        let types = &reply.supported_connection_types;
        if !types.is_empty() && !types.iter().any(|name| name == self.way.connection_type()) {
            let error = Error::new(ErrorKind::Refused, "the connection type is not supported");
            return self.over(Closed::Refused(error));
        }
        self.client_id = Some(client_id);
        let confirmed = self.offer_ack && reply.ack() == Some(Ack::Supported(true));
        self.ack = confirmed.then_some(-1);
        self.advised(reply.advice);
        self.open(now);
    }

    fn advised(&mut self, advice: Option<Advice>) {
        let advice = advice.unwrap_or_default();
        if let Some(interval) = advice.interval {
            self.interval = bounded(interval, MAX_INTERVAL);
        }
        // Zero would mean that no connect is held, which shows by itself.
        if let Some(timeout) = advice.timeout.filter(|timeout| *timeout > 0) {
            self.hold = bounded(timeout, MAX_HOLD);
        }
    }

    fn connect_answered(&mut self, now: Instant, reply: &Message, successful: bool, brought: bool) {
        let Some(Connect::Out(sent)) = self.connect.take() else { return };
        let reconnect = reply.advice.and_then(|advice| advice.reconnect);
        let error = || message::refusal(reply, "connect");
        match (successful, reconnect) {
            (true, None | Some(Reconnect::Retry)) => {}
            (_, Some(Reconnect::None)) => return self.over(Closed::Refused(error())),
            (_, Some(Reconnect::Handshake)) => return self.over(Closed::Forgotten(error())),
            (false, _) if is_unknown(reply) => {
                return self.over(Closed::Forgotten(error().with_retry(Retry::Backoff)));
            }
            (false, _) => return self.over(Closed::Unconnected(error())),
        }
        self.advised(reply.advice);
        if let (Some(batch), Some(Ack::Batch(received))) = (&mut self.ack, reply.ack()) {
            *batch = received;
        }
        if self.connected {
            self.out.push_back(Output::Alive);
        } else {
            self.connected = true;
            self.out.push_back(Output::Connected);
        }
        // A server that holds nothing and advises no interval must not be asked in a circle.
        self.unheld = if brought || now >= sent.at + HELD { 0 } else { self.unheld.saturating_add(1) };
        let pace = if self.unheld >= UNHELD { HELD } else { Duration::ZERO };
        self.connect = Some(Connect::Due(now + self.interval.max(pace)));
        self.pursue(now);
    }

    fn request_answered(&mut self, exchange: Option<u64>, reply: &Message, successful: bool) {
        if !self.request.is_some_and(|sent| sent.is_answered_by(reply, exchange)) {
            return;
        }
        self.request = None;
        if successful {
            self.out.push_back(Output::Answered(Ok(())));
            return;
        }
        let error = message::refusal(reply, "publish");
        if is_unknown(reply) {
            let error = error.with_delivery(Delivery::NotSent).with_retry(Retry::Backoff);
            self.out.push_back(Output::Answered(Err(error.clone())));
            return self.over(Closed::Forgotten(error));
        }
        self.out.push_back(Output::Answered(Err(error)));
        match reply.advice.and_then(|advice| advice.reconnect) {
            Some(Reconnect::None) => self.over(Closed::Refused(message::refusal(reply, "publish"))),
            Some(Reconnect::Handshake) => self.over(Closed::Forgotten(message::refusal(reply, "publish"))),
            _ => {}
        }
    }

    /// An exchange, or (`None`) the socket, came to nothing. Exchanges that nobody waits for any more may fail.
    pub(super) fn failed(&mut self, exchange: Option<u64>, error: Error) {
        let meant = |sent: Sent| exchange.is_none_or(|id| id == sent.id);
        if self.request.is_some_and(meant) {
            self.request = None;
            self.out.push_back(Output::Answered(Err(error.clone())));
        }
        let gone = match (self.phase, self.connect) {
            (Phase::Handshaking(sent), _) => meant(sent),
            (Phase::Leaving(sent), _) => meant(sent),
            (Phase::Open, Some(Connect::Out(sent))) => meant(sent),
            _ => exchange.is_none(),
        };
        if gone {
            self.over(Closed::Unconnected(error));
        }
    }

    /// When [`timeout`](Self::timeout) wants to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = match self.connect {
            Some(Connect::Due(at)) if !self.paused && self.phase == Phase::Open => Some(at),
            _ => None,
        };
        let overdue = (self.way == Way::WebSocket).then(|| self.sent().map(|sent| sent.by).min()).flatten();
        [due, overdue].into_iter().flatten().min()
    }

    fn sent(&self) -> impl Iterator<Item = Sent> {
        let phase = match self.phase {
            Phase::Handshaking(sent) | Phase::Leaving(sent) => Some(sent),
            _ => None,
        };
        let connect = match self.connect {
            Some(Connect::Out(sent)) => Some(sent),
            _ => None,
        };
        [phase, connect, self.request].into_iter().flatten()
    }

    /// The deadline has come.
    pub(super) fn timeout(&mut self, now: Instant) {
        if self.way == Way::WebSocket {
            let overdue: Vec<_> = self.sent().filter(|sent| sent.by <= now).collect();
            for sent in overdue {
                let error = Error::new(ErrorKind::Timeout, "no reply").with_delivery(Delivery::Unknown);
                self.failed(Some(sent.id), error);
            }
        }
        self.pursue(now);
    }

    /// What to do next.
    pub(super) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

fn is_unknown(reply: &Message) -> bool {
    reply.error.as_ref().and_then(message::BayeuxError::code) == Some(UNKNOWN_SESSION)
}

#[cfg(test)]
mod tests;
