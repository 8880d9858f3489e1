//! Owns who is in the chat, as a function of the transcript's items in their order, and the statistics of the chat. No I/O.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    event::ParticipantUpdate,
    ids::ParticipantId,
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
    /// From start to end, or to the newest item while it goes on.
    pub duration: Option<Duration>,
    /// Agents and supervisors, in order of joining.
    pub agents: Vec<Member>,
}

/// The roster. `K` is the place in the transcript: facts count in its order, whenever they arrive.
///
/// Of messages only the first of each participant is kept: it shows somebody whose joining was not told.
#[derive(Debug, Clone)]
pub struct Roster<K> {
    facts: BTreeMap<K, RosterFact>,
    first_messages: BTreeMap<Key, K>,
    updates: BTreeMap<Key, Update>,
    started_at: Option<Timestamp>,
    newest: Option<Timestamp>,
    /// From the facts alone.
    base: Fold,
    /// With what is no item of the transcript.
    shown: Fold,
    /// The chat is over, even if no item says so.
    over: bool,
}

/// Who is the same participant: by id, else by role and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Id(ParticipantId),
    Described(Role, Option<Arc<str>>),
}

impl From<&Participant> for Key {
    fn from(who: &Participant) -> Self {
        who.id.clone().map_or_else(|| Self::Described(who.role.clone(), who.name.clone()), Self::Id)
    }
}

/// The newest that is no item of the transcript.
#[derive(Debug, Clone, Default)]
struct Update {
    presence: Option<RosterFact>,
    name: Option<RosterFact>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fold {
    members: Vec<Member>,
    /// When each member's presence last changed, as far as told.
    changed: Vec<Option<Timestamp>>,
    first: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Fold {
    fn find(&self, key: &Key) -> Option<usize> {
        self.members.iter().position(|member| Key::from(&member.who) == *key)
    }

    fn apply(&mut self, fact: &RosterFact) {
        let RosterFact { who, event, time } = fact;
        if self.first.is_none() {
            self.first = *time;
        }
        if *event == Some(SystemEvent::Ended) {
            self.ended_at = *time;
            for index in 0..self.members.len() {
                if self.members[index].connected() {
                    self.turn(index, Presence::Left, *time);
                }
            }
            return;
        }
        let known = self.find(&Key::from(who));
        let connected = known.is_none_or(|index| self.members[index].connected());
        let next = match event {
            Some(SystemEvent::Joined) => Presence::Present,
            Some(SystemEvent::Left) => Presence::Left,
            Some(SystemEvent::AutoDisconnected) => Presence::AutoDisconnected,
            Some(SystemEvent::Invited) if known.is_none() || !connected => Presence::Invited,
            Some(SystemEvent::Idle) if connected => Presence::Idle,
            Some(SystemEvent::Inactive) if connected => Presence::Inactive,
            Some(SystemEvent::Returned | SystemEvent::Active) if connected => Presence::Present,
            Some(SystemEvent::NameUpdated) => {
                known.map_or(Presence::Present, |index| self.members[index].presence)
            }
            // The contact centre speaks without being there.
            None if known.is_none() && who.role != Role::System => Presence::Present,
            None if known.is_some_and(|index| self.members[index].presence == Presence::Invited) => {
                Presence::Present
            }
            _ => return,
        };
        let index = known.unwrap_or_else(|| {
            self.members.push(Member { who: who.clone(), presence: next, joined_at: None, left_at: None });
            self.changed.push(None);
            self.members.len() - 1
        });
        let member = &mut self.members[index];
        member.who.role.clone_from(&who.role);
        if who.name.is_some() && who.id.is_some() {
            member.who.name.clone_from(&who.name);
        }
        if *event == Some(SystemEvent::Joined) {
            member.joined_at = member.joined_at.or(*time);
            // The chat goes on in a further segment.
            self.ended_at = None;
        }
        if *event != Some(SystemEvent::NameUpdated) {
            self.turn(index, next, *time);
        }
    }

    fn turn(&mut self, index: usize, presence: Presence, time: Option<Timestamp>) {
        let member = &mut self.members[index];
        let was = std::mem::replace(&mut member.presence, presence);
        if member.connected() {
            member.left_at = None;
        } else if presence != was && presence != Presence::Invited {
            member.left_at = time;
        }
        self.changed[index] = time.or(self.changed[index]);
    }
}

impl<K: Ord + Clone> Default for Roster<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone> Roster<K> {
    /// Nobody.
    pub fn new() -> Self {
        Self {
            facts: BTreeMap::new(),
            first_messages: BTreeMap::new(),
            updates: BTreeMap::new(),
            started_at: None,
            newest: None,
            base: Fold::default(),
            shown: Fold::default(),
            over: false,
        }
    }

    /// The item at `place` says this; replaces what it said before. Returns what changed.
    pub fn set(&mut self, place: K, fact: RosterFact) -> Vec<RosterEvent> {
        if self.facts.get(&place) == Some(&fact) {
            return Vec::new();
        }
        let replaced = self.forget(&place);
        let at_the_end = self.facts.last_key_value().is_none_or(|(last, _)| *last < place);
        match self.insert(place, fact) {
            Inserted::Nothing if !replaced => Vec::new(),
            Inserted::One(fact) if !replaced && at_the_end => {
                self.base.apply(&fact);
                self.show()
            }
            _ => self.fold(),
        }
    }

    /// The item at `place` is gone. Returns what changed.
    pub fn remove(&mut self, place: &K) -> Vec<RosterEvent> {
        if self.forget(place) { self.fold() } else { Vec::new() }
    }

    /// The item at `from` stands at `to` now. Returns what changed.
    pub fn relocate(&mut self, from: &K, to: K) -> Vec<RosterEvent> {
        match self.facts.get(from).cloned() {
            Some(fact) => {
                self.forget(from);
                self.insert(to, fact);
                self.fold()
            }
            None => Vec::new(),
        }
    }

    /// Starts over with these facts (a snapshot). Returns what changed.
    pub fn reset(&mut self, facts: impl IntoIterator<Item = (K, RosterFact)>) -> Vec<RosterEvent> {
        self.facts.clear();
        self.first_messages.clear();
        self.newest = None;
        for (place, fact) in facts {
            self.insert(place, fact);
        }
        self.fold()
    }

    /// Something that is no item of the transcript. It counts unless an item says something later. Returns what changed.
    pub fn update(&mut self, update: &ParticipantUpdate) -> Vec<RosterEvent> {
        let ParticipantUpdate { who, event, time } = update;
        let fact = RosterFact { who: who.clone(), event: Some(event.clone()), time: *time };
        let slot = self.updates.entry(Key::from(who)).or_default();
        let slot = match event {
            SystemEvent::NameUpdated => &mut slot.name,
            _ => &mut slot.presence,
        };
        if slot.as_ref().is_none_or(|old| old.time.is_none() || time.is_none() || old.time <= *time) {
            *slot = Some(fact);
        }
        self.show()
    }

    /// The chat is over: nobody is there any more. If no item tells when, it ended with the newest. Returns what changed.
    pub fn end(&mut self) -> Vec<RosterEvent> {
        self.over = true;
        self.show()
    }

    /// Everybody who is or was in the chat, in order of appearance.
    pub fn members(&self) -> &[Member] {
        &self.shown.members
    }

    /// How many agents and supervisors are in the chat.
    pub fn agents_connected(&self) -> usize {
        self.members().iter().filter(|member| member.is_agent() && member.connected()).count()
    }

    /// Sets when the chat began, as the vendor told ([`SessionInfo::started_at`](crate::SessionInfo::started_at)).
    pub const fn set_started_at(&mut self, started_at: Option<Timestamp>) {
        self.started_at = started_at;
    }

    /// The numbers of the chat.
    pub fn stats(&self) -> Stats {
        let started_at = self.started_at.or(self.shown.first);
        let until = self.shown.ended_at.or(self.newest);
        Stats {
            started_at,
            ended_at: self.shown.ended_at,
            duration: started_at.zip(until).map(|(start, end)| end.saturating_since(start)),
            agents: self.members().iter().filter(|member| member.is_agent()).cloned().collect(),
        }
    }

    fn insert(&mut self, place: K, fact: RosterFact) -> Inserted {
        self.newest = self.newest.max(fact.time);
        let mut inserted = Inserted::One(fact.clone());
        if fact.event.is_none() {
            let key = Key::from(&fact.who);
            match self.first_messages.get(&key) {
                Some(first) if *first < place => return Inserted::Nothing,
                Some(first) => {
                    self.facts.remove(first);
                    inserted = Inserted::Instead;
                }
                None => {}
            }
            self.first_messages.insert(key, place.clone());
        }
        self.facts.insert(place, fact);
        inserted
    }

    /// Says whether there was something to forget.
    fn forget(&mut self, place: &K) -> bool {
        let Some(fact) = self.facts.remove(place) else { return false };
        if fact.event.is_none() {
            self.first_messages.remove(&Key::from(&fact.who));
        }
        true
    }

    fn fold(&mut self) -> Vec<RosterEvent> {
        self.base = Fold::default();
        for fact in self.facts.values() {
            self.base.apply(fact);
        }
        self.show()
    }

    fn show(&mut self) -> Vec<RosterEvent> {
        let mut shown = self.base.clone();
        for (key, update) in &self.updates {
            let since = shown.find(key).and_then(|index| shown.changed[index]);
            for fact in [&update.name, &update.presence].into_iter().flatten() {
                if since.is_none() || fact.time.is_none() || since <= fact.time {
                    shown.apply(fact);
                }
            }
        }
        if self.over && shown.ended_at.is_none() {
            let who = Participant::new(Role::System);
            shown.apply(&RosterFact { who, event: Some(SystemEvent::Ended), time: self.newest });
        }
        let events = difference(&self.shown, &shown);
        self.shown = shown;
        events
    }
}

enum Inserted {
    Nothing,
    One(RosterFact),
    Instead,
}

/// What a reader of the old roster must hear to know the new one. What has come and gone in between is no news.
fn difference(old: &Fold, new: &Fold) -> Vec<RosterEvent> {
    let mut events = Vec::new();
    for member in &new.members {
        let before = old.find(&Key::from(&member.who)).map(|index| &old.members[index]);
        let was = before.map(|before| before.presence);
        let was_connected = before.is_some_and(Member::connected);
        if was_connected
            && member.connected()
            && before.is_some_and(|before| before.who.name != member.who.name)
        {
            events.push(RosterEvent::Renamed(member.clone()));
        }
        if was == Some(member.presence) {
            continue;
        }
        let make = match (was_connected, member.presence) {
            (false, Presence::Present | Presence::Idle | Presence::Inactive) => RosterEvent::Joined,
            (true, Presence::Present) => RosterEvent::Returned,
            (true, Presence::Idle) => RosterEvent::Idle,
            (true, Presence::Inactive) => RosterEvent::Inactive,
            (true, Presence::Left) => RosterEvent::Left,
            (true, Presence::AutoDisconnected) => RosterEvent::AutoDisconnected,
            (_, Presence::Invited) => {
                if was_connected {
                    events.push(RosterEvent::Left(Member { presence: Presence::Left, ..member.clone() }));
                }
                RosterEvent::Invited
            }
            (false, Presence::Left | Presence::AutoDisconnected) => continue,
        };
        events.push(make(member.clone()));
    }
    for member in &old.members {
        if member.connected() && new.find(&Key::from(&member.who)).is_none() {
            events.push(RosterEvent::Left(Member { presence: Presence::Left, ..member.clone() }));
        }
    }
    events
}

#[cfg(test)]
mod tests;
