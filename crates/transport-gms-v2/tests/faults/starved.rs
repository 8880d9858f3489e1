//! An application that keeps the runtime busy (F59).

use std::time::Duration;

use chat_core::{ChatEvent, ChatSession, Events, PollEvent};
use tokio::time::advance;

use crate::{
    Way,
    rig::{Rig, shows_text, texts},
};

/// The one thread is busy for so long: nothing runs meanwhile. Then everybody has a turn.
async fn hog(busy: Duration) {
    advance(busy).await;
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

/// How often the session warned since.
fn warnings(events: &mut Events) -> usize {
    use futures::FutureExt;
    let told = std::iter::from_fn(|| events.next().now_or_never().flatten());
    told.filter(|event| matches!(event, ChatEvent::Poll(PollEvent::BudgetAtRisk))).count()
}

async fn goes_on(session: &ChatSession, contact: &chat_sim::ContactConsole, expected: &[&str]) {
    assert!(contact.truth().ended.is_none(), "the service has not given the client up");
    contact.as_agent("Maria").say(*expected.last().unwrap()).unwrap();
    shows_text(session, expected.last().unwrap()).await;
    assert_eq!(texts(session), expected);
}

#[tokio::test(start_paused = true)]
async fn polls_go_on_beside_an_application_that_seldom_lets_go() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(Way::Polling.client(&rig)).await;
    let mut events = session.events();
    goes_on(&session, &contact, &["before"]).await;
    for _ in 0..60 {
        hog(Duration::from_secs(11)).await;
    }
    assert_eq!(warnings(&mut events), 0, "a poll in each pause is enough");
    goes_on(&session, &contact, &["before", "after"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_application_that_lets_go_too_seldom_is_warned_once_each_time() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(Way::Polling.client(&rig)).await;
    let mut events = session.events();
    goes_on(&session, &contact, &["before"]).await;
    for round in 1..=3 {
        hog(Duration::from_secs(35)).await;
        assert_eq!(warnings(&mut events), 1, "round {round}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(warnings(&mut events), 0, "round {round}");
    }
    goes_on(&session, &contact, &["before", "after"]).await;
}
