//! What a client that is not ours notices of the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, channel::mpsc};
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use transport_gms_v2::bayeux::server::{Application, BayeuxServer, Client, Refusal, ServerConfig};

use crate::rig::Echo;

struct Bench {
    server: BayeuxServer,
    echo: Arc<Echo>,
    cookie: Option<String>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::default();
        change(&mut config);
        let echo = Arc::new(Echo::default());
        Self { server: BayeuxServer::new(config, echo.clone()), echo, cookie: None }
    }

    async fn ask(&mut self, body: &Value) -> (StatusCode, Vec<Value>) {
        self.ask_text(&body.to_string()).await
    }

    async fn ask_text(&mut self, body: &str) -> (StatusCode, Vec<Value>) {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = &self.cookie {
            headers.insert("cookie", cookie.parse().unwrap());
        }
        let response = self.server.exchange(&headers, body.as_bytes()).await;
        assert_eq!(response.headers()["content-type"], "application/json;charset=UTF-8");
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.ends_with("; HttpOnly"), "{cookie}");
            self.cookie = Some(cookie.split(';').next().unwrap().into());
        }
        (response.status(), serde_json::from_str(response.body()).unwrap())
    }

    /// A session whose first connect is answered.
    async fn session(&mut self) -> String {
        let (_, replies) =
            self.ask(&json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0"}])).await;
        let id = replies[0]["clientId"].as_str().unwrap().to_owned();
        let (_, replies) = self.ask(&json!([connect(&id)])).await;
        assert_eq!(replies[0]["successful"], true);
        id
    }

    async fn publish(&mut self, id: &str, data: Value) -> Vec<Value> {
        self.ask(&json!([{"channel": "/service/echo", "id": "9", "clientId": id, "data": data}])).await.1
    }
}

fn connect(id: &str) -> Value {
    json!({"channel": "/meta/connect", "id": "2", "clientId": id, "connectionType": "long-polling"})
}

#[tokio::test(start_paused = true)]
async fn a_handshake_and_its_first_connect() {
    let mut bench = Bench::new(|_| {});
    let (status, replies) = bench
        .ask(&json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0", "ext": {"ack": true}}]))
        .await;
    assert_eq!(status, StatusCode::OK);
    let reply = &replies[0];
    assert_eq!(
        (&reply["id"], &reply["successful"], &reply["version"], &reply["advice"]),
        (
            &json!("1"),
            &json!(true),
            &json!("1.0"),
            &json!({"reconnect": "retry", "interval": 0, "timeout": 30000})
        )
    );
    assert!(reply.get("ext").is_none(), "acknowledgements are off");
    assert!(bench.cookie.as_deref().unwrap().starts_with("BAYEUX_BROWSER="));
    let mut first = connect(reply["clientId"].as_str().unwrap());
    first["advice"] = json!({"timeout": 0});
    let start = Instant::now();
    let (_, replies) = bench.ask(&json!([first])).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(replies[0]["advice"]["timeout"], 30000);
    assert!(replies[0].get("clientId").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_held_for_the_advised_time_or_the_shorter_one_that_is_asked_for() {
    let mut bench = Bench::new(|_| {});
    let id = bench.session().await;
    for (asked, held) in [(None, 30), (Some(5000), 5), (Some(90_000), 30)] {
        let mut request = connect(&id);
        if let Some(asked) = asked {
            request["advice"] = json!({"timeout": asked});
        }
        let start = Instant::now();
        let (_, replies) = bench.ask(&json!([request])).await;
        assert_eq!((start.elapsed().as_secs(), &replies[0]["successful"]), (held, &json!(true)));
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_arrays_and_single_objects_if_allowed() {
    let mut bench = Bench::new(|_| {});
    let handshake = r#" {"channel":"/meta/handshake","id":"1"}"#;
    assert_eq!(bench.ask_text(handshake).await.0, StatusCode::OK);
    bench.server.configure(|config| config.single_object = false);
    for bad in [handshake, "", "[]", "[7]", "<html>", "[{"] {
        assert_eq!(bench.ask_text(bad).await, (StatusCode::BAD_REQUEST, vec![]), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_messages_of_one_body_are_answered_together_and_nothing_is_held() {
    let mut bench = Bench::new(|_| {});
    let id = bench.session().await;
    let start = Instant::now();
    let (_, replies) = bench
        .ask(&json!([
            {"channel": "/meta/subscribe", "id": "3", "clientId": id, "subscription": ["/service/a", "/service/b"]},
            {"channel": "/service/echo", "id": "4", "clientId": id, "data": "x"},
            {"channel": "/meta/unsubscribe", "id": "5", "clientId": id, "subscription": "/service/a"},
            {"channel": "/meta/odd", "id": "6", "clientId": id},
            {"channel": "odd", "id": "7", "clientId": id, "data": 1},
            {"channel": "/service/echo", "id": "8", "clientId": id},
            connect(&id),
        ]))
        .await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let shown: Vec<_> = replies.iter().map(|reply| (reply["id"].as_str(), reply["error"].as_str())).collect();
    assert_eq!(
        shown,
        [
            (Some("3"), None),
            (None, None),
            (Some("4"), None),
            (Some("5"), None),
            (Some("6"), Some("404::unknown meta channel")),
            (Some("7"), Some("400::invalid channel")),
            (Some("8"), Some("400::no data")),
            (Some("2"), None),
        ]
    );
    assert_eq!(replies[0]["subscription"], json!(["/service/a", "/service/b"]));
    assert_eq!(replies[1], json!({"channel": "/service/echo", "data": "x"}));
    let client = bench.echo.clients.lock().unwrap()[0].clone();
    assert!(client.is_subscribed("/service/b") && !client.is_subscribed("/service/a"));
}

#[tokio::test(start_paused = true)]
async fn who_is_unknown_or_brings_no_cookie_is_refused_and_only_a_connect_is_advised() {
    let mut bench = Bench::new(|config| config.require_browser = true);
    let id = bench.session().await;
    assert_eq!(bench.publish(&id, json!(1)).await.len(), 2, "accepted with its cookie");
    bench.cookie = None;
    assert_eq!(
        bench.publish(&id, json!(1)).await,
        [json!({"channel": "/service/echo", "id": "9", "successful": false, "error": "402::Unknown client"})]
    );
    let (_, replies) = bench.ask(&json!([connect(&id)])).await;
    assert_eq!(replies[0]["error"], "402::Unknown client");
    assert_eq!(replies[0]["advice"], json!({"reconnect": "handshake", "interval": 0}));
    bench.server.configure(|config| config.require_browser = false);
    assert_eq!(bench.publish(&id, json!(1)).await.len(), 2);
    assert_eq!(bench.publish("nobody", json!(1)).await[0]["error"], "402::Unknown client");
}

#[tokio::test(start_paused = true)]
async fn a_second_connect_replaces_the_first() {
    let mut bench = Bench::new(|_| {});
    let id = bench.session().await;
    let server = bench.server.clone();
    let body = json!([connect(&id)]).to_string();
    let first = tokio::spawn(async move { server.exchange(&HeaderMap::new(), body.as_bytes()).await });
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let (status, replies) = bench.ask(&json!([connect(&id)])).await;
    assert_eq!(
        (status, start.elapsed().as_secs(), &replies[0]["successful"]),
        (StatusCode::OK, 30, &json!(true))
    );
    let replaced = first.await.unwrap();
    assert_eq!((replaced.status(), replaced.body().as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "[]"));
}

#[tokio::test(start_paused = true)]
async fn pushes_without_a_held_connect_wait_or_are_lost() {
    for lose in [false, true] {
        let mut bench = Bench::new(|config| config.lose_unheld = lose);
        let id = bench.session().await;
        bench.publish(&id, json!(1)).await;
        let client = bench.echo.clients.lock().unwrap()[0].clone();
        assert!(client.deliver("/service/echo", crate::rig::raw("2")));
        let (_, replies) = bench.ask(&json!([connect(&id)])).await;
        assert_eq!((replies.len(), bench.server.lost()), if lose { (1, 1) } else { (2, 0) });
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_comes_again() {
    let mut bench = Bench::new(|config| config.acknowledge = true);
    let (_, replies) =
        bench.ask(&json!([{"channel": "/meta/handshake", "id": "1", "ext": {"ack": true}}])).await;
    assert_eq!(replies[0]["ext"]["ack"], true);
    let id = replies[0]["clientId"].as_str().unwrap().to_owned();
    let ask = |ack: i64| {
        let mut request = connect(&id);
        request["ext"] = json!({"ack": ack});
        json!([request])
    };
    bench.ask(&ask(-1)).await;
    assert_eq!(bench.publish(&id, json!("a")).await.len(), 1, "only connects deliver");
    let (_, replies) = bench.ask(&ask(1)).await;
    assert_eq!((&replies[0]["data"], &replies[1]["ext"]["ack"]), (&json!("a"), &json!(2)));
    let (_, replies) = bench.ask(&ask(1)).await;
    assert_eq!((&replies[0]["data"], &replies[1]["ext"]["ack"]), (&json!("a"), &json!(3)), "again");
    let start = Instant::now();
    let (_, replies) = bench.ask(&ask(3)).await;
    assert_eq!((replies.len(), start.elapsed().as_secs()), (1, 30), "not any more");
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_is_forgotten_and_a_held_one_is_not() {
    let mut bench = Bench::new(|config| config.hold = Duration::from_secs(60));
    let sweeper = tokio::spawn(bench.server.sweeper());
    let id = bench.session().await;
    bench.publish(&id, json!(1)).await;
    let (_, replies) = bench.ask(&json!([connect(&id)])).await;
    assert_eq!(replies[0]["successful"], true, "held for longer than a silence may last");
    sleep(Duration::from_secs(9)).await;
    assert_eq!(bench.server.sessions(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.server.sessions(), 0);
    assert_eq!(*bench.echo.ended.lock().unwrap(), ["Expired"]);
    drop(bench);
    sweeper.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_lets_its_connect_go_and_its_publish_be() {
    let mut bench = Bench::new(|_| {});
    let id = bench.session().await;
    let body = json!([connect(&id)]).to_string();
    let headers = HeaderMap::new();
    let held = bench.server.exchange(&headers, body.as_bytes());
    assert!(tokio::time::timeout(Duration::from_secs(5), held).await.is_err());
    // Gone: the silence counts from here.
    sleep(Duration::from_secs(9)).await;
    bench.publish(&id, json!("still known")).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.publish(&id, json!(1)).await[0]["error"], "402::Unknown client");
}

#[tokio::test(start_paused = true)]
async fn sessions_and_queues_are_bounded() {
    let mut bench = Bench::new(|config| (config.max_sessions, config.max_queue) = (1, 3));
    let id = bench.session().await;
    let (_, replies) = bench.ask(&json!([{"channel": "/meta/handshake", "id": "1"}])).await;
    assert_eq!(replies[0]["error"], "503::too many sessions");
    bench.publish(&id, json!(1)).await;
    let client = bench.echo.clients.lock().unwrap()[0].clone();
    let taken = (0..5).filter(|_| client.deliver("/service/echo", crate::rig::raw("1"))).count();
    assert_eq!((taken, client.is_open()), (3, false));
}

#[tokio::test(start_paused = true)]
async fn silent_sessions_are_unknown_and_make_room_before_anybody_sweeps() {
    let mut bench = Bench::new(|config| config.max_sessions = 1);
    let id = bench.session().await;
    sleep(Duration::from_secs(11)).await;
    assert_eq!(bench.publish(&id, json!(1)).await[0]["error"], "402::Unknown client");
    assert_eq!(bench.echo.ended.lock().unwrap().len(), 1);
    let cookie = bench.cookie.clone();
    let mut headers = HeaderMap::new();
    headers.insert("cookie", cookie.unwrap().parse().unwrap());
    assert!(!bench.server.knows_browser(&headers), "nor is its browser known");
    for _ in 0..3 {
        bench.session().await;
        assert!(bench.server.knows_browser(&headers));
        sleep(Duration::from_secs(11)).await;
    }
    assert_eq!(*bench.echo.ended.lock().unwrap(), ["Expired"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_session_for_which_too_much_waits_is_told_ended() {
    let mut bench = Bench::new(|config| config.max_queue = 3);
    let sweeper = tokio::spawn(bench.server.sweeper());
    let id = bench.session().await;
    bench.publish(&id, json!(1)).await;
    let client = bench.echo.clients.lock().unwrap()[0].clone();
    while client.deliver("/service/echo", crate::rig::raw("1")) {}
    sleep(Duration::from_secs(11)).await;
    assert_eq!(*bench.echo.ended.lock().unwrap(), ["Overrun"]);
    drop(bench);
    sweeper.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bodies_and_names_of_channels_are_bounded() {
    let mut bench = Bench::new(|_| {});
    let id = bench.session().await;
    let publish = json!({"channel": "/service/echo", "id": "9", "clientId": id, "data": 1});
    let (status, _) = bench.ask(&json!(vec![&publish; 65])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, replies) = bench.ask(&json!(vec![&publish; 64])).await;
    assert_eq!((status, replies.len()), (StatusCode::OK, 128), "each with what it brought about");
    for (length, successful) in [(1_024, true), (1_025, false)] {
        let channel = format!("/{}", "x".repeat(length - 1));
        let request =
            json!([{"channel": "/meta/subscribe", "id": "3", "clientId": id, "subscription": channel}]);
        assert_eq!(bench.ask(&request).await.1[0]["successful"], successful, "{length}");
    }
}

// ---- sockets ----------------------------------------------------------------------------------------------------------------

/// A socket: frames in, frames out, and the task that serves it.
struct Socket {
    frames: mpsc::Sender<String>,
    told: mpsc::Receiver<String>,
    task: JoinHandle<()>,
}

impl Socket {
    fn open(server: &BayeuxServer) -> Self {
        let (frames, incoming) = mpsc::channel(1_000);
        let (outgoing, told) = mpsc::channel(0);
        let server = server.clone();
        let task = tokio::spawn(async move { server.socket(&HeaderMap::new(), incoming, outgoing).await });
        Self { frames, told, task }
    }

    fn send(&self, message: &Value) {
        self.frames.clone().try_send(json!([message]).to_string()).unwrap();
    }

    async fn next(&mut self) -> Vec<Value> {
        serde_json::from_str(&self.told.next().await.unwrap()).unwrap()
    }

    /// Takes the session over, from its first connect on.
    async fn connect(&mut self, id: &str) {
        let mut request = connect(id);
        request["advice"] = json!({"timeout": 0});
        self.send(&request);
        assert_eq!(self.next().await[0]["successful"], true);
    }

    async fn session(&mut self) -> String {
        self.send(&json!({"channel": "/meta/handshake", "id": "1", "version": "1.0"}));
        let id = self.next().await[0]["clientId"].as_str().unwrap().to_owned();
        self.connect(&id).await;
        id
    }

    async fn closes_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, &mut self.task).await.is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_sockets_of_a_session_the_newest_is_told_and_the_other_let_go() {
    let bench = Bench::new(|_| {});
    let mut zombie = Socket::open(&bench.server);
    let id = zombie.session().await;
    zombie.send(&json!({"channel": "/service/echo", "id": "9", "clientId": id, "data": 1}));
    zombie.next().await;
    let client = bench.echo.clients.lock().unwrap()[0].clone();
    let mut socket = Socket::open(&bench.server);
    socket.connect(&id).await;
    for n in 2..20 {
        assert!(client.deliver("/service/echo", crate::rig::raw(&n.to_string())));
        assert_eq!(socket.next().await[0]["data"], n);
    }
    assert!(zombie.told.next().now_or_never().is_none(), "nothing vanishes in it");
    let mut serving = tokio::spawn(async move {
        loop {
            socket.send(&connect(&id));
            socket.next().await;
        }
    });
    assert!(zombie.closes_within(Duration::from_secs(31)).await);
    assert!(tokio::time::timeout(Duration::from_secs(300), &mut serving).await.is_err());
    assert!(client.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_serves_nobody_is_closed() {
    let bench = Bench::new(|_| {});
    assert!(Socket::open(&bench.server).closes_within(Duration::from_secs(31)).await, "never used");
    let mut socket = Socket::open(&bench.server);
    let id = socket.session().await;
    for _ in 0..10 {
        socket.send(&connect(&id));
        assert_eq!(socket.next().await[0]["successful"], true);
    }
    bench.server.restart();
    assert!(socket.closes_within(Duration::from_secs(31)).await, "its session is gone");
}

#[tokio::test(start_paused = true)]
async fn a_socket_whose_client_takes_nothing_is_closed() {
    let bench = Bench::new(|_| {});
    let mut socket = Socket::open(&bench.server);
    let id = socket.session().await;
    for _ in 0..10 {
        socket.send(&json!({"channel": "/service/echo", "id": "9", "clientId": id, "data": 1}));
    }
    assert!(socket.closes_within(Duration::from_secs(31)).await);
    bench.server.sweeper().now_or_never();
    sleep(Duration::from_secs(10)).await;
    bench.server.sweeper().now_or_never();
    assert_eq!(bench.server.sessions(), 0, "and its session is forgotten");
}

#[tokio::test(start_paused = true)]
async fn frames_are_bounded_and_so_is_what_is_carried_out_at_once() {
    /// Answers nothing.
    #[derive(Default)]
    struct Busy(AtomicUsize);

    #[async_trait]
    impl Application for Busy {
        async fn on_publish(&self, _: &Client, _: &str, _: Box<RawValue>) -> Result<(), Refusal> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    let busy = Arc::new(Busy::default());
    let server = BayeuxServer::new(ServerConfig::default(), busy.clone());
    let mut socket = Socket::open(&server);
    let id = socket.session().await;
    let publish = json!({"channel": "/service/echo", "id": "9", "clientId": id, "data": 1});
    for _ in 0..200 {
        socket.send(&publish);
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(busy.0.load(Ordering::Relaxed), 64);

    let mut socket = Socket::open(&server);
    socket.frames.try_send(json!(vec![&publish; 65]).to_string()).unwrap();
    assert!(socket.closes_within(Duration::from_secs(1)).await);
}
