//! Owns the transcript: what a chat's messages are, in which order, and how they change.
//!
//! The transcript is a *join*. It takes [sightings](crate::Sighting) of messages, any number of times, in any order, with
//! more or less detail, and what it shows depends on the set of what it was told alone. Rows are the connected components
//! of sightings with a common alias; each field joins with a commutative, associative, idempotent operator.
//!
//! Rows stand by `(class, segment, place, id)`: placed rows first, then vendor rows without any place, then what this
//! session sends. Local clocks never enter.
//!
//! It decides without I/O, and holds no task, lock or clock.

mod engine;
mod export;
mod facts;
mod filter;
mod fingerprint;
mod known;
mod names;
mod neighbours;
mod order;
mod place;
mod row;
mod spot;
#[cfg(test)]
mod tests;
mod views;
mod whole;

use std::{collections::HashMap, fmt, sync::Arc};

use crate::{
    ids::{ParticipantId, SegmentId},
    message::{Alias, AliasKind, Receipt, SendState, Sighting},
    time::Timestamp,
};

use self::{
    engine::Slot,
    known::{Known, Local},
    names::Names,
    neighbours::Faces,
    order::Order,
    place::Segments,
};

pub use self::{
    export::{ImportError, ImportErrorKind},
    facts::{Change, Conflict, Gap, GapId, LocalRow},
    filter::{Filter, Preprocessor},
    known::Version,
    place::Mark,
    row::{DeliveryState, Row, RowId, RowTime, Visibility},
    spot::Spot,
    views::{Diff, Mirror, OutOfStep, PageFrom, Snapshot, View},
};

/// The messages of one chat, over all its vendor sessions. See the [module](self).
#[derive(Default)]
pub struct Transcript {
    slots: Vec<Slot>,
    free: Vec<u32>,
    serial: u32,
    names: Names,
    /// Made when the first row without an id arrives.
    faces: Option<Box<Faces>>,
    segments: Segments,
    gaps: HashMap<GapId, u32>,
    full: Order,
    /// Kept up only once somebody has asked for it.
    display: Order,
    display_used: bool,
    filters: Vec<Filter>,
    preprocessor: Option<Preprocessor>,
    /// Interactive rows by reference, each list in the order of the transcript: all but the last are superseded.
    references: HashMap<Arc<str>, Vec<u32>>,
    referring: HashMap<u32, Arc<str>>,
    own: Vec<ParticipantId>,
    /// The newest own row that another participant has read.
    read_up_to: Option<u32>,
    /// That row is gone or has moved: count again.
    reads_lost: bool,
    /// Rows to judge again before the current change is done.
    queue: Vec<u32>,
    /// What lies up to here was trimmed away.
    floor: Option<Mark>,
    trimmed: u64,
}

impl Transcript {
    /// An empty transcript.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one observation of a message.
    pub fn sight(&mut self, sighting: Sighting) -> Change {
        self.absorb(sighting.into())
    }

    /// Takes what the answer to sending a message tells of it: its own turn in the chat may be yet to come.
    pub fn answered(&mut self, sighting: Sighting) -> Change {
        self.absorb(Known::answered(sighting))
    }

    /// Takes many.
    pub fn sight_all(&mut self, sightings: impl IntoIterator<Item = Sighting>) -> Vec<Change> {
        sightings.into_iter().map(|sighting| self.sight(sighting)).collect()
    }

    /// Declares a segment and, if known, its start on the server's clock. Segments follow each other by start; those
    /// without one follow after, by id. Declared twice, the earlier start counts.
    pub fn segment(&mut self, id: &SegmentId, start: Option<Timestamp>) {
        if self.segments.declare(id, start) {
            self.reorder();
        }
    }

    /// The segments and their starts, in order.
    pub fn segments(&self) -> impl Iterator<Item = (&SegmentId, Option<Timestamp>)> {
        self.segments.iter()
    }

    /// Names this session's participant: receipts by it do not count as delivery. A participant may have several ids,
    /// one for each vendor session.
    pub fn own_participant(&mut self, id: ParticipantId) {
        if let Err(at) = self.own.binary_search(&id) {
            // There is mostly one.
            self.own.reserve_exact(1);
            self.own.insert(at, id);
            self.recount_reads();
        }
    }

    /// Shows a message that this session sends.
    pub fn local(&mut self, row: LocalRow) -> Change {
        let LocalRow { token, sequence, content, at, state, quiet } = row;
        let local = Local { sequence, content, at };
        self.absorb(Known::alias(token).with_local(local, quiet).with_state(state))
    }

    /// Joins a send state: the greater one counts.
    pub fn set_send_state(&mut self, token: &Alias, state: SendState) -> Change {
        self.absorb(Known::alias(token.clone()).with_state(state))
    }

    /// Joins a receipt for a message, which need not be known yet.
    pub fn receipt(&mut self, message: &Alias, receipt: Receipt) -> Change {
        self.absorb(Known::alias(message.clone()).with_receipt(receipt))
    }

    /// Makes one message of a client token and a vendor's id. Only the outbox may know this.
    ///
    /// # Errors
    /// [`Conflict`] if the id belongs to another token already, or the token to another id of the same scope: a wrong link
    /// cannot be undone, so nothing is changed.
    pub fn link(&mut self, token: &Alias, id: &Alias) -> Result<Change, Conflict> {
        let row = |alias| self.get(alias);
        if let (Some(a), Some(b)) = (row(token), row(id))
            && a.handle() == b.handle()
        {
            return Ok(self.absorb(Known::linked(token.clone(), id.clone())));
        }
        let conflict =
            |other: &Alias| Conflict { token: token.clone(), id: id.clone(), other: other.clone() };
        let at_id = row(id);
        let at_token = row(token);
        if let Some(other) =
            at_id.iter().flat_map(|row| row.aliases().iter()).find(|alias| alias.kind == AliasKind::Token)
        {
            return Err(conflict(other));
        }
        let another_id = |alias: &&Alias| alias.kind == id.kind && alias.scope == id.scope && *alias != id;
        if id.kind == AliasKind::Message
            && let Some(other) = at_token.iter().flat_map(|row| row.aliases().iter()).find(another_id)
        {
            return Err(conflict(other));
        }
        Ok(self.absorb(Known::linked(token.clone(), id.clone())))
    }

    /// States that something may be missing behind `after`, or at the start. A gap that is known already only rises.
    pub fn gap(&mut self, id: GapId, after: Option<Mark>) -> Change {
        self.absorb_gap(Gap::new(id, after, false))
    }

    /// States that what was missing has been found: for good.
    pub fn close_gap(&mut self, id: &GapId) -> Change {
        self.absorb_gap(Gap::new(id.clone(), None, true))
    }

    /// The rows of open gaps, in order.
    pub fn open_gaps(&self) -> impl Iterator<Item = &Arc<Row>> {
        let mut open: Vec<u32> = self
            .gaps
            .values()
            .copied()
            .filter(|slot| self.row(*slot).visibility() != Visibility::Closed)
            .collect();
        open.sort_by(|a, b| self.compare_slots(*a, *b));
        open.into_iter().map(|slot| self.row(slot))
    }

    /// Hides texts that match any of `filters` from the display view, and shows those that no longer do.
    pub fn set_filters(&mut self, filters: Vec<Filter>) {
        self.filters = filters;
        self.derive_all();
    }

    /// The filters.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Rewrites what rows show, from now on and in all rows that there are.
    pub fn set_preprocessor(&mut self, preprocessor: Option<Preprocessor>) {
        self.preprocessor = preprocessor;
        self.process_all();
    }

    /// Compares two marks.
    pub fn compare(&self, a: &Mark, b: &Mark) -> std::cmp::Ordering {
        self.segments.compare_marks(a, b)
    }

    /// Compares two rows by their marks; rows without one stand first.
    pub(crate) fn compare_rows(&self, a: &Row, b: &Row) -> std::cmp::Ordering {
        match (a.point(), b.point()) {
            (Some(a), Some(b)) => self.segments.compare_points(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }

    /// The mark of a sighting, if it has a place; compare it with those of rows.
    pub fn mark_of(sighting: &Sighting) -> Option<Mark> {
        let place = sighting.place?;
        let id = Known::from(sighting.clone()).least_alias().cloned();
        Some(Mark { segment: sighting.segment.clone(), place, id })
    }

    /// The row of a message, hidden ones included.
    pub fn get(&self, alias: &Alias) -> Option<&Arc<Row>> {
        self.names.get(alias).map(|slot| self.row(slot))
    }

    /// The row with this handle, unless it has become part of another or was trimmed away.
    pub fn by_handle(&self, id: RowId) -> Option<&Arc<Row>> {
        self.slots.get(id.slot as usize)?.row.as_ref().filter(|row| row.handle() == id)
    }

    /// The row of a gap.
    pub fn gap_row(&self, id: &GapId) -> Option<&Arc<Row>> {
        self.gaps.get(id).map(|slot| self.row(*slot))
    }

    /// The rows of a view, in order.
    pub fn rows(&self, view: View) -> impl DoubleEndedIterator<Item = &Arc<Row>> {
        self.full.iter().map(|slot| self.row(slot)).filter(move |row| row.visibility().is_in(view))
    }

    /// The hidden rows, in order.
    pub fn hidden(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.sorted_rows().into_iter().filter(|row| !row.visibility().is_in(View::Full))
    }

    /// How many rows a view has.
    pub fn len(&self, view: View) -> usize {
        match view {
            View::Full => self.full.len(),
            View::Display if self.display_used => self.display.len(),
            View::Display => self.rows(view).count(),
        }
    }

    /// Whether the full view has no row.
    pub fn is_empty(&self) -> bool {
        self.full.len() == 0
    }

    /// The last `n` rows of a view, oldest first.
    pub fn last(&self, view: View, n: usize) -> Vec<Arc<Row>> {
        let mut rows: Vec<_> = self.rows(view).rev().take(n).cloned().collect();
        rows.reverse();
        rows
    }

    /// Up to `n` rows of a view from a point on, oldest first. Empty at the end, and for rows that are gone.
    pub fn page(&self, view: View, from: PageFrom, n: usize) -> Vec<Arc<Row>> {
        let position = |id: RowId| {
            let row = self.by_handle(id)?;
            let slot = row.handle().slot;
            Some(self.full.search(|entry| self.compare_slots(entry, slot)))
        };
        let (range, newest) = match from {
            PageFrom::Oldest => (0..self.full.len(), false),
            PageFrom::Newest => (0..self.full.len(), true),
            PageFrom::Before(id) => match position(id) {
                Some(Ok(at) | Err(at)) => (0..at, true),
                None => return Vec::new(),
            },
            PageFrom::After(id) => match position(id) {
                Some(Ok(at)) => (at + 1..self.full.len(), false),
                Some(Err(at)) => (at..self.full.len(), false),
                None => return Vec::new(),
            },
        };
        let rows =
            self.full.range(range).map(|slot| self.row(slot)).filter(|row| row.visibility().is_in(view));
        if newest {
            let mut rows: Vec<_> = rows.rev().take(n).cloned().collect();
            rows.reverse();
            rows
        } else {
            rows.take(n).cloned().collect()
        }
    }

    /// The newest row of others that has a place and a vendor's id: receipts go to it, and history is asked from it.
    pub fn newest_of_others(&self) -> Option<&Arc<Row>> {
        self.full.iter().rev().map(|slot| self.row(slot)).find(|row| is_placed_other(row))
    }

    /// The oldest row of others that has a place and a vendor's id.
    pub fn oldest_of_others(&self) -> Option<&Arc<Row>> {
        self.full.iter().map(|slot| self.row(slot)).find(|row| is_placed_other(row))
    }

    /// The newest row that has a place and a vendor's id, own ones included.
    pub fn newest_placed(&self) -> Option<&Arc<Row>> {
        self.full.iter().rev().map(|slot| self.row(slot)).find(|row| is_placed(row))
    }

    /// The oldest row that has a place and a vendor's id, own ones included.
    pub fn oldest_placed(&self) -> Option<&Arc<Row>> {
        self.full.iter().map(|slot| self.row(slot)).find(|row| is_placed(row))
    }

    /// The rows of a view at this moment. Made on demand, and shared until the next change.
    pub fn snapshot(&mut self, view: View) -> Snapshot {
        self.make_snapshot(view)
    }

    /// Collects diffs of a view from now on, or no longer. Costs nothing while nobody wants them.
    pub fn want_diffs(&mut self, view: View, wanted: bool) {
        self.use_view(view);
        let order = self.order_mut(view);
        if wanted {
            order.diffs.get_or_insert_default();
        } else {
            order.diffs = None;
        }
    }

    /// The diffs of a view since they were last taken, in order. If very many have piled up, one reset instead.
    pub fn take_diffs(&mut self, view: View) -> Vec<Diff> {
        if self.order_mut(view).diffs.as_mut().is_some_and(order::Diffs::take_reset) {
            return vec![Diff::Reset(self.make_snapshot(view))];
        }
        self.order_mut(view).diffs.as_mut().map(order::Diffs::take).unwrap_or_default()
    }

    /// Forgets all but the last `keep_last` rows. What is sighted again of the rows before them is counted, not stored.
    /// Rows that wait to be sent stay.
    pub fn trim(&mut self, keep_last: usize) {
        self.trim_rows(keep_last);
    }

    /// How many rows were trimmed away, and sightings of older ones counted since.
    pub const fn trimmed(&self) -> u64 {
        self.trimmed
    }

    /// Joins all that `other` knows. Filters, preprocessor and readers stay as they are.
    pub fn merge(&mut self, other: &Self) {
        for (id, start) in other.segments.iter() {
            self.segment(id, start);
        }
        for id in &other.own {
            self.own_participant(id.clone());
        }
        for row in other.slots.iter().filter_map(|slot| slot.row.as_ref()) {
            match &row.gap {
                Some(gap) => self.absorb_gap((**gap).clone()),
                None => self.absorb(row.known.clone()),
            };
        }
        self.raise_floor(other.floor.as_ref(), other.trimmed);
    }
}

fn is_placed(row: &Row) -> bool {
    row.gap().is_none() && row.place().is_some() && row.message_id().is_some()
}

fn is_placed_other(row: &Row) -> bool {
    is_placed(row) && !row.is_own()
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript")
            .field("rows", &self.full.len())
            .field("hidden", &(self.slots.len() - self.free.len() - self.full.len()))
            .field("trimmed", &self.trimmed)
            .finish_non_exhaustive()
    }
}
