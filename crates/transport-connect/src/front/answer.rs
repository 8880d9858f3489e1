//! Owns answers: bodies, errors as the service writes them, and the headers that every answer has. Source: §2.2, §4.1.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use chat_core::{Error, ErrorKind, Timestamp, WallClock};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

use crate::wire::errors::{ERROR_TYPE_HEADER, ErrorBody, ErrorType, REQUEST_ID_HEADER};

/// What goes over the wire.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An operation's refusal.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) kind: ErrorType,
    pub(super) message: String,
    pub(super) resource: Option<(String, &'static str)>,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), resource: None, retry_after: None }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorType::Validation, message)
    }

    pub(super) fn denied() -> Self {
        Self::new(ErrorType::AccessDenied, "Access denied")
    }

    /// Which error a status stands for, in the Participant Service.
    pub(super) fn of_status(status: u16) -> Self {
        let (kind, message) = match status {
            400 => (ErrorType::Validation, "Validation exception due to invalid parameter"),
            402 => (ErrorType::ServiceQuotaExceeded, "Quota exceeded"),
            403 => (ErrorType::AccessDenied, "Access denied"),
            404 => (ErrorType::ResourceNotFound, "Not found"),
            409 => (ErrorType::Conflict, "Conflict"),
            410 => (ErrorType::ContactNotFound, "Contact not found"),
            429 => (ErrorType::Throttling, "Too many requests"),
            _ => (ErrorType::InternalServer, "Internal failure"),
        };
        Self::new(kind, message)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind
            .status()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let status = self.status();
        self.with_status(status)
    }

    pub(super) fn with_status(self, status: StatusCode) -> Response<Body> {
        let (resource_id, resource_type) =
            self.resource.as_ref().map_or((None, None), |(id, kind)| (Some(id.as_str()), Some(*kind)));
        let mut response = json(status, &ErrorBody { message: &self.message, resource_id, resource_type });
        if let Ok(kind) = HeaderValue::from_str(self.kind.as_str()) {
            response.headers_mut().insert(ERROR_TYPE_HEADER, kind);
        }
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

/// What a transport's error is to a client of the service.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidInput
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Unsupported { .. }
            | ErrorKind::Refused
            | ErrorKind::NotFound => 400,
            ErrorKind::QuotaExceeded => 402,
            ErrorKind::AccessDenied
            | ErrorKind::Unauthorized
            | ErrorKind::NotActive
            | ErrorKind::SessionEnded
            | ErrorKind::SessionLost => 403,
            ErrorKind::Conflict => 409,
            ErrorKind::RateLimited | ErrorKind::QueueFull => 429,
            _ => 500,
        };
        let mut refusal = Self::of_status(status);
        refusal.message = match (&error.vendor().message, status) {
            (Some(message), _) => message.clone(),
            (None, 400) => error.to_string(),
            (None, _) => refusal.message,
        };
        if let chat_core::Retry::After(after) = error.retry() {
            refusal.retry_after = Some(after);
        }
        refusal
    }
}

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

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(body).expect("answers are plain texts, numbers and lists");
    plain(status, "application/json", text)
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

/// What every answer has: date, request id, and leave for browsers to read it.
pub(super) fn dress(response: &mut Response<Body>, clock: &dyn WallClock) {
    let headers = response.headers_mut();
    headers.insert(header::DATE, date(clock.now()));
    let id = uuid::Uuid::new_v4().to_string();
    headers.insert(REQUEST_ID_HEADER, HeaderValue::try_from(id).expect("a UUID is a header value"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("x-amzn-errortype, x-amzn-requestid, retry-after, date"),
    );
}

fn date(now: Timestamp) -> HeaderValue {
    let since = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default());
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since);
    HeaderValue::try_from(text).expect("a date is a header value")
}

/// Leave for a browser to send what the vendor's clients send.
pub(super) fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let usual = HeaderValue::from_static(
        "content-type, authorization, x-amz-bearer, x-amz-date, x-amz-content-sha256, x-amz-user-agent, \
         x-amz-security-token, amz-sdk-invocation-id, amz-sdk-request, x-amz-acl, content-disposition",
    );
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(usual);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
