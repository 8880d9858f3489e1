//! Owns the ceiling that a client sets for itself: the vendor's published request rates, per operation. Source: §4.3.

use std::time::Duration;

use tokio::time::Instant;

/// One operation's rate, shared by all sessions of a transport (the vendor counts per instance).
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    tolerance: Duration,
    /// When the next request would go if none had ever gone early.
    next: Option<Instant>,
}

impl Pace {
    /// At most `rate` requests a second, `burst` of them at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / rate.max(1);
        Self { interval, tolerance: interval * burst.saturating_sub(1), next: None }
    }

    /// When a request of now may go; each call takes its place in the queue.
    ///
    /// # Errors
    /// How long it would have to wait, if that is more than `patience`. It takes no place then.
    pub(crate) fn admit(&mut self, now: Instant, patience: Duration) -> Result<Instant, Duration> {
        let next = self.next.map_or(now, |next| next.max(now));
        let wait = (next - now).saturating_sub(self.tolerance);
        if wait > patience {
            return Err(wait);
        }
        self.next = Some(next + self.interval);
        Ok(now + wait)
    }
}

/// The published rates (requests a second, burst) of an operation.
pub(crate) fn published(operation: &str) -> (u32, u32) {
    match operation {
        "CreateParticipantConnection" => (6, 9),
        "SendMessage" | "SendEvent" => (10, 15),
        "GetTranscript" | "GetAttachment" => (8, 12),
        "DisconnectParticipant" => (3, 5),
        _ => (2, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_in_turn() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 15);
        let patience = Duration::from_secs(10);
        let waits: Vec<_> =
            (0..20).map(|_| (pace.admit(start, patience).unwrap() - start).as_millis()).collect();
        assert!(waits[..15].iter().all(|wait| *wait == 0), "{waits:?}");
        assert_eq!(waits[15..], [100, 200, 300, 400, 500]);
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.admit(later, patience), Ok(later), "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_queue_is_refused() {
        let start = Instant::now();
        let mut pace = Pace::new(2, 1);
        for _ in 0..21 {
            pace.admit(start, Duration::from_secs(10)).unwrap();
        }
        assert_eq!(pace.admit(start, Duration::from_secs(10)), Err(Duration::from_millis(10_500)));
        let later = start + Duration::from_secs(1);
        pace.admit(later, Duration::from_secs(10)).expect("the refused one took no place");
    }
}
