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
    Error, ErrorKind, MessageId, ReceiptKind, Result, SavedSession, Scope, Timestamp, Transport,
    VirtualClock, WallClock,
};
use chat_net::{
    Net, NetConfig,
    memory::{Direction, MemoryNetwork},
};
use chat_sim::{Centre, Console, Profile};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use transport_gms_v2::{
    CometdConfig, GmsBuilder, GmsTransport, Timings,
    client::TRANSPORT_ID,
    front::{AnswerFault, FrontConfig, FrontFaults, GmsFront, Instead, Operation},
};

/// Where the front is, in memory.
const AUTHORITY: &str = "127.0.0.1:8080";
const SERVICE: &str = "genesys/2/chat/customer-support";

/// How clients hear of the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They ask.
    Polling,
    /// CometD, over held requests.
    LongPolling,
    /// CometD, over a WebSocket.
    WebSocket,
}

/// Client, front and centre.
#[derive(Debug)]
pub(crate) struct Bench {
    mode: Mode,
    service: Service,
    between: Between,
    base: String,
}

/// The centre behind the front. What clients do is counted at the front: behind it there is one session to each chat.
#[derive(Debug)]
struct Service {
    console: Console,
    front: Arc<GmsFront>,
    /// Who was heard within this time is there.
    heard_within: Duration,
}

/// What lies between clients and front.
#[derive(Debug)]
struct Between {
    mode: Mode,
    front: Arc<GmsFront>,
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
    pub(crate) fn in_memory(mode: Mode) -> Self {
        let network = MemoryNetwork::new();
        let service = Service::open(FrontConfig::new(), Duration::from_secs(7));
        let front = Arc::clone(&service.front);
        let mut listener = network.listen(AUTHORITY);
        tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                tokio::spawn(front.serve_connection(stream));
            }
        });
        Self::over(mode, service, Way::Memory(network), format!("http://{AUTHORITY}"))
    }

    /// Over sockets of this machine.
    pub(crate) fn over_sockets(mode: Mode) -> Self {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let place = socket_at(here);
        let base = format!("http://{}", place.local_addr().unwrap());
        let mut config = FrontConfig::new();
        config.request_within = Duration::from_millis(800);
        if let Some(cometd) = &mut config.cometd {
            cometd.max_interval = Duration::from_millis(400);
        }
        let service = Service::open(config, Duration::from_millis(400));
        let gate = watch::Sender::new(Gate::Open);
        let listener = listening_at(&place);
        tokio::spawn(serve(Arc::clone(&service.front), place, listener, gate.subscribe()));
        Self::over(mode, service, Way::Sockets(gate), base)
    }

    fn over(mode: Mode, service: Service, way: Way, base: String) -> Self {
        let between = Between { mode, front: Arc::clone(&service.front), way, ordering: Mutex::default() };
        Self { mode, service, between, base }
    }

    pub(crate) fn front(&self) -> &Arc<GmsFront> {
        &self.service.front
    }

    pub(crate) fn console(&self) -> &Console {
        &self.service.console
    }

    /// A client, to be changed before it is built.
    pub(crate) fn builder(&self) -> GmsBuilder {
        let mut builder =
            GmsTransport::builder().data_url(format!("{}/{SERVICE}", self.base)).read_receipts(true);
        if self.mode != Mode::Polling {
            let mut cometd = CometdConfig::new(format!("{}/genesys/cometd", self.base));
            cometd.companion_url = Some(format!("{}/genesys/2/chat-ntf", self.base));
            cometd.websocket = self.mode == Mode::WebSocket;
            builder = builder.cometd(cometd);
        }
        match &self.between.way {
            Way::Memory(network) => {
                builder.net(Net::in_memory(network, &NetConfig::default()).expect("the defaults are good"))
            }
            // Nobody waits for real seconds.
            Way::Sockets(_) => {
                let mut timings = Timings::default();
                timings.poll_interval = Duration::from_millis(100);
                timings.ajax_timeout = Duration::from_secs(1);
                timings.settle_within = Duration::from_secs(2);
                builder.timings(timings)
            }
        }
    }

    pub(crate) fn client(&self) -> GmsTransport {
        self.builder().build().expect("the configuration is good")
    }
}

fn socket_at(here: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(here).unwrap();
    socket
}

fn listening_at(place: &TcpSocket) -> TcpListener {
    socket_at(place.local_addr().unwrap()).listen(1024).unwrap()
}

/// Serves while the gate is open. Nobody listens while it is shut; `place` keeps the port from others.
async fn serve(
    front: Arc<GmsFront>,
    place: TcpSocket,
    listener: TcpListener,
    mut gates: watch::Receiver<Gate>,
) {
    let mut listener = Some(listener);
    loop {
        if *gates.borrow_and_update() == Gate::Shut {
            listener = None;
            if gates.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = listener.take().unwrap_or_else(|| listening_at(&place));
        tokio::select! {
            accepted = open.accept() => {
                let (stream, _) = accepted.unwrap();
                let served = front.serve_connection(stream);
                let mut gates = gates.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = served => {}
                        _ = gates.changed() => {}
                    }
                });
            }
            changed = gates.changed() => if changed.is_err() { return },
        }
        listener = Some(open);
    }
}

impl Service {
    fn open(mut config: FrontConfig, heard_within: Duration) -> Self {
        let start = Timestamp::from_millis(1_777_885_200_000).expect("a date in 2026");
        let clock = VirtualClock::starting_at(start);
        let centre = Centre::builder()
            .profile(Profile::push())
            .clock(Arc::clone(&clock) as Arc<dyn WallClock>)
            .build();
        config.clock = clock;
        let front = GmsFront::new(Arc::new(centre.transport()), config);
        Self { console: centre.console(), front, heard_within }
    }

    /// The service's own id of a chat that it knows.
    fn chat_id(&self, chat: usize) -> Option<String> {
        let contact = Scope::new(self.console.contacts().get(chat)?.id());
        let is_of = |id: &String| {
            let info = self.front.session(id).and_then(|session| session.info());
            info.is_some_and(|info| info.scope == contact)
        };
        self.front.known_chats().into_iter().find(is_of)
    }

    fn is_heard(&self, chat_id: &str) -> bool {
        self.front.is_heard(chat_id, self.heard_within)
    }
}

#[async_trait]
impl ContactCentre for Service {
    async fn chats(&self) -> usize {
        ContactCentre::chats(&self.console).await
    }

    async fn truth(&self, chat: usize) -> Truth {
        let mut truth = ContactCentre::truth(&self.console, chat).await;
        let id = self.chat_id(chat).unwrap_or_default();
        truth.connections = self.is_heard(&id).into();
        // Polls follow each other, and nothing connects them: then there are none.
        truth.connects = self.front.listenings(&id);
        truth.polls_at_once = self.front.refreshes_at_once(&id);
        truth.submits = self.front.requests();
        // That a message was fetched, the front tells by itself.
        truth.receipts.retain(|receipt| receipt.kind == ReceiptKind::Read);
        truth
    }

    async fn connections(&self) -> usize {
        self.front.known_chats().iter().filter(|id| self.is_heard(id)).count()
    }

    async fn act(&self, chat: usize, actor: &Actor, action: Action) -> Result<Option<MessageId>> {
        match action {
            // The numbers of what follows say that something is missing.
            Action::HintGap => Ok(None),
            // Replies have another alias from the next one on.
            Action::RotateToken => {
                let mut faults = self.front.faults();
                faults.change_alias += 1;
                self.front.set_faults(faults);
                Ok(None)
            }
            action => ContactCentre::act(&self.console, chat, actor, action).await,
        }
    }

    async fn changed(&self) {
        // Of clients the centre knows nothing.
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

impl Mode {
    /// Where they ask, polls, pages of history and returns are all refreshes.
    const fn operation(self, request: Request) -> Operation {
        match request {
            Request::File => Operation::FileUpload,
            Request::Receipt => Operation::ReadReceipt,
            Request::Leave => Operation::Disconnect,
            Request::History | Request::Poll => Operation::Refresh,
            _ => Operation::Send,
        }
    }

    const fn returning(self) -> Operation {
        match self {
            Self::Polling => Operation::Refresh,
            Self::LongPolling | Self::WebSocket => Operation::RequestNotifications,
        }
    }
}

fn instead(operation: Operation, failure: Failure) -> Instead {
    match failure {
        Failure::RateLimited(Some(after)) => Instead::TooManyRequests(after.as_secs()),
        Failure::RateLimited(None) => Instead::Html(429),
        Failure::Server if operation == Operation::Refresh => Instead::Transient,
        Failure::Server => Instead::Html(502),
        Failure::Refused => Instead::Refused { status: 400, code: 249 },
        Failure::Unauthorized => Instead::Html(401),
        Failure::AccessDenied => Instead::Html(403),
        Failure::SessionLost => Instead::Failed { code: 404, ended: true },
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
                self.front.cut_connections();
            }
            (Way::Sockets(gate), Disturbance::Break) => {
                gate.send_replace(Gate::Open);
                self.front.cut_connections();
            }
            (_, Disturbance::Duplicate(_)) => self.order(|faults| faults.duplicate_events = u32::MAX),
            (_, Disturbance::Reorder(_)) => self.order(|faults| faults.reverse_events = u32::MAX),
            (_, Disturbance::Lose(events)) => self.order(|faults| faults.lose_pushes += events),
            (_, Disturbance::StoreThenCut(request)) => {
                self.instead(self.mode.operation(request), Instead::LoseEverything, 1);
            }
            (_, Disturbance::LateAnswer(request, by)) => {
                self.instead(self.mode.operation(request), Instead::Delay(by), 1);
            }
            (_, Disturbance::Fail(request, times, failure)) => {
                let operation = self.mode.operation(request);
                self.instead(operation, instead(operation, failure), times);
            }
            (_, Disturbance::FailStored(request, failure)) => {
                let after = match failure {
                    Failure::Timeout => Instead::HangAfterwards,
                    _ => Instead::HtmlAfterwards(502),
                };
                self.instead(self.mode.operation(request), after, 1);
            }
            (_, Disturbance::RefuseConnects(times, failure)) => {
                for operation in [Operation::RequestChat, self.mode.returning()] {
                    self.instead(operation, instead(operation, failure), times);
                }
            }
            (_, Disturbance::LoseStartAnswer) => {
                self.instead(Operation::RequestChat, Instead::LoseAnswer, 1);
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
        self.service.front.running_tasks()
    }

    async fn credentials(&self, chat: usize) -> Result<SavedSession> {
        let identity = self.service.chat_id(chat).and_then(|id| self.service.front.admit(&id));
        let identity = identity.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such chat is open"))?;
        let data = json!({
            "sessionID": identity.chat_id,
            "secureKey": identity.secure_key.map(|key| key.expose().to_owned()),
            "alias": identity.alias,
            "userId": identity.user_id,
        });
        let data = data.as_object().cloned().unwrap_or_default();
        Ok(SavedSession::new(TRANSPORT_ID, data))
    }

    /// Not only what a session saves: whatever the service handed out.
    fn secrets(&self, saved: &SavedSession) -> Vec<String> {
        let own = saved.text("secureKey").map(str::to_owned);
        let handed_out = self.service.front.secrets();
        own.into_iter().chain(handed_out.iter().map(|secret| secret.expose().to_owned())).collect()
    }
}
