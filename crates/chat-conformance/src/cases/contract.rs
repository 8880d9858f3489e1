//! Owns the cases of the transport's contract: each line of it, on bare connections.

use std::time::Duration;

use chat_core::{
    Ack, ClientToken, Command, ConnectRequest, Delivery, EndReason, Intent, Outgoing, OutgoingBody,
    StartRequest, Text, TransportEvent,
};
use tokio::time::timeout;

use crate::{
    harness::{Action, Disturbance},
    world::{PATIENCE, World},
};

fn start() -> Intent {
    Intent::Start(Box::new(StartRequest { key: Some(ClientToken::random()), ..StartRequest::named("Ada") }))
}

fn text(text: &str) -> Command {
    let body = OutgoingBody::Text(Text::plain(text));
    Command::Send(Outgoing { token: ClientToken::random(), attempt: 0, body })
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn nothing_starts_before_the_first_poll(world: &mut World) {
    let transport = world.harness().transport();
    let connecting = transport.connect(ConnectRequest::new(start()));
    settle().await;
    assert_eq!(world.harness().centre().chats().await, 0, "a chat was started by nobody");
    drop(connecting);
    settle().await;
    assert_eq!(world.harness().centre().chats().await, 0, "a chat was started by nobody");
}

pub(crate) async fn an_abandoned_connect_leaves_nothing(world: &mut World) {
    let transport = world.harness().transport();
    for millis in [0, 1, 2, 5, 10, 20, 50, 100] {
        let connecting = transport.connect(ConnectRequest::new(start()));
        drop(timeout(Duration::from_millis(millis), connecting).await);
    }
    world.no_connections().await;
}

pub(crate) async fn capabilities_are_known_before_connecting(world: &mut World) {
    let transport = world.harness().transport();
    let (id, before) = (transport.id(), transport.capabilities());
    settle().await;
    assert_eq!(world.harness().centre().chats().await, 0);
    assert_eq!(world.harness().centre().connections().await, 0);
    let wire = transport.connect(ConnectRequest::new(start())).await.expect("the chat starts");
    assert_eq!(wire.saved.transport, id.as_str(), "what is saved names the transport");
    assert_eq!(before.flags, before.flags.iter().collect());
}

pub(crate) async fn what_comes_during_connect_waits(world: &mut World) {
    let mut wire = world.connect(start()).await;
    let agent = world.agent(0);
    agent.say("one").await;
    agent.say("two").await;
    assert_eq!(wire.texts_until("two").await, ["one", "two"]);
}

pub(crate) async fn a_full_channel_never_blocks_connect(world: &mut World) {
    let first = world.connect(start()).await;
    let saved = first.saved.clone();
    drop(first);
    world.agent(0).say_many("m", 300).await;
    let mut wire = world.connect(Intent::Resume(saved)).await;
    settle().await;
    wire.handle.submit(Command::Leave { end: false }).await.expect("left");
    wire.terminal().await;
}

pub(crate) async fn a_full_channel_stops_no_command(world: &mut World) {
    let mut wire = world.connect(start()).await;
    world.agent(0).say_many("m", 300).await;
    settle().await;
    let answer = timeout(PATIENCE, wire.handle.submit(text("hello"))).await.expect("answered in time");
    assert!(matches!(answer, Ok(Ack::Sent(_))), "{answer:?}");
    wire.texts_until("m 300").await;
}

pub(crate) async fn a_full_channel_loses_nothing(world: &mut World) {
    let mut wire = world.connect(start()).await;
    let said = world.agent(0).say_many("m", 400).await;
    settle().await;
    assert_eq!(wire.texts_until("m 400").await, said);
}

pub(crate) async fn leaving_ends_the_stream_once(world: &mut World) {
    let mut wire = world.connect(start()).await;
    wire.handle.submit(Command::Leave { end: false }).await.expect("left");
    let terminal = wire.terminal().await;
    assert!(matches!(terminal, TransportEvent::Ended(EndReason::Left)), "{terminal:?}");
    let truth = world.bench.truth(0).await;
    assert_eq!(truth.ended, None, "leaving does not end the chat");
}

pub(crate) async fn ending_ends_the_stream_once(world: &mut World) {
    let mut wire = world.connect(start()).await;
    wire.handle.submit(Command::Leave { end: true }).await.expect("ended");
    let terminal = wire.terminal().await;
    assert!(matches!(terminal, TransportEvent::Ended(EndReason::EndedByUs)), "{terminal:?}");
}

pub(crate) async fn a_loss_ends_the_stream_once(world: &mut World) {
    let mut wire = world.connect(start()).await;
    world.disturb(Disturbance::Cut);
    let terminal = wire.terminal().await;
    assert!(matches!(&terminal, TransportEvent::Lost(lost) if lost.resumable), "{terminal:?}");
}

pub(crate) async fn an_end_at_the_centre_ends_the_stream_once(world: &mut World) {
    let mut wire = world.connect(start()).await;
    let agent = world.agent(0);
    agent.say("bye").await;
    agent.end().await;
    wire.texts_until("bye").await;
    let terminal = wire.terminal().await;
    assert!(matches!(terminal, TransportEvent::Ended(EndReason::EndedByService)), "{terminal:?}");
}

pub(crate) async fn a_dropped_stream_closes_the_connection(world: &mut World) {
    let wire = world.connect(start()).await;
    let saved = wire.saved.clone();
    let handle = wire.drop_stream();
    world.no_connections().await;
    drop(handle);
    assert_eq!(world.bench.truth(0).await.ended, None, "the chat goes on");
    let mut wire = world.connect(Intent::Resume(saved)).await;
    world.agent(0).say("still there").await;
    assert!(wire.texts_until("still there").await.ends_with(&["still there".into()]));
}

pub(crate) async fn own_messages_are_reported(world: &mut World) {
    let mut first = world.connect(start()).await;
    let mut second = world.connect(Intent::Resume(first.saved.clone())).await;
    first.handle.submit(text("mine")).await.expect("sent");
    for wire in [&mut first, &mut second] {
        loop {
            let event = wire.next().await.expect("the connection stands");
            let TransportEvent::Message(sighting) = event else { continue };
            if sighting.content.as_ref().and_then(crate::recorder::line).as_deref() == Some("mine") {
                assert_eq!(sighting.own, Some(true), "an own message is told as own");
                break;
            }
        }
    }
}

pub(crate) async fn a_command_after_the_terminal_does_nothing(world: &mut World) {
    let mut wire = world.connect(start()).await;
    wire.handle.submit(Command::Leave { end: false }).await.expect("left");
    wire.terminal().await;
    let error = wire.handle.submit(text("too late")).await.expect_err("refused");
    assert_eq!(error.delivery(), Delivery::NotSent, "{error:?}");
    settle().await;
    assert_eq!(world.bench.truth(0).await.own_texts(), [""; 0]);
}

pub(crate) async fn commands_under_way_resolve_by_themselves(world: &mut World) {
    let mut wire = world.connect(start()).await;
    world.disturb(Disturbance::Delay(Duration::from_secs(30)));
    let handle = std::sync::Arc::clone(&wire.handle);
    let sending = tokio::spawn(async move { handle.submit(text("slow")).await });
    settle().await;
    world.disturb(Disturbance::Break);
    let error =
        timeout(PATIENCE, sending).await.expect("in time").expect("no panic").expect_err("interrupted");
    assert!(matches!(error.delivery(), Delivery::NotSent | Delivery::Unknown), "{error:?}");
    if world.is_pushed() {
        wire.terminal().await;
    }
}

pub(crate) async fn verifying_changes_nothing(world: &mut World) {
    let wire = world.connect(start()).await;
    let before = world.bench.truth(0).await;
    let there = world.harness().transport().verify(&wire.saved).await.expect("an answer");
    assert!(there, "the chat exists");
    let after = world.bench.truth(0).await;
    assert_eq!(before.items.len(), after.items.len(), "nobody notices");
    assert_eq!((before.connects, before.connections), (after.connects, after.connections));
    assert_eq!(world.harness().centre().chats().await, 1, "no chat is opened");
}

pub(crate) async fn verifying_knows_an_ended_chat(world: &mut World) {
    let mut wire = world.connect(start()).await;
    world.agent(0).act(Action::End).await;
    wire.terminal().await;
    let there = world.harness().transport().verify(&wire.saved).await;
    assert!(matches!(there, Ok(false)), "{there:?}");
}
