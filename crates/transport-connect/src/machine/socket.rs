//! Owns one socket's protocol: subscribing, heartbeats, deadlines, renewal, the wait for the end. Source: §7.
//!
//! Facts go in through `opened`, `received`, `timeout` and the like; what to do comes out of [`SocketMachine::poll`].

use std::{collections::VecDeque, time::Duration};

use chat_core::{EndReason, Error, ErrorKind, Retry};
use tokio::time::Instant;

use crate::{config::Timings, wire::Frame};

/// A control frame, the only thing that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Subscribe,
    Ping,
    Heartbeat,
}

impl Control {
    /// As it stands on the wire.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Subscribe => r#"{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}"#,
            Self::Ping => r#"{"topic":"aws/ping"}"#,
            Self::Heartbeat => r#"{"topic":"aws/heartbeat"}"#,
        }
    }
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Output {
    /// Write this.
    Send(Control),
    /// The subscription is acknowledged: the connection stands.
    Established,
    /// Something was received since the last heartbeat.
    Alive,
    /// A deep heartbeat succeeded or failed.
    Deep(Result<(), Error>),
    /// The socket should be replaced before this moment.
    Renew(Instant),
    /// The connection is gone.
    Lost(Error),
    /// The wait for the vendor's own end is over.
    Ended(EndReason),
}

/// What a frame was, as far as the driver is concerned.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    /// An item, as text.
    Item(std::borrow::Cow<'a, str>),
    /// Of a topic that is none of ours, or no frame of this protocol: kind and text.
    Other(std::borrow::Cow<'a, str>, &'a str),
    /// A control frame.
    Control,
}

/// Asking for the subscription again: the vendor's manager does so, too.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One socket's protocol.
#[derive(Debug)]
pub(crate) struct SocketMachine {
    timings: Timings,
    out: VecDeque<Output>,
    phase: Phase,
    /// When the next ping and heartbeat are due.
    tick: Option<Instant>,
    /// Something was received since the last heartbeat.
    received: bool,
    /// Reading was held up by a slow reader since the last heartbeat: silence proves nothing.
    stalled: bool,
    ping_open: bool,
    renew: Option<Instant>,
    renew_before: Option<Instant>,
    write_by: Option<Instant>,
    end_by: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Subscribing { give_up: Instant, ask_again: Instant },
    Live,
    Over,
}

impl SocketMachine {
    pub(crate) fn new(timings: Timings) -> Self {
        Self {
            timings,
            out: VecDeque::new(),
            phase: Phase::New,
            tick: None,
            received: false,
            stalled: false,
            ping_open: false,
            renew: None,
            renew_before: None,
            write_by: None,
            end_by: None,
        }
    }

    /// The socket is open. `url_life`: how long from now until the vendor wants a new URL in use, if it said so.
    pub(crate) fn opened(&mut self, now: Instant, url_life: Option<Duration>) {
        let life = url_life.map_or(self.timings.socket_life, |life| life.min(self.timings.socket_life));
        // A life that is over already, or nearly, must not make a storm of renewals.
        let life = life.max(self.timings.renew_ahead + Duration::from_secs(30));
        self.renew_before = Some(now + life);
        self.phase = Phase::Subscribing { give_up: now + self.timings.subscribe, ask_again: now + ASK_AGAIN };
        self.out.push_back(Output::Send(Control::Subscribe));
        self.beat(now);
    }

    /// A frame arrived.
    pub(crate) fn received<'a>(&mut self, now: Instant, frame: Frame<'a>) -> Received<'a> {
        self.received = true;
        match frame {
            Frame::Chat(item) => {
                if let Some(end_by) = &mut self.end_by {
                    *end_by = now + self.timings.end_quiet;
                }
                return Received::Item(item);
            }
            Frame::Ping { status } => {
                self.ping_open = false;
                let deep = match status {
                    Some(200) => Ok(()),
                    status => Err(deep_failure("the deep heartbeat failed", status)),
                };
                self.out.push_back(Output::Deep(deep));
            }
            Frame::Subscribe { status, topics } => self.subscription(status.as_deref(), &topics),
            Frame::Heartbeat | Frame::Empty | Frame::Unsubscribe { .. } => {}
            // The vendor's manager reports it as a failure of a topic; the connection stays. If it was the subscription that
            // failed, its deadline finds out.
            Frame::GatewayError { message, request_id } => {
                tracing::debug!(%message, ?request_id, "gateway error");
            }
            Frame::OtherTopic { topic, raw } => return Received::Other(topic, raw),
            Frame::Other(raw) => return Received::Other("".into(), raw),
        }
        Received::Control
    }

    fn subscription(&mut self, status: Option<&str>, topics: &[std::borrow::Cow<'_, str>]) {
        let ours = topics.is_empty() || topics.iter().any(|topic| topic == crate::wire::frames::TOPIC_CHAT);
        if !ours || self.phase == Phase::Over {
            return;
        }
        match status {
            Some("success") if self.phase == Phase::Live => {}
            Some("success") => {
                self.phase = Phase::Live;
                self.out.push_back(Output::Established);
                if let Some(before) = self.renew_before {
                    self.renew = Some(before - self.timings.renew_ahead);
                }
            }
            // Deaf from here on, whatever else works: a new socket is needed.
            Some(_) => self.lose(
                Error::new(ErrorKind::Refused, "the subscription was refused").with_retry(Retry::Backoff),
            ),
            None => {}
        }
    }

    /// A frame waits to be written; `None` once all are.
    pub(crate) fn writing(&mut self, now: Instant, pending: bool) {
        match pending {
            true => self.write_by = Some(self.write_by.unwrap_or(now + self.timings.write)),
            false => self.write_by = None,
        }
    }

    /// Reading is held up because the session does not take its events.
    pub(crate) fn stalled(&mut self) {
        self.stalled = true;
    }

    /// The session has left for good; the vendor's own end may still come.
    pub(crate) fn leaving(&mut self, now: Instant) {
        self.end_by = Some(now + self.timings.end_quiet);
    }

    /// Whether the session has left for good.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.end_by.is_some()
    }

    /// When `timeout` wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let subscribing = match self.phase {
            Phase::Subscribing { give_up, ask_again } => Some(give_up.min(ask_again)),
            Phase::New | Phase::Live => None,
            Phase::Over => return None,
        };
        [subscribing, self.tick, self.renew, self.write_by, self.end_by].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn timeout(&mut self, now: Instant) {
        if let Phase::Subscribing { give_up, ask_again } = self.phase {
            if give_up <= now {
                return self.lose(Error::new(ErrorKind::Timeout, "the subscription was not acknowledged"));
            }
            if ask_again <= now {
                self.phase = Phase::Subscribing { give_up, ask_again: now + ASK_AGAIN };
                self.out.push_back(Output::Send(Control::Subscribe));
            }
        }
        if due(self.write_by, now) {
            return self.lose(Error::new(ErrorKind::Timeout, "the socket takes no more frames"));
        }
        if due(self.tick, now) {
            if !self.received && !self.stalled {
                return self
                    .lose(Error::new(ErrorKind::Timeout, "nothing was received since the last heartbeat"));
            }
            if self.received {
                self.out.push_back(Output::Alive);
            }
            if self.ping_open && !self.stalled {
                self.out
                    .push_back(Output::Deep(Err(deep_failure("the deep heartbeat was not answered", None))));
            }
            self.beat(now);
        }
        if due(self.renew, now) {
            self.renew = None;
            if let Some(before) = self.renew_before {
                self.out.push_back(Output::Renew(before));
            }
        }
        if due(self.end_by, now) {
            self.phase = Phase::Over;
            self.out.push_back(Output::Ended(EndReason::EndedByUs));
        }
    }

    /// What to do next, if anything.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn beat(&mut self, now: Instant) {
        self.received = false;
        self.stalled = false;
        self.ping_open = true;
        self.tick = Some(now + self.timings.heartbeat);
        self.out.extend([Output::Send(Control::Ping), Output::Send(Control::Heartbeat)]);
    }

    fn lose(&mut self, error: Error) {
        self.phase = Phase::Over;
        self.out.push_back(Output::Lost(error));
    }
}

fn due(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| at <= now)
}

fn deep_failure(context: &'static str, status: Option<u64>) -> Error {
    let mut vendor = chat_core::VendorError::default();
    vendor.status = status.and_then(|status| status.try_into().ok());
    Error::new(ErrorKind::Server, context).with_vendor(vendor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode_frame;

    const ACK: &str = r#"{"topic":"aws/subscribe","content":{"status":"success","topics":["aws/chat"]}}"#;
    const BEAT: &str = r#"{"topic":"aws/heartbeat"}"#;
    const PONG: &str = r#"{"topic":"aws/ping","statusCode":200,"statusContent":"OK"}"#;

    struct Bench {
        machine: SocketMachine,
        start: Instant,
    }

    impl Bench {
        fn opened() -> Self {
            let mut bench = Self { machine: SocketMachine::new(Timings::default()), start: Instant::now() };
            bench.machine.opened(bench.start, None);
            bench
        }

        fn live() -> Self {
            let mut bench = Self::opened();
            bench.text(0.1, ACK);
            bench.take();
            bench
        }

        fn at(&self, seconds: f64) -> Instant {
            self.start + Duration::from_secs_f64(seconds)
        }

        fn text(&mut self, seconds: f64, text: &str) {
            let now = self.at(seconds);
            self.machine.received(now, decode_frame(text));
        }

        fn tick(&mut self, seconds: f64) -> Vec<String> {
            let now = self.at(seconds);
            self.machine.timeout(now);
            self.take()
        }

        fn take(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.machine.poll())
                .map(|output| match output {
                    Output::Send(control) => format!("{control:?}"),
                    Output::Deep(result) => format!("Deep({})", result.is_ok()),
                    Output::Lost(error) => format!("Lost: {error}"),
                    Output::Renew(_) => "Renew".into(),
                    other => format!("{other:?}"),
                })
                .collect()
        }
    }

    #[test]
    fn control_frames_are_the_vendors() {
        for (control, frame) in [
            (Control::Subscribe, Frame::subscribe_to_chat()),
            (Control::Ping, Frame::Ping { status: None }),
            (Control::Heartbeat, Frame::Heartbeat),
        ] {
            assert_eq!(control.text(), frame.encode());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_stands_once_the_subscription_is_acknowledged() {
        let mut bench = Bench::opened();
        assert_eq!(bench.take(), ["Subscribe", "Ping", "Heartbeat"]);
        bench.text(0.1, PONG);
        bench.text(0.1, BEAT);
        assert_eq!(bench.take(), ["Deep(true)"], "answers alone do not establish it");
        bench.text(0.2, ACK);
        bench.text(0.3, ACK);
        assert_eq!(bench.take(), ["Established"], "once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deaf_subscription_is_an_error() {
        let mut bench = Bench::opened();
        bench.take();
        for second in 1..5 {
            bench.text(f64::from(second) - 0.5, BEAT);
            assert_eq!(bench.tick(f64::from(second)), ["Subscribe"], "asked again");
        }
        assert_eq!(bench.tick(5.0), ["Lost: no answer in time: the subscription was not acknowledged"]);
        assert_eq!(bench.machine.deadline(), None);

        let mut bench = Bench::opened();
        bench.take();
        bench.text(0.1, r#"{"topic":"aws/subscribe","content":{"status":"failure","topics":["aws/chat"]}}"#);
        assert_eq!(bench.take(), ["Lost: refused by the service: the subscription was refused"]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_by_the_next_heartbeat() {
        let mut bench = Bench::live();
        assert_eq!(bench.tick(10.0), ["Alive", "Deep(false)", "Ping", "Heartbeat"]);
        bench.text(15.0, r#"{"topic":"aws/chat","content":"{}"}"#);
        assert_eq!(
            bench.tick(20.0),
            ["Alive", "Deep(false)", "Ping", "Heartbeat"],
            "any traffic proves that the link lives; a ping without an answer is told"
        );
        assert_eq!(
            bench.tick(30.0),
            ["Lost: no answer in time: nothing was received since the last heartbeat"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_pauses_the_deadline_but_not_the_heartbeats() {
        let mut bench = Bench::live();
        bench.tick(10.0);
        bench.machine.stalled();
        assert_eq!(bench.tick(20.0), ["Ping", "Heartbeat"]);
        bench.text(21.0, BEAT);
        assert_eq!(bench.tick(30.0), ["Alive", "Deep(false)", "Ping", "Heartbeat"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_takes_no_frames_is_lost() {
        let mut bench = Bench::live();
        let at = bench.at(3.0);
        bench.machine.writing(at, true);
        let at = bench.at(5.0);
        bench.machine.writing(at, true);
        assert_eq!(bench.machine.deadline(), Some(bench.at(10.0)));
        bench.text(9.0, BEAT);
        bench.tick(10.0);
        assert_eq!(bench.tick(13.0), ["Lost: no answer in time: the socket takes no more frames"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_is_renewed_before_its_life_ends() {
        let life = |url_life: Option<u64>| {
            let mut machine = SocketMachine::new(Timings::default());
            let start = Instant::now();
            machine.opened(start, url_life.map(Duration::from_secs));
            machine.received(start, decode_frame(ACK));
            let mut now = start;
            loop {
                while let Some(output) = machine.poll() {
                    if let Output::Renew(before) = output {
                        return ((now - start).as_secs(), (before - start).as_secs());
                    }
                }
                machine.received(now, decode_frame(BEAT));
                now = machine.deadline().unwrap();
                machine.timeout(now);
            }
        };
        assert_eq!(life(None), (58 * 60, 59 * 60), "the vendor's planned life");
        assert_eq!(life(Some(3974)), (58 * 60, 59 * 60), "the URL's expiry is later");
        assert_eq!(life(Some(600)), (540, 600), "the URL's expiry is sooner");
        assert_eq!(life(Some(0)), (30, 90), "an expired one makes no storm");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_the_end_is_extended_by_every_item() {
        let mut bench = Bench::live();
        let at = bench.at(1.0);
        bench.machine.leaving(at);
        for second in [10.0, 20.0, 30.0, 40.0, 50.0] {
            bench.text(second - 1.0, BEAT);
            bench.tick(second);
        }
        bench.text(50.5, r#"{"topic":"aws/chat","content":"{}"}"#);
        for second in [60.0, 70.0, 80.0, 90.0, 100.0, 110.0] {
            assert!(!bench.tick(second).iter().any(|output| output.starts_with("Ended")), "{second}");
            bench.text(second + 0.1, BEAT);
        }
        assert_eq!(bench.tick(110.5), ["Ended(EndedByUs)"]);
    }
}
