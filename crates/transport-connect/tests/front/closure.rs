//! A client for the service, in front of a front for the service, is a transport again: chains of them behave like one.

use std::sync::Arc;

use chat_core::{
    ChatSession, Content, LinkState, StartRequest, Text, Timestamp, Transport, View, VirtualClock, WallClock,
};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use chat_sim::{Centre, Profile};
use serde_json::{Value, json};
use transport_connect::{
    ConnectTransport, StartChat,
    front::{ConnectFront, FrontConfig},
};

use crate::rig::{Rig, kind};

/// A front over `inner`, reached by a client through a network in memory.
struct Hop {
    transport: ConnectTransport,
    network: MemoryNetwork,
    front: Arc<ConnectFront>,
}

fn hop(inner: Arc<dyn Transport>, port: u16, clock: Arc<dyn WallClock>) -> Hop {
    let base = format!("http://127.0.0.1:{port}");
    let mut config = FrontConfig::new(&base);
    config.clock = clock;
    let front = ConnectFront::new(inner, config);
    let network = MemoryNetwork::new();
    let mut listener = network.listen(&format!("127.0.0.1:{port}"));
    let serving = Arc::clone(&front);
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(serving.serve_connection(stream));
        }
    });
    let net = Net::in_memory(&network, &NetConfig::default()).unwrap();
    let transport = ConnectTransport::builder()
        .endpoint(&base)
        .start_chat(StartChat::new(format!("{base}/startChatContact")).with_flow("i", "f"))
        .net(net)
        .build()
        .unwrap();
    Hop { transport, network, front }
}

fn clock() -> Arc<VirtualClock> {
    VirtualClock::starting_at(Timestamp::parse("2026-05-04T09:00:00Z").unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_session_talks_through_the_front() {
    let clock = clock();
    let centre = Centre::builder().clock(clock.clone()).build();
    let hop = hop(Arc::new(centre.transport()), 9001, clock);
    let session =
        ChatSession::builder(hop.transport.clone()).start(StartRequest::named("Jane")).await.unwrap();
    let contact = centre.console().wait_for_contact().await;
    let agent = contact.as_agent("Sam");
    let texts = || -> Vec<String> {
        let rows = session.snapshot(View::Full);
        let text = |content: &Content| match content {
            Content::Text(Text { body, .. }) => Some(body.to_string()),
            _ => None,
        };
        rows.iter().filter_map(|row| text(row.content()?)).collect()
    };
    let mut expected = Vec::new();
    for n in 0..10 {
        agent.say(format!("a{n}")).unwrap();
        session.send_text(format!("c{n}")).unwrap().await.unwrap();
        expected.extend([format!("a{n}"), format!("c{n}")]);
    }
    while texts().len() < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(texts(), expected);
    // Everything in between is cut; what was missed is filled in.
    hop.network.cut();
    agent.say_many(150).unwrap();
    let pending = session.send_text("while away").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    hop.network.heal();
    pending.await.unwrap();
    while texts().len() < 171 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(texts().len(), 171);
    assert_eq!(session.link_state(), LinkState::Live);
    assert_eq!(contact.truth().own_texts().len(), 11);
    session.end().await.unwrap();
    assert!(contact.truth().ended.is_some());
    assert_eq!(hop.front.open_contacts(), 0);
}

/// Plain clients on a front over a client of a front over the centre.
#[tokio::test(start_paused = true)]
async fn two_hops_are_as_good_as_one() {
    let clock = clock();
    let centre = Centre::builder().profile(Profile::push()).clock(clock.clone()).build();
    let inner = hop(Arc::new(centre.transport()), 9001, clock.clone());
    let mut config = FrontConfig::new(crate::rig::BASE);
    config.clock = clock;
    let front = ConnectFront::new(Arc::new(inner.transport.clone()), config);
    let rig = Rig { console: centre.console(), front };
    let client = rig.start(json!({"InitialMessage": {"ContentType": "text/plain", "Content": "Hi"}})).await;
    let mut socket = client.socket().await;
    let contact = rig.console.wait_for_contact().await;
    let agent = contact.as_agent("Sam");
    agent.say("How can I help?").unwrap();
    socket.text("How can I help?").await;
    let sent = client.say("My order is late").await;
    let echo = socket.text("My order is late").await;
    assert_eq!(echo["Id"], sent["Id"]);
    client.event("typing", None).await.ok();
    contact.wait_for(|truth| !truth.typing.is_empty()).await;
    agent.types(true).unwrap();
    socket.until(|item| kind(item) == "event.typing" && item["DisplayName"] == "Sam").await;
    agent.say("Let me see").unwrap();
    let message = socket.text("Let me see").await;
    client.event("message.read", Some(&message["Id"])).await.ok();
    contact.wait_for(|truth| !truth.receipts.is_empty()).await;
    let id =
        contact.truth().items.iter().find(|item| item.text() == Some("My order is late")).unwrap().id.clone();
    agent.reads(&id).unwrap();
    let read = socket.until(|item| item["MessageMetadata"]["MessageId"] == sent["Id"]).await.pop().unwrap();
    assert!(read["MessageMetadata"]["Receipts"][0]["ReadTimestamp"].is_string());

    // The backend's network goes away for a while.
    inner.network.cut();
    agent.say_many(30).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    inner.network.heal();
    agent.say("back").unwrap();
    let mut seen: Vec<Value> = Vec::new();
    while seen.iter().filter(|item| kind(item) == "text/plain").count() < 31 {
        seen.push(socket.item().await);
    }
    let transcript = client.transcript().await;
    let times: Vec<_> = contact
        .truth()
        .items
        .iter()
        .filter_map(|item| Some((item.text()?.to_owned(), item.time.to_string())))
        .collect();
    let told: Vec<_> = transcript
        .iter()
        .filter_map(|item| {
            Some((item["Content"].as_str()?.to_owned(), item["AbsoluteTime"].as_str()?.to_owned()))
        })
        .collect();
    assert_eq!(told, times, "every text once, with the centre's time, in the centre's order");
    // What only this service has is passed on to it.
    inner.front.put_view("v", json!({"Id": "return-form"}));
    let view = rig.call(http::Method::GET, "/participant/views/v", &client.connection, json!({})).await;
    assert_eq!(view.ok()["View"]["Id"], "return-form");
    inner.front.put_authentication("s", "https://login.example/");
    let ask = json!({"SessionId": "s", "RedirectUri": "https://shop.example/"});
    assert_eq!(
        client.post("authentication-url", ask).await.ok()["AuthenticationUrl"],
        "https://login.example/"
    );
    client.post("cancel-authentication", json!({"SessionId": "s"})).await.ok();
    socket.until(|item| kind(item) == "event.authentication.cancelled").await;

    client.post("disconnect", json!({})).await.ok();
    let ends = socket.until(|item| kind(item) == "event.chat.ended").await;
    assert_eq!(ends.iter().filter(|item| kind(item) == "event.participant.left").count(), 1);
    assert!(contact.truth().ended.is_some());
}
