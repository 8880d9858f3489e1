//! Owns the way from interactive templates to questions with ready-made replies. Source: §12.

use std::sync::Arc;

use chat_core::{Choice, Interactive, Text, TextFormat, ViewReference};
use serde_json::json;

use crate::wire::interactive::{self as wire, Element, InteractiveResponse, Template};

/// Reads an item's `Content`. `None` for what is no template known here: it stays readable as it came.
pub(super) fn read(content: &str) -> Option<Interactive> {
    let message = wire::Interactive::decode(content)?;
    question(&message, None, content.into())
}

/// The carousel that a question stands in: its choices answer with it.
#[derive(Clone, Copy)]
struct Inside;

fn question(message: &wire::Interactive, inside: Option<Inside>, raw: Arc<str>) -> Option<Interactive> {
    let mut out = Interactive {
        template: "".into(),
        title: None,
        subtitle: None,
        image: None,
        choices: Vec::new(),
        parts: Vec::new(),
        view: None,
        reference: shared(&message.reference_id),
        raw,
    };
    let mut pick = |name: &'static str, list: &wire::Choice| {
        head(&mut out, name, &list.head);
        out.choices =
            list.elements.iter().filter_map(|element| choice(message, name, list, element, inside)).collect();
    };
    match &message.template {
        Template::ListPicker(list) => pick("ListPicker", list),
        Template::Panel(list) => pick("Panel", list),
        Template::QuickReply(list) => pick("QuickReply", list),
        Template::TimePicker(picker) => {
            head(&mut out, "TimePicker", &picker.head);
            out.choices = picker
                .timeslots
                .iter()
                .filter_map(|slot| {
                    let date: Arc<str> = slot.date.as_deref()?.into();
                    Some(Choice {
                        title: Arc::clone(&date),
                        subtitle: slot.duration.map(|minutes| format!("{minutes} min").into()),
                        image: None,
                        reply: Text::plain(date),
                    })
                })
                .collect();
        }
        Template::Carousel { title, elements } => {
            out.template = "Carousel".into();
            out.title = shared(title);
            out.parts = elements
                .iter()
                .filter_map(|element| question(element, Some(Inside), element.raw.to_string().into()))
                .collect();
        }
        Template::View(view) => {
            out.template = "ViewResource".into();
            out.view = Some(ViewReference {
                token: view.token.as_deref()?.into(),
                id: shared(&view.id),
                data: view.data.as_ref().map(|data| data.to_string().into()),
            });
        }
        Template::Unknown(_) => return None,
    }
    Some(out)
}

fn head(out: &mut Interactive, name: &'static str, head: &Element) {
    out.template = name.into();
    out.title = shared(&head.title);
    out.subtitle = shared(&head.subtitle);
    out.image = shared(&head.image_data);
}

fn shared(text: &Option<String>) -> Option<Arc<str>> {
    text.as_deref().map(Arc::from)
}

fn choice(
    message: &wire::Interactive,
    template: &'static str,
    list: &wire::Choice,
    element: &Element,
    inside: Option<Inside>,
) -> Option<Choice> {
    let title: Arc<str> = element.title.as_deref()?.into();
    let reply = match (&element.action_detail, &message.paging, inside) {
        (Some(action), Some(paging), _) => Text {
            body: InteractiveResponse::page(action, template, paging, message.reference_id.as_deref())
                .encode()
                .into(),
            format: TextFormat::PageTurn,
        },
        (_, _, Some(Inside)) => Text::plain(
            json!({
                "listTitle": list.head.title,
                "selectionText": title,
                "templateIdentifier": message.template_identifier,
            })
            .to_string(),
        ),
        _ => Text::plain(Arc::clone(&title)),
    };
    Some(Choice { title, subtitle: shared(&element.subtitle), image: shared(&element.image_data), reply })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_brings_its_reply() {
        let list = read(
            r#"{"templateType":"ListPicker","version":"1.0","data":{"content":{"title":"What?","subtitle":"One",
                "elements":[{"title":"Delivery","subtitle":"by post"},{"title":"More","actionDetail":"SHOW_MORE"}],
                "listId":"topics","referenceId":"ref","preIndex":-1,"nextIndex":2}}}"#,
        )
        .unwrap();
        assert_eq!(list.title.as_deref(), Some("What?"));
        assert_eq!(list.reference.as_deref(), Some("ref"));
        assert_eq!(list.choices[0].reply, Text::plain("Delivery"));
        assert_eq!(list.choices[0].subtitle.as_deref(), Some("by post"));
        let more = &list.choices[1].reply;
        assert_eq!(more.format, TextFormat::PageTurn);
        let more: serde_json::Value = serde_json::from_str(&more.body).unwrap();
        assert_eq!(
            more,
            json!({"version": "1.0", "action": "SHOW_MORE", "data": {"actionName": "SHOW_MORE", "preIndex": -1,
                "nextIndex": 2, "listId": "topics", "templateType": "ListPicker", "referenceId": "ref"}})
        );
    }

    #[test]
    fn a_time_is_answered_by_its_date_and_a_carousel_by_a_description() {
        let times = read(
            r#"{"templateType":"TimePicker","data":{"content":{"title":"When?",
                "timeslots":[{"date":"2026-06-01T09:00+00:00","duration":30}]}}}"#,
        )
        .unwrap();
        assert_eq!(times.choices[0].reply, Text::plain("2026-06-01T09:00+00:00"));

        let carousel = read(
            r#"{"templateType":"Carousel","data":{"content":{"title":"Trips","elements":[
                {"templateIdentifier":"t0","templateType":"Panel","data":{"content":{"title":"Sea",
                 "elements":[{"title":"Book"}]}}}]}}}"#,
        )
        .unwrap();
        assert_eq!(carousel.title.as_deref(), Some("Trips"));
        let reply: serde_json::Value =
            serde_json::from_str(&carousel.parts[0].choices[0].reply.body).unwrap();
        assert_eq!(reply, json!({"listTitle": "Sea", "selectionText": "Book", "templateIdentifier": "t0"}));
    }

    #[test]
    fn what_is_not_known_is_left_to_the_reader() {
        assert_eq!(read(r#"{"templateType":"Hologram","data":{}}"#), None);
        assert_eq!(read("no json"), None);
        assert_eq!(read(r#"{"templateType":"ViewResource","data":{"content":{"viewId":"x"}}}"#), None);
    }
}
