//! Owns one view's order: a sorted deque of slots, the diffs not yet taken, and the snapshot that is still good.

use std::{cmp::Ordering, collections::VecDeque};

use super::views::{Diff, Snapshot};

/// So many diffs may wait, or as many as there are rows; beyond that, a reset says the same.
const MAX_WAITING: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    index: VecDeque<u32>,
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

    pub(super) fn last(&self) -> Option<u32> {
        self.index.back().copied()
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

    pub(super) fn push(&mut self, slot: u32) {
        self.index.push_back(slot);
    }

    pub(super) fn insert(&mut self, at: usize, slot: u32) {
        self.index.insert(at, slot);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.index.remove(at);
    }

    pub(super) fn replace(&mut self, index: VecDeque<u32>) -> VecDeque<u32> {
        std::mem::replace(&mut self.index, index)
    }

    /// Where a row stands (`Ok`) or belongs (`Err`); `compare` says how an entry compares with it. Looks from both ends
    /// inwards with growing steps, because most rows arrive at one of them.
    pub(super) fn search(&self, mut compare: impl FnMut(u32) -> Ordering) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.index.len());
        let mut step = 1;
        while high - low > 2 * step {
            let back = high - step;
            match compare(self.index[back]) {
                Ordering::Equal => return Ok(back),
                Ordering::Less => {
                    low = back + 1;
                    break;
                }
                Ordering::Greater => high = back,
            }
            let front = low + step - 1;
            match compare(self.index[front]) {
                Ordering::Equal => return Ok(front),
                Ordering::Less => low = front + 1,
                Ordering::Greater => {
                    high = front;
                    break;
                }
            }
            step *= 2;
        }
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
