//! Owns transcript events: what stands in `messages[]` (§5).

use std::sync::Arc;

use chat_core::UserData;
use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use super::lenient::{self, Members};

/// An enumeration of texts that may grow.
macro_rules! open_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A name that this library does not know, as written.
            Other(Arc<str>),
        }

        impl $name {
            /// As it travels.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

open_enum! {
    /// What happened (§5.2).
    EventType {
        /// A party entered.
        ParticipantJoined = "ParticipantJoined",
        /// A party left.
        ParticipantLeft = "ParticipantLeft",
        /// A chat text.
        Message = "Message",
        /// A party types; the text is what it has typed so far.
        TypingStarted = "TypingStarted",
        /// A party no longer types.
        TypingStopped = "TypingStopped",
        /// A URL was pushed; the text holds it.
        PushUrl = "PushUrl",
        /// A party has another name.
        NicknameUpdated = "NicknameUpdated",
        /// A file was offered.
        FileUploaded = "FileUploaded",
        /// A file was removed.
        FileDeleted = "FileDeleted",
        /// An application's own notice.
        CustomNotice = "CustomNotice",
        /// A standard notice: limits of files, warnings before a close for inactivity.
        Notice = "Notice",
        /// About to be closed for inactivity. In mobile push only.
        IdleAlert = "IdleAlert",
        /// Closed for inactivity. In mobile push only.
        IdleClose = "IdleClose",
    }
}

open_enum! {
    /// What a party is (§5.3).
    PartyType {
        /// Whom the contact centre serves.
        Client = "Client",
        /// A person of the contact centre, or a bot in its place: see [`TranscriptEvent::marks_bot`].
        Agent = "Agent",
        /// A person who listens in.
        Supervisor = "Supervisor",
        /// The routing strategy, the voice of the system.
        External = "External",
        /// A program.
        Bot = "Bot",
    }
}

/// Who: `from` of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Party {
    /// The name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<Arc<str>>,
    /// Names the party during its stay; another one after a return.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<u64>,
    /// What it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<PartyType>,
}

impl Party {
    /// A party of which all is known.
    pub fn new(kind: PartyType, participant_id: u64, nickname: impl Into<Arc<str>>) -> Self {
        Self { nickname: Some(nickname.into()), participant_id: Some(participant_id), kind: Some(kind) }
    }

    fn read(raw: &RawValue) -> Option<Self> {
        let mut party = Self::default();
        for (key, raw) in Members::of(raw.get())? {
            match &*key {
                "nickname" => party.nickname = lenient::text(raw).map(Arc::from),
                "participantId" => party.participant_id = lenient::number(raw),
                "type" => party.kind = name(raw),
                _ => {}
            }
        }
        Some(party)
    }
}

/// One entry of the transcript. Everything may be missing; what does not fit is missing, too, and stands in `raw`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TranscriptEvent {
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Party>,
    /// Where it stands, from 1. Not contiguous; absent on entries that are no part of the transcript.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What happened.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventType>,
    /// When: milliseconds since 1970, in whole seconds. No sort key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utc_time: Option<i64>,
    /// The message, URL, preview or notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
    /// What the sender gave as `messageType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<Arc<str>>,
    /// Facts of files and notices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,
    /// Further attributes, as the style of a party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_attributes: Option<Value>,
    /// The text that it was read from; empty for one made here.
    #[serde(skip)]
    pub raw: Arc<str>,
}

/// The facts of a file, in `userData` of [`EventType::FileUploaded`] and [`EventType::FileDeleted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts<'a> {
    /// The file's id.
    pub id: &'a str,
    /// Its name.
    pub name: Option<&'a str>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// `userData`: the id of a file.
pub const FILE_ID: &str = "file-id";
/// `userData`: the name of a file.
pub const FILE_NAME: &str = "file-name";
/// `userData`: the size of a file in bytes.
pub const FILE_SIZE: &str = "file-size";
/// `userData` of a call and of an event: the description of a file.
pub const FILE_DESCRIPTION: &str = "file-description";

impl TranscriptEvent {
    /// An event that this side makes.
    pub fn new(kind: EventType, from: Party, index: Option<u64>, utc_time: i64) -> Self {
        Self { from: Some(from), index, kind: Some(kind), utc_time: Some(utc_time), ..Self::default() }
    }

    /// Reads one entry. Total: what is no object is an event that tells nothing but its text.
    pub fn read(text: &str) -> Self {
        let mut event = Self { raw: text.into(), ..Self::default() };
        for (key, raw) in Members::of(text).into_iter().flatten() {
            match &*key {
                "from" => event.from = Party::read(raw),
                "index" => event.index = lenient::number(raw).filter(|index| *index > 0),
                "type" => event.kind = name(raw),
                "utcTime" => event.utc_time = lenient::number(raw),
                "text" => event.text = lenient::text(raw).map(Arc::from),
                "messageType" => event.message_type = lenient::filled(raw),
                "userData" => event.user_data = user_data(raw),
                "eventAttributes" => event.event_attributes = lenient::value(raw),
                _ => {}
            }
        }
        event
    }

    /// The facts of the file that it is about; `None` without an id.
    pub fn file(&self) -> Option<FileFacts<'_>> {
        let data = &self.user_data.as_ref()?.0;
        let fact = |key: &str| data.get(key).map(String::as_str).filter(|fact| !fact.is_empty());
        let size = fact(FILE_SIZE).and_then(|size| size.trim().parse().ok());
        Some(FileFacts { id: fact(FILE_ID)?, name: fact(FILE_NAME), size })
    }

    /// Whether it says that its party is a program, by any of the three markers of §5.3. Later events of the party need not.
    pub fn marks_bot(&self) -> bool {
        let is_bot = |text: &str| text.eq_ignore_ascii_case("BOT");
        self.from.as_ref().is_some_and(|from| from.kind == Some(PartyType::Bot))
            || self
                .event_attributes
                .as_ref()
                .and_then(|all| all.pointer("/GCTI_SYSTEM/party-info/style")?.as_str())
                .is_some_and(is_bot)
            || self
                .user_data
                .as_ref()
                .and_then(|data| data.0.get("GCTI_Chat_SetPartyStyle"))
                .is_some_and(|style| is_bot(style))
    }
}

fn name<T: for<'a> From<&'a str>>(raw: &RawValue) -> Option<T> {
    lenient::text(raw).filter(|text| !text.is_empty()).map(|text| T::from(&text))
}

/// Texts by name; what is no text is kept as its JSON.
pub(super) fn user_data(raw: &RawValue) -> Option<UserData> {
    let members = Members::of(raw.get())?.into_iter();
    let texts = members.filter_map(|(key, raw)| Some((key.into_owned(), lenient::as_text(raw)?)));
    Some(UserData(texts.collect()))
}
