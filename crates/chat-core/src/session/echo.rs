//! Owns the hold of own echoes: while a send's fate is open, an own sighting without a known alias may be that very message;
//! and the list of sends whose answer told no id, so that the first echo of the same content is theirs.

use std::collections::VecDeque;

use crate::{
    ids::ClientToken,
    message::{Content, Sighting},
};

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

/// Sends that the vendor has, under an id that its answer did not tell, oldest first.
#[derive(Debug, Default)]
pub(super) struct AwaitedEchoes(VecDeque<Awaited>);

#[derive(Debug)]
struct Awaited {
    token: ClientToken,
    content: Content,
    /// An echo without an id was seen; the one with the id is still to come.
    echoed: bool,
}

impl AwaitedEchoes {
    /// The answer told no id. Beyond the bound the oldest is no longer waited for.
    pub(super) fn push(&mut self, token: ClientToken, content: Content) {
        self.0.push_back(Awaited { token, content, echoed: false });
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Whether none is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets those whose id is known meanwhile.
    pub(super) fn retain(&mut self, mut waits: impl FnMut(&ClientToken) -> bool) {
        self.0.retain(|awaited| waits(&awaited.token));
    }

    /// The oldest that fits: the vendor stores sends in the order in which they left. An echo without an id goes to the
    /// oldest that had none yet.
    pub(super) fn find(
        &mut self,
        named: bool,
        mut fits: impl FnMut(&Content) -> bool,
    ) -> Option<ClientToken> {
        let awaited =
            self.0.iter_mut().find(|awaited| (named || !awaited.echoed) && fits(&awaited.content))?;
        awaited.echoed = true;
        Some(awaited.token.clone())
    }
}
