//! Owns a scripted service in memory: one chat with a transcript, and answers to order.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{
    Ack, ChatEvent, ChatSession, ClientToken, Command, ConnectRequest, Connection, Content, Events, Intent,
    Outgoing, OutgoingBody, PollScope, Result, SavedSession, Sighting, StartRequest, Text, Transport,
    TransportEvent,
};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::Notify;
use transport_gms_v2::{GmsBuilder, GmsTransport};

pub(crate) const HOST: &str = "gms.example";
pub(crate) const URL: &str = "https://gms.example/genesys/2/chat/customer-support";
pub(crate) const CHAT: &str = "0001LaGMS7K2000A";
/// With every character that a hand-made form gets wrong.
pub(crate) const KEY: &str = "7c1f+e2b/09ad=44&36e%20";
pub(crate) const USER: &str = "00A16A0C4F1B0001";

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// The pairs of its form, decoded.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        let pairs = std::str::from_utf8(&self.body).unwrap().split('&').filter(|pair| !pair.is_empty());
        let plain = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned()
        };
        pairs
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(key, value)| (plain(key), plain(value)))
            .collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.form().into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// What it says beside who says it.
    pub(crate) fn own(&self) -> Vec<(String, String)> {
        let mut form = self.form();
        form.retain(|(key, _)| !["userId", "secureKey", "alias"].contains(&key.as_str()));
        form
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer to order.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    Answer(u16, Vec<(&'static str, &'static str)>, String),
    /// The request is taken and has its effect, but the answer is this one.
    Stored(Box<Self>),
    /// The request is taken, and never answered.
    Hang,
}

impl Plan {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::Answer(status, vec![("content-type", "application/json;charset=UTF-8")], body.to_string())
    }

    pub(crate) fn html(status: u16) -> Self {
        let page = "<html><title>Sign in</title></html>";
        Self::Answer(status, vec![("content-type", "text/html")], page.into())
    }

    pub(crate) fn errors(status: u16, code: i64) -> Self {
        let advice = format!("what to do. referenceId[{}]", 20_000_000 + code);
        Self::json(status, json!({"errors": [{"code": code, "advice": advice}]}))
    }

    /// `statusCode` 1.
    pub(crate) fn offline() -> Self {
        Self::json(200, json!({"messages": [], "chatEnded": false, "statusCode": 1}))
    }

    /// `statusCode` 2.
    pub(crate) fn failed(code: i64, ended: bool) -> Self {
        let error = json!({"code": code, "advice": "not able to execute. referenceId[20000005]"});
        Self::json(200, json!({"messages": [], "chatEnded": ended, "statusCode": 2, "errors": [error]}))
    }

    pub(crate) fn stored(self) -> Self {
        Self::Stored(Box::new(self))
    }
}

/// The scripted service.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) network: MemoryNetwork,
    state: Arc<State>,
}

struct State {
    chat: Mutex<Chat>,
    called: Notify,
}

#[derive(Default)]
struct Chat {
    calls: Vec<Call>,
    plans: HashMap<String, VecDeque<Plan>>,
    always: HashMap<String, Plan>,
    transcript: Vec<Value>,
    next: u64,
    alias: String,
    ended: bool,
    /// Bytes of files by their id.
    files: HashMap<String, Bytes>,
    limits: Value,
}

impl Server {
    pub(crate) fn open() -> Self {
        let chat = Chat {
            next: 1,
            alias: "204".into(),
            limits: json!({"upload-max-files": "3", "upload-max-file-size": "2097152",
                "upload-max-total-size": "5242880", "upload-file-types": "jpeg:jpg:pdf:png:zip",
                "upload-need-agent": "false", "download-attempts": "5", "used-upload-max-files": "0",
                "used-upload-max-total-size": "0", "used-download-attempts": "0", "delete-file": "odd"}),
            ..Chat::default()
        };
        let state = Arc::new(State { chat: Mutex::new(chat), called: Notify::new() });
        let server = Self { network: MemoryNetwork::new(), state };
        let mut listener = server.network.listen(&format!("{HOST}:443"));
        let state = Arc::clone(&server.state);
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
                        .await;
                });
            }
        });
        server
    }

    fn chat(&self) -> MutexGuard<'_, Chat> {
        self.state.chat.lock().unwrap()
    }

    pub(crate) fn net(&self) -> Net {
        Net::in_memory(&self.network, &NetConfig::default()).unwrap()
    }

    pub(crate) fn builder(&self) -> GmsBuilder {
        GmsTransport::builder().data_url(URL).net(self.net())
    }

    pub(crate) fn transport(&self) -> GmsTransport {
        self.builder().build().unwrap()
    }

    /// Answers the next call of `operation` (the path behind the chat; empty for a start) like this; further plans queue.
    pub(crate) fn plan(&self, operation: &str, plan: Plan) {
        self.chat().plans.entry(operation.to_owned()).or_default().push_back(plan);
    }

    /// Answers all calls of `operation` like this, or as usual again.
    pub(crate) fn always(&self, operation: &str, plan: Option<Plan>) {
        match plan {
            Some(plan) => self.chat().always.insert(operation.to_owned(), plan),
            None => self.chat().always.remove(operation),
        };
    }

    /// Adds an event to the transcript, in the vendor's shape without its index.
    pub(crate) fn event(&self, event: Value) -> u64 {
        self.chat().push(event)
    }

    /// An agent says something.
    pub(crate) fn say(&self, text: &str) -> u64 {
        self.event(json!({"type": "Message", "text": text, "from": agent()}))
    }

    /// Numbers are used up that no reader sees.
    pub(crate) fn skip(&self, indexes: u64) {
        self.chat().next += indexes;
    }

    /// From now on another chat server serves the chat.
    pub(crate) fn move_to(&self, alias: &str) {
        self.chat().alias = alias.into();
    }

    pub(crate) fn end(&self) {
        self.chat().ended = true;
    }

    /// A chat server is back with an older copy: these events are gone, and their numbers free.
    pub(crate) fn forget_from(&self, index: u64) {
        let mut chat = self.chat();
        chat.transcript.retain(|event| event["index"].as_u64().unwrap() < index);
        chat.next = index;
    }

    pub(crate) fn limits(&self, key: &str, value: &str) {
        self.chat().limits[key] = json!(value);
    }

    pub(crate) fn file(&self, id: &str, bytes: impl Into<Bytes>) {
        self.chat().files.insert(id.into(), bytes.into());
    }

    pub(crate) fn all_calls(&self) -> Vec<Call> {
        self.chat().calls.clone()
    }

    pub(crate) fn calls(&self, operation: &str) -> Vec<Call> {
        self.chat().calls.iter().filter(|call| operation_of(&call.path) == operation).cloned().collect()
    }

    pub(crate) fn last(&self, operation: &str) -> Call {
        self.calls(operation).pop().expect("it was called")
    }

    /// The messages that are stored, as (text, type).
    pub(crate) fn stored(&self) -> Vec<String> {
        let chat = self.chat();
        let messages = chat.transcript.iter().filter(|event| event["from"]["type"] == "Client");
        messages.filter_map(|event| event["text"].as_str().map(str::to_owned)).collect()
    }

    /// Waits until `operation` was called this often.
    pub(crate) async fn called(&self, operation: &str, times: usize) {
        loop {
            let called = self.state.called.notified();
            if self.calls(operation).len() >= times {
                return;
            }
            called.await;
        }
    }

    /// A chat that stands.
    pub(crate) async fn start(&self, transport: &GmsTransport) -> Connection {
        transport.connect(start()).await.unwrap()
    }

    /// A session over a chat that stands.
    pub(crate) async fn session(&self, transport: GmsTransport) -> ChatSession {
        ChatSession::builder(transport).start(StartRequest::named("Jonny")).await.unwrap()
    }
}

impl Chat {
    fn push(&mut self, mut event: Value) -> u64 {
        let index = self.next;
        self.next += 1;
        event["index"] = json!(index);
        if event.get("utcTime").is_none() {
            event["utcTime"] = json!(1_750_000_000_000_u64 + index * 10_000);
        }
        self.transcript.push(event);
        index
    }

    fn reply(&self, from: Option<u64>) -> Value {
        let there = |event: &&Value| from.is_some_and(|from| event["index"].as_u64().unwrap() >= from);
        let messages: Vec<_> = self.transcript.iter().filter(there).collect();
        json!({"messages": messages, "chatEnded": self.ended, "statusCode": 0, "alias": self.alias,
            "secureKey": KEY, "userId": USER, "chatId": CHAT, "nextPosition": self.next})
    }

    /// What the service does and answers unless a plan says otherwise.
    fn serve(&mut self, operation: &str, call: &Call) -> Value {
        let from = client();
        match operation {
            "" => {
                self.push(json!({"type": "ParticipantJoined", "from": from}));
                self.reply(Some(1))
            }
            "refresh" => {
                let position = call.get("transcriptPosition").map_or(1, |text| text.parse::<i64>().unwrap());
                self.reply(u64::try_from(position).ok().filter(|position| *position > 0))
            }
            "send" => {
                let mut event = json!({"type": "Message", "text": call.get("message"), "from": from});
                if let Some(kind) = call.get("messageType") {
                    event["messageType"] = json!(kind);
                }
                self.push(event);
                self.reply(None)
            }
            "disconnect" => {
                self.push(json!({"type": "ParticipantLeft", "from": from}));
                self.ended = true;
                self.reply(None)
            }
            "file/limits" => json!({"chatEnded": false, "statusCode": 0, "messages": [{
                "type": "Notice", "text": "file-client-cfg-get", "from": from, "utcTime": 1_750_000_060_000_u64,
                "userData": self.limits}]}),
            "file" => {
                let id = format!("file-{}", self.next);
                self.push(json!({"type": "FileUploaded", "from": from,
                    "userData": {"file-id": id, "file-name": "a.pdf", "file-size": "4"}}));
                json!({"messages": [], "chatEnded": false, "statusCode": 0, "userData": {"file-id": id}})
            }
            _ => self.reply(None),
        }
    }
}

fn client() -> Value {
    json!({"nickname": "Jonny", "participantId": 1, "type": "Client"})
}

pub(crate) fn agent() -> Value {
    json!({"nickname": "Maria", "participantId": 2, "type": "Agent"})
}

fn operation_of(path: &str) -> String {
    let base = "/genesys/2/chat/customer-support";
    let rest = path.strip_prefix(base).unwrap_or("?").trim_start_matches('/');
    match rest.split_once('/') {
        Some((CHAT, operation)) => operation.to_owned(),
        None if rest.is_empty() => String::new(),
        _ => format!("? {rest}"),
    }
}

pub(crate) fn start() -> ConnectRequest {
    ConnectRequest::new(Intent::Start(Box::new(StartRequest::named("Jonny"))))
}

/// What the vendor's own client gives out.
pub(crate) fn saved() -> SavedSession {
    serde_json::from_value(json!({"transport": "gms-v2",
        "data": {"secureKey": KEY, "sessionID": CHAT, "alias": "204", "userId": USER}}))
    .unwrap()
}

pub(crate) fn resume() -> ConnectRequest {
    ConnectRequest::new(Intent::Resume(saved()))
}

pub(crate) fn send(text: &str, token: &str) -> Command {
    Command::Send(Outgoing { token: token.into(), attempt: 0, body: OutgoingBody::Text(Text::plain(text)) })
}

pub(crate) async fn submit(connection: &Connection, command: Command) -> Result<Ack> {
    connection.handle.submit(command).await
}

pub(crate) async fn poll(connection: &Connection) -> Result<Ack> {
    submit(connection, Command::Poll(PollScope::New)).await
}

/// What the connection has told by now.
pub(crate) fn told(connection: &mut Connection) -> Vec<TransportEvent> {
    std::iter::from_fn(|| connection.events.next().now_or_never().flatten()).collect()
}

/// The messages among these events.
pub(crate) fn sightings(events: &[TransportEvent]) -> Vec<&Sighting> {
    events
        .iter()
        .filter_map(|event| match event {
            TransportEvent::Message(sighting) => Some(&**sighting),
            _ => None,
        })
        .collect()
}

pub(crate) fn text(sighting: &Sighting) -> Option<&str> {
    match &sighting.content {
        Some(Content::Text(text)) => Some(&text.body),
        _ => None,
    }
}

/// The texts that the connection has told by now.
pub(crate) fn texts(connection: &mut Connection) -> Vec<String> {
    let events = told(connection);
    sightings(&events).into_iter().filter_map(text).map(str::to_owned).collect()
}

/// The texts that a session shows.
pub(crate) fn shown(session: &ChatSession) -> Vec<String> {
    let text = |row: &Arc<chat_core::Row>| match row.content() {
        Some(Content::Text(text)) => Some((*text.body).to_owned()),
        _ => None,
    };
    session.transcript().iter().filter_map(text).collect()
}

/// Reads events until one is `wanted`.
pub(crate) async fn until<T>(events: &mut Events, mut wanted: impl FnMut(&ChatEvent) -> Option<T>) -> T {
    let reading = async {
        loop {
            let event = events.next().await.expect("the session goes on");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(3_600), reading).await.expect("in time")
}

pub(crate) fn token() -> ClientToken {
    ClientToken::from("0b5c1d")
}

fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let operation = operation_of(&path);
    let call = Call { method: head.method, path, headers: head.headers, body };
    let plan = {
        let mut chat = state.chat.lock().unwrap();
        chat.calls.push(call.clone());
        let planned = chat.plans.get_mut(&operation).and_then(VecDeque::pop_front);
        planned.or_else(|| chat.always.get(&operation).cloned())
    };
    state.called.notify_waiters();
    let plan = match plan {
        Some(Plan::Stored(plan)) => {
            state.chat.lock().unwrap().serve(&operation, &call);
            Some(*plan)
        }
        plan => plan,
    };
    match plan {
        Some(Plan::Answer(status, headers, body)) => return respond(status, &headers, body),
        Some(Plan::Hang | Plan::Stored(_)) => std::future::pending().await,
        None => {}
    }
    let mut chat = state.chat.lock().unwrap();
    if let Some(id) = operation.strip_prefix("file/").and_then(|rest| rest.strip_suffix("/download")) {
        return match chat.files.get(id) {
            Some(bytes) => respond(
                200,
                &[(header::CONTENT_TYPE.as_str(), "image/png"), ("content-disposition", "attachment")],
                bytes.clone(),
            ),
            None => respond(404, &[("content-type", "text/html")], "<html>"),
        };
    }
    let body = chat.serve(&operation, &call).to_string();
    respond(200, &[("content-type", "application/json;charset=UTF-8")], body)
}
