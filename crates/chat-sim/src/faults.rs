//! Owns fault plans: what goes wrong, where and when, as data that a property test can generate and shrink.

use std::time::Duration;

use chat_core::{Command, Delivery, Error, ErrorKind, FileCommand, OutgoingBody, Retry, VendorError};
use serde::{Deserialize, Serialize};

/// What goes wrong, and the seed of every choice by chance.
///
/// ```
/// use chat_sim::{Fault, FaultPlan};
///
/// let plan: FaultPlan = serde_json::from_str(
///     r#"{"seed": 7, "rules": [{"at": {"submit": "text"}, "when": {"nth": 2}, "what": "store_then_cut"}]}"#,
/// )?;
/// assert_eq!(plan.rules[0].what, Fault::StoreThenCut);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultPlan {
    /// The seed.
    pub seed: u64,
    /// The rules. All that fire at a point act together; of two that exclude each other, the first.
    pub rules: Vec<FaultRule>,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Where.
    pub at: Point,
    /// When, counted over what passes there.
    #[serde(default)]
    pub when: When,
    /// What.
    pub what: Fault,
}

impl FaultRule {
    /// A rule that always fires.
    pub const fn new(at: Point, what: Fault) -> Self {
        Self { at, when: When::Always, what }
    }

    /// Sets when it fires.
    #[must_use]
    pub const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Point {
    /// A start, join or resume.
    Connect,
    /// A verification.
    Verify,
    /// A command of this kind.
    Submit(CommandKind),
    /// An event of this kind, on its way to one connection.
    Event(EventKind),
}

/// Which commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandKind {
    /// Every command.
    Any,
    /// A text.
    Text,
    /// A file on its way out.
    File,
    /// Typing.
    Typing,
    /// A receipt.
    Receipt,
    /// A raw event.
    Event,
    /// A page of history.
    History,
    /// User data.
    UserData,
    /// A notice.
    Notice,
    /// Limits, URL and deletion of files.
    FileQuery,
    /// A file on its way in.
    Download,
    /// A poll.
    Poll,
    /// Leaving.
    Leave,
    /// A vendor command.
    Vendor,
}

impl CommandKind {
    /// The kind of `command`.
    pub fn of(command: &Command) -> Self {
        match command {
            Command::Send(outgoing) => match outgoing.body {
                OutgoingBody::File(_) => Self::File,
                _ => Self::Text,
            },
            Command::Typing(_) => Self::Typing,
            Command::Receipt(_) => Self::Receipt,
            Command::Event(_) => Self::Event,
            Command::History(_) => Self::History,
            Command::UserData(_) => Self::UserData,
            Command::Notice(_) => Self::Notice,
            Command::File(FileCommand::Download { .. }) => Self::Download,
            Command::File(_) => Self::FileQuery,
            Command::Poll(_) => Self::Poll,
            Command::Leave { .. } => Self::Leave,
            _ => Self::Vendor,
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// Every event, but the end.
    Any,
    /// Messages and other items, receipts on them included.
    Message,
    /// Typing.
    Typing,
    /// The rest.
    Other,
}

/// When a rule fires, counted from 1 over what matches its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum When {
    /// Each time.
    #[default]
    Always,
    /// At this one.
    Nth(u32),
    /// At each multiple.
    EveryNth(u32),
    /// At the first ones.
    First(u32),
    /// By chance, in per cent.
    Percent(u8),
    /// Once, when the centre holds at least so many items.
    AfterItems(u32),
}

/// What goes wrong. Where a fault makes no sense at its point, nothing happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Event: it never comes, and nothing tells.
    Drop,
    /// Event: it comes so many times more.
    Duplicate(u32),
    /// Event: so many others overtake it, or as many as come within a second.
    Reorder(u32),
    /// Any point: milliseconds late. An event keeps those behind it waiting; a command reaches the centre late.
    Delay(u64),
    /// Command: done at once, answered so many milliseconds late.
    LateAnswer(u64),
    /// Event and command: the connection is lost there, before it; a polled one stands, and the request is lost. Connect: fails
    /// without an answer, nothing started.
    Cut,
    /// Event and command: from there on the connection looks alive and carries nothing; lost after so many milliseconds. What is
    /// asked of a polled one times out until then.
    HalfOpen(u64),
    /// Connect, verify and command: refused.
    Error(FaultError),
    /// Command: done, then the connection is lost before the answer (of a polled one, the answer). Connect: started, the answer lost.
    StoreThenCut,
    /// Command: done, and answered with an error.
    StoreThenError(FaultError),
    /// Text: no answer in time, and stored so many milliseconds later.
    StoreLate(u64),
    /// Start: the chat exists, the connection to it failed; the error says which chat.
    StartedNotConnected,
    /// Connect, verify and command: no answer at all, and nothing done, until the caller gives up or the connection is lost.
    Hang,
    /// Upload: the connection to the file store breaks after so many per cent of the bytes; nothing is posted.
    CutUpload(u8),
    /// Download: the bytes end after so many per cent.
    Truncate(u8),
}

/// The error that a fault makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultError {
    /// What happened.
    pub kind: FaultErrorKind,
    /// The status that the vendor would have given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The vendor's error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Not before so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The kinds of error that a fault can make; see [`ErrorKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultErrorKind {
    /// The credentials are refused.
    Unauthorized,
    /// Access is denied for good.
    AccessDenied,
    /// The session is unknown.
    SessionLost,
    /// Too many requests.
    RateLimited,
    /// No answer in time.
    Timeout,
    /// No connection.
    Network,
    /// No trust.
    Tls,
    /// An answer of another shape.
    UnexpectedResponse,
    /// The vendor failed.
    Server,
    /// The request is invalid, says the vendor.
    Refused,
    /// Unknown thing.
    NotFound,
    /// Conflict.
    Conflict,
    /// A quota is used up.
    QuotaExceeded,
    /// Displaced.
    Displaced,
}

impl FaultError {
    /// An error of `kind`, with the status that usually goes with it.
    pub const fn new(kind: FaultErrorKind) -> Self {
        use FaultErrorKind as K;
        let status = match kind {
            K::Unauthorized => Some(401),
            K::AccessDenied => Some(403),
            K::SessionLost | K::NotFound => Some(404),
            K::RateLimited => Some(429),
            K::Server => Some(503),
            K::Refused => Some(400),
            K::Conflict => Some(409),
            K::QuotaExceeded => Some(402),
            K::UnexpectedResponse => Some(200),
            K::Timeout | K::Network | K::Tls | K::Displaced => None,
        };
        Self { kind, status, code: None, retry_after_ms: None }
    }

    /// 429, with or without `Retry-After`.
    pub fn rate_limited(retry_after: Option<Duration>) -> Self {
        let mut error = Self::new(FaultErrorKind::RateLimited);
        error.retry_after_ms = retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        error
    }

    /// The error, for a request that was not carried out.
    pub(crate) fn to_error(&self, context: &'static str) -> Error {
        use FaultErrorKind as K;
        let kind = match self.kind {
            K::Unauthorized => ErrorKind::Unauthorized,
            K::AccessDenied => ErrorKind::AccessDenied,
            K::SessionLost => ErrorKind::SessionLost,
            K::RateLimited => ErrorKind::RateLimited,
            K::Timeout => ErrorKind::Timeout,
            K::Network => ErrorKind::Network,
            K::Tls => ErrorKind::Tls,
            K::UnexpectedResponse => ErrorKind::UnexpectedResponse,
            K::Server => ErrorKind::Server,
            K::Refused => ErrorKind::Refused,
            K::NotFound => ErrorKind::NotFound,
            K::Conflict => ErrorKind::Conflict,
            K::QuotaExceeded => ErrorKind::QuotaExceeded,
            K::Displaced => ErrorKind::Displaced,
        };
        let mut vendor = VendorError::default();
        vendor.status = self.status;
        vendor.code.clone_from(&self.code);
        let error = Error::new(kind, context).with_vendor(vendor);
        match self.retry_after_ms {
            Some(millis) => error.with_retry(Retry::After(Duration::from_millis(millis))),
            None => error,
        }
    }

    /// The error, for a request that was carried out all the same: whoever gets it cannot know.
    pub(crate) fn to_unknown(&self, context: &'static str) -> Error {
        self.to_error(context).with_delivery(Delivery::Unknown)
    }
}
