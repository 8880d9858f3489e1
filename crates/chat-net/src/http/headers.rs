//! Owns what is read from response headers: `Retry-After`, `Date`, content type, and the error that a status means.

use std::time::{Duration, SystemTime};

use chat_core::{Error, ErrorKind, Retry, Timestamp, VendorError};
use http::{HeaderMap, StatusCode, header};

/// The longest wait that a server is believed to mean.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// How long the server asks to wait: seconds, or a date relative to the response's own `Date` (never the local clock).
/// At most `max`. `None` if absent, unreadable, negative, zero or past: the caller's own backoff applies then.
pub fn retry_after(headers: &HeaderMap, max: Duration) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are still "very long".
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        until.duration_since(date(headers)?).ok()?
    };
    (!wait.is_zero()).then(|| wait.min(max))
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

/// The server's time of day, from `Date`; precision one second.
pub fn server_date(headers: &HeaderMap) -> Option<Timestamp> {
    let since = date(headers)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?)
}

/// The media type without parameters, in lower case, if it is present and short enough to be one.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!essence.is_empty() && essence.len() <= 100).then_some(essence)
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|essence| {
        essence.ends_with("/json") || essence.ends_with("+json") || essence.contains("/x-amz-json")
    })
}

/// The error that an unsuccessful status means when the vendor says no more: kind, retry (with `Retry-After`, at most
/// [`MAX_RETRY_AFTER`]) and status. A vendor's adapter refines it with what it knows of bodies and headers.
pub fn status_error(status: StatusCode, headers: &HeaderMap, context: &'static str) -> Error {
    let kind = match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExceeded,
        403 => ErrorKind::AccessDenied,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::Refused,
        500..=599 => ErrorKind::Server,
        _ => ErrorKind::UnexpectedResponse,
    };
    let mut vendor = VendorError::default();
    vendor.status = Some(status.as_u16());
    let error = Error::new(kind, context).with_vendor(vendor);
    match (error.retry(), retry_after(headers, MAX_RETRY_AFTER)) {
        (Retry::Backoff, Some(wait)) => error.with_retry(Retry::After(wait)),
        _ => error,
    }
}

/// What stood where JSON was expected: status, content type, length, and some words of it if it is text.
pub(crate) fn not_json(context: &'static str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let essence = media_type(headers);
    let what = essence.as_deref().unwrap_or("no content type");
    let text = essence.as_deref().is_some_and(|essence| {
        essence.starts_with("text/") || essence.ends_with("xml") || essence.ends_with("json")
    });
    let words = if text { snippet(body) } else { String::new() };
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    let mut vendor = VendorError::default();
    vendor.status = Some(status.as_u16());
    super::unexpected(format!("{context}: {what}, {} bytes{said}", body.len())).with_vendor(vendor)
}

/// The first words of a text that are certainly no secret: tags, query strings, values after `=` or `:`, and anything that
/// looks like an id or a token are left out.
pub fn snippet(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..2048).unwrap_or(body));
    let mut out = String::new();
    let mut in_tag = false;
    let plain: String = text
        .chars()
        .map(|c| {
            let inside = in_tag;
            match c {
                '<' => in_tag = true,
                '>' => in_tag = false,
                _ => {}
            }
            if inside || in_tag || c.is_control() { ' ' } else { c }
        })
        .collect();
    for word in plain.split_whitespace() {
        let core = word.trim_matches(|c: char| c.is_ascii_punctuation());
        // Words of a language: letters only, of a human length; or a short number, such as a status.
        let harmless = core.chars().count() <= 15 && core.chars().all(char::is_alphabetic)
            || core.len() <= 3 && core.bytes().all(|byte| byte.is_ascii_digit());
        let shown = match core {
            "" => continue,
            _ if harmless => core,
            _ => "…",
        };
        if out.chars().count() + shown.chars().count() >= 256 {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(shown);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(retry_after: &str, date: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        headers
    }

    const MAX: Duration = Duration::from_secs(60);
    const NOON: &str = "Mon, 04 May 2026 12:00:00 GMT";

    #[test]
    fn seconds_dates_and_nonsense() {
        let read = |text: &str, date| retry_after(&with(text, date), MAX);
        assert_eq!(read("10", None), Some(Duration::from_secs(10)), "seconds, not milliseconds");
        assert_eq!(read(" 7 ", None), Some(Duration::from_secs(7)));
        assert_eq!(read("1000000000", None), Some(MAX));
        assert_eq!(read("99999999999999999999999999", None), Some(MAX));
        assert_eq!(read("Mon, 04 May 2026 12:00:30 GMT", Some(NOON)), Some(Duration::from_secs(30)));
        assert_eq!(read("Mon, 04 May 2037 12:00:30 GMT", Some(NOON)), Some(MAX));
        for absent in ["-5", "0", "", "soon", "1.5", "Mon, 04 May 2026 11:59:59 GMT", NOON] {
            assert_eq!(read(absent, Some(NOON)), None, "{absent}");
        }
        assert_eq!(read("Mon, 04 May 2026 12:00:30 GMT", None), None, "no clock to compare with");
        assert_eq!(retry_after(&HeaderMap::new(), MAX), None);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_sane_wait(text in "[ -~]{0,40}", date in proptest::option::of("[ -~]{0,40}")) {
            if let Some(wait) = retry_after(&with(&text, date.as_deref()), MAX) {
                prop_assert!(wait > Duration::ZERO && wait <= MAX);
            }
        }

        #[test]
        fn a_date_is_the_same_as_its_seconds(now in 0_u64..4_000_000_000, wait in 1_u64..100_000) {
            let at = |seconds| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let max = Duration::from_secs(50_000);
            let dated = retry_after(&with(&at(now + wait), Some(&at(now))), max);
            prop_assert_eq!(dated, retry_after(&with(&wait.to_string(), None), max));
            prop_assert_eq!(retry_after(&with(&at(now), Some(&at(now + wait))), max), None);
        }

        #[test]
        fn a_snippet_is_short_and_shows_no_token(token in "[A-Za-z0-9_-]{16,80}", filler in "\\PC{0,400}") {
            let shown = snippet(format!("<p>Not found: /x?t={token} {token} {filler}</p>").as_bytes());
            prop_assert!(!shown.contains(&token));
            prop_assert!(shown.chars().count() <= 256);
        }
    }

    #[test]
    fn the_date_of_the_server() {
        let headers = with("1", Some(NOON));
        assert_eq!(server_date(&headers), Timestamp::parse("2026-05-04T12:00:00Z"));
        assert_eq!(server_date(&HeaderMap::new()), None);
    }

    #[test]
    fn a_status_says_what_happened_and_when_to_try_again() {
        let error = |status, headers| status_error(StatusCode::from_u16(status).unwrap(), &headers, "x");
        assert_eq!(error(429, with("10", None)).retry(), Retry::After(Duration::from_secs(10)));
        assert_eq!(error(429, HeaderMap::new()).retry(), Retry::Backoff);
        assert_eq!(error(503, with("10", None)).retry(), Retry::After(Duration::from_secs(10)));
        assert_eq!(error(403, with("10", None)).retry(), Retry::Never);
        assert_eq!(error(403, HeaderMap::new()).kind(), &ErrorKind::AccessDenied);
        assert_eq!(error(418, HeaderMap::new()).kind(), &ErrorKind::Refused);
        assert_eq!(error(302, HeaderMap::new()).kind(), &ErrorKind::UnexpectedResponse);
        assert_eq!(error(404, HeaderMap::new()).vendor().status, Some(404));
    }

    #[test]
    fn a_snippet_keeps_words_only() {
        let html = b"<html><title>Hotel login 404</title><a href='/x?token=abc'>Please accept</a> key=hunter2 id 7f3a99</html>";
        assert_eq!(snippet(html), "Hotel login 404 Please accept … id …");
    }
}
