//! Owns the cases of the transcript: whatever the network does to what is told, it is the same in the end.

use std::time::Duration;

use chat_core::{
    Direction, ErrorKind, HistoryFrom, HistoryRequest, SystemEvent, Text, Timestamp, Transcript, View,
    WallClock,
};

use crate::{
    harness::{Action, Disturbance, Failure, Request},
    recorder::lines,
    world::World,
};

pub(crate) async fn what_is_told_again_stands_once(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Duplicate(3));
    let mut expected = chat.agent().say_many("m", 20).await;
    for text in ["c 1", "c 2"] {
        chat.send(text).sent().await;
        expected.push(text.into());
    }
    chat.shows(&expected).await;
}

pub(crate) async fn what_overtakes_is_put_in_order(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::Reorder(3));
    let said = chat.agent().say_many("m", 30).await;
    chat.shows(&said).await;
}

pub(crate) async fn what_was_missed_is_filled_in_once_and_in_order(world: &mut World) {
    for missed in [0, 1, 15, 99, 100, 101, 250] {
        let chat = world.start().await;
        let mut expected = chat.agent().say_many("before", 3).await;
        chat.shows(&expected).await;
        world.cut();
        chat.lost().await;
        expected.extend(chat.agent().say_many("missed", missed).await);
        world.heal();
        chat.live().await;
        chat.shows(&expected).await;
        chat.agent().say("after").await;
        expected.push("after".into());
        chat.shows(&expected).await;
        let announced: Vec<_> = lines(chat.0.log().announced());
        let mut sorted = (announced.clone(), expected.clone());
        sorted.0.sort();
        sorted.1.sort();
        assert_eq!(sorted.0, sorted.1, "{missed} missed: each message is announced once");
    }
}

pub(crate) async fn a_gap_larger_than_a_page_is_filled(world: &mut World) {
    let page = world.capabilities().history_page_max.unwrap_or(10).min(10);
    let chat = world.start_with(World::settings().with_backfill_page(page)).await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    world.cut();
    chat.lost().await;
    let missed = chat.agent().say_many("m", page as usize * 5 + 1).await;
    world.heal();
    let expected: Vec<_> = std::iter::once("before".to_owned()).chain(missed).collect();
    chat.shows(&expected).await;
}

pub(crate) async fn live_messages_come_between_while_a_gap_is_filled(world: &mut World) {
    let chat = world.start().await;
    let mut expected = chat.agent().say_many("before", 3).await;
    chat.shows(&expected).await;
    world.cut();
    chat.lost().await;
    expected.extend(chat.agent().say_many("missed", 20).await);
    world.heal();
    world.disturb(Disturbance::LateAnswer(Request::History, Duration::from_secs(3)));
    chat.restored().await;
    expected.extend(chat.agent().say_many("live", 3).await);
    chat.send("mine").sent().await;
    expected.push("mine".into());
    chat.shows(&expected).await;
}

pub(crate) async fn what_vanishes_unnoticed_is_fetched_on_a_hint(world: &mut World) {
    let chat = world.start().await;
    let mut expected = chat.agent().say_many("before", 3).await;
    chat.shows(&expected).await;
    chat.live().await;
    world.disturb(Disturbance::Lose(2));
    expected.extend(chat.agent().say_many("m", 4).await);
    chat.until("the later ones are there", |chat| chat.row("m 4").is_some()).await;
    chat.agent().act(Action::HintGap).await;
    chat.shows(&expected).await;
}

pub(crate) async fn a_failed_fill_leaves_the_gap_open_and_is_tried_again(world: &mut World) {
    let chat = world.start().await;
    let mut expected = chat.agent().say_many("before", 3).await;
    chat.shows(&expected).await;
    chat.live().await;
    world.cut();
    chat.lost().await;
    expected.extend(chat.agent().say_many("missed", 3).await);
    world.heal();
    world.disturb(Disturbance::Fail(Request::History, 2, Failure::Server));
    chat.event("the gap is told", |event| match event {
        chat_core::ChatEvent::Session(event) => {
            matches!(**event, chat_core::session::SessionEvent::GapOpen(_)).then_some(())
        }
        _ => None,
    })
    .await;
    chat.send("goes on").sent().await;
    expected.push("goes on".into());
    chat.shows(&expected).await;
}

pub(crate) async fn a_start_that_is_gone_is_no_obstacle(world: &mut World) {
    let chat = world.start().await;
    let mut expected = chat.agent().say_many("before", 5).await;
    chat.shows(&expected).await;
    world.cut();
    chat.lost().await;
    let missed = chat.agent().say_many("missed", 10).await;
    chat.agent().act(Action::Prune(4)).await;
    world.pruned = true;
    world.heal();
    chat.live().await;
    expected.extend_from_slice(&missed[6..]);
    chat.until("what is left is there", |chat| {
        let shown: Vec<_> = chat.lines().into_iter().filter(|line| line != "<gap>").collect();
        shown == expected
    })
    .await;
}

pub(crate) async fn system_events_stay_out_of_the_display(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    let joined = |chat: &crate::world::Chat| {
        let full = chat.session().snapshot(View::Full);
        full.iter().any(|row| matches!(row.content(), Some(chat_core::Content::Event(SystemEvent::Joined))))
    };
    chat.until("the joining is in the full view", joined).await;
    assert_eq!(chat.lines(), ["hello"]);
}

pub(crate) async fn history_is_paged_to_its_start(world: &mut World) {
    let chat = world.start().await;
    let said = chat.agent().say_many("m", 40).await;
    chat.shows(&said).await;
    let saved = chat.session().session_data().expect("data");
    let shelf = crate::shelf::Shelf::with(saved).await;
    let builder =
        world.builder().settings(World::settings().with_initial_history(10)).keep(&shelf.directory(), "tab");
    let tab = world.open_beside(&chat, builder.restore()).await.expect("restored");
    tab.live().await;
    assert!(tab.lines().len() < said.len(), "only a part was loaded");
    let mut pages = 0;
    loop {
        match tab.session().older(7).await {
            Ok(page) => assert!(page.items <= 7),
            Err(error) if *error.kind() == ErrorKind::NoMoreMessages => break,
            Err(error) => panic!("{error:?}"),
        }
        pages += 1;
        assert!(pages < 100, "paging comes to an end");
    }
    let again = tab.session().older(7).await.map_err(|error| error.kind().clone());
    assert_eq!(again.map(drop), Err(ErrorKind::NoMoreMessages), "and stays there");
    tab.shows(&said).await;
}

pub(crate) async fn history_is_read_from_any_point(world: &mut World) {
    let chat = world.start().await;
    let said = chat.agent().say_many("m", 12).await;
    chat.shows(&said).await;
    chat.live().await;
    let session = chat.session();
    let from = chat.row("m 6").and_then(|row| row.message_id()).expect("an id");
    for (direction, from) in [
        (Direction::Newer, HistoryFrom::Oldest),
        (Direction::Older, HistoryFrom::Newest),
        (Direction::Older, HistoryFrom::Message(from.clone())),
        (Direction::Newer, HistoryFrom::Message(from)),
    ] {
        let page = session.history(HistoryRequest { direction, from, limit: 5 }).await.expect("a page");
        assert_eq!(page.added, 0, "all of it is known");
    }
    let nothing = HistoryRequest { direction: Direction::Older, from: HistoryFrom::Newest, limit: 0 };
    let refused = session.history(nothing).await.map(drop).map_err(|error| error.kind().clone());
    assert_eq!(refused, Err(ErrorKind::InvalidInput));
}

pub(crate) async fn an_export_imports_to_the_same(world: &mut World) {
    let chat = world.start().await;
    let said = chat.agent().say_many("m", 5).await;
    chat.send("mine").sent().await;
    let expected: Vec<_> = said.into_iter().chain(["mine".to_owned()]).collect();
    chat.shows(&expected).await;
    let export = chat.session().export();
    let mut imported = Transcript::from_json_lines(export.lines()).expect("it can be read");
    assert_eq!(lines(&imported.snapshot(View::Display)), expected);
    assert_eq!(imported.to_json_lines(), export, "without loss");
    let text = chat.session().export_text();
    assert!(expected.iter().all(|line| text.contains(line)), "{text}");
}

#[derive(Debug)]
struct Stopped(Timestamp);

impl WallClock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

pub(crate) async fn a_wrong_clock_changes_nothing(world: &mut World) {
    for millis in [0, 4_000_000_000_000] {
        let clock = std::sync::Arc::new(Stopped(Timestamp::from_millis(millis).expect("a date")));
        let builder = world.builder().clock(clock);
        let request = chat_core::StartRequest::named("Ada");
        let chat = world.open(builder.start(request)).await.expect("the chat starts");
        chat.agent().say("one").await;
        chat.shows(&["one"]).await;
        chat.send("two").sent().await;
        chat.agent().say("three").await;
        chat.shows(&["one", "two", "three"]).await;
    }
}

pub(crate) async fn chunks_in_any_order_are_one_message(world: &mut World) {
    let chat = world.start().await;
    chat.agent().join().await;
    world.disturb(Disturbance::Reorder(2));
    let bot = chat.actor(chat_core::Role::Bot, "Botty");
    let id = bot.act(Action::BeginStream("a".into())).await.expect("an item");
    for piece in ["b", "c", "d", "e"] {
        bot.act(Action::StreamPiece(id.clone(), piece.into())).await;
    }
    chat.shows(&["abcde"]).await;
    bot.act(Action::FinishStream(id, "abcde.".into())).await;
    chat.shows(&["abcde."]).await;
}

pub(crate) async fn a_receipt_may_come_before_its_message(world: &mut World) {
    let chat = world.start().await;
    chat.agent().join().await;
    world.disturb(Disturbance::Reorder(4));
    for text in ["one", "two", "three"] {
        chat.send(text).sent().await;
    }
    chat.agent().reads("three").await;
    chat.agent().gets("two").await;
    let read = |chat: &crate::world::Chat| {
        chat.row("three").and_then(|row| row.delivery()) == Some(chat_core::DeliveryState::Read)
    };
    chat.until("read up to the last", read).await;
    chat.shows(&["one", "two", "three"]).await;
}

pub(crate) async fn hostile_text_comes_through_untouched(world: &mut World) {
    let chat = world.start().await;
    let texts = [
        "<script>alert(1)</script>",
        "\u{1b}[31mred\u{1b}[0m",
        "a & b = c % d + e",
        "👩‍👩‍👧‍👦 \u{202e}rtl",
        "line\nbreak\ttab \"quoted\" \\back",
    ];
    for text in texts {
        chat.agent().post(chat_core::Content::Text(Text::plain(text))).await;
    }
    chat.shows(&texts).await;
    let own = ["&+%=", "ü👩‍👧", "<b>\\\""];
    for text in own {
        chat.send(text).sent().await;
    }
    let expected: Vec<_> = texts.into_iter().chain(own).collect();
    chat.shows(&expected).await;
    assert_eq!(chat.truth().await.own_texts(), own);
}
