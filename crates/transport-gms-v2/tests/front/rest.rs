//! A chat over REST: start, send, refresh, disconnect; what the transcript shows and where its positions lead.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;
use transport_gms_v2::front::{Instead, Operation};

use crate::rig::{PATIENCE, Rig, SERVICE, events, lines};

#[tokio::test(start_paused = true)]
async fn a_chat_begins_with_its_client_in_it() {
    let rig = Rig::new();
    for path in [SERVICE.to_owned(), format!("{SERVICE}/")] {
        let started = rig.post(&path, &[("nickname", "Jane"), ("userData[orderId]", "A-17")]).await.ok();
        assert_eq!(lines(&events(&started)), ["1 ParticipantJoined Jane#1 -"]);
        assert_eq!(started["messages"][0]["from"]["type"], "Client");
        assert_eq!(started["messages"][0]["utcTime"].as_i64().unwrap() % 1000, 0);
        assert_eq!((&started["chatEnded"], &started["nextPosition"]), (&json!(false), &json!(2)));
        let contact = rig.console.last_contact().unwrap();
        assert_eq!(contact.truth().user_data.0.get("orderId").map(String::as_str), Some("A-17"));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_there_and_back() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let sent = client.say("Hello & goodbye").await;
    assert_eq!((&sent["messages"], &sent["nextPosition"]), (&json!([]), &json!(3)));
    contact.wait_for_text("Hello & goodbye").await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    client.text("Hi!").await;
    let all = events(&client.refresh("1").await);
    assert_eq!(
        lines(&all),
        [
            "1 ParticipantJoined Jane#1 -",
            "2 Message Jane#1 Hello & goodbye",
            "3 ParticipantJoined Maria#2 -",
            "4 Message Maria#2 Hi!",
        ]
    );
    assert_eq!(all[1]["messageType"], "text");
    assert_eq!(all[3]["from"]["type"], "Agent");
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_the_chat() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let ended = client.call("disconnect", &[]).await.ok();
    assert_eq!((&ended["chatEnded"], &ended["messages"]), (&json!(true), &json!([])));
    contact.wait_for(|truth| truth.ended.is_some()).await;
    assert_eq!(lines(&events(&client.refresh("2").await)), ["2 ParticipantLeft Jane#1 -"]);
    assert_eq!(client.call("disconnect", &[]).await.failure(), (200, 2, 249));
    assert_eq!(client.call("send", &[("message", "too late")]).await.failure(), (200, 2, 249));
}

#[tokio::test(start_paused = true)]
async fn an_own_message_comes_back_with_its_type_each_time() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    for kind in ["text;token=1", "text;token=1", "card"] {
        client.call("send", &[("message", "Hello"), ("messageType", kind)]).await.ok();
    }
    client.call("send", &[("message", "Hello")]).await.ok();
    let echoes = events(&client.refresh("2").await);
    let types: Vec<_> = echoes.iter().map(|event| event["messageType"].clone()).collect();
    assert_eq!(types, [json!("text;token=1"), json!("text;token=1"), json!("card"), json!(null)]);
    assert_eq!(contact.truth().own_texts(), ["Hello"; 4], "a resend is stored again");
}

#[tokio::test(start_paused = true)]
async fn a_send_with_a_position_brings_what_is_new() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    client.text("Hi!").await;
    let reply = client.call("send", &[("message", "Hello"), ("transcriptPosition", "3")]).await.ok();
    assert_eq!(lines(&events(&reply)), ["3 Message Maria#2 Hi!", "4 Message Jane#1 Hello"]);
    assert_eq!(reply["nextPosition"], 5);
}

#[tokio::test(start_paused = true)]
async fn positions_of_a_refresh_mean_what_the_service_says() {
    let rig = Rig::new();
    let (client, _) = rig.chat().await;
    client.say("one").await;
    client.say("two").await;
    let indexes = |reply: &serde_json::Value| {
        events(reply).iter().map(|event| event["index"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (position, expected) in [
        ("1", vec![1, 2, 3]),
        ("2", vec![2, 3]),
        ("4", vec![]),
        ("99", vec![]),
        ("0", vec![]),
        ("-1", vec![3]),
        ("", vec![1, 2, 3]),
    ] {
        let reply = client.refresh(position).await;
        assert_eq!(indexes(&reply), expected, "{position:?}");
        assert_eq!(reply["nextPosition"], 4);
    }
    assert_eq!(indexes(&client.call("refresh", &[]).await.ok()), [1, 2, 3]);
    assert_eq!(client.call("refresh", &[("transcriptPosition", "x")]).await.failure(), (400, -1, 500));
}

#[tokio::test(start_paused = true)]
async fn every_path_takes_a_slash_at_its_end() {
    let rig = Rig::new();
    let client = rig.start().await;
    client.call("send/", &[("message", "Hello")]).await.ok();
    assert_eq!(events(&client.call("refresh/", &[]).await.ok()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn typing_reaches_the_agent_with_the_text_so_far_and_takes_indexes() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let reply = client.call("startTyping", &[("message", "I nee")]).await.ok();
    assert_eq!((&reply["messages"], &reply["nextPosition"]), (&json!([]), &json!(3)));
    contact.wait_for(|truth| truth.typing.iter().any(|one| one.preview.as_deref() == Some("I nee"))).await;
    client.call("stopTyping", &[]).await.ok();
    contact.wait_for(|truth| truth.typing.last().is_some_and(|one| !one.on)).await;
    assert_eq!(client.refresh("2").await["nextPosition"], 4);
    let poll = [("transcriptPosition", "4"), ("message", "I need h")];
    client.call("refresh", &poll).await.ok();
    contact.wait_for(|truth| truth.typing.iter().any(|one| one.preview.as_deref() == Some("I need h"))).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_client_does_beside_messages_reaches_the_centre_and_stands_once() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    client.call("customNotice", &[("message", "bye")]).await.ok();
    client.call("pushUrl", &[("pushUrl", "https://shop.example.test/?x=1&y=2")]).await.ok();
    let renamed =
        client.call("updateNickname", &[("nickname", "Joan"), ("transcriptPosition", "4")]).await.ok();
    assert_eq!(lines(&events(&renamed)), ["4 NicknameUpdated Joan#1 -"]);
    client.call("updateData", &[("userData[orderId]", "A-18")]).await.ok();
    let truth = contact.truth();
    assert_eq!(truth.notices, ["bye".into()]);
    assert_eq!(truth.user_data.0.get("orderId").map(String::as_str), Some("A-18"));
    let vendor: Vec<_> = truth.vendor.iter().map(|(name, data)| (&**name, data.clone())).collect();
    assert_eq!(
        vendor,
        [
            ("pushUrl", json!({"pushUrl": "https://shop.example.test/?x=1&y=2"})),
            ("updateNickname", json!({"nickname": "Joan"})),
        ]
    );
    assert_eq!(
        lines(&events(&client.refresh("2").await)),
        [
            "2 CustomNotice Jane#1 bye",
            "3 PushUrl Jane#1 https://shop.example.test/?x=1&y=2",
            "4 NicknameUpdated Joan#1 -",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_receipt_reaches_the_agent() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let read = contact.as_agent("Maria").say("Hi!").unwrap();
    client.text("Hi!").await;
    contact
        .wait_for(|truth| truth.receipts.iter().any(|one| one.kind == chat_core::ReceiptKind::Delivered))
        .await;
    client.call("readReceipt", &[("transcriptPosition", "99")]).await.ok();
    let truth = contact
        .wait_for(|truth| truth.receipts.iter().any(|one| one.kind == chat_core::ReceiptKind::Read))
        .await;
    assert_eq!(truth.receipts.last().unwrap().message, read);
}

#[tokio::test(start_paused = true)]
async fn a_file_can_be_received_and_read() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    let file =
        contact.as_agent("Maria").send_file("a.png", "image/png", Bytes::from_static(b"png!")).unwrap();
    let told = client.event("FileUploaded").await;
    client.call("readReceipt", &[("transcriptPosition", &told["index"].to_string())]).await.ok();
    let truth = contact
        .wait_for(|truth| truth.receipts.iter().any(|one| one.kind == chat_core::ReceiptKind::Read))
        .await;
    assert_eq!(truth.receipts.last().unwrap().message, file);
}

#[tokio::test(start_paused = true)]
async fn what_comes_with_another_answer_is_delivered_too() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let said = contact.as_agent("Maria").say("Hi!").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let reply = client.call("send", &[("message", "Hello"), ("transcriptPosition", "2")]).await.ok();
    assert_eq!(lines(&events(&reply))[1], "3 Message Maria#2 Hi!");
    let told = timeout(PATIENCE, contact.wait_for(|truth| !truth.receipts.is_empty())).await;
    let truth = told.expect("a receipt");
    assert_eq!(truth.receipts[0].message, said);
}

#[tokio::test(start_paused = true)]
async fn unfetched_messages_are_not_told_delivered() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    assert!(contact.truth().receipts.is_empty());
    client.refresh("1").await;
    contact.wait_for(|truth| !truth.receipts.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_the_front_knows_who_is_there_and_what_is_behind() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let front = &rig.front;
    let id = front.chat_ids().pop().unwrap();
    assert_eq!(front.known_chats(), std::slice::from_ref(&id));
    let info = front.session(&id).and_then(|session| session.info()).unwrap();
    assert_eq!(info.scope, contact.id().into());
    let seconds = Duration::from_secs;
    assert!(front.is_heard(&id, seconds(5)));
    tokio::time::sleep(seconds(6)).await;
    assert!(!front.is_heard(&id, seconds(5)));
    assert_eq!(front.refreshes_at_once(&id), 0);
    client.refresh("1").await;
    assert!(front.is_heard(&id, seconds(5)));
    rig.instead(Operation::Refresh, Instead::Delay(seconds(3)), 2);
    futures::join!(client.refresh("1"), client.refresh("1"));
    assert_eq!(front.refreshes_at_once(&id), 2);
    assert!(front.session("no such chat").is_none() && !front.is_heard("no such chat", seconds(5)));
}
