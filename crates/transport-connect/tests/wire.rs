//! The shapes against the samples: everything decodes, re-encodes to the same JSON, and survives any damage.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use transport_connect::wire::{
    ContentType, Frame, Item,
    control::StartChatContactRequest,
    decode_frame,
    errors::{ErrorAnswer, ErrorType},
    interactive::{Interactive, InteractiveResponse, Template},
    item::{AuthenticationContent, ReceiptContent},
    participant::*,
    start_chat::{AnswerShape, Attributes, Casing, StartChatAnswer, StartChatError, StartChatRequest},
};

fn sample(name: &str) -> Value {
    let text = match name {
        "01" => include_str!("samples/01-start-chat-proxy.json"),
        "02" => include_str!("samples/02-create-participant-connection.json"),
        "03" => include_str!("samples/03-send.json"),
        "04" => include_str!("samples/04-get-transcript.json"),
        "05" => include_str!("samples/05-attachments.json"),
        "06" => include_str!("samples/06-views-and-authentication.json"),
        "07" => include_str!("samples/07-errors.json"),
        "10" => include_str!("samples/10-socket-items.json"),
        "11" => include_str!("samples/11-transcript-items.json"),
        "12" => include_str!("samples/12-streamed-bot-answer.json"),
        "13" => include_str!("samples/13-control-frames.json"),
        "14" => include_str!("samples/14-stored-transcript-file.json"),
        other => panic!("no sample {other}"),
    };
    serde_json::from_str(text).unwrap()
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Every item of the samples, with its name.
fn items() -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for (name, socket) in sample("10").as_object().unwrap() {
        out.push((format!("socket {name}"), socket["item"].clone()));
    }
    for (name, item) in sample("11").as_object().unwrap() {
        out.push((format!("transcript {name}"), item.clone()));
    }
    for chunk in sample("12")["chunks"].as_array().unwrap() {
        out.push(("chunk".to_owned(), chunk.clone()));
    }
    for item in sample("14")["Transcript"].as_array().unwrap() {
        out.push(("stored".to_owned(), item.clone()));
    }
    out
}

#[test]
fn every_item_decodes_and_encodes_to_the_same() {
    for (name, item) in items() {
        let text = item.to_string();
        let decoded = Item::decode(&text).unwrap();
        assert_eq!(to_json(&decoded), item, "{name}");
    }
}

#[test]
fn every_socket_frame_decodes_and_encodes_to_the_same() {
    for (name, socket) in sample("10").as_object().unwrap() {
        let text = socket["frame"].as_str().unwrap();
        let frame = decode_frame(text);
        let Frame::Chat(item) = &frame else { panic!("{name}: {frame:?}") };
        assert_eq!(to_json(&Item::decode(item).unwrap()), socket["item"], "{name}");
        let again: Value = serde_json::from_str(&frame.encode()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap(), "{name}");
    }
}

#[test]
fn only_the_unknown_types_of_the_samples_are_unknown() {
    for (name, item) in items() {
        let text = item.to_string();
        let item = Item::decode(&text).unwrap();
        if let Some(ContentType::Unknown(other)) = item.content_type() {
            assert!(name.contains("unknown") || name.contains("attachment"), "{name}: {other}");
        }
    }
    for known in ContentType::KNOWN {
        assert_eq!(ContentType::from(known.as_str()), *known);
    }
}

#[test]
fn control_frames_decode_and_encode_to_the_same() {
    let frames = sample("13");
    let mut seen = Vec::new();
    for group in ["client-opens", "server-answers"] {
        for text in frames[group].as_array().unwrap() {
            let text = text.as_str().unwrap();
            let frame = decode_frame(text);
            assert_eq!(
                serde_json::from_str::<Value>(&frame.encode()).unwrap(),
                serde_json::from_str::<Value>(text).unwrap()
            );
            seen.push(match frame {
                Frame::Subscribe { status, topics } => format!("subscribe {status:?} {topics:?}"),
                Frame::Ping { status } => format!("ping {status:?}"),
                Frame::Heartbeat => "heartbeat".to_owned(),
                other => panic!("{other:?}"),
            });
        }
    }
    assert_eq!(
        seen,
        [
            r#"subscribe None ["aws/chat"]"#,
            "ping None",
            "heartbeat",
            r#"subscribe Some("success") ["aws/chat"]"#,
            "ping Some(200)",
            "heartbeat"
        ]
    );
    let refused = decode_frame(frames["subscribe-refused"].as_str().unwrap());
    assert!(matches!(refused, Frame::Subscribe { status: Some(status), .. } if status == "failure"));
    assert_eq!(decode_frame(frames["ping-failed"].as_str().unwrap()), Frame::Ping { status: Some(500) });
    let gateway = decode_frame(frames["gateway-error"].as_str().unwrap());
    assert!(
        matches!(gateway, Frame::GatewayError { message, request_id: Some(_) } if message == "Forbidden")
    );
}

#[test]
fn unusual_frames_are_still_something() {
    assert_eq!(decode_frame(" \n"), Frame::Empty);
    assert_eq!(decode_frame("nonsense"), Frame::Other("nonsense"));
    assert_eq!(decode_frame("[1]"), Frame::Other("[1]"));
    assert_eq!(decode_frame("{}"), Frame::Other("{}"));
    let other = r#"{"topic":"lily/agent","content":{"x":1}}"#;
    assert_eq!(decode_frame(other), Frame::OtherTopic { topic: "lily/agent".into(), raw: other });
    // Spaces, another order, and an item that was encoded once only.
    assert_eq!(
        decode_frame(r#"{ "content" : { "Id" : "1" } , "topic" : "aws/chat" }"#),
        Frame::Chat(r#"{ "Id" : "1" }"#.into())
    );
    let nothing = r#"{"topic":"aws/chat","content":7}"#;
    assert_eq!(decode_frame(nothing), Frame::OtherTopic { topic: "aws/chat".into(), raw: nothing });
    // A depth that a recursive reader does not survive.
    let deep = format!(r#"{{"topic":"x","content":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(decode_frame(&deep), Frame::OtherTopic { .. }));
}

#[test]
fn a_member_that_does_not_fit_does_not_cost_the_item() {
    let item =
        Item::decode(r#"{"Id":"1","Content":"caf\u00e9 \ud83d!","AbsoluteTime":1e999,"X":[{"y":1e999}]}"#)
            .unwrap();
    assert_eq!(item.id.as_deref(), Some("1"));
    assert_eq!(item.content.as_deref(), Some("café \u{fffd}\u{fffd}\u{fffd}!"));
    assert_eq!(item.absolute_time, None);

    let item = Item::decode(r#"{"Id":"1","Attachments":[7,{"AttachmentId":"a","Status":{}},null]}"#).unwrap();
    let attachments = item.attachments.unwrap();
    assert_eq!(attachments.len(), 1);
    assert_eq!((attachments[0].attachment_id.as_deref(), &attachments[0].status), (Some("a"), &None));
    assert_eq!(Item::decode("[]"), None);
    assert_eq!(Item::decode(r#"{"Id":"1"} x"#), None);
}

#[test]
fn plain_items_are_read_without_copies() {
    let text = r#"{"Id":"1","Content":"Hello","ContentType":"text/plain","Type":"MESSAGE"}"#;
    let item = Item::decode(text).unwrap();
    for member in [item.id, item.content, item.content_type, item.kind] {
        assert!(matches!(member, Some(std::borrow::Cow::Borrowed(_))));
    }
}

/// Each member dropped, null, of each wrong type, of an unknown value; at the top and one level down.
#[test]
fn every_item_survives_the_loss_of_every_member() {
    let wrong = [
        json!(null),
        json!(7),
        json!(-7.5),
        json!(true),
        json!("something unknown"),
        json!([]),
        json!([1]),
        json!({}),
        json!({"a": {}}),
        json!(""),
    ];
    for (name, item) in items() {
        let members: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
        for member in &members {
            let mut damaged = vec![item.clone()];
            damaged[0].as_object_mut().unwrap().remove(member);
            for value in &wrong {
                let mut one = item.clone();
                one[member.as_str()] = value.clone();
                damaged.push(one);
                if let Some(Value::Object(inner)) = item.get(member) {
                    for key in inner.keys() {
                        let mut one = item.clone();
                        one[member.as_str()][key.as_str()] = value.clone();
                        damaged.push(one);
                    }
                }
                if let Some(Value::Array(inner)) = item.get(member) {
                    for key in inner[0].as_object().unwrap().keys() {
                        let mut one = item.clone();
                        one[member.as_str()][0][key.as_str()] = value.clone();
                        damaged.push(one);
                    }
                }
            }
            for one in damaged {
                let text = one.to_string();
                let decoded = Item::decode(&text).unwrap_or_else(|| panic!("{name}: {text}"));
                let encoded = to_json(&decoded);
                for other in members.iter().filter(|other| *other != member) {
                    assert_eq!(encoded[other], item[other], "{name}: {member} cost {other}");
                }
                let frame = Frame::Chat(text.clone().into()).encode();
                assert_eq!(decode_frame(&frame), Frame::Chat(text.into()), "{name}");
            }
        }
    }
}

fn operations() -> Vec<Value> {
    ["02", "03", "04", "05", "06"].iter().flat_map(|name| sample(name).as_array().unwrap().clone()).collect()
}

fn check_request<T: Serialize + DeserializeOwned>(request: &Value) {
    let typed: T = serde_json::from_value(request.clone()).unwrap();
    let mut expected = request.clone();
    // `StartPosition: {}` stays as it is; nothing else may differ.
    assert_eq!(to_json(&typed), expected.take());
}

#[test]
fn requests_and_answers_decode_and_encode_to_the_same() {
    let mut checked = 0;
    for sample in operations() {
        let (request, answer) = (&sample["request"]["body"], &sample["response"]["body"]);
        let text = answer.to_string();
        let again = match sample["operation"].as_str().unwrap() {
            "CreateParticipantConnection" => {
                check_request::<CreateParticipantConnectionRequest>(request);
                to_json(&CreateParticipantConnectionAnswer::decode(&text).unwrap())
            }
            "SendMessage" => {
                check_request::<SendMessageRequest>(request);
                to_json(&SendAnswer::decode(&text).unwrap())
            }
            "SendEvent" => {
                check_request::<SendEventRequest>(request);
                to_json(&SendAnswer::decode(&text).unwrap())
            }
            "GetTranscript" => {
                check_request::<GetTranscriptRequest>(request);
                to_json(&GetTranscriptAnswer::decode(&text).unwrap())
            }
            "DisconnectParticipant" => {
                check_request::<DisconnectParticipantRequest>(request);
                json!({})
            }
            "StartAttachmentUpload" => {
                check_request::<StartAttachmentUploadRequest>(request);
                to_json(&StartAttachmentUploadAnswer::decode(&text).unwrap())
            }
            "CompleteAttachmentUpload" => {
                check_request::<CompleteAttachmentUploadRequest>(request);
                json!({})
            }
            "GetAttachment" => {
                check_request::<GetAttachmentRequest>(request);
                to_json(&GetAttachmentAnswer::decode(&text).unwrap())
            }
            "DescribeView" => to_json(&DescribeViewAnswer::decode(&text).unwrap()),
            "GetAuthenticationUrl" => {
                check_request::<GetAuthenticationUrlRequest>(request);
                to_json(&GetAuthenticationUrlAnswer::decode(&text).unwrap())
            }
            "CancelParticipantAuthentication" => {
                check_request::<CancelParticipantAuthenticationRequest>(request);
                json!({})
            }
            "store" => continue,
            other => panic!("{other}"),
        };
        assert_eq!(again, *answer, "{}", sample["operation"]);
        checked += 1;
    }
    assert!(checked >= 16, "{checked}");
}

#[test]
fn requests_are_read_strictly_and_null_is_absent() {
    assert!(serde_json::from_str::<SendMessageRequest>(r#"{"Content":7}"#).is_err());
    assert!(serde_json::from_str::<CreateParticipantConnectionRequest>(r#"{"Type":["TELEPATHY"]}"#).is_err());
    assert!(serde_json::from_str::<GetTranscriptRequest>(r#"{"SortOrder":"sideways"}"#).is_err());
    let request: SendMessageRequest = serde_json::from_str(r#"{"Content":null,"Unknown":1}"#).unwrap();
    assert_eq!(request, SendMessageRequest::default());
}

#[test]
fn tokens_and_urls_do_not_show_in_debug() {
    for (sample, secrets) in [(sample("02"), ["3f6c", "CT."]), (sample("05"), ["bucket", "X-Amz"])] {
        for operation in sample.as_array().unwrap() {
            let text = operation["response"]["body"].to_string();
            let shown = format!(
                "{:?}{:?}{:?}",
                CreateParticipantConnectionAnswer::decode(&text),
                StartAttachmentUploadAnswer::decode(&text),
                GetAttachmentAnswer::decode(&text)
            );
            assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
        }
    }
}

#[test]
fn a_start_chat_answer_is_found_in_every_shape_and_casing() {
    let samples = sample("01");
    let request: StartChatRequest = serde_json::from_value(samples["request"]["body"].clone()).unwrap();
    assert_eq!(to_json(&request), samples["request"]["body"]);
    for shape in ["response-widget-shape", "response-flat-shape"] {
        let found = StartChatAnswer::find(&samples[shape]["body"]).unwrap();
        assert_eq!(found.contact_id, "6513270e-269e-4d37-a2a7-4de452e6b438");
        for shape in [AnswerShape::Widget, AnswerShape::Flat, AnswerShape::BareData] {
            for casing in [Casing::Pascal, Casing::Camel] {
                let body = found.to_body(shape, casing);
                let again = StartChatAnswer::find(&body).unwrap();
                assert_eq!(again.participant_token, found.participant_token);
                assert_eq!(again.participant_id, found.participant_id, "{body}");
            }
        }
    }
    let widget = StartChatAnswer::find(&samples["response-widget-shape"]["body"]).unwrap();
    assert_eq!(widget.to_body(AnswerShape::Widget, Casing::Pascal), samples["response-widget-shape"]["body"]);
    assert_eq!(widget.feature_permissions.get("ATTACHMENTS"), Some(&true));
    assert!(StartChatAnswer::find(&json!({"data": {"startChatResult": {"ContactId": "c"}}})).is_none());
    assert!(StartChatAnswer::find(&json!("<html>")).is_none());
}

#[test]
fn attributes_come_as_a_map_or_as_text() {
    let map: StartChatRequest = serde_json::from_str(r#"{"Attributes":{"a":"b"}}"#).unwrap();
    let text: StartChatRequest = serde_json::from_str(r#"{"Attributes":"{\"a\":\"b\"}"}"#).unwrap();
    assert!(matches!(text.attributes, Some(Attributes::Text(_))));
    assert_eq!(map.attributes.unwrap().to_map(), text.attributes.unwrap().to_map());
    assert_eq!(Attributes::Text("nonsense".into()).to_map(), None);
}

#[test]
fn a_start_chat_error_is_found() {
    let body = &sample("01")["response-error"]["body"];
    let error = StartChatError::find(body);
    assert_eq!(error.code.as_deref(), Some("LimitExceededException"));
    assert_eq!((error.status, error.message.as_deref()), (Some(429), Some("Active chat quota exceeded")));
    assert_eq!(error.to_body(), *body);
    assert_eq!(StartChatError::find(&json!({"error": "no"})).message.as_deref(), Some("no"));
    assert_eq!(StartChatError::find(&json!(7)), StartChatError::default());
}

#[test]
fn errors_have_a_type_from_the_header_or_the_body_or_none() {
    for sample in sample("07").as_array().unwrap() {
        let answer = &sample["response"];
        let header = answer["headers"]["x-amzn-errortype"].as_str();
        let error = ErrorAnswer::read(header, &answer["body"].to_string());
        assert!(error.message.is_some());
        match error.kind {
            Some(kind) => {
                assert_eq!(Some(kind.as_str()), header);
                assert_eq!(kind.status().map(u64::from), answer["status"].as_u64());
            }
            None => assert_eq!(error.message.as_deref(), Some("Forbidden")),
        }
    }
    assert_eq!(ErrorType::parse("com.amazon#ValidationException:http://x/"), ErrorType::Validation);
    assert_eq!(ErrorType::parse("New"), ErrorType::Other("New".into()));
    assert_eq!(
        ErrorAnswer::read(None, r#"{"__type":"x#ThrottlingException"}"#).kind,
        Some(ErrorType::Throttling)
    );
    assert_eq!(ErrorAnswer::read(None, "<html>"), ErrorAnswer::default());
}

#[test]
fn interactive_messages_are_typed_and_unknown_ones_readable() {
    let mut seen = Vec::new();
    for (name, item) in items() {
        let text = item.to_string();
        let item = Item::decode(&text).unwrap();
        match (item.content_type(), item.content.as_deref()) {
            (Some(ContentType::Interactive), Some(content)) => {
                let message = Interactive::decode(content).unwrap();
                assert_eq!(message.raw, serde_json::from_str::<Value>(content).unwrap());
                seen.push(match message.template {
                    Template::ListPicker(choice) => {
                        assert_eq!(choice.elements[2].action_detail.as_deref(), Some("SHOW_MORE"));
                        assert_eq!(message.paging.unwrap().previous, Some(-1));
                        assert_eq!(message.reply.unwrap().title.as_deref(), Some("Thank you"));
                        "list"
                    }
                    Template::Panel(choice) => {
                        assert_eq!(choice.elements[1].title.as_deref(), Some("End chat"));
                        "panel"
                    }
                    Template::QuickReply(_) => "quick",
                    Template::TimePicker(picker) => {
                        assert_eq!(picker.timeslots[1].duration, Some(30));
                        "time"
                    }
                    Template::View(view) => {
                        assert!(view.token.is_some() && view.data.unwrap().is_object());
                        "view"
                    }
                    Template::Carousel { .. } => "carousel",
                    other => panic!("{name}: {other:?}"),
                });
            }
            (Some(ContentType::InteractiveResponse), Some(content)) => {
                let response = InteractiveResponse::decode(content).unwrap();
                assert_eq!(response.is_paging(), response.action.as_deref() == Some("SHOW_MORE"), "{name}");
                let again: Value = serde_json::from_str(&response.encode()).unwrap();
                assert_eq!(again, serde_json::from_str::<Value>(content).unwrap());
            }
            _ => {}
        }
    }
    for kind in ["list", "panel", "quick", "time", "view"] {
        assert!(seen.contains(&kind), "{kind}");
    }
    let carousel = Interactive::decode(
        r#"{"templateType":"Carousel","data":{"content":{"title":"t","elements":[
            {"templateType":"Panel","templateIdentifier":"p1","data":{"content":{"elements":[{"title":"A"}]}}}]}}}"#,
    )
    .unwrap();
    let Template::Carousel { elements, .. } = carousel.template else { panic!("{carousel:?}") };
    assert_eq!(elements[0].template_identifier.as_deref(), Some("p1"));
    let hologram = Interactive::decode(r#"{"templateType":"Hologram","data":{"x":1}}"#).unwrap();
    assert_eq!(hologram.template, Template::Unknown(Some("Hologram".into())));
    assert_eq!(hologram.raw["data"]["x"], 1);
}

#[test]
fn contents_within_contents() {
    let receipts = sample("03");
    let content = receipts[3]["request"]["body"]["Content"].as_str().unwrap();
    assert_eq!(
        ReceiptContent::decode(content).unwrap().message_id.as_deref(),
        Some("019df237-997a-7830-8a8e-bd356b0a18e8")
    );
    let session = sample("10")["authentication-initiated"]["item"]["Content"].as_str().unwrap().to_owned();
    assert!(AuthenticationContent::decode(&session).unwrap().session_id.is_some());
    let request: StartChatContactRequest =
        serde_json::from_value(sample("01")["request"]["body"].clone()).unwrap();
    assert_eq!(request.chat_duration_in_minutes, Some(1500));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut, overwrite and splice frames and items at random: always one thing, never a panic.
    #[test]
    fn damage_never_panics(which in 0usize..200, edits in prop::collection::vec((any::<u16>(), 0u8..3, any::<char>()), 1..8)) {
        let all: Vec<Value> = sample("10").as_object().unwrap().values().cloned().collect();
        let text = all[which % all.len()]["frame"].as_str().unwrap();
        let mut chars: Vec<char> = text.chars().collect();
        for (at, kind, with) in edits {
            let at = usize::from(at) % chars.len().max(1);
            match kind {
                0 if at < chars.len() => { chars.remove(at); }
                1 if at < chars.len() => chars[at] = with,
                2 => chars.truncate(at),
                _ => chars.insert(at.min(chars.len()), with),
            }
        }
        let damaged: String = chars.into_iter().collect();
        match decode_frame(&damaged) {
            Frame::Chat(item) => {
                if let Some(item) = Item::decode(&item) {
                    let _ = item.content_type();
                    if let Some(content) = item.content.as_deref() {
                        let _ = (Interactive::decode(content), InteractiveResponse::decode(content));
                    }
                }
            }
            Frame::Other(raw) | Frame::OtherTopic { raw, .. } => prop_assert_eq!(raw, damaged.as_str()),
            _ => {}
        }
    }

    #[test]
    fn any_text_is_one_frame(text in ".*") {
        let _ = decode_frame(&text);
        let _ = Item::decode(&text);
        let encoded = Frame::Chat(text.as_str().into()).encode();
        prop_assert_eq!(decode_frame(&encoded), Frame::Chat(text.as_str().into()));
    }
}
