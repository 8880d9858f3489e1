//! Owns one contact on the server: its items, its participants, its log of frames, and what happens to them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use chat_core::{
    Alias, Attachment, AttachmentId, AttachmentStatus, Capabilities, Capability, Chunk, ClientToken, Content,
    EndReason, Error, ErrorKind, MessageId, Participant, ParticipantId, ParticipantUpdate, Place, Primary,
    Receipt, ReceiptKind, ReceiptSignal, Result, Role, Scope, SegmentId, SessionUpdate, Sighting,
    StartRequest, SystemEvent, Text, Timestamp, TransportEvent, TypingSignal, TypingUpdate, UserData,
};
use tokio::{task::AbortHandle, time::Instant};

use crate::{
    connection::Wire,
    faults::EventKind,
    item::{Draft, Frame, Item, Key, Member, NewFile, Records, Segment, StoredFile, WireId, message, other},
    mint::Mint,
    profile::{Order, Profile},
};

/// Frames that a connection may lag behind before it is cut: keeps the log bounded.
const MAX_BACKLOG: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) id: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) segments: Vec<Segment>,
    /// The profile's, until the console changes them.
    pub(crate) capabilities: Capabilities,
    pub(crate) customer: Participant,
    pub(crate) token: Arc<str>,
    pub(crate) members: Vec<Member>,
    /// In order of their keys.
    pub(crate) items: Vec<Item>,
    pub(crate) next_index: u64,
    /// Own sends by their token: the first copy.
    pub(crate) sent: HashMap<ClientToken, MessageId>,
    pub(crate) files: Vec<StoredFile>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) log: VecDeque<Frame>,
    /// Frames that are no longer in the log.
    pub(crate) log_base: u64,
    pub(crate) ended: Option<EndReason>,
    pub(crate) leaving: bool,
    /// The centre pretends not to know it.
    pub(crate) forgotten: bool,
    pub(crate) user_data: UserData,
    pub(crate) request: StartRequest,
    pub(crate) records: Records,
    /// Texts of the customer so far, for the script.
    pub(crate) said: usize,
    /// Counts live items, for the quirks.
    pub(crate) live: u32,
    /// When its customer last asked for anything.
    pub(crate) last_request: Instant,
    /// The script, the watch over a chat whose customer is silent, and what is stored late.
    pub(crate) script: Option<AbortHandle>,
    pub(crate) watch: Option<AbortHandle>,
    pub(crate) late: Vec<AbortHandle>,
}

impl Drop for Contact {
    fn drop(&mut self) {
        for task in self.script.take().into_iter().chain(self.watch.take()).chain(self.late.drain(..)) {
            task.abort();
        }
    }
}

impl Contact {
    /// A contact that begins now. It takes over the past from that segment on.
    pub(crate) fn start(
        mint: &mut Mint,
        capabilities: Capabilities,
        request: StartRequest,
        past: Option<(&Self, usize)>,
    ) -> Self {
        let (started_at, id) = mint.instant_and_id();
        let name = request.display_name().unwrap_or_else(|| "Customer".into());
        let customer = Participant::new(Role::Customer).with_id(mint.id()).with_name(name);
        let (past, first) = past.map_or((None, 0), |(past, first)| (Some(past), first));
        let items = past.map(|past| past.items.as_slice()).unwrap_or_default().iter().cloned();
        let mut contact = Self {
            scope: past.map_or_else(|| Scope::new(Arc::clone(&id)), |past| past.scope.clone()),
            segments: past.map(|past| past.segments[first..].to_vec()).unwrap_or_default(),
            items: items
                .filter(|item| item.key.segment >= first)
                .map(|mut item| {
                    item.key.segment -= first;
                    item
                })
                .collect(),
            files: past.map(|past| past.files.clone()).unwrap_or_default(),
            next_index: past.map_or(1, |past| past.next_index),
            members: vec![Member { who: customer.clone(), here: true }],
            capabilities,
            customer,
            token: mint.id(),
            sent: HashMap::new(),
            wires: Vec::new(),
            log: VecDeque::new(),
            log_base: 0,
            ended: None,
            leaving: false,
            forgotten: false,
            user_data: request.user_data.clone(),
            request,
            records: Records::default(),
            said: 0,
            live: 0,
            last_request: Instant::now(),
            script: None,
            watch: None,
            late: Vec::new(),
            id: Arc::clone(&id),
        };
        contact.segments.push(Segment { id: SegmentId::new(id), started_at });
        contact
    }

    /// The segment that new items belong to.
    pub(crate) fn segment(&self) -> &Segment {
        self.segments.last().expect("a contact begins with a segment and loses none")
    }

    /// Refuses what comes after the end.
    pub(crate) fn alive(&self) -> Result<()> {
        match self.ended {
            None => Ok(()),
            Some(_) => {
                Err(Error::new(ErrorKind::SessionEnded, "the chat")
                    .with_delivery(chat_core::Delivery::Refused))
            }
        }
    }

    /// Stores an item and tells every connection.
    pub(crate) fn post(&mut self, mint: &mut Mint, profile: &Profile, draft: Draft) -> MessageId {
        let (time, id) = mint.instant_and_id();
        let id = MessageId::new(id);
        mint.stored += 1;
        let index = self.next_index;
        self.next_index += 1;
        let order = match profile.order {
            Order::Instant => u64::try_from(time.as_millis()).unwrap_or(0),
            Order::Index => index,
        };
        let key = Key { segment: self.segments.len() - 1, order, id: id.clone() };
        let own = draft.from.id.is_some() && draft.from.id == self.customer.id;
        self.said += usize::from(own && matches!(draft.content, Content::Text(_)));
        if let Some(token) = &draft.token {
            self.sent.entry(token.clone()).or_insert_with(|| id.clone());
        }
        let item = Item {
            key,
            index,
            time,
            from: draft.from,
            own,
            content: draft.content,
            token: draft.token,
            version: 0,
            receipts: Vec::new(),
            processing: None,
            streamed: draft.pieces.is_some(),
            pieces: draft.pieces,
        };
        let at = self.items.partition_point(|other| other.key < item.key);
        let sightings = self.sightings(&item, profile);
        self.items.insert(at, item);
        for sighting in sightings {
            let sighting = self.with_quirks(sighting, profile);
            self.tell(message(sighting));
        }
        id
    }

    /// What a live item lacks in this kind of centre.
    fn with_quirks(&mut self, mut sighting: Sighting, profile: &Profile) -> Sighting {
        self.live = self.live.wrapping_add(1);
        let every = |n: u32| n > 0 && self.live.is_multiple_of(n);
        if every(profile.missing_ids) && !matches!(sighting.content, Some(Content::Files(_))) {
            sighting.aliases = chat_core::Aliases::new();
        }
        if every(profile.missing_times) {
            sighting.time = None;
            sighting.place = sighting.place.map(|place| Place::estimated(place.primary, 0));
        }
        sighting
    }

    /// What the customer's connections see of `item`: one sighting, or one per piece.
    pub(crate) fn sightings(&self, item: &Item, profile: &Profile) -> Vec<Sighting> {
        let mut sighting = self.bare(item, profile);
        sighting.time = Some(item.time);
        sighting.place = Some(Place::exact(match profile.order {
            Order::Instant => Primary::Instant(item.time),
            Order::Index => Primary::Index(item.index, 0),
        }));
        sighting.from = Some(item.from.clone());
        sighting.own = Some(item.own);
        sighting.version = item.version;
        sighting.processing = item.processing;
        sighting.receipts.clone_from(&item.receipts);
        match &item.pieces {
            None => {
                sighting.content = Some(item.content.clone());
                sighting.chunk = item.streamed.then_some(Chunk::Whole);
                vec![sighting]
            }
            Some(pieces) => (1..)
                .zip(pieces)
                .map(|(number, piece)| {
                    let mut sighting = sighting.clone();
                    sighting.content = Some(Content::Text(Text::plain(Arc::clone(piece))));
                    sighting.chunk = Some(Chunk::Part(number));
                    sighting
                })
                .collect(),
        }
    }

    /// A sighting of `item` that tells its names alone.
    pub(crate) fn bare(&self, item: &Item, profile: &Profile) -> Sighting {
        let mut sighting = Sighting::new(self.segments[item.key.segment].id.clone())
            .with_alias(Alias::message(&self.scope, &item.key.id));
        if let Some(token) =
            item.token.as_ref().filter(|_| item.own && profile.capabilities.can(Capability::EchoToken))
        {
            sighting.aliases.insert(Alias::token(&self.scope, token));
        }
        if let Content::Files(files) = &item.content {
            for file in files {
                sighting.aliases.insert(Alias::attachment(&self.scope, &file.id));
            }
        }
        sighting
    }

    /// Appends to the log and wakes the connections.
    pub(crate) fn tell(&mut self, frame: Frame) {
        self.log.push_back(frame);
        if self.log.len() > MAX_BACKLOG {
            let base = self.log_base;
            for wire in self.wires.iter_mut().filter(|wire| wire.next == base) {
                wire.lose(Error::new(ErrorKind::Network, "the connection fell behind"));
                wire.next = base + 1;
            }
        }
        self.trim();
        for wire in &self.wires {
            wire.wake();
        }
    }

    /// Forgets the frames that every connection has.
    pub(crate) fn trim(&mut self) {
        let end = self.log_base + self.log.len() as u64;
        let first = self.wires.iter().map(|wire| wire.next).min().unwrap_or(end);
        let gone = usize::try_from(first - self.log_base).unwrap_or(usize::MAX).min(self.log.len());
        self.log.drain(..gone);
        self.log_base += gone as u64;
    }

    /// The position behind the newest frame.
    pub(crate) fn log_end(&self) -> u64 {
        self.log_base + self.log.len() as u64
    }

    pub(crate) fn item(&self, id: &MessageId) -> Result<&Item> {
        self.items.iter().find(|item| item.key.id == *id).ok_or_else(|| not_found("message"))
    }

    /// Changes an item, and tells what `frame` makes of it.
    pub(crate) fn change(
        &mut self,
        id: &MessageId,
        profile: &Profile,
        change: impl FnOnce(&mut Item),
    ) -> Result<()> {
        let at = self.items.iter().position(|item| item.key.id == *id).ok_or_else(|| not_found("message"))?;
        change(&mut self.items[at]);
        let newest = self.sightings(&self.items[at], profile).pop();
        if let Some(sighting) = newest {
            self.tell(message(sighting));
        }
        Ok(())
    }

    /// A receipt of `by` for `id`: stored, and told to everybody but `except`.
    pub(crate) fn receipt(
        &mut self,
        mint: &mut Mint,
        profile: &Profile,
        by: &ParticipantId,
        signal: &ReceiptSignal,
        except: Option<WireId>,
    ) -> Result<()> {
        let at = self
            .items
            .iter()
            .position(|item| item.key.id == signal.message)
            .ok_or_else(|| not_found("message"))?;
        let now = mint.instant();
        let receipts = &mut self.items[at].receipts;
        let mine = match receipts.iter().position(|receipt| receipt.by == *by) {
            Some(mine) => &mut receipts[mine],
            None => {
                receipts.push(Receipt { by: by.clone(), delivered: None, read: None });
                receipts.last_mut().expect("pushed just now")
            }
        };
        match signal.kind {
            ReceiptKind::Delivered => mine.delivered.get_or_insert(now),
            ReceiptKind::Read => mine.read.get_or_insert(now),
        };
        let told = mine.clone();
        let mut sighting = self.bare(&self.items[at], profile);
        sighting.receipts = vec![told];
        self.tell(Frame::Event {
            event: TransportEvent::Message(Box::new(sighting)),
            kind: EventKind::Message,
            except,
        });
        Ok(())
    }

    /// Typing, told to everybody but `except`.
    pub(crate) fn typing(&mut self, who: Participant, signal: &TypingSignal, except: Option<WireId>) {
        let own = who.id == self.customer.id;
        let update = TypingUpdate { who, own, on: signal.on, preview: signal.preview.clone(), item: None };
        self.tell(Frame::Event {
            event: TransportEvent::Typing(Box::new(update)),
            kind: EventKind::Typing,
            except,
        });
    }

    /// Something about a participant that is no item.
    pub(crate) fn update(&mut self, who: Participant, event: SystemEvent, time: Timestamp) {
        let update = ParticipantUpdate { who, event, time: Some(time) };
        self.tell(other(TransportEvent::Participant(Box::new(update))));
    }

    /// A new segment begins here.
    pub(crate) fn begin_segment(&mut self, mint: &mut Mint) {
        let (started_at, id) = mint.instant_and_id();
        let id = SegmentId::new(id);
        self.segments.push(Segment { id: id.clone(), started_at });
        self.tell(other(TransportEvent::Session(Box::new(SessionUpdate::Segment {
            id,
            started_at: Some(started_at),
        }))));
    }

    /// The end, once: an item, then the terminal of every connection.
    pub(crate) fn end(&mut self, mint: &mut Mint, profile: &Profile, by: Participant, reason: EndReason) {
        if self.ended.is_some() {
            return;
        }
        let reason = if self.leaving { EndReason::EndedByUs } else { reason };
        self.post(mint, profile, Draft::new(by, Content::Event(SystemEvent::Ended)));
        tracing::debug!(contact = %self.id, ?reason, "the chat ends");
        self.ended = Some(reason.clone());
        for member in &mut self.members {
            member.here = false;
        }
        self.tell(Frame::End(reason));
        for task in [self.script.take(), self.watch.take()].into_iter().flatten() {
            task.abort();
        }
    }

    /// The participant with this role and name, if it is here.
    pub(crate) fn member(&self, role: &Role, name: &str) -> Option<&Participant> {
        self.members
            .iter()
            .find(|member| {
                member.here && member.who.role == *role && member.who.name.as_deref() == Some(name)
            })
            .map(|member| &member.who)
    }

    /// Adds a file to the store.
    pub(crate) fn store_file(
        &mut self,
        mint: &mut Mint,
        profile: &Profile,
        from: Participant,
        token: Option<ClientToken>,
        file: NewFile,
    ) -> MessageId {
        let id = AttachmentId::new(mint.id());
        let status = if profile.capabilities.can(Capability::FileScans) {
            AttachmentStatus::InProgress
        } else {
            AttachmentStatus::Approved
        };
        let own = from.id == self.customer.id;
        let attachment = Attachment {
            id: id.clone(),
            name: file.name,
            content_type: Arc::clone(&file.content_type),
            size: Some(file.bytes.len() as u64),
            status,
        };
        let draft = Draft { token, ..Draft::new(from, Content::Files(vec![attachment])) };
        let message = self.post(mint, profile, draft);
        self.files.push(StoredFile {
            id,
            message: message.clone(),
            content_type: file.content_type,
            bytes: file.bytes,
            status,
            own,
        });
        message
    }

    /// Moves a file on, and tells.
    pub(crate) fn set_file_status(
        &mut self,
        id: &AttachmentId,
        profile: &Profile,
        status: AttachmentStatus,
    ) -> Result<()> {
        let file = self.files.iter_mut().find(|file| file.id == *id).ok_or_else(|| not_found("file"))?;
        file.status = status;
        if status == AttachmentStatus::Deleted {
            file.bytes = Bytes::new();
        }
        let message = file.message.clone();
        self.change(&message, profile, |item| {
            item.version += 1;
            if let Content::Files(files) = &mut item.content {
                for file in files.iter_mut().filter(|file| file.id == *id) {
                    file.status = status;
                }
            }
        })
    }
}

pub(crate) fn not_found(what: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, what)
}
