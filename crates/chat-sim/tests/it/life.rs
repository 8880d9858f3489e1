//! Start, join, resume, verify, leave, end, tabs, tokens.

use std::time::Duration;

use chat_core::{
    Capability, Command, ConnectRequest, Content, Continues, Delivery, Direction, EndReason, ErrorKind,
    Extent, HistoryFrom, Intent, SessionUpdate, StartRequest, SystemEvent, Text, Transport, TransportEvent,
    UserData,
};
use chat_sim::{Centre, CommandKind, Profile};
use futures::StreamExt;

use super::{Chat, centre_of, chat, connect, heard, resume, say, sightings, start, texts};

#[tokio::test(start_paused = true)]
async fn a_start_tells_who_we_are_and_what_the_centre_was_told() {
    let centre = Centre::new();
    let request = StartRequest {
        user_data: UserData::new().with("order", "17"),
        initial_message: Some(Text::plain("hello?")),
        ..StartRequest::named("Ada")
    };
    let mut connection = start(&centre, request).await.unwrap();
    let truth = centre.console().wait_for_contact().await.truth();
    assert_eq!(connection.session.participant, truth.customer.id);
    assert_eq!(connection.session.display_name.as_deref(), Some("Ada"));
    assert_eq!(connection.session.segment, truth.segments[0].0);
    assert_eq!(connection.session.started_at, Some(truth.segments[0].1));
    assert_eq!(truth.user_data.0["order"], "17");
    let events = heard(&mut connection.events).await;
    assert_eq!(sightings(&events).len(), 2, "joined, and the first message");
    assert_eq!(texts(&events), ["hello?"]);
    assert!(sightings(&events).iter().all(|sighting| sighting.own == Some(true)));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_start_is_the_same_start() {
    let centre = Centre::new();
    let request = StartRequest { key: Some("key".into()), ..StartRequest::named("Ada") };
    let first = start(&centre, request.clone()).await.unwrap();
    let second = start(&centre, request.clone()).await.unwrap();
    assert_eq!(first.session, second.session);
    let forgetful = centre_of(Profile::push().without(Capability::IdempotentStart));
    start(&forgetful, request.clone()).await.unwrap();
    start(&forgetful, request).await.unwrap();
    assert_eq!((centre.console().truth().contacts, forgetful.console().truth().contacts), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_before_the_first_poll_and_a_dropped_attempt_leaves_nothing() {
    let centre = centre_of(Profile::push().tuned(|profile| profile.answer_latency = Duration::from_secs(5)));
    let transport = centre.transport();
    let attempt =
        || transport.connect(ConnectRequest::new(Intent::Start(Box::new(StartRequest::named("Ada")))));
    drop(attempt());
    assert_eq!(centre.console().truth().connect_attempts, 0);
    let mut polled = attempt();
    assert!(futures::poll!(&mut polled).is_pending());
    assert_eq!(centre.console().truth().connections, 1, "the chat started");
    drop(polled);
    assert_eq!(centre.console().truth().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_during_connect_waits_in_the_stream() {
    let Chat { centre, connection, agent } =
        chat(centre_of(Profile::push().tuned(|profile| profile.answer_latency = Duration::from_secs(5))))
            .await;
    let saved = connection.saved.clone();
    drop(connection);
    let resumed = tokio::spawn(async move { resume(&centre, &saved).await.unwrap() });
    agent.wait_for(|truth| truth.connects == 2).await;
    agent.say("while you connect").unwrap();
    let mut resumed = resumed.await.unwrap();
    assert_eq!(texts(&heard(&mut resumed.events).await), ["while you connect"]);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_chat_is_the_same_one_and_tells_its_earlier_segments() {
    let Chat { centre, connection, agent } = chat(Centre::new()).await;
    let saved = connection.saved.clone();
    let first = connection.session.clone();
    drop(connection);
    agent.wait_for(|truth| truth.connections == 0).await;
    let maria = agent.transfer("Maria").unwrap();
    let mut resumed = resume(&centre, &saved).await.unwrap();
    assert_eq!(resumed.session.scope, first.scope);
    assert_eq!(resumed.session.participant, first.participant);
    assert_ne!(resumed.session.segment, first.segment, "a transfer begins a segment");
    let events = heard(&mut resumed.events).await;
    let [TransportEvent::Session(update)] = &events[..] else { panic!("{events:?}") };
    let SessionUpdate::Segment { id, started_at } = &**update else { panic!("{update:?}") };
    assert_eq!((id, *started_at), (&first.segment, first.started_at));
    assert!(maria.truth().present.iter().any(|who| who.name.as_deref() == Some("Maria")));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_closes_the_connection_and_keeps_the_chat() {
    let Chat { centre, connection, agent } = chat(Centre::new()).await;
    let saved = connection.saved.clone();
    let handle = connection.handle;
    drop(connection.events);
    agent.wait_for(|truth| truth.connections == 0).await;
    let error = handle.submit(say("t", "too late")).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(agent.truth().ended, None);
    assert!(centre.transport().verify(&saved).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn leaving_keeps_the_chat_and_ending_ends_it_for_every_tab() {
    let mut one = chat(Centre::new()).await;
    let saved = one.connection.saved.clone();
    let tab = resume(&one.centre, &saved).await.unwrap();
    let mut two = Chat { connection: tab, centre: one.centre.clone(), agent: one.agent.clone() };
    one.submit(Command::Leave { end: false }).await.unwrap();
    assert_eq!(one.end_reason().await, EndReason::Left);
    let error = one.say("t", "gone").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::NotActive, Delivery::NotSent));
    assert_eq!(two.agent.truth().ended, None);

    let three = resume(&one.centre, &saved).await.unwrap();
    let mut three = Chat { connection: three, centre: one.centre.clone(), agent: one.agent.clone() };
    two.submit(Command::Leave { end: true }).await.unwrap();
    assert_eq!(two.end_reason().await, EndReason::EndedByUs);
    assert_eq!(three.end_reason().await, EndReason::EndedByUs);
    let error = two.say("t", "over").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::SessionEnded, Delivery::NotSent));
    assert_eq!(two.agent.truth().submitted(CommandKind::Text), 0, "no command left");
    assert_eq!(*two.agent.say("late").unwrap_err().kind(), ErrorKind::SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn leaving_is_answered_however_slow_answers_are() {
    let mut chat =
        chat(centre_of(Profile::push().tuned(|profile| profile.answer_latency = Duration::from_secs(1))))
            .await;
    chat.submit(Command::Leave { end: false }).await.unwrap();
    assert_eq!(chat.end_reason().await, EndReason::Left);
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_last_once_and_through_a_full_channel() {
    let mut chat = chat(centre_of(Profile::push().tuned(|profile| profile.channel_capacity = 1))).await;
    chat.agent.say_many(10).unwrap();
    chat.agent.end().unwrap();
    let events: Vec<_> = chat.connection.events.by_ref().collect().await;
    assert_eq!(texts(&events).len(), 10);
    let [.., TransportEvent::Message(item), TransportEvent::Ended(EndReason::EndedByService)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(item.content, Some(Content::Event(SystemEvent::Ended)));
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_ended_while_away_says_so() {
    let Chat { centre, connection, agent } = chat(Centre::new()).await;
    let saved = connection.saved.clone();
    drop(connection);
    agent.say("are you there?").unwrap();
    agent.end().unwrap();
    assert_eq!(*resume(&centre, &saved).await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert!(!centre.transport().verify(&saved).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_final_transcript_is_told_where_the_profile_keeps_it() {
    let Chat { centre, connection, agent } =
        chat(centre_of(Profile::push().with(Capability::FinalTranscript))).await;
    let saved = connection.saved.clone();
    drop(connection);
    agent.say("are you there?").unwrap();
    agent.end().unwrap();
    let events: Vec<_> = resume(&centre, &saved).await.unwrap().events.collect().await;
    assert_eq!(sightings(&events).len(), agent.truth().items.len());
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedWhileAway))));
}

#[tokio::test(start_paused = true)]
async fn a_lingering_chat_ends_when_the_service_says_so_or_at_the_deadline() {
    let profile = Profile::push().with(Capability::Lingering);
    let mut surveyed = chat(centre_of(profile.clone())).await;
    surveyed.submit(Command::Leave { end: true }).await.unwrap();
    let survey = surveyed.agent.as_system();
    survey.say("How was it?").unwrap();
    assert_eq!(surveyed.texts().await, ["How was it?"]);
    assert_eq!(*surveyed.say("t", "more").await.unwrap_err().kind(), ErrorKind::NotActive);
    survey.end().unwrap();
    assert_eq!(surveyed.end_reason().await, EndReason::EndedByUs);

    let mut forgotten = chat(centre_of(profile)).await;
    let began = tokio::time::Instant::now();
    forgotten.submit(Command::Leave { end: true }).await.unwrap();
    assert_eq!(forgotten.end_reason().await, EndReason::EndedByUs);
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn tabs_see_everything_once_and_each_others_signals_as_own() {
    let mut one = chat(Centre::new()).await;
    let mut tab = resume(&one.centre, &one.connection.saved).await.unwrap();
    one.say("t1", "from the first tab").await.unwrap();
    one.submit(Command::Typing(chat_core::TypingSignal { on: true, preview: None })).await.unwrap();
    let first = one.heard().await;
    let second = heard(&mut tab.events).await;
    assert_eq!(texts(&first), ["from the first tab"]);
    assert_eq!(texts(&second), ["from the first tab"]);
    assert_eq!(sightings(&second)[0].own, Some(true));
    let typing =
        |events: &[TransportEvent]| events.iter().any(|e| matches!(e, TransportEvent::Typing(t) if t.own));
    assert!(!typing(&first) && typing(&second));
}

#[tokio::test(start_paused = true)]
async fn one_connection_too_many_displaces_the_oldest() {
    let mut one = chat(centre_of(Profile::push().tuned(|profile| profile.max_connections = Some(1)))).await;
    let _tab = resume(&one.centre, &one.connection.saved).await.unwrap();
    assert_eq!(*one.loss().await.kind(), ErrorKind::Displaced);
}

#[tokio::test(start_paused = true)]
async fn revoked_tokens_are_refused_until_new_credentials_come() {
    let chat = chat(Centre::new()).await;
    let console = chat.centre.console();
    console.revoke_tokens();
    let error = chat.say("t", "hi").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Unauthorized, Delivery::Refused));
    let stale = &chat.connection.saved;
    assert_eq!(*resume(&chat.centre, stale).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(*chat.centre.transport().verify(stale).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    let fresh = chat.agent.credentials();
    let again = connect(&chat.centre, Intent::Join(fresh)).await.unwrap();
    again.handle.submit(say("t", "hi")).await.unwrap();
    assert_eq!(chat.agent.truth().own_texts(), ["hi"]);
}

#[tokio::test(start_paused = true)]
async fn rotated_tokens_are_told_and_the_connection_goes_on() {
    let mut chat = chat(Centre::new()).await;
    chat.heard().await;
    let old = chat.connection.saved.clone();
    chat.agent.rotate_token().unwrap();
    let events = chat.heard().await;
    let [TransportEvent::Session(update)] = &events[..] else { panic!("{events:?}") };
    let SessionUpdate::Saved(new) = &**update else { panic!("{update:?}") };
    chat.say("t", "still here").await.unwrap();
    assert!(resume(&chat.centre, &old).await.is_err());
    resume(&chat.centre, new).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_chat_is_lost_and_verifying_it_says_no() {
    let chat = chat(Centre::new()).await;
    let elsewhere = Centre::builder().seed(9).build();
    let error = resume(&elsewhere, &chat.connection.saved).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::SessionLost);
    assert!(!elsewhere.transport().verify(&chat.connection.saved).await.unwrap());
    assert_eq!(elsewhere.console().truth().verifies, 1);
    let before = chat.agent.truth();
    assert!(chat.centre.transport().verify(&chat.connection.saved).await.unwrap());
    assert_eq!(chat.agent.truth().items, before.items, "verifying changes nothing");
    assert_eq!(chat.agent.truth().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_chat_is_lost_for_good() {
    let mut chat = chat(Centre::new()).await;
    let saved = chat.connection.saved.clone();
    chat.agent.forget();
    let TransportEvent::Lost(lost) = chat.terminal().await else { panic!() };
    assert!(!lost.resumable && *lost.error.kind() == ErrorKind::SessionLost);
    assert_eq!(*resume(&chat.centre, &saved).await.unwrap_err().kind(), ErrorKind::SessionLost);
    assert!(!chat.centre.transport().verify(&saved).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_chats_run_side_by_side_on_several_threads() {
    let script = r#"[{"repeat": {"times": 20, "steps": ["wait_for_customer", {"answer": ""}]}}, "end"]"#;
    let centre = Centre::builder().script(chat_sim::Script::from_json(script).unwrap()).build();
    let chats = (0..16).map(|_| {
        let centre = centre.clone();
        tokio::spawn(async move {
            let mut connection = start(&centre, StartRequest::default()).await.unwrap();
            let mut answers = 0;
            connection.handle.submit(say("0", "0")).await.unwrap();
            while let Some(event) = connection.events.next().await {
                let TransportEvent::Message(sighting) = &event else { continue };
                let answered = sighting.own == Some(false) && super::text(sighting).is_some();
                if answered {
                    answers += 1;
                    let text = answers.to_string();
                    // The last answer is followed by the end, which may be faster.
                    let sent = connection.handle.submit(say(&text, &text)).await;
                    assert!(sent.is_ok() || answers == 20);
                }
            }
            answers
        })
    });
    for answers in futures::future::join_all(chats).await {
        assert_eq!(answers.unwrap(), 20);
    }
    assert_eq!(centre.console().wait_for(|truth| truth.connections == 0).await.contacts, 16);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_lifetime_asks_to_be_renewed_before_it_is_lost() {
    let mut chat = chat(centre_of(
        Profile::push().tuned(|profile| profile.connection_lifetime = Some(Duration::from_secs(100))),
    ))
    .await;
    let began = tokio::time::Instant::now();
    let first = chat.connection.events.next().await;
    let Some(TransportEvent::RenewBefore(before)) = first else { panic!("{first:?}") };
    assert!(before > began && before < began + Duration::from_secs(100));
    chat.loss().await;
    assert_eq!(began.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_says_that_it_lives() {
    let mut chat =
        chat(centre_of(Profile::push().tuned(|profile| profile.heartbeat = Some(Duration::from_secs(10)))))
            .await;
    chat.heard().await;
    let began = tokio::time::Instant::now();
    assert!(matches!(chat.connection.events.next().await, Some(TransportEvent::Alive)));
    assert!(matches!(chat.connection.events.next().await, Some(TransportEvent::Alive)));
    assert_eq!(began.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_persistent_chat_reaches_back_into_the_ended_one() {
    let mut first = chat(Centre::new()).await;
    first.say("t", "the order is late").await.unwrap();
    let source = first.agent.id().to_string();
    let continues = |extent| StartRequest {
        continues: Some(Continues { source: source.clone(), extent }),
        ..StartRequest::named("Ada")
    };
    let error = start(&first.centre, continues(Extent::EntirePast)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Conflict, "it has not ended");
    first.submit(Command::Leave { end: true }).await.unwrap();
    first.end_reason().await;

    let centre = first.centre.clone();
    let second = start(&centre, continues(Extent::EntirePast)).await.unwrap();
    assert_eq!(second.session.scope, first.connection.session.scope);
    assert_ne!(second.session.segment, first.connection.session.segment);
    let agent = centre.console().last_contact().unwrap();
    let mut second = Chat { centre: centre.clone(), connection: second, agent };
    let events = second.heard().await;
    assert!(matches!(&events[0], TransportEvent::Session(update)
        if matches!(&**update, SessionUpdate::Segment { id, .. } if *id == first.connection.session.segment)));
    assert!(
        sightings(&events)
            .iter()
            .any(|sighting| sighting.content == Some(Content::Event(SystemEvent::Rehydrated)))
    );
    let page = second.page(Direction::Older, HistoryFrom::Newest, 100).await.unwrap();
    let past: Vec<_> =
        page.items.iter().filter(|item| item.segment == first.connection.session.segment).collect();
    assert_eq!(past.len(), 3, "joined, said, ended");
    assert_eq!(past[1].own, Some(true));
    assert!(page.items.iter().any(|item| item.segment == second.connection.session.segment));

    // A third one that goes on from the second alone does not know the first.
    second.agent.end().unwrap();
    let from_second = Continues { source: second.agent.id().to_string(), extent: Extent::FromSegment };
    let request = StartRequest { continues: Some(from_second), ..StartRequest::default() };
    let third = start(&centre, request).await.unwrap();
    let truth = centre.console().last_contact().unwrap().truth();
    assert_eq!(truth.segments.len(), 2);
    assert!(!truth.texts().contains(&"the order is late"));
    assert_eq!(third.session.scope, first.connection.session.scope);
}

#[tokio::test(start_paused = true)]
async fn what_the_centre_cannot_do_is_refused_before_anything_happens() {
    let centre = centre_of(Profile::minimal());
    let refused = [
        StartRequest { user_data: UserData::new().with("a", "b"), ..StartRequest::default() },
        StartRequest { asynchronous: true, ..StartRequest::default() },
        StartRequest {
            continues: Some(Continues { source: "x".into(), extent: Extent::EntirePast }),
            ..StartRequest::default()
        },
    ];
    for request in refused {
        let error = start(&centre, request).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    }
    let chat = chat(centre).await;
    let error =
        chat.submit(Command::Typing(chat_core::TypingSignal { on: true, preview: None })).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }));
    assert_eq!(chat.agent.truth().submitted(CommandKind::Any), 0);
    let error = chat.centre.transport().verify(&chat.connection.saved).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }));
    assert_eq!(chat.centre.console().truth().contacts, 1);
}

#[tokio::test(start_paused = true)]
async fn bad_user_data_is_refused_at_the_start_and_during_the_chat() {
    let centre = centre_of(Profile::small_limits());
    let large = UserData::new().with("key", "x".repeat(100));
    let request = StartRequest { user_data: large.clone(), ..StartRequest::default() };
    assert!(matches!(
        start(&centre, request).await.unwrap_err().kind(),
        ErrorKind::TooLarge { limit: 64, actual: 103, unit: "bytes" }
    ));
    let chat = chat(centre).await;
    let error = chat.submit(Command::UserData(large)).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Refused);
    chat.submit(Command::UserData(UserData::new().with("a", "1"))).await.unwrap();
    chat.submit(Command::UserData(UserData::new().with("b", "2"))).await.unwrap();
    assert_eq!(chat.agent.truth().user_data.0.len(), 2, "merged, and the refused one left no trace");
}
