//! Owns what the outbox is told, what it says, and what of it is stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

#[cfg(doc)]
use crate::outbox::Outbox;
use crate::{
    backoff::BackoffPolicy,
    command::{Outgoing, OutgoingBody, Sent},
    error::{Error, Result},
    ids::{ClientToken, MessageId, SegmentId},
    message::{Place, SendState, Text},
};

/// How an [`Outbox`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxPolicy {
    /// How many sends may wait, the one in flight included.
    pub capacity: usize,
    /// How long a send may wait in the queue before it fails as expired; `None` for any time.
    pub ttl: Option<Duration>,
    /// The vendor swallows a repeated send with the same token.
    pub idempotent: bool,
    /// How long after an unanswered send its own echo may still appear.
    pub settle_within: Duration,
    /// Delays between the attempts of one send.
    pub retry: BackoffPolicy,
    /// There is a store: ask for [`OutboxAction::Persist`] and send nothing before it is done.
    pub durable: bool,
}

impl Default for OutboxPolicy {
    /// 256 sends, no expiry, not idempotent, settled within 10 s, 8 attempts, without a store.
    fn default() -> Self {
        Self {
            capacity: 256,
            ttl: None,
            idempotent: false,
            settle_within: Duration::from_secs(10),
            retry: BackoffPolicy::default().with_budget(None).with_max_attempts(Some(8)),
            durable: false,
        }
    }
}

/// What the outbox is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum OutboxInput {
    /// Sends may leave.
    Released,
    /// Sends must wait.
    Held,
    /// The vendor has it. Counts whatever the attempt: a late answer is an answer.
    Acked {
        /// Which send.
        token: ClientToken,
        /// Which attempt.
        attempt: u32,
        /// The answer.
        sent: Sent,
    },
    /// The attempt failed. Ignored unless it is the one in flight.
    Failed {
        /// Which send.
        token: ClientToken,
        /// Which attempt.
        attempt: u32,
        /// Why; its delivery and retry advice decide what follows.
        error: Error,
    },
    /// The own echo was seen and proven to be this send's.
    EchoSeen {
        /// Which send.
        token: ClientToken,
    },
    /// The search that [`OutboxAction::Settle`] asked for is done.
    SettleDone {
        /// Which send.
        token: ClientToken,
        /// Whether the own echo is there.
        found: bool,
    },
    /// The search failed.
    SettleFailed {
        /// Which send.
        token: ClientToken,
        /// Why.
        error: Error,
    },
    /// The connection is gone: what is in flight is unknown now, unless its answer still comes.
    ConnectionLost,
    /// The refresh that [`OutboxAction::RefreshCredentials`] asked for is done. With `ok: false` the send fails and the
    /// queue waits; a later `ok: true` lets it go on.
    Refreshed {
        /// Whether there are new credentials.
        ok: bool,
    },
    /// Everything up to this version is stored.
    Saved {
        /// The version from [`OutboxAction::Persist`].
        version: u64,
    },
    /// The store failed: what was not yet stored is refused.
    StoreFailed {
        /// The version from [`OutboxAction::Persist`].
        version: u64,
        /// Why.
        error: Error,
    },
    /// The chat is over.
    Ended,
    /// [`Outbox::deadline`] has come.
    Tick,
}

/// What the driver must do, in this order.
#[derive(Debug)]
#[non_exhaustive]
pub enum OutboxAction {
    /// Put it on the wire and report `Acked` or `Failed`. Never two at once.
    Send(Outgoing),
    /// Look for the own echo in the vendor's transcript and report `SettleDone` or `SettleFailed`.
    Settle {
        /// Which send.
        token: ClientToken,
        /// When it first left, if this process sent it.
        since: Option<Instant>,
        /// What was sent.
        body: OutgoingBody,
    },
    /// The own row has this state now.
    State {
        /// Which send.
        token: ClientToken,
        /// Its state.
        state: SendState,
    },
    /// Resolve the caller's pending send. An error says whether it may have arrived.
    Done {
        /// Which send.
        token: ClientToken,
        /// How it went.
        result: Result<Sent>,
    },
    /// Get new credentials (reconnect), then report `Refreshed`. Asked for once until then.
    RefreshCredentials,
    /// Store [`Outbox::stored`] and report `Saved` or `StoreFailed` with this version.
    Persist {
        /// Grows with each change.
        version: u64,
    },
}

/// A send as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSend {
    /// The idempotency key.
    pub token: ClientToken,
    /// The local order.
    pub sequence: u64,
    /// Which attempt it is at, from 0.
    pub attempt: u32,
    /// What to send.
    pub body: StoredBody,
    /// Where it stands.
    pub stage: StoredStage,
    /// Where the chat stood when it first left, if it may have left and anything was known then. The session fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Departure>,
}

/// The newest message of the vendor's that was known when a send first left: its echo stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The vendor's id.
    pub id: MessageId,
    /// In which vendor session it stands.
    pub segment: SegmentId,
    /// Where it stands there.
    pub place: Place,
}

/// What a [`StoredSend`] holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoredBody {
    /// Text.
    Text(Text),
    /// A file, by its name alone: its bytes are not stored, so it cannot be sent again.
    File {
        /// The name.
        name: String,
    },
}

/// Where a [`StoredSend`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoredStage {
    /// Was never on the wire.
    Queued,
    /// May have arrived.
    Unknown,
    /// Reported as failed; it did not arrive.
    Failed,
    /// Reported as failed; it may have arrived.
    FailedUnknown,
}
