//! Owns what an answer means: a good reply, or a [`chat_core::Error`] and what it says about the chat. Source: §3.2, §3.3.

use std::{borrow::Cow, time::Duration};

use chat_core::{Delivery, Error, ErrorKind, Retry, VendorError};

use chat_net::http::snippet;

use crate::wire::{ErrorCode, ErrorEntry, Operation, Reply, StatusCode, redact};

/// How much of a body is looked at before some of it is quoted.
const LOOKED_AT: usize = 64 * 1024;
/// What stands in every call, and so in every answer that repeats it, in small letters.
const ECHOED: [&str; 4] = ["securekey", "userdata", "nickname", "firstname"];

/// An HTTP answer, read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// `Retry-After`, as read and clamped by the network layer.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: &'a [u8],
}

/// A call that did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) chat: ChatState,
}

/// What a failure says about the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChatState {
    /// It goes on, as far as this failure can tell.
    GoesOn,
    /// It may be over: ask once before saying so.
    Doubtful,
    /// It is over.
    Over,
}

impl Failure {
    const fn new(error: Error, chat: ChatState) -> Self {
        Self { error, chat }
    }
}

impl Answer<'_> {
    /// What the answer means. A good reply may say that the chat is over: deliver its messages, then end.
    ///
    /// # Errors
    /// Anything but `statusCode` 0. The reply's other fields are not to be trusted then, and are not given away.
    pub(crate) fn judge(self, operation: Operation) -> Result<Reply, Failure> {
        let reply = Reply::read_bytes(self.body);
        match (self.status, reply) {
            (200..=299, Some(reply)) => judge_reply(operation, reply),
            (200..=299, None) => Err(Failure::new(self.unexpected(operation), ChatState::GoesOn)),
            (_, reply) => Err(self.http_failure(operation, reply.unwrap_or_default())),
        }
    }

    /// Another shape than the protocol says. The call may have had its effect.
    fn unexpected(&self, operation: Operation) -> Error {
        let mut vendor = VendorError::default();
        vendor.status = Some(self.status);
        vendor.message = self.words();
        let context = format!("{}: no JSON object, {} bytes", operation.name(), self.body.len());
        Error::new(ErrorKind::UnexpectedResponse, context).with_vendor(vendor)
    }

    /// Some words of a body that is no JSON: of a firewall, or the title of a login page. What began as JSON, or repeats what was
    /// asked, may hold somebody's messages.
    fn words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(self.body.get(..LOOKED_AT).unwrap_or(self.body));
        let text = text.trim_start_matches('\u{feff}').trim().to_ascii_lowercase();
        let is_echo = ECHOED.iter().any(|name| text.contains(name));
        (!text.starts_with(['{', '[', '"']) && !is_echo)
            .then(|| snippet(self.body))
            .filter(|words| !words.is_empty())
    }

    fn http_failure(self, operation: Operation, reply: Reply) -> Failure {
        // GMS itself may say with an error status what it usually says with 200.
        if self.status < 500
            && reply.status_code == Some(StatusCode::Failed)
            && reply.chat_ended == Some(true)
        {
            let Failure { error, chat } = refused(operation, &reply, true);
            let mut vendor = error.vendor().clone();
            vendor.status = Some(self.status);
            return Failure::new(error.with_vendor(vendor), chat);
        }
        let mut vendor = quote(&reply.errors);
        vendor.status = Some(self.status);
        vendor.message = vendor.message.or_else(|| self.words());
        let known = code(&reply.errors).and_then(|code| by_code(operation, code));
        let (kind, chat) = match (self.status, known) {
            // Whoever answers so need not know whether the call had its effect: the entries are a quotation.
            (500..=599, _) => (ErrorKind::Server, ChatState::GoesOn),
            (_, Some(known)) => known,
            (401, None) => (ErrorKind::Unauthorized, ChatState::GoesOn),
            (403, None) => (ErrorKind::AccessDenied, ChatState::GoesOn),
            (404, None) if operation == Operation::RequestChat => (ErrorKind::Config, ChatState::GoesOn),
            (404, None) if is_about_one_file(operation) => (ErrorKind::NotFound, ChatState::GoesOn),
            (404 | 410, None) => (ErrorKind::NotFound, ChatState::Doubtful),
            (408, None) => (ErrorKind::Timeout, ChatState::GoesOn),
            (429, None) => (ErrorKind::RateLimited, ChatState::GoesOn),
            (400..=499, None) if code(&reply.errors).is_some() => (ErrorKind::Refused, ChatState::Doubtful),
            (400..=499, None) => (ErrorKind::Refused, ChatState::GoesOn),
            // Redirects are not followed.
            _ => (ErrorKind::UnexpectedResponse, ChatState::GoesOn),
        };
        let delivery = match self.status {
            408 | 500..=599 => Delivery::Unknown,
            400..=499 => Delivery::Refused,
            _ => Delivery::Unknown,
        };
        let error = Error::new(kind, operation.name()).with_vendor(vendor).with_delivery(delivery);
        let retry = match (error.kind(), self.retry_after) {
            (ErrorKind::RateLimited | ErrorKind::Server, Some(wait)) => Retry::After(wait),
            // Nobody said that the chat is gone: a node that is being replaced answers so, too.
            (ErrorKind::NotFound, _) if chat == ChatState::Doubtful => Retry::Backoff,
            _ => error.retry(),
        };
        Failure::new(error.with_retry(retry), chat)
    }
}

/// What a reply means that came with HTTP status 200, or as the data of a CometD message.
///
/// # Errors
/// As [`Answer::judge`].
pub(crate) fn judge_reply(operation: Operation, reply: Reply) -> Result<Reply, Failure> {
    let over = reply.chat_ended == Some(true);
    match reply.status_code {
        Some(StatusCode::Ok) => Ok(reply),
        // The second disconnect: what was wanted is so.
        Some(StatusCode::Failed) if over && operation == Operation::Disconnect => Ok(reply),
        Some(StatusCode::Failed) => Err(refused(operation, &reply, over)),
        None if over && !reply.errors.is_empty() => Err(refused(operation, &reply, true)),
        // The flag of such a reply is left over from the last success.
        Some(StatusCode::Transient) => Err(Failure::new(transient(operation, &reply), ChatState::GoesOn)),
        None if !reply.errors.is_empty() => {
            Err(Failure::new(transient(operation, &reply), ChatState::GoesOn))
        }
        None | Some(StatusCode::Other(_)) => {
            let error = Error::new(ErrorKind::UnexpectedResponse, operation.name());
            Err(Failure::new(error.with_vendor(quote_reply(&reply)), ChatState::GoesOn))
        }
    }
}

/// `statusCode` 1. The call may have had its effect.
fn transient(operation: Operation, reply: &Reply) -> Error {
    Error::new(ErrorKind::Server, operation.name()).with_vendor(quote_reply(reply))
}

/// `statusCode` 2: repeating does not help.
fn refused(operation: Operation, reply: &Reply, over: bool) -> Failure {
    let starts = operation == Operation::RequestChat;
    let known = code(&reply.errors).and_then(|code| by_code(operation, code));
    let (kind, chat) = match known {
        // A refused start ends nothing.
        Some((kind, _)) if starts => (kind, ChatState::GoesOn),
        None if starts => (ErrorKind::Refused, ChatState::GoesOn),
        Some((kind @ (ErrorKind::AccessDenied | ErrorKind::SessionLost), _)) if over => {
            (kind, ChatState::Over)
        }
        _ if over => (ErrorKind::SessionEnded, ChatState::Over),
        Some(known) => known,
        None => (ErrorKind::Refused, ChatState::Doubtful),
    };
    let error = Error::new(kind, operation.name())
        .with_vendor(quote_reply(reply))
        .with_retry(Retry::Never)
        .with_delivery(Delivery::Refused);
    Failure::new(error, chat)
}

fn is_about_one_file(operation: Operation) -> bool {
    matches!(operation, Operation::FileDownload | Operation::FileDelete)
}

/// What the codes of §3.3 mean. `None` for a code that says nothing about the reason.
fn by_code(operation: Operation, code: ErrorCode) -> Option<(ErrorKind, ChatState)> {
    use ChatState::{Doubtful, GoesOn};
    Some(match code {
        ErrorCode::FIRST_NAME_REQUIRED
        | ErrorCode::LAST_NAME_REQUIRED
        | ErrorCode::NAME_REQUIRED
        | ErrorCode::INVALID_EMAIL
        | ErrorCode::FILE_TYPE
        | ErrorCode::MESSAGE_TOO_LONG => (ErrorKind::Refused, GoesOn),
        ErrorCode::TOO_MANY_FILES | ErrorCode::FILE_QUOTA => (ErrorKind::QuotaExceeded, GoesOn),
        ErrorCode::CANNOT_START | ErrorCode::SERVICE_ERROR | ErrorCode::INTERNAL | ErrorCode::UNAVAILABLE => {
            (ErrorKind::Server, GoesOn)
        }
        // No session yet, hence nothing that this side could know the key of.
        ErrorCode::NOT_AUTHORIZED if operation == Operation::RequestChat => (ErrorKind::Unauthorized, GoesOn),
        ErrorCode::NOT_AUTHORIZED => (ErrorKind::AccessDenied, Doubtful),
        // Or the file; whether the chat is gone, the next refresh says.
        ErrorCode::CHAT_NOT_FOUND if is_about_one_file(operation) => (ErrorKind::NotFound, GoesOn),
        ErrorCode::CHAT_NOT_FOUND => (ErrorKind::SessionLost, Doubtful),
        _ => return None,
    })
}

fn code(errors: &[ErrorEntry]) -> Option<ErrorCode> {
    errors.iter().find_map(|entry| entry.code)
}

fn quote(errors: &[ErrorEntry]) -> VendorError {
    let mut vendor = VendorError::default();
    if let Some(entry) = errors.iter().find(|entry| entry.code.is_some()).or(errors.first()) {
        vendor.code = entry.code.map(|code| code.to_string());
        vendor.message = entry.advice.as_deref().map(short);
        vendor.request_id = entry.reference().map(short);
    }
    vendor
}

fn quote_reply(reply: &Reply) -> VendorError {
    let mut vendor = quote(&reply.errors);
    vendor.status = Some(200);
    if vendor.code.is_none() {
        vendor.code = reply.status_code.map(|code| format!("statusCode {}", i64::from(code)));
    }
    vendor
}

/// At most 256 characters, without keys.
fn short(text: &str) -> String {
    let text: Cow<'_, str> = redact(text);
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer<'_> {
        Answer { status, retry_after: None, body: body.as_bytes() }
    }

    fn fails(operation: Operation, status: u16, body: &str) -> (ErrorKind, Retry, Delivery, ChatState) {
        let Failure { error, chat } = answer(status, body).judge(operation).unwrap_err();
        (error.kind().clone(), error.retry(), error.delivery(), chat)
    }

    fn errors(code: i64) -> String {
        format!(r#"{{"errors":[{{"code":{code},"advice":"x. referenceId[20000004]"}}]}}"#)
    }

    #[test]
    fn the_outcome_table() {
        use ChatState::*;
        use Delivery::{Refused, Unknown};
        let send = Operation::Send;
        let status = |code: i64, ended: &str| format!(r#"{{"statusCode":{code},"chatEnded":{ended}}}"#);
        assert!(answer(200, &status(0, "false")).judge(send).is_ok());
        assert_eq!(answer(200, &status(0, "true")).judge(send).unwrap().chat_ended, Some(true));
        for (http, body, expected) in [
            (200, status(1, "false"), (ErrorKind::Server, Retry::Backoff, Unknown, GoesOn)),
            (200, status(1, "true"), (ErrorKind::Server, Retry::Backoff, Unknown, GoesOn)),
            (200, status(2, "true"), (ErrorKind::SessionEnded, Retry::Never, Refused, Over)),
            (200, status(2, "false"), (ErrorKind::Refused, Retry::Never, Refused, Doubtful)),
            (200, status(2, "null"), (ErrorKind::Refused, Retry::Never, Refused, Doubtful)),
            (200, status(9, "true"), (ErrorKind::UnexpectedResponse, Retry::Backoff, Unknown, GoesOn)),
            (200, "{}".into(), (ErrorKind::UnexpectedResponse, Retry::Backoff, Unknown, GoesOn)),
            (200, "Forbidden".into(), (ErrorKind::UnexpectedResponse, Retry::Backoff, Unknown, GoesOn)),
            (200, String::new(), (ErrorKind::UnexpectedResponse, Retry::Backoff, Unknown, GoesOn)),
            (400, errors(204), (ErrorKind::Refused, Retry::Never, Refused, GoesOn)),
            (400, errors(249), (ErrorKind::Refused, Retry::Never, Refused, Doubtful)),
            (400, "{}".into(), (ErrorKind::Refused, Retry::Never, Refused, GoesOn)),
            (400, status(2, "true"), (ErrorKind::SessionEnded, Retry::Never, Refused, Over)),
            (401, "no".into(), (ErrorKind::Unauthorized, Retry::WithNewCredentials, Refused, GoesOn)),
            (403, "{}".into(), (ErrorKind::AccessDenied, Retry::Never, Refused, GoesOn)),
            (404, "<html>".into(), (ErrorKind::NotFound, Retry::Backoff, Refused, Doubtful)),
            (408, String::new(), (ErrorKind::Timeout, Retry::Backoff, Unknown, GoesOn)),
            (413, "<html>".into(), (ErrorKind::Refused, Retry::Never, Refused, GoesOn)),
            (429, String::new(), (ErrorKind::RateLimited, Retry::Backoff, Refused, GoesOn)),
            (500, errors(204), (ErrorKind::Server, Retry::Backoff, Unknown, GoesOn)),
            (504, String::new(), (ErrorKind::Server, Retry::Backoff, Unknown, GoesOn)),
            (503, status(2, "true"), (ErrorKind::Server, Retry::Backoff, Unknown, GoesOn)),
        ] {
            assert_eq!(fails(send, http, &body), expected, "{http} {body}");
        }
        assert_eq!(fails(Operation::RequestChat, 404, "<html>").0, ErrorKind::Config);
        assert_eq!(fails(Operation::FileDownload, 404, "").1, Retry::Never);
    }

    #[test]
    fn a_page_that_repeats_what_was_asked_is_not_quoted() {
        let quoted = |body: &str| {
            let of = |status| answer(status, body).judge(Operation::Send).unwrap_err().error;
            [of(502), of(403), of(200)].map(|error| error.vendor().message.clone().unwrap_or_default())
        };
        assert_eq!(quoted("<title>Forbidden</title>"), ["Forbidden"; 3]);
        for body in [
            "Blocked: message=my+secret&secureKey=7c1f&alias=204",
            "<pre>POST /c/send\nmessage=my secret\nuserId=1\nsecureKey=7c1f</pre>",
            "nickname=Secret&userData%5Bcard%5D=4711",
        ] {
            assert_eq!(quoted(body), [""; 3], "{body}");
        }
        for body in ["no route for apikey: c0ffee4711aa", "Authorization: Bearer c0ffee4711aa"] {
            assert!(quoted(body).iter().all(|words| !words.contains("c0ffee")), "{body}");
        }
    }

    #[test]
    fn errors_without_a_status_code_count_as_transient_unless_the_chat_ended() {
        assert_eq!(fails(Operation::Refresh, 200, &errors(249)).0, ErrorKind::Server);
        let ended = r#"{"errors":[{"code":249}],"chatEnded":true}"#;
        assert_eq!(fails(Operation::Refresh, 200, ended).3, ChatState::Over);
    }

    #[test]
    fn a_code_says_why_over_either_carriage() {
        let start = Operation::RequestChat;
        for (operation, code, kind) in [
            (start, 102, ErrorKind::Refused),
            (start, 103, ErrorKind::Refused),
            (start, 161, ErrorKind::Refused),
            (start, 364, ErrorKind::Refused),
            (start, 240, ErrorKind::Server),
            (start, 401, ErrorKind::Unauthorized),
            (Operation::FileUpload, 201, ErrorKind::QuotaExceeded),
            (Operation::FileUpload, 202, ErrorKind::QuotaExceeded),
            (Operation::FileUpload, 203, ErrorKind::Refused),
            (Operation::Send, 204, ErrorKind::Refused),
            (Operation::Send, 401, ErrorKind::AccessDenied),
            (Operation::Refresh, 404, ErrorKind::SessionLost),
            (Operation::FileDownload, 404, ErrorKind::NotFound),
            (Operation::FileDelete, 404, ErrorKind::NotFound),
            (Operation::Send, 249, ErrorKind::Refused),
            (Operation::Send, 416, ErrorKind::Server),
            (Operation::Send, 500, ErrorKind::Server),
            (Operation::Send, 503, ErrorKind::Server),
        ] {
            let as_400 = fails(operation, 400, &errors(code));
            let inner = format!(r#"{{"statusCode":2,"chatEnded":false,"errors":[{{"code":"{code}"}}]}}"#);
            let as_200 = fails(operation, 200, &inner);
            assert_eq!((&as_400.0, &as_200.0), (&kind, &kind), "{code}");
            assert_eq!((as_400.2, as_200.2), (Delivery::Refused, Delivery::Refused), "{code}");
            assert_eq!(as_200.1, Retry::Never, "{code}");
        }
    }

    #[test]
    fn a_refused_start_ends_nothing_and_a_second_disconnect_is_no_failure() {
        let body = r#"{"chatEnded":true,"statusCode":2,"errors":[{"code":240}]}"#;
        assert_eq!(
            fails(Operation::RequestChat, 200, body),
            (ErrorKind::Server, Retry::Never, Delivery::Refused, ChatState::GoesOn)
        );
        let body = r#"{"chatEnded":true,"statusCode":2,"errors":[{"code":249}]}"#;
        assert!(answer(200, body).judge(Operation::Disconnect).is_ok());
        assert_eq!(fails(Operation::Refresh, 200, body).3, ChatState::Over);
    }

    #[test]
    fn retry_after_is_passed_on_where_it_means_something() {
        for (status, expected) in [
            (429, Retry::After(Duration::from_secs(7))),
            (503, Retry::After(Duration::from_secs(7))),
            (403, Retry::Never),
        ] {
            let answer = Answer { retry_after: Some(Duration::from_secs(7)), ..answer(status, "") };
            assert_eq!(answer.judge(Operation::Send).unwrap_err().error.retry(), expected);
        }
    }

    #[test]
    fn the_vendor_is_quoted_and_keys_are_not() {
        let error = answer(400, &errors(204)).judge(Operation::Send).unwrap_err().error;
        assert_eq!(error.to_string(), "refused by the service: sendMessage (400 204)");
        assert_eq!(error.vendor().request_id.as_deref(), Some("20000004"));
        let page = "<title>Sign in</title> key=7c1fe2b09ad4436e&x";
        let error = answer(200, page).judge(Operation::Send).unwrap_err().error;
        let said = format!("{error} {error:?}");
        assert!(said.contains("Sign in") && !said.contains("7c1f"), "{said}");
        let cut = r#"{"secureKey":"7c1fe2b09ad4436e","messages":[{"text":"my card"#;
        let error = answer(200, cut).judge(Operation::Refresh).unwrap_err().error;
        let said = format!("{error} {error:?}");
        assert!(!said.contains("7c1f") && !said.contains("card") && said.contains("60 bytes"), "{said}");
        let error = answer(200, r#"{"statusCode":1}"#).judge(Operation::Refresh).unwrap_err().error;
        assert_eq!(error.vendor().code.as_deref(), Some("statusCode 1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_answer_means_something_and_little_of_it_is_kept(
            which in 0..Operation::ALL.len(), status: u16, body: Vec<u8>,
        ) {
            let answer = Answer { status, retry_after: None, body: &body };
            if let Err(failure) = answer.judge(Operation::ALL[which]) {
                let message = failure.error.vendor().message.clone().unwrap_or_default();
                prop_assert!(message.chars().count() <= 256);
            }
        }
    }
}
