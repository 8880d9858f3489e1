//! What happens to a chat over CometD when things go wrong.

use std::time::Duration;

use chat_core::session::ConnectionEvent;
use chat_core::{
    Capability, ChatEvent, ChatSession, ErrorKind, PollEvent, SavedSession, SessionSettings, StartRequest,
};
use transport_gms_v2::front::{Instead, Operation};

use crate::rig::{Rig, data_url, event, long_polling, shows, shows_text, texts};

#[tokio::test(start_paused = true)]
async fn a_cut_is_survived_with_the_same_session_and_nothing_is_missing() {
    for websocket in [true, false] {
        for acknowledge in [true, false] {
            let rig = Rig::with(|server| server.acknowledge = acknowledge, |_| {});
            let client = if websocket { rig.client() } else { rig.polling_client() };
            let (session, contact) = rig.chat(client).await;
            let agent = contact.as_agent("Maria");
            agent.say("before").unwrap();
            shows_text(&session, "before").await;
            let mut events = session.events();
            rig.network.cut();
            event(&mut events, "the loss", |event| match event {
                ChatEvent::Connection(told) => matches!(&*told, ConnectionEvent::Lost(_)).then_some(()),
                _ => None,
            })
            .await;
            agent.say("while away").unwrap();
            let pending = session.send_text("from the dark").unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            rig.network.heal();
            pending.await.unwrap();
            shows_text(&session, "while away").await;
            assert_eq!(rig.sessions(), 1, "the same Bayeux session, or the old one is gone");
            assert_eq!(contact.truth().own_texts(), ["from the dark"], "once");
            agent.say("after").unwrap();
            shows_text(&session, "after").await;
            assert_eq!(texts(&session).iter().filter(|text| *text == "while away").count(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_found_and_replaced() {
    for websocket in [true, false] {
        let rig = Rig::new();
        let client = if websocket { rig.client() } else { rig.polling_client() };
        let (session, contact) = rig.chat(client).await;
        contact.as_agent("Maria").say("before").unwrap();
        shows_text(&session, "before").await;
        rig.network.half_open();
        contact.as_agent("Maria").say("into the void").unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        rig.network.heal();
        shows_text(&session, "into the void").await;
        session.send_text("heard").unwrap().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_is_greeted_anew_and_told_where_to_go_on() {
    for websocket in [true, false] {
        let rig = Rig::new();
        let client = if websocket { rig.client() } else { rig.polling_client() };
        let (session, contact) = rig.chat(client).await;
        let agent = contact.as_agent("Maria");
        agent.say("before").unwrap();
        shows_text(&session, "before").await;
        for round in 0..3 {
            rig.front.cometd().unwrap().restart();
            agent.say(format!("restart {round}")).unwrap();
            let send = session.send_text(format!("and I {round}")).unwrap();
            send.await.unwrap();
            shows_text(&session, &format!("restart {round}")).await;
        }
        assert_eq!(contact.truth().own_texts(), ["and I 0", "and I 1", "and I 2"], "each once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_was_lost_is_fetched_when_the_next_one_comes() {
    let rig = Rig::with(|server| server.lose_unheld = true, |_| {});
    let (session, contact) = rig.chat(rig.polling_client()).await;
    let agent = contact.as_agent("Maria");
    let server = rig.front.cometd().unwrap();
    // Answers take their time, and so do the connects that follow them.
    rig.network.delay(Duration::from_millis(50));
    for n in 0..200 {
        agent.say(format!("line {n}")).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.lost() > 0);
    rig.network.heal();
    tokio::time::sleep(Duration::from_secs(5)).await;
    agent.say("the last").unwrap();
    let expected: Vec<_> = (0..200).map(|n| format!("line {n}")).chain(["the last".to_owned()]).collect();
    shows(&session, "everything", |session| texts(session) == expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_send_that_nobody_answers_stands_once() {
    for correlation in [true, false] {
        let rig = Rig::new();
        let (session, contact) =
            rig.chat(rig.client_with(|config| config.correlation_token = correlation)).await;
        rig.instead(Operation::Send, Instead::LoseEverything, 1);
        session.send_text("once").unwrap().await.unwrap();
        session.send_text("twice").unwrap().await.unwrap();
        assert_eq!(contact.truth().own_texts(), ["once", "twice"], "{correlation}");
        assert_eq!(texts(&session), ["once", "twice"], "{correlation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_to_who_asked_and_the_chat_goes_on() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    rig.instead(Operation::Send, Instead::Failed { code: 204, ended: false }, 1);
    let error = session.send_text("too long").unwrap().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{error}");
    session.send_text("short").unwrap().await.unwrap();
    assert_eq!(contact.truth().own_texts(), ["short"]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_server_that_is_away_is_counted_and_asked_again() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    let mut events = session.events();
    let poll_event = |event| match event {
        ChatEvent::Poll(told) => Some(told),
        _ => None,
    };
    rig.instead(Operation::CustomNotice, Instead::Transient, 1);
    rig.instead(Operation::RequestNotifications, Instead::Transient, 5);
    let error = session.send_notice("x").await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Server);
    let mut told = Vec::new();
    while told.last() != Some(&PollEvent::ConnectionRestored) {
        told.push(event(&mut events, "the recovery", poll_event).await);
    }
    assert_eq!(
        told,
        [
            PollEvent::ConnectionPending,
            PollEvent::ServerWentOffline,
            PollEvent::ServerBackOnline,
            PollEvent::ConnectionRestored,
        ]
    );
    contact.as_agent("Maria").say("back").unwrap();
    shows_text(&session, "back").await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_is_restored_while_the_chat_server_is_away() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    let saved = session.session_data().unwrap();
    drop(session);
    rig.instead(Operation::RequestNotifications, Instead::Transient, 2);
    let session = ChatSession::builder(rig.client()).join(saved).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    contact.as_agent("Maria").say("back").unwrap();
    shows_text(&session, "back").await;
}

#[tokio::test(start_paused = true)]
async fn wrong_keys_are_no_chat() {
    let rig = Rig::new();
    let (session, _contact) = rig.chat(rig.client()).await;
    let mut saved = session.session_data().unwrap();
    saved.data.insert("secureKey".into(), "wrong".into());
    let error = ChatSession::builder(rig.client()).join(saved).await.unwrap_err().error;
    let kind = error.kind();
    assert!(
        matches!(kind, ErrorKind::AccessDenied | ErrorKind::SessionLost | ErrorKind::SessionEnded),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("wrong"));
}

#[tokio::test(start_paused = true)]
async fn when_cometd_fails_too_often_the_chat_is_polled() {
    let rig = Rig::new();
    let client = || {
        rig.client_with(|config| {
            config.data_url = Some(data_url());
            long_polling(config);
        })
    };
    let (session, contact) = rig.chat(client()).await;
    assert!(!session.capabilities().can(Capability::Poll));
    contact.as_agent("Maria").say("before").unwrap();
    shows_text(&session, "before").await;
    let before = session.session_data().unwrap();
    // The CometD server is gone for good; the rest of the service is there.
    rig.front.cometd().unwrap().configure(|config| config.max_sessions = 0);
    rig.front.cometd().unwrap().restart();
    contact.as_agent("Maria").say("meanwhile").unwrap();
    let between = session.send_text("between").unwrap();
    shows(&session, "polling", |session| session.capabilities().can(Capability::Poll)).await;
    shows_text(&session, "meanwhile").await;
    between.await.unwrap();
    session.send_text("polled").unwrap().await.unwrap();
    contact.as_agent("Maria").say("after").unwrap();
    shows_text(&session, "after").await;
    assert_eq!(texts(&session), ["before", "meanwhile", "between", "polled", "after"], "nothing twice");
    assert_eq!(contact.truth().own_texts(), ["between", "polled"]);
    let after = session.session_data().unwrap();
    assert_eq!(after.text("mode"), Some("polling"));
    for key in ["sessionID", "secureKey", "userId"] {
        assert_eq!(after.text(key), before.text(key), "{key}");
    }
    let position = |data: &SavedSession| data.data["transcriptPosition"].as_u64().unwrap();
    assert!(position(&before) > 1 && position(&after) > position(&before));
    assert_eq!(rig.console.contacts().len(), 1, "no second chat");
}

#[tokio::test(start_paused = true)]
async fn what_happens_once_to_many_chats_moves_none_of_them_to_polling() {
    for websocket in [true, false] {
        let rig = Rig::new();
        let client = rig.client_with(|config| {
            config.data_url = Some(data_url());
            config.cometd.as_mut().unwrap().websocket = websocket;
        });
        let mut chats = Vec::new();
        for _ in 0..12 {
            chats.push(rig.chat(client.clone()).await);
        }
        rig.front.cometd().unwrap().restart();
        tokio::time::sleep(Duration::from_secs(40)).await;
        // With the network everything is away: there is nothing to be had by polling.
        for seconds in [2, 20] {
            rig.network.cut();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            rig.network.heal();
            tokio::time::sleep(Duration::from_secs(40)).await;
        }
        for (n, (session, contact)) in chats.iter().enumerate() {
            assert!(!session.capabilities().can(Capability::Poll), "{n}");
            contact.as_agent("Maria").say(format!("hello {n}")).unwrap();
            shows_text(session, &format!("hello {n}")).await;
        }
        assert_eq!(rig.sessions(), 12);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_way_to_poll_the_chat_waits_for_cometd() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    let server = rig.front.cometd().unwrap();
    server.configure(|config| config.max_sessions = 0);
    server.restart();
    contact.as_agent("Maria").say("meanwhile").unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    server.configure(|config| config.max_sessions = 100);
    shows_text(&session, "meanwhile").await;
    assert!(!session.capabilities().can(Capability::Poll));
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_chat_is_never_polled() {
    let rig = Rig::new();
    let client = rig.client_with(|config| {
        config.data_url = Some(data_url());
        config.asynchronous = true;
        long_polling(config);
    });
    let server = rig.front.cometd().unwrap();
    let request = StartRequest { asynchronous: true, ..StartRequest::named("Jane") };
    let session = ChatSession::builder(client.clone()).start(request.clone()).await.unwrap();
    let contact = rig.console.last_contact().unwrap();
    let saved = session.session_data().unwrap();
    server.configure(|config| config.max_sessions = 0);
    server.restart();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(!session.capabilities().can(Capability::Poll), "the vendor forbids it");
    assert_eq!(session.session_data().unwrap().text("mode"), Some("cometd"));
    let start = ChatSession::builder(client.clone()).start(request).await;
    assert!(start.is_err(), "nor is one begun");
    server.configure(|config| config.max_sessions = 100);
    contact.as_agent("Maria").say("still here").unwrap();
    shows_text(&session, "still here").await;
    drop(session);
    // Another process does not poll it either.
    server.configure(|config| config.max_sessions = 0);
    server.restart();
    assert!(ChatSession::builder(client).join(saved).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_may_have_arrived_is_not_repeated() {
    let rig = Rig::new();
    rig.instead(Operation::RequestChat, Instead::LoseEverything, 1);
    let error =
        ChatSession::builder(rig.client()).start(StartRequest::named("Jane")).await.unwrap_err().error;
    assert_eq!(error.retry(), chat_core::Retry::Never, "{error}");
    assert_eq!(rig.console.contacts().len(), 1);
}

/// How slow the network is, and when the chat ends: before the return, right after it, or in the midst of the pages.
fn times() -> impl Iterator<Item = (Duration, u64)> {
    let quick = [0, 1, 30, 80, 130, 180, 400].map(|after| (Duration::from_millis(50), after));
    let slower = [0, 1, 350, 701, 1_100, 1_401, 2_001].map(|after| (Duration::from_millis(700), after));
    let slow = [0, 1, 501, 901, 1_301, 1_500, 1_901, 2_201, 2_501, 3_000, 5_000]
        .map(|after| (Duration::from_millis(1_200), after));
    quick.into_iter().chain(slower).chain(slow)
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_ended_while_its_gap_was_filled_has_none() {
    for websocket in [true, false] {
        for acknowledge in [true, false] {
            for (delay, ends_after) in times() {
                let what = format!("{websocket} {acknowledge}, {ends_after} ms after, {delay:?} late");
                let rig = Rig::with(
                    |server| {
                        (server.acknowledge, server.deliver_with_publish) =
                            (acknowledge, ends_after % 2 == 0);
                    },
                    |_| {},
                );
                let client = if websocket { rig.client() } else { rig.polling_client() };
                let session = ChatSession::builder(client)
                    .settings(SessionSettings::default().with_backfill_page(4))
                    .start(StartRequest::named("Jane"))
                    .await
                    .unwrap();
                let contact = rig.console.last_contact().unwrap();
                let agent = contact.as_agent("Maria");
                for n in 0..20 {
                    agent.say(format!("before {n}")).unwrap();
                }
                shows_text(&session, "before 19").await;
                let mut events = session.events();
                rig.network.cut();
                event(&mut events, "the loss", |event| match event {
                    ChatEvent::Connection(told) => matches!(&*told, ConnectionEvent::Lost(_)).then_some(()),
                    _ => None,
                })
                .await;
                for n in 0..20 {
                    agent.say(format!("away {n}")).unwrap();
                }
                if ends_after == 0 {
                    contact.end().unwrap();
                }
                rig.network.heal();
                rig.network.delay(delay);
                if ends_after > 0 {
                    event(&mut events, "the return", |event| match event {
                        ChatEvent::Connection(told) => {
                            matches!(&*told, ConnectionEvent::Restored(_)).then_some(())
                        }
                        _ => None,
                    })
                    .await;
                    tokio::time::sleep(Duration::from_millis(ends_after)).await;
                    agent.say("goodbye").unwrap();
                    contact.end().unwrap();
                }
                shows(&session, "the end", |session| session.ended().is_some()).await;
                let mut expected: Vec<_> = (0..20).map(|n| format!("before {n}")).collect();
                expected.extend((0..20).map(|n| format!("away {n}")));
                if ends_after > 0 {
                    expected.push("goodbye".to_owned());
                }
                assert_eq!(texts(&session), expected, "{what}");
                let gaps = session.transcript().iter().filter(|row| row.gap().is_some()).count();
                assert_eq!(gaps, 0, "everything was told: {what}");
            }
        }
    }
}
