//! Owns the start-chat proxy's request and its three answer shapes. Source: §6.

use std::collections::BTreeMap;

use chat_core::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::control::{InitialMessage, ParticipantConfiguration, ParticipantDetails, PersistentChat};

/// What a client sends to a proxy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct StartChatRequest {
    /// The instance; some proxies know it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The flow; some proxies know it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_flow_id: Option<String>,
    /// Who chats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_details: Option<ParticipantDetails>,
    /// Attributes of the contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
    /// `text/plain` must be among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported_messaging_content_types: Option<Vec<String>>,
    /// First message of the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_message: Option<InitialMessage>,
    /// 60–10080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_duration_in_minutes: Option<i64>,
    /// Go on with a past chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_chat: Option<PersistentChat>,
    /// How bots answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_configuration: Option<ParticipantConfiguration>,
    /// Idempotency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// Whatever else this proxy wants, as `Username`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Attributes of a contact: a map; some proxies want the map as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attributes {
    /// By name.
    Map(BTreeMap<String, String>),
    /// The map as JSON text.
    Text(String),
}

impl Attributes {
    /// The map, whichever way it was written. `None` if the text is no JSON object of texts.
    pub fn to_map(&self) -> Option<BTreeMap<String, String>> {
        match self {
            Self::Map(map) => Some(map.clone()),
            Self::Text(text) if text.trim().is_empty() => Some(BTreeMap::new()),
            Self::Text(text) => serde_json::from_str(text).ok(),
        }
    }
}

/// Where in its answer a proxy puts the three values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerShape {
    /// `{"data": {"startChatResult": …, "featurePermissions": …}}`, as the vendor's widget wants it.
    #[default]
    Widget,
    /// The three values at the top.
    Flat,
    /// `{"data": …}`.
    BareData,
}

/// Upper or lower first letter of the members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Casing {
    /// `ContactId`.
    #[default]
    Pascal,
    /// `contactId`.
    Camel,
}

/// What a client takes from a proxy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StartChatAnswer {
    /// The new contact.
    pub contact_id: String,
    /// The customer.
    pub participant_id: String,
    /// For `CreateParticipantConnection` only.
    pub participant_token: Secret,
    /// The contact really continued from.
    pub continued_from_contact_id: Option<String>,
    /// `ATTACHMENTS`, `MESSAGING_MARKDOWN`; empty if the proxy does not say.
    pub feature_permissions: BTreeMap<String, bool>,
}

/// A member in either casing.
fn member<'a>(object: &'a Value, pascal: &str) -> Option<&'a Value> {
    let found = object.get(pascal).or_else(|| {
        let mut camel = pascal.to_owned();
        camel.get_mut(..1)?.make_ascii_lowercase();
        object.get(&camel)
    })?;
    (!found.is_null()).then_some(found)
}

fn text(object: &Value, pascal: &str) -> Option<String> {
    member(object, pascal)?.as_str().map(str::to_owned)
}

impl StartChatAnswer {
    /// The three values.
    pub fn new(
        contact_id: impl Into<String>,
        participant_id: impl Into<String>,
        participant_token: Secret,
    ) -> Self {
        Self {
            contact_id: contact_id.into(),
            participant_id: participant_id.into(),
            participant_token,
            continued_from_contact_id: None,
            feature_permissions: BTreeMap::new(),
        }
    }

    /// Looks under `data.startChatResult`, `startChatResult`, `data`, then at the top, in either casing. `None` if the three
    /// values are in none of them.
    pub fn find(body: &Value) -> Option<Self> {
        let data = member(body, "Data");
        let permissions = data
            .and_then(|data| member(data, "FeaturePermissions"))
            .or_else(|| member(body, "FeaturePermissions"));
        let places = [
            data.and_then(|data| member(data, "StartChatResult")),
            member(body, "StartChatResult"),
            data,
            Some(body),
        ];
        places.into_iter().flatten().find_map(|place| {
            let mut found = Self::new(
                text(place, "ContactId")?,
                text(place, "ParticipantId")?,
                text(place, "ParticipantToken")?.into(),
            );
            found.continued_from_contact_id = text(place, "ContinuedFromContactId");
            if let Some(Value::Object(permissions)) = permissions {
                found.feature_permissions =
                    permissions.iter().filter_map(|(name, on)| Some((name.clone(), on.as_bool()?))).collect();
            }
            Some(found)
        })
    }

    /// As a proxy writes it.
    pub fn to_body(&self, shape: AnswerShape, casing: Casing) -> Value {
        let mut result = json!({
            "ContactId": self.contact_id,
            "ParticipantId": self.participant_id,
            "ParticipantToken": self.participant_token.expose(),
        });
        if let Some(continued) = &self.continued_from_contact_id {
            result["ContinuedFromContactId"] = json!(continued);
        }
        if let (Casing::Camel, Value::Object(members)) = (casing, &mut result) {
            *members = std::mem::take(members)
                .into_iter()
                .map(|(mut name, value)| {
                    if let Some(first) = name.get_mut(..1) {
                        first.make_ascii_lowercase();
                    }
                    (name, value)
                })
                .collect();
        }
        match shape {
            AnswerShape::Widget => {
                json!({"data": {"startChatResult": result, "featurePermissions": self.feature_permissions}})
            }
            AnswerShape::Flat => result,
            AnswerShape::BareData => json!({ "data": result }),
        }
    }
}

/// What a proxy says when it fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartChatError {
    /// The vendor's error type, as `LimitExceededException`.
    pub code: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// The vendor's status, which the proxy's own need not equal.
    pub status: Option<u16>,
}

impl StartChatError {
    /// Looks under `data.Error`, `Error`, then at the top. Total.
    pub fn find(body: &Value) -> Self {
        let error = member(body, "Data")
            .and_then(|data| member(data, "Error"))
            .or_else(|| member(body, "Error"))
            .unwrap_or(body);
        if let Value::String(message) = error {
            return Self { message: Some(message.clone()), ..Self::default() };
        }
        Self {
            code: text(error, "Code").or_else(|| text(error, "Name")),
            message: text(error, "Message"),
            status: member(error, "StatusCode").and_then(Value::as_u64).and_then(|code| code.try_into().ok()),
        }
    }

    /// As the Lambda samples write it.
    pub fn to_body(&self) -> Value {
        json!({"data": {"Error": {"message": self.message, "code": self.code, "statusCode": self.status}}})
    }
}
