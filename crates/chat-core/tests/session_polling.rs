//! The session and the poll loop, against a scripted adapter: which connection is polled, how often, and what readers hear of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chat_core::{
    Ack, Capabilities, Capability, ChatEvent, ChatSession, Command, ConnectError, ConnectRequest, Connection,
    ConnectionHandle, EndReason, Error, ErrorKind, EventSender, Events, Lost, PollClass, PollPolicy, Result,
    SavedSession, SessionInfo, SessionSettings, SessionUpdate, StartRequest, Terminal, Transport,
    TransportEvent, TransportId, event_channel,
};
use serde_json::Map;
use tokio::time::Instant;

const ID: TransportId = TransportId::new("fake");
const SECOND: Duration = Duration::from_secs(1);

fn push() -> Capabilities {
    Capabilities::new().with(Capability::Start).with(Capability::Restore)
}

fn polled() -> Capabilities {
    push().with(Capability::Poll)
}

/// What polls are answered with, and when they came.
#[derive(Debug, Clone, Default)]
struct Server(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    failures: VecDeque<Error>,
    polls: Vec<Instant>,
    sends: usize,
}

impl Server {
    fn fail(&self, kind: ErrorKind, times: usize) {
        let mut answers = self.0.lock().unwrap();
        answers.failures.extend((0..times).map(|_| Error::new(kind.clone(), "poll")));
    }

    fn heal(&self) {
        self.0.lock().unwrap().failures.clear();
    }

    fn polls(&self) -> usize {
        self.0.lock().unwrap().polls.len()
    }
}

#[async_trait]
impl ConnectionHandle for Server {
    async fn submit(&self, command: Command) -> Result<Ack> {
        let mut answers = self.0.lock().unwrap();
        if matches!(command, Command::Send(_)) {
            answers.sends += 1;
        }
        if !matches!(command, Command::Poll(_)) {
            return Ok(Ack::Done);
        }
        answers.polls.push(Instant::now());
        answers.failures.pop_front().map_or(Ok(Ack::Done), Err)
    }
}

/// Gives out connections with these capabilities in turn; `None` is a failure.
#[derive(Debug)]
struct Fake {
    server: Server,
    outcomes: Mutex<VecDeque<Option<Capabilities>>>,
    senders: Arc<Mutex<Vec<EventSender>>>,
}

#[async_trait]
impl Transport for Fake {
    fn id(&self) -> TransportId {
        ID
    }

    fn capabilities(&self) -> Capabilities {
        self.outcomes.lock().unwrap().iter().flatten().next().copied().unwrap_or_else(push)
    }

    async fn connect(&self, _: ConnectRequest) -> std::result::Result<Connection, ConnectError> {
        let Some(Some(capabilities)) = self.outcomes.lock().unwrap().pop_front() else {
            return Err(Error::new(ErrorKind::Network, "connect").into());
        };
        let (sender, events) = event_channel(16);
        self.senders.lock().unwrap().push(sender);
        Ok(Connection {
            session: SessionInfo::new("chat", "chat"),
            capabilities,
            saved: SavedSession::new(ID, Map::new()),
            handle: Arc::new(self.server.clone()),
            events,
        })
    }
}

struct Bench {
    server: Server,
    senders: Arc<Mutex<Vec<EventSender>>>,
    session: ChatSession,
    events: Events,
}

impl Bench {
    async fn start(outcomes: Vec<Option<Capabilities>>, settings: SessionSettings) -> Self {
        let server = Server::default();
        let senders = Arc::default();
        let fake = Fake {
            server: server.clone(),
            outcomes: Mutex::new(outcomes.into()),
            senders: Arc::clone(&senders),
        };
        let session = ChatSession::builder(fake)
            .settings(settings.with_seed(Some(1)))
            .start(StartRequest::named("Ada"))
            .await
            .unwrap();
        let events = session.events();
        Self { server, senders, session, events }
    }

    /// The connection is lost.
    fn lose(&self) {
        let sender = self.senders.lock().unwrap().pop().unwrap();
        let error = Error::new(ErrorKind::Network, "test");
        sender.finish(Terminal::Lost(Lost { error, resumable: true }));
    }

    async fn tell(&self, event: TransportEvent) {
        let sender = self.senders.lock().unwrap().last().unwrap().clone();
        sender.send(event).await.unwrap();
    }

    async fn chat_server(&self, class: PollClass) {
        self.tell(TransportEvent::Session(Box::new(SessionUpdate::ChatServer(class)))).await;
    }

    /// What is told about polling and errors while so much time passes.
    async fn hear(&mut self, time: Duration) -> Vec<String> {
        let mut heard = Vec::new();
        let deadline = Instant::now() + time;
        while let Ok(Some(event)) = tokio::time::timeout_at(deadline, self.events.next()).await {
            match event {
                ChatEvent::Poll(event) => heard.push(format!("{event:?}")),
                ChatEvent::Error(error) => heard.push(format!("{:?}", error.kind())),
                ChatEvent::Ended(_) => heard.push("Ended".into()),
                _ => {}
            }
        }
        heard
    }
}

fn unsupported() -> ErrorKind {
    ErrorKind::Unsupported { capability: Capability::Poll, transport: ID }
}

#[tokio::test(start_paused = true)]
async fn the_loop_follows_the_connection_that_stands() {
    let outcomes = vec![Some(push()), Some(polled()), Some(push())];
    let mut bench = Bench::start(outcomes, SessionSettings::default()).await;
    assert_eq!(bench.hear(10 * SECOND).await, [""; 0]);
    for refused in [bench.session.poll(), bench.session.start_poll(), bench.session.stop_poll()] {
        assert_eq!(*refused.unwrap_err().kind(), unsupported());
    }
    // The push connection falls back to polling …
    bench.lose();
    assert_eq!(bench.hear(10 * SECOND).await, ["PollingStarted"]);
    assert!(bench.server.polls() > 1);
    bench.session.stop_poll().unwrap();
    bench.session.start_poll().unwrap();
    assert_eq!(bench.hear(Duration::ZERO).await, ["PollingStopped", "PollingStarted"]);
    // … and comes back to push.
    bench.lose();
    assert_eq!(bench.hear(10 * SECOND).await, ["PollingStopped"]);
    let polls = bench.server.polls();
    assert_eq!(*bench.session.poll().unwrap_err().kind(), unsupported());
    bench.hear(60 * SECOND).await;
    assert_eq!(bench.server.polls(), polls);
}

#[tokio::test(start_paused = true)]
async fn the_loop_follows_capabilities_that_change() {
    let mut bench = Bench::start(vec![Some(polled())], SessionSettings::default()).await;
    assert_eq!(bench.hear(SECOND).await, [""; 0], "the first reader comes after the start");
    for (capabilities, expected) in [(push(), "PollingStopped"), (polled(), "PollingStarted")] {
        let update = SessionUpdate::Capabilities(capabilities);
        bench.tell(TransportEvent::Session(Box::new(update))).await;
        assert_eq!(bench.hear(5 * SECOND).await, [expected]);
    }
    let polls = bench.server.polls();
    bench.hear(10 * SECOND).await;
    assert!(bench.server.polls() > polls);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_or_counted_while_no_connection_stands() {
    let mut outcomes = vec![Some(polled())];
    outcomes.extend([None; 4]);
    outcomes.push(Some(polled()));
    let mut bench = Bench::start(outcomes, SessionSettings::default().with_poll_exception_limit(0)).await;
    bench.hear(5 * SECOND).await;
    bench.lose();
    assert_eq!(bench.hear(Duration::from_millis(1)).await, [""; 0]);
    let polls = bench.server.polls();
    assert_eq!(*bench.session.poll().unwrap_err().kind(), ErrorKind::Network);
    while bench.server.polls() == polls {
        assert_eq!(bench.hear(SECOND).await, [""; 0], "the link tells of the loss, not the loop");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_connection_reports_how_the_chat_server_answers() {
    let settings = SessionSettings::default().with_poll_exception_limit(1);
    let mut bench = Bench::start(vec![Some(push()), Some(polled())], settings).await;
    for class in [PollClass::Exception, PollClass::Exception, PollClass::Exception] {
        bench.chat_server(class).await;
    }
    assert_eq!(bench.hear(SECOND).await, ["ConnectionPending", "ServerWentOffline"]);
    bench.chat_server(PollClass::Good).await;
    assert_eq!(bench.hear(SECOND).await, ["ServerBackOnline", "ConnectionRestored"]);
    bench.chat_server(PollClass::NoAnswer).await;
    assert_eq!(bench.hear(SECOND).await, ["ConnectionPending", "Disconnected"]);
    // What was lost on one connection is found again on the next.
    bench.lose();
    assert_eq!(bench.hear(5 * SECOND).await, ["PollingStarted", "Reconnected", "ConnectionRestored"]);
}

#[tokio::test(start_paused = true)]
async fn polls_are_told_by_their_class_and_errors_of_their_own_as_such() {
    let settings = SessionSettings::default().with_poll_exception_limit(5);
    let mut bench = Bench::start(vec![Some(polled())], settings).await;
    bench.hear(20 * SECOND).await;
    for (kind, expected) in [
        (ErrorKind::Server, &["ConnectionPending", "ConnectionRestored"][..]),
        (ErrorKind::UnexpectedResponse, &["ConnectionPending", "ConnectionRestored"]),
        (ErrorKind::Timeout, &["ConnectionPending", "Disconnected", "Reconnected", "ConnectionRestored"]),
        (ErrorKind::Network, &["ConnectionPending", "Disconnected", "Reconnected", "ConnectionRestored"]),
        (ErrorKind::Unauthorized, &["Unauthorized", "Unauthorized"]),
        (ErrorKind::Refused, &["Refused", "Refused"]),
    ] {
        bench.server.fail(kind, 2);
        assert_eq!(bench.hear(60 * SECOND).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_settings_say_how_often() {
    let slow = PollPolicy::default()
        .with_interval(Some(7 * SECOND))
        .with_active(SECOND, Duration::ZERO)
        .with_idle(7 * SECOND, Duration::ZERO);
    let mut bench = Bench::start(vec![Some(polled())], SessionSettings::default().with_poll(slow)).await;
    bench.hear(700 * SECOND).await;
    assert!((90..=112).contains(&bench.server.polls()), "{}", bench.server.polls());
}

#[tokio::test(start_paused = true)]
async fn the_vendors_budget_is_watched() {
    let mut capabilities = polled();
    capabilities.detached_for = Some(45 * SECOND);
    let mut bench = Bench::start(vec![Some(capabilities)], SessionSettings::default()).await;
    bench.hear(5 * SECOND).await;
    bench.server.fail(ErrorKind::Network, 50);
    let heard = bench.hear(29 * SECOND).await;
    assert!(!heard.contains(&"BudgetAtRisk".to_owned()), "{heard:?}");
    let heard = bench.hear(7 * SECOND).await;
    assert!(heard.contains(&"BudgetAtRisk".to_owned()), "{heard:?}");
    assert_eq!(bench.hear(20 * SECOND).await, [""; 0], "told once");
    bench.server.heal();
    let heard = bench.hear(60 * SECOND).await;
    assert_eq!(heard, ["Reconnected", "ConnectionRestored"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_in_an_outage_waits_for_its_end() {
    for kind in [ErrorKind::Network, ErrorKind::Server] {
        let settings = SessionSettings::default().with_poll_exception_limit(1);
        let mut bench = Bench::start(vec![Some(polled())], settings).await;
        bench.hear(5 * SECOND).await;
        bench.server.fail(kind, 1_000);
        bench.hear(20 * SECOND).await;
        let pending = bench.session.send_text("late").unwrap();
        bench.hear(600 * SECOND).await;
        assert_eq!(bench.server.0.lock().unwrap().sends, 0, "it would be in vain");
        bench.server.heal();
        bench.session.network_up();
        bench.hear(SECOND).await;
        pending.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn polling_stops_before_the_end_is_told() {
    let mut bench = Bench::start(vec![Some(polled())], SessionSettings::default()).await;
    let sender = bench.senders.lock().unwrap().pop().unwrap();
    sender.finish(Terminal::Ended(EndReason::EndedByService));
    drop(sender);
    assert_eq!(bench.hear(SECOND).await, ["PollingStopped", "Ended"]);
}
