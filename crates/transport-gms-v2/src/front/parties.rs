//! Owns who is in a chat, as the service numbers them: small ids, stable for a stay, another one after a return (§5.1).

use std::sync::Arc;

use chat_core::{Participant, ParticipantId, Role};
use serde_json::{Value, json};

use super::config::BotStyle;
use crate::wire::{Party, PartyType};

/// Whoever is or was in the chat.
#[derive(Debug)]
pub(super) struct Parties {
    style: BotStyle,
    members: Vec<Member>,
    last: u64,
}

#[derive(Debug)]
struct Member {
    id: Option<ParticipantId>,
    role: Role,
    name: Arc<str>,
    number: u64,
    present: bool,
    /// Nobody was told that it came, and nobody is that it goes.
    unseen: bool,
}

/// Names a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(usize);

/// The chat's client: always the first.
pub(super) const CLIENT: Seat = Seat(0);

impl Parties {
    /// A chat with its client in it.
    pub(super) fn new(style: BotStyle, client: Arc<str>) -> Self {
        let client =
            Member { id: None, role: Role::Customer, name: client, number: 1, present: true, unseen: false };
        Self { style, members: vec![client], last: 1 }
    }

    fn member(&self, seat: Seat) -> Option<&Member> {
        self.members.get(seat.0)
    }

    /// Whose seat this is; a new one if nobody like this was ever here.
    pub(super) fn seat(&mut self, who: &Participant) -> Seat {
        let name = name(who);
        let rest = || self.members.iter().enumerate().skip(1);
        let by_id = who.id.as_ref().and_then(|id| rest().find(|(_, member)| member.id.as_ref() == Some(id)));
        let alike = || {
            rest().find(|(_, member)| {
                member.role == who.role && member.name == name && (member.id.is_none() || who.id.is_none())
            })
        };
        if let Some((at, _)) = by_id.or_else(alike) {
            if let Some(member) = self.members.get_mut(at) {
                member.id = member.id.take().or_else(|| who.id.clone());
            }
            return Seat(at);
        }
        let member = Member {
            id: who.id.clone(),
            role: who.role.clone(),
            name,
            number: 0,
            present: false,
            unseen: false,
        };
        self.members.push(member);
        Seat(self.members.len() - 1)
    }

    /// Comes in, under a number of this stay. Says whether that is news.
    pub(super) fn enter(&mut self, seat: Seat) -> bool {
        let Some(member) = self.members.get_mut(seat.0).filter(|member| !member.present) else {
            return false;
        };
        self.last += 1;
        member.number = self.last;
        member.present = true;
        member.unseen = false;
        true
    }

    /// Speaks without coming in, as a voice of the service does.
    pub(super) fn enter_unseen(&mut self, seat: Seat) {
        if self.enter(seat)
            && let Some(member) = self.members.get_mut(seat.0)
        {
            member.unseen = true;
        }
    }

    /// Goes. Says whether that is news.
    pub(super) fn leave(&mut self, seat: Seat) -> bool {
        self.members.get_mut(seat.0).is_some_and(|member| std::mem::take(&mut member.present))
    }

    /// Has another name from now on. Says whether that is news.
    pub(super) fn rename(&mut self, seat: Seat, name: &str) -> bool {
        match self.members.get_mut(seat.0) {
            Some(member) if *member.name != *name => {
                member.name = name.into();
                true
            }
            _ => false,
        }
    }

    /// As the service writes it.
    pub(super) fn party(&self, seat: Seat) -> Party {
        let Some(member) = self.member(seat) else { return Party::default() };
        let kind = match &member.role {
            Role::Customer => PartyType::Client,
            Role::Supervisor => PartyType::Supervisor,
            Role::Bot if self.style == BotStyle::Typed => PartyType::Bot,
            Role::Agent | Role::Bot => PartyType::Agent,
            Role::Other(other) => PartyType::from(&**other),
            _ => PartyType::External,
        };
        Party::new(kind, member.number, Arc::clone(&member.name))
    }

    /// What the joining says beyond the party: the mark of a bot.
    pub(super) fn attributes(&self, seat: Seat) -> Option<Value> {
        let marked = self.style == BotStyle::Marked && self.member(seat)?.role == Role::Bot;
        marked.then(|| json!({"GCTI_SYSTEM": {"party-info": {"style": "BOT"}}}))
    }

    /// Everybody who has come and not gone but the client, in order of coming.
    pub(super) fn others(&self) -> Vec<Seat> {
        let is_seen = |seat: &Seat| self.member(*seat).is_some_and(|member| member.present && !member.unseen);
        let mut here: Vec<_> = (1..self.members.len()).map(Seat).filter(is_seen).collect();
        here.sort_by_key(|seat| self.member(*seat).map(|member| member.number));
        here
    }

    pub(super) fn is_here(&self, seat: Seat) -> bool {
        self.member(seat).is_some_and(|member| member.present)
    }

    /// Whether a person of the contact centre is here.
    pub(super) fn has_agent(&self) -> bool {
        self.members
            .iter()
            .any(|member| member.present && matches!(member.role, Role::Agent | Role::Supervisor))
    }
}

fn name(who: &Participant) -> Arc<str> {
    who.name.clone().unwrap_or_else(|| {
        match &who.role {
            Role::Customer => "Customer",
            Role::Agent => "Agent",
            Role::Supervisor => "Supervisor",
            Role::Bot => "Bot",
            Role::Other(other) => return Arc::clone(other),
            _ => "system",
        }
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lasts_for_a_stay() {
        let mut parties = Parties::new(BotStyle::Marked, "Jane".into());
        let maria = Participant::new(Role::Agent).with_id("a").with_name("Maria");
        let seat = parties.seat(&maria);
        assert!(parties.enter(seat) && !parties.enter(seat));
        assert_eq!(parties.party(seat).participant_id, Some(2));
        assert!(parties.has_agent());
        assert!(parties.leave(seat) && !parties.leave(seat));
        assert!(!parties.has_agent());
        assert_eq!(parties.seat(&maria), seat);
        parties.enter(seat);
        assert_eq!(parties.party(seat).participant_id, Some(3));
    }

    #[test]
    fn who_was_told_without_an_id_is_the_one_of_that_name() {
        let mut parties = Parties::new(BotStyle::Marked, "Jane".into());
        let nameless = Participant::new(Role::Agent).with_name("Maria");
        let seat = parties.seat(&nameless);
        assert_eq!(parties.seat(&nameless.clone().with_id("a")), seat);
        assert_eq!(parties.seat(&nameless), seat);
        assert_ne!(parties.seat(&nameless.with_id("b")), seat);
        let namesake = Participant::new(Role::Customer).with_name("Jane");
        assert_ne!(parties.seat(&namesake), CLIENT);
    }
}
