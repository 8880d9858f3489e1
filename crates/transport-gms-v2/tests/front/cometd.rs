//! The front over CometD: raw exchanges and sockets, pushes, re-attaching, the companion for files.

use std::time::Duration;

use bytes::Bytes;
use chat_core::ReceiptKind;
use chat_sim::{CommandKind, Fault, FaultRule, Point, Profile};
use futures::{SinkExt, StreamExt};
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{io::DuplexStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use transport_gms_v2::front::{Instead, Operation};

use crate::{
    files::{parts, post_parts},
    rig::{Answer, PATIENCE, Rig, events, lines},
};

const COMETD: &str = "/genesys/cometd";
const COMPANION: &str = "/genesys/2/chat-ntf";
const CHANNEL: &str = "/service/chatV2/customer-support";

async fn exchange(rig: &Rig, cookie: &str, messages: Value) -> Answer {
    let request = Request::post(COMETD)
        .header("host", "gms.example.test")
        .header("content-type", "application/json;charset=UTF-8")
        .header("cookie", cookie)
        .body(Full::new(messages.to_string().into()))
        .unwrap();
    rig.send(request).await.unwrap()
}

/// A Bayeux session.
struct Session<'a> {
    rig: &'a Rig,
    cookie: String,
    id: String,
    /// Data of the chat channel that nobody has asked for yet.
    inbox: Vec<Value>,
    /// Of the last chat that was started.
    chat: Value,
}

impl<'a> Session<'a> {
    async fn open(rig: &'a Rig) -> Self {
        let shake = json!([{
            "id": "1", "version": "1.0", "channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"],
        }]);
        let answer = exchange(rig, "", shake).await;
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let id = answer.json()[0]["clientId"].as_str().unwrap().to_owned();
        let mut session = Self { rig, cookie, id, inbox: Vec::new(), chat: Value::Null };
        session.connect(0).await;
        session
    }

    async fn tell(&mut self, message: Value) -> Value {
        let mut message = message;
        message["clientId"] = json!(self.id);
        let replies = exchange(self.rig, &self.cookie, json!([message])).await.json();
        let mut reply = Value::Null;
        for one in replies.as_array().cloned().unwrap_or_default() {
            if one.get("data").is_some() {
                assert_eq!(one["channel"], CHANNEL);
                self.inbox.push(one["data"].clone());
            } else {
                reply = one;
            }
        }
        reply
    }

    async fn connect(&mut self, hold: u64) -> Value {
        self.tell(json!({
            "channel": "/meta/connect", "connectionType": "long-polling", "id": "c", "advice": {"timeout": hold},
        }))
        .await
    }

    async fn publish(&mut self, operation: &str, data: Value) -> Value {
        let mut data = data;
        data["operation"] = json!(operation);
        if self.chat != Value::Null && data.get("secureKey").is_none() {
            data["secureKey"] = self.chat["secureKey"].clone();
        }
        self.tell(json!({"channel": CHANNEL, "id": "p", "data": data})).await
    }

    /// Starts a chat.
    async fn start(&mut self) {
        let acknowledged = self.publish("requestChat", json!({"nickname": "Jane"})).await;
        assert_eq!(acknowledged["successful"], true);
        self.chat = self.data().await;
    }

    /// The next data of the chat channel.
    async fn data(&mut self) -> Value {
        let waiting = async {
            while self.inbox.is_empty() {
                self.connect(30_000).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("data in time");
        self.inbox.remove(0)
    }

    /// Whether nothing comes while a connect is held.
    async fn is_silent(&mut self) -> bool {
        self.connect(3_000).await;
        self.inbox.is_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_runs_over_cometd() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    assert_eq!(lines(&events(&session.chat)), ["1 ParticipantJoined Jane#1 -"]);
    let contact = rig.console.last_contact().unwrap();
    // The echo shares the reply to the publish.
    let sent =
        session.publish("sendMessage", json!({"message": "Hello", "messageType": "text;token=1"})).await;
    assert_eq!(sent["successful"], true);
    assert_eq!(session.inbox.len(), 1);
    let echo = session.data().await;
    assert_eq!(lines(&events(&echo)), ["2 Message Jane#1 Hello"]);
    assert_eq!(echo["messages"][0]["messageType"], "text;token=1");
    assert_eq!((&echo["statusCode"], &echo["secureKey"]), (&json!(0), &session.chat["secureKey"]));
    // What the agent says comes with a held connect.
    let agent = contact.as_agent("Maria");
    agent.say("Hi!").unwrap();
    let mut pushed = events(&session.data().await);
    while pushed.len() < 2 {
        pushed.extend(events(&session.data().await));
    }
    assert_eq!(lines(&pushed), ["3 ParticipantJoined Maria#2 -", "4 Message Maria#2 Hi!"]);
    session.publish("disconnect", json!({})).await;
    let end = session.data().await;
    assert_eq!(
        (&end["chatEnded"], lines(&events(&end))),
        (&json!(true), vec!["5 ParticipantLeft Jane#1 -".into()])
    );
    contact.wait_for(|truth| truth.ended.is_some()).await;
    assert!(session.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn the_other_operations_are_answered_by_data() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    for (operation, data) in [
        ("startTyping", json!({"message": "I nee"})),
        ("stopTyping", json!({})),
        ("updateData", json!({"userData": {"orderId": "A-18"}})),
    ] {
        session.publish(operation, data).await;
        let answer = session.data().await;
        assert_eq!((&answer["statusCode"], &answer["messages"]), (&json!(0), &json!([])), "{operation}");
    }
    for (operation, data, kind) in [
        ("customNotice", json!({"message": "bye"}), "CustomNotice"),
        ("pushUrl", json!({"pushUrl": "https://shop.example.test"}), "PushUrl"),
        ("updateNickname", json!({"nickname": "Joan"}), "NicknameUpdated"),
    ] {
        session.publish(operation, data).await;
        let answer = session.data().await;
        assert_eq!(answer["messages"][0]["type"], kind, "{operation}");
    }
    session.publish("refresh", json!({"transcriptPosition": -1})).await;
    assert_eq!(session.data().await["messages"][0]["type"], "NicknameUpdated");
    let truth = contact.truth();
    assert_eq!(truth.user_data.0.get("orderId").map(String::as_str), Some("A-18"));
    assert_eq!(truth.typing.first().unwrap().preview.as_deref(), Some("I nee"));
    assert!(session.is_silent().await, "nothing is told twice");
}

#[tokio::test(start_paused = true)]
async fn errors_come_as_data_and_credentials_of_the_service_are_ignored() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    let auth = json!({"username": "u", "password": "p"});
    session.publish("requestChat", json!({"subject": "no name", "auth": auth})).await;
    assert_eq!(session.data().await["errors"][0]["code"], 161);
    session.start().await;
    session.publish("sendMessage", json!({"message": "x", "secureKey": "nope"})).await;
    let refused = session.data().await;
    assert_eq!((&refused["statusCode"], &refused["errors"][0]["code"]), (&json!(2), &json!(249)));
    session.publish("fly", json!({})).await;
    assert_eq!(session.data().await["statusCode"], 2);
    let elsewhere =
        session.tell(json!({"channel": "/service/chatV2/nope", "data": {"operation": "refresh"}})).await;
    assert_eq!(
        (&elsewhere["successful"], &elsewhere["error"]),
        (&json!(false), &json!("404::unknown channel"))
    );
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_asks_for_what_was_missed() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    session.publish("sendMessage", json!({"message": "one"})).await;
    session.data().await;
    rig.front.cometd().unwrap().restart();
    let lost = session.connect(0).await;
    assert_eq!(
        (&lost["error"], &lost["advice"]["reconnect"]),
        (&json!("402::Unknown client"), &json!("handshake"))
    );
    contact.as_agent("Maria").say("while away").unwrap();
    for (position, first) in [(json!(null), 1), (json!(0), 1), (json!(2), 2), (json!("3"), 3)] {
        let mut again = Session::open(&rig).await;
        again.chat = session.chat.clone();
        again.publish("requestNotifications", json!({"transcriptPosition": position})).await;
        let mut all = Vec::new();
        while all.last().is_none_or(|event: &Value| event["text"] != "while away") {
            all.extend(events(&again.data().await));
        }
        let indexes: Vec<_> = all.iter().map(|event| event["index"].as_u64().unwrap()).collect();
        assert_eq!(indexes, (first..=4).collect::<Vec<_>>(), "{position}");
        again.tell(json!({"channel": "/meta/disconnect"})).await;
    }
    // Without it, a session can speak and is answered, but hears of nothing.
    let mut deaf = Session::open(&rig).await;
    deaf.chat = session.chat.clone();
    deaf.publish("sendMessage", json!({"message": "back"})).await;
    assert_eq!(deaf.data().await["messages"], json!([]));
    contact.as_agent("Maria").say("welcome").unwrap();
    contact.wait_for(|truth| truth.texts().contains(&"welcome")).await;
    assert!(deaf.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn two_sessions_of_one_chat_hear_everything_once() {
    let rig = Rig::new();
    let mut first = Session::open(&rig).await;
    first.start().await;
    let mut second = Session::open(&rig).await;
    second.chat = first.chat.clone();
    second.publish("requestNotifications", json!({})).await;
    assert_eq!(lines(&events(&second.data().await)), ["1 ParticipantJoined Jane#1 -"]);
    first.publish("sendMessage", json!({"message": "Hello"})).await;
    for session in [&mut first, &mut second] {
        assert_eq!(lines(&events(&session.data().await)), ["2 Message Jane#1 Hello"]);
        assert!(session.is_silent().await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attached_session_keeps_the_chat_and_a_lost_one_does_not() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    for _ in 0..10 {
        session.connect(30_000).await;
    }
    assert!(contact.truth().ended.is_none());
    // The session is forgotten after ten seconds, the chat 45 later.
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(contact.truth().ended.is_none());
    tokio::time::sleep(Duration::from_secs(10)).await;
    contact.wait_for(|truth| truth.ended.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_is_pushed_behind_the_last_words() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let agent = rig.console.last_contact().unwrap().as_agent("Maria");
    agent.say("Goodbye!").unwrap();
    agent.end().unwrap();
    let mut all = Vec::new();
    loop {
        let data = session.data().await;
        all.extend(events(&data));
        if data["chatEnded"] == true {
            break;
        }
    }
    assert_eq!(
        lines(&all),
        [
            "2 ParticipantJoined Maria#2 -",
            "3 Message Maria#2 Goodbye!",
            "4 ParticipantLeft Maria#2 -",
            "5 ParticipantLeft Jane#1 -",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn faults_reach_cometd_too() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    rig.instead(Operation::Send, Instead::Transient, 1);
    session.publish("sendMessage", json!({"message": "x"})).await;
    assert_eq!(session.data().await["statusCode"], 1);
    rig.instead(Operation::Send, Instead::Html(500), 1);
    assert_eq!(session.publish("sendMessage", json!({"message": "x"})).await["successful"], false);
    assert!(contact.truth().own_texts().is_empty());
    rig.instead(Operation::Send, Instead::LoseAnswer, 1);
    rig.faults(|faults| faults.duplicate_events = 1);
    session.publish("sendMessage", json!({"message": "y"})).await;
    let pushed = session.data().await;
    assert_eq!(lines(&events(&pushed)), ["2 Message Jane#1 y"; 2], "the push comes all the same");
}

#[tokio::test(start_paused = true)]
async fn a_push_can_be_lost_and_is_told_when_asked_for() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    rig.faults(|faults| faults.lose_pushes = 2);
    contact.as_agent("Maria").say("lost, as the joining").unwrap();
    assert!(session.is_silent().await);
    contact.as_agent("Maria").say("heard").unwrap();
    assert_eq!(lines(&events(&session.data().await)), ["4 Message Maria#2 heard"]);
    session.publish("requestNotifications", json!({"transcriptPosition": 2})).await;
    assert_eq!(
        lines(&events(&session.data().await)),
        [
            "2 ParticipantJoined Maria#2 -",
            "3 Message Maria#2 lost, as the joining",
            "4 Message Maria#2 heard"
        ]
    );
    assert_eq!(rig.front.faults().lose_pushes, 0);
    assert_eq!(rig.front.listenings(&rig.front.chat_ids()[0]), 2, "the start, and the question");
}

/// Both sessions hear of what the first one says, while the second one waits for an answer that is no event.
#[tokio::test(start_paused = true)]
async fn an_answer_is_not_kept_back_for_what_another_tab_said() {
    let rig = Rig::new();
    let mut first = Session::open(&rig).await;
    first.start().await;
    let mut second = Session::open(&rig).await;
    second.chat = first.chat.clone();
    second.publish("requestNotifications", json!({})).await;
    second.data().await;
    let slow = Fault::Delay(500);
    rig.console.network().add(FaultRule::new(Point::Submit(CommandKind::UserData), slow));
    tokio::join!(second.publish("updateData", json!({"userData": {"a": "b"}})), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.publish("sendMessage", json!({"message": "Hello"})).await;
    });
    let (one, other) = (second.data().await, second.data().await);
    assert_eq!(lines(&events(&one)), ["2 Message Jane#1 Hello"]);
    assert_eq!((&other["statusCode"], &other["messages"]), (&json!(0), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_the_answer_is_on_its_way_is_pushed_behind_it() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    let mut other = Session::open(&rig).await;
    other.chat = session.chat.clone();
    rig.instead(Operation::RequestNotifications, Instead::Delay(Duration::from_secs(1)), 1);
    tokio::join!(other.publish("requestNotifications", json!({"transcriptPosition": 2})), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        contact.as_agent("Maria").say("meanwhile").unwrap();
    });
    assert_eq!(other.data().await["messages"], json!([]), "nothing, when it was asked for");
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(lines(&events(&other.data().await)));
    }
    assert_eq!(told, ["2 ParticipantJoined Maria#2 -", "3 Message Maria#2 meanwhile"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_is_told_delivered() {
    let rig = Rig::new();
    let mut session = Session::open(&rig).await;
    session.start().await;
    let contact = rig.console.last_contact().unwrap();
    let said = contact.as_agent("Maria").say("Hi!").unwrap();
    while !events(&session.data().await).iter().any(|event| event["text"] == "Hi!") {}
    let told = timeout(PATIENCE, contact.wait_for(|truth| !truth.receipts.is_empty())).await;
    let truth = told.expect("a receipt");
    assert_eq!((&truth.receipts[0].message, truth.receipts[0].kind), (&said, ReceiptKind::Delivered));
}

#[tokio::test(start_paused = true)]
async fn sockets_are_opened_for_those_who_may() {
    let upgrade = |rig: &Rig, headers: &[(&'static str, &'static str)]| {
        let mut request = Request::get(COMETD).header("host", "gms.example.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let connection = rig.connection();
        let request = request.body(Full::<Bytes>::default()).unwrap();
        async move {
            let (mut sender, driver) =
                hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
            let driver = tokio::spawn(driver);
            let answer = sender.send_request(request).await.unwrap();
            driver.abort();
            (answer.status().as_u16(), answer.headers().get("sec-websocket-version").cloned())
        }
    };
    let ours = ("origin", "https://shop.example.test");
    let theirs = ("origin", "https://evil.example.test");
    let asks = [
        ("connection", "upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];
    let with = |more| [&asks[..], &[more]].concat();
    let rig = Rig::tuned(|config| config.allowed_origins = Some(vec![ours.1.to_owned()]));
    assert_eq!(upgrade(&rig, &asks).await.0, 101, "no browser");
    assert_eq!(upgrade(&rig, &with(ours)).await.0, 101);
    assert_eq!(upgrade(&rig, &with(theirs)).await.0, 403);
    assert_eq!(upgrade(&rig, &[]).await.0, 405, "a page is no socket");
    let mut old = asks;
    old[3].1 = "8";
    let (status, version) = upgrade(&rig, &old).await;
    assert_eq!((status, version.unwrap().to_str().unwrap()), (426, "13"));
    rig.front.cometd().unwrap().configure(|config| config.websocket = false);
    assert_eq!(upgrade(&rig, &asks).await.0, 405);
}

#[tokio::test(start_paused = true)]
async fn files_go_through_the_companion() {
    let rig = Rig::tuned(|config| config.companion_cookie = false);
    let mut session = Session::open(&rig).await;
    session.start().await;
    let key = session.chat["secureKey"].as_str().unwrap().to_owned();
    let key = ("secureKey", &*key);
    for name in ["fileGetLimits", "fileGetsLimits"] {
        let reply = rig.post(COMPANION, &[("operation", name), key]).await.ok();
        assert_eq!(reply["messages"][0]["text"], "file-client-cfg-get");
    }
    let body = parts(&[("operation", "fileUpload"), key], ("a.txt", "text/plain", b"hello"), true);
    let reply = post_parts(&rig, COMPANION, body).await.ok();
    let id = reply["userData"]["file-id"].as_str().unwrap();
    let pushed = session.data().await;
    assert_eq!(
        (&pushed["messages"][0]["type"], &pushed["messages"][0]["userData"]["file-id"]),
        (&json!("FileUploaded"), &json!(id))
    );
    let file = rig.post(COMPANION, &[("operation", "fileDownload"), key, ("fileId", id)]).await;
    assert_eq!((file.status, &file.bytes[..]), (200, &b"hello"[..]));
    rig.post(COMPANION, &[("operation", "fileDelete"), key, ("fileId", id)]).await.ok();
    assert_eq!(session.data().await["messages"][0]["type"], "FileDeleted");
    assert_eq!(rig.post(COMPANION, &[("operation", "fly"), key]).await.failure(), (400, -1, 500));
}

#[tokio::test(start_paused = true)]
async fn the_companion_may_want_the_cookie() {
    let rig = Rig::tuned(|config| config.companion_cookie = true);
    let mut session = Session::open(&rig).await;
    session.start().await;
    let key = session.chat["secureKey"].as_str().unwrap().to_owned();
    let form = [("operation", "fileGetLimits"), ("secureKey", &*key)];
    assert_eq!(rig.post(COMPANION, &form).await.status, 403);
    rig.try_post(COMPANION, &[("cookie", &*session.cookie)], &form).await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn without_the_mode_there_is_nothing_there() {
    let rig = Rig::tuned(|config| config.cometd = None);
    for path in [COMETD, COMPANION, "/genesys/cometd/handshake"] {
        assert_eq!(rig.post(path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(rig.post("/genesys/cometdx", &[]).await.status, 404);
}

async fn frame(socket: &mut WebSocketStream<DuplexStream>) -> Vec<Value> {
    loop {
        if let Message::Text(text) = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_runs_over_a_socket() {
    let rig = Rig::with(Profile::push(), |_| {});
    let (mut socket, _) =
        client_async("ws://gms.example.test/genesys/cometd", rig.connection()).await.unwrap();
    let shake = json!([{"id": "1", "version": "1.0", "channel": "/meta/handshake", "supportedConnectionTypes": ["websocket"]}]);
    socket.send(Message::text(shake.to_string())).await.unwrap();
    let id = frame(&mut socket).await[0]["clientId"].clone();
    let start = json!([{"id": "2", "channel": CHANNEL, "clientId": id, "data": {"operation": "requestChat", "nickname": "Jane"}}]);
    socket.send(Message::text(start.to_string())).await.unwrap();
    let connect =
        json!([{"id": "3", "channel": "/meta/connect", "clientId": id, "connectionType": "websocket"}]);
    socket.send(Message::text(connect.to_string())).await.unwrap();
    let mut data = Vec::new();
    while data.is_empty() {
        data.extend(frame(&mut socket).await.into_iter().filter(|message| message.get("data").is_some()));
    }
    assert_eq!(lines(&events(&data[0]["data"])), ["1 ParticipantJoined Jane#1 -"]);
    rig.console.last_contact().unwrap().as_agent("Maria").say("Hi!").unwrap();
    let mut heard = Vec::new();
    while heard.last().is_none_or(|event: &Value| event["text"] != "Hi!") {
        for message in frame(&mut socket).await {
            heard.extend(events(&message["data"]));
        }
    }
    rig.front.cut_connections();
    let end = timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    assert!(end.is_ok(), "sockets are cut, too");
}
