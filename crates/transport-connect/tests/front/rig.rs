//! A front over the simulated centre, and clients that speak plain HTTP/1.1 and WebSocket to it over in-memory streams.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chat_core::{Timestamp, VirtualClock};
use chat_sim::{Centre, Console, ContactConsole, Profile};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{io::DuplexStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use transport_connect::{
    front::{ConnectFront, FrontConfig},
    wire::{Frame, decode_frame},
};
use tungstenite::Message;

pub const BASE: &str = "http://127.0.0.1:8971";
/// Longer than anything that is waited for; virtual.
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Rig {
    pub console: Console,
    pub front: Arc<ConnectFront>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{:?}", self.bytes);
        self.json()
    }

    pub fn error(&self) -> (u16, &str) {
        (self.status, self.headers.get("x-amzn-errortype").map_or("", |kind| kind.to_str().unwrap()))
    }
}

impl Rig {
    pub fn new() -> Self {
        Self::with(Profile::push(), |_| {})
    }

    pub fn with(profile: Profile, tune: impl FnOnce(&mut FrontConfig)) -> Self {
        let clock = VirtualClock::starting_at(Timestamp::parse("2026-05-04T09:00:00Z").unwrap());
        let centre = Centre::builder().profile(profile).clock(clock.clone()).build();
        let mut config = FrontConfig::new(BASE);
        config.clock = clock;
        tune(&mut config);
        let console = centre.console();
        Self { console, front: ConnectFront::new(Arc::new(centre.transport()), config) }
    }

    pub fn connection(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.front.serve_connection(far));
        near
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let io = TokioIo::new(self.connection());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await?.to_bytes();
        driver.abort();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes })
    }

    pub async fn try_call(&self, method: Method, path: &str, bearer: &str, body: Value) -> Option<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8971")
            .header("content-type", "application/json")
            .header("x-amz-bearer", bearer)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        timeout(PATIENCE, self.send(request)).await.ok()?.ok()
    }

    pub async fn call(&self, method: Method, path: &str, bearer: &str, body: Value) -> Answer {
        self.try_call(method, path, bearer, body).await.expect("an answer")
    }

    pub async fn post(&self, path: &str, bearer: &str, body: Value) -> Answer {
        self.call(Method::POST, path, bearer, body).await
    }

    pub async fn socket(&self, url: &str) -> Result<Socket, u16> {
        assert!(url.starts_with("ws://127.0.0.1:8971/"), "{url}");
        match client_async(url, self.connection()).await {
            Ok((stream, _)) => Ok(Socket(stream)),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Starts a chat and connects, without a socket.
    pub async fn start(&self, extra: Value) -> Client<'_> {
        let mut body =
            json!({"InstanceId": "i", "ContactFlowId": "f", "ParticipantDetails": {"DisplayName": "Jane"}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let started = self.call(Method::PUT, "/contact/chat", "", body).await.ok();
        Client::new(self, &started["ContactId"], &started["ParticipantId"], &started["ParticipantToken"])
            .await
    }

    /// Starts a chat, connects and subscribes; the item that says so is read.
    pub async fn chat(&self) -> (Client<'_>, Socket, ContactConsole) {
        let client = self.start(json!({})).await;
        let mut socket = client.socket().await;
        let joined = socket.item().await;
        assert_eq!(kind(&joined), "event.participant.joined");
        assert_eq!(joined["ParticipantId"], client.participant.as_str());
        let contact = self.console.contact(&client.contact).expect("the contact id is the centre's");
        (client, socket, contact)
    }
}

/// Every kind of centre, and some with the habits that vendors have.
pub fn kinds() -> Vec<(&'static str, Profile)> {
    let tuned = |change: fn(&mut Profile)| Profile::push_without_echo_token().tuned(change);
    let mut kinds = Profile::all();
    kinds.extend([
        ("missing ids", tuned(|profile| profile.missing_ids = 2)),
        ("missing times", tuned(|profile| profile.missing_times = 2)),
        ("equal instants", tuned(|profile| profile.equal_instants = 3)),
        ("empty pages", tuned(|profile| profile.empty_pages = true)),
        ("inclusive pages", tuned(|profile| profile.history_inclusive = true)),
        ("stuck cursor", tuned(|profile| profile.stuck_cursor = true)),
        ("small channel", tuned(|profile| profile.channel_capacity = 1)),
        ("slow answers", tuned(|profile| profile.answer_latency = Duration::from_secs(1))),
        ("short connections", tuned(|profile| profile.connection_lifetime = Some(Duration::from_secs(3)))),
    ]);
    kinds
}

/// The content type without its prefix.
pub fn kind(item: &Value) -> &str {
    let full = item["ContentType"].as_str().unwrap_or_else(|| item["Type"].as_str().unwrap());
    full.strip_prefix("application/vnd.amazonaws.connect.").unwrap_or(full)
}

#[derive(Clone)]
pub struct Client<'a> {
    pub rig: &'a Rig,
    pub contact: String,
    pub participant: String,
    pub token: String,
    pub connection: String,
    pub url: String,
}

impl<'a> Client<'a> {
    pub async fn new(rig: &'a Rig, contact: &Value, participant: &Value, token: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let mut client = Self {
            rig,
            contact: text(contact),
            participant: text(participant),
            token: text(token),
            connection: String::new(),
            url: String::new(),
        };
        client.reconnect().await;
        client
    }

    pub async fn reconnect(&mut self) {
        let body = json!({"Type": ["WEBSOCKET", "CONNECTION_CREDENTIALS"]});
        let answer = self.rig.post("/participant/connection", &self.token, body).await.ok();
        self.connection = answer["ConnectionCredentials"]["ConnectionToken"].as_str().unwrap().to_owned();
        self.url = answer["Websocket"]["Url"].as_str().unwrap().to_owned();
    }

    /// An open, subscribed socket.
    pub async fn socket(&self) -> Socket {
        let mut socket = self.rig.socket(&self.url).await.unwrap();
        socket.subscribe().await;
        socket
    }

    pub async fn post(&self, operation: &str, body: Value) -> Answer {
        self.rig.post(&format!("/participant/{operation}"), &self.connection, body).await
    }

    pub async fn say(&self, text: &str) -> Value {
        self.post("message", json!({"ContentType": "text/plain", "Content": text})).await.ok()
    }

    pub async fn event(&self, kind: &str, message: Option<&Value>) -> Answer {
        let mut body = json!({"ContentType": format!("application/vnd.amazonaws.connect.event.{kind}")});
        if let Some(id) = message {
            body["Content"] = json!(json!({"messageId": id}).to_string());
            body["ClientToken"] = json!("INCOMING_READ_RECEIPT");
        }
        self.post("event", body).await
    }

    /// The whole transcript, newest page first, each page as asked.
    pub async fn pages(&self, mut ask: Value) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        loop {
            let page = self.post("transcript", ask.clone()).await.ok();
            pages.push(page["Transcript"].as_array().unwrap().clone());
            match page["NextToken"].as_str() {
                None | Some("") => return pages,
                Some(token) => ask["NextToken"] = json!(token),
            }
            assert!(pages.len() < 500, "pages without end");
        }
    }

    pub async fn transcript(&self) -> Vec<Value> {
        self.pages(json!({"MaxResults": 100, "SortOrder": "ASCENDING"}))
            .await
            .into_iter()
            .rev()
            .flatten()
            .collect()
    }
}

#[derive(Debug)]
pub struct Socket(pub WebSocketStream<DuplexStream>);

impl Socket {
    pub async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub async fn subscribe(&mut self) {
        self.send(r#"{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}"#).await;
        let answer = self.frame().await.expect("an answer");
        assert_eq!(
            answer,
            r#"{"topic":"aws/subscribe","content":{"status":"success","topics":["aws/chat"]}}"#
        );
    }

    /// The next text frame; `None` once closed.
    pub async fn frame(&mut self) -> Option<String> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a frame in time")? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn item(&mut self) -> Value {
        let text = self.frame().await.expect("an item before the end");
        match decode_frame(&text) {
            Frame::Chat(item) => serde_json::from_str(&item).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Items up to the first of `wanted`, which is the last of the list.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut items = Vec::new();
        loop {
            let item = self.item().await;
            items.push(item);
            if wanted(items.last().unwrap()) {
                return items;
            }
        }
    }

    pub async fn text(&mut self, text: &str) -> Value {
        self.until(|item| item["Content"] == text).await.pop().unwrap()
    }

    /// Whether nothing comes for a second.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_secs(1), self.0.next()).await.is_err()
    }
}

/// A GET or PUT of a presigned URL.
pub async fn store(rig: &Rig, method: Method, url: &str, headers: &Value, body: impl Into<Bytes>) -> Answer {
    let path = url.strip_prefix(BASE).expect("a URL of the front");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers.as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    rig.send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

pub const OK: u16 = StatusCode::OK.as_u16();
