//! The client against a scripted service in memory, in paused time.
#![cfg(feature = "client")]

mod support;

use std::sync::atomic::Ordering;

use chat_core::{
    Ack, ChatSession, Command, Delivery, EndReason, ErrorKind, Intent, Retry, StartRequest, Transport,
    TransportEvent,
};
use serde_json::json;
use support::*;

#[tokio::test(start_paused = true)]
async fn a_conversation() {
    let centre = Centre::open();
    let session = ChatSession::builder(centre.transport()).start(StartRequest::named("Jane")).await.unwrap();
    let socket = centre.socket().await;
    let sent = session.send_text("Hello").unwrap();
    socket.item(message("m-1", "Hi Jane")).await;
    sent.await.unwrap();
    let call = &centre.calls("/participant/message")[0];
    assert_eq!(call.json()["Content"], "Hello");
    assert_eq!(call.json()["ContentType"], "text/plain");
    assert!(call.json()["ClientToken"].is_string());
    assert_eq!(call.headers["content-type"], "application/json");
    socket.item(event("e-1", "chat.ended")).await;
    while session.ended().is_none() {
        tokio::time::sleep(seconds(1)).await;
    }
    assert_eq!(session.ended(), Some(EndReason::EndedByService));
    let texts = session.export_text();
    assert!(texts.contains("Hello") && texts.contains("Hi Jane"), "{texts}");
}

#[tokio::test(start_paused = true)]
async fn starting_goes_endpoint_credentials_socket_subscription() {
    let centre = Centre::open();
    let (connection, socket) = centre.start(&centre.transport()).await;
    let start = &centre.calls("/start")[0];
    assert_eq!(start.headers["x-api-key"], "shop-key");
    assert_eq!(start.json()["ParticipantDetails"]["DisplayName"], "Jane");
    assert_eq!(start.json()["ClientToken"], "start-1", "a repeated start can be told from a second one");
    let call = &centre.calls("/participant/connection")[0];
    assert_eq!(call.bearer(), Some("PT"));
    assert_eq!(call.json(), json!({"Type": ["WEBSOCKET", "CONNECTION_CREDENTIALS"]}));
    assert!(call.headers.get("x-api-key").is_none(), "the endpoint's key is the endpoint's");
    let frames = socket.received.lock().unwrap().clone();
    assert_eq!(frames[0], r#"{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}"#);
    assert_eq!(connection.session.scope.as_str(), CONTACT);
    assert_eq!(connection.session.participant.as_ref().unwrap().as_str(), CUSTOMER);
    assert_eq!(connection.saved.text("participantToken"), Some("PT"));
    assert_eq!(connection.session.started_at.unwrap().to_string(), "2026-05-04T09:00:00.000Z");
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_never_starts_a_second_chat() {
    let centre = Centre::open();
    let transport = centre.transport();
    centre.plan("/participant/connection", Plan::error(500, "InternalServerException"));
    let failure = transport.connect(start()).await.unwrap_err();
    assert_eq!(failure.error.kind(), &ErrorKind::Server);
    let saved = failure.saved.expect("the chat exists");
    assert_eq!(saved.text("contactId"), Some(CONTACT));
    // Either way back leads to the same chat.
    transport.connect(start()).await.unwrap();
    transport.connect(chat_core::ConnectRequest::new(Intent::Resume(*saved))).await.unwrap();
    assert_eq!(centre.calls("/start").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_endpoints_failures_are_understood() {
    let centre = Centre::open();
    let transport = centre.transport();
    centre.plan(
        "/start",
        Plan::json(
            500,
            json!({"data": {"Error": {"code": "LimitExceededException", "statusCode": 429, "message": "full"}}}),
        ),
    );
    let failure = transport.connect(start()).await.unwrap_err();
    assert_eq!(failure.error.kind(), &ErrorKind::RateLimited);
    assert!(failure.saved.is_none());

    centre.plan("/start", Plan::Answer(200, vec![("content-type", "text/html")], "<h1>Sign in</h1>".into()));
    let failure = transport.connect(start()).await.unwrap_err();
    assert_eq!(failure.error.kind(), &ErrorKind::UnexpectedResponse, "a captive portal");
}

#[tokio::test(start_paused = true)]
async fn a_denial_means_what_the_stage_says() {
    let centre = Centre::open();
    let transport = centre.transport();
    centre.always("/participant/connection", Plan::denied());
    let first = transport.connect(join()).await.unwrap_err().error;
    assert_eq!((first.kind(), first.retry()), (&ErrorKind::AccessDenied, Retry::Never), "never connected");
    let again = transport.connect(resume()).await.unwrap_err().error;
    assert_eq!(again.kind(), &ErrorKind::SessionEnded, "it once stood: it ended meanwhile");
    assert!(!transport.verify(&saved()).await.unwrap());

    centre.always("/participant/connection", Plan::forbidden_by_gateway());
    let gateway = transport.connect(resume()).await.unwrap_err().error;
    assert_eq!(gateway.kind(), &ErrorKind::AccessDenied, "a gateway knows nothing about the chat");
    assert!(transport.verify(&saved()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_denied_send_renews_the_credentials_once() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    centre.plan("/participant/message", Plan::denied());
    let Ack::Sent(sent) = submit(&connection, send("Hello", "t")).await.unwrap() else { panic!() };
    let aliases: Vec<_> =
        sent.sighting.unwrap().aliases.iter().map(|alias| alias.value.to_string()).collect();
    assert_eq!(aliases.len(), 2, "token and id");
    let calls = centre.calls("/participant/message");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].bearer(), calls[1].bearer());
    assert_eq!(calls[0].json(), calls[1].json(), "the same client token");
    let renewal = &centre.calls("/participant/connection")[1];
    assert_eq!(
        renewal.json(),
        json!({"Type": ["CONNECTION_CREDENTIALS"]}),
        "no URL is fetched and thrown away"
    );
}

#[tokio::test(start_paused = true)]
async fn a_send_that_stays_denied_finds_that_the_chat_has_ended() {
    let centre = Centre::open();
    let (mut connection, socket) = centre.start(&centre.transport()).await;
    socket.item(message("m-1", "Bye")).await;
    centre.always("/participant/message", Plan::denied());
    centre.always("/participant/connection", Plan::denied());
    let error = submit(&connection, send("Hello", "t")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::SessionEnded, Delivery::Refused));
    assert_eq!(next_text(&mut connection).await, "Bye", "nothing that came before is lost");
    assert!(matches!(next(&mut connection).await, Some(TransportEvent::Ended(EndReason::EndedByService))));
    assert!(next(&mut connection).await.is_none(), "once");
    let error = submit(&connection, send("More", "t2")).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(centre.calls("/participant/message").len(), 1, "no I/O after the end");
}

#[tokio::test(start_paused = true)]
async fn a_failing_renewal_does_not_end_the_chat() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    centre.plan("/participant/message", Plan::denied());
    centre.plan("/participant/connection", Plan::error(500, "InternalServerException"));
    let error = submit(&connection, send("Hello", "t")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Server, Delivery::NotSent));
    submit(&connection, send("Hello", "t")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deaf_subscription_is_a_failed_connection() {
    let centre = Centre::open();
    centre.habits().acknowledge.store(false, Ordering::Relaxed);
    let error = centre.transport().connect(join()).await.unwrap_err().error;
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Timeout, Retry::Backoff));
    let socket = centre.socket().await;
    let asked = socket.received.lock().unwrap().iter().filter(|text| text.contains("subscribe")).count();
    assert!(asked > 1, "it was asked for again");
    socket.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_and_a_refused_socket_can_be_tried_again() {
    let centre = Centre::open();
    let transport = centre.transport();
    centre.habits().acknowledge.store(false, Ordering::Relaxed);
    let (error, ()) = tokio::join!(transport.connect(join()), async {
        let socket = centre.socket().await;
        let refusal =
            json!({"topic": "aws/subscribe", "content": {"status": "failure", "topics": ["aws/chat"]}});
        socket.text(refusal.to_string()).await;
        socket.gone().await;
    });
    assert_eq!(error.unwrap_err().error.retry(), Retry::Backoff);

    for status in [403, 404, 429, 500] {
        centre.plan("/gateway", Plan::json(status, json!({"message": "no"})));
        let error = transport.connect(resume()).await.unwrap_err().error;
        assert_eq!(error.retry(), Retry::Backoff, "{status}: HTTP works, the chat goes on");
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_found_by_heartbeats() {
    let centre = Centre::open();
    let (mut connection, _socket) = centre.start(&centre.transport()).await;
    tokio::time::sleep(seconds(120)).await;
    centre.network.half_open();
    let since = tokio::time::Instant::now();
    let Some(TransportEvent::Lost(lost)) = next(&mut connection).await else { panic!() };
    assert_eq!(lost.error.kind(), &ErrorKind::Timeout);
    assert!(lost.resumable && since.elapsed() <= seconds(20), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn unanswered_heartbeats_alone_are_no_loss_while_items_arrive() {
    let centre = Centre::open();
    let (mut connection, socket) = centre.start(&centre.transport()).await;
    centre.habits().heartbeats.store(false, Ordering::Relaxed);
    centre.habits().pings.store(false, Ordering::Relaxed);
    for n in 0..10 {
        tokio::time::sleep(seconds(9)).await;
        socket.item(message(&format!("m-{n}"), "still here")).await;
        assert_eq!(next_text(&mut connection).await, "still here");
    }
}

#[tokio::test(start_paused = true)]
async fn every_close_is_a_loss_that_can_be_resumed() {
    let centre = Centre::open();
    let transport = centre.transport();
    for code in [None, Some(1000), Some(1001), Some(1008), Some(1011), Some(4321)] {
        let mut connection = transport.connect(resume()).await.unwrap();
        let socket = centre.socket().await;
        socket.item(message("m-1", "last words")).await;
        socket.close(code).await;
        assert_eq!(next_text(&mut connection).await, "last words");
        let Some(TransportEvent::Lost(lost)) = next(&mut connection).await else { panic!("{code:?}") };
        assert!(lost.resumable, "{code:?}");
        assert_eq!(lost.error.retry(), Retry::Backoff, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_renews_its_socket_with_overlap_and_without_a_loss() {
    let centre = Centre::open();
    let session = ChatSession::builder(centre.transport()).start(StartRequest::named("Jane")).await.unwrap();
    let first = centre.socket().await;
    centre.habits().acknowledge.store(false, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();
    let second = centre.socket().await;
    let age = begun.elapsed();
    assert!(age > seconds(57 * 60) && age < seconds(59 * 60), "{age:?}");
    // Both deliver; nothing shows twice.
    first.item(message("m-1", "Hi")).await;
    second.item(message("m-1", "Hi")).await;
    let ack = json!({"topic": "aws/subscribe", "content": {"status": "success", "topics": ["aws/chat"]}});
    second.text(ack.to_string()).await;
    first.gone().await;
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(session.export_text().matches("Hi").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_token_is_renewed_ahead_and_soon_again_after_a_failure() {
    let centre = Centre::open();
    let (mut connection, _socket) = centre.start(&centre.transport()).await;
    centre.plan("/participant/connection", Plan::error(500, "InternalServerException"));
    tokio::select! {
        () = centre.called("/participant/connection", 3) => {}
        event = async { loop { if let Some(TransportEvent::Lost(lost)) = next(&mut connection).await { break lost; } } } => {
            panic!("{event:?}")
        }
    }
    let calls = centre.calls("/participant/connection");
    assert_eq!(calls[1].json(), json!({"Type": ["CONNECTION_CREDENTIALS"]}));
    assert_eq!(calls[2].json(), calls[1].json());
    submit(&connection, send("Hello", "t")).await.unwrap();
    assert_ne!(centre.calls("/participant/message")[0].bearer(), Some("CT-1"));
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_once_and_only_when_the_service_says_so() {
    let centre = Centre::open();
    let (mut connection, socket) = centre.start(&centre.transport()).await;
    submit(&connection, Command::Leave { end: true }).await.unwrap();
    assert_eq!(centre.calls("/participant/disconnect").len(), 1);
    socket.item(message("m-1", "How did we do?")).await;
    assert_eq!(next_text(&mut connection).await, "How did we do?", "the survey comes through");
    socket.item(event("e-1", "chat.ended")).await;
    socket.item(event("e-1", "chat.ended")).await;
    assert!(matches!(next(&mut connection).await, Some(TransportEvent::Message(_))), "the row");
    assert!(matches!(next(&mut connection).await, Some(TransportEvent::Ended(EndReason::EndedByUs))));
    assert!(next(&mut connection).await.is_none());
    socket.gone().await;
}

#[tokio::test(start_paused = true)]
async fn leaving_has_a_deadline() {
    let centre = Centre::open();
    let (mut connection, _socket) = centre.start(&centre.transport()).await;
    submit(&connection, Command::Leave { end: true }).await.unwrap();
    assert!(matches!(next(&mut connection).await, Some(TransportEvent::Ended(EndReason::EndedByUs))));

    let mut connection = centre.transport().connect(join()).await.unwrap();
    submit(&connection, Command::Leave { end: false }).await.unwrap();
    assert!(matches!(next(&mut connection).await, Some(TransportEvent::Ended(EndReason::Left))));
    assert_eq!(centre.calls("/participant/disconnect").len(), 1, "leaving alone tells nobody");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_closes_the_socket_and_ends_nothing() {
    let centre = Centre::open();
    let (connection, socket) = centre.start(&centre.transport()).await;
    drop(connection.events);
    socket.gone().await;
    assert!(centre.calls("/participant/disconnect").is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_connect_leaves_no_socket() {
    let centre = Centre::open();
    centre.habits().acknowledge.store(false, Ordering::Relaxed);
    let transport = centre.transport();
    let mut connecting = Box::pin(transport.connect(join()));
    let socket = tokio::select! {
        _ = &mut connecting => panic!("cannot stand"),
        socket = centre.socket() => socket,
    };
    drop(connecting);
    socket.gone().await;
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_connecting_is_kept() {
    let centre = Centre::open();
    centre.habits().acknowledge.store(false, Ordering::Relaxed);
    let transport = centre.transport();
    let (connection, socket) = tokio::join!(transport.connect(join()), async {
        let socket = centre.socket().await;
        for n in 0..200 {
            socket.item(message(&format!("m-{n}"), &n.to_string())).await;
        }
        let ack = json!({"topic": "aws/subscribe", "content": {"status": "success", "topics": ["aws/chat"]}});
        socket.text(ack.to_string()).await;
        socket
    });
    let mut connection = connection.unwrap();
    for n in 0..200 {
        assert_eq!(next_text(&mut connection).await, n.to_string());
    }
    drop(socket);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_stops_neither_heartbeats_nor_loses_anything() {
    let centre = Centre::open();
    let (mut connection, socket) = centre.start(&centre.transport()).await;
    for n in 0..200 {
        socket.item(message(&format!("m-{n}"), &n.to_string())).await;
    }
    tokio::time::sleep(seconds(300)).await;
    let beats = socket.received.lock().unwrap().iter().filter(|text| text.contains("heartbeat")).count();
    assert!(beats >= 29, "{beats}");
    for n in 0..200 {
        assert_eq!(next_text(&mut connection).await, n.to_string());
    }
}
