//! Owns the invariants I1–I9, checked after every case over what was recorded.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chat_core::{
    ChatEvent, ChatSession, Content, EndReason, LinkState, Row, SendStage, Snapshot, View,
    session::ConnectionEvent,
};
use tokio::time::Instant;

use crate::{
    harness::{Clock, StoredItem, Truth},
    recorder::{Log, line},
    world::{Chat, World},
};

/// Tasks that only wait out a time of the centre's are given this long to end (virtual time).
const TASKS_END_WITHIN: Duration = Duration::from_secs(300);

/// Lets everything settle, checks all invariants, and closes the world.
pub(crate) async fn all(world: &mut World) {
    world.heal();
    for chat in &world.chats {
        if let Some(session) = chat.try_session() {
            sends_are_settled(chat).await;
            transcript_is_the_truth(chat, &session, world.pruned).await;
            mirrors_agree(chat, &session).await;
            send_states_are_final(chat, &session);
            nothing_is_shown_twice(chat, &session);
        }
    }
    let secrets = secrets(world);
    for chat in &world.chats {
        let log = chat.0.log();
        assert!(log.problems.is_empty(), "{}: {}", chat.0.name, log.problems.join("; "));
        announced_once(&log);
        link_edges_are_legal(&log);
        no_secret_is_told(chat, &log, &secrets);
        ended_once_and_last(&log);
    }
    one_copy_per_send(world).await;
    nothing_is_left(world).await;
}

/// I4: every send has ended in exactly one of sent and failed.
async fn sends_are_settled(chat: &Chat) {
    let open = || {
        let log = chat.0.log();
        let open = log.sends.iter().find(|send| send.outcome.is_none());
        open.map(|send| send.text.clone())
    };
    let what = format!("I4: a send of {} never ends: {:?}", chat.0.name, open());
    chat.0.bench.until(&what, || open().is_none().then_some(())).await;
}

/// I4, in the transcript: what it shows agrees with what the caller was told.
fn send_states_are_final(chat: &Chat, session: &ChatSession) {
    let rows = session.snapshot(View::Full);
    for send in &chat.0.log().sends {
        let Some(row) = rows.iter().find(|row| send.token.is_some() && row.token() == send.token) else {
            let cancelled =
                matches!(&send.outcome, Some(Err(error)) if *error.kind() == chat_core::ErrorKind::Cancelled);
            assert!(cancelled, "I4: {:?} was accepted and is not in the transcript", send.text);
            continue;
        };
        let state = row.send_state();
        let good = match &send.outcome {
            Some(Ok(_)) => state.is_some_and(|state| state.sent),
            Some(Err(_)) => state.is_some_and(|state| {
                state.sent || matches!(state.stage, SendStage::Failed | SendStage::Cancelled)
            }),
            None => false,
        };
        assert!(good, "I4: {:?} came to {:?}, and stands as {state:?}", send.text, send.outcome);
    }
}

/// I1 and I3: what the centre stored is in the transcript, in the centre's order.
async fn transcript_is_the_truth(chat: &Chat, session: &ChatSession, pruned: bool) {
    if matches!(session.link_state(), LinkState::Failed) {
        return;
    }
    let exact = session.ended().is_none() && !pruned && !chat.may_be_partial();
    // What came before an end that was heard is complete as well.
    let heard = matches!(session.ended(), Some(EndReason::EndedByUs | EndReason::EndedByService));
    let exact = exact || (heard && !pruned && !chat.may_be_partial());
    let deadline = Instant::now() + crate::world::PATIENCE;
    loop {
        let truth = chat.truth().await;
        let told = told(&truth);
        let shown = shown(&session.snapshot(View::Full));
        let good = if exact { told == shown } else { one_order(&told, &shown) };
        let gap =
            exact && session.ended().is_none() && session.transcript().iter().any(|row| row.gap().is_some());
        if good && !gap {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "I1/I3: the centre has {told:?}, {} shows {shown:?}{}",
            chat.0.name,
            if gap { ", with an open gap" } else { "" }
        );
        tokio::select! {
            () = chat.0.bench.harness.centre().changed() => {}
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

fn told(truth: &Truth) -> Vec<String> {
    truth
        .items
        .iter()
        .filter(|item| !item.is_event())
        .filter_map(|item: &StoredItem| line(&item.content))
        .collect()
}

fn shown(rows: &Snapshot) -> Vec<String> {
    rows.iter().filter(|row| is_stored(row)).filter_map(|row| row.original().and_then(line)).collect()
}

/// The centre takes notices of ours down elsewhere, if a vendor shows them in the transcript.
fn is_stored(row: &Row) -> bool {
    let notice = row.is_own() && matches!(row.original(), Some(Content::Notice(_)));
    !notice && row.gap().is_none() && row.send_state().is_none_or(|state| state.sent)
}

/// Whether what both have stands in one order, and neither has it more often.
fn one_order(told: &[String], shown: &[String]) -> bool {
    let common = |of: &[String], other: &[String]| -> Vec<String> {
        of.iter().filter(|line| other.contains(line)).cloned().collect()
    };
    common(told, shown) == common(shown, told)
}

/// Diffs reproduce the transcript: the copies that were fed by them are equal to it, in both views.
async fn mirrors_agree(chat: &Chat, session: &ChatSession) {
    let agree = || {
        let full = session.snapshot(View::Full);
        let display = session.snapshot(View::Display);
        let log = chat.0.log();
        (log.full == full && log.display == display).then_some(())
    };
    chat.0.bench.until("the copies fed by diffs are equal to the transcript", agree).await;
}

/// I2: no message stands twice.
fn nothing_is_shown_twice(chat: &Chat, session: &ChatSession) {
    let rows = session.snapshot(View::Full);
    let mut seen = HashSet::new();
    for alias in rows.iter().flat_map(|row| row.aliases().iter()) {
        assert!(seen.insert(alias.clone()), "I2: two rows of {} are {alias:?}", chat.0.name);
    }
}

/// I2: no message is announced twice.
fn announced_once(log: &Log) {
    let (mut ids, mut handles) = (HashSet::new(), HashSet::new());
    for row in log.announced() {
        let again = row.message_id().is_some_and(|id| !ids.insert(id)) || !handles.insert(row.handle());
        let what = row.content().and_then(line);
        assert!(!again, "I2: {what:?} was announced twice");
    }
}

/// I6: the connection's events follow each other as they may.
fn link_edges_are_legal(log: &Log) {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum At {
        Fresh,
        Up,
        Down,
        Broken,
    }
    // A session's first reader is told how it began; later ones join in the middle.
    let from_the_start = log.events.iter().find_map(|(_, event)| match event {
        ChatEvent::Connection(event) => {
            Some(matches!(**event, ConnectionEvent::Established(_) | ConnectionEvent::Pending(_)))
        }
        _ => None,
    });
    let mut at = match log.state_at_first {
        _ if from_the_start == Some(true) && !matches!(log.state_at_first, LinkState::Waiting { .. }) => {
            At::Fresh
        }
        LinkState::Live | LinkState::Backfilling => At::Up,
        LinkState::Failed => At::Broken,
        LinkState::Waiting { .. } => At::Down,
        _ => At::Fresh,
    };
    for (_, event) in &log.events {
        let ChatEvent::Connection(event) = event else { continue };
        at = match (at, &**event) {
            (At::Fresh, ConnectionEvent::Established(_)) => At::Up,
            (At::Fresh, ConnectionEvent::Pending(_)) => At::Fresh,
            (At::Up, ConnectionEvent::Renewed) => At::Up,
            (At::Up, ConnectionEvent::Lost(_)) => At::Down,
            (At::Down, ConnectionEvent::Pending(_)) => At::Down,
            (At::Down | At::Broken, ConnectionEvent::Restored(_)) => At::Up,
            (At::Fresh | At::Down | At::Broken, ConnectionEvent::Broken(_)) => At::Broken,
            (At::Broken, ConnectionEvent::Pending(_)) => At::Broken,
            (at, event) => panic!("I6: {event:?} came while the link was {at:?}"),
        };
    }
}

fn secrets(world: &World) -> Vec<String> {
    let sessions = world.chats.iter().filter_map(Chat::try_session);
    sessions
        .filter_map(|session| session.session_data())
        .flat_map(|saved| world.harness().secrets(&saved))
        .collect()
}

/// I7: no secret in anything that is told or can be printed.
fn no_secret_is_told(chat: &Chat, log: &Log, secrets: &[String]) {
    let mut outputs: Vec<String> = log.events.iter().map(|(_, event)| format!("{event:?}")).collect();
    for send in &log.sends {
        if let Some(Err(error)) = &send.outcome {
            outputs.push(format!("{error} {error:?}"));
        }
    }
    if let Some(session) = chat.try_session() {
        outputs.extend(session.snapshot(View::Full).iter().filter_map(|row| Some(row.raw()?.to_string())));
        outputs.push(format!("{session:?} {:?} {:?}", session.info(), session.session_data()));
    }
    outputs.push(format!("{:?}", chat.0.bench.harness.transport()));
    for secret in secrets {
        let leak = outputs.iter().find(|output| output.contains(secret.as_str()));
        assert!(leak.is_none(), "I7: a secret shows in {leak:?}");
    }
}

/// I9: the end is told exactly once, and last.
fn ended_once_and_last(log: &Log) {
    let ends = log.events.iter().filter(|(_, event)| matches!(event, ChatEvent::Ended(_))).count();
    assert!(ends <= 1, "I9: the end was told {ends} times");
    if ends == 1 {
        let last = log.events.last().map(|(_, event)| event);
        assert!(matches!(last, Some(ChatEvent::Ended(_))), "I9: {last:?} was told after the end");
    }
}

/// I5: the centre holds at most one copy of each send.
async fn one_copy_per_send(world: &World) {
    for chat in &world.chats {
        let truth = chat.truth().await;
        let sends: Vec<_> = {
            let log = chat.0.log();
            log.sends.iter().map(|send| (send.text.clone(), send.token.clone())).collect()
        };
        for (text, token) in &sends {
            let tokens =
                truth.items.iter().filter(|item| item.token.is_some() && item.token == *token).count();
            assert!(tokens <= 1, "I5: the centre holds {text:?} {tokens} times");
            let sent: usize = world
                .chats
                .iter()
                .filter(|other| other.0.chat == chat.0.chat)
                .map(|other| other.0.log().sends.iter().filter(|send| send.text == *text).count())
                .sum();
            let own = |item: &&StoredItem| item.own && line(&item.content).as_ref() == Some(text);
            let stored = truth.items.iter().filter(own).count();
            assert!(stored <= sent, "I5: {text:?} was sent {sent} times, the centre holds {stored}");
        }
    }
}

/// I8: when the sessions are gone, so are their connections and tasks; and their streams have ended.
async fn nothing_is_left(world: &mut World) {
    let chats = std::mem::take(&mut world.chats);
    for chat in &chats {
        chat.close();
    }
    for chat in &chats {
        chat.until("I8: a reader's stream does not end", |chat| chat.0.log().closed == 2).await;
        ended_once_and_last(&chat.0.log());
    }
    world.chats = chats;
    let bench = Arc::clone(&world.bench);
    let none = async || (bench.harness.centre().connections().await == 0).then_some(());
    bench.until_async("I8: a connection is left", none).await;
    if bench.harness.clock() == Clock::Virtual {
        let deadline = Instant::now() + TASKS_END_WITHIN;
        loop {
            let tasks = world.tasks();
            if tasks <= world.tasks_before {
                return;
            }
            assert!(Instant::now() < deadline, "I8: {} tasks before, {tasks} left", world.tasks_before);
            // No event tells that a task has ended; virtual time passes at once.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
