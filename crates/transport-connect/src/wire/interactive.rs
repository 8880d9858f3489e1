//! Owns interactive messages: the templates to choose from and the answers to them. Source: §12.1, §12.2.
//!
//! Both are JSON inside the item's `Content`. Reading is lenient; the whole value stays readable beside what is typed.

use chat_core::TextFormat;
use serde_json::{Map, Value, json};

/// An interactive message.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Interactive {
    /// What to choose from.
    pub template: Template,
    /// What to show once the customer has chosen.
    pub reply: Option<Reply>,
    /// A later message with the same reference replaces this one.
    pub reference_id: Option<String>,
    /// Where in a long list this is.
    pub paging: Option<Paging>,
    /// Of an element of a carousel.
    pub template_identifier: Option<String>,
    /// The whole message as it came.
    pub raw: Value,
}

/// What to choose from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Template {
    /// A list with pictures, 1–6 elements.
    ListPicker(Choice),
    /// Buttons, 1–10 elements.
    Panel(Choice),
    /// Suggestions above the composer.
    QuickReply(Choice),
    /// Times to book.
    TimePicker(TimePicker),
    /// Several list pickers or panels side by side, 2–5.
    Carousel {
        /// Above them.
        title: Option<String>,
        /// Each a whole message.
        elements: Vec<Interactive>,
    },
    /// A step of a guide: ask `DescribeView` what to show.
    View(ViewResource),
    /// A template that this library does not know: read [`Interactive::raw`].
    Unknown(Option<String>),
}

/// Head and elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// What to show above the elements.
    pub head: Element,
    /// What to choose from.
    pub elements: Vec<Element>,
}

/// Texts and a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Element {
    /// Text; choosing an element sends it.
    pub title: Option<String>,
    /// Smaller text.
    pub subtitle: Option<String>,
    /// URL of a picture.
    pub image_data: Option<String>,
    /// What the picture shows.
    pub image_description: Option<String>,
    /// `SHOW_MORE` or `PREVIOUS_OPTIONS`: choosing asks for another part of the list.
    pub action_detail: Option<String>,
}

/// Times to book.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TimePicker {
    /// What to show above the times.
    pub head: Element,
    /// In minutes.
    pub time_zone_offset: Option<i64>,
    /// Where.
    pub location: Option<Value>,
    /// What to choose from.
    pub timeslots: Vec<Timeslot>,
}

/// One time to book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeslot {
    /// As `2026-06-01T17:00+00:00`; choosing sends it.
    pub date: Option<String>,
    /// In minutes.
    pub duration: Option<u64>,
}

/// A step of a guide.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ViewResource {
    /// The view.
    pub id: Option<String>,
    /// For `DescribeView`.
    pub token: Option<String>,
    /// Input data, with JSON text inside it unwrapped.
    pub data: Option<Value>,
}

/// What to show once the customer has chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// Text.
    pub title: Option<String>,
    /// Smaller text.
    pub subtitle: Option<String>,
}

/// Where in a long list a message is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paging {
    /// The list.
    pub list_id: Option<String>,
    /// -1 = none.
    pub previous: Option<i64>,
    /// -1 = none.
    pub next: Option<i64>,
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter(|element| element.is_object())
}

/// JSON text inside JSON, and JSON text inside that.
fn unwrapped(value: &Value) -> Value {
    let inner = match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => inner,
            _ => return value.clone(),
        },
        other => other.clone(),
    };
    match inner {
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, member)| (name, one_level(member))).collect())
        }
        other => other,
    }
}

fn one_level(value: Value) -> Value {
    match &value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => inner,
            _ => value,
        },
        _ => value,
    }
}

impl Element {
    fn read(value: &Value) -> Self {
        Self {
            title: text(value, "title"),
            subtitle: text(value, "subtitle"),
            image_data: text(value, "imageData"),
            image_description: text(value, "imageDescription"),
            action_detail: text(value, "actionDetail"),
        }
    }
}

impl Choice {
    fn read(content: &Value) -> Self {
        Self {
            head: Element::read(content),
            elements: list(content, "elements").map(Element::read).collect(),
        }
    }
}

/// How deep messages may stand in one another; the vendor goes to two.
const MAX_DEPTH: u8 = 4;

impl Interactive {
    /// Reads an item's `Content`. `None` if it is no JSON object.
    pub fn decode(content: &str) -> Option<Self> {
        let raw: Value = serde_json::from_str(content).ok()?;
        raw.is_object().then(|| Self::read(raw, 0))
    }

    fn read(raw: Value, depth: u8) -> Self {
        let none = Value::Null;
        let data = raw.get("data").unwrap_or(&none);
        let content = data.get("content").unwrap_or(&none);
        let kind = text(&raw, "templateType");
        let template = match kind.as_deref() {
            Some("ListPicker") => Template::ListPicker(Choice::read(content)),
            Some("Panel") => Template::Panel(Choice::read(content)),
            Some("QuickReply") => Template::QuickReply(Choice::read(content)),
            Some("TimePicker") => Template::TimePicker(TimePicker {
                head: Element::read(content),
                time_zone_offset: content.get("timeZoneOffset").and_then(Value::as_i64),
                location: content.get("location").cloned(),
                timeslots: list(content, "timeslots")
                    .map(|slot| Timeslot {
                        date: text(slot, "date"),
                        duration: slot.get("duration").and_then(Value::as_u64),
                    })
                    .collect(),
            }),
            Some("Carousel") if depth < MAX_DEPTH => Template::Carousel {
                title: text(content, "title"),
                elements: list(content, "elements")
                    .map(|element| Self::read(element.clone(), depth + 1))
                    .collect(),
            },
            Some("ViewResource") => Template::View(ViewResource {
                id: text(content, "viewId"),
                token: text(content, "viewToken"),
                data: content.get("viewData").map(unwrapped),
            }),
            _ => Template::Unknown(kind),
        };
        let reply = data
            .get("replyMessage")
            .filter(|reply| reply.is_object())
            .map(|reply| Reply { title: text(reply, "title"), subtitle: text(reply, "subtitle") });
        let paging = content.get("listId").map(|_| Paging {
            list_id: text(content, "listId"),
            previous: content.get("preIndex").and_then(Value::as_i64),
            next: content.get("nextIndex").and_then(Value::as_i64),
        });
        Self {
            template,
            reply,
            reference_id: text(content, "referenceId"),
            paging,
            template_identifier: text(&raw, "templateIdentifier"),
            raw,
        }
    }
}

/// An interactive response.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct InteractiveResponse {
    /// `SHOW_MORE`, `PREVIOUS_OPTIONS`, or an action of a view; one space for free text while a view waits.
    pub action: Option<String>,
    /// `ViewResource` for views.
    pub template_type: Option<String>,
    /// The details.
    pub data: Map<String, Value>,
}

impl InteractiveResponse {
    /// Reads an item's `Content`. `None` if it is no JSON object.
    pub fn decode(content: &str) -> Option<Self> {
        let raw: Value = serde_json::from_str(content).ok()?;
        raw.is_object().then(|| Self {
            action: text(&raw, "action"),
            template_type: text(&raw, "templateType"),
            data: raw.get("data").and_then(Value::as_object).cloned().unwrap_or_default(),
        })
    }

    /// Asks for another part of a long list.
    pub fn page(action: &str, template_type: &str, paging: &Paging, reference_id: Option<&str>) -> Self {
        let data = json!({
            "actionName": action,
            "preIndex": paging.previous,
            "nextIndex": paging.next,
            "listId": paging.list_id,
            "templateType": template_type,
            "referenceId": reference_id,
        });
        let Value::Object(data) = data else { unreachable!("an object was written above") };
        Self { action: Some(action.to_owned()), template_type: None, data }
    }

    /// Chooses an action of a view.
    pub fn view(action: &str, data: Map<String, Value>) -> Self {
        Self { action: Some(action.to_owned()), template_type: Some("ViewResource".to_owned()), data }
    }

    /// Whether this only turns pages: such a response is not shown.
    pub fn is_paging(&self) -> bool {
        self.data.contains_key("actionName")
    }

    /// The core's name for a response with this `Content`.
    pub fn format_of(content: &str) -> TextFormat {
        match Self::decode(content) {
            Some(response) if response.is_paging() => TextFormat::PageTurn,
            _ => TextFormat::InteractiveResponse,
        }
    }

    /// The `Content` to send.
    pub fn encode(&self) -> String {
        let mut out = json!({"version": "1.0", "data": self.data});
        if let Some(template_type) = &self.template_type {
            out["templateType"] = json!(template_type);
        }
        if let Some(action) = &self.action {
            out["action"] = json!(action);
        }
        out.to_string()
    }
}
