//! Owns the settings of one session, with the reason for each default.

use std::time::Duration;

use crate::{backoff::BackoffPolicy, poll::PollPolicy, receipts::ReceiptPolicy, typing::TypingPolicy};

/// Settings of one session. All have defaults; change them with the `with_*` methods.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionSettings {
    /// How to try again after a loss.
    pub backoff: BackoffPolicy,
    /// How often the very first connect is tried before `start` gives its error back: a person waits for it.
    pub first_connect_attempts: u32,
    /// Read and delivered receipts.
    pub receipts: ReceiptPolicy,
    /// Send a delivered receipt for each message of a person that arrives.
    pub auto_delivered: bool,
    /// Our own typing indications: how often, and when they stop by themselves.
    pub typing: TypingPolicy,
    /// When a typing indication of the other side is over; `None` for the transport's own value.
    pub typing_expires_after: Option<Duration>,
    /// Keep typing indications as rows of the full view, where the vendor makes items of them.
    pub keep_typing_rows: bool,
    /// Most messages that may wait to be sent. A person cannot type more; a program learns that it is too fast.
    pub outbox_capacity: usize,
    /// How long a message may wait to be sent before it is reported failed; `None` for as long as the chat.
    pub outbox_ttl: Option<Duration>,
    /// Events that a reader may be behind before it is given a snapshot instead.
    pub reader_capacity: usize,
    /// Items asked for per page when filling gaps: the largest page that Connect allows.
    pub backfill_page: u32,
    /// Pages that one gap fill may take before it gives up for now and leaves the gap open.
    pub backfill_max_pages: u32,
    /// How many items of the past are loaded when joining or restoring; the rest comes with `older`.
    pub initial_history: u32,
    /// How many of the last live messages are fetched again after a loss: covers frames that overtook each other.
    pub overlap: usize,
    /// How long a session whose last handle was dropped goes on in order to send what was accepted.
    pub linger: Duration,
    /// How long to wait for the vendor's own end after asking for it.
    pub end_timeout: Duration,
    /// How often to poll, and when the server counts as offline (polling transports; the exception limit holds for what push
    /// connections report, too).
    pub poll: PollPolicy,
    /// Report raw traffic as [`ChatEvent::Raw`](crate::session::ChatEvent::Raw).
    pub tap: bool,
    /// Seed of jitter; `None` for a random one. Fix it in tests.
    pub seed: Option<u64>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            backoff: BackoffPolicy::default(),
            first_connect_attempts: 3,
            receipts: ReceiptPolicy::default(),
            auto_delivered: true,
            typing: TypingPolicy::default(),
            typing_expires_after: None,
            keep_typing_rows: false,
            outbox_capacity: 256,
            outbox_ttl: None,
            reader_capacity: 256,
            backfill_page: 100,
            backfill_max_pages: 200,
            initial_history: u32::MAX,
            overlap: 32,
            linger: Duration::from_secs(5),
            end_timeout: Duration::from_secs(10),
            poll: PollPolicy::default(),
            tap: false,
            seed: None,
        }
    }
}

macro_rules! with {
    ($($(#[$doc:meta])* $method:ident($field:ident: $type:ty);)*) => {
        impl SessionSettings {
            $($(#[$doc])* #[must_use] pub fn $method(mut self, $field: $type) -> Self { self.$field = $field; self })*
        }
    };
}

with! {
    /// Sets how to try again after a loss.
    with_backoff(backoff: BackoffPolicy);
    /// Sets how often the first connect is tried.
    with_first_connect_attempts(first_connect_attempts: u32);
    /// Sets the receipts' policy.
    with_receipts(receipts: ReceiptPolicy);
    /// Turns automatic delivered receipts on or off.
    with_auto_delivered(auto_delivered: bool);
    /// Sets how our own typing is told.
    with_typing(typing: TypingPolicy);
    /// Sets when a typing indication of the other side is over.
    with_typing_expires_after(typing_expires_after: Option<Duration>);
    /// Keeps typing indications as rows.
    with_typing_rows(keep_typing_rows: bool);
    /// Sets how many messages may wait.
    with_outbox_capacity(outbox_capacity: usize);
    /// Sets how long a message may wait.
    with_outbox_ttl(outbox_ttl: Option<Duration>);
    /// Sets how far a reader may be behind.
    with_reader_capacity(reader_capacity: usize);
    /// Sets the page size of gap fills.
    with_backfill_page(backfill_page: u32);
    /// Sets the most pages of one gap fill.
    with_backfill_max_pages(backfill_max_pages: u32);
    /// Sets how much of the past is loaded when joining or restoring.
    with_initial_history(initial_history: u32);
    /// Sets how many live messages are fetched again after a loss.
    with_overlap(overlap: usize);
    /// Sets how long a dropped session goes on sending.
    with_linger(linger: Duration);
    /// Sets how long to wait for the vendor's own end.
    with_end_timeout(end_timeout: Duration);
    /// Sets how often to poll.
    with_poll(poll: PollPolicy);
    /// Turns the raw tap on.
    with_tap(tap: bool);
    /// Fixes the seed of jitter.
    with_seed(seed: Option<u64>);
}

impl SessionSettings {
    /// Sets how many exceptions in a row are borne before the server counts as offline; see [`PollPolicy::exception_limit`].
    #[must_use]
    pub const fn with_poll_exception_limit(mut self, exception_limit: u32) -> Self {
        self.poll.exception_limit = exception_limit;
        self
    }
}
