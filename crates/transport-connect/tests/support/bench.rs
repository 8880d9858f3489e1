//! Owns the bench of the conformance suite: the client, before the front, over the simulated centre; in memory or over sockets.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chat_conformance::{
    Action, Actor, Clock, ContactCentre, Disturbance, Failure, Harness, Network, NetworkKind, Request, Truth,
};
use chat_core::{
    Capability, Error, ErrorKind, MessageId, Result, SavedSession, Timestamp, Transport, VirtualClock,
    WallClock,
};
use chat_net::{
    Net, NetConfig,
    memory::{Direction, MemoryNetwork},
};
use chat_sim::{Centre, Console, Profile};
use serde_json::json;
use tokio::sync::watch;
use transport_connect::{
    ConnectBuilder, ConnectTransport, StartChat,
    client::TRANSPORT_ID,
    front::{AnswerFault, ConnectFront, FrontConfig, FrontFaults, Instead, Operation},
};

/// Where the front is, in memory.
const AUTHORITY: &str = "127.0.0.1:8971";

/// Client, front and centre.
#[derive(Debug)]
pub(crate) struct Bench {
    service: Service,
    between: Between,
    base: String,
}

/// The centre behind the front. What clients do is counted at the front: behind it there is one connection to each chat.
#[derive(Debug)]
struct Service {
    console: Console,
    front: Arc<ConnectFront>,
}

/// What lies between clients and front.
#[derive(Debug)]
struct Between {
    front: Arc<ConnectFront>,
    way: Way,
    /// One disturbance at a time reads and writes the front's faults.
    ordering: Mutex<()>,
}

#[derive(Debug)]
enum Way {
    Memory(MemoryNetwork),
    Sockets(watch::Sender<Gate>),
}

/// Lets connections through. A new value closes those of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

impl Bench {
    /// Everything in memory, for paused time.
    pub(crate) fn in_memory() -> Self {
        let network = MemoryNetwork::new();
        let base = format!("http://{AUTHORITY}");
        let service = Service::open(&base, Duration::from_secs(10));
        let front = Arc::clone(&service.front);
        let mut listener = network.listen(AUTHORITY);
        tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                tokio::spawn(front.serve_connection(stream));
            }
        });
        Self::over(service, Way::Memory(network), base)
    }

    /// Over sockets of this machine.
    pub(crate) async fn over_sockets() -> Self {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = tokio::net::TcpListener::bind(here).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = Service::open(&base, Duration::from_secs(5));
        let front = Arc::clone(&service.front);
        let gate = watch::Sender::new(Gate::Open);
        let gates = gate.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut gates = gates.clone();
                if *gates.borrow_and_update() == Gate::Shut {
                    continue;
                }
                let served = front.serve_connection(stream);
                tokio::spawn(async move {
                    tokio::select! {
                        () = served => {}
                        _ = gates.changed() => {}
                    }
                });
            }
        });
        Self::over(service, Way::Sockets(gate), base)
    }

    fn over(service: Service, way: Way, base: String) -> Self {
        let between = Between { front: Arc::clone(&service.front), way, ordering: Mutex::default() };
        Self { service, between, base }
    }

    pub(crate) fn front(&self) -> &Arc<ConnectFront> {
        &self.service.front
    }

    pub(crate) fn console(&self) -> &Console {
        &self.service.console
    }

    /// A client, to be changed before it is built.
    pub(crate) fn builder(&self) -> ConnectBuilder {
        let start = StartChat::new(format!("{}/startChatContact", self.base));
        let builder = ConnectTransport::builder().endpoint(&self.base).start_chat(start);
        match &self.between.way {
            Way::Memory(network) => {
                builder.net(Net::in_memory(network, &NetConfig::default()).expect("the defaults are good"))
            }
            // Nobody waits for real minutes.
            Way::Sockets(_) => {
                let mut timings = transport_connect::Timings::default();
                timings.heartbeat = Duration::from_secs(1);
                timings.call = Duration::from_secs(2);
                builder.timings(timings)
            }
        }
    }

    pub(crate) fn client(&self) -> ConnectTransport {
        self.builder().build().expect("the configuration is good")
    }
}

impl Service {
    /// After a customer's end the flow goes on for `lingers`.
    fn open(base: &str, lingers: Duration) -> Self {
        let start = Timestamp::from_millis(1_777_885_200_000).expect("a date in 2026");
        let clock = VirtualClock::starting_at(start);
        let mut profile = Profile::push().with(Capability::Lingering).with(Capability::FileScans);
        profile.leave_deadline = lingers;
        let centre =
            Centre::builder().profile(profile).clock(Arc::clone(&clock) as Arc<dyn WallClock>).build();
        let mut config = FrontConfig::new(base);
        config.clock = clock;
        // The client is heard every ten seconds; who is not heard for longer is gone.
        config.socket_idle = Duration::from_secs(25);
        let front = ConnectFront::new(Arc::new(centre.transport()), config);
        Self { console: centre.console(), front }
    }

    fn contact_id(&self, chat: usize) -> Option<Arc<str>> {
        self.console.contacts().get(chat).map(chat_sim::ContactConsole::id)
    }
}

#[async_trait]
impl ContactCentre for Service {
    async fn chats(&self) -> usize {
        ContactCentre::chats(&self.console).await
    }

    async fn truth(&self, chat: usize) -> Truth {
        let mut truth = ContactCentre::truth(&self.console, chat).await;
        let id = self.contact_id(chat).unwrap_or_default();
        (truth.connections, truth.connects) = self.front.sockets_of(&id);
        truth.submits = self.front.requests();
        truth
    }

    async fn connections(&self) -> usize {
        self.front.open_sockets()
    }

    async fn act(&self, chat: usize, actor: &Actor, action: Action) -> Result<Option<MessageId>> {
        // A deep heartbeat is a question of the client's; its answer is the gateway's.
        if let Action::DeepHeartbeat(good) = action {
            if !good {
                let mut faults = self.front.faults();
                faults.fail_pings += 1;
                self.front.set_faults(faults);
            }
            return Ok(None);
        }
        if let Action::Prune(keep) = action {
            self.front.keep_newest(&self.contact_id(chat).unwrap_or_default(), keep);
        }
        // What is no item is a frame of the gateway; the centre's own would come as an item.
        if let Action::UnknownEvent(event) = action {
            self.front.send_frame(&event.body);
            return Ok(None);
        }
        ContactCentre::act(&self.console, chat, actor, action).await
    }

    async fn changed(&self) {
        // Of connections the centre knows nothing.
        let often = Duration::from_millis(20);
        let _ = tokio::time::timeout(often, ContactCentre::changed(&self.console)).await;
    }
}

impl Between {
    fn order(&self, change: impl FnOnce(&mut FrontFaults)) {
        let _one_at_a_time = self.ordering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut faults = self.front.faults();
        change(&mut faults);
        self.front.set_faults(faults);
    }

    fn instead(&self, operation: Operation, instead: Instead, times: u32) {
        self.order(|faults| faults.answers.push(AnswerFault::new(operation, instead, times)));
    }
}

const fn operation(request: Request) -> Operation {
    match request {
        Request::File => Operation::CompleteAttachmentUpload,
        Request::History => Operation::GetTranscript,
        Request::Receipt => Operation::SendEvent,
        Request::Leave => Operation::DisconnectParticipant,
        _ => Operation::SendMessage,
    }
}

const fn instead(failure: Failure) -> Instead {
    match failure {
        Failure::RateLimited(Some(after)) => Instead::RetryAfter(after.as_secs()),
        Failure::RateLimited(None) => Instead::Error(429),
        Failure::Server => Instead::Error(500),
        Failure::Refused => Instead::Error(400),
        Failure::Unauthorized | Failure::AccessDenied | Failure::SessionLost => Instead::Error(403),
        Failure::Network => Instead::Cut,
        _ => Instead::Hang,
    }
}

impl Network for Between {
    fn disturb(&self, what: Disturbance) {
        match (&self.way, what) {
            (Way::Memory(network), Disturbance::Cut) => network.cut(),
            (Way::Memory(network), Disturbance::Break) => network.reset(),
            (Way::Memory(network), Disturbance::HalfOpen) => {
                network.swallow(Direction::ToServer);
                network.swallow(Direction::ToClient);
            }
            (Way::Memory(network), Disturbance::Delay(by)) => network.delay(by),
            (Way::Sockets(gate), Disturbance::Cut) => {
                gate.send_replace(Gate::Shut);
                self.front.cut_sockets();
            }
            (Way::Sockets(gate), Disturbance::Break) => {
                gate.send_replace(Gate::Open);
                self.front.cut_sockets();
            }
            (_, Disturbance::Duplicate(_)) => self.order(|faults| faults.duplicate_items = u32::MAX),
            (_, Disturbance::Reorder(_)) => self.order(|faults| faults.reorder_items = u32::MAX),
            (_, Disturbance::Lose(count)) => self.order(|faults| faults.drop_items = count),
            (_, Disturbance::Expire(life)) => self.order(|faults| faults.connection_life = Some(life)),
            (_, Disturbance::StoreThenCut(request)) => {
                self.instead(operation(request), Instead::LoseEverything, 1);
            }
            (_, Disturbance::LateAnswer(request, by)) => {
                self.instead(operation(request), Instead::Delay(by), 1);
            }
            (_, Disturbance::Fail(request, times, failure)) => {
                self.instead(operation(request), instead(failure), times);
            }
            (_, Disturbance::FailStored(request, failure)) => {
                let after = match failure {
                    Failure::Timeout => Instead::HangAfterwards,
                    _ => Instead::LoseAnswer,
                };
                self.instead(operation(request), after, 1);
            }
            (_, Disturbance::RefuseConnects(times, failure)) => {
                self.instead(Operation::CreateParticipantConnection, instead(failure), times);
            }
            (_, Disturbance::LoseStartAnswer) => {
                self.instead(Operation::StartChatProxy, Instead::LoseAnswer, 1);
            }
            (_, other) => unreachable!("{other:?} is not for this network"),
        }
    }

    fn heal(&self) {
        match &self.way {
            Way::Memory(network) => network.heal(),
            Way::Sockets(gate) => {
                gate.send_if_modified(|gate| std::mem::replace(gate, Gate::Open) == Gate::Shut);
            }
        }
        self.order(|faults| *faults = FrontFaults::default());
    }
}

#[async_trait]
impl Harness for Bench {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.client())
    }

    fn centre(&self) -> &dyn ContactCentre {
        &self.service
    }

    fn network(&self) -> &dyn Network {
        &self.between
    }

    fn clock(&self) -> Clock {
        match &self.between.way {
            Way::Memory(_) => Clock::Virtual,
            Way::Sockets(_) => Clock::Real,
        }
    }

    fn network_kind(&self) -> NetworkKind {
        match &self.between.way {
            Way::Memory(_) => NetworkKind::InMemory,
            Way::Sockets(_) => NetworkKind::Sockets,
        }
    }

    fn background_tasks(&self) -> usize {
        // Each contact's connection to the centre is a task of its own.
        self.service.front.running_tasks() + self.service.console.truth().connections
    }

    async fn credentials(&self, chat: usize) -> Result<SavedSession> {
        let contact = self.service.contact_id(chat);
        let answer = contact.and_then(|id| self.service.front.admit(&id));
        let answer = answer.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such chat is open"))?;
        let data = json!({
            "contactId": answer.contact_id,
            "participantId": answer.participant_id,
            "participantToken": answer.participant_token.expose(),
        });
        let data = data.as_object().cloned().unwrap_or_default();
        Ok(SavedSession::new(TRANSPORT_ID, data))
    }

    /// Not only what a session saves: whatever the service handed out.
    fn secrets(&self, saved: &SavedSession) -> Vec<String> {
        let own = saved.text("participantToken").map(str::to_owned);
        let handed_out = self.service.front.secrets();
        own.into_iter().chain(handed_out.iter().map(|secret| secret.expose().to_owned())).collect()
    }
}
