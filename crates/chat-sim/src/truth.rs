//! Owns what tests may read of the server: snapshots that judge whether anything was lost or doubled.

use std::{collections::BTreeMap, sync::Arc};

use chat_core::{
    AttachmentId, AttachmentStatus, ClientToken, Content, EndReason, MessageId, Participant, RawEvent,
    Receipt, ReceiptSignal, Scope, SegmentId, StartRequest, Timestamp, TypingSignal, UserData,
};

use crate::{centre::State, contact::Contact, faults::CommandKind, item::Item};

/// One stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemTruth {
    /// Its id.
    pub id: MessageId,
    /// Its number in the chat, from 1, in order of arrival at the centre.
    pub index: u64,
    /// Its instant.
    pub time: Timestamp,
    /// The segment it belongs to.
    pub segment: SegmentId,
    /// Who sent it.
    pub from: Participant,
    /// Whether the customer sent it.
    pub own: bool,
    /// What it holds now; of a streamed answer that is not whole yet, what has come.
    pub content: Content,
    /// The client token that it came with. The centre knows it even where its echo does not carry it.
    pub token: Option<ClientToken>,
    /// Who got or read it.
    pub receipts: Vec<Receipt>,
}

impl ItemTruth {
    /// Its text, if it holds one.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(&text.body),
            _ => None,
        }
    }

    fn new(contact: &Contact, item: &Item) -> Self {
        Self {
            id: item.key.id.clone(),
            index: item.index,
            time: item.time,
            segment: contact.segments[item.key.segment].id.clone(),
            from: item.from.clone(),
            own: item.own,
            content: item.content.clone(),
            token: item.token.clone(),
            receipts: item.receipts.clone(),
        }
    }
}

/// One chat as the centre holds it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Truth {
    /// The contact's id: the source of a chat that continues it.
    pub contact: Arc<str>,
    /// Within which ids are unique.
    pub scope: Scope,
    /// Its segments and their starts, oldest first.
    pub segments: Vec<(SegmentId, Timestamp)>,
    /// The items in their final order, the past of a persistent chat included; pruned ones are gone.
    pub items: Vec<ItemTruth>,
    /// Files and what became of them.
    pub files: Vec<(AttachmentId, AttachmentStatus)>,
    /// Who is here.
    pub present: Vec<Participant>,
    /// The customer.
    pub customer: Participant,
    /// How the chat was asked for.
    pub request: StartRequest,
    /// User data now.
    pub user_data: UserData,
    /// Set once it is over.
    pub ended: Option<EndReason>,
    /// Receipts from the customer, each call.
    pub receipts: Vec<ReceiptSignal>,
    /// Typing from the customer, each call.
    pub typing: Vec<TypingSignal>,
    /// Notices from the customer.
    pub notices: Vec<Arc<str>>,
    /// Raw events from the customer.
    pub events: Vec<RawEvent>,
    /// Vendor commands from the customer: name and data.
    pub vendor: Vec<(Arc<str>, serde_json::Value)>,
    /// Commands that left, by kind, whatever became of them.
    pub submits: BTreeMap<CommandKind, u64>,
    /// Connections open now.
    pub connections: usize,
    /// Connections made, of all attempts that reached this chat.
    pub connects: u64,
    /// Most polls at a time.
    pub polls_in_flight_max: u32,
}

impl Truth {
    /// The texts, in order.
    pub fn texts(&self) -> Vec<&str> {
        self.items.iter().filter_map(ItemTruth::text).collect()
    }

    /// The customer's texts, in order.
    pub fn own_texts(&self) -> Vec<&str> {
        self.items.iter().filter(|item| item.own).filter_map(ItemTruth::text).collect()
    }

    /// The ids of all items, in order.
    pub fn ids(&self) -> Vec<MessageId> {
        self.items.iter().map(|item| item.id.clone()).collect()
    }

    /// How many stored items came with `token`.
    pub fn copies(&self, token: &ClientToken) -> usize {
        self.items.iter().filter(|item| item.token.as_ref() == Some(token)).count()
    }

    /// The newest item.
    pub fn newest(&self) -> Option<&ItemTruth> {
        self.items.last()
    }

    /// How many commands of `kind` left.
    pub fn submitted(&self, kind: CommandKind) -> u64 {
        match kind {
            CommandKind::Any => self.submits.values().sum(),
            kind => self.submits.get(&kind).copied().unwrap_or_default(),
        }
    }

    pub(crate) fn of(contact: &Contact) -> Self {
        let records = &contact.records;
        Self {
            contact: Arc::clone(&contact.id),
            scope: contact.scope.clone(),
            segments: contact
                .segments
                .iter()
                .map(|segment| (segment.id.clone(), segment.started_at))
                .collect(),
            items: contact.items.iter().map(|item| ItemTruth::new(contact, item)).collect(),
            files: contact.files.iter().map(|file| (file.id.clone(), file.status)).collect(),
            present: contact
                .members
                .iter()
                .filter(|member| member.here)
                .map(|member| member.who.clone())
                .collect(),
            customer: contact.customer.clone(),
            request: contact.request.clone(),
            user_data: contact.user_data.clone(),
            ended: contact.ended.clone(),
            receipts: records.receipts.clone(),
            typing: records.typing.clone(),
            notices: records.notices.clone(),
            events: records.events.clone(),
            vendor: records.vendor.clone(),
            submits: records.submits.clone(),
            connections: contact.wires.iter().filter(|wire| wire.fate.is_none()).count(),
            connects: records.connects,
            polls_in_flight_max: records.polls_max,
        }
    }
}

/// The whole centre.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CentreTruth {
    /// Chats ever started.
    pub contacts: usize,
    /// Attempts to connect, whatever became of them.
    pub connect_attempts: u64,
    /// Verifications, whatever became of them.
    pub verifies: u64,
    /// Connections open now.
    pub connections: usize,
}

impl CentreTruth {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            contacts: state.contacts.len(),
            connect_attempts: state.attempts,
            verifies: state.verifies,
            connections: state.contacts.iter().map(|contact| contact.wires.len()).sum(),
        }
    }
}
