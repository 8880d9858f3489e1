//! Owns what one row decides about others: newer questions, identified copies, reading what is older.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use crate::message::Content;

use super::{
    Transcript,
    engine::Slot,
    fingerprint::{Face, Print},
    place::Class,
    row::{DeliveryState, Row, Visibility},
};

/// Which identified rows have which faces, and which rows without an id. Kept up only while there are rows without an id.
#[derive(Debug, Default)]
pub(super) struct Faces {
    /// Rows without an id, by what stands for it.
    prints: HashMap<Arc<Print>, u32>,
    identified: HashMap<Arc<Face>, Vec<u32>>,
    of: HashMap<u32, Vec<Arc<Face>>>,
    bare: HashMap<Arc<Face>, Vec<u32>>,
}

impl Transcript {
    // ---- references ----

    /// Keeps the list of shown rows with one reference.
    pub(super) fn file_reference(&mut self, slot: u32, moved: bool) {
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

    pub(super) fn unfile_reference(&mut self, slot: u32) {
        let Some(reference) = self.referring.remove(&slot) else { return };
        let Entry::Occupied(mut list) = self.references.entry(reference) else { return };
        list.get_mut().retain(|other| *other != slot);
        match list.get().last() {
            Some(last) => self.queue.push(*last),
            None => drop(list.remove()),
        }
    }

    pub(super) fn is_superseded(&self, slot: u32) -> bool {
        self.referring
            .get(&slot)
            .and_then(|reference| self.references.get(reference)?.last())
            .is_some_and(|last| *last != slot)
    }

    // ---- rows without an id ----

    pub(super) fn index_faces(&mut self) {
        self.faces = Some(Box::default());
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].row.is_some() {
                self.file_faces(slot);
            }
        }
    }

    /// Keeps the faces of an identified row. Returns the rows without an id that have one of its faces, or had.
    pub(super) fn file_faces(&mut self, slot: u32) -> Vec<u32> {
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

    pub(super) fn unfile_faces(&mut self, slot: u32) {
        let print = self.row(slot).print.clone();
        let Some(faces) = &mut self.faces else { return };
        if let Some(print) = print {
            faces.prints.remove(&print);
            if let Some(list) = faces.bare.get_mut(&print.face) {
                list.retain(|other| *other != slot);
            }
        }
        for face in faces.of.remove(&slot).unwrap_or_default() {
            faces.drop_face(&face, slot);
            self.queue.extend(faces.bare(&face));
        }
    }

    /// The rows without an id that give way to this one.
    pub(super) fn hidden_copies(&self, slot: u32) -> Vec<u32> {
        let Some(faces) = &self.faces else { return Vec::new() };
        let known = &self.row(slot).known;
        let mut copies: Vec<u32> =
            faces.of.get(&slot).into_iter().flatten().flat_map(|face| faces.bare(face)).collect();
        copies.sort_unstable();
        copies.dedup();
        copies.retain(|copy| {
            let row = self.row(*copy);
            row.visibility() == Visibility::Duplicate
                && row.print.as_ref().is_some_and(|print| print.is_copy_of(known))
        });
        copies
    }

    /// Whether a row without an id that gives way to this one was reported as new: the message then is not.
    pub(super) fn copy_was_announced(&self, slot: u32) -> bool {
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

    pub(super) fn is_duplicate(&self, row: &Row) -> bool {
        let (Some(print), Some(faces)) = (&row.print, &self.faces) else { return false };
        let twins = faces.identified.get(&print.face).into_iter().flatten();
        twins.into_iter().any(|slot| print.is_copy_of(&self.row(*slot).known))
    }

    // ---- receipts ----

    pub(super) fn delivery(&self, slot: u32) -> Option<DeliveryState> {
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
    pub(super) fn is_read(&self, slot: u32) -> bool {
        let Slot { key, row: Some(row), .. } = &self.slots[slot as usize] else { return false };
        row.is_own()
            && key.class == Class::Placed
            && row
                .receipts()
                .iter()
                .any(|receipt| receipt.read.is_some() && self.own.binary_search(&receipt.by).is_err())
    }

    /// Keeps the newest own row that was read. If it is this one now, returns the one before.
    pub(super) fn file_reads(&mut self, slot: u32, moved: bool) -> Option<Option<u32>> {
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
    pub(super) fn spread_reads(&mut self, from: Option<u32>, to: u32) {
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

    pub(super) fn refresh_all(&mut self, which: impl Fn(&Row) -> bool) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].row.as_ref().is_some_and(|row| which(row)) {
                self.refresh(slot);
            }
        }
    }
}

impl Faces {
    /// The row without an id that this stands for.
    pub(super) fn find(&self, print: &Print) -> Option<u32> {
        self.prints.get(print).copied()
    }

    /// A row without an id, by what stands for it and by its face.
    pub(super) fn file_bare(&mut self, print: &Arc<Print>, slot: u32) {
        self.prints.insert(Arc::clone(print), slot);
        self.bare.entry(Arc::clone(&print.face)).or_default().push(slot);
    }

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
