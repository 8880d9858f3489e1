//! Owns what the link machine is told and what it says.

use tokio::time::Instant;

use crate::error::Error;
#[cfg(doc)]
use crate::link::Link;

/// Where the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Nothing was asked for yet.
    Idle,
    /// A connection is being made, and none stands.
    Connecting {
        /// How many failures came before, the loss of a connection included; counted anew after a stable time.
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
        /// How many failures came before, the loss of a connection included.
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
