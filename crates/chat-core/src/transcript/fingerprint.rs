//! Owns what stands for the id of an item that has none: derived from kind, sender, time and content.

use std::sync::Arc;

use crate::{
    ids::{ParticipantId, SegmentId},
    message::{Chunk, Content, Participant, Primary, Role},
    time::Timestamp,
};

use super::known::Known;

/// Who, as far as two sightings of one message agree on it: the id, or else role and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sender {
    Id(ParticipantId),
    Named(Role, Option<Arc<str>>),
}

/// What an item without an id has in common with an identified copy of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Face {
    time: Option<Timestamp>,
    sender: Option<Sender>,
    content: Option<Content>,
}

impl Face {
    pub(super) fn new(
        from: Option<&Participant>,
        time: Option<Timestamp>,
        content: Option<&Content>,
    ) -> Self {
        let sender = from.map(|from| match &from.id {
            Some(id) => Sender::Id(id.clone()),
            None => Sender::Named(from.role.clone(), from.name.clone()),
        });
        Self { time, sender, content: content.cloned() }
    }
}

/// What stands for an id: the face, and the server's own index if the item has one, so that two equal texts at two
/// places stay two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Print {
    pub(super) face: Arc<Face>,
    pub(super) index: Option<(SegmentId, Primary)>,
    pub(super) part: Option<u32>,
}

impl Print {
    pub(super) fn new(face: Face, index: Option<(SegmentId, Primary)>, chunk: Option<Chunk>) -> Self {
        let part = match chunk {
            Some(Chunk::Part(number)) => Some(number),
            Some(Chunk::Whole) | None => None,
        };
        Self { face: Arc::new(face), index, part }
    }

    /// Whether an identified row with this face is the same item: neither tells of another index than the other.
    pub(super) fn is_copy_of(&self, other: &Known) -> bool {
        self.part.is_none()
            && self.index.as_ref().is_none_or(|own| {
                let mut indices = other.indices().peekable();
                indices.peek().is_none()
                    || indices.any(|(segment, primary)| (segment, primary) == (&own.0, own.1))
            })
    }
}
