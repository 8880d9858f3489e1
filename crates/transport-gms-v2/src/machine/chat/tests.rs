//! A chat over its whole life: starts, resumes, restored copies; and every recorded exchange with what is expected of it.

use std::{collections::BTreeMap, time::Duration};

use chat_core::{
    Content, Delivery, ErrorKind, Retry, Role, SessionUpdate, SystemEvent, Transcript, TransportEvent, View,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    error::{Answer, ChatState, Failure},
    samples::{body, samples},
    wire::FILE_ID,
};

fn reply(value: &Value) -> Reply {
    Reply::read(&value.to_string()).unwrap()
}

fn at(position: u64) -> Chat {
    let saved = json!({"sessionID": "0001LaGMS7K2000A", "secureKey": "k", "alias": "204", "participantId": 1,
        "transcriptPosition": position});
    Chat::resumed(saved.as_object().unwrap(), '*').unwrap()
}

fn poll(chat: &mut Chat, value: &Value) -> Taken {
    let asked = chat.position();
    chat.take(Operation::Refresh, Some(asked), &reply(value))
}

fn texts(events: &[TransportEvent]) -> Vec<String> {
    let text = |event: &TransportEvent| match event {
        TransportEvent::Message(sighting) => match &sighting.content {
            Some(Content::Text(text)) => Some(text.body.to_string()),
            _ => None,
        },
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn message(index: u64, text: &str, seconds: u64) -> Value {
    json!({"index": index, "type": "Message", "text": text, "utcTime": seconds * 1000,
        "from": {"participantId": 2, "type": "Agent"}})
}

#[test]
fn a_start_tells_who_we_are_and_what_to_save() {
    let start = json!({"statusCode": 0, "chatId": "c", "secureKey": "k", "userId": "u", "alias": "204", "messages": [
        {"index": 1, "type": "ParticipantJoined", "from": {"participantId": 1, "type": "Client", "nickname": "J"}}]});
    let mut chat = Chat::started(&reply(&start), '*').unwrap();
    let taken = chat.take(Operation::RequestChat, Some(Position::Everything), &reply(&start));
    assert!(matches!(&taken.events[..], [TransportEvent::Session(update), TransportEvent::Message(_)]
        if matches!(&**update, SessionUpdate::OwnId(id) if id.as_str() == "1")));
    assert!(taken.changed && !taken.over && !taken.ask_again);
    let saved = chat.saved();
    for (key, value) in [
        ("sessionID", json!("c")),
        ("secureKey", json!("k")),
        ("userId", json!("u")),
        ("alias", json!("204")),
        ("transcriptPosition", json!(2)),
        ("participantId", json!(1)),
    ] {
        assert_eq!(saved[key], value, "{key}");
    }
    let again = Chat::resumed(&saved, '*').unwrap();
    assert_eq!((again.saved(), again.position()), (saved, Position::From(2)));
    assert!(!format!("{chat:?}").contains("\"k\""), "the key is hidden");
    assert!(Chat::started(&reply(&json!({"statusCode": 0})), '*').is_none());
    assert!(Chat::resumed(json!({"sessionID": "c"}).as_object().unwrap(), '*').is_none());
}

#[test]
fn a_reply_about_another_chat_is_none_of_ours() {
    let mut chat = at(3);
    let foreign = json!({"statusCode": 0, "chatId": "other", "alias": "9", "messages": [message(3, "x", 1)]});
    assert!(poll(&mut chat, &foreign).events.is_empty());
    assert!(chat.hear(&reply(&foreign)).events.is_empty());
    assert_eq!((chat.cursor(), chat.identity().alias.as_deref()), (3, Some("204")));
}

#[test]
fn another_chat_server_is_not_believed_before_everything_is_read_again() {
    let mut chat = at(1);
    let before = json!({"statusCode": 0, "messages": [message(1, "a", 0), message(2, "b", 10), {"index": 3,
        "type": "Notice", "text": "soon", "utcTime": 20_000}], "nextPosition": 4});
    poll(&mut chat, &before);
    // The notice is lost, its number is used again, and there is more than ever before: no index steps back.
    let after =
        json!({"statusCode": 0, "alias": "317", "messages": [message(4, "d", 90)], "nextPosition": 5});
    let taken = poll(&mut chat, &after);
    assert!(taken.ask_again && taken.events.is_empty());
    assert_eq!(chat.position(), Position::Everything);
    let full = json!({"statusCode": 0, "alias": "317", "nextPosition": 5, "messages":
        [message(1, "a", 0), message(2, "b", 10), message(3, "c", 80), message(4, "d", 90)]});
    let taken = poll(&mut chat, &full);
    assert_eq!(texts(&taken.events), ["a", "b", "c", "d"]);
    let names: Vec<_> = taken
        .events
        .iter()
        .map(|event| match event {
            TransportEvent::Message(sighting) => sighting.aliases.message_id().unwrap().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["1", "2", "3.1", "4.1"]);
    assert_eq!(chat.position(), Position::From(5));
    assert_eq!(chat.position_of(&"3".into()), Some(Position::From(3)));
}

#[test]
fn a_service_that_steps_back_without_contradiction_costs_no_row() {
    let mut chat = at(1);
    let typing = |index| json!({"index": index, "type": "TypingStarted", "utcTime": 20_000});
    let first = json!({"statusCode": 0, "messages": [message(1, "a", 0), message(2, "b", 10), typing(3), typing(4)], "nextPosition": 5});
    poll(&mut chat, &first);
    assert!(poll(&mut chat, &json!({"statusCode": 0, "messages": [], "nextPosition": 3})).ask_again);
    let full =
        json!({"statusCode": 0, "messages": [message(1, "a", 0), message(2, "b", 10)], "nextPosition": 3});
    let taken = poll(&mut chat, &full);
    assert_eq!((texts(&taken.events).len(), taken.ask_again), (2, false));
    assert_eq!(
        (chat.cursor(), chat.position()),
        (5, Position::From(3)),
        "monotonic, but asking where the service stands"
    );
    let next = json!({"statusCode": 0, "messages": [message(3, "c", 90), typing(4)], "nextPosition": 5});
    let taken = poll(&mut chat, &next);
    let [TransportEvent::Message(sighting), TransportEvent::Typing(_)] = &taken.events[..] else {
        panic!("{taken:?}")
    };
    assert_eq!(sighting.aliases.message_id().unwrap().as_str(), "3");
}

#[test]
fn a_shorter_transcript_in_its_place_is_followed_from_its_own_end() {
    let mut chat = at(1);
    let first =
        json!({"statusCode": 0, "messages": [message(1, "a", 0), message(7, "b", 10)], "nextPosition": 9});
    poll(&mut chat, &first);
    let anew = json!({"statusCode": 0, "messages": [message(1, "x", 90)], "nextPosition": 2});
    assert!(poll(&mut chat, &anew).ask_again);
    assert_eq!(texts(&poll(&mut chat, &anew).events), ["x"]);
    assert_eq!((chat.cursor(), chat.position()), (2, Position::From(2)));
    let typing = json!({"index": 2, "type": "TypingStarted", "from": {"participantId": 2, "type": "Agent"}});
    let taken = poll(&mut chat, &json!({"statusCode": 0, "messages": [typing], "nextPosition": 3}));
    assert!(matches!(taken.events[..], [TransportEvent::Typing(_)]));
}

#[test]
fn of_a_chat_that_is_over_no_page_is_asked_for_again() {
    let mut chat = at(9);
    let last = json!({"statusCode": 0, "chatEnded": true, "nextPosition": 4, "messages": [message(3, "goodbye", 3)]});
    let page = chat.page(Position::From(3), &reply(&last));
    assert_eq!((page.items.len(), page.ask_again), (1, false), "there is nobody to ask");
}

#[test]
fn pages_of_history_do_not_move_the_cursor() {
    let mut chat = at(9);
    let old =
        json!({"statusCode": 0, "messages": [message(3, "c", 30), message(4, "d", 40)], "nextPosition": 9});
    let page = chat.page(Position::From(3), &reply(&old));
    assert_eq!((page.items.len(), page.ask_again, chat.cursor()), (2, false, 9));
    let moved = json!({"statusCode": 0, "messages": [message(3, "x", 70)], "nextPosition": 9});
    assert!(chat.page(Position::From(3), &reply(&moved)).ask_again);
    let page = chat.page(Position::Everything, &reply(&moved));
    assert_eq!(page.items[0].aliases.message_id().unwrap().as_str(), "3.1");
    assert!(page.changed && !page.ask_again);
    assert_eq!(chat.cursor(), 3, "what follows in the new numbering is unread");
}

#[test]
fn a_push_is_delivered_and_an_end_is_never_held_back() {
    let mut chat = at(3);
    let taken =
        chat.hear(&reply(&json!({"statusCode": 0, "messages": [message(3, "hi", 0)], "nextPosition": 9})));
    assert_eq!((texts(&taken.events), chat.cursor()), (vec!["hi".to_owned()], 4));
    let end = json!({"statusCode": 0, "alias": "9", "chatEnded": true, "messages": [message(4, "bye", 1)], "nextPosition": 2});
    let taken = chat.hear(&reply(&end));
    assert!(taken.over && !taken.ask_again);
    assert_eq!(texts(&taken.events), ["bye"]);
    let taken = poll(&mut chat, &end);
    assert!(taken.over && !taken.events.is_empty());
}

// ---- recorded exchanges ----------------------------------------------------------------------------------------------

/// What a widget would be told of an event, as the samples spell it.
fn told(event: &TransportEvent) -> Option<String> {
    let who = |role: &Role| match role {
        Role::Customer => "client",
        Role::Agent => "agent",
        Role::Supervisor => "supervisor",
        Role::Bot => "bot",
        other => panic!("{other:?}"),
    };
    match event {
        TransportEvent::Typing(update) => {
            let verb = if update.on { "Started" } else { "Stopped" };
            Some(format!("{}Typing{verb}", who(&update.who.role)))
        }
        TransportEvent::Message(sighting) => {
            let role = who(&sighting.from.as_ref()?.role);
            Some(match &sighting.content {
                Some(Content::Event(SystemEvent::Joined)) => format!("{role}Connected"),
                Some(Content::Event(SystemEvent::Left)) => format!("{role}Disconnected"),
                Some(Content::Text(_)) => "message".into(),
                other => panic!("{other:?}"),
            })
        }
        _ => None,
    }
}

#[test]
fn every_recorded_exchange_means_what_is_expected() {
    let mut checked: BTreeMap<&str, u32> = BTreeMap::new();
    for (name, sample) in samples() {
        let response = &sample["response"];
        if name.starts_with("cometd") || response.is_null() {
            continue;
        }
        let path = sample["request"]["path"].as_str().unwrap_or("s/c/refresh");
        let path = path.trim_start_matches("/genesys/2/chat/");
        let path = path.split_once('/').map_or("", |(_, rest)| rest);
        let legacy_start = name.starts_with("rest-02");
        let route = Operation::from_rest_path(if legacy_start { "" } else { path }).unwrap();
        let operation = route.operation;
        let form = sample["request"]["form"].as_array().cloned().unwrap_or_default();
        let form = form
            .iter()
            .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()));
        let mut asked = Parameters::from_pairs(operation, form).unwrap().position;
        let body = body(response);
        let retry_after = response["headers"]["Retry-After"]
            .as_str()
            .map(|text| Duration::from_secs(text.parse().unwrap()));
        let answer = Answer { status: response["status"].as_u64().unwrap() as u16, retry_after, body: &body };
        let verdict = answer.judge(operation);

        // Each sample is a moment of its own: what came before it was read.
        let starts = operation == Operation::RequestChat;
        let first =
            verdict.as_ref().ok().and_then(|reply| reply.events().iter().filter_map(|e| e.index).min());
        let mut chat = at(match asked {
            _ if starts => 1,
            Some(Position::From(index)) => index,
            _ => first.unwrap_or(8),
        });
        if operation == Operation::Refresh && sample["request"].is_null() || starts {
            asked = Some(chat.position());
        }
        let before = (chat.identity().clone(), chat.cursor());
        let mut taken = Taken::default();
        if let Ok(reply) = &verdict {
            taken = chat.take(operation, asked, reply);
            if taken.ask_again && name != "bad-10-next-position-backwards" {
                let full = chat.position();
                assert_eq!(full, Position::Everything);
                taken = chat.take(Operation::Refresh, Some(full), reply);
            }
        }
        let failure: Option<&Failure> = verdict.as_ref().err();
        let over = taken.over || failure.is_some_and(|failure| failure.chat == ChatState::Over);
        let kind = failure.map(|failure| failure.error.kind().clone());
        let is = |kinds: &[ErrorKind]| kind.as_ref().is_some_and(|kind| kinds.contains(kind));

        for (key, expected) in sample["expect"].as_object().into_iter().flatten() {
            let fine = match (key.as_str(), expected.as_str().unwrap_or_default()) {
                ("outcome", "started" | "accepted" | "already-ended") => failure.is_none(),
                ("outcome", "rejected" | "failed" | "error") => failure.is_some(),
                ("outcome", "unknown") => failure.unwrap().error.delivery() == Delivery::Unknown,
                ("outcome", "poll-exception") => is(&[ErrorKind::Server]),
                ("outcome", "protocol-error") => is(&[ErrorKind::UnexpectedResponse]),
                ("outcome", "ended") => over,
                ("outcome", "lossy decode or protocol-error, never a panic") => {
                    texts(&taken.events) == ["caf\u{fffd}"]
                }
                ("category", "auth") => is(&[ErrorKind::AccessDenied, ErrorKind::Unauthorized]),
                ("category", "validation" | "too-long") => is(&[ErrorKind::Refused]),
                ("category", "unavailable") => is(&[ErrorKind::Server]),
                ("retry", "user-initiated only") => failure.unwrap().error.retry() == Retry::Never,
                ("retry", _) => {
                    assert_eq!(expected, false);
                    matches!(failure.unwrap().error.retry(), Retry::Never | Retry::WithNewCredentials)
                }
                ("sessionEnded", _) => over == expected.as_bool().unwrap(),
                ("sessionStillActive", _) => !over && failure.unwrap().chat == ChatState::GoesOn,
                ("backoffSeconds", _) => {
                    let wait = Duration::from_secs(expected.as_u64().unwrap());
                    failure.unwrap().error.retry() == Retry::After(wait)
                }
                ("sessionId", id) => chat.identity().chat_id.as_deref() == Some(id),
                ("alias", alias) => chat.identity().alias.as_deref() == Some(alias),
                ("identityUnchanged", _) => *chat.identity() == before.0,
                ("cursor", _) => Some(chat.cursor()) == expected.as_u64(),
                ("cursorUnchanged" | "cursorMonotonic", _) => chat.cursor() == before.1,
                ("flag", "possible restore") => taken.ask_again,
                ("lastIndex", _) => first == expected.as_u64(),
                ("fileId", id) => {
                    verdict.as_ref().unwrap().user_data.as_ref().unwrap().0.get(FILE_ID).map(String::as_str)
                        == Some(id)
                }
                ("deliver", "first only") => texts(&taken.events) == ["a"],
                ("deliver", _) if sample["expect"]["dropDuplicates"].is_null() => {
                    let delivered: Vec<_> = taken
                        .events
                        .iter()
                        .filter_map(|event| match event {
                            TransportEvent::Message(sighting) => sighting.aliases.message_id(),
                            _ => None,
                        })
                        .map(|id| json!(id.as_str().parse::<u64>().unwrap()))
                        .collect();
                    json!(delivered) == *expected
                }
                ("events", _) => {
                    let mut events: Vec<_> = taken.events.iter().filter_map(told).collect();
                    if operation == Operation::Disconnect {
                        // The own leaving is told by the session, not by this reply.
                        events.push("clientDisconnected".into());
                    }
                    events.extend(taken.over.then(|| "ended".to_owned()));
                    let expected = expected.as_array().unwrap().iter().filter_map(Value::as_str);
                    let expected: Vec<_> = expected
                        .filter(|event| !event.starts_with("chatServer") && !event.starts_with("connection"))
                        .map(|event| event.split('(').next().unwrap_or_default())
                        .collect();
                    events == expected
                }
                _ => continue,
            };
            assert!(fine, "{name}: {key} {expected}: {verdict:?} {taken:?}");
            *checked
                .entry(match key.as_str() {
                    "outcome" => "outcome",
                    "events" => "events",
                    _ => "other",
                })
                .or_default() += 1;
        }
    }
    assert!(checked["outcome"] >= 20 && checked["events"] >= 12 && checked["other"] >= 25, "{checked:?}");
}

// ---- restored copies at random ---------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Turn {
    Message,
    Typing,
    Notice,
    /// The chat server dies; another one has what stood there up to the newest message.
    Failover,
    Poll,
    /// A send's answer without events.
    Send,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    use Turn::*;
    prop::collection::vec(
        prop_oneof![4 => Just(Message), 3 => Just(Typing), 2 => Just(Notice), 1 => Just(Failover), 4 => Just(Poll), 1 => Just(Send)],
        0..60,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a service loses with a failover and numbers anew: each of its messages stands once, in its order, and what it once
    /// told stays.
    #[test]
    fn failovers_lose_nothing_and_double_nothing(turns in turns()) {
        let mut stored: Vec<Value> = Vec::new();
        let mut alias = 204;
        let mut chat = at(1);
        let mut transcript = Transcript::new();
        let mut told: Vec<String> = Vec::new();
        let ends = [Turn::Poll, Turn::Poll];
        for (clock, turn) in turns.into_iter().chain(ends).enumerate() {
            let (index, clock) = (stored.len() as u64 + 1, clock as u64 * 10);
            let envelope = |messages: &[Value]| json!({"statusCode": 0, "alias": alias.to_string(), "messages": messages,
                "nextPosition": index});
            match turn {
                Turn::Message => stored.push(message(index, &format!("m{clock}"), clock)),
                Turn::Notice => stored.push(json!({"index": index, "type": "Notice", "text": format!("n{clock}"), "utcTime": clock * 1000})),
                Turn::Typing => stored.push(json!({"index": index, "type": "TypingStarted", "utcTime": clock * 1000,
                    "from": {"participantId": 2, "type": "Agent"}})),
                Turn::Failover => {
                    let newest = stored.iter().rposition(|event| event["type"] == "Message");
                    stored.truncate(newest.map_or(0, |newest| newest + 1));
                    alias += 1;
                }
                Turn::Send => { chat.take(Operation::Send, None, &reply(&envelope(&[]))); }
                Turn::Poll => for attempt in 0.. {
                    prop_assert!(attempt < 3, "asks for ever");
                    let from = match chat.position() {
                        Position::Everything => 1,
                        Position::From(index) => index as usize,
                        other => panic!("{other:?}"),
                    };
                    let piece = stored.get(from - 1..).unwrap_or_default();
                    let taken = poll(&mut chat, &envelope(piece));
                    for event in &taken.events {
                        if let TransportEvent::Message(sighting) = event {
                            transcript.sight((**sighting).clone());
                        }
                    }
                    told.extend(texts(&taken.events));
                    if !taken.ask_again && chat.position() != Position::Everything || stored.is_empty() {
                        break;
                    }
                    if !taken.ask_again && attempt > 0 {
                        break;
                    }
                },
            }
        }
        let rows = transcript.snapshot(View::Full);
        let shown: Vec<_> = rows.iter().filter_map(|row| match row.content() {
            Some(Content::Text(text)) => Some(text.body.to_string()),
            _ => None,
        }).collect();
        let truth: Vec<_> = stored.iter().filter(|event| event["type"] == "Message")
            .map(|event| event["text"].as_str().unwrap().to_owned()).collect();
        let mut once = shown.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), shown.len(), "doubled: {:?}", shown);
        let known: Vec<_> = shown.iter().filter(|text| truth.contains(text)).cloned().collect();
        prop_assert_eq!(known, truth, "shown: {:?}", shown);
        for text in told {
            prop_assert!(shown.contains(&text), "{} vanished", text);
        }
    }
}
