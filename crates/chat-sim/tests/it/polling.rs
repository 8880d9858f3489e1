//! Centres that are asked.

use std::time::Duration;

use chat_core::{Command, EndReason, ErrorKind, PollScope, TransportEvent, TypingSignal};
use chat_sim::{Centre, Fault, FaultRule, Point, Profile};
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
        .add(FaultRule::new(Point::Submit(chat_sim::CommandKind::Poll), Fault::LateAnswer(1_000)));
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
async fn a_chat_without_a_connection_ends_after_its_time_and_not_before() {
    let Chat { centre, connection, agent } = chat(centre_of(Profile::polling())).await;
    let saved = connection.saved.clone();
    let began = tokio::time::Instant::now();
    drop(connection);
    agent.wait_for(|truth| truth.connections == 0).await;
    tokio::time::advance(Duration::from_secs(44)).await;
    let again = resume(&centre, &saved).await.unwrap();
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(agent.truth().ended, None, "it came back in time");
    drop(again);
    agent.wait_for(|truth| truth.ended.is_some()).await;
    assert_eq!(began.elapsed().as_secs(), 44 + 300 + 45);
}

#[tokio::test(start_paused = true)]
async fn pushed_centres_refuse_polls() {
    let chat = chat(Centre::new()).await;
    assert!(matches!(chat.poll().await.unwrap_err().kind(), ErrorKind::Unsupported { .. }));
    chat.submit(Command::Typing(TypingSignal { on: false, preview: None })).await.unwrap();
}
