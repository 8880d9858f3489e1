//! Owns one contact: its truth, its backend connection, and the answers that repeated requests get again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chat_core::{Ack, Capabilities, Command, ConnectionHandle, Cursor, Error, ErrorKind};
use tokio::sync::{Notify, watch};

use super::{
    mailbox::Mailbox,
    paging::Key,
    truth::{Person, Truth},
};

/// The answer to a send, once there is one: who asks with the same token waits for it and gets it again.
pub(super) type SendSlot = Arc<tokio::sync::Mutex<Option<(String, String)>>>;

/// Tokens beyond this are forgotten, oldest first.
const REMEMBERED_SENDS: usize = 4096;

#[derive(Debug, Default)]
struct Sends {
    slots: HashMap<(Arc<str>, String), SendSlot>,
    order: VecDeque<(Arc<str>, String)>,
}

#[derive(Debug)]
pub(super) struct Contact {
    /// The first contact id: the front knows the contact by it.
    pub(super) id: String,
    pub(super) customer: Arc<str>,
    pub(super) capabilities: Capabilities,
    /// `SupportedMessagingContentTypes`.
    pub(super) content_types: Vec<String>,
    /// Whether it continues an ended chat.
    pub(super) continues: bool,
    /// One message at a time goes to the transport, so that an echo without a token can be told.
    pub(super) lane: tokio::sync::Mutex<()>,
    truth: Mutex<Truth>,
    link: watch::Sender<Option<Arc<dyn ConnectionHandle>>>,
    over: watch::Sender<bool>,
    sighted: Notify,
    sends: Mutex<Sends>,
    past: Mutex<Vec<Cursor>>,
}

/// What a contact starts with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) truth: Truth,
    pub(super) handle: Arc<dyn ConnectionHandle>,
    pub(super) capabilities: Capabilities,
    pub(super) content_types: Vec<String>,
    pub(super) continues: bool,
}

impl Contact {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning { truth, handle, capabilities, content_types, continues } = beginning;
        Self {
            id: truth.initial_id.clone(),
            customer: Arc::clone(&truth.customer),
            capabilities,
            content_types,
            continues,
            lane: tokio::sync::Mutex::new(()),
            truth: Mutex::new(truth),
            link: watch::Sender::new(Some(handle)),
            over: watch::Sender::new(false),
            sighted: Notify::new(),
            sends: Mutex::default(),
            past: Mutex::default(),
        }
    }

    pub(super) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A further participant.
    pub(super) fn enter(&self, id: &Arc<str>, role: &'static str, name: String, mailbox: Arc<Mailbox>) {
        let person = Person { role, name, mailbox, connected: false, left: false };
        self.truth().people.insert(Arc::clone(id), person);
    }

    /// The mailbox of a participant who has not left.
    pub(super) fn mailbox(&self, participant: &str) -> Option<Arc<Mailbox>> {
        self.truth().people.get(participant).map(|person| Arc::clone(&person.mailbox))
    }

    pub(super) fn is_customer(&self, participant: &str) -> bool {
        *self.customer == *participant
    }

    /// The slot of a token, new or from an earlier attempt.
    pub(super) fn send_slot(&self, participant: &Arc<str>, token: &str) -> SendSlot {
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(participant), token.to_owned());
        if let Some(slot) = sends.slots.get(&key) {
            return Arc::clone(slot);
        }
        if sends.order.len() >= REMEMBERED_SENDS
            && let Some(oldest) = sends.order.pop_front()
        {
            sends.slots.remove(&oldest);
        }
        let slot = SendSlot::default();
        sends.slots.insert(key.clone(), Arc::clone(&slot));
        sends.order.push_back(key);
        slot
    }

    // ---- the backend connection ----

    pub(super) fn set_link(&self, handle: Option<Arc<dyn ConnectionHandle>>) {
        self.link.send_replace(handle);
    }

    /// Hands a command to the backend; waits `within` for one that is away.
    pub(super) async fn submit(&self, command: Command, within: Duration) -> Result<Ack, Error> {
        let mut link = self.link.subscribe();
        let waited = async { link.wait_for(Option::is_some).await.ok().and_then(|handle| handle.clone()) };
        let handle = tokio::select! {
            biased;
            () = self.over() => return Err(Error::new(ErrorKind::SessionEnded, "")),
            handle = tokio::time::timeout(within, waited) => handle.ok().flatten(),
        };
        match handle {
            Some(handle) => handle.submit(command).await,
            None => Err(Error::new(ErrorKind::Network, "the backend is away")),
        }
    }

    /// Resolves once the message on its way has been sighted.
    pub(super) async fn echo(&self) -> Key {
        loop {
            let sighted = self.sighted.notified();
            if let Some(key) = self.truth().claimed() {
                return key;
            }
            sighted.await;
        }
    }

    /// The transport has told something.
    pub(super) fn sighted(&self) {
        self.sighted.notify_waiters();
    }

    // ---- the end ----

    pub(super) fn set_over(&self) {
        self.over.send_replace(true);
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves once the contact is over.
    pub(super) async fn over(&self) {
        let mut over = self.over.subscribe();
        // The sender lives in `self`: an error cannot be.
        let _ = over.wait_for(|over| *over).await;
    }

    // ---- past sessions ----

    /// A token for the past from `cursor` on.
    pub(super) fn past_token(&self, cursor: Cursor) -> String {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let at = past.iter().position(|known| *known == cursor).unwrap_or_else(|| {
            past.push(cursor);
            past.len() - 1
        });
        format!("p.{}", at + 1)
    }

    /// What a token for the past stands for: `Some(None)` for its start, `None` if it is no such token.
    pub(super) fn past_cursor(&self, token: &str) -> Option<Option<Cursor>> {
        let at: usize = token.strip_prefix("p.")?.parse().ok()?;
        if at == 0 {
            return Some(None);
        }
        self.past.lock().unwrap_or_else(PoisonError::into_inner).get(at - 1).cloned().map(Some)
    }
}
