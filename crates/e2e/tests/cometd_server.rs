//! Owns the check with a Bayeux server that is not ours: a chat service on the CometD project's server for Node, unmodified, is
//! spoken to, killed and restarted. This test is the agent; `cometd/stub.mjs` is the service.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

#[path = "../../chatctl/src/demo/cable.rs"]
mod cable;

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use cable::Cable;
use chat_core::{
    BackoffPolicy, ChatEvent, ChatSession, Content, EndReason, Events, SessionSettings, Snapshot,
    StartRequest,
};
use e2e::{
    node::{self, Program},
    within,
};
use serde_json::{Value, json};
use transport_gms_v2::{CometdConfig, GmsTransport, Timings};

const NAME: &str = "of the CometD project's server";

/// The service, and the file that outlives it.
struct Stub {
    folder: PathBuf,
    chats: PathBuf,
    acknowledged: bool,
    port: u16,
    program: Program,
}

impl Stub {
    /// Without chats, on a free port. `name` is its own among the tests.
    async fn start(folder: &Path, name: &str, acknowledged: bool) -> Self {
        let chats = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
        let _ = fs::remove_file(&chats);
        let (port, program) = run(folder, 0, &chats, acknowledged).await;
        Self { folder: folder.to_owned(), chats, acknowledged, port, program }
    }

    /// Again, with its chats, where it was.
    async fn restart(&mut self) {
        (_, self.program) = run(&self.folder, self.port, &self.chats, self.acknowledged).await;
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The agent acts, and has acted.
    async fn agent(&mut self, act: &str, argument: impl Into<Value>) {
        self.program.tell(&json!({ act: argument.into() })).await;
        while self.program.next().await.expect("it goes on")["acted"] != act {}
    }

    /// What the file holds of the newest chat, in order.
    fn items(&self) -> Vec<Value> {
        let facts = fs::read_to_string(&self.chats).unwrap();
        let facts: Vec<Value> = facts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let chat = &facts.last().unwrap()["chat"];
        facts
            .iter()
            .filter(|fact| fact["chat"] == *chat)
            .map(|fact| &fact["item"])
            .filter(|item| item.is_object())
            .cloned()
            .collect()
    }

    /// The texts of the newest chat, and whose they are.
    fn texts(&self) -> Vec<(String, String)> {
        texts(&self.items())
    }

    /// Something happens in the newest chat while no node serves it.
    fn happens_meanwhile(&self, text: &str) {
        let facts = fs::read_to_string(&self.chats).unwrap();
        let newest: Value = serde_json::from_str(facts.lines().last().unwrap()).unwrap();
        let index = newest["item"]["index"].as_u64().unwrap() + 1;
        let from = json!({ "nickname": "Maria", "participantId": 2, "type": "Agent" });
        let item = json!({ "index": index, "utcTime": 0, "type": "Message", "from": from, "text": text });
        let mut file = fs::File::options().append(true).open(&self.chats).unwrap();
        writeln!(file, "{}", json!({ "chat": newest["chat"], "item": item })).unwrap();
    }
}

async fn run(folder: &Path, port: u16, chats: &Path, acknowledged: bool) -> (u16, Program) {
    let (port, chats) = (port.to_string(), chats.to_str().unwrap());
    let mut arguments = vec![port.as_str(), chats];
    arguments.extend(acknowledged.then_some("ack"));
    let mut program = Program::start(folder, "stub.mjs", &arguments);
    let told = program.next().await.expect("it listens");
    (u16::try_from(told["listening"].as_u64().unwrap()).unwrap(), program)
}

/// Who said what.
fn texts(items: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    items
        .iter()
        .filter(|item| item["type"] == "Message")
        .map(|item| (text(&item["from"]["type"]), text(&item["text"])))
        .collect()
}

/// The service is what it is taken for: the CometD project's own client holds a whole conversation with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_serves_a_client_that_is_not_ours() {
    let folder = match node::installed("cometd", Path::new(env!("CARGO_TARGET_TMPDIR"))).await {
        Ok(folder) => folder,
        Err(reason) => return e2e::skip(NAME, &reason),
    };
    for acknowledged in [false, true] {
        let mut stub = Stub::start(&folder, &format!("not-ours-{acknowledged}"), acknowledged).await;
        let cable = Cable::lay(stub.address()).await.unwrap();
        let client = json!({
            "url": format!("http://{}/genesys/cometd", cable.address()),
            "service": "customer-support",
            "transport": "long-polling",
            "ack": acknowledged,
            "subscribe": acknowledged,
        });
        let mut client = Program::start(&folder, "conversation.mjs", &[&client.to_string()]);
        let mut summary = Value::Null;
        while let Some(told) = client.next().await {
            match told["cue"].as_str() {
                Some("connected") => {
                    stub.agent("join", "Maria").await;
                    stub.agent("say", "Hello, this is Maria").await;
                }
                Some("typing") => stub.agent("type", true).await,
                Some("cut") => cable.cut(),
                Some("lost") => {
                    stub.agent("say", "Still there?").await;
                    cable.mend();
                }
                Some("restart") => {
                    stub.program.kill().await;
                    stub.happens_meanwhile("We had to restart");
                    stub.restart().await;
                }
                Some("burst") => {
                    for number in 0..told["count"].as_u64().unwrap() {
                        stub.agent("say", format!("agent {number}")).await;
                    }
                }
                Some(other) => panic!("a cue that nobody knows: {other}"),
                None => {}
            }
            if let Some(told) = told.get("summary") {
                summary = told.clone();
            }
        }
        client.ended_well().await;
        assert_eq!(texts(summary["transcript"].as_array().unwrap()), stub.texts());
        assert_eq!(summary["conflicts"], json!([]));
        assert_eq!(summary["echo"]["messageType"], "text;token=1-2-3");
        assert_eq!(stub.texts().len(), 4 + 2 * summary["burst"].as_u64().unwrap() as usize);
    }
}

/// A customer of ours.
struct Customer {
    session: ChatSession,
    events: Events,
}

impl Customer {
    async fn start(cable: &Cable) -> Self {
        let url = format!("http://{}/genesys/cometd", cable.address());
        let mut timings = Timings::default();
        // The service stores at once what it gets.
        timings.settle_within = Duration::from_secs(1);
        let builder = GmsTransport::builder().cometd(CometdConfig::new(url)).timings(timings);
        let transport = builder.build().unwrap();
        let backoff = BackoffPolicy::default()
            .with_base(Duration::from_millis(50))
            .with_cap(Duration::from_millis(200));
        let settings = SessionSettings::default().with_backoff(backoff);
        let session = ChatSession::builder(transport).settings(settings);
        let session = within("the start", session.start(StartRequest::named("Jane"))).await.unwrap();
        let events = session.events();
        Self { session, events }
    }

    /// Waits until the transcript is such.
    async fn sees(&mut self, what: &str, met: impl Fn(&Snapshot) -> bool) {
        within(what, async {
            while !met(&self.session.transcript()) {
                assert!(self.events.next().await.is_some(), "the session is over before {what}");
            }
        })
        .await;
    }

    async fn sees_text(&mut self, text: &str) {
        self.sees(text, |transcript| said(transcript).iter().any(|(_, said)| said == text)).await;
    }

    async fn says(&self, text: &str) {
        within(text, self.session.send_text(text).unwrap()).await.unwrap();
    }
}

/// Who said what, as it is shown.
fn said(transcript: &Snapshot) -> Vec<(String, String)> {
    transcript
        .iter()
        .filter_map(|row| match row.content() {
            Some(Content::Text(text)) => {
                let from = if row.is_own() { "Client" } else { "Agent" };
                Some((from.to_owned(), text.body.to_string()))
            }
            _ => None,
        })
        .collect()
}

/// The session goes on when its server is killed at any moment and comes back with its chats: nothing is lost, nothing doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_when_the_server_is_killed_and_restarted() {
    let folder = match node::installed("cometd", Path::new(env!("CARGO_TARGET_TMPDIR"))).await {
        Ok(folder) => folder,
        Err(reason) => return e2e::skip(NAME, &reason),
    };
    for acknowledged in [false, true] {
        let mut stub = Stub::start(&folder, &format!("ours-{acknowledged}"), acknowledged).await;
        let cable = Cable::lay(stub.address()).await.unwrap();
        let mut customer = Customer::start(&cable).await;
        stub.agent("join", "Maria").await;
        stub.agent("say", "Hello, this is Maria").await;
        customer.sees_text("Hello, this is Maria").await;
        customer.says("Grüße & 100 % <b>=</b> + \u{1F44B}\u{1F3FD}").await;

        // The network is cut, the server knows its session still.
        cable.cut();
        stub.agent("say", "Still there?").await;
        cable.mend();
        customer.sees_text("Still there?").await;

        // The server is killed while nobody says anything; both sides go on meanwhile.
        stub.program.kill().await;
        stub.happens_meanwhile("We had to restart");
        let waiting = customer.session.send_text("Are you there?").unwrap();
        stub.restart().await;
        within("what waited", waiting).await.unwrap();
        customer.sees_text("We had to restart").await;

        // It is killed when it has a message, and has not said so.
        stub.agent("die", "after the next message").await;
        let unanswered = customer.session.send_text("Did this arrive?").unwrap();
        stub.program.ended().await;
        assert_eq!(stub.texts().last().unwrap().1, "Did this arrive?", "it did");
        stub.restart().await;
        within("what was unanswered", unanswered).await.unwrap();

        stub.agent("say", "Goodbye").await;
        customer.sees_text("Goodbye").await;
        customer.sees("the whole", |transcript| transcript.iter().all(|row| row.gap().is_none())).await;
        stub.agent("end", true).await;
        let ended = async {
            loop {
                if let ChatEvent::Ended(reason) = customer.events.next().await.expect("the end is the last") {
                    return reason;
                }
            }
        };
        assert_ne!(within("the end", ended).await, EndReason::Left, "it is the agent's end");
        let transcript = customer.session.transcript();
        assert_eq!(said(&transcript), stub.texts(), "once each, in order");
        assert!(transcript.iter().all(|row| row.gap().is_none()));
        assert_eq!(stub.texts().len(), 7);
    }
}
