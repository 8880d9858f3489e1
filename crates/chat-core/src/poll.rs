//! Owns the poll loop of polled transports: one poll at a time, failures counted, each event once. No I/O.
//! Source: protocol notes of GMS v2, section 10.3, "Ours, settled".

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// How a [`Poll`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollPolicy {
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// How many exceptions in a row are borne; the next one means that the chat server is offline.
    pub exception_limit: u32,
    /// The interval while the chat server is offline.
    pub offline_interval: Duration,
    /// A server's `Retry-After` is obeyed up to this.
    pub retry_after_cap: Duration,
}

impl PollPolicy {
    /// Sets the interval; while offline, three times as long, at most 15 s.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self.offline_interval = (interval * 3).min(Duration::from_secs(15)).max(interval);
        self
    }

    /// Sets how many exceptions in a row are borne.
    #[must_use]
    pub const fn with_exception_limit(mut self, exception_limit: u32) -> Self {
        self.exception_limit = exception_limit;
        self
    }
}

impl Default for PollPolicy {
    /// Every 3 s, 5 exceptions, every 10 s while offline, `Retry-After` up to 2 minutes.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            exception_limit: 5,
            offline_interval: Duration::from_secs(10),
            retry_after_cap: Duration::from_secs(120),
        }
    }
}

/// How a poll went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollClass {
    /// A well-formed good reply.
    Good,
    /// Something answered, but not the chat server.
    Exception,
    /// No HTTP answer: network failure or time-out.
    NoAnswer,
    /// An error of its own, reported elsewhere (authentication, rate limit, 4xx): neither counts nor resets.
    Other {
        /// The server's `Retry-After`.
        retry_after: Option<Duration>,
    },
}

/// What the poll machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollInput {
    /// Poll from now on.
    Start {
        /// The chat is being restored: until the first good poll, failure means "restored offline".
        restoring: bool,
    },
    /// Poll no more. A poll that is under way still counts.
    Stop,
    /// The poll that was asked for is answered.
    Answered(PollClass),
    /// Count exceptions from 0 again.
    ResetExceptions,
    /// [`Poll::deadline`] has come.
    Tick,
}

/// What the driver must do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollAction {
    /// Poll, then report `Answered`.
    PollNow,
    /// Tell the readers.
    Publish(PollEvent),
}

/// What readers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PollEvent {
    /// Polling has started.
    PollingStarted,
    /// Polling has stopped.
    PollingStopped,
    /// The first failure, of either class.
    ConnectionPending,
    /// The first poll without an answer.
    Disconnected,
    /// The chat server is offline: the exception limit is exceeded.
    ServerWentOffline,
    /// The first poll of a restored chat failed.
    RestoredOffline,
    /// Good again, after `Disconnected`.
    Reconnected,
    /// Good again, after `ServerWentOffline` or `RestoredOffline`; followed by `ConnectionRestored`.
    ServerBackOnline,
    /// Good again, after `ConnectionPending`.
    ConnectionRestored,
}

/// The poll machine.
#[derive(Debug)]
pub struct Poll {
    policy: PollPolicy,
    rng: fastrand::Rng,
    running: bool,
    in_flight: bool,
    next: Option<Instant>,
    /// When the newest poll began.
    begun: Option<Instant>,
    /// No good poll since a restore.
    restoring: bool,
    exceptions: u32,
    pending: bool,
    disconnected: bool,
    /// Told that the chat server is offline, in either way.
    offline: bool,
}

impl Poll {
    /// Stopped. `seed` makes the jitter reproducible.
    pub fn new(policy: PollPolicy, seed: u64) -> Self {
        Self {
            policy,
            rng: fastrand::Rng::with_seed(seed),
            running: false,
            in_flight: false,
            next: None,
            begun: None,
            restoring: false,
            exceptions: 0,
            pending: false,
            disconnected: false,
            offline: false,
        }
    }

    /// Whether the loop runs.
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// How many exceptions in a row there were.
    pub const fn exceptions(&self) -> u32 {
        self.exceptions
    }

    /// Polls by hand, whether the loop runs or not.
    ///
    /// # Errors
    /// `PollRunning` while a poll is under way.
    pub fn manual(&mut self, now: Instant) -> Result<Vec<PollAction>> {
        if self.in_flight {
            return Err(Error::new(ErrorKind::PollRunning, ""));
        }
        let mut out = Vec::new();
        self.poll(now, &mut out);
        Ok(out)
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: PollInput) -> Vec<PollAction> {
        let mut out = Vec::new();
        match input {
            PollInput::Start { restoring } => {
                if !self.running {
                    self.running = true;
                    self.restoring |= restoring;
                    out.push(PollAction::Publish(PollEvent::PollingStarted));
                    if !self.in_flight {
                        self.poll(now, &mut out);
                    }
                }
            }
            PollInput::Stop => {
                if self.running {
                    self.running = false;
                    self.next = None;
                    out.push(PollAction::Publish(PollEvent::PollingStopped));
                }
            }
            PollInput::Answered(class) => {
                if self.in_flight {
                    self.in_flight = false;
                    self.answered(class, &mut out);
                    if self.running {
                        self.next = Some(self.next_after(now, class));
                    }
                }
            }
            PollInput::ResetExceptions => self.exceptions = 0,
            PollInput::Tick => {
                if self.next.is_some_and(|at| at <= now) && !self.in_flight {
                    self.poll(now, &mut out);
                }
            }
        }
        out
    }

    /// When to call with [`PollInput::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        self.next.filter(|_| !self.in_flight)
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<PollAction>) {
        self.in_flight = true;
        self.next = None;
        self.begun = Some(now);
        out.push(PollAction::PollNow);
    }

    fn answered(&mut self, class: PollClass, out: &mut Vec<PollAction>) {
        let mut publish = |event| out.push(PollAction::Publish(event));
        match class {
            PollClass::Good => {
                self.exceptions = 0;
                self.restoring = false;
                let offline = std::mem::take(&mut self.offline);
                if std::mem::take(&mut self.disconnected) {
                    publish(PollEvent::Reconnected);
                }
                if offline {
                    publish(PollEvent::ServerBackOnline);
                }
                if std::mem::take(&mut self.pending) {
                    publish(PollEvent::ConnectionRestored);
                }
            }
            PollClass::Exception | PollClass::NoAnswer => {
                if !std::mem::replace(&mut self.pending, true) {
                    publish(PollEvent::ConnectionPending);
                }
                if class == PollClass::Exception {
                    self.exceptions = self.exceptions.saturating_add(1);
                } else if !std::mem::replace(&mut self.disconnected, true) {
                    publish(PollEvent::Disconnected);
                }
                // Whoever restored a chat and heard that the server is offline does not hear it again.
                let event = if self.restoring {
                    PollEvent::RestoredOffline
                } else if class == PollClass::Exception && self.exceptions > self.policy.exception_limit {
                    PollEvent::ServerWentOffline
                } else {
                    return;
                };
                if !std::mem::replace(&mut self.offline, true) {
                    publish(event);
                }
            }
            PollClass::Other { .. } => {}
        }
    }

    /// A steady beat while all is well. After a failure a fleet is spread, and an offline server is asked less often.
    fn next_after(&mut self, now: Instant, class: PollClass) -> Instant {
        let interval = if self.offline { self.policy.offline_interval } else { self.policy.interval };
        let beat = self.begun.map_or(now, |begun| begun + interval);
        let spread = match class {
            PollClass::Good => Duration::ZERO,
            _ => interval.mul_f64(self.rng.f64() / 10.0),
        };
        let told = match class {
            PollClass::Other { retry_after: Some(delay) } => now + delay.min(self.policy.retry_after_cap),
            _ => now,
        };
        beat.max(told) + spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(actions: Vec<PollAction>) -> Vec<PollEvent> {
        actions
            .into_iter()
            .filter_map(|action| match action {
                PollAction::Publish(event) => Some(event),
                PollAction::PollNow => None,
            })
            .collect()
    }

    fn answer(poll: &mut Poll, class: PollClass) -> Vec<PollEvent> {
        let now = Instant::now();
        let _ = poll.manual(now);
        events(poll.handle(now, PollInput::Answered(class)))
    }

    #[test]
    fn the_server_goes_offline_when_the_limit_is_exceeded_and_comes_back_once() {
        use PollEvent::{ConnectionPending, ConnectionRestored, ServerBackOnline, ServerWentOffline};
        let mut poll = Poll::new(PollPolicy::default(), 1);
        assert_eq!(answer(&mut poll, PollClass::Exception), [ConnectionPending]);
        for _ in 2..=5 {
            assert_eq!(answer(&mut poll, PollClass::Exception), []);
        }
        assert_eq!(answer(&mut poll, PollClass::Exception), [ServerWentOffline]);
        for _ in 0..20 {
            assert_eq!(answer(&mut poll, PollClass::Exception), []);
        }
        assert_eq!(answer(&mut poll, PollClass::Good), [ServerBackOnline, ConnectionRestored]);
        assert_eq!(answer(&mut poll, PollClass::Good), []);
    }

    #[test]
    fn an_early_success_restores_the_connection_alone() {
        let mut poll = Poll::new(PollPolicy::default(), 1);
        for _ in 0..5 {
            answer(&mut poll, PollClass::Exception);
        }
        assert_eq!(answer(&mut poll, PollClass::Good), [PollEvent::ConnectionRestored]);
    }

    #[test]
    fn a_failure_while_restoring_means_restored_offline() {
        let mut poll = Poll::new(PollPolicy::default(), 1);
        let now = Instant::now();
        poll.handle(now, PollInput::Start { restoring: true });
        assert_eq!(
            answer(&mut poll, PollClass::Exception),
            [PollEvent::ConnectionPending, PollEvent::RestoredOffline]
        );
        assert_eq!(
            answer(&mut poll, PollClass::Good),
            [PollEvent::ServerBackOnline, PollEvent::ConnectionRestored]
        );
    }

    #[test]
    fn two_polls_never_run_at_once() {
        let now = Instant::now();
        let mut poll = Poll::new(PollPolicy::default(), 1);
        poll.handle(now, PollInput::Start { restoring: false });
        assert_eq!(*poll.manual(now).unwrap_err().kind(), ErrorKind::PollRunning);
        assert_eq!(poll.handle(now + Duration::from_secs(60), PollInput::Tick), []);
        assert_eq!(poll.deadline(), None);
    }

    #[test]
    fn the_beat_is_steady_and_a_slow_answer_does_not_stretch_it() {
        let now = Instant::now();
        let mut poll = Poll::new(PollPolicy::default(), 1);
        poll.handle(now, PollInput::Start { restoring: false });
        poll.handle(now + Duration::from_secs(2), PollInput::Answered(PollClass::Good));
        assert_eq!(poll.deadline(), Some(now + Duration::from_secs(3)));
        let told = PollClass::Other { retry_after: Some(Duration::from_secs(20)) };
        poll.handle(now + Duration::from_secs(3), PollInput::Tick);
        poll.handle(now + Duration::from_secs(3), PollInput::Answered(told));
        assert!(poll.deadline().unwrap() >= now + Duration::from_secs(23));
    }

    #[test]
    fn a_poll_that_outlives_the_loop_still_counts_but_is_the_last() {
        let now = Instant::now();
        let mut poll = Poll::new(PollPolicy::default(), 1);
        poll.handle(now, PollInput::Start { restoring: false });
        poll.handle(now, PollInput::Stop);
        assert_eq!(
            events(poll.handle(now, PollInput::Answered(PollClass::NoAnswer))),
            [PollEvent::ConnectionPending, PollEvent::Disconnected]
        );
        assert_eq!(poll.deadline(), None);
    }
}
