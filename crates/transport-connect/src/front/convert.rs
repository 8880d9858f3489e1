//! Owns how the core's model becomes items, and items' content types the core's formats. Source: §8.

use std::borrow::Cow;

use chat_core::{
    Attachment, AttachmentStatus, AuthenticationPhase, Content, Interactive, Participant, RawEvent, Role,
    SystemEvent, Text, TextFormat,
};
use serde_json::{Value, json};

use crate::wire::{
    ContentType, Item,
    interactive::InteractiveResponse,
    item::{Attachment as WireAttachment, AuthenticationContent},
};

/// Type of the event that a custom notice becomes: no client knows it, so it is there for who looks, and shown by nobody.
pub(super) const NOTICE: &str = "application/vnd.amazonaws.connect.event.notice";

/// What an item says, before it has an id, a time and a sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) kind: &'static str,
    pub(super) content_type: Option<String>,
    pub(super) content: Option<String>,
    pub(super) attachments: Option<Vec<WireAttachment<'static>>>,
}

fn message(content_type: ContentType<'_>, content: impl Into<String>) -> Draft {
    Draft {
        kind: Item::MESSAGE,
        content_type: Some(content_type.as_str().to_owned()),
        content: Some(content.into()),
        attachments: None,
    }
}

fn event(content_type: ContentType<'_>, content: Option<String>) -> Draft {
    Draft {
        kind: Item::EVENT,
        content_type: Some(content_type.as_str().to_owned()),
        content,
        attachments: None,
    }
}

fn files<'a>(files: impl IntoIterator<Item = &'a Attachment>) -> Draft {
    let attachments = files.into_iter().map(|file| WireAttachment {
        attachment_id: Some(Cow::Owned(file.id.as_str().to_owned())),
        attachment_name: Some(Cow::Owned(file.name.to_string())),
        content_type: Some(Cow::Owned(file.content_type.to_string())),
        status: Some(Cow::Borrowed(match file.status {
            AttachmentStatus::InProgress => "IN_PROGRESS",
            AttachmentStatus::Approved => "APPROVED",
            // The service knows no deletion; a file that cannot be fetched is a rejected one.
            _ => "REJECTED",
        })),
    });
    Draft {
        kind: Item::ATTACHMENT,
        content_type: None,
        content: None,
        attachments: Some(attachments.collect()),
    }
}

/// What `content` is on the wire.
pub(super) fn draft(content: &Content) -> Draft {
    match content {
        Content::Text(text) => message(content_type(&text.format), &*text.body),
        Content::Files(list) => files(list),
        Content::Interactive(interactive) => message(ContentType::Interactive, template(interactive)),
        Content::Event(happened) => system_event(happened),
        Content::PushUrl(url) => message(ContentType::Plain, &**url),
        Content::Notice(text) => event(ContentType::Unknown(NOTICE), Some(text.to_string())),
        Content::Other(raw) => other(raw),
        _ => event(ContentType::Unknown("application/octet-stream"), None),
    }
}

/// A raw item of this very vendor stays what it is; another vendor's becomes an event that carries it.
fn other(raw: &RawEvent) -> Draft {
    if let Some(item) = Item::decode(&raw.body)
        && item.content_type.as_deref().is_some_and(|own| own == &*raw.kind)
    {
        let kind = if item.kind.as_deref() == Some(Item::MESSAGE) { Item::MESSAGE } else { Item::EVENT };
        return Draft {
            kind,
            content_type: item.content_type.map(Cow::into_owned),
            content: item.content.map(Cow::into_owned),
            attachments: None,
        };
    }
    let kind = if raw.kind.is_empty() { "application/octet-stream" } else { &raw.kind };
    event(ContentType::Unknown(kind), Some(raw.body.to_string()))
}

fn content_type(format: &TextFormat) -> ContentType<'_> {
    match format {
        TextFormat::Plain => ContentType::Plain,
        TextFormat::Markdown => ContentType::Markdown,
        TextFormat::Json => ContentType::Json,
        TextFormat::InteractiveResponse | TextFormat::PageTurn => ContentType::InteractiveResponse,
        TextFormat::Other(other) => ContentType::Unknown(other),
        _ => ContentType::Plain,
    }
}

/// The core's name for the content type of a message.
pub(super) fn format(content_type: &str) -> TextFormat {
    match ContentType::from(content_type) {
        ContentType::Plain => TextFormat::Plain,
        ContentType::Markdown => TextFormat::Markdown,
        ContentType::Json => TextFormat::Json,
        ContentType::InteractiveResponse => TextFormat::InteractiveResponse,
        other => TextFormat::Other(other.as_str().into()),
    }
}

/// A message as the core has it.
pub(super) fn text(content_type: &str, content: String) -> Text {
    let format = match format(content_type) {
        TextFormat::InteractiveResponse => InteractiveResponse::format_of(&content),
        format => format,
    };
    Text { body: content.into(), format }
}

/// The vendor's own JSON if it is that; else the nearest template.
fn template(interactive: &Interactive) -> String {
    let raw = serde_json::from_str::<Value>(&interactive.raw);
    if raw.is_ok_and(|raw| raw.get("templateType").is_some_and(Value::is_string)) {
        return interactive.raw.to_string();
    }
    let elements: Vec<Value> = interactive
        .choices
        .iter()
        .map(|choice| {
            let mut element = json!({"title": &*choice.title});
            if let Some(subtitle) = &choice.subtitle {
                element["subtitle"] = json!(&**subtitle);
            }
            if let Some(image) = &choice.image {
                element["imageType"] = json!("URL");
                element["imageData"] = json!(&**image);
            }
            element
        })
        .collect();
    let mut content = json!({"title": interactive.title.as_deref().unwrap_or(""), "elements": elements});
    if let Some(subtitle) = &interactive.subtitle {
        content["subtitle"] = json!(&**subtitle);
    }
    if let Some(image) = &interactive.image {
        content["imageType"] = json!("URL");
        content["imageData"] = json!(&**image);
    }
    if let Some(reference) = &interactive.reference {
        content["referenceId"] = json!(&**reference);
    }
    json!({"templateType": "ListPicker", "version": "1.0", "data": {"content": content}}).to_string()
}

pub(super) fn system_event(happened: &SystemEvent) -> Draft {
    let content_type = match happened {
        SystemEvent::Joined => ContentType::ParticipantJoined,
        SystemEvent::Left => ContentType::ParticipantLeft,
        SystemEvent::Invited => ContentType::ParticipantInvited,
        SystemEvent::Idle => ContentType::ParticipantIdle,
        SystemEvent::Returned => ContentType::ParticipantReturned,
        SystemEvent::AutoDisconnected => ContentType::ParticipantAutoDisconnection,
        SystemEvent::Active => ContentType::ParticipantActive,
        SystemEvent::Inactive => ContentType::ParticipantInactive,
        SystemEvent::NameUpdated => ContentType::DisplayNameUpdated,
        SystemEvent::Typing => ContentType::Typing,
        SystemEvent::TransferSucceeded => ContentType::TransferSucceeded,
        SystemEvent::TransferFailed => ContentType::TransferFailed,
        SystemEvent::Ended => ContentType::ChatEnded,
        SystemEvent::Rehydrated => ContentType::ChatRehydrated,
        SystemEvent::ConnectionAcknowledged => ContentType::ConnectionAcknowledged,
        SystemEvent::WorkflowCancelled => ContentType::WorkflowCancelled,
        SystemEvent::Authentication { phase, session } => {
            let content_type = match phase {
                AuthenticationPhase::Initiated => ContentType::AuthenticationInitiated,
                AuthenticationPhase::Succeeded => ContentType::AuthenticationSucceeded,
                AuthenticationPhase::Failed => ContentType::AuthenticationFailed,
                AuthenticationPhase::TimedOut => ContentType::AuthenticationTimeout,
                AuthenticationPhase::Expired => ContentType::AuthenticationExpired,
                _ => ContentType::AuthenticationCancelled,
            };
            let content = session.as_deref().map(|session| {
                let content = AuthenticationContent { session_id: Some(Cow::Borrowed(session)) };
                serde_json::to_string(&content).expect("a text always serialises")
            });
            return event(content_type, content);
        }
        _ => ContentType::Unknown("application/vnd.amazonaws.connect.event.unknown"),
    };
    event(content_type, None)
}

/// The role as the service names it. A bot that answers in chunks is one of the flow's (§8.8); other bots are custom ones.
pub(super) fn role(role: &Role, in_chunks: bool) -> String {
    match role {
        Role::Customer => "CUSTOMER",
        Role::Agent => "AGENT",
        Role::Supervisor => "SUPERVISOR",
        Role::Bot if in_chunks => "SYSTEM",
        Role::Bot => "CUSTOM_BOT",
        Role::System | Role::External => "SYSTEM",
        Role::Other(other) => other,
        _ => "SYSTEM",
    }
    .to_owned()
}

/// The name to show: the vendor's own for those who have none (§8.1).
pub(super) fn name(who: &Participant) -> String {
    match (&who.name, &who.role) {
        (Some(name), _) => name.to_string(),
        (None, Role::Bot) => "BOT".to_owned(),
        (None, Role::Agent | Role::Supervisor) => "Agent".to_owned(),
        (None, Role::Customer) => "Customer".to_owned(),
        (None, _) => "SYSTEM_MESSAGE".to_owned(),
    }
}
