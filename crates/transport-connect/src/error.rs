//! Owns how the vendor's failures become [`chat_core::Error`]. Never shows a URL or a secret. Source: §4.1.

use std::time::Duration;

use chat_core::{Delivery, Error, ErrorKind, Retry, VendorError};

use crate::wire::{
    errors::{ErrorAnswer, ErrorType},
    start_chat::StartChatError,
};

/// What an HTTP answer tells about its failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    pub(crate) status: u16,
    /// `x-amzn-errortype`.
    pub(crate) error_type: Option<&'a str>,
    /// `x-amzn-requestid`.
    pub(crate) request_id: Option<&'a str>,
    /// `Retry-After`, as read and clamped by the network layer.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: &'a str,
}

impl Failure<'_> {
    /// The failure of a Participant Service operation.
    pub(crate) fn of_operation(self, operation: &'static str) -> Error {
        let answer = ErrorAnswer::read(self.error_type, self.body);
        self.into_error(operation, answer.kind, answer.message)
    }

    /// The failure of the start-chat endpoint, whose own status need not be the vendor's.
    pub(crate) fn of_start_chat(mut self) -> Error {
        let body = serde_json::from_str(self.body).unwrap_or_default();
        let found = StartChatError::find(&body);
        let kind = self.error_type.or(found.code.as_deref()).map(ErrorType::parse);
        // A gateway's 200 with an error inside, or a proxy that turns every failure into a 500.
        if let Some(status) = found.status.or_else(|| kind.as_ref().and_then(ErrorType::status)) {
            self.status = status;
        }
        self.into_error("start chat", kind, found.message)
    }

    fn into_error(self, context: &'static str, kind: Option<ErrorType>, message: Option<String>) -> Error {
        let mut vendor = VendorError::default();
        vendor.status = Some(self.status);
        vendor.code = kind.as_ref().map(|kind| short(kind.as_str()));
        vendor.request_id = self.request_id.map(short);
        vendor.message = message.as_deref().map(short);
        let kind = kind.as_ref().and_then(by_type).unwrap_or_else(|| by_status(self.status));
        let waits = matches!(kind, ErrorKind::RateLimited | ErrorKind::Server);
        let error = Error::new(kind, context).with_vendor(vendor);
        match self.retry_after {
            Some(after) if waits => error.with_retry(Retry::After(after)),
            _ => error,
        }
    }
}

/// At most 256 characters.
fn short(text: &str) -> String {
    text.chars().take(256).collect()
}

/// The type decides, whatever status it came with (throttling comes as 400 and 503, too).
fn by_type(kind: &ErrorType) -> Option<ErrorKind> {
    Some(match kind {
        ErrorType::Validation | ErrorType::InvalidRequest | ErrorType::InvalidParameter => ErrorKind::Refused,
        ErrorType::ServiceQuotaExceeded => ErrorKind::QuotaExceeded,
        ErrorType::AccessDenied => ErrorKind::AccessDenied,
        ErrorType::ResourceNotFound => ErrorKind::NotFound,
        ErrorType::ContactNotFound => ErrorKind::SessionEnded,
        ErrorType::Conflict => ErrorKind::Conflict,
        ErrorType::Throttling | ErrorType::TooManyRequests | ErrorType::LimitExceeded => {
            ErrorKind::RateLimited
        }
        ErrorType::InternalServer | ErrorType::InternalService => ErrorKind::Server,
        ErrorType::Other(_) => return None,
    })
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExceeded,
        403 => ErrorKind::AccessDenied,
        404 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::Refused,
        500..=599 => ErrorKind::Server,
        // Redirects are not followed; anything else is no answer of this service.
        _ => ErrorKind::UnexpectedResponse,
    }
}

/// Whether the service itself (not a gateway in front of it) denied access: the token is wrong, or the contact is over.
pub(crate) fn is_denied_by_service(error: &Error) -> bool {
    error.kind() == &ErrorKind::AccessDenied
        && error.vendor().code.as_deref() == Some(ErrorType::AccessDenied.as_str())
}

/// The chat is over: what the service's denial means to a session that once stood.
pub(crate) fn ended(error: &Error) -> Error {
    Error::new(ErrorKind::SessionEnded, error.context().to_owned())
        .with_vendor(error.vendor().clone())
        .with_delivery(error.delivery())
}

/// An answer of another shape than the protocol says. The request may have had its effect.
pub(crate) fn unexpected(context: &'static str) -> Error {
    Error::new(ErrorKind::UnexpectedResponse, context)
}

/// Why a socket was closed by the other side, by its close code. Whatever the code, the chat may go on: only the service's
/// denial of new credentials ends it.
pub(crate) fn closed(code: Option<u16>) -> Error {
    let (kind, context) = match code {
        // Orderly, going away, no code, no close frame.
        None | Some(1000 | 1001 | 1005 | 1006) => (ErrorKind::Network, "the socket was closed"),
        Some(1011..=1015) => (ErrorKind::Server, "the socket was closed by a failing service"),
        Some(1002 | 1003 | 1007..=1010) => {
            (ErrorKind::UnexpectedResponse, "the socket was closed for a breach of protocol")
        }
        Some(_) => (ErrorKind::Server, "the socket was closed"),
    };
    let mut vendor = VendorError::default();
    vendor.code = code.map(|code| format!("close {code}"));
    Error::new(kind, context).with_retry(Retry::Backoff).with_delivery(Delivery::NotSent).with_vendor(vendor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(status: u16, error_type: Option<&'static str>, body: &'static str) -> Failure<'static> {
        Failure { status, error_type, request_id: Some("r-1"), retry_after: None, body }
    }

    #[test]
    fn the_type_decides_and_the_status_steps_in() {
        for (status, error_type, kind) in [
            (400, Some("ValidationException"), ErrorKind::Refused),
            (402, Some("ServiceQuotaExceededException:http://x"), ErrorKind::QuotaExceeded),
            (403, Some("aws#AccessDeniedException"), ErrorKind::AccessDenied),
            (404, Some("ResourceNotFoundException"), ErrorKind::NotFound),
            (409, Some("ConflictException"), ErrorKind::Conflict),
            (429, Some("ThrottlingException"), ErrorKind::RateLimited),
            (400, Some("ThrottlingException"), ErrorKind::RateLimited),
            (503, Some("ThrottlingException"), ErrorKind::RateLimited),
            (500, Some("InternalServerException"), ErrorKind::Server),
            (403, None, ErrorKind::AccessDenied),
            (401, None, ErrorKind::Unauthorized),
            (302, None, ErrorKind::UnexpectedResponse),
            (502, None, ErrorKind::Server),
            (418, Some("TeapotException"), ErrorKind::Refused),
        ] {
            let error = failure(status, error_type, "{}").of_operation("send message");
            assert_eq!(error.kind(), &kind, "{status} {error_type:?}");
        }
    }

    #[test]
    fn the_vendor_can_be_quoted() {
        let error = failure(403, Some("AccessDeniedException"), r#"{"message":"Access denied"}"#)
            .of_operation("send message");
        assert_eq!(error.to_string(), "access denied: send message (403 AccessDeniedException)");
        assert_eq!(error.vendor().message.as_deref(), Some("Access denied"));
        assert_eq!(error.vendor().request_id.as_deref(), Some("r-1"));
        assert!(is_denied_by_service(&error));
        assert_eq!(ended(&error).kind(), &ErrorKind::SessionEnded);

        let gateway = failure(403, None, r#"{"message":"Forbidden"}"#).of_operation("send message");
        assert!(!is_denied_by_service(&gateway), "a gateway knows nothing about the chat");
    }

    #[test]
    fn retry_after_is_passed_on_where_it_means_something() {
        let after =
            |status| Failure { retry_after: Some(Duration::from_secs(7)), ..failure(status, None, "") };
        assert_eq!(after(429).of_operation("x").retry(), Retry::After(Duration::from_secs(7)));
        assert_eq!(after(503).of_operation("x").retry(), Retry::After(Duration::from_secs(7)));
        assert_eq!(after(403).of_operation("x").retry(), Retry::Never);
    }

    #[test]
    fn the_start_chat_endpoint_hides_the_status_in_its_body() {
        let body =
            r#"{"data":{"Error":{"message":"quota","code":"LimitExceededException","statusCode":429}}}"#;
        let error = failure(500, None, body).of_start_chat();
        assert_eq!(error.kind(), &ErrorKind::RateLimited);
        assert_eq!(error.vendor().status, Some(429));
        assert_eq!(failure(500, None, "<html>").of_start_chat().kind(), &ErrorKind::Server);
        assert_eq!(failure(403, None, r#"{"error":"no"}"#).of_start_chat().kind(), &ErrorKind::AccessDenied);
    }

    proptest! {
        #[test]
        fn every_close_code_may_be_tried_again(code: Option<u16>) {
            prop_assert_ne!(closed(code).retry(), Retry::Never);
        }

        #[test]
        fn every_answer_is_some_error(status: u16, error_type: Option<String>, body: String) {
            let failure = Failure {
                status, error_type: error_type.as_deref(), request_id: None, retry_after: None, body: &body,
            };
            let error = failure.of_operation("x");
            prop_assert!(error.vendor().message.as_ref().is_none_or(|text| text.chars().count() <= 256));
            let _ = failure.of_start_chat();
        }
    }
}
