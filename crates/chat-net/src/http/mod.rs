//! Owns the HTTP stack: one client for all sessions, as a tower service over a leaf that moves the bytes. It retries nothing.

mod body;
mod headers;
mod layers;
mod leaf;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{Error, Result, Timestamp};
use futures::{Stream, StreamExt, future::BoxFuture};
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use reqwest::cookie::CookieStore;
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneSyncService};

pub use self::{
    body::Body,
    headers::{MAX_RETRY_AFTER, retry_after, server_date, snippet, status_error},
};
pub(crate) use self::{headers::not_json, layers::add_missing, leaf::resolve};
pub(crate) use crate::error::unexpected;
use crate::{config::NetConfig, policy::HostPolicy, tls};

/// What the layers wrap and what they are: a request in, a response or this library's error out.
pub type HttpService = BoxCloneSyncService<Request<Body>, Response<Body>, Error>;

/// Request extension: the operation's name, for logs and metrics. Without it both say `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation(pub &'static str);

/// Request extension: a time-out of its own, as for long polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTimeout(pub Duration);

/// Request extension: a time-out of its own for silences in the response's body, as for long polls whose server sends the head
/// early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadIdleTimeout(pub Duration);

/// Request extension: a cap of its own for the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxResponseBytes(pub u64);

/// Request extension: the URL came from a vendor's answer. It is checked against this policy instead of the client's,
/// addresses included, and the configured extra headers stay away from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut(pub HostPolicy);

/// Request extension: cookies of one session, for vendors that pin sessions by cookie. Clones share the jar.
#[derive(Clone, Default)]
pub struct CookieJar(Arc<reqwest::cookie::Jar>);

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar")
    }
}

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `Cookie` header for a URL. `None` if there is nothing to send.
    pub fn header_for(&self, uri: &Uri) -> Option<http::HeaderValue> {
        let mut value = self.0.cookies(&Self::url(uri)?)?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The jar knows `Secure` cookies by `https` alone.
    fn url(uri: &Uri) -> Option<url::Url> {
        let text = uri.to_string();
        url::Url::parse(&match text.strip_prefix("ws") {
            Some(rest) => format!("http{rest}"),
            None => text,
        })
        .ok()
    }

    pub(crate) fn store(&self, uri: &Uri, headers: &HeaderMap) {
        if let Some(url) = Self::url(uri) {
            self.0.set_cookies(&mut headers.get_all(header::SET_COOKIE).iter(), &url);
        }
    }
}

/// Request extension: the response's body is read as a stream, so only silence ends it, not its whole duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed;

/// Request extension: the host must resolve to public addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded;

/// The HTTP client. A clone is cheap and shares connections; build one for all sessions.
#[derive(Clone)]
pub struct HttpClient(Arc<HttpService>);

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

/// Builds an [`HttpClient`], with layers of your own around it.
#[must_use]
pub struct HttpClientBuilder {
    config: NetConfig,
    leaf: Option<HttpService>,
    wrap: Vec<Box<dyn FnOnce(HttpService) -> HttpService + Send>>,
}

impl fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl HttpClientBuilder {
    /// Puts a layer around what there is so far. All of these stand outside the built-in ones (logs, headers, host policy,
    /// caps, time-outs), which therefore apply to whatever a layer sends. Do not retry here: sessions do.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HttpService> + Send + 'static,
        L::Service: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.wrap.push(Box::new(move |service| {
            let service = layer.layer(service).map_err(|error| {
                let error: BoxError = error.into();
                match error.downcast::<Error>() {
                    Ok(error) => *error,
                    Err(other) => crate::error::caused(
                        Error::new(chat_core::ErrorKind::Internal, "a layer failed")
                            .with_delivery(chat_core::Delivery::Unknown),
                        &*other,
                    ),
                }
            });
            BoxCloneSyncService::new(service)
        }));
        self
    }

    /// Replaces the leaf, which moves the bytes; the layers stay.
    pub fn leaf(mut self, leaf: HttpService) -> Self {
        self.leaf = Some(leaf);
        self
    }

    /// Moves the bytes through a network in memory.
    #[cfg(feature = "memory")]
    pub fn memory(self, network: &crate::memory::MemoryNetwork) -> Self {
        let leaf = network.leaf(self.config.connect_timeout);
        self.leaf(leaf)
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](chat_core::ErrorKind::Config): headers or proxy malformed, TLS not available.
    pub fn build(self) -> Result<HttpClient> {
        let leaf = match self.leaf {
            Some(leaf) => leaf,
            None => leaf::reqwest_leaf(&self.config, &*tls::client_config(&self.config.trust)?)?,
        };
        let service = layers::stack(&self.config, leaf)?;
        let service = self.wrap.into_iter().fold(service, |service, wrap| wrap(service));
        Ok(HttpClient(Arc::new(service)))
    }
}

pub(crate) fn production_leaf(config: &NetConfig, tls: &rustls::ClientConfig) -> Result<HttpService> {
    leaf::reqwest_leaf(config, tls)
}

impl HttpClient {
    /// Starts building one.
    pub fn builder(config: &NetConfig) -> HttpClientBuilder {
        HttpClientBuilder { config: config.clone(), leaf: None, wrap: Vec::new() }
    }

    /// Sends a request and gives the response as soon as its head is there; its body is still under time-outs and cap.
    /// Any status is a response, except redirects, which are refused.
    ///
    /// # Errors
    /// `HostRefused`, `Tls` and `Network` or `Timeout` with `NotSent` before there was a connection; `Network` or `Timeout`
    /// with `Unknown` once the request was on its way; `UnexpectedResponse` for redirects and announced bodies over the cap.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; whether the request arrived is then unknown.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Body>> {
        HttpService::clone(&self.0).oneshot(request).await
    }

    /// Sends a request and reads the response to its end. Errors and cancel safety as [`call`](Self::call), and
    /// `UnexpectedResponse` for bodies over the cap.
    pub async fn send(&self, request: Request<Body>) -> Result<Reply> {
        let (head, body) = self.call(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    /// Sends a request and gives the body of a successful response as a stream, at most `max_bytes` of it. Only silence
    /// times out, and less than the announced length is an error. Unsuccessful statuses are errors
    /// ([`status_error`]). Errors and cancel safety otherwise as [`call`](Self::call).
    pub async fn download(&self, request: Request<Body>, max_bytes: u64) -> Result<Download> {
        let download = self.stream(request, max_bytes).await?;
        if download.status.is_success() {
            Ok(download)
        } else {
            Err(status_error(download.status, &download.headers, "download"))
        }
    }

    /// As [`download`](Self::download), but whatever the status: for vendors that say in the body why they refuse.
    pub async fn stream(&self, mut request: Request<Body>, max_bytes: u64) -> Result<Download> {
        request.extensions_mut().insert(Streamed);
        request.extensions_mut().insert(MaxResponseBytes(max_bytes));
        let (head, body) = self.call(request).await?.into_parts();
        let length = body
            .size_hint()
            .exact()
            .or_else(|| head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok());
        Ok(Download { status: head.status, headers: head.headers, length, seen: 0, body: Some(body) })
    }
}

impl Service<Request<Body>> for HttpClient {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(HttpService::clone(&self.0).oneshot(request))
    }
}

/// A response, read to its end.
#[derive(Clone)]
#[non_exhaustive]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as it came: never decompressed.
    pub body: Bytes,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status.as_u16(), self.body.len())
    }
}

impl Reply {
    /// The body, if the response claims to be JSON and is not compressed. Captive portals answer 200 with HTML.
    ///
    /// # Errors
    /// `UnexpectedResponse` with content type, length and some harmless words of the body.
    pub fn json(&self, context: &'static str) -> Result<&Bytes> {
        let encoded = self
            .headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            return Err(unexpected(format!("{context}: compressed, which was not asked for")));
        }
        if headers::is_json(&self.headers) {
            Ok(&self.body)
        } else {
            Err(not_json(context, self.status, &self.headers, &self.body))
        }
    }

    /// The error that the status means when the vendor says no more; see [`status_error`].
    pub fn status_error(&self, context: &'static str) -> Error {
        status_error(self.status, &self.headers, context)
    }

    /// How long the server asks to wait, at most [`MAX_RETRY_AFTER`]; see [`retry_after`].
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, MAX_RETRY_AFTER)
    }

    /// The server's time of day; see [`server_date`].
    pub fn server_date(&self) -> Option<Timestamp> {
        server_date(&self.headers)
    }
}

/// The body of a response, as a stream of chunks. Ends after the first error.
pub struct Download {
    status: StatusCode,
    headers: HeaderMap,
    length: Option<u64>,
    seen: u64,
    body: Option<Body>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl Download {
    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Reads it to its end, if it has at most `max_bytes`.
    ///
    /// # Errors
    /// `UnexpectedResponse` if it has more; as the stream otherwise.
    pub async fn read(mut self, max_bytes: usize) -> Result<Reply> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next().await.transpose()? {
            body.extend_from_slice(&bytes);
            if body.len() > max_bytes {
                return Err(unexpected(format!("the response has more than {max_bytes} bytes")));
            }
        }
        Ok(Reply { status: self.status, headers: self.headers, body: body.into() })
    }

    /// The response's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The announced length in bytes, if any.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Stream for Download {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let item = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        self.seen = self.seen.saturating_add(bytes.len() as u64);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => Some(Err(error)),
                None if self.length.is_some_and(|length| length != self.seen) => {
                    Some(Err(unexpected("download: another length than announced")))
                }
                None => None,
            };
            self.body = None;
            return Poll::Ready(item);
        }
    }
}
