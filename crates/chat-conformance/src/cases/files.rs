//! Owns the cases of files: sent, scanned, fetched, deleted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chat_core::{Capability, ErrorKind, OutgoingBody, Upload};
use futures::StreamExt;

use crate::{
    harness::{Action, Disturbance, Request},
    world::{Chat, World},
};

/// Where files are scanned, they come out clean.
async fn scanned(chat: &Chat) {
    if chat.session().capabilities().can(Capability::FileScans) {
        chat.agent().act(Action::Scanned { approved: true }).await;
    }
}

async fn bytes_of(chat: &Chat, name: &str) -> Vec<u8> {
    let row = chat.row(&format!("[{name}]")).expect("the file stands");
    let id = row.attachments()[0].id.clone();
    let mut download = chat.session().download(&id).await.expect("it can be fetched");
    let mut bytes = Vec::new();
    while let Some(piece) = download.bytes.next().await {
        bytes.extend_from_slice(&piece.expect("whole"));
    }
    bytes
}

pub(crate) async fn a_file_goes_there_and_back(world: &mut World) {
    let chat = world.start().await;
    chat.live().await;
    let progress = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&progress);
    let upload = Upload::from_bytes("a.txt", "text/plain", vec![7; 300])
        .with_progress(move |bytes| seen.store(bytes, Ordering::Relaxed));
    chat.send_body("[a.txt]", OutgoingBody::File(upload)).sent().await;
    assert_eq!(progress.load(Ordering::Relaxed), 300, "progress is told to the end");
    chat.shows(&["[a.txt]"]).await;
    let fetched =
        |chat: &Chat| chat.row("[a.txt]").is_some_and(|row| !row.attachments()[0].id.as_str().is_empty());
    chat.until("the file has the centre's id", fetched).await;
    scanned(&chat).await;
    assert_eq!(bytes_of(&chat, "a.txt").await, vec![7; 300]);
}

pub(crate) async fn files_are_checked_before_they_leave(world: &mut World) {
    let chat = world.start().await;
    let limits = chat.session().capabilities();
    let refused = |upload: Upload| {
        let refused = chat.session().send_file(upload).map(drop);
        refused.map_err(|error| error.kind().clone())
    };
    assert_eq!(refused(Upload::from_bytes("a.txt", "text/plain", "")), Err(ErrorKind::InvalidInput), "empty");
    assert_eq!(refused(Upload::from_bytes(" ", "text/plain", "x")), Err(ErrorKind::InvalidInput), "no name");
    if let Some(limit) = limits.file_max_bytes {
        let mut upload = Upload::from_bytes("a.txt", "text/plain", "x");
        upload.size = limit + 1;
        assert!(matches!(refused(upload), Err(ErrorKind::TooLarge { unit: "bytes", .. })), "too large");
    }
    if !limits.file_types.is_empty() {
        let upload = Upload::from_bytes("a.exe", "application/x-msdownload", "x");
        assert_eq!(refused(upload), Err(ErrorKind::InvalidInput), "type");
    }
    chat.live().await;
    let told = chat.session().file_limits().await.expect("limits");
    // A limit that the transport does not know beforehand may still be told.
    if limits.file_max_bytes.is_some() {
        assert_eq!(told.max_bytes, limits.file_max_bytes);
    }
    chat.shows::<&str>(&[]).await;
}

pub(crate) async fn a_lost_answer_to_an_upload_doubles_nothing(world: &mut World) {
    let chat = world.start().await;
    world.disturb(Disturbance::StoreThenCut(Request::File));
    let upload = Upload::from_bytes("a.txt", "text/plain", "hello");
    chat.send_body("[a.txt]", OutgoingBody::File(upload)).sent().await;
    chat.shows(&["[a.txt]"]).await;
}

pub(crate) async fn an_agents_file_can_be_fetched(world: &mut World) {
    let chat = world.start().await;
    chat.agent().send_file("b.txt", "text/plain", "for you").await;
    chat.shows(&["[b.txt]"]).await;
    chat.live().await;
    scanned(&chat).await;
    assert_eq!(bytes_of(&chat, "b.txt").await, b"for you");
    let unknown = chat.session().download(&"no such file".into()).await.map(drop);
    assert!(unknown.is_err(), "an unknown file is an error");
}

pub(crate) async fn a_files_url_is_a_secret(world: &mut World) {
    let chat = world.start().await;
    chat.agent().send_file("b.txt", "text/plain", "for you").await;
    chat.shows(&["[b.txt]"]).await;
    chat.live().await;
    scanned(&chat).await;
    let id = chat.row("[b.txt]").expect("it stands").attachments()[0].id.clone();
    let url = chat.session().file_url(&id).await.expect("a URL");
    let shown = format!("{url:?}");
    assert!(!shown.contains(url.url.expose()), "{shown}");
}

pub(crate) async fn a_file_can_be_deleted(world: &mut World) {
    let chat = world.start().await;
    let upload = Upload::from_bytes("a.txt", "text/plain", "hello");
    chat.send_body("[a.txt]", OutgoingBody::File(upload)).sent().await;
    let stands =
        |chat: &Chat| chat.row("[a.txt]").is_some_and(|row| !row.attachments()[0].id.as_str().is_empty());
    chat.until("the file has the centre's id", stands).await;
    scanned(&chat).await;
    let id = chat.row("[a.txt]").expect("it stands").attachments()[0].id.clone();
    chat.session().delete_file(&id).await.expect("deleted");
    let deleted = |chat: &Chat| {
        let row = chat.row("[a.txt]").expect("it stands");
        row.attachments()[0].status == chat_core::AttachmentStatus::Deleted
    };
    chat.until("the deletion is told", deleted).await;
}

pub(crate) async fn a_rejected_file_says_so(world: &mut World) {
    let chat = world.start().await;
    let upload = Upload::from_bytes("a.txt", "text/plain", "virus");
    chat.send_body("[a.txt]", OutgoingBody::File(upload)).sent().await;
    chat.shows(&["[a.txt]"]).await;
    chat.agent().act(Action::Scanned { approved: false }).await;
    let rejected = |chat: &Chat| {
        let row = chat.row("[a.txt]").expect("it stands");
        row.attachments()[0].status == chat_core::AttachmentStatus::Rejected
    };
    chat.until("the rejection is told, on the same row", rejected).await;
}
