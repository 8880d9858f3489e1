//! Owns one WebSocket: the gateway's control frames, and items on their way out. Source: §7.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::debug;

use super::{
    Shared,
    mailbox::{Mailbox, Post},
    tokens::Caller,
};
use crate::wire::{Frame, decode_frame, frames::TOPIC_CHAT};

/// How long an item that is held back waits for another to overtake it.
const HOLD: Duration = Duration::from_secs(1);

/// Largest frame that a client may send: control frames are small.
const FRAME_MAX: usize = 64 * 1024;

/// A socket's place in its mailbox; given back when dropped.
pub(super) struct Place {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.mailbox.close(self.id);
    }
}

/// The connection is to be dropped.
struct Gone;

/// An item that is held back by a fault until the next one has gone out, or the instant has come.
struct Held {
    text: Utf8Bytes,
    times: u32,
    until: Instant,
}

struct Socket<S> {
    front: Arc<Shared>,
    caller: Caller,
    place: Place,
    stream: WebSocketStream<S>,
    held: Option<Held>,
}

/// Serves a socket until either side closes it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    front: Arc<Shared>,
    caller: Caller,
    place: Place,
    mut posts: mpsc::Receiver<Post>,
    io: S,
) {
    let buffers = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(1024 * 1024)
        .max_message_size(Some(FRAME_MAX))
        .max_frame_size(Some(FRAME_MAX));
    let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(buffers)).await;
    let life = Instant::now() + front.faults.connection_life().unwrap_or(front.config.socket_life);
    let idle = front.config.socket_idle;
    let mut heard = Instant::now();
    let mut socket = Socket { front, caller, place, stream, held: None };
    loop {
        let step = tokio::select! {
            post = posts.recv() => match post {
                Some(post) => socket.post(post).await,
                // Too slow: its queue was full.
                None => socket.close(1008).await,
            },
            message = socket.stream.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => socket.frame(&text).await,
                    // tungstenite answers pings and the closing handshake by itself, on the next poll.
                    Some(Ok(_)) => Ok(()),
                    Some(Err(error)) => { debug!(%error, "socket lost"); Err(Gone) }
                    None => Err(Gone),
                }
            }
            () = sleep_until(heard + idle) => socket.close(1001).await,
            () = overdue(socket.held.as_ref().map(|held| held.until)) => socket.release().await,
            () = sleep_until(life) => socket.close(1001).await,
        };
        if step.is_err() {
            return;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn send(&mut self, text: Utf8Bytes) -> Result<(), Gone> {
        let within = self.front.config.write_within;
        match timeout(within, self.stream.send(Message::Text(text))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    async fn close(&mut self, code: u16) -> Result<(), Gone> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::default() };
        let within = self.front.config.write_within;
        // The client's own close frame is waited for a while, so that ours is not lost in a reset.
        let _ = timeout(within, self.stream.close(Some(frame))).await;
        let _ = timeout(within, async { while let Some(Ok(_)) = self.stream.next().await {} }).await;
        Err(Gone)
    }

    async fn post(&mut self, post: Post) -> Result<(), Gone> {
        match post {
            Post::Frame(text) => self.send(text).await,
            Post::Item(text) => self.item(text).await,
            Post::Close(code) => self.close(code).await,
            Post::Cut => Err(Gone),
        }
    }

    async fn item(&mut self, text: Utf8Bytes) -> Result<(), Gone> {
        let omitted = self.front.faults.omitted();
        let text = if omitted.is_empty() { text } else { without(&text, &omitted) };
        let fault = self.front.faults.item();
        if fault.drop {
            return Ok(());
        }
        let times = if fault.duplicate { 2 } else { 1 };
        if fault.hold && self.held.is_none() {
            self.held = Some(Held { text, times, until: Instant::now() + HOLD });
            return Ok(());
        }
        for _ in 1..times {
            self.send(text.clone()).await?;
        }
        self.send(text).await?;
        self.release().await
    }

    async fn release(&mut self) -> Result<(), Gone> {
        if let Some(held) = self.held.take() {
            for _ in 0..held.times {
                self.send(held.text.clone()).await?;
            }
        }
        Ok(())
    }

    async fn frame(&mut self, text: &str) -> Result<(), Gone> {
        let faults = &self.front.faults;
        let answer = match decode_frame(text) {
            Frame::Subscribe { topics, .. } => return self.subscribe(topics).await,
            Frame::Heartbeat if faults.ignore_heartbeat() => return Ok(()),
            Frame::Heartbeat => Frame::Heartbeat,
            Frame::Ping { .. } if faults.ignore_ping() => return Ok(()),
            Frame::Ping { .. } if faults.fail_ping() => Frame::Ping { status: Some(500) },
            Frame::Ping { .. } => Frame::Ping { status: Some(200) },
            Frame::Empty | Frame::Unsubscribe { .. } => return Ok(()),
            _ => Frame::GatewayError {
                message: Cow::Borrowed("Forbidden"),
                request_id: Some(Cow::Owned(uuid::Uuid::new_v4().to_string())),
            },
        };
        let answer = answer.encode().into();
        self.send(answer).await
    }

    async fn subscribe(&mut self, topics: Vec<Cow<'_, str>>) -> Result<(), Gone> {
        if self.front.faults.ignore_subscribe() {
            return Ok(());
        }
        let chat = topics.iter().any(|topic| topic == TOPIC_CHAT);
        let refused = !chat || self.front.faults.refuse_subscribe();
        let status = if refused { "failure" } else { "success" };
        let answer = Frame::Subscribe { status: Some(Cow::Borrowed(status)), topics };
        let answer: Utf8Bytes = answer.encode().into();
        if refused {
            return self.send(answer).await;
        }
        // Under the contact's lock: nothing is sent before the answer, nothing is missed after it.
        let mut truth = self.caller.contact.truth();
        self.place.mailbox.subscribe(self.place.id, answer);
        truth.connect(&self.caller.participant);
        Ok(())
    }
}

async fn overdue(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The frame with an item that lacks some members.
fn without(frame: &str, members: &[String]) -> Utf8Bytes {
    let Frame::Chat(item) = decode_frame(frame) else { return frame.into() };
    let Ok(serde_json::Value::Object(mut item)) = serde_json::from_str(&item) else { return frame.into() };
    item.retain(|name, _| !members.contains(name));
    let item = serde_json::Value::Object(item).to_string();
    Frame::Chat(Cow::Owned(item)).encode().into()
}
