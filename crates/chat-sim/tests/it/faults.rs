//! What goes wrong, by plan and by hand.

use std::time::Duration;

use chat_core::{
    ClientToken, Command, ConnectRequest, Delivery, Direction, ErrorKind, HistoryFrom, Intent, Retry,
    StartRequest, Transport, TransportEvent, TypingSignal,
};
use chat_sim::{
    Centre, CommandKind, EventKind, Fault, FaultError, FaultErrorKind, FaultPlan, FaultRule, Point, Profile,
    When,
};
use tokio::time::Instant;

use super::{Chat, centre_of, chat, resume, say, start, texts};

const EVENTS: Point = Point::Event(EventKind::Message);
const TEXTS: Point = Point::Submit(CommandKind::Text);

fn faulty(rules: impl IntoIterator<Item = FaultRule>) -> Centre {
    Centre::builder().faults(FaultPlan { seed: 1, rules: rules.into_iter().collect() }).build()
}

fn error(kind: FaultErrorKind) -> Fault {
    Fault::Error(FaultError::new(kind))
}

#[tokio::test(start_paused = true)]
async fn events_are_dropped_doubled_delayed_and_overtaken() {
    let cases = [
        (Fault::Drop, vec!["message 1", "message 2", "message 4", "message 5"], 0),
        (
            Fault::Duplicate(2),
            vec!["message 1", "message 2", "message 3", "message 3", "message 3", "message 4", "message 5"],
            0,
        ),
        (Fault::Reorder(1), vec!["message 1", "message 2", "message 4", "message 3", "message 5"], 0),
        (Fault::Delay(700), vec!["message 1", "message 2", "message 3", "message 4", "message 5"], 700),
    ];
    for (fault, expected, millis) in cases {
        // Two have joined, then the third message.
        let mut chat = chat(faulty([FaultRule::new(EVENTS, fault.clone()).when(When::Nth(5))])).await;
        chat.agent.say_many(5).unwrap();
        let mut events = chat.heard().await;
        if millis > 0 {
            assert_eq!(texts(&events).len(), 2, "those behind it wait");
            tokio::time::advance(Duration::from_millis(millis)).await;
            events.extend(chat.heard().await);
        }
        assert_eq!(texts(&events), expected, "{fault:?}");
        assert_eq!(chat.agent.truth().texts().len(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_overtakes_comes_after_a_second_or_with_the_end() {
    let rule = FaultRule::new(EVENTS, Fault::Reorder(3)).when(When::AfterItems(3));
    let mut chat = chat(faulty([rule.clone()])).await;
    chat.agent.join().unwrap();
    chat.heard().await;
    chat.agent.say("held").unwrap();
    assert!(chat.texts().await.is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(chat.texts().await, ["held"]);

    let mut ended = super::chat(faulty([rule])).await;
    ended.agent.join().unwrap();
    ended.heard().await;
    ended.agent.say("held").unwrap();
    ended.agent.end().unwrap();
    let events = ended.heard().await;
    assert_eq!(texts(&events), ["held"]);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(_))));
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_at_an_event_is_lost_there_and_history_has_the_rest() {
    let mut chat = chat(faulty([FaultRule::new(EVENTS, Fault::Cut).when(When::Nth(5))])).await;
    chat.agent.say_many(5).unwrap();
    let events = chat.heard().await;
    assert_eq!(texts(&events), ["message 1", "message 2"]);
    let Some(TransportEvent::Lost(lost)) = events.last() else { panic!("{events:?}") };
    assert!(lost.resumable && *lost.error.kind() == ErrorKind::Network);
    let connection = resume(&chat.centre, &chat.connection.saved).await.unwrap();
    let back = Chat { connection, ..chat };
    let page = back.page(Direction::Older, HistoryFrom::Newest, 100).await.unwrap();
    assert_eq!(super::page_texts(&page).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_stored_send_without_an_answer_is_unknown_and_its_repeat_is_no_second_copy() {
    let mut chat = chat(faulty([FaultRule::new(TEXTS, Fault::StoreThenCut).when(When::Nth(1))])).await;
    let error = chat.say("token", "hello").await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(chat.agent.truth().own_texts(), ["hello"]);
    chat.loss().await;
    let again = resume(&chat.centre, &chat.connection.saved).await.unwrap();
    again.handle.submit(say("token", "hello")).await.unwrap();
    assert_eq!(chat.agent.truth().copies(&ClientToken::new("token")), 1);
}

#[tokio::test(start_paused = true)]
async fn a_send_cut_on_its_way_is_unknown_and_not_stored() {
    let mut chat = chat(faulty([FaultRule::new(TEXTS, Fault::Cut)])).await;
    assert_eq!(chat.say("token", "hello").await.unwrap_err().delivery(), Delivery::Unknown);
    assert!(chat.agent.truth().own_texts().is_empty());
    chat.loss().await;
    assert_eq!(chat.say("token", "hello").await.unwrap_err().delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn errors_carry_status_and_retry_and_say_whether_anything_arrived() {
    let limited = FaultError::rate_limited(Some(Duration::from_secs(10)));
    let stored = Fault::StoreThenError(FaultError::new(FaultErrorKind::Server));
    let chat = chat(faulty([
        FaultRule::new(TEXTS, Fault::Error(limited)).when(When::Nth(1)),
        FaultRule::new(TEXTS, stored).when(When::Nth(2)),
    ]))
    .await;
    let error = chat.say("a", "one").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(10)));
    assert_eq!((error.vendor().status, error.delivery()), (Some(429), Delivery::Refused));
    let error = chat.say("b", "two").await.unwrap_err();
    assert_eq!((error.vendor().status, error.delivery()), (Some(503), Delivery::Unknown));
    chat.say("c", "three").await.unwrap();
    assert_eq!(chat.agent.truth().own_texts(), ["two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_carries_nothing_and_is_found_dead_in_its_time() {
    let mut chat = chat(Centre::new()).await;
    chat.heard().await;
    let began = Instant::now();
    chat.centre.console().network().half_open(Duration::from_secs(30));
    chat.agent.say("into the void").unwrap();
    let handle = chat.connection.handle.clone();
    let sending = tokio::spawn(async move { handle.submit(say("t", "anyone?")).await });
    assert!(chat.heard().await.is_empty());
    assert_eq!(*chat.loss().await.kind(), ErrorKind::Timeout);
    assert_eq!(began.elapsed().as_secs(), 30);
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
    assert!(chat.agent.truth().own_texts().is_empty());
    resume(&chat.centre, &chat.connection.saved).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn half_open_begins_at_an_event_or_at_a_command_by_plan() {
    for point in [EVENTS, TEXTS] {
        let mut chat = chat(faulty([FaultRule::new(point, Fault::HalfOpen(5_000)).when(When::Nth(1))])).await;
        if point == TEXTS {
            assert_eq!(*chat.say("t", "x").await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(*chat.loss().await.kind(), ErrorKind::Timeout);
        assert!(chat.agent.truth().own_texts().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_late_and_the_echo_is_not() {
    let mut chat = chat(faulty([FaultRule::new(TEXTS, Fault::LateAnswer(9_000))])).await;
    let began = Instant::now();
    chat.say("t", "hello").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 9);
    assert_eq!(chat.texts().await, ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_ends_with_its_connection() {
    let mut chat = chat(faulty([FaultRule::new(TEXTS, Fault::Hang)])).await;
    let handle = chat.connection.handle.clone();
    let sending = tokio::spawn(async move { handle.submit(say("t", "hello")).await });
    chat.agent.wait_for(|truth| truth.submitted(CommandKind::Text) == 1).await;
    chat.submit(Command::Typing(TypingSignal { on: true, preview: None })).await.unwrap();
    assert!(!sending.is_finished());
    chat.agent.drop_connections();
    assert_eq!(sending.await.unwrap().unwrap_err().delivery(), Delivery::Unknown);
    chat.loss().await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_network_lets_nothing_through_until_it_heals() {
    let mut chat = chat(Centre::new()).await;
    let network = chat.centre.console().network();
    network.cut();
    assert_eq!(*chat.loss().await.kind(), ErrorKind::Network);
    let error = resume(&chat.centre, &chat.connection.saved).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent));
    assert!(chat.centre.transport().verify(&chat.connection.saved).await.is_err());
    assert_eq!(chat.agent.truth().connects, 1);
    network.heal();
    resume(&chat.centre, &chat.connection.saved).await.unwrap();
    assert_eq!(chat.centre.console().truth().connect_attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn the_network_is_disturbed_by_hand_until_it_heals() {
    let mut chat = chat(Centre::new()).await;
    chat.agent.join().unwrap();
    chat.heard().await;
    let network = chat.centre.console().network();
    network.duplicate(1);
    chat.agent.say("twice").unwrap();
    assert_eq!(chat.texts().await, ["twice", "twice"]);
    network.heal();
    network.reorder(1);
    chat.agent.say_many(4).unwrap();
    assert_eq!(chat.texts().await, ["message 1", "message 3", "message 2"]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(chat.texts().await, ["message 4"]);
    network.heal();
    network.drop_events(2);
    chat.agent.say_many(3).unwrap();
    assert_eq!(chat.texts().await, ["message 3"]);
    network.heal();
    network.delay(Duration::from_secs(2));
    let began = Instant::now();
    chat.say("t", "slow").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2);
    network.heal();
    network.fail_next(CommandKind::Any, FaultError::new(FaultErrorKind::Unauthorized));
    assert_eq!(*chat.say("u", "x").await.unwrap_err().kind(), ErrorKind::Unauthorized);
    network.store_then_cut(CommandKind::Text);
    assert_eq!(chat.say("v", "stored").await.unwrap_err().delivery(), Delivery::Unknown);
    assert_eq!(chat.agent.truth().own_texts(), ["slow", "stored"]);
}

#[tokio::test(start_paused = true)]
async fn connections_to_be_renewed_are_told_and_overlap() {
    let mut chat = chat(Centre::new()).await;
    chat.heard().await;
    chat.centre.console().network().renew(Duration::from_secs(60));
    let events = chat.heard().await;
    assert!(matches!(events[..], [TransportEvent::RenewBefore(_)]));
    let mut next = resume(&chat.centre, &chat.connection.saved).await.unwrap();
    chat.agent.say("both hear").unwrap();
    assert_eq!(chat.texts().await, ["both hear"]);
    assert_eq!(texts(&super::heard(&mut next.events).await), ["both hear"]);
    chat.loss().await;
    assert_eq!(chat.agent.wait_for(|truth| truth.connections == 1).await.connects, 2);
}

#[tokio::test(start_paused = true)]
async fn connecting_is_refused_as_often_as_the_plan_says() {
    let refuse = FaultError::new(FaultErrorKind::Server);
    let centre = faulty([FaultRule::new(Point::Connect, Fault::Error(refuse)).when(When::First(2))]);
    for _ in 0..2 {
        let error = start(&centre, StartRequest::named("Ada")).await.unwrap_err();
        assert_eq!(error.vendor().status, Some(503));
    }
    start(&centre, StartRequest::named("Ada")).await.unwrap();
    centre.console().network().refuse_connects(1, FaultError::new(FaultErrorKind::AccessDenied));
    let error = start(&centre, StartRequest::named("Ada")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::AccessDenied);
    assert_eq!(centre.console().truth().contacts, 1, "a refused start starts nothing");
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_is_lost_is_found_by_its_key_or_by_what_the_error_saved() {
    let lost = FaultRule::new(Point::Connect, Fault::StoreThenCut).when(When::Nth(1));
    let unconnected = FaultRule::new(Point::Connect, Fault::StartedNotConnected).when(When::Nth(3));
    let centre = faulty([lost, unconnected]);
    let keyed = StartRequest { key: Some("key".into()), ..StartRequest::default() };
    let error = start(&centre, keyed.clone()).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(centre.console().truth().connections, 0);
    start(&centre, keyed).await.unwrap();
    assert_eq!(centre.console().truth().contacts, 1);

    let request = ConnectRequest::new(Intent::Start(Box::default()));
    let error = centre.transport().connect(request).await.unwrap_err();
    resume(&centre, &error.saved.unwrap()).await.unwrap();
    assert_eq!(centre.console().truth().contacts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_slow_or_never_answered() {
    let centre = faulty([
        FaultRule::new(Point::Connect, Fault::Delay(3_000)).when(When::Nth(1)),
        FaultRule::new(Point::Connect, Fault::Hang).when(When::Nth(2)),
        FaultRule::new(Point::Connect, Fault::HalfOpen(20_000)).when(When::Nth(3)),
        FaultRule::new(Point::Verify, error(FaultErrorKind::Server)),
    ]);
    let began = Instant::now();
    let connection = start(&centre, StartRequest::default()).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3);
    let hung = tokio::time::timeout(Duration::from_secs(60), start(&centre, StartRequest::default())).await;
    assert!(hung.is_err());
    let error = start(&centre, StartRequest::default()).await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed().as_secs()), (&ErrorKind::Timeout, 83));
    assert_eq!(centre.console().truth().contacts, 1);
    let error = centre.transport().verify(&connection.saved).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Server);
}

#[tokio::test(start_paused = true)]
async fn rules_count_what_matches_them() {
    let fails = async |when| {
        let rule = FaultRule::new(TEXTS, error(FaultErrorKind::Refused)).when(when);
        let chat = chat(faulty([rule])).await;
        let mut fails = Vec::new();
        for number in 1..=9 {
            // Another kind of command counts nothing.
            chat.submit(Command::Typing(TypingSignal { on: true, preview: None })).await.unwrap();
            if chat.say(&number.to_string(), "x").await.is_err() {
                fails.push(number);
            }
        }
        fails
    };
    assert_eq!(fails(When::Always).await.len(), 9);
    assert_eq!(fails(When::Nth(3)).await, [3]);
    assert_eq!(fails(When::EveryNth(4)).await, [4, 8]);
    assert_eq!(fails(When::First(2)).await, [1, 2]);
    assert_eq!(fails(When::AfterItems(4)).await, [4], "joined and three texts");
    assert_eq!((fails(When::Percent(0)).await.len(), fails(When::Percent(100)).await.len()), (0, 9));
    let some = fails(When::Percent(50)).await;
    assert!(!some.is_empty() && some.len() < 9);
    assert_eq!(fails(When::Percent(50)).await, some, "one seed, one run");
    assert!(fails(When::EveryNth(0)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_reads_is_cut_before_the_log_grows_without_bound() {
    let Chat { centre, mut connection, agent } =
        chat(centre_of(Profile::push().tuned(|profile| profile.channel_capacity = 1))).await;
    let network = centre.console().network();
    network.heal();
    for _ in 0..70_000 {
        agent.types(true).unwrap();
    }
    let events = super::heard(&mut connection.events).await;
    assert!(matches!(events.last(), Some(TransportEvent::Lost(_))), "{:?}", events.last());
}
