//! Owns the powers that only this vendor has, as vendor commands: views, authentication, acknowledging a connection.
//! Source: §12.3, §12.4, §3.1.

use async_trait::async_trait;
use chat_core::{Capability, ChatSession, Error, Result, Secret, VendorCommand};
use serde_json::{Value, json};

use super::TRANSPORT_ID;
use crate::error::unexpected;
pub(crate) use crate::wire::participant::{
    AUTHENTICATION_URL_COMMAND as AUTHENTICATION_URL, CANCEL_AUTHENTICATION_COMMAND as CANCEL_AUTHENTICATION,
    DESCRIBE_VIEW_COMMAND as DESCRIBE_VIEW,
};

/// `CreateParticipantConnection` with `ConnectParticipant` alone.
pub(crate) const ACKNOWLEDGE: &str = "acknowledge_connection";

/// What only Connect can do, for sessions over [`ConnectTransport`](crate::ConnectTransport). Over another transport each
/// fails with `Unsupported`, and nothing is sent.
#[async_trait]
pub trait ConnectSessionExt {
    /// Fetches a view of a step-by-step guide. `token` is that of a [`ViewReference`](chat_core::ViewReference).
    ///
    /// # Errors
    /// `NotFound`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    async fn describe_view(&self, token: &str) -> Result<ViewDescription>;

    /// Where the customer logs in. Ask within a minute of
    /// [`AuthenticationPhase::Initiated`](chat_core::AuthenticationPhase::Initiated), with the session id that it brings.
    ///
    /// # Errors
    /// `InvalidInput` for an empty argument; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    async fn authentication_url(&self, session_id: &str, redirect_uri: &str) -> Result<Secret>;

    /// Calls the login off.
    ///
    /// # Errors
    /// As [`authentication_url`](Self::authentication_url).
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the login was called off.
    async fn cancel_authentication(&self, session_id: &str) -> Result<()>;

    /// Counts this participant as connected, without a socket. (It replaces the event `connection.acknowledged`, which was
    /// retired in 2024.) Agents' connections do it by themselves.
    ///
    /// # Errors
    /// What the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether it was done; it can be repeated.
    async fn acknowledge_connection(&self) -> Result<()>;
}

#[async_trait]
impl ConnectSessionExt for ChatSession {
    async fn describe_view(&self, token: &str) -> Result<ViewDescription> {
        let answer = ask(self, DESCRIBE_VIEW, json!({"ViewToken": token})).await?;
        Ok(ViewDescription::read(answer))
    }

    async fn authentication_url(&self, session_id: &str, redirect_uri: &str) -> Result<Secret> {
        let data = json!({"SessionId": session_id, "RedirectUri": redirect_uri});
        let answer = ask(self, AUTHENTICATION_URL, data).await?;
        let url = answer.get("AuthenticationUrl").and_then(Value::as_str);
        url.map(Secret::from).ok_or_else(|| unexpected("GetAuthenticationUrl"))
    }

    async fn cancel_authentication(&self, session_id: &str) -> Result<()> {
        ask(self, CANCEL_AUTHENTICATION, json!({"SessionId": session_id})).await.map(drop)
    }

    async fn acknowledge_connection(&self) -> Result<()> {
        ask(self, ACKNOWLEDGE, Value::Null).await.map(drop)
    }
}

async fn ask(session: &ChatSession, name: &'static str, data: Value) -> Result<Value> {
    if session.transport() != TRANSPORT_ID {
        return Err(Error::unsupported(Capability::Vendor, session.transport()));
    }
    session.vendor(VendorCommand { name, data }).await
}

/// What a view shows. Its input data is in the interactive message.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ViewDescription {
    /// Id.
    pub id: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Version.
    pub version: Option<u64>,
    /// What input it takes, as a JSON schema.
    pub input_schema: Option<Value>,
    /// What to show.
    pub template: Option<Value>,
    /// The actions to choose from.
    pub actions: Vec<String>,
    /// The vendor's answer.
    pub raw: Value,
}

impl ViewDescription {
    /// Total: what is missing is `None`, the answer is in `raw`.
    fn read(answer: Value) -> Self {
        let view = answer.get("View").unwrap_or(&Value::Null);
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let content = view.get("Content").unwrap_or(&Value::Null);
        // JSON as text, on the wire.
        let json = |key: &str| text(content, key).and_then(|text| serde_json::from_str(&text).ok());
        let actions = content.get("Actions").and_then(Value::as_array).into_iter().flatten();
        Self {
            id: text(view, "Id"),
            name: text(view, "Name"),
            version: view.get("Version").and_then(Value::as_u64),
            input_schema: json("InputSchema"),
            template: json("Template"),
            actions: actions.filter_map(Value::as_str).map(str::to_owned).collect(),
            raw: answer,
        }
    }
}
