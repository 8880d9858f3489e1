//! Owns the contract between the core and an adapter. Users hold a `ChatSession`.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    capabilities::{Capabilities, Capability},
    channel::EventStream,
    command::{Ack, Command, UserData},
    error::{Error, Result},
    ids::{ClientToken, ParticipantId, Scope, SegmentId, TransportId},
    message::{Text, TextFormat},
    time::Timestamp,
};

/// A way to reach one vendor, for adapter authors. Runs any number of chats.
///
/// # Contract
/// Each line is a case of the conformance suite.
/// - An adapter makes *one* attempt and reports. Retry, reconnect, gap fill, deduplication, ordering and capability checks are
///   the session's.
/// - Nothing starts before the first poll of the future. Dropping `connect` leaves no socket and no task of its own.
/// - What arrives during `connect` waits in the stream; a full channel never blocks `connect`.
/// - Adapters wait when the event channel is full, and waiting never stops heartbeats, writes or polls.
/// - Exactly one terminal item ([`Lost`](crate::TransportEvent::Lost) or [`Ended`](crate::TransportEvent::Ended)), last; see
///   [`EventSender::finish`](crate::channel::EventSender::finish).
/// - Dropping the stream closes the connection, without a terminal, and does not end the chat (within
///   [`Capabilities::detached_for`]). `Leave { end: false }` ends with `Ended(Left)`; `Leave { end: true }` has a deadline.
/// - A message may be sighted any number of times, in any order, with more or less detail; own messages are reported, never
///   filtered.
/// - `submit` called after the terminal was taken does no I/O and fails with `Delivery::NotSent`. Submits begun before resolve by
///   themselves, `Unknown` at worst.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// The adapter's name.
    fn id(&self) -> TransportId;

    /// What it can do, before connecting. No I/O.
    fn capabilities(&self) -> Capabilities;

    /// One attempt to start, join or resume a chat.
    ///
    /// # Errors
    /// `AccessDenied` and `Unauthorized` are final unless new credentials come. `SessionEnded` if the chat is over,
    /// `SessionLost` if the vendor does not know it.
    /// If a chat was started but not yet connected, the error says so through [`ConnectError::saved`].
    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError>;

    /// Does the saved chat still exist? Opens nothing, changes nothing that the other side sees.
    ///
    /// # Errors
    /// `Unsupported` unless the adapter implements it.
    async fn verify(&self, _saved: &SavedSession) -> Result<bool> {
        Err(Error::unsupported(Capability::Verify, self.id()))
    }
}

/// One live connection's way in.
#[async_trait]
pub trait ConnectionHandle: fmt::Debug + Send + Sync + 'static {
    /// Carries out one command and answers. One method, so that a wrapper cannot forget one.
    ///
    /// # Errors
    /// The error's [`delivery`](Error::delivery) says whether it may have arrived.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the command's outcome unknown; the connection stays usable.
    async fn submit(&self, command: Command) -> Result<Ack>;
}

/// A connection that stands.
#[derive(Debug)]
pub struct Connection {
    /// Which chat, and who we are in it.
    pub session: SessionInfo,
    /// What can be done on this connection.
    pub capabilities: Capabilities,
    /// What to save in order to come back.
    pub saved: SavedSession,
    /// The way in.
    pub handle: Arc<dyn ConnectionHandle>,
    /// The way out.
    pub events: EventStream,
}

/// Why a connection could not be made.
#[derive(Debug, Clone)]
pub struct ConnectError {
    /// Why.
    pub error: Error,
    /// Set if a chat exists nevertheless: resume it instead of starting another one.
    pub saved: Option<Box<SavedSession>>,
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        Self { error, saved: None }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// Which chat, and who we are in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Within which message ids are unique.
    pub scope: Scope,
    /// The vendor session that new messages belong to.
    pub segment: SegmentId,
    /// When that session began, on the server's clock. Segments follow each other by it.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Our own participant id.
    #[serde(default)]
    pub participant: Option<ParticipantId>,
    /// Our own name, as the vendor shows it.
    #[serde(default)]
    pub display_name: Option<Arc<str>>,
}

impl SessionInfo {
    /// A session whose scope is the segment.
    pub fn new(scope: impl Into<Scope>, segment: impl Into<SegmentId>) -> Self {
        Self {
            scope: scope.into(),
            segment: segment.into(),
            started_at: None,
            participant: None,
            display_name: None,
        }
    }
}

/// What it takes to come back to a chat. Holds credentials: its `Debug` shows none, but what you store is readable.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedSession {
    /// Which transport made it.
    pub transport: String,
    /// The vendor's session data, under the vendor's names.
    pub data: Map<String, Value>,
}

impl SavedSession {
    /// Session data of `transport`.
    pub fn new(transport: TransportId, data: Map<String, Value>) -> Self {
        Self { transport: transport.as_str().into(), data }
    }

    /// The text under `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }
}

impl fmt::Debug for SavedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession")
            .field("transport", &self.transport)
            .field("keys", &self.data.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What to connect to.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// Start, join or resume.
    pub intent: Intent,
    /// Send raw traffic to the tap.
    pub tap: bool,
}

impl ConnectRequest {
    /// A request without a tap.
    pub const fn new(intent: Intent) -> Self {
        Self { intent, tap: false }
    }
}

/// Start, join or resume.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Intent {
    /// A new chat.
    Start(Box<StartRequest>),
    /// A chat whose credentials come from elsewhere.
    Join(SavedSession),
    /// A chat that this session, or an earlier process, was in.
    Resume(SavedSession),
}

/// A new chat. Empty fields are left out.
#[derive(Debug, Clone, Default)]
pub struct StartRequest {
    /// Makes a repeated start the same start: made by the session, kept over retries.
    pub key: Option<ClientToken>,
    /// The name to show. Falls back to first and last name.
    pub nickname: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// Data for agents and flows.
    pub user_data: UserData,
    /// The first message.
    pub initial_message: Option<Text>,
    /// Formats that this application can show; empty for the transport's own list.
    pub formats: Vec<TextFormat>,
    /// Continue an ended chat.
    pub continues: Option<Continues>,
    /// May be left and resumed days later.
    pub asynchronous: bool,
    /// Further fields under the vendor's names, passed on as they are.
    pub vendor: Map<String, Value>,
}

impl StartRequest {
    /// A chat under this name.
    pub fn named(nickname: impl Into<String>) -> Self {
        Self { nickname: Some(nickname.into()), ..Self::default() }
    }

    /// The name to show: the nickname, else first and last name. `None` if all are empty.
    pub fn display_name(&self) -> Option<String> {
        let given = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(String::from)
        };
        given(&self.nickname).or_else(|| {
            let parts: Vec<_> =
                [given(&self.first_name), given(&self.last_name)].into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        })
    }
}

/// Which ended chat a new one continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continues {
    /// The vendor's id of the ended chat.
    pub source: String,
    /// How much of it.
    pub extent: Extent,
}

/// How much of an ended chat is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// The whole chain that `source` began.
    EntirePast,
    /// From `source` on.
    FromSegment,
}

/// Compiles only while both traits can be used as `dyn`.
#[allow(dead_code)]
fn traits_are_dyn(_: &dyn Transport, _: &dyn ConnectionHandle) {}
