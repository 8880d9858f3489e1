//! Owns what an adapter must bring to be judged: fresh clients, the contact centre behind them, the network between, the clock.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
#[cfg(doc)]
use chat_core::Capability;
use chat_core::{
    AttachmentStatus, ClientToken, Content, EndReason, Error, ErrorKind, MessageId, Participant, RawEvent,
    ReceiptSignal, Result, Role, SavedSession, SystemEvent, Transport, TypingSignal, UserData,
};

/// Everything around one adapter for the length of one case. Each case gets a fresh one.
///
/// Which cases run follows from three things alone: what the adapter can do, read from its
/// [`Capabilities`](chat_core::Capabilities); what passes between it and the centre ([`network_kind`](Self::network_kind)); and the
/// [`clock`](Self::clock). Whatever these cases ask of a bench, it has to do. That is for every adapter:
///
/// - everything that [`ContactCentre`] and [`Truth`] tell, but what is said there to belong to a capability;
/// - [`Action::Join`], [`Leave`](Action::Leave), [`Post`](Action::Post), [`Rename`](Action::Rename) and [`End`](Action::End), by agents,
///   supervisors and bots; the least that `Post` takes is texts, and [`Content::Other`] for what the adapter has no type for;
/// - [`Disturbance::Cut`], [`Break`](Disturbance::Break), [`Duplicate`](Disturbance::Duplicate), [`Reorder`](Disturbance::Reorder),
///   [`RefuseConnects`](Disturbance::RefuseConnects), [`LoseStartAnswer`](Disturbance::LoseStartAnswer);
/// - [`StoreThenCut`](Disturbance::StoreThenCut), [`LateAnswer`](Disturbance::LateAnswer), [`Fail`](Disturbance::Fail) and
///   [`FailStored`](Disturbance::FailStored), for each kind of [`Request`] that the adapter makes.
///
/// Beyond that, what belongs to a capability, to a network or to a clock says so where it stands. An adapter that is called directly,
/// without bytes, has all disturbances from [`DirectNetwork`](crate::DirectNetwork).
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

    /// Tasks that the bench itself runs now: a server's drivers of chats that go on, for instance. They are not counted among
    /// what sessions leave behind.
    fn background_tasks(&self) -> usize {
        0
    }

    /// Good credentials of a chat that exists, in the adapter's own shape. With [`Capability::Join`], and instead of revoked ones
    /// with [`Capability::RevocableCredentials`].
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
    /// Posts a message. Interactive ones with [`Capability::InteractiveResponse`], pushed URLs and notices with
    /// [`Capability::Notice`], events of participants with [`Capability::SystemEvents`].
    Post(Content),
    /// Sends a file. With [`Capability::Download`].
    SendFile {
        /// Its name.
        name: Arc<str>,
        /// Its MIME type.
        content_type: Arc<str>,
        /// The bytes.
        bytes: Bytes,
    },
    /// Types, or stops. With [`Capability::Typing`].
    Type(bool),
    /// Has read this message and everything older. With [`Capability::PeerReceipts`].
    Read(MessageId),
    /// Has got this message. With [`Capability::PeerReceipts`].
    Got(MessageId),
    /// Begins an answer that comes in pieces. With [`Capability::Streaming`], as what follows.
    BeginStream(Arc<str>),
    /// The next piece of it.
    StreamPiece(MessageId, Arc<str>),
    /// The whole of it.
    FinishStream(MessageId, Arc<str>),
    /// Changes a text that stands. With [`Capability::Edits`].
    Edit(MessageId, Arc<str>),
    /// Hands the chat to the agent of this name: a new segment begins. With [`Capability::SystemEvents`].
    Transfer(Arc<str>),
    /// Has another name from now on.
    Rename(Arc<str>),
    /// All files that wait for their scan get this result. With [`Capability::FileScans`].
    Scanned {
        /// Whether they may be fetched.
        approved: bool,
    },
    /// Ends the chat for everybody.
    End,
    /// A vendor message that is no item and has no type. With [`Capability::RawEvents`].
    UnknownEvent(RawEvent),
    /// Tells the place in the queue. With [`Capability::QueuePosition`].
    Queue(Option<u32>),
    /// Tells the result of a deep heartbeat. With [`Capability::DeepHeartbeat`].
    DeepHeartbeat(bool),
    /// Says that something may be missing, unless what follows says so by itself. With [`Capability::GapHints`].
    HintGap,
    /// All credentials are worth nothing from here on; open connections go on receiving. With
    /// [`Capability::RevocableCredentials`].
    RevokeTokens,
    /// New credentials, told to the open connections at once, or with the next message. With
    /// [`Capability::ChangingCredentials`].
    RotateToken,
    /// Forgets all but the newest so many items. With [`Capability::HistoryLoss`].
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
    /// Receipts that came from the customer, each call. With the capabilities of receipts.
    pub receipts: Vec<ReceiptSignal>,
    /// Typing signals that came from the customer, each call. With [`Capability::Typing`].
    pub typing: Vec<TypingSignal>,
    /// Notices that came from the customer. With [`Capability::Notice`].
    pub notices: Vec<Arc<str>>,
    /// Raw events that came from the customer. With [`Capability::RawEvents`].
    pub events: Vec<RawEvent>,
    /// User data now. With the capabilities of user data.
    pub user_data: UserData,
    /// Requests that came from the clients, of all kinds.
    pub submits: u64,
    /// Most polls that were under way at a time. With [`Capability::Poll`].
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
    /// Disturbs it, until it [`heal`](Self::heal)s or as often as is said.
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
    /// is asked times out for some seconds. Not over [`NetworkKind::Sockets`].
    HalfOpen,
    /// Everything is held up for so long, until the network heals. Not over [`NetworkKind::Sockets`].
    Delay(Duration),
    /// What the centre tells comes so many times more, until the network heals.
    Duplicate(u32),
    /// Every other thing that the centre tells is overtaken by so many later ones, until the network heals.
    Reorder(u32),
    /// The next so many things that the centre tells vanish; it has stored them. Not with [`Capability::Poll`].
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
    /// Connections that are made until the network heals live so long, and are lost then. With [`Capability::Renewal`].
    Expire(Duration),
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
