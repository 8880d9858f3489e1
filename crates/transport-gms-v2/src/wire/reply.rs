//! Owns the envelope of every answer, over REST and as the `data` of CometD messages (§3.1).

use chat_core::{Secret, UserData};
use serde::{Serialize, Serializer};

use super::{
    errors::ErrorEntry,
    event::{TranscriptEvent, user_data},
    lenient::{self, Members},
};

/// How a call went, in the service's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// 0: all fields are valid.
    Ok,
    /// 1: try again; no other field may be trusted.
    Transient,
    /// 2: repeating does not help; whether the chat is over says `chatEnded`.
    Failed,
    /// A number that this library does not know.
    Other(i64),
}

impl From<i64> for StatusCode {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Transient,
            2 => Self::Failed,
            other => Self::Other(other),
        }
    }
}

impl From<StatusCode> for i64 {
    fn from(code: StatusCode) -> Self {
        match code {
            StatusCode::Ok => 0,
            StatusCode::Transient => 1,
            StatusCode::Failed => 2,
            StatusCode::Other(number) => number,
        }
    }
}

impl Serialize for StatusCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64((*self).into())
    }
}

/// Which chat, and who in it (§4). An empty text is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Identity {
    /// The chat: constant while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    /// This party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The only thing that protects the chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_key: Option<Secret>,
    /// Which chat server served the call. May change with any reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// An answer. What is `None` is not written; which fields stand in which reply is the service's habit, not a rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Reply {
    /// How the call went. Absent on answers with an HTTP error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<StatusCode>,
    /// Which chat, and who in it.
    #[serde(flatten)]
    pub identity: Identity,
    /// The transcript, or a part of it, as it came: perhaps unsorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<TranscriptEvent>>,
    /// The index to ask for next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_position: Option<u64>,
    /// The chat is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_ended: Option<bool>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorEntry>,
    /// Of uploads: the file's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,
}

impl Reply {
    /// Reads a body. Bytes that are no UTF-8 become U+FFFD: a refusal would be repeated at every poll, for ever.
    pub fn read_bytes(body: &[u8]) -> Option<Self> {
        Self::read(&String::from_utf8_lossy(body))
    }

    /// Reads a reply. `None` if the text is no JSON object; otherwise each entry of `messages` is one event, however damaged.
    pub fn read(text: &str) -> Option<Self> {
        let mut reply = Self::default();
        for (key, raw) in Members::of(text)? {
            match &*key {
                "statusCode" => reply.status_code = lenient::number::<i64>(raw).map(StatusCode::from),
                "chatId" => reply.identity.chat_id = lenient::filled(raw),
                "userId" => reply.identity.user_id = lenient::filled(raw),
                "secureKey" => reply.identity.secure_key = lenient::filled(raw),
                "alias" => reply.identity.alias = lenient::filled(raw),
                "messages" => {
                    let entries = lenient::list(raw);
                    reply.messages = entries.map(|entries| {
                        entries.into_iter().map(|entry| TranscriptEvent::read(entry.get())).collect()
                    });
                }
                "nextPosition" => reply.next_position = lenient::number(raw),
                "chatEnded" => reply.chat_ended = lenient::flag(raw),
                "errors" => {
                    let entries = lenient::list(raw).unwrap_or_default();
                    reply.errors = entries.into_iter().map(ErrorEntry::read).collect();
                }
                "userData" => reply.user_data = user_data(raw),
                _ => {}
            }
        }
        Some(reply)
    }

    /// The events; none if the reply has no list of them.
    pub fn events(&self) -> &[TranscriptEvent] {
        self.messages.as_deref().unwrap_or_default()
    }

    /// A good answer with a piece of the transcript, as the service writes it.
    pub fn success(
        identity: Identity,
        messages: Vec<TranscriptEvent>,
        next_position: u64,
        chat_ended: bool,
    ) -> Self {
        Self {
            status_code: Some(StatusCode::Ok),
            identity,
            messages: Some(messages),
            next_position: Some(next_position),
            chat_ended: Some(chat_ended),
            ..Self::default()
        }
    }

    /// A good answer about files, as the service writes it: without identity and position.
    pub fn about_files(messages: Vec<TranscriptEvent>, user_data: Option<UserData>) -> Self {
        Self {
            status_code: Some(StatusCode::Ok),
            messages: Some(messages),
            chat_ended: Some(false),
            user_data,
            ..Self::default()
        }
    }

    /// A start's answer as services of the 8.5.1 age write it: neither `chatEnded` nor `nextPosition`.
    #[must_use]
    pub fn into_legacy_start(self) -> Self {
        Self { next_position: None, chat_ended: None, ..self }
    }

    /// A failure with HTTP status 200, as the service writes it: without key and user.
    pub fn failure(
        status_code: StatusCode,
        identity: Identity,
        chat_ended: bool,
        errors: Vec<ErrorEntry>,
    ) -> Self {
        Self {
            status_code: Some(status_code),
            identity: Identity { user_id: None, secure_key: None, ..identity },
            messages: Some(Vec::new()),
            chat_ended: Some(chat_ended),
            errors,
            ..Self::default()
        }
    }

    /// The body of an HTTP error, as the service writes it: errors alone.
    pub fn refusal(errors: Vec<ErrorEntry>) -> Self {
        Self { errors, ..Self::default() }
    }

    /// As JSON text.
    pub fn to_json(&self) -> String {
        // Texts, numbers and trees of both: nothing here can fail to be JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}
