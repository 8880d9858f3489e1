//! Owns the servers of these tests: what arrives is kept, what is answered is written by hand, down to the byte.
#![allow(dead_code, reason = "two test binaries, neither uses all of it")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chat_net::{
    Net, NetConfig,
    http::{Body, HttpClient},
    memory::{MemoryNetwork, MemoryStream},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const URL: &str = "https://api.example.org/x?token=s3cr3t";

/// A network with a client on it.
pub(crate) fn network() -> (MemoryNetwork, Net) {
    let network = MemoryNetwork::new();
    let net = Net::in_memory(&network, &NetConfig::default()).unwrap();
    (network, net)
}

pub(crate) fn get(url: &str) -> http::Request<Body> {
    http::Request::get(url).body(Body::empty()).unwrap()
}

pub(crate) fn post(url: &str, body: impl Into<Body>) -> http::Request<Body> {
    http::Request::post(url).body(body.into()).unwrap()
}

pub(crate) fn client(network: &MemoryNetwork, config: &NetConfig) -> HttpClient {
    HttpClient::builder(config).memory(network).build().unwrap()
}

/// Reads a request: its head, and its body if it announces one.
pub(crate) async fn read_request(stream: &mut MemoryStream) -> Option<String> {
    let mut seen = Vec::with_capacity(4096);
    loop {
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            if seen.len() >= end + 4 + length {
                return Some(String::from_utf8(seen).unwrap());
            }
        }
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers every request at `authority` with these bytes, and closes.
pub(crate) fn answer(
    network: &MemoryNetwork,
    authority: &str,
    answer: impl Into<Bytes>,
) -> Arc<Mutex<Vec<String>>> {
    let answer = answer.into();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut listener = network.listen(authority);
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(mut stream) = listener.accept().await {
            let (answer, requests) = (answer.clone(), Arc::clone(&requests));
            tokio::spawn(async move {
                if let Some(request) = read_request(&mut stream).await {
                    requests.lock().unwrap().push(request);
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                    let _ = stream.read(&mut [0]).await;
                }
            });
        }
    });
    seen
}

pub(crate) fn json(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
