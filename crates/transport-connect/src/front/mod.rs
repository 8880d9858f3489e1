//! Owns the service's end: Amazon Connect chat for unmodified vendor clients, over any [`Transport`].
//!
//! A [`ConnectFront`] answers the start-chat proxy, the three control-plane calls around a chat, the eleven operations of the
//! Participant Service, the object store's presigned URLs and the WebSocket gateway. Each contact has one backend connection;
//! what that sights, and what participants who came in through the front do, makes one list of items, which is
//! what every socket and every transcript of the contact shows.
//!
//! | Path | What |
//! |---|---|
//! | `POST /startChatContact` | start-chat proxy, in the shape that the configuration names |
//! | `PUT /contact/chat`, `POST /contact/create-participant`, `POST /contact/stop` | control plane; signatures are not checked |
//! | `/participant/…` | Participant Service |
//! | `GET /gateway?X-Amz-Token=…` | WebSocket gateway |
//! | `PUT /bucket/staging/…`, `GET /bucket/…` | object store |
//! | `POST /front/agent-token` | not of the vendor: `{"ContactId", "AgentId", "DisplayName"}` → `{"ContactId", "InitialContactId", "ParticipantId", "ParticipantToken"}`. Makes an `AGENT` participant; all tokens of one `AgentId` share the agent's sockets |
//!
//! A contact drives the transport itself, not a `ChatSession`: its clients have keys for their messages, and every sighting,
//! chunks included, is theirs to see; what a session adds for people (a display view, queued sends, throttled receipts) the
//! clients do for themselves.
//!
//! Source of the protocol: the published service models and the vendor's clients; section numbers (§) are those of the
//! protocol notes.

mod answer;
mod attachments;
mod backend;
mod config;
mod contact;
mod control;
mod convert;
mod faults;
mod files;
mod mailbox;
mod operations;
mod paging;
mod quota;
mod route;
mod socket;
mod tasks;
mod tokens;
mod truth;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_core::{Secret, Transport};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::{
    config::{AttachmentRules, FrontConfig, Quota, published_quotas},
    faults::{AnswerFault, FrontFaults, Instead, Operation},
};
use self::{
    contact::Contact,
    faults::FaultState,
    files::Store,
    mailbox::{Mailbox, Post},
    quota::Buckets,
    tasks::Tasks,
    tokens::{Caller, Kind, Tokens},
};
use crate::wire::start_chat::StartChatAnswer;

/// Amazon Connect's chat service, as its clients see it, over a transport. Dropping it stops everything it runs.
pub struct ConnectFront {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

type StartSlot = Arc<tokio::sync::Mutex<Option<Value>>>;

/// Pause after a failure to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Starts remembered by their client token.
const REMEMBERED_STARTS: usize = 1024;

/// What all parts of a front share.
pub(crate) struct Shared {
    transport: Arc<dyn Transport>,
    config: FrontConfig,
    tasks: Weak<Tasks>,
    tokens: Tokens,
    store: Store,
    faults: FaultState,
    buckets: Buckets,
    requests: AtomicU64,
    contacts: Mutex<HashMap<String, Arc<Contact>>>,
    agents: Mutex<HashMap<String, Weak<Mailbox>>>,
    views: Mutex<HashMap<String, Value>>,
    authentications: Mutex<HashMap<String, String>>,
    starts: Mutex<(HashMap<String, StartSlot>, VecDeque<String>)>,
}

impl fmt::Debug for ConnectFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFront")
            .field("config", &self.shared.config)
            .field("contacts", &self.shared.contacts().len())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConnectFront {
    /// A front over `transport`. Nothing runs until a connection is served.
    pub fn new(transport: Arc<dyn Transport>, config: FrontConfig) -> Arc<Self> {
        let tasks = Arc::new(Tasks::new());
        let shared = Shared {
            transport,
            config,
            tasks: Arc::downgrade(&tasks),
            tokens: Tokens::default(),
            store: Store::default(),
            faults: FaultState::default(),
            buckets: Buckets::default(),
            requests: AtomicU64::new(0),
            contacts: Mutex::default(),
            agents: Mutex::default(),
            views: Mutex::default(),
            authentications: Mutex::default(),
            starts: Mutex::default(),
        };
        Arc::new(Self { shared: Arc::new(shared), tasks })
    }

    /// Serves HTTP/1.1 on one connection, upgrades included, until either side closes it or the front is stopped. Sockets that
    /// came of it go on.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; operations that have begun are finished all the same.
    pub fn serve_connection(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let stopped = self.tasks.stopped();
        let header_within = self.shared.config.header_within;
        async move {
            let service = service_fn(move |request| route::handle(Arc::clone(&shared), request));
            let connection = http1::Builder::new()
                // hyper's own date follows the machine's clock, not ours.
                .auto_date_header(false)
                .timer(TokioTimer::new())
                .header_read_timeout(header_within)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades();
            tokio::select! {
                // A client that goes away is no news; an answer that is to be lost looks the same.
                _ = connection => {}
                () = stopped => {}
            }
        }
    }

    /// Serves every connection of `listener` until the front is stopped.
    ///
    /// # Errors
    /// If `listener` is none that accepts. Other failures to accept are waited out.
    ///
    /// # Cancel safety
    /// Cancel safe: connections that were accepted go on until the front is dropped.
    pub async fn serve(&self, listener: tokio::net::TcpListener) -> io::Result<()> {
        let stopped = self.tasks.stopped();
        tokio::pin!(stopped);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopped => return Ok(()),
            };
            match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    self.tasks.spawn(self.serve_connection(stream));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::Interrupted => {}
                    io::ErrorKind::InvalidInput => return Err(error),
                    // Out of descriptors, most likely: those that are in use come back.
                    _ => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }

    /// Stops everything: connections, sockets, backend connections.
    pub fn shutdown(&self) {
        self.tasks.stop();
        self.shared.contacts().clear();
    }

    /// How many tasks run for this front: drivers of contacts, sockets, operations, accepted connections.
    pub fn running_tasks(&self) -> usize {
        self.tasks.count()
    }

    /// How many contacts are open.
    pub fn open_contacts(&self) -> usize {
        self.shared.contacts().len()
    }

    /// How many sockets are open, in all.
    pub fn open_sockets(&self) -> usize {
        self.shared.mailboxes().iter().map(|mailbox| mailbox.len()).sum()
    }

    /// The customer's sockets of a contact: open now, and opened in all.
    pub fn sockets_of(&self, contact_id: &str) -> (usize, u64) {
        let contact = self.shared.find_contact(contact_id);
        let mailbox = contact.and_then(|contact| contact.mailbox(&contact.customer));
        mailbox.map_or((0, 0), |mailbox| (mailbox.len(), mailbox.opened()))
    }

    /// How many requests came so far, of all operations.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What a start answers, for a contact that exists: its customer, with a further token. `None` once the contact is over.
    pub fn admit(&self, contact_id: &str) -> Option<StartChatAnswer> {
        let contact = self.shared.find_contact(contact_id)?;
        let participant = Arc::clone(&contact.customer);
        let caller = Caller { contact: Arc::clone(&contact), participant: Arc::clone(&participant) };
        let token = self.shared.tokens.mint(Kind::Participant, caller, None);
        Some(StartChatAnswer::new(contact.id.as_str(), &*participant, Secret::new(&*token)))
    }

    /// Every token and signature that was handed out for a contact that is open: what must show nowhere.
    pub fn secrets(&self) -> Vec<Secret> {
        let handed_out = self.shared.tokens.handed_out().into_iter().map(|token| Secret::new(&*token));
        handed_out.chain(self.shared.store.signatures().into_iter().map(Secret::new)).collect()
    }

    /// Orders faults; what was ordered before is forgotten.
    pub fn set_faults(&self, faults: FrontFaults) {
        self.shared.faults.set(faults);
    }

    /// The faults that have not happened yet.
    pub fn faults(&self) -> FrontFaults {
        self.shared.faults.get()
    }

    /// Drops every socket without a word.
    pub fn cut_sockets(&self) {
        self.shared.tell(&Post::Cut);
    }

    /// Closes every socket with `code`.
    pub fn close_sockets(&self, code: u16) {
        self.shared.tell(&Post::Close(code));
    }

    /// Sends a frame as it is to every socket, subscribed or not.
    pub fn send_frame(&self, frame: &str) {
        self.shared.tell(&Post::Frame(frame.into()));
    }

    /// Sends an item as it is, JSON text, to every subscribed socket of a contact. It is kept nowhere.
    pub fn send_item(&self, contact_id: &str, item: &str) {
        if let Some(contact) = self.shared.find_contact(contact_id) {
            contact.truth().broadcast(item);
        }
    }

    /// From now on, the transcript of a contact holds only its newest items.
    pub fn keep_newest(&self, contact_id: &str, items: usize) {
        if let Some(contact) = self.shared.find_contact(contact_id) {
            contact.truth().keeps = Some(items);
        }
    }

    /// Lets every connection token expire.
    pub fn expire_tokens(&self) {
        self.shared.tokens.expire_connection_tokens();
    }

    /// Registers a view: the object that `DescribeView` gives under `View` for this token.
    pub fn put_view(&self, token: impl Into<String>, view: Value) {
        self.shared.views().insert(token.into(), view);
    }

    /// Registers where the authentication session leads.
    pub fn put_authentication(&self, session_id: impl Into<String>, url: impl Into<String>) {
        self.shared.authentications().insert(session_id.into(), url.into());
    }
}

impl Drop for ConnectFront {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.spawn(future);
        }
    }

    /// The time of day so much later, as the service writes it.
    fn after(&self, life: Duration) -> String {
        truth::instant(self.config.clock.now().saturating_add(life).as_millis()).to_string()
    }

    fn contacts(&self) -> MutexGuard<'_, HashMap<String, Arc<Contact>>> {
        lock(&self.contacts)
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<String, Weak<Mailbox>>> {
        lock(&self.agents)
    }

    fn views(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        lock(&self.views)
    }

    fn authentications(&self) -> MutexGuard<'_, HashMap<String, String>> {
        lock(&self.authentications)
    }

    /// A contact by any id of its chain.
    fn find_contact(&self, id: &str) -> Option<Arc<Contact>> {
        let contacts = self.contacts();
        let by_chain =
            || contacts.values().find(|contact| contact.truth().chain.iter().any(|link| link == id));
        contacts.get(id).or_else(by_chain).cloned()
    }

    fn start_slot(&self, key: String) -> StartSlot {
        let mut starts = lock(&self.starts);
        let (slots, order) = &mut *starts;
        if let Some(slot) = slots.get(&key) {
            return Arc::clone(slot);
        }
        if order.len() >= REMEMBERED_STARTS
            && let Some(oldest) = order.pop_front()
        {
            slots.remove(&oldest);
        }
        order.push_back(key.clone());
        let slot = StartSlot::default();
        slots.insert(key, Arc::clone(&slot));
        slot
    }

    fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        let contacts: Vec<_> = self.contacts().values().cloned().collect();
        let mut out: Vec<Arc<Mailbox>> = Vec::new();
        for contact in contacts {
            for person in contact.truth().people.values() {
                if !out.iter().any(|known| Arc::ptr_eq(known, &person.mailbox)) {
                    out.push(Arc::clone(&person.mailbox));
                }
            }
        }
        out
    }

    fn tell(&self, post: &Post) {
        self.mailboxes().iter().for_each(|mailbox| mailbox.tell(post));
    }

    /// The contact is over: `chat.ended`, and from now on every token of it is refused (§1).
    fn finish(&self, contact: &Arc<Contact>) {
        let participants: Vec<Arc<str>> = {
            let mut truth = contact.truth();
            truth.end();
            truth.people.keys().cloned().collect()
        };
        contact.set_over();
        contact.set_link(None);
        for participant in participants {
            self.tokens.revoke(&participant);
        }
        self.contacts().remove(&contact.id);
        self.store.forget(&contact.id);
    }
}
