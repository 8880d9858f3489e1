//! The order of indexes is the order in which the backend stored things, whatever overtakes what on the way to the front.

use std::time::Duration;

use bytes::Bytes;
use chat_core::LinkState;
use chat_sim::{AckDetail, CommandKind, EventKind, Fault, FaultRule, Point, Profile, When};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    files::{parts, post_parts},
    rig::{Client, PATIENCE, Rig, events},
};

/// Texts, notices and files, in the order of their indexes.
async fn said(client: &Client<'_>) -> Vec<String> {
    let told = events(&client.refresh("1").await);
    let indexes: Vec<_> = told.iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert!(indexes.is_sorted(), "{told:?}");
    let words = |event: &Value| match event["type"].as_str() {
        Some("Message" | "CustomNotice" | "PushUrl") => event["text"].as_str().map(str::to_owned),
        Some("FileUploaded") => event["userData"]["file-name"].as_str().map(str::to_owned),
        Some("NicknameUpdated") => event["from"]["nickname"].as_str().map(str::to_owned),
        _ => None,
    };
    told.iter().filter_map(words).collect()
}

/// From now on everything that the centre tells comes so much later; its answers do not.
fn slow_pushes(rig: &Rig, millis: u64) {
    rig.console.network().add(FaultRule::new(Point::Event(EventKind::Message), Fault::Delay(millis)));
}

/// Centres that say more or less in their answers, and one whose echoes name no send.
fn kinds() -> Vec<(String, Profile)> {
    let tells = |ack| (format!("{ack:?}"), Profile::push().tuned(|profile| profile.ack = ack));
    let mut kinds = [AckDetail::Full, AckDetail::IdOnly, AckDetail::Nothing].map(tells).to_vec();
    kinds.push(("no tokens".to_owned(), Profile::push_without_idempotency()));
    kinds
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_overtakes_what_was_said_before_gives_no_index() {
    for (kind, profile) in kinds() {
        let rig = Rig::with(profile, |_| {});
        let (client, contact) = rig.chat().await;
        slow_pushes(&rig, 300);
        contact.as_agent("Maria").say("A").unwrap();
        client.say("B").await;
        contact.as_agent("Maria").say("C").unwrap();
        client.say("D").await;
        client.text("D").await;
        assert_eq!(said(&client).await, ["A", "B", "C", "D"], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_gets_its_index_where_it_was_stored() {
    for (kind, profile) in kinds() {
        let rig = Rig::with(profile, |_| {});
        let (client, contact) = rig.chat().await;
        slow_pushes(&rig, 300);
        contact.as_agent("Maria").say("A").unwrap();
        let body = parts(&client.form(&[]), ("b.txt", "text/plain", b"hello"), false);
        let reply = post_parts(&rig, &client.path("file"), body).await.ok();
        let id = reply["userData"]["file-id"].as_str().unwrap();
        client.event("FileUploaded").await;
        assert_eq!(said(&client).await, ["A", "b.txt"], "{kind}");
        let file = client.call(&format!("file/{id}/download"), &[]).await;
        assert_eq!(file.bytes, Bytes::from_static(b"hello"), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_polled_is_asked_at_once() {
    for (kind, profile) in [
        ("at first", Profile::polling()),
        ("by history", Profile::polling_with_history()),
        ("by token", Profile::polling_with_tokens()),
    ] {
        let rig = Rig::with(profile, |_| {});
        let (client, contact) = rig.chat().await;
        sleep(Duration::from_secs(4)).await;
        contact.as_agent("Maria").say("A").unwrap();
        let begun = Instant::now();
        client.say("B").await;
        assert!(begun.elapsed() < Duration::from_millis(100), "{kind}: {:?}", begun.elapsed());
        assert_eq!(said(&client).await, ["A", "B"], "{kind}");
    }
}

/// The simulated centre echoes none of these: they wait for as long as an echo might take.
#[tokio::test(start_paused = true)]
async fn what_is_never_echoed_comes_after_what_was_said_before() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    slow_pushes(&rig, 300);
    for (at, (operation, key, value)) in [
        ("customNotice", "message", "B"),
        ("pushUrl", "pushUrl", "https://shop.example.test"),
        ("updateNickname", "nickname", "Janet"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = format!("A {at}");
        contact.as_agent("Maria").say(before.as_str()).unwrap();
        client.call(operation, &[(key, value)]).await.ok();
        let told = said(&client).await;
        assert_eq!(told[2 * at..], [before, value.to_owned()], "{operation}: told by when it is answered");
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_echo_it_is_numbered_in_the_end_and_holds_nobody_up() {
    let within = Duration::from_millis(700);
    let rig = Rig::tuned(|config| config.order_within = within);
    let (client, contact) = rig.chat().await;
    let drop_echo = FaultRule::new(Point::Event(EventKind::Message), Fault::Drop).when(When::Nth(1));
    rig.console.network().add(drop_echo);
    let begun = Instant::now();
    let others = async {
        contact.wait_for_text("B").await;
        contact.as_agent("Maria").say("C").unwrap();
        client.text("C").await;
        assert!(begun.elapsed() < within, "others do not wait");
        assert_eq!(said(&client).await, ["C"]);
    };
    tokio::join!(client.say("B"), others);
    assert_eq!(begun.elapsed(), within, "it is answered once it is numbered");
    assert_eq!(said(&client).await, ["C", "B"]);
    sleep(Duration::from_secs(60)).await;
    client.refresh("1").await;
    assert_eq!(said(&client).await, ["C", "B"], "and stands once");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_ends_keeps_what_had_no_place_yet() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    rig.console
        .network()
        .add(FaultRule::new(Point::Event(EventKind::Message), Fault::Drop).when(When::First(1)));
    let ending = async {
        contact.wait_for_text("B").await;
        contact.as_agent("Maria").end().unwrap();
    };
    tokio::join!(client.say("B"), ending);
    let ended = client.until(|event| event["type"] == "ParticipantLeft").await;
    let kinds: Vec<_> = ended.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let own = ended.iter().position(|event| event["text"] == "B").expect("it was said");
    let left = kinds.iter().position(|kind| *kind == "ParticipantLeft").unwrap();
    assert!(own < left, "{ended:?}");
}

/// What comes live overtakes the pages with what was missed.
#[tokio::test(start_paused = true)]
async fn what_was_missed_stands_before_what_came_meanwhile() {
    let rig = Rig::with(Profile::small_limits(), |_| {});
    let (client, contact) = rig.chat().await;
    let network = rig.console.network();
    let agent = contact.as_agent("Maria");
    agent.say("before").unwrap();
    client.text("before").await;
    network.cut();
    sleep(Duration::from_millis(100)).await;
    let mut expected = vec!["before".to_owned()];
    for number in 0..12 {
        let missed = format!("missed {number}");
        agent.say(missed.as_str()).unwrap();
        expected.push(missed);
    }
    network.heal();
    network.add(FaultRule::new(Point::Submit(CommandKind::History), Fault::Delay(200)));
    let session = rig.front.session(&client.chat).unwrap();
    let back = async {
        while session.link_state() != LinkState::Backfilling {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("the connection is back");
    agent.say("live").unwrap();
    client.text("live").await;
    expected.push("live".to_owned());
    assert_eq!(said(&client).await, expected);
}
