//! Owns what the core's model is in the service's transcript. Nothing is dropped: what the service has no word for becomes a custom
//! notice, or an event of its own type. Source: §5.2.

use std::{borrow::Cow, sync::Arc};

use chat_core::{
    AttachmentStatus, Content, Interactive, Participant, RawEvent, Role, SystemEvent, Text, TextFormat,
    UserData,
};
use serde_json::json;

use crate::wire::{EventType, Party, TranscriptEvent};

/// What an event says, before it has an index, a time and a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    kind: EventType,
    text: Option<Arc<str>>,
    message_type: Option<Arc<str>>,
    user_data: Option<UserData>,
}

impl Draft {
    pub(super) const fn new(kind: EventType) -> Self {
        Self { kind, text: None, message_type: None, user_data: None }
    }

    pub(super) fn with_text(self, text: impl Into<Arc<str>>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    pub(super) fn with_type(self, message_type: Option<Arc<str>>) -> Self {
        Self { message_type: message_type.or(self.message_type), ..self }
    }

    pub(super) fn with_data(self, user_data: UserData) -> Self {
        Self { user_data: Some(user_data), ..self }
    }

    pub(super) fn by(self, from: Party, utc_time: i64) -> TranscriptEvent {
        let mut event = TranscriptEvent::new(self.kind, from, None, utc_time);
        event.text = self.text;
        event.message_type = self.message_type;
        event.user_data = self.user_data;
        event
    }
}

/// What becomes of something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    /// The sender comes in.
    Enters,
    /// The sender goes.
    Leaves,
    /// The sender has the name that it is told with.
    Renamed,
    /// The end of the chat, which is no event.
    Over,
    /// Of no concern to the client: it takes an index.
    Unseen,
    /// The client is told.
    Told(Draft),
}

pub(super) fn happening(event: &SystemEvent) -> Happening {
    match event {
        SystemEvent::Joined => Happening::Enters,
        SystemEvent::Left | SystemEvent::AutoDisconnected => Happening::Leaves,
        SystemEvent::NameUpdated => Happening::Renamed,
        SystemEvent::Ended => Happening::Over,
        SystemEvent::Invited
        | SystemEvent::Idle
        | SystemEvent::Returned
        | SystemEvent::Active
        | SystemEvent::Inactive
        | SystemEvent::Typing
        | SystemEvent::ConnectionAcknowledged => Happening::Unseen,
        other => {
            let text = serde_json::to_string(&json!({ "event": other })).unwrap_or_default();
            Happening::Told(Draft::new(EventType::CustomNotice).with_text(text))
        }
    }
}

/// What is said, if it is neither an event nor files.
pub(super) fn said(content: &Content, from: Option<&Participant>) -> Draft {
    match content {
        Content::Text(text) => message(text),
        Content::Interactive(question) => interactive(question),
        Content::PushUrl(url) => Draft::new(EventType::PushUrl).with_text(Arc::clone(url)),
        Content::Notice(text) => {
            let of_system = from.is_none_or(|who| matches!(who.role, Role::System | Role::External));
            let kind = if of_system { EventType::Notice } else { EventType::CustomNotice };
            Draft::new(kind).with_text(Arc::clone(text))
        }
        Content::Other(raw) => other(raw),
        _ => Draft::new(EventType::CustomNotice),
    }
}

/// A message; a text that is not plain says so in its type.
fn message(text: &Text) -> Draft {
    let message_type: Option<Arc<str>> = match &text.format {
        TextFormat::Markdown => Some("text/markdown".into()),
        TextFormat::Json | TextFormat::InteractiveResponse => Some("application/json".into()),
        TextFormat::Other(other) => Some(Arc::clone(other)),
        _ => None,
    };
    Draft::new(EventType::Message).with_text(Arc::clone(&text.body)).with_type(message_type)
}

/// A question as a text that people can read and answer; its original is attached.
fn interactive(question: &Interactive) -> Draft {
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    lines.extend(question.title.as_deref().map(Cow::Borrowed));
    lines.extend(question.subtitle.as_deref().map(Cow::Borrowed));
    for (at, choice) in question.choices.iter().enumerate() {
        let number = at + 1;
        lines.push(match &choice.subtitle {
            Some(subtitle) => format!("{number}. {} ({subtitle})", choice.title).into(),
            None => format!("{number}. {}", choice.title).into(),
        });
    }
    for part in &question.parts {
        lines.extend(part.title.as_deref().map(Cow::Borrowed));
        lines.extend(part.choices.iter().map(|choice| format!("- {}", choice.title).into()));
    }
    if lines.is_empty() {
        lines.push((&*question.template).into());
    }
    Draft::new(EventType::Message)
        .with_text(lines.join("\n"))
        .with_type(Some("interactive".into()))
        .with_data(UserData::new().with("interactive", &*question.raw))
}

/// Of this very vendor it stays what it is. What has a type of its own keeps it; the rest is a custom notice.
pub(super) fn other(raw: &RawEvent) -> Draft {
    let event = TranscriptEvent::read(&raw.body);
    if let Some(kind) = event.kind.filter(|kind| kind.as_str() == &*raw.kind) {
        return Draft {
            kind,
            text: event.text,
            message_type: event.message_type,
            user_data: event.user_data,
        };
    }
    let kind = match EventType::from(&*raw.kind) {
        EventType::Other(kind) if !kind.is_empty() => EventType::Other(kind),
        _ => EventType::CustomNotice,
    };
    Draft::new(kind).with_text(Arc::clone(&raw.body))
}

/// What a file's status is to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileStage {
    /// Nothing yet.
    Awaited,
    /// It can be fetched.
    Offered,
    /// It cannot be fetched any more.
    Withdrawn,
}

pub(super) const fn file_stage(status: AttachmentStatus) -> FileStage {
    match status {
        AttachmentStatus::InProgress => FileStage::Awaited,
        AttachmentStatus::Approved => FileStage::Offered,
        _ => FileStage::Withdrawn,
    }
}

#[cfg(test)]
mod tests {
    use chat_core::Choice;

    use super::*;

    #[test]
    fn a_question_can_be_read_and_answered_by_number() {
        let question = Interactive {
            template: "ListPicker".into(),
            title: Some("Which colour?".into()),
            subtitle: None,
            image: None,
            choices: ["Red", "Blue"]
                .map(|title| Choice {
                    title: title.into(),
                    subtitle: None,
                    image: None,
                    reply: Text::plain(title),
                })
                .to_vec(),
            parts: Vec::new(),
            view: None,
            reference: None,
            raw: r#"{"templateType":"ListPicker"}"#.into(),
        };
        let draft = said(&Content::Interactive(Box::new(question)), None);
        assert_eq!(draft.text.as_deref(), Some("Which colour?\n1. Red\n2. Blue"));
        assert_eq!(
            draft.user_data.unwrap().0.get("interactive").map(String::as_str),
            Some(r#"{"templateType":"ListPicker"}"#)
        );
    }

    #[test]
    fn what_has_no_type_here_keeps_its_own() {
        let kept = other(&RawEvent::new("ReactionAdded", r#"{"type":"ReactionAdded","text":"👍"}"#));
        assert_eq!(kept, Draft::new(EventType::from("ReactionAdded")).with_text("👍"));
        let foreign = other(&RawEvent::new("application/vnd.x", "{}"));
        assert_eq!(foreign, Draft::new(EventType::from("application/vnd.x")).with_text("{}"));
        let posing = other(&RawEvent::new("Message", "no JSON"));
        assert_eq!(posing, Draft::new(EventType::CustomNotice).with_text("no JSON"));
    }

    #[test]
    fn events_without_a_word_are_told_as_notices() {
        let Happening::Told(draft) = happening(&SystemEvent::TransferSucceeded) else { panic!("untold") };
        assert_eq!(draft.text.as_deref(), Some(r#"{"event":"transfer_succeeded"}"#));
        assert_eq!(happening(&SystemEvent::Invited), Happening::Unseen);
    }
}
