//! Owns the service's end: the GMS chat API v2 for unmodified vendor clients, over any [`Transport`].
//!
//! A [`GmsFront`] answers the fifteen REST operations, and the same operations over CometD. Each chat has one [`ChatSession`] behind it; what
//! its transcript shows, and what the client does beside it, makes one list of events with indexes of the front's own.
//!
//! | Path | What |
//! |---|---|
//! | `POST /genesys/2/chat/{service}` | start of a chat |
//! | `POST /genesys/2/chat/{service}/{chatId}/…` | the other operations of §2 |
//! | `POST /genesys/cometd`, and as a WebSocket | CometD, in channels `/service/chatV2/{service}` (§9.2) |
//! | `POST /genesys/2/chat-ntf` | files in CometD mode (§9.3) |
//!
//! A chat drives a session, not a bare connection: retries, gap fills and order are the session's, and the service has no keys for
//! messages that would have to go further. What a client does not get an answer to in time is taken back, as far as it can be.
//!
//! Section numbers (§) are those of the protocol notes.

mod answer;
mod attachments;
mod body;
mod chat;
mod cometd;
mod config;
mod convert;
mod faults;
mod files;
mod log;
mod parties;
mod route;
mod service;
mod start;
mod state;
mod tasks;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_core::{ChatSession, Secret, Transport};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use self::{chat::Chat, cometd::Cometd, faults::FaultState, tasks::Tasks};
pub use self::{
    config::{BotStyle, FileRules, FrontConfig, IdentityCheck, Inactivity, Refusals, Unanswered},
    faults::{AnswerFault, Failover, FrontFaults, Instead},
};
use crate::bayeux::server::BayeuxServer;
pub use crate::{bayeux::server::ServerConfig, wire::Operation};

/// Pause after a failure to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The GMS chat service, as its clients see it, over a transport. Dropping it stops everything it runs.
pub struct GmsFront {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// What all parts of a front share.
pub(crate) struct Shared {
    transport: Arc<dyn Transport>,
    config: Arc<FrontConfig>,
    tasks: Weak<Tasks>,
    faults: FaultState,
    cometd: Option<Cometd>,
    requests: AtomicU64,
    errors: AtomicU64,
    chats: Mutex<Chats>,
    /// A new value closes the connections of before.
    cut: watch::Sender<()>,
}

/// The chats that are known: those that go on, and those whose end may not have been heard of.
#[derive(Default)]
struct Chats {
    by_id: HashMap<String, Arc<Chat>>,
    /// Since 8.5.112 the key carries the rest (§4).
    by_key: HashMap<Secret, Arc<Chat>>,
    /// How many are about to begin.
    starting: usize,
}

impl fmt::Debug for GmsFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GmsFront")
            .field("config", &self.shared.config)
            .field("chats", &self.open_chats())
            .finish_non_exhaustive()
    }
}

impl GmsFront {
    /// A front over `transport`. Nothing runs until a connection is served.
    pub fn new(transport: Arc<dyn Transport>, config: FrontConfig) -> Arc<Self> {
        let tasks = Arc::new(Tasks::new());
        let cometd = config.cometd.clone();
        let shared = Arc::new_cyclic(|shared| Shared {
            transport,
            config: Arc::new(config),
            tasks: Arc::downgrade(&tasks),
            faults: FaultState::default(),
            cometd: cometd.map(|config| Cometd::new(config, Weak::clone(shared))),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            chats: Mutex::default(),
            cut: watch::Sender::new(()),
        });
        Arc::new(Self { shared, tasks })
    }

    /// Serves HTTP/1.1 on one connection, until either side closes it or the front is stopped.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; operations that have begun are finished all the same.
    pub fn serve_connection(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let stopped = self.tasks.stopped();
        let mut cut = self.shared.cut.subscribe();
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
                // What is ready to be said when the cut is ordered is not said any more.
                biased;
                _ = cut.changed() => {}
                () = stopped => {}
                // A client that goes away is no news; an answer that is to be lost looks the same.
                _ = connection => {}
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

    /// Stops everything: connections, and the sessions behind the chats, which end by themselves if their backends end such.
    pub fn shutdown(&self) {
        self.tasks.stop();
        *self.shared.chats() = Chats::default();
    }

    /// How many tasks run for this front: drivers of chats, operations, accepted connections.
    pub fn running_tasks(&self) -> usize {
        self.tasks.count()
    }

    /// How many chats go on.
    pub fn open_chats(&self) -> usize {
        self.shared.open_chats()
    }

    /// The ids of the chats that go on, in no order.
    pub fn chat_ids(&self) -> Vec<String> {
        let chats = self.shared.all_chats();
        chats.iter().filter(|chat| !chat.is_over()).map(|chat| chat.id.clone()).collect()
    }

    /// The ids of all chats that are known, those included that are over and can still be read, in no order.
    pub fn known_chats(&self) -> Vec<String> {
        self.shared.chats().by_id.keys().cloned().collect()
    }

    /// The session behind a chat that is known.
    pub fn session(&self, chat_id: &str) -> Option<ChatSession> {
        self.shared.chat(chat_id).map(|chat| chat.session.clone())
    }

    /// Whether the client of a chat was heard within this time, or is attached to a CometD session.
    pub fn is_heard(&self, chat_id: &str, within: Duration) -> bool {
        self.shared.chat(chat_id).is_some_and(|chat| chat.is_heard(within))
    }

    /// How often CometD sessions asked to hear of a chat so far, with its start or afterwards: once for each time that a client
    /// connects.
    pub fn listenings(&self, chat_id: &str) -> u64 {
        self.shared.chat(chat_id).map_or(0, |chat| chat.state().listenings)
    }

    /// How many refreshes of a chat were under way at a time, at most: a client's never overlap.
    pub fn refreshes_at_once(&self, chat_id: &str) -> u32 {
        self.shared.chat(chat_id).map_or(0, |chat| chat.refreshes_at_once())
    }

    /// How many requests came so far, of all operations.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What a start told of a chat that goes on: who comes with it is its client.
    pub fn admit(&self, chat_id: &str) -> Option<crate::wire::Identity> {
        self.shared.chat(chat_id).filter(|chat| !chat.is_over()).map(|chat| chat.identity())
    }

    /// The keys of all chats that are known: what must show nowhere.
    pub fn secrets(&self) -> Vec<Secret> {
        self.shared.chats().by_key.keys().cloned().collect()
    }

    /// Orders faults; what was ordered before is forgotten.
    pub fn set_faults(&self, faults: FrontFaults) {
        self.shared.faults.set(faults);
    }

    /// The faults that have not happened yet.
    pub fn faults(&self) -> FrontFaults {
        self.shared.faults.get()
    }

    /// The server of CometD's protocol, if there is one: its settings can be changed, and it can be restarted, while it runs.
    pub fn cometd(&self) -> Option<&BayeuxServer> {
        self.shared.cometd.as_ref().map(|cometd| &cometd.server)
    }

    /// Drops every connection without a word, sockets included.
    pub fn cut_connections(&self) {
        self.shared.cut_connections();
    }
}

impl Drop for GmsFront {
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

    fn chats(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_chats(&self) -> Vec<Arc<Chat>> {
        self.chats().by_id.values().cloned().collect()
    }

    fn open_chats(&self) -> usize {
        self.all_chats().iter().filter(|chat| !chat.is_over()).count()
    }

    fn chat(&self, id: &str) -> Option<Arc<Chat>> {
        self.chats().by_id.get(id).cloned()
    }

    fn chat_of(&self, key: &Secret) -> Option<Arc<Chat>> {
        self.chats().by_key.get(key).cloned()
    }

    fn remember(&self, chat: &Arc<Chat>) {
        let mut chats = self.chats();
        chats.by_id.insert(chat.id.clone(), Arc::clone(chat));
        chats.by_key.insert(chat.secure_key.clone(), Arc::clone(chat));
    }

    fn forget(&self, chat: &Chat) {
        let mut chats = self.chats();
        chats.by_id.remove(&chat.id);
        chats.by_key.remove(&chat.secure_key);
    }

    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn count_error(&self) -> u64 {
        self.errors.fetch_add(1, Ordering::Relaxed)
    }

    fn cut_connections(&self) {
        self.cut.send_replace(());
    }
}
