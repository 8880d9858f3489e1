//! Owns the way from wire items to sightings and events. No I/O. Source: §8, §9.
//!
//! One chain of contacts is one segment: instants order it throughout, transfers included, and items that do not name their
//! link (joined, left, ended on the socket) need no guess.

mod interactive;

use std::sync::Arc;

use chat_core::{
    Alias, Attachment, AttachmentStatus, AuthenticationPhase, Chunk, ClientToken, Content, MessageId,
    Participant, ParticipantId, Place, Primary, Processing, RawEvent, Receipt, Role, Scope, SegmentId,
    Sighting, SystemEvent, Text, TextFormat, Timestamp, TransportEvent, TypingUpdate,
};

use crate::{
    config::ParticipantKind,
    wire::{
        ContentType, Item,
        interactive::InteractiveResponse,
        item::{AuthenticationContent, MessageMetadata, ReceiptContent},
        participant::SendAnswer,
    },
};

/// Which chat items belong to, and who we are in it.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    /// The chain: what message ids are unique in.
    pub(crate) scope: Scope,
    /// The chain again, as the segment of all its items.
    pub(crate) segment: SegmentId,
    /// Our participant id.
    pub(crate) own: ParticipantId,
    /// What we are.
    pub(crate) kind: ParticipantKind,
}

/// What an item means beyond itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    None,
    /// The contact is over.
    ChatEnded,
    /// Handed to another agent: ends an agent's session.
    Transferred,
}

/// Participants seen lately, so that their ids and names are shared and not copied with every message.
#[derive(Debug, Default)]
pub(crate) struct People(Vec<(Arc<str>, Participant)>);

impl People {
    /// More than take part in a chat.
    const MAX: usize = 8;

    fn of(&mut self, item: &Item<'_>) -> Option<Participant> {
        let id = filled(&item.participant_id);
        let name = filled(&item.display_name);
        let role = filled(&item.participant_role);
        if id.is_none() && name.is_none() && role.is_none() {
            return None;
        }
        let role_text = role.unwrap_or_default();
        let known = self.0.iter().find(|(text, known)| {
            **text == *role_text
                && known.id.as_ref().map(ParticipantId::as_str) == id
                && known.name.as_deref() == name
        });
        if let Some((_, known)) = known {
            return Some(known.clone());
        }
        let who = Participant {
            id: id.map(ParticipantId::from),
            role: role_of(role_text, name),
            name: name.map(Arc::from),
        };
        if self.0.len() == Self::MAX {
            self.0.remove(0);
        }
        self.0.push((role_text.into(), who.clone()));
        Some(who)
    }
}

/// A member that says something.
fn filled<'a>(member: &'a Option<std::borrow::Cow<'_, str>>) -> Option<&'a str> {
    member.as_deref().filter(|text| !text.is_empty())
}

fn role_of(role: &str, name: Option<&str>) -> Role {
    match role {
        "CUSTOMER" => Role::Customer,
        "AGENT" => Role::Agent,
        "SUPERVISOR" => Role::Supervisor,
        "CUSTOM_BOT" => Role::Bot,
        // Lex bots speak with the system's role under this name (§8.1).
        "SYSTEM" if name == Some("BOT") => Role::Bot,
        "SYSTEM" => Role::System,
        other => Role::Other(other.into()),
    }
}

impl Chat {
    /// Reads one item of the socket.
    pub(crate) fn socket_item(&self, people: &mut People, text: &str) -> (TransportEvent, Consequence) {
        let raw: Arc<str> = text.into();
        let Some(item) = Item::decode(text) else {
            return (TransportEvent::Other(Box::new(RawEvent::new("aws/chat", raw))), Consequence::None);
        };
        let consequence = match item.content_type() {
            Some(ContentType::ChatEnded) => Consequence::ChatEnded,
            Some(ContentType::TransferSucceeded) => Consequence::Transferred,
            _ => Consequence::None,
        };
        let sighting = self.sighting(people, &item, None, raw);
        let event = match &sighting.content {
            Some(Content::Event(SystemEvent::Typing)) => {
                let who = sighting.from.clone().unwrap_or(Participant::new(Role::Other("".into())));
                TransportEvent::Typing(Box::new(TypingUpdate {
                    who,
                    own: sighting.own == Some(true),
                    on: true,
                    preview: None,
                    item: Some(sighting),
                }))
            }
            _ => TransportEvent::Message(Box::new(sighting)),
        };
        (event, consequence)
    }

    /// Reads a page of the transcript, oldest first.
    pub(crate) fn page<'a>(
        &self,
        chain: Option<&str>,
        items: impl Iterator<Item = &'a str>,
    ) -> Vec<Sighting> {
        let mut people = People::default();
        let mut page: Vec<_> = items
            .map(|text| match Item::decode(text) {
                Some(item) => self.sighting(&mut people, &item, chain, text.into()),
                None => {
                    let raw: Arc<str> = text.into();
                    let mut sighting = Sighting::new(self.segment.clone());
                    sighting.content = Some(Content::Other(RawEvent::new("", Arc::clone(&raw))));
                    sighting.raw = Some(raw);
                    sighting
                }
            })
            .collect();
        estimate_places(&mut page);
        page
    }

    /// What the answer to a send tells about the message.
    pub(crate) fn sent(&self, token: &ClientToken, answer: &SendAnswer<'_>) -> Sighting {
        let mut sighting = Sighting::new(self.segment.clone()).with_alias(Alias::token(&self.scope, token));
        sighting.own = Some(true);
        if let Some(id) = answer.id.as_deref().filter(|id| !id.is_empty()) {
            sighting.aliases.insert(Alias::message(&self.scope, &MessageId::from(id)));
        }
        set_time(&mut sighting, answer.absolute_time.as_deref());
        sighting.processing = answer.message_metadata.as_ref().and_then(processing);
        sighting
    }

    fn sighting(&self, people: &mut People, item: &Item<'_>, chain: Option<&str>, raw: Arc<str>) -> Sighting {
        let scope = self.scope_of(filled(&item.initial_contact_id).or(chain));
        let mut sighting = Sighting::new(self.segment.clone());
        let kind = item.content_type();
        if self.receipt_only(&mut sighting, &scope, item, kind) {
            sighting.raw = Some(raw);
            return sighting;
        }
        if let Some(id) = filled(&item.id) {
            sighting.aliases.insert(Alias::message(&scope, &MessageId::from(id)));
        }
        set_time(&mut sighting, item.absolute_time.as_deref());
        sighting.from = people.of(item);
        sighting.own = self.is_own(item);
        let (content, version) = content(item, kind, &raw);
        if let Content::Files(files) = &content {
            for file in files {
                sighting.aliases.insert(Alias::attachment(&scope, &file.id));
            }
        }
        sighting.quiet = matches!(&content, Content::Text(text) if text.format == TextFormat::PageTurn);
        (sighting.content, sighting.version) = (Some(content), version);
        if let Some(metadata) = &item.message_metadata {
            sighting.receipts = receipts(metadata);
            sighting.processing = processing(metadata);
            sighting.chunk = match (metadata.message_completed, metadata.chunk_number) {
                (Some(true), _) => Some(Chunk::Whole),
                (Some(false), Some(number)) => Some(Chunk::Part(number.try_into().unwrap_or(u32::MAX))),
                _ => None,
            };
        }
        sighting.raw = Some(raw);
        sighting
    }

    /// Items that tell only who got or read another message.
    fn receipt_only(
        &self,
        sighting: &mut Sighting,
        scope: &Scope,
        item: &Item<'_>,
        kind: Option<ContentType<'_>>,
    ) -> bool {
        let about = |sighting: &mut Sighting, id: &str| {
            sighting.aliases.insert(Alias::message(scope, &MessageId::from(id)));
        };
        let is_metadata = kind == Some(ContentType::MessageMetadata)
            || item.kind.as_deref() == Some(Item::MESSAGE_METADATA);
        if is_metadata {
            let Some(metadata) = &item.message_metadata else { return false };
            let Some(id) = filled(&metadata.message_id) else { return false };
            about(sighting, id);
            sighting.receipts = receipts(metadata);
            sighting.processing = processing(metadata);
            return true;
        }
        let read = match kind {
            Some(ContentType::MessageRead) => true,
            Some(ContentType::MessageDelivered) => false,
            _ => return false,
        };
        let content = item.content.as_deref().and_then(ReceiptContent::decode);
        let (Some(content), Some(by)) = (content, filled(&item.participant_id)) else { return false };
        let (Some(id), Some(at)) =
            (filled(&content.message_id), item.absolute_time.as_deref().and_then(Timestamp::parse))
        else {
            return false;
        };
        about(sighting, id);
        let (delivered, read) = if read { (None, Some(at)) } else { (Some(at), None) };
        sighting.receipts = vec![Receipt { by: by.into(), delivered, read }];
        true
    }

    fn scope_of(&self, chain: Option<&str>) -> Scope {
        match chain {
            Some(chain) if chain != self.scope.as_str() => chain.into(),
            _ => self.scope.clone(),
        }
    }

    /// Whether we sent it, from any tab or device; `None` if nobody can tell.
    fn is_own(&self, item: &Item<'_>) -> Option<bool> {
        let same_role = matches!(
            (self.kind, filled(&item.participant_role)),
            (ParticipantKind::Customer, Some("CUSTOMER")) | (ParticipantKind::Agent, Some("AGENT"))
        );
        match filled(&item.participant_id) {
            Some(id) if id == self.own.as_str() => Some(true),
            // In a past session the customer had another id.
            Some(_) => Some(
                same_role
                    && self.kind == ParticipantKind::Customer
                    && filled(&item.related_contact_id).is_some(),
            ),
            None if same_role => None,
            None => Some(false),
        }
    }
}

fn set_time(sighting: &mut Sighting, text: Option<&str>) {
    if let Some(time) = text.and_then(Timestamp::parse) {
        sighting.time = Some(time);
        sighting.place = Some(Place::exact(Primary::Instant(time)));
    }
}

/// Items without a readable time stand behind the one before them in the same reply; those before the first readable one,
/// just before it.
fn estimate_places(page: &mut [Sighting]) {
    let receipt_only = |sighting: &Sighting| sighting.content.is_none();
    let mut before: Option<(Timestamp, u32)> = None;
    for sighting in page.iter_mut().filter(|sighting| !receipt_only(sighting)) {
        match (sighting.time, &mut before) {
            (Some(time), _) => before = Some((time, 0)),
            (None, Some((time, tie))) => {
                *tie += 1;
                sighting.place = Some(Place::estimated(Primary::Instant(*time), *tie));
            }
            (None, None) => {}
        }
    }
    let Some(first) = page.iter().position(|sighting| sighting.time.is_some()) else { return };
    let Some(just_before) = page[first].time.and_then(|time| Timestamp::from_millis(time.as_millis() - 1))
    else {
        return;
    };
    let mut tie = 0;
    for sighting in page[..first].iter_mut().filter(|sighting| !receipt_only(sighting)) {
        tie += 1;
        sighting.place = Some(Place::estimated(Primary::Instant(just_before), tie));
    }
}

fn receipts(metadata: &MessageMetadata<'_>) -> Vec<Receipt> {
    let time = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().and_then(Timestamp::parse);
    metadata
        .receipts
        .iter()
        .flatten()
        .filter_map(|receipt| {
            let by = filled(&receipt.recipient_participant_id)?.into();
            let (delivered, read) = (time(&receipt.delivered_timestamp), time(&receipt.read_timestamp));
            (delivered.is_some() || read.is_some()).then_some(Receipt { by, delivered, read })
        })
        .collect()
}

fn processing(metadata: &MessageMetadata<'_>) -> Option<Processing> {
    match filled(&metadata.message_processing_status)? {
        "PROCESSING" => Some(Processing::InProgress),
        "FAILED" => Some(Processing::Failed),
        "REJECTED" => Some(Processing::Rejected),
        _ => None,
    }
}

/// The content, and the vendor's progress with it.
fn content(item: &Item<'_>, kind: Option<ContentType<'_>>, raw: &Arc<str>) -> (Content, u32) {
    if let Some(files) = files(item) {
        let version = files.iter().map(|file| file.status as u32).max().unwrap_or_default();
        return (Content::Files(files), version);
    }
    let other = || {
        let name = item.content_type.as_deref().or(item.kind.as_deref()).unwrap_or_default();
        Content::Other(RawEvent::new(name, Arc::clone(raw)))
    };
    let text = |format| match &item.content {
        Some(body) => Content::Text(Text { body: Arc::from(&**body), format }),
        None => other(),
    };
    let content = match kind {
        Some(ContentType::Plain) => text(TextFormat::Plain),
        Some(ContentType::Markdown) => text(TextFormat::Markdown),
        Some(ContentType::Json) => text(TextFormat::Json),
        Some(ContentType::InteractiveResponse) => {
            text(InteractiveResponse::format_of(item.content.as_deref().unwrap_or_default()))
        }
        Some(ContentType::Interactive) => item
            .content
            .as_deref()
            .and_then(interactive::read)
            .map_or_else(other, |interactive| Content::Interactive(Box::new(interactive))),
        kind => event(item, kind).map_or_else(other, Content::Event),
    };
    (content, 0)
}

fn files(item: &Item<'_>) -> Option<Vec<Attachment>> {
    let files: Vec<_> = item
        .attachments
        .iter()
        .flatten()
        .filter_map(|file| {
            Some(Attachment {
                id: filled(&file.attachment_id)?.into(),
                name: file.attachment_name.as_deref().unwrap_or_default().into(),
                content_type: file.content_type.as_deref().unwrap_or("application/octet-stream").into(),
                size: None,
                status: match file.status.as_deref() {
                    Some("REJECTED") => AttachmentStatus::Rejected,
                    Some("IN_PROGRESS") => AttachmentStatus::InProgress,
                    // Clients show what is approved; a status that is missing or new must not hide a file.
                    _ => AttachmentStatus::Approved,
                },
            })
        })
        .collect();
    (!files.is_empty()).then_some(files)
}

fn event(item: &Item<'_>, kind: Option<ContentType<'_>>) -> Option<SystemEvent> {
    let authentication = |phase| SystemEvent::Authentication {
        phase,
        session: item
            .content
            .as_deref()
            .and_then(AuthenticationContent::decode)
            .and_then(|content| content.session_id)
            .map(|id| Arc::from(&*id)),
    };
    Some(match kind {
        Some(ContentType::Typing) => SystemEvent::Typing,
        Some(ContentType::ParticipantJoined) => SystemEvent::Joined,
        Some(ContentType::ParticipantLeft) => SystemEvent::Left,
        Some(ContentType::ParticipantInvited) => SystemEvent::Invited,
        Some(ContentType::ParticipantActive) => SystemEvent::Active,
        Some(ContentType::ParticipantInactive) => SystemEvent::Inactive,
        Some(ContentType::ParticipantIdle) => SystemEvent::Idle,
        Some(ContentType::ParticipantReturned) => SystemEvent::Returned,
        Some(ContentType::ParticipantAutoDisconnection) => SystemEvent::AutoDisconnected,
        Some(ContentType::DisplayNameUpdated) => SystemEvent::NameUpdated,
        Some(ContentType::TransferSucceeded) => SystemEvent::TransferSucceeded,
        Some(ContentType::TransferFailed) => SystemEvent::TransferFailed,
        Some(ContentType::ChatEnded) => SystemEvent::Ended,
        Some(ContentType::ChatRehydrated) => SystemEvent::Rehydrated,
        Some(ContentType::ConnectionAcknowledged) => SystemEvent::ConnectionAcknowledged,
        Some(ContentType::WorkflowCancelled) => SystemEvent::WorkflowCancelled,
        Some(ContentType::AuthenticationInitiated) => authentication(AuthenticationPhase::Initiated),
        Some(ContentType::AuthenticationSucceeded) => authentication(AuthenticationPhase::Succeeded),
        Some(ContentType::AuthenticationFailed) => authentication(AuthenticationPhase::Failed),
        Some(ContentType::AuthenticationTimeout) => authentication(AuthenticationPhase::TimedOut),
        Some(ContentType::AuthenticationExpired) => authentication(AuthenticationPhase::Expired),
        Some(ContentType::AuthenticationCancelled) => authentication(AuthenticationPhase::Cancelled),
        // The model's older types, should anything still send them without a content type.
        None => match item.kind.as_deref()? {
            "TYPING" => SystemEvent::Typing,
            "PARTICIPANT_JOINED" => SystemEvent::Joined,
            "PARTICIPANT_LEFT" => SystemEvent::Left,
            "CHAT_ENDED" => SystemEvent::Ended,
            "TRANSFER_SUCCEEDED" => SystemEvent::TransferSucceeded,
            "TRANSFER_FAILED" => SystemEvent::TransferFailed,
            "CONNECTION_ACK" => SystemEvent::ConnectionAcknowledged,
            _ => return None,
        },
        Some(_) => return None,
    })
}

#[cfg(test)]
mod tests;
