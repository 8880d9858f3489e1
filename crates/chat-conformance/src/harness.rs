//! Owns what an adapter must bring to be judged: fresh clients, the contact centre behind them, the network between, the clock.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::{
    AttachmentStatus, ClientToken, Content, EndReason, Error, ErrorKind, MessageId, Participant, RawEvent,
    ReceiptSignal, Result, Role, SavedSession, SystemEvent, Transport, TypingSignal, UserData,
};

/// Everything around one adapter for the length of one case. Each case gets a fresh one.
///
/// What the adapter itself can do is read from its [`Capabilities`](chat_core::Capabilities); what this test bench can do is
/// declared by [`powers`](Self::powers). Together with clock and network they decide which cases run.
#[async_trait]
pub trait Harness: fmt::Debug + Send + Sync {
    /// A fresh client, as another process would make it. All clients reach the same centre.
    fn transport(&self) -> Arc<dyn Transport>;

    /// The contact centre.
    fn centre(&self) -> &dyn ContactCentre;

    /// The network between clients and centre.
    fn network(&self) -> &dyn Network;

    /// Whether time is tokio's paused clock or the machine's.
    fn clock(&self) -> Clock;

    /// What the bytes go through.
    fn network_kind(&self) -> NetworkKind;

    /// What this bench can do beyond the least: a chat begins, an agent says texts, the truth can be read.
    fn powers(&self) -> Powers;

    /// Tasks that the bench itself runs now: a server's drivers of chats that go on, for instance. They are not counted among
    /// what sessions leave behind.
    fn background_tasks(&self) -> usize {
        0
    }

    /// Good credentials of a chat that exists, in the adapter's own shape: for joining, and instead of revoked ones. Asked for
    /// only where [`Power::Credentials`] is declared.
    async fn credentials(&self, _chat: usize) -> Result<SavedSession> {
        Err(Error::new(ErrorKind::Config, "this bench has no credentials to give"))
    }

    /// The secrets among session data: none of these texts may ever show in an event, an error or a `Debug` output. By default
    /// every text whose key sounds like a secret.
    fn secrets(&self, saved: &SavedSession) -> Vec<String> {
        const SIGNS: [&str; 5] = ["token", "secret", "password", "credential", "securekey"];
        let secret = |key: &str| SIGNS.iter().any(|sign| key.to_ascii_lowercase().contains(sign));
        saved
            .data
            .iter()
            .filter(|(key, _)| secret(key))
            .filter_map(|(_, value)| value.as_str())
            .filter(|text| text.len() >= 8)
            .map(String::from)
            .collect()
    }
}

/// The clock of a harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Tokio's paused clock: hours pass at once. Not with sockets, whose waits it takes for idling.
    Virtual,
    /// The machine's.
    Real,
}

/// What the bytes go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKind {
    /// No bytes: the centre is called directly.
    None,
    /// Pipes in memory.
    InMemory,
    /// Sockets of the machine.
    Sockets,
}

/// One thing that a bench may or may not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Power {
    /// [`Harness::credentials`].
    Credentials,
    /// Messages have the same ids at the centre and at the client.
    SharedIds,
    /// [`Disturbance::Cut`] and [`Disturbance::Break`].
    Cut,
    /// A connection does not outlive [`Disturbance::Cut`] or [`Disturbance::Break`]: it is told lost, and another one is opened.
    /// Where polls follow each other and nothing connects them, there is none to be lost, and the next good poll goes on.
    LosesConnections,
    /// [`Disturbance::HalfOpen`].
    HalfOpen,
    /// [`Disturbance::Delay`].
    Delay,
    /// [`Disturbance::Duplicate`].
    Duplicate,
    /// [`Disturbance::Reorder`].
    Reorder,
    /// [`Disturbance::Lose`], and [`Action::HintGap`] to tell of it.
    Lose,
    /// [`Disturbance::LateAnswer`].
    LateAnswer,
    /// [`Disturbance::StoreThenCut`].
    StoreThenCut,
    /// [`Disturbance::Fail`] and [`Disturbance::FailStored`].
    Fail,
    /// [`Disturbance::RefuseConnects`].
    RefuseConnects,
    /// [`Disturbance::LoseStartAnswer`].
    LoseStartAnswer,
    /// [`Disturbance::Renew`].
    Renew,
    /// [`Action::RevokeTokens`] and [`Action::RotateToken`].
    Tokens,
    /// [`Action::Type`].
    Type,
    /// [`Action::Read`] and [`Action::Got`].
    Receipts,
    /// [`Action::SendFile`].
    Files,
    /// [`Action::Post`] of interactive messages.
    Interactive,
    /// [`Action::Post`] of pushed URLs and notices.
    Push,
    /// [`Action::Post`] of items that have no type.
    UnknownItems,
    /// [`Action::UnknownEvent`].
    UnknownEvents,
    /// [`Action::Transfer`].
    Transfer,
    /// [`Action::BeginStream`] and what follows it.
    Stream,
    /// [`Action::Edit`].
    Edit,
    /// [`Action::Post`] of system events of participants.
    SystemEvents,
    /// [`Action::Rename`].
    Rename,
    /// [`Action::Queue`].
    Queue,
    /// [`Action::DeepHeartbeat`].
    DeepHeartbeat,
    /// [`Action::Prune`].
    Prune,
    /// The chat goes on after the customer ended it, until [`Action::End`].
    Lingers,
    /// The centre tells the final transcript to those who come back too late.
    FinalTranscript,
    /// [`Truth::submits`] counts.
    CountSubmits,
    /// [`Truth::receipts`], [`Truth::typing`], [`Truth::notices`] and [`Truth::events`] are filled.
    SeesSignals,
    /// [`Truth::user_data`] is filled.
    SeesUserData,
    /// A start that repeats an earlier key is that start.
    IdempotentStart,
    /// Supervisors can act.
    Supervisor,
    /// Whatever the centre tells has an id, live as well as in its history.
    LiveIds,
    /// Files wait for [`Action::Scanned`] before they can be fetched.
    Scans,
    /// A client that comes back can tell that it is denied from that the chat is over or lost.
    Denials,
    /// The centre takes raw events of any type.
    AnyEvents,
}

impl Power {
    /// Every power.
    pub const ALL: [Self; 42] = [
        Self::Credentials,
        Self::SharedIds,
        Self::Cut,
        Self::LosesConnections,
        Self::HalfOpen,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::Lose,
        Self::LateAnswer,
        Self::StoreThenCut,
        Self::Fail,
        Self::RefuseConnects,
        Self::LoseStartAnswer,
        Self::Renew,
        Self::Tokens,
        Self::Type,
        Self::Receipts,
        Self::Files,
        Self::Interactive,
        Self::Push,
        Self::UnknownItems,
        Self::UnknownEvents,
        Self::Transfer,
        Self::Stream,
        Self::Edit,
        Self::SystemEvents,
        Self::Rename,
        Self::Queue,
        Self::DeepHeartbeat,
        Self::Prune,
        Self::Lingers,
        Self::FinalTranscript,
        Self::CountSubmits,
        Self::SeesSignals,
        Self::SeesUserData,
        Self::IdempotentStart,
        Self::Supervisor,
        Self::LiveIds,
        Self::Scans,
        Self::Denials,
        Self::AnyEvents,
    ];
}

/// A set of [`Power`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Powers(u64);

impl Powers {
    /// None.
    pub const NONE: Self = Self(0);

    /// All of them.
    pub fn all() -> Self {
        Power::ALL.into_iter().fold(Self::NONE, Self::with)
    }

    /// These and `power`.
    #[must_use]
    pub const fn with(self, power: Power) -> Self {
        Self(self.0 | 1 << power as u8)
    }

    /// These without `power`.
    #[must_use]
    pub const fn without(self, power: Power) -> Self {
        Self(self.0 & !(1 << power as u8))
    }

    /// Whether `power` is among them.
    pub const fn has(self, power: Power) -> bool {
        self.0 & 1 << power as u8 != 0
    }
}

impl FromIterator<Power> for Powers {
    fn from_iter<I: IntoIterator<Item = Power>>(iter: I) -> Self {
        iter.into_iter().fold(Self::NONE, Self::with)
    }
}

/// The contact centre, as the one who tests acts in it and reads it. Chats are numbered from 0 in order of their start.
#[async_trait]
pub trait ContactCentre: fmt::Debug + Send + Sync {
    /// How many chats were ever started.
    async fn chats(&self) -> usize;

    /// What the centre knows of a chat.
    async fn truth(&self, chat: usize) -> Truth;

    /// Connections to all chats, open now.
    async fn connections(&self) -> usize;

    /// Does something as `actor`, who joins first if it is not in the chat. Gives the id of the item that came of it, if one did.
    ///
    /// # Errors
    /// If the centre refuses: after the end of the chat, for instance.
    async fn act(&self, chat: usize, actor: &Actor, action: Action) -> Result<Option<MessageId>>;

    /// Returns when something may have changed since the call. A centre that cannot tell is asked often.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn changed(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Who acts in the centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The role.
    pub role: Role,
    /// The name.
    pub name: Arc<str>,
}

impl Actor {
    /// An actor.
    pub fn new(role: Role, name: impl Into<Arc<str>>) -> Self {
        Self { role, name: name.into() }
    }
}

/// What is done in the centre.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Action {
    /// Joins.
    Join,
    /// Leaves; the chat goes on.
    Leave,
    /// Posts a message of any content; a text needs no power.
    Post(Content),
    /// Sends a file.
    SendFile {
        /// Its name.
        name: Arc<str>,
        /// Its MIME type.
        content_type: Arc<str>,
        /// The bytes.
        bytes: Bytes,
    },
    /// Types, or stops.
    Type(bool),
    /// Has read this message and everything older.
    Read(MessageId),
    /// Has got this message.
    Got(MessageId),
    /// Begins an answer that comes in pieces.
    BeginStream(Arc<str>),
    /// The next piece of it.
    StreamPiece(MessageId, Arc<str>),
    /// The whole of it.
    FinishStream(MessageId, Arc<str>),
    /// Changes a text that stands.
    Edit(MessageId, Arc<str>),
    /// Hands the chat to the agent of this name: a new segment begins.
    Transfer(Arc<str>),
    /// Has another name from now on.
    Rename(Arc<str>),
    /// All files that wait for their scan get this result.
    Scanned {
        /// Whether they may be fetched.
        approved: bool,
    },
    /// Ends the chat for everybody.
    End,
    /// A vendor message that is no item and has no type.
    UnknownEvent(RawEvent),
    /// Tells the place in the queue.
    Queue(Option<u32>),
    /// Tells the result of a deep heartbeat.
    DeepHeartbeat(bool),
    /// Says that something may be missing.
    HintGap,
    /// All credentials are worth nothing from here on; open connections go on receiving.
    RevokeTokens,
    /// New credentials, told to the open connections; older ones are worth nothing.
    RotateToken,
    /// Forgets all but the newest so many items.
    Prune(usize),
}

/// What the centre knows of a chat.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Truth {
    /// The stored items in the server's order, own and system ones included.
    pub items: Vec<StoredItem>,
    /// Set once it is over.
    pub ended: Option<EndReason>,
    /// Who is here.
    pub present: Vec<Participant>,
    /// Connections open now.
    pub connections: usize,
    /// Connections ever made.
    pub connects: u64,
    /// Receipts that came from the customer, each call.
    pub receipts: Vec<ReceiptSignal>,
    /// Typing signals that came from the customer, each call.
    pub typing: Vec<TypingSignal>,
    /// Notices that came from the customer.
    pub notices: Vec<Arc<str>>,
    /// Raw events that came from the customer.
    pub events: Vec<RawEvent>,
    /// User data now.
    pub user_data: UserData,
    /// Requests that left the clients, of all kinds.
    pub submits: u64,
    /// Most polls that were under way at a time.
    pub polls_at_once: u32,
}

impl Truth {
    /// The texts, in order.
    pub fn texts(&self) -> Vec<&str> {
        self.items.iter().filter_map(StoredItem::text).collect()
    }

    /// The customer's texts, in order.
    pub fn own_texts(&self) -> Vec<&str> {
        self.items.iter().filter(|item| item.own).filter_map(StoredItem::text).collect()
    }

    /// The first item with this text.
    pub fn find(&self, text: &str) -> Option<&StoredItem> {
        self.items.iter().find(|item| item.text() == Some(text))
    }

    /// The text of the message with this id.
    pub fn text_of(&self, id: &MessageId) -> Option<&str> {
        self.items.iter().find(|item| item.id == *id)?.text()
    }
}

/// One item that the centre has stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredItem {
    /// The centre's id.
    pub id: MessageId,
    /// Who sent it.
    pub from: Participant,
    /// Whether the customer sent it.
    pub own: bool,
    /// What it holds now.
    pub content: Content,
    /// The client token that it came with, where the centre knows.
    pub token: Option<ClientToken>,
}

impl StoredItem {
    /// An item.
    pub const fn new(id: MessageId, from: Participant, own: bool, content: Content) -> Self {
        Self { id, from, own, content, token: None }
    }

    /// Its text, if it holds one.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(&text.body),
            _ => None,
        }
    }

    /// Whether it says that something happened, instead of being a message.
    pub const fn is_event(&self) -> bool {
        matches!(self.content, Content::Event(_))
    }

    /// Whether it tells of this event.
    pub fn is(&self, event: &SystemEvent) -> bool {
        matches!(&self.content, Content::Event(own) if own == event)
    }

    /// The status of its first file.
    pub fn file_status(&self) -> Option<AttachmentStatus> {
        match &self.content {
            Content::Files(files) => files.first().map(|file| file.status),
            _ => None,
        }
    }
}

/// The network between clients and centre.
pub trait Network: fmt::Debug + Send + Sync {
    /// Disturbs it. Asked only for what [`Harness::powers`] declares.
    fn disturb(&self, what: Disturbance);

    /// Everything passes again; what was disturbed is not made good.
    fn heal(&self);
}

/// What goes wrong between clients and centre.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disturbance {
    /// Nothing that is open survives, and nothing new comes through until the network heals.
    Cut,
    /// Nothing that is open survives; what is new comes through.
    Break,
    /// Open connections look alive and carry nothing, until the adapter finds out by itself, within a minute; of a polled one, what
    /// is asked times out for some seconds.
    HalfOpen,
    /// Everything is held up for so long, until the network heals.
    Delay(Duration),
    /// What the centre tells comes so many times more, until the network heals.
    Duplicate(u32),
    /// Every other thing that the centre tells is overtaken by so many later ones, until the network heals.
    Reorder(u32),
    /// The next so many things that the centre tells vanish.
    Lose(u32),
    /// The next request of this kind is carried out, and its answer is lost with the connection.
    StoreThenCut(Request),
    /// The next request of this kind is carried out at once and answered so much later.
    LateAnswer(Request, Duration),
    /// The next so many requests of this kind are not carried out, and fail.
    Fail(Request, u32, Failure),
    /// The next request of this kind is carried out, and answered with an error that leaves it open.
    FailStored(Request, Failure),
    /// The next so many attempts to connect fail.
    RefuseConnects(u32, Failure),
    /// The next start is carried out; its answer never comes, and the attempt fails.
    LoseStartAnswer,
    /// Open connections should be replaced within this time, and are lost then.
    Renew(Duration),
}

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request {
    /// Sending a text.
    Text,
    /// Sending a file.
    File,
    /// A page of history.
    History,
    /// A receipt.
    Receipt,
    /// Leaving.
    Leave,
    /// A poll of a connection that stands. What an adapter asks in order to connect is none.
    Poll,
}

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Too many requests; not again before this has passed.
    RateLimited(Option<Duration>),
    /// The service failed.
    Server,
    /// The request is invalid.
    Refused,
    /// The credentials are refused.
    Unauthorized,
    /// Access is denied for good.
    AccessDenied,
    /// The service does not know the session.
    SessionLost,
    /// No connection.
    Network,
    /// No answer.
    Timeout,
}
