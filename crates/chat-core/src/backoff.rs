//! Owns the delays between attempts: full jitter, a cap, a budget, and a reset only after things have been good for a while.

use std::time::Duration;

use tokio::time::Instant;

/// How to wait between attempts. A value: the progress is in [`Backoff`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackoffPolicy {
    /// The first delay is drawn from 0 to this; each further one from twice as much.
    pub base: Duration,
    /// No drawn delay is longer.
    pub cap: Duration,
    /// How long to try in vain, altogether, before giving up; `None` for ever.
    pub budget: Option<Duration>,
    /// How long things must have been good before the attempts are counted from 0 again.
    pub stable_after: Duration,
    /// How many failures in a row before giving up; `None` for any number.
    pub max_attempts: Option<u32>,
    /// A server's `Retry-After` is obeyed up to this; what is longer counts as this.
    pub retry_after_cap: Duration,
}

impl Default for BackoffPolicy {
    /// 500 ms doubling up to 30 s, for 10 minutes, counted anew after 10 good seconds; `Retry-After` up to 2 minutes.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            budget: Some(Duration::from_secs(600)),
            stable_after: Duration::from_secs(10),
            max_attempts: None,
            retry_after_cap: Duration::from_secs(120),
        }
    }
}

impl BackoffPolicy {
    /// Sets the first delay's upper bound.
    #[must_use]
    pub const fn with_base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the longest drawn delay.
    #[must_use]
    pub const fn with_cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets how long to try in vain; `None` for ever.
    #[must_use]
    pub const fn with_budget(mut self, budget: Option<Duration>) -> Self {
        self.budget = budget;
        self
    }

    /// Sets how long things must be good before the count starts again.
    #[must_use]
    pub const fn with_stable_after(mut self, stable_after: Duration) -> Self {
        self.stable_after = stable_after;
        self
    }

    /// Sets how many failures in a row are borne; `None` for any number.
    #[must_use]
    pub const fn with_max_attempts(mut self, max_attempts: Option<u32>) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// Sets up to which `Retry-After` a server is obeyed.
    #[must_use]
    pub const fn with_retry_after_cap(mut self, retry_after_cap: Duration) -> Self {
        self.retry_after_cap = retry_after_cap;
        self
    }
}

/// The progress of one series of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    rng: fastrand::Rng,
    attempt: u32,
    /// Time tried in vain before `trying_since`.
    spent: Duration,
    trying_since: Option<Instant>,
    good_since: Option<Instant>,
}

impl Backoff {
    /// Nothing tried yet. `seed` makes the delays reproducible.
    pub fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self {
            policy,
            rng: fastrand::Rng::with_seed(seed),
            attempt: 0,
            spent: Duration::ZERO,
            trying_since: None,
            good_since: None,
        }
    }

    /// How many failures in a row there were.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Trying begins: the budget runs from here, until [`good`](Self::good).
    pub fn start(&mut self, now: Instant) {
        if let Some(since) = self.good_since.take()
            && now.saturating_duration_since(since) >= self.policy.stable_after
        {
            self.reset();
        }
        self.trying_since.get_or_insert(now);
    }

    /// It failed: how long to wait before the next attempt, at least `floor` (the server's `Retry-After`). `None` if it is
    /// time to give up.
    ///
    /// The delay is drawn evenly from 0 to the bound (`base` doubled per failure, at most `cap`), on top of `floor`: a fleet
    /// that was told the same `Retry-After` does not come back in one moment. The last attempt is at the end of the budget
    /// at the latest.
    pub fn next(&mut self, now: Instant, floor: Option<Duration>) -> Option<Duration> {
        self.start(now);
        if self.policy.max_attempts.is_some_and(|max| self.attempt >= max) {
            return None;
        }
        let bound = self.policy.base.saturating_mul(1 << self.attempt.min(20)).min(self.policy.cap);
        let floor = floor.unwrap_or_default().min(self.policy.retry_after_cap);
        let mut delay = floor.saturating_add(bound.mul_f64(self.rng.f64()));
        if let Some(budget) = self.policy.budget {
            let left = budget.saturating_sub(self.spent(now));
            if left.is_zero() || floor > left {
                return None;
            }
            delay = delay.min(left);
        }
        self.attempt = self.attempt.saturating_add(1);
        Some(delay)
    }

    /// It works from now on. Attempts are counted from 0 again only after it has worked for a while.
    pub fn good(&mut self, now: Instant) {
        self.spent = self.spent(now);
        self.trying_since = None;
        self.good_since.get_or_insert(now);
    }

    /// Counts from 0 again, with the whole budget.
    pub const fn reset(&mut self) {
        self.attempt = 0;
        self.spent = Duration::ZERO;
        self.trying_since = None;
        self.good_since = None;
    }

    fn spent(&self, now: Instant) -> Duration {
        let current = self.trying_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.spent.saturating_add(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn delays_are_spread_over_a_bound_that_doubles_up_to_the_cap() {
        let mut longest = [Duration::ZERO; 8];
        let mut shortest = [Duration::MAX; 8];
        let now = now();
        for seed in 0..400 {
            let mut backoff = Backoff::new(BackoffPolicy::default().with_cap(10 * SECOND), seed);
            for n in 0..8 {
                let delay = backoff.next(now, None).unwrap();
                longest[n] = longest[n].max(delay);
                shortest[n] = shortest[n].min(delay);
            }
        }
        for n in 0..8 {
            let bound = (SECOND / 2 * (1 << n)).min(10 * SECOND);
            assert!(longest[n] <= bound && longest[n] > bound.mul_f64(0.9), "{n}: {:?}", longest[n]);
            assert!(shortest[n] < bound.mul_f64(0.1), "{n}: {:?}", shortest[n]);
        }
    }

    #[test]
    fn a_retry_after_is_a_lower_bound_but_an_absurd_one_is_cut() {
        let mut backoff = Backoff::new(BackoffPolicy::default(), 1);
        let delay = backoff.next(now(), Some(10 * SECOND)).unwrap();
        assert!(delay >= 10 * SECOND && delay <= 11 * SECOND, "{delay:?}");
        let delay = backoff.next(now(), Some(Duration::from_secs(1_000_000_000))).unwrap();
        assert!(delay >= 120 * SECOND && delay <= 121 * SECOND, "{delay:?}");
    }

    #[test]
    fn the_budget_counts_the_time_in_vain_and_the_last_attempt_is_within_it() {
        let start = now();
        let mut backoff = Backoff::new(BackoffPolicy::default(), 7);
        let mut at = start;
        while let Some(delay) = backoff.next(at, None) {
            at += delay;
        }
        assert_eq!(at - start, 600 * SECOND, "the last attempt is at the end of the budget");
        let mut backoff = Backoff::new(BackoffPolicy::default().with_budget(Some(5 * SECOND)), 7);
        assert_eq!(backoff.next(at, Some(6 * SECOND)), None, "told to come back when the budget is used up");
    }

    #[test]
    fn good_time_costs_no_budget_and_only_a_stable_link_starts_the_count_again() {
        let start = now();
        let mut backoff = Backoff::new(BackoffPolicy::default().with_max_attempts(Some(3)), 7);
        assert!(backoff.next(start, None).is_some());
        backoff.good(start + SECOND);
        assert!(backoff.next(start + 2 * SECOND, None).is_some());
        assert_eq!(backoff.attempt(), 2, "one good second is not stable");
        backoff.good(start + 3 * SECOND);
        assert!(backoff.next(start + 13 * SECOND, None).is_some());
        assert_eq!(backoff.attempt(), 1, "ten are");
        assert!(backoff.next(start + 14 * SECOND, None).is_some());
        assert!(backoff.next(start + 15 * SECOND, None).is_some());
        assert_eq!(backoff.next(start + 16 * SECOND, None), None, "three failures are borne");
    }

    #[test]
    fn a_long_attempt_after_a_short_good_time_is_no_stable_link() {
        let start = now();
        let mut backoff = Backoff::new(BackoffPolicy::default(), 7);
        backoff.next(start, None);
        backoff.good(start);
        backoff.start(start + SECOND);
        backoff.next(start + 60 * SECOND, None);
        assert_eq!(backoff.attempt(), 2);
    }
}
