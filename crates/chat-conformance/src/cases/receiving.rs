//! Owns the cases of what comes in: readers, participants, typing, streamed answers, vendor messages.

use std::time::Duration;

use chat_core::{
    AuthenticationPhase, ChatEvent, Choice, Content, Diff, ErrorKind, Interactive, Mirror, PollEvent,
    RawEvent, Role, SystemEvent, Text, TypingEvent, View, session::SessionEvent,
};

use crate::{
    harness::{Action, Disturbance, Request},
    recorder::lines,
    world::{Chat, World},
};

pub(crate) async fn every_reader_gets_everything(world: &mut World) {
    let chat = world.start().await;
    let session = chat.session();
    let mut early = session.events();
    let said = chat.agent().say_many("m", 5).await;
    chat.shows(&said).await;
    let mut late = session.events();
    let more = chat.agent().say_many("n", 5).await;
    let all: Vec<_> = said.into_iter().chain(more).collect();
    chat.shows(&all).await;
    for reader in [&mut early, &mut late] {
        let mut copy = Mirror::new();
        while lines(copy.iter()) != all {
            match reader.next().await.expect("the session goes on") {
                ChatEvent::Transcript(diff) => copy.apply(&diff).expect("in step"),
                ChatEvent::Missed { .. } => panic!("this reader was not slow"),
                _ => {}
            }
        }
    }
}

pub(crate) async fn a_slow_reader_misses_and_nobody_waits(world: &mut World) {
    let chat = world.start_with(World::settings().with_reader_capacity(8)).await;
    let session = chat.session();
    let mut slow = session.events();
    let said = chat.agent().say_many("m", 100).await;
    chat.shows(&said).await;
    let Some(ChatEvent::Missed { events, snapshot }) = slow.next().await else {
        panic!("the slow reader learns first of all that it missed something");
    };
    assert!(events >= 100, "{events} events for 100 messages");
    assert_eq!(lines(&snapshot), said, "and gets the transcript as it is");
    // From here on it is a reader like any other.
    let mut copy = Mirror::from(&snapshot);
    chat.agent().say("after").await;
    while lines(copy.iter()).last().map(String::as_str) != Some("after") {
        if let ChatEvent::Transcript(diff) = slow.next().await.expect("the session goes on") {
            copy.apply(&diff).expect("in step");
        }
    }
}

pub(crate) async fn a_late_reader_begins_with_the_transcript(world: &mut World) {
    let chat = world.start().await;
    let said = chat.agent().say_many("m", 3).await;
    chat.shows(&said).await;
    let mut late = chat.session().events();
    let first = late.next().await;
    let Some(ChatEvent::Transcript(diff)) = &first else { panic!("{first:?}") };
    assert!(matches!(&**diff, Diff::Reset(snapshot) if lines(snapshot) == said), "{diff:?}");
}

pub(crate) async fn messages_are_announced_with_their_session(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    let batch = chat
        .event("the message is announced", |event| match event {
            ChatEvent::Messages(batch) => Some(batch.clone()),
            _ => None,
        })
        .await;
    assert_eq!(batch.session, chat.session().info());
    let row = &batch.messages[0];
    assert!(!row.is_own());
    assert_eq!(row.from().map(|who| &who.role), Some(&Role::Agent));
    assert_eq!(row.from().and_then(|who| who.name.as_deref()), Some("Maria"));
}

pub(crate) async fn typing_of_others_shows_and_expires(world: &mut World) {
    let chat = world.start().await;
    chat.agent().join().await;
    chat.agent().types(true).await;
    typing(&chat, true).await;
    // The stop never comes.
    tokio::time::sleep(chat.session().capabilities().typing_expires_after * 2).await;
    typing(&chat, false).await;
}

pub(crate) async fn typing_of_others_ends_with_their_message(world: &mut World) {
    let chat = world.start().await;
    chat.agent().join().await;
    chat.agent().types(true).await;
    typing(&chat, true).await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    typing(&chat, false).await;
}

async fn typing(chat: &Chat, on: bool) {
    chat.event(if on { "somebody types" } else { "nobody types" }, |event| match event {
        ChatEvent::Typing(event) => match **event {
            TypingEvent::Started { .. } => on.then_some(()),
            TypingEvent::Stopped { .. } => (!on).then_some(()),
            _ => None,
        },
        _ => None,
    })
    .await;
}

pub(crate) async fn a_streamed_answer_is_one_message(world: &mut World) {
    let chat = world.start().await;
    let bot = chat.actor(Role::Bot, "Botty");
    let id = bot.act(Action::BeginStream("Hel".into())).await.expect("an item");
    chat.shows(&["Hel"]).await;
    let handle = chat.row("Hel").expect("it stands").handle();
    bot.act(Action::StreamPiece(id.clone(), "lo".into())).await;
    chat.shows(&["Hello"]).await;
    bot.act(Action::FinishStream(id, "Hello!".into())).await;
    chat.shows(&["Hello!"]).await;
    assert_eq!(chat.row("Hello!").expect("it stands").handle(), handle, "one row from first to last");
}

pub(crate) async fn an_edit_replaces_the_text_in_place(world: &mut World) {
    let chat = world.start().await;
    let id = chat.agent().say("teh").await;
    chat.agent().say("next").await;
    chat.shows(&["teh", "next"]).await;
    chat.agent().act(Action::Edit(id, "the".into())).await;
    chat.shows(&["the", "next"]).await;
}

pub(crate) async fn the_chat_goes_on_after_a_transfer(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("one moment").await;
    chat.agent().act(Action::Transfer("Paul".into())).await;
    chat.actor(Role::Agent, "Paul").say("hello").await;
    chat.shows(&["one moment", "hello"]).await;
    chat.event("the transfer is told", |event| match event {
        ChatEvent::Session(event) => {
            matches!(**event, SessionEvent::Transfer { succeeded: true }).then_some(())
        }
        _ => None,
    })
    .await;
    chat.send("still here").sent().await;
}

pub(crate) async fn an_unknown_item_stands_as_other(world: &mut World) {
    let chat = world.start().await;
    let raw = RawEvent::new("application/vnd.test", r#"{"new":true}"#);
    chat.agent().post(Content::Other(raw.clone())).await;
    chat.shows(&["<other>"]).await;
    let row = chat.row("<other>").expect("it stands");
    let Some(Content::Other(told)) = row.content() else { panic!("{row:?}") };
    // As it came, perhaps within what the vendor puts around it.
    assert!(told.body.replace('\\', "").contains(&*raw.body), "{told:?}");
}

pub(crate) async fn an_unknown_event_is_told_as_other(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    let raw = RawEvent::new("x.unheard", r#"{"new":true}"#);
    chat.agent().act(Action::UnknownEvent(raw.clone())).await;
    let told = chat
        .event("it is told", |event| match event {
            ChatEvent::Other(raw) => Some(raw.clone()),
            _ => None,
        })
        .await;
    assert_eq!(told.body, raw.body);
}

pub(crate) async fn pushed_urls_and_notices_are_typed(world: &mut World) {
    let chat = world.start().await;
    chat.agent().post(Content::PushUrl("https://example.org/a".into())).await;
    chat.actor(Role::System, "System").post(Content::Notice("closing soon".into())).await;
    chat.shows(&["<url https://example.org/a>", "<notice closing soon>"]).await;
}

fn question(title: &str, reference: Option<&str>) -> Content {
    let choice =
        |title: &str| Choice { title: title.into(), subtitle: None, image: None, reply: Text::plain(title) };
    Content::Interactive(Box::new(Interactive {
        template: "ListPicker".into(),
        title: Some(title.into()),
        subtitle: None,
        image: None,
        choices: vec![choice("Yes"), choice("No")],
        parts: Vec::new(),
        view: None,
        reference: reference.map(Into::into),
        raw: "{}".into(),
    }))
}

pub(crate) async fn a_question_is_answered_by_its_choice(world: &mut World) {
    let chat = world.start().await;
    chat.agent().post(question("Sure?", None)).await;
    chat.shows(&["<ListPicker Sure?>"]).await;
    let row = chat.row("<ListPicker Sure?>").expect("it stands");
    let Some(Content::Interactive(asked)) = row.content() else { panic!("{row:?}") };
    let reply = asked.choices[0].reply.clone();
    let line = reply.body.to_string();
    chat.send_body(&line, chat_core::OutgoingBody::Text(reply)).sent().await;
    chat.shows(&["<ListPicker Sure?>", &line]).await;
}

pub(crate) async fn a_newer_question_replaces_the_older(world: &mut World) {
    let chat = world.start().await;
    chat.agent().post(question("First?", Some("q"))).await;
    chat.shows(&["<ListPicker First?>"]).await;
    chat.agent().post(question("Second?", Some("q"))).await;
    chat.shows(&["<ListPicker Second?>"]).await;
    assert_eq!(lines(&chat.session().snapshot(View::Full)).len(), 2, "the full view has both");
}

pub(crate) async fn the_place_in_the_queue_is_told(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    chat.agent().act(Action::Queue(Some(3))).await;
    let queue = |event: &ChatEvent| match event {
        ChatEvent::Session(event) => {
            matches!(**event, SessionEvent::Queue { position: Some(3) }).then_some(())
        }
        _ => None,
    };
    chat.event("it is told", queue).await;
}

pub(crate) async fn deep_heartbeats_are_told_with_the_last_good_one(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    chat.agent().act(Action::DeepHeartbeat(true)).await;
    chat.agent().act(Action::DeepHeartbeat(false)).await;
    let failed = chat
        .event("the failure is told", |event| match event {
            ChatEvent::DeepHeartbeat(beat) if beat.outcome.is_err() => Some(beat.clone()),
            _ => None,
        })
        .await;
    assert!(failed.last_good.is_some(), "with the time of the last good one");
}

pub(crate) async fn authentication_steps_are_told(world: &mut World) {
    let chat = world.start().await;
    let step =
        SystemEvent::Authentication { phase: AuthenticationPhase::Initiated, session: Some("s-1".into()) };
    chat.actor(Role::System, "System").post(Content::Event(step)).await;
    let told = chat
        .event("the step is told", |event| match event {
            ChatEvent::Authentication(event) => Some(event.clone()),
            _ => None,
        })
        .await;
    assert_eq!((told.phase, told.session.as_deref()), (AuthenticationPhase::Initiated, Some("s-1")));
}

pub(crate) async fn idling_and_coming_back_are_told(world: &mut World) {
    let chat = world.start().await;
    chat.agent().join().await;
    for event in [SystemEvent::Idle, SystemEvent::Returned] {
        chat.agent().post(Content::Event(event)).await;
    }
    let told = |chat: &Chat| chat.count(|event| matches!(event, ChatEvent::Participant(_))) >= 3;
    chat.until("joined, idle and returned are told", told).await;
}

pub(crate) async fn a_new_name_is_known(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    chat.agent().act(Action::Rename("Mary".into())).await;
    let known = |chat: &Chat| {
        chat.session().participants().iter().any(|member| member.who.name.as_deref() == Some("Mary"))
    };
    chat.until("the new name is known", known).await;
}

pub(crate) async fn supervisors_count_as_agents(world: &mut World) {
    let chat = world.start().await;
    chat.actor(Role::Supervisor, "Sue").say("hello").await;
    chat.actor(Role::Bot, "Botty").say("beep").await;
    chat.shows(&["hello", "beep"]).await;
    let stats = chat.session().stats();
    let names: Vec<_> = stats.agents.iter().filter_map(|member| member.who.name.as_deref()).collect();
    assert_eq!(names, ["Sue"], "bots do not");
}

pub(crate) async fn the_tap_shows_raw_traffic_without_secrets(world: &mut World) {
    let chat = world.start_with(World::settings().with_tap(true)).await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    chat.event("raw traffic is told", |event| match event {
        ChatEvent::Raw(raw) if raw.body.contains("hello") => Some(()),
        _ => None,
    })
    .await;
}

pub(crate) async fn without_a_tap_no_raw_traffic_is_told(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    assert_eq!(chat.count(|event| matches!(event, ChatEvent::Raw(_))), 0);
}

pub(crate) async fn a_poll_is_made_by_hand(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    let session = chat.session();
    session.stop_poll().expect("stopped");
    chat.event("stopped", |event| matches!(event, ChatEvent::Poll(PollEvent::PollingStopped)).then_some(()))
        .await;
    chat.agent().say("waiting").await;
    let polled = |chat: &Chat| chat.session().poll().is_ok();
    chat.until("no poll is under way", polled).await;
    chat.shows(&["waiting"]).await;
    session.reset_poll_exceptions().expect("reset");
    session.start_poll().expect("started");
    chat.agent().say("by itself").await;
    chat.shows(&["waiting", "by itself"]).await;
}

pub(crate) async fn a_poll_is_refused_while_one_is_under_way(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    world.disturb(Disturbance::LateAnswer(Request::Poll, Duration::from_secs(2)));
    let refused =
        |chat: &Chat| matches!(chat.session().poll(), Err(error) if *error.kind() == ErrorKind::PollRunning);
    chat.until("a poll is under way", refused).await;
    assert!(refused(&chat), "still");
    let polled = |chat: &Chat| chat.session().poll().is_ok();
    chat.until("it is answered, and the next is allowed", polled).await;
}

pub(crate) async fn never_two_polls_at_once(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    for _ in 0..20 {
        // While one is under way, another is refused.
        let _ = chat.session().poll();
        tokio::task::yield_now().await;
    }
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    assert_eq!(chat.truth().await.polls_at_once, 1);
}
