//! Owns the life of a session's link: when to connect, renew, fill gaps, wait, and give up. No I/O.

use tokio::time::Instant;

use crate::{
    backoff::{Backoff, BackoffPolicy},
    error::{Error, Result},
};

/// Where the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Nothing was asked for yet.
    Idle,
    /// A connection is being made, and none stands.
    Connecting {
        /// How many attempts failed before this one.
        attempt: u32,
    },
    /// Connected; what was missed is being fetched.
    Backfilling,
    /// Connected.
    Live,
    /// Waits before the next attempt.
    Waiting {
        /// Until when.
        until: Instant,
        /// How many attempts failed.
        attempt: u32,
    },
    /// The chat is over. Final.
    Ended,
    /// Gave up. [`Link::reconnect`] leaves it.
    Failed,
}

/// What a new connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The first one: start, join or restore, as the user asked.
    First,
    /// Come back to the chat: a saved session exists.
    Resume,
    /// Take the place of a connection that still stands.
    Renew,
}

/// What the link is told. `generation` is the number that the [`LinkAction::Connect`] bore; what an older connection
/// says about its own state is ignored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkInput {
    /// The session is opened: connect.
    Open,
    /// The connection stands.
    Connected {
        /// Which connection.
        generation: u64,
    },
    /// The connection could not be made.
    ConnectFailed {
        /// Which connection.
        generation: u64,
        /// Why.
        error: Error,
        /// A saved session exists nevertheless: later attempts resume it.
        started: bool,
    },
    /// The backfill is complete.
    Backfilled {
        /// Over which connection.
        generation: u64,
    },
    /// The backfill failed or exceeded its budget; the gap stays open.
    BackfillFailed {
        /// Over which connection.
        generation: u64,
        /// Why.
        error: Error,
    },
    /// The connection is gone, the chat may go on.
    Lost {
        /// Which connection.
        generation: u64,
        /// Why.
        error: Error,
        /// Whether the saved session is good for another attempt.
        resumable: bool,
    },
    /// The connection should be replaced before `at`.
    RenewBefore {
        /// Which connection.
        generation: u64,
        /// Before when.
        at: Instant,
    },
    /// The chat is over.
    Ended {
        /// Which connection says so.
        generation: u64,
    },
    /// Something may be missing: fill the gap.
    GapSeen {
        /// Which connection says so.
        generation: u64,
    },
    /// [`Link::deadline`] has come.
    Tick,
    /// The system says that the network is back. Only ever shortens a wait.
    NetworkUp,
    /// The user leaves or ends the chat: no more attempts from here on.
    Closing,
}

/// What the driver must do, in this order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkAction {
    /// Make a connection. Never two at once.
    Connect {
        /// Its number.
        generation: u64,
        /// What for.
        purpose: Purpose,
    },
    /// Fetch what was missed over this connection, then report. Replaces a backfill that still runs.
    Backfill {
        /// Over which connection.
        generation: u64,
    },
    /// Drop this connection, or this attempt. What it still delivers is messages, not state.
    DropConnection {
        /// Which.
        generation: u64,
    },
    /// Queued sends may leave.
    ReleaseSends,
    /// Queued sends must wait.
    HoldSends,
    /// Tell the readers.
    Publish(LinkEvent),
}

/// What readers are told, each once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The first connection stands.
    Established,
    /// An attempt failed and another will follow; once until a connection stands.
    Pending(Error),
    /// The connection is gone; once until it is restored.
    Lost(Error),
    /// A connection stands again, after `Lost`.
    Restored,
    /// Given up.
    Broken(Error),
    /// The chat is over.
    Ended,
}

/// The link machine.
#[derive(Debug)]
pub struct Link {
    state: LinkState,
    current: u64,
    backoff: Backoff,
}

impl Link {
    /// Idle. `seed` makes the jitter reproducible.
    pub fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { state: LinkState::Idle, current: 0, backoff: Backoff::new(policy, seed) }
    }

    /// Where it is.
    pub const fn state(&self) -> LinkState {
        self.state
    }

    /// The number of the connection that stands, or stood last; 0 before the first.
    pub const fn generation(&self) -> u64 {
        self.current
    }

    /// Whether something may still be missing from the transcript.
    pub const fn gap_open(&self) -> bool {
        true
    }

    /// When to call with [`LinkInput::Tick`].
    pub const fn deadline(&self) -> Option<Instant> {
        match self.state {
            LinkState::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Connects again by hand. Leaves `Failed`, shortens a wait, joins an attempt that is under way; over a standing
    /// connection it renews if there are new credentials and does nothing otherwise.
    ///
    /// # Errors
    /// `SessionEnded` once the chat has ended.
    pub fn reconnect(&mut self, now: Instant, new_credentials: bool) -> Result<Vec<LinkAction>> {
        let _ = (now, new_credentials);
        self.backoff.reset();
        Ok(Vec::new())
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: LinkInput) -> Vec<LinkAction> {
        let _ = (now, input);
        Vec::new()
    }
}
