//! Owns which participant this side is: the first client that joined, and its successors after a return (§12.1 rule 6).

use crate::wire::{EventType, PartyType, TranscriptEvent};

/// This side's participant ids. A party that comes back gets another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// All that it ever had, the present one last.
    ids: Vec<u64>,
    /// The present one has left.
    gone: bool,
}

impl Own {
    pub(crate) fn known(id: Option<u64>) -> Self {
        Self { ids: id.into_iter().collect(), gone: false }
    }

    /// The present one.
    pub(crate) fn id(&self) -> Option<u64> {
        self.ids.last().copied()
    }

    /// Takes in an event, in the order of indexes. Says whether the id changed.
    pub(crate) fn take(&mut self, event: &TranscriptEvent) -> bool {
        let Some((from, id)) = event.from.as_ref().and_then(|from| Some((from, from.participant_id?))) else {
            return false;
        };
        match event.kind {
            Some(EventType::ParticipantJoined)
                if from.kind == Some(PartyType::Client)
                    && !self.ids.contains(&id)
                    && (self.ids.is_empty() || self.gone) =>
            {
                self.ids.push(id);
                self.gone = false;
                true
            }
            Some(EventType::ParticipantLeft) if self.id() == Some(id) => {
                self.gone = true;
                false
            }
            _ => false,
        }
    }

    /// Whether this side sent it; `None` if nobody can tell.
    pub(crate) fn sent(&self, event: &TranscriptEvent) -> Option<bool> {
        let from = event.from.as_ref()?;
        let is_client = from.kind.as_ref().is_none_or(|kind| *kind == PartyType::Client);
        match from.participant_id {
            Some(id) if self.ids.contains(&id) => Some(true),
            Some(_) if !self.ids.is_empty() => Some(false),
            _ if is_client => None,
            _ => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, id: u64, party: &str) -> TranscriptEvent {
        TranscriptEvent::read(&format!(
            r#"{{"type":"{kind}","from":{{"participantId":{id},"type":"{party}"}}}}"#
        ))
    }

    #[test]
    fn the_first_client_is_this_side_and_stays_it_over_a_return() {
        let mut own = Own::default();
        let said = |own: &Own, id| own.sent(&event("Message", id, "Client"));
        assert_eq!(said(&own, 1), None, "nobody can tell yet");
        assert_eq!(own.sent(&event("Message", 1, "Agent")), Some(false));
        let replay = [
            event("ParticipantJoined", 1, "Client"),
            event("ParticipantJoined", 2, "Agent"),
            event("ParticipantJoined", 3, "Client"),
            event("ParticipantLeft", 2, "Agent"),
            event("ParticipantLeft", 1, "Client"),
            event("ParticipantJoined", 5, "Client"),
        ];
        let changes: Vec<_> = replay.iter().map(|event| own.take(event)).collect();
        assert_eq!(changes, [true, false, false, false, false, true]);
        assert_eq!(own.id(), Some(5));
        assert_eq!(
            ["1", "3", "5"].map(|id| said(&own, id.parse().unwrap())),
            [Some(true), Some(false), Some(true)]
        );
        let before = own.clone();
        replay.iter().for_each(|event| assert!(!own.take(event), "a replay changes nothing"));
        assert_eq!(own, before);
    }
}
