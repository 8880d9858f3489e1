//! Owns who is in the chat, as a function of the transcript's items in their order, and the statistics of the chat. No I/O.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    event::ParticipantUpdate,
    message::{Participant, Role, SystemEvent},
    time::Timestamp,
};

/// What one item of the transcript says about a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterFact {
    /// Who.
    pub who: Participant,
    /// What happened; `None` for a message.
    pub event: Option<SystemEvent>,
    /// When, on the server's clock.
    pub time: Option<Timestamp>,
}

/// What a participant does, as far as told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Presence {
    /// Invited, not yet there.
    Invited,
    /// There.
    Present,
    /// There, but has not done anything for long.
    Idle,
    /// There, but inactive.
    Inactive,
    /// Left.
    Left,
    /// Removed for idling.
    AutoDisconnected,
}

/// A participant of the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Who, under the newest name.
    pub who: Participant,
    /// What they do.
    pub presence: Presence,
    /// When they first joined.
    pub joined_at: Option<Timestamp>,
    /// When they left, if they are gone.
    pub left_at: Option<Timestamp>,
}

impl Member {
    /// Whether they are in the chat.
    pub const fn connected(&self) -> bool {
        matches!(self.presence, Presence::Present | Presence::Idle | Presence::Inactive)
    }

    /// Whether they count as an agent: agents and supervisors do, bots do not.
    pub const fn is_agent(&self) -> bool {
        matches!(self.who.role, Role::Agent | Role::Supervisor)
    }

    /// Whether they are a supervisor.
    pub const fn is_supervisor(&self) -> bool {
        matches!(self.who.role, Role::Supervisor)
    }
}

/// A change of the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RosterEvent {
    /// Joined, or came back.
    Joined(Member),
    /// Left.
    Left(Member),
    /// Was removed for idling.
    AutoDisconnected(Member),
    /// Was invited.
    Invited(Member),
    /// Idles.
    Idle(Member),
    /// Became inactive.
    Inactive(Member),
    /// Is back from idling or being inactive.
    Returned(Member),
    /// Has a new name.
    Renamed(Member),
}

/// Numbers of a chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// When it began, on the server's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// From start to end, if it has ended.
    pub duration: Option<Duration>,
    /// Agents and supervisors, in order of joining.
    pub agents: Vec<Member>,
}

/// The roster. `K` is the place in the transcript: facts count in its order, whenever they arrive.
#[derive(Debug, Clone)]
pub struct Roster<K> {
    facts: BTreeMap<K, RosterFact>,
    members: Vec<Member>,
}

impl<K: Ord> Default for Roster<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord> Roster<K> {
    /// Nobody.
    pub const fn new() -> Self {
        Self { facts: BTreeMap::new(), members: Vec::new() }
    }

    /// The item at `place` says this; replaces what it said before. Returns what changed.
    pub fn set(&mut self, place: K, fact: RosterFact) -> Vec<RosterEvent> {
        self.facts.insert(place, fact);
        Vec::new()
    }

    /// The item at `place` is gone, or has moved (then set it again). Returns what changed.
    pub fn remove(&mut self, place: &K) -> Vec<RosterEvent> {
        self.facts.remove(place);
        Vec::new()
    }

    /// Starts over with these facts (a snapshot). Returns what changed.
    pub fn reset(&mut self, facts: impl IntoIterator<Item = (K, RosterFact)>) -> Vec<RosterEvent> {
        self.facts = facts.into_iter().collect();
        Vec::new()
    }

    /// Something that is no item of the transcript. Returns what changed.
    pub fn update(&mut self, update: &ParticipantUpdate) -> Vec<RosterEvent> {
        let _ = update;
        Vec::new()
    }

    /// Everybody who is or was in the chat, in order of appearance.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many agents and supervisors are in the chat.
    pub fn agents_connected(&self) -> usize {
        self.members.iter().filter(|member| member.is_agent() && member.connected()).count()
    }

    /// Sets when the chat began, as the vendor told ([`SessionInfo::started_at`](crate::SessionInfo::started_at)).
    pub fn set_started_at(&mut self, started_at: Option<Timestamp>) {
        let _ = started_at;
    }

    /// The numbers of the chat.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
