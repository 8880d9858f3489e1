//! Owns what the raw tap shows of HTTP answers: each as it came, without what would let others in.

use chat_core::{RawEvent, Secret};
use serde_json::Value;
use tokio::sync::mpsc;

/// How many answers may wait for the connection's task. It takes them at once unless the session does not read.
const WAITING: usize = 64;
/// What stands in a secret's place.
const REMOVED: &str = "[removed]";

/// Where a connection's answers are shown; nowhere unless somebody asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap(Option<mpsc::Sender<RawEvent>>);

/// The other end of a [`Tap`] that is on.
pub(crate) type Tapped = mpsc::Receiver<RawEvent>;

impl Tap {
    /// A tap that is on or off.
    pub(crate) fn new(on: bool) -> (Self, Option<Tapped>) {
        let channel = on.then(|| mpsc::channel(WAITING));
        let (sender, receiver) = channel.unzip();
        (Self(sender), receiver)
    }

    /// Shows the answer to `operation`, which has to do with `token`.
    pub(crate) fn show(&self, operation: &'static str, body: &[u8], token: &Secret) {
        let Some(tapped) = &self.0 else { return };
        let shown = RawEvent::new(operation, shown(body, token));
        if let Err(mpsc::error::TrySendError::Full(_)) = tapped.try_send(shown) {
            tracing::warn!(operation, "the session reads too slowly: the tap misses an answer");
        }
    }
}

/// The next answer; pending for good without a tap.
pub(crate) async fn next(tapped: &mut Option<Tapped>) -> Option<RawEvent> {
    match tapped {
        Some(tapped) => tapped.recv().await,
        None => std::future::pending().await,
    }
}

/// The body as text, without secrets; as it came if there are none in it.
fn shown(body: &[u8], token: &Secret) -> String {
    let mut value = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let text = match remove_secrets(&mut value) {
        true => value.to_string(),
        false => String::from_utf8_lossy(body).into_owned(),
    };
    match token.expose() {
        "" => text,
        token => text.replace(token, REMOVED),
    }
}

/// Says whether there were any.
fn remove_secrets(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => members.iter_mut().fold(false, |found, (name, member)| {
            let secret = is_secret(name) && !member.is_null();
            if secret {
                *member = REMOVED.into();
            }
            (secret || remove_secrets(member)) | found
        }),
        Value::Array(list) => list.iter_mut().fold(false, |found, member| remove_secrets(member) | found),
        _ => false,
    }
}

/// Tokens, URLs that need no further credentials, and the headers that a store wants with them. The position in the transcript
/// is none.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "headerstoinclude" || name.ends_with("url") || name.ends_with("token") && name != "nexttoken"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let read = |body: &str| shown(body.as_bytes(), &Secret::from("token-1"));
        let answer = json!({
            "Websocket": {"Url": "wss://g/x?key=1", "ConnectionExpiry": "2026-05-04T10:06:00.000Z"},
            "ConnectionCredentials": {"ConnectionToken": "t", "Expiry": "2026-05-05T09:00:00.000Z"},
            "data": {"startChatResult": {"participantToken": "p", "ContactId": "c"}},
            "UploadMetadata": {"Url": "https://s/?sig=1", "UrlExpiry": "e", "HeadersToInclude": {"x-key": "1"}},
            "list": [{"AuthenticationUrl": "https://login/?state=1"}],
        });
        let expected = json!({
            "Websocket": {"Url": REMOVED, "ConnectionExpiry": "2026-05-04T10:06:00.000Z"},
            "ConnectionCredentials": {"ConnectionToken": REMOVED, "Expiry": "2026-05-05T09:00:00.000Z"},
            "data": {"startChatResult": {"participantToken": REMOVED, "ContactId": "c"}},
            "UploadMetadata": {"Url": REMOVED, "UrlExpiry": "e", "HeadersToInclude": REMOVED},
            "list": [{"AuthenticationUrl": REMOVED}],
        });
        assert_eq!(read(&answer.to_string()), expected.to_string());
        let page = r#"{ "Transcript": [{"Id":"m", "Content":"a token"}],  "NextToken": "n", "Url": null }"#;
        assert_eq!(read(page), page, "as it came");
        assert_eq!(read("<p>token-1</p>"), "<p>[removed]</p>", "without names, what is known is found");
        assert_eq!(read(r#"{"tok":"token-1"}"#), r#"{"tok":"[removed]"}"#);
    }
}
