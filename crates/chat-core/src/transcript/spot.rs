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
        let segment = if a.segment == b.segment {
            Ordering::Equal
        } else {
            (self.start.is_none(), self.start, &a.segment).cmp(&(
                other.start.is_none(),
                other.start,
                &b.segment,
            ))
        };
        segment
            .then_with(|| (a.place.primary, a.place.tie).cmp(&(b.place.primary, b.place.tie)))
            .then_with(|| (a.place.estimated, &a.id).cmp(&(b.place.estimated, &b.id)))
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
        let start = self.segments().find(|(id, _)| *id == mark.segment()).and_then(|(_, start)| start);
        Spot { start, mark }
    }
}
