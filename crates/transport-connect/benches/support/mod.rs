//! Owns the other end of the benchmarks: a bare service in a process of its own, so that neither its work nor its memory counts.
#![allow(dead_code, reason = "each benchmark uses a part")]

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use chat_core::SavedSession;
use futures::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};
use tokio_tungstenite::tungstenite::Message;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Where the service listens.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) ws: String,
}

/// The service, running. Killed when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) at: Addresses,
}

impl Service {
    /// Starts this very program as the service.
    pub(crate) fn start(frames: usize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", &frames.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let (http, ws) = line.trim().split_once(' ').ok_or("no addresses")?;
        let at = Addresses { http: http.into(), ws: ws.into() };
        Ok(Self { child, at })
    }

    /// Credentials that the service accepts.
    pub(crate) fn credentials(contact: usize) -> SavedSession {
        let data = serde_json::json!({
            "contactId": format!("contact-{contact}"),
            "participantId": "customer",
            "participantToken": "token",
        });
        let serde_json::Value::Object(data) = data else { unreachable!("an object was written") };
        SavedSession { transport: "connect".into(), data }
    }

    /// Lets the service send its frames, once.
    pub(crate) async fn go(&self) -> Outcome {
        use tokio::io::AsyncWriteExt;
        let mut stream = tokio::net::TcpStream::connect(&self.at.http).await?;
        stream.write_all(b"GET /go HTTP/1.0\r\nHost: x\r\n\r\n").await?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process was started as the service, serves until killed.
pub(crate) fn serve_if_asked() -> Outcome<bool> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("--serve") {
        return Ok(false);
    }
    let frames = args.next().ok_or("how many frames?")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(frames))?;
    Ok(true)
}

async fn serve(frames: usize) -> Outcome {
    let http = TcpListener::bind("127.0.0.1:0").await?;
    let ws = TcpListener::bind("127.0.0.1:0").await?;
    let ws_address = ws.local_addr()?.to_string();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {ws_address}", http.local_addr()?)?;
    out.flush()?;
    drop(out);

    let (go, going) = watch::channel(0_u32);
    let go = Arc::new(go);
    let prepared: Arc<Vec<String>> = Arc::new((0..frames).map(frame).collect());
    let gateway = async move {
        while let Ok((stream, _)) = ws.accept().await {
            let (prepared, going) = (Arc::clone(&prepared), going.clone());
            tokio::spawn(async move { gateway(stream, &prepared, going).await });
        }
    };
    let participant = async move {
        while let Ok((stream, _)) = http.accept().await {
            let (ws, go) = (ws_address.clone(), Arc::clone(&go));
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.uri().path(), &ws, &go);
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    };
    tokio::join!(gateway, participant);
    Ok(())
}

fn answer(path: &str, ws: &str, go: &watch::Sender<u32>) -> Response<Full<Bytes>> {
    let body = match path {
        "/participant/connection" => serde_json::json!({
            "Websocket": {"Url": format!("ws://{ws}/gateway"), "ConnectionExpiry": "2099-01-01T00:00:00.000Z"},
            "ConnectionCredentials": {"ConnectionToken": "token", "Expiry": "2099-01-01T00:00:00.000Z"},
        }),
        "/participant/transcript" => serde_json::json!({"InitialContactId": "contact", "Transcript": []}),
        "/go" => {
            go.send_modify(|run| *run += 1);
            serde_json::json!({})
        }
        _ => serde_json::json!({"Id": "id", "AbsoluteTime": "2026-05-04T09:00:00.000Z"}),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

async fn gateway(
    stream: tokio::net::TcpStream,
    prepared: &[String],
    mut going: watch::Receiver<u32>,
) -> Outcome {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    going.mark_unchanged();
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    for reply in replies(&text) {
                        socket.send(Message::text(*reply)).await?;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
            _ = going.changed() => {
                for (n, frame) in prepared.iter().enumerate() {
                    socket.feed(Message::text(frame.as_str())).await?;
                    if n % 64 == 63 {
                        socket.flush().await?;
                    }
                }
                socket.flush().await?;
            }
        }
    }
}

fn replies(text: &str) -> &'static [&'static str] {
    if text.contains("aws/subscribe") {
        &[r#"{"topic":"aws/subscribe","content":{"status":"success","topics":["aws/chat"]}}"#]
    } else if text.contains("aws/heartbeat") {
        &[r#"{"topic":"aws/heartbeat"}"#]
    } else if text.contains("aws/ping") {
        &[r#"{"topic":"aws/ping","statusCode":200,"statusContent":"OK"}"#]
    } else {
        &[]
    }
}

/// One chat frame, as the service writes it: the item as a JSON text inside JSON.
fn frame(n: usize) -> String {
    let (second, milli) = ((n / 1000) % 60, n % 1000);
    let (minute, hour) = ((n / 60_000) % 60, 9 + n / 3_600_000);
    let item = serde_json::json!({
        "AbsoluteTime": format!("2026-05-04T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"),
        "Content": format!("Message number {n}: your parcel has left the depot and is on its way to you."),
        "ContentType": "text/plain",
        "Id": format!("019df237-5280-7a10-9f00-{n:012x}"),
        "Type": "MESSAGE",
        "ParticipantId": "11111111-0000-4000-8000-00000000000a",
        "DisplayName": "Maria",
        "ParticipantRole": "AGENT",
        "InitialContactId": "contact",
        "ContactId": "contact-0",
    });
    serde_json::json!({"topic": "aws/chat", "contentType": "application/json", "content": item.to_string()})
        .to_string()
}
