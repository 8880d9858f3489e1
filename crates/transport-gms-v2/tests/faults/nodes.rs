//! Several nodes behind one address (F63).

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chat_core::{AttachmentId, ChatSession, Upload};
use futures::TryStreamExt;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use transport_gms_v2::front::IdentityCheck;

use crate::{
    Way,
    rig::{Rig, becomes, shows, shows_text, texts},
};

/// What a node says about a chat that it does not have.
const ANSWERS: [(u16, &str, &str); 3] = [
    (404, "text/html", "<html><title>Not Found</title></html>"),
    (400, "application/json", r#"{"errors":[{"code":404,"advice":"no such chat"}]}"#),
    (
        200,
        "application/json",
        r#"{"statusCode":2,"chatEnded":false,"errors":[{"code":404,"advice":"no such chat"}]}"#,
    ),
];

/// From now on some requests go to a node that does not have the chat, but never two at once. Says how many have gone there.
fn second_node(rig: &Rig, (status, kind, body): (u16, &'static str, &'static str)) -> Arc<AtomicUsize> {
    let mut listener = rig.network.listen("gms.example.org:443");
    let front = Arc::downgrade(&rig.front);
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    tokio::spawn(async move {
        let mut gaps = [3, 5, 4, 7, 3, 6].into_iter().cycle();
        let mut gap = 0;
        while let Some(stream) = listener.accept().await {
            if gap > 0 {
                gap -= 1;
                let Some(front) = front.upgrade() else { return };
                tokio::spawn(front.serve_connection(stream));
                continue;
            }
            gap = gaps.next().unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let answer = service_fn(move |_| async move {
                let answer = Response::builder().status(status).header("content-type", kind);
                Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    lost
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_have_the_chat_ends_nothing_and_loses_nothing() {
    for answer in ANSWERS {
        let rig = Rig::new();
        let (session, contact) = rig.chat(Way::Polling.client(&rig)).await;
        let lost = second_node(&rig, answer);
        let agent = contact.as_agent("Maria");
        let mut own = Vec::new();
        for n in 0..20 {
            agent.say(format!("agent {n}")).unwrap();
            own.push(format!("customer {n}"));
            session.send_text(format!("customer {n}")).unwrap().await.unwrap();
        }
        shows_text(&session, "agent 19").await;
        assert_eq!(contact.truth().own_texts(), own, "{answer:?}");
        let expected: Vec<_> = contact.truth().texts().into_iter().map(str::to_owned).collect();
        shows(&session, "everything once", |session| texts(session) == expected).await;
        assert!(session.ended().is_none());
        assert!(lost.load(Ordering::Relaxed) > 3, "it was asked: {answer:?}");
    }
}

async fn a_conversation_with_a_file(rig: &Rig, session: &ChatSession, contact: &chat_sim::ContactConsole) {
    let sent = tokio::time::timeout(Duration::from_secs(30), session.send_text("hello").unwrap());
    sent.await.expect("the node that has the chat was asked").unwrap();
    contact.as_agent("Maria").say("hi").unwrap();
    shows_text(session, "hi").await;
    session.send_file(Upload::from_bytes("a.pdf", "application/pdf", "%PDF")).unwrap().await.unwrap();
    becomes("the file", || contact.truth().files.len() == 1).await;
    contact.as_agent("Maria").send_file("bill.pdf", "application/pdf", "%PDF-2").unwrap();
    let find = |session: &ChatSession| -> Option<AttachmentId> {
        let rows = session.transcript();
        let mut files = rows.iter().flat_map(|row| row.attachments().to_vec());
        files.find(|file| &*file.name == "bill.pdf").map(|file| file.id)
    };
    shows(session, "the agent's file", |session| find(session).is_some()).await;
    let download = session.download(&find(session).unwrap()).await.unwrap();
    let bytes: Vec<Bytes> = download.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), b"%PDF-2");
    session.update_user_data(chat_core::UserData::new().with("mood", "good")).await.unwrap();
    session.end().await.unwrap();
    shows(session, "the end", |session| session.ended().is_some()).await;
    assert!(rig.front.faults().answers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_the_node_of_the_cookie() {
    let rig = Rig::with(|_| {}, |front| front.affinity_cookie = true);
    let (session, contact) = rig.chat(Way::Polling.client(&rig)).await;
    a_conversation_with_a_file(&rig, &session, &contact).await;
}

#[tokio::test(start_paused = true)]
async fn calls_name_the_chat_server_that_answered_last() {
    let rig = Rig::with(|_| {}, |front| front.identity = IdentityCheck::Strict);
    let (session, contact) = rig.chat(Way::Polling.client(&rig)).await;
    let mut faults = rig.front.faults();
    faults.change_alias = 1_000;
    rig.front.set_faults(faults);
    a_conversation_with_a_file(&rig, &session, &contact).await;
}
