//! Owns the item: one object for socket and transcript, messages and events alike. Source: §8 of the protocol notes.

use std::borrow::Cow;

use super::{content_type::ContentType, lenient::lenient_object};

lenient_object! {
    /// An item as it stands on the wire, borrowed from its text. Everything is optional on input: `chat.ended` has no
    /// participant at all.
    #[derive(PartialEq, Eq)]
    pub struct Item<'a> {
        /// When the service took it: RFC 3339, UTC, milliseconds.
        "AbsoluteTime" => absolute_time: Cow<'a, str>,
        /// The text, or JSON as text; absent on most events.
        "Content" => content: Cow<'a, str>,
        /// What it is: dispatch on this first. See [`Item::content_type`].
        "ContentType" => content_type: Cow<'a, str>,
        /// Opaque, at most 256 characters.
        "Id" => id: Cow<'a, str>,
        /// `MESSAGE`, `EVENT`, `ATTACHMENT`, on the socket also `MESSAGEMETADATA`.
        "Type" => kind: Cow<'a, str>,
        /// The sender.
        "ParticipantId" => participant_id: Cow<'a, str>,
        /// The sender's name.
        "DisplayName" => display_name: Cow<'a, str>,
        /// `AGENT`, `CUSTOMER`, `SYSTEM`, `CUSTOM_BOT`, `SUPERVISOR`.
        "ParticipantRole" => participant_role: Cow<'a, str>,
        /// Files of an `ATTACHMENT` item.
        "Attachments" => attachments: Vec<Attachment<'a>>,
        /// Receipts and chunk numbers.
        "MessageMetadata" => message_metadata: MessageMetadata<'a>,
        /// A past chat session's contact (transcript only).
        "RelatedContactId" => related_contact_id: Cow<'a, str>,
        /// The whole chain's contact (socket only).
        "InitialContactId" => initial_contact_id: Cow<'a, str>,
        /// This link's contact; absent on some events and on past items.
        "ContactId" => contact_id: Cow<'a, str>,
    }
}

lenient_object! {
    /// One file of an item.
    #[derive(PartialEq, Eq)]
    pub struct Attachment<'a> {
        /// MIME type.
        "ContentType" => content_type: Cow<'a, str>,
        /// Opaque.
        "AttachmentId" => attachment_id: Cow<'a, str>,
        /// File name.
        "AttachmentName" => attachment_name: Cow<'a, str>,
        /// `APPROVED`, `REJECTED`, `IN_PROGRESS`.
        "Status" => status: Cow<'a, str>,
    }
}

lenient_object! {
    /// What is known about a message beside its content.
    #[derive(PartialEq, Eq)]
    pub struct MessageMetadata<'a> {
        /// The message that this is about.
        "MessageId" => message_id: Cow<'a, str>,
        /// One entry per recipient.
        "Receipts" => receipts: Vec<Receipt<'a>>,
        /// `PROCESSING`, `FAILED`, `REJECTED`.
        "MessageProcessingStatus" => message_processing_status: Cow<'a, str>,
        /// `false` on the chunks of a streamed answer, `true` on the whole.
        "MessageCompleted" => message_completed: bool,
        /// Number of the chunk, from 1.
        "ChunkNumber" => chunk_number: u64,
    }
}

lenient_object! {
    /// What one recipient has seen of a message.
    #[derive(PartialEq, Eq)]
    pub struct Receipt<'a> {
        /// When it arrived; may be absent although it was read.
        "DeliveredTimestamp" => delivered_timestamp: Cow<'a, str>,
        /// When it was read; absent until then.
        "ReadTimestamp" => read_timestamp: Cow<'a, str>,
        /// Who got or read it.
        "RecipientParticipantId" => recipient_participant_id: Cow<'a, str>,
    }
}

lenient_object! {
    /// The `Content` of `message.delivered` and `message.read`, which is JSON as text.
    #[derive(PartialEq, Eq)]
    pub struct ReceiptContent<'a> {
        /// The message received or read.
        "messageId" => message_id: Cow<'a, str>,
    }
}

lenient_object! {
    /// The `Content` of `authentication.initiated`, which is JSON as text.
    #[derive(PartialEq, Eq)]
    pub struct AuthenticationContent<'a> {
        /// 36 characters.
        "SessionId" => session_id: Cow<'a, str>,
    }
}

impl Item<'_> {
    /// `Type` of messages.
    pub const MESSAGE: &'static str = "MESSAGE";
    /// `Type` of events.
    pub const EVENT: &'static str = "EVENT";
    /// `Type` of files.
    pub const ATTACHMENT: &'static str = "ATTACHMENT";
    /// `Type` of receipts on the socket.
    pub const MESSAGE_METADATA: &'static str = "MESSAGEMETADATA";

    /// What it is, by `ContentType`; `None` if the item does not say (files, for instance).
    pub fn content_type(&self) -> Option<ContentType<'_>> {
        self.content_type.as_deref().map(ContentType::from)
    }
}
