//! Owns positions in the transcript. The same number means opposite things in different operations (§5.4), so that no bare number
//! leaves this module.

/// From where on a call asks for the transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// From the first event on.
    Everything,
    /// From the event with this index on, that event included.
    From(u64),
    /// Nothing: only keep the chat alive. `refresh` and the like alone can say so.
    Nothing,
    /// The newest event alone. `refresh` and the like alone can say so.
    Last,
}

impl Position {
    /// From this index on; before the second event that is everything.
    pub const fn at(index: u64) -> Self {
        if index <= 1 { Self::Everything } else { Self::From(index) }
    }

    /// As `refresh`, `send` and all others but `requestNotifications` write it: 1 is everything, 0 nothing, -1 the newest.
    pub(crate) fn to_refresh(self) -> i64 {
        match self {
            Self::Everything | Self::From(0) => 1,
            Self::From(index) => i64::try_from(index).unwrap_or(i64::MAX),
            Self::Nothing => 0,
            Self::Last => -1,
        }
    }

    /// The reverse of [`to_refresh`](Self::to_refresh).
    pub(crate) fn from_refresh(number: i64) -> Option<Self> {
        match number {
            -1 => Some(Self::Last),
            0 => Some(Self::Nothing),
            index => u64::try_from(index).ok().map(Self::at),
        }
    }

    /// As `requestNotifications` writes it: 0 is everything. `None` for what it cannot say.
    pub(crate) fn to_notifications(self) -> Option<i64> {
        match self {
            Self::Everything => Some(0),
            Self::From(index) => Some(i64::try_from(index).unwrap_or(i64::MAX)),
            Self::Nothing | Self::Last => None,
        }
    }

    /// The reverse of [`to_notifications`](Self::to_notifications).
    pub(crate) fn from_notifications(number: i64) -> Option<Self> {
        u64::try_from(number).ok().map(Self::at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_is_nothing_to_a_poll_and_everything_to_a_subscription() {
        assert_eq!(Position::Nothing.to_refresh(), 0);
        assert_eq!(Position::Everything.to_refresh(), 1);
        assert_eq!(Position::Last.to_refresh(), -1);
        assert_eq!(Position::Everything.to_notifications(), Some(0));
        assert_eq!(Position::Nothing.to_notifications(), None);
        assert_eq!(Position::from_refresh(0), Some(Position::Nothing));
        assert_eq!(Position::from_notifications(0), Some(Position::Everything));
        assert_eq!(Position::from_refresh(-2), None);
        assert_eq!(Position::from_notifications(-1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_index_survives_either_way(index in 0..=i64::MAX as u64) {
            let position = Position::at(index);
            prop_assert_eq!(Position::from_refresh(position.to_refresh()), Some(position));
            prop_assert_eq!(position.to_notifications().and_then(Position::from_notifications), Some(position));
        }
    }
}
