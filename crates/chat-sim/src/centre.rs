//! Owns the centre: its state under one lock, its builder, and who is told when something changes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use chat_core::{
    ClientToken, Content, Continues, EndReason, Error, ErrorKind, Extent, Participant, Result, Role,
    StartRequest, SystemEvent, Timestamp, VirtualClock, WallClock,
};
use tokio::{sync::watch, time::Instant};

use crate::{
    connection::Wire,
    console::Console,
    contact::Contact,
    faults::FaultPlan,
    item::{Draft, WireId},
    mint::Mint,
    network::NetworkState,
    profile::Profile,
    script::Script,
    transport::SimTransport,
};

/// A contact centre in memory. Cheap to clone; all clones are the same centre.
#[derive(Clone)]
pub struct Centre {
    pub(crate) inner: Arc<Inner>,
}

impl Centre {
    /// A centre that can do everything a push vendor can, in which nothing happens by itself.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A centre of another kind, with a script or with faults.
    pub fn builder() -> CentreBuilder {
        CentreBuilder::default()
    }

    /// A way in for customers. All transports of a centre reach the same contacts.
    pub fn transport(&self) -> SimTransport {
        SimTransport::new(self.clone())
    }

    /// A way in for tests: act as the agent, read the truth, disturb the network.
    pub fn console(&self) -> Console {
        Console::new(self.clone())
    }

    /// The kind of centre.
    pub fn profile(&self) -> &Profile {
        &self.inner.profile
    }
}

impl Default for Centre {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Centre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Centre").finish_non_exhaustive()
    }
}

/// Builds a [`Centre`].
#[derive(Debug, Default)]
#[must_use]
pub struct CentreBuilder {
    profile: Profile,
    script: Script,
    faults: FaultPlan,
    seed: u64,
    clock: Option<Arc<dyn WallClock>>,
}

impl CentreBuilder {
    /// What kind of centre; [`Profile::push`] unless told.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// What happens in each chat; nothing unless told.
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// What goes wrong; nothing unless told.
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.faults = plan;
        self
    }

    /// The seed of all ids; 0 unless told. The fault plan has its own.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The server's clock. Unless told, one that starts at 2026-05-04T09:00:00Z and advances with tokio's, so that paused
    /// time moves both.
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the centre.
    pub fn build(self) -> Centre {
        let clock = self.clock.unwrap_or_else(|| {
            VirtualClock::starting_at(Timestamp::from_millis(1_777_885_200_000).expect("a date in 2026"))
        });
        let state = State {
            mint: Mint::new(clock, self.seed, self.profile.equal_instants),
            contacts: Vec::new(),
            starts: HashMap::new(),
            network: NetworkState::new(self.faults),
            attempts: 0,
            verifies: 0,
            next_wire: 0,
        };
        Centre {
            inner: Arc::new(Inner {
                profile: self.profile,
                script: Arc::new(self.script),
                state: Mutex::new(state),
                changed: watch::Sender::new(()),
            }),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) profile: Profile,
    pub(crate) script: Arc<Script>,
    state: Mutex<State>,
    /// Told after each change of the truth.
    pub(crate) changed: watch::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) mint: Mint,
    pub(crate) contacts: Vec<Contact>,
    /// Contacts by the key of their start.
    pub(crate) starts: HashMap<ClientToken, usize>,
    pub(crate) network: NetworkState,
    pub(crate) attempts: u64,
    pub(crate) verifies: u64,
    next_wire: WireId,
}

impl Inner {
    /// Reads or changes the state, and tells nobody.
    pub(crate) fn quietly<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        // A test that panics under the lock must not hide its message behind those of others.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, and tells those who wait for something.
    pub(crate) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let result = self.quietly(act);
        self.changed.send_replace(());
        result
    }

    /// Changes one contact.
    pub(crate) fn contact<R>(&self, contact: usize, act: impl FnOnce(&mut Contact, &mut Mint) -> R) -> R {
        self.change(|state| act(&mut state.contacts[contact], &mut state.mint))
    }

    /// Begins a chat, with its first connection in place, and its script.
    pub(crate) fn start(self: &Arc<Self>, request: StartRequest, wire: Wire) -> Result<usize> {
        let profile = &self.profile;
        let contact = self.change(|state| {
            let past = match &request.continues {
                None => None,
                Some(continues) => Some(state.chain(continues)?),
            };
            let key = request.key.clone();
            let first = request.initial_message.clone();
            let mint = &mut state.mint;
            let past = past.map(|(at, segment)| (&state.contacts[at], segment));
            let mut contact = Contact::start(mint, profile.capabilities, request, past);
            contact.records.connects += 1;
            contact.wires.push(wire);
            let customer = contact.customer.clone();
            if contact.segments.len() > 1 {
                let system = Participant::new(Role::System);
                contact.post(mint, profile, Draft::new(system, Content::Event(SystemEvent::Rehydrated)));
            }
            contact.post(mint, profile, Draft::new(customer.clone(), Content::Event(SystemEvent::Joined)));
            if let Some(text) = first {
                contact.post(mint, profile, Draft::new(customer, Content::Text(text)));
            }
            tracing::debug!(contact = %contact.id, "a chat begins");
            state.contacts.push(contact);
            let index = state.contacts.len() - 1;
            if let Some(key) = key {
                state.starts.insert(key, index);
            }
            Ok::<_, Error>(index)
        })?;
        if profile.polled() {
            self.watch(contact);
        }
        if !self.script.steps.is_empty() {
            let task = tokio::spawn(crate::script::run(Arc::downgrade(self), contact));
            self.quietly(|state| state.contacts[contact].script = Some(task.abort_handle()));
        }
        Ok(contact)
    }

    /// Takes a connection away. A chat that may not be without one is watched from here on.
    pub(crate) fn close(self: &Arc<Self>, contact: usize, wire: WireId) {
        let alone = self.change(|state| {
            let contact = &mut state.contacts[contact];
            contact.wires.retain(|other| other.id != wire);
            contact.trim();
            // From here on it is silent.
            let alone = contact.wires.is_empty() && contact.ended.is_none();
            if alone && !self.profile.polled() {
                contact.last_request = Instant::now();
            }
            alone
        });
        if alone && !self.profile.polled() {
            self.watch(contact);
        }
    }

    /// Ends the chat once its customer has been silent for too long: has asked nothing, where connections are polled; had no
    /// connection, where they are not.
    fn watch(self: &Arc<Self>, contact: usize) {
        let Some(patience) = self.profile.capabilities.detached_for else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let task = runtime.spawn(end_when_silent(Arc::downgrade(self), contact, patience));
        self.quietly(|state| {
            if let Some(earlier) = state.contacts[contact].watch.replace(task.abort_handle()) {
                earlier.abort();
            }
        });
    }
}

async fn end_when_silent(centre: Weak<Inner>, contact: usize, patience: Duration) {
    loop {
        let Some(last) =
            centre.upgrade().map(|centre| centre.quietly(|state| state.contacts[contact].last_request))
        else {
            return;
        };
        tokio::time::sleep_until(last + patience).await;
        let Some(centre) = centre.upgrade() else { return };
        let over = centre.contact(contact, |contact, mint| {
            let silent = contact.last_request + patience <= Instant::now();
            if silent && (centre.profile.polled() || contact.wires.is_empty()) {
                let system = Participant::new(Role::System);
                contact.end(mint, &centre.profile, system, EndReason::EndedByService);
            }
            silent
        });
        if over {
            return;
        }
    }
}

impl State {
    pub(crate) fn next_wire(&mut self) -> WireId {
        self.next_wire += 1;
        self.next_wire
    }

    /// The newest chat of the chain that `continues` names, and from which of its segments on.
    fn chain(&self, continues: &Continues) -> Result<(usize, usize)> {
        let unknown = || Error::new(ErrorKind::NotFound, "the chat to continue");
        let scope = self
            .contacts
            .iter()
            .find(|contact| *contact.id == *continues.source)
            .map(|contact| contact.scope.clone())
            .ok_or_else(unknown)?;
        let newest = self.contacts.iter().rposition(|contact| contact.scope == scope).ok_or_else(unknown)?;
        let past = &self.contacts[newest];
        if past.ended.is_none() {
            return Err(Error::new(ErrorKind::Conflict, "the chat to continue has not ended"));
        }
        let from = match continues.extent {
            Extent::FromSegment => {
                past.segments.iter().position(|segment| segment.id.as_str() == continues.source).unwrap_or(0)
            }
            _ => 0,
        };
        Ok((newest, from))
    }
}
