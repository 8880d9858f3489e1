//! Agent sessions over one shared socket, against a scripted service in memory, in paused time.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use chat_core::{
    Command, ConnectRequest, Connection, EndReason, ErrorKind, GapHint, Intent, Result, Transport,
    TransportEvent,
};
use futures::{StreamExt, stream::BoxStream};
use serde_json::{Value, json};
use support::*;
use transport_connect::{
    AgentDesk, ConnectTransport, ContactSource, ParticipantKind,
    client::{AgentContact, Channel, ContactNotice, DeskEvent, SocketGrant},
};

/// An application's side: notices to order, and what it was told.
#[derive(Debug, Default)]
struct Source {
    notices: Mutex<Vec<ContactNotice>>,
    sockets: AtomicUsize,
    viewed: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl ContactSource for Source {
    async fn socket(&self) -> Result<SocketGrant> {
        let n = self.sockets.fetch_add(1, Ordering::Relaxed);
        Ok(SocketGrant { url: format!("wss://{GATEWAY}/gateway?agent={n}").into(), life: None })
    }

    fn contacts(&self) -> BoxStream<'static, ContactNotice> {
        futures::stream::iter(std::mem::take(&mut *self.notices.lock().unwrap())).boxed()
    }

    async fn view(&self, contact_id: Option<&str>) {
        self.viewed.lock().unwrap().push(contact_id.map(str::to_owned));
    }
}

fn contact(n: u32) -> AgentContact {
    let mut contact = AgentContact::chat(format!("c-{n}"), format!("p-{n}"), format!("PT-{n}"));
    contact.initial_contact_id = Some(format!("chain-{n}"));
    contact
}

fn agents(centre: &Centre) -> ConnectTransport {
    centre.builder().participant(ParticipantKind::Agent).build().unwrap()
}

fn item(chain: &str, id: &str, text: &str) -> Value {
    let mut item = message(id, text);
    item["InitialContactId"] = json!(chain);
    item["ContactId"] = json!(null);
    item
}

async fn sit(desk: &AgentDesk, n: u32) -> Connection {
    desk.transport().connect(ConnectRequest::new(Intent::Join(contact(n).to_saved()))).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn contacts_come_from_the_source_and_what_is_no_chat_is_skipped() {
    let centre = Centre::open();
    let source = Arc::new(Source::default());
    let call = AgentContact { channel: Channel::Other("voice".into()), ..contact(9) };
    *source.notices.lock().unwrap() = vec![
        ContactNotice::Reattached(contact(1)),
        ContactNotice::Incoming(call.clone()),
        ContactNotice::Accepted(call),
        ContactNotice::Cleared("c-9".into()),
        ContactNotice::Incoming(contact(2)),
        ContactNotice::Accepted(contact(2)),
        ContactNotice::Viewing(Some("c-2".into())),
        ContactNotice::Viewing(Some(String::new())),
        ContactNotice::Cleared("c-1".into()),
    ];
    let mut desk = AgentDesk::open(&agents(&centre), Arc::clone(&source) as _).unwrap();
    let Some(DeskEvent::Ready { contact, session, reattached: true }) = desk.next().await else { panic!() };
    assert_eq!((contact.contact_id.as_str(), session.text("participantToken")), ("c-1", Some("PT-1")));
    assert!(matches!(desk.next().await, Some(DeskEvent::Incoming(contact)) if contact.contact_id == "c-2"));
    assert!(matches!(desk.next().await, Some(DeskEvent::Ready { reattached: false, .. })));
    assert!(matches!(desk.next().await, Some(DeskEvent::Viewing(Some(id))) if id == "c-2"));
    assert_eq!(desk.viewing().as_deref(), Some("c-2"));
    assert!(matches!(desk.next().await, Some(DeskEvent::Viewing(None))), "an empty id is none");
    assert!(matches!(desk.next().await, Some(DeskEvent::Cleared(id)) if id == "c-1"));
    assert!(desk.next().await.is_none());
    desk.view(Some("c-1")).await;
    assert_eq!((desk.viewing().as_deref(), source.viewed.lock().unwrap().len()), (Some("c-1"), 1));
}

#[tokio::test(start_paused = true)]
async fn many_contacts_share_one_socket_and_get_their_own_items() {
    let centre = Centre::open();
    let source = Arc::new(Source::default());
    let desk = AgentDesk::open(&agents(&centre), Arc::clone(&source) as _).unwrap();
    let mut one = sit(&desk, 1).await;
    let mut two = sit(&desk, 2).await;
    let socket = centre.socket().await;
    assert_eq!(source.sockets.load(Ordering::Relaxed), 1);
    let call = &centre.calls("/participant/connection")[0];
    assert_eq!(
        (call.json(), call.bearer()),
        (json!({"Type": ["CONNECTION_CREDENTIALS"], "ConnectParticipant": true}), Some("PT-1")),
        "acknowledged, without a socket of its own"
    );
    socket.item(item("chain-2", "m-2", "for two")).await;
    socket.item(item("chain-1", "m-1", "for one")).await;
    socket.item(item("chain-7", "m-7", "for nobody")).await;
    let mut by_contact = item("chain-x", "m-3", "by contact");
    by_contact["ContactId"] = json!("c-1");
    socket.item(by_contact).await;
    assert_eq!(next_text(&mut one).await, "for one");
    assert_eq!(next_text(&mut one).await, "by contact");
    assert_eq!(next_text(&mut two).await, "for two");

    socket
        .item(json!({"Type": "MESSAGEMETADATA", "MessageMetadata": {"MessageId": "m-1", "Receipts":
        [{"RecipientParticipantId": "x", "ReadTimestamp": "2026-05-04T09:00:09Z"}]}}))
        .await;
    for connection in [&mut one, &mut two] {
        let Some(TransportEvent::Message(sighting)) = next(connection).await else { panic!() };
        assert_eq!(sighting.receipts.len(), 1, "receipts that name no contact may be anybody's");
    }
    submit(&two, send("Hi", "t")).await.unwrap();
    drop((one, two, desk));
    socket.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_transfer_ends_one_session_and_an_agent_does_not_end_the_chat() {
    let centre = Centre::open();
    let desk = AgentDesk::open(&agents(&centre), Arc::new(Source::default())).unwrap();
    let mut one = sit(&desk, 1).await;
    let mut two = sit(&desk, 2).await;
    let socket = centre.socket().await;
    let refused = submit(&two, Command::Leave { end: true }).await.unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::InvalidInput);
    assert!(refused.context().contains("leave it"), "{refused}");
    let mut transferred = event("e-1", "transfer.succeeded");
    transferred["InitialContactId"] = json!("chain-1");
    socket.item(transferred).await;
    assert!(matches!(next(&mut one).await, Some(TransportEvent::Message(_))));
    assert!(matches!(next(&mut one).await, Some(TransportEvent::Ended(EndReason::Transferred))));
    assert!(next(&mut one).await.is_none());
    socket.item(item("chain-2", "m", "still there")).await;
    assert_eq!(next_text(&mut two).await, "still there");
    submit(&two, Command::Leave { end: false }).await.unwrap();
    assert!(matches!(next(&mut two).await, Some(TransportEvent::Ended(EndReason::Left))));
    assert!(centre.calls("/participant/disconnect").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_socket_is_lost_for_all_and_opened_once() {
    let centre = Centre::open();
    let source = Arc::new(Source::default());
    let desk = AgentDesk::open(&agents(&centre), Arc::clone(&source) as _).unwrap();
    let mut one = sit(&desk, 1).await;
    let mut two = sit(&desk, 2).await;
    let socket = centre.socket().await;
    socket.item(item("chain-1", "m", "last words")).await;
    socket.close(Some(1001)).await;
    assert_eq!(next_text(&mut one).await, "last words");
    for connection in [&mut one, &mut two] {
        let Some(TransportEvent::Lost(lost)) = next(connection).await else { panic!() };
        assert!(lost.resumable);
    }
    let (mut one, mut two) = tokio::join!(sit(&desk, 1), sit(&desk, 2));
    assert_eq!(source.sockets.load(Ordering::Relaxed), 2, "single flight");
    let socket = centre.socket().await;
    for (connection, chain) in [(&mut one, "chain-1"), (&mut two, "chain-2")] {
        socket.item(item(chain, "m", "again")).await;
        assert_eq!(next_text(connection).await, "again");
    }
}

#[tokio::test(start_paused = true)]
async fn the_shared_socket_is_replaced_before_its_life_ends() {
    let centre = Centre::open();
    let source = Arc::new(Source::default());
    let desk = AgentDesk::open(&agents(&centre), Arc::clone(&source) as _).unwrap();
    let mut old = sit(&desk, 1).await;
    let first = centre.socket().await;
    loop {
        match next(&mut old).await {
            Some(TransportEvent::RenewBefore(_)) => break,
            other => assert!(other.is_some(), "not lost"),
        }
    }
    let mut new = sit(&desk, 1).await;
    let second = centre.socket().await;
    first.item(item("chain-1", "m-1", "old")).await;
    second.item(item("chain-1", "m-2", "new")).await;
    assert_eq!(next_text(&mut old).await, "old", "both serve meanwhile");
    assert_eq!(next_text(&mut new).await, "new");
    drop(old);
    first.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_does_not_read_slows_nobody_and_is_told_of_its_gap() {
    let centre = Centre::open();
    let desk = AgentDesk::open(&agents(&centre), Arc::new(Source::default())).unwrap();
    let mut slow = sit(&desk, 1).await;
    let mut fast = sit(&desk, 2).await;
    let socket = centre.socket().await;
    for n in 0..300 {
        socket.item(item("chain-1", &format!("a-{n}"), "flood")).await;
    }
    socket.item(item("chain-2", "b", "through")).await;
    assert_eq!(next_text(&mut fast).await, "through");
    let mut gap = false;
    while let Ok(Some(event)) = tokio::time::timeout(seconds(5), next(&mut slow)).await {
        gap |= matches!(event, TransportEvent::Gap(GapHint::SinceConfirmed));
    }
    assert!(gap);
}

#[tokio::test(start_paused = true)]
async fn a_desk_is_for_agents() {
    let centre = Centre::open();
    let error = AgentDesk::open(&centre.transport(), Arc::new(Source::default())).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Config);
    let desk = AgentDesk::open(&agents(&centre), Arc::new(Source::default())).unwrap();
    let error = desk.transport().connect(start()).await.unwrap_err().error;
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }));
}
