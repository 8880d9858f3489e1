//! What a connection can be asked for, against a scripted service in memory, in paused time.
#![cfg(feature = "client")]

mod support;

use std::sync::{Arc, Mutex};

use chat_core::{
    Ack, ChatSession, Command, Cursor, Delivery, Direction, Download, ErrorKind, FileAck, FileCommand,
    HistoryFrom, HistoryPage, HistoryRequest, MessageId, Outgoing, OutgoingBody, RawEvent, ReceiptKind,
    ReceiptSignal, Result, Retry, Transport, TypingSignal, Upload,
};
use futures::StreamExt;
use serde_json::json;
use support::*;
use transport_connect::ConnectSessionExt;

const START: &str = "/participant/start-attachment-upload";
const COMPLETE: &str = "/participant/complete-attachment-upload";

fn file(token: &str, upload: Upload) -> Command {
    Command::Send(Outgoing { token: token.into(), attempt: 0, body: OutgoingBody::File(upload) })
}

fn picture() -> Upload {
    Upload::from_bytes("pic.png", "image/png", vec![7_u8; 100_000])
}

fn puts(centre: &Centre) -> Vec<Call> {
    (0..20).flat_map(|n| centre.calls(&format!("/staging/{n}"))).collect()
}

#[tokio::test(start_paused = true)]
async fn events_go_as_the_vendor_wants_them() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    let typing = |on| Command::Typing(TypingSignal { on, preview: None });
    submit(&connection, typing(true)).await.unwrap();
    submit(&connection, typing(false)).await.unwrap();
    let read = ReceiptSignal { message: MessageId::from("m-1"), kind: ReceiptKind::Read };
    submit(&connection, Command::Receipt(read)).await.unwrap();
    submit(&connection, Command::Event(RawEvent::new("x/y", "z"))).await.unwrap();
    let events: Vec<_> = centre.calls("/participant/event").iter().map(Call::json).collect();
    assert_eq!(
        events,
        [
            json!({"ContentType": "application/vnd.amazonaws.connect.event.typing"}),
            json!({"ContentType": "application/vnd.amazonaws.connect.event.message.read",
                "Content": r#"{"messageId":"m-1"}"#}),
            json!({"ContentType": "x/y", "Content": "z"}),
        ],
        "a stop that the vendor cannot express sends nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_and_a_refusal_is_not() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    centre.plan("/participant/message", Plan::Hang);
    let error = submit(&connection, send("x", "t")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
    for (plan, kind, retry, delivery) in [
        (Plan::error(429, "ThrottlingException"), ErrorKind::RateLimited, Retry::Backoff, Delivery::Refused),
        (Plan::error(500, "InternalServerException"), ErrorKind::Server, Retry::Backoff, Delivery::Unknown),
        (Plan::error(400, "ValidationException"), ErrorKind::Refused, Retry::Never, Delivery::Refused),
        (
            Plan::Answer(429, vec![("retry-after", "7")], String::new()),
            ErrorKind::RateLimited,
            Retry::After(seconds(7)),
            Delivery::Refused,
        ),
        (
            Plan::Answer(200, vec![("content-type", "text/html")], "<p>".into()),
            ErrorKind::UnexpectedResponse,
            Retry::Backoff,
            Delivery::Unknown,
        ),
    ] {
        centre.plan("/participant/message", plan);
        let error = submit(&connection, send("x", "t")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry(), error.delivery()), (&kind, retry, delivery));
    }
    centre.network.cut();
    let error = submit(&connection, send("x", "t")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn a_page_may_be_empty_and_still_not_be_the_last() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    let page = async |from: HistoryFrom| -> Result<HistoryPage> {
        let request = HistoryRequest { direction: Direction::Older, from, limit: 15 };
        match submit(&connection, Command::History(request)).await? {
            Ack::History(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    };
    let path = "/participant/transcript";
    centre.plan(path, Plan::json(200, json!({"Transcript": [], "NextToken": "n-1"})));
    let empty = page(HistoryFrom::Newest).await.unwrap();
    assert!(empty.items.is_empty());
    let items = json!([message("m-1", "one"), message("m-2", "two")]);
    centre.plan(
        path,
        Plan::json(200, json!({"InitialContactId": CONTACT, "Transcript": items, "NextToken": ""})),
    );
    let last = page(HistoryFrom::Cursor(empty.next.unwrap())).await.unwrap();
    assert_eq!((last.items.len(), last.next), (2, None), "an empty token is the end");
    assert_eq!(centre.calls(path)[1].json()["NextToken"], "n-1");
    centre.plan(path, Plan::json(200, json!({"Transcript": [], "NextToken": "n-1"})));
    let error = page(HistoryFrom::Cursor(Cursor("n-1".into()))).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnexpectedResponse, "a page that leads to itself leads nowhere");
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_in_three_steps_with_exactly_the_headers_asked_for() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = Arc::clone(&seen);
    let upload = picture().with_progress(move |bytes| progress.lock().unwrap().push(bytes));
    let Ack::Sent(sent) = submit(&connection, file("t-1", upload)).await.unwrap() else { panic!() };
    assert_eq!(sent.sighting.unwrap().aliases.iter().count(), 2, "token and attachment");
    let start = centre.calls(START)[0].json();
    assert_eq!(
        start,
        json!({"ContentType": "image/png", "AttachmentName": "pic.png", "AttachmentSizeInBytes": 100_000, "ClientToken": "t-1"})
    );
    let put = &puts(&centre)[0];
    assert_eq!((put.host.as_str(), put.body.len()), (STORE, 100_000));
    assert_eq!(put.headers["x-amz-acl"], "private");
    assert_eq!(put.headers["content-type"], "image/png");
    assert_eq!(put.headers.get_all("content-length").iter().count(), 1);
    assert!(put.bearer().is_none() && put.headers.get("authorization").is_none(), "no credential leaves");
    let complete = centre.calls(COMPLETE)[0].json();
    assert_eq!(complete["AttachmentIds"].as_array().unwrap().len(), 1);
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() == Some(&100_000), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_store_refuses_is_not_completed() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    for n in 0..40 {
        centre.always(&format!("/staging/{n}"), Plan::Answer(500, vec![], String::new()));
    }
    let error = submit(&connection, file("t-1", picture())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Server, Delivery::NotSent));
    for n in 0..40 {
        centre.always(&format!("/staging/{n}"), Plan::Answer(403, vec![], String::new()));
    }
    let before = centre.calls(START).len();
    let error = submit(&connection, file("t-2", picture())).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Expired);
    assert_eq!(centre.calls(START).len() - before, 2, "a refused URL is replaced once");
    assert!(centre.calls(COMPLETE).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_completion_is_repeated_without_the_bytes() {
    let centre = Centre::open();
    let transport = centre.transport();
    let (connection, _socket) = centre.start(&transport).await;
    centre.plan(COMPLETE, Plan::Hang);
    let error = submit(&connection, file("t-1", picture())).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    centre.plan(COMPLETE, Plan::error(409, "ConflictException"));
    let next = transport.connect(resume()).await.unwrap();
    submit(&next, file("t-1", picture())).await.unwrap();
    assert_eq!(puts(&centre).len(), 1, "the next connection knows that the bytes are there");
    let calls = centre.calls(COMPLETE);
    assert_eq!(calls[0].json(), calls[1].json(), "the same client token");
}

#[tokio::test(start_paused = true)]
async fn files_are_checked_before_anything_is_sent() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    for (upload, large) in [
        (Upload::from_bytes("x.exe", "application/x-msdownload", vec![1]), false),
        (Upload::from_bytes("x.png", "image/png", Vec::new()), false),
        (Upload::from_bytes("", "image/png", vec![1]), false),
        (Upload::from_bytes("x.png", "image/png", vec![0; 20 * 1024 * 1024 + 1]), true),
        (Upload::from_bytes("x".repeat(257), "image/png", vec![1]), true),
    ] {
        let error = submit(&connection, file("t", upload)).await.unwrap_err();
        assert_eq!(matches!(error.kind(), ErrorKind::TooLarge { .. }), large, "{error}");
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    assert!(centre.calls(START).is_empty());
}

#[tokio::test(start_paused = true)]
async fn urls_that_point_elsewhere_are_refused() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    for url in
        ["https://evil.example/x", "http://169.254.169.254/", "file:///etc/passwd", "http://127.0.0.1/x"]
    {
        centre.plan(
            START,
            Plan::json(
                200,
                json!({"AttachmentId": "a", "UploadMetadata": {"Url": url, "HeadersToInclude": {}}}),
            ),
        );
        let error = submit(&connection, file("t", picture())).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::HostRefused, "{url}");
        centre.plan("/participant/attachment", Plan::json(200, json!({"Url": url})));
        let download = Command::File(FileCommand::Download { id: "a".into() });
        let error = submit(&connection, download).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::HostRefused, "{url}");
        centre.plan(
            "/participant/connection",
            Plan::json(
                200,
                json!({"Websocket": {"Url": url}, "ConnectionCredentials": {"ConnectionToken": "c"}}),
            ),
        );
        assert!(centre.transport().connect(resume()).await.is_err(), "{url}");
    }
}

async fn collect(download: Download) -> Result<Vec<u8>> {
    let chunks: Vec<_> = download.bytes.collect().await;
    chunks.into_iter().try_fold(Vec::new(), |mut all, chunk| {
        all.extend_from_slice(&chunk?);
        Ok(all)
    })
}

#[tokio::test(start_paused = true)]
async fn a_download_is_streamed_and_must_be_whole() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    let download =
        async || match submit(&connection, Command::File(FileCommand::Download { id: "a".into() })).await? {
            Ack::File(FileAck::Download(download)) => Result::Ok(download),
            other => panic!("{other:?}"),
        };
    centre.plan("/files/1", Plan::Answer(200, vec![("content-type", "text/plain")], "12345".into()));
    let whole = download().await.unwrap();
    assert_eq!((whole.size, whole.content_type.as_deref()), (Some(5), Some("text/plain")));
    assert_eq!(collect(whole).await.unwrap(), b"12345");
    let call = &centre.calls("/files/1")[0];
    assert!(call.bearer().is_none(), "the bearer stays at home");

    centre.plan("/files/1", Plan::Answer(403, vec![], String::new()));
    centre.plan("/files/1", Plan::Answer(200, vec![], "12345".into()));
    collect(download().await.unwrap()).await.expect("an expired URL is replaced once");

    centre.plan("/files/1", Plan::Answer(200, vec![], "123".into()));
    let short = match download().await {
        Ok(short) => collect(short).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(short.kind(), &ErrorKind::UnexpectedResponse);

    let Ack::File(FileAck::Url(url)) =
        submit(&connection, Command::File(FileCommand::Url { id: "a".into() })).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(url.valid_for, Some(seconds(300)), "by the server's clock");
    assert!(!format!("{url:?}").contains("files/1"));
}

#[tokio::test(start_paused = true)]
async fn views_and_logins() {
    let centre = Centre::open();
    let session = ChatSession::builder(centre.transport()).join(saved()).await.unwrap();
    centre.plan(
        "/participant/views/AQIC%2Fview%2Btoken%3D%3D",
        Plan::json(
            200,
            json!({"View": {"Id": "v", "Name": "Form", "Version": 1, "Content":
                {"InputSchema": "{\"type\":\"object\"}", "Template": "{}", "Actions": ["Next"]}}}),
        ),
    );
    let view = session.describe_view("AQIC/view+token==").await.unwrap();
    assert_eq!(
        (view.name.as_deref(), view.actions.as_slice()),
        (Some("Form"), ["Next".to_owned()].as_slice())
    );
    assert_eq!(view.input_schema, Some(json!({"type": "object"})));

    centre.plan("/participant/views/x", Plan::error(404, "ResourceNotFoundException"));
    assert_eq!(session.describe_view("x").await.unwrap_err().kind(), &ErrorKind::NotFound);

    centre.plan(
        "/participant/authentication-url",
        Plan::json(200, json!({"AuthenticationUrl": "https://login/"})),
    );
    let url = session.authentication_url("s-1", "https://shop.example/cb").await.unwrap();
    assert_eq!(url.expose(), "https://login/");
    assert_eq!(
        centre.calls("/participant/authentication-url")[0].json(),
        json!({"SessionId": "s-1", "RedirectUri": "https://shop.example/cb"})
    );
    session.cancel_authentication("s-1").await.unwrap();
    session.acknowledge_connection().await.unwrap();
    let acknowledged = centre.calls("/participant/connection").pop().unwrap();
    assert_eq!(
        (acknowledged.json(), acknowledged.bearer()),
        (json!({"ConnectParticipant": true}), Some("PT"))
    );
    assert_eq!(
        session.describe_view("").await.unwrap_err().kind(),
        &ErrorKind::InvalidInput,
        "nothing is sent for nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_cannot_do_is_refused_by_name() {
    let centre = Centre::open();
    let (connection, _socket) = centre.start(&centre.transport()).await;
    for command in [
        Command::Notice("x".into()),
        Command::UserData(chat_core::UserData::new()),
        Command::Poll(chat_core::PollScope::New),
        Command::File(FileCommand::Delete { id: "a".into() }),
    ] {
        let wanted = command.capability().unwrap();
        let error = submit(&connection, command).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unsupported { capability, .. } if *capability == wanted),
            "{error}"
        );
        assert!(!connection.capabilities.can(wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn the_vendors_rates_are_kept_over_all_chats() {
    let centre = Centre::open();
    let transport = centre.transport();
    let (one, _first) = centre.start(&transport).await;
    let two = transport.connect(resume()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let sends = (0..40).map(|n| {
        let connection = if n % 2 == 0 { &one } else { &two };
        async move { submit(connection, send("x", &format!("t-{n}"))).await }
    });
    for result in futures::future::join_all(sends).await {
        result.unwrap();
    }
    assert_eq!(begun.elapsed().as_millis(), 2500, "15 at once, then 10 a second");
}
