//! Owns the meaning of transcript events: from the vendor's shapes to sightings. No I/O. Source: §5, §8.4.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use chat_core::{
    Alias, Attachment, AttachmentId, AttachmentStatus, ClientToken, Content, Participant, ParticipantId,
    Place, RawEvent, Role, Scope, SegmentId, SessionUpdate, Sighting, SystemEvent, Text, TextFormat,
    Timestamp, TransportEvent, TypingUpdate,
};

use crate::{
    machine::{Epochs, Own, read_tag},
    wire::{EventType, FileLimits, Party, PartyType, Reply, TranscriptEvent},
};

/// One chat's events on their way to the session: what is remembered so that the next one can be understood.
#[derive(Debug)]
pub(crate) struct Mapper {
    /// What names are unique in. Epochs stand in the names.
    scope: Scope,
    segment: SegmentId,
    pub(crate) own: Own,
    pub(crate) epochs: Epochs,
    /// Agents that are programs: only their joining says so.
    bots: BTreeSet<u64>,
    /// As last told, so that texts are shared.
    people: BTreeMap<u64, Participant>,
    /// What the service hides sensitive characters with.
    mask: char,
}

/// More than take part in a chat.
const PEOPLE_MAX: usize = 256;

/// What a reply's events come to.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    /// In the order of the transcript.
    pub(crate) events: Vec<TransportEvent>,
    /// Where a new numbering begins, if one does.
    pub(crate) epoch_begins: Option<u64>,
}

/// One entry with its place among its neighbours.
struct Entry<'a> {
    event: &'a TranscriptEvent,
    /// Its own index, or that of the neighbour that it stands behind.
    anchor: Option<u64>,
    /// How far behind; 0 for an index of its own.
    tie: u32,
}

impl Mapper {
    /// A chat by its id.
    pub(crate) fn new(chat_id: &str, own: Own, epochs: Epochs, mask: char) -> Self {
        Self {
            scope: chat_id.into(),
            segment: chat_id.into(),
            own,
            epochs,
            bots: BTreeSet::new(),
            people: BTreeMap::new(),
            mask,
        }
    }

    /// What names are unique in.
    pub(crate) const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The one segment of the chat.
    pub(crate) const fn segment(&self) -> &SegmentId {
        &self.segment
    }

    /// Our own id.
    pub(crate) fn own_id(&self) -> Option<ParticipantId> {
        self.own.id().map(participant_id)
    }

    /// What the answer to a send tells about the message: that it is there.
    pub(crate) fn sent(&self, token: &ClientToken) -> Sighting {
        let mut sighting = Sighting::new(self.segment.clone()).with_alias(Alias::token(&self.scope, token));
        sighting.own = Some(true);
        sighting
    }

    /// What the answer to an upload tells about the message.
    pub(crate) fn uploaded(&self, token: &ClientToken, file: &AttachmentId) -> Sighting {
        self.sent(token).with_alias(Alias::attachment(&self.scope, file))
    }

    /// Reads a reply or a push: one event for each entry, by index. Typing before `read_to` is over, and told already.
    pub(crate) fn live(&mut self, reply: &Reply, read_to: u64) -> Mapped {
        let mut out = Mapped::default();
        let (entries, repeated) = in_order(reply);
        for entry in entries {
            let event = entry.event;
            if FileLimits::is_notice(event) {
                out.events.push(other(event));
                continue;
            }
            let stale = event.index.is_some_and(|index| index < read_to);
            let (sighting, begins) = self.sighting(&entry, &mut out.events);
            out.epoch_begins = out.epoch_begins.or(begins);
            match &event.kind {
                Some(EventType::TypingStarted | EventType::TypingStopped) if stale => {}
                Some(EventType::TypingStarted) => out.events.push(typing(event, sighting, true)),
                Some(EventType::TypingStopped) => out.events.push(typing(event, sighting, false)),
                _ => out.events.push(TransportEvent::Message(Box::new(sighting))),
            }
        }
        out.events.extend(repeated.into_iter().map(other));
        out
    }

    /// Reads a page of the transcript, oldest first. Typing is no part of it.
    pub(crate) fn page(&mut self, reply: &Reply) -> (Vec<Sighting>, Vec<TransportEvent>, Option<u64>) {
        let mut news = Vec::new();
        let mut epoch_begins = None;
        let mut page = Vec::new();
        for entry in in_order(reply).0 {
            let kind = &entry.event.kind;
            let is_typing = matches!(kind, Some(EventType::TypingStarted | EventType::TypingStopped));
            if is_typing || FileLimits::is_notice(entry.event) {
                continue;
            }
            let (sighting, begins) = self.sighting(&entry, &mut news);
            epoch_begins = epoch_begins.or(begins);
            page.push(sighting);
        }
        (page, news, epoch_begins)
    }

    /// One entry; and the index with which it begins a new numbering.
    fn sighting(&mut self, entry: &Entry<'_>, news: &mut Vec<TransportEvent>) -> (Sighting, Option<u64>) {
        let event = entry.event;
        if self.own.take(event)
            && let Some(id) = self.own_id()
        {
            news.push(TransportEvent::Session(Box::new(SessionUpdate::OwnId(id))));
        }
        let mut sighting = Sighting::new(self.segment.clone());
        let mut begins = None;
        sighting.place = entry.anchor.map(|anchor| {
            let Some(index) = event.index else {
                let epoch = self.epochs.of(anchor);
                return Place::estimated(Epochs::primary(anchor, epoch), entry.tie);
            };
            let found = self.epochs.take(index, event);
            begins = found.begins.then_some(index);
            if !is_about_earlier_file(event) {
                let id = Epochs::id(index, found.epoch);
                sighting.aliases.insert(Alias::message(&self.scope, &id));
            }
            Place::exact(Epochs::primary(index, found.epoch))
        });
        sighting.raw = Some(Arc::clone(&event.raw));
        let content = self.content(event);
        if let Content::Files(files) = &content {
            for file in files {
                sighting.aliases.insert(Alias::attachment(&self.scope, &file.id));
            }
        }
        // A deletion tells about the file's row and nothing else: neither who offered it nor when.
        if !is_about_earlier_file(event) {
            sighting.time = event.utc_time.and_then(Timestamp::from_millis);
            sighting.from = self.participant(event);
            sighting.own = self.own.sent(event);
        }
        let token = event.message_type.as_deref().and_then(|kind| read_tag(kind).1);
        // An agent's desktop may hand back the message type of what it answers.
        let party = event.from.as_ref().and_then(|from| from.kind.as_ref());
        let by_client = party.is_none_or(|kind| *kind == PartyType::Client);
        if let (Some(EventType::Message), Some(token), true) = (&event.kind, token, by_client) {
            sighting.aliases.insert(Alias::token(&self.scope, &token));
        }
        sighting.version = self.version(&content);
        sighting.quiet = event.kind == Some(EventType::CustomNotice);
        sighting.content = Some(content);
        (sighting, begins)
    }

    /// Re-read after a restore, a text may be masked although it was seen in clear (§8.4). The one with fewer masked characters is
    /// the truer version, whichever is read first.
    fn version(&self, content: &Content) -> u32 {
        const CLEAR: u32 = u16::MAX as u32;
        let Content::Text(text) = content else { return 0 };
        let masked = text.body.chars().filter(|c| *c == self.mask).count();
        CLEAR - u32::try_from(masked).unwrap_or(CLEAR).min(CLEAR)
    }

    fn participant(&mut self, event: &TranscriptEvent) -> Option<Participant> {
        let party = event.from.as_ref()?;
        let name = party.nickname.clone().filter(|name| !name.is_empty());
        let Some(id) = party.participant_id else {
            let described = name.is_some() || party.kind.is_some();
            return described.then(|| Participant { id: None, role: role(party, false, None), name });
        };
        if event.marks_bot() {
            self.bots.insert(id);
        }
        let known = self.people.get(&id);
        let role = role(party, self.bots.contains(&id), known.map(|known| &known.role));
        if let Some(known) = known.filter(|known| known.role == role && known.name == name) {
            return Some(known.clone());
        }
        let who = Participant { id: Some(participant_id(id)), role, name };
        self.people.insert(id, who.clone());
        if self.people.len() > PEOPLE_MAX {
            self.people.pop_first();
        }
        while self.bots.len() > PEOPLE_MAX {
            self.bots.pop_first();
        }
        Some(who)
    }

    fn content(&self, event: &TranscriptEvent) -> Content {
        let text = || event.text.clone();
        let known = match &event.kind {
            Some(EventType::ParticipantJoined) => Some(Content::Event(SystemEvent::Joined)),
            Some(EventType::ParticipantLeft) => Some(Content::Event(SystemEvent::Left)),
            Some(EventType::Message) => {
                text().map(|body| Content::Text(Text { body, format: format(event) }))
            }
            Some(EventType::TypingStarted) => Some(Content::Event(SystemEvent::Typing)),
            Some(EventType::PushUrl) => text().map(Content::PushUrl),
            Some(EventType::NicknameUpdated) => Some(Content::Event(SystemEvent::NameUpdated)),
            Some(EventType::FileUploaded) => file(event, AttachmentStatus::Approved),
            Some(EventType::FileDeleted) => file(event, AttachmentStatus::Deleted),
            Some(EventType::CustomNotice | EventType::Notice) => text().map(Content::Notice),
            Some(EventType::IdleAlert) => Some(Content::Event(SystemEvent::Idle)),
            Some(EventType::IdleClose) => Some(Content::Event(SystemEvent::AutoDisconnected)),
            Some(EventType::TypingStopped | EventType::Other(_)) | None => None,
        };
        known.unwrap_or_else(|| Content::Other(raw(event)))
    }
}

/// The entries by index. Those without one stand behind the one before them in the same reply; those before the first one with an
/// index, just before it; and if there is none at all, where the reply ends. Of several with one index the first counts; the others
/// come second.
fn in_order(reply: &Reply) -> (Vec<Entry<'_>>, Vec<&TranscriptEvent>) {
    let events = reply.events();
    let first = events.iter().find_map(|event| event.index);
    let before_all = first.or(reply.next_position).map(|index| index.saturating_sub(1));
    let (mut anchor, mut tie) = (before_all, 0);
    let mut entries = Vec::with_capacity(events.len());
    let (mut seen, mut repeated) = (HashSet::new(), Vec::new());
    for event in events {
        match event.index {
            Some(index) if !seen.insert(index) => {
                repeated.push(event);
                continue;
            }
            Some(index) => (anchor, tie) = (Some(index), 0),
            None => tie += 1,
        }
        entries.push(Entry { event, anchor, tie });
    }
    entries.sort_by_key(|entry| (entry.anchor, entry.tie));
    (entries, repeated)
}

fn participant_id(id: u64) -> ParticipantId {
    id.to_string().into()
}

fn role(party: &Party, bot: bool, known: Option<&Role>) -> Role {
    match &party.kind {
        Some(PartyType::Agent | PartyType::Bot) if bot => Role::Bot,
        Some(PartyType::Client) => Role::Customer,
        Some(PartyType::Agent) => Role::Agent,
        Some(PartyType::Supervisor) => Role::Supervisor,
        Some(PartyType::Bot) => Role::Bot,
        // The routing strategy and the voice of the system, not somebody from elsewhere.
        Some(PartyType::External) => Role::System,
        Some(PartyType::Other(kind)) => Role::Other(Arc::clone(kind)),
        None => known.cloned().unwrap_or(Role::Other("".into())),
    }
}

fn is_about_earlier_file(event: &TranscriptEvent) -> bool {
    event.kind == Some(EventType::FileDeleted) && event.file().is_some()
}

fn file(event: &TranscriptEvent, status: AttachmentStatus) -> Option<Content> {
    let facts = event.file()?;
    Some(Content::Files(vec![Attachment {
        id: facts.id.into(),
        name: facts.name.unwrap_or_default().into(),
        // The service does not say.
        content_type: "application/octet-stream".into(),
        size: facts.size,
        status,
    }]))
}

fn format(event: &TranscriptEvent) -> TextFormat {
    match event.message_type.as_deref().map(|kind| read_tag(kind).0) {
        None | Some("" | "text" | "text/plain") => TextFormat::Plain,
        Some(kind) => TextFormat::Other(kind.into()),
    }
}

fn typing(event: &TranscriptEvent, sighting: Sighting, on: bool) -> TransportEvent {
    TransportEvent::Typing(Box::new(TypingUpdate {
        who: sighting.from.clone().unwrap_or(Participant::new(Role::Other("".into()))),
        own: sighting.own == Some(true),
        on,
        preview: event.text.clone().filter(|text| !text.is_empty()),
        item: on.then_some(sighting),
    }))
}

fn raw(event: &TranscriptEvent) -> RawEvent {
    let kind = event.kind.as_ref().map_or("", EventType::as_str);
    RawEvent::new(kind, Arc::clone(&event.raw))
}

fn other(event: &TranscriptEvent) -> TransportEvent {
    TransportEvent::Other(Box::new(raw(event)))
}

#[cfg(test)]
mod tests;
