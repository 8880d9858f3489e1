//! Owns the control-plane calls around a chat, which never come from a browser. Source: §5.

use std::collections::BTreeMap;

use chat_core::Secret;
use serde::{Deserialize, Serialize};

use super::{lenient::lenient_object, participant};

/// `PUT`.
pub const START_CHAT_CONTACT_PATH: &str = "/contact/chat";
/// `POST`.
pub const CREATE_PARTICIPANT_PATH: &str = "/contact/create-participant";
/// `POST`.
pub const STOP_CONTACT_PATH: &str = "/contact/stop";

macro_rules! request {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$ty>,
            )*
        }
    };
}

request! {
    /// Starts a chat.
    pub struct StartChatContactRequest {
        /// Required, 1–100 characters.
        instance_id: String,
        /// Required, at most 500 characters.
        contact_flow_id: String,
        /// Required.
        participant_details: ParticipantDetails,
        /// At most 32 KB in all.
        attributes: BTreeMap<String, String>,
        /// First message of the customer.
        initial_message: InitialMessage,
        /// Idempotency, at most 500 characters.
        client_token: String,
        /// 60–10080.
        chat_duration_in_minutes: i64,
        /// `text/plain` must be among them.
        supported_messaging_content_types: Vec<String>,
        /// Go on with a past chat.
        persistent_chat: PersistentChat,
        /// Not together with `PersistentChat`.
        related_contact_id: String,
        /// At most 128 characters.
        customer_id: String,
        /// Passed on.
        segment_attributes: serde_json::Value,
        /// Passed on.
        disconnect_on_customer_exit: Vec<String>,
        /// How bots answer.
        participant_configuration: ParticipantConfiguration,
        /// Newer: the parts of a connection wanted in this very answer.
        connection_types: Vec<participant::ConnectionType>,
    }
}

request! {
    /// Who chats.
    pub struct ParticipantDetails {
        /// 1–256 characters.
        display_name: String,
        /// Of `CreateParticipant`: `CUSTOM_BOT`.
        participant_role: String,
    }
}

request! {
    /// First message of the customer.
    pub struct InitialMessage {
        /// As in `SendMessage`.
        content_type: String,
        /// As in `SendMessage`.
        content: String,
    }
}

request! {
    /// Go on with a past chat.
    pub struct PersistentChat {
        /// `ENTIRE_PAST_SESSION` or `FROM_SEGMENT`.
        rehydration_type: String,
        /// The first contact of the past chain, or the one to go on from.
        source_contact_id: String,
    }
}

request! {
    /// How bots answer.
    pub struct ParticipantConfiguration {
        /// `INCREMENTAL` or `COMPLETE`.
        response_mode: String,
    }
}

lenient_object! {
    /// The three values for the browser, and what else was asked for.
    pub struct StartChatContactAnswer {
        /// The new contact.
        "ContactId" => contact_id: String,
        /// The customer.
        "ParticipantId" => participant_id: String,
        /// For `CreateParticipantConnection` only.
        "ParticipantToken" => participant_token: Secret,
        /// The contact really continued from.
        "ContinuedFromContactId" => continued_from_contact_id: String,
        /// With message streaming.
        "StreamingId" => streaming_id: String,
        /// With `ConnectionTypes`.
        "Websocket" => websocket: participant::Websocket,
        /// With `ConnectionTypes`.
        "ConnectionCredentials" => connection_credentials: participant::ConnectionCredentials,
    }
}

request! {
    /// Adds a bot.
    pub struct CreateParticipantRequest {
        /// Required.
        instance_id: String,
        /// Required.
        contact_id: String,
        /// Idempotency.
        client_token: String,
        /// Required, with the role.
        participant_details: ParticipantDetails,
    }
}

lenient_object! {
    /// The bot's credentials.
    pub struct CreateParticipantAnswer {
        /// For `CreateParticipantConnection`.
        "ParticipantCredentials" => participant_credentials: ParticipantCredentials,
        /// The bot.
        "ParticipantId" => participant_id: String,
    }
}

lenient_object! {
    /// A participant token and its life.
    pub struct ParticipantCredentials {
        /// The bearer.
        "ParticipantToken" => participant_token: Secret,
        /// Until when.
        "Expiry" => expiry: String,
    }
}

request! {
    /// Ends a contact.
    pub struct StopContactRequest {
        /// Required.
        contact_id: String,
        /// Required.
        instance_id: String,
    }
}
