//! Owns what kind of contact centre it is: capabilities, order, echoes, paging, as data.

use std::time::Duration;

use chat_core::{Capabilities, Capability};

/// How items are ordered within a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Order {
    /// By the server's instant; ties go by id.
    #[default]
    Instant,
    /// By the server's own index, from 1.
    Index,
}

/// How much the answer to a send tells about the stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AckDetail {
    /// Id, time, place and content.
    #[default]
    Full,
    /// Id and time, as most vendors do. A file's answer tells its attachment id alone.
    IdOnly,
    /// Nothing.
    Nothing,
}

/// A kind of contact centre: start with a constructor, then set fields.
///
/// ```
/// use chat_sim::{AckDetail, Profile};
///
/// let nasty = Profile::push().tuned(|p| {
///     p.empty_pages = true;
///     p.ack = AckDetail::IdOnly;
/// });
/// assert!(nasty.empty_pages);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// Flags and limits. The centre checks them too, as a server would, and does what they say:
    /// - [`IdempotentStart`](Capability::IdempotentStart): a start that repeats an earlier key is that start;
    /// - [`FinalTranscript`](Capability::FinalTranscript): coming back to an ended chat brings the whole transcript and then the
    ///   end, instead of the error `SessionEnded`;
    /// - [`Lingering`](Capability::Lingering): after the customer ended the chat, it goes on until the console ends it, or
    ///   [`leave_deadline`](Self::leave_deadline) has passed;
    /// - [`FileScans`](Capability::FileScans): files stay `InProgress` until the console approves or rejects them.
    pub capabilities: Capabilities,
    /// How items are ordered.
    pub order: Order,
    /// What the answer to a send tells.
    pub ack: AckDetail,
    /// A new connection is told the whole transcript, not only what is new. For centres without history.
    pub replay_on_connect: bool,
    /// How long a connection that ended the chat waits for the centre's own end.
    pub leave_deadline: Duration,
    /// A page that starts at a message or cursor contains the item that it starts at.
    pub history_inclusive: bool,
    /// Every other page is empty but for a cursor.
    pub empty_pages: bool,
    /// Every page names the cursor that led to it: a client that does not notice pages for ever.
    pub stuck_cursor: bool,
    /// How long a history cursor serves.
    pub cursor_valid_for: Option<Duration>,
    /// How long a connection lives. `RenewBefore` is told at the start, at nine tenths of it.
    pub connection_lifetime: Option<Duration>,
    /// How often an idle connection says `Alive`.
    pub heartbeat: Option<Duration>,
    /// Connections per participant; the oldest one is displaced by one too many.
    pub max_connections: Option<usize>,
    /// How long a request takes to reach the centre.
    pub request_latency: Duration,
    /// How long an answer takes to come back; the message's echo may be earlier.
    pub answer_latency: Duration,
    /// Events that a connection holds for a reader.
    pub channel_capacity: usize,
    /// So many items in a row get the same instant (0 and 1: each its own).
    pub equal_instants: u32,
    /// Every so-manieth live item comes without an id; history has it (0: none). Goes without
    /// [`MessageIds`](Capability::MessageIds).
    pub missing_ids: u32,
    /// Every so-manieth live item comes without a time and with an estimated place; history has it (0: none).
    pub missing_times: u32,
}

impl Profile {
    /// Everything that a push vendor can do: idempotent sends, receipts, history, files, persistent chat. Ordered by instant. What
    /// an end does, and scans of files, are as most vendors have them: the end is the end, and files can be fetched at once.
    pub const fn push() -> Self {
        let mut capabilities = Capabilities::new();
        let mut index = 0;
        while index < Capability::ALL.len() {
            capabilities = capabilities.with(Capability::ALL[index]);
            index += 1;
        }
        capabilities = capabilities
            .without(Capability::Poll)
            .without(Capability::AgentSession)
            .without(Capability::Lingering)
            .without(Capability::FinalTranscript)
            .without(Capability::FileScans);
        capabilities.text_max_bytes = Some(16 * 1024);
        capabilities.user_data_max_bytes = Some(32 * 1024);
        capabilities.file_max_bytes = Some(20 * 1024 * 1024);
        capabilities.files_max_count = Some(100);
        capabilities.history_page_max = Some(100);
        Self {
            capabilities,
            order: Order::Instant,
            ack: AckDetail::Full,
            replay_on_connect: false,
            leave_deadline: Duration::from_secs(10),
            history_inclusive: false,
            empty_pages: false,
            stuck_cursor: false,
            cursor_valid_for: None,
            connection_lifetime: None,
            heartbeat: None,
            max_connections: None,
            request_latency: Duration::ZERO,
            answer_latency: Duration::ZERO,
            channel_capacity: 64,
            equal_instants: 0,
            missing_ids: 0,
            missing_times: 0,
        }
    }

    /// Push whose echoes carry no client token and whose answer to a send tells the id alone.
    pub const fn push_without_echo_token() -> Self {
        let mut profile = Self::push();
        profile.capabilities = profile.capabilities.without(Capability::EchoToken);
        profile.ack = AckDetail::IdOnly;
        profile
    }

    /// Push that stores a repeated send again, and whose echo carries no client token.
    pub const fn push_without_idempotency() -> Self {
        let mut profile = Self::push_without_echo_token();
        profile.capabilities = profile.capabilities.without(Capability::IdempotentSend);
        profile
    }

    /// Push ordered by index, without history: each connection is told the whole transcript.
    pub const fn push_without_history() -> Self {
        let mut profile = Self::push();
        profile.order = Order::Index;
        profile.capabilities = profile
            .capabilities
            .without(Capability::History)
            .without(Capability::HistoryLoss)
            .without(Capability::GapHints);
        profile.capabilities.history_page_max = None;
        profile.replay_on_connect = true;
        profile
    }

    /// Polled every 3 s, ordered by index, without history, receipts and idempotency. The first poll of a connection brings the
    /// whole transcript; a chat whose customer asks nothing for 45 s ends. A network that fails concerns what is asked, never the
    /// connection.
    pub const fn polling() -> Self {
        let mut profile = Self::push_without_idempotency();
        profile.order = Order::Index;
        profile.ack = AckDetail::Nothing;
        profile.replay_on_connect = true;
        profile.capabilities = profile
            .capabilities
            .with(Capability::Poll)
            .without(Capability::Renewal)
            .without(Capability::History)
            .without(Capability::HistoryLoss)
            .without(Capability::GapHints)
            .without(Capability::DeliveredReceipts)
            .without(Capability::ReadReceipts)
            .without(Capability::PeerReceipts)
            .without(Capability::Async)
            .without(Capability::Persistent)
            .without(Capability::Markdown)
            .without(Capability::Json)
            .without(Capability::InteractiveResponse);
        profile.capabilities.history_page_max = None;
        profile.capabilities.poll_interval = Some(Duration::from_secs(3));
        profile.capabilities.detached_for = Some(Duration::from_secs(45));
        profile.capabilities.typing_expires_after = Duration::from_secs(5);
        profile
    }

    /// Polled like [`polling`](Self::polling), with history: a poll brings what is new since the connection began.
    pub const fn polling_with_history() -> Self {
        let mut profile = Self::polling();
        profile.replay_on_connect = false;
        profile.history_inclusive = true;
        profile.capabilities = profile
            .capabilities
            .with(Capability::History)
            .with(Capability::HistoryLoss)
            .with(Capability::GapHints)
            .with(Capability::Async);
        profile.capabilities.history_page_max = Some(50);
        profile.capabilities.detached_for = None;
        profile
    }

    /// Polled like [`polling`](Self::polling), with history, and echoes that carry the client token: as Genesys GMS v2 over REST.
    pub const fn polling_with_tokens() -> Self {
        let mut profile = Self::polling_with_history();
        profile.capabilities = profile
            .capabilities
            .with(Capability::EchoToken)
            .without(Capability::IdempotentStart)
            .without(Capability::Async);
        profile.capabilities.detached_for = Some(Duration::from_secs(45));
        profile
    }

    /// Push without idempotency, whose echoes carry the client token and whose answers tell nothing, ordered by index: as Genesys
    /// GMS v2 over CometD.
    pub const fn push_with_tokens() -> Self {
        let mut profile = Self::polling_with_tokens();
        profile.capabilities =
            profile.capabilities.without(Capability::Poll).with(Capability::Renewal).with(Capability::Async);
        profile.capabilities.poll_interval = None;
        profile.capabilities.detached_for = None;
        profile
    }

    /// Push that can send plain text and nothing else, and tells all that it can tell of a text.
    pub const fn minimal() -> Self {
        let mut profile = Self::push_without_history();
        profile.capabilities = Capabilities::new()
            .with(Capability::Start)
            .with(Capability::Restore)
            .with(Capability::EchoToken)
            .with(Capability::IdempotentStart)
            .with(Capability::Streaming)
            .with(Capability::Edits)
            .with(Capability::SystemEvents)
            .with(Capability::QueuePosition)
            .with(Capability::MessageIds)
            .with(Capability::Denials)
            .with(Capability::ChangingCredentials)
            .with(Capability::RevocableCredentials)
            .with(Capability::Renewal)
            .with(Capability::DeepHeartbeat);
        profile
    }

    /// Push with limits that tests reach: 20 bytes of text, 10 characters, 64 bytes of user data, files of 1 KiB, two of them, text
    /// and PNG only, raw events of one type, pages of 5 items.
    pub const fn small_limits() -> Self {
        let mut profile = Self::push();
        profile.capabilities.text_max_bytes = Some(20);
        profile.capabilities.text_max_chars = Some(10);
        profile.capabilities.user_data_max_bytes = Some(64);
        profile.capabilities.file_max_bytes = Some(1024);
        profile.capabilities.files_max_count = Some(2);
        profile.capabilities.file_types = &["text/plain", "image/png"];
        profile.capabilities.raw_event_types = &["application/x.small"];
        profile.capabilities.history_page_max = Some(5);
        profile
    }

    /// Every kind above, with a name: for tests that run on all of them.
    pub fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("push", Self::push()),
            ("push_without_echo_token", Self::push_without_echo_token()),
            ("push_without_idempotency", Self::push_without_idempotency()),
            ("push_without_history", Self::push_without_history()),
            ("polling", Self::polling()),
            ("polling_with_history", Self::polling_with_history()),
            ("polling_with_tokens", Self::polling_with_tokens()),
            ("push_with_tokens", Self::push_with_tokens()),
            ("minimal", Self::minimal()),
            ("small_limits", Self::small_limits()),
        ]
    }

    /// Changes fields in passing.
    #[must_use]
    pub fn tuned(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Adds a capability.
    #[must_use]
    pub const fn with(mut self, capability: Capability) -> Self {
        self.capabilities = self.capabilities.with(capability);
        self
    }

    /// Takes a capability away.
    #[must_use]
    pub const fn without(mut self, capability: Capability) -> Self {
        self.capabilities = self.capabilities.without(capability);
        self
    }

    /// Whether connections are polled.
    pub(crate) const fn polled(&self) -> bool {
        self.capabilities.can(Capability::Poll)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::push()
    }
}
