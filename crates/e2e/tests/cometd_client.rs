//! Owns the check with a Bayeux client that is not ours: the CometD project's own, unmodified, in Node, holds a whole conversation
//! with the GMS front over loopback sockets, cut and restarted. This test is the agent; `cometd/conversation.mjs` is the customer.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

#[path = "../../chatctl/src/demo/cable.rs"]
mod cable;

use std::{path::Path, sync::Arc};

use cable::Cable;
use chat_core::{AttachmentStatus, Role, SystemClock};
use chat_sim::{Centre, ContactConsole, Profile};
use e2e::{
    node::{self, Program},
    within,
};
use serde_json::{Value, json};
use transport_gms_v2::{
    bayeux::server::ServerConfig,
    front::{FrontConfig, GmsFront},
};

const NAME: &str = "of the CometD project's client";

/// A centre behind the front, on a loopback port, behind a cable.
struct House {
    centre: Centre,
    front: Arc<GmsFront>,
    cable: Cable,
}

impl House {
    async fn open(cometd: ServerConfig) -> Self {
        let centre = Centre::builder().profile(Profile::push()).clock(Arc::new(SystemClock)).build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Cable::lay(listener.local_addr().unwrap()).await.unwrap();
        let mut config = FrontConfig::new();
        config.cometd = Some(cometd);
        let front = GmsFront::new(Arc::new(centre.transport()), config);
        let served = Arc::clone(&front);
        tokio::spawn(async move { served.serve(listener).await });
        Self { centre, front, cable }
    }

    async fn agent(&self) -> ContactConsole {
        within("a contact", self.centre.console().wait_for_contact()).await.as_agent("Maria")
    }

    /// What the agent does at a cue of the customer.
    async fn act(&self, cue: &str, told: &Value) {
        let agent = self.agent().await;
        match cue {
            "connected" => drop(agent.say("Hello, this is Maria").unwrap()),
            "typing" => {
                within("the typing", agent.wait_for(|truth| truth.typing.iter().any(|one| one.on))).await;
                agent.types(true).unwrap();
            }
            "file" => drop(agent.send_file("all bytes.pdf", "application/pdf", all_bytes()).unwrap()),
            "cut" => self.cable.cut(),
            "lost" => {
                agent.say("Still there?").unwrap();
                self.cable.mend();
            }
            "restart" => {
                agent.say("We had to restart").unwrap();
                self.front.cometd().expect("it is served").restart();
            }
            "burst" => {
                for number in 0..told["count"].as_u64().unwrap() {
                    agent.say(format!("agent {number}")).unwrap();
                }
            }
            other => panic!("a cue that nobody knows: {other}"),
        }
    }
}

/// Every byte value.
fn all_bytes() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

/// What the customer's file is made of; the program makes it in the same way.
fn picture() -> Vec<u8> {
    (0..7_001_u32).map(|index| u8::try_from(index * 31 % 251).expect("less than 251")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bayeux_client_that_is_not_ours_holds_a_conversation_with_the_front() {
    let folder = match node::installed("cometd", Path::new(env!("CARGO_TARGET_TMPDIR"))).await {
        Ok(folder) => folder,
        Err(reason) => return e2e::skip(NAME, &reason),
    };
    for transport in ["long-polling", "websocket"] {
        for (acknowledged, subscribes) in [(false, true), (true, false)] {
            converse(&folder, transport, acknowledged, subscribes).await;
        }
    }
}

async fn converse(folder: &Path, transport: &str, acknowledged: bool, subscribes: bool) {
    let mut cometd = ServerConfig::default();
    cometd.acknowledge = acknowledged;
    // Sockets are not opened with the cookie that a handshake over one would have brought.
    cometd.require_browser = transport == "long-polling";
    let house = House::open(cometd).await;
    let base = format!("http://{}/genesys", house.cable.address());
    let options = json!({
        "url": format!("{base}/cometd"),
        "service": "customer-support",
        "transport": transport,
        "ack": acknowledged,
        "subscribe": subscribes,
        "companion": format!("{base}/2/chat-ntf"),
    });
    let mut client = Program::start(folder, "conversation.mjs", &[&options.to_string()]);
    let (mut summary, mut handshakes) = (Value::Null, Vec::new());
    while let Some(told) = client.next().await {
        if let Some(cue) = told["cue"].as_str() {
            house.act(cue, &told).await;
        }
        if told["observed"] == "handshake" {
            handshakes.push(told["data"].clone());
        }
        if let Some(told) = told.get("summary") {
            summary = told.clone();
        }
    }
    client.ended_well().await;
    let context = format!("{transport}, acknowledged: {acknowledged}, subscribes: {subscribes}");
    assert_eq!(handshakes.len(), 2, "{context}: at the beginning, and at the restart");
    for handshake in &handshakes {
        let types = handshake["types"].as_array().unwrap();
        assert!(types.iter().any(|known| known == transport), "{context}: {types:?}");
        assert_eq!(handshake["ext"]["ack"].as_bool().unwrap_or_default(), acknowledged, "{context}");
    }
    assert_eq!(summary["sameSession"], true, "{context}: a cut is no reason to begin anew");
    check(&house, &summary, &context).await;
}

/// What the customer was shown, against the centre's truth.
async fn check(house: &House, told: &Value, context: &str) {
    let agent = house.agent().await;
    let truth = within("the end of the chat", agent.wait_for(|truth| truth.ended.is_some())).await;
    assert_eq!(truth.customer.name.as_deref(), Some("Jane"));
    assert_eq!(truth.request.user_data.0.get("orderId").map(String::as_str), Some("A-17"));
    assert!(truth.present.iter().all(|who| who.role != Role::Customer));

    let transcript = told["transcript"].as_array().unwrap();
    let texts: Vec<_> = transcript
        .iter()
        .filter(|item| item["type"] == "Message")
        .map(|item| (item["from"]["type"] == "Client", item["text"].as_str().unwrap()))
        .collect();
    let stored: Vec<_> = truth.items.iter().filter_map(|item| Some((item.own, item.text()?))).collect();
    assert_eq!(texts[..4], stored[..4], "{context}: in order, as long as one spoke after the other");
    for own in [true, false] {
        // Who of two that speak at once was first, the front tells its clients as it has heard it.
        let of = |texts: &[(bool, &str)]| -> Vec<String> {
            texts.iter().filter(|(by, _)| *by == own).map(|(_, text)| (*text).to_owned()).collect()
        };
        assert_eq!(of(&texts), of(&stored), "{context}: everything once, in order");
    }
    assert_eq!(texts.len(), 4 + 2 * told["burst"].as_u64().unwrap() as usize);
    assert_eq!(told["conflicts"], json!([]), "{context}: an index stands for one event");
    assert!(truth.typing.iter().any(|typing| typing.on));

    assert_eq!(told["echo"]["messageType"], "text;token=1-2-3", "as it was sent");
    assert_eq!(told["echo"]["from"], told["joined"]["from"], "the own party");
    assert_eq!(told["typing"]["from"]["nickname"], "Maria");

    let [own, theirs] = [&truth.files[0], &truth.files[1]];
    assert_eq!([own.1, theirs.1], [AttachmentStatus::Approved; 2]);
    let uploaded = &told["uploaded"]["own"]["userData"];
    assert_eq!(
        (&uploaded["file-name"], &uploaded["file-size"]),
        (&json!("picture.png"), &json!(picture().len().to_string()))
    );
    assert!(told["uploaded"]["limits"]["upload-max-files"].is_string());
    assert_eq!(told["downloaded"]["file"]["userData"]["file-name"], "all bytes.pdf");
    let hex: String = all_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told["downloaded"]["hex"], hex);
    assert_eq!(house.front.open_chats(), 0);
}
