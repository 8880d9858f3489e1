//! A session over the client, against a scripted service in memory, in paused time: what people are shown.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use chat_core::{ChatSession, Content, Interactive, StartRequest, View, Visibility};
use serde_json::{Value, json};
use support::*;

/// A session, and the server's end of its socket.
async fn session(centre: &Centre) -> (ChatSession, Socket) {
    let session = ChatSession::builder(centre.transport()).start(StartRequest::named("Jane")).await.unwrap();
    (session, centre.socket().await)
}

/// Waits until a view has this many rows.
async fn rows(session: &ChatSession, view: View, count: usize) {
    let mut events = session.subscribe(view);
    while session.snapshot(view).len() != count {
        events.next().await.expect("the chat goes on");
    }
}

/// A part of a long list.
fn list(id: &str, title: &str, time: &str) -> Value {
    let content = json!({"templateType": "ListPicker", "version": "1.0", "data": {"content": {
        "title": title, "elements": [{"title": "Delivery"}, {"title": "More", "actionDetail": "SHOW_MORE"}],
        "listId": "topics", "referenceId": "ref", "preIndex": -1, "nextIndex": 2}}});
    json!({"AbsoluteTime": time, "Content": content.to_string(), "Id": id, "Type": "MESSAGE",
        "ContentType": "application/vnd.amazonaws.connect.message.interactive", "ParticipantId": "flow",
        "DisplayName": "SYSTEM_MESSAGE", "ParticipantRole": "SYSTEM", "InitialContactId": CONTACT})
}

fn question(session: &ChatSession) -> Interactive {
    match session.snapshot(View::Display)[0].content() {
        Some(Content::Interactive(question)) => (**question).clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn turning_the_pages_of_a_list_shows_the_page_and_not_the_answer() {
    let centre = Centre::open();
    let (session, socket) = session(&centre).await;
    socket.item(list("q-1", "Page 1", "2026-05-04T09:00:01.000Z")).await;
    rows(&session, View::Display, 1).await;
    let more = question(&session).choices[1].reply.clone();

    let sent = session.send(more.clone()).unwrap();
    // Before the service knows of it, after that, and once it comes back.
    assert_eq!((session.snapshot(View::Display).len(), session.snapshot(View::Full).len()), (1, 2));
    sent.await.unwrap();
    assert_eq!(session.snapshot(View::Display).len(), 1);
    let call = centre.calls("/participant/message")[0].json();
    assert_eq!(call["ContentType"], "application/vnd.amazonaws.connect.message.interactive.response");
    assert_eq!(call["Content"], &*more.body);
    // From another tab.
    let mut answer = message("a-1", &more.body);
    answer["ContentType"] = call["ContentType"].clone();
    answer["ParticipantId"] = json!(CUSTOMER);
    answer["ParticipantRole"] = json!("CUSTOMER");
    socket.item(answer.clone()).await;
    rows(&session, View::Full, 3).await;
    let hidden: Vec<_> = session.snapshot(View::Full).iter().map(|row| row.visibility()).collect();
    assert_eq!(hidden, [Visibility::Shown, Visibility::Quiet, Visibility::Quiet]);

    socket.item(list("q-2", "Page 2", "2026-05-04T09:00:09.000Z")).await;
    rows(&session, View::Full, 4).await;
    assert_eq!(session.snapshot(View::Display).len(), 1);
    assert_eq!(
        question(&session).title.as_deref(),
        Some("Page 2"),
        "the next page stands for the one before"
    );

    // What a customer says by a view is a message.
    answer["Id"] = json!("a-2");
    answer["Content"] = json!(r#"{"version":"1.0","templateType":"ViewResource","action":"Next","data":{}}"#);
    socket.item(answer).await;
    rows(&session, View::Display, 2).await;
}
