//! Owns what a transport can do: flags and limits, asked before anything is sent.

use std::{fmt, time::Duration};

use serde::Serialize;

/// One thing that a transport may or may not be able to do: what may be asked of it, and what it will ever tell. Names what an
/// `Unsupported` error is about, and decides which cases of the conformance suite concern the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Start a new chat.
    Start,
    /// Join a chat with credentials from elsewhere.
    Join,
    /// Come back to a saved chat.
    Restore,
    /// Ask whether a saved chat still exists, without a visible effect.
    Verify,
    /// Leave without ending and come back days later.
    Async,
    /// Start a chat that continues an ended one.
    Persistent,
    /// Agent sessions.
    AgentSession,
    /// Markdown text.
    Markdown,
    /// JSON messages.
    Json,
    /// Answers to interactive messages, as such.
    InteractiveResponse,
    /// Typing indication to the other side.
    Typing,
    /// Typing indication with the text so far.
    TypingPreview,
    /// Delivered receipts to the other side.
    DeliveredReceipts,
    /// Read receipts to the other side.
    ReadReceipts,
    /// Raw vendor events, both ways: those that are not known here are told as [`ChatEvent::Other`](crate::ChatEvent::Other).
    RawEvents,
    /// Custom notices and pushed URLs, both ways and typed.
    Notice,
    /// Sending files.
    Upload,
    /// Fetching files.
    Download,
    /// A URL of a file without fetching it.
    FileUrl,
    /// Deleting files.
    DeleteFile,
    /// Paging through older messages.
    History,
    /// User data before the start.
    UserDataBeforeStart,
    /// User data during the chat.
    UserDataDuringChat,
    /// The poll loop and its controls.
    Poll,
    /// The vendor swallows a repeated send with the same client token.
    IdempotentSend,
    /// Own texts come back with the client token that they were sent with, on every connection of the participant and in the
    /// history. An unanswered text is then settled by its token alone, and an equal text of another tab never settles it. Files
    /// are still told by their name.
    EchoToken,
    /// A start that is repeated under its key is that start: one whose answer was lost makes no second chat.
    IdempotentStart,
    /// Answers that come in pieces are shown while they grow, as one message.
    Streaming,
    /// Texts may change after they were told, and change in place.
    Edits,
    /// Idling, transfers and steps of authentication are told, not only who comes and goes.
    SystemEvents,
    /// The place in the queue is told.
    QueuePosition,
    /// The other side's receipts are told: own messages become delivered and read.
    PeerReceipts,
    /// Whatever is told live has the id that it has in the history: it can be marked as read, and read from.
    MessageIds,
    /// Files wait for a scan, and may be rejected by it after they were sent.
    FileScans,
    /// What went missing on its way is noticed while the connection stands, by a hint of the service or a jump in its numbers, and
    /// is fetched.
    GapHints,
    /// The service may forget its oldest messages while the chat goes on: a gap that reaches so far stays open.
    HistoryLoss,
    /// After the customer's end, messages arrive until the service closes the chat: a survey, for instance.
    Lingering,
    /// Who comes back to an ended chat is told its last messages, and then the end.
    FinalTranscript,
    /// A return that is denied, or a session that is lost, is told apart from a chat that is over.
    Denials,
    /// The credentials change while the chat goes on; session data are saved anew.
    ChangingCredentials,
    /// Credentials may be refused while the chat goes on: what was accepted waits, and `reconnect` with new ones goes on.
    RevocableCredentials,
    /// Connections are replaced before they expire, without a loss.
    Renewal,
    /// The way through to the service is asked for its health, and the answers are told.
    DeepHeartbeat,
    /// A tap on raw traffic.
    RawTap,
    /// A vendor-only command.
    Vendor,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "starting a chat",
            Self::Join => "joining a chat",
            Self::Restore => "restoring a chat",
            Self::Verify => "verifying a session",
            Self::Async => "asynchronous chat",
            Self::Persistent => "persistent chat",
            Self::AgentSession => "an agent session",
            Self::Markdown => "markdown",
            Self::Json => "JSON messages",
            Self::InteractiveResponse => "interactive responses",
            Self::Typing => "typing",
            Self::TypingPreview => "typing preview",
            Self::DeliveredReceipts => "delivered receipts",
            Self::ReadReceipts => "read receipts",
            Self::RawEvents => "raw events",
            Self::Notice => "custom notices",
            Self::Upload => "sending files",
            Self::Download => "fetching files",
            Self::FileUrl => "file URLs",
            Self::DeleteFile => "deleting files",
            Self::History => "history",
            Self::UserDataBeforeStart => "user data before the start",
            Self::UserDataDuringChat => "user data during the chat",
            Self::Poll => "polling",
            Self::IdempotentSend => "idempotent sending",
            Self::EchoToken => "client tokens on own echoes",
            Self::IdempotentStart => "idempotent starting",
            Self::Streaming => "answers in pieces",
            Self::Edits => "edited texts",
            Self::SystemEvents => "idling, transfers and authentication",
            Self::QueuePosition => "the place in the queue",
            Self::PeerReceipts => "receipts of the other side",
            Self::MessageIds => "ids on live messages",
            Self::FileScans => "scans of files",
            Self::GapHints => "signs of missing messages",
            Self::HistoryLoss => "history that forgets its oldest messages",
            Self::Lingering => "messages after the customer's end",
            Self::FinalTranscript => "the final transcript after the end",
            Self::Denials => "denials told apart from the end",
            Self::ChangingCredentials => "credentials that change",
            Self::RevocableCredentials => "credentials that are revoked",
            Self::Renewal => "renewal of connections",
            Self::DeepHeartbeat => "deep heartbeats",
            Self::RawTap => "the raw tap",
            Self::Vendor => "this vendor command",
        })
    }
}

/// A set of [`Capability`] values, `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// This set and `capability`.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// This set without `capability`.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability as u8))
    }

    /// Whether it is in.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }

    /// The members, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl Capability {
    /// Every capability, in declaration order.
    pub const ALL: [Self; 45] = [
        Self::Start,
        Self::Join,
        Self::Restore,
        Self::Verify,
        Self::Async,
        Self::Persistent,
        Self::AgentSession,
        Self::Markdown,
        Self::Json,
        Self::InteractiveResponse,
        Self::Typing,
        Self::TypingPreview,
        Self::DeliveredReceipts,
        Self::ReadReceipts,
        Self::RawEvents,
        Self::Notice,
        Self::Upload,
        Self::Download,
        Self::FileUrl,
        Self::DeleteFile,
        Self::History,
        Self::UserDataBeforeStart,
        Self::UserDataDuringChat,
        Self::Poll,
        Self::IdempotentSend,
        Self::EchoToken,
        Self::IdempotentStart,
        Self::Streaming,
        Self::Edits,
        Self::SystemEvents,
        Self::QueuePosition,
        Self::PeerReceipts,
        Self::MessageIds,
        Self::FileScans,
        Self::GapHints,
        Self::HistoryLoss,
        Self::Lingering,
        Self::FinalTranscript,
        Self::Denials,
        Self::ChangingCredentials,
        Self::RevocableCredentials,
        Self::Renewal,
        Self::DeepHeartbeat,
        Self::RawTap,
        Self::Vendor,
    ];
}

/// Which keys a vendor accepts in user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRule {
    /// Any key that is not empty.
    NonEmpty,
    /// ASCII letters, digits, `-` and `_` (Connect's rule for contact attributes).
    AlphanumericDashUnderscore,
}

impl KeyRule {
    /// Whether `key` is acceptable.
    pub fn accepts(self, key: &str) -> bool {
        !key.is_empty()
            && match self {
                Self::NonEmpty => true,
                Self::AlphanumericDashUnderscore => {
                    key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                }
            }
    }
}

/// What a transport can do *now*, and within which limits. The session refuses what it denies before anything is sent.
///
/// Built with [`Capabilities::new`] and the `with_*` methods. Limits are `None` where the vendor has none or does not say.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The flags.
    pub flags: CapabilitySet,
    /// Longest text, in bytes of UTF-8.
    pub text_max_bytes: Option<u32>,
    /// Longest text, in Unicode scalar values.
    pub text_max_chars: Option<u32>,
    /// All user data together, in bytes.
    pub user_data_max_bytes: Option<u32>,
    /// Which keys of user data are accepted.
    pub user_data_keys: KeyRule,
    /// Largest file, in bytes.
    pub file_max_bytes: Option<u64>,
    /// Files per chat.
    pub files_max_count: Option<u32>,
    /// MIME types of files that are accepted; empty accepts every one.
    pub file_types: &'static [&'static str],
    /// Types of raw events that are accepted; empty accepts every one.
    pub raw_event_types: &'static [&'static str],
    /// Largest page of history, in items.
    pub history_page_max: Option<u32>,
    /// How long a chat goes on without a connection; `None` for as long as the chat lasts.
    pub detached_for: Option<Duration>,
    /// How old a saved session may be when it is restored; `None` for any age.
    pub restore_within: Option<Duration>,
    /// How long after it started a typing indication of the other side is taken to be over.
    pub typing_expires_after: Duration,
    /// The vendor's poll interval, if it is polled.
    pub poll_interval: Option<Duration>,
    /// How long after an unanswered send its own echo may still appear, where sends are not idempotent.
    pub settle_within: Duration,
}

impl Capabilities {
    /// Nothing at all, with the usual times (typing expires after 12 s, a send settles within 10 s).
    pub const fn new() -> Self {
        Self {
            flags: CapabilitySet::EMPTY,
            text_max_bytes: None,
            text_max_chars: None,
            user_data_max_bytes: None,
            user_data_keys: KeyRule::NonEmpty,
            file_max_bytes: None,
            files_max_count: None,
            file_types: &[],
            raw_event_types: &[],
            history_page_max: None,
            detached_for: None,
            restore_within: None,
            typing_expires_after: Duration::from_secs(12),
            poll_interval: None,
            settle_within: Duration::from_secs(10),
        }
    }

    /// Adds `capability`.
    #[must_use]
    pub const fn with(mut self, capability: Capability) -> Self {
        self.flags = self.flags.with(capability);
        self
    }

    /// Removes `capability`.
    #[must_use]
    pub const fn without(mut self, capability: Capability) -> Self {
        self.flags = self.flags.without(capability);
        self
    }

    /// Whether the transport can do it.
    pub const fn can(&self, capability: Capability) -> bool {
        self.flags.contains(capability)
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_capabilities_is_complete_and_in_order() {
        for (index, capability) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(capability as usize, index);
        }
        // The last variant closes the list: a new one must be added to ALL.
        assert_eq!(Capability::Vendor as usize + 1, Capability::ALL.len());
    }

    #[test]
    fn flags_are_added_and_removed() {
        let capabilities =
            Capabilities::new().with(Capability::Typing).with(Capability::Poll).without(Capability::Poll);
        assert!(capabilities.can(Capability::Typing));
        assert!(!capabilities.can(Capability::Poll));
        assert_eq!(capabilities.flags.iter().collect::<Vec<_>>(), [Capability::Typing]);
    }
}
