//! Owns the shapes of Bayeux messages, read leniently and written strictly. Source: §9.1.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use chat_core::{Delivery, Error, ErrorKind, Retry, Secret, VendorError};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

/// Opens a session.
pub const HANDSHAKE: &str = "/meta/handshake";
/// Asks for what has come, and is held until something does.
pub const CONNECT: &str = "/meta/connect";
/// Asks for a channel's messages.
pub const SUBSCRIBE: &str = "/meta/subscribe";
/// Asks for a channel's messages no longer.
pub const UNSUBSCRIBE: &str = "/meta/unsubscribe";
/// Closes a session.
pub const DISCONNECT: &str = "/meta/disconnect";

/// The connection type over HTTP.
pub const LONG_POLLING: &str = "long-polling";
/// The connection type over a WebSocket.
pub const WEBSOCKET: &str = "websocket";

/// The cookie that binds sessions to a browser.
pub const BROWSER_COOKIE: &str = "BAYEUX_BROWSER";

/// The content type of requests and answers.
pub const CONTENT_TYPE: &str = "application/json;charset=UTF-8";

/// One message, in either direction: whatever is absent is left out.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Message {
    /// Pairs a reply with its request. Numbers are read as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it goes, or comes from.
    pub channel: String,
    /// The session; whoever knows it can speak for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Secret>,
    /// Protocol version of a handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The oldest version that a handshake accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_version: Option<String>,
    /// Ways to connect that are offered in a handshake.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_connection_types: Vec<String>,
    /// The way that a connect uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_type: Option<String>,
    /// The channels of a subscription: one is written as text, several as a list.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "one_or_many")]
    pub subscription: Vec<String>,
    /// Stands in every reply, and in nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successful: Option<bool>,
    /// Why it was not successful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<BayeuxError>,
    /// How to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// Extensions.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub ext: Map<String, Value>,
    /// The payload, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// Payloads may hold keys and words of people: only their size shows.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel)
            .field("id", &self.id)
            .field("successful", &self.successful)
            .field("error", &self.error)
            .field("advice", &self.advice)
            .field("ext", &self.ext.keys().collect::<Vec<_>>())
            .field("data_bytes", &self.data.as_ref().map(|data| data.get().len()))
            .finish_non_exhaustive()
    }
}

fn one_or_many<S: Serializer>(channels: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match channels {
        [one] => serializer.serialize_str(one),
        many => serializer.collect_seq(many),
    }
}

impl Message {
    /// A message on `channel`.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), ..Self::default() }
    }

    /// Whether it belongs to the protocol itself.
    pub fn is_meta(&self) -> bool {
        self.channel.starts_with("/meta/")
    }

    /// Whether it answers a request. What is no reply and no meta message is a delivery.
    pub fn is_reply(&self) -> bool {
        self.successful.is_some()
    }

    /// The acknowledgement extension's member: what was received (a number), or whether it is spoken at all.
    pub fn ack(&self) -> Option<Ack> {
        match self.ext.get("ack")? {
            Value::Bool(on) => Some(Ack::Supported(*on)),
            // CometD 4 and later answer a handshake in this way.
            Value::Object(members) => {
                Some(Ack::Supported(members.get("enabled").and_then(Value::as_bool).unwrap_or(false)))
            }
            Value::Number(number) => number.as_i64().map(Ack::Batch),
            _ => None,
        }
    }

    /// Sets the acknowledgement extension's member.
    #[must_use]
    pub fn with_ack(mut self, ack: Ack) -> Self {
        let value = match ack {
            Ack::Supported(on) => on.into(),
            Ack::Batch(number) => number.into(),
        };
        self.ext.insert("ack".into(), value);
        self
    }

    fn read(raw: &RawValue) -> Option<Self> {
        let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        let mut message = Self::new(text(members.get("channel")?)?);
        let short = |name: &str| members.get(name).and_then(text);
        message.id = short("id").or_else(|| {
            let id: serde_json::Number = member(members.get("id")?)?;
            Some(id.to_string())
        });
        message.client_id = short("clientId").map(Secret::from);
        message.version = short("version");
        message.minimum_version = short("minimumVersion");
        message.connection_type = short("connectionType");
        message.successful = members.get("successful").and_then(member);
        message.error = short("error").map(BayeuxError);
        message.advice = members.get("advice").and_then(Advice::read);
        message.ext = members.get("ext").and_then(member).unwrap_or_default();
        message.supported_connection_types =
            members.get("supportedConnectionTypes").map(texts).unwrap_or_default();
        message.subscription = members.get("subscription").map(texts).unwrap_or_default();
        message.data = members.get("data").filter(|raw| raw.get() != "null").map(|&raw| raw.to_owned());
        Some(message)
    }
}

fn member<'de, T: Deserialize<'de>>(raw: &&'de RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn text(raw: &&RawValue) -> Option<String> {
    member(raw)
}

/// A text or a list of texts.
fn texts(raw: &&RawValue) -> Vec<String> {
    if let Some(one) = text(raw) {
        return vec![one];
    }
    let many: Vec<Value> = member(raw).unwrap_or_default();
    many.into_iter()
        .filter_map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
        .collect()
}

/// Reads a body: an array of messages, or a single one. A member that does not fit is absent; an element that is no message
/// is left out.
///
/// # Errors
/// `UnexpectedResponse` if the text is no JSON, or neither array nor object.
pub fn decode(body: &[u8]) -> chat_core::Result<Vec<Message>> {
    let unexpected =
        || Error::new(ErrorKind::UnexpectedResponse, format!("no Bayeux message in {} bytes", body.len()));
    let all: Vec<&RawValue> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).map_err(|_| unexpected())?,
        Some(b'{') => vec![serde_json::from_slice(body).map_err(|_| unexpected())?],
        _ => return Err(unexpected()),
    };
    Ok(all.into_iter().filter_map(Message::read).collect())
}

/// Writes messages as a body: always an array.
pub fn encode(messages: &[Message]) -> String {
    // Nothing in a message can fail to be written: keys are text, and raw values were read as JSON.
    serde_json::to_string(messages).unwrap_or_else(|_| "[]".into())
}

/// The acknowledgement extension's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// In a handshake: whether it is spoken.
    Supported(bool),
    /// In a connect: the last batch that was received; in its reply: the batch that this is.
    Batch(i64),
}

/// How to go on, as the server advises. What is absent stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Advice {
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Reconnect>,
    /// Milliseconds to wait before the next connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// Milliseconds for which a connect is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Milliseconds without a connect after which the session is forgotten.
    #[serde(rename = "maxInterval", skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<u64>,
    /// Another session shares the browser's cookie: connects are not held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple_clients: Option<bool>,
}

impl Advice {
    /// To try again after this time.
    pub fn retry_after(wait: Duration) -> Self {
        let interval = u64::try_from(wait.as_millis()).ok();
        Self { reconnect: Some(Reconnect::Retry), interval, ..Self::default() }
    }

    fn read(raw: &&RawValue) -> Option<Self> {
        let members: Map<String, Value> = member(raw)?;
        let millis = |name: &str| {
            let value = members.get(name)?;
            // Servers in JavaScript may write whole numbers with a fraction; negative means "not set".
            value.as_u64().or_else(|| {
                let float = value.as_f64().filter(|float| *float >= 0.0)?;
                // Saturates, which is far beyond every limit.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating")]
                Some(float as u64)
            })
        };
        Some(Self {
            reconnect: members.get("reconnect").and_then(Value::as_str).and_then(Reconnect::read),
            interval: millis("interval"),
            timeout: millis("timeout"),
            max_interval: millis("maxInterval"),
            multiple_clients: members.get("multiple-clients").and_then(Value::as_bool),
        })
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reconnect {
    /// Connect again, as the same session.
    Retry,
    /// Handshake anew.
    Handshake,
    /// Stop.
    None,
}

impl Reconnect {
    fn read(text: &str) -> Option<Self> {
        match text {
            "retry" => Some(Self::Retry),
            "handshake" => Some(Self::Handshake),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// `code:arguments:text`. Servers word it differently; match the code.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BayeuxError(String);

/// The session is not known.
pub const UNKNOWN_SESSION: u16 = 402;

impl BayeuxError {
    /// An error without arguments.
    pub fn new(code: u16, text: &str) -> Self {
        Self(format!("{code}::{text}"))
    }

    /// The number, if there is one.
    pub fn code(&self) -> Option<u16> {
        self.0.split(':').next()?.trim().parse().ok()
    }

    /// The words, without arguments: these may name the session.
    pub fn words(&self) -> &str {
        self.0.splitn(3, ':').nth(2).unwrap_or_default()
    }
}

impl fmt::Debug for BayeuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{code}::{}", self.words()),
            None => f.write_str("unreadable"),
        }
    }
}

/// What an unsuccessful reply means: the kind by the error's number, the retry by the advice.
pub fn refusal(reply: &Message, context: &'static str) -> Error {
    let code = reply.error.as_ref().and_then(BayeuxError::code);
    let advice = reply.advice.unwrap_or_default();
    let kind = match code {
        None if advice.reconnect == Some(Reconnect::Handshake) => ErrorKind::SessionLost,
        Some(401) => ErrorKind::Unauthorized,
        Some(UNKNOWN_SESSION) => ErrorKind::SessionLost,
        Some(403) => ErrorKind::AccessDenied,
        Some(404) => ErrorKind::NotFound,
        Some(408) => ErrorKind::Timeout,
        Some(413) => ErrorKind::Refused,
        Some(429) => ErrorKind::RateLimited,
        Some(500..) => ErrorKind::Server,
        _ => ErrorKind::Refused,
    };
    let mut vendor = VendorError::default();
    vendor.code = code.map(|code| code.to_string());
    vendor.message = reply
        .error
        .as_ref()
        .map(|error| error.words().chars().take(256).collect())
        .filter(|words: &String| !words.is_empty());
    let error = Error::new(kind, context).with_delivery(Delivery::Refused).with_vendor(vendor);
    match advice.reconnect {
        Some(Reconnect::None) => error.with_retry(Retry::Never),
        Some(_) => match advice.interval {
            Some(wait) if wait > 0 => error.with_retry(Retry::After(bounded(wait, MAX_INTERVAL))),
            _ => error.with_retry(Retry::Backoff),
        },
        None => error,
    }
}

/// The longest wait between connects that a server is believed to mean.
pub const MAX_INTERVAL: Duration = Duration::from_secs(300);
/// The longest hold that a server is believed to mean.
pub const MAX_HOLD: Duration = Duration::from_secs(600);

pub(super) fn bounded(millis: u64, max: Duration) -> Duration {
    Duration::from_millis(millis).min(max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Message {
        let mut all = decode(text.as_bytes()).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn a_single_object_is_read_as_an_array_of_one() {
        let message = one(r#" {"channel":"/a","id":17,"data":{"x":1},"subscription":"/b"}"#);
        assert_eq!((message.channel.as_str(), message.id.as_deref()), ("/a", Some("17")));
        assert_eq!(message.data.unwrap().get(), r#"{"x":1}"#);
        assert_eq!(message.subscription, ["/b"]);
    }

    #[test]
    fn a_member_that_does_not_fit_is_absent_and_an_element_that_is_no_message_is_left_out() {
        let all = decode(
            br#"[7,null,{"id":"1"},{"channel":"/meta/connect","successful":"yes","advice":3,"ext":[],"id":{},
                "advice2":1,"supportedConnectionTypes":["long-polling",4]}]"#,
        )
        .unwrap();
        assert_eq!(all.len(), 1);
        assert!(!all[0].is_reply() && all[0].is_meta());
        assert_eq!((all[0].advice, all[0].id.as_ref()), (None, None));
        assert_eq!(all[0].supported_connection_types, [LONG_POLLING]);
        for bad in ["", "null", "<html>", "[", "{", "[{}"] {
            assert_eq!(decode(bad.as_bytes()).unwrap_err().kind(), &ErrorKind::UnexpectedResponse, "{bad}");
        }
    }

    #[test]
    fn data_stays_as_it_came() {
        let text = r#"{"text":"\ud800 lone","n":1e999}"#;
        assert_eq!(one(&format!(r#"{{"channel":"/a","data":{text}}}"#)).data.unwrap().get(), text);
    }

    #[test]
    fn advice_is_read_by_its_names() {
        let message = one(
            r#"{"channel":"/meta/connect","advice":{"interval":2000.0,"timeout":30000,"reconnect":"retry",
                "multiple-clients":true,"maxInterval":-1,"hosts":[]}}"#,
        );
        let advice = message.advice.unwrap();
        assert_eq!((advice.interval, advice.timeout, advice.max_interval), (Some(2000), Some(30_000), None));
        assert_eq!((advice.reconnect, advice.multiple_clients), (Some(Reconnect::Retry), Some(true)));
        assert_eq!(
            serde_json::to_string(&advice).unwrap(),
            r#"{"reconnect":"retry","interval":2000,"timeout":30000,"multiple-clients":true}"#
        );
    }

    #[test]
    fn errors_are_told_by_number_in_both_spellings() {
        for text in ["402::Unknown client", "402::session_unknown", "402:abc123:Unknown client"] {
            let reply = one(&format!(r#"{{"channel":"/meta/connect","successful":false,"error":"{text}"}}"#));
            let error = refusal(&reply, "connect");
            assert_eq!(error.kind(), &ErrorKind::SessionLost, "{text}");
            assert!(!format!("{error:?} {reply:?}").contains("abc123"), "arguments may name the session");
        }
        let told =
            |text: &str| refusal(&one(&format!(r#"{{"channel":"/a","successful":false,{text}}}"#)), "x");
        assert_eq!(told(r#""error":"403::no","advice":{"reconnect":"none"}"#).retry(), Retry::Never);
        assert_eq!(told(r#""error":"500::oops","advice":{"reconnect":"retry"}"#).retry(), Retry::Backoff);
        let later = told(r#""error":"402::x","advice":{"reconnect":"handshake","interval":2000}"#);
        assert_eq!(later.retry(), Retry::After(Duration::from_secs(2)));
        assert_eq!(told(r#""error":"boom""#).kind(), &ErrorKind::Refused);
    }

    #[test]
    fn the_acknowledgement_extension_is_read_in_its_spellings() {
        let ack = |ext: &str| one(&format!(r#"{{"channel":"/meta/connect","ext":{{"ack":{ext}}}}}"#)).ack();
        assert_eq!(ack("true"), Some(Ack::Supported(true)));
        assert_eq!(ack(r#"{"enabled":true,"batch":3}"#), Some(Ack::Supported(true)));
        assert_eq!(ack("7"), Some(Ack::Batch(7)));
        assert_eq!(ack("-1"), Some(Ack::Batch(-1)));
        assert_eq!(ack(r#""x""#), None);
    }

    #[test]
    fn nothing_secret_shows() {
        let mut message = Message::new("/service/x");
        message.client_id = Some("Un1q31d".into());
        message.data = Some(RawValue::from_string(r#"{"secureKey":"hunter2"}"#.into()).unwrap());
        message.ext.insert("token".into(), "hunter3".into());
        let shown = format!("{message:?}");
        assert!(!shown.contains("Un1q31d") && !shown.contains("hunter"), "{shown}");
        assert!(encode(&[message]).contains("Un1q31d"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(id in "[a-z0-9]{1,8}", channel in "/[a-z/]{1,20}", data in "\\PC{0,40}") {
            let mut message = Message::new(channel);
            message.id = Some(id);
            message.successful = Some(true);
            message.data = serde_json::value::to_raw_value(&data).ok();
            let text = encode(std::slice::from_ref(&message));
            let read = one(&text);
            prop_assert_eq!(encode(&[read]), text);
        }
    }
}
