//! Owns the agent's desk: one shared socket over many contacts, which come from a source that the application provides.
//! Source: §13.4, §15.

mod contact;
mod hub;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chat_core::{
    Capabilities, Capability, ConnectError, ConnectRequest, Connection, Error, ErrorKind, Intent, Result,
    SavedSession, Secret, Transport, TransportId,
};
use futures::{StreamExt, stream::BoxStream};

use self::hub::{Hub, Hubs};
use super::{
    TRANSPORT_ID,
    details::{Details, capabilities},
    transport::ConnectTransport,
};
use crate::config::ParticipantKind;

/// Where an agent's contacts and the agent's socket come from: the application's side, as Streams in a page.
#[async_trait]
pub trait ContactSource: fmt::Debug + Send + Sync + 'static {
    /// A fresh URL of the agent's socket; asked for at the first contact, before the socket's life ends, and after a loss.
    ///
    /// # Errors
    /// What stands in the way. Sessions try again with backoff, unless the error forbids it.
    async fn socket(&self) -> Result<SocketGrant>;

    /// The contacts as they come, those of before a restart first. Asked for once.
    fn contacts(&self) -> BoxStream<'static, ContactNotice>;

    /// A fresh participant token for a contact; `None` to use the one that the contact came with.
    ///
    /// # Errors
    /// As [`socket`](Self::socket).
    async fn participant_token(&self, contact_id: &str) -> Result<Option<Secret>> {
        let _ = contact_id;
        Ok(None)
    }

    /// The agent looks at this contact now, or at none.
    async fn view(&self, contact_id: Option<&str>) {
        let _ = contact_id;
    }
}

/// The URL of a socket.
#[derive(Debug, Clone)]
pub struct SocketGrant {
    /// The URL, secret because it needs no further credentials.
    pub url: Secret,
    /// How long from now a socket over it serves, if known. It is replaced after 59 minutes at the latest.
    pub life: Option<Duration>,
}

/// What a source tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ContactNotice {
    /// A contact rings.
    Incoming(AgentContact),
    /// The agent has accepted it.
    Accepted(AgentContact),
    /// It was there before this desk was opened.
    Reattached(AgentContact),
    /// It is gone: missed, cleared, or transferred.
    Cleared(String),
    /// The agent looks at this contact now, or at none (an empty id counts as none).
    Viewing(Option<String>),
}

/// One contact of an agent.
#[derive(Debug, Clone)]
pub struct AgentContact {
    /// What kind of contact.
    pub channel: Channel,
    /// This link of the chain.
    pub contact_id: String,
    /// The chain, if known.
    pub initial_contact_id: Option<String>,
    /// The agent's participant id in it.
    pub participant_id: String,
    /// The agent's participant token in it.
    pub participant_token: Secret,
    /// The agent's name, as the customer sees it.
    pub display_name: Option<String>,
}

impl AgentContact {
    /// A chat.
    pub fn chat(
        contact_id: impl Into<String>,
        participant_id: impl Into<String>,
        participant_token: impl Into<Secret>,
    ) -> Self {
        Self {
            channel: Channel::Chat,
            contact_id: contact_id.into(),
            initial_contact_id: None,
            participant_id: participant_id.into(),
            participant_token: participant_token.into(),
            display_name: None,
        }
    }

    /// What `SessionBuilder::join` takes.
    pub fn to_saved(&self) -> SavedSession {
        self.details().to_saved()
    }

    fn details(&self) -> Details {
        Details {
            contact_id: self.contact_id.clone(),
            participant_id: self.participant_id.clone(),
            participant_token: self.participant_token.clone(),
            initial_contact_id: self.initial_contact_id.clone(),
            display_name: self.display_name.clone(),
            started_at: None,
            permissions: Default::default(),
            content_types: None,
        }
    }
}

/// What kind of contact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channel {
    /// A chat.
    Chat,
    /// A call, a task, an e-mail: skipped.
    Other(String),
}

/// What happens at a desk. Chats only.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DeskEvent {
    /// A chat rings.
    Incoming(AgentContact),
    /// A chat can be joined: give `session` to a [`ChatSession`](chat_core::ChatSession) over [`AgentDesk::transport`].
    Ready {
        /// The contact.
        contact: AgentContact,
        /// For `SessionBuilder::join`.
        session: SavedSession,
        /// It was there before this desk was opened.
        reattached: bool,
    },
    /// A chat is gone: leave it.
    Cleared(String),
    /// The agent looks at this contact now, or at none.
    Viewing(Option<String>),
}

/// An agent's desk.
pub struct AgentDesk {
    shared: Arc<Desk>,
    contacts: BoxStream<'static, ContactNotice>,
}

impl fmt::Debug for AgentDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentDesk").field("source", &self.shared.source).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Desk {
    transport: ConnectTransport,
    source: Arc<dyn ContactSource>,
    hubs: Hubs,
    /// Contacts that are no chats, so that their going is not told either.
    skipped: Mutex<Vec<String>>,
    viewing: Mutex<Option<String>>,
}

/// How many skipped contacts are remembered.
const SKIPPED: usize = 64;

impl AgentDesk {
    /// Opens a desk. No I/O: the socket is opened with the first chat.
    ///
    /// # Errors
    /// `Config` unless `transport` was built for agents.
    pub fn open(transport: &ConnectTransport, source: Arc<dyn ContactSource>) -> Result<Self> {
        if transport.0.config.participant != ParticipantKind::Agent {
            return Err(Error::new(ErrorKind::Config, "a desk needs a transport for agents"));
        }
        let contacts = source.contacts();
        let shared = Arc::new(Desk {
            transport: transport.clone(),
            source,
            hubs: Hubs::default(),
            skipped: Mutex::default(),
            viewing: Mutex::default(),
        });
        Ok(Self { shared, contacts })
    }

    /// The transport for this desk's chats: all of them share its socket. `join` and `restore` work, `start` does not.
    pub fn transport(&self) -> DeskTransport {
        DeskTransport(Arc::clone(&self.shared))
    }

    /// What happens next; `None` once the source has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<DeskEvent> {
        loop {
            let ready = |contact: AgentContact, reattached| DeskEvent::Ready {
                session: contact.to_saved(),
                contact,
                reattached,
            };
            return Some(match self.contacts.next().await? {
                ContactNotice::Incoming(contact)
                | ContactNotice::Accepted(contact)
                | ContactNotice::Reattached(contact)
                    if contact.channel != Channel::Chat =>
                {
                    self.skip(contact.contact_id);
                    continue;
                }
                ContactNotice::Incoming(contact) => DeskEvent::Incoming(contact),
                ContactNotice::Accepted(contact) => ready(contact, false),
                ContactNotice::Reattached(contact) => ready(contact, true),
                ContactNotice::Cleared(id) if self.was_skipped(&id) => continue,
                ContactNotice::Cleared(id) => DeskEvent::Cleared(id),
                ContactNotice::Viewing(id) => {
                    let id = id.filter(|id| !id.is_empty());
                    self.shared.set_viewing(id.clone());
                    DeskEvent::Viewing(id)
                }
            });
        }
    }

    /// Which contact the agent looks at.
    pub fn viewing(&self) -> Option<String> {
        self.shared.viewing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the source which contact the agent looks at.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the source was told.
    pub async fn view(&self, contact_id: Option<&str>) {
        self.shared.set_viewing(contact_id.map(str::to_owned));
        self.shared.source.view(contact_id).await;
    }

    fn skip(&self, id: String) {
        tracing::debug!(contact = %id, "no chat: skipped");
        let mut skipped = self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        if skipped.len() == SKIPPED {
            skipped.remove(0);
        }
        skipped.push(id);
    }

    fn was_skipped(&self, id: &str) -> bool {
        let mut skipped = self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let before = skipped.len();
        skipped.retain(|known| known != id);
        skipped.len() != before
    }
}

impl Desk {
    fn set_viewing(&self, id: Option<String>) {
        *self.viewing.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

/// The chats of one desk as a transport.
#[derive(Debug, Clone)]
pub struct DeskTransport(Arc<Desk>);

#[async_trait]
impl Transport for DeskTransport {
    fn id(&self) -> TransportId {
        TRANSPORT_ID
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = capabilities(&self.0.transport.0.config);
        [
            Capability::Start,
            Capability::Async,
            Capability::Persistent,
            Capability::UserDataBeforeStart,
            Capability::IdempotentStart,
            Capability::Lingering,
        ]
        .into_iter()
        .fold(capabilities, Capabilities::without)
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let (saved, first) = match request.intent {
            Intent::Join(saved) => (saved, true),
            Intent::Resume(saved) => (saved, false),
            _ => return Err(Error::unsupported(Capability::Start, TRANSPORT_ID).into()),
        };
        let mut details = Details::from_saved(&saved)?;
        if let Some(token) = self.0.source.participant_token(&details.contact_id).await? {
            details.participant_token = token;
        }
        let hub = self.hub().await?;
        Ok(contact::connect(&self.0.transport, hub, details, first, request.tap).await?)
    }

    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        self.0.transport.verify(saved).await
    }
}

impl DeskTransport {
    /// The socket to use now: the one that stands, unless its replacement is due.
    async fn hub(&self) -> Result<Arc<Hub>> {
        let desk = &self.0;
        desk.hubs
            .current(async || {
                let grant = desk.source.socket().await?;
                Hub::open(&desk.transport.0.service, grant).await
            })
            .await
    }
}
