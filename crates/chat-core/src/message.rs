//! Owns the message model: who said what, and one *sighting* of it as a vendor told it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AttachmentId, ClientToken, MessageId, ParticipantId, Scope, SegmentId},
    time::Timestamp,
};

/// What a participant is in the chat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The person whom the contact centre serves.
    Customer,
    /// A person of the contact centre.
    Agent,
    /// A person who listens in or barges in.
    Supervisor,
    /// A program.
    Bot,
    /// The contact centre itself: flow messages, announcements.
    System,
    /// A party from outside the contact centre.
    External,
    /// A role of the vendor that has no name here.
    Other(Arc<str>),
}

/// Who: as much as the vendor told. Every part may be missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Participant {
    /// The vendor's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ParticipantId>,
    /// The role.
    pub role: Role,
    /// The name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

impl Participant {
    /// A participant with a role alone.
    pub const fn new(role: Role) -> Self {
        Self { id: None, role, name: None }
    }

    /// Adds the id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<ParticipantId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds the name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// How a text is to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TextFormat {
    /// `text/plain`.
    Plain,
    /// Markdown: bold, italic, lists, links.
    Markdown,
    /// Any JSON, as text.
    Json,
    /// The answer to an interactive message, as the vendor's JSON.
    InteractiveResponse,
    /// The answer to an interactive message that only asks for another part of its list, as the vendor's JSON: nobody is
    /// shown it.
    PageTurn,
    /// A content type of the vendor that has no name here.
    Other(Arc<str>),
}

/// A text and how to read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Text {
    /// The text, untouched: it may hold markup or control characters.
    pub body: Arc<str>,
    /// How to read it.
    pub format: TextFormat,
}

impl Text {
    /// Plain text.
    pub fn plain(body: impl Into<Arc<str>>) -> Self {
        Self { body: body.into(), format: TextFormat::Plain }
    }

    /// Markdown.
    pub fn markdown(body: impl Into<Arc<str>>) -> Self {
        Self { body: body.into(), format: TextFormat::Markdown }
    }
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(Text),
    /// Files.
    Files(Vec<Attachment>),
    /// A question with choices.
    Interactive(Box<Interactive>),
    /// Something happened: joined, left, transferred, ended …
    Event(SystemEvent),
    /// The vendor pushes a URL to open.
    PushUrl(Arc<str>),
    /// A custom notice.
    Notice(Arc<str>),
    /// A vendor type without a name here, raw.
    Other(RawEvent),
}

/// What happened, in an item of the transcript. The participant concerned is the item's sender.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SystemEvent {
    /// Joined.
    Joined,
    /// Left; the chat may go on.
    Left,
    /// Was invited.
    Invited,
    /// Has been idle for long.
    Idle,
    /// Is back from idling.
    Returned,
    /// Was removed for idling.
    AutoDisconnected,
    /// Became active.
    Active,
    /// Became inactive.
    Inactive,
    /// Has a new name to show.
    NameUpdated,
    /// Types. In the transcript only if the session is told to keep such rows.
    Typing,
    /// The transfer succeeded.
    TransferSucceeded,
    /// The transfer failed.
    TransferFailed,
    /// The chat is over.
    Ended,
    /// The past of a persistent chat is readable now.
    Rehydrated,
    /// A participant's connection is acknowledged.
    ConnectionAcknowledged,
    /// The workflow was cancelled.
    WorkflowCancelled,
    /// An authentication step.
    Authentication {
        /// Which step.
        phase: AuthenticationPhase,
        /// Serves for the URL and for cancelling.
        session: Option<Arc<str>>,
    },
}

/// The steps of an authentication in the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthenticationPhase {
    /// Asked for: fetch the URL within the vendor's time.
    Initiated,
    /// Done.
    Succeeded,
    /// Refused.
    Failed,
    /// The person took too long.
    TimedOut,
    /// The request expired.
    Expired,
    /// Called off.
    Cancelled,
}

/// One file of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The vendor's id: fetch the file with it.
    pub id: AttachmentId,
    /// The name that its sender gave it. Never use it as a path.
    pub name: Arc<str>,
    /// MIME type, as the sender said.
    pub content_type: Arc<str>,
    /// Size in bytes, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether it may be fetched.
    pub status: AttachmentStatus,
}

/// The vendor's progress with a file. A later state wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttachmentStatus {
    /// Being received or scanned.
    InProgress,
    /// Ready.
    Approved,
    /// Refused by a scan.
    Rejected,
    /// Deleted.
    Deleted,
}

/// A question with choices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interactive {
    /// The vendor's name of the template, as `ListPicker`.
    pub template: Arc<str>,
    /// Head line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Arc<str>>,
    /// Second line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<Arc<str>>,
    /// Picture, as a URL from the vendor: check it before fetching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Arc<str>>,
    /// What can be chosen.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// The parts of a carousel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Self>,
    /// A view to fetch and show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewReference>,
    /// A newer message with the same reference replaces this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Arc<str>>,
    /// The vendor's JSON.
    pub raw: Arc<str>,
}

/// One choice of an [`Interactive`] message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Choice {
    /// Head line.
    pub title: Arc<str>,
    /// Second line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<Arc<str>>,
    /// Picture, as a URL from the vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Arc<str>>,
    /// What to send if this is chosen: give it to `ChatSession::send`.
    pub reply: Text,
}

/// Names a view of the vendor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewReference {
    /// Token to fetch it with.
    pub token: Arc<str>,
    /// The view's id, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// The view's data, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Arc<str>>,
}

/// Something from the vendor that has no type here, as it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RawEvent {
    /// The vendor's type, topic or content type; may be empty.
    pub kind: Arc<str>,
    /// The text as received.
    pub body: Arc<str>,
}

impl RawEvent {
    /// A raw event.
    pub fn new(kind: impl Into<Arc<str>>, body: impl Into<Arc<str>>) -> Self {
        Self { kind: kind.into(), body: body.into() }
    }
}

/// One name under which a message is known. Two sightings with a common alias are the same message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alias {
    /// Within which `value` is unique.
    pub scope: Scope,
    /// What `value` is. Kinds never mix.
    pub kind: AliasKind,
    /// The id itself.
    pub value: Arc<str>,
}

/// What an [`Alias`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AliasKind {
    /// The vendor's id of the message.
    Message,
    /// The client token that the sender made.
    Token,
    /// The vendor's id of a file in it.
    Attachment,
}

impl Alias {
    /// The vendor's id of a message.
    pub fn message(scope: &Scope, id: &MessageId) -> Self {
        Self { scope: scope.clone(), kind: AliasKind::Message, value: id.to_shared() }
    }

    /// A client token.
    pub fn token(scope: &Scope, token: &ClientToken) -> Self {
        Self { scope: scope.clone(), kind: AliasKind::Token, value: token.to_shared() }
    }

    /// The vendor's id of a file.
    pub fn attachment(scope: &Scope, id: &AttachmentId) -> Self {
        Self { scope: scope.clone(), kind: AliasKind::Attachment, value: id.to_shared() }
    }
}

/// A set of aliases. The first costs no allocation.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Alias>", into = "Vec<Alias>")]
pub struct Aliases {
    first: Option<Alias>,
    rest: Vec<Alias>,
}

impl Aliases {
    /// No alias.
    pub const fn new() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    /// Adds `alias`, unless it is in. Says whether it was new.
    pub fn insert(&mut self, alias: Alias) -> bool {
        match &self.first {
            None => self.first = Some(alias),
            Some(first) if *first == alias || self.rest.contains(&alias) => return false,
            Some(_) => self.rest.push(alias),
        }
        true
    }

    /// Whether it is in.
    pub fn contains(&self, alias: &Alias) -> bool {
        self.iter().any(|own| own == alias)
    }

    /// The aliases, in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = &Alias> {
        self.first.iter().chain(&self.rest)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// The least vendor id of the message, if it has one: the same whatever the order of insertion.
    pub fn message_id(&self) -> Option<MessageId> {
        self.least(AliasKind::Message).map(|alias| MessageId::new(Arc::clone(&alias.value)))
    }

    /// The least alias of `kind`.
    pub fn least(&self, kind: AliasKind) -> Option<&Alias> {
        self.iter().filter(|alias| alias.kind == kind).min()
    }
}

impl fmt::Debug for Aliases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl From<Vec<Alias>> for Aliases {
    fn from(list: Vec<Alias>) -> Self {
        list.into_iter().collect()
    }
}

impl From<Aliases> for Vec<Alias> {
    fn from(aliases: Aliases) -> Self {
        aliases.first.into_iter().chain(aliases.rest).collect()
    }
}

impl FromIterator<Alias> for Aliases {
    fn from_iter<I: IntoIterator<Item = Alias>>(iter: I) -> Self {
        let mut aliases = Self::new();
        for alias in iter {
            aliases.insert(alias);
        }
        aliases
    }
}

/// The order key of a message within its segment: chosen once per segment by the transport, never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Primary {
    /// The server's own index; a single number in the first part, or (milliseconds, sequence).
    Index(u64, u64),
    /// The server's instant; ties go by id.
    Instant(Timestamp),
}

/// Where a message stands within its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Estimated from the neighbours in the same reply, because the item's own key was missing or unreadable. An exact place
    /// beats an estimated one.
    pub estimated: bool,
    /// The key.
    pub primary: Primary,
    /// Keeps estimated neighbours in their order; 0 for exact places.
    pub tie: u32,
}

impl Place {
    /// The place that the vendor gave.
    pub const fn exact(primary: Primary) -> Self {
        Self { estimated: false, primary, tie: 0 }
    }

    /// A place taken from a neighbour, `tie` items behind it.
    pub const fn estimated(primary: Primary, tie: u32) -> Self {
        Self { estimated: true, primary, tie }
    }
}

/// One piece of a message that comes in pieces (a streamed bot answer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chunk {
    /// The piece with this number, counted from 1; the sighting's content is the piece.
    Part(u32),
    /// The whole: the sighting's content replaces all pieces.
    Whole,
}

/// Who got or read a message, and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The recipient.
    pub by: ParticipantId,
    /// Delivered at, or `None` if not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Timestamp>,
    /// Read at. Reading implies delivery, and everything older of the same sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Timestamp>,
}

/// The vendor's processing of a message (redaction and the like). A later state wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Processing {
    /// Going on.
    InProgress,
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The message was refused.
    Rejected,
}

/// How far an own send has come. `sent` first: once sent, nothing turns it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SendState {
    /// The vendor has it.
    pub sent: bool,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// How far this attempt has come.
    pub stage: SendStage,
}

/// How far one attempt to send has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SendStage {
    /// Waits for its turn.
    Queued,
    /// On its way.
    Sending,
    /// No answer: nobody knows whether it arrived.
    Unknown,
    /// Refused or given up. The text is kept; it can be retried.
    Failed,
    /// Taken back while it was queued.
    Cancelled,
}

/// One observation of a message, with as much or as little as the vendor told at that moment. A message may be sighted
/// any number of times, in any order; the transcript joins what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The names it is known under. Empty for an item without an id.
    #[serde(default)]
    pub aliases: Aliases,
    /// The vendor session that it belongs to.
    pub segment: SegmentId,
    /// Where it stands, or `None` if not even an estimate is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// When the server says that it happened; `None` if missing or unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Participant>,
    /// Whether this session's participant sent it (from any tab or device).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
    /// What it holds; `None` where only receipts or progress are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The vendor's progress with the content, where it has one: a higher version beats a lower one.
    #[serde(default)]
    pub version: u32,
    /// Set if the content is a piece of a whole, or the whole after pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Chunk>,
    /// Set for the vendor's own traffic that people need not see, as an answer that only turns the pages of a list: it
    /// stays out of the display view.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// Who got or read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
    /// The vendor's processing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing: Option<Processing>,
    /// The vendor's original text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Arc<str>>,
}

impl Sighting {
    /// A sighting in `segment` that tells nothing yet.
    pub const fn new(segment: SegmentId) -> Self {
        Self {
            aliases: Aliases::new(),
            segment,
            place: None,
            time: None,
            from: None,
            own: None,
            content: None,
            version: 0,
            chunk: None,
            quiet: false,
            receipts: Vec::new(),
            processing: None,
            raw: None,
        }
    }

    /// Adds an alias.
    #[must_use]
    pub fn with_alias(mut self, alias: Alias) -> Self {
        self.aliases.insert(alias);
        self
    }

    /// Sets the place.
    #[must_use]
    pub const fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Sets the time.
    #[must_use]
    pub const fn with_time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets the sender, and whether it is this session's participant.
    #[must_use]
    pub fn with_sender(mut self, from: Participant, own: bool) -> Self {
        self.from = Some(from);
        self.own = Some(own);
        self
    }

    /// Sets the content.
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }
}
