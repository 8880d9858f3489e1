//! Owns what a contact's clients may know: one list of items, who is in, and what of it has gone out to whom.
//!
//! Everything that the transport sights and everything that the front's own participants do becomes an item here, once.
//! Synchronous: whoever holds it decides and sends in one step, so that every socket sees one order.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chat_core::{
    Alias, AliasKind, Chunk, Content, MessageId, Participant, ParticipantId, ParticipantUpdate, Place,
    Primary, RawEvent, Receipt, Scope, Sighting, SystemEvent, Timestamp, TypingUpdate, WallClock,
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
    by_id: HashMap<String, Key>,
    by_alias: HashMap<Alias, Key>,
    last_millis: i64,
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
    /// The newest message that an unbroken connection has told.
    pub(super) confirmed: Option<MessageId>,
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
            by_id: HashMap::new(),
            by_alias: HashMap::new(),
            last_millis: 0,
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
            confirmed: None,
            ended: false,
        }
    }

    // ---- who ----

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
                let time = before.map(|before| before.min(self.clock.now()));
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

    // ---- what the transport tells ----

    /// A sighting from the event stream.
    pub(super) fn sight(&mut self, sighting: Sighting) {
        if let Some(id) = sighting.aliases.message_id() {
            self.confirmed = Some(id);
        }
        match &mut self.held {
            Some(held) if held.len() < HELD_MAX => held.push_back(sighting),
            _ => drop(self.take(sighting)),
        }
    }

    fn take(&mut self, sighting: Sighting) -> Option<Key> {
        if self.ended {
            return None;
        }
        let own = self.is_own(&sighting);
        let known = sighting.aliases.iter().find_map(|alias| self.by_alias.get(alias)).copied();
        let known = known.or_else(|| match &sighting.content {
            Some(Content::Event(SystemEvent::Joined)) if own => self.joined,
            Some(Content::Event(SystemEvent::Left)) if own => self.left,
            Some(Content::Event(_)) | None => None,
            Some(_) if own && self.flight.is_none() => self.awaiting_echo.pop_front(),
            Some(_) => None,
        });
        let key = match known {
            Some(key) => {
                self.update(key, &sighting);
                key
            }
            None => self.create(&sighting, own)?,
        };
        for alias in sighting.aliases.iter() {
            self.by_alias.insert(alias.clone(), key);
        }
        if let (Some(entry), Some(id)) = (self.entries.get_mut(&key), sighting.aliases.message_id()) {
            entry.backend.get_or_insert(id);
        }
        for Receipt { by, delivered, read } in &sighting.receipts {
            let by =
                if self.own_ids.contains(by) { self.customer.to_string() } else { by.as_str().to_owned() };
            self.receipt(key, by, *delivered, *read);
        }
        match &sighting.content {
            Some(Content::Event(SystemEvent::Joined)) if own => self.joined = Some(key),
            Some(Content::Event(SystemEvent::Left)) if own => self.left = Some(key),
            Some(Content::Event(SystemEvent::Ended)) => self.ended = true,
            _ => {}
        }
        Some(key)
    }

    /// A new item from a sighting; `None` if it tells too little to be one.
    fn create(&mut self, sighting: &Sighting, own: bool) -> Option<Key> {
        let content = sighting.content.as_ref()?;
        let in_flight = own && !matches!(content, Content::Event(_));
        if in_flight
            && let (Content::Files(list), Some(flight)) = (content, &mut self.flight)
            && let (Some(front), Some(file)) = (&flight.file, list.first())
        {
            self.files.insert(file.id.as_str().to_owned(), front.clone());
        }
        if let Content::Files(list) = content {
            let sizes = list.iter().filter_map(|file| Some((file.id.as_str().to_owned(), file.size?)));
            self.sizes.extend(sizes);
        }
        let draft = self.draft(content);
        let sender = match content {
            Content::Event(SystemEvent::Ended) => None,
            _ => self.sender(sighting.from.as_ref(), own, sighting.chunk.is_some()),
        };
        if let (Content::Event(SystemEvent::Joined), Some(sender)) = (content, &sender) {
            self.present.insert(sender.id.clone());
        }
        let millis = self.stamp(sighting.time, sighting.place);
        let id = sighting.aliases.message_id();
        let id = id.filter(|id| {
            (1..=256).contains(&id.as_str().chars().count()) && !self.by_id.contains_key(id.as_str())
        });
        let key = self.insert(draft, sender, millis, id.as_ref().map(|id| id.as_str().to_owned()));
        if in_flight && let Some(flight) = &mut self.flight {
            flight.claimed.get_or_insert(key);
        }
        let entry = self.entries.get_mut(&key)?;
        entry.version = sighting.version;
        match sighting.chunk {
            None => self.emit_entry(key, None),
            Some(chunk) => {
                entry.visible = false;
                self.chunk(key, chunk, content);
            }
        }
        Some(key)
    }

    /// More about an item that is there.
    fn update(&mut self, key: Key, sighting: &Sighting) {
        let Some(content) = &sighting.content else { return };
        if let Some(chunk) = sighting.chunk {
            self.chunk(key, chunk, content);
            return;
        }
        let draft = self.draft(content);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if sighting.version < entry.version || draft.kind == Item::EVENT {
            return;
        }
        entry.version = sighting.version;
        let changed = entry.item.content.as_deref() != draft.content.as_deref()
            || entry.item.attachments != draft.attachments
            || !entry.visible;
        if changed {
            entry.item.content = draft.content.map(Cow::Owned);
            entry.item.attachments = draft.attachments;
            entry.visible = true;
            self.emit_entry(key, None);
        }
    }

    /// A piece of a streamed answer goes out; only the whole is kept (§8.8).
    fn chunk(&mut self, key: Key, chunk: Chunk, content: &Content) {
        let text = self.draft(content).content;
        let pass = self.pass_chunks;
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.visible {
            return;
        }
        let (completed, number) = match chunk {
            Chunk::Part(number) if number > entry.parts && pass => (false, number),
            Chunk::Part(_) => return,
            Chunk::Whole => (true, entry.parts + 1),
        };
        entry.parts = number;
        let mut item = entry.item.clone();
        item.content = text.map(Cow::Owned);
        if completed {
            entry.item.content.clone_from(&item.content);
            entry.visible = true;
        }
        let metadata = MessageMetadata {
            message_id: item.id.clone(),
            message_completed: Some(completed),
            chunk_number: Some(u64::from(number)),
            ..MessageMetadata::default()
        };
        // A whole without pieces is a message like any other.
        let streamed = !completed || number > 1;
        item.message_metadata = streamed.then_some(metadata);
        self.emit(item);
    }

    fn draft(&self, content: &Content) -> Draft {
        let mut draft = convert::draft(content);
        for file in draft.attachments.iter_mut().flatten() {
            if let Some(front) = file.attachment_id.as_deref().and_then(|id| self.files.get(id)) {
                file.attachment_id = Some(Cow::Owned(front.clone()));
            }
        }
        draft
    }

    /// Something about a participant that is no item at the transport.
    pub(super) fn participant(&mut self, update: ParticipantUpdate) {
        let own = update.who.id.as_ref().is_some_and(|id| self.own_ids.contains(id));
        let sender = self.sender(Some(&update.who), own, false);
        let id = sender.as_ref().map(|sender| sender.id.clone()).unwrap_or_default();
        let news = match update.event {
            SystemEvent::Joined if own => false,
            SystemEvent::Joined => self.present.insert(id),
            SystemEvent::Left => self.present.remove(&id),
            _ => true,
        };
        if news && self.held.is_none() && !self.ended {
            self.happened(&update.event, sender, update.time);
        }
    }

    /// A further link of the chain: a transfer (§8.7). One that began before this chat is of its past, and none.
    pub(super) fn segment(&mut self, id: &str, started_at: Option<Timestamp>) {
        if let (Some(other), Some(own)) = (started_at, self.started_at)
            && other < own
        {
            return;
        }
        if !id.is_empty() && id != self.contact_id && id.chars().count() <= 256 {
            self.contact_id = id.to_owned();
            if !self.chain.iter().any(|known| known == id) {
                self.chain.push(id.to_owned());
            }
        }
    }

    /// The past contact that a sighting is of; `None` if it is of this chat.
    pub(super) fn past_contact(&self, sighting: &Sighting) -> Option<String> {
        let segment = sighting.segment.as_str();
        if !self.chain.iter().any(|link| link == segment) {
            return Some(segment.to_owned());
        }
        // A transport of this very service has one segment for the whole chain; the item says where it is from.
        let related = sighting.raw.as_deref().and_then(Item::decode).and_then(|item| item.related_contact_id);
        let before = matches!((sighting.time, self.started_at), (Some(time), Some(start)) if time < start);
        related.map(Cow::into_owned).or_else(|| before.then(|| segment.to_owned()))
    }

    /// Something of the transport without a type: clients must pass unknown types, so it goes to them.
    pub(super) fn other(&mut self, raw: &RawEvent) {
        if self.held.is_none() && !self.ended {
            let millis = self.stamp(None, None);
            let item = self.item(convert::draft(&Content::Other(raw.clone())), None, millis, None);
            self.emit(item);
        }
    }

    /// Somebody on the transport's side types. The customer's own typing has gone out already.
    pub(super) fn typing(&mut self, update: &TypingUpdate) {
        if update.on && !update.own && self.held.is_none() {
            let sender = self.sender(Some(&update.who), false, false);
            self.emit_typing(sender);
        }
    }

    // ---- what the front's participants do ----

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
        self.emit_entry(key, None);
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
        self.emit_entry(key, None);
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
                *member = Some(Cow::Owned(time.to_string()));
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

    // ---- the list ----

    pub(super) fn entry(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// The item with this id and what the transport calls it.
    pub(super) fn message(&self, id: &str) -> Option<(Key, Option<MessageId>)> {
        let key = *self.by_id.get(id)?;
        Some((key, self.entries.get(&key)?.backend.clone()))
    }

    /// Name and size of a file that an item shows, by the id that clients know.
    pub(super) fn file(&self, id: &str) -> Option<(String, Option<u64>)> {
        let shown = self.entries.values().flat_map(|entry| entry.item.attachments.iter().flatten());
        let file = shown.into_iter().find(|file| file.attachment_id.as_deref() == Some(id))?;
        Some((text(file.attachment_name.as_ref()), self.sizes.get(id).copied()))
    }

    /// The oldest message that the transport knows: older ones are of past sessions.
    pub(super) fn oldest_backend(&self) -> Option<MessageId> {
        self.entries.values().find_map(|entry| entry.backend.clone())
    }

    pub(super) fn knows(&self, sighting: &Sighting) -> bool {
        sighting.aliases.iter().any(|alias| self.by_alias.contains_key(alias))
    }

    /// An item of a past session, as the transcript gives it (§11.4).
    pub(super) fn past(&mut self, sighting: &Sighting) -> Option<Item<'static>> {
        let related = self.past_contact(sighting)?;
        let own = self.is_own(sighting);
        let draft = self.draft(sighting.content.as_ref()?);
        let sender = self.sender(sighting.from.as_ref(), own, false);
        let millis = sighting.time.map_or(0, Timestamp::as_millis);
        let id = sighting.aliases.message_id().map(|id| id.as_str().to_owned());
        let mut item = self.item(draft, sender, millis, id);
        item.contact_id = None;
        item.related_contact_id = Some(Cow::Owned(related));
        Some(with_receipts(item, std::iter::empty()))
    }

    /// The item as `GetTranscript` gives it.
    pub(super) fn transcript_item(&self, key: Key) -> Option<Item<'static>> {
        let entry = self.entries.get(&key)?;
        Some(with_receipts(entry.item.clone(), entry.receipts.values().cloned()))
    }

    fn stamp(&mut self, time: Option<Timestamp>, place: Option<Place>) -> i64 {
        let next = self.last_millis + 1;
        let millis = match (time.map(Timestamp::as_millis), place.map(|place| place.primary)) {
            (Some(told), Some(Primary::Index(a, b))) => {
                // The vendor orders by index; clients of this service can only order by time.
                let newer = self.last_index.is_none_or(|last| (a, b) > last);
                if newer {
                    self.last_index = Some((a, b));
                }
                if newer { told.max(next) } else { told }
            }
            (Some(told), _) => told,
            (None, _) => self.clock.now().as_millis().max(next),
        };
        self.last_millis = self.last_millis.max(millis);
        millis
    }

    fn item(&self, draft: Draft, sender: Option<Sender>, millis: i64, id: Option<String>) -> Item<'static> {
        let mut item = Item {
            absolute_time: Some(Cow::Owned(instant(millis).to_string())),
            content: draft.content.map(Cow::Owned),
            content_type: draft.content_type.map(Cow::Owned),
            id: Some(Cow::Owned(id.unwrap_or_else(|| mint_id(millis)))),
            kind: Some(Cow::Borrowed(draft.kind)),
            attachments: draft.attachments,
            contact_id: Some(Cow::Owned(self.contact_id.clone())),
            ..Item::default()
        };
        if let Some(sender) = sender {
            item.participant_id = Some(Cow::Owned(sender.id));
            item.display_name = Some(Cow::Owned(sender.name));
            item.participant_role = Some(Cow::Owned(sender.role));
        }
        item
    }

    fn insert(&mut self, draft: Draft, sender: Option<Sender>, millis: i64, id: Option<String>) -> Key {
        let item = self.item(draft, sender, millis, id);
        let key = Key { millis, sequence: self.sequence };
        self.sequence += 1;
        self.by_id.insert(text(item.id.as_ref()), key);
        let visible = item.content_type().is_none_or(ContentType::is_in_transcript);
        let entry = Entry { item, visible, backend: None, version: 0, receipts: BTreeMap::new(), parts: 0 };
        self.entries.insert(key, entry);
        key
    }

    fn emit_entry(&self, key: Key, metadata: Option<MessageMetadata<'static>>) {
        if let Some(entry) = self.entries.get(&key) {
            let mut item = entry.item.clone();
            item.message_metadata = metadata;
            self.emit(item);
        }
    }

    /// To every socket of the contact. Events go without a contact id (§8).
    fn emit(&self, mut item: Item<'static>) {
        item.initial_contact_id = Some(Cow::Owned(self.initial_id.clone()));
        if item.kind.as_deref() == Some(Item::EVENT) {
            item.contact_id = None;
        }
        self.broadcast(&serde_json::to_string(&item).expect("texts and lists always serialise"));
    }

    /// To every socket of the contact: `item` is the text of an item.
    pub(super) fn broadcast(&self, item: &str) {
        let frame = Utf8Bytes::from(Frame::Chat(Cow::Borrowed(item)).encode());
        let mut told: Vec<*const Mailbox> = Vec::new();
        for person in self.people.values().filter(|one| !one.left || one.role == CUSTOMER) {
            let mailbox = Arc::as_ptr(&person.mailbox);
            if !told.contains(&mailbox) {
                told.push(mailbox);
                person.mailbox.deliver(&frame);
            }
        }
    }
}

impl Shelf for Truth {
    fn keys(&self) -> Vec<Key> {
        self.entries.iter().filter(|(_, entry)| entry.visible).map(|(key, _)| *key).collect()
    }

    fn find(&self, id: &str) -> Option<Key> {
        self.by_id.get(id).copied()
    }
}

fn with_receipts(
    mut item: Item<'static>,
    receipts: impl Iterator<Item = WireReceipt<'static>>,
) -> Item<'static> {
    if item.kind.as_deref() == Some(Item::MESSAGE) {
        item.message_metadata = Some(MessageMetadata {
            message_id: item.id.clone(),
            receipts: Some(receipts.collect()),
            ..MessageMetadata::default()
        });
    }
    item
}

fn text(member: Option<&Cow<'_, str>>) -> String {
    member.map(|text| text.to_string()).unwrap_or_default()
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or_else(|| Timestamp::from_millis(0).expect("1970 is in range"))
}

/// UUID version 7 with the item's own millisecond (§2.3).
pub(super) fn mint_id(millis: i64) -> String {
    let random: [u8; 10] = std::array::from_fn(|_| fastrand::u8(..));
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or_default(), &random)
        .into_uuid()
        .to_string()
}
