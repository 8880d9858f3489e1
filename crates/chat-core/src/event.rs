//! Owns what a connection tells a session.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    capabilities::Capabilities,
    error::Error,
    ids::{ParticipantId, SegmentId},
    message::{Participant, RawEvent, Sighting, SystemEvent},
    poll::PollClass,
    time::Timestamp,
    transport::SavedSession,
};

/// One thing that a connection tells. Small: what is large is boxed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TransportEvent {
    /// A message or an item of the transcript, own ones included, receipts on messages included.
    Message(Box<Sighting>),
    /// Somebody types.
    Typing(Box<TypingUpdate>),
    /// Something about a participant that is no item of the transcript.
    Participant(Box<ParticipantUpdate>),
    /// Something about the session.
    Session(Box<SessionUpdate>),
    /// Something may be missing: fetch history.
    Gap(GapHint),
    /// Traffic was received: the connection lives.
    Alive,
    /// The connection should be replaced before this moment; it goes on until then.
    RenewBefore(Instant),
    /// A vendor message without a type here.
    Other(Box<RawEvent>),
    /// A raw frame or reply, for the tap; sent only if the request asked for it. Secrets are removed.
    Raw(Box<RawEvent>),
    /// Terminal: the connection is gone, the chat may go on.
    Lost(Box<Lost>),
    /// Terminal: the chat is over, or was left.
    Ended(EndReason),
}

/// Somebody types, or stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypingUpdate {
    /// Who.
    pub who: Participant,
    /// Whether it is this session's participant (from another tab).
    pub own: bool,
    /// Types now, or stopped.
    pub on: bool,
    /// The text so far, if the vendor shows it.
    pub preview: Option<Arc<str>>,
    /// The item, where the vendor makes one of it: for those who keep such rows.
    pub item: Option<Sighting>,
}

/// Something about a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantUpdate {
    /// Who.
    pub who: Participant,
    /// What happened.
    pub event: SystemEvent,
    /// When, on the server's clock.
    pub time: Option<Timestamp>,
}

/// Something about the session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionUpdate {
    /// What to save has changed (new tokens, for instance).
    Saved(SavedSession),
    /// A further vendor session begins: a transfer, a rehydrated past.
    Segment {
        /// Its id.
        id: SegmentId,
        /// When it began, on the server's clock.
        started_at: Option<Timestamp>,
    },
    /// What the transport can do has changed.
    Capabilities(Capabilities),
    /// This session's participant has another id now.
    OwnId(ParticipantId),
    /// A deep heartbeat, end to end through the vendor, succeeded or failed.
    DeepHeartbeat(Result<(), Error>),
    /// How the chat server answers, as a push connection sees it. Counted as polls are, with the same events: an exception is
    /// "the front of the vendor answers, its chat server does not".
    ChatServer(PollClass),
    /// The place in the queue.
    Queue {
        /// Position in the queue, from 1, if told.
        position: Option<u32>,
    },
}

/// Where something may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapHint {
    /// Somewhere after what an unbroken connection has confirmed.
    SinceConfirmed,
}

/// The connection is gone.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Why.
    pub error: Error,
    /// Whether the saved session is good for another attempt. If not, new credentials are needed.
    pub resumable: bool,
}

/// Why a chat is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// This session left, the chat may go on.
    Left,
    /// This participant ended it.
    EndedByUs,
    /// The other side, a flow or the service ended it.
    EndedByService,
    /// It ended while this session was away; found on coming back.
    EndedWhileAway,
    /// Handed to another agent (agent sessions).
    Transferred,
}
