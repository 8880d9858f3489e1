//! Owns requests and answers of the eleven Participant Service operations. Source: §3, §10, §11, §12.
//!
//! Requests are read strictly and written without absent members; answers are read leniently.

use chat_core::Secret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{item::MessageMetadata, lenient::lenient_object};

/// `POST`; bearer: participant token.
pub const CONNECTION_PATH: &str = "/participant/connection";
/// `POST`; bearer: connection token, here and below.
pub const MESSAGE_PATH: &str = "/participant/message";
/// `POST`.
pub const EVENT_PATH: &str = "/participant/event";
/// `POST`.
pub const TRANSCRIPT_PATH: &str = "/participant/transcript";
/// `POST`.
pub const DISCONNECT_PATH: &str = "/participant/disconnect";
/// `POST`.
pub const START_UPLOAD_PATH: &str = "/participant/start-attachment-upload";
/// `POST`.
pub const COMPLETE_UPLOAD_PATH: &str = "/participant/complete-attachment-upload";
/// `POST`.
pub const ATTACHMENT_PATH: &str = "/participant/attachment";
/// `GET`, followed by the percent-encoded view token.
pub const VIEWS_PATH: &str = "/participant/views/";
/// `POST`.
pub const AUTHENTICATION_URL_PATH: &str = "/participant/authentication-url";
/// `POST`.
pub const CANCEL_AUTHENTICATION_PATH: &str = "/participant/cancel-authentication";

/// Vendor command for `DescribeView`: data `{"ViewToken"}`, answer as the service's.
pub const DESCRIBE_VIEW_COMMAND: &str = "describe_view";
/// Vendor command for `GetAuthenticationUrl`: data and answer as the service's.
pub const AUTHENTICATION_URL_COMMAND: &str = "authentication_url";
/// Vendor command for `CancelParticipantAuthentication`: data as the service's.
pub const CANCEL_AUTHENTICATION_COMMAND: &str = "cancel_authentication";

macro_rules! request {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A part of a connection that a client can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectionType {
    /// The URL of a socket.
    Websocket,
    /// A connection token.
    ConnectionCredentials,
    /// For calls.
    WebrtcConnection,
}

request! {
    /// Asks for a socket, a token, or to be counted as connected.
    pub struct CreateParticipantConnectionRequest {
        /// The parts wanted; at least one when present.
        r#type: Vec<ConnectionType>,
        /// Counts the participant as connected without a socket.
        connect_participant: bool,
    }
}

lenient_object! {
    /// Exactly the parts asked for.
    pub struct CreateParticipantConnectionAnswer {
        /// Where to connect.
        "Websocket" => websocket: Websocket,
        /// What to send with every other call.
        "ConnectionCredentials" => connection_credentials: ConnectionCredentials,
    }
}

lenient_object! {
    /// Where to connect.
    pub struct Websocket {
        /// At most 2000 characters; to be opened within 100 s.
        "Url" => url: Secret,
        /// By when the client should hold a new URL.
        "ConnectionExpiry" => connection_expiry: String,
    }
}

lenient_object! {
    /// What to send with every other call.
    pub struct ConnectionCredentials {
        /// The bearer.
        "ConnectionToken" => connection_token: Secret,
        /// A day after issue.
        "Expiry" => expiry: String,
    }
}

request! {
    /// A message.
    pub struct SendMessageRequest {
        /// 1–100 characters; one of the contact's supported types.
        content_type: String,
        /// 1–16 384 bytes.
        content: String,
        /// At most 500 characters; idempotency.
        client_token: String,
    }
}

lenient_object! {
    /// What became of a message or event.
    pub struct SendAnswer<'a> {
        /// The item's id.
        "Id" => id: String,
        /// When the service took it.
        "AbsoluteTime" => absolute_time: String,
        /// `MessageProcessingStatus`, when the instance processes messages.
        "MessageMetadata" => message_metadata: MessageMetadata<'a>,
    }
}

request! {
    /// Typing or a receipt.
    pub struct SendEventRequest {
        /// Of the event.
        content_type: String,
        /// Of receipts: JSON text with `messageId`.
        content: String,
        /// A constant for every receipt of the vendor's client: no key for deduplication.
        client_token: String,
    }
}

request! {
    /// A page of the transcript.
    pub struct GetTranscriptRequest {
        /// A contact of the current chain.
        contact_id: String,
        /// 0–100, default 10.
        max_results: i64,
        /// Opaque; belongs to its query.
        next_token: String,
        /// `BACKWARD` without a start position, `FORWARD` with one.
        scan_direction: ScanDirection,
        /// Order inside the page; default `DESCENDING`.
        sort_order: SortOrder,
        /// Where to start; `{}` counts as none.
        start_position: StartPosition,
    }
}

/// Which way to page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScanDirection {
    /// To newer items.
    Forward,
    /// To older items.
    Backward,
}

/// Order inside a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SortOrder {
    /// Newest first.
    Descending,
    /// Oldest first.
    Ascending,
}

request! {
    /// At most one member.
    pub struct StartPosition {
        /// An item.
        id: String,
        /// An instant.
        absolute_time: String,
        /// So many of the newest, 0–100.
        most_recent: i64,
    }
}

lenient_object! {
    /// A page. The items are unread: give each to [`Item::decode`](super::Item::decode), and keep its text.
    pub struct GetTranscriptAnswer<'a> {
        /// The chain's contact.
        "InitialContactId" => initial_contact_id: String,
        /// The items.
        "Transcript" => transcript: Vec<&'a RawValue>,
        /// Absent or empty at the end.
        "NextToken" => next_token: String,
    }
}

request! {
    /// Leaves the contact.
    pub struct DisconnectParticipantRequest {
        /// Idempotency.
        client_token: String,
    }
}

request! {
    /// Announces a file.
    pub struct StartAttachmentUploadRequest {
        /// MIME type, 1–255 characters.
        content_type: String,
        /// At least 1.
        attachment_size_in_bytes: i64,
        /// File name, 1–256 characters.
        attachment_name: String,
        /// Required, 1–500 characters.
        client_token: String,
    }
}

lenient_object! {
    /// Where the bytes go.
    pub struct StartAttachmentUploadAnswer {
        /// The file.
        "AttachmentId" => attachment_id: String,
        /// Where to put it.
        "UploadMetadata" => upload_metadata: UploadMetadata,
    }
}

lenient_object! {
    /// Where and how to put the bytes.
    pub struct UploadMetadata {
        /// Presigned.
        "Url" => url: Secret,
        /// Until when.
        "UrlExpiry" => url_expiry: String,
        /// Exactly these headers, as text by name.
        "HeadersToInclude" => headers_to_include: Headers,
    }
}

/// Header names and values, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

request! {
    /// Says that the bytes are there.
    pub struct CompleteAttachmentUploadRequest {
        /// Exactly one.
        attachment_ids: Vec<String>,
        /// Required, 1–500 characters.
        client_token: String,
    }
}

request! {
    /// Asks for a file.
    pub struct GetAttachmentRequest {
        /// The file.
        attachment_id: String,
        /// 5–300.
        url_expiry_in_seconds: i64,
        /// `INLINE` or `ATTACHMENT`.
        url_content_disposition: String,
    }
}

lenient_object! {
    /// Where the bytes are, for a plain GET without the bearer.
    pub struct GetAttachmentAnswer {
        /// Presigned.
        "Url" => url: Secret,
        /// Until when.
        "UrlExpiry" => url_expiry: String,
        /// Size.
        "AttachmentSizeInBytes" => attachment_size_in_bytes: u64,
    }
}

lenient_object! {
    /// A view.
    pub struct DescribeViewAnswer {
        /// The view.
        "View" => view: View,
    }
}

lenient_object! {
    /// A view of a step-by-step guide; its input data is in the interactive message.
    pub struct View {
        /// Id.
        "Id" => id: String,
        /// Resource name.
        "Arn" => arn: String,
        /// Name.
        "Name" => name: String,
        /// Version.
        "Version" => version: u64,
        /// What to show.
        "Content" => content: ViewContent,
    }
}

lenient_object! {
    /// What a view shows.
    pub struct ViewContent {
        /// JSON text.
        "InputSchema" => input_schema: String,
        /// JSON text.
        "Template" => template: String,
        /// Names of the actions to choose from.
        "Actions" => actions: Vec<String>,
    }
}

request! {
    /// Asks where to log in.
    pub struct GetAuthenticationUrlRequest {
        /// 36 characters, from `authentication.initiated`.
        session_id: String,
        /// At most 1024 characters.
        redirect_uri: String,
    }
}

lenient_object! {
    /// Where to log in.
    pub struct GetAuthenticationUrlAnswer {
        /// At most 2083 characters.
        "AuthenticationUrl" => authentication_url: String,
    }
}

request! {
    /// Takes a login back.
    pub struct CancelParticipantAuthenticationRequest {
        /// 36 characters.
        session_id: String,
    }
}

mod headers {
    use std::fmt;

    use serde::{
        Deserializer, Serialize, Serializer,
        de::{MapAccess, Visitor},
    };

    use super::Headers;
    use crate::wire::lenient::{Member, Seed, otherwise_none};

    impl<'de> Member<'de> for Headers {
        fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
            struct Map;
            impl<'de> Visitor<'de> for Map {
                type Value = Option<Headers>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("headers")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut out = Vec::new();
                    while let Some(name) = map.next_key::<String>()? {
                        let value = map.next_value_seed(Seed::<String>(std::marker::PhantomData))?;
                        out.extend(value.map(|value| (name, value)));
                    }
                    Ok(Some(Headers(out)))
                }
                otherwise_none!(@text);
                otherwise_none!(@numbers);
                otherwise_none!(@bool);
                otherwise_none!(@unit);
                otherwise_none!(@seq 'de);
            }
            deserializer.deserialize_any(Map)
        }
    }

    impl Serialize for Headers {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }
}
