//! Centres that are asked.

use std::time::Duration;

use chat_core::{
    Command, Delivery, Direction, EndReason, ErrorKind, HistoryFrom, PollScope, TransportEvent, TypingSignal,
};
use chat_sim::{Centre, CommandKind, EventKind, Fault, FaultRule, Point, Profile, When};
use futures::{FutureExt, StreamExt};

use super::{Chat, centre_of, chat, heard, resume, texts};

#[tokio::test(start_paused = true)]
async fn a_poll_brings_what_is_new_before_its_answer_and_nothing_comes_without_one() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    chat.agent.say("one").unwrap();
    chat.agent.types(true).unwrap();
    assert!(chat.heard().await.is_empty());
    chat.poll().await.unwrap();
    let events = chat.heard().await;
    assert_eq!(texts(&events), ["one"]);
    assert!(events.iter().any(|event| matches!(event, TransportEvent::Typing(_))));
    chat.poll().await.unwrap();
    assert!(chat.heard().await.is_empty());
    chat.agent.say("two").unwrap();
    chat.poll().await.unwrap();
    assert_eq!(chat.texts().await, ["two"]);
    assert_eq!(chat.agent.truth().polls_in_flight_max, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_poll_brings_everything_again() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    chat.agent.say_many(3).unwrap();
    chat.poll().await.unwrap();
    chat.heard().await;
    chat.submit(Command::Poll(PollScope::Full)).await.unwrap();
    assert_eq!(chat.texts().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_answered_after_all_that_it_brings_even_if_that_is_disturbed() {
    for scope in [PollScope::New, PollScope::Full] {
        let mut chat = chat(centre_of(Profile::polling())).await;
        chat.agent.say_many(3).unwrap();
        if scope == PollScope::Full {
            chat.poll().await.unwrap();
            chat.heard().await;
        } else {
            chat.centre.console().network().reorder(9);
        }
        let began = tokio::time::Instant::now();
        chat.submit(Command::Poll(scope)).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        let mut there = Vec::new();
        // No turn for the driver: what is not there now came after the answer.
        while let Some(Some(event)) = chat.connection.events.next().now_or_never() {
            there.push(event);
        }
        assert_eq!(texts(&there).len(), 3, "{scope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_of_a_new_chat_keeps_the_order_of_all_events() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    chat.agent.types(true).unwrap();
    chat.agent.say("typed").unwrap();
    chat.poll().await.unwrap();
    let events = chat.heard().await;
    let typing = events.iter().position(|event| matches!(event, TransportEvent::Typing(_)));
    assert_eq!(typing, Some(events.len() - 2));
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_of_a_resumed_chat_brings_the_transcript_or_what_is_new() {
    for (profile, expected) in
        [(Profile::polling(), &["old", "new"][..]), (Profile::polling_with_history(), &["new"][..])]
    {
        let Chat { centre, connection, agent } = chat(centre_of(profile)).await;
        let saved = connection.saved.clone();
        drop(connection);
        agent.say("old").unwrap();
        let resumed = resume(&centre, &saved).await.unwrap();
        let mut chat = Chat { centre, connection: resumed, agent };
        chat.agent.say("new").unwrap();
        assert!(chat.heard().await.is_empty());
        chat.poll().await.unwrap();
        assert_eq!(chat.texts().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_room_in_the_channel() {
    let Chat { mut connection, agent, .. } =
        chat(centre_of(Profile::polling().tuned(|profile| profile.channel_capacity = 2))).await;
    agent.say_many(10).unwrap();
    let handle = connection.handle.clone();
    let poll = tokio::spawn(async move { handle.submit(Command::Poll(PollScope::New)).await });
    agent.wait_for(|truth| truth.polls_in_flight_max == 1).await;
    // Other commands go on meanwhile.
    connection.handle.submit(super::say("t", "meanwhile")).await.unwrap();
    assert!(!poll.is_finished());
    let events = heard(&mut connection.events).await;
    assert_eq!(texts(&events).len(), 10);
    poll.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn overlapping_polls_are_counted() {
    let chat =
        chat(centre_of(Profile::polling().tuned(|p| p.request_latency = Duration::from_secs(1)))).await;
    chat.centre
        .console()
        .network()
        .add(FaultRule::new(Point::Submit(CommandKind::Poll), Fault::LateAnswer(1_000)));
    let (one, two) = tokio::join!(chat.poll(), chat.poll());
    one.unwrap();
    two.unwrap();
    assert_eq!(chat.agent.truth().polls_in_flight_max, 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_with_the_poll_that_brings_it() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    chat.agent.say("bye").unwrap();
    chat.agent.end().unwrap();
    assert!(chat.heard().await.is_empty());
    chat.poll().await.unwrap();
    let events: Vec<_> = chat.connection.events.by_ref().collect().await;
    assert_eq!(texts(&events), ["bye"]);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByService))));
    assert_eq!(*chat.poll().await.unwrap_err().kind(), ErrorKind::SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn an_own_end_needs_no_further_poll() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    chat.submit(Command::Leave { end: true }).await.unwrap();
    assert_eq!(chat.end_reason().await, EndReason::EndedByUs);
}

#[tokio::test(start_paused = true)]
async fn a_chat_ends_after_its_time_without_a_request_and_not_before() {
    let Chat { centre, connection, agent } = chat(centre_of(Profile::polling())).await;
    let saved = connection.saved.clone();
    drop(connection);
    agent.wait_for(|truth| truth.connections == 0).await;
    tokio::time::advance(Duration::from_secs(44)).await;
    let mut again = resume(&centre, &saved).await.unwrap();
    let mut last = tokio::time::Instant::now();
    for command in [Command::Poll(PollScope::New), super::say("t", "hello"), Command::Poll(PollScope::New)] {
        tokio::time::advance(Duration::from_secs(44)).await;
        last = tokio::time::Instant::now();
        again.handle.submit(command).await.unwrap();
        heard(&mut again.events).await;
    }
    assert_eq!(agent.truth().ended, None, "it asked in time");
    agent.wait_for(|truth| truth.ended.is_some()).await;
    assert_eq!(last.elapsed().as_secs(), 45, "a connection that asks nothing does not count");
    assert_eq!(again.handle.submit(Command::Poll(PollScope::New)).await.map(drop).ok(), Some(()));
    let events: Vec<_> = again.events.by_ref().collect().await;
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByService))));
}

#[tokio::test(start_paused = true)]
async fn a_polled_connection_stands_through_a_cut() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    let network = chat.centre.console().network();
    network.cut();
    chat.agent.say("missed").unwrap();
    for _ in 0..3 {
        let error = chat.poll().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent));
        assert_eq!(*chat.say("t", "lost").await.unwrap_err().kind(), ErrorKind::Network);
    }
    network.heal();
    assert!(chat.heard().await.is_empty());
    chat.poll().await.unwrap();
    assert_eq!(chat.texts().await, ["missed"]);
    assert_eq!(chat.agent.truth().texts(), ["missed"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_lost_with_the_network_and_the_connection_is_not() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    let network = chat.centre.console().network();
    network.store_then_cut(CommandKind::Text);
    let error = chat.say("t", "stored").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::Unknown));
    network.add(FaultRule::new(Point::Submit(CommandKind::Poll), Fault::LateAnswer(1_000)));
    let (poll, ()) = tokio::join!(chat.poll(), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        network.drop_connections();
    });
    assert_eq!(*poll.unwrap_err().kind(), ErrorKind::Network);
    network.heal();
    chat.poll().await.unwrap();
    assert_eq!(chat.texts().await, ["stored"]);
}

#[tokio::test(start_paused = true)]
async fn a_dark_network_lets_requests_time_out() {
    let mut chat = chat(centre_of(Profile::polling())).await;
    chat.centre.console().network().half_open(Duration::from_secs(5));
    let began = tokio::time::Instant::now();
    assert_eq!(*chat.poll().await.unwrap_err().kind(), ErrorKind::Timeout);
    let error = chat.say("t", "never there").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
    assert_eq!(began.elapsed(), Duration::from_secs(6));
    chat.agent.say("light").unwrap();
    chat.poll().await.unwrap();
    assert_eq!(chat.texts().await, ["light"]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_reply_that_broke_off_comes_with_the_next() {
    for fault in [Fault::Cut, Fault::HalfOpen(1)] {
        let mut chat = chat(centre_of(Profile::polling())).await;
        chat.poll().await.unwrap();
        chat.heard().await;
        chat.agent.say_many(3).unwrap();
        let rule = FaultRule::new(Point::Event(EventKind::Any), fault).when(When::Nth(2));
        chat.centre.console().network().add(rule);
        assert_eq!(*chat.poll().await.unwrap_err().kind(), ErrorKind::Network);
        tokio::time::advance(Duration::from_millis(2)).await;
        let first = chat.texts().await;
        chat.poll().await.unwrap();
        assert_eq!([first, chat.texts().await].concat(), ["message 1", "message 2", "message 3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_may_be_stored_after_its_sender_gave_up_waiting() {
    for profile in [Profile::polling(), Profile::push_with_tokens()] {
        let chat = chat(centre_of(profile)).await;
        let network = chat.centre.console().network();
        let rule = FaultRule::new(Point::Submit(CommandKind::Text), Fault::StoreLate(7_000));
        network.add(rule.when(When::First(1)));
        let error = chat.say("t", "late").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
        let began = tokio::time::Instant::now();
        chat.agent.wait_for(|truth| truth.texts() == ["late"]).await;
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_pages_back_from_the_first_item_gets_no_more() {
    let chat = chat(centre_of(Profile::polling_with_tokens())).await;
    chat.agent.say_many(3).unwrap();
    let all = chat.page(Direction::Newer, HistoryFrom::Oldest, 50).await.unwrap();
    assert_eq!(all.next, None);
    let first = all.items[0].aliases.message_id().unwrap();
    let before = chat.page(Direction::Older, HistoryFrom::Message(first), 50).await.unwrap();
    assert_eq!(before.next, None);
}

#[tokio::test(start_paused = true)]
async fn pushed_centres_refuse_polls() {
    let chat = chat(Centre::new()).await;
    assert!(matches!(chat.poll().await.unwrap_err().kind(), ErrorKind::Unsupported { .. }));
    chat.submit(Command::Typing(TypingSignal { on: false, preview: None })).await.unwrap();
}
