//! Owns instants as vendors write them, and the one clock that may be asked for the time of day.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant on the vendor's clock. Compared as an instant, whatever precision or offset it was written with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z. `None` beyond the years -9999 to 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(millis).ok().map(Self)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded towards it.
    pub fn as_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Reads RFC 3339, with any fraction and offset. `None` if unreadable, and for the "no time" value that some servers
    /// write (`0001-01-01T00:00:00Z`).
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.trim().parse().ok()?;
        (parsed.as_second() > -62_135_596_800).then_some(Self(parsed))
    }

    /// This instant plus `by`, at most the end of the year 9999.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        self.0.saturating_add(by).map_or(self, Self)
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, or with as many digits as it takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanosecond() % 1_000_000 == 0 {
            write!(f, "{:.3}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was no RFC 3339 instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTimestamp;

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an RFC 3339 instant")
    }
}

impl std::error::Error for InvalidTimestamp {}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(InvalidTimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(InvalidTimestamp))
    }
}

/// The time of day. Read for two things only: the age of a saved session, and the display time of rows not yet sent.
/// Order, time-outs and expiry never depend on it.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now())
    }
}

/// A clock that starts where told and advances with tokio's clock, so that paused time moves both.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    start: Timestamp,
    origin: tokio::time::Instant,
}

impl VirtualClock {
    /// Shows `start` now.
    pub fn starting_at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self { start, origin: tokio::time::Instant::now() })
    }
}

impl WallClock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start.saturating_add(self.origin.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_compare_as_instants_whatever_their_spelling() {
        let a = Timestamp::parse("2026-05-04T09:00:05Z").unwrap();
        let b = Timestamp::parse("2026-05-04T11:00:05.000+02:00").unwrap();
        let c = Timestamp::parse("2026-05-04T09:00:05.0001Z").unwrap();
        assert_eq!(a, b);
        assert!(c > a, "a finer fraction is kept");
        assert_eq!(a.to_string(), "2026-05-04T09:00:05.000Z");
        assert_eq!(serde_json::from_str::<Timestamp>(&serde_json::to_string(&c).unwrap()).unwrap(), c);
    }

    #[test]
    fn no_time_is_none() {
        for text in ["", "0001-01-01T00:00:00Z", "yesterday", "2026-13-01T00:00:00Z", "2026-05-04"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_virtual_clock_follows_paused_time() {
        let start = Timestamp::from_millis(1_000).unwrap();
        let clock = VirtualClock::starting_at(start);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().as_millis(), 6_000);
    }
}
