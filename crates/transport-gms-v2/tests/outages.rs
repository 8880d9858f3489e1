//! Outages of every kind in any order: what a reader of the session is told equals a plain model, written from §10.3 ("Ours,
//! settled") and §10.7 of the protocol notes.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{cell::RefCell, convert::Infallible, future::pending, io, sync::Arc, time::Duration};

use bytes::Bytes;
use chat_core::{
    ChatEvent, ChatSession, ErrorKind, Events, LinkState, MemoryStore, PollEvent, SavedSession,
    SessionDirectory, SessionSettings, SessionStore, StartRequest, StoredSession, Transport, View,
};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use futures::{FutureExt, StreamExt, stream};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
    time::timeout,
};
use transport_gms_v2::GmsTransport;

const AUTHORITY: &str = "127.0.0.1:8080";
/// Longer than anything that is waited for; virtual.
const PATIENCE: Duration = Duration::from_secs(600);

// ---- what happens -----------------------------------------------------------------------------------------------------------

/// How one poll goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    /// `statusCode` 1; the other fields are left over.
    Transient {
        chat_ended: bool,
    },
    /// A page of a server in between.
    Html(u16),
    /// A body that is no JSON object, with status 200.
    NotJson(&'static str),
    /// The connection is cut instead of an answer.
    Cut,
    /// The connection is cut in the middle of the answer.
    Truncated,
    /// No answer within the time-out.
    Hang,
    /// HTTP status 429, perhaps with `Retry-After`.
    TooMany(Option<u32>),
}

/// The classes of §10.3.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Class {
    Good,
    Exception,
    NoAnswer,
    Other(ErrorKind),
}

impl Outcome {
    fn class(self) -> Class {
        match self {
            Self::Good => Class::Good,
            Self::Transient { .. } | Self::NotJson(_) | Self::Html(500..=599) => Class::Exception,
            Self::Cut | Self::Truncated | Self::Hang => Class::NoAnswer,
            Self::Html(401) => Class::Other(ErrorKind::Unauthorized),
            Self::Html(403) => Class::Other(ErrorKind::AccessDenied),
            Self::Html(_) => Class::Other(ErrorKind::Refused),
            Self::TooMany(_) => Class::Other(ErrorKind::RateLimited),
        }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Good),
        4 => any::<bool>().prop_map(|chat_ended| Outcome::Transient { chat_ended }),
        3 => prop::sample::select(vec![500, 502, 503, 504]).prop_map(Outcome::Html),
        2 => prop::sample::select(vec!["<html>Log in</html>", "", "[]", "\"blocked\"", "{\"messages\":[{"]).prop_map(Outcome::NotJson),
        3 => prop::sample::select(vec![Outcome::Cut, Outcome::Truncated, Outcome::Hang]),
        2 => prop::sample::select(vec![401, 403, 400, 413]).prop_map(Outcome::Html),
        1 => prop::option::of(0..30u32).prop_map(Outcome::TooMany),
    ]
}

/// An outage: in a chat that goes on, or from the moment of its restoring.
#[derive(Debug, Clone)]
struct Outage {
    restored: bool,
    outcomes: Vec<Outcome>,
}

fn outage() -> impl Strategy<Value = Outage> {
    // Restoring makes a session of its own, which takes its time.
    let restored = prop::bool::weighted(0.1);
    (restored, prop::collection::vec(outcome(), 0..9))
        .prop_map(|(restored, outcomes)| Outage { restored, outcomes })
}

// ---- the model --------------------------------------------------------------------------------------------------------------

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Poll(PollEvent),
    Error(ErrorKind),
}

/// §10.3, word by word.
#[derive(Debug, Default)]
struct Model {
    limit: u32,
    count: u32,
    pending: bool,
    disconnected: bool,
    went_offline: bool,
    restored_offline: bool,
    /// Nothing good came since the restore.
    restoring: bool,
}

impl Model {
    fn next(&mut self, class: Class) -> Vec<Told> {
        use PollEvent as E;
        let mut told = Vec::new();
        match class {
            Class::Good => {
                if self.disconnected {
                    told.push(E::Reconnected);
                }
                if self.went_offline || self.restored_offline {
                    told.push(E::ServerBackOnline);
                }
                if self.pending {
                    told.push(E::ConnectionRestored);
                }
                *self = Self { limit: self.limit, ..Self::default() };
            }
            Class::Other(kind) => return vec![Told::Error(kind)],
            Class::Exception | Class::NoAnswer => {
                if !self.pending {
                    self.pending = true;
                    told.push(E::ConnectionPending);
                }
                if class == Class::NoAnswer && !self.disconnected {
                    self.disconnected = true;
                    told.push(E::Disconnected);
                }
                if class == Class::Exception {
                    self.count += 1;
                }
                if self.restoring && !self.restored_offline {
                    self.restored_offline = true;
                    told.push(E::RestoredOffline);
                }
                // Whoever was told at the restore that the server is offline is not told again.
                if self.count > self.limit && !self.went_offline && !self.restored_offline {
                    self.went_offline = true;
                    told.push(E::ServerWentOffline);
                }
            }
        }
        told.into_iter().map(Told::Poll).collect()
    }
}

// ---- the service ------------------------------------------------------------------------------------------------------------

/// A refresh that waits for its fate.
struct Asked {
    position: String,
    fate: oneshot::Sender<Outcome>,
}

const IDENTITY: &str =
    r#""alias":"204","secureKey":"7c1fe2b09ad4436e","userId":"00A16A0C4F1B0001","chatId":"0001LaGMS7K2000A""#;

/// What the vendor's own client keeps of a session.
const SAVED: &str = r#"{"transport":"gms-v2","data":{"sessionID":"0001LaGMS7K2000A","secureKey":"7c1fe2b09ad4436e","alias":"204","userId":"00A16A0C4F1B0001"}}"#;

fn good() -> String {
    format!(r#"{{"messages":[],"chatEnded":false,"statusCode":0,{IDENTITY},"nextPosition":2}}"#)
}

fn started() -> String {
    let joined = r#"{"from":{"nickname":"Jane","participantId":1,"type":"Client"},"index":1,"type":"ParticipantJoined","utcTime":1777885200000}"#;
    format!(r#"{{"messages":[{joined}],"chatEnded":false,"statusCode":0,{IDENTITY},"nextPosition":2}}"#)
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

fn body(text: &str) -> Body {
    Full::new(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

fn page(status: u16, kind: &str, text: &str) -> Response<Body> {
    Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(body(text)).unwrap()
}

async fn answer(
    request: Request<Incoming>,
    asked: mpsc::Sender<Asked>,
) -> Result<Response<Body>, &'static str> {
    const JSON: &str = "application/json";
    let is_refresh = request.uri().path().ends_with("/refresh");
    let form = request.into_body().collect().await.map_err(|_| "cut")?.to_bytes();
    if !is_refresh {
        return Ok(page(200, JSON, &started()));
    }
    let position = form_urlencoded::parse(&form).find(|(key, _)| key == "transcriptPosition");
    let position = position.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let (fate, decided) = oneshot::channel();
    asked.send(Asked { position, fate }).await.map_err(|_| "over")?;
    Ok(match decided.await.map_err(|_| "over")? {
        Outcome::Good => page(200, JSON, &good()),
        Outcome::Transient { chat_ended } => page(
            200,
            JSON,
            &format!(r#"{{"statusCode":1,"chatEnded":{chat_ended},"messages":[],"alias":"999"}}"#),
        ),
        Outcome::Html(status) => page(status, "text/html", "<html><body>not now</body></html>"),
        Outcome::NotJson(text) => page(200, "text/html", text),
        Outcome::Cut => return Err("cut"),
        Outcome::Truncated => {
            let half = Bytes::from(good()).split_to(80);
            let cut = stream::iter([Ok(Frame::data(half)), Err(io::Error::other("cut"))]);
            // The first half has to leave before the cut.
            let slow = cut.then(|frame| async {
                tokio::task::yield_now().await;
                frame
            });
            Response::new(BodyExt::boxed_unsync(StreamBody::new(slow)))
        }
        Outcome::Hang => pending().await,
        Outcome::TooMany(after) => {
            let mut answer = page(429, "text/html", "<html>slow down</html>");
            if let Some(seconds) = after {
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            answer
        }
    })
}

// ---- a chat under test ------------------------------------------------------------------------------------------------------

/// A session whose next poll has been asked and waits for its fate.
struct Chat {
    session: ChatSession,
    events: Events,
    asked: mpsc::Receiver<Asked>,
    waiting: Option<oneshot::Sender<Outcome>>,
}

fn transport() -> (Arc<dyn Transport>, mpsc::Receiver<Asked>) {
    let network = MemoryNetwork::new();
    let mut listener = network.listen(AUTHORITY);
    let (sender, asked) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request| answer(request, sender.clone()));
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { drop(served.await) });
        }
    });
    let transport = GmsTransport::builder()
        .data_url(format!("http://{AUTHORITY}/genesys/2/chat/customer-support"))
        .net(Net::in_memory(&network, &NetConfig::default()).unwrap())
        .build()
        .unwrap();
    (Arc::new(transport), asked)
}

impl Chat {
    fn settings(limit: u32) -> SessionSettings {
        SessionSettings::default().with_seed(Some(7)).with_initial_history(0).with_poll_exception_limit(limit)
    }

    async fn started(limit: u32) -> Self {
        let (transport, asked) = transport();
        let builder = ChatSession::over(transport).settings(Self::settings(limit));
        let session = builder.start(StartRequest::named("Jane")).await.unwrap();
        Self::following(session, asked).await
    }

    async fn restored(limit: u32) -> Self {
        let saved: SavedSession = serde_json::from_str(SAVED).unwrap();
        let (transport, mut asked) = transport();
        let store = MemoryStore::default();
        store.save("tab", &StoredSession::new(saved)).await.unwrap();
        let builder = ChatSession::over(transport).settings(Self::settings(limit));
        let restoring = builder.keep(&SessionDirectory::new(store), "tab").restore();
        let looked = async {
            let look = asked.recv().await.unwrap();
            assert_eq!(look.position, "0", "the look at the chat asks for nothing");
            look.fate.send(Outcome::Good).unwrap();
        };
        let (session, ()) = tokio::join!(restoring, looked);
        Self::following(session.unwrap(), asked).await
    }

    async fn following(session: ChatSession, asked: mpsc::Receiver<Asked>) -> Self {
        let events = session.subscribe(View::Full);
        let mut chat = Self { session, events, asked, waiting: None };
        chat.asks().await;
        // What the session reads of the past before anything else is no poll.
        while chat.session.link_state() != LinkState::Live {
            assert_eq!(chat.poll(Outcome::Good).await, []);
        }
        chat
    }

    /// Waits for the next poll. Everything about the one before was told then: they never overlap.
    async fn asks(&mut self) {
        let asked = timeout(PATIENCE, self.asked.recv()).await.expect("polling goes on").unwrap();
        self.waiting = Some(asked.fate);
    }

    /// What was told since the last time.
    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(Some(event)) = self.events.next().now_or_never() {
            match event {
                // How polling itself goes on, and a warning that follows from time alone.
                ChatEvent::Poll(PollEvent::PollingStarted | PollEvent::BudgetAtRisk) => {}
                ChatEvent::Poll(event) => told.push(Told::Poll(event)),
                ChatEvent::Error(error) => told.push(Told::Error(error.kind().clone())),
                ChatEvent::Ended(_) | ChatEvent::Missed { .. } => panic!("{event:?}"),
                ChatEvent::Connection(event) => {
                    use chat_core::session::ConnectionEvent as E;
                    assert!(matches!(*event, E::Established(_)), "{event:?}");
                }
                _ => {}
            }
        }
        told
    }

    async fn poll(&mut self, outcome: Outcome) -> Vec<Told> {
        let waiting = self.waiting.take().unwrap();
        waiting.send(outcome).expect("the poll waits");
        self.asks().await;
        self.told()
    }

    /// Lets the outage happen, and a good poll behind it.
    async fn suffer(&mut self, limit: u32, outage: &Outage) -> Result<(), TestCaseError> {
        let mut model = Model { limit, restoring: outage.restored, ..Model::default() };
        for (at, outcome) in outage.outcomes.iter().copied().chain([Outcome::Good]).enumerate() {
            let told = self.poll(outcome).await;
            prop_assert_eq!(told, model.next(outcome.class()), "poll {}: {:?}", at, outcome);
        }
        Ok(())
    }
}

/// A clock of its own, so that a poll that waits for its fate does not grow old while another chat goes on.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A third of ten thousand outages; one chat goes through all of them that do not begin with a restore.
fn outages_under(limit: u32) {
    let (restoring, going_on) = (runtime(), runtime());
    let chat: RefCell<Option<Chat>> = RefCell::default();
    let suffer = |outage: Outage| {
        if outage.restored {
            return restoring.block_on(async { Chat::restored(limit).await.suffer(limit, &outage).await });
        }
        // Taken out: what failed goes on with a fresh one.
        let known = chat.take();
        let mut known = known.unwrap_or_else(|| going_on.block_on(Chat::started(limit)));
        going_on.block_on(known.suffer(limit, &outage))?;
        chat.replace(Some(known));
        Ok(())
    };
    let config = Config { cases: 3_334, failure_persistence: None, ..Config::default() };
    if let Err(TestError::Fail(reason, outage)) = TestRunner::new(config).run(&outage(), suffer) {
        panic!("{reason}\n{outage:?}");
    }
}

#[test]
fn outages_are_told_as_the_notes_say_if_no_exception_is_borne() {
    outages_under(0);
}

#[test]
fn outages_are_told_as_the_notes_say_if_one_exception_is_borne() {
    outages_under(1);
}

#[test]
fn outages_are_told_as_the_notes_say_if_five_exceptions_are_borne() {
    outages_under(5);
}
