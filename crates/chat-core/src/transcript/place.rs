//! Owns where a row stands: its sort key, the order of segments, and the marks that the session compares.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{
    ids::SegmentId,
    message::{Alias, Place, Primary},
    time::Timestamp,
};

use super::fingerprint::Print;

/// Where a message was seen: one segment, and the place that the vendor gave there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    pub(super) segment: SegmentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
}

/// A point in the order of the transcript: right behind one row. Opaque; compare two with
/// [`Transcript::compare`](super::Transcript::compare), because segments may yet turn out to stand in another order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub(super) segment: SegmentId,
    pub(super) place: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Alias>,
}

impl Mark {
    /// The segment that it lies in.
    pub const fn segment(&self) -> &SegmentId {
        &self.segment
    }

    pub(super) const fn point(&self) -> Point<'_> {
        Point { segment: &self.segment, place: self.place, id: self.id.as_ref() }
    }

    /// The order of marks within one segment.
    pub(super) fn rank(&self) -> impl Ord + '_ {
        self.point().rank()
    }
}

/// A [`Mark`] that borrows its names: enough to compare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point<'a> {
    pub(super) segment: &'a SegmentId,
    pub(super) place: Place,
    pub(super) id: Option<&'a Alias>,
}

impl<'a> Point<'a> {
    fn rank(self) -> impl Ord + use<'a> {
        let Self { place, id, .. } = self;
        (place.primary, place.tie, place.estimated, id.is_none(), id)
    }

    pub(super) fn to_mark(self) -> Mark {
        Mark { segment: self.segment.clone(), place: self.place, id: self.id.cloned() }
    }
}

/// The great divisions of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Gaps before everything.
    Top,
    /// Rows with a place, and the gaps behind them.
    Placed,
    /// Vendor rows without any place, by id.
    Unplaced,
    /// Rows of this session that no vendor has placed yet, by local sequence.
    Local,
}

/// The part of a sort key that decides nearly always. What is left is the [`Tie`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) primary: Primary,
    /// Index into [`Segments`]; [`NO_SEGMENT`] for none.
    pub(super) segment: u32,
    pub(super) tie: u32,
    pub(super) class: Class,
    pub(super) estimated: bool,
}

pub(super) const NO_SEGMENT: u32 = u32::MAX;

impl Key {
    pub(super) const fn placed(segment: u32, place: &Place) -> Self {
        Self {
            primary: place.primary,
            segment,
            tie: place.tie,
            class: Class::Placed,
            estimated: place.estimated,
        }
    }

    pub(super) const fn bare(class: Class, segment: u32, sequence: u64) -> Self {
        Self { primary: Primary::Index(sequence, 0), segment, tie: 0, class, estimated: false }
    }
}

/// The last resort of the order: never equal for two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tie<'a> {
    Id(&'a Alias),
    Print(&'a Print),
    /// Behind both.
    End,
}

/// A [`Tie`] that outlives its row's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnedTie {
    Id(Alias),
    Print(std::sync::Arc<Print>),
    End,
}

impl OwnedTie {
    pub(super) fn borrow(&self) -> Tie<'_> {
        match self {
            Self::End => Tie::End,
            Self::Id(alias) => Tie::Id(alias),
            Self::Print(print) => Tie::Print(print),
        }
    }
}

/// The segments, in the order in which they follow each other: those with a known start by start, then the others; ties
/// go by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    list: Vec<Segment>,
    /// The numbers, sorted by id.
    by_id: Vec<u32>,
    last: u32,
}

#[derive(Debug, Clone)]
struct Segment {
    id: SegmentId,
    start: Option<Timestamp>,
    rank: u32,
}

impl Segments {
    /// The number of `id`, which is made if it is new; and whether known segments have changed their order.
    pub(super) fn number(&mut self, id: &SegmentId) -> u32 {
        if let Some(segment) = self.list.get(self.last as usize)
            && segment.id == *id
        {
            return self.last;
        }
        let number = match self.find(id) {
            Ok(at) => self.by_id[at],
            Err(at) => {
                let number = self.list.len() as u32;
                // There is mostly one.
                self.list.reserve_exact(1);
                self.list.push(Segment { id: id.clone(), start: None, rank: 0 });
                self.by_id.reserve_exact(1);
                self.by_id.insert(at, number);
                // Between known segments a new one changes nothing.
                self.rank();
                number
            }
        };
        self.last = number;
        number
    }

    fn find(&self, id: &SegmentId) -> Result<usize, usize> {
        self.by_id.binary_search_by(|number| self.list[*number as usize].id.cmp(id))
    }

    /// Joins a start by the least. Says whether known segments have changed their order.
    pub(super) fn declare(&mut self, id: &SegmentId, start: Option<Timestamp>) -> bool {
        let number = self.number(id) as usize;
        let old = self.list[number].start;
        let new = least(old, start);
        if new == old {
            return false;
        }
        let before: Vec<u32> = self.sorted();
        self.list[number].start = new;
        self.rank();
        before != self.sorted()
    }

    fn rank(&mut self) {
        let mut order: Vec<u32> = (0..self.list.len() as u32).collect();
        order.sort_by(|a, b| {
            let (a, b) = (&self.list[*a as usize], &self.list[*b as usize]);
            (a.start.is_none(), a.start, &a.id).cmp(&(b.start.is_none(), b.start, &b.id))
        });
        for (rank, number) in order.into_iter().enumerate() {
            self.list[number as usize].rank = rank as u32;
        }
    }

    fn sorted(&self) -> Vec<u32> {
        self.list.iter().map(|segment| segment.rank).collect()
    }

    fn rank_of(&self, number: u32) -> u32 {
        self.list.get(number as usize).map_or(u32::MAX, |segment| segment.rank)
    }

    pub(super) fn compare(&self, a: u32, b: u32) -> Ordering {
        if a == b { Ordering::Equal } else { self.rank_of(a).cmp(&self.rank_of(b)) }
    }

    pub(super) fn compare_keys(&self, a: &Key, b: &Key) -> Ordering {
        a.class
            .cmp(&b.class)
            .then_with(|| self.compare(a.segment, b.segment))
            .then_with(|| a.primary.cmp(&b.primary))
            .then_with(|| (a.tie, a.estimated).cmp(&(b.tie, b.estimated)))
    }

    pub(super) fn start(&self, id: &SegmentId) -> Option<Timestamp> {
        let at = self.find(id).ok()?;
        self.list[self.by_id[at] as usize].start
    }

    /// Compares two marks.
    pub(super) fn compare_marks(&self, a: &Mark, b: &Mark) -> Ordering {
        self.compare_points(a.point(), b.point())
    }

    pub(super) fn compare_points(&self, a: Point<'_>, b: Point<'_>) -> Ordering {
        let start = |point: Point<'_>| {
            let start = self.start(point.segment);
            (start.is_none(), start)
        };
        if a.segment == b.segment {
            return a.rank().cmp(&b.rank());
        }
        start(a).cmp(&start(b)).then_with(|| a.segment.cmp(b.segment))
    }

    /// The segments with their starts, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SegmentId, Option<Timestamp>)> {
        let mut order: Vec<&Segment> = self.list.iter().collect();
        order.sort_by_key(|segment| segment.rank);
        order.into_iter().map(|segment| (&segment.id, segment.start))
    }
}

/// The earlier of two instants; an absent one says nothing.
pub(super) fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
