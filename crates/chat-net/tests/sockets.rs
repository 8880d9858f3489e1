//! The stack over real sockets of this machine: TLS, refusals, half answers, proxies. Time is real here, so it is short.
#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chat_core::{Delivery, Error, ErrorKind, Retry};
use chat_net::{
    HostPolicy, Net, NetConfig,
    http::{Body, HandedOut},
    tls::{Authority, Trust},
    ws::{DialRequest, WsMessage},
};
use futures::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};

fn get(url: String) -> http::Request<Body> {
    http::Request::get(url).body(Body::empty()).unwrap()
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut seen).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(seen).unwrap()
}

/// Echoes WebSocket messages, or answers `{}` to anything else.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, websocket: bool) {
    let mut stream = stream;
    if websocket {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    } else {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            .await;
        let _ = stream.read(&mut [0]).await;
    }
}

/// A TLS server with a certificate for `name`, from the authority that comes back as well.
async fn tls_server(name: &str, websocket: bool) -> (u16, Authority) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    #[cfg(feature = "ring")]
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[cfg(not(feature = "ring"))]
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    serve(stream, websocket).await;
                }
            });
        }
    });
    let pem = authority.pem();
    (port, Authority::from_pem(&pem).unwrap().remove(0))
}

fn trusting(authorities: Vec<Authority>) -> NetConfig {
    NetConfig::default().trust(Trust::Only(authorities))
}

async fn both(net: &Net, https: u16, wss: u16) -> [Result<(), Error>; 2] {
    [
        net.http().send(get(format!("https://localhost:{https}/?token=s3cr3t"))).await.map(drop),
        net.dialer().dial(DialRequest::new(format!("wss://localhost:{wss}/?token=s3cr3t"))).await.map(drop),
    ]
}

#[tokio::test]
async fn https_and_wss_with_a_trusted_certificate() {
    let (https, first) = tls_server("localhost", false).await;
    let (wss, second) = tls_server("localhost", true).await;
    let net = Net::new(&trusting(vec![first, second])).unwrap();
    let reply = net.http().send(get(format!("https://localhost:{https}/"))).await.unwrap();
    assert_eq!(reply.json("x").unwrap(), "{}");
    let mut socket = net.dialer().dial(DialRequest::new(format!("wss://localhost:{wss}/"))).await.unwrap();
    socket.send_text("hello").await.unwrap();
    match socket.next().await {
        Some(Ok(WsMessage::Text(text))) => assert_eq!(text.as_str(), "hello"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_host_and_an_unknown_authority_are_final() {
    let (https, first) = tls_server("elsewhere.example.org", false).await;
    let (wss, second) = tls_server("elsewhere.example.org", true).await;
    let wrong_host = Net::new(&trusting(vec![first, second])).unwrap();
    let (_, other) = tls_server("localhost", false).await;
    let unknown = Net::new(&trusting(vec![other])).unwrap();
    let platform = Net::new(&NetConfig::default()).unwrap();
    for net in [wrong_host, unknown, platform] {
        for result in both(&net, https, wss).await {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Tls, "{error:?}");
            assert_eq!((error.retry(), error.delivery()), (Retry::Never, Delivery::NotSent));
            assert!(!format!("{error:?}").contains("s3cr3t"));
        }
    }
}

#[tokio::test]
async fn one_more_authority_beside_those_of_the_platform() {
    let (https, first) = tls_server("localhost", false).await;
    let (wss, second) = tls_server("localhost", true).await;
    let net = Net::new(&NetConfig::default().trust(Trust::PlatformAnd(vec![first, second]))).unwrap();
    for result in both(&net, https, wss).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_not_sent() {
    let (listener, port) = listen().await;
    // The kernel accepts, nobody speaks.
    let config = trusting(vec![]).connect_timeout(Duration::from_millis(100));
    let net = Net::new(&config).unwrap();
    for result in both(&net, port, port).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::NotSent), "{error:?}");
    }
    // The whole request has less time than the connection: known as not sent all the same.
    let config = trusting(vec![]).request_timeout(Duration::from_millis(100));
    let net = Net::new(&config).unwrap();
    for body in [Body::empty(), Body::from("{}")] {
        let request = http::Request::post(format!("https://localhost:{port}/")).body(body).unwrap();
        let error = net.http().send(request).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::NotSent), "{error:?}");
    }
    drop(listener);
}

#[tokio::test]
async fn a_closed_port_is_not_sent() {
    let (listener, port) = listen().await;
    drop(listener);
    for result in both(&Net::new(&trusting(vec![])).unwrap(), port, port).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent), "{error:?}");
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
}

#[tokio::test]
async fn silence_and_half_answers_after_the_request_are_unknown() {
    for (answer, kind) in [
        (None, ErrorKind::Timeout),
        (Some(""), ErrorKind::Network),
        (Some("HTTP/1.1 200 OK\r\ncontent-len"), ErrorKind::Network),
        (Some("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345"), ErrorKind::Network),
        (Some("SSH-2.0-OpenSSH_9.7\r\n"), ErrorKind::UnexpectedResponse),
    ] {
        for body in [Body::empty(), Body::from("{}")] {
            let (listener, port) = listen().await;
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await;
                match answer {
                    None => drop(stream.read_to_end(&mut Vec::new()).await),
                    Some(answer) => {
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        stream.shutdown().await.unwrap();
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                }
            });
            let config = trusting(vec![]).request_timeout(Duration::from_millis(if answer.is_none() {
                150
            } else {
                30_000
            }));
            let net = Net::new(&config).unwrap();
            let request =
                http::Request::post(format!("http://127.0.0.1:{port}/?t=s3cr3t")).body(body).unwrap();
            let error = net.http().send(request).await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (&kind, Delivery::Unknown), "{error:?}");
            assert!(!format!("{error:?}").contains("s3cr3t"));
        }
    }
}

#[tokio::test]
async fn redirects_are_refused_by_the_production_leaf() {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
            .write_all(format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/next\r\ncontent-length: 0\r\n\r\n").as_bytes())
            .await
            .unwrap();
        assert!(read_head(&mut stream).await.is_empty(), "nothing more is asked for");
    });
    let net = Net::new(&trusting(vec![])).unwrap();
    let error = net.http().send(get(format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
    assert_eq!((error.kind(), error.vendor().status), (&ErrorKind::UnexpectedResponse, Some(302)));
}

#[tokio::test]
async fn an_address_that_is_dead_does_not_stop_the_others() {
    // `localhost` may resolve to both families; the server has one.
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, true));
        }
    });
    let net = Net::new(&trusting(vec![])).unwrap();
    let policy = HostPolicy::vendor(["example.org"]).loopback();
    net.dialer().dial(DialRequest::new(format!("ws://localhost:{port}/")).handed_out(policy)).await.unwrap();
}

#[tokio::test]
async fn requests_that_were_handed_out_go_to_loopback_if_allowed() {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, false));
        }
    });
    let net = Net::new(&trusting(vec![])).unwrap();
    let vendor = HostPolicy::vendor(["example.org"]);
    for host in ["localhost", "127.0.0.1"] {
        let mut request = get(format!("http://{host}:{port}/"));
        request.extensions_mut().insert(HandedOut(vendor.clone().loopback()));
        assert_eq!(net.http().send(request).await.unwrap().status, 200);
        let mut request = get(format!("http://{host}:{port}/"));
        request.extensions_mut().insert(HandedOut(vendor.clone()));
        assert_eq!(net.http().send(request).await.unwrap_err().kind(), &ErrorKind::HostRefused);
    }
}

/// A proxy that knows one password and passes tunnels and plain requests on.
async fn proxy() -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                // user:pass
                if !head.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz\r\n") {
                    return stream
                        .write_all(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n")
                        .await
                        .unwrap();
                }
                let target: SocketAddr = head
                    .strip_prefix("CONNECT ")
                    .and_then(|rest| rest.split(' ').next())
                    .and_then(|target| target.replace("localhost", "127.0.0.1").parse().ok())
                    .unwrap();
                let mut upstream = TcpStream::connect(target).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_proxy_is_used_for_both_and_its_password_hidden() {
    let proxy = proxy().await;
    let (https, first) = tls_server("localhost", false).await;
    let (wss, second) = tls_server("localhost", true).await;
    let config = trusting(vec![first, second]);
    let net = Net::new(&config.clone().proxy(format!("http://user:pass@127.0.0.1:{proxy}"))).unwrap();
    for result in both(&net, https, wss).await {
        result.unwrap();
    }
    let net = Net::new(&config.proxy(format!("http://user:hunter2@127.0.0.1:{proxy}"))).unwrap();
    for result in both(&net, https, wss).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent), "{error:?}");
        assert!(!format!("{error:?} {net:?}").contains("hunter2"));
    }
}

#[test]
fn settings_that_cannot_work_are_refused_when_built() {
    for config in [
        NetConfig::default().proxy("not a url"),
        NetConfig::default().proxy("ftp://proxy/"),
        NetConfig::default().user_agent("a\nb"),
        NetConfig::default().extra_header("a b", "x"),
        NetConfig::default().trust(Trust::Only(vec![Authority::from_der(*b"nonsense")])),
    ] {
        assert_eq!(Net::new(&config).unwrap_err().kind(), &ErrorKind::Config);
    }
}
