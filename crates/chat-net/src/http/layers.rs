//! Owns the built-in layers. From the outside in: logs and metrics, headers and cookies, host policy, redirects and cap,
//! time-outs (innermost, where "not sent" and "unknown" can be told apart).

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{Delivery, Error, ErrorKind, Result, Retry, VendorError};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower::{ServiceExt, service_fn};

use super::{
    Body, CookieJar, Guarded, HandedOut, HttpService, MaxResponseBytes, Operation, ReadIdleTimeout,
    RequestTimeout, Streamed, unexpected,
};
use crate::{config::NetConfig, error::timed_out, policy::HostPolicy};

pub(super) fn stack(config: &NetConfig, leaf: HttpService) -> Result<HttpService> {
    let (agent, extra) = config.headers()?;
    let service = timeouts(leaf, config.request_timeout, config.read_idle_timeout);
    let service = caps(service, config.max_response_bytes);
    let service = policy(service, config.policy.clone());
    let service = headers(service, agent, extra);
    Ok(observe(service))
}

/// A layer from a function over the next service and a request.
fn layer<F, Fut>(next: HttpService, apply: F) -> HttpService
where
    F: Fn(HttpService, Request<Body>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    // Shared, so that cloning a stack for a request copies one level and not all of them.
    let shared = Arc::new((next, apply));
    HttpService::new(service_fn(move |request| {
        let (next, apply) = &*shared;
        apply(next.clone(), request)
    }))
}

/// Logs operation, method, host, status and duration; never a path, a query, a header or a body.
fn observe(next: HttpService) -> HttpService {
    layer(next, |next, request| async move {
        let operation = request.extensions().get().map_or("other", |&Operation(name)| name);
        let method = request.method().clone();
        let host = request.uri().host().unwrap_or_default().to_owned();
        let started = Instant::now();
        let result = next.oneshot(request).await;
        let took = started.elapsed();
        metrics::histogram!("chat_net_request_seconds", "operation" => operation).record(took);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(response) => {
                let status = response.status().as_u16();
                let class = match status {
                    ..400 => "success",
                    400..500 => "client_error",
                    _ => "server_error",
                };
                metrics::counter!("chat_net_requests_total", "operation" => operation, "outcome" => class)
                    .increment(1);
                tracing::debug!(operation, %method, host, status, millis, "HTTP response");
            }
            Err(error) => {
                metrics::counter!("chat_net_requests_total", "operation" => operation, "outcome" => "failure")
                    .increment(1);
                metrics::counter!("chat_net_request_failures_total", "operation" => operation, "kind" => kind(error))
                    .increment(1);
                tracing::debug!(operation, %method, host, %error, delivery = ?error.delivery(), millis, "HTTP failure");
            }
        }
        result
    })
}

fn kind(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Timeout => "timeout",
        ErrorKind::Network => "network",
        ErrorKind::Tls => "tls",
        ErrorKind::HostRefused => "host_refused",
        ErrorKind::UnexpectedResponse => "unexpected_response",
        _ => "other",
    }
}

/// User agent, configured headers (not to hosts that a vendor named), cookies of the session.
fn headers(next: HttpService, agent: HeaderValue, extra: HeaderMap) -> HttpService {
    layer(next, move |next, mut request| {
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| agent.clone());
        if request.extensions().get::<HandedOut>().is_none() {
            add_missing(request.headers_mut(), &extra);
        }
        let jar = request.extensions().get::<CookieJar>().cloned();
        if let Some(cookies) = jar.as_ref().and_then(|jar| jar.header_for(request.uri())) {
            request.headers_mut().entry(header::COOKIE).or_insert(cookies);
        }
        let uri = request.uri().clone();
        async move {
            let response = next.oneshot(request).await?;
            if let Some(jar) = jar {
                jar.store(&uri, response.headers());
            }
            Ok(response)
        }
    })
}

/// Adds headers whose names are not there yet; several values of one name stay together.
pub(crate) fn add_missing(headers: &mut HeaderMap, extra: &HeaderMap) {
    for name in extra.keys() {
        if !headers.contains_key(name) {
            for value in extra.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Refuses URLs, and sends what was checked: the normal form.
fn policy(next: HttpService, default: HostPolicy) -> HttpService {
    layer(next, move |next, mut request| {
        let policy = match request.extensions().get() {
            Some(HandedOut(policy)) => policy.clone(),
            None => default.clone(),
        };
        async move {
            let uri = policy.check(&request.uri().to_string())?;
            if !matches!(uri.scheme_str(), Some("http" | "https")) {
                return Err(Error::invalid_input("the URL is not for HTTP"));
            }
            *request.uri_mut() = uri;
            if !policy.allows_private() {
                request.extensions_mut().insert(Guarded);
            }
            next.oneshot(request).await
        }
    })
}

/// Refuses redirects, and bodies over the cap.
fn caps(next: HttpService, default: u64) -> HttpService {
    layer(next, move |next, request| {
        let cap = request.extensions().get().map_or(default, |&MaxResponseBytes(own)| own);
        async move {
            let response = next.oneshot(request).await?;
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                let mut vendor = VendorError::default();
                vendor.status = Some(status.as_u16());
                return Err(unexpected("redirects are refused").with_vendor(vendor));
            }
            let announced = response.headers().get(header::CONTENT_LENGTH);
            let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
            // The length of an answer to HEAD is not a body's; its hint is exact.
            if response.body().size_hint().exact() != Some(0) && announced.is_some_and(|length| length > cap)
            {
                return Err(over(cap));
            }
            Ok(response.map(|inner| Body::wrap(Capped { inner, cap, left: cap })))
        }
    })
}

fn over(cap: u64) -> Error {
    unexpected(format!("the response has more than {cap} bytes")).with_retry(Retry::Never)
}

struct Capped {
    inner: Body,
    cap: u64,
    left: u64,
}

impl HttpBody for Capped {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let item = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &item {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.inner = Body::empty();
                    return Poll::Ready(Some(Err(over(self.cap))));
                }
            }
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Limits the whole exchange and the silences in it. A streamed request body counts as alive while it moves.
fn timeouts(next: HttpService, default: Duration, idle: Duration) -> HttpService {
    layer(next, move |next, request| async move {
        let limit = request.extensions().get().map_or(default, |&RequestTimeout(own)| own);
        let idle = request.extensions().get().map_or(idle, |&ReadIdleTimeout(own)| own);
        let streamed = request.extensions().get::<Streamed>().is_some();
        let sending = Arc::new(Sending::new());
        let request = request.map(|inner| {
            let long = inner.is_stream();
            Body::wrap(Watched { inner, long, sending: Arc::clone(&sending) })
        });
        let mut call = pin!(next.oneshot(request));
        let (response, deadline) = loop {
            let deadline = sending.moved() + limit;
            match timeout_at(deadline, call.as_mut()).await {
                Ok(result) => break (result, deadline),
                Err(_) if sending.moved() + limit > deadline => {}
                Err(_) => return Err(timed_out("request", sending.delivery())),
            }
        };
        let response = response.map_err(|error| match (error.delivery(), sending.delivery()) {
            // The leaf never looked at the request: nothing can have left.
            (Delivery::Unknown, Delivery::NotSent) => error.with_delivery(Delivery::NotSent),
            _ => error,
        })?;
        let deadline = (!streamed).then_some(deadline);
        Ok(response.map(|inner| Body::wrap(Timed { inner, idle, deadline, sleep: None })))
    })
}

/// How far a request has got. HTTP libraries ask a body whether it is empty just when they write the head to an
/// established connection, and not before.
struct Sending {
    begun: AtomicBool,
    moved: Mutex<Instant>,
}

impl Sending {
    fn new() -> Self {
        Self { begun: AtomicBool::new(false), moved: Mutex::new(Instant::now()) }
    }

    fn moved(&self) -> Instant {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delivery(&self) -> Delivery {
        if self.begun.load(Ordering::Acquire) { Delivery::Unknown } else { Delivery::NotSent }
    }
}

struct Watched {
    inner: Body,
    /// Whether it may take longer than a request usually may, as long as it moves.
    long: bool,
    sending: Arc<Sending>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.sending.begun.store(true, Ordering::Release);
        let item = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if self.long {
            *self.sending.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.sending.begun.store(true, Ordering::Release);
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

struct Timed {
    inner: Body,
    idle: Duration,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if let Poll::Ready(item) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.sleep = None;
            return Poll::Ready(item);
        }
        let until = Instant::now() + self.idle;
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        ready!(self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx));
        self.inner = Body::empty();
        Poll::Ready(Some(Err(timed_out("response", Delivery::Unknown))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
