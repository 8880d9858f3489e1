//! Bad input from either side over a session: each has a clear error, nothing is lost, and the chat goes on.
//!
//! | What | From | What comes of it | Test |
//! |---|---|---|---|
//! | empty text | application | `InvalidInput`, nothing sent | `texts_are_checked_before_anything_is_sent` |
//! | text over the limit, in bytes | application | `TooLarge`, nothing sent | the same |
//! | malformed user data | application | `InvalidInput`, `TooLarge`, nothing sent | `user_data_are_checked_before_a_chat_is_started` |
//! | token that is none | application | `InvalidInput`, nothing sent | `a_refused_token_is_told_as_such` |
//! | token that the service refuses | application | `AccessDenied`, for good | the same |
//! | … in the middle of a chat | service | renewed once, then `SessionEnded` | `client.rs` |
//! | content type that the service refuses | application | `Refused`, the text stays and can be taken back | `a_content_type_that_is_refused_keeps_its_text` |
//! | content type that is not known | service | shown as `Other`, raw | `what_is_not_known_is_kept_as_it_came` |
//! | frame or item that is no JSON | service | told as `Other`, raw | the same |
//! | item without most of its members | service | shown | `items_may_lack_anything` |
//! | frame over the limit | service | `UnexpectedResponse`, a new socket, the gap filled | `an_oversized_frame_costs_the_socket_and_no_message` |
//! | HTML, or no JSON, for an answer | service | sent again under the same token | `an_answer_that_is_none_posts_nothing_twice` |
//! | answer without its members | service | `UnexpectedResponse`, or settled by the echo | `answers_may_lack_what_they_should_hold` |
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use chat_core::{
    Ack, ChatEvent, ChatSession, Command, Content, Direction, ErrorKind, HistoryFrom, HistoryRequest, Retry,
    SavedSession, SendStage, StartRequest, Text, TextFormat, Transport, UserData, View,
    session::ConnectionEvent,
};
use serde_json::{Value, json};
use support::*;

const MESSAGE: &str = "/participant/message";
const CONNECTION: &str = "/participant/connection";
const TRANSCRIPT: &str = "/participant/transcript";

async fn session(centre: &Centre) -> (ChatSession, Socket) {
    let session = ChatSession::builder(centre.transport()).start(StartRequest::named("Jane")).await.unwrap();
    (session, centre.socket().await)
}

fn shown(session: &ChatSession) -> Vec<String> {
    let text = |content: Option<&Content>| match content {
        Some(Content::Text(text)) => text.body.to_string(),
        Some(Content::Other(raw)) => raw.kind.to_string(),
        other => panic!("{other:?}"),
    };
    session.snapshot(View::Full).iter().map(|row| text(row.content())).collect()
}

/// Waits until the transcript shows this.
async fn shows(session: &ChatSession, expected: &[&str]) {
    let mut events = session.subscribe(View::Full);
    let until = async {
        while shown(session) != expected {
            events.next().await.expect("the chat goes on");
        }
    };
    let in_time = tokio::time::timeout(seconds(60), until).await;
    assert!(in_time.is_ok(), "it shows {:?}, not {expected:?}", shown(session));
}

/// What is told next of this sort.
async fn told<T>(events: &mut chat_core::Events, pick: impl Fn(ChatEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = pick(events.next().await.expect("the chat goes on")) {
                return found;
            }
        }
    };
    tokio::time::timeout(seconds(60), found).await.expect("it is told")
}

#[tokio::test(start_paused = true)]
async fn texts_are_checked_before_anything_is_sent() {
    let centre = Centre::open();
    let (session, _socket) = session(&centre).await;
    for empty in ["", " \n\t"] {
        assert_eq!(session.send_text(empty).map(drop).unwrap_err().kind(), &ErrorKind::InvalidInput);
    }
    // 16 384 bytes, and one character of three bytes more.
    let most = "x".repeat(16_384);
    let error = session.send_text(format!("{}€", &most[..16_382])).map(drop).unwrap_err();
    let kind = ErrorKind::TooLarge { actual: 16_385, limit: 16_384, unit: "bytes" };
    assert_eq!(error.kind(), &kind, "{error}");
    assert!(centre.calls(MESSAGE).is_empty() && session.snapshot(View::Full).is_empty());
    session.send_text(most).unwrap().await.unwrap();
    assert_eq!(centre.calls(MESSAGE).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn user_data_are_checked_before_a_chat_is_started() {
    let centre = Centre::open();
    for malformed in [json!(["no", "map"]), json!({"number": 1}), json!("text")] {
        assert_eq!(UserData::from_json(&malformed).unwrap_err().kind(), &ErrorKind::InvalidInput);
    }
    for (user_data, large) in [
        (UserData::new().with("", "no key"), false),
        (UserData::new().with("a key", "with a space"), false),
        (UserData::new().with("key", "x".repeat(32 * 1024)), true),
    ] {
        let request = StartRequest { user_data, ..StartRequest::named("Jane") };
        let failure = ChatSession::builder(centre.transport()).start(request).await.unwrap_err();
        assert_eq!(matches!(failure.error.kind(), ErrorKind::TooLarge { .. }), large, "{}", failure.error);
        assert!(large || failure.error.kind() == &ErrorKind::InvalidInput, "{}", failure.error);
    }
    assert!(centre.calls("/start").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_told_as_such() {
    let centre = Centre::open();
    let with_token = |token: &str| -> SavedSession {
        serde_json::from_value(json!({"transport": "connect", "data":
            {"contactId": CONTACT, "participantId": CUSTOMER, "participantToken": token}}))
        .unwrap()
    };
    let join = async |token: &str| {
        let failure = ChatSession::builder(centre.transport()).join(with_token(token)).await.unwrap_err();
        assert!(!format!("{:?} {}", failure.error, failure.error).contains("hunter2"));
        failure.error
    };
    assert_eq!(join("hunter2\n").await.kind(), &ErrorKind::InvalidInput);
    assert!(centre.calls(CONNECTION).is_empty());
    centre.always(CONNECTION, Plan::denied());
    let error = join("hunter2").await;
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::AccessDenied, Retry::Never));
    assert_eq!(centre.calls(CONNECTION).len(), 1, "a refusal is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_content_type_that_is_refused_keeps_its_text() {
    let centre = Centre::open();
    let (session, socket) = session(&centre).await;
    centre.plan(MESSAGE, Plan::error(400, "ValidationException"));
    let odd = Text { body: "<b>".into(), format: TextFormat::Other("text/html".into()) };
    let error = session.send(odd).unwrap().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Refused, Retry::Never));
    assert_eq!(error.vendor().code.as_deref(), Some("ValidationException"));
    assert_eq!(centre.calls(MESSAGE)[0].json()["ContentType"], "text/html");
    let row = session.snapshot(View::Full)[0].clone();
    assert_eq!(row.send_state().unwrap().stage, SendStage::Failed);
    // By hand, it is tried again.
    session.retry(&row.token().unwrap()).unwrap();
    centre.called(MESSAGE, 2).await;
    socket.item(message("m", "the chat goes on")).await;
    shows(&session, &["<b>", "the chat goes on"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_kept_as_it_came() {
    let centre = Centre::open();
    let (session, socket) = session(&centre).await;
    let mut events = session.events();
    let mut unknown = message("m-1", "ring ring");
    unknown["ContentType"] = json!("application/vnd.amazonaws.connect.event.hologram");
    socket.item(unknown.clone()).await;
    socket.text("{ no JSON").await;
    socket
        .text(json!({"topic": "aws/chat", "contentType": "application/json", "content": "{"}).to_string())
        .await;
    socket.text(json!({"topic": "aws/moon", "content": {"phase": 1}}).to_string()).await;
    socket.item(message("m-2", "still there")).await;
    for (kind, body) in [("", "{ no JSON"), ("aws/chat", "{"), ("aws/moon", r#""phase":1"#)] {
        let other = told(&mut events, |event| match event {
            ChatEvent::Other(raw) => Some(raw),
            _ => None,
        })
        .await;
        assert_eq!(&*other.kind, kind);
        assert!(other.body.contains(body), "{other:?}");
    }
    shows(&session, &["application/vnd.amazonaws.connect.event.hologram", "still there"]).await;
    let raw = session.snapshot(View::Full)[0].raw().cloned().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), unknown);
}

#[tokio::test(start_paused = true)]
async fn items_may_lack_anything() {
    let centre = Centre::open();
    let (session, socket) = session(&centre).await;
    socket.item(json!({"Type": "MESSAGE", "ContentType": "text/plain", "Content": "bare"})).await;
    socket.item(json!({"Id": 7, "Type": ["?"], "ContentType": "text/plain", "Content": "odd", "AbsoluteTime": true}))
        .await;
    socket.item(json!({"ContentType": "text/plain"})).await;
    socket.item(json!({})).await;
    shows(&session, &["bare", "odd", "", "text/plain"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_oversized_frame_costs_the_socket_and_no_message() {
    let centre = Centre::open();
    let (session, socket) = session(&centre).await;
    let mut events = session.events();
    socket.item(message("m-1", "before")).await;
    shows(&session, &["before"]).await;
    let mut missed = message("m-2", "missed");
    missed["AbsoluteTime"] = json!("2026-05-04T09:00:06.000Z");
    let page = json!({"InitialContactId": CONTACT, "Transcript": [message("m-1", "before"), missed], "NextToken": ""});
    centre.always(TRANSCRIPT, Plan::json(200, page));
    // One megabyte is the most.
    socket.item(message("m-3", &"x".repeat(1 << 20))).await;
    let error = told(&mut events, |event| match event {
        ChatEvent::Connection(event) => match &*event {
            ConnectionEvent::Lost(error) => Some(error.clone()),
            _ => None,
        },
        _ => None,
    })
    .await;
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::UnexpectedResponse, Retry::Backoff));
    let socket = centre.socket().await;
    shows(&session, &["before", "missed"]).await;
    let mut after = message("m-4", "after");
    after["AbsoluteTime"] = json!("2026-05-04T09:00:07.000Z");
    socket.item(after).await;
    shows(&session, &["before", "missed", "after"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_posts_nothing_twice() {
    let centre = Centre::open();
    let (session, _socket) = session(&centre).await;
    let json = ("content-type", "application/json");
    for plan in [
        Plan::Answer(200, vec![("content-type", "text/html")], "<h1>Sign in</h1>".into()),
        Plan::Answer(200, vec![json], "{ no JSON".into()),
        Plan::Answer(200, vec![json], "[]".into()),
    ] {
        centre.plan(MESSAGE, plan);
    }
    session.send_text("Hello").unwrap().await.unwrap();
    let calls = centre.calls(MESSAGE);
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.json()["ClientToken"] == calls[0].json()["ClientToken"]));
    shows(&session, &["Hello"]).await;
}

#[tokio::test(start_paused = true)]
async fn answers_may_lack_what_they_should_hold() {
    let centre = Centre::open();
    for answer in [json!({}), json!({"data": {"startChatResult": {"ContactId": CONTACT}}})] {
        centre.plan("/start", Plan::json(200, answer.clone()));
        let error = centre.transport().connect(start()).await.unwrap_err().error;
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::UnexpectedResponse, Retry::Backoff),
            "{answer}"
        );
    }
    for part in [
        json!({"Websocket": {"Url": 7}, "ConnectionCredentials": {"ConnectionToken": "CT"}}),
        json!({"Websocket": {"Url": format!("wss://{GATEWAY}/gateway")}}),
    ] {
        centre.plan(CONNECTION, Plan::json(200, part.clone()));
        let error = centre.transport().connect(join()).await.unwrap_err().error;
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::UnexpectedResponse, Retry::Backoff), "{part}");
    }

    // A session asks again.
    centre.plan("/start", Plan::json(200, json!({})));
    centre.plan(CONNECTION, Plan::json(200, json!({"Websocket": {}})));
    let (session, socket) = session(&centre).await;
    centre.plan(MESSAGE, Plan::json(200, json!({})));
    session.send_text("Hello").unwrap().await.unwrap();
    let mut echo = message("m-1", "Hello");
    echo["ParticipantId"] = json!(CUSTOMER);
    echo["ParticipantRole"] = json!("CUSTOMER");
    socket.item(echo).await;
    socket.item(message("m-2", "Hi")).await;
    shows(&session, &["Hello", "Hi"]).await;

    // A page without items is an empty one, and the last.
    let (connection, _socket) = centre.start(&centre.transport()).await;
    centre.plan(TRANSCRIPT, Plan::json(200, json!({"NextToken": 7})));
    let request = HistoryRequest { direction: Direction::Older, from: HistoryFrom::Newest, limit: 15 };
    let Ack::History(page) = submit(&connection, Command::History(request)).await.unwrap() else { panic!() };
    assert_eq!((page.items.len(), page.next), (0, None));
}
