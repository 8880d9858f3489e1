//! Owns how a fact finds its row, joins into it, and how views and neighbours follow.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use crate::message::{Content, SendStage};

use super::{
    Transcript,
    facts::{Change, Gap, GapId},
    fingerprint::{Face, Print},
    known::{Changed, Joined, Known, Standing},
    order::Order,
    place::{Class, Key, Mark, NO_SEGMENT, OwnedTie, Segments, Tie},
    row::{Current, DeliveryState, Row, RowId, Visibility},
    views::{Diff, Snapshot, View},
};

/// One row and what places it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) row: Option<Arc<Row>>,
    in_full: bool,
    in_display: bool,
    /// It was reported as new.
    announced: bool,
}

/// Which identified rows have which faces, and which rows without an id. Kept up only while there are rows without an id.
#[derive(Debug, Default)]
pub(super) struct Faces {
    identified: HashMap<Arc<Face>, Vec<u32>>,
    of: HashMap<u32, Vec<Arc<Face>>>,
    bare: HashMap<Arc<Face>, Vec<u32>>,
}

/// Where a row stood before a change.
struct Before {
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

    fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    fn row_mut(&mut self, slot: u32) -> &mut Row {
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
        let first = first.clone();
        if self.floor.is_some() && self.is_below_floor(&known) && !self.names.contains_key(&first) {
            return self.count();
        }
        let next = self.next_slot();
        match self.names.entry(first) {
            Entry::Occupied(entry) => {
                let slot = *entry.get();
                self.join(slot, known)
            }
            Entry::Vacant(entry) => {
                entry.insert(next);
                if self.is_plain(&known) { self.create_plain(known) } else { self.create(known, None, None) }
            }
        }
    }

    /// Of several aliases, each may lead to a row of its own: then they turn out to be one.
    fn absorb_many(&mut self, known: Known) -> Change {
        let mut found: Vec<u32> =
            known.aliases().iter().filter_map(|alias| self.names.get(alias).copied()).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            if self.is_below_floor(&known) {
                return self.count();
            }
            let next = self.next_slot();
            for alias in known.aliases().iter() {
                self.names.insert(alias.clone(), next);
            }
            return self.create(known, None, None);
        }
        // The oldest one that is shown survives, so that readers see it stay.
        let age = |slot: &u32| (!self.slots[*slot as usize].in_full, self.row(*slot).handle());
        let survivor = found.iter().copied().min_by_key(age).expect("not empty");
        for alias in known.aliases().iter() {
            self.names.insert(alias.clone(), survivor);
        }
        let mut facts = known;
        for loser in found.into_iter().filter(|slot| *slot != survivor) {
            let gone = self.remove(loser);
            for alias in gone.known.aliases().iter() {
                self.names.insert(alias.clone(), survivor);
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
        if let Some(slot) = self.prints.get(&print) {
            return self.join(*slot, known);
        }
        if self.faces.is_none() {
            self.index_faces();
        }
        let next = self.next_slot();
        self.prints.insert(Arc::clone(&print), next);
        if let Some(faces) = &mut self.faces {
            faces.bare.entry(Arc::clone(&print.face)).or_default().push(next);
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
        let row = Row { print, gap, ..self.blank(known) };
        let slot = row.id.slot;
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
    #[inline]
    fn create_plain(&mut self, known: Known) -> Change {
        let (key, standing) = key_of_message(&mut self.segments, &known);
        let visibility = match known.newest() {
            Some(Content::Event(_)) => Visibility::Event,
            _ if known.quiet() => Visibility::Quiet,
            _ => Visibility::Shown,
        };
        let delivery = (known.own() == Some(true)).then_some(DeliveryState::Sent);
        let row = Row { standing, visibility, delivery, ..self.blank(known) };
        let (id, slot) = (row.id, row.id.slot);
        let (in_full, in_display) = (true, self.display_used && visibility.is_in(View::Display));
        self.occupy(Slot { key, row: Some(Arc::new(row)), in_full, in_display, announced: true });
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
            && self.read_up_to.is_none()
            && !matches!(known.newest(), Some(Content::Interactive(_)))
    }

    #[inline]
    fn blank(&mut self, known: Known) -> Row {
        let id = RowId { serial: self.serial, slot: self.next_slot() };
        self.serial = self.serial.wrapping_add(1);
        Row {
            id,
            known,
            current: Current::Told,
            processed: None,
            print: None,
            gap: None,
            visibility: Visibility::Empty,
            filtered: false,
            delivery: None,
            standing: 0,
        }
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

    fn before(&self, slot: u32) -> Before {
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

    fn settle(&mut self, slot: u32, before: Before, mut changed: Changed) -> Change {
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
    fn refresh(&mut self, slot: u32) {
        if self.slots[slot as usize].row.is_some() {
            let before = self.before(slot);
            self.review(slot, &before, false);
        }
    }

    /// Judges a row, puts it where it belongs, and notes which other rows must be judged again.
    fn review(&mut self, slot: u32, before: &Before, changed: bool) {
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
    fn drain(&mut self) {
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

    fn filters_hide(&self, row: &Row) -> bool {
        !self.filters.is_empty()
            && row.original().is_some_and(|content| self.filters.iter().any(|filter| filter.hides(content)))
    }

    fn preprocessed(&self, row: &Row) -> Option<Box<Content>> {
        row.original()?;
        self.preprocessor.as_ref()?(row).map(Box::new)
    }

    fn key_of(&mut self, slot: u32) -> Key {
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
    fn judge(&mut self, slot: u32) -> bool {
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
    fn visibility(&self, slot: u32) -> Visibility {
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
    fn place(&mut self, slot: u32, before: &Before, moved: bool, changed: bool) {
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
    fn stood(&self, view: View, slot: u32, before: &Before) -> usize {
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
    fn remove(&mut self, slot: u32) -> Row {
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

    // ---- references ----

    /// Keeps the list of shown rows with one reference.
    fn file_reference(&mut self, slot: u32, moved: bool) {
        let reference = match self.row(slot).original() {
            Some(Content::Interactive(interactive)) if self.visibility(slot) == Visibility::Shown => {
                interactive.reference.clone()
            }
            _ => None,
        };
        if reference.as_ref() == self.referring.get(&slot) && !(moved && reference.is_some()) {
            return;
        }
        self.unfile_reference(slot);
        if let Some(reference) = reference {
            let mut list = self.references.remove(&reference).unwrap_or_default();
            self.queue.extend(list.last());
            let at = list.partition_point(|other| self.compare_slots(*other, slot).is_lt());
            list.insert(at, slot);
            self.references.insert(Arc::clone(&reference), list);
            self.referring.insert(slot, reference);
        }
    }

    fn unfile_reference(&mut self, slot: u32) {
        let Some(reference) = self.referring.remove(&slot) else { return };
        let Entry::Occupied(mut list) = self.references.entry(reference) else { return };
        list.get_mut().retain(|other| *other != slot);
        match list.get().last() {
            Some(last) => self.queue.push(*last),
            None => drop(list.remove()),
        }
    }

    fn is_superseded(&self, slot: u32) -> bool {
        self.referring
            .get(&slot)
            .and_then(|reference| self.references.get(reference)?.last())
            .is_some_and(|last| *last != slot)
    }

    // ---- rows without an id ----

    fn index_faces(&mut self) {
        self.faces = Some(Box::default());
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].row.is_some() {
                self.file_faces(slot);
            }
        }
    }

    /// Keeps the faces of an identified row. Returns the rows without an id that have one of its faces, or had.
    fn file_faces(&mut self, slot: u32) -> Vec<u32> {
        let Some(faces) = &mut self.faces else { return Vec::new() };
        let row = self.slots[slot as usize].row.as_ref().expect("only rows that are there are filed");
        if row.print.is_some() || row.gap.is_some() {
            return Vec::new();
        }
        let new = row.known.faces();
        let old = faces.of.insert(slot, new.clone()).unwrap_or_default();
        for face in &old {
            faces.drop_face(face, slot);
        }
        for face in &new {
            faces.identified.entry(Arc::clone(face)).or_default().push(slot);
        }
        let mut copies: Vec<u32> = old.iter().chain(&new).flat_map(|face| faces.bare(face)).collect();
        copies.sort_unstable();
        copies.dedup();
        copies
    }

    fn unfile_faces(&mut self, slot: u32) {
        let print = self.row(slot).print.clone();
        let Some(faces) = &mut self.faces else { return };
        if let Some(print) = print {
            self.prints.remove(&print);
            if let Some(list) = faces.bare.get_mut(&print.face) {
                list.retain(|other| *other != slot);
            }
        }
        for face in faces.of.remove(&slot).unwrap_or_default() {
            faces.drop_face(&face, slot);
            self.queue.extend(faces.bare(&face));
        }
    }

    /// Whether a row without an id that gives way to this one was reported as new: the message then is not.
    fn copy_was_announced(&self, slot: u32) -> bool {
        let Some(faces) = &self.faces else { return false };
        let known = &self.row(slot).known;
        faces.of.get(&slot).into_iter().flatten().flat_map(|face| faces.bare(face)).any(|copy| {
            let Slot { row, announced, .. } = &self.slots[copy as usize];
            *announced
                && row
                    .as_ref()
                    .and_then(|row| row.print.as_ref())
                    .is_some_and(|print| print.is_copy_of(known))
        })
    }

    fn is_duplicate(&self, row: &Row) -> bool {
        let (Some(print), Some(faces)) = (&row.print, &self.faces) else { return false };
        let twins = faces.identified.get(&print.face).into_iter().flatten();
        twins.into_iter().any(|slot| print.is_copy_of(&self.row(*slot).known))
    }

    // ---- receipts ----

    fn delivery(&self, slot: u32) -> Option<DeliveryState> {
        let row = self.row(slot);
        if !row.is_own() {
            return None;
        }
        if !row.known.is_told() && !row.send_state().is_some_and(|state| state.sent) {
            return None;
        }
        let placed = self.slots[slot as usize].key.class == Class::Placed;
        let newer = self.read_up_to.is_some_and(|top| {
            placed && self.slots[top as usize].row.is_some() && self.compare_slots(slot, top).is_le()
        });
        let mut state = if newer { DeliveryState::Read } else { DeliveryState::Sent };
        for receipt in row.receipts().iter().filter(|receipt| self.own.binary_search(&receipt.by).is_err()) {
            state = state.max(match receipt.read {
                Some(_) => DeliveryState::Read,
                None => DeliveryState::Delivered,
            });
        }
        Some(state)
    }

    /// Whether it is an own row with a place that another participant has read.
    fn is_read(&self, slot: u32) -> bool {
        let Slot { key, row: Some(row), .. } = &self.slots[slot as usize] else { return false };
        row.is_own()
            && key.class == Class::Placed
            && row
                .receipts()
                .iter()
                .any(|receipt| receipt.read.is_some() && self.own.binary_search(&receipt.by).is_err())
    }

    /// Keeps the newest own row that was read. If it is this one now, returns the one before.
    fn file_reads(&mut self, slot: u32, moved: bool) -> Option<Option<u32>> {
        if self.read_up_to == Some(slot) {
            self.reads_lost |= moved;
            return None;
        }
        if self.row(slot).receipts().is_empty() || !self.is_read(slot) {
            return None;
        }
        if self.read_up_to.is_some_and(|top| self.compare_slots(slot, top).is_lt()) {
            return None;
        }
        Some(self.read_up_to.replace(slot))
    }

    /// Judges the rows again that `to` has made read, down to what was read before.
    fn spread_reads(&mut self, from: Option<u32>, to: u32) {
        let end = match self.full.search(|entry| self.compare_slots(entry, to)) {
            Ok(at) | Err(at) => at,
        };
        for slot in self.full.range(0..end).rev() {
            if from.is_some_and(|from| self.compare_slots(slot, from).is_le()) {
                break;
            }
            if self.row(slot).is_own() {
                self.queue.push(slot);
            }
        }
    }

    pub(super) fn recount_reads(&mut self) {
        self.read_up_to = (0..self.slots.len() as u32)
            .filter(|slot| self.is_read(*slot))
            .max_by(|a, b| self.compare_slots(*a, *b));
        self.refresh_all(|row| row.is_own());
    }

    fn refresh_all(&mut self, which: impl Fn(&Row) -> bool) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].row.as_ref().is_some_and(|row| which(row)) {
                self.refresh(slot);
            }
        }
    }

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
                self.settle(slot, before, Changed { any: true, ..Changed::default() });
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

    fn count(&mut self) -> Change {
        self.trimmed += 1;
        Change::counted()
    }

    fn is_below_floor(&mut self, known: &Known) -> bool {
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
            if self.slots[slot as usize].key.class != Class::Local && self.slots[slot as usize].row.is_some()
            {
                self.forget(slot);
            }
        }
    }

    /// Takes over that another transcript was trimmed.
    pub(super) fn raise_floor(&mut self, floor: Option<&Mark>, trimmed: u64) {
        self.trimmed = self.trimmed.max(trimmed);
        self.forget_below(floor, true);
        self.drain();
    }

    /// Forgets the hidden rows and gaps up to `floor`, hidden rows that nothing places, and with `visible` the others too.
    fn forget_below(&mut self, floor: Option<&Mark>, visible: bool) {
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

    fn forget(&mut self, slot: u32) {
        let counts = self.slots[slot as usize].in_full && self.row(slot).gap.is_none();
        let row = self.remove(slot);
        for alias in row.known.aliases().iter() {
            self.names.remove(alias);
        }
        if let Some(gap) = &row.gap {
            self.gaps.remove(gap.id());
        }
        self.trimmed += u64::from(counts);
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

impl Faces {
    /// The rows without an id that have this face.
    fn bare(&self, face: &Arc<Face>) -> impl Iterator<Item = u32> + '_ {
        self.bare.get(face).into_iter().flatten().copied()
    }

    fn drop_face(&mut self, face: &Arc<Face>, slot: u32) {
        if let Entry::Occupied(mut list) = self.identified.entry(Arc::clone(face)) {
            list.get_mut().retain(|other| *other != slot);
            if list.get().is_empty() {
                list.remove();
            }
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
