//! Conversations.

use chat_core::{AttachmentStatus, Capability, Content, Processing, ReceiptKind};
use chat_sim::Profile;
use http::Method;
use serde_json::{Value, json};

use crate::rig::{Client, OK, Rig, kind, kinds, store};

/// Socket items as the transcript would give them, for comparison.
fn essence(item: &Value) -> (Value, Value, Value) {
    (item["Id"].clone(), item["AbsoluteTime"].clone(), item["Content"].clone())
}

#[tokio::test(start_paused = true)]
async fn a_conversation_is_the_same_on_every_socket_and_in_the_transcript() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let mut other = client.clone();
    other.reconnect().await;
    let mut second = other.socket().await;
    let agent = contact.as_agent("Sam");
    agent.say("How can I help?").unwrap();
    let answer = client.say("My order is late").await;
    agent.say("Let me see").unwrap();

    let mut seen = Vec::new();
    for socket in [&mut socket, &mut second] {
        let items = socket.until(|item| item["Content"] == "Let me see").await;
        for item in &items {
            assert_eq!(item["InitialContactId"], client.contact.as_str());
        }
        seen.push(items);
    }
    assert_eq!(seen[0], seen[1]);
    let items = &seen[0];
    assert_eq!(
        items.iter().map(kind).collect::<Vec<_>>(),
        ["event.participant.joined", "text/plain", "text/plain", "text/plain"]
    );
    assert_eq!((&items[0]["DisplayName"], &items[0]["ParticipantRole"]), (&json!("Sam"), &json!("AGENT")));
    let own = &items[2];
    assert_eq!((&own["Id"], &own["AbsoluteTime"]), (&answer["Id"], &answer["AbsoluteTime"]));
    assert_eq!((&own["ParticipantId"], &own["DisplayName"]), (&json!(client.participant), &json!("Jane")));

    let transcript = client.transcript().await;
    assert_eq!(
        transcript[1..].iter().map(essence).collect::<Vec<_>>(),
        items.iter().map(essence).collect::<Vec<_>>()
    );
    let times: Vec<_> = transcript.iter().map(|item| item["AbsoluteTime"].as_str().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    for item in &transcript {
        assert_eq!(item["ContactId"], client.contact.as_str());
        assert!(item.get("InitialContactId").is_none());
    }
    assert_eq!(contact.truth().texts(), ["How can I help?", "My order is late", "Let me see"]);

    assert_eq!(client.post("disconnect", json!({})).await.ok(), json!({}));
    let last = socket.until(|item| kind(item) == "event.chat.ended").await;
    assert_eq!(last.iter().map(kind).collect::<Vec<_>>(), ["event.participant.left", "event.chat.ended"]);
    assert_eq!(last[0]["ParticipantId"], client.participant.as_str());
    assert!(last[1].get("ParticipantId").is_none());
    assert!(contact.truth().ended.is_some());
    for (path, token) in
        [("connection", &client.token), ("message", &client.connection), ("transcript", &client.connection)]
    {
        let refused = rig.post(&format!("/participant/{path}"), token, json!({})).await;
        assert_eq!(refused.error(), (403, "AccessDeniedException"), "{path}");
    }
}

/// The flow begins with the customer: who subscribes first misses nothing.
#[tokio::test(start_paused = true)]
async fn what_the_centre_said_before_the_customer_came_is_told_when_it_comes() {
    let rig = Rig::new();
    let client = rig.start(json!({"InitialMessage": {"ContentType": "text/plain", "Content": "Hi"}})).await;
    let contact = rig.console.contact(&client.contact).unwrap();
    contact.as_system().say("Welcome").unwrap();
    contact.wait_for(|truth| truth.texts().len() == 2).await;
    let mut socket = client.socket().await;
    let items = socket.until(|item| item["Content"] == "Welcome").await;
    let texts: Vec<_> = items.iter().map(|item| item["Content"].as_str().unwrap_or(kind(item))).collect();
    assert_eq!(texts, ["event.participant.joined", "Hi", "Welcome"]);
    let transcript = client.transcript().await;
    assert_eq!(
        transcript.iter().map(essence).collect::<Vec<_>>(),
        items.iter().map(essence).collect::<Vec<_>>()
    );
    // Coming back is no second joining.
    let mut again = client.clone();
    again.reconnect().await;
    let mut other = again.socket().await;
    assert!(other.is_silent().await);
}

/// Every kind of centre: pushed, polled, with and without ids in its answers, ordered by instant or by index.
#[tokio::test(start_paused = true)]
async fn every_kind_of_centre_gives_one_item_for_one_message() {
    for (name, profile) in kinds() {
        println!("{name}");
        let rig = Rig::with(profile, |_| {});
        let (client, mut socket, contact) = rig.chat().await;
        let agent = contact.as_agent("Sam");
        let mut expected = Vec::new();
        for n in 0..5 {
            agent.say(format!("a{n}")).unwrap();
            client.say(&format!("c{n}")).await;
            expected.extend([format!("a{n}"), format!("c{n}")]);
        }
        agent.say("bye").unwrap();
        expected.push("bye".to_owned());
        let items = socket.until(|item| item["Content"] == "bye").await;
        let texts = |items: &[Value]| {
            let texts = items.iter().filter_map(|item| item["Content"].as_str().map(str::to_owned));
            let mut texts: Vec<String> = texts.collect();
            texts.sort();
            texts
        };
        expected.sort();
        assert_eq!(texts(&items), expected, "{name}: socket");
        // The last own echo of a polled centre may come after the item that was waited for.
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        assert_eq!(texts(&client.transcript().await), expected, "{name}: transcript");
        assert!(socket.is_silent().await, "{name}: nothing is told twice");
    }
}

#[tokio::test(start_paused = true)]
async fn typing_goes_both_ways_and_is_kept_nowhere() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let answer = client.event("typing", None).await.ok();
    let own = socket.item().await;
    assert_eq!((kind(&own), &own["Id"]), ("event.typing", &answer["Id"]));
    assert_eq!(own["ParticipantId"], client.participant.as_str());
    assert!(contact.truth().typing[0].on);
    let agent = contact.as_agent("Sam");
    agent.join().unwrap();
    agent.types(true).unwrap();
    let items = socket.until(|item| kind(item) == "event.typing").await;
    assert_eq!(items.last().unwrap()["DisplayName"], "Sam");
    assert!(client.transcript().await.iter().all(|item| kind(item) != "event.typing"));
}

#[tokio::test(start_paused = true)]
async fn receipts_go_both_ways() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let agent = contact.as_agent("Sam");
    for text in ["one", "two"] {
        agent.say(text).unwrap();
        let message = socket.text(text).await;
        // The vendor's client sends the same client token with every receipt.
        client.event("message.read", Some(&message["Id"])).await.ok();
        let metadata = socket.item().await;
        assert_eq!(
            (&metadata["Type"], &metadata["MessageMetadata"]["MessageId"]),
            (&json!("MESSAGEMETADATA"), &message["Id"])
        );
        let receipts = metadata["MessageMetadata"]["Receipts"].as_array().unwrap();
        assert_eq!(receipts[0]["RecipientParticipantId"], client.participant.as_str());
        assert!(receipts[0]["ReadTimestamp"].is_string());
    }
    let told = contact.truth().receipts;
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|signal| signal.kind == ReceiptKind::Read));

    let sent = client.say("seen?").await;
    let own = socket.text("seen?").await;
    let id = contact.truth().newest().unwrap().id.clone();
    agent.gets(&id).unwrap();
    let delivered = socket.item().await;
    assert_eq!(delivered["MessageMetadata"]["MessageId"], sent["Id"]);
    assert!(delivered["MessageMetadata"]["Receipts"][0].get("ReadTimestamp").is_none());
    agent.reads(&id).unwrap();
    let read = socket.item().await;
    assert!(read["MessageMetadata"]["Receipts"][0]["ReadTimestamp"].is_string());
    let transcript = client.transcript().await;
    let stored = transcript.iter().find(|item| item["Id"] == own["Id"]).unwrap();
    assert_eq!(stored["MessageMetadata"]["Receipts"], read["MessageMetadata"]["Receipts"]);
    assert_eq!(
        client.event("message.read", Some(&json!("nobody's"))).await.error(),
        (400, "ValidationException")
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_to_the_centre_and_comes_back() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let bytes: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
    let ask = json!({"ContentType": "image/png", "AttachmentName": "pic.PNG", "AttachmentSizeInBytes": 5000, "ClientToken": "t"});
    let upload = client.post("start-attachment-upload", ask).await.ok();
    let (id, to) = (upload["AttachmentId"].clone(), upload["UploadMetadata"].clone());
    let complete = json!({"AttachmentIds": [id], "ClientToken": "c"});
    assert_eq!(client.post("complete-attachment-upload", complete.clone()).await.status, 400, "no bytes yet");
    let url = to["Url"].as_str().unwrap();
    let headers = &to["HeadersToInclude"];
    assert_eq!(
        store(&rig, Method::PUT, url, &json!({"content-type": "text/html"}), bytes.clone()).await.status,
        403
    );
    assert_eq!(
        store(&rig, Method::PUT, &url.replace("Signature=", "Signature=0"), headers, bytes.clone())
            .await
            .status,
        403
    );
    assert_eq!(store(&rig, Method::PUT, url, headers, bytes.clone()).await.status, OK);
    client.post("complete-attachment-upload", complete.clone()).await.ok();
    let item = socket.item().await;
    assert_eq!((&item["Type"], &item["Attachments"][0]["AttachmentId"]), (&json!("ATTACHMENT"), &id));
    assert_eq!(item["Attachments"][0]["Status"], "APPROVED");
    // The same completion again is that completion; another one is a conflict.
    client.post("complete-attachment-upload", complete).await.ok();
    let other = json!({"AttachmentIds": [id], "ClientToken": "d"});
    assert_eq!(client.post("complete-attachment-upload", other).await.error(), (409, "ConflictException"));
    assert_eq!(contact.truth().files.len(), 1);
    let get = client.post("attachment", json!({"AttachmentId": id})).await.ok();
    assert_eq!(get["AttachmentSizeInBytes"], 5000);
    let got = store(&rig, Method::GET, get["Url"].as_str().unwrap(), &json!({}), "").await;
    assert_eq!((got.status, got.bytes.as_ref()), (OK, bytes.as_slice()));

    contact.as_agent("Sam").send_file("answer.pdf", "application/pdf", "the answer").unwrap();
    let item = socket.until(|item| item["Type"] == "ATTACHMENT").await.pop().unwrap();
    let ask = json!({"AttachmentId": item["Attachments"][0]["AttachmentId"], "UrlExpiryInSeconds": 5});
    let get = client.post("attachment", ask).await.ok();
    let url = get["Url"].as_str().unwrap();
    let got = store(&rig, Method::GET, url, &json!({}), "").await;
    assert_eq!((got.status, got.bytes.as_ref()), (OK, b"the answer".as_slice()));
    assert_eq!(got.headers["content-type"], "application/pdf");
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    assert_eq!(store(&rig, Method::GET, url, &json!({}), "").await.status, 403, "expired");
    assert_eq!(client.post("attachment", json!({"AttachmentId": "nobody's"})).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_scanned_file_is_told_again_with_its_new_status() {
    let rig = Rig::with(Profile::push().with(Capability::FileScans), |_| {});
    let (_client, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").send_file("macro.docx", "application/msword", "x").unwrap();
    let first = socket.until(|item| item["Type"] == "ATTACHMENT").await.pop().unwrap();
    assert_eq!(first["Attachments"][0]["Status"], "IN_PROGRESS");
    let id = contact.truth().files[0].0.clone();
    contact.set_file_status(&id, AttachmentStatus::Rejected).unwrap();
    let again = socket.item().await;
    assert_eq!((&again["Id"], &again["Attachments"][0]["Status"]), (&first["Id"], &json!("REJECTED")));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_comes_in_chunks_and_is_stored_whole() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let bot = contact.as_bot("BOT");
    let id = bot.begin_stream("Your parcel ").unwrap();
    bot.stream_piece(&id, "left.").unwrap();
    socket.text("left.").await;
    assert!(client.transcript().await.iter().all(|item| kind(item) != "text/plain"));
    bot.finish_stream(&id, "Your parcel left.").unwrap();
    let whole = socket.item().await;
    assert_eq!(whole["MessageMetadata"]["MessageCompleted"], true);
    assert_eq!(
        (&whole["Content"], &whole["ParticipantRole"]),
        (&json!("Your parcel left."), &json!("SYSTEM"))
    );
    assert_eq!(client.transcript().await.last().unwrap()["Content"], "Your parcel left.");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_complete_answers_gets_no_chunks() {
    let rig = Rig::new();
    let client = rig.start(json!({"ParticipantConfiguration": {"ResponseMode": "COMPLETE"}})).await;
    let mut socket = client.socket().await;
    socket.item().await;
    let bot = rig.console.contact(&client.contact).unwrap().as_bot("BOT");
    let id = bot.begin_stream("Your parcel ").unwrap();
    bot.stream_piece(&id, "left.").unwrap();
    bot.finish_stream(&id, "Your parcel left.").unwrap();
    let items = socket.until(|item| item["Content"].is_string()).await;
    assert_eq!(items.last().unwrap()["Content"], "Your parcel left.");
    assert!(items.last().unwrap().get("MessageMetadata").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_transfer_changes_the_contact_id_and_not_the_chain() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").say("one moment").unwrap();
    let ada = contact.as_agent("Sam").transfer("Ada").unwrap();
    ada.say("I have read the notes").unwrap();
    let item = socket.text("I have read the notes").await;
    assert_ne!(item["ContactId"], client.contact.as_str());
    assert_eq!(item["InitialContactId"], client.contact.as_str());
    assert_eq!(item["DisplayName"], "Ada");
}

#[tokio::test(start_paused = true)]
async fn unknown_items_pass() {
    let rig = Rig::new();
    let (_client, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").unknown_item("application/x-hologram", r#"{"a":1}"#).unwrap();
    let item = socket.until(|item| kind(item) == "application/x-hologram").await.pop().unwrap();
    assert_eq!(item["Content"], r#"{"a":1}"#);
    contact.as_agent("Sam").post(Content::Notice("hm".into())).unwrap();
    assert_eq!(socket.item().await["Content"], "hm");
}

/// Two real clients talk to each other, and an agent's one socket carries all its contacts.
#[tokio::test(start_paused = true)]
async fn bots_and_agents_come_in_through_the_front_too() {
    let rig = Rig::new();
    let (first, mut first_socket, _) = rig.chat().await;
    let (second, mut second_socket, _) = rig.chat().await;
    let mut agents = Vec::new();
    for customer in [&first, &second] {
        let ask = json!({"ContactId": customer.contact, "AgentId": "sam", "DisplayName": "Sam"});
        let made = rig.post("/front/agent-token", "", ask).await.ok();
        agents.push(
            Client::new(&rig, &made["ContactId"], &made["ParticipantId"], &made["ParticipantToken"]).await,
        );
    }
    let mut agent = agents[0].socket().await;
    assert_eq!(agent.item().await["ParticipantRole"], "AGENT", "the agent's own joining");
    let ack = json!({"ConnectParticipant": true});
    assert_eq!(rig.post("/participant/connection", &agents[1].token, ack).await.ok(), json!({}));
    assert_eq!(agent.item().await["InitialContactId"], second.contact.as_str());
    second_socket.until(|item| item["ParticipantRole"] == "AGENT").await;

    first.say("from the first").await;
    second.say("from the second").await;
    for (text, customer) in [("from the first", &first), ("from the second", &second)] {
        assert_eq!(agent.item().await["Content"], text);
        let _ = customer;
    }
    let said = agents[1].say("hello, second").await;
    let heard = second_socket.text("hello, second").await;
    assert_eq!((&heard["Id"], &heard["DisplayName"]), (&said["Id"], &json!("Sam")));
    assert_eq!(agent.item().await["Content"], "hello, second");
    first_socket.text("from the first").await;
    assert!(first_socket.is_silent().await, "the second chat is none of the first's");
    // What the agent gets can be told as read.
    second.event("message.read", Some(&said["Id"])).await.ok();
    assert_eq!(agent.item().await["MessageMetadata"]["MessageId"], said["Id"]);

    let ask = json!({"InstanceId": "i", "ContactId": first.contact, "ParticipantDetails": {"ParticipantRole": "CUSTOM_BOT", "DisplayName": "Helper"}});
    let made = rig.post("/contact/create-participant", "", ask).await.ok();
    let bot = Client::new(
        &rig,
        &json!(first.contact),
        &made["ParticipantId"],
        &made["ParticipantCredentials"]["ParticipantToken"],
    )
    .await;
    let mut bot_socket = bot.socket().await;
    bot.say("beep").await;
    assert_eq!(first_socket.text("beep").await["ParticipantRole"], "CUSTOM_BOT");
    bot_socket.text("beep").await;
    bot.post("disconnect", json!({})).await.ok();
    let left = first_socket.item().await;
    assert_eq!((kind(&left), &left["DisplayName"]), ("event.participant.left", &json!("Helper")));
    assert_eq!(bot.post("message", json!({"ContentType": "text/plain", "Content": "x"})).await.status, 403);
    first.say("still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_persistent_chat_reaches_its_past_backwards_only() {
    let rig = Rig::new();
    let (old, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").say_many(12).unwrap();
    old.say("See you tomorrow.").await;
    socket.text("See you tomorrow.").await;
    old.post("disconnect", json!({})).await.ok();
    let persistent =
        json!({"PersistentChat": {"RehydrationType": "ENTIRE_PAST_SESSION", "SourceContactId": old.contact}});
    let new = rig.start(persistent).await;
    let mut socket = new.socket().await;
    rig.console.contact(&new.contact).unwrap().as_agent("Ada").say("Welcome back").unwrap();
    socket.text("Welcome back").await;
    let pages =
        new.pages(json!({"MaxResults": 5, "SortOrder": "ASCENDING", "ScanDirection": "BACKWARD"})).await;
    let all: Vec<Value> = pages.into_iter().rev().flatten().collect();
    let texts: Vec<_> = all.iter().filter_map(|item| item["Content"].as_str()).collect();
    assert_eq!(texts.len(), 14, "{texts:?}");
    assert_eq!((texts[12], texts[13]), ("See you tomorrow.", "Welcome back"));
    let past = all.iter().find(|item| item["Content"] == "See you tomorrow.").unwrap();
    assert_eq!(past["RelatedContactId"], old.contact.as_str());
    assert!(past.get("ContactId").is_none());
    let mut ids: Vec<_> = all.iter().map(|item| item["Id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "nothing twice");
    // Forwards there is no past.
    let first = all.iter().find(|item| item["ContactId"] == new.contact.as_str()).unwrap();
    let ask = json!({"ScanDirection": "FORWARD", "StartPosition": {"Id": first["Id"]}});
    assert!(new.pages(ask).await.concat().iter().all(|item| item.get("RelatedContactId").is_none()));
}

/// What the transport tells of the vendor's work on a message is told on: in answers, on sockets and in the transcript.
#[tokio::test(start_paused = true)]
async fn the_processing_of_a_message_is_told() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let body = json!({"ContentType": "text/plain", "Content": "my card is 1234", "ClientToken": "t"});
    let sent = client.post("message", body.clone()).await.ok();
    assert_eq!(sent.get("MessageMetadata"), None, "nothing to tell");
    socket.text("my card is 1234").await;
    let id = contact.truth().items.last().unwrap().id.clone();
    for (processing, status) in
        [(Processing::InProgress, json!("PROCESSING")), (Processing::Rejected, json!("REJECTED"))]
    {
        contact.as_system().process(&id, processing).unwrap();
        let item = socket.item().await;
        assert_eq!(
            (&item["Id"], &item["MessageMetadata"]["MessageProcessingStatus"]),
            (&sent["Id"], &status)
        );
        let stored = client.transcript().await.pop().unwrap();
        assert_eq!(stored["MessageMetadata"]["MessageProcessingStatus"], status);
        assert_eq!(stored["MessageMetadata"]["Receipts"], json!([]));
        // The same token again is the same message, as it is now.
        let again = client.post("message", body.clone()).await.ok();
        assert_eq!(
            (&again["Id"], &again["MessageMetadata"]["MessageProcessingStatus"]),
            (&sent["Id"], &status)
        );
    }
}
