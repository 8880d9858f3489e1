//! The session's driver against a scripted adapter: what it asks for, in which order, and what it never does.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chat_core::{
    Ack, Alias, Capabilities, Capability, ChatEvent, ChatSession, Command, ConnectError, ConnectRequest,
    Connection, ConnectionHandle, Content, EndReason, Error, ErrorKind, EventSender, HistoryPage, Intent,
    LinkState, Lost, MessageId, Outgoing, Participant, Place, Primary, Result, Retry, Role, SavedSession,
    Scope, SegmentId, Sent, SessionDirectory, SessionInfo, SessionSettings, Sighting, StartRequest,
    SystemEvent, Terminal, Text, Timestamp, Transport, TransportEvent, TransportId, event_channel,
    session::ConnectionEvent,
};
use mockall::mock;
use serde_json::Map;

const ID: TransportId = TransportId::new("mock");

mock! {
    #[derive(Debug)]
    Vendor {}

    #[async_trait]
    impl Transport for Vendor {
        fn id(&self) -> TransportId;
        fn capabilities(&self) -> Capabilities;
        async fn connect(&self, request: ConnectRequest) -> std::result::Result<Connection, ConnectError>;
        async fn verify(&self, saved: &SavedSession) -> Result<bool>;
    }
}

mock! {
    #[derive(Debug)]
    Handle {}

    #[async_trait]
    impl ConnectionHandle for Handle {
        async fn submit(&self, command: Command) -> Result<Ack>;
    }
}

fn capabilities() -> Capabilities {
    Capabilities::new()
        .with(Capability::Start)
        .with(Capability::Join)
        .with(Capability::Restore)
        .with(Capability::Verify)
        .with(Capability::History)
        .with(Capability::IdempotentSend)
        .with(Capability::Typing)
}

fn saved() -> SavedSession {
    SavedSession::new(ID, Map::new())
}

fn sighting(n: u64, text: &str) -> Sighting {
    let scope = Scope::new("chat");
    Sighting::new(SegmentId::new("chat"))
        .with_alias(Alias::message(&scope, &MessageId::new(format!("m{n}"))))
        .with_place(Place::exact(Primary::Index(n, 0)))
        .with_time(Timestamp::from_millis(n as i64 * 1_000).unwrap())
        .with_sender(Participant::new(Role::Agent).with_id("agent"), false)
        .with_content(Content::Text(Text::plain(text)))
}

/// What the adapter was asked, in order.
type Asked = Arc<Mutex<Vec<String>>>;

fn note(asked: &Asked, what: impl Into<String>) {
    asked.lock().unwrap().push(what.into());
}

/// A connection whose handle notes what it is asked and answers well.
fn connection(asked: &Asked) -> (Connection, EventSender) {
    let (sender, events) = event_channel(16);
    let mut handle = MockHandle::new();
    let seen = Arc::clone(asked);
    handle.expect_submit().returning(move |command| {
        note(&seen, name(&command));
        Ok(match command {
            Command::Send(Outgoing { token, .. }) => {
                let id = MessageId::new(format!("of {token}"));
                let mut told = sighting(1_000, "");
                told.aliases = [Alias::message(&Scope::new("chat"), &id)].into_iter().collect();
                told.content = None;
                told.own = Some(true);
                Ack::Sent(Sent { sighting: Some(Box::new(told)) })
            }
            Command::History(_) => Ack::History(HistoryPage::default()),
            _ => Ack::Done,
        })
    });
    let connection = Connection {
        session: SessionInfo::new("chat", "chat"),
        capabilities: capabilities(),
        saved: saved(),
        handle: Arc::new(handle),
        events,
    };
    (connection, sender)
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Send(_) => "send",
        Command::History(_) => "history",
        Command::Leave { end: true } => "end",
        Command::Leave { end: false } => "leave",
        Command::Typing(_) => "typing",
        _ => "other",
    }
}

/// A vendor that gives out these connections, in order; an error where there is none.
fn vendor(asked: &Asked, outcomes: Vec<std::result::Result<Connection, Error>>) -> MockVendor {
    let mut vendor = MockVendor::new();
    vendor.expect_id().return_const(ID);
    vendor.expect_capabilities().returning(capabilities);
    let outcomes = Mutex::new(outcomes.into_iter());
    let asked = Arc::clone(asked);
    vendor.expect_connect().returning(move |request| {
        note(
            &asked,
            match request.intent {
                Intent::Start(_) => "start",
                Intent::Join(_) => "join",
                Intent::Resume(_) => "resume",
                _ => "?",
            },
        );
        match outcomes.lock().unwrap().next() {
            Some(outcome) => outcome.map_err(ConnectError::from),
            None => Err(Error::new(ErrorKind::Network, "no more connections").into()),
        }
    });
    vendor
}

fn asked_of(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap().clone()
}

async fn until(session: &ChatSession, met: impl Fn(LinkState) -> bool) {
    let mut events = session.events();
    tokio::time::timeout(Duration::from_secs(3_600), async {
        while !met(session.link_state()) {
            events.next().await.expect("the session goes on");
        }
    })
    .await
    .expect("in time");
}

fn lost(kind: ErrorKind, resumable: bool) -> Terminal {
    Terminal::Lost(Lost { error: Error::new(kind, "test"), resumable })
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_final_until_new_ones_come() {
    let asked = Asked::default();
    let (first, events) = connection(&asked);
    let (second, _keep) = connection(&asked);
    let vendor =
        vendor(&asked, vec![Ok(first), Err(Error::new(ErrorKind::Unauthorized, "token")), Ok(second)]);
    let session = ChatSession::builder(vendor).start(StartRequest::named("Ada")).await.unwrap();
    until(&session, |state| state == LinkState::Live).await;
    events.finish(lost(ErrorKind::Network, true));
    drop(events);
    until(&session, |state| state == LinkState::Failed).await;
    // An hour passes: nobody knocks again.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(asked_of(&asked), ["start", "history", "resume"]);
    assert_eq!(*session.send_text("hello").unwrap_err().kind(), ErrorKind::NotActive);

    session.reconnect(Some(saved())).unwrap();
    until(&session, |state| state == LinkState::Live).await;
    assert_eq!(asked_of(&asked)[3..], ["resume", "history"]);
}

#[tokio::test]
async fn a_burst_overruns_no_reader_that_only_waits_for_its_turn() {
    const MESSAGES: u64 = 2_000;
    let asked = Asked::default();
    let (first, sender) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .settings(SessionSettings::default().with_auto_delivered(false))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let mut events = session.events();
    let burst = tokio::spawn(async move {
        for n in 1..=MESSAGES {
            sender.send(TransportEvent::Message(Box::new(sighting(n, "m")))).await.unwrap();
        }
        sender
    });
    // All run on one thread: the reader can read only when session and adapter let it.
    let mut heard = 0;
    while heard < MESSAGES {
        match events.next().await.expect("the session goes on") {
            ChatEvent::Messages(batch) => heard += batch.messages.len() as u64,
            ChatEvent::Missed { events, .. } => panic!("{events} events were dropped"),
            _ => {}
        }
    }
    drop(burst.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn history_is_fetched_before_the_queued_send_leaves() {
    let asked = Asked::default();
    let (first, events) = connection(&asked);
    let (second, _keep) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first), Ok(second)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    until(&session, |state| state == LinkState::Live).await;
    events.finish(lost(ErrorKind::Network, true));
    drop(events);
    until(&session, |state| matches!(state, LinkState::Waiting { .. })).await;
    let pending = session.send_text("while away").unwrap();
    assert_eq!(session.transcript().len(), 1, "it stands in the transcript at once");
    pending.await.unwrap();
    assert_eq!(asked_of(&asked), ["start", "history", "resume", "history", "send"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_goes_out_after_what_was_accepted() {
    let asked = Asked::default();
    let (first, events) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let mut readers = session.events();
    let bye = session.send_text("bye").unwrap();
    session.end().await.unwrap();
    bye.await.unwrap();
    assert_eq!(asked_of(&asked), ["start", "history", "send", "end"]);
    assert_eq!(*session.send_text("more").unwrap_err().kind(), ErrorKind::NotActive);

    // The vendor still has something to say before its own end.
    events.send(TransportEvent::Message(Box::new(sighting(5, "How did we do?")))).await.unwrap();
    events.finish(Terminal::Ended(EndReason::EndedByService));
    drop(events);
    let mut last = None;
    while let Some(event) = readers.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(ChatEvent::Ended(EndReason::EndedByService))));
    assert_eq!(session.transcript().len(), 2);
    assert_eq!(session.ended(), Some(EndReason::EndedByService));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_vendor_never_confirms_is_reported_all_the_same() {
    let asked = Asked::default();
    let (first, _events) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let mut events = session.events();
    session.end().await.unwrap();
    let mut ends = 0;
    while let Some(event) = events.next().await {
        ends += u32::from(matches!(event, ChatEvent::Ended(EndReason::EndedByUs)));
    }
    assert_eq!(ends, 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_dropped_sends_what_was_accepted_and_never_ends_the_chat() {
    let asked = Asked::default();
    let (first, events) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let clone = session.clone();
    drop(session);
    let pending = clone.send_text("one more thing").unwrap();
    drop(clone);
    pending.await.unwrap();
    // The connection is closed: the adapter learns it from its channel.
    events.closed().await;
    assert_eq!(asked_of(&asked), ["start", "history", "send"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_for_good_says_so_at_once_and_a_passing_fault_is_tried_again() {
    let asked = Asked::default();
    let refused = Error::new(ErrorKind::AccessDenied, "start");
    let error = ChatSession::builder(vendor(&asked, vec![Err(refused)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap_err();
    assert_eq!(*error.error.kind(), ErrorKind::AccessDenied);
    assert_eq!(asked_of(&asked), ["start"]);

    let asked = Asked::default();
    let (second, _events) = connection(&asked);
    let passing = Error::new(ErrorKind::Server, "start").with_retry(Retry::After(Duration::from_secs(7)));
    let before = tokio::time::Instant::now();
    ChatSession::builder(vendor(&asked, vec![Err(passing), Ok(second)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    assert!(before.elapsed() >= Duration::from_secs(7), "the server's wish is obeyed");

    let asked = Asked::default();
    let error = ChatSession::builder(vendor(&asked, vec![]))
        .settings(SessionSettings::default().with_first_connect_attempts(2))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap_err();
    assert_eq!(*error.error.kind(), ErrorKind::Network);
    assert_eq!(asked_of(&asked), ["start", "start"]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_was_started_but_not_connected_is_resumed_and_never_started_twice() {
    let asked = Asked::default();
    let mut vendor = MockVendor::new();
    vendor.expect_id().return_const(ID);
    vendor.expect_capabilities().returning(capabilities);
    let seen = Arc::clone(&asked);
    vendor.expect_connect().returning(move |request| {
        note(&seen, if matches!(request.intent, Intent::Start(_)) { "start" } else { "resume" });
        Err(ConnectError { error: Error::new(ErrorKind::Network, "socket"), saved: Some(Box::new(saved())) })
    });
    let error = ChatSession::builder(vendor).start(StartRequest::named("Ada")).await.unwrap_err();
    assert!(error.saved.is_some(), "the caller can join it later");
    assert_eq!(asked_of(&asked), ["start", "resume", "resume"]);
}

#[tokio::test(start_paused = true)]
async fn a_planned_renewal_opens_the_new_connection_before_the_old_one_goes() {
    let asked = Asked::default();
    let (first, old) = connection(&asked);
    let (second, new) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first), Ok(second)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    until(&session, |state| state == LinkState::Live).await;
    let mut events = session.events();
    let at = tokio::time::Instant::now() + Duration::from_secs(60);
    old.send(TransportEvent::RenewBefore(at)).await.unwrap();
    loop {
        let event = events.next().await.unwrap();
        if let ChatEvent::Connection(event) = &event {
            assert!(matches!(**event, ConnectionEvent::Renewed), "{event:?}");
            break;
        }
    }
    assert!(tokio::time::Instant::now() < at);
    old.closed().await;
    assert!(matches!(session.link_state(), LinkState::Live | LinkState::Backfilling));
    new.send(TransportEvent::Message(Box::new(sighting(1, "on the new one")))).await.unwrap();
    while session.transcript().is_empty() {
        events.next().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_refuses_the_send_instead_of_pretending() {
    #[derive(Debug)]
    struct Broken;
    #[async_trait]
    impl chat_core::SessionStore for Broken {
        async fn load(&self, _: &str) -> Result<Option<chat_core::StoredSession>> {
            Ok(None)
        }
        async fn save(&self, _: &str, _: &chat_core::StoredSession) -> Result<()> {
            Err(Error::new(ErrorKind::StoreUnavailable, "disk full"))
        }
        async fn delete(&self, _: &str) -> Result<()> {
            Ok(())
        }
    }
    let asked = Asked::default();
    let (first, _events) = connection(&asked);
    let directory = SessionDirectory::new(Broken);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .keep(&directory, "ada")
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let error = session.send_text("hello").unwrap().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::StoreUnavailable);
    assert!(!asked_of(&asked).contains(&"send".to_owned()), "nothing left that is not kept");
}

/// A vendor without idempotency whose echoes name their sender: an own text of `token` at place `n`.
fn echo(n: u64, text: &str, token: &str) -> Sighting {
    let mut echo = sighting(n, text).with_alias(Alias::token(&Scope::new("chat"), &token.into()));
    echo.own = Some(true);
    echo
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_names_its_send_settles_that_one_alone() {
    let asked = Asked::default();
    let (sender, events) = event_channel(16);
    let seen = Arc::clone(&asked);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let began = tokio::time::Instant::now();
    let mut handle = MockHandle::new();
    handle.expect_submit().returning(move |command| {
        note(&seen, name(&command));
        match command {
            Command::Send(Outgoing { token, .. }) => {
                sent.lock().unwrap().push(token);
                Err(Error::new(ErrorKind::Server, "stored or not"))
            }
            Command::History(_) => {
                let mut items = vec![];
                if let Some(token) = sent.lock().unwrap().first() {
                    // Another tab has sent the same; at the very last look, the own echo is there, too.
                    items.push(echo(1, "hello", "another tab's"));
                    if began.elapsed() >= Duration::from_secs(60) {
                        items.push(echo(2, "hello", token.as_str()));
                    }
                }
                Ok(Ack::History(HistoryPage { items, next: None }))
            }
            _ => Ok(Ack::Done),
        }
    });
    let mut connection = connection(&asked).0;
    connection.capabilities = capabilities().without(Capability::IdempotentSend);
    connection.capabilities.settle_within = Duration::from_secs(60);
    (connection.handle, connection.events) = (Arc::new(handle), events);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(connection)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let pending = session.send_text("hello").unwrap();
    // While nobody knows, the other tab's echo arrives: it stands at once, as what it is.
    let other = Box::new(echo(1, "hello", "another tab's"));
    sender.send(TransportEvent::Message(other)).await.unwrap();
    let stored = pending.await.unwrap();
    assert_eq!(stored.id, Some(MessageId::from("m2")));
    assert_eq!(session.transcript().len(), 2);
    assert_eq!(asked_of(&asked).iter().filter(|what| *what == "send").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_come_too_late_are_not_kept() {
    let asked = Asked::default();
    let (first, events) = connection(&asked);
    let directory = SessionDirectory::in_memory();
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .keep(&directory, "ada")
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    let mut readers = session.events();
    events.finish(Terminal::Ended(EndReason::EndedByService));
    drop(events);
    while readers.next().await.is_some() {}
    let late = [("token".to_owned(), "new".into())].into_iter().collect::<Map<_, _>>();
    let refused = session.reconnect(Some(SavedSession::new(ID, late))).unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::SessionEnded);
    assert_eq!(session.session_data(), Some(saved()), "what was there is there");
}

#[tokio::test(start_paused = true)]
async fn what_a_row_told_of_a_participant_counts_where_the_row_stands_now() {
    let asked = Asked::default();
    let (first, events) = connection(&asked);
    let session = ChatSession::builder(vendor(&asked, vec![Ok(first)]))
        .start(StartRequest::named("Ada"))
        .await
        .unwrap();
    until(&session, |state| state == LinkState::Live).await;
    let mut readers = session.events();
    let told = |n, event: SystemEvent, place| {
        let mut told = sighting(n, "").with_content(Content::Event(event)).with_place(place);
        told.from = Some(Participant::new(Role::Agent).with_id("maria").with_name("Maria"));
        TransportEvent::Message(Box::new(told))
    };
    let exact = |n| Place::exact(Primary::Index(n, 0));
    // Her joining came without an index, and is taken for newer than her leaving …
    events.send(told(1, SystemEvent::Joined, Place::estimated(Primary::Index(9, 0), 1))).await.unwrap();
    events.send(told(5, SystemEvent::Left, exact(5))).await.unwrap();
    let connected = || session.participants().iter().filter(|member| member.connected()).count();
    while session.snapshot(chat_core::View::Full).len() < 2 {
        readers.next().await.unwrap();
    }
    assert_eq!(connected(), 1);
    // … until its place is known.
    events.send(told(1, SystemEvent::Joined, exact(1))).await.unwrap();
    loop {
        if let ChatEvent::Participant(event) = readers.next().await.unwrap()
            && matches!(event.change, chat_core::RosterEvent::Left(_))
            && event.agents_connected == 0
            && connected() == 0
        {
            break;
        }
    }
    assert_eq!(session.participants().len(), 1);
}
