//! What a chat over CometD can do.

use std::time::Duration;

use chat_core::session::SessionEvent;
use chat_core::{
    AttachmentId, Capability, ChatEvent, ChatSession, Content, EndReason, ErrorKind, SessionDirectory,
    StartRequest, SystemEvent, TypingEvent, Upload, UserData, View,
};
use futures::TryStreamExt;
use transport_gms_v2::GmsSessionExt;

use crate::rig::{Rig, becomes, event, long_polling, shows, shows_text, texts};

#[tokio::test(start_paused = true)]
async fn a_conversation_over_both_transports_with_and_without_acknowledgements() {
    for websocket in [true, false] {
        for acknowledge in [true, false] {
            for with_publish in [true, false] {
                let rig = Rig::with(
                    |server| (server.acknowledge, server.deliver_with_publish) = (acknowledge, with_publish),
                    |_| {},
                );
                let client = if websocket { rig.client() } else { rig.polling_client() };
                let (session, contact) = rig.chat(client).await;
                let agent = contact.as_agent("Maria");
                agent.say("Hello, this is Maria").unwrap();
                shows_text(&session, "Hello, this is Maria").await;
                session.send_text("Grüße & 100 % <b>=</b> + 👋🏽").unwrap().await.unwrap();
                assert_eq!(contact.truth().own_texts(), ["Grüße & 100 % <b>=</b> + 👋🏽"]);
                // Both at once.
                let mut sends = Vec::new();
                for n in 0..20 {
                    sends.push(session.send_text(format!("customer {n}")).unwrap());
                    agent.say(format!("agent {n}")).unwrap();
                }
                for send in sends {
                    send.await.unwrap();
                }
                shows_text(&session, "agent 19").await;
                let truth = contact.truth();
                let expected: Vec<_> = truth.texts().into_iter().map(str::to_owned).collect();
                shows(&session, "everything once, in the centre's order", |session| {
                    texts(session) == expected
                })
                .await;
                session.end().await.unwrap();
                shows(&session, "the end", |session| session.ended().is_some()).await;
                assert_eq!(session.ended(), Some(EndReason::EndedByUs));
                becomes("the goodbye", || rig.sessions() == 0).await;
                assert!(contact.truth().ended.is_some());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_chat_is_there_from_its_first_event_on() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    let info = session.info().unwrap();
    assert!(info.participant.is_some() && info.started_at.is_some());
    assert_eq!(info.display_name.as_deref(), Some("Jane"));
    contact.as_agent("Maria").join().unwrap();
    shows(&session, "both joins", |session| {
        let joined = |row: &&std::sync::Arc<chat_core::Row>| {
            matches!(row.content(), Some(Content::Event(SystemEvent::Joined)))
        };
        session.snapshot(View::Full).iter().filter(joined).count() == 2
    })
    .await;
    assert!(!session.capabilities().can(Capability::Poll));
    let refused = ErrorKind::Unsupported { capability: Capability::Poll, transport: session.transport() };
    for asked in [session.poll(), session.start_poll(), session.stop_poll(), session.reset_poll_exceptions()]
    {
        assert_eq!(asked.unwrap_err().kind(), &refused);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_is_sent_with_the_start() {
    let rig = Rig::new();
    let request = StartRequest {
        initial_message: Some(chat_core::Text::plain("I have a question")),
        user_data: UserData::new().with("orderId", "A-17"),
        ..StartRequest::named("Jane")
    };
    let session = ChatSession::builder(rig.client()).start(request).await.unwrap();
    let truth = rig.console.last_contact().unwrap().truth();
    assert_eq!(truth.own_texts(), ["I have a question"]);
    assert_eq!(truth.user_data.0.get("orderId").map(String::as_str), Some("A-17"));
    shows_text(&session, "I have a question").await;
}

#[tokio::test(start_paused = true)]
async fn both_sides_see_each_other_type() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.polling_client()).await;
    let mut events = session.events();
    contact.as_agent("Maria").types(true).unwrap();
    let who = event(&mut events, "typing", |event| match event {
        ChatEvent::Typing(typing) => match &*typing {
            TypingEvent::Started { who, .. } => who.name.clone(),
            _ => None,
        },
        _ => None,
    })
    .await;
    assert_eq!(&*who, "Maria");
    session.key_pressed(Some("Where is")).unwrap();
    becomes("our typing", || {
        contact.truth().typing.iter().any(|typing| typing.on && typing.preview.as_deref() == Some("Where is"))
    })
    .await;
    // It holds nothing up.
    let before = tokio::time::Instant::now();
    session.send_text("Where is it?").unwrap().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn data_notices_and_the_vendors_own_powers_reach_the_centre() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client_with(|config| config.read_receipts = true)).await;
    session.update_user_data(UserData::new().with("mood", "good")).await.unwrap();
    session.send_notice("{\"page\":7}").await.unwrap();
    session.push_url("https://example.org/cart").await.unwrap();
    session.update_nickname("Janet").await.unwrap();
    contact.as_agent("Maria").say("read me").unwrap();
    shows_text(&session, "read me").await;
    let id = session
        .transcript()
        .iter()
        .find(|row| !row.is_own() && row.message_id().is_some())
        .unwrap()
        .message_id();
    session.read_receipt(&id.unwrap()).await.unwrap();
    let truth = contact.truth();
    assert_eq!(truth.user_data.0.get("mood").map(String::as_str), Some("good"));
    assert_eq!(truth.notices.iter().map(|notice| &**notice).collect::<Vec<_>>(), ["{\"page\":7}"]);
}

#[tokio::test(start_paused = true)]
async fn files_go_to_the_companion_with_the_sessions_cookie() {
    for websocket in [true, false] {
        // The cookie's path does not lead there by itself.
        let rig = Rig::with(|server| server.browser_path = None, |front| front.companion_cookie = !websocket);
        let client = if websocket { rig.client() } else { rig.polling_client() };
        let (session, contact) = rig.chat(client).await;
        let limits = session.file_limits().await.unwrap();
        assert_eq!((limits.max_count, limits.max_bytes), (Some(3), Some(2_097_152)));
        session
            .send_file(Upload::from_bytes("picture.png", "image/png", vec![7; 7_001]))
            .unwrap()
            .await
            .unwrap();
        becomes("our file", || contact.truth().files.len() == 1).await;
        contact.as_agent("Maria").send_file("bill.pdf", "application/pdf", vec![3_u8; 999]).unwrap();
        let find = |session: &ChatSession| -> Option<AttachmentId> {
            let rows = session.transcript();
            let mut files = rows.iter().flat_map(|row| row.attachments().to_vec());
            files.find(|file| &*file.name == "bill.pdf").map(|file| file.id)
        };
        shows(&session, "the agent's file", |session| find(session).is_some()).await;
        let download = session.download(&find(&session).unwrap()).await.unwrap();
        let bytes: Vec<u8> = download
            .bytes
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await
            .unwrap();
        assert_eq!(bytes, vec![3; 999]);
        let wrong = session
            .send_file(Upload::from_bytes("evil.exe", "application/x-msdownload", "MZ"))
            .unwrap()
            .await;
        assert_eq!(wrong.unwrap_err().kind(), &ErrorKind::InvalidInput);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_companion_there_are_no_files() {
    let rig = Rig::new();
    let client = rig.client_with(|config| config.cometd.as_mut().unwrap().companion_url = None);
    let (session, _contact) = rig.chat(client).await;
    assert!(!session.capabilities().can(Capability::Upload));
}

#[tokio::test(start_paused = true)]
async fn another_process_comes_back_and_pages_through_what_was_said() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    let agent = contact.as_agent("Maria");
    for n in 0..60 {
        agent.say(format!("line {n}")).unwrap();
    }
    shows_text(&session, "line 59").await;
    let mut data = session.session_data().unwrap();
    // What the vendor's own client would hand over.
    data.data.retain(|key, _| ["secureKey", "sessionID", "alias", "userId"].contains(&key.as_str()));
    drop(session);
    let session = ChatSession::builder(rig.client()).join(data).await.unwrap();
    shows_text(&session, "line 59").await;
    let mut pages = 0;
    while session.older(20).await.is_ok_and(|page| !page.at_end) {
        pages += 1;
        assert!(pages < 20);
    }
    shows_text(&session, "line 0").await;
    let lines: Vec<_> = texts(&session).into_iter().filter(|text| text.starts_with("line")).collect();
    assert_eq!(lines, (0..60).map(|n| format!("line {n}")).collect::<Vec<_>>());
    agent.say("still here").unwrap();
    shows_text(&session, "still here").await;
    session.send_text("me too").unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_chat_sleeps_for_days() {
    let rig = Rig::new();
    let client = || {
        rig.client_with(|config| {
            config.asynchronous = true;
            long_polling(config);
        })
    };
    let directory = SessionDirectory::in_memory();
    let request = StartRequest { asynchronous: true, ..StartRequest::named("Jane") };
    let session = ChatSession::builder(client()).keep(&directory, "jane").start(request).await.unwrap();
    assert!(session.capabilities().can(Capability::Async));
    let contact = rig.console.last_contact().unwrap();
    assert_eq!(
        contact.truth().request.user_data.0.get("GCTI_Chat_AsyncMode").map(String::as_str),
        Some("true")
    );
    session.send_text("any news?").unwrap().await.unwrap();
    session.leave().await.unwrap();
    shows(&session, "the end", |session| session.ended().is_some()).await;
    assert_eq!(session.ended(), Some(EndReason::Left));
    becomes("the goodbye", || rig.sessions() == 0).await;
    tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
    assert!(contact.truth().ended.is_none(), "dormant");
    contact.as_agent("Maria").say("here is your answer").unwrap();
    let session = ChatSession::builder(client()).keep(&directory, "jane").restore().await.unwrap();
    let mut events = session.events();
    event(&mut events, "the restore", |event| match event {
        ChatEvent::Session(told) => matches!(&*told, SessionEvent::Restored { .. }).then_some(()),
        _ => None,
    })
    .await;
    shows_text(&session, "here is your answer").await;
    while session.older(20).await.is_ok_and(|page| !page.at_end) {}
    shows_text(&session, "any news?").await;
    session.send_text("thank you").unwrap().await.unwrap();
    assert_eq!(contact.truth().own_texts(), ["any news?", "thank you"]);
}

#[tokio::test(start_paused = true)]
async fn asynchronous_chats_have_to_be_allowed() {
    let rig = Rig::new();
    let request = StartRequest { asynchronous: true, ..StartRequest::named("Jane") };
    let error = ChatSession::builder(rig.client()).start(request).await.unwrap_err().error;
    assert!(matches!(error.kind(), ErrorKind::Unsupported { capability: Capability::Async, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_last_words_come_before_the_end() {
    for websocket in [true, false] {
        let rig = Rig::new();
        let client = if websocket { rig.client() } else { rig.polling_client() };
        let (session, contact) = rig.chat(client).await;
        contact.as_agent("Maria").say("Goodbye!").unwrap();
        contact.end().unwrap();
        shows(&session, "the end", |session| session.ended().is_some()).await;
        assert_eq!(session.ended(), Some(EndReason::EndedByService));
        assert_eq!(texts(&session), ["Goodbye!"]);
        becomes("the goodbye", || rig.sessions() == 0).await;
        let data = session.session_data();
        if let Some(data) = data {
            let error = ChatSession::builder(rig.client()).join(data).await.unwrap_err().error;
            assert!(matches!(error.kind(), ErrorKind::SessionEnded | ErrorKind::SessionLost), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whether_a_chat_exists_is_found_out_unseen() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.client()).await;
    let saved = session.session_data().unwrap();
    let connects = contact.truth().items.len();
    let transport = rig.client();
    assert!(chat_core::Transport::verify(&transport, &saved).await.unwrap());
    assert_eq!(contact.truth().items.len(), connects);
    session.end().await.unwrap();
    assert!(!chat_core::Transport::verify(&transport, &saved).await.unwrap());
    becomes("the goodbye", || rig.sessions() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_leaves_nothing_behind() {
    let rig = Rig::new();
    let (session, contact) = rig.chat(rig.polling_client()).await;
    drop(session);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let connections = rig.network.connections();
    assert_eq!(rig.sessions(), 0, "forgotten");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.network.connections(), connections);
    drop(contact);
}
