//! Owns one view's order: a sorted deque of slots, the diffs not yet taken, and the snapshot that is still good.

use std::{cmp::Ordering, collections::VecDeque};

use super::views::{Diff, Snapshot};

/// So many diffs may wait, or as many as there are rows; beyond that, a reset says the same.
pub(super) const MAX_WAITING: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    index: VecDeque<u32>,
    /// Where a row was inserted last; a hint.
    latest: usize,
    /// `None` while nobody wants them.
    pub(super) diffs: Option<Diffs>,
    pub(super) snapshot: Option<Snapshot>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Diffs {
    waiting: Vec<Diff>,
    reset: bool,
}

impl Diffs {
    pub(super) fn push(&mut self, rows: usize, diff: impl FnOnce() -> Diff) {
        if self.reset {
            return;
        }
        if self.waiting.len() >= rows.max(MAX_WAITING) {
            self.reset();
        } else {
            self.waiting.push(diff());
        }
    }

    /// Whether so much has changed that only a snapshot tells it.
    pub(super) const fn take_reset(&mut self) -> bool {
        std::mem::replace(&mut self.reset, false)
    }

    pub(super) fn take(&mut self) -> Vec<Diff> {
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn reset(&mut self) {
        self.waiting = Vec::new();
        self.reset = true;
    }
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + '_ {
        self.index.iter().copied()
    }

    pub(super) fn range(
        &self,
        range: std::ops::Range<usize>,
    ) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + '_ {
        self.index.range(range).copied()
    }

    pub(super) fn insert(&mut self, at: usize, slot: u32) {
        if at == self.index.len() {
            self.index.push_back(slot);
        } else {
            self.index.insert(at, slot);
        }
        self.latest = at;
    }

    /// Where a row stands that arrived as the `slot`th, if that is where rows in order or in reverse order stand.
    pub(super) fn guess(&self, slot: u32) -> Option<usize> {
        let forward = slot as usize;
        let backward = self.index.len().checked_sub(forward + 1);
        [Some(forward), backward].into_iter().flatten().find(|at| self.index.get(*at) == Some(&slot))
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.index.remove(at);
    }

    pub(super) fn replace(&mut self, index: VecDeque<u32>) -> VecDeque<u32> {
        std::mem::replace(&mut self.index, index)
    }

    /// Where a row stands (`Ok`) or belongs (`Err`); `compare` says how an entry compares with it.
    pub(super) fn search(&self, compare: impl FnMut(u32) -> Ordering) -> Result<usize, usize> {
        self.search_in(0..self.index.len(), compare)
    }

    /// Where a new row belongs. Looks at the end, then beside the row that came last (pages of history), then from there
    /// backwards with growing steps: most rows arrive at one of these.
    pub(super) fn belongs(&self, mut compare: impl FnMut(u32) -> Ordering) -> usize {
        let mut is_before = |at: usize| compare(self.index[at]).is_lt();
        let (mut low, mut high) = (0, self.index.len());
        if high == 0 || is_before(high - 1) {
            return high;
        }
        high -= 1;
        if self.latest < high {
            if is_before(self.latest) {
                low = self.latest + 1;
                if !is_before(low) {
                    return low;
                }
            } else {
                high = self.latest;
                if high == 0 || is_before(high - 1) {
                    return high;
                }
                high -= 1;
            }
        }
        let mut step = 1;
        while high - low > step {
            let back = high - step;
            if is_before(back) {
                low = back + 1;
                break;
            }
            high = back;
            step *= 2;
        }
        self.search_in(low..high, compare).unwrap_or_else(|at| at)
    }

    fn search_in(
        &self,
        range: std::ops::Range<usize>,
        mut compare: impl FnMut(u32) -> Ordering,
    ) -> Result<usize, usize> {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(self.index[middle]) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}
