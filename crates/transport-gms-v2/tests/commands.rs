//! The client against a scripted service: what each command says, where the cursor goes, and what failures come to.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use chat_core::{
    Ack, AliasKind, Capability, ChatEvent, ChatSession, Command, Delivery, Direction, EndReason, Error,
    ErrorKind, HistoryFrom, HistoryPage, HistoryRequest, MessageId, Outgoing, OutgoingBody, PollEvent,
    PollPolicy, PollScope, RawEvent, ReceiptKind, ReceiptSignal, Retry, Row, SendStage, SessionSettings,
    StartRequest, Text, Transport, TransportEvent, TypingSignal, UserData, VendorCommand,
};
use serde_json::{Value, json};
use support::*;
use transport_gms_v2::GmsSessionExt;

fn typing(on: bool, preview: Option<&str>) -> Command {
    Command::Typing(TypingSignal { on, preview: preview.map(Arc::from) })
}

fn vendor(name: &'static str, data: Value) -> Command {
    Command::Vendor(VendorCommand { name, data })
}

fn read(message: &str) -> Command {
    Command::Receipt(ReceiptSignal { message: message.into(), kind: ReceiptKind::Read })
}

fn history(direction: Direction, from: HistoryFrom, limit: u32) -> Command {
    Command::History(HistoryRequest { direction, from, limit })
}

fn page(ack: Ack) -> HistoryPage {
    match ack {
        Ack::History(page) => page,
        other => panic!("{other:?}"),
    }
}

fn terminal(events: &[TransportEvent]) -> Option<&TransportEvent> {
    events.iter().find(|event| matches!(event, TransportEvent::Lost(_) | TransportEvent::Ended(_)))
}

#[tokio::test(start_paused = true)]
async fn every_command_has_its_operation_and_says_who_asks() {
    let server = Server::open();
    let transport = server.builder().read_receipts(true).build().unwrap();
    assert!(transport.capabilities().can(Capability::ReadReceipts));
    let connection = server.start(&transport).await;
    let odd = "a&b + c=100% \u{20ac} 😀 'q' \"z\"\n";
    let data = UserData::new().with("order id", odd);
    for (command, operation, own) in [
        (send(odd, "t-1"), "send", vec![("message", odd), ("messageType", "text;token=t-1")]),
        (typing(true, None), "startTyping", vec![]),
        (typing(true, Some(odd)), "startTyping", vec![("message", odd)]),
        (typing(false, None), "stopTyping", vec![]),
        (Command::UserData(data), "updateData", vec![("userData[order id]", odd)]),
        (Command::Notice(odd.into()), "customNotice", vec![("message", odd)]),
        (read("7"), "readReceipt", vec![("transcriptPosition", "7")]),
        (vendor("readReceipt", json!({"message": "9"})), "readReceipt", vec![("transcriptPosition", "9")]),
        (
            vendor("pushUrl", json!({"pushUrl": "https://x/?a=b&c"})),
            "pushUrl",
            vec![("pushUrl", "https://x/?a=b&c")],
        ),
        (vendor("updateNickname", json!({"nickname": odd})), "updateNickname", vec![("nickname", odd)]),
    ] {
        submit(&connection, command).await.unwrap();
        let call = server.last(operation);
        assert_eq!(call.method, "POST");
        assert_eq!(call.path, format!("/genesys/2/chat/customer-support/{CHAT}/{operation}"));
        assert_eq!(call.header("content-type"), Some("application/x-www-form-urlencoded"));
        let identity = [("userId", USER), ("secureKey", KEY), ("alias", "204")];
        let expected: Vec<_> =
            identity.into_iter().chain(own).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!(call.form(), expected, "{operation}");
    }
    assert_eq!(server.stored(), [odd], "nothing is cut at `&`, no `+` becomes a space");
}

#[tokio::test(start_paused = true)]
async fn what_gms_has_not_is_refused_by_name_and_nothing_is_sent() {
    let server = Server::open();
    let transport = server.transport();
    let connection = server.start(&transport).await;
    let before = server.all_calls().len();
    let markdown = OutgoingBody::Text(Text::markdown("**x**"));
    for (command, capability) in [
        (Command::Send(Outgoing { token: token(), attempt: 0, body: markdown }), Capability::Markdown),
        (Command::Event(RawEvent::new("x", "y")), Capability::RawEvents),
        (
            Command::Receipt(ReceiptSignal { message: "1".into(), kind: ReceiptKind::Delivered }),
            Capability::DeliveredReceipts,
        ),
        (Command::File(chat_core::FileCommand::Url { id: "f".into() }), Capability::FileUrl),
        (vendor("describeView", Value::Null), Capability::Vendor),
    ] {
        let error = submit(&connection, command).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unsupported { capability, transport: transport.id() });
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    for command in [vendor("pushUrl", json!({})), vendor("updateNickname", json!({"nickname": ""}))] {
        assert_eq!(submit(&connection, command).await.unwrap_err().kind(), &ErrorKind::InvalidInput);
    }
    let unknown = submit(&connection, read("not one")).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.delivery()), (&ErrorKind::NotFound, Delivery::NotSent));
    assert_eq!(server.all_calls().len(), before);
    assert!(!transport.capabilities().can(Capability::ReadReceipts), "off by default");
}

#[tokio::test(start_paused = true)]
async fn the_vendors_own_powers_are_methods_of_the_session() {
    let server = Server::open();
    let session = server.session(server.transport()).await;
    session.push_url(" https://shop.example/a?b=c ").await.unwrap();
    assert_eq!(server.last("pushUrl").get("pushUrl").as_deref(), Some("https://shop.example/a?b=c"));
    session.update_nickname("Jon").await.unwrap();
    assert_eq!(server.last("updateNickname").get("nickname").as_deref(), Some("Jon"));
    session.read_receipt(&MessageId::from("4")).await.unwrap();
    assert_eq!(server.last("readReceipt").get("transcriptPosition").as_deref(), Some("4"));
    assert_eq!(session.push_url(" ").await.unwrap_err().kind(), &ErrorKind::InvalidInput);
    // A server that is too old for it.
    server.plan("readReceipt", Plan::html(404));
    let error = session.read_receipt(&MessageId::from("4")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
    assert!(session.ended().is_none(), "the chat goes on");
}

#[tokio::test(start_paused = true)]
async fn what_is_being_typed_rides_on_the_polls_until_it_is_said() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    let ridden = || server.last("refresh").get("message");
    poll(&connection).await.unwrap();
    assert_eq!(ridden(), None);
    submit(&connection, typing(true, Some("my ca"))).await.unwrap();
    poll(&connection).await.unwrap();
    assert_eq!(ridden().as_deref(), Some("my ca"));

    // Too long for a preview: it goes without, and nobody hears of it.
    server.plan("refresh", Plan::errors(400, 204));
    server.say("still there?");
    poll(&connection).await.unwrap();
    assert_eq!(ridden(), None);
    poll(&connection).await.unwrap();
    assert_eq!(ridden(), None, "nor does it come back");

    submit(&connection, typing(true, Some("my card"))).await.unwrap();
    submit(&connection, send("my card", "t")).await.unwrap();
    poll(&connection).await.unwrap();
    assert_eq!(ridden(), None, "it is said");
    submit(&connection, typing(true, Some("and"))).await.unwrap();
    submit(&connection, typing(false, None)).await.unwrap();
    poll(&connection).await.unwrap();
    assert_eq!(ridden(), None);

    let long = "x".repeat(14_701);
    submit(&connection, typing(true, Some(&long))).await.unwrap();
    assert_eq!(server.last("startTyping").get("message"), None, "known to be too long");
}

#[tokio::test(start_paused = true)]
async fn a_poll_tells_everything_once_and_asks_from_behind_it() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    let asked = || server.last("refresh").get("transcriptPosition").unwrap();
    server.say("one");
    poll(&connection).await.unwrap();
    assert_eq!((asked().as_str(), texts(&mut connection)), ("1", vec!["one".to_owned()]));
    // Typing and what only agents see use up numbers: a gap is no error.
    server.skip(64);
    server.say("two");
    poll(&connection).await.unwrap();
    assert_eq!((asked().as_str(), texts(&mut connection)), ("3", vec!["two".to_owned()]));
    poll(&connection).await.unwrap();
    assert_eq!((asked().as_str(), texts(&mut connection)), ("68", vec![]));
    submit(&connection, Command::Poll(PollScope::Full)).await.unwrap();
    assert_eq!(asked(), "1");
    assert!(server.all_calls().iter().all(|call| call.get("transcriptPosition").as_deref() != Some("0")));
}

#[tokio::test(start_paused = true)]
async fn a_send_never_moves_the_cursor() {
    // F34: its answer's `nextPosition` is past what the agent said in between, and past the own echo.
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    poll(&connection).await.unwrap();
    told(&mut connection);
    server.say("in between");
    let ack = submit(&connection, send("mine", "t-1")).await.unwrap();
    let Ack::Sent(sent) = ack else { panic!("{ack:?}") };
    assert!(sent.sighting.unwrap().aliases.message_id().is_none(), "the answer tells no id");
    server.say("after");
    poll(&connection).await.unwrap();
    assert_eq!(server.last("refresh").get("transcriptPosition").as_deref(), Some("2"));
    let events = told(&mut connection);
    let seen = sightings(&events);
    assert_eq!(seen.iter().filter_map(|one| text(one)).collect::<Vec<_>>(), ["in between", "mine", "after"]);
    let echo = seen.iter().find(|one| text(one) == Some("mine")).unwrap();
    assert_eq!(echo.own, Some(true));
    let token = echo.aliases.least(AliasKind::Token).unwrap();
    assert_eq!(&*token.value, "t-1", "the echo names its send");
}

#[tokio::test(start_paused = true)]
async fn without_correlation_the_type_is_plain() {
    let server = Server::open();
    let transport = server.builder().correlation_token(false).build().unwrap();
    let session = server.session(transport).await;
    session.send_text("hello").unwrap().await.unwrap();
    assert_eq!(server.last("send").get("messageType").as_deref(), Some("text"));
    let mut events = session.events();
    while session.transcript().iter().all(|row| row.message_id().is_none() || !row.is_own()) {
        events.next().await.unwrap();
    }
    assert_eq!(shown(&session), ["hello"], "the echo is the same message");
}

#[tokio::test(start_paused = true)]
async fn refreshes_never_overlap_and_a_send_waits_for_none() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    server.plan("refresh", Plan::Hang);
    let (first, second, past, sent) = tokio::join!(
        poll(&connection),
        poll(&connection),
        submit(&connection, history(Direction::Older, HistoryFrom::Newest, 10)),
        async {
            server.called("refresh", 1).await;
            let sent = submit(&connection, send("beside it", "t")).await;
            assert_eq!(server.calls("refresh").len(), 1, "the others wait");
            sent
        }
    );
    assert_eq!(first.unwrap_err().kind(), &ErrorKind::Timeout);
    assert!(second.is_ok() && past.is_ok() && sent.is_ok());
    assert_eq!(server.calls("refresh").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_take_as_long_as_the_option_says() {
    let server = Server::open();
    let mut config = transport_gms_v2::Timings::default();
    config.ajax_timeout = Duration::from_millis(1_500);
    let connection = server.start(&server.builder().timings(config).build().unwrap()).await;
    server.plan("refresh", Plan::Hang);
    let before = tokio::time::Instant::now();
    let error = poll(&connection).await.unwrap_err();
    assert_eq!((error.kind(), before.elapsed()), (&ErrorKind::Timeout, Duration::from_millis(1_500)));
}

#[tokio::test(start_paused = true)]
async fn failed_polls_say_what_they_are() {
    use ErrorKind::{AccessDenied, NotFound, RateLimited, Timeout, Unauthorized, UnexpectedResponse};
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    poll(&connection).await.unwrap();
    told(&mut connection);
    let retry_after = |status| {
        Plan::Answer(status, vec![("retry-after", "5"), ("content-type", "text/html")], "busy".into())
    };
    for (plan, kind, retry) in [
        (Plan::offline(), ErrorKind::Server, Retry::Backoff),
        (Plan::html(502), ErrorKind::Server, Retry::Backoff),
        (retry_after(503), ErrorKind::Server, Retry::After(Duration::from_secs(5))),
        (retry_after(429), RateLimited, Retry::After(Duration::from_secs(5))),
        (Plan::html(200), UnexpectedResponse, Retry::Backoff),
        (Plan::json(200, json!({"messages": [], "nextPosition": 99})), UnexpectedResponse, Retry::Backoff),
        (
            Plan::json(200, json!({"statusCode": 0, "chatId": "another", "nextPosition": 99})),
            UnexpectedResponse,
            Retry::Backoff,
        ),
        (Plan::Hang, Timeout, Retry::Backoff),
        (Plan::html(401), Unauthorized, Retry::WithNewCredentials),
        (Plan::html(403), AccessDenied, Retry::Never),
    ] {
        server.plan("refresh", plan.clone());
        let error = poll(&connection).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&kind, retry), "{plan:?}");
        assert!(!format!("{error:?} {error}").contains(KEY));
    }
    // A page that is not there is no proof, however often: somebody else than the service says so.
    server.plan("refresh", Plan::html(404));
    server.plan("refresh", Plan::html(404));
    assert_eq!(poll(&connection).await.unwrap_err().kind(), &NotFound);
    server.say("still here");
    poll(&connection).await.unwrap();
    assert_eq!(server.last("refresh").get("transcriptPosition").as_deref(), Some("2"), "no failure moves it");
    assert_eq!(texts(&mut connection), ["still here"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_failing_polls_and_hears_of_the_servers_return() {
    let server = Server::open();
    let poll = PollPolicy::default().with_exception_limit(2);
    let session = ChatSession::builder(server.transport())
        .settings(SessionSettings::default().with_poll(poll))
        .start(StartRequest::named("Jonny"))
        .await
        .unwrap();
    let mut events = session.events();
    server.say("hello");
    until(&mut events, |event| matches!(event, ChatEvent::Messages(_)).then_some(())).await;
    for _ in 0..3 {
        server.plan("refresh", Plan::offline());
    }
    let mut heard = Vec::new();
    until(&mut events, |event| {
        if let ChatEvent::Poll(event) = event {
            heard.push(*event);
        }
        (heard.last() == Some(&PollEvent::ConnectionRestored)).then_some(())
    })
    .await;
    heard.retain(|event| *event != PollEvent::PollingStarted);
    assert_eq!(
        heard,
        [
            PollEvent::ConnectionPending,
            PollEvent::ServerWentOffline,
            PollEvent::ServerBackOnline,
            PollEvent::ConnectionRestored
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_send_whose_answer_is_lost_is_stored_once() {
    // F42 to F47: whatever became of the answer, the echo tells.
    for plan in [Plan::Hang, Plan::html(504), Plan::offline(), Plan::html(200)] {
        for stored in [true, false] {
            let server = Server::open();
            let session = server.session(server.transport()).await;
            // Another tab says the same, before and after.
            let other = |n: u32| {
                json!({"type": "Message", "text": "hello", "messageType": format!("text;token=other-{n}"),
                    "from": {"nickname": "Jonny", "participantId": 1, "type": "Client"}})
            };
            server.event(other(1));
            server.plan("send", if stored { plan.clone().stored() } else { plan.clone() });
            let pending = session.send_text("hello").unwrap();
            server.called("send", 1).await;
            server.event(other(2));
            pending.await.unwrap();
            let attempts = server.calls("send");
            assert_eq!(attempts.len(), if stored { 1 } else { 2 }, "{plan:?}");
            let kinds: std::collections::HashSet<_> =
                attempts.iter().map(|call| call.get("messageType")).collect();
            assert_eq!(kinds.len(), 1, "one token over all attempts");
            assert_eq!(server.stored(), ["hello"; 3]);
            let mut events = session.events();
            let settled = |row: &&Arc<Row>| row.message_id().is_some() && row.is_own();
            while session.transcript().iter().filter(settled).count() < 3 {
                events.next().await.unwrap();
            }
            assert_eq!(shown(&session), ["hello"; 3], "{plan:?}: each once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_leave_one_after_the_other_and_a_refused_one_is_kept() {
    let server = Server::open();
    let session = server.session(server.transport()).await;
    server.plan("send", Plan::errors(400, 204));
    let sent: Vec<_> = ["too long, they say", "b", "c"].map(|text| session.send_text(text).unwrap()).into();
    let mut outcomes = Vec::new();
    for pending in sent {
        outcomes.push(pending.await);
    }
    let error = outcomes.remove(0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { limit: 14_700, actual: 18, unit: "characters" }));
    assert_eq!(error.vendor().code.as_deref(), Some("204"));
    assert!(error.vendor().message.is_some() && error.delivery() == Delivery::Refused);
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(server.stored(), ["b", "c"]);
    let rows = session.transcript();
    let kept = rows.iter().filter_map(|row| row.send_state());
    assert_eq!(kept.filter(|state| state.stage == SendStage::Failed && !state.sent).count(), 1);
    let long = session.send_text("x".repeat(14_701)).unwrap_err();
    assert!(matches!(long.kind(), ErrorKind::TooLarge { limit: 14_700, actual: 14_701, unit: "characters" }));
    assert_eq!(server.calls("send").len(), 3, "known before anything is sent");
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_fails_for_good_ends_the_chat_only_if_a_refresh_says_so() {
    // §12.1, rule 7.
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    server.say("hello");
    server.plan("send", Plan::failed(249, false));
    let error = submit(&connection, send("x", "t")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Refused, Delivery::Refused));
    assert_eq!((error.vendor().code.as_deref(), error.retry()), (Some("249"), Retry::Never));
    assert_eq!(server.calls("refresh").len(), 1, "one refresh confirms it");
    assert_eq!(texts(&mut connection), ["hello"], "and nothing that it brings is lost");

    // Now it is over.
    server.say("goodbye");
    server.end();
    server.plan("send", Plan::failed(249, true));
    let error = submit(&connection, send("y", "t")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::SessionEnded, Delivery::Refused));
    let events = told(&mut connection);
    assert_eq!(sightings(&events).into_iter().filter_map(text).collect::<Vec<_>>(), ["goodbye"]);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByService))));
    let calls = server.all_calls().len();
    for command in [send("z", "t"), Command::Poll(PollScope::New), typing(true, None)] {
        let error = submit(&connection, command).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::NotActive, Delivery::NotSent));
    }
    assert_eq!(server.all_calls().len(), calls, "all traffic has stopped");
}

#[tokio::test(start_paused = true)]
async fn what_came_to_a_node_without_the_chat_is_sent_again() {
    // F63: every one of them says that there is no such chat, and a refresh shows that there is.
    for plan in
        [Plan::failed(249, true), Plan::failed(404, true), Plan::failed(404, false), Plan::errors(400, 404)]
    {
        let server = Server::open();
        let session = server.session(server.transport()).await;
        server.plan("send", plan.clone());
        session.send_text("hello").unwrap().await.unwrap();
        session.send_text("still here").unwrap().await.unwrap();
        assert_eq!(server.stored(), ["hello", "still here"], "{plan:?}");
        assert!(session.ended().is_none(), "{plan:?}");
        // What is not sent by a queue says so, and can be repeated.
        server.plan("pushUrl", plan.clone());
        let error = session.push_url("https://shop.example/").await.unwrap_err();
        assert_eq!((error.retry(), error.delivery()), (Retry::Backoff, Delivery::NotSent), "{plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_after_the_last_messages_and_once() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    server.say("bye");
    server.event(json!({"type": "ParticipantLeft", "from": agent()}));
    server.end();
    poll(&connection).await.unwrap();
    let events = told(&mut connection);
    assert_eq!(sightings(&events).into_iter().filter_map(text).collect::<Vec<_>>(), ["bye"]);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByService))));
    assert_eq!(events.iter().filter(|event| matches!(event, TransportEvent::Ended(_))).count(), 1);
    // The stream is over, whoever still holds the handle.
    assert!(futures::StreamExt::next(&mut connection.events).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_refused_lose_the_session_for_good() {
    for (plans, kind) in [
        (vec![Plan::failed(401, true)], ErrorKind::AccessDenied),
        (vec![Plan::failed(401, false), Plan::failed(401, false)], ErrorKind::AccessDenied),
        (vec![Plan::errors(400, 404), Plan::errors(400, 404)], ErrorKind::SessionLost),
        (vec![Plan::failed(249, false), Plan::failed(249, false)], ErrorKind::SessionLost),
    ] {
        let server = Server::open();
        let mut connection = server.start(&server.transport()).await;
        plans.iter().for_each(|plan| server.plan("refresh", plan.clone()));
        assert!(poll(&connection).await.is_err());
        let events = told(&mut connection);
        let Some(TransportEvent::Lost(lost)) = terminal(&events) else { panic!("{plans:?}: {events:?}") };
        assert_eq!((lost.error.kind(), lost.resumable), (&kind, false), "{plans:?}");
    }
    // Once is no proof.
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    server.plan("refresh", Plan::failed(249, false));
    poll(&connection).await.unwrap();
    assert!(terminal(&told(&mut connection)).is_none());
}

#[tokio::test(start_paused = true)]
async fn leaving_says_nothing_and_ending_says_goodbye() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    let calls = server.all_calls().len();
    submit(&connection, Command::Leave { end: false }).await.unwrap();
    assert!(matches!(told(&mut connection).last(), Some(TransportEvent::Ended(EndReason::Left))));
    assert_eq!(server.all_calls().len(), calls);

    let mut connection = server.transport().connect(resume()).await.unwrap();
    server.say("one more thing");
    submit(&connection, Command::Leave { end: true }).await.unwrap();
    let events = told(&mut connection);
    assert_eq!(sightings(&events).into_iter().filter_map(text).collect::<Vec<_>>(), ["one more thing"]);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByUs))));
    assert_eq!(server.last("disconnect").own(), []);
}

#[tokio::test(start_paused = true)]
async fn ending_what_is_over_already_is_success() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    server.plan("disconnect", Plan::failed(249, true));
    submit(&connection, Command::Leave { end: true }).await.unwrap();

    // A goodbye that cannot be said is an error, and the chat goes on.
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    server.plan("disconnect", Plan::html(503));
    assert!(submit(&connection, Command::Leave { end: true }).await.is_err());
    assert!(terminal(&told(&mut connection)).is_none());
    server.say("still there");
    server.end();
    poll(&connection).await.unwrap();
    let events = told(&mut connection);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByService))), "not by us");
}

#[tokio::test(start_paused = true)]
async fn history_is_cut_out_of_refreshes() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    for n in 1..=30 {
        server.say(&format!("m {n}"));
        server.event(json!({"type": "TypingStarted", "text": "", "from": agent()}));
    }
    let texts_of =
        |page: &HistoryPage| page.items.iter().filter_map(text).map(str::to_owned).collect::<Vec<_>>();
    poll(&connection).await.unwrap();
    told(&mut connection);
    let mut all = Vec::new();
    let mut from = HistoryFrom::Newest;
    let mut pages = 0;
    loop {
        let page = page(submit(&connection, history(Direction::Older, from, 7)).await.unwrap());
        assert!(page.items.len() <= 7);
        all.splice(0..0, texts_of(&page));
        pages += 1;
        match page.next {
            Some(next) => from = HistoryFrom::Cursor(next),
            None => break,
        }
    }
    let expected: Vec<_> = (1..=30).map(|n| format!("m {n}")).collect();
    assert_eq!(all, expected, "each once, without typing");
    assert!(pages >= 5);
    let newer = history(Direction::Newer, HistoryFrom::Message("56".into()), 2);
    let newer = page(submit(&connection, newer).await.unwrap());
    assert_eq!(
        texts_of(&newer),
        ["m 28", "m 29"],
        "from the message on, which may be returned itself or not"
    );
    assert_eq!(server.last("refresh").get("transcriptPosition").as_deref(), Some("56"));
    assert!(told(&mut connection).is_empty(), "a page is told to who asked for it");
    poll(&connection).await.unwrap();
    assert_eq!(server.last("refresh").get("transcriptPosition").as_deref(), Some("62"), "the cursor stands");
    let unknown = history(Direction::Newer, HistoryFrom::Message("gone".into()), 2);
    let unknown = submit(&connection, unknown).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.delivery()), (&ErrorKind::NotFound, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn a_server_restored_from_an_older_copy_is_read_again() {
    // §8.1 and F33: what was said after the copy has numbers that stood for something else.
    let server = Server::open();
    let session = server.session(server.transport()).await;
    let mut events = session.events();
    server.say("one");
    server.say("lost in the failover");
    until(&mut events, |event| matches!(event, ChatEvent::Messages(_)).then_some(())).await;
    while shown(&session).len() < 2 {
        events.next().await.unwrap();
    }
    server.forget_from(3);
    server.move_to("317");
    server
        .event(json!({"type": "Message", "text": "two", "from": agent(), "utcTime": 1_750_000_900_000_u64}));
    while shown(&session).len() < 3 {
        events.next().await.unwrap();
    }
    server.say("three");
    while shown(&session).len() < 4 {
        events.next().await.unwrap();
    }
    assert_eq!(
        shown(&session),
        ["one", "lost in the failover", "two", "three"],
        "nothing is lost or doubled"
    );
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_given_up_loses_nothing() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    for n in 0..200 {
        server.say(&format!("m {n}"));
    }
    // More than the channel holds, and nobody reads: whoever polled gives up.
    let waiting = tokio::time::timeout(Duration::from_secs(30), poll(&connection)).await;
    assert!(waiting.is_err());
    let mut seen = texts(&mut connection);
    while seen.len() < 200 {
        // What was not told yet is told before anything newer is asked for.
        let _ = tokio::time::timeout(Duration::from_secs(1), poll(&connection)).await;
        seen.extend(texts(&mut connection));
    }
    let expected: Vec<_> = (0..200).map(|n| format!("m {n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn user_data_notices_and_typing_of_a_session_arrive() {
    let server = Server::open();
    let session = server.session(server.transport()).await;
    session.update_user_data(UserData::new().with("order", "A-17")).await.unwrap();
    session.send_notice("bye").await.unwrap();
    session.key_pressed(Some("hel")).unwrap();
    server.called("startTyping", 1).await;
    assert_eq!(server.last("updateData").get("userData[order]").as_deref(), Some("A-17"));
    assert_eq!(server.last("customNotice").get("message").as_deref(), Some("bye"));
    assert_eq!(server.last("startTyping").get("message").as_deref(), Some("hel"));
    server.called("stopTyping", 1).await;
    let error: Error = session.send_event(RawEvent::new("x", "y")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { capability: Capability::RawEvents, .. }));
}
