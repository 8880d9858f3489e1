//! The client against a scripted service: starting, coming back, who it is, and what bad answers come to.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use chat_core::{
    Capability, ChatEvent, ChatSession, ConnectError, ConnectRequest, Delivery, ErrorKind, Intent,
    MemoryStore, PollEvent, Retry, SavedSession, SessionDirectory, SessionSettings, SessionStore,
    SessionUpdate, StartRequest, StoredSession, Text, Transport, TransportEvent, UserData,
};
use serde_json::json;
use support::*;
use transport_gms_v2::{CometdConfig, GmsConfig, GmsTransport};

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn starting(request: StartRequest) -> ConnectRequest {
    ConnectRequest::new(Intent::Start(Box::new(request)))
}

async fn refused(transport: &GmsTransport, request: ConnectRequest) -> chat_core::Error {
    let ConnectError { error, saved } = transport.connect(request).await.unwrap_err();
    assert!(saved.is_none());
    error
}

#[tokio::test(start_paused = true)]
async fn a_start_says_everything_and_its_session_data_have_the_vendors_names() {
    let server = Server::open();
    let transport = server
        .builder()
        .data_url(format!("{URL}///"))
        .apikey("n3eNkg")
        .authorization("Bearer abc")
        .header("ContactCenterId", "cc-1")
        .user_datum("lang", "en")
        .user_datum("tier", "gold")
        .build()
        .unwrap();
    let request = StartRequest {
        subject: Some("a & b + c = 100 %".into()),
        email: Some("jon@example.test".into()),
        user_data: UserData::new().with("tier", "Grüße ☎").with("TimeZone", "-480"),
        ..StartRequest::named("Jonny")
    };
    let connection = transport.connect(starting(request)).await.unwrap();
    let call = server.last("");
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/genesys/2/chat/customer-support"));
    assert_eq!(
        call.form(),
        pairs(&[
            ("nickname", "Jonny"),
            ("subject", "a & b + c = 100 %"),
            ("emailAddress", "jon@example.test"),
            ("userData[TimeZone]", "-480"),
            ("userData[lang]", "en"),
            ("userData[tier]", "Grüße ☎"),
        ])
    );
    for (name, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
        ("apikey", "n3eNkg"),
        ("x-api-key", "n3eNkg"),
        ("authorization", "Bearer abc"),
        ("contactcenterid", "cc-1"),
    ] {
        assert_eq!(call.header(name), Some(value), "{name}");
    }
    for (key, value) in [("secureKey", KEY), ("sessionID", CHAT), ("alias", "204"), ("userId", USER)] {
        assert_eq!(connection.saved.text(key), Some(value));
    }
    let session = &connection.session;
    assert_eq!((session.scope.as_str(), session.display_name.as_deref()), (CHAT, Some("Jonny")));
    assert_eq!(session.participant.as_ref().map(|id| id.as_str()), Some("1"));
    assert!(session.started_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_started_is_refused_before_anything_is_sent() {
    let server = Server::open();
    let transport = server.transport();
    let error = refused(&transport, starting(StartRequest::default())).await;
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::InvalidInput, Delivery::NotSent));

    // L11: the vendor forbids asynchronous chats with polling.
    assert!(!transport.capabilities().can(Capability::Async));
    let asynchronous = StartRequest { asynchronous: true, ..StartRequest::named("Jonny") };
    let error = refused(&transport, starting(asynchronous)).await;
    assert_eq!(
        error.kind(),
        &ErrorKind::Unsupported { capability: Capability::Async, transport: transport.id() }
    );
    let mut config = GmsConfig::default();
    config.data_url = Some(URL.into());
    config.asynchronous = true;
    let error = GmsTransport::builder().config(config).build().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Config);
    assert!(server.all_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_may_have_arrived_is_never_repeated() {
    for plan in [Plan::Hang.stored(), Plan::html(504).stored(), Plan::html(200), Plan::json(200, json!({}))] {
        let server = Server::open();
        server.always("", Some(plan.clone()));
        let session = ChatSession::builder(server.transport()).start(StartRequest::named("Jonny")).await;
        let error = session.unwrap_err().error;
        assert_eq!((error.retry(), error.delivery()), (Retry::Never, Delivery::Unknown), "{plan:?}");
        assert_eq!(server.calls("").len(), 1, "{plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_put_off_is_repeated() {
    for plan in [Plan::offline(), Plan::html(503), Plan::html(429)] {
        let server = Server::open();
        server.plan("", plan);
        let session = ChatSession::builder(server.transport()).start(StartRequest::named("Jonny")).await;
        assert!(session.is_ok());
        assert_eq!(server.calls("").len(), 2);
    }
    let server = Server::open();
    server.network.cut();
    let error = refused(&server.transport(), start()).await;
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent));
    assert_eq!(error.retry(), Retry::Backoff);
}

#[tokio::test(start_paused = true)]
async fn an_old_services_answer_to_a_start_is_enough() {
    let server = Server::open();
    server.plan(
        "",
        Plan::json(200, json!({"messages": [], "statusCode": "0", "secureKey": KEY, "chatId": CHAT}))
            .stored(),
    );
    let mut connection = server.start(&server.transport()).await;
    server.say("hello");
    poll(&connection).await.unwrap();
    assert_eq!(texts(&mut connection), ["hello"]);
    let call = server.last("refresh");
    assert_eq!(call.get("secureKey").as_deref(), Some(KEY));
    assert_eq!((call.get("userId"), call.get("alias")), (None, None), "never required, never made up");
}

#[tokio::test(start_paused = true)]
async fn the_first_message_belongs_to_the_start() {
    let server = Server::open();
    let greeting =
        || StartRequest { initial_message: Some(Text::plain("Hi there")), ..StartRequest::named("Jonny") };
    let mut connection = server.transport().connect(starting(greeting())).await.unwrap();
    poll(&connection).await.unwrap();
    assert_eq!(texts(&mut connection), ["Hi there"]);

    let server = Server::open();
    server.plan("send", Plan::errors(400, 204));
    let error = refused(&server.transport(), starting(greeting())).await;
    assert!(matches!(error.kind(), ErrorKind::TooLarge { limit: 14_700, actual: 8, .. }), "{error:?}");
    assert_eq!(server.calls("disconnect").len(), 1, "a chat without it is not left behind");
}

#[tokio::test(start_paused = true)]
async fn bad_answers_to_a_start_are_typed_errors() {
    use ErrorKind::{AccessDenied, Config, Refused, Unauthorized, UnexpectedResponse};
    let server = Server::open();
    let transport = server.builder().apikey("n3eNkg").build().unwrap();
    for (plan, kind, code) in [
        // A service that nobody defined; a key that the gateway does not know; a firewall's page.
        (Plan::html(404), Config, None),
        (Plan::json(401, json!({"fault": {"faultstring": "Invalid ApiKey"}})), Unauthorized, None),
        (Plan::html(403), AccessDenied, None),
        (Plan::html(200), UnexpectedResponse, None),
        (Plan::json(200, json!([])), UnexpectedResponse, None),
        (Plan::json(200, json!({"statusCode": 0, "chatId": CHAT})), UnexpectedResponse, None),
        (
            Plan::Answer(302, vec![("location", "https://evil.example/")], String::new()),
            UnexpectedResponse,
            None,
        ),
        (Plan::errors(400, 102), Refused, Some("102")),
        (Plan::errors(400, 103), Refused, Some("103")),
        (Plan::errors(400, 161), Refused, Some("161")),
        (Plan::errors(400, 364), Refused, Some("364")),
        (Plan::errors(400, 240), ErrorKind::Server, Some("240")),
        (Plan::failed(161, false), Refused, Some("161")),
        (Plan::failed(240, true), ErrorKind::Server, Some("240")),
        (Plan::failed(401, true), Unauthorized, Some("401")),
    ] {
        server.plan("", plan.clone());
        let error = refused(&transport, start()).await;
        assert_eq!((error.kind(), error.vendor().code.as_deref()), (&kind, code), "{plan:?}");
        if code.is_some() {
            let advice = error.vendor().message.as_deref().unwrap_or_default();
            assert!(advice.contains("referenceId"), "{plan:?}");
            assert!(
                error.vendor().request_id.as_deref().is_some_and(|id| id.starts_with("2000")),
                "{plan:?}"
            );
        }
        assert!(!format!("{error} {error:?}").contains("n3eNkg"));
    }
}

#[tokio::test(start_paused = true)]
async fn coming_back_asks_for_nothing_and_then_reads_everything() {
    let server = Server::open();
    let first = server.start(&server.transport()).await;
    drop(first);
    server.say("while away");
    let mut connection = server.transport().connect(resume()).await.unwrap();
    let look = server.last("refresh");
    assert_eq!(look.path, format!("/genesys/2/chat/customer-support/{CHAT}/refresh"));
    assert_eq!(
        look.form(),
        pairs(&[("userId", USER), ("secureKey", KEY), ("alias", "204"), ("transcriptPosition", "0")])
    );
    poll(&connection).await.unwrap();
    assert_eq!(server.last("refresh").get("transcriptPosition").as_deref(), Some("1"));
    let events = told(&mut connection);
    let own = events.iter().find_map(|event| match event {
        TransportEvent::Session(update) => match &**update {
            SessionUpdate::OwnId(id) => Some(id.as_str().to_owned()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(own.as_deref(), Some("1"), "who we are is read from the transcript");
    assert_eq!(sightings(&events).into_iter().filter_map(text).collect::<Vec<_>>(), ["while away"]);

    // Coming back with our own data goes on from where we were.
    let saved = events.into_iter().rev().find_map(saved_of).unwrap();
    transport_resumes_at(&server, saved, "3").await;
}

fn saved_of(event: TransportEvent) -> Option<SavedSession> {
    match event {
        TransportEvent::Session(update) => match *update {
            SessionUpdate::Saved(saved) => Some(saved),
            _ => None,
        },
        _ => None,
    }
}

async fn transport_resumes_at(server: &Server, saved: SavedSession, position: &str) {
    let connection = server.transport().connect(ConnectRequest::new(Intent::Resume(saved))).await.unwrap();
    assert_eq!(connection.session.participant.as_ref().map(|id| id.as_str()), Some("1"));
    poll(&connection).await.unwrap();
    assert_eq!(server.last("refresh").get("transcriptPosition").as_deref(), Some(position));
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_gone_cannot_be_resumed_and_a_network_failure_says_nothing() {
    use ErrorKind::{
        AccessDenied, NotFound, SessionEnded, SessionLost, Timeout, Unauthorized, UnexpectedResponse,
    };
    let server = Server::open();
    drop(server.start(&server.transport()).await);
    let transport = server.transport();
    // Doubtful answers are asked for once more.
    for (plans, kind, retry, exists) in [
        (vec![Plan::failed(249, true)], SessionEnded, Retry::Never, Some(false)),
        (vec![Plan::failed(401, true)], AccessDenied, Retry::Never, Some(false)),
        (vec![Plan::failed(404, true)], SessionLost, Retry::Never, Some(false)),
        (vec![Plan::failed(249, false), Plan::failed(249, false)], SessionLost, Retry::Never, Some(false)),
        (vec![Plan::errors(400, 404), Plan::errors(400, 404)], SessionLost, Retry::Never, Some(false)),
        (vec![Plan::html(404), Plan::html(404)], NotFound, Retry::Backoff, None),
        (vec![Plan::html(401)], Unauthorized, Retry::WithNewCredentials, None),
        (vec![Plan::html(403)], AccessDenied, Retry::Never, None),
        (vec![Plan::html(502)], ErrorKind::Server, Retry::Backoff, None),
        (vec![Plan::html(200)], UnexpectedResponse, Retry::Backoff, None),
        (vec![Plan::Hang], Timeout, Retry::Backoff, None),
    ] {
        plans.iter().for_each(|plan| server.plan("refresh", plan.clone()));
        let error = refused(&transport, resume()).await;
        assert_eq!((error.kind(), error.retry()), (&kind, retry), "{plans:?}");
        plans.iter().for_each(|plan| server.plan("refresh", plan.clone()));
        match transport.verify(&saved()).await {
            Ok(there) => assert_eq!(Some(there), exists, "{plans:?}"),
            Err(error) => assert_eq!((error.kind(), exists), (&kind, None), "{plans:?}"),
        }
    }
    // One doubtful answer is no proof.
    server.plan("refresh", Plan::failed(249, false));
    assert!(transport.verify(&saved()).await.unwrap());
    server.plan("refresh", Plan::html(404));
    assert!(transport.connect(resume()).await.is_ok());
    let calls = server.calls("refresh");
    assert!(
        calls.iter().all(|call| call.get("transcriptPosition").as_deref() == Some("0")),
        "nobody sees it"
    );
    server.end();
    assert!(!transport.verify(&saved()).await.unwrap());
    assert_eq!(refused(&transport, resume()).await.kind(), &SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn a_chat_restored_while_its_server_is_offline_stands_and_says_so() {
    let server = Server::open();
    drop(server.start(&server.transport()).await);
    server.say("meanwhile");
    server.always("refresh", Some(Plan::offline()));
    let store = MemoryStore::default();
    store.save("j", &StoredSession::new(saved())).await.unwrap();
    let directory = SessionDirectory::new(store);
    let session = ChatSession::builder(server.transport())
        .settings(SessionSettings::default().with_seed(Some(7)))
        .keep(&directory, "j")
        .restore()
        .await
        .unwrap();
    let mut events = session.events();
    let offline =
        |event: &ChatEvent| matches!(event, ChatEvent::Poll(PollEvent::RestoredOffline)).then_some(());
    until(&mut events, offline).await;
    server.always("refresh", None);
    let back =
        |event: &ChatEvent| matches!(event, ChatEvent::Poll(PollEvent::ServerBackOnline)).then_some(());
    until(&mut events, back).await;
    while shown(&session) != ["meanwhile"] {
        events.next().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_identity_follows_good_answers_alone() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    server.move_to("317");
    poll(&connection).await.unwrap();
    poll(&connection).await.unwrap();
    assert_eq!(server.last("refresh").get("alias").as_deref(), Some("317"));
    let saved: Vec<_> = told(&mut connection).into_iter().filter_map(saved_of).collect();
    assert_eq!(saved.last().unwrap().text("alias"), Some("317"), "it is saved");
    for bad in [
        json!({"statusCode": 1, "alias": "1", "secureKey": "x"}),
        json!({"statusCode": 2, "alias": "1", "secureKey": "x"}),
        json!({"statusCode": 0, "alias": "", "secureKey": null, "userId": 7}),
        json!({"statusCode": 0, "alias": "1", "secureKey": "x", "chatId": "another"}),
    ] {
        server.plan("refresh", Plan::json(200, bad));
        let _ = poll(&connection).await;
        poll(&connection).await.unwrap();
        let call = server.last("refresh");
        let identity = ["alias", "secureKey", "userId"].map(|key| call.get(key));
        assert_eq!(identity, ["317", KEY, USER].map(|value| Some(value.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn cookies_are_returned_by_the_session_that_got_them() {
    let server = Server::open();
    let transport = server.transport();
    let body = json!({"messages": [], "statusCode": 0, "secureKey": KEY, "chatId": CHAT});
    let cookie = "GMSAFFINITY=node2; Path=/; HttpOnly";
    let plan = Plan::Answer(
        200,
        vec![("content-type", "application/json"), ("set-cookie", cookie)],
        body.to_string(),
    );
    server.plan("", plan);
    let pinned = server.start(&transport).await;
    poll(&pinned).await.unwrap();
    assert_eq!(server.last("refresh").header("cookie"), Some("GMSAFFINITY=node2"));
    let other = server.start(&transport).await;
    poll(&other).await.unwrap();
    assert_eq!(server.last("refresh").header("cookie"), None, "another session has a jar of its own");
}

#[tokio::test(start_paused = true)]
async fn the_tap_hears_every_answer_without_keys() {
    let server = Server::open();
    let transport = server.builder().apikey("n3eNkg").build().unwrap();
    let mut request = start();
    request.tap = true;
    let mut connection = transport.connect(request).await.unwrap();
    server.say("hello");
    poll(&connection).await.unwrap();
    submit(&connection, send("hi", "t-1")).await.unwrap();
    server.plan("refresh", Plan::html(502));
    let _ = poll(&connection).await;
    poll(&connection).await.unwrap();
    let heard: Vec<_> = told(&mut connection)
        .into_iter()
        .filter_map(|event| match event {
            TransportEvent::Raw(raw) => Some(*raw),
            _ => None,
        })
        .collect();
    let kinds: Vec<_> = heard.iter().map(|raw| &*raw.kind).collect();
    assert_eq!(kinds, ["refresh", "sendMessage", "refresh", "refresh"]);
    assert!(heard[0].body.contains("hello") && heard[2].body.contains("Sign in"));
    let all = format!("{heard:?} {connection:?} {transport:?}");
    for secret in [KEY, "n3eNkg"] {
        assert!(!all.contains(secret), "{all}");
    }

    let mut quiet = server.start(&transport).await;
    poll(&quiet).await.unwrap();
    assert!(!told(&mut quiet).iter().any(|event| matches!(event, TransportEvent::Raw(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_saved_is_a_sign_of_life_well_before_it_is_too_old() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    poll(&connection).await.unwrap();
    told(&mut connection);
    let mut saves = 0;
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(3)).await;
        poll(&connection).await.unwrap();
        saves += told(&mut connection).into_iter().filter_map(saved_of).count();
    }
    // Nothing happens in the chat for a minute, and it could still be restored.
    assert!((4..=8).contains(&saves), "{saves}");
}

#[tokio::test(start_paused = true)]
async fn cometd_is_announced_before_connecting() {
    let server = Server::open();
    let cometd = CometdConfig::new("https://gms.example/genesys/cometd");
    let transport = server.builder().cometd(cometd).build().unwrap();
    let can = transport.capabilities();
    assert!(!can.can(Capability::Poll) && !can.can(Capability::Upload));
}
