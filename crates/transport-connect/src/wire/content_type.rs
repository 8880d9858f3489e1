//! Owns the content types of messages and events. Source: §8.1, §8.2.

use std::fmt;

macro_rules! content_types {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)?) => {
        /// What an item carries.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ContentType<'a> {
            $($(#[$doc])* $variant,)*
            /// A type that this library does not know, as written.
            Unknown(&'a str),
        }

        impl<'a> ContentType<'a> {
            /// Every type that has a name here.
            pub const KNOWN: &'static [ContentType<'static>] = &[$(ContentType::$variant),*];

            /// As it stands on the wire.
            pub const fn as_str(self) -> &'a str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        impl<'a> From<&'a str> for ContentType<'a> {
            fn from(text: &'a str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    // Some documents spell it so.
                    "application/vnd.amazonaws.connect.event.authentication.success" => Self::AuthenticationSucceeded,
                    other => Self::Unknown(other),
                }
            }
        }
    };
}

content_types! {
    /// Text.
    Plain = "text/plain",
    /// A subset of markdown: bold, italic, lists, links, emoji.
    Markdown = "text/markdown",
    /// Any JSON, as text.
    Json = "application/json",
    /// A template to choose from, as JSON text.
    Interactive = "application/vnd.amazonaws.connect.message.interactive",
    /// The answer to a template, as JSON text.
    InteractiveResponse = "application/vnd.amazonaws.connect.message.interactive.response",
    /// Somebody is typing; own typing comes back too.
    Typing = "application/vnd.amazonaws.connect.event.typing",
    /// A participant joined.
    ParticipantJoined = "application/vnd.amazonaws.connect.event.participant.joined",
    /// A participant left.
    ParticipantLeft = "application/vnd.amazonaws.connect.event.participant.left",
    /// An agent was invited.
    ParticipantInvited = "application/vnd.amazonaws.connect.event.participant.invited",
    /// A participant is active again.
    ParticipantActive = "application/vnd.amazonaws.connect.event.participant.active",
    /// A participant is inactive.
    ParticipantInactive = "application/vnd.amazonaws.connect.event.participant.inactive",
    /// A participant's idle timer ran out.
    ParticipantIdle = "application/vnd.amazonaws.connect.event.participant.idle",
    /// An idle participant is back.
    ParticipantReturned = "application/vnd.amazonaws.connect.event.participant.returned",
    /// A participant was disconnected by its timer.
    ParticipantAutoDisconnection = "application/vnd.amazonaws.connect.event.participant.autodisconnection",
    /// A participant has a new name.
    DisplayNameUpdated = "application/vnd.amazonaws.connect.event.participant.displayname.updated",
    /// A transfer went through (agents only).
    TransferSucceeded = "application/vnd.amazonaws.connect.event.transfer.succeeded",
    /// A transfer failed (agents only).
    TransferFailed = "application/vnd.amazonaws.connect.event.transfer.failed",
    /// The contact is over.
    ChatEnded = "application/vnd.amazonaws.connect.event.chat.ended",
    /// The past transcript can be read now.
    ChatRehydrated = "application/vnd.amazonaws.connect.event.chat.rehydrated",
    /// Retired on 2024-12-31.
    ConnectionAcknowledged = "application/vnd.amazonaws.connect.event.connection.acknowledged",
    /// Sent by clients: a message arrived. Comes back as metadata.
    MessageDelivered = "application/vnd.amazonaws.connect.event.message.delivered",
    /// Sent by clients: a message was read. Comes back as metadata.
    MessageRead = "application/vnd.amazonaws.connect.event.message.read",
    /// Receipts of a message.
    MessageMetadata = "application/vnd.amazonaws.connect.event.message.metadata",
    /// The flow asks the customer to log in.
    AuthenticationInitiated = "application/vnd.amazonaws.connect.event.authentication.initiated",
    /// The customer has logged in.
    AuthenticationSucceeded = "application/vnd.amazonaws.connect.event.authentication.succeeded",
    /// The login failed.
    AuthenticationFailed = "application/vnd.amazonaws.connect.event.authentication.failed",
    /// The login page was closed, or took too long.
    AuthenticationTimeout = "application/vnd.amazonaws.connect.event.authentication.timeout",
    /// The login expired.
    AuthenticationExpired = "application/vnd.amazonaws.connect.event.authentication.expired",
    /// The login was cancelled.
    AuthenticationCancelled = "application/vnd.amazonaws.connect.event.authentication.cancelled",
    /// A flow was cancelled.
    WorkflowCancelled = "application/vnd.amazonaws.connect.event.workflow.cancelled",
}

impl ContentType<'_> {
    /// Whether `GetTranscript` gives items of this type (§11.2). Unknown types count as given.
    pub const fn is_in_transcript(self) -> bool {
        !matches!(
            self,
            Self::Typing
                | Self::ParticipantIdle
                | Self::ParticipantReturned
                | Self::ParticipantAutoDisconnection
                | Self::ConnectionAcknowledged
                | Self::MessageDelivered
                | Self::MessageRead
                | Self::MessageMetadata
        )
    }
}

impl fmt::Display for ContentType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
