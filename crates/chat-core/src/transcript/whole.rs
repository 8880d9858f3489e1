//! Owns what goes through all rows: another order of segments, filters, views that begin, trimming.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Transcript,
    engine::Slot,
    facts::Change,
    known::{Changed, Known},
    place::{Class, Mark},
    row::Row,
    views::{Snapshot, View},
};

impl Transcript {
    // ---- everything at once ----

    /// Segments stand in another order now.
    pub(super) fn reorder(&mut self) {
        let mut changed = false;
        for slot in 0..self.slots.len() as u32 {
            if let Some(row) = &self.slots[slot as usize].row {
                let old = (row.standing, row.gap.as_ref().map(|gap| gap.greatest));
                let key = self.key_of(slot);
                self.slot_mut(slot).key = key;
                let row = self.row(slot);
                changed |= old != (row.standing, row.gap.as_ref().map(|gap| gap.greatest));
            }
        }
        let mut references = std::mem::take(&mut self.references);
        for list in references.values_mut() {
            list.sort_by(|a, b| self.compare_slots(*a, *b));
        }
        self.references = references;
        for view in [View::Full, View::Display] {
            let old = self.order_mut(view).replace(VecDeque::new());
            let mut new = old.clone();
            new.make_contiguous().sort_by(|a, b| self.compare_slots(*a, *b));
            let order = self.order_mut(view);
            if changed || new != old {
                order.snapshot = None;
                if let Some(diffs) = &mut order.diffs {
                    diffs.reset();
                }
            }
            order.replace(new);
        }
        self.recount_reads();
        self.refresh_all(|row| row.gap.is_none());
        self.drain();
    }

    pub(super) fn derive_all(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            let Some(row) = &self.slots[slot as usize].row else { continue };
            let filtered = self.filters_hide(row);
            if filtered != row.filtered {
                let before = self.before(slot);
                self.row_mut(slot).filtered = filtered;
                self.settle(slot, before, Changed::default());
            }
        }
    }

    pub(super) fn process_all(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            let Some(row) = &self.slots[slot as usize].row else { continue };
            let processed = self.preprocessed(row);
            if processed != row.processed {
                let before = self.before(slot);
                self.row_mut(slot).processed = processed;
                self.review(slot, &before, true);
            }
        }
    }

    pub(super) fn use_view(&mut self, view: View) {
        if view == View::Full || self.display_used {
            return;
        }
        self.display_used = true;
        let shown: VecDeque<u32> =
            self.full.iter().filter(|slot| self.row(*slot).visibility().is_in(View::Display)).collect();
        for slot in &shown {
            self.slots[*slot as usize].in_display = true;
        }
        self.display.replace(shown);
    }

    pub(super) fn make_snapshot(&mut self, view: View) -> Snapshot {
        self.use_view(view);
        let order = match view {
            View::Full => &self.full,
            View::Display => &self.display,
        };
        if let Some(snapshot) = &order.snapshot {
            return snapshot.clone();
        }
        let snapshot: Snapshot = order.iter().map(|slot| Arc::clone(self.row(slot))).collect();
        self.order_mut(view).snapshot = Some(snapshot.clone());
        snapshot
    }

    /// All rows, hidden ones included, in order.
    pub(super) fn sorted_rows(&self) -> Vec<&Arc<Row>> {
        let mut slots: Vec<u32> =
            (0..self.slots.len() as u32).filter(|slot| self.slots[*slot as usize].row.is_some()).collect();
        slots.sort_by(|a, b| self.compare_slots(*a, *b));
        slots.into_iter().map(|slot| self.row(slot)).collect()
    }

    // ---- trimming ----

    pub(super) fn count(&mut self) -> Change {
        self.trimmed += 1;
        Change::counted()
    }

    pub(super) fn is_below_floor(&mut self, known: &Known) -> bool {
        let Some(floor) = &self.floor else { return false };
        let floor = floor.clone();
        known.mark(&mut self.segments).is_some_and(|mark| self.segments.compare_marks(&mark, &floor).is_le())
    }

    pub(super) fn trim_rows(&mut self, keep_last: usize) {
        let cut = self.full.len().saturating_sub(keep_last);
        let doomed: Vec<u32> = self.full.range(0..cut).collect();
        let floor = doomed.iter().rev().find_map(|slot| {
            let row = self.row(*slot);
            (row.gap.is_none()).then(|| row.mark()).flatten()
        });
        self.forget_below(floor.as_ref(), false);
        for slot in doomed {
            // A gap behind the last row that goes still is one.
            let Slot { key, row, .. } = &self.slots[slot as usize];
            if key.class != Class::Local && row.as_ref().is_some_and(|row| row.gap.is_none()) {
                self.forget(slot);
            }
        }
        self.drain();
    }

    /// Takes over that another transcript was trimmed.
    pub(super) fn raise_floor(&mut self, floor: Option<&Mark>, trimmed: u64) {
        self.trimmed = self.trimmed.max(trimmed);
        self.forget_below(floor, true);
        self.drain();
    }

    /// Forgets the hidden rows and gaps up to `floor`, hidden rows that nothing places, and with `visible` the others too.
    pub(super) fn forget_below(&mut self, floor: Option<&Mark>, visible: bool) {
        let Some(floor) = floor else { return };
        if self.floor.as_ref().is_some_and(|old| self.segments.compare_marks(old, floor).is_ge()) {
            return;
        }
        for slot in 0..self.slots.len() as u32 {
            let entry = &self.slots[slot as usize];
            let Some(row) = &entry.row else { continue };
            let below = match (&row.gap, row.mark()) {
                (Some(gap), _) => {
                    gap.after().is_none_or(|after| self.segments.compare_marks(after, floor).is_lt())
                }
                (None, Some(mark)) => {
                    (visible || !entry.in_full) && self.segments.compare_marks(&mark, floor).is_le()
                }
                (None, None) => !entry.in_full && entry.key.class != Class::Local,
            };
            if below {
                self.forget(slot);
            }
        }
        self.floor = Some(floor.clone());
    }

    pub(super) fn forget(&mut self, slot: u32) {
        let counts = self.slots[slot as usize].in_full && self.row(slot).gap.is_none();
        let copies = self.hidden_copies(slot);
        let row = self.remove(slot);
        // Its copies without an id go with it, lest they appear for it.
        for copy in copies {
            self.remove(copy);
        }
        for alias in row.known.aliases().iter() {
            self.names.remove(alias);
        }
        if let Some(gap) = &row.gap {
            self.gaps.remove(gap.id());
        }
        self.trimmed += u64::from(counts);
    }
}
