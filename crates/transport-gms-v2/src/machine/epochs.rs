//! Owns epochs: which numbering of the transcript an index belongs to (F33, §8.1).
//!
//! A chat server that restores a chat may number anew what comes after its newest copy. An index then stands for another event than
//! before, and the old event stays true: it gets a number of its own, made of index and epoch. An epoch begins only where the new
//! event contradicts the old one; everything before that point is the same transcript as ever, and so is a re-read that contradicts
//! nothing.

use std::collections::BTreeMap;

use chat_core::{MessageId, Primary};
use serde::{Deserialize, Serialize};

use crate::wire::{EventType, Position, TranscriptEvent};

/// How many events are remembered at the beginning of the transcript, where a chat that starts anew is told apart …
const FIRST: usize = 32;
/// … and how many at its end, where a restored one is.
const NEWEST: usize = 1024;

/// Times of one event that differ by no more are the same: servers round.
const SAME_TIME_MS: u64 = 1000;

/// What tells an event from another with the same index. The text does not: it may be masked on re-reading (§8.4).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Face {
    kind: Option<EventType>,
    time: Option<i64>,
}

impl Face {
    /// `None` for typing: it uses up indexes, and is the first thing that a restored chat lacks, so that its index may stand for
    /// anything later.
    fn of(event: &TranscriptEvent) -> Option<Self> {
        let is_typing = matches!(event.kind, Some(EventType::TypingStarted | EventType::TypingStopped));
        (!is_typing).then(|| Self { kind: event.kind.clone(), time: event.utc_time })
    }

    fn contradicts(&self, other: &Self) -> bool {
        let kinds = self.kind.is_some() && other.kind.is_some() && self.kind != other.kind;
        let times = match (self.time, other.time) {
            (Some(a), Some(b)) => a.abs_diff(b) > SAME_TIME_MS,
            _ => false,
        };
        kinds || times
    }
}

/// The numberings of one chat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Epochs {
    /// Where each epoch after the first begins, as (first index, number). Both rise.
    starts: Vec<(u64, u64)>,
    /// How many epochs there were after the first.
    newest: u64,
    seen: BTreeMap<u64, Face>,
}

/// What was found about an event with an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Which numbering its index belongs to.
    pub(crate) epoch: u64,
    /// That numbering begins with it.
    pub(crate) begins: bool,
}

/// What is saved: where epochs begin, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedEpochs {
    starts: Vec<(u64, u64)>,
    newest: u64,
}

impl Epochs {
    pub(crate) fn saved(&self) -> SavedEpochs {
        SavedEpochs { starts: self.starts.clone(), newest: self.newest }
    }

    pub(crate) fn resume(saved: SavedEpochs) -> Self {
        Self { starts: saved.starts, newest: saved.newest, seen: BTreeMap::new() }
    }

    /// Whether an index stands for another event than it did.
    pub(crate) fn doubts(&self, events: &[TranscriptEvent]) -> bool {
        events.iter().any(|event| {
            let known = event.index.and_then(|index| self.seen.get(&index));
            known.is_some_and(|known| Face::of(event).is_some_and(|face| known.contradicts(&face)))
        })
    }

    /// Takes in an event of the transcript.
    pub(crate) fn take(&mut self, index: u64, event: &TranscriptEvent) -> Found {
        let Some(face) = Face::of(event) else { return Found { epoch: self.of(index), begins: false } };
        let begins = match self.seen.get(&index) {
            Some(known) if known.contradicts(&face) => {
                self.begin(index);
                true
            }
            Some(_) => return Found { epoch: self.of(index), begins: false },
            None => false,
        };
        self.seen.insert(index, face);
        if self.seen.len() > FIRST + NEWEST {
            let oldest = self.seen.keys().nth(FIRST).copied();
            oldest.map(|index| self.seen.remove(&index));
        }
        Found { epoch: self.of(index), begins }
    }

    fn begin(&mut self, index: u64) {
        self.starts.retain(|(start, _)| *start < index);
        self.newest += 1;
        self.starts.push((index, self.newest));
        self.seen.split_off(&index);
    }

    /// Which numbering an index belongs to now.
    pub(crate) fn of(&self, index: u64) -> u64 {
        self.starts.iter().rev().find(|(start, _)| *start <= index).map_or(0, |(_, epoch)| *epoch)
    }

    /// The name of an event.
    pub(crate) fn id(index: u64, epoch: u64) -> MessageId {
        if epoch == 0 { index.to_string().into() } else { format!("{index}.{epoch}").into() }
    }

    /// Where an event stands: epochs follow each other.
    pub(crate) const fn primary(index: u64, epoch: u64) -> Primary {
        Primary::Index(epoch, index)
    }

    /// From where on to ask for an event and all that follows it; `None` for what is no name of an event. An event of a past
    /// numbering is asked for from where that numbering was cut off, if that comes before it.
    pub(crate) fn position(&self, id: &MessageId) -> Option<Position> {
        let (index, epoch) = id.as_str().split_once('.').unwrap_or((id.as_str(), "0"));
        let (index, epoch): (u64, u64) = (index.parse().ok()?, epoch.parse().ok()?);
        let cut = self.starts.iter().filter(|(_, later)| *later > epoch).map(|(start, _)| *start).min();
        Some(Position::at(cut.map_or(index, |cut| cut.min(index))))
    }

    /// The index in an event's name.
    pub(crate) fn index(id: &MessageId) -> Option<u64> {
        id.as_str().split('.').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: &str, time: i64) -> TranscriptEvent {
        TranscriptEvent::read(&format!(r#"{{"type":"{kind}","utcTime":{time}}}"#))
    }

    fn ids(epochs: &mut Epochs, events: &[(u64, &str, i64)]) -> Vec<String> {
        let one = |(index, kind, time): &(u64, &str, i64)| {
            let found = epochs.take(*index, &event(kind, *time));
            Epochs::id(*index, found.epoch).to_string()
        };
        events.iter().map(one).collect()
    }

    #[test]
    fn a_restored_chat_keeps_its_numbers_as_long_as_nothing_contradicts() {
        let mut epochs = Epochs::default();
        let before = [(1, "ParticipantJoined", 0), (2, "Message", 5_000), (3, "TypingStarted", 6_000)];
        assert_eq!(ids(&mut epochs, &before), ["1", "2", "3"]);
        // Typing is lost, its number is used again; times are rounded.
        let after = [(1, "ParticipantJoined", 0), (2, "Message", 5_400), (3, "Message", 60_000)];
        assert_eq!(ids(&mut epochs, &after), ["1", "2", "3"]);
    }

    #[test]
    fn a_number_that_stands_for_something_else_begins_an_epoch() {
        let mut epochs = Epochs::default();
        ids(&mut epochs, &[(1, "ParticipantJoined", 0), (2, "Message", 5_000), (3, "Notice", 6_000)]);
        let after = [
            (1, "ParticipantJoined", 0),
            (2, "Message", 5_000),
            (3, "Message", 60_000),
            (4, "Message", 61_000),
        ];
        assert_eq!(ids(&mut epochs, &after), ["1", "2", "3.1", "4.1"]);
        assert_eq!(ids(&mut epochs, &after), ["1", "2", "3.1", "4.1"], "and it stays");
        // The whole chat starts anew.
        assert_eq!(
            ids(&mut epochs, &[(1, "ParticipantJoined", 90_000), (2, "Message", 91_000)]),
            ["1.2", "2.2"]
        );
        let mut resumed = Epochs::resume(epochs.saved());
        assert_eq!(ids(&mut resumed, &[(1, "ParticipantJoined", 90_000)]), ["1.2"]);
    }

    #[test]
    fn history_goes_on_from_where_a_numbering_was_cut_off() {
        let mut epochs = Epochs::default();
        ids(&mut epochs, &[(5, "Notice", 0), (9, "Message", 1_000)]);
        ids(&mut epochs, &[(5, "Message", 60_000)]);
        let from = |id: &str| epochs.position(&id.into());
        assert_eq!(from("9"), Some(Position::From(5)));
        assert_eq!(from("3"), Some(Position::From(3)));
        assert_eq!(from("7.1"), Some(Position::From(7)));
        assert_eq!((from("1"), from("x"), from("7.")), (Some(Position::Everything), None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Two transcripts that share a beginning, re-read in any pieces: shared events have one name, others never share one.
        #[test]
        fn names_are_never_shared_by_two_events(
            shared in 0u64..20, old in 0u64..20, new in 1u64..20,
            reads in prop::collection::vec((any::<u64>(), any::<u64>()), 0..8),
        ) {
            let mut epochs = Epochs::default();
            let mut named = std::collections::HashMap::new();
            let mut read = |epochs: &mut Epochs, branch: i64, from: u64, to: u64| -> Result<(), TestCaseError> {
                for index in from..=to {
                    let time = if index <= shared { 0 } else { branch * 1_000_000 };
                    let time = time + index as i64 * 10_000;
                    let found = epochs.take(index, &event("Message", time));
                    let id = Epochs::id(index, found.epoch);
                    let known = named.entry(id.clone()).or_insert(time);
                    prop_assert_eq!(*known, time, "{}", id);
                    if index <= shared { prop_assert_eq!(found.epoch, 0); }
                }
                Ok(())
            };
            read(&mut epochs, 1, 1, shared + old)?;
            // The service is re-read from the start after it stepped back; then it goes on in any pieces.
            read(&mut epochs, 2, 1, shared + new)?;
            for (from, to) in reads {
                let end = shared + new;
                let (from, to) = (from % (end + 1), to % (end + 1));
                read(&mut epochs, 2, from.max(1), to)?;
            }
        }

        #[test]
        fn what_is_remembered_is_bounded(times in prop::collection::vec(any::<i64>(), 0..50), first: u64) {
            let mut epochs = Epochs::default();
            for index in 0..2_000u64 {
                epochs.take(first.wrapping_add(index), &event("Message", 0));
            }
            for (index, time) in times.into_iter().enumerate() {
                epochs.take(index as u64, &event("Message", time));
            }
            prop_assert!(epochs.seen.len() <= FIRST + NEWEST);
        }
    }
}
