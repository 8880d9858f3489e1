//! Owns how a fact finds its row, joins into it, and how views and neighbours follow.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use crate::message::{Content, SendStage};

use super::{
    Transcript,
    facts::{Change, Gap},
    fingerprint::{Face, Print},
    known::{Changed, Joined, Known},
    order::Order,
    place::{Class, Key, Mark, NO_SEGMENT, OwnedTie, Tie},
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
    tie: OwnedTie,
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
                self.create(known, None, None)
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
            let before = self.before(slot);
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
        let slot = self.next_slot();
        let row = Row {
            id: RowId { serial: self.serial, slot },
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
        self.serial = self.serial.wrapping_add(1);
        let entry = Slot {
            key: Key::bare(Class::Unplaced, NO_SEGMENT, 0),
            row: Some(Arc::new(row)),
            in_full: false,
            in_display: false,
            announced: false,
        };
        if self.free.pop().is_some() {
            self.slots[slot as usize] = entry;
        } else {
            self.slots.push(entry);
        }
        let before = Before {
            key: self.slots[slot as usize].key,
            tie: OwnedTie::Nothing,
            full: false,
            display: false,
        };
        let changed = Changed { any: true, content: true, ..Changed::default() };
        let receipts = self.row(slot).receipts().to_vec();
        let mut change = self.settle(slot, before, Changed { receipts, ..changed });
        change.content = false;
        change.state = self.row(slot).send_state().is_some();
        change
    }

    fn join(&mut self, slot: u32, known: Known) -> Change {
        let before = self.before(slot);
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
        let row = self.row(slot);
        let tie = match (row.known.least_alias(), &row.print) {
            (Some(alias), _) => OwnedTie::Id(alias.clone()),
            (None, Some(print)) => OwnedTie::Print(Arc::clone(print)),
            (None, None) => OwnedTie::Nothing,
        };
        Before { key, tie, full: in_full, display: in_display }
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
        if changed.content {
            changed.content = self.derive(slot, true);
        }
        let key = self.key_of(slot);
        self.slot_mut(slot).key = key;
        let mut others = self.file_reference(slot, key != before.key);
        let announced = self.file_faces(slot);
        let (raised, lost) = self.file_reads(slot, key != before.key);
        self.judge(slot);
        self.place(slot, &before, true);
        let new = self.row(slot).visibility().is_in(View::Full) && self.row(slot).gap.is_none();
        let entry = self.slot_mut(slot);
        let new = new && !entry.announced && !announced;
        entry.announced |= new || announced;
        if let Some(from) = raised {
            self.spread_reads(from, slot);
        }
        if lost {
            self.recount_reads();
        }
        others.retain(|other| *other != slot);
        for other in others {
            self.refresh(other);
        }
        changed.content &= !new;
        self.change(slot, changed, new)
    }

    /// Judges a row again whose own facts have not changed.
    fn refresh(&mut self, slot: u32) {
        let before = self.before(slot);
        let changed = self.judge(slot);
        self.place(slot, &before, changed);
    }

    /// Finds the content and what filters and preprocessor make of it. Says whether the content has changed.
    fn derive(&mut self, slot: u32, process: bool) -> bool {
        let row = self.row(slot);
        let current = match row.known.content() {
            Joined::Nothing => Current::Nothing,
            Joined::Told(_) => Current::Told,
            Joined::Made(content) => Current::Made(Box::new(content)),
        };
        let _ = process;
        let row = self.row_mut(slot);
        row.current = current;
        row.processed = None;
        let row = self.row(slot);
        let filtered = self.filters_hide(row);
        let processed = self.preprocessed(row);
        let row = self.row_mut(slot);
        row.filtered = filtered;
        row.processed = processed;
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
        let standing = row.known.standing(&mut self.segments);
        let nth = standing.map_or(0, |standing| standing.nth);
        if nth != row.standing {
            Arc::make_mut(row).standing = nth;
        }
        match (standing, row.known.local()) {
            (Some(standing), local) => match (standing.place, local) {
                (Some(place), _) => Key::placed(standing.segment, &place),
                (None, Some(local)) => Key::bare(Class::Local, NO_SEGMENT, local.sequence),
                (None, None) => Key::bare(Class::Unplaced, standing.segment, 0),
            },
            (None, Some(local)) => Key::bare(Class::Local, NO_SEGMENT, local.sequence),
            (None, None) => Key::bare(Class::Unplaced, NO_SEGMENT, 0),
        }
    }

    /// Sets visibility and delivery. Says whether either has changed.
    fn judge(&mut self, slot: u32) -> bool {
        let (visibility, delivery) = (self.visibility(slot), self.delivery(slot));
        let row = self.row(slot);
        if (visibility, delivery) == (row.visibility, row.delivery) {
            return false;
        }
        let row = self.row_mut(slot);
        (row.visibility, row.delivery) = (visibility, delivery);
        true
    }

    fn visibility(&self, slot: u32) -> Visibility {
        let row = self.row(slot);
        if let Some(gap) = &row.gap {
            return if gap.closed { Visibility::Closed } else { Visibility::Shown };
        }
        let Some(content) = row.original() else {
            return if row.known.has_pieces() { Visibility::Incomplete } else { Visibility::Empty };
        };
        if row.send_state().is_some_and(|state| !state.sent && state.stage == SendStage::Cancelled)
            && self.slots[slot as usize].key.class == Class::Local
        {
            Visibility::Cancelled
        } else if self.is_duplicate(row) {
            Visibility::Duplicate
        } else if matches!(content, Content::Event(_)) {
            Visibility::Event
        } else if row.known.quiet() {
            Visibility::Quiet
        } else if row.filtered {
            Visibility::Filtered
        } else if self.is_superseded(slot) {
            Visibility::Superseded
        } else {
            Visibility::Shown
        }
    }

    /// Puts a row where it belongs now in each view, and tells the readers.
    fn place(&mut self, slot: u32, before: &Before, changed: bool) {
        let visibility = self.row(slot).visibility();
        let full = visibility.is_in(View::Full);
        let display = visibility.is_in(View::Display) && self.display_used;
        self.place_in(View::Full, slot, before, before.full, full, changed);
        if self.display_used {
            self.place_in(View::Display, slot, before, before.display, display, changed);
        }
        let entry = self.slot_mut(slot);
        (entry.in_full, entry.in_display) = (full, display);
    }

    fn place_in(&mut self, view: View, slot: u32, before: &Before, was: bool, is: bool, changed: bool) {
        match (was, is) {
            (false, false) => {}
            (false, true) => {
                let at = self.belongs(view, slot);
                self.put(view, at, slot);
                self.tell(view, |row| Diff::Insert { at, row: Arc::clone(row) }, slot);
            }
            (true, false) => {
                let at = self.stood(view, slot, before);
                self.order_mut(view).remove(at);
                self.tell(view, |_| Diff::Remove { at }, slot);
            }
            (true, true) => {
                let moved = before.key != self.slots[slot as usize].key
                    || before.tie.borrow() != self.row(slot).tie();
                let wanted = self.order_mut(view).diffs.is_some();
                if !moved && !wanted {
                    if changed {
                        self.order_mut(view).snapshot = None;
                    }
                    return;
                }
                if !moved && !changed {
                    return;
                }
                let from = self.stood(view, slot, before);
                let mut to = from;
                if moved {
                    self.order_mut(view).remove(from);
                    to = self.belongs(view, slot);
                    self.order_mut(view).insert(to, slot);
                }
                if to != from {
                    self.tell(view, |_| Diff::Move { from, to }, slot);
                }
                if changed {
                    self.tell(view, |row| Diff::Set { at: to, row: Arc::clone(row) }, slot);
                }
            }
        }
    }

    fn put(&mut self, view: View, at: usize, slot: u32) {
        let order = self.order_mut(view);
        if at == order.len() { order.push(slot) } else { order.insert(at, slot) }
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
        if order.last().is_none_or(|last| self.compare_slots(last, slot).is_lt()) {
            return order.len();
        }
        match order.search(|entry| self.compare_slots(entry, slot)) {
            Ok(at) | Err(at) => at,
        }
    }

    /// Where a row that has changed since still stands.
    fn stood(&self, view: View, slot: u32, before: &Before) -> usize {
        let order = match view {
            View::Full => &self.full,
            View::Display => &self.display,
        };
        let gap = self.row(slot).gap.as_deref();
        let found = order.search(|entry| {
            if entry == slot {
                return Ordering::Equal;
            }
            self.compare_with(entry, &before.key, before.tie.borrow(), gap)
        });
        found.expect(
            "a row that is marked as shown is in the order, which is sorted by the keys before the change",
        )
    }

    pub(super) fn compare_slots(&self, a: u32, b: u32) -> Ordering {
        let key = &self.slots[b as usize].key;
        let ordering = self.segments.compare_keys(&self.slots[a as usize].key, key);
        if ordering.is_ne() {
            return ordering;
        }
        let row = self.row(b);
        self.compare_with(a, key, tie_of(row), row.gap.as_deref())
    }

    fn compare_with(&self, a: u32, key: &Key, tie: Tie<'_>, gap: Option<&Gap>) -> Ordering {
        self.segments.compare_keys(&self.slots[a as usize].key, key).then_with(|| {
            let row = self.row(a);
            let tie = match gap {
                Some(gap) => gap_tie(gap),
                None => tie,
            };
            tie_of(row).cmp(&tie).then_with(|| row.gap.as_deref().map(Gap::id).cmp(&gap.map(Gap::id)))
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
        let others = self.unfile_reference(slot);
        self.unfile_faces(slot);
        let row = self.slot_mut(slot).row.take().expect("it was there a moment ago");
        self.free.push(slot);
        if self.read_up_to == Some(slot) {
            self.recount_reads();
        }
        for other in others {
            self.refresh(other);
        }
        Arc::unwrap_or_clone(row)
    }

    // ---- references ----

    /// Keeps the list of rows with one reference. Returns the rows to judge again.
    fn file_reference(&mut self, slot: u32, moved: bool) -> Vec<u32> {
        let row = self.row(slot);
        let reference = match row.original() {
            Some(Content::Interactive(interactive)) if !row.known.quiet() && !row.filtered => {
                interactive.reference.as_ref()
            }
            _ => None,
        };
        let filed = self.referring.get(&slot);
        if reference.is_none() && filed.is_none() {
            return Vec::new();
        }
        if reference == filed && !moved {
            return Vec::new();
        }
        let reference = reference.cloned();
        let mut others = self.unfile_reference(slot);
        if let Some(reference) = reference {
            let list = self.references.remove(&reference).unwrap_or_default();
            let at = list.partition_point(|other| self.compare_slots(*other, slot).is_lt());
            others.extend(list.last());
            let list = self.references.entry(Arc::clone(&reference)).or_insert(list);
            list.insert(at, slot);
            self.referring.insert(slot, reference);
        }
        others
    }

    fn unfile_reference(&mut self, slot: u32) -> Vec<u32> {
        let Some(reference) = self.referring.remove(&slot) else { return Vec::new() };
        let Entry::Occupied(mut list) = self.references.entry(reference) else { return Vec::new() };
        list.get_mut().retain(|other| *other != slot);
        match list.get().last().copied() {
            Some(last) => vec![last],
            None => {
                list.remove();
                Vec::new()
            }
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

    /// Keeps the faces of an identified row, and hides and shows their copies without an id. Says whether one of those was
    /// reported as new: the message then is not.
    fn file_faces(&mut self, slot: u32) -> bool {
        let Some(faces) = &mut self.faces else { return false };
        let row = self.slots[slot as usize].row.as_ref().expect("only rows that are there are filed");
        if row.print.is_some() || row.gap.is_some() {
            return false;
        }
        let new = row.known.faces();
        let old = faces.of.insert(slot, new.clone()).unwrap_or_default();
        let mut copies = Vec::new();
        for face in &old {
            faces.drop_face(face, slot);
        }
        for face in &new {
            faces.identified.entry(Arc::clone(face)).or_default().push(slot);
        }
        for face in old.iter().chain(&new) {
            copies.extend(faces.bare.get(face).into_iter().flatten().copied());
        }
        copies.sort_unstable();
        copies.dedup();
        let mut announced = false;
        for copy in copies {
            self.refresh(copy);
            let row = self.row(copy);
            announced |= self.slots[copy as usize].announced
                && row.visibility() == Visibility::Duplicate
                && row.print.as_ref().is_some_and(|print| {
                    new.contains(&print.face) && print.allows(self.row(slot).known.index().as_ref())
                });
        }
        announced
    }

    fn unfile_faces(&mut self, slot: u32) {
        let row = self.row(slot);
        let print = row.print.clone();
        if let Some(print) = &print {
            self.prints.remove(print);
        }
        let Some(faces) = &mut self.faces else { return };
        if let Some(print) = print
            && let Some(list) = faces.bare.get_mut(&print.face)
        {
            list.retain(|other| *other != slot);
        }
        let mut copies = Vec::new();
        for face in faces.of.remove(&slot).unwrap_or_default() {
            faces.drop_face(&face, slot);
            copies.extend(faces.bare.get(&face).into_iter().flatten().copied());
        }
        for copy in copies {
            self.refresh(copy);
        }
    }

    fn is_duplicate(&self, row: &Row) -> bool {
        let (Some(print), Some(faces)) = (&row.print, &self.faces) else { return false };
        print.part.is_none()
            && faces
                .identified
                .get(&print.face)
                .into_iter()
                .flatten()
                .any(|slot| print.allows(self.row(*slot).known.index().as_ref()))
    }

    // ---- receipts ----

    fn delivery(&self, slot: u32) -> Option<DeliveryState> {
        let row = self.row(slot);
        if !row.is_own() {
            return None;
        }
        let told = row.known.seats().next().is_some();
        if !told && !row.send_state().is_some_and(|state| state.sent) {
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

    /// Keeps the newest own row that was read. If this row is it now, returns the one before; and says whether all must be
    /// counted again, because the newest one has moved.
    fn file_reads(&mut self, slot: u32, moved: bool) -> (Option<Option<u32>>, bool) {
        if self.read_up_to == Some(slot) {
            return (None, moved);
        }
        if self.row(slot).receipts().is_empty() || !self.is_read(slot) {
            return (None, false);
        }
        let old = self.read_up_to;
        if old.is_some_and(|top| self.compare_slots(slot, top).is_lt()) {
            return (None, false);
        }
        self.read_up_to = Some(slot);
        (Some(old), false)
    }

    /// Judges the rows again that `to` has made read, down to what was read before.
    fn spread_reads(&mut self, from: Option<u32>, to: u32) {
        let end = match self.full.search(|entry| self.compare_slots(entry, to)) {
            Ok(at) | Err(at) => at,
        };
        let mut older = Vec::new();
        for slot in self.full.range(0..end).rev() {
            if from.is_some_and(|from| self.compare_slots(slot, from).is_le()) {
                break;
            }
            if self.row(slot).is_own() {
                older.push(slot);
            }
        }
        for slot in older {
            self.refresh(slot);
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
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].row.is_some() {
                let key = self.key_of(slot);
                self.slot_mut(slot).key = key;
            }
        }
        let mut references = std::mem::take(&mut self.references);
        for list in references.values_mut() {
            list.sort_by(|a, b| self.compare_slots(*a, *b));
        }
        self.references = references;
        for view in [View::Full, View::Display] {
            let old = self.order_mut(view).replace(VecDeque::new());
            let mut new: Vec<u32> = old.iter().copied().collect();
            new.sort_by(|a, b| self.compare_slots(*a, *b));
            let order = self.order_mut(view);
            order.replace(new.into());
            order.snapshot = None;
            if let Some(diffs) = &mut order.diffs {
                diffs.reset();
            }
        }
        self.recount_reads();
        self.refresh_all(|row| row.gap.is_none());
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
                self.place(slot, &before, true);
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
        self.raise_floor(floor, 0);
        for slot in doomed {
            if self.slots[slot as usize].key.class != Class::Local && self.slots[slot as usize].row.is_some()
            {
                self.forget(slot);
            }
        }
    }

    /// Forgets what lies up to `floor`, hidden rows and gaps included, and hidden rows that nothing places.
    pub(super) fn raise_floor(&mut self, floor: Option<Mark>, trimmed: u64) {
        self.trimmed = self.trimmed.max(trimmed);
        let Some(floor) = floor else { return };
        if self.floor.as_ref().is_some_and(|old| self.segments.compare_marks(old, &floor).is_ge()) {
            return;
        }
        for slot in 0..self.slots.len() as u32 {
            let entry = &self.slots[slot as usize];
            let Some(row) = &entry.row else { continue };
            let below = match (&row.gap, row.mark()) {
                (Some(gap), _) => {
                    gap.after().is_none_or(|after| self.segments.compare_marks(after, &floor).is_lt())
                }
                (None, Some(mark)) => self.segments.compare_marks(&mark, &floor).is_le(),
                (None, None) => !entry.in_full && entry.key.class != Class::Local,
            };
            if below {
                self.forget(slot);
            }
        }
        self.floor = Some(floor);
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

impl Faces {
    fn drop_face(&mut self, face: &Arc<Face>, slot: u32) {
        if let Entry::Occupied(mut list) = self.identified.entry(Arc::clone(face)) {
            list.get_mut().retain(|other| *other != slot);
            if list.get().is_empty() {
                list.remove();
            }
        }
    }
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
    gap.after().and_then(|mark| mark.id.as_ref()).map_or(Tie::Nothing, Tie::Id)
}
