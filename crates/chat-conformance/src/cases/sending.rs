//! Owns the cases of what goes out: messages, receipts, typing, files, filters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chat_core::{
    ChatEvent, Content, DeliveryState, ErrorKind, OutgoingBody, RawEvent, ReceiptKind, Retry, SendStage,
    StartRequest, Text, TextFormat, View,
};
use tokio::time::Instant;

use crate::{
    harness::{Action, Disturbance, Failure, Request},
    shelf::Shelf,
    world::{Chat, World},
};

pub(crate) async fn a_text_stands_at_once_and_is_stored_once(world: &mut World) {
    let chat = world.start().await;
    let sending = chat.send("hello");
    assert_eq!(chat.lines(), ["hello"], "it stands before anything was sent");
    assert!(chat.stage("hello").is_some_and(|(sent, _)| !sent));
    let handle = chat.row("hello").expect("it stands").handle();
    sending.sent().await;
    assert!(chat.stage("hello").is_some_and(|(sent, _)| sent));
    chat.until("the centre's copy has joined it", |chat| {
        chat.row("hello").is_some_and(|row| row.place().is_some())
    })
    .await;
    assert_eq!(chat.row("hello").expect("it stands").handle(), handle, "replaced in place");
    assert_eq!(chat.truth().await.own_texts(), ["hello"]);
}

pub(crate) async fn an_empty_text_is_refused(world: &mut World) {
    let chat = world.start().await;
    for text in ["", " \n\t "] {
        let refused = chat.session().send_text(text).map(drop).map_err(|error| error.kind().clone());
        assert_eq!(refused, Err(ErrorKind::InvalidInput), "{text:?}");
    }
    chat.shows::<&str>(&[]).await;
    assert_eq!(chat.truth().await.own_texts(), [""; 0]);
}

pub(crate) async fn the_longest_text_passes_and_a_longer_one_is_refused(world: &mut World) {
    let chat = world.start().await;
    let limits = chat.session().capabilities();
    let chars = limits.text_max_chars.unwrap_or(u32::MAX);
    let bytes = limits.text_max_bytes.unwrap_or(u32::MAX);
    let longest = chars.min(bytes);
    if longest == u32::MAX {
        return;
    }
    let text = "x".repeat(longest as usize);
    let error = chat.session().send_text(format!("{text}x")).map(drop).expect_err("too long");
    let fits = matches!(error.kind(), ErrorKind::TooLarge { limit, .. } if *limit == u64::from(longest));
    assert!(fits, "the limit is named: {error:?}");
    // Four bytes each: over a limit of bytes long before one of characters.
    let faces = "🙂".repeat(bytes as usize / 4 + 1);
    if faces.chars().count() <= chars as usize {
        let error = chat.session().send_text(faces).map(drop).expect_err("too long");
        assert!(matches!(error.kind(), ErrorKind::TooLarge { unit: "bytes", .. }), "{error:?}");
    }
    chat.send(&text).sent().await;
    chat.until_truth("it is stored whole", |truth| truth.own_texts() == [text.as_str()]).await;
}

pub(crate) async fn markdown_stays_markdown(world: &mut World) {
    keeps_format(world, TextFormat::Markdown, "**bold**").await;
}

pub(crate) async fn json_stays_json(world: &mut World) {
    keeps_format(world, TextFormat::Json, r#"{"a":1}"#).await;
}

async fn keeps_format(world: &mut World, format: TextFormat, body: &str) {
    let chat = world.start().await;
    let text = Text { body: body.into(), format: format.clone() };
    chat.send_body(body, OutgoingBody::Text(text)).sent().await;
    let truth = chat.until_truth("it is stored", |truth| truth.own_texts().len() == 1).await;
    let stored = truth.find(body).map(|item| item.content.clone());
    assert!(matches!(&stored, Some(Content::Text(text)) if text.format == format), "{stored:?}");
}

pub(crate) async fn metadata_come_back_with_the_answer(world: &mut World) {
    let chat = world.start().await;
    let metadata = serde_json::json!({ "row": 17 });
    let body = OutgoingBody::Text(Text::plain("hello"));
    let sent = chat.session().send_with(body, metadata.clone()).expect("accepted").await.expect("sent");
    assert_eq!(sent.metadata, metadata);
}

pub(crate) async fn messages_leave_in_order(world: &mut World) {
    let chat = world.start().await;
    let texts: Vec<_> = (1..=20).map(|number| format!("m {number}")).collect();
    let sends: Vec<_> = texts.iter().map(|text| chat.send(text)).collect();
    for send in &sends {
        send.sent().await;
    }
    assert_eq!(chat.truth().await.own_texts(), texts);
    chat.shows(&texts).await;
}

pub(crate) async fn the_same_text_twice_is_two_messages(world: &mut World) {
    let chat = world.start().await;
    let (one, two) = (chat.send("same"), chat.send("same"));
    assert_ne!(one.token, two.token);
    one.sent().await;
    two.sent().await;
    assert_eq!(chat.truth().await.own_texts(), ["same", "same"]);
    chat.shows(&["same", "same"]).await;
}

pub(crate) async fn a_dropped_future_changes_nothing(world: &mut World) {
    let chat = world.start().await;
    let pending = chat.session().send_text("anyway").expect("accepted");
    drop(pending);
    chat.until_truth("it is sent anyway", |truth| truth.own_texts() == ["anyway"]).await;
    chat.until("it stands as sent", |chat| chat.stage("anyway").is_some_and(|(sent, _)| sent)).await;
}

pub(crate) async fn an_answer_lost_with_the_connection_doubles_nothing(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::StoreThenCut(Request::Text));
    chat.send("once").sent().await;
    chat.send("after").sent().await;
    assert_eq!(chat.truth().await.own_texts(), ["once", "after"]);
    chat.shows(&["once", "after"]).await;
}

pub(crate) async fn an_error_after_storing_doubles_nothing(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::FailStored(Request::Text, Failure::Timeout));
    chat.send("once").sent().await;
    chat.send("after").sent().await;
    assert_eq!(chat.truth().await.own_texts(), ["once", "after"]);
    chat.shows(&["once", "after"]).await;
}

pub(crate) async fn a_request_that_never_arrived_is_repeated(world: &mut World) {
    let chat = world.start().await;
    for (failure, text) in
        [(Failure::Network, "network"), (Failure::Server, "server"), (Failure::Timeout, "time")]
    {
        world.disturb(Disturbance::Fail(Request::Text, 2, failure));
        chat.send(text).sent().await;
    }
    assert_eq!(chat.truth().await.own_texts(), ["network", "server", "time"]);
    chat.shows(&["network", "server", "time"]).await;
}

pub(crate) async fn an_echo_before_the_answer_is_the_same_message(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::LateAnswer(Request::Text, Duration::from_secs(3)));
    let sending = chat.send("early");
    chat.until_truth("it is stored", |truth| truth.own_texts().len() == 1).await;
    chat.agent().say("meanwhile").await;
    sending.sent().await;
    chat.shows(&["early", "meanwhile"]).await;
}

pub(crate) async fn an_answer_before_the_echo_is_the_same_message(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Delay(Duration::from_millis(300)));
    let sends = [chat.send("one"), chat.send("two")];
    for send in &sends {
        send.sent().await;
    }
    chat.agent().say("three").await;
    chat.shows(&["one", "two", "three"]).await;
}

pub(crate) async fn without_an_echo_the_answer_is_enough(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    world.disturb(Disturbance::Lose(1));
    chat.send("unheard").sent().await;
    chat.shows(&["hello", "unheard"]).await;
}

pub(crate) async fn what_waits_leaves_in_order_behind_the_gap(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    world.cut();
    chat.lost().await;
    let sends: Vec<_> = ["q 1", "q 2", "q 3"].iter().map(|text| chat.send(text)).collect();
    chat.waits("q 1").await;
    chat.agent().say("missed").await;
    world.heal();
    for send in &sends {
        send.sent().await;
    }
    chat.shows(&["before", "missed", "q 1", "q 2", "q 3"]).await;
    assert_eq!(chat.truth().await.own_texts(), ["q 1", "q 2", "q 3"]);
}

pub(crate) async fn what_waits_can_be_taken_back(world: &mut World) {
    let chat = world.start().await;
    world.cut();
    chat.lost().await;
    let pending = chat.session().send_text("no").expect("accepted");
    let stays = chat.send("yes");
    chat.waits("no").await;
    assert!(pending.cancel(), "it waits");
    assert_eq!(pending.await.map(drop).map_err(|error| error.kind().clone()), Err(ErrorKind::Cancelled));
    world.heal();
    stays.sent().await;
    chat.shows(&["yes"]).await;
    assert_eq!(chat.truth().await.own_texts(), ["yes"]);
}

pub(crate) async fn a_refused_message_is_kept_and_can_be_retried(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Fail(Request::Text, 1, Failure::Refused));
    let sending = chat.send("again");
    assert_eq!(*sending.fails().await.kind(), ErrorKind::Refused);
    assert_eq!(chat.stage("again").map(|(_, stage)| stage), Some(SendStage::Failed));
    chat.shows(&["again"]).await;
    chat.session().retry(&sending.token).expect("a failed message can be retried");
    chat.until("it is sent", |chat| chat.stage("again").is_some_and(|(sent, _)| sent)).await;
    assert_eq!(chat.truth().await.own_texts(), ["again"]);
}

pub(crate) async fn one_failure_is_not_blamed_on_another_message(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Fail(Request::Text, 1, Failure::Refused));
    let sends = [chat.send("bad"), chat.send("good 1"), chat.send("good 2")];
    sends[0].fails().await;
    sends[1].sent().await;
    sends[2].sent().await;
    assert_eq!(chat.truth().await.own_texts(), ["good 1", "good 2"]);
}

pub(crate) async fn a_server_that_asks_for_patience_gets_it(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Fail(Request::Text, 1, Failure::RateLimited(Some(Duration::from_secs(10)))));
    let asked = Instant::now();
    let first = chat.send("patient");
    let second = chat.send("behind");
    first.sent().await;
    assert!(asked.elapsed() >= Duration::from_secs(10), "after {:?}", asked.elapsed());
    second.sent().await;
    assert_eq!(chat.truth().await.own_texts(), ["patient", "behind"]);
}

pub(crate) async fn revoked_credentials_keep_what_was_accepted(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    chat.agent().act(Action::RevokeTokens).await;
    let (refused, behind) = (chat.send("locked"), chat.send("behind"));
    let error = refused.fails().await;
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::WithNewCredentials));
    assert_eq!(chat.stage("behind"), Some((false, SendStage::Queued)), "what is behind it waits");
    let credentials = world.harness().credentials(0).await.expect("credentials");
    chat.session().reconnect(Some(credentials)).expect("reconnecting");
    behind.sent().await;
    chat.session().retry(&refused.token).expect("kept for another try");
    chat.until("it is sent", |chat| chat.stage("locked").is_some_and(|(sent, _)| sent)).await;
    assert_eq!(chat.truth().await.own_texts(), ["behind", "locked"]);
    chat.shows(&["behind", "locked"]).await;
}

pub(crate) async fn an_end_while_sending_keeps_the_text(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Delay(Duration::from_secs(2)));
    let sending = chat.send("too late?");
    let waiting = chat.send("too late!");
    chat.agent().end().await;
    world.heal();
    chat.ended().await;
    // It may have been stored before the end; whatever became of it, the caller knows and the text stands.
    let outcomes = [sending.outcome().await, waiting.outcome().await];
    for (text, outcome) in ["too late?", "too late!"].iter().zip(outcomes) {
        assert!(chat.row(text).is_some(), "the text is kept: {outcome:?}");
        if let Err(error) = outcome {
            assert!(
                matches!(error.kind(), ErrorKind::SessionEnded | ErrorKind::NotActive),
                "{text}: {error:?}"
            );
        }
    }
}

// ---- receipts and typing --------------------------------------------------------------------------------------------

pub(crate) async fn fifty_messages_read_make_one_call(world: &mut World) {
    let chat = world.start_with(World::settings().with_auto_delivered(false)).await;
    let texts = chat.agent().say_many("m", 50).await;
    chat.shows(&texts).await;
    for text in &texts {
        let id = chat.row(text).and_then(|row| row.message_id()).expect("a message of the agent has an id");
        chat.session().mark_read(&id).expect("marked");
    }
    let read = |truth: &crate::Truth| truth.receipts.iter().any(|receipt| receipt.kind == ReceiptKind::Read);
    chat.until_truth("the centre hears of it", read).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let truth = chat.truth().await;
    let calls: Vec<_> =
        truth.receipts.iter().map(|receipt| (truth.text_of(&receipt.message), receipt.kind)).collect();
    assert_eq!(calls, [(Some("m 50"), ReceiptKind::Read)], "read up to there, said once");
}

pub(crate) async fn delivery_is_told_by_itself(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    let truth = chat.until_truth("the centre hears of it", |truth| !truth.receipts.is_empty()).await;
    assert_eq!(truth.receipts[0].kind, ReceiptKind::Delivered);
    assert_eq!(truth.text_of(&truth.receipts[0].message), Some("hello"));
}

pub(crate) async fn reading_says_delivered_too(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    let id = chat.row("hello").and_then(|row| row.message_id()).expect("an id");
    chat.session().mark_read(&id).expect("marked");
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Told twice, it is told once.
    chat.session().mark_read(&id).expect("marked");
    chat.session().mark_delivered(&id).ok();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let kinds: Vec<_> = chat.truth().await.receipts.iter().map(|receipt| receipt.kind).collect();
    assert_eq!(kinds, [ReceiptKind::Read]);
}

pub(crate) async fn receipts_can_be_switched_off(world: &mut World) {
    let chat = world.start().await;
    chat.session().set_receipts(false);
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    let id = chat.row("hello").and_then(|row| row.message_id()).expect("an id");
    chat.session().mark_read(&id).expect("marked");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(chat.truth().await.receipts, []);
}

pub(crate) async fn receipts_reach_the_sender_and_never_go_back(world: &mut World) {
    let chat = world.start().await;
    for text in ["one", "two"] {
        chat.send(text).sent().await;
    }
    let delivery = |chat: &Chat, text: &str| chat.row(text).and_then(|row| row.delivery());
    chat.agent().gets("one").await;
    chat.until("delivered", |chat| delivery(chat, "one") == Some(DeliveryState::Delivered)).await;
    chat.agent().reads("two").await;
    chat.until("read", |chat| delivery(chat, "two") == Some(DeliveryState::Read)).await;
    assert_eq!(delivery(&chat, "one"), Some(DeliveryState::Read), "read means read up to there");
    // Late and out of order: nothing turns back.
    chat.agent().gets("two").await;
    chat.agent().say("done").await;
    chat.shows(&["one", "two", "done"]).await;
    assert_eq!(delivery(&chat, "two"), Some(DeliveryState::Read));
    let told =
        chat.count(|event| matches!(event, ChatEvent::Receipt(receipt) if receipt.kind == ReceiptKind::Read));
    assert_eq!(told, 1, "the reading is told once");
}

pub(crate) async fn own_typing_is_throttled_and_stops_by_itself(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    for _ in 0..20 {
        chat.session().key_pressed(None).expect("typing");
    }
    chat.until_truth("the centre hears of it", |truth| !truth.typing.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let typing: Vec<_> = chat.truth().await.typing.iter().map(|signal| signal.on).collect();
    assert_eq!(typing.iter().filter(|on| **on).count(), 1, "twenty keys, one signal: {typing:?}");
    assert!(typing[0] && typing.len() <= 2, "at most one stop: {typing:?}");
}

pub(crate) async fn a_typing_preview_reaches_the_agent(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    chat.session().key_pressed(Some("Hel")).expect("typing");
    let truth = chat.until_truth("the centre hears of it", |truth| !truth.typing.is_empty()).await;
    assert_eq!(truth.typing[0].preview.as_deref(), Some("Hel"));
}

pub(crate) async fn a_raw_event_reaches_the_centre(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    let types = chat.session().capabilities().raw_event_types;
    let event = RawEvent::new(*types.first().unwrap_or(&"application/x.test"), r#"{"a":1}"#);
    chat.session().send_event(event.clone()).await.expect("sent");
    assert_eq!(chat.truth().await.events, [event]);
    if !types.is_empty() {
        let unheard = RawEvent::new("application/x.unheard", "{}");
        let refused = chat.session().send_event(unheard).await.map_err(|error| error.kind().clone());
        assert_eq!(
            refused,
            Err(ErrorKind::InvalidInput),
            "what the vendor does not take is refused before it leaves"
        );
    }
}

pub(crate) async fn a_notice_reaches_the_centre(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    chat.session().send_notice("look here").await.expect("sent");
    assert_eq!(chat.truth().await.notices.iter().map(|notice| &**notice).collect::<Vec<_>>(), ["look here"]);
}

// ---- filters --------------------------------------------------------------------------------------------------------

pub(crate) async fn filters_hide_from_people_alone(world: &mut World) {
    let chat = world.start().await;
    let session = chat.session();
    session.add_prefilter("^cmd").expect("a filter");
    let bad = session.add_prefilter("(?=look)").map_err(|error| error.kind().clone());
    assert_eq!(bad, Err(ErrorKind::InvalidInput));
    chat.agent().say("cmd 1").await;
    chat.agent().say("hello").await;
    chat.try_send("#init", |session| session.send_filtered("#init", "^#init"))
        .expect("accepted")
        .sent()
        .await;
    chat.shows(&["hello"]).await;
    let full = crate::recorder::lines(&session.snapshot(View::Full));
    assert_eq!(full, ["cmd 1", "hello", "#init"], "the full view has them");
    assert_eq!(session.prefilters(), ["^cmd", "^#init"]);
}

pub(crate) async fn filters_survive_a_restore(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.session().add_prefilter("^cmd").expect("a filter");
    chat.agent().say("cmd 1").await;
    shelf.until(world, "the filter is kept", |kept| kept.is_some_and(|kept| !kept.filters.is_empty())).await;
    chat.closed().await;
    chat.agent().say("hello").await;
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.shows(&["hello"]).await;
    assert_eq!(back.session().prefilters(), ["^cmd"]);
}

pub(crate) async fn a_preprocessor_rewrites_once_a_version(world: &mut World) {
    let chat = world.start().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    chat.session().set_preprocessor(move |row| match row.original() {
        Some(Content::Text(text)) if text.body.starts_with("shout") => {
            counter.fetch_add(1, Ordering::Relaxed);
            Some(Content::Text(Text::plain(text.body.to_uppercase())))
        }
        _ => None,
    });
    chat.agent().say("shout").await;
    chat.agent().say("hello").await;
    chat.shows(&["SHOUT", "hello"]).await;
    let row = chat.row("SHOUT").expect("it stands");
    assert!(
        matches!(row.original(), Some(Content::Text(text)) if &*text.body == "shout"),
        "the original is kept"
    );
    assert_eq!(runs.load(Ordering::Relaxed), 1, "once for the one version");
}
