//! Owns what a contact's clients may know: one list of items, who is in, and what of it has gone out to whom.
//!
//! Everything that the transport sights and everything that the front's own participants do becomes an item here, once.
//! Synchronous: whoever holds it decides and sends in one step, so that every socket sees one order.

mod list;
mod sight;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

pub(super) use self::list::instant;
use self::list::{mint_id, text};
use chat_core::{
    Alias, AliasKind, Chunk, Content, MessageId, Participant, ParticipantId, ParticipantUpdate, Place,
    Primary, Processing, RawEvent, Receipt, Scope, Sighting, SystemEvent, Timestamp, TypingUpdate, WallClock,
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{
    convert::{self, Draft},
    mailbox::Mailbox,
    paging::{Key, Shelf},
};
use crate::wire::{
    ContentType, Frame, Item,
    item::{MessageMetadata, Receipt as WireReceipt},
};

/// Role of the person whom the contact centre serves.
pub(super) const CUSTOMER: &str = "CUSTOMER";
/// Role of agents.
pub(super) const AGENT: &str = "AGENT";
/// Role of bots of one's own.
pub(super) const CUSTOM_BOT: &str = "CUSTOM_BOT";

/// One item, as `GetTranscript` gives it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) item: Item<'static>,
    /// Whether `GetTranscript` gives it at all, now.
    visible: bool,
    /// Under which id the transport knows it.
    backend: Option<MessageId>,
    version: u32,
    processing: Option<Processing>,
    receipts: BTreeMap<String, WireReceipt<'static>>,
    /// Chunks that have gone out.
    parts: u32,
}

/// A participant who came in through the front.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) role: &'static str,
    pub(super) name: String,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) connected: bool,
    pub(super) left: bool,
}

impl Person {
    /// Whether this is one of those whose number decides about receipts (§3.3).
    pub(super) fn is_active_human(&self) -> bool {
        self.connected && !self.left && self.role != CUSTOM_BOT
    }
}

/// Who an item is from.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: String,
}

/// An own message on its way to the transport.
#[derive(Debug)]
pub(super) struct Flight {
    /// What was sent, for acknowledgements that do not repeat it.
    pub(super) content: Content,
    /// The front's id of the file, if it is one.
    pub(super) file: Option<String>,
    /// The own sighting that came while it was away.
    claimed: Option<Key>,
}

/// A message confirms what is older only once so many have followed it: a live connection may tell them out of order.
const OVERLAP: usize = 32;

/// Sightings kept back until the customer is there; beyond, they are taken as they come.
const HELD_MAX: usize = 1000;

#[derive(Debug)]
pub(super) struct Truth {
    clock: Arc<dyn WallClock>,
    pub(super) initial_id: String,
    pub(super) contact_id: String,
    /// Every contact id of the chain.
    pub(super) chain: Vec<String>,
    scope: Scope,
    started_at: Option<Timestamp>,
    pub(super) customer: Arc<str>,
    own_ids: HashSet<ParticipantId>,
    pub(super) people: HashMap<Arc<str>, Person>,
    strangers: HashMap<(String, String), String>,
    entries: BTreeMap<Key, Entry>,
    /// `GetTranscript` has forgotten all but the newest so many.
    pub(super) keeps: Option<usize>,
    by_id: HashMap<String, Key>,
    by_alias: HashMap<Alias, Key>,
    last_millis: i64,
    /// How far the transport's clock is ahead of ours, in milliseconds: the most that an item has shown.
    ahead: Option<i64>,
    last_index: Option<(u64, u64)>,
    sequence: u64,
    /// What the transport told before the customer was there: the flow starts with the customer (§1).
    held: Option<VecDeque<Sighting>>,
    joined: Option<Key>,
    left: Option<Key>,
    present: HashSet<String>,
    flight: Option<Flight>,
    /// Acknowledged without an id: the next own sightings are theirs, in order.
    awaiting_echo: VecDeque<Key>,
    /// The front's ids of files by the transport's.
    pub(super) files: HashMap<String, String>,
    /// Sizes of the transport's files, where told.
    sizes: HashMap<String, u64>,
    pass_chunks: bool,
    /// The last messages that the transport has told, in the order of telling.
    told: VecDeque<(MessageId, Option<Timestamp>)>,
    pub(super) ended: bool,
}

impl Truth {
    pub(super) fn new(
        clock: Arc<dyn WallClock>,
        scope: Scope,
        started_at: Option<Timestamp>,
        contact_id: String,
        customer: Arc<str>,
        pass_chunks: bool,
    ) -> Self {
        let ahead = started_at.map(|start| start.as_millis() - clock.now().as_millis());
        let own_ids = HashSet::from([ParticipantId::new(&*customer)]);
        Self {
            clock,
            initial_id: contact_id.clone(),
            chain: vec![contact_id.clone()],
            contact_id,
            scope,
            started_at,
            customer,
            own_ids,
            people: HashMap::new(),
            strangers: HashMap::new(),
            entries: BTreeMap::new(),
            keeps: None,
            by_id: HashMap::new(),
            by_alias: HashMap::new(),
            last_millis: 0,
            ahead,
            last_index: None,
            sequence: 0,
            held: Some(VecDeque::new()),
            joined: None,
            left: None,
            present: HashSet::new(),
            flight: None,
            awaiting_echo: VecDeque::new(),
            files: HashMap::new(),
            sizes: HashMap::new(),
            pass_chunks,
            told: VecDeque::new(),
            ended: false,
        }
    }

    pub(super) fn own_id(&mut self, id: ParticipantId) {
        self.own_ids.insert(id);
    }

    fn is_own(&self, sighting: &Sighting) -> bool {
        let by_id = || sighting.from.as_ref()?.id.as_ref().map(|id| self.own_ids.contains(id));
        sighting.own.or_else(by_id).unwrap_or(false)
    }

    pub(super) fn person(&self, participant: &str) -> Option<Sender> {
        let person = self.people.get(participant)?;
        Some(Sender { id: participant.to_owned(), name: person.name.clone(), role: person.role.to_owned() })
    }

    fn customer(&self) -> Option<Sender> {
        self.person(&Arc::clone(&self.customer))
    }

    fn sender(&mut self, from: Option<&Participant>, own: bool, in_chunks: bool) -> Option<Sender> {
        if own {
            return self.customer();
        }
        let who = from?;
        let (name, role) = (convert::name(who), convert::role(&who.role, in_chunks));
        let id = match &who.id {
            Some(id) => id.as_str().to_owned(),
            None => self
                .strangers
                .entry((role.clone(), name.clone()))
                .or_insert_with(|| uuid::Uuid::new_v4().to_string())
                .clone(),
        };
        Some(Sender { id, name, role })
    }

    /// The participant is there: `participant.joined`, once (§7.6). With the customer, the flow begins.
    pub(super) fn connect(&mut self, participant: &str) {
        let Some(person) = self.people.get_mut(participant) else { return };
        if std::mem::replace(&mut person.connected, true) {
            return;
        }
        if *participant != *self.customer {
            let sender = self.person(participant);
            self.happened(&SystemEvent::Joined, sender, None);
            return;
        }
        let mut held = self.held.take().unwrap_or_default();
        let is_joined =
            |sighting: &Sighting| matches!(sighting.content, Some(Content::Event(SystemEvent::Joined)));
        let own = held.iter().position(|sighting| is_joined(sighting) && self.is_own(sighting));
        match own.and_then(|at| held.remove(at)) {
            Some(sighting) => drop(self.take(sighting)),
            None if self.joined.is_none() => {
                // What waited comes after the joining, as it would have.
                let earliest = held.iter().filter_map(|sighting| sighting.time).min();
                let before = earliest.and_then(|time| Timestamp::from_millis(time.as_millis() - 1));
                let time = before.map(|before| before.min(instant(self.now())));
                let sender = self.customer();
                self.joined = Some(self.happened(&SystemEvent::Joined, sender, time));
            }
            None => {}
        }
        for sighting in held {
            self.take(sighting);
        }
    }

    /// The participant goes: `participant.left`, once.
    pub(super) fn leave(&mut self, participant: &str) {
        let Some(person) = self.people.get_mut(participant) else { return };
        if std::mem::replace(&mut person.left, true) {
            return;
        }
        let sender = self.person(participant);
        if *participant == *self.customer {
            if self.left.is_none() {
                self.left = Some(self.happened(&SystemEvent::Left, sender, None));
            }
        } else {
            self.happened(&SystemEvent::Left, sender, None);
        }
    }

    pub(super) fn customer_connected(&self) -> bool {
        self.people.get(&self.customer).is_some_and(|customer| customer.connected)
    }

    /// `chat.ended`, once.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.held = None;
            self.happened(&SystemEvent::Ended, None, None);
            self.ended = true;
        }
    }

    pub(super) fn take_off(&mut self, content: Content, file: Option<String>) {
        self.flight = Some(Flight { content, file, claimed: None });
    }

    /// The own sighting that came while a message was on its way.
    pub(super) fn claimed(&self) -> Option<Key> {
        self.flight.as_ref()?.claimed
    }

    /// The flight is over without an answer. If its echo has come, it arrived.
    pub(super) fn crash(&mut self) -> Option<Key> {
        self.flight.take()?.claimed
    }

    /// The flight is over: the item that it became.
    pub(super) fn land(&mut self, token: &str, sighting: Option<Sighting>) -> Option<Key> {
        let mut sighting = sighting.unwrap_or_else(|| Sighting::new(self.contact_id.as_str().into()));
        // An answer may tell the transport's id of the file and nothing else; clients know the front's.
        if let Some(front) = self.flight.as_ref().and_then(|flight| flight.file.clone()) {
            let files = sighting.aliases.iter().filter(|alias| alias.kind == AliasKind::Attachment);
            self.files.extend(files.map(|alias| (alias.value.to_string(), front.clone())));
        }
        let told_id = sighting.aliases.least(AliasKind::Message).is_some();
        let known = sighting.aliases.iter().any(|alias| self.by_alias.contains_key(alias));
        let claimed = self.flight.as_ref().and_then(|flight| flight.claimed);
        let key = if !told_id && !known && claimed.is_some() {
            claimed?
        } else {
            if sighting.content.is_none() {
                sighting.content = self.flight.as_ref().map(|flight| flight.content.clone());
            }
            sighting.own = Some(true);
            let key = self.take(sighting)?;
            if !told_id && !known {
                self.awaiting_echo.push_back(key);
            }
            key
        };
        self.flight = None;
        self.by_alias.insert(Alias::token(&self.scope, &token.into()), key);
        Some(key)
    }

    /// A message or file of a participant whom the transport does not know.
    pub(super) fn say(&mut self, sender: Sender, draft: Draft) -> Key {
        let millis = self.stamp(None, None);
        let key = self.insert(draft, Some(sender), millis, None);
        self.emit_entry(key);
        key
    }

    /// An event: kept if it is of the transcript, sent to everybody.
    pub(super) fn happened(
        &mut self,
        event: &SystemEvent,
        sender: Option<Sender>,
        time: Option<Timestamp>,
    ) -> Key {
        let millis = self.stamp(time, None);
        let key = self.insert(convert::system_event(event), sender, millis, None);
        self.emit_entry(key);
        key
    }

    /// Typing is nowhere kept. The id and time for the answer.
    pub(super) fn emit_typing(&mut self, sender: Option<Sender>) -> (String, String) {
        let millis = self.stamp(None, None);
        let item = self.item(convert::system_event(&SystemEvent::Typing), sender, millis, None);
        let answer = (text(item.id.as_ref()), text(item.absolute_time.as_ref()));
        self.emit(item);
        answer
    }

    /// An id and a time for something that leaves no item.
    pub(super) fn mint(&mut self) -> (String, Timestamp) {
        let millis = self.stamp(None, None);
        (mint_id(millis), instant(millis))
    }

    /// Somebody got or read a message. Sends `MESSAGEMETADATA` if that is news (§9.1).
    pub(super) fn receipt(
        &mut self,
        key: Key,
        by: String,
        delivered: Option<Timestamp>,
        read: Option<Timestamp>,
    ) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let receipt = entry.receipts.entry(by.clone()).or_default();
        let before = receipt.clone();
        receipt.recipient_participant_id = Some(Cow::Owned(by));
        for (time, member) in
            [(delivered.or(read), &mut receipt.delivered_timestamp), (read, &mut receipt.read_timestamp)]
        {
            if let (Some(time), None) = (time, &member) {
                *member = Some(Cow::Owned(instant(time.as_millis()).to_string()));
            }
        }
        if *receipt == before || (receipt.delivered_timestamp.is_none() && receipt.read_timestamp.is_none()) {
            return;
        }
        // The vendor's client looks at the first entry only: the news go first.
        let changed = receipt.clone();
        let others = entry.receipts.values().filter(|one| **one != changed).cloned();
        let metadata = MessageMetadata {
            message_id: entry.item.id.clone(),
            receipts: Some(std::iter::once(changed.clone()).chain(others).collect()),
            ..MessageMetadata::default()
        };
        let draft = Draft {
            kind: Item::MESSAGE_METADATA,
            content_type: Some(ContentType::MessageMetadata.as_str().to_owned()),
            ..Draft::default()
        };
        let millis = self.stamp(None, None);
        let mut item = self.item(draft, None, millis, None);
        item.message_metadata = Some(metadata);
        if self.held.is_none() {
            self.emit(item);
        }
    }
}
