//! Owns the tests of the mapping, fed with the golden samples.

use serde_json::Value;

use super::*;

fn chat() -> Chat {
    Chat {
        scope: "6513270e-269e-4d37-a2a7-4de452e6b438".into(),
        segment: "6513270e-269e-4d37-a2a7-4de452e6b438".into(),
        own: "6f03675a-1600-435a-9999-50d836f675cc".into(),
        kind: ParticipantKind::Customer,
    }
}

fn samples(file: &str) -> Value {
    let path = format!("{}/tests/samples/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn message(text: &str) -> Sighting {
    match chat().socket_item(&mut People::default(), text).0 {
        TransportEvent::Message(sighting) => *sighting,
        other => panic!("{other:?}"),
    }
}

fn sample(name: &str) -> Sighting {
    message(&samples("10-socket-items.json")[name]["item"].to_string())
}

fn ids(sighting: &Sighting) -> Vec<&str> {
    sighting.aliases.iter().map(|alias| &*alias.value).collect()
}

#[test]
fn every_sample_is_understood() {
    for (name, sample) in samples("10-socket-items.json").as_object().unwrap() {
        let text = sample["item"].to_string();
        let (event, consequence) = chat().socket_item(&mut People::default(), &text);
        match (name.as_str(), &event) {
            ("typing-agent" | "typing-customer", TransportEvent::Typing(typing)) => {
                assert_eq!(typing.own, name == "typing-customer");
                assert!(typing.on && typing.item.is_some());
            }
            ("metadata-delivered" | "metadata-read", TransportEvent::Message(sighting)) => {
                assert!(sighting.content.is_none() && sighting.place.is_none(), "{name}");
                assert_eq!(sighting.receipts.len(), 1);
            }
            (_, TransportEvent::Message(sighting)) => {
                assert!(!matches!(sighting.content, None | Some(Content::Other(_))), "{name}: {sighting:?}");
                assert!(sighting.place.is_some_and(|place| !place.estimated), "{name}");
                assert_eq!(sighting.raw.as_deref(), Some(&*text));
            }
            other => panic!("{other:?}"),
        }
        let expected = match name.as_str() {
            "chat-ended" => Consequence::ChatEnded,
            "transfer-succeeded" => Consequence::Transferred,
            _ => Consequence::None,
        };
        assert_eq!(consequence, expected, "{name}");
    }
}

#[test]
fn own_is_by_participant_and_not_by_role() {
    assert_eq!(sample("message-customer-text").own, Some(true));
    assert_eq!(sample("message-agent-markdown").own, Some(false));
    let other_customer =
        message(r#"{"Id":"1","Type":"MESSAGE","ParticipantId":"another","ParticipantRole":"CUSTOMER"}"#);
    assert_eq!(other_customer.own, Some(false));
    let nobody = message(r#"{"Id":"1","Type":"MESSAGE","ParticipantRole":"CUSTOMER"}"#);
    assert_eq!(nobody.own, None, "nobody can tell");
}

#[test]
fn the_link_of_the_chain_makes_no_difference() {
    let before = sample("participant-left-agent");
    let after = sample("message-agent2-after-transfer");
    assert_eq!(before.segment, after.segment);
    assert_eq!(after.aliases.iter().next().unwrap().scope, chat().scope);
}

#[test]
fn roles_tell_bots_from_announcements() {
    assert_eq!(sample("message-system").from.unwrap().role, Role::System);
    assert_eq!(sample("message-bot").from.unwrap().role, Role::Bot);
    assert_eq!(sample("message-custom-bot").from.unwrap().role, Role::Bot);
}

#[test]
fn every_recipient_counts_and_a_read_needs_no_delivery() {
    let sighting = message(
        r#"{"Id":"x","Type":"MESSAGEMETADATA","AbsoluteTime":"2026-05-04T09:00:09.000Z","MessageMetadata":{"MessageId":"m",
            "Receipts":[{"RecipientParticipantId":"a","DeliveredTimestamp":"2026-05-04T09:00:08Z"},
                        {"RecipientParticipantId":"b","ReadTimestamp":"2026-05-04T09:00:09Z"},
                        {"DeliveredTimestamp":"2026-05-04T09:00:08Z"},{"RecipientParticipantId":"c"}]}}"#,
    );
    assert_eq!(ids(&sighting), ["m"], "about the message, not an item of its own");
    assert_eq!(sighting.receipts.len(), 2);
    assert!(sighting.receipts[1].read.is_some() && sighting.receipts[1].delivered.is_none());

    let empty = message(r#"{"Type":"MESSAGEMETADATA","MessageMetadata":{"MessageId":"m","Receipts":[]}}"#);
    assert!(empty.receipts.is_empty());

    let plain = message(
        r#"{"Id":"e","Type":"EVENT","ContentType":"application/vnd.amazonaws.connect.event.message.read",
            "Content":"{\"messageId\":\"m\"}","ParticipantId":"a","AbsoluteTime":"2026-05-04T09:00:09Z"}"#,
    );
    assert_eq!(ids(&plain), ["m"]);
    assert!(plain.receipts[0].read.is_some());
}

#[test]
fn chunks_are_passed_on_one_by_one() {
    let samples = samples("12-streamed-bot-answer.json");
    let chunks: Vec<_> = samples["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| message(&item.to_string()).chunk.unwrap())
        .collect();
    assert_eq!(chunks, [Chunk::Part(1), Chunk::Part(2), Chunk::Part(3), Chunk::Whole]);
}

#[test]
fn a_file_is_known_by_its_own_id_too_and_its_status_rises() {
    let approved = sample("attachment-approved");
    assert_eq!(
        ids(&approved),
        ["019df237-b996-7e01-9414-7073d17f9aca", "92b1d3f2-8ede-4d7a-b3ba-ea9e13deef86"]
    );
    let rejected = sample("attachment-rejected");
    assert!(rejected.version > approved.version && approved.version > 0);
}

#[test]
fn what_is_unknown_is_kept_raw() {
    for text in [
        r#"{"Id":"1","Type":"HOLOGRAM","ContentType":"x/y","Content":"z"}"#,
        r#"{"Id":"1","Type":"EVENT","ContentType":"application/vnd.amazonaws.connect.event.new"}"#,
        r#"{"Type":"MESSAGE","ContentType":"text/plain"}"#,
        r#"{"Type":"MESSAGE","ContentType":"application/vnd.amazonaws.connect.message.interactive","Content":"?"}"#,
        r#"{}"#,
    ] {
        let sighting = message(text);
        let Some(Content::Other(raw)) = sighting.content else { panic!("{text}") };
        assert_eq!(&*raw.body, text);
    }
    let (event, _) = chat().socket_item(&mut People::default(), "[1]");
    assert!(matches!(event, TransportEvent::Other(raw) if &*raw.body == "[1]"));
}

#[test]
fn an_item_without_an_id_has_no_alias() {
    assert!(
        message(r#"{"Id":"","Type":"MESSAGE","ContentType":"text/plain","Content":"x"}"#).aliases.is_empty()
    );
}

#[test]
fn unreadable_times_are_estimated_from_their_neighbours() {
    let item = |id: u32, time: &str| {
        format!(
            r#"{{"Id":"{id}","AbsoluteTime":"{time}","Type":"MESSAGE","ContentType":"text/plain","Content":"x"}}"#
        )
    };
    let texts = [
        item(0, ""),
        item(1, "2026-05-04T09:00:05.000Z"),
        item(2, "0001-01-01T00:00:00Z"),
        item(3, "soon"),
        item(4, "2026-05-04T11:00:05.000+02:00"),
    ];
    let page = chat().page(None, texts.iter().map(String::as_str));
    let at = |text: &str| Primary::Instant(Timestamp::parse(text).unwrap());
    let places: Vec<_> = page.iter().map(|sighting| sighting.place.unwrap()).collect();
    assert_eq!(
        places,
        [
            Place::estimated(at("2026-05-04T09:00:04.999Z"), 1),
            Place::exact(at("2026-05-04T09:00:05.000Z")),
            Place::estimated(at("2026-05-04T09:00:05.000Z"), 1),
            Place::estimated(at("2026-05-04T09:00:05.000Z"), 2),
            Place::exact(at("2026-05-04T09:00:05.000Z")),
        ]
    );
    assert!(page[2].time.is_none(), "an estimate is a place, not a time");
}

#[test]
fn past_items_are_the_customers_own_whatever_their_id_was() {
    let text = r#"{"Id":"1","Type":"MESSAGE","ContentType":"text/plain","Content":"x","ParticipantId":"old",
        "ParticipantRole":"CUSTOMER","RelatedContactId":"past"}"#;
    assert_eq!(chat().page(Some("chain"), [text].into_iter())[0].own, Some(true));
}

#[test]
fn participants_are_shared_between_their_messages() {
    let mut people = People::default();
    let text = samples("10-socket-items.json")["message-agent-markdown"]["item"].to_string();
    let mut name = || match chat().socket_item(&mut people, &text).0 {
        TransportEvent::Message(sighting) => sighting.from.unwrap().name.unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&name(), &name()));
}
