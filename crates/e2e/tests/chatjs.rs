//! Owns the check with Amazon Connect's own chat client: unmodified, in Node, it holds a whole conversation with the front
//! over loopback sockets. This test is the agent; `chatjs/conversation.mjs` is the customer.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod support;

use std::path::Path;

use chat_core::{
    AttachmentStatus, Command, ConnectRequest, FileAck, FileCommand, Intent, ReceiptKind, Role,
    Transport as _,
};
use e2e::node::{self, Program};
use futures::TryStreamExt as _;
use serde_json::Value;
use support::House;

const NAME: &str = "of Amazon Connect's chat client";

/// What the customer's file is made of; the driver makes it in the same way.
fn picture() -> Vec<u8> {
    (0..70_001_u32).map(|index| u8::try_from(index * 31 % 251).expect("less than 251")).collect()
}

/// Every byte value, twice.
fn agents_file() -> Vec<u8> {
    (0..=u8::MAX).chain(0..=u8::MAX).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_own_client_holds_a_conversation() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = match node::installed("chatjs", scratch).await {
        Ok(folder) => folder,
        Err(reason) => return e2e::skip(NAME, &reason),
    };
    let house = House::open().await;
    let start = format!("{}/startChatContact", house.base_url);
    let mut client = Program::start(&folder, "conversation.mjs", &[&house.base_url, &start]);

    let mut summary = None;
    while let Some(told) = client.next().await {
        match told["cue"].as_str() {
            Some("connected") => {
                house.agent().await.say("Hello, this is Maria").unwrap();
            }
            Some("typing") => {
                let agent = house.agent().await;
                let truth = agent.truth();
                assert!(truth.typing.iter().any(|typing| typing.on), "the centre saw the customer type");
                agent.types(true).unwrap();
            }
            Some("receipts") => receipts(&house, told["text"].as_str().unwrap()).await,
            Some("cut") => house.front.cut_sockets(),
            Some("back") => {
                house.agent().await.say("Still there?").unwrap();
            }
            Some("attachment") => {
                check_upload(&house).await;
                let agent = house.agent().await;
                agent.send_file("all bytes.pdf", "application/pdf", agents_file()).unwrap();
            }
            Some(other) => panic!("a cue that nobody knows: {other}"),
            None => {}
        }
        if let Some(told) = told.get("summary") {
            summary = Some(told.clone());
        }
    }
    client.ended_well().await;
    check(&house, &summary.expect("a client that ends well has told a summary")).await;
}

/// The customer's receipts have arrived; the agent's go out.
async fn receipts(house: &House, text: &str) {
    let agent = house.agent().await;
    let truth = agent.truth();
    let greeting = truth.items.iter().find(|item| item.text() == Some("Hello, this is Maria")).unwrap();
    for kind in [ReceiptKind::Delivered, ReceiptKind::Read] {
        assert!(
            truth.receipts.iter().any(|receipt| receipt.message == greeting.id && receipt.kind == kind),
            "{kind:?}: {:?}",
            truth.receipts
        );
    }
    let message = truth.items.iter().find(|item| item.own && item.text() == Some(text)).unwrap();
    agent.gets(&message.id).unwrap();
    agent.reads(&message.id).unwrap();
}

/// The file is not only with the front: the centre has it, byte for byte.
async fn check_upload(house: &House) {
    let agent = house.agent().await;
    let (id, status) = agent.truth().files.first().cloned().expect("the centre has the file");
    assert_eq!(status, AttachmentStatus::Approved);
    let other_tab = ConnectRequest::new(Intent::Join(agent.credentials()));
    let other_tab = house.centre.transport().connect(other_tab).await.unwrap();
    let download = Command::File(FileCommand::Download { id });
    let chat_core::Ack::File(FileAck::Download(file)) = other_tab.handle.submit(download).await.unwrap()
    else {
        panic!("a download is answered with the file");
    };
    let bytes: Vec<bytes::Bytes> = file.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), picture());
}

async fn check(house: &House, told: &Value) {
    let agent = house.agent().await;
    let truth = agent.truth();
    assert!(truth.ended.is_some(), "the centre's chat is over");
    assert_eq!(house.front.open_contacts(), 0);
    assert_eq!(truth.customer.name.as_deref(), Some("Jane"));
    assert_eq!(
        truth.request.user_data.0.get("customerName").map(|value| value.to_string()),
        Some("Jane".into())
    );

    assert_eq!(told["greeting"], "Hello, this is Maria");
    assert_eq!(told["joined"], "Maria");
    assert_eq!(told["typing"], "Maria");
    let text = told["text"].as_str().unwrap();
    let own: Vec<&str> = truth.own_texts();
    assert_eq!(own[0], text);
    assert_eq!(own.len(), 1 + told["ids"].as_array().unwrap().len(), "each text once: {own:?}");

    for (receipt, time) in [("delivered", "DeliveredTimestamp"), ("read", "ReadTimestamp")] {
        assert_eq!(told[receipt]["MessageId"], told["sentId"]);
        let receipt = &told[receipt]["Receipts"][0];
        assert!(receipt[time].is_string(), "{receipt}");
        assert_ne!(receipt["RecipientParticipantId"], told["participantId"]);
    }

    check_transcript(told);

    assert_eq!(told["upload"]["AttachmentName"], "picture.png");
    assert_eq!(told["upload"]["ContentType"], "image/png");
    assert_eq!(told["upload"]["identical"], true);
    assert_eq!(told["upload"]["url"], "string");
    assert_eq!(told["download"]["AttachmentName"], "all bytes.pdf");
    assert_eq!(told["download"]["ContentType"], "application/pdf");
    assert_eq!(told["download"]["hex"], hex(&agents_file()));

    assert_eq!(told["counts"]["onEnded"], 1);
    assert_eq!(told["endedItems"], 1);
    assert_eq!(told["counts"]["onConnectionLost"], 1, "by the cut, and by nothing else");
    assert_eq!(told["counts"].get("onConnectionBroken"), None);
    assert_eq!(told["counts"].get("onDeepHeartbeatFailure"), None);
    assert_eq!(told["refusal"], "Failed to call sendMessage, No active connection");
    assert!(truth.present.iter().all(|who| who.role != Role::Customer));
}

/// Paging backwards gives everything once, in order.
fn check_transcript(told: &Value) {
    assert_eq!(told["inOrder"], true);
    let items = told["transcript"].as_array().unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item["Id"].as_str().unwrap()).collect();
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len(), "no item twice: {ids:?}");
    let sent: Vec<&str> = told["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(ids.ends_with(&sent), "the newest are the last that were sent");
    for known in [&told["greetingId"], &told["sentId"]] {
        assert!(ids.contains(&known.as_str().unwrap()));
    }
    let pages = told["pages"].as_u64().unwrap();
    let page_size = told["pageSize"].as_u64().unwrap();
    assert_eq!(pages, (ids.len() as u64).div_ceil(page_size), "full pages but for the last");
    assert!(
        items.iter().all(|item| item["ContentType"] != "application/vnd.amazonaws.connect.event.typing"),
        "typing is in no transcript"
    );
}
