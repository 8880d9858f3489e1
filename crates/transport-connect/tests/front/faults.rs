//! What goes wrong: on order, at the backend, and at the client.

use std::time::Duration;

use chat_core::Capability;
use chat_sim::{CommandKind, FaultError, FaultErrorKind, Profile};
use serde_json::json;
use tokio::time::timeout;
use transport_connect::front::{AnswerFault, FrontFaults, Instead, Operation};

use crate::rig::{Rig, kind, kinds};

fn faults(change: impl FnOnce(&mut FrontFaults)) -> FrontFaults {
    let mut faults = FrontFaults::default();
    change(&mut faults);
    faults
}

#[tokio::test(start_paused = true)]
async fn ordered_answers_come_as_often_as_ordered() {
    let rig = Rig::new();
    let (client, _socket, contact) = rig.chat().await;
    for (instead, status, error) in [
        (Instead::Error(500), 500, "InternalServerException"),
        (Instead::Error(429), 429, "ThrottlingException"),
        (Instead::Error(403), 403, "AccessDeniedException"),
        (Instead::Error(503), 503, "InternalServerException"),
        (Instead::GatewayForbidden, 403, ""),
        (Instead::Html(502), 502, ""),
        (Instead::BrokenJson, 200, ""),
    ] {
        rig.front
            .set_faults(faults(|f| f.answers = vec![AnswerFault::new(Operation::SendMessage, instead, 2)]));
        for _ in 0..2 {
            let answer = client.post("message", json!({"ContentType": "text/plain", "Content": "x"})).await;
            assert_eq!(answer.error(), (status, error));
            client.post("transcript", json!({})).await.ok();
        }
    }
    client.say("x").await;
    assert_eq!(contact.truth().own_texts(), ["x"], "nothing was done before");
    rig.front.set_faults(faults(|f| {
        f.answers = vec![AnswerFault::new(Operation::SendMessage, Instead::RetryAfter(7), 1)]
    }));
    let answer = client.post("message", json!({})).await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (429, "7"));
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_answer_was_lost_is_stored_once() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    for (n, instead) in [Instead::LoseAnswer, Instead::HangAfterwards].into_iter().enumerate() {
        let text = format!("once {n}");
        rig.front
            .set_faults(faults(|f| f.answers = vec![AnswerFault::new(Operation::SendMessage, instead, 1)]));
        let body = json!({"ContentType": "text/plain", "Content": text, "ClientToken": text});
        let path = "/participant/message";
        assert!(rig.try_call(http::Method::POST, path, &client.connection, body.clone()).await.is_none());
        let item = socket.text(&text).await;
        assert_eq!(client.post("message", body).await.ok()["Id"], item["Id"]);
        assert!(socket.is_silent().await);
    }
    assert_eq!(contact.truth().own_texts(), ["once 0", "once 1"]);
}

/// hyper drops a handler when its client goes: the message is stored all the same.
#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_does_not_stop_its_message() {
    let latency = Duration::from_secs(2);
    let rig = Rig::with(Profile::push().tuned(|profile| profile.answer_latency = latency), |_| {});
    let (client, mut socket, contact) = rig.chat().await;
    let body = json!({"ContentType": "text/plain", "Content": "gone", "ClientToken": "t"});
    let given_up = timeout(Duration::from_secs(1), client.post("message", body.clone())).await;
    assert!(given_up.is_err());
    let item = socket.text("gone").await;
    assert_eq!(client.post("message", body).await.ok()["Id"], item["Id"]);
    assert_eq!(contact.truth().own_texts(), ["gone"]);
}

#[tokio::test(start_paused = true)]
async fn the_gateway_can_be_deaf_dumb_and_rude() {
    let rig = Rig::new();
    let (mut client, mut socket, contact) = rig.chat().await;
    rig.front.set_faults(faults(|f| f.refuse_upgrades = 1));
    client.reconnect().await;
    assert_eq!(rig.socket(&client.url).await.unwrap_err(), 403);
    let mut other = rig.socket(&client.url).await.expect("the URL is not used up by a refusal");

    let subscribe = r#"{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}"#;
    rig.front.set_faults(faults(|f| {
        f.ignore_subscribes = 1;
        f.refuse_subscribes = 1;
    }));
    other.send(subscribe).await;
    assert!(other.is_silent().await);
    other.send(subscribe).await;
    assert!(other.frame().await.unwrap().contains(r#""status":"failure""#));
    contact.as_system().say("not for the deaf").unwrap();
    socket.text("not for the deaf").await;
    assert!(other.is_silent().await);
    other.subscribe().await;
    assert!(other.is_silent().await, "nothing is replayed");

    rig.front.set_faults(faults(|f| {
        f.ignore_heartbeats = 1;
        f.ignore_pings = 1;
        f.fail_pings = 1;
    }));
    for frame in [r#"{"topic":"aws/heartbeat"}"#, r#"{"topic":"aws/ping"}"#] {
        other.send(frame).await;
        assert!(other.is_silent().await);
    }
    other.send(r#"{"topic":"aws/ping"}"#).await;
    assert_eq!(
        other.frame().await.unwrap(),
        r#"{"topic":"aws/ping","statusCode":500,"statusContent":"Failure"}"#
    );
    for (ask, answer) in [
        (r#"{ "topic": "aws/heartbeat" }"#, r#"{"topic":"aws/heartbeat"}"#),
        (r#"{"topic":"aws/ping"}"#, r#"{"topic":"aws/ping","statusCode":200,"statusContent":"OK"}"#),
    ] {
        other.send(ask).await;
        assert_eq!(other.frame().await.unwrap(), answer);
    }
    other.send("nonsense").await;
    assert!(other.frame().await.unwrap().contains("Forbidden"));
    rig.front.send_frame(r#"{"message":"Forbidden"}"#);
    for one in [&mut other, &mut socket] {
        assert_eq!(one.frame().await.unwrap(), r#"{"message":"Forbidden"}"#);
    }
    rig.front.send_item(&client.contact, r#"{"Type":"HOLOGRAM"}"#);
    assert_eq!(socket.until(|item| item["Type"] == "HOLOGRAM").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn items_can_be_doubled_swapped_lost_and_crippled() {
    let rig = Rig::new();
    let (_client, mut socket, contact) = rig.chat().await;
    rig.front.set_faults(faults(|f| {
        f.drop_items = 1;
        f.duplicate_items = 1;
    }));
    for text in ["lost", "twice"] {
        contact.as_system().say(text).unwrap();
    }
    // The faults of an item combine: what is doubled could be overtaken too.
    let doubled = [socket.item().await, socket.item().await];
    assert!(doubled.iter().all(|item| item["Content"] == "twice"));
    rig.front.set_faults(faults(|f| f.reorder_items = 1));
    for text in ["late", "early", "last"] {
        contact.as_system().say(text).unwrap();
    }
    let items = socket.until(|item| item["Content"] == "last").await;
    let texts: Vec<_> = items.iter().map(|item| item["Content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["early", "late", "last"]);
    rig.front.set_faults(faults(|f| f.omit_members = vec!["Id".into(), "DisplayName".into()]));
    contact.as_system().say("nameless").unwrap();
    let item = socket.item().await;
    assert!(item.get("Id").is_none() && item.get("DisplayName").is_none());
    assert_eq!(item["Content"], "nameless");
}

/// Nobody waits for a client that does not read: it is cut off, and fills its gap from the transcript.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let rig = Rig::new();
    let (mut client, mut socket, contact) = rig.chat().await;
    client.reconnect().await;
    let mut deaf = client.socket().await;
    let long = "x".repeat(1000);
    for n in 0..1500 {
        contact.as_system().say(format!("{n} {long}")).unwrap();
        assert!(socket.item().await["Content"].as_str().unwrap().starts_with(&format!("{n} ")));
    }
    while rig.front.open_sockets() > 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut got = 0;
    while deaf.frame().await.is_some() {
        got += 1;
    }
    assert!((10..1500).contains(&got), "{got}");
    assert_eq!(client.transcript().await.len(), 1501);
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_with_a_token_hides_nothing() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    contact.as_system().say_many(9).unwrap();
    contact.as_system().say("last").unwrap();
    socket.text("last").await;
    let whole = client.transcript().await;
    rig.front.set_faults(faults(|f| f.empty_pages = 3));
    let pages = client.pages(json!({"MaxResults": 4, "SortOrder": "ASCENDING"})).await;
    assert_eq!(pages.iter().filter(|page| page.is_empty()).count(), 3);
    assert_eq!(pages.into_iter().rev().flatten().collect::<Vec<_>>(), whole);
}

#[tokio::test(start_paused = true)]
async fn sockets_are_cut_closed_and_come_back() {
    let rig = Rig::new();
    let (mut client, mut socket, contact) = rig.chat().await;
    rig.front.cut_sockets();
    assert!(socket.frame().await.is_none());
    contact.as_system().say("missed").unwrap();
    client.reconnect().await;
    let mut socket = client.socket().await;
    rig.front.close_sockets(1001);
    assert!(socket.frame().await.is_none());
    client.reconnect().await;
    let mut socket = client.socket().await;
    contact.as_system().say("heard").unwrap();
    socket.text("heard").await;
    let texts = client.transcript().await;
    assert!(["missed", "heard"].iter().all(|text| texts.iter().any(|item| item["Content"] == *text)));
    // A client without a sign of life is let go.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(socket.frame().await.is_none());
    rig.front.expire_tokens();
    assert_eq!(client.post("transcript", json!({})).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_lost_comes_back_without_gap_or_repetition() {
    for (name, profile) in kinds() {
        println!("{name}");
        let rig = Rig::with(profile, |_| {});
        let (client, mut socket, contact) = rig.chat().await;
        let agent = contact.as_agent("Sam");
        agent.say("before").unwrap();
        socket.text("before").await;
        rig.console.network().cut();
        for n in 0..3 {
            agent.say(format!("away {n}")).unwrap();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.console.network().heal();
        agent.say("after").unwrap();
        let mut texts: Vec<String> = Vec::new();
        while texts.len() < 4 {
            texts.extend(socket.item().await["Content"].as_str().map(str::to_owned));
        }
        texts.sort();
        assert_eq!(texts, ["after", "away 0", "away 1", "away 2"], "{name}");
        client.say("own").await;
        socket.text("own").await;
        assert!(socket.is_silent().await, "{name}");
        let transcript = client.transcript().await;
        assert_eq!(transcript.iter().filter(|item| kind(item) == "text/plain").count(), 6, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_at_the_backend_is_settled() {
    for (name, profile) in kinds() {
        println!("{name}");
        let rig = Rig::with(profile, |_| {});
        let (client, mut socket, contact) = rig.chat().await;
        rig.console.network().store_then_cut(CommandKind::Text);
        let body = json!({"ContentType": "text/plain", "Content": "once", "ClientToken": "t"});
        let first = client.post("message", body.clone()).await;
        let item = socket.text("once").await;
        if first.status == 200 {
            assert_eq!(first.json()["Id"], item["Id"], "{name}");
            assert_eq!(client.post("message", body).await.ok()["Id"], item["Id"], "{name}");
        }
        assert_eq!(contact.truth().own_texts(), ["once"], "{name}");
        assert!(socket.is_silent().await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_backends_refusals_become_the_services() {
    let rig = Rig::new();
    let (client, _socket, _) = rig.chat().await;
    for (kind, expected) in [
        (FaultErrorKind::Server, (500, "InternalServerException")),
        (FaultErrorKind::RateLimited, (429, "ThrottlingException")),
        (FaultErrorKind::Refused, (400, "ValidationException")),
        (FaultErrorKind::AccessDenied, (403, "AccessDeniedException")),
    ] {
        let error = FaultError::new(kind);
        rig.console.network().fail_next(CommandKind::Typing, error);
        assert_eq!(client.event("typing", None).await.error(), expected);
    }
    let error = FaultError::rate_limited(Some(Duration::from_secs(3)));
    rig.console.network().refuse_connects(1, error);
    let start = json!({"InstanceId": "i", "ContactFlowId": "f", "ParticipantDetails": {"DisplayName": "J"}});
    let refused = rig.call(http::Method::PUT, "/contact/chat", "", start).await;
    assert_eq!(refused.error(), (429, "TooManyRequestsException"));
    assert_eq!(refused.headers["retry-after"], "3");
    assert_eq!(rig.front.open_contacts(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_front() {
    let rig = Rig::new();
    let (_client, mut socket, contact) = rig.chat().await;
    assert!(rig.front.running_tasks() >= 2);
    assert_eq!(contact.truth().connections, 1);
    rig.front.shutdown();
    assert!(socket.frame().await.is_none());
    contact.wait_for(|truth| truth.connections == 0).await;
    while rig.front.running_tasks() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(contact.truth().ended.is_none(), "closing a front ends no chat");

    let rig = Rig::new();
    let (_, mut socket, contact) = rig.chat().await;
    drop(rig);
    assert!(socket.frame().await.is_none());
    contact.wait_for(|truth| truth.connections == 0).await;
}

/// A planned renewal opens the new backend connection before the old one goes.
#[tokio::test(start_paused = true)]
async fn a_backend_connection_is_replaced_before_its_end() {
    let life = Duration::from_secs(600);
    let rig = Rig::with(Profile::push().tuned(|profile| profile.connection_lifetime = Some(life)), |_| {});
    let (_client, mut socket, contact) = rig.chat().await;
    for minute in 1..30 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        socket.send(r#"{"topic":"aws/heartbeat"}"#).await;
        socket.frame().await.unwrap();
        contact.as_system().say(format!("minute {minute}")).unwrap();
        socket.text(&format!("minute {minute}")).await;
        assert!(contact.truth().connections >= 1, "never without a connection");
    }
    assert!((4..=6).contains(&contact.truth().connects), "{}", contact.truth().connects);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_for_nothing_is_closed() {
    use tokio::io::AsyncReadExt;
    let rig = Rig::new();
    let mut idle = rig.connection();
    assert_eq!(
        timeout(Duration::from_secs(90), idle.read_u8()).await.unwrap().unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
}

/// The end of a streamed answer that fell into a gap still comes as its end.
#[tokio::test(start_paused = true)]
async fn a_streamed_answer_survives_the_loss_of_the_backend() {
    let rig = Rig::new();
    let (_client, mut socket, contact) = rig.chat().await;
    let bot = contact.as_bot("BOT");
    let id = bot.begin_stream("Your parcel ").unwrap();
    socket.text("Your parcel ").await;
    rig.console.network().cut();
    bot.stream_piece(&id, "left.").unwrap();
    bot.finish_stream(&id, "Your parcel left.").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.console.network().heal();
    let whole = socket.text("Your parcel left.").await;
    assert_eq!(whole["MessageMetadata"]["MessageCompleted"], true);
    assert!(socket.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_to_expire_say_so_and_are_closed() {
    let rig = Rig::new();
    rig.front.set_faults(faults(|f| f.connection_life = Some(Duration::from_secs(120))));
    let (client, mut short, _) = rig.chat().await;
    let ask = json!({"Type": ["WEBSOCKET"]});
    let answer = rig.post("/participant/connection", &client.token, ask.clone()).await.ok();
    assert_eq!(answer["Websocket"]["ConnectionExpiry"], "2026-05-04T09:02:00.000Z");
    rig.front.set_faults(FrontFaults::default());
    let answer = rig.post("/participant/connection", &client.token, ask).await.ok();
    let mut long = rig.socket(answer["Websocket"]["Url"].as_str().unwrap()).await.unwrap();
    long.subscribe().await;
    for _ in 0..12 {
        for socket in [&mut short, &mut long] {
            socket.send(r#"{"topic":"aws/heartbeat"}"#).await;
            assert!(socket.frame().await.is_some(), "it is alive");
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(short.frame().await, None, "it is closed in time");
    client.say("still there").await;
    long.text("still there").await;
}

#[tokio::test(start_paused = true)]
async fn a_transcript_that_forgets_refuses_what_it_forgot() {
    let rig = Rig::new();
    let (client, _socket, _) = rig.chat().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(client.say(&format!("m {n}")).await["Id"].clone());
    }
    rig.front.keep_newest(&client.contact, 2);
    let texts =
        |items: &[serde_json::Value]| items.iter().map(|item| item["Content"].clone()).collect::<Vec<_>>();
    assert_eq!(texts(&client.transcript().await), ["m 3", "m 4"]);
    let from = |id: &serde_json::Value| json!({"ScanDirection": "FORWARD", "StartPosition": {"Id": id}});
    assert_eq!(client.post("transcript", from(&ids[2])).await.error(), (400, "ValidationException"));
    let page = client.post("transcript", from(&ids[3])).await.ok();
    assert_eq!(texts(page["Transcript"].as_array().unwrap()), ["m 4"]);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_goes_on_after_the_customers_end_is_heard_to_its_own() {
    let rig = Rig::with(Profile::push().with(Capability::Lingering), |_| {});
    let (client, mut socket, contact) = rig.chat().await;
    client.post("disconnect", json!({})).await.ok();
    socket.until(|item| kind(item) == "event.participant.left").await;
    contact.as_system().say("How was it?").unwrap();
    socket.text("How was it?").await;
    contact.end().unwrap();
    socket.until(|item| kind(item) == "event.chat.ended").await;
}
