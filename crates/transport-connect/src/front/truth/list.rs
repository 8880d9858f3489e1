//! Owns the list itself: where an item stands, what it looks like, and to whom it goes.

use std::borrow::Cow;

use super::*;

impl Truth {
    pub(in crate::front) fn entry(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// The item with this id and what the transport calls it.
    pub(in crate::front) fn message(&self, id: &str) -> Option<(Key, Option<MessageId>)> {
        let key = *self.by_id.get(id)?;
        Some((key, self.entries.get(&key)?.backend.clone()))
    }

    /// Name and size of a file that an item shows, by the id that clients know.
    pub(in crate::front) fn file(&self, id: &str) -> Option<(String, Option<u64>)> {
        let shown = self.entries.values().flat_map(|entry| entry.item.attachments.iter().flatten());
        let file = shown.into_iter().find(|file| file.attachment_id.as_deref() == Some(id))?;
        Some((text(file.attachment_name.as_ref()), self.sizes.get(id).copied()))
    }

    /// The oldest message that the transport knows: older ones are of past sessions.
    pub(in crate::front) fn oldest_backend(&self) -> Option<MessageId> {
        self.entries.values().find_map(|entry| entry.backend.clone())
    }

    pub(in crate::front) fn knows(&self, sighting: &Sighting) -> bool {
        sighting.aliases.iter().any(|alias| self.by_alias.contains_key(alias))
    }

    /// An item of a past session, as the transcript gives it (§11.4).
    pub(in crate::front) fn past(&mut self, sighting: &Sighting) -> Option<Item<'static>> {
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
    pub(in crate::front) fn transcript_item(&self, key: Key) -> Option<Item<'static>> {
        let entry = self.entries.get(&key)?;
        let mut item = with_receipts(entry.item.clone(), entry.receipts.values().cloned());
        if let Some(metadata) = &mut item.message_metadata {
            metadata.message_processing_status = status(entry.processing).map(Cow::Borrowed);
        }
        Some(item)
    }

    /// What the service says of its own work on a message, if it says anything (§3.2).
    pub(in crate::front) fn processing_status(&self, id: &str) -> Option<&'static str> {
        status(self.entries.get(self.by_id.get(id)?)?.processing)
    }

    pub(super) fn stamp(&mut self, time: Option<Timestamp>, place: Option<Place>) -> i64 {
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
            (None, _) => self.now().max(next),
        };
        if time.is_some() {
            let ahead = millis - self.clock.now().as_millis();
            self.ahead = Some(self.ahead.map_or(ahead, |known| known.max(ahead)));
        }
        self.last_millis = self.last_millis.max(millis);
        millis
    }

    /// The transport's clock as far as it is known, so that what is made here falls into place among what it tells.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().as_millis() + self.ahead.unwrap_or_default()
    }

    pub(super) fn item(
        &self,
        draft: Draft,
        sender: Option<Sender>,
        millis: i64,
        id: Option<String>,
    ) -> Item<'static> {
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

    pub(super) fn insert(
        &mut self,
        draft: Draft,
        sender: Option<Sender>,
        millis: i64,
        id: Option<String>,
    ) -> Key {
        let item = self.item(draft, sender, millis, id);
        let key = Key { millis, sequence: self.sequence };
        self.sequence += 1;
        self.by_id.insert(text(item.id.as_ref()), key);
        let visible = item.content_type().is_none_or(ContentType::is_in_transcript);
        let entry = Entry {
            item,
            visible,
            backend: None,
            version: 0,
            processing: None,
            receipts: BTreeMap::new(),
            parts: 0,
        };
        self.entries.insert(key, entry);
        key
    }

    pub(super) fn emit_entry(&self, key: Key) {
        if let Some(entry) = self.entries.get(&key) {
            let mut item = entry.item.clone();
            item.message_metadata = status(entry.processing).map(|status| MessageMetadata {
                message_id: item.id.clone(),
                message_processing_status: Some(Cow::Borrowed(status)),
                ..MessageMetadata::default()
            });
            self.emit(item);
        }
    }

    /// To every socket of the contact. Events go without a contact id (§8).
    pub(super) fn emit(&self, mut item: Item<'static>) {
        item.initial_contact_id = Some(Cow::Owned(self.initial_id.clone()));
        if item.kind.as_deref() == Some(Item::EVENT) {
            item.contact_id = None;
        }
        self.broadcast(&serde_json::to_string(&item).expect("texts and lists always serialise"));
    }

    /// To every socket of the contact: `item` is the text of an item.
    pub(in crate::front) fn broadcast(&self, item: &str) {
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
        let visible = self.entries.iter().filter(|(_, entry)| entry.visible).map(|(key, _)| *key);
        let mut keys: Vec<Key> = visible.collect();
        if let Some(forgotten) = self.keeps.and_then(|keeps| keys.len().checked_sub(keeps)) {
            keys.drain(..forgotten);
        }
        keys
    }

    fn find(&self, id: &str) -> Option<Key> {
        let key = self.by_id.get(id).copied()?;
        let forgotten = self.keeps.is_some() && self.keys().first().is_none_or(|oldest| key < *oldest);
        (!forgotten).then_some(key)
    }
}

/// As the service names it; it has no name for what is done.
const fn status(processing: Option<Processing>) -> Option<&'static str> {
    match processing {
        Some(Processing::InProgress) => Some("PROCESSING"),
        Some(Processing::Failed) => Some("FAILED"),
        Some(Processing::Rejected) => Some("REJECTED"),
        _ => None,
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

pub(super) fn text(member: Option<&Cow<'_, str>>) -> String {
    member.map(|text| text.to_string()).unwrap_or_default()
}

/// An instant as the service writes it: milliseconds, always.
pub(in crate::front) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or_else(|| Timestamp::from_millis(0).expect("1970 is in range"))
}

/// UUID version 7 with the item's own millisecond (§2.3).
pub(super) fn mint_id(millis: i64) -> String {
    let random: [u8; 10] = std::array::from_fn(|_| fastrand::u8(..));
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or_default(), &random)
        .into_uuid()
        .to_string()
}
