//! Owns answers as HTTP: replies, pages of proxies, files, leave for browsers, and the headers that every answer has.

use std::{
    fmt, io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use chat_core::{Timestamp, WallClock};
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

use super::{config::FrontConfig, files::Fetched};
use crate::wire::Reply;

/// What goes over the wire.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The client hears nothing: the connection is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl std::error::Error for NoAnswer {}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn plain(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    plain(status, "application/json;charset=UTF-8", body)
}

pub(super) fn reply(status: StatusCode, reply: &Reply) -> Response<Body> {
    json(status, reply.to_json())
}

/// A page as servlet containers and proxies make it.
pub(super) fn html(status: StatusCode) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let page = format!(
        "<html><head><title>{0} {reason}</title></head><body>{reason}</body></html>",
        status.as_u16()
    );
    plain(status, "text/html", page)
}

/// A gateway's refusal of a missing key (§1.2).
pub(super) fn invalid_api_key() -> Response<Body> {
    let fault =
        r#"{"fault":{"faultstring":"Invalid ApiKey","detail":{"errorcode":"oauth.v2.InvalidApiKey"}}}"#;
    plain(StatusCode::UNAUTHORIZED, "application/json", fault)
}

pub(super) fn retry_after(status: StatusCode, seconds: u64) -> Response<Body> {
    let mut response = html(status);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A file, as a download answers it (§7).
pub(super) fn file(file: Fetched) -> Response<Body> {
    let frames = file.download.bytes.map_ok(Frame::data).map_err(io::Error::other);
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let kind = file.download.content_type.as_deref().unwrap_or("application/octet-stream");
    let headers = response.headers_mut();
    headers.extend(value(kind).map(|value| (header::CONTENT_TYPE, value)));
    headers.extend(value(&disposition(&file.name)).map(|value| (header::CONTENT_DISPOSITION, value)));
    headers.extend(file.download.size.map(|size| (header::CONTENT_LENGTH, HeaderValue::from(size))));
    response
}

fn disposition(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' };
    format!("attachment; filename=\"{}\"", name.chars().map(safe).collect::<String>())
}

/// The same answer, cut in its middle.
pub(super) async fn truncated(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let cut = stream::iter([Ok(Frame::data(half)), Err(io::Error::other("cut"))]);
    // The first half has to leave before the cut.
    let slow = cut.then(|frame| async {
        tokio::task::yield_now().await;
        frame
    });
    Response::from_parts(parts, BodyExt::boxed_unsync(StreamBody::new(slow)))
}

/// What every answer has: the date, and leave for browsers to read it.
pub(super) fn dress(response: &mut Response<Body>, origin: Option<&HeaderValue>, config: &FrontConfig) {
    response.headers_mut().insert(header::DATE, date(&*config.clock));
    allow(response.headers_mut(), origin, config);
}

fn allow(headers: &mut HeaderMap, origin: Option<&HeaderValue>, config: &FrontConfig) {
    let Some(origin) = origin else { return };
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if config.lets_in(origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        let exposed = HeaderValue::from_static("content-disposition, retry-after, date");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Leave for a browser to send what the vendor's clients send.
pub(super) fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let usual =
        HeaderValue::from_static("content-type, authorization, apikey, x-api-key, gms_user, contactcenterid");
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(usual);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn date(clock: &dyn WallClock) -> HeaderValue {
    let since = |now: Timestamp| Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default());
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since(clock.now()));
    HeaderValue::try_from(text).expect("a date is a header value")
}
