//! Owns the details of one chat as they are saved: the vendor's names, in either casing.

use std::collections::BTreeMap;

use chat_core::{
    Capabilities, Capability, Error, ErrorKind, KeyRule, Result, SavedSession, Secret, SessionInfo, Timestamp,
};
use serde_json::{Map, Value};

use super::TRANSPORT_ID;
use crate::{
    config::{ATTRIBUTES_MAX_BYTES, ConnectConfig, ParticipantKind},
    map::Chat,
    wire::{ContentType, start_chat::StartChatAnswer},
};

/// Longest text, in bytes (§3.2).
pub(crate) const TEXT_MAX_BYTES: u32 = 16_384;
/// Largest file (§10.3).
pub(crate) const FILE_MAX_BYTES: u64 = 20 * 1024 * 1024;
/// Files per chat (§10.3).
pub(crate) const FILES_MAX_COUNT: u32 = 35;
/// Largest page of the transcript (§11.1).
pub(crate) const PAGE_MAX: u32 = 100;
/// Events that a client may send (§3.3); the others are the service's own to announce.
const RAW_EVENT_TYPES: &[&str] = &[
    ContentType::ConnectionAcknowledged.as_str(),
    ContentType::Typing.as_str(),
    ContentType::MessageDelivered.as_str(),
    ContentType::MessageRead.as_str(),
];
/// What may be sent (§10.3).
pub(crate) const FILE_TYPES: &[&str] = &[
    "text/csv",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "image/heic",
    "image/jpeg",
    "video/quicktime",
    "video/mp4",
    "application/pdf",
    "image/png",
    "application/vnd.ms-powerpoint",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/rtf",
    "application/x-rtf",
    "text/rtf",
    "text/richtext",
    "text/plain",
    "audio/wav",
    "audio/x-wav",
    "audio/vnd.wave",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
];

/// One chat, and our place in it.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) contact_id: String,
    pub(crate) participant_id: String,
    pub(crate) participant_token: Secret,
    /// The chain; a new chat's own id, unknown for some that are joined.
    pub(crate) initial_contact_id: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    /// What the start-chat endpoint permits: `ATTACHMENTS`, `MESSAGING_MARKDOWN`.
    pub(crate) permissions: BTreeMap<String, bool>,
    /// What the chat was started with; unknown if it was not started here.
    pub(crate) content_types: Option<Vec<String>>,
}

const INITIAL_CONTACT_ID: &str = "initialContactId";
const DISPLAY_NAME: &str = "displayName";
const STARTED_AT: &str = "startedAt";
const PERMISSIONS: &str = "featurePermissions";
const CONTENT_TYPES: &str = "supportedMessagingContentTypes";

impl Details {
    /// What a start-chat endpoint answered.
    pub(crate) fn started(answer: StartChatAnswer) -> Self {
        Self {
            initial_contact_id: Some(answer.contact_id.clone()),
            contact_id: answer.contact_id,
            participant_id: answer.participant_id,
            participant_token: answer.participant_token,
            display_name: None,
            started_at: None,
            permissions: answer.feature_permissions,
            content_types: None,
        }
    }

    /// Reads `{contactId, participantId, participantToken, initialContactId?, …}` in either casing, also as a start-chat
    /// endpoint answers.
    ///
    /// # Errors
    /// `InvalidInput` if one of the three is missing; `SessionLost` if another transport saved it.
    pub(crate) fn from_saved(saved: &SavedSession) -> Result<Self> {
        if saved.transport != TRANSPORT_ID.as_str() {
            return Err(Error::new(ErrorKind::SessionLost, "the saved session is another transport's"));
        }
        let data = &saved.data;
        let body = Value::Object(data.clone());
        let answer = StartChatAnswer::find(&body).ok_or_else(|| {
            Error::invalid_input("a saved session needs contactId, participantId and participantToken")
        })?;
        let text = |key: &str| member(data, key).and_then(Value::as_str).map(str::to_owned);
        let list = member(data, CONTENT_TYPES).and_then(Value::as_array);
        Ok(Self {
            initial_contact_id: text(INITIAL_CONTACT_ID),
            display_name: text(DISPLAY_NAME),
            started_at: text(STARTED_AT).as_deref().and_then(Timestamp::parse),
            content_types: list
                .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            ..Self::started(answer)
        })
    }

    pub(crate) fn to_saved(&self) -> SavedSession {
        let mut data = Map::new();
        let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
        put("contactId", self.contact_id.as_str().into());
        put("participantId", self.participant_id.as_str().into());
        put("participantToken", self.participant_token.expose().into());
        if let Some(id) = &self.initial_contact_id {
            put(INITIAL_CONTACT_ID, id.as_str().into());
        }
        if let Some(name) = &self.display_name {
            put(DISPLAY_NAME, name.as_str().into());
        }
        if let Some(time) = self.started_at {
            put(STARTED_AT, time.to_string().into());
        }
        if !self.permissions.is_empty() {
            let permissions = self.permissions.iter().map(|(name, on)| (name.clone(), (*on).into()));
            put(PERMISSIONS, Value::Object(permissions.collect()));
        }
        if let Some(types) = &self.content_types {
            put(CONTENT_TYPES, types.iter().map(String::as_str).collect());
        }
        SavedSession::new(TRANSPORT_ID, data)
    }

    /// The chain of contacts that ids are unique in. ChatJS falls back the same way.
    pub(crate) fn chain(&self) -> &str {
        self.initial_contact_id.as_deref().unwrap_or(&self.contact_id)
    }

    pub(crate) fn chat(&self, kind: ParticipantKind) -> Chat {
        Chat {
            scope: self.chain().into(),
            segment: self.chain().into(),
            own: self.participant_id.as_str().into(),
            kind,
        }
    }

    pub(crate) fn info(&self, chat: &Chat) -> SessionInfo {
        let mut info = SessionInfo::new(chat.scope.clone(), chat.segment.clone());
        info.started_at = self.started_at;
        info.participant = Some(chat.own.clone());
        info.display_name = self.display_name.as_deref().map(Into::into);
        info
    }

    /// What can be done in this chat.
    pub(crate) fn capabilities(&self, config: &ConnectConfig) -> Capabilities {
        let mut capabilities = capabilities(config);
        if self.permissions.get("ATTACHMENTS") == Some(&false) {
            capabilities = capabilities
                .without(Capability::Upload)
                .without(Capability::Download)
                .without(Capability::FileUrl)
                .without(Capability::FileScans);
        }
        if self.permissions.get("MESSAGING_MARKDOWN") == Some(&false) {
            capabilities = capabilities.without(Capability::Markdown);
        }
        if let Some(types) = &self.content_types {
            for (kind, capability) in [
                (ContentType::Markdown, Capability::Markdown),
                (ContentType::Json, Capability::Json),
                (ContentType::InteractiveResponse, Capability::InteractiveResponse),
            ] {
                if !types.iter().any(|listed| listed == kind.as_str()) {
                    capabilities = capabilities.without(capability);
                }
            }
        }
        capabilities
    }
}

/// A member in either casing of its first letter.
fn member<'a>(data: &'a Map<String, Value>, camel: &str) -> Option<&'a Value> {
    data.get(camel).or_else(|| {
        let mut pascal = camel.to_owned();
        pascal.get_mut(..1)?.make_ascii_uppercase();
        data.get(&pascal)
    })
}

/// What the transport can do before it is connected.
pub(crate) fn capabilities(config: &ConnectConfig) -> Capabilities {
    let mut capabilities = [
        Capability::Join,
        Capability::Restore,
        Capability::Verify,
        Capability::AgentSession,
        Capability::Markdown,
        Capability::Json,
        Capability::InteractiveResponse,
        Capability::Typing,
        Capability::DeliveredReceipts,
        Capability::ReadReceipts,
        Capability::RawEvents,
        Capability::Upload,
        Capability::Download,
        Capability::FileUrl,
        Capability::History,
        Capability::IdempotentSend,
        Capability::Streaming,
        Capability::SystemEvents,
        Capability::PeerReceipts,
        Capability::MessageIds,
        Capability::FileScans,
        Capability::HistoryLoss,
        Capability::Lingering,
        Capability::Renewal,
        Capability::DeepHeartbeat,
        Capability::RawTap,
        Capability::Vendor,
    ]
    .into_iter()
    .fold(Capabilities::new(), Capabilities::with);
    if config.start_chat.is_some() {
        capabilities = [
            Capability::Start,
            Capability::Async,
            Capability::Persistent,
            Capability::UserDataBeforeStart,
            Capability::IdempotentStart,
        ]
        .into_iter()
        .fold(capabilities, Capabilities::with);
    }
    capabilities.text_max_bytes = Some(TEXT_MAX_BYTES);
    capabilities.user_data_max_bytes = Some(ATTRIBUTES_MAX_BYTES);
    capabilities.user_data_keys = KeyRule::AlphanumericDashUnderscore;
    capabilities.file_max_bytes = Some(FILE_MAX_BYTES);
    capabilities.files_max_count = Some(FILES_MAX_COUNT);
    capabilities.file_types = FILE_TYPES;
    if !config.any_raw_events {
        capabilities.raw_event_types = RAW_EVENT_TYPES;
    }
    capabilities.history_page_max = Some(PAGE_MAX);
    capabilities
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn saved(data: Value) -> SavedSession {
        serde_json::from_value(json!({"transport": "connect", "data": data})).unwrap()
    }

    #[test]
    fn raw_events_are_of_the_vendors_types_unless_any_are_asked_for() {
        let mut config = ConnectConfig::default();
        let types = capabilities(&config).raw_event_types;
        assert!(types.contains(&"application/vnd.amazonaws.connect.event.connection.acknowledged"));
        assert!(
            !types.contains(&"application/vnd.amazonaws.connect.event.chat.ended"),
            "the service's to announce"
        );
        config.any_raw_events = true;
        assert!(capabilities(&config).raw_event_types.is_empty());
    }

    #[test]
    fn saved_details_are_read_in_either_casing() {
        for data in [
            json!({"contactId": "c", "participantId": "p", "participantToken": "t", "initialContactId": "i"}),
            json!({"ContactId": "c", "ParticipantId": "p", "ParticipantToken": "t", "InitialContactId": "i"}),
        ] {
            let details = Details::from_saved(&saved(data)).unwrap();
            assert_eq!((details.contact_id.as_str(), details.chain()), ("c", "i"));
        }
        let proxy = json!({"data": {"startChatResult":
            {"ContactId": "c", "ParticipantId": "p", "ParticipantToken": "t"}}});
        assert_eq!(Details::from_saved(&saved(proxy)).unwrap().chain(), "c");
    }

    #[test]
    fn details_come_back_as_they_were_saved() {
        let mut details = Details::started(StartChatAnswer::new("c", "p", Secret::new("t")));
        details.display_name = Some("Jane".into());
        details.started_at = Timestamp::parse("2026-05-04T09:00:00Z");
        details.permissions.insert("ATTACHMENTS".into(), false);
        details.content_types = Some(vec!["text/plain".into()]);
        let again = Details::from_saved(&details.to_saved()).unwrap();
        assert_eq!(again.to_saved(), details.to_saved());
        assert!(!format!("{again:?}").contains("\"t\""), "the token is not printed");

        let capabilities = again.capabilities(&ConnectConfig::default());
        assert!(!capabilities.can(Capability::Upload) && !capabilities.can(Capability::Markdown));
        assert!(capabilities.can(Capability::Typing));
    }

    #[test]
    fn what_cannot_be_resumed_is_refused() {
        let error = Details::from_saved(&saved(json!({"contactId": "c"}))).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidInput);
        let other = SavedSession { transport: "gms-v2".into(), data: Map::new() };
        assert_eq!(Details::from_saved(&other).unwrap_err().kind(), &ErrorKind::SessionLost);
    }
}
