//! Upload, download, URL, limits, scan, deletion.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{
    Ack, AliasKind, AttachmentId, AttachmentStatus, Capability, ClientToken, Command, Content, Delivery,
    Download, Error, ErrorKind, FileAck, FileCommand, FileSource, Outgoing, OutgoingBody, Upload,
};
use chat_sim::{Centre, CommandKind, Fault, FaultRule, Point, Profile};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::{Chat, centre_of, chat, sightings};

fn upload(token: &str, upload: Upload) -> Command {
    Command::Send(Outgoing { token: ClientToken::new(token), attempt: 0, body: OutgoingBody::File(upload) })
}

fn note(size: usize) -> Upload {
    Upload::from_bytes("note.txt", "text/plain", vec![b'x'; size])
}

async fn download(chat: &Chat, id: &AttachmentId) -> Result<Download, Error> {
    match chat.submit(Command::File(FileCommand::Download { id: id.clone() })).await? {
        Ack::File(FileAck::Download(download)) => Ok(download),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_reports_its_progress_is_posted_once_and_can_be_fetched() {
    let mut chat = chat(Centre::new()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let observer = Arc::clone(&told);
    let file = note(150_000).with_progress(move |bytes| observer.lock().unwrap().push(bytes));
    chat.submit(upload("t", file.clone())).await.unwrap();
    chat.submit(upload("t", file)).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [0, 65_536, 131_072, 150_000], "and the repeat sent no bytes");
    let truth = chat.agent.truth();
    assert_eq!((truth.files.len(), truth.copies(&ClientToken::new("t"))), (1, 1));
    let (id, status) = truth.files[0].clone();
    assert_eq!(status, AttachmentStatus::Approved);
    let events = chat.heard().await;
    let echo = sightings(&events).last().copied().unwrap();
    assert_eq!(echo.aliases.least(AliasKind::Attachment).map(|alias| &*alias.value), Some(id.as_str()));
    let file = download(&chat, &id).await.unwrap();
    assert_eq!(file.size, Some(150_000));
    let bytes: Vec<Bytes> = file.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), vec![b'x'; 150_000]);
}

/// Bytes that take a second to come.
#[derive(Debug)]
struct Slow;

impl FileSource for Slow {
    fn open(&self) -> BoxStream<'static, std::io::Result<Bytes>> {
        Box::pin(futures::stream::once(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Bytes::from_static(b"slow"))
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn one_file_uploaded_twice_at_once_is_posted_once() {
    let chat = chat(Centre::new()).await;
    let file = Upload { source: Arc::new(Slow), ..note(4) };
    let (one, two) = tokio::join!(chat.submit(upload("t", file.clone())), chat.submit(upload("t", file)));
    one.unwrap();
    two.unwrap();
    assert_eq!(chat.agent.truth().files.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agents_file_is_fetched_and_has_a_secret_url() {
    let chat = chat(Centre::new()).await;
    chat.agent.send_file("plan.png", "image/png", "png").unwrap();
    let (id, _) = chat.agent.truth().files[0].clone();
    let file = download(&chat, &id).await.unwrap();
    assert_eq!(file.content_type.as_deref(), Some("image/png"));
    let answer = chat.submit(Command::File(FileCommand::Url { id: id.clone() })).await.unwrap();
    let Ack::File(FileAck::Url(url)) = answer else { panic!() };
    assert!(url.url.expose().starts_with("sim:") && url.url.expose().contains(id.as_str()));
    assert!(!format!("{url:?}").contains(id.as_str()));
}

#[tokio::test(start_paused = true)]
async fn the_centre_checks_its_limits() {
    let chat = chat(centre_of(Profile::small_limits())).await;
    let Ack::File(FileAck::Limits(limits)) = chat.submit(Command::File(FileCommand::Limits)).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((limits.max_bytes, limits.max_count, limits.types.len()), (Some(1024), Some(2), 2));
    let refused = async |file| chat.submit(upload("refused", file)).await.unwrap_err();
    let error = refused(note(1025)).await;
    assert_eq!(*error.kind(), ErrorKind::TooLarge { limit: 1024, actual: 1025, unit: "bytes" });
    assert_eq!(error.delivery(), Delivery::Refused);
    let zip = Upload::from_bytes("a.zip", "application/zip", "zip");
    assert_eq!(*refused(zip).await.kind(), ErrorKind::Refused);
    chat.submit(upload("a", note(1024))).await.unwrap();
    chat.submit(upload("b", note(1))).await.unwrap();
    assert_eq!(*refused(note(1)).await.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(chat.agent.truth().files.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn limits_that_change_during_the_chat_hold() {
    let chat = chat(Centre::new()).await;
    chat.submit(upload("a", note(10))).await.unwrap();
    let mut tighter = chat.connection.capabilities;
    tighter.file_max_bytes = Some(9);
    tighter = tighter.without(Capability::Notice);
    chat.agent.set_capabilities(tighter);
    let error = chat.submit(upload("b", note(10))).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (&ErrorKind::TooLarge { limit: 9, actual: 10, unit: "bytes" }, Delivery::Refused)
    );
    let error = chat.submit(Command::Notice("n".into())).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }));
    let again = super::resume(&chat.centre, &chat.connection.saved).await.unwrap();
    assert_eq!(again.capabilities, tighter);
}

#[tokio::test(start_paused = true)]
async fn a_file_of_another_size_than_announced_is_not_posted() {
    let chat = chat(Centre::new()).await;
    for announced in [3, 5] {
        let file = Upload { size: announced, ..note(4) };
        let error = chat.submit(upload("t", file)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Io, Delivery::NotSent));
    }
    assert!(chat.agent.truth().files.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_posts_nothing_and_a_short_download_says_so() {
    let chat = chat(Centre::new()).await;
    let network = chat.centre.console().network();
    network.add(FaultRule::new(Point::Submit(CommandKind::File), Fault::CutUpload(50)));
    let error = chat.submit(upload("t", note(200_000))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent));
    assert!(chat.agent.truth().files.is_empty());
    network.heal();
    chat.submit(upload("t", note(100_000))).await.unwrap();
    network.add(FaultRule::new(Point::Submit(CommandKind::Download), Fault::Truncate(50)));
    let (id, _) = chat.agent.truth().files[0].clone();
    let pieces: Vec<_> = download(&chat, &id).await.unwrap().bytes.collect().await;
    let (last, before) = pieces.split_last().unwrap();
    assert_eq!(*last.as_ref().unwrap_err().kind(), ErrorKind::UnexpectedResponse);
    assert_eq!(before.iter().map(|piece| piece.as_ref().unwrap().len()).sum::<usize>(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn a_scan_comes_to_its_result_on_the_same_item() {
    let mut chat = chat(centre_of(Profile::push().with(Capability::FileScans))).await;
    chat.submit(upload("t", note(10))).await.unwrap();
    let (id, status) = chat.agent.truth().files[0].clone();
    assert_eq!(status, AttachmentStatus::InProgress);
    assert_eq!(*download(&chat, &id).await.unwrap_err().kind(), ErrorKind::Conflict);
    chat.agent.set_file_status(&id, AttachmentStatus::Rejected).unwrap();
    assert_eq!(*download(&chat, &id).await.unwrap_err().kind(), ErrorKind::AccessDenied);
    let events = chat.heard().await;
    let [.., first, last] = &sightings(&events)[..] else { panic!() };
    assert_eq!(first.aliases, last.aliases);
    let Some(Content::Files(files)) = &last.content else { panic!("{last:?}") };
    assert_eq!((files[0].status, last.version), (AttachmentStatus::Rejected, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_file_is_gone_and_its_item_says_so() {
    let chat = chat(Centre::new()).await;
    chat.submit(upload("t", note(10))).await.unwrap();
    let (id, _) = chat.agent.truth().files[0].clone();
    let answer = chat.submit(Command::File(FileCommand::Delete { id: id.clone() })).await.unwrap();
    assert!(matches!(answer, Ack::File(FileAck::Deleted)));
    assert_eq!(*download(&chat, &id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let truth = chat.agent.truth();
    let Content::Files(files) = &truth.newest().unwrap().content else { panic!() };
    assert_eq!(files[0].status, AttachmentStatus::Deleted);
    let error = download(&chat, &"unknown".into()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);
}
