//! Owns the customers' way in: start, join, resume and verify, each one attempt.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chat_core::{
    Capabilities, Capability, ConnectError, ConnectRequest, Connection, Delivery, EndReason, Error,
    ErrorKind, Intent, Result, SavedSession, SessionInfo, StartRequest, Terminal, Transport, TransportId,
    event_channel,
};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use crate::{
    centre::{Centre, Inner, State},
    connection::{Handle, Shared, Wire, check_text, check_user_data},
    contact::Contact,
    driver::Driver,
    faults::{Fault, Point},
    item::WireId,
    network::lost,
};

/// The name of the simulated transport.
pub(crate) const SIM: TransportId = TransportId::new("sim");

/// Reaches a [`Centre`]. Cheap to clone.
#[derive(Clone)]
pub struct SimTransport {
    centre: Centre,
}

impl SimTransport {
    pub(crate) const fn new(centre: Centre) -> Self {
        Self { centre }
    }
}

impl fmt::Debug for SimTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTransport").finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for SimTransport {
    fn id(&self) -> TransportId {
        SIM
    }

    fn capabilities(&self) -> Capabilities {
        self.centre.inner.profile.capabilities
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let centre = &self.centre.inner;
        centre.change(|state| state.attempts += 1);
        self.check(&request)?;
        let faults = self.pass(Point::Connect).await?;
        let tap = request.tap;
        let attempt = match request.intent {
            Intent::Start(start) => self.start(*start)?,
            Intent::Join(saved) | Intent::Resume(saved) => Attempt::resume(centre, &saved)?,
            _ => return Err(Error::new(ErrorKind::InvalidInput, "this way to connect").into()),
        };
        for fault in faults {
            match fault {
                Fault::StoreThenCut => {
                    let error = Error::new(ErrorKind::Network, "the connection was lost before the answer");
                    return Err(error.with_delivery(Delivery::Unknown).into());
                }
                Fault::StartedNotConnected => {
                    let saved = centre.quietly(|state| saved_session(&state.contacts[attempt.contact]));
                    let error = Error::new(ErrorKind::Network, "the chat is started but not connected");
                    return Err(ConnectError { error, saved: Some(Box::new(saved)) });
                }
                Fault::LateAnswer(millis) => sleep(Duration::from_millis(millis)).await,
                _ => {}
            }
        }
        if !centre.profile.answer_latency.is_zero() {
            sleep(centre.profile.answer_latency).await;
        }
        if centre.quietly(|state| state.network.down) {
            let error = Error::new(ErrorKind::Network, "the network was cut before the answer");
            return Err(error.with_delivery(Delivery::Unknown).into());
        }
        Ok(attempt.establish(tap))
    }

    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        if !self.capabilities().can(Capability::Verify) {
            return Err(Error::unsupported(Capability::Verify, SIM));
        }
        self.centre.inner.change(|state| state.verifies += 1);
        self.pass(Point::Verify).await?;
        self.centre.inner.quietly(|state| match find(state, saved) {
            Ok(at) => Ok(state.contacts[at].ended.is_none()),
            Err(error) if *error.kind() == ErrorKind::SessionLost => Ok(false),
            Err(error) => Err(error),
        })
    }
}

impl SimTransport {
    /// What is asked for must be possible in this kind of centre.
    fn check(&self, request: &ConnectRequest) -> Result<()> {
        let needs = match &request.intent {
            Intent::Start(start) => vec![
                Some(Capability::Start),
                start.continues.as_ref().map(|_| Capability::Persistent),
                start.asynchronous.then_some(Capability::Async),
                (!start.user_data.0.is_empty()).then_some(Capability::UserDataBeforeStart),
            ],
            Intent::Join(_) => vec![Some(Capability::Join)],
            _ => vec![Some(Capability::Restore)],
        };
        let tap = request.tap.then_some(Capability::RawTap);
        match needs.into_iter().flatten().chain(tap).find(|need| !self.capabilities().can(*need)) {
            Some(missing) => Err(Error::unsupported(missing, SIM)),
            None => Ok(()),
        }
    }

    /// The way to the centre, with what goes wrong on it. Gives back the faults of the way back.
    async fn pass(&self, point: Point) -> Result<Vec<Fault>> {
        let centre = &self.centre.inner;
        let (down, faults) = centre.change(|state| {
            let State { network, mint, .. } = state;
            (network.down, network.fire(point, mint.stored))
        });
        let unreachable = || Error::new(ErrorKind::Network, "no way to the centre");
        if down {
            return Err(unreachable());
        }
        let mut way = centre.profile.request_latency;
        for fault in &faults {
            if let Fault::Delay(millis) = fault {
                way += Duration::from_millis(*millis);
            }
        }
        if !way.is_zero() {
            sleep(way).await;
        }
        for fault in &faults {
            match fault {
                Fault::Error(error) => return Err(error.to_error("connecting")),
                Fault::Cut => return Err(unreachable()),
                Fault::HalfOpen(millis) => {
                    sleep(Duration::from_millis(*millis)).await;
                    return Err(Error::new(ErrorKind::Timeout, "connecting"));
                }
                Fault::Hang => std::future::pending::<()>().await,
                Fault::StoreThenError(error) if point == Point::Verify => {
                    return Err(error.to_unknown("verifying"));
                }
                _ => {}
            }
        }
        if centre.quietly(|state| state.network.down) {
            return Err(unreachable());
        }
        Ok(faults)
    }

    fn start(&self, request: StartRequest) -> Result<Attempt> {
        let centre = &self.centre.inner;
        let profile = &centre.profile;
        let known = request.key.as_ref().filter(|_| profile.capabilities.can(Capability::IdempotentStart));
        if let Some(known) = known.and_then(|key| centre.quietly(|state| state.starts.get(key).copied())) {
            let saved = centre.quietly(|state| saved_session(&state.contacts[known]));
            return Attempt::resume(centre, &saved);
        }
        check_user_data(&request.user_data, profile.capabilities)?;
        if let Some(text) = &request.initial_message {
            check_text(text, profile.capabilities)?;
        }
        let shared = Shared::new();
        let id = centre.change(State::next_wire);
        let mut wire = wire(id, &shared, 0, centre);
        // A chat that begins has nothing but what the log holds, and the past that it continues.
        wire.replay &= request.continues.is_some();
        let contact = centre.start(request, wire)?;
        centre.quietly(|state| {
            let contact = &mut state.contacts[contact];
            let token = Arc::clone(&contact.token);
            contact.wires.iter_mut().for_each(|wire| wire.token = Arc::clone(&token));
        });
        Ok(Attempt { driver: Driver::new(Arc::clone(centre), contact, id, shared), contact })
    }
}

fn wire(id: WireId, shared: &Arc<Shared>, next: u64, centre: &Inner) -> Wire {
    Wire {
        id,
        next,
        limit: centre.profile.polled().then_some(next),
        asked: centre.profile.polled(),
        polled: false,
        replay: centre.profile.replay_on_connect,
        declare: true,
        renew_before: None,
        fate: None,
        deadline: None,
        half_open: false,
        dark_until: None,
        end_after_replay: false,
        token: Arc::from(""),
        shared: Arc::clone(shared),
    }
}

/// An attempt to connect that has reached the contact. Dropped, it leaves nothing: the driver takes its connection along.
struct Attempt {
    driver: Driver,
    contact: usize,
}

impl Attempt {
    fn resume(centre: &Arc<Inner>, saved: &SavedSession) -> Result<Self> {
        let shared = Shared::new();
        let (contact, id) = centre.change(|state| {
            let at = find(state, saved)?;
            let id = state.next_wire();
            let profile = &centre.profile;
            let contact = &mut state.contacts[at];
            let ended = contact.ended.is_some();
            if ended && !profile.capabilities.can(Capability::FinalTranscript) {
                return Err(Error::new(ErrorKind::SessionEnded, "").with_delivery(Delivery::Refused));
            }
            contact.records.connects += 1;
            let mut wire = wire(id, &shared, contact.log_end(), centre);
            wire.token = Arc::clone(&contact.token);
            if ended {
                wire.replay = true;
                wire.limit = None;
                wire.end_after_replay = true;
            }
            let open = contact.wires.iter().filter(|wire| wire.fate.is_none()).count();
            if profile.max_connections.is_some_and(|max| open >= max)
                && let Some(oldest) = contact.wires.iter_mut().find(|wire| wire.fate.is_none())
            {
                oldest.lose(Error::new(ErrorKind::Displaced, "a newer connection took over"));
            }
            contact.wires.push(wire);
            contact.last_request = Instant::now();
            if !profile.polled()
                && let Some(watch) = contact.watch.take()
            {
                watch.abort();
            }
            Ok((at, id))
        })?;
        Ok(Self { driver: Driver::new(Arc::clone(centre), contact, id, shared), contact })
    }

    /// Makes the connection. Nothing waits from here on.
    fn establish(self, tap: bool) -> Connection {
        let Self { mut driver, contact } = self;
        driver.tap = tap;
        let centre = Arc::clone(&driver.centre);
        let profile = &centre.profile;
        let (session, saved, capabilities) = centre.change(|state| {
            let lifetime = state.network.lifetime.or(profile.connection_lifetime);
            let contact = &mut state.contacts[contact];
            if let Some(lifetime) = lifetime
                && let Some(wire) = contact.wires.iter_mut().find(|wire| wire.id == driver.id)
            {
                let now = Instant::now();
                wire.renew_before = Some(now + lifetime.mul_f32(0.9));
                wire.doom(now + lifetime, lost(Error::new(ErrorKind::Network, "closed by the server")));
            }
            let segment = contact.segment();
            let mut session = SessionInfo::new(contact.scope.clone(), segment.id.clone());
            session.started_at = Some(segment.started_at);
            session.participant.clone_from(&contact.customer.id);
            session.display_name.clone_from(&contact.customer.name);
            (session, saved_session(contact), contact.capabilities)
        });
        let handle = Handle {
            centre: Arc::clone(&centre),
            contact,
            id: driver.id,
            shared: Arc::clone(&driver.shared),
        };
        let (sender, events) = event_channel(profile.channel_capacity);
        tokio::spawn(driver.run(sender));
        Connection { session, capabilities, saved, handle: Arc::new(handle), events }
    }
}

/// What the customer of `contact` saves.
pub(crate) fn saved_session(contact: &Contact) -> SavedSession {
    let participant = contact.customer.id.as_ref().map_or("", |id| id.as_str());
    let fields = [("contact", &*contact.id), ("participant", participant), ("token", &*contact.token)];
    let data: Map<String, Value> =
        fields.into_iter().map(|(key, text)| (key.into(), Value::from(text))).collect();
    SavedSession::new(SIM, data)
}

/// The contact that `saved` is about, if its token is good.
fn find(state: &State, saved: &SavedSession) -> Result<usize> {
    if saved.transport != SIM.as_str() {
        return Err(Error::invalid_input("the saved session of another transport"));
    }
    let unknown = || Error::new(ErrorKind::SessionLost, "the centre does not know the chat");
    let id =
        saved.text("contact").ok_or_else(|| Error::invalid_input("a saved session without a contact"))?;
    let known = |contact: &Contact| *contact.id == *id && !contact.forgotten;
    let at = state.contacts.iter().position(known).ok_or_else(unknown)?;
    if saved.text("token") != Some(&*state.contacts[at].token) {
        return Err(Error::new(ErrorKind::Unauthorized, "the participant's token"));
    }
    Ok(at)
}

/// The terminal of a connection to a chat that had ended before.
pub(crate) const fn ended_while_away() -> Terminal {
    Terminal::Ended(EndReason::EndedWhileAway)
}
