//! Owns the cases of what goes wrong between the two sides, and how the session comes through.

use std::time::Duration;

use chat_core::{
    BackoffPolicy, Capability, ChatEvent, ErrorKind, LinkState, PollEvent, PollPolicy, RawEvent,
    StartRequest, Text, TextFormat, Upload, UserData, VendorCommand, session::ConnectionEvent,
};
use futures::FutureExt;
use tokio::time::Instant;

use crate::{
    harness::{Disturbance, Failure, Request},
    shelf::Shelf,
    world::{Chat, World},
};

fn connection(event: &ChatEvent) -> Option<&ConnectionEvent> {
    match event {
        ChatEvent::Connection(event) => Some(event),
        _ => None,
    }
}

fn told(chat: &Chat, like: impl Fn(&ConnectionEvent) -> bool) -> usize {
    chat.count(|event| connection(event).is_some_and(&like))
}

/// So long, or as long as the chat goes on without a connection.
fn bearable(chat: &Chat, long: Duration) -> Duration {
    chat.session().capabilities().detached_for.map_or(long, |limit| long.min(limit / 2))
}

pub(crate) async fn a_loss_and_the_return_are_told_once(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    world.disturb(Disturbance::RefuseConnects(3, Failure::Server));
    world.disturb(Disturbance::Break);
    chat.until("it is back", |chat| told(chat, |event| matches!(event, ConnectionEvent::Restored(_))) == 1)
        .await;
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Lost(_))), 1);
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Pending(_))), 1, "three attempts failed");
    chat.agent().say("hello").await;
    chat.shows(&["hello"]).await;
}

pub(crate) async fn a_half_open_connection_is_found(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    world.disturb(Disturbance::HalfOpen);
    chat.agent().say("unheard").await;
    chat.shows(&["before", "unheard"]).await;
    let losses = usize::from(world.is_pushed());
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Lost(_))), losses);
}

pub(crate) async fn a_send_into_a_half_open_connection_arrives_once(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    world.disturb(Disturbance::HalfOpen);
    chat.send("hello?").sent().await;
    assert_eq!(chat.truth().await.own_texts(), ["hello?"]);
}

pub(crate) async fn a_flapping_link_loses_nothing_and_storms_nobody(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    let before = chat.truth().await;
    let mut expected = Vec::new();
    for round in 0..20 {
        world.disturb(Disturbance::Break);
        let text = format!("r {round}");
        chat.agent().say(&text).await;
        expected.push(text);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    chat.shows(&expected).await;
    let after = chat.truth().await;
    let (connects, submits) = (after.connects - before.connects, after.submits - before.submits);
    assert!(connects <= 20, "one connection a loss at most: {connects}");
    // Where nothing connects clients, their polls could be the storm.
    assert!(submits <= 60, "a few requests a loss at most: {submits}");
}

pub(crate) async fn a_renewal_loses_nothing_and_is_no_loss(world: &mut World) {
    world.disturb(Disturbance::Expire(Duration::from_secs(120)));
    let chat = world.start().await;
    chat.live().await;
    world.heal();
    let before = chat.truth().await.connects;
    let mut expected = Vec::new();
    for second in 0..180 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let text = format!("s {second}");
        chat.agent().say(&text).await;
        expected.push(text);
    }
    chat.shows(&expected).await;
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Lost(_))), 0, "replaced before its time");
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Renewed)), 1);
    assert_eq!(chat.truth().await.connects - before, 1);
}

pub(crate) async fn a_denied_return_is_final(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    world.disturb(Disturbance::RefuseConnects(1000, Failure::AccessDenied));
    world.disturb(Disturbance::Break);
    chat.until("given up", |chat| chat.session().link_state() == LinkState::Failed).await;
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Broken(_))), 1);
    tokio::time::sleep(bearable(&chat, Duration::from_secs(600))).await;
    assert_eq!(chat.session().link_state(), LinkState::Failed, "no storm");
    world.heal();
    chat.session().reconnect(None).expect("by hand it may be tried");
    chat.live().await;
}

pub(crate) async fn hours_without_a_network_are_survived(world: &mut World) {
    let patient = BackoffPolicy::default().with_budget(None);
    let chat = world.start_with(World::settings().with_backoff(patient)).await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    world.cut();
    chat.lost().await;
    let waiting = chat.send("late");
    tokio::time::sleep(bearable(&chat, Duration::from_secs(3 * 3600))).await;
    chat.agent().say("missed").await;
    world.heal();
    waiting.sent().await;
    chat.shows(&["before", "missed", "late"]).await;
}

pub(crate) async fn the_systems_hint_shortens_a_wait(world: &mut World) {
    let slow = BackoffPolicy::default()
        .with_base(Duration::from_secs(3600))
        .with_cap(Duration::from_secs(3600))
        .with_budget(None);
    let chat = world.start_with(World::settings().with_backoff(slow)).await;
    chat.live().await;
    world.disturb(Disturbance::Break);
    chat.lost().await;
    chat.session().network_up();
    let asked = Instant::now();
    chat.live().await;
    assert!(asked.elapsed() < Duration::from_secs(30), "at once, not within the hour");
}

pub(crate) async fn a_request_for_patience_on_connecting_is_obeyed(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    world.disturb(Disturbance::RefuseConnects(1, Failure::RateLimited(Some(Duration::from_secs(20)))));
    let lost = Instant::now();
    world.disturb(Disturbance::Break);
    chat.lost().await;
    // Not even the system's hint comes before what the server asked for.
    chat.event("the refusal is told", |event| {
        matches!(connection(event), Some(ConnectionEvent::Pending(_))).then_some(())
    })
    .await;
    chat.session().network_up();
    chat.live().await;
    assert!(lost.elapsed() >= Duration::from_secs(20), "after {:?}", lost.elapsed());
}

pub(crate) async fn an_end_at_any_moment_is_told_once(world: &mut World) {
    for turns in 0..12 {
        let chat = world.start().await;
        let sending = chat.send("maybe");
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        chat.agent().end().await;
        chat.ended().await;
        // Either way the caller is told, and at most one copy is stored.
        let _ = sending.outcome().await;
        assert!(chat.row("maybe").is_some(), "the text is kept");
    }
}

pub(crate) async fn abandoned_calls_tear_nothing(world: &mut World) {
    let chat = world.start().await;
    let said = chat.agent().say_many("m", 20).await;
    chat.shows(&said).await;
    chat.live().await;
    let session = chat.session();
    for polls in 0..6 {
        // Each is begun, looked at a few times, and dropped.
        let calls: [futures::future::LocalBoxFuture<'_, ()>; 4] = [
            session.older(5).map(drop).boxed_local(),
            session.send_notice("n").map(drop).boxed_local(),
            session.file_limits().map(drop).boxed_local(),
            world.builder().start(StartRequest::named("Eve")).map(drop).boxed_local(),
        ];
        for mut call in calls {
            for _ in 0..polls {
                if (&mut call).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
    chat.agent().say("after").await;
    chat.send("mine").sent().await;
    let expected: Vec<_> = said.into_iter().chain(["after".to_owned(), "mine".to_owned()]).collect();
    chat.shows(&expected).await;
}

pub(crate) async fn what_is_denied_is_refused_before_the_wire(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    let session = chat.session();
    let can = session.capabilities();
    let transport = session.transport();
    let before = chat.truth().await.submits;
    for capability in Capability::ALL.into_iter().filter(|capability| !can.can(*capability)) {
        let refused = match capability {
            Capability::Markdown => session.send(Text::markdown("*x*")).map(drop),
            Capability::Json => session.send(Text { body: "{}".into(), format: TextFormat::Json }).map(drop),
            Capability::Typing => session.typing(true),
            Capability::RawEvents => session.send_event(RawEvent::new("x", "y")).await,
            Capability::Notice => session.send_notice("n").await,
            Capability::Upload => session.send_file(Upload::from_bytes("a", "text/plain", "x")).map(drop),
            Capability::Download => session.download(&"f".into()).await.map(drop),
            Capability::FileUrl => session.file_url(&"f".into()).await.map(drop),
            Capability::DeleteFile => session.delete_file(&"f".into()).await,
            Capability::History => session.older(5).await.map(drop),
            Capability::UserDataDuringChat => session.update_user_data(UserData::new().with("k", "v")).await,
            Capability::Poll => {
                let controls = [session.start_poll(), session.stop_poll(), session.reset_poll_exceptions()];
                for control in controls.map(|refused| refused.map_err(|error| error.kind().clone())) {
                    assert_eq!(control, Err(ErrorKind::Unsupported { capability, transport }));
                }
                session.poll()
            }
            Capability::ReadReceipts => session.mark_read(&"m".into()),
            Capability::DeliveredReceipts => session.mark_delivered(&"m".into()),
            Capability::Vendor => {
                let command = VendorCommand { name: "x", data: serde_json::Value::Null };
                session.vendor(command).await.map(drop)
            }
            _ => continue,
        };
        let refused = refused.map_err(|error| error.kind().clone());
        assert_eq!(refused, Err(ErrorKind::Unsupported { capability, transport }));
    }
    if !can.can(Capability::Poll) {
        assert_eq!(chat.truth().await.submits, before, "nothing left");
    }
    chat.shows::<&str>(&[]).await;
}

pub(crate) async fn failing_polls_are_counted_in_succession(world: &mut World) {
    let chat = world.start_with(World::settings().with_poll_exception_limit(2)).await;
    chat.live().await;
    // Two failures: pending, and restored alone.
    world.disturb(Disturbance::Fail(Request::Poll, 2, Failure::Server));
    chat.until("restored", |chat| chat.polled(PollEvent::ConnectionRestored) == 1).await;
    // Three and more: offline, once; then both back.
    world.disturb(Disturbance::Fail(Request::Poll, 5, Failure::Server));
    chat.until("restored again", |chat| chat.polled(PollEvent::ConnectionRestored) == 2).await;
    let counted = |event: &PollEvent| !matches!(event, PollEvent::PollingStarted | PollEvent::BudgetAtRisk);
    let told: Vec<_> = chat.poll_events().into_iter().filter(counted).collect();
    assert_eq!(
        told,
        [
            PollEvent::ConnectionPending,
            PollEvent::ConnectionRestored,
            PollEvent::ConnectionPending,
            PollEvent::ServerWentOffline,
            PollEvent::ServerBackOnline,
            PollEvent::ConnectionRestored,
        ]
    );
    chat.agent().say("still here").await;
    chat.shows(&["still here"]).await;
}

pub(crate) async fn a_poll_without_an_answer_is_no_exception(world: &mut World) {
    let chat = world.start_with(World::settings().with_poll_exception_limit(1)).await;
    chat.live().await;
    world.disturb(Disturbance::Fail(Request::Poll, 4, Failure::Timeout));
    chat.until("reconnected", |chat| chat.polled(PollEvent::ConnectionRestored) == 1).await;
    assert_eq!(chat.polled(PollEvent::Disconnected), 1, "told once");
    assert_eq!(chat.polled(PollEvent::Reconnected), 1, "told once");
    assert_eq!(chat.polled(PollEvent::ServerWentOffline), 0);
    chat.agent().say("still here").await;
    chat.shows(&["still here"]).await;
}

pub(crate) async fn an_outage_of_a_polled_chat_is_told_once(world: &mut World) {
    let chat = world.start().await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    let connects = chat.truth().await.connects;
    world.cut();
    chat.lost().await;
    let waiting = chat.send("late");
    chat.agent().say("missed").await;
    tokio::time::sleep(bearable(&chat, Duration::from_secs(20))).await;
    world.heal();
    waiting.sent().await;
    chat.live().await;
    chat.shows(&["before", "missed", "late"]).await;
    assert_eq!(told(&chat, |event| matches!(event, ConnectionEvent::Lost(_))), 0, "there is no connection");
    for event in [
        PollEvent::ConnectionPending,
        PollEvent::Disconnected,
        PollEvent::Reconnected,
        PollEvent::ConnectionRestored,
    ] {
        assert_eq!(chat.polled(event), 1, "{event:?}");
    }
    assert_eq!(chat.truth().await.connects, connects, "and none is made");
}

pub(crate) async fn a_restore_into_an_offline_server_says_so(world: &mut World) {
    let shelf = Shelf::new();
    let builder = world.builder().keep(&shelf.directory(), "one");
    let chat = world.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts");
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    chat.closed().await;
    world.disturb(Disturbance::Fail(Request::Poll, 3, Failure::Server));
    let builder = world.builder().keep(&shelf.directory(), "one");
    let back = world.open_beside(&chat, builder.restore()).await.expect("restored");
    back.until("the chat server is back", |chat| chat.polled(PollEvent::ServerBackOnline) == 1).await;
    back.until("so is the connection", |chat| chat.polled(PollEvent::ConnectionRestored) == 1).await;
    assert_eq!(back.polled(PollEvent::RestoredOffline), 1);
    assert_eq!(back.polled(PollEvent::ServerWentOffline), 0, "it was never online");
    back.shows(&["before"]).await;
}

pub(crate) async fn a_silent_server_is_warned_of_in_time(world: &mut World) {
    let budget = world.capabilities().detached_for.unwrap_or(Duration::from_secs(45));
    let policy = PollPolicy::default().with_budget(Some(budget));
    let warning = policy.warn_after.min(budget * 2 / 3);
    let chat = world.start_with(World::settings().with_poll(policy)).await;
    chat.agent().say("before").await;
    chat.shows(&["before"]).await;
    chat.live().await;
    let cut = Instant::now();
    world.cut();
    chat.until("a warning", |chat| chat.polled(PollEvent::BudgetAtRisk) == 1).await;
    assert!(cut.elapsed() <= warning + Duration::from_secs(1), "after {:?}", cut.elapsed());
    world.heal();
    chat.until("reconnected", |chat| chat.polled(PollEvent::Reconnected) == 1).await;
    assert!(cut.elapsed() <= budget, "in time");
    chat.agent().say("still here").await;
    chat.shows(&["before", "still here"]).await;
    assert_eq!(chat.polled(PollEvent::BudgetAtRisk), 1, "told once");
}

pub(crate) async fn everything_at_once_still_comes_right(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    world.disturb(Disturbance::Duplicate(1));
    world.disturb(Disturbance::Reorder(2));
    let mut sends = Vec::new();
    for round in 0..8 {
        chat.agent().say_many(&format!("a{round}"), 3).await;
        sends.push(chat.send(&format!("c {round}")));
        if round % 3 == 2 {
            world.disturb(Disturbance::Break);
        }
        tokio::task::yield_now().await;
    }
    for send in &sends {
        send.sent().await;
    }
    let own: Vec<_> = (0..8).map(|round| format!("c {round}")).collect();
    assert_eq!(chat.truth().await.own_texts(), own);
}
