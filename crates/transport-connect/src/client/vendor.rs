//! Owns the powers that only this vendor has, as vendor commands: views, authentication, acknowledging a connection.
//! Source: §12.3, §12.4, §3.1.

use chat_core::{Error, ErrorKind, Result, Secret, VendorCommand};
use serde_json::{Value, json};

pub(crate) use crate::wire::participant::{
    AUTHENTICATION_URL_COMMAND as AUTHENTICATION_URL, CANCEL_AUTHENTICATION_COMMAND as CANCEL_AUTHENTICATION,
    DESCRIBE_VIEW_COMMAND as DESCRIBE_VIEW,
};
/// `CreateParticipantConnection` with `ConnectParticipant` alone.
pub(crate) const ACKNOWLEDGE: &str = "acknowledge_connection";

/// Commands for [`Command::Vendor`](chat_core::Command::Vendor), and what their answers hold.
pub mod commands {
    use super::*;

    /// Fetches a view of a step-by-step guide. `token` is that of a
    /// [`ViewReference`](chat_core::ViewReference). Read the answer with [`ViewDescription::read`].
    pub fn describe_view(token: &str) -> VendorCommand {
        VendorCommand { name: DESCRIBE_VIEW, data: json!({"ViewToken": token}) }
    }

    /// Asks where the customer logs in; within a minute of
    /// [`AuthenticationPhase::Initiated`](chat_core::AuthenticationPhase::Initiated), whose session id it takes. Read the
    /// answer with [`read_authentication_url`].
    pub fn authentication_url(session_id: &str, redirect_uri: &str) -> VendorCommand {
        let data = json!({"SessionId": session_id, "RedirectUri": redirect_uri});
        VendorCommand { name: AUTHENTICATION_URL, data }
    }

    /// Reads the answer to [`authentication_url`].
    ///
    /// # Errors
    /// `UnexpectedResponse` if it holds no URL.
    pub fn read_authentication_url(answer: &Value) -> Result<Secret> {
        let url = answer.get("AuthenticationUrl").and_then(Value::as_str);
        url.map(Secret::from).ok_or_else(|| {
            Error::new(ErrorKind::UnexpectedResponse, "the answer holds no authentication URL")
        })
    }

    /// Calls the login off.
    pub fn cancel_authentication(session_id: &str) -> VendorCommand {
        VendorCommand { name: CANCEL_AUTHENTICATION, data: json!({"SessionId": session_id}) }
    }

    /// Counts this participant as connected. (Replaces the event `connection.acknowledged`, retired in 2024.)
    pub fn acknowledge_connection() -> VendorCommand {
        VendorCommand { name: ACKNOWLEDGE, data: Value::Null }
    }
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
    /// Reads the answer to [`commands::describe_view`]. Total: what is missing is `None`, the answer is in `raw`.
    pub fn read(answer: Value) -> Self {
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
