//! Owns a scripted service in memory: start-chat endpoint, Participant Service, gateway and store, with answers to order.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chat_core::{
    Ack, ClientToken, Command, ConnectRequest, Connection, Intent, Outgoing, OutgoingBody, Result,
    SavedSession, StartRequest, Text, Transport, TransportEvent,
};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role},
    },
};
use transport_connect::{ConnectBuilder, ConnectTransport, StartChat};

pub(crate) const PARTICIPANT: &str = "participant.connect.us-west-2.amazonaws.com";
pub(crate) const GATEWAY: &str = "g1.transport.connect.us-west-2.amazonaws.com";
pub(crate) const STORE: &str = "bucket.s3.us-west-2.amazonaws.com";
pub(crate) const SHOP: &str = "shop.example";
pub(crate) const CONTACT: &str = "6513270e-269e-4d37-a2a7-4de452e6b438";
pub(crate) const CUSTOMER: &str = "6f03675a-1600-435a-9999-50d836f675cc";
/// The `Date` of every answer.
pub(crate) const NOW: &str = "Mon, 04 May 2026 09:00:00 GMT";

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.headers.get("x-amz-bearer")?.to_str().ok()
    }
}

/// An answer to order.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    Answer(u16, Vec<(&'static str, &'static str)>, String),
    /// The request is taken, and never answered.
    Hang,
}

impl Plan {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::Answer(status, vec![("content-type", "application/json")], body.to_string())
    }

    pub(crate) fn error(status: u16, kind: &'static str) -> Self {
        Self::Answer(
            status,
            vec![
                ("content-type", "application/json"),
                ("x-amzn-errortype", kind),
                ("x-amzn-requestid", "r-1"),
            ],
            json!({"Message": "no"}).to_string(),
        )
    }

    pub(crate) fn denied() -> Self {
        Self::error(403, "AccessDeniedException")
    }

    pub(crate) fn forbidden_by_gateway() -> Self {
        Self::json(403, json!({"message": "Forbidden"}))
    }
}

/// The scripted service.
#[derive(Clone)]
pub(crate) struct Centre {
    pub(crate) network: MemoryNetwork,
    state: Arc<State>,
}

struct State {
    calls: Mutex<Vec<Call>>,
    called: Notify,
    plans: Mutex<HashMap<String, VecDeque<Plan>>>,
    always: Mutex<HashMap<String, Plan>>,
    sockets: mpsc::Sender<Socket>,
    opened: tokio::sync::Mutex<mpsc::Receiver<Socket>>,
    issued: AtomicUsize,
    habits: Habits,
}

/// What the gateway does by itself.
pub(crate) struct Habits {
    pub(crate) acknowledge: AtomicBool,
    pub(crate) heartbeats: AtomicBool,
    pub(crate) pings: AtomicBool,
}

/// The server's end of a socket.
pub(crate) struct Socket {
    pub(crate) query: String,
    orders: mpsc::Sender<Order>,
    pub(crate) received: Arc<Mutex<Vec<String>>>,
    closed: Arc<Notify>,
}

enum Order {
    Text(String),
    Close(Option<u16>),
}

impl Socket {
    pub(crate) async fn text(&self, text: impl Into<String>) {
        self.orders.send(Order::Text(text.into())).await.expect("the socket is open");
    }

    /// An item, framed as the gateway does.
    pub(crate) async fn item(&self, item: Value) {
        let frame =
            json!({"topic": "aws/chat", "contentType": "application/json", "content": item.to_string()});
        self.text(frame.to_string()).await;
    }

    /// Closes with this code, or drops the connection without a close frame.
    pub(crate) async fn close(&self, code: Option<u16>) {
        let _ = self.orders.send(Order::Close(code)).await;
    }

    /// Waits until the client is gone.
    pub(crate) async fn gone(&self) {
        self.closed.notified().await;
    }
}

impl Centre {
    pub(crate) fn open() -> Self {
        Self::over(MemoryNetwork::new())
    }

    pub(crate) fn over(network: MemoryNetwork) -> Self {
        let (sockets, opened) = mpsc::channel(16);
        let state = Arc::new(State {
            calls: Mutex::default(),
            called: Notify::new(),
            plans: Mutex::default(),
            always: Mutex::default(),
            sockets,
            opened: tokio::sync::Mutex::new(opened),
            issued: AtomicUsize::new(0),
            habits: Habits {
                acknowledge: AtomicBool::new(true),
                heartbeats: AtomicBool::new(true),
                pings: AtomicBool::new(true),
            },
        });
        let centre = Self { network, state };
        for host in [PARTICIPANT, GATEWAY, STORE, SHOP] {
            let mut listener = centre.network.listen(&format!("{host}:443"));
            let state = Arc::clone(&centre.state);
            tokio::spawn(async move {
                while let Some(stream) = listener.accept().await {
                    let state = Arc::clone(&state);
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            let state = Arc::clone(&state);
                            async move { Ok::<_, Infallible>(answer(&state, request).await) }
                        });
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .with_upgrades()
                            .await;
                    });
                }
            });
        }
        centre
    }

    pub(crate) fn net(&self) -> Net {
        Net::in_memory(&self.network, &NetConfig::default()).unwrap()
    }

    pub(crate) fn builder(&self) -> ConnectBuilder {
        ConnectTransport::builder()
            .region("us-west-2")
            .start_chat(StartChat::new(format!("https://{SHOP}/start")).with_header("x-api-key", "shop-key"))
            .net(self.net())
    }

    pub(crate) fn transport(&self) -> ConnectTransport {
        self.builder().build().unwrap()
    }

    pub(crate) fn habits(&self) -> &Habits {
        &self.state.habits
    }

    /// Answers the next request for `path` like this; further plans queue.
    pub(crate) fn plan(&self, path: &str, plan: Plan) {
        self.state.plans.lock().unwrap().entry(path.to_owned()).or_default().push_back(plan);
    }

    /// Answers all requests for `path` like this.
    pub(crate) fn always(&self, path: &str, plan: Plan) {
        self.state.always.lock().unwrap().insert(path.to_owned(), plan);
    }

    pub(crate) fn calls(&self, path: &str) -> Vec<Call> {
        self.state.calls.lock().unwrap().iter().filter(|call| call.path == path).cloned().collect()
    }

    /// Waits until `path` was called this often.
    pub(crate) async fn called(&self, path: &str, times: usize) {
        loop {
            let called = self.state.called.notified();
            if self.calls(path).len() >= times {
                return;
            }
            called.await;
        }
    }

    /// The next socket that was opened.
    pub(crate) async fn socket(&self) -> Socket {
        self.state.opened.lock().await.recv().await.expect("the centre is open")
    }

    /// A chat that stands, with the server's end of its socket.
    pub(crate) async fn start(&self, transport: &ConnectTransport) -> (Connection, Socket) {
        let connection = transport.connect(start()).await.unwrap();
        (connection, self.socket().await)
    }
}

pub(crate) fn start() -> ConnectRequest {
    let mut request = StartRequest::named("Jane");
    request.key = Some(ClientToken::from("start-1"));
    ConnectRequest::new(Intent::Start(Box::new(request)))
}

pub(crate) fn saved() -> SavedSession {
    serde_json::from_value(json!({"transport": "connect", "data": {
        "contactId": CONTACT, "participantId": CUSTOMER, "participantToken": "PT", "initialContactId": CONTACT}}))
    .unwrap()
}

pub(crate) fn join() -> ConnectRequest {
    ConnectRequest::new(Intent::Join(saved()))
}

pub(crate) fn resume() -> ConnectRequest {
    ConnectRequest::new(Intent::Resume(saved()))
}

pub(crate) fn send(text: &str, token: &str) -> Command {
    Command::Send(Outgoing { token: token.into(), attempt: 0, body: OutgoingBody::Text(Text::plain(text)) })
}

pub(crate) fn message(id: &str, text: &str) -> Value {
    json!({"AbsoluteTime": "2026-05-04T09:00:05.120Z", "Content": text, "ContentType": "text/plain", "Id": id,
        "Type": "MESSAGE", "ParticipantId": "agent", "DisplayName": "Sam", "ParticipantRole": "AGENT",
        "InitialContactId": CONTACT, "ContactId": CONTACT})
}

pub(crate) fn event(id: &str, kind: &str) -> Value {
    json!({"AbsoluteTime": "2026-05-04T09:30:00.000Z", "Id": id, "Type": "EVENT", "InitialContactId": CONTACT,
        "ContentType": format!("application/vnd.amazonaws.connect.event.{kind}")})
}

/// The next event that is no sign of life.
pub(crate) async fn next(connection: &mut Connection) -> Option<TransportEvent> {
    loop {
        match connection.events.next().await? {
            TransportEvent::Alive => {}
            TransportEvent::Session(update)
                if matches!(*update, chat_core::SessionUpdate::DeepHeartbeat(_)) => {}
            other => return Some(other),
        }
    }
}

/// The text of the next message.
pub(crate) async fn next_text(connection: &mut Connection) -> String {
    match next(connection).await {
        Some(TransportEvent::Message(sighting)) => match sighting.content {
            Some(chat_core::Content::Text(text)) => (*text.body).to_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn submit(connection: &Connection, command: Command) -> Result<Ack> {
    connection.handle.submit(command).await
}

fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header(header::DATE, NOW);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

async fn answer(state: &Arc<State>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let call = Call { method: head.method, host, path: path.clone(), headers: head.headers, body };
    state.calls.lock().unwrap().push(call.clone());
    state.called.notify_waiters();
    let planned = state.plans.lock().unwrap().get_mut(&path).and_then(VecDeque::pop_front);
    let planned = planned.or_else(|| state.always.lock().unwrap().get(&path).cloned());
    match planned {
        Some(Plan::Answer(status, headers, body)) => return respond(status, &headers, body),
        Some(Plan::Hang) => std::future::pending().await,
        None => {}
    }
    if let Some(upgrade) = upgrade {
        let key = derive_accept_key(call.headers["sec-websocket-key"].as_bytes());
        let (orders, received) = (mpsc::channel(256), Arc::<Mutex<Vec<String>>>::default());
        let closed = Arc::new(Notify::new());
        let socket =
            Socket { query, orders: orders.0, received: Arc::clone(&received), closed: Arc::clone(&closed) };
        let state = Arc::clone(state);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            let _ = state.sockets.send(socket).await;
            serve(&state, stream, orders.1, &received).await;
            closed.notify_one();
        });
        return Response::builder()
            .status(101)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header("sec-websocket-accept", key)
            .body(Full::default())
            .unwrap();
    }
    respond(200, &[("content-type", "application/json")], default(state, &call).to_string())
}

/// What the service answers unless a plan says otherwise.
fn default(state: &State, call: &Call) -> Value {
    let n = state.issued.fetch_add(1, Ordering::Relaxed);
    match call.path.as_str() {
        "/start" => json!({"data": {"startChatResult":
            {"ContactId": CONTACT, "ParticipantId": CUSTOMER, "ParticipantToken": "PT"}}}),
        "/participant/connection" => {
            let body = call.json();
            let asked = |part: &str| body["Type"].as_array().is_some_and(|list| list.contains(&json!(part)));
            let mut answer = json!({});
            if asked("WEBSOCKET") {
                answer["Websocket"] = json!({"Url": format!("wss://{GATEWAY}/gateway?ticket={n}"),
                    "ConnectionExpiry": "2026-05-04T10:06:14.000Z"});
            }
            if asked("CONNECTION_CREDENTIALS") {
                answer["ConnectionCredentials"] =
                    json!({"ConnectionToken": format!("CT-{n}"), "Expiry": "2026-05-05T09:00:00.000Z"});
            }
            answer
        }
        "/participant/message" | "/participant/event" => {
            json!({"Id": format!("id-{n}"), "AbsoluteTime": "2026-05-04T09:00:05.120Z"})
        }
        "/participant/transcript" => json!({"InitialContactId": CONTACT, "Transcript": [], "NextToken": ""}),
        "/participant/start-attachment-upload" => {
            json!({"AttachmentId": format!("file-{n}"), "UploadMetadata":
            {"Url": format!("https://{STORE}/staging/{n}"), "UrlExpiry": "2026-05-04T09:15:00.000Z",
             "HeadersToInclude": {"Content-Type": call.json()["ContentType"],
                "Content-Length": call.json()["AttachmentSizeInBytes"].to_string(), "x-amz-acl": "private"}}})
        }
        "/participant/attachment" => json!({"Url": format!("https://{STORE}/files/1"),
            "UrlExpiry": "2026-05-04T09:05:00.000Z", "AttachmentSizeInBytes": 5}),
        _ => json!({}),
    }
}

async fn serve<S>(
    state: &State,
    mut stream: WebSocketStream<S>,
    mut orders: mpsc::Receiver<Order>,
    received: &Mutex<Vec<String>>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let habit = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Text(text)) => {
                    if stream.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Order::Close(code)) => {
                    if let Some(code) = code {
                        let frame = CloseFrame { code: code.into(), reason: "".into() };
                        let _ = stream.close(Some(frame)).await;
                    }
                    return;
                }
                None => std::future::pending().await,
            },
            message = stream.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                received.lock().unwrap().push(text.to_string());
                let frame: Value = serde_json::from_str(&text).unwrap();
                let reply = match frame["topic"].as_str().unwrap() {
                    "aws/subscribe" if habit(&state.habits.acknowledge) => json!({"topic": "aws/subscribe",
                        "content": {"status": "success", "topics": ["aws/chat"]}}),
                    "aws/heartbeat" if habit(&state.habits.heartbeats) => json!({"topic": "aws/heartbeat"}),
                    "aws/ping" if habit(&state.habits.pings) => {
                        json!({"topic": "aws/ping", "statusCode": 200, "statusContent": "OK"})
                    }
                    _ => continue,
                };
                if stream.send(Message::text(reply.to_string())).await.is_err() {
                    return;
                }
            }
        }
    }
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
