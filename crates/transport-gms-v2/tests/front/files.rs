//! Files: limits, upload, download, deletion, and what is refused.

use bytes::Bytes;
use chat_core::{AttachmentStatus, Capability};
use chat_sim::{CommandKind, Fault, FaultError, FaultErrorKind, FaultRule, Point, Profile, When};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::rig::{Answer, Client, Rig, events};

const BOUNDARY: &str = "XBOUNDX";

/// A multipart body, the file first or last.
pub fn parts(fields: &[(&str, &str)], file: (&str, &str, &[u8]), file_first: bool) -> Bytes {
    let (name, content_type, bytes) = file;
    let mut file = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    )
    .into_bytes();
    file.extend_from_slice(bytes);
    file.extend_from_slice(b"\r\n");
    let mut texts = Vec::new();
    for (key, value) in fields {
        let part =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n");
        texts.extend_from_slice(part.as_bytes());
    }
    let mut body = if file_first { [file, texts] } else { [texts, file] }.concat();
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body.into()
}

pub async fn post_parts(rig: &Rig, path: &str, body: Bytes) -> Answer {
    let request = Request::post(path)
        .header("host", "gms.example.test")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Full::new(body))
        .unwrap();
    rig.send(request).await.unwrap()
}

async fn upload(client: &Client<'_>, name: &str, bytes: &[u8]) -> Answer {
    let body =
        parts(&client.form(&[("userData[file-description]", "x")]), (name, "text/plain", bytes), false);
    post_parts(client.rig, &client.path("file"), body).await
}

async fn limits(client: &Client<'_>) -> Value {
    let reply = client.call("file/limits", &[]).await.ok();
    let notice = &reply["messages"][0];
    assert_eq!((&notice["type"], &notice["text"]), (&json!("Notice"), &json!("file-client-cfg-get")));
    assert!(notice.get("index").is_none() && reply.get("nextPosition").is_none());
    notice["userData"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_there_and_back_and_away() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    for (at, file_first) in [false, true].into_iter().enumerate() {
        let name = format!("note {at}.txt");
        let body = parts(&client.form(&[]), (&name, "text/plain", b"hello"), file_first);
        let reply = post_parts(&rig, &client.path("file"), body).await.ok();
        assert_eq!((&reply["messages"], reply.get("secureKey")), (&json!([]), None));
        let id = reply["userData"]["file-id"].as_str().unwrap().to_owned();
        let all = events(&client.refresh("1").await);
        let event = all.iter().rfind(|event| event["type"] == "FileUploaded").unwrap();
        assert_eq!(event["userData"], json!({"file-id": id, "file-name": name, "file-size": "5"}));
        assert_eq!(event["from"]["type"], "Client");
        let file = client.call(&format!("file/{id}/download"), &[]).await;
        assert_eq!((file.status, &file.bytes[..]), (200, &b"hello"[..]));
        assert_eq!(file.header("content-disposition"), format!("attachment; filename=\"{name}\""));
        client.call(&format!("file/{id}/delete"), &[]).await.ok();
        let all = events(&client.refresh("1").await);
        let deleted: Vec<_> =
            all.iter().filter(|event| event["userData"] == json!({"file-id": id})).collect();
        assert_eq!(deleted.len(), 1);
        assert_eq!(deleted[0]["type"], "FileDeleted");
        assert_eq!(client.call(&format!("file/{id}/download"), &[]).await.failure(), (400, -1, 249));
    }
    assert_eq!(contact.truth().files.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_agents_file_can_be_fetched() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").send_file("guide.png", "image/png", Bytes::from_static(b"png!")).unwrap();
    let event = client.event("FileUploaded").await;
    assert_eq!(
        (&event["userData"]["file-name"], &event["userData"]["file-size"]),
        (&json!("guide.png"), &json!("4"))
    );
    let id = event["userData"]["file-id"].as_str().unwrap();
    let file = client.call(&format!("file/{id}/download"), &[]).await;
    assert_eq!((&file.bytes[..], file.header("content-type")), (&b"png!"[..], "image/png"));
}

#[tokio::test(start_paused = true)]
async fn limits_are_told_and_kept() {
    let rig = Rig::tuned(|config| {
        config.files.max_file_size = 10;
        config.files.max_total_size = 15;
        config.files.types = vec!["txt".to_owned(), "png".to_owned()];
        config.files.delete_gives_back = false;
    });
    let client = rig.start().await;
    assert_eq!(
        limits(&client).await,
        json!({
            "upload-max-files": "3", "upload-max-file-size": "10", "upload-max-total-size": "15",
            "upload-file-types": "txt:png", "upload-need-agent": "false", "download-attempts": "5",
            "used-upload-max-files": "0", "used-upload-max-total-size": "0", "used-download-attempts": "0",
            "delete-file": "odd",
        })
    );
    assert_eq!(upload(&client, "a.exe", b"x").await.failure(), (400, -1, 203));
    assert_eq!(upload(&client, "apng", b"x").await.failure(), (400, -1, 203));
    assert_eq!(upload(&client, "a.txt", b"01234567890").await.failure(), (400, -1, 202));
    let first = upload(&client, "A.TXT", b"0123456789").await.ok();
    assert_eq!(upload(&client, "b.txt", b"012345").await.failure(), (400, -1, 202), "too much in all");
    upload(&client, "b.txt", b"0").await.ok();
    upload(&client, "c.txt", b"0").await.ok();
    assert_eq!(upload(&client, "d.txt", b"0").await.failure(), (400, -1, 201));
    let id = first["userData"]["file-id"].as_str().unwrap().to_owned();
    client.call(&format!("file/{id}/delete"), &[]).await.ok();
    let told = limits(&client).await;
    assert_eq!(
        (&told["used-upload-max-files"], &told["used-upload-max-total-size"]),
        (&json!("3"), &json!("12"))
    );
    assert_eq!(client.call("file", &[]).await.failure(), (400, -1, 249), "no file at all");
}

#[tokio::test(start_paused = true)]
async fn deleting_may_give_back() {
    let rig = Rig::tuned(|config| config.files.max_files = 1);
    let client = rig.start().await;
    let reply = upload(&client, "a.txt", b"0").await.ok();
    assert_eq!(upload(&client, "b.txt", b"0").await.failure(), (400, -1, 201));
    client.call(&format!("file/{}/delete", reply["userData"]["file-id"].as_str().unwrap()), &[]).await.ok();
    upload(&client, "b.txt", b"0").await.ok();
}

#[tokio::test(start_paused = true)]
async fn downloads_are_counted() {
    let rig = Rig::tuned(|config| config.files.download_attempts = 2);
    let client = rig.start().await;
    let reply = upload(&client, "a.txt", b"0").await.ok();
    let path = format!("file/{}/download", reply["userData"]["file-id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(client.call(&path, &[]).await.bytes, "0");
    }
    assert_eq!(client.call(&path, &[]).await.failure(), (400, -1, 202));
    assert_eq!(limits(&client).await["used-download-attempts"], "2");
    assert_eq!(client.call("file/nope/download", &[]).await.failure(), (400, -1, 249));
}

#[tokio::test(start_paused = true)]
async fn a_download_that_fails_takes_no_attempt() {
    let rig = Rig::new();
    let client = rig.start().await;
    let reply = upload(&client, "a.txt", b"0").await.ok();
    let path = format!("file/{}/download", reply["userData"]["file-id"].as_str().unwrap());
    let error = Fault::Error(FaultError::new(FaultErrorKind::Server));
    rig.console
        .network()
        .add(FaultRule::new(Point::Submit(CommandKind::Download), error).when(When::First(1)));
    assert_eq!(client.call(&path, &[]).await.failure(), (200, 1, 0));
    assert_eq!(limits(&client).await["used-download-attempts"], "0");
    assert_eq!(client.call(&path, &[]).await.bytes, "0");
    assert_eq!(limits(&client).await["used-download-attempts"], "1");
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_is_refused_as_such() {
    let rig = Rig::new();
    let client = rig.start().await;
    let answer = upload(&client, "a.txt", b"").await;
    assert_eq!(answer.failure(), (400, -1, 249), "its type is not the matter");
    assert_eq!(limits(&client).await["used-upload-max-files"], "0");
}

#[tokio::test(start_paused = true)]
async fn files_may_need_an_agent() {
    let rig = Rig::tuned(|config| config.files.need_agent = true);
    let (client, contact) = rig.chat().await;
    contact.as_bot("Helper").say("no agent yet").unwrap();
    client.text("no agent yet").await;
    assert_eq!(limits(&client).await["upload-need-agent"], "true");
    assert_eq!(upload(&client, "a.txt", b"0").await.failure(), (400, -1, 249));
    contact.as_agent("Maria").say("now").unwrap();
    client.text("now").await;
    upload(&client, "a.txt", b"0").await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_gateway_refuses_what_is_far_too_large() {
    let rig = Rig::tuned(|config| config.files.body_max = 1000);
    let client = rig.start().await;
    let answer = upload(&client, "a.txt", &[b'x'; 4000]).await;
    assert_eq!((answer.status, answer.header("content-type")), (413, "text/html"));
}

#[tokio::test(start_paused = true)]
async fn files_follow_what_the_backend_can_do() {
    let small = Rig::with(Profile::small_limits(), |_| {});
    let told = limits(&small.start().await).await;
    assert_eq!((&told["upload-max-files"], &told["upload-max-file-size"]), (&json!("2"), &json!("1024")));
    let none = Rig::with(Profile::minimal(), |_| {});
    let client = none.start().await;
    assert_eq!(limits(&client).await["upload-max-files"], "0");
    assert_eq!(upload(&client, "a.txt", b"0").await.failure(), (400, -1, 201));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_scanned_is_told_when_it_can_be_fetched() {
    let rig = Rig::with(Profile::push().with(Capability::FileScans), |_| {});
    let (client, contact) = rig.chat().await;
    for status in [AttachmentStatus::Approved, AttachmentStatus::Rejected] {
        let reply = upload(&client, "a.txt", b"0").await.ok();
        let id = &reply["userData"]["file-id"];
        let told = |all: &[Value]| {
            let of_it = all.iter().filter(|event| event["userData"]["file-id"] == *id);
            of_it.map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(told(&events(&client.refresh("1").await)).is_empty());
        let (file, _) = contact.truth().files.last().cloned().unwrap();
        contact.set_file_status(&file, status).unwrap();
        let all = client.until(|event| event["userData"]["file-id"] == *id).await;
        let expected: &[&str] = match status {
            AttachmentStatus::Approved => &["FileUploaded"],
            _ => &["FileUploaded", "FileDeleted"],
        };
        assert_eq!(told(&all), expected);
    }
}
