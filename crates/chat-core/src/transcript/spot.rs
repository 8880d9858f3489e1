//! Owns marks that compare by themselves, for maps and machines that know no transcript.

use std::{cmp::Ordering, sync::Arc};

use super::{Mark, Transcript};
use crate::time::Timestamp;

/// A [`Mark`] with the order of segments as it was when taken. Segments are declared before their messages come, so that two
/// spots compare as [`Transcript::compare`] does. Cheap to clone, and small: a session holds several, mostly none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    start: Option<Timestamp>,
    mark: Mark,
}

impl Spot {
    /// The mark.
    pub fn mark(&self) -> &Mark {
        &self.0.mark
    }
}

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.mark(), other.mark());
        if a.segment == b.segment {
            return a.rank().cmp(&b.rank());
        }
        let start = |spot: &Self| (spot.0.start.is_none(), spot.0.start);
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
        Spot(Arc::new(Inner { start, mark }))
    }
}
