//! Owns how often to poll: the options of the loop, and the intervals that follow from them.

use std::time::Duration;

use crate::capabilities::Capabilities;

/// No interval is longer: keeps the arithmetic of instants within bounds, whatever the options say.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The interval of a vendor that does not say.
const USUAL_INTERVAL: Duration = Duration::from_secs(3);

/// How a [`Poll`](super::Poll) behaves. Intervals run from the start of one poll to the start of the next, and vary by up to a tenth, so
/// that a fleet spreads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollPolicy {
    /// The interval; `None` for the vendor's own ([`Capabilities::poll_interval`]), else 3 s.
    pub interval: Option<Duration>,
    /// The interval for [`active_for`](Self::active_for) after a message came or was sent, when the next is likely to follow soon.
    pub active_interval: Duration,
    /// How long a conversation counts as active after a message.
    pub active_for: Duration,
    /// What the interval grows to while nothing is said.
    pub idle_interval: Duration,
    /// After so long without a message the interval begins to grow; after twice as long it has grown to
    /// [`idle_interval`](Self::idle_interval).
    pub idle_after: Duration,
    /// What the interval grows to, doubling, while polls fail. Exceptions keep the pace until the chat server counts as offline.
    pub backoff_cap: Duration,
    /// A server's `Retry-After` is obeyed up to this, and up to two thirds of the [`budget`](Self::budget).
    pub retry_after_cap: Duration,
    /// How many exceptions in a row are borne; the next one means that the chat server is offline.
    pub exception_limit: u32,
    /// The server gives a chat up after so long without a request; `None` for the vendor's own
    /// ([`Capabilities::detached_for`]), if it has one. No interval is longer than a third of it, and in its last third failed
    /// polls are repeated at the usual interval.
    pub budget: Option<Duration>,
    /// After so long without a good answer, and at the latest after two thirds of the budget,
    /// [`PollEvent::BudgetAtRisk`](super::PollEvent::BudgetAtRisk) is told. Without a budget it never is.
    pub warn_after: Duration,
}

impl Default for PollPolicy {
    /// The vendor's interval; 1 s for 10 s after a message; up to 5 s after one to two quiet minutes; up to 10 s while polls fail; 5
    /// exceptions; the vendor's budget, with a warning after 30 s; `Retry-After` up to 2 minutes.
    ///
    /// The growth in quiet times is modest: it spares a server two polls of five, and whoever waits for an agent hardly notices. The
    /// vendor of the protocol that this loop was made for recommends 3 to 5 s.
    fn default() -> Self {
        Self {
            interval: None,
            active_interval: Duration::from_secs(1),
            active_for: Duration::from_secs(10),
            idle_interval: Duration::from_secs(5),
            idle_after: Duration::from_secs(60),
            backoff_cap: Duration::from_secs(10),
            retry_after_cap: Duration::from_secs(120),
            exception_limit: 5,
            budget: None,
            warn_after: Duration::from_secs(30),
        }
    }
}

impl PollPolicy {
    /// Sets the interval; `None` for the vendor's own.
    #[must_use]
    pub const fn with_interval(mut self, interval: Option<Duration>) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the interval after a message, and for how long it holds. Zero time switches it off.
    #[must_use]
    pub const fn with_active(mut self, interval: Duration, active_for: Duration) -> Self {
        self.active_interval = interval;
        self.active_for = active_for;
        self
    }

    /// Sets what the interval grows to in quiet times, and when it begins to grow. The usual interval switches it off.
    #[must_use]
    pub const fn with_idle(mut self, interval: Duration, idle_after: Duration) -> Self {
        self.idle_interval = interval;
        self.idle_after = idle_after;
        self
    }

    /// Sets what the interval grows to while polls fail.
    #[must_use]
    pub const fn with_backoff_cap(mut self, backoff_cap: Duration) -> Self {
        self.backoff_cap = backoff_cap;
        self
    }

    /// Sets up to which `Retry-After` a server is obeyed.
    #[must_use]
    pub const fn with_retry_after_cap(mut self, retry_after_cap: Duration) -> Self {
        self.retry_after_cap = retry_after_cap;
        self
    }

    /// Sets how many exceptions in a row are borne.
    #[must_use]
    pub const fn with_exception_limit(mut self, exception_limit: u32) -> Self {
        self.exception_limit = exception_limit;
        self
    }

    /// Sets after how long without a request the server gives a chat up; `None` for the vendor's own.
    #[must_use]
    pub const fn with_budget(mut self, budget: Option<Duration>) -> Self {
        self.budget = budget;
        self
    }

    /// Sets after how long without a good answer to warn.
    #[must_use]
    pub const fn with_warn_after(mut self, warn_after: Duration) -> Self {
        self.warn_after = warn_after;
        self
    }

    /// This policy, with what it leaves to the vendor filled in.
    #[must_use]
    pub fn for_vendor(&self, capabilities: &Capabilities) -> Self {
        Self {
            interval: self.interval.or(capabilities.poll_interval),
            budget: self.budget.or(capabilities.detached_for),
            ..self.clone()
        }
    }

    /// Within the budget, and never no time at all.
    fn bounded(&self, interval: Duration) -> Duration {
        let most = self.budget.map_or(LONGEST, |budget| budget.min(LONGEST) / 3);
        interval.min(most).max(Duration::from_millis(10))
    }

    /// The usual interval.
    pub(super) fn base(&self) -> Duration {
        self.bounded(self.interval.unwrap_or(USUAL_INTERVAL))
    }

    /// The interval when the last message is so long ago.
    pub(super) fn interval_after(&self, quiet: Duration) -> Duration {
        let base = self.base();
        if quiet < self.active_for {
            return self.bounded(self.active_interval).min(base);
        }
        let idle = self.bounded(self.idle_interval).max(base);
        let over = quiet.saturating_sub(self.idle_after);
        let grown = if over < self.idle_after { over.div_duration_f64(self.idle_after) } else { 1.0 };
        if over.is_zero() { base } else { base + (idle - base).mul_f64(grown) }
    }

    /// The interval after so many failures in a row.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let base = self.base();
        let doubled = base.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.bounded(self.backoff_cap).max(base))
    }

    /// Up to which `Retry-After` a server is obeyed.
    pub(super) fn retry_after_longest(&self) -> Duration {
        self.retry_after_cap.min(self.budget.map_or(LONGEST, |budget| budget.min(LONGEST) * 2 / 3))
    }

    /// After how long without a good answer to warn.
    pub(super) fn warning(&self) -> Option<Duration> {
        self.budget.map(|budget| self.warn_after.min(budget.min(LONGEST) * 2 / 3))
    }
}
