//! Owns what a session may ask of a connection, and the answers.

use std::{collections::BTreeMap, fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    capabilities::Capability,
    error::{Error, Result},
    ids::{AttachmentId, ClientToken, MessageId},
    message::{RawEvent, Sighting, Text, TextFormat},
    secret::Secret,
    time::Timestamp,
};

/// One request to a connection. The session has checked it against the capabilities.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Command {
    /// Send a message or a file. Answer: [`Ack::Sent`].
    Send(Outgoing),
    /// Tell the other side that this participant types, or no longer does. Answer: [`Ack::Done`].
    Typing(TypingSignal),
    /// Tell the other side that a message was delivered or read. Answer: [`Ack::Done`].
    Receipt(ReceiptSignal),
    /// Send a raw vendor event. Answer: [`Ack::Done`].
    Event(RawEvent),
    /// Fetch a page of the transcript. Answer: [`Ack::History`].
    History(HistoryRequest),
    /// Change user data during the chat. Answer: [`Ack::Done`].
    UserData(UserData),
    /// Send a custom notice. Answer: [`Ack::Done`].
    Notice(Arc<str>),
    /// Files: limits, URL, download, delete. Answer: [`Ack::File`].
    File(FileCommand),
    /// Poll once. What it brings comes through the event stream, before the answer. Answer: [`Ack::Done`].
    Poll(PollScope),
    /// Leave; with `end`, end the chat for everybody. Answer: [`Ack::Done`]; the terminal event follows.
    Leave {
        /// End the chat for everybody.
        end: bool,
    },
    /// A power that only this vendor has. Answer: [`Ack::Vendor`].
    Vendor(VendorCommand),
}

impl Command {
    /// Which capability it needs; `None` if every transport can do it.
    pub fn capability(&self) -> Option<Capability> {
        Some(match self {
            Self::Send(outgoing) => return outgoing.body.capability(),
            Self::Typing(TypingSignal { preview: Some(_), .. }) => Capability::TypingPreview,
            Self::Typing(_) => Capability::Typing,
            Self::Receipt(ReceiptSignal { kind: ReceiptKind::Delivered, .. }) => {
                Capability::DeliveredReceipts
            }
            Self::Receipt(_) => Capability::ReadReceipts,
            Self::Event(_) => Capability::RawEvents,
            Self::History(_) => Capability::History,
            Self::UserData(_) => Capability::UserDataDuringChat,
            Self::Notice(_) => Capability::Notice,
            Self::File(FileCommand::Url { .. }) => Capability::FileUrl,
            Self::File(FileCommand::Download { .. }) => Capability::Download,
            Self::File(FileCommand::Delete { .. }) => Capability::DeleteFile,
            Self::File(FileCommand::Limits) => Capability::Upload,
            Self::Poll(_) => Capability::Poll,
            Self::Leave { .. } => return None,
            Self::Vendor(_) => Capability::Vendor,
        })
    }
}

/// The answer to a [`Command`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Ack {
    /// Done.
    Done,
    /// The message is stored.
    Sent(Sent),
    /// A page of the transcript.
    History(HistoryPage),
    /// About files.
    File(FileAck),
    /// A vendor's answer.
    Vendor(Value),
}

/// The vendor has the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// What the answer tells about the message: its id, time and place, if any. It need not hold the content.
    pub sighting: Option<Box<Sighting>>,
}

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The idempotency key: the same over all attempts.
    pub token: ClientToken,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// What to send.
    pub body: OutgoingBody,
}

/// What an [`Outgoing`] message holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OutgoingBody {
    /// Text.
    Text(Text),
    /// A file.
    File(Upload),
}

impl OutgoingBody {
    /// Which capability sending it needs; `None` if every transport can do it.
    pub fn capability(&self) -> Option<Capability> {
        match self {
            Self::Text(text) => match text.format {
                TextFormat::Plain => None,
                TextFormat::Markdown => Some(Capability::Markdown),
                TextFormat::Json => Some(Capability::Json),
                TextFormat::InteractiveResponse | TextFormat::PageTurn => {
                    Some(Capability::InteractiveResponse)
                }
                TextFormat::Other(_) => Some(Capability::RawEvents),
            },
            Self::File(_) => Some(Capability::Upload),
        }
    }
}

/// A file on its way out.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The name to show.
    pub name: Arc<str>,
    /// MIME type.
    pub content_type: Arc<str>,
    /// Size in bytes; the source must give exactly this many.
    pub size: u64,
    /// Where the bytes come from.
    pub source: Arc<dyn FileSource>,
    /// Told how many bytes have left so far. May start again from 0 if the upload has to be repeated.
    pub progress: Progress,
}

impl Upload {
    /// A file in memory.
    pub fn from_bytes(
        name: impl Into<Arc<str>>,
        content_type: impl Into<Arc<str>>,
        bytes: impl Into<Bytes>,
    ) -> Self {
        let bytes = bytes.into();
        Self {
            name: name.into(),
            content_type: content_type.into(),
            size: bytes.len() as u64,
            source: Arc::new(InMemory(bytes)),
            progress: Progress::default(),
        }
    }

    /// Reports progress to `observer`.
    #[must_use]
    pub fn with_progress(mut self, observer: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.progress = Progress::new(observer);
        self
    }
}

/// A source of bytes that can be opened again, because an upload may have to be repeated.
pub trait FileSource: fmt::Debug + Send + Sync + 'static {
    /// The bytes, from the start.
    fn open(&self) -> BoxStream<'static, io::Result<Bytes>>;
}

struct InMemory(Bytes);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InMemory({} bytes)", self.0.len())
    }
}

impl FileSource for InMemory {
    fn open(&self) -> BoxStream<'static, io::Result<Bytes>> {
        const CHUNK: usize = 64 * 1024;
        let mut left = self.0.clone();
        Box::pin(futures::stream::iter(std::iter::from_fn(move || {
            (!left.is_empty()).then(|| Ok(left.split_to(left.len().min(CHUNK))))
        })))
    }
}

/// Told how many bytes have passed so far.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(u64) + Send + Sync>>);

impl Progress {
    /// Calls `observer` with the number of bytes so far. Keep it short: it runs on the transport's task.
    pub fn new(observer: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Reports.
    pub fn report(&self, bytes: u64) {
        if let Some(observer) = &self.0 {
            observer(bytes);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(..)" } else { "Progress(none)" })
    }
}

/// Typing, outbound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypingSignal {
    /// Types now, or stopped. A stop that the vendor cannot express succeeds and sends nothing.
    pub on: bool,
    /// The text so far, where the vendor shows it to agents.
    pub preview: Option<Arc<str>>,
}

/// A receipt, outbound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptSignal {
    /// The newest message concerned.
    pub message: MessageId,
    /// What happened to it.
    pub kind: ReceiptKind,
}

/// What happened to a message at its recipient. Reading implies delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// It arrived.
    Delivered,
    /// It was read, and everything older.
    Read,
}

/// A vendor's opaque position in the transcript. Belongs to the query that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Arc<str>);

/// A page of the transcript, please.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Which way to go.
    pub direction: Direction,
    /// Where to start.
    pub from: HistoryFrom,
    /// How many items at most; the transport lowers it to its limit.
    pub limit: u32,
}

/// Which way a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards the start.
    Older,
    /// Towards now.
    Newer,
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryFrom {
    /// At the newest item; only with [`Direction::Older`].
    Newest,
    /// At the first item; only with [`Direction::Newer`].
    Oldest,
    /// At this item, which may itself be returned or not.
    Message(MessageId),
    /// At this instant.
    Time(Timestamp),
    /// Where an earlier page of the same query ended.
    Cursor(Cursor),
}

/// A page of the transcript.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// The items, oldest first. May be empty although there is a next page.
    pub items: Vec<Sighting>,
    /// Where to go on, or `None` at the end.
    pub next: Option<Cursor>,
}

/// About files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FileCommand {
    /// What may be sent.
    Limits,
    /// A URL from which the file can be fetched without credentials for a while.
    Url {
        /// Which file.
        id: AttachmentId,
    },
    /// The file itself.
    Download {
        /// Which file.
        id: AttachmentId,
    },
    /// Delete it.
    Delete {
        /// Which file.
        id: AttachmentId,
    },
}

/// Answers to a [`FileCommand`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FileAck {
    /// What may be sent.
    Limits(FileLimits),
    /// A URL, secret because it needs no further credentials.
    Url(FileUrl),
    /// The file, streamed.
    Download(Download),
    /// Deleted.
    Deleted,
}

/// What files may be sent. `None` where the vendor sets no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileLimits {
    /// Largest file, in bytes.
    pub max_bytes: Option<u64>,
    /// Files per chat.
    pub max_count: Option<u32>,
    /// MIME types or name suffixes that are accepted; empty for all.
    pub types: Vec<String>,
}

/// A URL of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrl {
    /// The URL.
    pub url: Secret,
    /// Until when it serves, on the vendor's clock.
    pub expires: Option<Timestamp>,
    /// How long it serves from now, as far as known.
    pub valid_for: Option<Duration>,
}

/// A file, streamed. The stream ends with an error if the bytes are fewer or more than announced.
pub struct Download {
    /// Size in bytes, if announced.
    pub size: Option<u64>,
    /// MIME type, if announced.
    pub content_type: Option<Arc<str>>,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("size", &self.size)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

/// How much a poll asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollScope {
    /// What is new.
    New,
    /// Everything from the start.
    Full,
}

/// A power that only one vendor has. Made by the vendor crate's extension trait.
#[derive(Debug, Clone, PartialEq)]
pub struct VendorCommand {
    /// The operation, as the vendor crate names it.
    pub name: &'static str,
    /// Its arguments.
    pub data: Value,
}

/// User data of a chat: names and texts, attached for agents and flows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserData(pub BTreeMap<String, String>);

impl UserData {
    /// No data.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds or replaces one datum.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// Reads a JSON object of texts.
    ///
    /// # Errors
    /// `InvalidInput` if it is no object, or a value is no text.
    pub fn from_json(value: &Value) -> Result<Self> {
        let Value::Object(map) = value else {
            return Err(Error::invalid_input("user data must be an object of texts"));
        };
        map.iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                _ => Err(Error::invalid_input(format!("user data {key:?} is not a text"))),
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// This data under `newer`: where both have a key, `newer` wins.
    #[must_use]
    pub fn merged_under(mut self, newer: &Self) -> Self {
        self.0.extend(newer.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        self
    }
}
