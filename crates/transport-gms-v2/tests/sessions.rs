//! The client against a scripted service, as a session shows it: the pace of its polls, who may poll, what can be restored.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{convert::Infallible, time::Duration};

use chat_core::{
    Capability, ChatEvent, ChatSession, ErrorKind, MemoryStore, SessionDirectory, StartRequest, Timestamp,
    Transport, VirtualClock,
};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use support::*;
use tokio::time::Instant;
use transport_gms_v2::{CometdConfig, GmsConfig, GmsTransport};

/// The pauses between so many polls.
async fn pauses(server: &Server, polls: usize) -> Vec<Duration> {
    let mut last = None;
    let mut pauses = Vec::new();
    let first = server.calls("refresh").len() + 1;
    for poll in first..=first + polls {
        server.called("refresh", poll).await;
        let now = Instant::now();
        pauses.extend(last.replace(now).map(|last| now - last));
    }
    pauses
}

#[tokio::test(start_paused = true)]
async fn polls_keep_a_pace_that_follows_the_talk_and_never_comes_near_the_budget() {
    let second = Duration::from_secs(1);
    let server = Server::open();
    let session = server.session(server.transport()).await;
    let quiet = pauses(&server, 120).await;
    assert!(quiet.iter().all(|pause| *pause <= 15 * second), "45 s are far away: {quiet:?}");
    assert!(quiet[100..].iter().all(|pause| *pause > 4 * second), "nobody talks: {quiet:?}");
    let different: std::collections::HashSet<_> = quiet.iter().collect();
    assert!(different.len() > 50, "many clients never poll in step: {quiet:?}");
    server.say("hello");
    let mut events = session.events();
    until(&mut events, |event| matches!(event, ChatEvent::Messages(_)).then_some(())).await;
    let talk = pauses(&server, 5).await;
    assert!(talk.iter().all(|pause| *pause < 2 * second), "{talk:?}");

    // The vendor's own pace, with nothing else to go by.
    let server = Server::open();
    let mut timings = transport_gms_v2::Timings::default();
    assert_eq!((timings.poll_interval, timings.ajax_timeout), (3 * second, 3 * second));
    let _session = server.session(server.transport()).await;
    pauses(&server, 12).await;
    let usual = pauses(&server, 3).await;
    assert!(usual.iter().all(|pause| (2 * second..4 * second).contains(pause)), "{usual:?}");
    // A shorter budget is kept, too.
    (timings.poll_interval, timings.ajax_timeout) = (second, second);
    timings.disconnect_budget = 9 * second;
    let server = Server::open();
    let _session = server.session(server.builder().timings(timings).build().unwrap()).await;
    let short = pauses(&server, 200).await;
    assert!(short.iter().all(|pause| *pause <= 4 * second), "{short:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_three_seconds_at_most_unless_told_otherwise() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    server.plan("refresh", Plan::Hang);
    let before = Instant::now();
    assert_eq!(poll(&connection).await.unwrap_err().kind(), &ErrorKind::Timeout);
    assert_eq!(before.elapsed(), Duration::from_secs(3));
}

fn poll_commands(session: &ChatSession) -> [chat_core::Result<()>; 4] {
    [session.poll(), session.start_poll(), session.stop_poll(), session.reset_poll_exceptions()]
}

#[tokio::test(start_paused = true)]
async fn without_a_chat_there_is_nothing_to_poll() {
    let server = Server::open();
    let session = server.session(server.transport()).await;
    session.end().await.unwrap();
    let mut events = session.events();
    while session.ended().is_none() {
        events.next().await;
    }
    let calls = server.all_calls().len();
    for refused in poll_commands(&session) {
        assert_eq!(refused.unwrap_err().kind(), &ErrorKind::NotActive);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.all_calls().len(), calls);
}

#[tokio::test(start_paused = true)]
async fn polling_can_be_stopped_made_by_hand_and_started_and_never_overlaps() {
    let server = Server::open();
    let session = server.session(server.transport()).await;
    server.called("refresh", 1).await;
    session.stop_poll().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let polled = server.calls("refresh").len();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(server.calls("refresh").len(), polled, "stopped");
    server.plan("refresh", Plan::Hang);
    session.poll().unwrap();
    server.called("refresh", polled + 1).await;
    let refused = session.poll().unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::PollRunning);
    assert!(refused.to_string().contains("previous poll has not finished"), "{refused}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    session.reset_poll_exceptions().unwrap();
    session.start_poll().unwrap();
    server.called("refresh", polled + 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_can_be_restored_for_a_minute_with_its_filters() {
    let began = Timestamp::parse("2026-05-04T09:00:00Z").unwrap();
    for (silent, restored) in [(59, true), (61, false)] {
        let clock = VirtualClock::starting_at(began);
        let server = Server::open();
        let directory = SessionDirectory::new(MemoryStore::default());
        let builder =
            || ChatSession::builder(server.transport()).clock(clock.clone()).keep(&directory, "jonny");
        let session = builder().start(StartRequest::named("Jonny")).await.unwrap();
        session.add_prefilter(r"\d{4}").unwrap();
        server.say("visible");
        let mut events = session.events();
        while shown(&session) != ["visible"] {
            events.next().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop((session, events));
        tokio::time::sleep(Duration::from_secs(silent)).await;
        let calls = server.all_calls().len();
        assert!(builder().verify().await.unwrap(), "the service has it still");
        let verified = server.all_calls().len();
        assert_eq!(verified, calls + 1);
        match builder().restore().await {
            Ok(session) => {
                assert!(restored, "after {silent} s");
                server.say("card 4711");
                server.say("hello again");
                let mut events = session.events();
                while shown(&session).len() < 2 {
                    events.next().await.unwrap();
                }
                assert_eq!(shown(&session), ["visible", "hello again"], "the filter is back");
            }
            Err(error) => {
                assert!(!restored, "after {silent} s: {}", error.error);
                assert_eq!(error.error.kind(), &ErrorKind::RestoreTimeout);
                assert_eq!(server.all_calls().len(), verified, "nothing is asked");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn over_cometd_requests_carry_the_headers_but_not_the_key_of_the_gateway() {
    let server = Server::open();
    // Nobody answers as CometD does; whatever is asked is written down.
    let (seen, mut requests) = tokio::sync::mpsc::channel::<(Method, String, HeaderMap)>(64);
    let mut listener = server.network.listen("push.example:443");
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            let seen = seen.clone();
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (head, _) = request.into_parts();
                let _ = seen.try_send((head.method, head.uri.path().to_owned(), head.headers));
                let answer = Response::builder().status(503).body(Full::new(Bytes::new())).unwrap();
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    let mut config = GmsConfig::default();
    config.cometd = Some(CometdConfig::new("https://push.example/genesys/cometd"));
    config.apikey = Some("n3eNkg".into());
    config.authorization = Some("Bearer abc".into());
    config.headers.insert("ContactCenterId".into(), "cc-1".into());
    let transport = GmsTransport::builder().config(config).net(server.net()).build().unwrap();
    let error = transport.connect(start()).await.unwrap_err().error;
    assert_eq!(error.kind(), &ErrorKind::Server);
    for (method, path) in [(Method::GET, "/genesys/cometd"), (Method::POST, "/genesys/cometd/handshake")] {
        let (asked, at, headers) = requests.recv().await.unwrap();
        assert_eq!((&asked, &*at), (&method, path));
        assert_eq!(headers["authorization"], "Bearer abc");
        assert_eq!(headers["contactcenterid"], "cc-1");
        assert!(!headers.contains_key("apikey") && !headers.contains_key("x-api-key"), "REST alone (§1.2)");
    }
    let can = transport.capabilities();
    assert!(!can.can(Capability::Poll), "and polls are refused by name");
}
