//! The client against a scripted service: files, with limits that are asked for first.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use chat_core::{
    Ack, AliasKind, Command, Connection, Content, Delivery, Error, ErrorKind, FileAck, FileCommand,
    FileSource, Outgoing, OutgoingBody, Result, Retry, TransportEvent, Upload,
};
use chat_net::memory::Direction;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use serde_json::json;
use support::*;

fn pdf() -> Upload {
    Upload::from_bytes("fatura ção \"1\".PDF", "application/pdf", "%PDF")
}

fn sending(upload: Upload) -> Command {
    Command::Send(Outgoing { token: token(), attempt: 0, body: OutgoingBody::File(upload) })
}

async fn ask(connection: &Connection, command: FileCommand) -> Result<FileAck> {
    match submit(connection, Command::File(command)).await? {
        Ack::File(ack) => Ok(ack),
        other => panic!("{other:?}"),
    }
}

async fn downloaded(connection: &Connection, id: &str) -> Result<Vec<Bytes>> {
    match ask(connection, FileCommand::Download { id: id.into() }).await? {
        FileAck::Download(download) => download.bytes.try_collect().await,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_leaves_as_parts_with_its_name_and_comes_back_as_the_same_message() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let reports = Arc::clone(&seen);
    let upload = pdf().with_progress(move |bytes| reports.lock().unwrap().push(bytes));
    let Ack::Sent(sent) = submit(&connection, sending(upload)).await.unwrap() else { panic!() };
    assert_eq!(server.last("file/limits").own(), [], "limits are asked for first");
    let call = server.last("file");
    let content_type = call.header("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = std::str::from_utf8(&call.body).unwrap();
    let part = |name: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    assert_eq!(
        body,
        format!(
            "{}{}{}--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"fatura ção %221%22.PDF\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--{boundary}--\r\n",
            part("userId", USER),
            part("secureKey", KEY),
            part("alias", "204"),
        )
    );
    assert_eq!(seen.lock().unwrap().last(), Some(&4));

    poll(&connection).await.unwrap();
    let events = told(&mut connection);
    let echo =
        sightings(&events).into_iter().find(|one| matches!(one.content, Some(Content::Files(_)))).unwrap();
    let told = sent.sighting.unwrap();
    let file = told.aliases.least(AliasKind::Attachment).unwrap();
    assert!(echo.aliases.contains(file), "answer and echo name the same file");
    assert_eq!(&*told.aliases.least(AliasKind::Token).unwrap().value, token().as_str());
}

#[tokio::test(start_paused = true)]
async fn what_the_limits_forbid_does_not_leave() {
    use ErrorKind::{Conflict, InvalidInput, QuotaExceeded};
    for (key, value, upload, kind) in [
        ("upload-file-types", "jpg:png", pdf(), InvalidInput),
        ("upload-file-types", "jpg:png", Upload::from_bytes("x.png.exe", "image/png", "x"), InvalidInput),
        ("upload-max-files", "0", pdf(), QuotaExceeded),
        ("used-upload-max-files", "3", pdf(), QuotaExceeded),
        ("used-upload-max-total-size", "5242877", pdf(), QuotaExceeded),
        ("upload-max-file-size", "3", pdf(), ErrorKind::TooLarge { limit: 3, actual: 4, unit: "bytes" }),
        ("upload-need-agent", "true", pdf(), Conflict),
    ] {
        let server = Server::open();
        server.limits(key, value);
        let connection = server.start(&server.transport()).await;
        poll(&connection).await.unwrap();
        let error = submit(&connection, sending(upload)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&kind, Delivery::NotSent), "{key}");
        assert_eq!(error.retry(), Retry::Never);
        assert!(server.calls("file").is_empty(), "{key}");
    }
    let server = Server::open();
    server.limits("upload-need-agent", "true");
    server.say("I am here");
    let connection = server.start(&server.transport()).await;
    poll(&connection).await.unwrap();
    submit(&connection, sending(pdf())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_services_own_refusal_is_the_same_error() {
    // F83: limits change between the question and the upload.
    for (code, kind) in
        [(201, ErrorKind::QuotaExceeded), (202, ErrorKind::QuotaExceeded), (203, ErrorKind::InvalidInput)]
    {
        for plan in [Plan::errors(400, code), Plan::failed(code, false)] {
            let server = Server::open();
            let connection = server.start(&server.transport()).await;
            server.plan("file", plan.clone());
            let error = submit(&connection, sending(pdf())).await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (&kind, Delivery::Refused), "{plan:?}");
            assert_eq!(error.vendor().code, Some(code.to_string()));
            assert!(error.vendor().message.is_some() && error.retry() == Retry::Never);
        }
    }
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    server.plan("file", Plan::html(413));
    let error = submit(&connection, sending(pdf())).await.unwrap_err();
    assert_eq!((error.kind(), error.vendor().status), (&ErrorKind::Refused, Some(413)));
    // Whatever becomes of the question, the file has not left.
    server.plan("file/limits", Plan::Hang);
    let error = submit(&connection, sending(pdf())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_answer_is_lost_is_stored_once() {
    for plan in [Plan::Hang, Plan::html(504), Plan::offline()] {
        let server = Server::open();
        let session = server.session(server.transport()).await;
        server.plan("file", plan.clone().stored());
        let upload = Upload::from_bytes("a.pdf", "application/pdf", "%PDF");
        session.send_file(upload).unwrap().await.unwrap();
        assert_eq!(server.calls("file").len(), 1, "{plan:?}");
        let mut events = session.events();
        while session.transcript().iter().all(|row| row.message_id().is_none()) {
            events.next().await.unwrap();
        }
        let files = session.transcript().iter().filter(|row| !row.attachments().is_empty()).count();
        assert_eq!(files, 1, "{plan:?}");
    }
}

#[derive(Debug)]
struct Broken;

impl FileSource for Broken {
    fn open(&self) -> BoxStream<'static, io::Result<Bytes>> {
        futures::stream::iter([Ok(Bytes::from_static(b"%P")), Err(io::Error::other("disk"))]).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_posts_nothing() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    let mut upload = pdf();
    upload.source = Arc::new(Broken);
    let error = submit(&connection, sending(upload)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Io);
    poll(&connection).await.unwrap();
    let calls = server.calls("file");
    assert!(calls.iter().all(|call| !call.body.ends_with(b"--\r\n")), "no complete request arrived");
}

#[tokio::test(start_paused = true)]
async fn limits_are_told_as_the_service_has_them_now() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    let FileAck::Limits(limits) = ask(&connection, FileCommand::Limits).await.unwrap() else { panic!() };
    assert_eq!((limits.max_bytes, limits.max_count), (Some(2_097_152), Some(3)));
    assert_eq!(limits.types, [".jpeg", ".jpg", ".pdf", ".png", ".zip"]);
    poll(&connection).await.unwrap();
    assert_eq!(
        server.last("refresh").get("transcriptPosition").as_deref(),
        Some("1"),
        "no part of the transcript"
    );
}

#[tokio::test(start_paused = true)]
async fn a_download_is_streamed_and_complete() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    server.file("f-1", bytes.clone());
    let download = match ask(&connection, FileCommand::Download { id: "f-1".into() }).await.unwrap() {
        FileAck::Download(download) => download,
        other => panic!("{other:?}"),
    };
    assert_eq!((download.size, download.content_type.as_deref()), (Some(300_000), Some("image/png")));
    let chunks: Vec<Bytes> = download.bytes.try_collect().await.unwrap();
    assert!(chunks.len() > 1, "in pieces");
    assert_eq!(chunks.concat(), bytes);
    let call = server.last("file/f-1/download");
    assert_eq!((call.method.as_str(), call.header("accept")), ("POST", Some("*/*")));
    assert_eq!(call.get("secureKey").as_deref(), Some(KEY));
}

#[tokio::test(start_paused = true)]
async fn a_download_that_cannot_be_had_says_why() {
    let server = Server::open();
    let mut connection = server.start(&server.transport()).await;
    server.file("f-1", "0123456789");
    for (plan, kind, code) in [
        (Plan::errors(400, 202), ErrorKind::QuotaExceeded, Some("202")),
        (Plan::html(404), ErrorKind::NotFound, None),
        (Plan::errors(400, 404), ErrorKind::NotFound, Some("404")),
        (Plan::failed(202, false), ErrorKind::QuotaExceeded, Some("202")),
        (Plan::json(200, json!({"statusCode": 0})), ErrorKind::UnexpectedResponse, None),
        (Plan::html(502), ErrorKind::Server, None),
    ] {
        server.plan("file/f-1/download", plan.clone());
        let error = downloaded(&connection, "f-1").await.unwrap_err();
        assert_eq!((error.kind(), error.vendor().code.as_deref()), (&kind, code), "{plan:?}");
    }
    // A JSON file is a file: it says so.
    let file = vec![("content-type", "application/json"), ("content-disposition", "attachment")];
    server.plan("file/f-1/download", Plan::Answer(200, file, "{\"statusCode\":2}".into()));
    assert_eq!(downloaded(&connection, "f-1").await.unwrap().concat(), b"{\"statusCode\":2}");
    // Larger than allowed; cut off.
    let mut config = transport_gms_v2::GmsConfig::default();
    config.data_url = Some(URL.into());
    config.download_max_bytes = 9;
    let small = server.builder().config(config).net(server.net()).build().unwrap();
    let limited = server.start(&small).await;
    assert_eq!(downloaded(&limited, "f-1").await.unwrap_err().kind(), &ErrorKind::UnexpectedResponse);
    server.file("f-1", vec![7; 200_000]);
    server.network.cut_after(Direction::ToClient, 100_000);
    let cut: Error = downloaded(&server.start(&server.transport()).await, "f-1").await.unwrap_err();
    assert_eq!(cut.kind(), &ErrorKind::Network);
    assert!(!told(&mut connection).iter().any(|event| matches!(event, TransportEvent::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_deleted_by_its_id() {
    let server = Server::open();
    let connection = server.start(&server.transport()).await;
    let deleted = ask(&connection, FileCommand::Delete { id: "00B16A0C52D00043".into() }).await.unwrap();
    assert!(matches!(deleted, FileAck::Deleted));
    let call = server.last("file/00B16A0C52D00043/delete");
    assert_eq!((call.method.as_str(), call.own()), ("POST", vec![]));
    server.plan("file/x%2Fy/delete", Plan::html(404));
    let error = ask(&connection, FileCommand::Delete { id: "x/y".into() }).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound, "and an id cannot lead elsewhere");
    let calls = server.all_calls().len();
    for id in ["..", ".", ""] {
        for command in [FileCommand::Delete { id: id.into() }, FileCommand::Download { id: id.into() }] {
            let error = ask(&connection, command).await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (&ErrorKind::NotFound, Delivery::NotSent), "{id:?}");
        }
    }
    assert_eq!(server.all_calls().len(), calls, "nothing is sent");
}
