//! No secret in errors, `Debug` output or logs, wherever it was put and whatever goes wrong. A binary of its own, for the log.
#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

#[path = "../memory/server.rs"]
mod server;

use std::{
    error::Error as _,
    io,
    sync::{Arc, Mutex},
};

use chat_net::{
    HostPolicy, Net, NetConfig,
    http::{CookieJar, HandedOut, Operation},
    memory::{Direction, MemoryNetwork},
    ws::DialRequest,
};

use server::{answer, json, post};

const CANARY: &str = "canary-7f3a99c2d1e84b60";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn everything(error: &chat_core::Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(level) = source {
        text.push_str(&format!(" {level} {level:?}"));
        source = level.source();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_never_seen() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let network = MemoryNetwork::new();
    let config = NetConfig::default().extra_header("x-key", CANARY);
    let net = Net::in_memory(&network, &config).unwrap();
    let mut output = format!("{net:?} {config:?} {network:?}");
    let http_url = format!("https://api.example.org/{CANARY}/x?token={CANARY}");
    let ws_url = format!("wss://api.example.org/{CANARY}/x?token={CANARY}");
    let echo = format!("<p>{CANARY} at /{CANARY}?token={CANARY}</p>");

    let answers = [
        Some(json(&format!("{{\"t\":\"{CANARY}\"}}"))),
        Some(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nx-t: {CANARY}\r\ncontent-length: {}\r\n\r\n{echo}",
            echo.len()
        )),
        Some(format!(
            "HTTP/1.1 302 Found\r\nlocation: https://evil.org/{CANARY}\r\ncontent-length: 0\r\n\r\n"
        )),
        Some(format!("HTTP/1.1 500 {CANARY}\r\ncontent-length: 0\r\n\r\n")),
        Some(format!("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{CANARY}")),
        Some(format!("{CANARY} {CANARY}\r\n\r\n")),
        Some("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12".to_owned()),
        None,
    ];
    for answered in answers {
        match answered {
            Some(answered) => drop(answer(&network, "api.example.org:443", answered)),
            None => network.cut_after(Direction::ToClient, 3),
        }
        let jar = CookieJar::new();
        for policy in [None, Some(HostPolicy::vendor(["other.org"]))] {
            let mut request = post(&http_url, CANARY);
            request.headers_mut().insert("authorization", CANARY.parse().unwrap());
            request.extensions_mut().insert(Operation("test"));
            request.extensions_mut().insert(jar.clone());
            let mut dial = DialRequest::new(ws_url.clone())
                .header(http::header::AUTHORIZATION, http::HeaderValue::from_static(CANARY));
            if let Some(policy) = policy {
                request.extensions_mut().insert(HandedOut(policy.clone()));
                dial = dial.handed_out(policy);
            }
            output.push_str(&format!("{dial:?} {:?}", request.body()));
            match net.http().send(request).await {
                Ok(reply) => {
                    output.push_str(&format!("{reply:?} {}", everything(&reply.status_error("x"))));
                    if let Err(error) = reply.json("x") {
                        output.push_str(&everything(&error));
                    }
                }
                Err(error) => output.push_str(&everything(&error)),
            }
            match net.dialer().dial(dial).await {
                Ok(stream) => output.push_str(&format!("{stream:?}")),
                Err(error) => output.push_str(&everything(&error)),
            }
        }
    }
    let bad =
        Net::in_memory(&network, &NetConfig::default().extra_header("x", format!("\n{CANARY}"))).unwrap_err();
    output.push_str(&everything(&bad));

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("operation=\"test\""), "the log says something: {log}");
    assert!(log.contains("status=500"), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    assert!(!output.contains(CANARY), "{output}");
}
