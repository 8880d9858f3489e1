//! Owns what the transport tells: sightings become items, once, whatever comes twice, late or in pieces.

use std::borrow::Cow;

use chat_core::HistoryFrom;

use super::*;

impl Truth {
    /// A sighting from the event stream.
    pub(in crate::front) fn sight(&mut self, sighting: Sighting) {
        if let Some(id) = sighting.aliases.message_id() {
            self.told.push_back((id, sighting.time));
            if self.told.len() > OVERLAP {
                self.told.pop_front();
            }
        }
        match &mut self.held {
            Some(held) if held.len() < HELD_MAX => held.push_back(sighting),
            _ => drop(self.take(sighting)),
        }
    }

    pub(super) fn take(&mut self, sighting: Sighting) -> Option<Key> {
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
        let known = known.or_else(|| self.twin(&sighting, own));
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

    /// The item that this is, told with an id where it was told without one before, or the other way round.
    fn twin(&mut self, sighting: &Sighting, own: bool) -> Option<Key> {
        let millis = sighting.time?.as_millis();
        let named = sighting.aliases.message_id().is_some();
        let content = self.draft(sighting.content.as_ref()?);
        let sender =
            self.sender(sighting.from.as_ref(), own, sighting.chunk.is_some()).map(|sender| sender.id);
        let at = |sequence| Key { millis, sequence };
        let same = |entry: &Entry| {
            entry.item.content_type.as_deref() == content.content_type.as_deref()
                && entry.item.content.as_deref() == content.content.as_deref()
                && entry.item.participant_id.as_deref() == sender.as_deref()
        };
        let mut there = self.entries.range(at(0)..=at(u64::MAX));
        there.find(|(_, entry)| (entry.backend.is_none() || !named) && same(entry)).map(|(key, _)| *key)
    }

    /// A new item from a sighting; `None` if it tells too little to be one.
    pub(super) fn create(&mut self, sighting: &Sighting, own: bool) -> Option<Key> {
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
        (entry.version, entry.processing) = (sighting.version, sighting.processing);
        match sighting.chunk {
            None => self.emit_entry(key),
            Some(chunk) => {
                entry.visible = false;
                self.chunk(key, chunk, content);
            }
        }
        Some(key)
    }

    /// More about an item that is there.
    pub(super) fn update(&mut self, key: Key, sighting: &Sighting) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let processed = sighting.processing > entry.processing;
        entry.processing = entry.processing.max(sighting.processing);
        let Some(content) = &sighting.content else {
            if processed {
                self.emit_entry(key);
            }
            return;
        };
        if let Some(chunk) = sighting.chunk {
            self.chunk(key, chunk, content);
            return;
        }
        let draft = self.draft(content);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.parts > 0 && !entry.visible {
            // The whole of a streamed answer, told by the history: clients wait for its end.
            self.chunk(key, Chunk::Whole, content);
            return;
        }
        if sighting.version < entry.version || draft.kind == Item::EVENT {
            return;
        }
        entry.version = sighting.version;
        let changed = entry.item.content.as_deref() != draft.content.as_deref()
            || entry.item.attachments != draft.attachments
            || !entry.visible;
        if changed || processed {
            entry.item.content = draft.content.map(Cow::Owned);
            entry.item.attachments = draft.attachments;
            entry.visible = true;
            self.emit_entry(key);
        }
    }

    /// A piece of a streamed answer goes out; only the whole is kept (§8.8).
    pub(super) fn chunk(&mut self, key: Key, chunk: Chunk, content: &Content) {
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

    pub(super) fn draft(&self, content: &Content) -> Draft {
        let mut draft = convert::draft(content);
        for file in draft.attachments.iter_mut().flatten() {
            if let Some(front) = file.attachment_id.as_deref().and_then(|id| self.files.get(id)) {
                file.attachment_id = Some(Cow::Owned(front.clone()));
            }
        }
        draft
    }

    /// Something about a participant that is no item at the transport.
    pub(in crate::front) fn participant(&mut self, update: ParticipantUpdate) {
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
    pub(in crate::front) fn segment(&mut self, id: &str, started_at: Option<Timestamp>) {
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
    pub(in crate::front) fn past_contact(&self, sighting: &Sighting) -> Option<String> {
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
    pub(in crate::front) fn other(&mut self, raw: &RawEvent) {
        if self.held.is_none() && !self.ended {
            let millis = self.stamp(None, None);
            let item = self.item(convert::draft(&Content::Other(raw.clone())), None, millis, None);
            self.emit(item);
        }
    }

    /// Where what was missed may begin, by preference: nothing before it can be missing.
    pub(in crate::front) fn confirmed(&self) -> Vec<HistoryFrom> {
        // A chat that continues another one has a past before its start, which is none of this.
        let start = self.started_at.map(HistoryFrom::Time).into_iter().chain([HistoryFrom::Oldest]);
        let Some((id, _)) = self.told.front() else { return start.collect() };
        let oldest = HistoryFrom::Message(id.clone());
        if self.told.len() < OVERLAP {
            return start.chain([oldest]).collect();
        }
        // By instant first: of items with the same one, some may stand before the one that is known.
        let instant = self.told.iter().filter_map(|(_, time)| *time).min();
        instant.map(HistoryFrom::Time).into_iter().chain([oldest]).collect()
    }

    /// Somebody on the transport's side types. The customer's own typing has gone out already.
    pub(in crate::front) fn typing(&mut self, update: &TypingUpdate) {
        if update.on && !update.own && self.held.is_none() {
            let sender = self.sender(Some(&update.who), false, false);
            self.emit_typing(sender);
        }
    }
}
