//! What each kind of event comes to.

use chat_core::{AliasKind, Primary};
use proptest::prelude::*;

use super::*;
use crate::samples;

fn mapper() -> Mapper {
    Mapper::new("c", Own::known(Some(1)), Epochs::default(), '*')
}

fn reply(text: &str) -> Reply {
    Reply::read(text).unwrap()
}

fn sample(name: &str) -> Reply {
    reply(&samples::sample(name)["response"]["json"].to_string())
}

fn messages(mapped: &Mapped) -> Vec<&Sighting> {
    fn sighting(event: &TransportEvent) -> Option<&Sighting> {
        match event {
            TransportEvent::Message(sighting) => Some(sighting),
            _ => None,
        }
    }
    mapped.events.iter().filter_map(sighting).collect()
}

fn roles(mapped: &Mapped) -> Vec<Role> {
    messages(mapped).into_iter().map(|sighting| sighting.from.clone().unwrap().role).collect()
}

fn only(name: &str) -> Sighting {
    let mapped = mapper().live(&sample(name), 0);
    let [one] = messages(&mapped)[..] else { panic!("{mapped:?}") };
    one.clone()
}

fn names(sighting: &Sighting, kind: AliasKind) -> Vec<String> {
    let of_kind = sighting.aliases.iter().filter(|alias| alias.kind == kind);
    of_kind.map(|alias| alias.value.to_string()).collect()
}

#[test]
fn messages_come_by_index_with_sender_time_and_place() {
    let mapped = mapper().live(&sample("rest-25-refresh-out-of-order"), 0);
    let [first, second] = messages(&mapped)[..] else { panic!("{mapped:?}") };
    assert_eq!(first.content, Some(Content::Text(Text::plain("first"))));
    assert_eq!(second.content, Some(Content::Text(Text::plain("second"))));
    assert_eq!(first.place, Some(Place::exact(Primary::Index(0, 18))));
    assert_eq!(names(first, AliasKind::Message), ["18"]);
    assert_eq!(first.time.unwrap().as_millis(), 1_750_000_015_100);
    let maria = Participant::new(Role::Agent).with_id("2").with_name("Maria");
    assert_eq!((first.from.as_ref(), first.own), (Some(&maria), Some(false)));
}

/// A desktop may hand back the message type of what it answers: that makes its message none of ours.
#[test]
fn a_token_names_a_message_of_a_client_alone() {
    for (party, expected) in [("Client", 1), ("Agent", 0), ("Supervisor", 0), ("External", 0), ("Bot", 0)] {
        let text = format!(
            r#"{{"statusCode":0,"messages":[{{"index":5,"type":"Message","text":"hello","messageType":"text;token=t1","from":{{"participantId":2,"type":"{party}"}}}}]}}"#
        );
        let mapped = mapper().live(&reply(&text), 0);
        assert_eq!(names(messages(&mapped)[0], AliasKind::Token).len(), expected, "{party}");
    }
}

#[test]
fn an_own_message_carries_its_token_and_is_plain_text() {
    let text = r#"{"statusCode":0,"messages":[
        {"index":4,"type":"Message","text":"hi","messageType":"text;token=t1","from":{"participantId":"1","type":"Client"}},
        {"index":5,"type":"Message","text":"card","messageType":"rich-card","from":{"participantId":2,"type":"Agent"}}]}"#;
    let mapped = mapper().live(&reply(text), 0);
    let [own, card] = messages(&mapped)[..] else { panic!("{mapped:?}") };
    assert_eq!((names(own, AliasKind::Token), own.own), (vec!["t1".to_owned()], Some(true)));
    assert_eq!(own.content, Some(Content::Text(Text::plain("hi"))));
    let Some(Content::Text(card)) = &card.content else { panic!("{card:?}") };
    assert_eq!(card.format, TextFormat::Other("rich-card".into()));
}

#[test]
fn every_kind_has_its_content() {
    assert_eq!(
        only("rest-40-push-url").content,
        Some(Content::PushUrl("https://shop.example.test/returns?id=17&lang=pt".into()))
    );
    let notice = only("rest-41-notice");
    assert_eq!((notice.content, notice.quiet), (Some(Content::Notice("standard notice".into())), false));
    let custom = only("rest-42-custom-notice");
    assert!(custom.quiet && matches!(custom.content, Some(Content::Notice(_))));
    assert!(custom.raw.unwrap().contains("desktop"), "its data stay readable");
    let renamed = only("rest-44-nickname-updated");
    assert_eq!(renamed.content, Some(Content::Event(SystemEvent::NameUpdated)));
    assert_eq!(renamed.from.unwrap().name.as_deref(), Some("Jonathan"));
    let mapped = mapper().live(&sample("rest-45-supervisor-joined-left"), 0);
    assert_eq!(roles(&mapped), [Role::Supervisor, Role::Supervisor]);
    let mapped = mapper().live(&sample("rest-47-external-party"), 0);
    assert_eq!(roles(&mapped), [Role::System, Role::System, Role::System]);
    for (kind, event) in [("IdleAlert", SystemEvent::Idle), ("IdleClose", SystemEvent::AutoDisconnected)] {
        let mapped = mapper().live(&reply(&format!(r#"{{"messages":[{{"type":"{kind}"}}]}}"#)), 0);
        assert_eq!(messages(&mapped)[0].content, Some(Content::Event(event)));
    }
}

#[test]
fn what_has_no_type_here_stays_readable() {
    let mapped = mapper().live(&sample("rest-48-unknown-type"), 0);
    let [unknown, after] = messages(&mapped)[..] else { panic!("{mapped:?}") };
    let Some(Content::Other(raw)) = &unknown.content else { panic!("{unknown:?}") };
    assert!(&*raw.kind == "ReactionAdded" && raw.body.contains("👍"));
    assert_eq!(unknown.from.as_ref().unwrap().role, Role::Other("Hologram".into()));
    assert_eq!(after.content, Some(Content::Text(Text::plain("after unknown"))));
    for nothing in ["7", "null", "[]", r#"{"type":"Message","index":3}"#, r#"{"type":"FileUploaded"}"#] {
        let mapped = mapper().live(&reply(&format!(r#"{{"messages":[{nothing}]}}"#)), 0);
        let Some(Content::Other(raw)) = &messages(&mapped)[0].content else { panic!("{mapped:?}") };
        assert_eq!(&*raw.body, nothing);
    }
}

#[test]
fn a_bot_is_known_by_either_marker_and_stays_one() {
    let mut mapper = mapper();
    let mapped = mapper.live(&sample("rest-46-bot-joined-message-left"), 0);
    assert_eq!(roles(&mapped), vec![Role::Bot; 4]);
    let later = r#"{"messages":[{"index":50,"type":"Message","text":"x","from":{"participantId":6,"type":"Agent"}},
        {"index":51,"type":"Message","text":"x","from":{"participantId":2,"type":"Agent"}},
        {"index":52,"type":"ParticipantJoined","from":{"participantId":8,"type":"Agent"},
         "userData":{"GCTI_Chat_SetPartyStyle":"BOT"}},
        {"index":53,"type":"Message","text":"x","from":{"participantId":8}}]}"#;
    assert_eq!(roles(&mapper.live(&reply(later), 0)), [Role::Bot, Role::Agent, Role::Bot, Role::Bot]);
}

#[test]
fn typing_is_told_once_with_its_preview() {
    let mapped = mapper().live(&sample("rest-22-refresh-typing"), 7);
    let typing: Vec<_> = mapped
        .events
        .iter()
        .map(|event| match event {
            TransportEvent::Typing(update) => (update.on, update.own, update.who.role.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(typing, [(true, false, Role::Agent), (false, false, Role::Agent)]);
    assert!(mapper().live(&sample("rest-22-refresh-typing"), 9).events.is_empty(), "read before");
    let text =
        r#"{"messages":[{"type":"TypingStarted","text":"I nee","from":{"participantId":2,"type":"Agent"}}]}"#;
    let mapped = mapper().live(&reply(text), 9);
    let [TransportEvent::Typing(update)] = &mapped.events[..] else { panic!("{mapped:?}") };
    assert_eq!(update.preview.as_deref(), Some("I nee"));
    assert!(mapper().page(&sample("rest-22-refresh-typing")).0.is_empty(), "no part of the transcript");
}

#[test]
fn a_deletion_is_news_about_the_files_row() {
    let mut mapper = mapper();
    let up = mapper.live(&sample("rest-63-file-uploaded-event-own"), 0);
    let gone = mapper.live(&sample("rest-65-file-deleted-event"), 0);
    let mut transcript = chat_core::Transcript::new();
    // Whichever is told first.
    for sighting in [messages(&gone)[0], messages(&up)[0]] {
        transcript.sight(sighting.clone());
    }
    let rows: Vec<_> = transcript.snapshot(chat_core::View::Full).iter().cloned().collect();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let [file] = row.attachments() else { panic!("{row:?}") };
    assert_eq!((&*file.name, file.size), ("fatura ção.pdf", Some(18_231)));
    assert_eq!(file.status, AttachmentStatus::Deleted);
    assert_eq!(row.message_id().unwrap().as_str(), "53");
    assert!(row.is_own());
}

#[test]
fn limits_are_no_message() {
    let mapped = mapper().live(&sample("rest-60-file-limits"), 0);
    assert!(matches!(&mapped.events[..], [TransportEvent::Other(_)]), "{mapped:?}");
    assert!(mapper().page(&sample("rest-60-file-limits")).0.is_empty());
}

#[test]
fn entries_without_an_index_stand_by_their_neighbours() {
    let text = r#"{"messages":[{"text":"a"},{"index":5,"text":"b"},{"text":"c"},{"text":"d"},{"index":4,"text":"e"}],"nextPosition":9}"#;
    let mapped = mapper().live(&reply(text), 0);
    let places: Vec<_> = messages(&mapped).iter().map(|sighting| sighting.place.unwrap()).collect();
    let estimated = |index, tie| Place::estimated(Primary::Index(0, index), tie);
    let exact = |index| Place::exact(Primary::Index(0, index));
    assert_eq!(places, [exact(4), estimated(4, 1), exact(5), estimated(5, 1), estimated(5, 2)]);
    let alone = mapper().live(&reply(r#"{"messages":[{"text":"a"}],"nextPosition":9}"#), 0);
    assert_eq!(messages(&alone)[0].place, Some(estimated(8, 1)));
    let lost = mapper().live(&reply(r#"{"messages":[{"text":"a"}]}"#), 0);
    assert_eq!(messages(&lost)[0].place, None);
}

#[test]
fn the_first_of_two_with_one_index_counts_and_the_other_is_not_lost() {
    let mapped = mapper().live(&sample("bad-13-duplicate-index-different-text"), 0);
    let [TransportEvent::Message(first), TransportEvent::Other(second)] = &mapped.events[..] else {
        panic!("{mapped:?}")
    };
    assert_eq!(first.content, Some(Content::Text(Text::plain("a"))));
    assert!(second.body.contains(r#""text":"b""#));
}

#[test]
fn a_text_that_was_seen_in_clear_stays_so_whichever_comes_first() {
    let told = |text: &str| {
        let event = r#"{"index":4,"type":"Message","utcTime":1750000004200,"from":{"participantId":1,"type":"Client"}"#;
        let mapped = mapper().live(&reply(&format!(r#"{{"messages":[{event},"text":"{text}"}}]}}"#)), 0);
        messages(&mapped)[0].clone()
    };
    let (clear, masked) = (told("my card *is* 4111 1111"), told("my card *is* **** ****"));
    for order in [[&clear, &masked], [&masked, &clear]] {
        let mut transcript = chat_core::Transcript::new();
        for sighting in order {
            transcript.sight(sighting.clone());
        }
        let rows = transcript.snapshot(chat_core::View::Display);
        let clear = Content::Text(Text::plain("my card *is* 4111 1111"));
        assert_eq!((rows.len(), rows[0].content()), (1, Some(&clear)));
    }
}

#[test]
fn every_entry_of_a_damaged_reply_is_one_event_with_its_text() {
    for (name, envelope) in samples::envelopes() {
        let mut damaged = Vec::new();
        samples::damages(&envelope, "", &mut damaged);
        for (path, one) in damaged {
            let reply = reply(&one.to_string());
            let mut events = mapper().live(&reply, 0).events;
            events.retain(|event| !matches!(event, TransportEvent::Session(_)));
            assert_eq!(events.len(), reply.events().len(), "{name} {path}");
            let mut left: Vec<_> = reply.events().iter().map(|event| &event.raw).collect();
            for event in &events {
                let raw = match event {
                    TransportEvent::Message(sighting) => sighting.raw.as_ref(),
                    TransportEvent::Typing(update) if update.on => update.item.as_ref().unwrap().raw.as_ref(),
                    // That somebody no longer types is all that such an entry says.
                    TransportEvent::Typing(_) => continue,
                    TransportEvent::Other(raw) => Some(&raw.body),
                    other => panic!("{other:?}"),
                };
                let at = left.iter().position(|one| Some(*one) == raw);
                left.remove(at.unwrap_or_else(|| panic!("{name} {path}: {raw:?}")));
            }
            assert!(left.iter().all(|raw| raw.contains("TypingStopped")), "{name} {path}: {left:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_is_one_event(
        entries in prop::collection::vec((prop::option::of(1u64..9), 0usize..16, 0u64..4), 0..12),
        next: Option<u64>, read_to in 0u64..9,
    ) {
        const KINDS: [&str; 16] = [
            "ParticipantJoined", "ParticipantLeft", "Message", "PushUrl", "NicknameUpdated", "FileUploaded", "FileDeleted",
            "CustomNotice", "Notice", "IdleAlert", "IdleClose", "New", "", "Message", "TypingStarted", "TypingStopped",
        ];
        let events: Vec<_> = entries.iter().map(|(index, kind, from)| {
            let index = index.map(|index| format!(r#""index":{index},"#)).unwrap_or_default();
            format!(r#"{{{index}"type":"{}","text":"x","from":{{"participantId":{from}}}}}"#, KINDS[*kind])
        }).collect();
        let next = next.map(|next| format!(r#","nextPosition":{next}"#)).unwrap_or_default();
        let reply = reply(&format!(r#"{{"messages":[{}]{next}}}"#, events.join(",")));
        let mapped = mapper().live(&reply, read_to);
        let news = mapped.events.iter().filter(|event| matches!(event, TransportEvent::Session(_))).count();
        let stale = in_order(&reply).0.iter().filter(|entry| {
            entry.event.index.is_some_and(|index| index < read_to)
                && matches!(entry.event.kind, Some(EventType::TypingStarted | EventType::TypingStopped))
        }).count();
        prop_assert_eq!(mapped.events.len() - news, entries.len() - stale);
        let places: Vec<_> = messages(&mapped).iter().map(|sighting| sighting.place).collect();
        prop_assert!(places.is_sorted_by_key(|place| place.map(|place| (place.primary, place.tie))));
    }
}
