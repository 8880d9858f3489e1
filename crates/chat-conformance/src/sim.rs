//! Owns the simulated contact centre as the centre of a harness: alone ([`SimHarness`]), or behind a vendor's front, where a
//! harness of that vendor hands out the [`Console`] as its [`ContactCentre`] and brings a network of its own.

use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{AttachmentStatus, Error, ErrorKind, MessageId, Result, SavedSession};
use chat_sim::{
    Centre, CommandKind, Console, ContactConsole, Fault, FaultError, FaultErrorKind, FaultRule, Point,
    Profile, When,
};

use crate::harness::{
    Action, Actor, Clock, ContactCentre, Disturbance, Failure, Harness, Network, NetworkKind, Request,
    StoredItem, Truth,
};

/// After how long the simulated connections find that they are half open, in milliseconds.
const DEAD_AFTER: u64 = 20_000;

/// The simulated centre, reached directly, in virtual time.
#[derive(Debug)]
pub struct SimHarness {
    centre: Centre,
    console: Console,
    network: chat_sim::Network,
}

impl SimHarness {
    /// A centre of this kind.
    pub fn new(profile: Profile) -> Self {
        let centre = Centre::builder().profile(profile).build();
        let console = centre.console();
        let network = console.network();
        Self { centre, console, network }
    }
}

#[async_trait]
impl Harness for SimHarness {
    fn transport(&self) -> Arc<dyn chat_core::Transport> {
        Arc::new(self.centre.transport())
    }

    fn centre(&self) -> &dyn ContactCentre {
        &self.console
    }

    fn network(&self) -> &dyn Network {
        &self.network
    }

    fn clock(&self) -> Clock {
        Clock::Virtual
    }

    fn network_kind(&self) -> NetworkKind {
        NetworkKind::None
    }

    async fn credentials(&self, chat: usize) -> Result<SavedSession> {
        Ok(contact(&self.console, chat)?.credentials())
    }
}

fn contact(console: &Console, chat: usize) -> Result<ContactConsole> {
    console
        .contacts()
        .into_iter()
        .nth(chat)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "the centre has no such chat"))
}

#[async_trait]
impl ContactCentre for Console {
    async fn chats(&self) -> usize {
        Self::truth(self).contacts
    }

    async fn truth(&self, chat: usize) -> Truth {
        contact(self, chat).map_or_else(|_| Truth::default(), |contact| told(&contact.truth()))
    }

    async fn connections(&self) -> usize {
        Self::truth(self).connections
    }

    async fn act(&self, chat: usize, actor: &Actor, action: Action) -> Result<Option<MessageId>> {
        let contact = contact(self, chat)?.acting_as(actor.role.clone(), Arc::clone(&actor.name));
        let item = match action {
            Action::Join => contact.join().map(|_| None)?,
            Action::Leave => Some(contact.leave()?),
            Action::Post(content) => Some(contact.post(content)?),
            Action::SendFile { name, content_type, bytes } => {
                Some(contact.send_file(name, content_type, bytes)?)
            }
            Action::Type(on) => none(contact.types(on))?,
            Action::Read(id) => none(contact.reads(&id))?,
            Action::Got(id) => none(contact.gets(&id))?,
            Action::BeginStream(piece) => Some(contact.begin_stream(piece)?),
            Action::StreamPiece(id, piece) => none(contact.stream_piece(&id, piece))?,
            Action::FinishStream(id, whole) => none(contact.finish_stream(&id, whole))?,
            Action::Edit(id, text) => none(contact.edit(&id, text))?,
            Action::Transfer(to) => contact.transfer(to).map(|_| None)?,
            Action::Rename(name) => contact.rename(name).map(|_| None)?,
            Action::Scanned { approved } => {
                let status = if approved { AttachmentStatus::Approved } else { AttachmentStatus::Rejected };
                for (id, _) in
                    contact.truth().files.iter().filter(|(_, of)| *of == AttachmentStatus::InProgress)
                {
                    contact.set_file_status(id, status)?;
                }
                None
            }
            Action::End => none(contact.end())?,
            Action::UnknownEvent(event) => none(contact.unknown_event(event.kind, event.body))?,
            Action::Queue(position) => none(contact.queue(position))?,
            Action::DeepHeartbeat(good) => {
                let failed = || Error::new(ErrorKind::Timeout, "the deep heartbeat");
                none(contact.deep_heartbeat(if good { Ok(()) } else { Err(failed()) }))?
            }
            Action::HintGap => none(contact.hint_gap())?,
            Action::RevokeTokens => {
                self.revoke_tokens();
                None
            }
            Action::RotateToken => contact.rotate_token().map(|_| None)?,
            Action::Prune(keep) => {
                contact.prune(keep);
                None
            }
        };
        Ok(item)
    }

    async fn changed(&self) {
        // The first look sees the present, the second a change.
        let first = std::sync::atomic::AtomicBool::new(true);
        self.wait_for(|_| !first.swap(false, std::sync::atomic::Ordering::Relaxed)).await;
    }
}

fn none(done: Result<()>) -> Result<Option<MessageId>> {
    done.map(|()| None)
}

fn told(truth: &chat_sim::Truth) -> Truth {
    let stored = |item: &chat_sim::ItemTruth| {
        let mut stored = StoredItem::new(item.id.clone(), item.from.clone(), item.own, item.content.clone());
        stored.token.clone_from(&item.token);
        stored
    };
    Truth {
        items: truth.items.iter().map(stored).collect(),
        ended: truth.ended.clone(),
        present: truth.present.clone(),
        connections: truth.connections,
        connects: truth.connects,
        receipts: truth.receipts.clone(),
        typing: truth.typing.clone(),
        notices: truth.notices.clone(),
        events: truth.events.clone(),
        user_data: truth.user_data.clone(),
        submits: truth.submitted(CommandKind::Any),
        polls_at_once: truth.polls_in_flight_max,
    }
}

impl Network for chat_sim::Network {
    fn disturb(&self, what: Disturbance) {
        let once = |request: Request, fault: Fault, times: u32| {
            FaultRule::new(Point::Submit(kind(request)), fault).when(When::First(times))
        };
        match what {
            Disturbance::Cut => self.cut(),
            Disturbance::Break => self.drop_connections(),
            Disturbance::HalfOpen => self.half_open(std::time::Duration::from_millis(DEAD_AFTER)),
            Disturbance::Delay(by) => self.delay(by),
            Disturbance::Duplicate(times) => self.duplicate(times),
            Disturbance::Reorder(window) => self.reorder(window),
            Disturbance::Lose(count) => self.drop_events(count),
            Disturbance::StoreThenCut(request) => self.store_then_cut(kind(request)),
            Disturbance::LateAnswer(request, by) => {
                let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                self.add(once(request, Fault::LateAnswer(millis), 1));
            }
            Disturbance::Fail(request, times, failure) => {
                self.add(once(request, Fault::Error(error(failure)), times));
            }
            Disturbance::FailStored(request, failure) => {
                self.add(once(request, Fault::StoreThenError(error(failure)), 1));
            }
            Disturbance::RefuseConnects(times, failure) => {
                self.refuse_connects(times, error(failure));
                // Where nothing connects them, each poll is an attempt of its own.
                self.add(once(Request::Poll, Fault::Error(error(failure)), times));
            }
            Disturbance::LoseStartAnswer => {
                self.add(FaultRule::new(Point::Connect, Fault::StoreThenCut).when(When::First(1)));
            }
            Disturbance::Expire(lifetime) => self.limit_life(lifetime),
        }
    }

    fn heal(&self) {
        Self::heal(self);
    }
}

const fn kind(request: Request) -> CommandKind {
    match request {
        Request::Text => CommandKind::Text,
        Request::File => CommandKind::File,
        Request::History => CommandKind::History,
        Request::Receipt => CommandKind::Receipt,
        Request::Leave => CommandKind::Leave,
        Request::Poll => CommandKind::Poll,
    }
}

fn error(failure: Failure) -> FaultError {
    FaultError::new(match failure {
        Failure::RateLimited(after) => return FaultError::rate_limited(after),
        Failure::Server => FaultErrorKind::Server,
        Failure::Refused => FaultErrorKind::Refused,
        Failure::Unauthorized => FaultErrorKind::Unauthorized,
        Failure::AccessDenied => FaultErrorKind::AccessDenied,
        Failure::SessionLost => FaultErrorKind::SessionLost,
        Failure::Network => FaultErrorKind::Network,
        Failure::Timeout => FaultErrorKind::Timeout,
    })
}
