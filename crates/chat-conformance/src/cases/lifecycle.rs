//! Owns the cases of a chat's life: start, join, restore, tabs, leaving, ending.

use std::time::Duration;

use chat_core::{
    Capability, ChatEvent, ConnectError, Continues, EndReason, ErrorKind, Extent, LinkState, Result, Role,
    SendStage, SessionDirectory, StartRequest, UserData, session::ConnectionEvent,
};

use crate::{
    harness::{Action, Disturbance, Failure, Request},
    shelf::Shelf,
    world::{Chat, World},
};

fn kind<T>(outcome: Result<T, ConnectError>) -> Option<ErrorKind> {
    outcome.err().map(|failure| failure.error.kind().clone())
}

pub(crate) async fn a_chat_begins_under_the_given_name(world: &mut World) {
    let chat = world.start().await;
    let here = |truth: &crate::Truth| {
        truth.present.iter().any(|who| who.role == Role::Customer && who.name.as_deref() == Some("Ada"))
    };
    chat.until_truth("Ada is in the chat", here).await;
    assert!(chat.session().info().is_some());
    assert_eq!(chat.session().transport(), world.harness().transport().id());
    assert_eq!(chat.session().ended(), None);
}

pub(crate) async fn default_user_data_yields_to_the_starts(world: &mut World) {
    let defaults = UserData::new().with("a", "1").with("b", "2");
    let request = StartRequest { user_data: UserData::new().with("b", "3"), ..StartRequest::named("Ada") };
    let builder = world.builder().user_data(defaults);
    let chat = world.open(builder.start(request)).await.expect("the chat starts");
    let truth = chat.truth().await;
    for (key, value) in [("a", "1"), ("b", "3")] {
        assert_eq!(truth.user_data.0.get(key).map(String::as_str), Some(value), "{key}");
    }
}

pub(crate) async fn malformed_user_data_starts_nothing(world: &mut World) {
    let limit = world.capabilities().user_data_max_bytes;
    let mut bad = vec![(UserData::new().with("", "no key"), "an empty key")];
    if let Some(limit) = limit {
        bad.push((UserData::new().with("k", "x".repeat(limit as usize)), "too much"));
    }
    for (user_data, what) in bad {
        let request = StartRequest { user_data, ..StartRequest::named("Ada") };
        let refused = kind(world.builder().start(request).await);
        let fits = matches!(refused, Some(ErrorKind::InvalidInput | ErrorKind::TooLarge { .. }));
        assert!(fits, "{what}: {refused:?}");
    }
    assert!(UserData::from_json(&serde_json::json!(["no", "map"])).is_err());
    assert!(UserData::from_json(&serde_json::json!({ "number": 1 })).is_err());
    assert_eq!(world.harness().centre().chats().await, 0, "nothing was sent");
}

pub(crate) async fn user_data_change_during_the_chat(world: &mut World) {
    let chat = world.start().await;
    chat.session().update_user_data(UserData::new().with("plan", "gold")).await.expect("changed");
    let truth = chat.until_truth("the data are there", |truth| truth.user_data.0.contains_key("plan")).await;
    assert_eq!(truth.user_data.0["plan"], "gold");
    let refused = chat.session().update_user_data(UserData::new().with("", "x")).await;
    assert_eq!(refused.map_err(|error| error.kind().clone()), Err(ErrorKind::InvalidInput));
}

pub(crate) async fn who_joins_sees_the_whole_chat(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.send("hi").sent().await;
    chat.shows(&["hello", "hi"]).await;
    let credentials = world.harness().credentials(0).await.expect("credentials");
    let builder = world.builder();
    let joined = world.open_beside(&chat, builder.join(credentials)).await.expect("joined");
    joined.shows(&["hello", "hi"]).await;
    chat.agent().say("both").await;
    for chat in [&chat, &joined] {
        chat.shows(&["hello", "hi", "both"]).await;
    }
}

pub(crate) async fn a_second_start_under_one_key_is_refused(world: &mut World) {
    let directory = SessionDirectory::in_memory();
    let builder = world.builder().keep(&directory, "one");
    let first = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    let again = world.builder().keep(&directory, "one").start(StartRequest::named("Ada")).await;
    assert_eq!(kind(again), Some(ErrorKind::AlreadyActive));
    assert_eq!(world.harness().centre().chats().await, 1, "nothing was started");
    let builder = world.builder().keep(&directory, "two");
    let other = world.open(builder.start(StartRequest::named("Bob"))).await.expect("another key is free");
    other.agent().say("for Bob").await;
    other.shows(&["for Bob"]).await;
    first.shows::<&str>(&[]).await;
}

pub(crate) async fn two_starts_at_once_are_one_chat(world: &mut World) {
    let directory = SessionDirectory::in_memory();
    let one = world.builder().keep(&directory, "one").start(StartRequest::named("Ada"));
    let two = world.builder().keep(&directory, "one").start(StartRequest::named("Ada"));
    let (one, two) = futures::join!(one, two);
    let session = one.expect("the first goes through");
    assert_eq!(kind(two), Some(ErrorKind::AlreadyActive));
    assert_eq!(world.harness().centre().chats().await, 1);
    world.record(session, 0);
}

pub(crate) async fn a_lost_answer_starts_no_second_chat(world: &mut World) {
    world.disturb(Disturbance::LoseStartAnswer);
    let chat = world.start().await;
    assert_eq!(world.harness().centre().chats().await, 1, "the retry is the same start");
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
}

pub(crate) async fn a_start_that_is_denied_fails_at_once(world: &mut World) {
    world.disturb(Disturbance::RefuseConnects(9, Failure::AccessDenied));
    let outcome = world.builder().start(StartRequest::named("Ada")).await;
    assert_eq!(kind(outcome), Some(ErrorKind::AccessDenied));
    world.heal();
    world.start().await;
}

pub(crate) async fn a_start_without_a_network_fails_after_a_few_attempts(world: &mut World) {
    world.cut();
    let outcome = world.builder().start(StartRequest::named("Ada")).await;
    assert_eq!(kind(outcome), Some(ErrorKind::Network));
    assert_eq!(world.harness().centre().chats().await, 0);
}

pub(crate) async fn an_end_by_us_is_told_once_and_closes_the_session(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
    chat.session().end().await.expect("ended");
    assert_eq!(chat.ended().await, EndReason::EndedByUs);
    refuses_everything(&chat).await;
    assert_eq!(chat.lines(), ["hello"], "the transcript stays");
}

pub(crate) async fn an_end_by_the_service_is_told_once(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("bye").await;
    chat.agent().end().await;
    assert_eq!(chat.ended().await, EndReason::EndedByService);
    chat.shows(&["bye"]).await;
    refuses_everything(&chat).await;
}

async fn refuses_everything(chat: &Chat) {
    let session = chat.session();
    assert_eq!(session.link_state(), LinkState::Ended);
    let refused = session.send_text("late").map(drop).map_err(|error| error.kind().clone());
    assert_eq!(refused, Err(ErrorKind::NotActive));
    let refused = session.end().await.map_err(|error| error.kind().clone());
    assert_eq!(refused, Err(ErrorKind::NotActive));
    let refused = session.reconnect(None).map_err(|error| error.kind().clone());
    assert_eq!(refused, Err(ErrorKind::SessionEnded));
}

pub(crate) async fn messages_arrive_until_the_end(world: &mut World) {
    let chat = world.start().await;
    chat.agent().join().await;
    chat.session().end().await.expect("ended");
    chat.agent().say("how was it?").await;
    chat.shows(&["how was it?"]).await;
    assert_eq!(chat.session().ended(), None, "the end is the centre's to tell");
    chat.agent().end().await;
    chat.ended().await;
}

pub(crate) async fn who_left_can_come_back(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    chat.session().leave().await.expect("left");
    assert_eq!(chat.ended().await, EndReason::Left);
    assert_eq!(chat.truth().await.ended, None, "the chat goes on");
    chat.agent().say("while away").await;
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.shows(&["before", "while away"]).await;
    back.send("back").sent().await;
}

pub(crate) async fn a_restore_fetches_what_was_missed(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.send("mine").sent().await;
    chat.closed().await;
    let agent = chat.agent();
    agent.say("missed 1").await;
    agent.say("missed 2").await;
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.shows(&["mine", "missed 1", "missed 2"]).await;
    assert!(back.row("mine").is_some_and(|row| row.is_own()), "own messages are own");
    agent.say("new").await;
    back.shows(&["mine", "missed 1", "missed 2", "new"]).await;
}

pub(crate) async fn a_restore_sends_what_was_accepted(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    world.cut();
    chat.lost().await;
    for text in ["q 1", "q 2"] {
        let sending = chat.send(text);
        drop(sending);
    }
    chat.closed().await;
    world.heal();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.shows(&["q 1", "q 2"]).await;
    let truth = back.until_truth("both are sent", |truth| truth.own_texts().len() == 2).await;
    assert_eq!(truth.own_texts(), ["q 1", "q 2"]);
}

pub(crate) async fn a_lost_answer_is_settled_after_a_restore(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    world.disturb(Disturbance::StoreThenCut(Request::Text));
    world.disturb(Disturbance::RefuseConnects(1000, Failure::Network));
    let sending = chat.send("once");
    chat.lost().await;
    drop(sending);
    chat.closed().await;
    world.heal();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.shows(&["once"]).await;
    let settled =
        |chat: &Chat| chat.row("once").is_some_and(|row| row.send_state().is_none_or(|state| state.sent));
    back.until("the send is settled", settled).await;
    assert_eq!(back.truth().await.own_texts(), ["once"]);
}

pub(crate) async fn an_answer_that_never_came_is_settled_after_a_restore(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    world.disturb(Disturbance::LateAnswer(Request::Text, Duration::from_secs(20)));
    let sending = chat.send("once");
    chat.until_truth("it is stored", |truth| truth.own_texts() == ["once"]).await;
    drop(sending);
    chat.closed().await;
    world.heal();
    chat.agent().say("after").await;
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.shows(&["before", "once", "after"]).await;
    let settled =
        |chat: &Chat| chat.row("once").is_some_and(|row| row.send_state().is_none_or(|state| state.sent));
    back.until("the send is settled", settled).await;
    assert_eq!(back.truth().await.own_texts(), ["once"]);
}

pub(crate) async fn restores_are_refused_in_three_ways(world: &mut World) {
    let shelf = Shelf::new();
    let directory = shelf.directory();
    let nothing = world.builder().keep(&directory, "one").restore().await;
    assert_eq!(kind(nothing), Some(ErrorKind::SessionLost), "nothing is kept");
    let builder = world.builder().keep(&directory, "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    let active = world.builder().keep(&directory, "one").restore().await;
    assert_eq!(kind(active), Some(ErrorKind::AlreadyActive), "while active");
    chat.closed().await;
    let one = world.builder().keep(&directory, "one").restore();
    let two = world.builder().keep(&directory, "one").restore();
    let (one, two) = futures::join!(one, two);
    assert_eq!(kind(two), Some(ErrorKind::AlreadyRestoring), "at once");
    world.record(one.expect("the first goes through"), 0);
}

pub(crate) async fn a_lost_session_is_forgotten(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.closed().await;
    world.disturb(Disturbance::RefuseConnects(1, Failure::SessionLost));
    let lost = world.builder().keep(&shelf.directory(), "one").restore().await;
    assert_eq!(kind(lost), Some(ErrorKind::SessionLost));
    assert!(!shelf.holds("one").await, "a session that is lost is no longer kept");
}

pub(crate) async fn restoring_an_ended_chat_says_so(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.closed().await;
    chat.agent().end().await;
    let builder = world.builder().keep(&shelf.directory(), "one");
    match world.open_beside(&chat, builder.restore()).await {
        // The vendor brings the final transcript, and then the end.
        Ok(back) => {
            back.ended().await;
        }
        Err(failure) => assert_eq!(*failure.error.kind(), ErrorKind::SessionEnded),
    }
    shelf.until(world, "it is no longer kept", |kept| kept.is_none()).await;
}

pub(crate) async fn session_data_are_kept_from_start_to_end(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    let data = chat.session().session_data().expect("a live session has data");
    assert!(!data.data.is_empty());
    shelf.until(world, "the session is kept", |kept| kept.is_some_and(|kept| kept.saved == data)).await;
    chat.session().end().await.expect("ended");
    chat.ended().await;
    shelf.until(world, "the session is forgotten", |kept| kept.is_none()).await;
}

pub(crate) async fn changed_session_data_are_saved(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    let before = chat.session().session_data();
    chat.agent().act(Action::RotateToken).await;
    chat.agent().say("hello").await;
    chat.until("new session data", |chat| chat.session().session_data() != before).await;
    let now = chat.session().session_data();
    shelf.until(world, "they are kept", |kept| kept.map(|kept| kept.saved.clone()) == now).await;
    chat.send("still in").sent().await;
}

pub(crate) async fn a_kept_session_can_be_verified(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    let verify = || world.builder().keep(&shelf.directory(), "one");
    shelf.until(world, "the session is kept", |kept| kept.is_some()).await;
    assert!(verify().verify().await.expect("an answer"), "it exists");
    chat.session().end().await.expect("ended");
    chat.ended().await;
    shelf.until(world, "the session is forgotten", |kept| kept.is_none()).await;
    assert!(!verify().verify().await.expect("an answer"), "it is gone");
}

pub(crate) async fn a_link_given_up_is_taken_up_by_hand(world: &mut World) {
    let backoff = World::settings().backoff.with_max_attempts(Some(2));
    let chat = world.start_with(World::settings().with_backoff(backoff)).await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    world.cut();
    chat.event("the link is given up", |event| match event {
        ChatEvent::Connection(event) => matches!(**event, ConnectionEvent::Broken(_)).then_some(()),
        _ => None,
    })
    .await;
    assert_eq!(chat.session().link_state(), LinkState::Failed);
    let refused = chat.session().send_text("no").map(drop).map_err(|error| error.kind().clone());
    assert_eq!(refused, Err(ErrorKind::NotActive));
    chat.agent().say("missed").await;
    world.heal();
    chat.session().reconnect(None).expect("a chat that goes on can be reconnected");
    chat.shows(&["before", "missed"]).await;
    chat.live().await;
    chat.send("back").sent().await;
}

pub(crate) async fn two_tabs_see_everything_once(world: &mut World) {
    let one = world.start().await;
    let two = world.another_tab(&one).await;
    one.live().await;
    two.live().await;
    one.send("from one").sent().await;
    one.shows(&["from one"]).await;
    two.shows(&["from one"]).await;
    two.send("from two").sent().await;
    one.agent().say("for both").await;
    for tab in [&one, &two] {
        tab.shows(&["from one", "from two", "for both"]).await;
        for text in ["from one", "from two"] {
            assert!(tab.row(text).is_some_and(|row| row.is_own()), "{text:?} is own in both tabs");
        }
    }
}

pub(crate) async fn one_tab_never_settles_anothers_send(world: &mut World) {
    let one = world.start().await;
    let two = world.another_tab(&one).await;
    one.live().await;
    two.live().await;
    // The first tab's request is lost, nobody knows; the second one's goes through meanwhile.
    world.disturb(Disturbance::Fail(Request::Text, 1, Failure::Timeout));
    let first = one.send("same");
    let second = two.send("same");
    first.sent().await;
    second.sent().await;
    for tab in [&one, &two] {
        tab.shows(&["same", "same"]).await;
    }
    assert_eq!(one.truth().await.own_texts(), ["same", "same"]);
}

pub(crate) async fn an_echos_token_settles_its_own_send_alone(world: &mut World) {
    let one = world.start().await;
    let two = world.another_tab(&one).await;
    one.live().await;
    two.live().await;
    let mut expected = Vec::new();
    for (text, disturbance) in [
        ("lost", Disturbance::Fail(Request::Text, 1, Failure::Timeout)),
        ("stored", Disturbance::FailStored(Request::Text, Failure::Timeout)),
    ] {
        world.disturb(disturbance);
        let first = one.send(text);
        one.until("the request is on its way", |one| one.stage(text) != Some((false, SendStage::Queued)))
            .await;
        let second = two.send(text);
        first.sent().await;
        second.sent().await;
        expected.extend([text, text]);
        for tab in [&one, &two] {
            tab.shows(&expected).await;
        }
        assert_eq!(one.truth().await.own_texts(), expected);
    }
}

pub(crate) async fn the_last_handle_closes_and_the_chat_goes_on(world: &mut World) {
    let chat = world.start().await;
    let clone = chat.session();
    chat.close();
    let truth = chat.truth().await;
    assert_eq!(truth.connections, 1, "one handle is left");
    drop(clone);
    world.no_connections().await;
    assert_eq!(chat.truth().await.ended, None, "closing does not end the chat");
}

pub(crate) async fn what_was_accepted_leaves_before_the_close(world: &mut World) {
    let chat = world.start().await;
    let sending = chat.send("last");
    drop(sending);
    chat.close();
    chat.until_truth("the message is sent", |truth| truth.own_texts() == ["last"]).await;
    world.no_connections().await;
}

pub(crate) async fn an_end_while_away_is_told_once(world: &mut World) {
    let chat = world.start().await;
    world.cut();
    chat.lost().await;
    chat.agent().end().await;
    world.heal();
    chat.ended().await;
    chat.is_partial();
    refuses_everything(&chat).await;
}

pub(crate) async fn the_final_transcript_comes_before_the_end(world: &mut World) {
    let chat = world.start().await;
    world.cut();
    chat.lost().await;
    chat.agent().say("bye").await;
    chat.agent().end().await;
    world.heal();
    chat.ended().await;
    chat.shows(&["bye"]).await;
}

pub(crate) async fn an_ended_chat_is_continued(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("first chat").await;
    chat.shows(&["first chat"]).await;
    let source = chat.session().info().expect("a live session").segment.to_string();
    chat.session().end().await.expect("ended");
    if world.capabilities().can(Capability::Lingering) {
        chat.agent().end().await;
    }
    chat.ended().await;
    let continues = Some(Continues { source, extent: Extent::EntirePast });
    let request = StartRequest { continues, ..StartRequest::named("Ada") };
    let builder = world.builder();
    let next = world.open(builder.start(request)).await.expect("continued");
    next.agent().say("second chat").await;
    next.shows(&["first chat", "second chat"]).await;
}

pub(crate) async fn the_roster_follows_who_comes_and_goes(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("hello").await;
    let connected = |chat: &Chat| {
        let members = chat.session().participants();
        members.iter().any(|member| member.connected() && member.who.name.as_deref() == Some("Maria"))
    };
    chat.until("Maria is in the chat", connected).await;
    assert_eq!(chat.session().stats().agents.len(), 1);
    chat.agent().act(Action::Leave).await;
    chat.until("Maria has left", |chat| !connected(chat)).await;
    let stats = chat.session().stats();
    assert_eq!(stats.agents.len(), 1, "who was here is remembered");
}

pub(crate) async fn many_chats_run_over_one_transport(world: &mut World) {
    let transport = world.harness().transport();
    let mut chats = Vec::new();
    for _ in 0..10 {
        let builder =
            chat_core::ChatSession::over(std::sync::Arc::clone(&transport)).settings(World::settings());
        chats.push(world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts"));
    }
    for (number, chat) in chats.iter().enumerate() {
        chat.agent().say(&format!("for {number}")).await;
    }
    for (number, chat) in chats.iter().enumerate() {
        chat.send(&format!("by {number}")).sent().await;
        chat.shows(&[format!("for {number}"), format!("by {number}")]).await;
    }
}
