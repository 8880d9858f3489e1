//! What a client's caller notices.

use std::time::Duration;

use chat_core::{Delivery, ErrorKind};
use chat_net::memory::Direction;
use serde_json::{Map, json};
use tokio::time::{Instant, sleep};
use transport_gms_v2::bayeux::{
    client::{Closed, Event},
    server::{PerBrowser, UnknownSession},
};

use crate::rig::{CHANNEL, Rig, delivery, numbers, raw, to_the_end};

#[tokio::test(start_paused = true)]
async fn publishes_are_acknowledged_and_pushes_arrive_over_both_transports() {
    for websocket in [false, true] {
        for with_publish in [false, true] {
            for acknowledge in [false, true] {
                let rig = Rig::new(|config| {
                    config.deliver_with_publish = with_publish;
                    config.acknowledge = acknowledge;
                });
                let (publisher, mut deliveries) = rig.client(websocket).handshake().await.unwrap();
                assert_eq!(publisher.session().unwrap().is_websocket(), websocket);
                publisher.publish(CHANNEL, raw(r#"{"a":"ä"}"#)).await.unwrap();
                assert_eq!(delivery(&mut deliveries).await, r#"{"a":"ä"}"#);
                let error = publisher.publish(CHANNEL, raw("\"forbidden\"")).await.unwrap_err();
                assert_eq!((error.kind(), error.delivery()), (&ErrorKind::AccessDenied, Delivery::Refused));
                // Long after the last request of ours, several connects later.
                sleep(Duration::from_secs(100)).await;
                rig.push(0..50);
                for expected in numbers(0..50) {
                    assert_eq!(delivery(&mut deliveries).await, expected);
                }
                publisher.subscribe(CHANNEL).await.unwrap();
                assert!(rig.session().is_subscribed(CHANNEL));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_arrives_at_once_while_a_connect_is_held() {
    for websocket in [false, true] {
        let rig = Rig::new(|config| config.lose_unheld = true);
        let (publisher, mut deliveries) = rig.client(websocket).handshake().await.unwrap();
        publisher.publish(CHANNEL, raw("1")).await.unwrap();
        delivery(&mut deliveries).await;
        sleep(Duration::from_secs(7)).await;
        let before = Instant::now();
        rig.push(0..1);
        assert_eq!(delivery(&mut deliveries).await, "0");
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(rig.server.lost(), 0);
    }
}

/// Long-polling through a proxy that sends heads early: the silence of a held connect is no failure.
#[tokio::test(start_paused = true)]
async fn a_connect_may_be_held_behind_the_head_of_its_answer() {
    let rig = Rig::with_early_heads(|_| {});
    let (publisher, mut deliveries) = rig.client(false).handshake().await.unwrap();
    publisher.publish(CHANNEL, raw("1")).await.unwrap();
    delivery(&mut deliveries).await;
    sleep(Duration::from_secs(100)).await;
    rig.push(0..1);
    assert_eq!(delivery(&mut deliveries).await, "0");
}

#[tokio::test(start_paused = true)]
async fn without_sockets_on_the_server_it_is_long_polling() {
    // No upgrade at all, and a server that upgrades but does not offer the type.
    for upgrades in [false, true] {
        let rig = Rig::new(|config| config.websocket = upgrades);
        rig.server.configure(|config| config.websocket = false);
        let (publisher, mut deliveries) = rig.client(true).handshake().await.unwrap();
        assert!(!publisher.session().unwrap().is_websocket());
        publisher.publish(CHANNEL, raw("1")).await.unwrap();
        assert_eq!(delivery(&mut deliveries).await, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn the_browser_cookie_comes_back_on_every_path() {
    for path in [None, Some("/".to_owned())] {
        let rig = Rig::new(|config| {
            config.require_browser = true;
            config.browser_path = path.clone();
        });
        let (publisher, mut deliveries) = rig.client(false).handshake().await.unwrap();
        publisher.publish(CHANNEL, raw("1")).await.unwrap();
        assert_eq!(delivery(&mut deliveries).await, "1");
        let requests = rig.requests.lock().unwrap().clone();
        let paths: Vec<_> = requests.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths[..3],
            ["/genesys/cometd/handshake", "/genesys/cometd/connect", "/genesys/cometd/connect"]
        );
        assert!(paths.contains(&"/genesys/cometd"));
        for (path, cookie) in &requests[1..] {
            let count = cookie.as_deref().unwrap_or_default().matches("BAYEUX_BROWSER=").count();
            assert_eq!(count, 1, "{path}");
        }
        let session = publisher.session().unwrap();
        let beside = session.cookies(&"https://gms.example.org/genesys/2/chat-ntf".parse().unwrap());
        let mut headers = http::HeaderMap::new();
        headers.insert("cookie", beside.unwrap());
        assert!(rig.server.knows_browser(&headers));
        for elsewhere in
            ["https://evil.example/genesys/2/chat-ntf", "http://gms.example.org/genesys/2/chat-ntf"]
        {
            assert!(session.cookies(&elsewhere.parse().unwrap()).is_none(), "{elsewhere}");
        }
        assert!(!format!("{session:?} {publisher:?} {deliveries:?}").contains("BAYEUX"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_session_is_resumed_under_its_id_and_loses_nothing() {
    for websocket in [false, true] {
        let rig = Rig::new(|config| config.acknowledge = true);
        let client = rig.client(websocket);
        let (publisher, mut deliveries) = client.handshake().await.unwrap();
        publisher.publish(CHANNEL, raw("\"hello\"")).await.unwrap();
        delivery(&mut deliveries).await;
        rig.push(0..3);
        rig.network.cut();
        let (mut got, closed) = to_the_end(&mut deliveries).await;
        assert!(matches!(closed, Closed::Unconnected(_)), "{closed:?}");
        let error = publisher.publish(CHANNEL, raw("1")).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent);
        let session = publisher.session().unwrap();
        assert_eq!(client.resume(session.clone()).await.unwrap_err().kind(), &ErrorKind::Network);
        rig.push(3..6);
        rig.network.heal();
        let (publisher, mut deliveries) = client.resume(session).await.unwrap();
        assert_eq!(rig.server.sessions(), 1, "the same session");
        while got.len() < 6 {
            got.push(delivery(&mut deliveries).await);
        }
        assert_eq!(got, numbers(0..6));
        publisher.publish(CHANNEL, raw("\"again\"")).await.unwrap();
        assert_eq!(delivery(&mut deliveries).await, "\"again\"");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_sent_again() {
    let rig = Rig::new(|config| config.acknowledge = true);
    let client = rig.client(false);
    let (publisher, mut deliveries) = client.handshake().await.unwrap();
    publisher.publish(CHANNEL, raw("\"hello\"")).await.unwrap();
    delivery(&mut deliveries).await;
    // The next connect's answer is cut within its body.
    rig.network.cut_after(Direction::ToClient, 300);
    sleep(Duration::from_secs(31)).await;
    rig.push(0..20);
    let (mut got, closed) = to_the_end(&mut deliveries).await;
    assert!(matches!(closed, Closed::Unconnected(_)), "{closed:?}");
    assert!(got.len() < 20);
    rig.network.heal();
    let (_publisher, mut deliveries) = client.resume(publisher.session().unwrap()).await.unwrap();
    while got.len() < 20 {
        got.push(delivery(&mut deliveries).await);
    }
    assert_eq!(got, numbers(0..20));
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_found_by_the_connects_deadline() {
    for websocket in [false, true] {
        let rig = Rig::new(|config| config.acknowledge = true);
        let client = rig.client(websocket);
        let (publisher, mut deliveries) = client.handshake().await.unwrap();
        publisher.publish(CHANNEL, raw("\"hello\"")).await.unwrap();
        delivery(&mut deliveries).await;
        let start = Instant::now();
        rig.network.half_open();
        let (_, closed) = to_the_end(&mut deliveries).await;
        assert!(
            matches!(&closed, Closed::Unconnected(error) if *error.kind() == ErrorKind::Timeout),
            "{closed:?}"
        );
        let took = start.elapsed();
        assert!(took <= Duration::from_secs(41), "the hold and a margin: {took:?}");
        rig.network.heal();
        // By now the server may have forgotten the session, or not: one of both goes on.
        match client.resume(publisher.session().unwrap()).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), &ErrorKind::SessionLost);
                client.handshake().await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_asks_for_a_new_session_in_both_spellings() {
    for websocket in [false, true] {
        for unknown in [UnknownSession::UnknownClient, UnknownSession::SessionUnknown] {
            let rig = Rig::new(|config| config.unknown_session = unknown);
            let client = rig.client(websocket);
            let (publisher, mut deliveries) = client.handshake().await.unwrap();
            publisher.publish(CHANNEL, raw("1")).await.unwrap();
            delivery(&mut deliveries).await;
            rig.server.restart();
            let (_, closed) = to_the_end(&mut deliveries).await;
            assert!(
                matches!(&closed, Closed::Forgotten(error) if *error.kind() == ErrorKind::SessionLost),
                "{closed:?}"
            );
            let error = client.resume(publisher.session().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::SessionLost);
            let (publisher, mut deliveries) = client.handshake().await.unwrap();
            publisher.publish(CHANNEL, raw("2")).await.unwrap();
            assert_eq!(delivery(&mut deliveries).await, "2");
            assert_eq!(*rig.echo.ended.lock().unwrap(), ["Restarted"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_for_a_forgotten_session_did_not_arrive() {
    let rig = Rig::new(|_| {});
    let (publisher, mut deliveries) = rig.client(false).handshake().await.unwrap();
    // The held connect's answer is swallowed, so that the publish is the first to hear of it.
    sleep(Duration::from_secs(1)).await;
    rig.network.swallow(Direction::ToClient);
    rig.server.restart();
    let error = publisher.publish(CHANNEL, raw("1")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::SessionLost, Delivery::NotSent));
    assert!(rig.echo.published.lock().unwrap().is_empty());
    assert!(matches!(to_the_end(&mut deliveries).await.1, Closed::Forgotten(_)));
}

#[tokio::test(start_paused = true)]
async fn a_second_client_of_the_session_replaces_the_connect_of_the_first() {
    let rig = Rig::new(|_| {});
    let client = rig.client(false);
    let (publisher, mut first) = client.handshake().await.unwrap();
    publisher.publish(CHANNEL, raw("1")).await.unwrap();
    delivery(&mut first).await;
    let (_publisher, mut second) = client.resume(publisher.session().unwrap()).await.unwrap();
    match to_the_end(&mut first).await.1 {
        Closed::Unconnected(error) => assert_eq!(error.vendor().status, Some(500)),
        other => panic!("{other:?}"),
    }
    rig.push(0..1);
    assert_eq!(delivery(&mut second).await, "0");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_shares_its_browser_polls_at_the_advised_interval() {
    let rig = Rig::new(|config| config.sessions_per_browser = PerBrowser::One);
    let (publisher, mut first) = rig.client(false).handshake().await.unwrap();
    publisher.publish(CHANNEL, raw("1")).await.unwrap();
    delivery(&mut first).await;
    let cookie = publisher.session().unwrap().cookies(&crate::rig::URL.parse().unwrap()).unwrap();
    let other = rig.client_with(|config| {
        config.websocket = false;
        config.headers.insert("cookie", cookie);
    });
    let (publisher, mut second) = other.handshake().await.unwrap();
    publisher.publish(CHANNEL, raw("2")).await.unwrap();
    assert_eq!(delivery(&mut second).await, "2");
    sleep(Duration::from_secs(1)).await;
    let before = rig.requests.lock().unwrap().len();
    sleep(Duration::from_secs(20)).await;
    let asked = rig.requests.lock().unwrap().len() - before;
    assert!((9..=12).contains(&asked), "every two seconds, and the other's held one: {asked}");
    rig.push(0..1);
    assert_eq!(delivery(&mut second).await, "0", "later, but it arrives");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_sleeps_loses_nothing_and_holds_up_no_heartbeat() {
    for websocket in [false, true] {
        let rig = Rig::new(|_| {});
        let (publisher, mut deliveries) = rig.client(websocket).handshake().await.unwrap();
        publisher.publish(CHANNEL, raw("\"hello\"")).await.unwrap();
        delivery(&mut deliveries).await;
        for round in 0..4 {
            rig.push(round * 100..(round + 1) * 100);
            // Longer than the server waits for a connect.
            sleep(Duration::from_secs(45)).await;
        }
        publisher.publish(CHANNEL, raw("\"still there\"")).await.unwrap();
        for expected in numbers(0..400) {
            assert_eq!(delivery(&mut deliveries).await, expected);
        }
        assert_eq!(delivery(&mut deliveries).await, "\"still there\"");
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_its_bound_nothing_more_is_asked_for_until_the_reader_takes_something() {
    let rig = Rig::new(|config| config.max_interval = Duration::from_secs(3600));
    let client = rig.client_with(|config| (config.websocket, config.max_waiting) = (false, 10));
    let (publisher, mut deliveries) = client.handshake().await.unwrap();
    publisher.publish(CHANNEL, raw("\"hello\"")).await.unwrap();
    delivery(&mut deliveries).await;
    for round in 0..20 {
        rig.push(round * 20..(round + 1) * 20);
        sleep(Duration::from_secs(1)).await;
    }
    let asked = rig.requests.lock().unwrap().len();
    sleep(Duration::from_secs(300)).await;
    assert_eq!(rig.requests.lock().unwrap().len(), asked);
    for expected in numbers(0..400) {
        assert_eq!(delivery(&mut deliveries).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_read_no_further_than_its_reader_can_bear() {
    let rig = Rig::new(|config| config.max_queue = 100_000);
    let (publisher, mut deliveries) =
        rig.client_with(|config| config.max_waiting = 8).handshake().await.unwrap();
    assert!(publisher.session().unwrap().is_websocket());
    publisher.publish(CHANNEL, raw("0")).await.unwrap();
    let session = rig.session();
    for number in 1..30_000 {
        session.deliver(CHANNEL, raw(&number.to_string()));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let (got, closed) = to_the_end(&mut deliveries).await;
    assert!((64..10_000).contains(&got.len()), "{}", got.len());
    assert_eq!(got, numbers(0..got.len() as u32), "what was taken is whole");
    assert!(matches!(closed, Closed::Unconnected(_)), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_ends_the_session_on_both_sides() {
    for websocket in [false, true] {
        let rig = Rig::new(|_| {});
        let (publisher, mut deliveries) = rig.client(websocket).handshake().await.unwrap();
        let ext: Map<_, _> = [("transcriptPosition".into(), json!("7"))].into_iter().collect();
        publisher.disconnect(ext).await.unwrap();
        assert!(matches!(to_the_end(&mut deliveries).await.1, Closed::Left));
        assert_eq!(rig.server.sessions(), 0);
        assert_eq!(*rig.echo.ended.lock().unwrap(), [r#"disconnected {"transcriptPosition":"7"}"#]);
        let error = publisher.publish(CHANNEL, raw("1")).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_that_nobody_hears_takes_its_time_and_no_longer() {
    for websocket in [false, true] {
        let rig = Rig::new(|_| {});
        let (publisher, mut deliveries) = rig.client(websocket).handshake().await.unwrap();
        rig.network.half_open();
        let start = Instant::now();
        publisher.disconnect(Map::new()).await.unwrap();
        assert!(matches!(to_the_end(&mut deliveries).await.1, Closed::Left));
        assert!(start.elapsed() <= Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_deliveries_stops_the_client_and_the_server_forgets_it() {
    for websocket in [false, true] {
        let rig = Rig::new(|_| {});
        let (publisher, mut deliveries) = rig.client(websocket).handshake().await.unwrap();
        publisher.publish(CHANNEL, raw("1")).await.unwrap();
        delivery(&mut deliveries).await;
        assert_eq!(rig.server.sessions(), 1);
        drop(deliveries);
        let error = publisher.publish(CHANNEL, raw("1")).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Network);
        sleep(Duration::from_secs(11)).await;
        assert_eq!(rig.server.sessions(), 0);
        assert_eq!(*rig.echo.ended.lock().unwrap(), ["Expired"]);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handshake_leaves_nothing_behind() {
    for websocket in [false, true] {
        let rig = Rig::new(|_| {});
        rig.network.delay(Duration::from_secs(1));
        let client = rig.client(websocket);
        let abandoned = tokio::time::timeout(Duration::from_millis(2500), client.handshake()).await;
        assert!(abandoned.is_err());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.server.sessions(), 0);
        let connections = rig.network.connections();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.network.connections(), connections);
    }
}

#[tokio::test(start_paused = true)]
async fn connects_tell_that_the_server_is_there() {
    let rig = Rig::new(|_| {});
    let (_publisher, mut deliveries) = rig.client(false).handshake().await.unwrap();
    let start = Instant::now();
    for _ in 0..3 {
        assert!(matches!(deliveries.next().await, Some(Event::Alive)));
    }
    assert_eq!(start.elapsed().as_secs(), 90, "one per held connect");
}
