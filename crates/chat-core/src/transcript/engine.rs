//! Owns how a fact finds its row, joins into it, and how views and neighbours follow.

use std::{cmp::Ordering, sync::Arc};

use crate::message::{Content, SendStage};

use super::{
    Transcript,
    facts::{Change, Gap, GapId},
    fingerprint::Print,
    known::{Changed, Joined, Known, Standing},
    order::Order,
    place::{Class, Key, NO_SEGMENT, OwnedTie, Segments, Tie},
    row::{Current, DeliveryState, Row, RowId, Visibility},
    views::{Diff, View},
};

/// One row and what places it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) row: Option<Arc<Row>>,
    pub(super) in_full: bool,
    pub(super) in_display: bool,
    /// It was reported as new.
    pub(super) announced: bool,
}

/// Where a row stood before a change.
pub(super) struct Before {
    key: Key,
    /// Set if it may have changed.
    tie: Option<OwnedTie>,
    full: bool,
    display: bool,
}

impl Transcript {
    pub(super) fn row(&self, slot: u32) -> &Arc<Row> {
        self.slots[slot as usize]
            .row
            .as_ref()
            .expect("only freed slots are empty, and nothing refers to them")
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    pub(super) fn row_mut(&mut self, slot: u32) -> &mut Row {
        let row = self.slots[slot as usize].row.as_mut();
        Arc::make_mut(row.expect("only freed slots are empty, and nothing refers to them"))
    }

    pub(super) const fn order_mut(&mut self, view: View) -> &mut Order {
        match view {
            View::Full => &mut self.full,
            View::Display => &mut self.display,
        }
    }

    // ---- facts ----

    #[inline]
    pub(super) fn absorb(&mut self, known: Known) -> Change {
        let Some(first) = known.aliases().iter().next() else {
            return self.absorb_bare(known);
        };
        if known.aliases().len() > 1 {
            return self.absorb_many(known);
        }
        if self.floor.is_some() && self.is_below_floor(&known) && self.names.get(first).is_none() {
            return self.count();
        }
        match self.names.file(first, self.next_slot()) {
            Some(slot) => self.join(slot, known),
            None if self.is_plain(&known) => self.create_plain(known),
            None => self.create(known, None, None),
        }
    }

    /// Of several aliases, each may lead to a row of its own: then they turn out to be one.
    fn absorb_many(&mut self, known: Known) -> Change {
        let mut found: Vec<u32> = known.aliases().iter().filter_map(|alias| self.names.get(alias)).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            if self.is_below_floor(&known) {
                return self.count();
            }
            let next = self.next_slot();
            for alias in known.aliases().iter() {
                self.names.lead(alias, next);
            }
            return self.create(known, None, None);
        }
        // The oldest one that is shown survives, so that readers see it stay.
        let age = |slot: &u32| (!self.slots[*slot as usize].in_full, self.row(*slot).handle());
        let survivor = found.iter().copied().min_by_key(age).expect("not empty");
        for alias in known.aliases().iter() {
            self.names.lead(alias, survivor);
        }
        let mut facts = known;
        for loser in found.into_iter().filter(|slot| *slot != survivor) {
            let gone = self.remove(loser);
            for alias in gone.known.aliases().iter() {
                self.names.lead(alias, survivor);
            }
            self.slot_mut(survivor).announced |= self.slots[loser as usize].announced;
            facts.join(gone.known);
        }
        self.join(survivor, facts)
    }

    fn absorb_bare(&mut self, known: Known) -> Change {
        if self.is_below_floor(&known) {
            return self.count();
        }
        let print = Arc::new(known.print());
        if let Some(slot) = self.faces.as_ref().and_then(|faces| faces.find(&print)) {
            return self.join(slot, known);
        }
        if self.faces.is_none() {
            self.index_faces();
        }
        let next = self.next_slot();
        if let Some(faces) = &mut self.faces {
            faces.file_bare(&print, next);
        }
        self.create(known, Some(print), None)
    }

    pub(super) fn absorb_gap(&mut self, gap: Gap) -> Change {
        if let Some(slot) = self.gaps.get(gap.id()).copied() {
            let mut joined = gap_of(self.row(slot)).clone();
            if !joined.join(&gap) {
                return self.change(slot, Changed::default(), false);
            }
            let before = self.before_with_tie(slot);
            self.row_mut(slot).gap = Some(Box::new(joined));
            let changed = Changed { any: true, ..Changed::default() };
            return self.settle(slot, before, changed);
        }
        if let (Some(floor), Some(after)) = (&self.floor, gap.after())
            && self.segments.compare_marks(after, floor).is_lt()
        {
            return self.count();
        }
        let next = self.next_slot();
        self.gaps.insert(gap.id().clone(), next);
        let mut own = Gap::new(gap.id().clone(), None, false);
        own.join(&gap);
        self.create(Known::default(), None, Some(Box::new(own)))
    }

    fn next_slot(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.slots.len() as u32)
    }

    fn create(&mut self, known: Known, print: Option<Arc<Print>>, gap: Option<Box<Gap>>) -> Change {
        let id = self.next_id();
        let slot = id.slot;
        let row = Row {
            id,
            known,
            current: Current::Nothing,
            processed: None,
            print,
            gap,
            visibility: Visibility::Empty,
            filtered: false,
            delivery: None,
            standing: 0,
        };
        self.occupy(Slot {
            key: Key::bare(Class::Unplaced, NO_SEGMENT, 0),
            row: Some(Arc::new(row)),
            in_full: false,
            in_display: false,
            announced: false,
        });
        let before = self.before(slot);
        let row = self.row(slot);
        let receipts = row.receipts().to_vec();
        let state = row.send_state().is_some();
        let mut change =
            self.settle(slot, before, Changed { any: true, content: true, receipts, ..Changed::default() });
        change.content = false;
        change.state = state;
        change
    }

    /// A new row of which nothing but itself decides how it is shown, and which decides nothing about others: what
    /// [`settle`](Self::settle) comes to, without the detours.
    #[inline(always)]
    fn create_plain(&mut self, known: Known) -> Change {
        let (key, standing) = key_of_message(&mut self.segments, &known);
        let visibility = match known.newest() {
            Some(Content::Event(_)) => Visibility::Event,
            _ if known.quiet() => Visibility::Quiet,
            _ => Visibility::Shown,
        };
        let delivery = (known.own() == Some(true)).then_some(DeliveryState::Sent);
        let id = self.next_id();
        let slot = id.slot;
        let (in_full, in_display) = (true, self.display_used && visibility.is_in(View::Display));
        // In one expression, so that the row is written once, where it stays.
        let row = Some(Arc::new(Row {
            id,
            known,
            current: Current::Told,
            processed: None,
            print: None,
            gap: None,
            visibility,
            filtered: false,
            delivery,
            standing,
        }));
        self.occupy(Slot { key, row, in_full, in_display, announced: true });
        self.appear(View::Full, slot);
        if in_display {
            self.appear(View::Display, slot);
        }
        Change {
            row: Some(id),
            new: true,
            content: false,
            state: false,
            receipts: Vec::new(),
            any: true,
            visibility,
        }
    }

    /// Whether [`create_plain`](Self::create_plain) serves.
    fn is_plain(&self, known: &Known) -> bool {
        known.is_plain()
            && self.faces.is_none()
            && self.filters.is_empty()
            && self.preprocessor.is_none()
            && (self.read_up_to.is_none() || known.own() != Some(true))
            && !matches!(known.newest(), Some(Content::Interactive(_)))
    }

    fn next_id(&mut self) -> RowId {
        let id = RowId { serial: self.serial, slot: self.next_slot() };
        self.serial = self.serial.wrapping_add(1);
        id
    }

    fn occupy(&mut self, entry: Slot) {
        match self.free.pop() {
            Some(slot) => self.slots[slot as usize] = entry,
            None => self.slots.push(entry),
        }
    }

    fn join(&mut self, slot: u32, known: Known) -> Change {
        // A single alias is the one that led here.
        let more = known.aliases().len() > 1;
        let before = if more { self.before_with_tie(slot) } else { self.before(slot) };
        let row =
            self.slot_mut(slot).row.as_mut().expect("only freed slots are empty, and names lead to none");
        let changed = match Arc::get_mut(row) {
            Some(row) => row.known.join(known),
            // A reader holds it: copy it only if something changes.
            None => {
                let mut joined = row.known.clone();
                let changed = joined.join(known);
                if changed.any {
                    Arc::make_mut(row).known = joined;
                }
                changed
            }
        };
        if !changed.any {
            return self.change(slot, changed, false);
        }
        self.settle(slot, before, changed)
    }

    pub(super) fn before(&self, slot: u32) -> Before {
        let Slot { key, in_full, in_display, .. } = self.slots[slot as usize];
        Before { key, tie: None, full: in_full, display: in_display }
    }

    fn before_with_tie(&self, slot: u32) -> Before {
        Before { tie: Some(OwnedTie::new(self.row(slot))), ..self.before(slot) }
    }

    fn change(&self, slot: u32, changed: Changed, new: bool) -> Change {
        let row = self.row(slot);
        Change {
            row: Some(row.handle()),
            new,
            content: changed.content,
            state: changed.state,
            receipts: changed.receipts,
            any: changed.any,
            visibility: row.visibility(),
        }
    }

    // ---- what follows from a change ----

    pub(super) fn settle(&mut self, slot: u32, before: Before, mut changed: Changed) -> Change {
        changed.content = changed.content && self.derive(slot, changed.old.take());
        let key = self.key_of(slot);
        self.slot_mut(slot).key = key;
        let mut copies = self.file_faces(slot);
        if !before.full {
            // Nothing stands twice, even for a moment: the copies give way first.
            for copy in copies.drain(..) {
                self.refresh(copy);
            }
        }
        self.review(slot, &before, true);
        for copy in copies {
            self.refresh(copy);
        }
        let row = self.row(slot);
        let visible = row.visibility().is_in(View::Full) && row.gap.is_none();
        let announced = self.slots[slot as usize].announced || visible && self.copy_was_announced(slot);
        let new = visible && !announced;
        self.slot_mut(slot).announced = announced || visible;
        changed.content &= !new;
        self.drain();
        self.change(slot, changed, new)
    }

    /// Judges a row again whose own facts have not changed.
    pub(super) fn refresh(&mut self, slot: u32) {
        if self.slots[slot as usize].row.is_some() {
            let before = self.before(slot);
            self.review(slot, &before, false);
        }
    }

    /// Judges a row, puts it where it belongs, and notes which other rows must be judged again.
    pub(super) fn review(&mut self, slot: u32, before: &Before, changed: bool) {
        let moved = self.slots[slot as usize].key != before.key
            || before.tie.as_ref().is_some_and(|tie| tie.borrow() != tie_of(self.row(slot)));
        self.file_reference(slot, moved);
        let raised = self.file_reads(slot, moved);
        let judged = self.judge(slot);
        self.place(slot, before, moved, changed || judged);
        if let Some(from) = raised {
            self.spread_reads(from, slot);
        }
    }

    /// Judges the rows that were noted.
    pub(super) fn drain(&mut self) {
        loop {
            if std::mem::take(&mut self.reads_lost) {
                self.recount_reads();
            }
            let Some(slot) = self.queue.pop() else { return };
            self.refresh(slot);
        }
    }

    /// Finds the content and what filters and preprocessor make of it, unless it is what it was. Says whether it is not.
    fn derive(&mut self, slot: u32, old: Option<Option<Content>>) -> bool {
        let row = self.row_mut(slot);
        row.current = match row.known.content() {
            Joined::Nothing => Current::Nothing,
            Joined::Told(_) => Current::Told,
            Joined::Made(content) => Current::Made(Box::new(content)),
        };
        if old.is_some_and(|old| old.as_ref() == row.original()) {
            return false;
        }
        row.processed = None;
        let row = self.row(slot);
        let (filtered, processed) = (self.filters_hide(row), self.preprocessed(row));
        let row = self.row_mut(slot);
        (row.filtered, row.processed) = (filtered, processed);
        true
    }

    pub(super) fn filters_hide(&self, row: &Row) -> bool {
        !self.filters.is_empty()
            && row.original().is_some_and(|content| self.filters.iter().any(|filter| filter.hides(content)))
    }

    pub(super) fn preprocessed(&self, row: &Row) -> Option<Box<Content>> {
        row.original()?;
        self.preprocessor.as_ref()?(row).map(Box::new)
    }

    pub(super) fn key_of(&mut self, slot: u32) -> Key {
        let entry = &mut self.slots[slot as usize];
        let row = entry.row.as_mut().expect("only freed slots are empty, and they are not settled");
        if let Some(gap) = &row.gap {
            for mark in &gap.after {
                self.segments.number(&mark.segment);
            }
            let greatest = gap
                .after
                .iter()
                .enumerate()
                .max_by(|a, b| self.segments.compare_marks(a.1, b.1))
                .map_or(0, |(nth, _)| nth);
            if greatest != gap.greatest {
                gap_mut(Arc::make_mut(row)).greatest = greatest;
            }
            return match gap_of(row).after() {
                Some(mark) => Key::placed(self.segments.number(&mark.segment), &mark.place),
                None => Key::bare(Class::Top, NO_SEGMENT, 0),
            };
        }
        let (key, standing) = key_of_message(&mut self.segments, &row.known);
        if standing != row.standing {
            Arc::make_mut(row).standing = standing;
        }
        key
    }

    /// Sets visibility and delivery. Says whether either has changed.
    pub(super) fn judge(&mut self, slot: u32) -> bool {
        let mut visibility = self.visibility(slot);
        if visibility == Visibility::Shown && self.is_superseded(slot) {
            visibility = Visibility::Superseded;
        }
        let delivery = if visibility.is_in(View::Full) { self.delivery(slot) } else { None };
        let row = self.row(slot);
        if (visibility, delivery) == (row.visibility, row.delivery) {
            return false;
        }
        let row = self.row_mut(slot);
        (row.visibility, row.delivery) = (visibility, delivery);
        true
    }

    /// What a row is but for other rows with its reference.
    pub(super) fn visibility(&self, slot: u32) -> Visibility {
        let row = self.row(slot);
        if let Some(gap) = &row.gap {
            return if gap.closed { Visibility::Closed } else { Visibility::Shown };
        }
        let Some(content) = row.original() else {
            return if row.known.has_pieces() { Visibility::Incomplete } else { Visibility::Empty };
        };
        let cancelled = row
            .send_state()
            .is_some_and(|state| !state.sent && state.stage == SendStage::Cancelled && !row.known.is_told());
        if cancelled {
            Visibility::Cancelled
        } else if self.is_duplicate(row) {
            Visibility::Duplicate
        } else if matches!(content, Content::Event(_)) {
            Visibility::Event
        } else if row.known.quiet() {
            Visibility::Quiet
        } else if row.filtered {
            Visibility::Filtered
        } else {
            Visibility::Shown
        }
    }

    /// Puts a row where it belongs now in each view, and tells the readers.
    pub(super) fn place(&mut self, slot: u32, before: &Before, moved: bool, changed: bool) {
        let visibility = self.row(slot).visibility();
        let full = visibility.is_in(View::Full);
        self.place_in(View::Full, slot, before, (before.full, full), moved, changed);
        let display = self.display_used && visibility.is_in(View::Display);
        if self.display_used {
            self.place_in(View::Display, slot, before, (before.display, display), moved, changed);
        }
        let entry = self.slot_mut(slot);
        (entry.in_full, entry.in_display) = (full, display);
    }

    fn place_in(
        &mut self,
        view: View,
        slot: u32,
        before: &Before,
        (was, is): (bool, bool),
        moved: bool,
        changed: bool,
    ) {
        match (was, is) {
            (false, false) => {}
            (false, true) => self.appear(view, slot),
            (true, false) => {
                let at = self.stood(view, slot, before);
                self.order_mut(view).remove(at);
                self.tell(view, |_| Diff::Remove { at }, slot);
            }
            (true, true) if moved => {
                let from = self.stood(view, slot, before);
                self.order_mut(view).remove(from);
                let to = self.belongs(view, slot);
                self.order_mut(view).insert(to, slot);
                if to != from {
                    self.tell(view, |_| Diff::Move { from, to }, slot);
                }
                if changed {
                    self.tell(view, |row| Diff::Set { at: to, row: Arc::clone(row) }, slot);
                }
            }
            (true, true) if changed => {
                let order = self.order_mut(view);
                order.snapshot = None;
                if order.diffs.is_some() {
                    let at = self.stood(view, slot, before);
                    self.tell(view, |row| Diff::Set { at, row: Arc::clone(row) }, slot);
                }
            }
            (true, true) => {}
        }
    }

    fn appear(&mut self, view: View, slot: u32) {
        let at = self.belongs(view, slot);
        self.order_mut(view).insert(at, slot);
        self.tell(view, |row| Diff::Insert { at, row: Arc::clone(row) }, slot);
    }

    fn tell(&mut self, view: View, diff: impl FnOnce(&Arc<Row>) -> Diff, slot: u32) {
        let row = self.slots[slot as usize].row.as_ref();
        let order = match view {
            View::Full => &mut self.full,
            View::Display => &mut self.display,
        };
        order.snapshot = None;
        let rows = order.len();
        if let (Some(diffs), Some(row)) = (&mut order.diffs, row) {
            diffs.push(rows, || diff(row));
        }
    }

    /// Where a row that is not in the order belongs.
    fn belongs(&self, view: View, slot: u32) -> usize {
        let order = match view {
            View::Full => &self.full,
            View::Display => &self.display,
        };
        order.belongs(|entry| self.compare_slots(entry, slot))
    }

    /// Where a row that has changed since still stands.
    pub(super) fn stood(&self, view: View, slot: u32, before: &Before) -> usize {
        let order = match view {
            View::Full => &self.full,
            View::Display => &self.display,
        };
        if let Some(at) = order.guess(slot) {
            return at;
        }
        let row = self.row(slot);
        let tie = || before.tie.as_ref().map_or_else(|| tie_of(row), OwnedTie::borrow);
        let found = order.search(|entry| {
            if entry == slot {
                return Ordering::Equal;
            }
            self.compare_with(entry, &before.key, || (tie(), row.gap().map(Gap::id)))
        });
        found.expect(
            "a row that is marked as shown is in the order, which is sorted by the keys before the change",
        )
    }

    pub(super) fn compare_slots(&self, a: u32, b: u32) -> Ordering {
        let row = || {
            let row = self.row(b);
            (tie_of(row), row.gap().map(Gap::id))
        };
        self.compare_with(a, &self.slots[b as usize].key, row)
    }

    /// Compares a row with another of `key`; of two with one key, the ids decide, and a gap stands behind the row.
    fn compare_with<'a>(
        &self,
        a: u32,
        key: &Key,
        rest: impl FnOnce() -> (Tie<'a>, Option<&'a GapId>),
    ) -> Ordering {
        self.segments.compare_keys(&self.slots[a as usize].key, key).then_with(|| {
            let row = self.row(a);
            (tie_of(row), row.gap().map(Gap::id)).cmp(&rest())
        })
    }

    // ---- removing ----

    /// Takes a row out of everything but `names`.
    pub(super) fn remove(&mut self, slot: u32) -> Row {
        let before = self.before(slot);
        for (view, was) in [(View::Full, before.full), (View::Display, before.display)] {
            if was {
                let at = self.stood(view, slot, &before);
                self.order_mut(view).remove(at);
                self.tell(view, |_| Diff::Remove { at }, slot);
            }
        }
        self.unfile_reference(slot);
        self.unfile_faces(slot);
        if self.read_up_to == Some(slot) {
            self.read_up_to = None;
            self.reads_lost = true;
        }
        let row = self.slot_mut(slot).row.take().expect("it was there a moment ago");
        self.free.push(slot);
        Arc::unwrap_or_clone(row)
    }
}

impl OwnedTie {
    fn new(row: &Row) -> Self {
        match tie_of(row) {
            Tie::End => Self::End,
            Tie::Id(alias) => Self::Id(alias.clone()),
            Tie::Print(_) => row.print.clone().map_or(Self::End, Self::Print),
        }
    }
}

/// The sort key of a message, and which of its seats counts.
fn key_of_message(segments: &mut Segments, known: &Known) -> (Key, u32) {
    let standing = known.standing(segments);
    let key = match (&standing, known.local()) {
        (Some(Standing { segment, place: Some(place), .. }), _) => Key::placed(*segment, place),
        (_, Some(local)) => Key::bare(Class::Local, NO_SEGMENT, local.sequence),
        (Some(standing), None) => Key::bare(Class::Unplaced, standing.segment, 0),
        (None, None) => Key::bare(Class::Unplaced, NO_SEGMENT, 0),
    };
    (key, standing.map_or(0, |standing| standing.nth))
}

fn gap_of(row: &Row) -> &Gap {
    row.gap.as_deref().expect("only slots of gaps are in the list of gaps")
}

fn gap_mut(row: &mut Row) -> &mut Gap {
    row.gap.as_deref_mut().expect("only slots of gaps are in the list of gaps")
}

fn tie_of(row: &Row) -> Tie<'_> {
    match &row.gap {
        Some(gap) => gap_tie(gap),
        None => row.tie(),
    }
}

/// A gap stands right behind the row that it names.
fn gap_tie(gap: &Gap) -> Tie<'_> {
    gap.after().and_then(|mark| mark.id.as_ref()).map_or(Tie::End, Tie::Id)
}
