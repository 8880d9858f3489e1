//! Owns how messages travel: exchanges over HTTP, or frames of a WebSocket.

use std::{collections::VecDeque, fmt, future::poll_fn, task::Poll};

use chat_core::{Error, ErrorKind, Result};
use chat_net::{
    Net,
    http::{Body, Operation, ReadIdleTimeout, RequestTimeout},
    ws::{DialRequest, WsMessage, WsSink, WsSource},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, Uri, header};
use tokio::time::timeout;

use super::{
    BayeuxConfig, Cookies, Timings,
    machine::{Request, Way},
};
use crate::bayeux::message::{self, CONNECT, CONTENT_TYPE, DISCONNECT, HANDSHAKE, Message, SUBSCRIBE};

/// Where a server listens.
pub(super) struct Endpoint {
    /// As configured, without a slash at its end.
    base: String,
    home: Uri,
    websocket: String,
    append_meta: bool,
    headers: HeaderMap,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint(..)")
    }
}

impl Endpoint {
    pub(super) fn new(config: &BayeuxConfig) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Config, "the CometD URL is no http or https URL");
        let base = config.url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return Err(wrong());
        }
        let home = match config.append_meta {
            true => format!("{base}/handshake").parse().map_err(|_| wrong())?,
            false => uri,
        };
        let websocket = base.replacen("http", "ws", 1);
        Ok(Self { base, home, websocket, append_meta: config.append_meta, headers: config.headers.clone() })
    }

    /// Where a handshake goes, and the cookies come from.
    pub(super) fn home(&self) -> &Uri {
        &self.home
    }

    fn url(&self, channel: &str) -> String {
        match channel.strip_prefix("/meta") {
            Some(name)
                if self.append_meta && matches!(channel, HANDSHAKE | CONNECT | DISCONNECT | SUBSCRIBE) =>
            {
                format!("{}{name}", self.base)
            }
            _ => self.base.clone(),
        }
    }

    /// A link, open as far as it can be before the first message.
    pub(super) async fn link(
        self: &std::sync::Arc<Self>,
        net: &Net,
        way: Way,
        cookies: Cookies,
        timings: Timings,
    ) -> Result<Link> {
        match way {
            Way::LongPolling => Ok(Link::Polling(Polling {
                net: net.clone(),
                endpoint: std::sync::Arc::clone(self),
                cookies,
                running: FuturesUnordered::new(),
            })),
            Way::WebSocket => {
                let mut request = DialRequest::new(self.websocket.clone()).cookies(cookies.jar);
                for (name, value) in &self.headers {
                    request = request.header(name.clone(), value.clone());
                }
                let socket = timeout(timings.request, net.dialer().dial(request))
                    .await
                    .map_err(|_| Error::new(ErrorKind::Timeout, "WebSocket"))??;
                let (sink, source) = socket.split();
                Ok(Link::Socket(Socket { sink: Some(sink), source, writing: None, out: VecDeque::new() }))
            }
        }
    }
}

/// What came over a link.
#[derive(Debug)]
pub(super) enum Input {
    /// Messages: the answer to an exchange, or a frame.
    Received(Option<u64>, Vec<Message>),
    /// An exchange, or the whole link, failed.
    Failed(Option<u64>, Error),
}

type Exchange = BoxFuture<'static, (u64, Result<Vec<Message>>)>;

/// How messages travel.
pub(super) enum Link {
    Polling(Polling),
    Socket(Socket),
}

pub(super) struct Polling {
    net: Net,
    endpoint: std::sync::Arc<Endpoint>,
    cookies: Cookies,
    running: FuturesUnordered<Exchange>,
}

pub(super) struct Socket {
    /// `None` while it writes.
    sink: Option<WsSink>,
    source: WsSource,
    writing: Option<BoxFuture<'static, (WsSink, Result<()>)>>,
    out: VecDeque<String>,
}

impl Link {
    /// Sends, without waiting.
    pub(super) fn send(&mut self, request: Request) {
        match self {
            Self::Polling(polling) => polling.send(request),
            Self::Socket(socket) => {
                socket.out.push_back(message::encode(std::slice::from_ref(&request.message)));
                socket.write();
            }
        }
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Input {
        match self {
            Self::Polling(polling) => {
                let finished = poll_fn(|cx| match polling.running.poll_next_unpin(cx) {
                    Poll::Ready(Some(finished)) => Poll::Ready(finished),
                    // Nothing runs; something will.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                });
                match finished.await {
                    (id, Ok(messages)) => Input::Received(Some(id), messages),
                    (id, Err(error)) => Input::Failed(Some(id), error),
                }
            }
            Self::Socket(socket) => socket.next().await,
        }
    }
}

impl Polling {
    fn send(&mut self, request: Request) {
        let Request { id, message, within } = request;
        let channel = message.channel.as_str();
        let operation = match channel {
            HANDSHAKE => "bayeux-handshake",
            CONNECT => "bayeux-connect",
            DISCONNECT => "bayeux-disconnect",
            SUBSCRIBE => "bayeux-subscribe",
            _ => "bayeux-publish",
        };
        let mut builder = http::Request::post(self.endpoint.url(channel))
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::ACCEPT, "application/json")
            .extension(Operation(operation))
            .extension(RequestTimeout(within))
            // A server may send the head of its answer at once, and hold the rest.
            .extension(ReadIdleTimeout(within))
            .extension(self.cookies.jar.clone());
        if let Some(headers) = builder.headers_mut() {
            headers.extend(self.endpoint.headers.clone());
        }
        if let Some(cookies) = builder.uri_ref().and_then(|uri| self.cookies.header_for(uri)) {
            builder = builder.header(header::COOKIE, cookies);
        }
        let built = builder.body(Body::from(message::encode(&[message])));
        let http = self.net.http().clone();
        let exchange = async move {
            let request = built.map_err(|_| Error::invalid_input("the CometD request"))?;
            let reply = http.send(request).await?;
            if reply.status.is_success() {
                return message::decode(reply.json(operation)?);
            }
            // A status beside the protocol's own refusal: the refusal says more.
            match message::decode(&reply.body) {
                Ok(messages) if messages.iter().any(|m| m.error.is_some()) => Ok(messages),
                _ => Err(reply.status_error(operation)),
            }
        };
        self.running.push(exchange.map(move |result| (id, result)).boxed());
    }
}

impl Socket {
    fn write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let Some(text) = self.out.pop_front() else { return };
        let Some(mut sink) = self.sink.take() else { return };
        self.writing = Some(Box::pin(async move {
            let result = sink.send_text(text).await;
            (sink, result)
        }));
    }

    async fn next(&mut self) -> Input {
        loop {
            let frame = tokio::select! {
                biased;
                (sink, result) = written(&mut self.writing) => {
                    self.writing = None;
                    self.sink = Some(sink);
                    if let Err(error) = result {
                        return Input::Failed(None, error);
                    }
                    self.write();
                    continue;
                }
                frame = self.source.next() => frame,
            };
            return match frame {
                Some(Ok(WsMessage::Text(text))) => match message::decode(text.as_str().as_bytes()) {
                    Ok(messages) => Input::Received(None, messages),
                    Err(error) => Input::Failed(None, error),
                },
                Some(Ok(WsMessage::Binary(_) | WsMessage::Alive)) => continue,
                Some(Err(error)) => Input::Failed(None, error),
                _ => Input::Failed(None, Error::new(ErrorKind::Network, "the WebSocket was closed")),
            };
        }
    }
}

async fn written(writing: &mut Option<BoxFuture<'static, (WsSink, Result<()>)>>) -> (WsSink, Result<()>) {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}
