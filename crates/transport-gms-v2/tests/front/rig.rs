//! A front over the simulated centre, and clients that speak plain HTTP/1.1 to it over in-memory streams.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chat_core::{Timestamp, VirtualClock};
use chat_sim::{Centre, Console, ContactConsole, Profile};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{io::DuplexStream, time::timeout};
use transport_gms_v2::front::{AnswerFault, FrontConfig, FrontFaults, GmsFront, Instead, Operation};

/// Longer than anything that is waited for; virtual.
pub const PATIENCE: Duration = Duration::from_secs(40);
pub const SERVICE: &str = "/genesys/2/chat/customer-support";

pub struct Rig {
    pub console: Console,
    pub front: Arc<GmsFront>,
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

    /// A good reply.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{:?}", self.bytes);
        let json = self.json();
        assert_eq!(json["statusCode"], 0, "{json}");
        json
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// HTTP status, `statusCode` (-1 for none) and the first error's code (0 for none).
    pub fn failure(&self) -> (u16, i64, i64) {
        let json = self.json();
        let code = json["errors"][0]["code"].as_i64().unwrap_or_default();
        (self.status, json["statusCode"].as_i64().unwrap_or(-1), code)
    }
}

impl Rig {
    pub fn new() -> Self {
        Self::with(Profile::push(), |_| {})
    }

    pub fn tuned(tune: impl FnOnce(&mut FrontConfig)) -> Self {
        Self::with(Profile::push(), tune)
    }

    pub fn with(profile: Profile, tune: impl FnOnce(&mut FrontConfig)) -> Self {
        let clock = VirtualClock::starting_at(Timestamp::parse("2026-05-04T09:00:00.250Z").unwrap());
        let centre = Centre::builder().profile(profile).clock(clock.clone()).build();
        let mut config = FrontConfig::new();
        config.clock = clock;
        tune(&mut config);
        let console = centre.console();
        Self { console, front: GmsFront::new(Arc::new(centre.transport()), config) }
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

    /// A form, with headers of the caller's. `None` if no whole answer comes.
    pub async fn try_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Option<Answer> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("host", "gms.example.test").body(Full::new(Bytes::from(body))).unwrap();
        timeout(PATIENCE, self.send(request)).await.ok()?.ok()
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.try_post(path, &[], form).await.expect("an answer")
    }

    pub async fn start_with(&self, extra: &[(&str, &str)]) -> Client<'_> {
        let mut form = vec![("nickname", "Jane")];
        form.extend(extra);
        Client::of(self, &self.post(SERVICE, &form).await.ok())
    }

    pub async fn start(&self) -> Client<'_> {
        self.start_with(&[]).await
    }

    /// A chat, and the centre's side of it.
    pub async fn chat(&self) -> (Client<'_>, ContactConsole) {
        let client = self.start().await;
        (client, self.console.last_contact().expect("the chat has begun"))
    }

    /// From now on `operation` answers otherwise, so many times.
    pub fn instead(&self, operation: Operation, instead: Instead, times: u32) {
        let mut faults = self.front.faults();
        faults.answers.push(AnswerFault::new(operation, instead, times));
        self.front.set_faults(faults);
    }

    pub fn faults(&self, order: impl FnOnce(&mut FrontFaults)) {
        let mut faults = self.front.faults();
        order(&mut faults);
        self.front.set_faults(faults);
    }
}

/// A client that keeps what a start told.
#[derive(Clone)]
pub struct Client<'a> {
    pub rig: &'a Rig,
    pub chat: String,
    pub user: String,
    pub key: String,
    pub alias: String,
    pub started: Value,
}

impl<'a> Client<'a> {
    pub fn of(rig: &'a Rig, started: &Value) -> Self {
        let text = |key: &str| started[key].as_str().expect("a text").to_owned();
        Self {
            rig,
            chat: text("chatId"),
            user: text("userId"),
            key: text("secureKey"),
            alias: text("alias"),
            started: started.clone(),
        }
    }

    pub fn path(&self, operation: &str) -> String {
        format!("{SERVICE}/{}/{operation}", self.chat)
    }

    pub fn form<'b>(&'b self, extra: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let own = [("userId", &*self.user), ("secureKey", &*self.key), ("alias", &*self.alias)];
        own.into_iter().chain(extra.iter().copied()).collect()
    }

    pub async fn call(&self, operation: &str, extra: &[(&str, &str)]) -> Answer {
        self.rig.post(&self.path(operation), &self.form(extra)).await
    }

    pub async fn say(&self, text: &str) -> Value {
        self.call("send", &[("message", text), ("messageType", "text")]).await.ok()
    }

    pub async fn refresh(&self, position: &str) -> Value {
        self.call("refresh", &[("transcriptPosition", position)]).await.ok()
    }

    /// All events, as soon as one of them fits.
    pub async fn until(&self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let waiting = async {
            loop {
                let events = events(&self.refresh("1").await);
                if events.iter().any(&fits) {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("the event comes")
    }

    /// The event with this text, as soon as there is one.
    pub async fn text(&self, text: &str) -> Value {
        let events = self.until(|event| event["text"] == text).await;
        events.into_iter().find(|event| event["text"] == text).unwrap()
    }

    /// The first event of this type, as soon as there is one.
    pub async fn event(&self, kind: &str) -> Value {
        let events = self.until(|event| event["type"] == kind).await;
        events.into_iter().find(|event| event["type"] == kind).unwrap()
    }
}

pub fn events(reply: &Value) -> Vec<Value> {
    reply["messages"].as_array().cloned().unwrap_or_default()
}

/// What of events a reader looks at first: index, type, party and text.
pub fn lines(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let from = &event["from"];
        let who = format!("{}#{}", text(&from["nickname"]), from["participantId"]);
        format!("{} {} {who} {}", event["index"], text(&event["type"]), text(&event["text"]))
    };
    events.iter().map(line).collect()
}

#[test]
fn lines_show_what_is_not_there() {
    assert_eq!(lines(&[json!({"index": 1})]), ["1 - -#null -"]);
}
