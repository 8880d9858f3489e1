//! The raw tap: every frame and every answer of the service is shown, and no secret.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use async_trait::async_trait;
use chat_core::{
    AttachmentId, ChatEvent, ChatSession, Command, Connection, FileCommand, Outgoing, OutgoingBody, RawEvent,
    Result, SessionSettings, StartRequest, Transport, TransportEvent, Upload,
};
use futures::{StreamExt, stream::BoxStream};
use serde_json::json;
use support::*;
use transport_connect::{
    AgentDesk, ContactSource, ParticipantKind,
    client::{AgentContact, ContactNotice, SocketGrant},
};

/// What the tap shows next.
async fn shown(connection: &mut Connection) -> RawEvent {
    loop {
        match next(connection).await {
            Some(TransportEvent::Raw(raw)) => return *raw,
            Some(_) => {}
            None => panic!("the connection ended"),
        }
    }
}

/// What the tap shows next of the frames or answers of this kind.
async fn shown_of(connection: &mut Connection, kind: &str) -> String {
    loop {
        let raw = shown(connection).await;
        assert!(
            !raw.body.contains("CT-") && !raw.body.contains("\"PT") && !raw.body.contains("://"),
            "{raw:?}"
        );
        if &*raw.kind == kind {
            return (*raw.body).to_owned();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_shown_beside_frames_and_their_secrets_are_not() {
    let centre = Centre::open();
    let mut request = start();
    request.tap = true;
    let mut connection = centre.transport().connect(request).await.unwrap();
    let socket = centre.socket().await;
    let started = shown_of(&mut connection, "start chat").await;
    assert!(started.contains(CONTACT), "{started}");
    let credentials = shown_of(&mut connection, "CreateParticipantConnection").await;
    assert!(credentials.contains("2026-05-04T10:06:14.000Z") && credentials.contains("[removed]"));

    submit(&connection, send("Hello", "t")).await.unwrap();
    assert!(shown_of(&mut connection, "SendMessage").await.contains("2026-05-04T09:00:05.120Z"));
    socket.item(message("m", "a frame")).await;
    let frame = shown_of(&mut connection, "aws/chat").await;
    assert!(
        frame.contains("contentType") && frame.contains("a frame"),
        "topic, content type and content: {frame}"
    );

    let body = OutgoingBody::File(Upload::from_bytes("a.png", "image/png", &b"12345"[..]));
    submit(&connection, Command::Send(Outgoing { token: "f".into(), attempt: 0, body })).await.unwrap();
    assert!(shown_of(&mut connection, "StartAttachmentUpload").await.contains("AttachmentId"));
    let id = AttachmentId::from("file");
    submit(&connection, Command::File(FileCommand::Url { id })).await.unwrap();
    assert!(shown_of(&mut connection, "GetAttachment").await.contains("AttachmentSizeInBytes"));

    centre.plan("/participant/event", Plan::error(400, "ValidationException"));
    let typing = Command::Typing(chat_core::TypingSignal { on: true, preview: None });
    submit(&connection, typing.clone()).await.unwrap_err();
    assert_eq!(
        shown_of(&mut connection, "SendEvent").await,
        json!({"Message": "no"}).to_string(),
        "refusals, too"
    );
    // A token in a text goes too; and what renews the credentials is shown.
    let token = centre.calls("/participant/event")[0].bearer().unwrap().to_owned();
    let denial = vec![("x-amzn-errortype", "AccessDeniedException")];
    centre.plan("/participant/event", Plan::Answer(403, denial, format!("<p>{token}</p>")));
    submit(&connection, typing).await.unwrap();
    assert_eq!(shown_of(&mut connection, "SendEvent").await, "<p>[removed]</p>");
    shown_of(&mut connection, "CreateParticipantConnection").await;
    shown_of(&mut connection, "SendEvent").await;
}

#[tokio::test(start_paused = true)]
async fn without_a_tap_nothing_is_shown() {
    let centre = Centre::open();
    let (mut connection, socket) = centre.start(&centre.transport()).await;
    submit(&connection, send("Hello", "t")).await.unwrap();
    socket.item(message("m", "a frame")).await;
    assert_eq!(next_text(&mut connection).await, "a frame");
}

#[tokio::test(start_paused = true)]
async fn a_session_tells_its_readers() {
    let centre = Centre::open();
    let session = ChatSession::builder(centre.transport())
        .settings(SessionSettings::default().with_tap(true))
        .start(StartRequest::named("Jane"))
        .await
        .unwrap();
    let mut events = session.events();
    session.send_text("Hello").unwrap().await.unwrap();
    loop {
        match events.next().await.expect("the chat goes on") {
            ChatEvent::Raw(raw) if &*raw.kind == "SendMessage" => break,
            _ => {}
        }
    }
}

#[derive(Debug)]
struct Source;

#[async_trait]
impl ContactSource for Source {
    async fn socket(&self) -> Result<SocketGrant> {
        Ok(SocketGrant { url: format!("wss://{GATEWAY}/gateway?agent=1").into(), life: None })
    }

    fn contacts(&self) -> BoxStream<'static, ContactNotice> {
        futures::stream::empty().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn each_contact_of_a_desk_has_its_own_tap() {
    let centre = Centre::open();
    let agents = centre.builder().participant(ParticipantKind::Agent).build().unwrap();
    let desk = AgentDesk::open(&agents, std::sync::Arc::new(Source)).unwrap();
    let mut contact = AgentContact::chat(CONTACT, "agent", "PT-1");
    contact.initial_contact_id = Some(CONTACT.into());
    let mut request = chat_core::ConnectRequest::new(chat_core::Intent::Join(contact.to_saved()));
    request.tap = true;
    let mut connection = desk.transport().connect(request).await.unwrap();
    let socket = centre.socket().await;
    shown_of(&mut connection, "CreateParticipantConnection").await;
    submit(&connection, send("Hello", "t")).await.unwrap();
    shown_of(&mut connection, "SendMessage").await;
    socket.item(message("m", "an item")).await;
    assert!(shown_of(&mut connection, "aws/chat").await.contains("an item"));
}
