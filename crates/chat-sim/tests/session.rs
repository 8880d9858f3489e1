//! The session over the simulated centre: what a user of `ChatSession` notices.

use std::time::Duration;

use chat_core::{
    Capability, ChatEvent, ChatSession, EndReason, ErrorKind, SessionDirectory, SessionSettings,
    StartRequest,
    session::{ConnectionEvent, Events},
    transcript::{Mirror, View},
};
use chat_sim::{Centre, Profile};

async fn next_within(events: &mut Events) -> ChatEvent {
    tokio::time::timeout(Duration::from_secs(120), events.next())
        .await
        .expect("an event in time")
        .expect("not the end")
}

async fn until(events: &mut Events, mut wanted: impl FnMut(&ChatEvent) -> bool) -> Vec<ChatEvent> {
    let mut seen = Vec::new();
    loop {
        let event = next_within(events).await;
        let done = wanted(&event);
        seen.push(event);
        if done {
            return seen;
        }
    }
}

fn texts(session: &ChatSession) -> Vec<String> {
    session
        .transcript()
        .iter()
        .filter_map(|row| match row.content() {
            Some(chat_core::Content::Text(text)) => Some(text.body.to_string()),
            _ => None,
        })
        .collect()
}

async fn started(centre: &Centre) -> ChatSession {
    ChatSession::builder(centre.transport()).start(StartRequest::named("Ada")).await.expect("a chat")
}

#[tokio::test(start_paused = true)]
async fn a_conversation_from_start_to_end() {
    let centre = Centre::new();
    let session = started(&centre).await;
    let mut events = session.events();
    let agent = centre.console().wait_for_contact().await.as_agent("Maria");

    let sent = session.send_text("Hello").unwrap().await.unwrap();
    assert!(sent.id.is_some());
    agent.say("How can I help?").unwrap();
    until(&mut events, |event| matches!(event, ChatEvent::Messages(batch) if !batch.messages[0].is_own()))
        .await;
    assert_eq!(texts(&session), ["Hello", "How can I help?"]);
    assert_eq!(agent.truth().texts(), ["Hello", "How can I help?"]);

    session.end().await.unwrap();
    let seen = until(&mut events, |event| matches!(event, ChatEvent::Ended(_))).await;
    assert!(matches!(seen.last(), Some(ChatEvent::Ended(EndReason::EndedByUs | EndReason::EndedByService))));
    assert!(events.next().await.is_none(), "the end is last");
    assert_eq!(*session.send_text("more").unwrap_err().kind(), ErrorKind::NotActive);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_filled_in_order_and_the_mirror_agrees() {
    for (name, profile) in
        Profile::all().into_iter().filter(|(_, profile)| profile.capabilities.can(Capability::History))
    {
        let centre = Centre::builder().profile(profile).build();
        let session = started(&centre).await;
        let mut events = session.subscribe(View::Display);
        let mut mirror = Mirror::new();
        let agent = centre.console().wait_for_contact().await.as_agent("Maria");
        agent.say("before").unwrap();
        centre.console().network().cut();
        let seen = until(
            &mut events,
            |e| matches!(e, ChatEvent::Connection(c) if matches!(**c, ConnectionEvent::Lost(_))),
        )
        .await;
        feed(&mut mirror, &seen);
        agent.say_many(250).unwrap();
        let pending = session.send_text("while cut").unwrap();
        centre.console().network().heal();
        pending.await.unwrap();
        let wanted = centre.console().last_contact().unwrap().truth().texts().len();
        assert_eq!(wanted, 252, "{name}");
        assert_eq!(texts(&session), agent.truth().texts(), "{name}");
        session.end().await.unwrap();
        let seen = until(&mut events, |e| matches!(e, ChatEvent::Ended(_))).await;
        feed(&mut mirror, &seen);
        let shown: Vec<_> = session.transcript().iter().map(|row| row.handle()).collect();
        let mirrored: Vec<_> = mirror.iter().map(|row| row.handle()).collect();
        assert_eq!(mirrored, shown);
    }
}

fn feed(mirror: &mut Mirror, events: &[ChatEvent]) {
    for event in events {
        match event {
            ChatEvent::Transcript(diff) => mirror.apply(diff).expect("diffs reproduce the transcript"),
            ChatEvent::Missed { snapshot, .. } => mirror.reset(snapshot),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_session_has_it_all_and_keys_are_exclusive() {
    let centre = Centre::new();
    let directory = SessionDirectory::in_memory();
    let build = || ChatSession::builder(centre.transport()).keep(&directory, "ada");
    let session = build().start(StartRequest::named("Ada")).await.unwrap();
    assert_eq!(
        *build().start(StartRequest::named("Ada")).await.unwrap_err().error.kind(),
        ErrorKind::AlreadyActive
    );
    assert_eq!(*build().restore().await.unwrap_err().error.kind(), ErrorKind::AlreadyActive);
    let agent = centre.console().wait_for_contact().await.as_agent("Maria");
    session.send_text("one").unwrap().await.unwrap();
    drop(session);
    agent.wait_for(|truth| truth.connections == 0).await;
    agent.say("two").unwrap();

    let session = loop {
        match build().restore().await {
            Ok(session) => break session,
            Err(error) if *error.error.kind() == ErrorKind::AlreadyActive => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    let mut events = session.events();
    // The first event is the transcript as it stands; the restored past may be in it already.
    until(&mut events, |_| texts(&session).len() >= 2).await;
    assert_eq!(texts(&session), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_a_snapshot() {
    let centre = Centre::new();
    let session = ChatSession::builder(centre.transport())
        .settings(SessionSettings::default().with_reader_capacity(8))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let mut slow = session.events();
    let mut fast = session.events();
    let agent = centre.console().wait_for_contact().await.as_agent("Maria");
    for n in 0..40 {
        agent.say(format!("{n}")).unwrap();
        until(&mut fast, |event| matches!(event, ChatEvent::Messages(_))).await;
    }
    let ChatEvent::Missed { events, snapshot } = next_within(&mut slow).await else { panic!("missed") };
    assert!(events > 8);
    assert_eq!(snapshot.iter().count(), session.transcript().iter().count());
}
