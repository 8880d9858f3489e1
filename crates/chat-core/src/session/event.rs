//! Owns what a session tells its readers.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    command::ReceiptKind,
    error::Error,
    event::EndReason,
    ids::{MessageId, ParticipantId},
    message::{AuthenticationPhase, RawEvent},
    poll::PollEvent,
    roster::RosterEvent,
    time::Timestamp,
    transcript::{Diff, Row, Snapshot},
    transport::SessionInfo,
    typing::TypingEvent,
};

/// One thing that a session tells. The transcript is the truth, these are hints: whoever missed some takes the snapshot.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ChatEvent {
    /// The connection: established, lost, restored, broken.
    Connection(Arc<ConnectionEvent>),
    /// The session: started, restored, rehydrated …
    Session(Arc<SessionEvent>),
    /// The transcript changed. Applied in order, these reproduce it.
    Transcript(Arc<Diff>),
    /// Messages came: each message once, however often it is sighted.
    Messages(Arc<MessageBatch>),
    /// A participant joined, left, idles, has a new name …
    Participant(Arc<ParticipantEvent>),
    /// Somebody else types, or stopped.
    Typing(Arc<TypingEvent>),
    /// Somebody else got or read a message of ours.
    Receipt(Arc<ReceiptEvent>),
    /// An authentication step.
    Authentication(Arc<AuthenticationEvent>),
    /// A deep heartbeat, end to end through the vendor.
    DeepHeartbeat(Arc<DeepHeartbeat>),
    /// The poll loop (polling transports).
    Poll(PollEvent),
    /// Something failed that no call of the application waits for, or that operations should see.
    Error(Error),
    /// A vendor message without a type here.
    Other(Arc<RawEvent>),
    /// A raw frame or reply, if the settings ask for it.
    Raw(Arc<RawEvent>),
    /// This reader was too slow: so many events were dropped, and this is the transcript now.
    Missed {
        /// How many.
        events: u64,
        /// The transcript in this reader's view.
        snapshot: Snapshot,
    },
    /// The chat is over. Exactly once, always last.
    Ended(EndReason),
}

/// The connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// Stands for the first time: what is sent arrives, what is said is heard.
    Established(SessionInfo),
    /// Lost; the session tries to come back by itself.
    Lost(Error),
    /// Back. What was missed is being fetched.
    Restored(SessionInfo),
    /// An attempt failed, and another will follow.
    Pending(Error),
    /// Replaced ahead of time, without a gap.
    Renewed,
    /// Given up: `reconnect` tries again.
    Broken(Error),
}

/// The session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A new chat was started.
    Started(SessionInfo),
    /// A chat was joined or restored, what it held is being fetched.
    Restored {
        /// Which chat.
        info: SessionInfo,
        /// It had been left for later on purpose.
        asynchronous: bool,
    },
    /// The transcript is complete as far as asked: the chat is ready to be shown.
    Ready,
    /// The past of a persistent chat is readable now.
    Rehydrated,
    /// A gap could not be closed for now; it stands in the transcript, and another try follows.
    GapOpen(Error),
    /// A transfer succeeded or failed.
    Transfer {
        /// Whether it succeeded.
        succeeded: bool,
    },
    /// The vendor's workflow was cancelled.
    WorkflowCancelled,
    /// The place in the queue.
    Queue {
        /// Position, from 1, if told.
        position: Option<u32>,
    },
}

/// Messages that came together.
#[derive(Debug, Clone)]
pub struct MessageBatch {
    /// The messages, in the order of the transcript. `Row::raw` is the vendor's original.
    pub messages: Vec<Arc<Row>>,
    /// They were fetched from the past while joining, restoring or filling a gap.
    pub restored: bool,
    /// Which chat.
    pub session: Option<SessionInfo>,
}

/// Something about a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantEvent {
    /// What changed, and for whom.
    pub change: RosterEvent,
    /// When, on the server's clock.
    pub time: Option<Timestamp>,
    /// Agents and supervisors connected after it.
    pub agents_connected: usize,
}

/// Somebody got or read a message of ours, and everything older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptEvent {
    /// The message.
    pub message: MessageId,
    /// Who.
    pub by: ParticipantId,
    /// What happened.
    pub kind: ReceiptKind,
    /// When, on the server's clock.
    pub time: Option<Timestamp>,
}

/// An authentication step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationEvent {
    /// Which step.
    pub phase: AuthenticationPhase,
    /// Serves for the URL and for cancelling.
    pub session: Option<Arc<str>>,
}

/// A deep heartbeat.
#[derive(Debug, Clone)]
pub struct DeepHeartbeat {
    /// Whether it came back.
    pub outcome: Result<(), Error>,
    /// When the last good one was, on this machine's clock.
    pub last_good: Option<Timestamp>,
}

/// A message that the vendor has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SentMessage {
    /// The vendor's id, if it told one.
    pub id: Option<MessageId>,
    /// When the vendor stored it, if it told.
    pub time: Option<Timestamp>,
    /// The caller's metadata, as given.
    pub metadata: Value,
}
