//! Owns the poll loop of polled transports: one poll at a time, failures counted, each event once. No I/O.
//! Source: protocol notes of GMS v2, section 10.3, "Ours, settled".

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Result;

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
}

impl Default for PollPolicy {
    /// Every 3 s, 5 exceptions, every 10 s while offline.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            exception_limit: 5,
            offline_interval: Duration::from_secs(10),
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
}

impl Poll {
    /// Stopped. `seed` makes the jitter reproducible.
    pub fn new(policy: PollPolicy, seed: u64) -> Self {
        let _ = seed;
        Self { policy }
    }

    /// Polls by hand, whether the loop runs or not.
    ///
    /// # Errors
    /// `PollRunning` while a poll is under way.
    pub fn manual(&mut self, now: Instant) -> Result<Vec<PollAction>> {
        let _ = (now, &self.policy);
        Ok(Vec::new())
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: PollInput) -> Vec<PollAction> {
        let _ = (now, input);
        Vec::new()
    }

    /// When to call with [`PollInput::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}
