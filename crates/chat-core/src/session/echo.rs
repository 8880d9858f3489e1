//! Owns the hold of own echoes: while a send's fate is open, an own sighting without a known alias may be that very message.

use std::collections::VecDeque;

use crate::message::Sighting;

/// Own sightings that wait until the send in flight has settled, so that nothing stands twice, even for a moment.
#[derive(Debug, Default)]
pub(super) struct HeldEchoes(VecDeque<Held>);

#[derive(Debug)]
pub(super) struct Held {
    pub(super) sighting: Sighting,
    pub(super) restored: bool,
}

/// Another tab cannot send more while one send of this tab is in flight; beyond this the oldest is let go.
const MOST: usize = 256;

impl HeldEchoes {
    /// Holds a sighting. Gives back the oldest if too many are held.
    pub(super) fn hold(&mut self, sighting: Sighting, restored: bool) -> Option<Held> {
        self.0.push_back(Held { sighting, restored });
        (self.0.len() > MOST).then(|| self.0.pop_front()).flatten()
    }

    /// Lets all go.
    pub(super) fn release(&mut self) -> VecDeque<Held> {
        std::mem::take(&mut self.0)
    }

    /// The held ones, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Sighting> {
        self.0.iter().map(|held| &held.sighting)
    }
}
