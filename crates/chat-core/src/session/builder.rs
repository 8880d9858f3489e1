//! Owns the ways into a session: start, join, restore; and the question whether a saved one still exists.

use std::sync::{Arc, LazyLock};

use tokio::{sync::oneshot, time::Instant};

use super::{
    ChatSession, driver,
    settings::SessionSettings,
    shared::Shared,
    state::{Beginning, Origination, State},
};
use crate::{
    capabilities::{Capabilities, Capability},
    command::UserData,
    error::{Error, ErrorKind, Result},
    outbox::{Outbox, OutboxPolicy},
    store::{Claim, SessionDirectory, StoredSession},
    time::{SystemClock, WallClock},
    transcript::{Filter, Transcript},
    transport::{ConnectError, Intent, SavedSession, StartRequest, Transport},
};

/// Most sessions use these: they share them.
static DEFAULTS: LazyLock<Arc<SessionSettings>> = LazyLock::new(Arc::default);

/// Prepares a session.
#[derive(Debug)]
#[must_use = "nothing happens until start, join or restore"]
pub struct SessionBuilder {
    transport: Arc<dyn Transport>,
    settings: Arc<SessionSettings>,
    clock: Arc<dyn WallClock>,
    keep: Option<(SessionDirectory, String)>,
    user_data: UserData,
    transcript: Transcript,
}

impl SessionBuilder {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            settings: Arc::clone(&DEFAULTS),
            clock: Arc::new(SystemClock),
            keep: None,
            user_data: UserData::new(),
            transcript: Transcript::new(),
        }
    }

    /// Sets the settings.
    pub fn settings(mut self, settings: SessionSettings) -> Self {
        self.settings = Arc::new(settings);
        self
    }

    /// Keeps the session in `directory` under `key`. A second start or restore under one key is refused while it is active.
    pub fn keep(mut self, directory: &SessionDirectory, key: impl Into<String>) -> Self {
        self.keep = Some((directory.clone(), key.into()));
        self
    }

    /// Default user data: merged under what a start brings.
    pub fn user_data(mut self, data: UserData) -> Self {
        self.user_data = self.user_data.merged_under(&data);
        self
    }

    /// Goes on with an earlier transcript: of the chat that is continued, or an imported one.
    pub fn transcript(mut self, transcript: Transcript) -> Self {
        self.transcript = transcript;
        self
    }

    /// Replaces the clock (tests).
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts a new chat, and waits until the connection stands.
    ///
    /// # Errors
    /// `AlreadyActive` or `AlreadyRestoring` under the same key; `InvalidInput` and `TooLarge` for user data, before anything is
    /// sent; what the vendor says. If a chat was started but not connected, [`ConnectError::saved`] holds it: join it instead of
    /// starting another one.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the connect; a chat that was already started runs out by itself.
    pub async fn start(mut self, mut request: StartRequest) -> Result<ChatSession, ConnectError> {
        let capabilities = self.transport.capabilities();
        self.require(&capabilities, Capability::Start)?;
        if request.continues.is_some() {
            self.require(&capabilities, Capability::Persistent)?;
        }
        if request.asynchronous {
            self.require(&capabilities, Capability::Async)?;
        }
        request.user_data = std::mem::take(&mut self.user_data).merged_under(&request.user_data);
        check_user_data(&request.user_data, &capabilities)?;
        if !request.user_data.0.is_empty() {
            self.require(&capabilities, Capability::UserDataBeforeStart)?;
        }
        request.key.get_or_insert_with(crate::ids::ClientToken::random);
        let claim = match &self.keep {
            Some((directory, key)) => Some(directory.claim_start(key)?),
            None => None,
        };
        self.run(Intent::Start(Box::new(request)), Origination::Start, claim, None).await
    }

    /// Joins a chat whose credentials come from elsewhere, and waits until the connection stands.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Dropping the future abandons the connect.
    pub async fn join(self, credentials: SavedSession) -> Result<ChatSession, ConnectError> {
        self.require(&self.transport.capabilities(), Capability::Join)?;
        self.belongs(&credentials)?;
        let claim = match &self.keep {
            Some((directory, key)) => Some(directory.claim_start(key)?),
            None => None,
        };
        self.run(Intent::Join(credentials), Origination::Join, claim, None).await
    }

    /// Restores the chat that is kept under the key: fetches what was missed, and sends what was accepted.
    ///
    /// # Errors
    /// `AlreadyRestoring`, `AlreadyActive`; `SessionLost` if nothing is kept or the vendor no longer knows it (it is forgotten
    /// then); `RestoreTimeout` if it is older than the vendor allows; `SessionEnded`; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the connect; the saved session stays.
    pub async fn restore(self) -> Result<ChatSession, ConnectError> {
        let capabilities = self.transport.capabilities();
        self.require(&capabilities, Capability::Restore)?;
        let Some((directory, key)) = self.keep.clone() else {
            return Err(Error::new(ErrorKind::Config, "restoring needs `keep`").into());
        };
        let claim = directory.claim_restore(&key)?;
        let Some(stored) = directory.load(&key).await? else {
            return Err(Error::new(ErrorKind::SessionLost, "no session is kept under this key").into());
        };
        self.belongs(&stored.saved)?;
        if let (Some(limit), Some(saved_at)) = (capabilities.restore_within, stored.saved_at)
            && self.clock.now().saturating_since(saved_at) > limit
        {
            return Err(Error::new(ErrorKind::RestoreTimeout, "").into());
        }
        let asynchronous = capabilities.can(Capability::Async);
        let intent = Intent::Resume(stored.saved.clone());
        self.run(intent, Origination::Restore { asynchronous }, Some(claim), Some(stored)).await
    }

    /// Does the chat that is kept under the key still exist? Opens no chat, changes nothing that the other side sees.
    ///
    /// # Errors
    /// `Unsupported`, `Config` without [`keep`](Self::keep); what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn verify(&self) -> Result<bool> {
        self.require(&self.transport.capabilities(), Capability::Verify)?;
        let Some((directory, key)) = &self.keep else {
            return Err(Error::new(ErrorKind::Config, "verifying needs `keep`"));
        };
        match directory.load(key).await? {
            Some(stored) => {
                self.belongs(&stored.saved)?;
                self.transport.verify(&stored.saved).await
            }
            None => Ok(false),
        }
    }

    fn require(&self, capabilities: &Capabilities, capability: Capability) -> Result<()> {
        if capabilities.can(capability) {
            Ok(())
        } else {
            Err(Error::unsupported(capability, self.transport.id()))
        }
    }

    fn belongs(&self, saved: &SavedSession) -> Result<()> {
        if saved.transport == self.transport.id().as_str() {
            Ok(())
        } else {
            Err(Error::invalid_input(format!("these session data are of transport {:?}", saved.transport)))
        }
    }

    async fn run(
        self,
        intent: Intent,
        origination: Origination,
        claim: Option<Claim>,
        stored: Option<StoredSession>,
    ) -> Result<ChatSession, ConnectError> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(Error::new(ErrorKind::Config, "a session needs a tokio runtime").into());
        };
        let capabilities = self.transport.capabilities();
        let seed = self.settings.seed.unwrap_or_else(|| fastrand::u64(..));
        let policy = OutboxPolicy {
            capacity: self.settings.outbox_capacity,
            ttl: self.settings.outbox_ttl,
            idempotent: capabilities.can(Capability::IdempotentSend),
            settle_within: capabilities.settle_within,
            durable: claim.is_some(),
            ..OutboxPolicy::default()
        };
        let (filters, sends, info) = stored.map_or_else(Default::default, |stored| {
            let StoredSession { filters, outbox, info, .. } = stored;
            (filters, outbox, info)
        });
        let compiled = filters.iter().map(|pattern| Filter::new(pattern)).collect::<Result<Vec<_>>>()?;
        let mut transcript = self.transcript;
        transcript.set_filters(compiled);
        let state = State::new(Beginning {
            transport: self.transport.id(),
            capabilities,
            settings: self.settings,
            clock: Arc::clone(&self.clock),
            origination,
            intent,
            outbox: Outbox::new(policy, seed),
            transcript,
            filters,
            info,
            sends,
            seed,
        });
        let shared = Shared::new(state, self.transport, self.clock, claim);
        let session = ChatSession::new(Arc::clone(&shared));
        let (opened, outcome) = oneshot::channel();
        shared.change(|state, _| state.open(Instant::now(), opened));
        // The task ends with the session: it stops once the last handle is gone or the chat is over.
        runtime.spawn(driver::run(Arc::clone(&shared)));
        match outcome.await {
            Ok(Ok(())) => {
                shared.activate();
                Ok(session)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::new(ErrorKind::Internal, "the session's task stopped").into()),
        }
    }
}

/// Checks user data against what the vendor takes.
pub(super) fn check_user_data(data: &UserData, capabilities: &Capabilities) -> Result<()> {
    if let Some(key) = data.0.keys().find(|key| !capabilities.user_data_keys.accepts(key)) {
        return Err(Error::invalid_input(format!("the key {key:?} of the user data is not accepted")));
    }
    if let Some(limit) = capabilities.user_data_max_bytes {
        let size: usize = data.0.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size as u64 > u64::from(limit) {
            return Err(Error::too_large("user data", size as u64, limit.into(), "bytes"));
        }
    }
    Ok(())
}
