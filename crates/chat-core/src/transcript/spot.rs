//! Owns marks that compare by themselves, for maps and machines that know no transcript.

use std::cmp::Ordering;

use super::{Mark, Transcript};
use crate::time::Timestamp;

/// A [`Mark`] with the order of segments as it was when taken. Segments are declared before their messages come, so that two
/// spots compare as [`Transcript::compare`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    start: Option<Timestamp>,
    mark: Mark,
}

impl Spot {
    /// The mark.
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }
}

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.mark, &other.mark);
        if a.segment == b.segment {
            return a.rank().cmp(&b.rank());
        }
        let start = |spot: &Self| (spot.start.is_none(), spot.start);
        start(self).cmp(&start(other)).then_with(|| a.segment.cmp(&b.segment))
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Transcript {
    /// The spot of a mark.
    pub fn spot(&self, mark: Mark) -> Spot {
        let start = self.segments.start(mark.segment());
        Spot { start, mark }
    }
}
