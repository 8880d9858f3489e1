//! The service's rules: tokens, times, limits, shapes of answers.

use std::time::Duration;

use chat_core::TextFormat;
use chat_sim::Profile;
use http::Method;
use serde_json::{Value, json};
use transport_connect::{
    front::published_quotas,
    wire::start_chat::{AnswerShape, Casing},
};

use crate::rig::{Client, Rig, kind, store};

#[tokio::test(start_paused = true)]
async fn the_proxy_answers_in_the_shape_asked_for() {
    let details = json!({"DisplayName": "Jane"});
    for (shape, casing, place) in [
        (AnswerShape::Widget, Casing::Pascal, "/data/startChatResult"),
        (AnswerShape::Flat, Casing::Camel, ""),
        (AnswerShape::BareData, Casing::Pascal, "/data"),
    ] {
        let rig = Rig::with(Profile::push(), |config| {
            config.answer_shape = shape;
            config.answer_casing = casing;
        });
        for attributes in [json!({"customerName": "Jane"}), json!("{\"customerName\":\"Jane\"}")] {
            let body = json!({"ParticipantDetails": details, "Attributes": attributes,
                "SupportedMessagingContentTypes": ["text/plain", "text/markdown"]});
            let answer = rig.post("/startChatContact", "", body).await.ok();
            let result = answer.pointer(place).unwrap();
            let member = |name: &str| match casing {
                Casing::Pascal => &result[name],
                Casing::Camel => &result[name.replacen(['C', 'P'], &name[..1].to_lowercase(), 1)],
            };
            let client =
                Client::new(&rig, member("ContactId"), member("ParticipantId"), member("ParticipantToken"))
                    .await;
            let request = rig.console.contact(&client.contact).unwrap().truth().request;
            assert_eq!(request.user_data.0["customerName"], "Jane");
            assert_eq!(request.formats, [TextFormat::Plain, TextFormat::Markdown]);
            if shape == AnswerShape::Widget {
                let permissions = json!({"ATTACHMENTS": true, "MESSAGING_MARKDOWN": true});
                assert_eq!(answer["data"]["featurePermissions"], permissions);
            }
        }
        let refused = rig
            .post("/startChatContact", "", json!({"ParticipantDetails": details, "Attributes": "x"}))
            .await;
        assert_eq!(
            (refused.status, refused.json()["data"]["Error"]["code"].as_str()),
            (400, Some("InvalidParameterException"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_with_a_client_token_happens_once() {
    let rig = Rig::new();
    let body = json!({"InstanceId": "i", "ContactFlowId": "f", "ParticipantDetails": {"DisplayName": "Jane"},
        "ClientToken": "once", "ConnectionTypes": ["WEBSOCKET", "CONNECTION_CREDENTIALS"]});
    let first = rig.call(Method::PUT, "/contact/chat", "", body.clone()).await.ok();
    assert!(
        first["Websocket"]["Url"].is_string()
            && first["ConnectionCredentials"]["ConnectionToken"].is_string()
    );
    assert_eq!(rig.call(Method::PUT, "/contact/chat", "", body).await.ok(), first);
    assert_eq!(rig.console.truth().contacts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_exactly_the_parts_asked_for() {
    let rig = Rig::new();
    let client = rig.start(json!({})).await;
    for (ask, parts) in [
        (json!({"Type": ["CONNECTION_CREDENTIALS"]}), vec!["ConnectionCredentials"]),
        (json!({"Type": ["WEBSOCKET"]}), vec!["Websocket"]),
        (json!({"ConnectParticipant": true}), vec![]),
    ] {
        let answer = rig.post("/participant/connection", &client.token, ask).await.ok();
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), parts);
    }
    let answer = rig
        .post(
            "/participant/connection",
            &client.token,
            json!({"Type": ["WEBSOCKET", "CONNECTION_CREDENTIALS"]}),
        )
        .await
        .ok();
    assert_eq!(answer["Websocket"]["ConnectionExpiry"], "2026-05-04T10:06:00.000Z");
    assert_eq!(answer["ConnectionCredentials"]["Expiry"], "2026-05-05T09:00:00.000Z");
    for wrong in [json!({"Type": []}), json!({"Type": ["TELEPATHY"]}), json!({"Type": 7}), json!([])] {
        let refused = rig.post("/participant/connection", &client.token, wrong.clone()).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{wrong}");
        assert!(refused.json()["Message"].is_string());
    }
    // Connected without a socket: the customer has joined, and older tokens are still good.
    assert_eq!(client.transcript().await.iter().map(kind).collect::<Vec<_>>(), ["event.participant.joined"]);
}

#[tokio::test(start_paused = true)]
async fn each_token_is_good_for_its_own_calls_only_and_for_its_time() {
    let rig = Rig::new();
    let (client, _socket, _) = rig.chat().await;
    for (path, token) in
        [("message", &client.token), ("connection", &client.connection), ("message", &"nobody's".to_owned())]
    {
        let refused = rig.post(&format!("/participant/{path}"), token, json!({})).await;
        assert_eq!(refused.error(), (403, "AccessDeniedException"));
        assert_eq!(refused.json(), json!({"Message": "Access denied"}));
    }
    assert_eq!(rig.socket(&client.url).await.unwrap_err(), 403, "a URL opens one socket");
    let mut late = client.clone();
    late.reconnect().await;
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(rig.socket(&late.url).await.unwrap_err(), 403, "after 100 s");
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(client.post("transcript", json!({})).await.status, 403, "after a day");
    late.reconnect().await;
    late.post("transcript", json!({})).await.ok();
}

#[tokio::test(start_paused = true)]
async fn five_sockets_at_most_and_each_gets_everything() {
    let rig = Rig::new();
    let (mut client, first, contact) = rig.chat().await;
    let mut sockets = vec![first];
    for _ in 0..4 {
        client.reconnect().await;
        sockets.push(client.socket().await);
    }
    client.reconnect().await;
    assert_eq!(rig.socket(&client.url).await.unwrap_err(), 403);
    contact.as_system().say("to all").unwrap();
    for socket in &mut sockets {
        socket.text("to all").await;
    }
    drop(sockets.pop());
    while rig.front.open_sockets() == 5 {
        tokio::task::yield_now().await;
    }
    client.reconnect().await;
    client.socket().await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_nobody_opens_ends_after_five_minutes() {
    let rig = Rig::new();
    let client = rig.start(json!({})).await;
    let contact = rig.console.contact(&client.contact).unwrap();
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(rig.front.open_contacts(), 1);
    contact.wait_for(|truth| truth.ended.is_some()).await;
    while rig.front.open_contacts() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.post("/participant/connection", &client.token, json!({})).await.status, 403);

    let (_client, mut socket, contact) = rig.chat().await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    contact.as_system().say("still here").unwrap();
    socket.text("still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_ends_after_its_duration_and_when_it_is_stopped() {
    let rig = Rig::new();
    let client = rig.start(json!({"ChatDurationInMinutes": 60})).await;
    let mut socket = client.socket().await;
    socket.item().await;
    for _ in 0..14 {
        tokio::time::sleep(Duration::from_secs(250)).await;
        socket.send(r#"{"topic":"aws/heartbeat"}"#).await;
        socket.frame().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    let items = socket.until(|item| kind(item) == "event.chat.ended").await;
    assert!(items.iter().filter(|item| kind(item) == "event.chat.ended").count() == 1);

    let (client, mut socket, contact) = rig.chat().await;
    let stop = json!({"InstanceId": "i", "ContactId": client.contact});
    rig.post("/contact/stop", "", stop.clone()).await.ok();
    socket.until(|item| kind(item) == "event.chat.ended").await;
    assert!(contact.truth().ended.is_some());
    assert_eq!(rig.post("/contact/stop", "", stop).await.error(), (410, "ContactNotFoundException"));
}

#[tokio::test(start_paused = true)]
async fn the_end_by_the_centre_is_told_once() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").say("bye").unwrap();
    contact.end().unwrap();
    let items = socket.until(|item| kind(item) == "event.chat.ended").await;
    assert_eq!(items.iter().filter(|item| kind(item) == "text/plain").count(), 1);
    assert!(socket.is_silent().await);
    assert_eq!(
        client.post("message", json!({"ContentType": "text/plain", "Content": "?"})).await.status,
        403
    );
}

#[tokio::test(start_paused = true)]
async fn messages_obey_their_rules() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let long = "€".repeat(5461);
    client.say(&long).await;
    assert_eq!(socket.item().await["Content"].as_str().map(str::len), Some(16_383));
    for (content_type, content) in [
        ("text/plain", "€".repeat(5462)),
        ("text/plain", String::new()),
        ("text/markdown", "*x*".into()),
        ("", "x".into()),
    ] {
        let refused = client.post("message", json!({"ContentType": content_type, "Content": content})).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{content_type}");
    }
    assert_eq!(contact.truth().own_texts().len(), 1);
    let refused = client.post("event", json!({"ContentType": "text/plain"})).await;
    assert_eq!(refused.error(), (400, "ValidationException"));
    let upload = |name: &str, size: i64| json!({"ContentType": "image/png", "AttachmentName": name, "AttachmentSizeInBytes": size, "ClientToken": "t"});
    for wrong in [upload("a.exe", 1), upload("a.png", 0), upload("a.png", 20 * 1024 * 1024 + 1), json!({})] {
        assert_eq!(client.post("start-attachment-upload", wrong).await.error(), (400, "ValidationException"));
    }
    for _ in 0..35 {
        client.post("start-attachment-upload", upload("a.png", 1)).await.ok();
    }
    let refused = client.post("start-attachment-upload", upload("a.png", 1)).await;
    assert_eq!(refused.error(), (402, "ServiceQuotaExceededException"));
}

#[tokio::test(start_paused = true)]
async fn the_same_client_token_is_the_same_message() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    let body = json!({"ContentType": "text/plain", "Content": "once", "ClientToken": "t"});
    let (a, b) = tokio::join!(client.post("message", body.clone()), client.post("message", body.clone()));
    let answer = a.ok();
    assert_eq!(answer, b.ok());
    assert_eq!(client.post("message", body).await.ok(), answer);
    assert_eq!(socket.item().await["Id"], answer["Id"]);
    assert!(socket.is_silent().await);
    assert_eq!(contact.truth().own_texts(), ["once"]);
    assert_eq!(contact.truth().items.last().unwrap().token.as_ref().unwrap().as_str(), "t");
}

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let rig = Rig::with(Profile::push().tuned(|profile| profile.equal_instants = 3), |_| {});
    let (client, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").say_many(47).unwrap();
    contact.as_agent("Sam").say("last").unwrap();
    socket.text("last").await;
    let whole = client.transcript().await;
    assert_eq!(whole.len(), 50);
    let sorted = |pages: Vec<Vec<Value>>| {
        let mut all: Vec<Value> = pages.concat();
        all.sort_by_key(|item| whole.iter().position(|one| one["Id"] == item["Id"]));
        all
    };
    for size in [1, 7, 10, 100] {
        for order in ["ASCENDING", "DESCENDING"] {
            let back = json!({"MaxResults": size, "SortOrder": order, "StartPosition": {}, "ScanDirection": "BACKWARD"});
            let forward = json!({"MaxResults": size, "SortOrder": order, "StartPosition": {"AbsoluteTime": whole[0]["AbsoluteTime"]}, "ScanDirection": "FORWARD"});
            for ask in [back, forward] {
                let pages = client.pages(ask.clone()).await;
                assert!(pages.iter().all(|page| page.len() <= size));
                assert_eq!(sorted(pages), whole, "{ask}");
            }
        }
    }
    // From an item on, while more arrives.
    let mut ask = json!({"MaxResults": 100, "SortOrder": "ASCENDING", "ScanDirection": "FORWARD", "StartPosition": {"Id": whole[48]["Id"]}});
    assert_eq!(client.pages(ask.clone()).await.concat(), whole[49..]);
    contact.as_agent("Sam").say("newer").unwrap();
    socket.text("newer").await;
    ask["StartPosition"] = json!({"Id": whole[49]["Id"]});
    assert_eq!(client.pages(ask).await.concat()[0]["Content"], "newer");
    let other = client.post("transcript", json!({"ContactId": "another chain's"})).await.ok();
    assert_eq!((other["Transcript"].as_array().unwrap().len(), &other["NextToken"]), (0, &json!("")));
    let refused = client.post("transcript", json!({"ScanDirection": "FORWARD"})).await;
    assert_eq!(refused.error(), (400, "ValidationException"));
}

#[tokio::test(start_paused = true)]
async fn browsers_may_read_everything_and_dates_are_the_fronts() {
    let rig = Rig::new();
    let answer = rig.call(Method::OPTIONS, "/participant/message", "", json!({})).await;
    assert_eq!(answer.status, 204);
    let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(["x-amz-bearer", "authorization", "x-amz-user-agent"].iter().all(|name| allowed.contains(name)));
    let answer = rig.post("/participant/message", "", json!({})).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().contains("x-amzn-errortype"));
    assert_eq!(answer.headers["date"], "Mon, 04 May 2026 09:00:00 GMT");
    assert_eq!(answer.headers["x-amzn-requestid"].len(), 36);
    assert_eq!(rig.post("/participant/nothing", "", json!({})).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn views_and_authentication_come_from_the_registries() {
    let rig = Rig::new();
    let (client, mut socket, _) = rig.chat().await;
    rig.front.put_view("AQIC/view+token==", json!({"Id": "return-form", "Version": 1}));
    let view = rig
        .call(Method::GET, "/participant/views/AQIC%2Fview%2Btoken%3D%3D", &client.connection, json!({}))
        .await
        .ok();
    assert_eq!(view["View"]["Id"], "return-form");
    let unknown = rig.call(Method::GET, "/participant/views/x", &client.connection, json!({})).await;
    assert_eq!(unknown.error(), (404, "ResourceNotFoundException"));
    assert_eq!(unknown.json()["ResourceId"], "x");
    rig.front.put_authentication("s", "https://login.example/");
    let ask = json!({"SessionId": "s", "RedirectUri": "https://shop.example/cb"});
    assert_eq!(
        client.post("authentication-url", ask.clone()).await.ok()["AuthenticationUrl"],
        "https://login.example/"
    );
    client.post("cancel-authentication", json!({"SessionId": "s"})).await.ok();
    assert_eq!(kind(&socket.item().await), "event.authentication.cancelled");
    assert_eq!(client.post("authentication-url", ask).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn quotas_refuse_what_exceeds_them_and_recover() {
    let rig = Rig::with(Profile::push(), |config| config.quotas = Some(published_quotas()));
    let (client, _socket, _) = rig.chat().await;
    for _ in 0..15 {
        client.event("typing", None).await.ok();
    }
    assert_eq!(client.event("typing", None).await.error(), (429, "ThrottlingException"));
    tokio::time::advance(Duration::from_millis(100)).await;
    client.event("typing", None).await.ok();
}

#[tokio::test(start_paused = true)]
async fn bots_may_not_read_files_and_nobody_put_where_nothing_is_awaited() {
    let rig = Rig::new();
    let (client, mut socket, contact) = rig.chat().await;
    contact.as_agent("Sam").send_file("a.txt", "text/plain", "x").unwrap();
    let item = socket.until(|item| item["Type"] == "ATTACHMENT").await.pop().unwrap();
    let ask = json!({"InstanceId": "i", "ContactId": client.contact, "ParticipantDetails": {"ParticipantRole": "CUSTOM_BOT", "DisplayName": "B"}});
    let made = rig.post("/contact/create-participant", "", ask).await.ok();
    let bot = Client::new(
        &rig,
        &json!(client.contact),
        &made["ParticipantId"],
        &made["ParticipantCredentials"]["ParticipantToken"],
    )
    .await;
    let refused =
        bot.post("attachment", json!({"AttachmentId": item["Attachments"][0]["AttachmentId"]})).await;
    assert_eq!(refused.error(), (403, "AccessDeniedException"));
    let nowhere = "http://127.0.0.1:8971/bucket/staging/x?X-Amz-Signature=y";
    assert_eq!(store(&rig, Method::PUT, nowhere, &json!({}), "x").await.status, 403);
    let agent = json!({"InstanceId": "i", "ContactId": client.contact, "ParticipantDetails": {"ParticipantRole": "AGENT", "DisplayName": "A"}});
    assert_eq!(
        rig.post("/contact/create-participant", "", agent).await.error(),
        (400, "InvalidRequestException")
    );
    let nobody = json!({"InstanceId": "i", "ContactId": "x", "ParticipantDetails": {"ParticipantRole": "CUSTOM_BOT", "DisplayName": "B"}});
    assert_eq!(
        rig.post("/contact/create-participant", "", nobody).await.error(),
        (404, "ResourceNotFoundException")
    );
}

/// The centre's clock need not be the front's: what the front makes itself stands where it happened all the same.
#[tokio::test(start_paused = true)]
async fn clocks_may_differ() {
    for (start, nanos) in [
        ("2026-05-04T09:00:00.123456789Z", true),
        ("2019-01-01T00:00:00Z", false),
        ("2031-01-01T00:00:00Z", false),
    ] {
        let rig = Rig::with(Profile::push(), |config| {
            config.clock = chat_core::VirtualClock::starting_at(chat_core::Timestamp::parse(start).unwrap());
        });
        let (client, mut socket, contact) = rig.chat().await;
        let ask = json!({"ContactId": client.contact, "AgentId": "sam", "DisplayName": "Sam"});
        let made = rig.post("/front/agent-token", "", ask).await.ok();
        let agent =
            Client::new(&rig, &made["ContactId"], &made["ParticipantId"], &made["ParticipantToken"]).await;
        let mut expected = Vec::new();
        for n in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.say(&format!("customer {n}")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            agent.say(&format!("front {n}")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            contact.as_system().say(format!("centre {n}")).unwrap();
            socket.text(&format!("centre {n}")).await;
            expected.extend([format!("customer {n}"), format!("front {n}"), format!("centre {n}")]);
        }
        let transcript = client.transcript().await;
        let texts: Vec<_> = transcript.iter().filter_map(|item| item["Content"].as_str()).collect();
        assert_eq!(texts, expected, "{start}");
        if nanos {
            let upload = json!({"ContentType": "text/plain", "AttachmentName": "a.txt", "AttachmentSizeInBytes": 1, "ClientToken": "t"});
            let upload = client.post("start-attachment-upload", upload).await.ok();
            assert_eq!(
                upload["UploadMetadata"]["UrlExpiry"].as_str().map(str::len),
                Some(24),
                "milliseconds"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_find_no_control_plane_where_it_is_off() {
    let rig = Rig::with(Profile::push(), |config| config.control_plane = false);
    let start = json!({"ParticipantDetails": {"DisplayName": "Jane"}});
    let started = rig.post("/startChatContact", "", start).await.ok();
    let contact = &started["data"]["startChatResult"]["ContactId"];
    for (method, path) in [
        (Method::PUT, "/contact/chat"),
        (Method::POST, "/contact/create-participant"),
        (Method::POST, "/contact/stop"),
        (Method::POST, "/front/agent-token"),
    ] {
        let body = json!({"ContactId": contact, "InstanceId": "i", "AgentId": "a", "DisplayName": "A"});
        assert_eq!(rig.call(method, path, "", body).await.status, 404, "{path}");
    }
}

/// §3.3. Counted are those who came in through the front: nobody tells reliably who else is there.
#[tokio::test(start_paused = true)]
async fn receipts_are_refused_while_more_than_two_people_are_active() {
    let rig = Rig::new();
    let (customer, _socket, contact) = rig.chat().await;
    contact.as_agent("Sue").say("Hello").unwrap();
    let message = customer.transcript().await.pop().unwrap();
    let join = async |name: &str| {
        let ask = json!({"ContactId": customer.contact, "AgentId": name, "DisplayName": name});
        let made = rig.post("/front/agent-token", "", ask).await.ok();
        let agent =
            Client::new(&rig, &made["ContactId"], &made["ParticipantId"], &made["ParticipantToken"]).await;
        rig.post("/participant/connection", &agent.token, json!({"ConnectParticipant": true})).await.ok();
        agent
    };
    let read = async || customer.event("message.read", Some(&message["Id"])).await;
    join("Ann").await;
    read().await.ok();
    let supervisor = join("Bob").await;
    assert_eq!(read().await.error(), (409, "ConflictException"));
    supervisor.post("disconnect", json!({})).await.ok();
    read().await.ok();
}
