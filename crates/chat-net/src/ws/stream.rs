//! Owns one open WebSocket: messages in, messages out, and how it ends.

use std::{
    fmt, ops,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{Delivery, Error, ErrorKind, Result};
use futures::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::burst::Burst;
use crate::{
    error::{broken, caused, timed_out},
    http::unexpected,
};

/// A byte stream to a server.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

pub(super) type Io = Box<dyn ByteStream>;

/// Text of a message: valid UTF-8 in the buffer that it was received in. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct WsText(Utf8Bytes);

impl WsText {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The buffer, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

impl ops::Deref for WsText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for WsText {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl From<String> for WsText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for WsText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for WsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WsText({} bytes)", self.len())
    }
}

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WsMessage {
    /// A text.
    Text(WsText),
    /// Bytes.
    Binary(Bytes),
    /// A ping (answered already) or a pong: the peer is there.
    Alive,
    /// The peer closed; nothing follows.
    Closed {
        /// The close code, if one was sent (RFC 6455 §7.4).
        code: Option<u16>,
        /// The peer's words, at most 123 bytes.
        reason: String,
    },
}

/// The connection as both halves share it: tungstenite, with our messages and errors.
pub(super) struct Socket {
    inner: WebSocketStream<Burst>,
    ended: bool,
}

impl Socket {
    pub(super) fn new(inner: WebSocketStream<Burst>) -> Self {
        Self { inner, ended: false }
    }

    /// Pushes what is queued (a close, usually) without waiting: the peer may not be reading.
    fn nudge(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.inner).poll_flush(cx);
    }

    fn failed(&mut self, error: tungstenite::Error, cx: &mut Context<'_>) -> Error {
        use tungstenite::Error as E;
        self.ended = true;
        let (code, error) = match error {
            E::Io(error) => return broken(&error),
            E::Protocol(error @ ProtocolError::ResetWithoutClosingHandshake) => return broken(&error),
            E::Capacity(error) => (CloseCode::Size, caused(unexpected("WebSocket message too long"), &error)),
            E::Utf8(_) => (CloseCode::Invalid, unexpected("WebSocket text is no UTF-8")),
            E::Protocol(error) => (CloseCode::Protocol, caused(unexpected("WebSocket protocol"), &error)),
            _ => (CloseCode::Error, unexpected("WebSocket")),
        };
        let frame = CloseFrame { code, reason: Utf8Bytes::default() };
        let _ = Pin::new(&mut self.inner).start_send(Message::Close(Some(frame)));
        self.nudge(cx);
        error
    }
}

impl Stream for Socket {
    type Item = Result<WsMessage>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let message = match ready!(self.inner.poll_next_unpin(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(error, cx)))),
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            };
            return Poll::Ready(Some(Ok(match message {
                Message::Text(text) => WsMessage::Text(WsText(text)),
                Message::Binary(bytes) => WsMessage::Binary(bytes),
                Message::Ping(_) | Message::Pong(_) => {
                    self.nudge(cx);
                    WsMessage::Alive
                }
                Message::Close(frame) => {
                    self.ended = true;
                    self.nudge(cx);
                    let code = frame.as_ref().map(|frame| u16::from(frame.code));
                    let reason = frame.map(|frame| frame.reason.as_str().to_owned()).unwrap_or_default();
                    WsMessage::Closed { code, reason }
                }
                Message::Frame(_) => continue,
            })));
        }
    }
}

impl Sink<Message> for Socket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready_unpin(cx).map_err(not_written)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<()> {
        self.inner.start_send_unpin(item).map_err(not_written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_flush_unpin(cx).map_err(not_written)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_close_unpin(cx).map_err(not_written)
    }
}

fn not_written(error: tungstenite::Error) -> Error {
    use tungstenite::Error as E;
    match error {
        E::Io(error) => broken(&error),
        E::ConnectionClosed | E::AlreadyClosed | E::Protocol(ProtocolError::SendAfterClosing) => {
            Error::new(ErrorKind::Network, "the WebSocket is closed").with_delivery(Delivery::NotSent)
        }
        E::WriteBufferFull(_) => {
            Error::new(ErrorKind::QueueFull, "WebSocket write buffer").with_delivery(Delivery::NotSent)
        }
        E::Capacity(error) => caused(Error::invalid_input("the message is too long"), &error),
        _ => Error::new(ErrorKind::Network, "WebSocket").with_delivery(Delivery::Unknown),
    }
}

async fn send<S>(sink: &mut S, message: Message, limit: Duration) -> Result<()>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    timeout(limit, sink.send(message)).await.map_err(|_| timed_out("WebSocket write", Delivery::Unknown))?
}

fn close_frame(code: u16, reason: &str) -> Message {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default().into();
    Message::Close(Some(CloseFrame { code: code.into(), reason }))
}

/// An open WebSocket. As a stream it yields messages until one error, or [`WsMessage::Closed`], and then nothing.
/// Dropping it closes the connection without a close frame.
pub struct WsStream {
    socket: Socket,
    write_timeout: Duration,
}

impl fmt::Debug for WsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsStream").field("ended", &self.socket.ended).finish_non_exhaustive()
    }
}

impl WsStream {
    pub(super) fn new(socket: Socket, write_timeout: Duration) -> Self {
        Self { socket, write_timeout }
    }

    /// The next message. Pings are answered from here, so keep asking.
    ///
    /// # Errors
    /// `Network` when the connection breaks or ends without a close frame; `UnexpectedResponse` for messages over the cap, text
    /// that is not UTF-8, and other violations of the protocol (the peer is told by a close frame).
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<WsMessage>> {
        self.socket.next().await
    }

    /// Sends a text and waits until it is with the operating system, at most
    /// [`NetConfig::write_timeout`](crate::NetConfig::write_timeout).
    ///
    /// # Errors
    /// `Network` and `Timeout` with `Unknown`; `Network` with `NotSent` on a closed connection. Drop the connection then.
    ///
    /// # Cancel safety
    /// A dropped call may have queued the text: it then leaves with the next write or read.
    pub async fn send_text(&mut self, text: impl Into<WsText>) -> Result<()> {
        send(&mut self.socket, Message::Text(text.into().0), self.write_timeout).await
    }

    /// Sends bytes; otherwise as [`send_text`](Self::send_text).
    pub async fn send_binary(&mut self, bytes: Bytes) -> Result<()> {
        send(&mut self.socket, Message::Binary(bytes), self.write_timeout).await
    }

    /// Sends a ping; otherwise as [`send_text`](Self::send_text).
    pub async fn ping(&mut self) -> Result<()> {
        send(&mut self.socket, Message::Ping(Bytes::new()), self.write_timeout).await
    }

    /// Sends a close frame; the reason is cut to 123 bytes. The peer's answer arrives as [`WsMessage::Closed`] for who waits
    /// for it. Otherwise as [`send_text`](Self::send_text).
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        send(&mut self.socket, close_frame(code, reason), self.write_timeout).await
    }

    /// Separates the directions, for tasks of their own. The connection lives until both halves are dropped.
    pub fn split(self) -> (WsSink, WsSource) {
        let write_timeout = self.write_timeout;
        let (sink, source) = self.socket.split();
        (WsSink { sink, write_timeout }, WsSource(source))
    }
}

impl Stream for WsStream {
    type Item = Result<WsMessage>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.socket.poll_next_unpin(cx)
    }
}

/// Texts by polling, for drivers that read, write and keep time in one task. No time-out applies here: the caller keeps it.
impl Sink<WsText> for WsStream {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.socket.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, text: WsText) -> Result<()> {
        self.socket.start_send_unpin(Message::Text(text.0))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.socket.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.socket.poll_close_unpin(cx)
    }
}

/// The writing half of a [`WsStream`], with the same methods.
pub struct WsSink {
    sink: SplitSink<Socket, Message>,
    write_timeout: Duration,
}

impl fmt::Debug for WsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WsSink")
    }
}

impl WsSink {
    /// As [`WsStream::send_text`].
    pub async fn send_text(&mut self, text: impl Into<WsText>) -> Result<()> {
        send(&mut self.sink, Message::Text(text.into().0), self.write_timeout).await
    }

    /// As [`WsStream::send_binary`].
    pub async fn send_binary(&mut self, bytes: Bytes) -> Result<()> {
        send(&mut self.sink, Message::Binary(bytes), self.write_timeout).await
    }

    /// As [`WsStream::ping`].
    pub async fn ping(&mut self) -> Result<()> {
        send(&mut self.sink, Message::Ping(Bytes::new()), self.write_timeout).await
    }

    /// As [`WsStream::close`].
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        send(&mut self.sink, close_frame(code, reason), self.write_timeout).await
    }
}

/// The reading half of a [`WsStream`].
pub struct WsSource(SplitStream<Socket>);

impl fmt::Debug for WsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WsSource")
    }
}

impl WsSource {
    /// As [`WsStream::next`].
    pub async fn next(&mut self) -> Option<Result<WsMessage>> {
        self.0.next().await
    }
}

impl Stream for WsSource {
    type Item = Result<WsMessage>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}
