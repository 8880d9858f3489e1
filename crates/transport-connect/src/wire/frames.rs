//! Owns the frames of the WebSocket gateway, in both directions. Source: §7.2.

use std::{borrow::Cow, fmt};

use serde::{Deserializer, Serialize, de::Visitor};
use serde_json::value::RawValue;

use super::lenient::{Member, RawMembers, lenient_object, otherwise_none};

/// Topic of subscriptions and of their answers.
pub const TOPIC_SUBSCRIBE: &str = "aws/subscribe";
/// Topic defined for unsubscribing; the vendor's manager never sends it.
pub const TOPIC_UNSUBSCRIBE: &str = "aws/unsubscribe";
/// Topic of heartbeats.
pub const TOPIC_HEARTBEAT: &str = "aws/heartbeat";
/// Topic of "deep" heartbeats.
pub const TOPIC_PING: &str = "aws/ping";
/// Topic of items.
pub const TOPIC_CHAT: &str = "aws/chat";

/// One text frame, either way. Every text is exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// An item, as text: give it to [`Item::decode`](super::Item::decode).
    Chat(Cow<'a, str>),
    /// A subscription (no status), or the answer to one.
    Subscribe {
        /// `success` or `failure` in answers.
        status: Option<Cow<'a, str>>,
        /// The topics meant.
        topics: Vec<Cow<'a, str>>,
    },
    /// An end to subscriptions.
    Unsubscribe {
        /// The topics meant.
        topics: Vec<Cow<'a, str>>,
    },
    /// A heartbeat, or the answer to one.
    Heartbeat,
    /// A deep heartbeat (no status), or the answer to one. Any other status than 200 is a deep failure.
    Ping {
        /// As in HTTP.
        status: Option<u64>,
    },
    /// The gateway's own error, without a topic; the connection stays.
    GatewayError {
        /// As `Forbidden`.
        message: Cow<'a, str>,
        /// The gateway's id of the request, for the vendor's support.
        request_id: Option<Cow<'a, str>>,
    },
    /// A topic that is none of a chat client's business.
    OtherTopic {
        /// Its name.
        topic: Cow<'a, str>,
        /// The whole frame.
        raw: &'a str,
    },
    /// No text at all; ignored.
    Empty,
    /// No frame of this protocol, as it came.
    Other(&'a str),
}

lenient_object! {
    /// A frame before its topic is looked at.
    pub struct Envelope<'a> {
        /// Which kind of frame.
        "topic" => topic: Cow<'a, str>,
        /// The payload.
        "content" => content: EnvelopeContent<'a>,
        /// Of pings.
        "statusCode" => status_code: u64,
        /// Of gateway errors.
        "message" => message: Cow<'a, str>,
        /// Of gateway errors.
        "requestId" => request_id: Cow<'a, str>,
    }
}

lenient_object! {
    /// The payload of subscriptions.
    pub struct Topics<'a> {
        /// `success` or `failure` in answers.
        "status" => status: Cow<'a, str>,
        /// The topics meant.
        "topics" => topics: Vec<Cow<'a, str>>,
    }
}

/// The payload of a frame.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EnvelopeContent<'a> {
    /// An item.
    Text(Cow<'a, str>),
    /// A subscription.
    Topics(Topics<'a>),
}

impl<'de> Member<'de> for EnvelopeContent<'de> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        struct Content;
        impl<'de> Visitor<'de> for Content {
            type Value = Option<EnvelopeContent<'de>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or an object")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Some(EnvelopeContent::Text(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Some(EnvelopeContent::Text(Cow::Owned(text.to_owned()))))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let topics = Topics::read(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(topics.map(EnvelopeContent::Topics))
            }
            otherwise_none!(@numbers);
            otherwise_none!(@bool);
            otherwise_none!(@unit);
            otherwise_none!(@seq 'de);
        }
        deserializer.deserialize_any(Content)
    }

    fn rescue(raw: &'de RawValue) -> Option<Self> {
        Cow::rescue(raw).map(Self::Text)
    }
}

/// Reads one text frame. Total: whatever the text is, it is one [`Frame`].
pub fn decode_frame(text: &str) -> Frame<'_> {
    if text.trim_ascii().is_empty() {
        return Frame::Empty;
    }
    let Some(envelope) = Envelope::decode(text) else { return Frame::Other(text) };
    let Some(topic) = envelope.topic else {
        return match envelope.message {
            Some(message) => Frame::GatewayError { message, request_id: envelope.request_id },
            None => Frame::Other(text),
        };
    };
    let topics = |content| match content {
        Some(EnvelopeContent::Topics(topics)) => (topics.status, topics.topics.unwrap_or_default()),
        _ => (None, Vec::new()),
    };
    match &*topic {
        TOPIC_CHAT => match envelope.content {
            Some(EnvelopeContent::Text(item)) => Frame::Chat(item),
            _ => single_encoded(text).unwrap_or(Frame::OtherTopic { topic, raw: text }),
        },
        TOPIC_HEARTBEAT => Frame::Heartbeat,
        TOPIC_PING => Frame::Ping { status: envelope.status_code },
        TOPIC_SUBSCRIBE => {
            let (status, topics) = topics(envelope.content);
            Frame::Subscribe { status, topics }
        }
        TOPIC_UNSUBSCRIBE => Frame::Unsubscribe { topics: topics(envelope.content).1 },
        _ => Frame::OtherTopic { topic, raw: text },
    }
}

/// An item that somebody forgot to encode twice is an item all the same.
fn single_encoded(text: &str) -> Option<Frame<'_>> {
    let members: RawMembers<'_> = serde_json::from_str(text).ok()?;
    let (_, raw) = members.0.into_iter().rev().find(|(key, _)| key == "content")?;
    raw.get().starts_with('{').then_some(Frame::Chat(Cow::Borrowed(raw.get())))
}

#[derive(Serialize)]
struct Outgoing<'a> {
    topic: &'a str,
    #[serde(rename = "contentType", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<EnvelopeContent<'a>>,
    #[serde(rename = "statusCode", skip_serializing_if = "Option::is_none")]
    status_code: Option<u64>,
    #[serde(rename = "statusContent", skip_serializing_if = "Option::is_none")]
    status_content: Option<&'a str>,
}

impl Frame<'_> {
    /// As it stands on the wire.
    pub fn encode(&self) -> String {
        let mut out = Outgoing {
            topic: TOPIC_CHAT,
            content_type: None,
            content: None,
            status_code: None,
            status_content: None,
        };
        match self {
            Frame::Chat(item) => {
                out.content_type = Some("application/json");
                out.content = Some(EnvelopeContent::Text(Cow::Borrowed(item)));
            }
            Frame::Subscribe { status, topics } => {
                out.topic = TOPIC_SUBSCRIBE;
                out.content = Some(EnvelopeContent::Topics(Topics {
                    status: status.clone(),
                    topics: Some(topics.clone()),
                }));
            }
            Frame::Unsubscribe { topics } => {
                out.topic = TOPIC_UNSUBSCRIBE;
                out.content =
                    Some(EnvelopeContent::Topics(Topics { status: None, topics: Some(topics.clone()) }));
            }
            Frame::Heartbeat => out.topic = TOPIC_HEARTBEAT,
            Frame::Ping { status } => {
                out.topic = TOPIC_PING;
                out.status_code = *status;
                out.status_content = status.map(|status| if status == 200 { "OK" } else { "Failure" });
            }
            Frame::GatewayError { message, request_id } => {
                let mut body = serde_json::Map::new();
                body.insert("message".to_owned(), message.as_ref().into());
                if let Some(request_id) = request_id {
                    body.insert("requestId".to_owned(), request_id.as_ref().into());
                }
                return serde_json::Value::Object(body).to_string();
            }
            Frame::OtherTopic { raw, .. } | Frame::Other(raw) => return (*raw).to_owned(),
            Frame::Empty => return String::new(),
        }
        serde_json::to_string(&out).expect("texts and numbers always serialise")
    }

    /// The first frame of a client.
    pub fn subscribe_to_chat() -> Self {
        Frame::Subscribe { status: None, topics: vec![Cow::Borrowed(TOPIC_CHAT)] }
    }
}
