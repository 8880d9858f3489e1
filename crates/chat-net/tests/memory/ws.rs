//! WebSockets: opening, talking, and every way in which they end.

use std::time::Duration;

use bytes::Bytes;
use chat_core::{Delivery, ErrorKind, Retry};
use chat_net::{
    HostPolicy, Net, NetConfig,
    http::CookieJar,
    memory::{Direction, MemoryListener, MemoryNetwork, MemoryStream},
    ws::{DialRequest, WsMessage, WsStream},
};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::server::{answer, network, read_request};

const URL: &str = "wss://gate.example.org/gateway?token=s3cr3t";
const GATE: &str = "gate.example.org:443";

type Server = WebSocketStream<MemoryStream>;

async fn pair_on(network: &MemoryNetwork, net: &Net) -> (WsStream, Server, MemoryListener) {
    let mut listener = network.listen(GATE);
    let (client, server) = tokio::join!(net.dialer().dial(DialRequest::new(URL)), async {
        accept_async(listener.accept().await.unwrap()).await.unwrap()
    });
    (client.unwrap(), server, listener)
}

async fn pair() -> (WsStream, Server, MemoryNetwork) {
    let (network, net) = network();
    let (client, server, _) = pair_on(&network, &net).await;
    (client, server, network)
}

fn text(message: Option<chat_core::Result<WsMessage>>) -> String {
    match message {
        Some(Ok(WsMessage::Text(text))) => text.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn texts_and_bytes_both_ways() {
    let (mut client, mut server, _network) = pair().await;
    client.send_text("grüß dich").await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("grüß dich"));
    server.send(Message::text("{\"a\":1}")).await.unwrap();
    server.send(Message::binary(vec![1, 2])).await.unwrap();
    match client.next().await {
        Some(Ok(WsMessage::Text(text))) => assert_eq!(text.into_bytes(), "{\"a\":1}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.next().await.unwrap().unwrap(), WsMessage::Binary(Bytes::from_static(&[1, 2])));
}

#[tokio::test(start_paused = true)]
async fn the_halves_work_apart() {
    let (client, mut server, _network) = pair().await;
    let (mut sink, mut source) = client.split();
    let reading = tokio::spawn(async move { text(source.next().await) });
    sink.send_text("a").await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
    server.send(Message::text("b")).await.unwrap();
    assert_eq!(reading.await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_show_life() {
    let (mut client, mut server, _network) = pair().await;
    server.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), WsMessage::Alive);
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"?")));
}

#[tokio::test(start_paused = true)]
async fn a_close_is_handed_up_with_its_code_and_answered() {
    let (mut client, mut server, _network) = pair().await;
    let frame = CloseFrame { code: CloseCode::Library(4001), reason: "rotate".into() };
    server.send(Message::Close(Some(frame.clone()))).await.unwrap();
    let closed = WsMessage::Closed { code: Some(4001), reason: "rotate".into() };
    assert_eq!(client.next().await.unwrap().unwrap(), closed);
    assert!(client.next().await.is_none());
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(Some(frame)));
    assert_eq!(client.send_text("late").await.unwrap_err().delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn closing_sends_code_and_reason() {
    let (mut client, mut server, _network) = pair().await;
    client.close(1000, &"ü".repeat(100)).await.unwrap();
    match server.next().await.unwrap().unwrap() {
        Message::Close(Some(frame)) => {
            assert_eq!(u16::from(frame.code), 1000);
            assert_eq!(frame.reason.as_str(), "ü".repeat(61), "cut at a character");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_close_is_a_network_failure() {
    for reset in [true, false] {
        let (mut client, server, network) = pair().await;
        if reset {
            network.cut();
        }
        drop(server);
        let error = client.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::Network, Retry::Backoff));
        assert!(client.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_cut_at_any_byte_yields_no_message() {
    // What the server sends: the answer to the upgrade, then one frame of 2 + 5 bytes.
    let head = {
        let (network, net) = network();
        let mut listener = network.listen(GATE);
        let (client, length) = tokio::join!(net.dialer().dial(DialRequest::new(URL)), async {
            let mut stream = listener.accept().await.unwrap();
            upgrade(&mut stream).await
        });
        drop(client);
        length
    };
    for delivered in 1..=head + 7 {
        let (network, net) = network();
        network.cut_after(Direction::ToClient, delivered as u64);
        let mut listener = network.listen(GATE);
        let server = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            upgrade(&mut stream).await;
            let _ = stream.write_all(b"\x81\x05hello").await;
            let _ = stream.read(&mut [0]).await;
        });
        match net.dialer().dial(DialRequest::new(URL)).await {
            Err(error) => {
                assert!(delivered < head);
                assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::Unknown));
            }
            Ok(mut client) => {
                if delivered == head + 7 {
                    assert_eq!(text(client.next().await), "hello");
                }
                assert_eq!(client.next().await.unwrap().unwrap_err().kind(), &ErrorKind::Network);
            }
        }
        server.await.unwrap();
    }
}

/// Answers an upgrade by hand and says with how many bytes.
async fn upgrade(stream: &mut MemoryStream) -> usize {
    let request = read_request(stream).await.unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    answer.len()
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_refused_and_the_peer_is_told_why() {
    let long = [b"\x81\x7f\x00\x00\x00\x00\x40\x00\x00\x00".as_slice(), b"x"].concat();
    for (frame, code) in [
        (long, 1009),
        (b"\x81\x02\xff\xfe".to_vec(), 1007),
        (b"\x83\x00".to_vec(), 1002),
        (b"\x91\x00".to_vec(), 1002),
    ] {
        let (network, net) = network();
        let mut listener = network.listen(GATE);
        let server = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            upgrade(&mut stream).await;
            stream.write_all(&frame).await.unwrap();
            // A masked close frame: two bytes of head, four of mask, two of code.
            let mut told = [0; 8];
            stream.read_exact(&mut told).await.unwrap();
            assert_eq!(told[0], 0x88);
            u16::from_be_bytes([told[6] ^ told[2], told[7] ^ told[3]])
        });
        let mut client = net.dialer().dial(DialRequest::new(URL)).await.unwrap();
        let error = client.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::UnexpectedResponse, Retry::Backoff), "{code}");
        assert!(client.next().await.is_none());
        assert_eq!(server.await.unwrap(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_of_a_message_can_be_set() {
    let (network, net) = network();
    let mut listener = network.listen(GATE);
    let (client, server) =
        tokio::join!(net.dialer().dial(DialRequest::new(URL).max_message_bytes(10)), async {
            accept_async(listener.accept().await.unwrap()).await.unwrap()
        });
    let (mut client, mut server) = (client.unwrap(), server);
    server.send(Message::text("0123456789")).await.unwrap();
    assert_eq!(text(client.next().await), "0123456789");
    server.send(Message::text("0123456789a")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap_err().kind(), &ErrorKind::UnexpectedResponse);
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_says_what_to_do() {
    let (network, net) = network();
    for (answered, kind, retry, status) in [
        ("403 Forbidden\r\n", ErrorKind::AccessDenied, Retry::Never, 403),
        ("401 Unauthorized\r\n", ErrorKind::Unauthorized, Retry::WithNewCredentials, 401),
        ("404 Not Found\r\n", ErrorKind::NotFound, Retry::Never, 404),
        ("429 Slow\r\nretry-after: 7\r\n", ErrorKind::RateLimited, Retry::After(Duration::from_secs(7)), 429),
        ("503 Busy\r\n", ErrorKind::Server, Retry::Backoff, 503),
        ("302 Found\r\nlocation: wss://evil.org/\r\n", ErrorKind::UnexpectedResponse, Retry::Backoff, 302),
        ("200 OK\r\ncontent-type: text/html\r\n", ErrorKind::UnexpectedResponse, Retry::Backoff, 200),
    ] {
        answer(&network, GATE, format!("HTTP/1.1 {answered}content-length: 0\r\n\r\n"));
        let error = net.dialer().dial(DialRequest::new(URL)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry(), error.vendor().status), (&kind, retry, Some(status)));
    }
    answer(&network, GATE, "SSH-2.0-OpenSSH\r\n\r\n");
    let error = net.dialer().dial(DialRequest::new(URL)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnexpectedResponse, "{error:?}");
    let endless = format!("HTTP/1.1 101 Switching Protocols\r\nx-a: {}", "a".repeat(1 << 20));
    answer(&network, GATE, endless);
    let error = net.dialer().dial(DialRequest::new(URL)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnexpectedResponse, "{error:?}");
    assert_eq!(network.connections(), 9, "nothing is retried");
}

#[tokio::test(start_paused = true)]
async fn urls_are_checked_before_anything_is_opened() {
    let (network, net) = network();
    let vendor = HostPolicy::vendor(["example.org"]);
    for url in [
        "wss://evil.org/",
        "ws://gate.example.org/",
        "wss://10.0.0.1/",
        "file:///etc/passwd",
        "wss://u:p@gate.example.org/",
    ] {
        let error = net.dialer().dial(DialRequest::new(url).handed_out(vendor.clone())).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::HostRefused, Delivery::NotSent), "{url}");
    }
    let error = net
        .dialer()
        .dial(DialRequest::new("https://gate.example.org/").handed_out(vendor))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidInput);
    assert_eq!(network.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_not_answered_times_out() {
    let (network, net) = network();
    let _listener = network.listen(GATE);
    let started = Instant::now();
    let error = net.dialer().dial(DialRequest::new(URL)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    network.half_open();
    let error = net.dialer().dial(DialRequest::new(URL)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_found_by_writing() {
    let network = MemoryNetwork::with_pipe_size(256);
    let net = Net::in_memory(&network, &NetConfig::default()).unwrap();
    let (mut client, _server, mut listener) = pair_on(&network, &net).await;
    network.half_open();
    let mut sent = 0;
    let error = loop {
        match client.send_text("x".repeat(100)).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!((1..=3).contains(&sent), "the pipe takes some, as the kernel does: {sent}");
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
    // Nothing arrives, not even an end.
    assert!(tokio::time::timeout(Duration::from_secs(3600), client.next()).await.is_err());

    network.heal();
    assert!(
        tokio::time::timeout(Duration::from_secs(3600), client.next()).await.is_err(),
        "dead connections stay dead"
    );
    let (again, _) = tokio::join!(net.dialer().dial(DialRequest::new(URL)), async {
        accept_async(listener.accept().await.unwrap()).await.unwrap()
    });
    again.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_direction_can_be_lost() {
    let (mut client, mut server, network) = pair().await;
    network.swallow(Direction::ToServer);
    client.send_text("lost").await.unwrap();
    server.send(Message::text("heard")).await.unwrap();
    assert_eq!(text(client.next().await), "heard");
    assert!(tokio::time::timeout(Duration::from_secs(60), server.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_connection_closes_it() {
    let (client, mut server, _network) = pair().await;
    drop(client);
    assert!(server.next().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
#[expect(clippy::result_large_err, reason = "the type is of the WebSocket library")]
async fn an_upgrade_takes_and_brings_the_cookies_of_a_jar() {
    use tokio_tungstenite::{
        accept_hdr_async,
        tungstenite::handshake::server::{Request, Response},
    };
    let (network, net) = network();
    let mut listener = network.listen(GATE);
    let jar = CookieJar::new();
    for expected in [None, Some("route=node7")] {
        let serve = async {
            let stream = listener.accept().await.unwrap();
            accept_hdr_async(stream, |request: &Request, mut response: Response| {
                let sent = request.headers().get("cookie").map(|cookie| cookie.to_str().unwrap());
                assert_eq!(sent, expected);
                response.headers_mut().insert("set-cookie", "route=node7; Secure".parse().unwrap());
                Ok(response)
            })
            .await
            .unwrap()
        };
        let (client, _server) =
            tokio::join!(net.dialer().dial(DialRequest::new(URL).cookies(jar.clone())), serve);
        client.unwrap();
    }
    assert!(jar.header_for(&"https://gate.example.org/other".parse().unwrap()).is_some());
}
