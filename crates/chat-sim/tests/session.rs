//! The session over the simulated centre: what a user of `ChatSession` notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chat_core::{
    Capability, ChatEvent, ChatSession, Content, EndReason, ErrorKind, OutgoingBody, PollEvent,
    SessionDirectory, SessionSettings, StartRequest, Text,
    session::{ConnectionEvent, Events},
    transcript::{DeliveryState, Mirror, View},
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

/// Restores as soon as the earlier session has let go of its key.
async fn restored(build: impl Fn() -> chat_core::SessionBuilder) -> ChatSession {
    loop {
        match build().restore().await {
            Ok(session) => return session,
            Err(error) if *error.error.kind() == ErrorKind::AlreadyActive => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
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
        let seen = until(&mut events, |event| match event {
            ChatEvent::Connection(event) => matches!(**event, ConnectionEvent::Lost(_)),
            ChatEvent::Poll(event) => *event == PollEvent::Disconnected,
            _ => false,
        })
        .await;
        feed(&mut mirror, &seen);
        agent.say_many(250).unwrap();
        let pending = session.send_text("while cut").unwrap();
        centre.console().network().heal();
        pending.await.unwrap();
        let wanted = agent.truth();
        assert_eq!(wanted.texts().len(), 252, "{name}");
        if session.capabilities().can(Capability::Poll) {
            // What was missed comes with the next poll.
            let seen = until(&mut events, |_| texts(&session).len() == 252).await;
            feed(&mut mirror, &seen);
        }
        assert_eq!(texts(&session), wanted.texts(), "{name}");
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

    let session = restored(build).await;
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

#[tokio::test(start_paused = true)]
async fn the_callers_metadata_comes_back_with_the_message() {
    let centre = Centre::new();
    let session = started(&centre).await;
    let body = OutgoingBody::Text(Text::plain("Hello"));
    let metadata = serde_json::json!({"row": 7});
    let sent = session.send_with(body, metadata.clone()).unwrap().await.unwrap();
    assert_eq!(sent.metadata, metadata);
    assert_eq!(sent.id, session.transcript().iter().next().unwrap().message_id());
}

#[tokio::test(start_paused = true)]
async fn a_filter_hides_what_matches_before_and_after_a_restore() {
    let centre = Centre::new();
    let directory = SessionDirectory::in_memory();
    let build = || ChatSession::builder(centre.transport()).keep(&directory, "ada");
    let session = build().start(StartRequest::named("Ada")).await.unwrap();
    session.send_text("card 4111").unwrap().await.unwrap();
    session.send_filtered("#context page=42", "^#context").unwrap().await.unwrap();
    session.add_prefilter(r"\d{4}").unwrap();
    assert!(texts(&session).is_empty());
    assert_eq!(
        session.snapshot(View::Full).iter().filter(|row| row.content().is_some()).count(),
        3,
        "and one who joined"
    );
    let error = session.add_prefilter("(?=look)").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::InvalidInput);

    let contact = centre.console().last_contact().unwrap();
    assert_eq!(contact.truth().texts(), ["card 4111", "#context page=42"], "the other side gets them");
    drop(session);
    contact.wait_for(|truth| truth.connections == 0).await;
    let agent = contact.as_agent("Maria");
    agent.say("Hello").unwrap();
    agent.say("Your code is 1234").unwrap();
    let session = restored(build).await;
    let mut events = session.events();
    until(&mut events, |_| !texts(&session).is_empty()).await;
    assert_eq!(texts(&session), ["Hello"]);
    assert_eq!(session.prefilters().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_preprocessor_rewrites_each_version_once_and_the_original_is_kept() {
    let centre = Centre::new();
    let session = started(&centre).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    session.set_preprocessor(move |row| match row.original() {
        Some(Content::Text(text)) => {
            counted.fetch_add(1, Ordering::Relaxed);
            Some(Content::Text(Text::plain(text.body.to_uppercase())))
        }
        _ => None,
    });
    let mut events = session.events();
    let agent = centre.console().wait_for_contact().await.as_agent("Maria");
    let id = agent.say("quietly").unwrap();
    until(&mut events, |_| !texts(&session).is_empty()).await;
    agent.tell_again(&id).unwrap();
    agent.say("end").unwrap();
    until(&mut events, |_| texts(&session).len() == 2).await;
    assert_eq!(texts(&session), ["QUIETLY", "END"]);
    assert_eq!(runs.load(Ordering::Relaxed), 2, "a repeated sighting is no new version");
    let row = session.message(&id).unwrap();
    assert_eq!(row.original(), Some(&Content::Text(Text::plain("quietly"))));
}

#[tokio::test(start_paused = true)]
async fn an_own_message_is_delivered_and_read_by_the_agent() {
    let centre = Centre::new();
    let session = started(&centre).await;
    let mut events = session.events();
    let agent = centre.console().wait_for_contact().await.as_agent("Maria");
    agent.say("Hello").unwrap();
    let first = session.send_text("one").unwrap().await.unwrap().id.unwrap();
    let second = session.send_text("two").unwrap().await.unwrap().id.unwrap();
    agent.gets(&first).unwrap();
    until(&mut events, |event| matches!(event, ChatEvent::Receipt(_))).await;
    assert_eq!(session.message(&first).unwrap().delivery(), Some(DeliveryState::Delivered));
    assert_eq!(session.message(&second).unwrap().delivery(), Some(DeliveryState::Sent));
    agent.reads(&second).unwrap();
    until(&mut events, |event| matches!(event, ChatEvent::Receipt(_))).await;
    // Reading means reading up to there.
    assert_eq!(session.message(&first).unwrap().delivery(), Some(DeliveryState::Read));
    assert_eq!(session.message(&second).unwrap().delivery(), Some(DeliveryState::Read));
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_learns_how_the_session_began() {
    let centre = Centre::new();
    let session = started(&centre).await;
    let mut events = session.events();
    let mut told = Vec::new();
    until(&mut events, |event| {
        match event {
            ChatEvent::Session(event) => told.push(format!("{event:?}")),
            ChatEvent::Connection(event) => told.push(format!("{event:?}")),
            _ => {}
        }
        told.iter().any(|event| event == "Ready")
    })
    .await;
    let kinds: Vec<_> = told.iter().map(|event| event.split(['(', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["Started", "Established", "Ready"]);
}
