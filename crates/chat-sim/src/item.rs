//! Owns what a contact is made of: items, segments, members, files, frames, records.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use chat_core::{
    AttachmentId, AttachmentStatus, ClientToken, Content, EndReason, MessageId, Participant, Processing,
    RawEvent, Receipt, ReceiptSignal, SegmentId, Sighting, Timestamp, TransportEvent, TypingSignal,
};

use crate::faults::{CommandKind, EventKind};

/// Signals of each kind that are remembered for the tests: older ones make room.
const MAX_RECORDS: usize = 65_536;

/// Which connection.
pub(crate) type WireId = u64;

/// Where an item stands in its contact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) segment: usize,
    pub(crate) order: u64,
    pub(crate) id: MessageId,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) index: u64,
    pub(crate) time: Timestamp,
    pub(crate) from: Participant,
    pub(crate) own: bool,
    pub(crate) content: Content,
    pub(crate) token: Option<ClientToken>,
    pub(crate) version: u32,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) processing: Option<Processing>,
    /// The pieces so far, until the whole is there.
    pub(crate) pieces: Option<Vec<Arc<str>>>,
    /// Came in pieces.
    pub(crate) streamed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) started_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) who: Participant,
    pub(crate) here: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    pub(crate) id: AttachmentId,
    pub(crate) message: MessageId,
    pub(crate) content_type: Arc<str>,
    pub(crate) bytes: Bytes,
    pub(crate) status: AttachmentStatus,
    pub(crate) own: bool,
}

/// One thing that goes to the connections of a contact.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    /// An event, but not to the connection that caused it.
    Event { event: TransportEvent, kind: EventKind, except: Option<WireId> },
    /// The chat is over. Nothing follows.
    End(EndReason),
}

/// What the customer's connections did, for the tests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) receipts: Vec<ReceiptSignal>,
    pub(crate) typing: Vec<TypingSignal>,
    pub(crate) notices: Vec<Arc<str>>,
    pub(crate) events: Vec<RawEvent>,
    pub(crate) vendor: Vec<(Arc<str>, serde_json::Value)>,
    pub(crate) submits: BTreeMap<CommandKind, u64>,
    pub(crate) connects: u64,
    pub(crate) polls_now: u32,
    pub(crate) polls_max: u32,
}

/// Remembers `record`.
pub(crate) fn remember<T>(records: &mut Vec<T>, record: T) {
    if records.len() == MAX_RECORDS {
        records.drain(..MAX_RECORDS / 2);
    }
    records.push(record);
}

/// An item before it is stored.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) from: Participant,
    pub(crate) content: Content,
    pub(crate) token: Option<ClientToken>,
    pub(crate) pieces: Option<Vec<Arc<str>>>,
}

impl Draft {
    pub(crate) const fn new(from: Participant, content: Content) -> Self {
        Self { from, content, token: None, pieces: None }
    }
}

/// A file before it is stored.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) name: Arc<str>,
    pub(crate) content_type: Arc<str>,
    pub(crate) bytes: Bytes,
}

/// A frame of a message, for everybody.
pub(crate) fn message(sighting: Sighting) -> Frame {
    Frame::Event {
        event: TransportEvent::Message(Box::new(sighting)),
        kind: EventKind::Message,
        except: None,
    }
}

/// A frame of anything else, for everybody.
pub(crate) const fn other(event: TransportEvent) -> Frame {
    Frame::Event { event, kind: EventKind::Other, except: None }
}
