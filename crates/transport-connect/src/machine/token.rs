//! Owns when the connection token is renewed: early, and again soon after a failure. Source: §13.4, where the vendor's client
//! waits 12 hours after a failure.

use std::time::Duration;

use tokio::time::Instant;

/// When the connection token is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenClock {
    ahead: Duration,
    retry: Duration,
    due: Option<Instant>,
}

/// However short a token's life: no tight loop.
const SHORTEST: Duration = Duration::from_secs(1);

impl TokenClock {
    pub(crate) const fn new(ahead: Duration, retry: Duration) -> Self {
        Self { ahead, retry, due: None }
    }

    /// A token was issued that serves for `life`; unknown lives are the documented day.
    pub(crate) fn issued(&mut self, now: Instant, life: Option<Duration>) {
        let life = life.unwrap_or(Duration::from_secs(24 * 3600));
        self.due = Some(now + (life - self.ahead.min(life / 10)).max(SHORTEST));
    }

    /// Renewing failed for now.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.due = Some(now + self.retry.max(SHORTEST));
    }

    /// Renewing is under way, or pointless.
    pub(crate) fn stop(&mut self) {
        self.due = None;
    }

    /// When to renew.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_ahead_of_time_and_soon_after_a_failure() {
        let now = Instant::now();
        let mut clock = TokenClock::new(Duration::from_secs(600), Duration::from_secs(20));
        clock.issued(now, Some(Duration::from_secs(24 * 3600)));
        assert_eq!(clock.due(), Some(now + Duration::from_secs(24 * 3600 - 600)));
        clock.failed(now);
        assert_eq!(clock.due(), Some(now + Duration::from_secs(20)));
        clock.issued(now, Some(Duration::from_secs(100)));
        assert_eq!(clock.due(), Some(now + Duration::from_secs(90)), "a tenth of a short life");
        clock.issued(now, Some(Duration::ZERO));
        assert!(clock.due() >= Some(now + SHORTEST), "an expired one makes no tight loop");
    }
}
