//! What happens to several sessions of one chat over CometD (F65, L17).

use std::time::Duration;

use chat_core::session::ConnectionEvent;
use chat_core::{Capability, ChatEvent, ChatSession, Events, LinkState};
use chat_sim::ContactConsole;
use http::HeaderMap;

use transport_gms_v2::GmsTransport;

use crate::rig::{Rig, becomes, data_url, event, shows_text, texts};

/// How often these were disconnected.
async fn losses(events: &mut Events, within: Duration) -> usize {
    let mut losses = 0;
    let counting = async {
        while let Some(told) = events.next().await {
            if let ChatEvent::Connection(told) = told
                && matches!(&*told, ConnectionEvent::Lost(_))
            {
                losses += 1;
            }
        }
    };
    let _ = tokio::time::timeout(within, counting).await;
    losses
}

async fn is_lost(events: &mut Events) {
    event(events, "the loss", |told| match told {
        ChatEvent::Connection(told) => matches!(&*told, ConnectionEvent::Lost(_)).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_tabs_that_return_together_take_different_sessions() {
    for websocket in [true, false] {
        let rig = Rig::new();
        let client = if websocket { rig.client() } else { rig.polling_client() };
        let (one, contact) = rig.chat(client.clone()).await;
        let other = ChatSession::builder(client).join(one.session_data().unwrap()).await.unwrap();
        contact.as_agent("Maria").say("before").unwrap();
        shows_text(&one, "before").await;
        shows_text(&other, "before").await;
        let mut events = [one.events(), other.events()];
        rig.network.cut();
        for events in &mut events {
            is_lost(events).await;
        }
        rig.network.heal();
        contact.as_agent("Maria").say("after").unwrap();
        shows_text(&one, "after").await;
        shows_text(&other, "after").await;
        assert_eq!(rig.sessions(), 2, "each its own");
        let [mut first, mut second] = events;
        let quiet = Duration::from_secs(300);
        let lost = tokio::join!(losses(&mut first, quiet), losses(&mut second, quiet));
        assert_eq!(lost, (0, 0), "neither takes the other's connects away");
        assert_eq!((texts(&one), texts(&other)), (vec!["before".into(), "after".into()], texts(&one)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_connect_is_told_as_lost_and_answered_with_a_session_of_its_own() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.polling_client()).await;
    let mut events = session.events();
    // Somebody else connects with our session's id.
    let server = rig.front.cometd().unwrap().clone();
    let id = server.clients()[0].id().expose().to_owned();
    let connect = format!(
        r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling","id":"x"}}]"#
    );
    tokio::spawn(async move { server.exchange(&HeaderMap::new(), connect.as_bytes()).await });
    is_lost(&mut events).await;
    contact.as_agent("Maria").say("still there?").unwrap();
    shows_text(&session, "still there?").await;
    assert_eq!(rig.sessions(), 2, "the other one has kept its session");
    assert_eq!(losses(&mut events, Duration::from_secs(60)).await, 0);
}

/// Two tabs of one chat, at a service that tells the newest session alone.
async fn two_tabs(rig: &Rig, client: impl Fn() -> GmsTransport) -> ([ChatSession; 2], ContactConsole) {
    let (one, contact) = rig.chat(client()).await;
    let other = ChatSession::builder(client()).join(one.session_data().unwrap()).await.unwrap();
    ([one, other], contact)
}

/// Nothing on the wire says that a tab was displaced; what can be had is that it does not hurt.
#[tokio::test(start_paused = true)]
async fn tabs_that_displace_each_other_back_off_and_lose_nothing() {
    for websocket in [true, false] {
        let rig = Rig::with(|_| {}, |front| front.newest_listener_only = true);
        let client = || if websocket { rig.client() } else { rig.polling_client() };
        let (tabs, contact) = two_tabs(&rig, client).await;
        let mut events = [tabs[0].events(), tabs[1].events()];
        let [first, second] = &mut events;
        let minutes = Duration::from_secs(600);
        let (one, other) = tokio::join!(losses(first, minutes), losses(second, minutes));
        assert!(one > 2 && other > 2, "they do displace each other: {one} {other}");
        assert!(one + other < 150, "it takes seconds, not moments: {one} {other}");
        contact.as_agent("Maria").say("here I am").unwrap();
        for tab in &tabs {
            if tab.link_state() == LinkState::Failed {
                tab.reconnect(None).unwrap();
            }
            shows_text(tab, "here I am").await;
            assert_eq!(texts(tab), ["here I am"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_tabs_that_displace_each_other_one_goes_on_by_polling_if_it_can() {
    let rig = Rig::with(|_| {}, |front| front.newest_listener_only = true);
    let client = || rig.client_with(|config| config.data_url = Some(data_url()));
    let (tabs, contact) = two_tabs(&rig, client).await;
    becomes("one that polls", || tabs.iter().any(|tab| tab.capabilities().can(Capability::Poll))).await;
    let mut events = [tabs[0].events(), tabs[1].events()];
    let [first, second] = &mut events;
    // The other one may have been waiting just then.
    losses(first, Duration::from_secs(60)).await;
    let minutes = Duration::from_secs(600);
    assert_eq!(tokio::join!(losses(first, minutes), losses(second, minutes)), (0, 0), "there is peace");
    contact.as_agent("Maria").say("here I am").unwrap();
    for tab in &tabs {
        shows_text(tab, "here I am").await;
        assert_eq!(texts(tab), ["here I am"]);
    }
}
