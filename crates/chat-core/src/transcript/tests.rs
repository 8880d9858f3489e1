//! Owns the examples of the rules: what a user of the transcript notices. The laws are in `tests/transcript_laws.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::{
    error::ErrorKind,
    ids::{ClientToken, MessageId, Scope},
    message::{
        Attachment, AttachmentStatus, Choice, Chunk, Content, Interactive, Participant, Place, Primary, Role,
        SendStage, SystemEvent, Text,
    },
};

fn scope() -> Scope {
    Scope::new("chat")
}

fn id(name: &str) -> Alias {
    Alias::message(&scope(), &MessageId::new(name))
}

fn token(name: &str) -> Alias {
    Alias::token(&scope(), &ClientToken::new(name))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000).unwrap()
}

fn text(body: &str) -> Content {
    Content::Text(Text::plain(body))
}

fn agent() -> Participant {
    Participant::new(Role::Agent).with_id("ann").with_name("Ann")
}

fn bare(second: i64, body: &str) -> Sighting {
    Sighting::new("a".into())
        .with_place(Place::exact(Primary::Instant(at(second))))
        .with_time(at(second))
        .with_sender(agent(), false)
        .with_content(text(body))
}

fn message(name: &str, second: i64) -> Sighting {
    bare(second, name).with_alias(id(name))
}

fn own(name: &str, second: i64) -> Sighting {
    message(name, second).with_sender(Participant::new(Role::Customer).with_id("me"), true)
}

fn queued() -> SendState {
    SendState { sent: false, attempt: 0, stage: SendStage::Queued }
}

fn shown(transcript: &Transcript, view: View) -> Vec<String> {
    transcript
        .rows(view)
        .map(|row| match row.content() {
            Some(Content::Text(text)) => text.body.to_string(),
            Some(Content::Interactive(interactive)) => interactive.raw.to_string(),
            Some(Content::Event(event)) => format!("{event:?}"),
            Some(other) => format!("{other:?}"),
            None => "gap".to_owned(),
        })
        .collect()
}

fn imported(transcript: &Transcript) -> Transcript {
    Transcript::from_json_lines(transcript.json_lines()).unwrap()
}

fn read(by: &str) -> Receipt {
    Receipt { by: by.into(), delivered: None, read: Some(at(50)) }
}

fn question(name: &str, second: i64, reference: &str) -> Sighting {
    message(name, second).with_content(Content::Interactive(Box::new(Interactive {
        template: "ListPicker".into(),
        title: Some("Which?".into()),
        subtitle: None,
        image: None,
        choices: vec![Choice { title: "One".into(), subtitle: None, image: None, reply: Text::plain("1") }],
        parts: vec![],
        view: None,
        reference: Some(reference.into()),
        raw: name.into(),
    })))
}

#[test]
fn an_own_message_is_settled_in_place() {
    let mut transcript = Transcript::new();
    transcript.want_diffs(View::Full, true);
    transcript.sight(message("hello", 1));
    transcript.local(LocalRow::new(token("t"), 0, text("hi"), queued()).written_at(at(9)));
    assert_eq!(shown(&transcript, View::Full), ["hello", "hi"]);
    let row = transcript.get(&token("t")).unwrap();
    assert!(row.is_own());
    assert_eq!(row.delivery(), None);
    assert_eq!(row.time().map(|time| (time.at, time.estimated)), Some((at(9), true)));
    assert_eq!(row.token(), Some(ClientToken::new("t")));
    transcript.take_diffs(View::Full);

    let sent = SendState { sent: true, ..queued() };
    let change = transcript.set_send_state(&token("t"), sent);
    assert!(change.state && !change.new);
    transcript.link(&token("t"), &id("hi")).unwrap();
    transcript.sight(own("hi", 2));
    let diffs = transcript.take_diffs(View::Full);
    assert!(diffs.iter().all(|diff| matches!(diff, Diff::Set { at: 1, .. })), "{diffs:?}");
    let row = transcript.get(&token("t")).unwrap();
    assert_eq!(row.message_id(), Some(MessageId::new("hi")));
    assert_eq!(row.delivery(), Some(DeliveryState::Sent));
    assert_eq!(transcript.len(View::Full), 2);
    // Nothing turns a sent message back.
    let late = SendState { sent: false, attempt: 7, stage: SendStage::Failed };
    assert!(!transcript.set_send_state(&token("t"), late).any);
}

#[test]
fn an_answer_is_not_yet_the_echo() {
    let mut transcript = Transcript::new();
    transcript.want_diffs(View::Full, true);
    transcript.local(LocalRow::new(token("t"), 0, text("hi"), queued()));
    let heard = |transcript: &Transcript| transcript.get(&token("t")).unwrap().is_heard();
    assert!(!heard(&transcript), "nobody has told of it");
    transcript.link(&token("t"), &id("hi")).unwrap();
    transcript.answered(own("hi", 2));
    assert!(!heard(&transcript), "the answer tells all of it, and may have overtaken others");
    let mut restored = imported(&transcript);
    assert!(!heard(&restored));
    transcript.take_diffs(View::Full);
    for transcript in [&mut transcript, &mut restored] {
        assert!(transcript.sight(own("hi", 2)).any, "the echo is news, though it tells nothing else");
        assert!(heard(transcript));
        assert!(!transcript.answered(own("hi", 2)).any, "and a late answer takes nothing back");
    }
    assert!(matches!(&*transcript.take_diffs(View::Full), [Diff::Set { row, .. }] if row.is_heard()));
    assert!(heard(&imported(&transcript)));
}

#[test]
fn unsent_rows_stand_last_by_sequence_whatever_their_clock_says() {
    let mut transcript = Transcript::new();
    transcript.local(LocalRow::new(token("a"), 2, text("second"), queued()).written_at(at(0)));
    transcript.local(LocalRow::new(token("b"), 1, text("first"), queued()).written_at(at(99)));
    transcript.sight(message("theirs", 5));
    let mut nowhere = message("nowhere", 0);
    nowhere.place = None;
    transcript.sight(nowhere);
    assert_eq!(shown(&transcript, View::Full), ["theirs", "nowhere", "first", "second"]);
}

#[test]
fn what_is_taken_back_disappears_and_a_retry_brings_it_again() {
    let mut transcript = Transcript::new();
    transcript.local(LocalRow::new(token("t"), 0, text("hi"), queued()));
    let cancelled = SendState { stage: SendStage::Cancelled, ..queued() };
    assert_eq!(transcript.set_send_state(&token("t"), cancelled).visibility, Visibility::Cancelled);
    assert!(transcript.is_empty());
    let change = transcript.set_send_state(&token("t"), SendState { attempt: 1, ..queued() });
    assert!(!change.new, "it was announced before");
    assert_eq!(shown(&transcript, View::Display), ["hi"]);
}

#[test]
fn a_link_that_would_join_two_messages_is_refused() {
    let mut transcript = Transcript::new();
    for (name, sequence) in [("t", 0), ("u", 1)] {
        transcript.local(LocalRow::new(token(name), sequence, text("same"), queued()));
    }
    transcript.link(&token("t"), &id("m")).unwrap();
    let before = transcript.to_json_lines();
    let conflict = transcript.link(&token("u"), &id("m")).unwrap_err();
    assert_eq!((conflict.token, conflict.id, conflict.other), (token("u"), id("m"), token("t")));
    let conflict = transcript.link(&token("t"), &id("n")).unwrap_err();
    assert_eq!(conflict.other, id("m"));
    assert_eq!(conflict.to_string(), "the token and the id belong to different messages");
    assert_eq!(crate::Error::from(conflict).kind(), &ErrorKind::Conflict);
    assert_eq!(transcript.to_json_lines(), before);
    assert!(!transcript.link(&token("t"), &id("m")).unwrap().any, "linked already");
    // In another scope, or of another kind, a token may have another name.
    transcript.link(&token("t"), &Alias::message(&Scope::new("next"), &MessageId::new("n"))).unwrap();
    transcript.link(&token("t"), &Alias::attachment(&scope(), &"file".into())).unwrap();
    transcript.link(&token("new"), &id("other")).unwrap();
    assert_eq!(transcript.get(&id("other")).unwrap().token(), Some(ClientToken::new("new")));
}

#[test]
fn two_rows_that_turn_out_to_be_one_lose_the_younger() {
    let mut transcript = Transcript::new();
    transcript.sight(message("b", 2));
    transcript.sight(message("c", 3));
    let survivor = transcript.get(&id("b")).unwrap().handle();
    let loser = transcript.sight(message("a", 1)).row.unwrap();
    transcript.want_diffs(View::Full, true);
    let change = transcript.sight(Sighting::new("a".into()).with_alias(id("a")).with_alias(id("b")));
    assert!(!change.new);
    assert_eq!(change.row, Some(survivor));
    assert!(transcript.by_handle(loser).is_none());
    let diffs = transcript.take_diffs(View::Full);
    assert!(matches!(diffs[..], [Diff::Remove { at: 0 }, Diff::Set { at: 0, .. }]), "{diffs:?}");
    // The survivor goes where the two belong: `Move` first, and its target counts after the removal.
    transcript.sight(message("z", 9));
    transcript.take_diffs(View::Full);
    transcript.sight(message("z", 9).with_place(Place::exact(Primary::Instant(at(0)))));
    let diffs = transcript.take_diffs(View::Full);
    assert!(matches!(diffs[..], [Diff::Move { from: 2, to: 0 }, Diff::Set { at: 0, .. }]), "{diffs:?}");
    assert_eq!(transcript.get(&id("a")).unwrap().versions().count(), 2, "both contents are kept");
}

#[test]
fn the_one_that_is_shown_survives() {
    let mut transcript = Transcript::new();
    let change = transcript.receipt(&id("hidden"), read("ann"));
    assert_eq!((change.any, change.receipts), (true, vec![read("ann")]));
    let shown = transcript.sight(message("m", 1)).row;
    let change = transcript.sight(message("m", 1).with_alias(id("hidden")));
    assert_eq!(change.row, shown);
    assert_eq!(change.receipts, [read("ann")]);
}

#[test]
fn a_message_without_an_id_gives_way_to_its_identified_copy() {
    let mut transcript = Transcript::new();
    transcript.want_diffs(View::Full, true);
    assert!(transcript.sight(bare(1, "hello")).new);
    assert!(!transcript.sight(bare(1, "hello")).any, "told twice, it stands once");
    assert!(transcript.sight(bare(2, "hello")).new, "another time, another message");
    transcript.take_diffs(View::Full);
    let change = transcript.sight(bare(1, "hello").with_alias(id("m")));
    assert!(!change.new, "it was announced without its id");
    let diffs = transcript.take_diffs(View::Full);
    assert!(matches!(diffs[..], [Diff::Remove { at: 0 }, Diff::Insert { at: 0, .. }]), "{diffs:?}");
    assert_eq!(transcript.len(View::Full), 2);
    assert_eq!(transcript.hidden().map(|row| row.visibility()).collect::<Vec<_>>(), [Visibility::Duplicate]);
    // The other order, before and after there is an index of such rows.
    let mut other = Transcript::new();
    assert!(other.sight(bare(1, "hello").with_alias(id("m"))).new);
    assert!(!other.sight(bare(1, "hello")).new);
    assert!(other.sight(bare(2, "bye").with_alias(id("n"))).new);
    assert!(!other.sight(bare(2, "bye")).new);
    assert_eq!(shown(&other, View::Full), ["hello", "bye"]);
}

#[test]
fn equal_texts_at_two_indices_are_two_messages() {
    let item = |index| {
        let mut item = Sighting::new("a".into()).with_content(text("ok"));
        item.place = Some(Place::exact(Primary::Index(index, 0)));
        item
    };
    let mut transcript = Transcript::new();
    transcript.sight_all([item(1), item(2), item(1)]);
    assert_eq!(transcript.len(View::Full), 2);
    transcript.sight(item(2).with_alias(id("two")));
    assert_eq!(transcript.len(View::Full), 2, "it stands for its own copy alone");
    assert!(transcript.sight(item(3).with_alias(id("three"))).new, "no copy of what was told without an id");
    assert_eq!(transcript.len(View::Full), 3);
    let mut anywhere = item(4).with_alias(id("any"));
    anywhere.place = None;
    transcript.sight(anywhere);
    assert_eq!(transcript.len(View::Full), 3, "without an index it may be the copy of either");
}

#[test]
fn copies_go_with_their_own_message_alone() {
    let item = |index| {
        let mut item = Sighting::new("a".into()).with_content(text("ok"));
        item.place = Some(Place::exact(Primary::Index(index, 0)));
        item
    };
    let mut transcript = Transcript::new();
    transcript.sight_all([item(2), item(1).with_alias(id("one")), item(2).with_alias(id("two"))]);
    transcript.trim(1);
    assert_eq!((transcript.hidden().count(), transcript.trimmed()), (1, 1));
}

#[test]
fn pieces_show_up_to_the_first_hole_and_the_whole_replaces_them() {
    let piece = |number, second, body: &str| {
        let mut piece = message("bot", second).with_content(text(body));
        piece.chunk = Some(Chunk::Part(number));
        piece
    };
    let mut transcript = Transcript::new();
    let change = transcript.sight(piece(2, 2, "lo "));
    assert_eq!((change.new, change.visibility), (false, Visibility::Incomplete));
    assert!(transcript.sight(piece(1, 1, "Hel")).new);
    assert_eq!(shown(&transcript, View::Display), ["Hello "]);
    assert!(!transcript.sight(piece(4, 4, "!")).content, "it waits for the third");
    assert!(transcript.sight(piece(3, 3, "there")).content);
    assert_eq!(shown(&transcript, View::Display), ["Hello there!"]);
    let mut whole = message("bot", 5).with_content(text("Hello there."));
    whole.chunk = Some(Chunk::Whole);
    assert!(transcript.sight(whole).content);
    assert!(!transcript.sight(piece(5, 6, "late")).content);
    assert_eq!(shown(&transcript, View::Display), ["Hello there."]);
    let row = transcript.get(&id("bot")).unwrap();
    assert_eq!(row.time().map(|time| time.at), Some(at(1)), "the time is the first piece's");
}

#[test]
fn reading_implies_what_is_older_and_own_receipts_do_not_count() {
    let mut transcript = Transcript::new();
    transcript.own_participant("me".into());
    let state = |transcript: &Transcript, name| transcript.get(&id(name)).unwrap().delivery();
    transcript.receipt(&id("two"), read("ann"));
    transcript.sight_all([own("one", 1), own("two", 2), own("three", 3), message("theirs", 4)]);
    assert_eq!(state(&transcript, "one"), Some(DeliveryState::Read));
    assert_eq!(state(&transcript, "two"), Some(DeliveryState::Read));
    assert_eq!(state(&transcript, "three"), Some(DeliveryState::Sent));
    assert_eq!(state(&transcript, "theirs"), None);
    transcript.receipt(&id("three"), read("me"));
    assert_eq!(state(&transcript, "three"), Some(DeliveryState::Sent));
    let delivered = Receipt { read: None, ..read("ann") };
    assert!(transcript.receipt(&id("three"), delivered.clone()).receipts.contains(&delivered));
    assert_eq!(state(&transcript, "three"), Some(DeliveryState::Delivered));
    assert!(!transcript.receipt(&id("two"), delivered).any, "delivered says less than read");
    // Older ones that arrive later are read, too; and all follow when the newest is read.
    transcript.sight(own("zero", 0));
    assert_eq!(state(&transcript, "zero"), Some(DeliveryState::Read));
    transcript.want_diffs(View::Full, true);
    transcript.sight_all([own("four", 5), own("five", 6)]);
    transcript.take_diffs(View::Full);
    transcript.receipt(&id("five"), read("ann"));
    assert_eq!(state(&transcript, "four"), Some(DeliveryState::Read));
    let mut changed: Vec<_> = transcript
        .take_diffs(View::Full)
        .iter()
        .map(|diff| match diff {
            Diff::Set { at, .. } => *at,
            other => panic!("{other:?}"),
        })
        .collect();
    changed.sort_unstable();
    changed.dedup();
    assert_eq!(changed, [3, 5, 6], "three, four and five, and nobody else");
    // Who turns out to be this session's participant has read nothing.
    transcript.own_participant("ann".into());
    assert_eq!(state(&transcript, "one"), Some(DeliveryState::Sent));
}

#[test]
fn a_read_message_that_moves_up_takes_its_reading_along() {
    let mut transcript = Transcript::new();
    let state = |transcript: &Transcript, name| transcript.get(&id(name)).unwrap().delivery();
    transcript.sight_all([own("one", 1), own("two", 3), own("three", 4)]);
    transcript.receipt(&id("three"), read("ann"));
    assert_eq!(state(&transcript, "two"), Some(DeliveryState::Read));
    // It stands between the others once its place is known better.
    transcript.sight(own("three", 2));
    assert_eq!(shown(&transcript, View::Full), ["one", "three", "two"]);
    assert_eq!(state(&transcript, "one"), Some(DeliveryState::Read));
    assert_eq!(state(&transcript, "two"), Some(DeliveryState::Sent));
}

#[test]
fn a_newer_question_with_the_same_reference_replaces_the_older() {
    let mut transcript = Transcript::new();
    transcript.sight_all([question("new", 3, "r"), question("other", 2, "s"), question("old", 1, "r")]);
    assert_eq!(shown(&transcript, View::Display), ["other", "new"]);
    assert_eq!(shown(&transcript, View::Full), ["old", "other", "new"]);
    assert_eq!(transcript.get(&id("old")).unwrap().visibility(), Visibility::Superseded);
    transcript.sight(question("newest", 4, "r"));
    assert_eq!(shown(&transcript, View::Display), ["other", "newest"]);
    // An older one changes nothing about it.
    transcript.want_diffs(View::Full, true);
    transcript.sight(question("in between", 2, "r"));
    let diffs = transcript.take_diffs(View::Full);
    assert!(matches!(diffs[..], [Diff::Insert { at: 1, .. }]), "{diffs:?}");
    // The newest turns out to stand first.
    transcript.sight(question("newest", 0, "r"));
    assert_eq!(shown(&transcript, View::Display), ["other", "new"]);
}

#[test]
fn events_and_quiet_messages_stay_out_of_the_display_view() {
    let mut transcript = Transcript::new();
    transcript.sight(message("joined", 1).with_content(Content::Event(SystemEvent::Joined)));
    let mut quiet = message("page 2", 2);
    quiet.quiet = true;
    transcript.sight_all([quiet, message("hello", 3)]);
    assert_eq!(shown(&transcript, View::Full), ["Joined", "page 2", "hello"]);
    assert_eq!(shown(&transcript, View::Display), ["hello"]);
    assert_eq!(transcript.snapshot(View::Display).len(), 1);
    transcript.sight(message("left", 4).with_content(Content::Event(SystemEvent::Left)));
    assert_eq!((transcript.snapshot(View::Display).len(), transcript.len(View::Full)), (1, 4));
}

#[test]
fn filters_hide_and_show_again() {
    let mut transcript = Transcript::new();
    transcript.sight_all([message("secret 1", 1), message("plain", 2)]);
    transcript.want_diffs(View::Display, true);
    transcript.set_filters(vec![Filter::new(r"^secret \d$").unwrap()]);
    assert_eq!(transcript.filters()[0].pattern(), r"^secret \d$");
    assert_eq!(format!("{:?}", transcript.filters()), r#"[Filter("^secret \\d$")]"#);
    assert_eq!(transcript.filters()[0], r"^secret \d$".parse().unwrap());
    assert_ne!(transcript.filters()[0], Filter::new("plain").unwrap());
    transcript.sight(message("secret 2", 3));
    assert_eq!(shown(&transcript, View::Display), ["plain"]);
    assert_eq!(transcript.get(&id("secret 2")).unwrap().visibility(), Visibility::Filtered);
    let diffs = transcript.take_diffs(View::Display);
    assert!(matches!(diffs[..], [Diff::Remove { at: 0 }]), "{diffs:?}");
    transcript.set_filters(vec![]);
    assert_eq!(shown(&transcript, View::Display), ["secret 1", "plain", "secret 2"]);
}

#[test]
fn an_unusable_filter_is_refused_with_the_reason() {
    let reason = |pattern: &str| {
        let error = Filter::new(pattern).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidInput);
        error.to_string()
    };
    assert!(reason("(?=a)b").contains("look-around"), "{}", reason("(?=a)b"));
    assert!(reason(r"(a)\1").contains("backreferences"), "{}", reason(r"(a)\1"));
    assert!(reason("(").contains("unclosed group"), "{}", reason("("));
    assert!(reason(&"a".repeat(Filter::MAX_PATTERN + 1)).contains("4097 bytes, the limit is 4096"));
    assert!(reason(r"\w{1000}{1000}").contains("exceeds"), "{}", reason(r"\w{1000}{1000}"));
    assert!(Filter::new(&"a".repeat(Filter::MAX_PATTERN)).is_ok());
}

#[test]
fn the_preprocessor_runs_once_for_each_version_and_keeps_the_original() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut transcript = Transcript::new();
    transcript.set_preprocessor(Some(Arc::new(move |row| {
        counted.fetch_add(1, Ordering::Relaxed);
        match row.original()? {
            Content::Text(text) => Some(Content::Text(Text::plain(text.body.to_uppercase()))),
            _ => None,
        }
    })));
    let mut corrected = message("hello", 1).with_content(text("hello!"));
    corrected.version = 2;
    transcript.sight(message("hello", 1));
    transcript.receipt(&id("hello"), read("ann"));
    transcript.sight(message("hello", 1));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(transcript.sight(corrected).content);
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    let mut older = message("hello", 1).with_content(text("helo"));
    older.version = 1;
    assert!(!transcript.sight(older).content, "an older version is kept, and changes nothing that is shown");
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(shown(&transcript, View::Full), ["HELLO!"]);
    let row = transcript.get(&id("hello")).unwrap();
    assert_eq!(row.original(), Some(&text("hello!")));
    let versions: Vec<_> = row.versions().map(|version| version.version).collect();
    assert_eq!(versions, [2, 1, 0]);
    transcript.set_preprocessor(None);
    assert_eq!(shown(&transcript, View::Full), ["hello!"]);
}

#[test]
fn gaps_stand_behind_their_row_until_they_are_closed() {
    let mut transcript = Transcript::new();
    transcript.sight_all([message("one", 1), message("three", 3)]);
    let mark = |transcript: &Transcript, name| transcript.get(&id(name)).unwrap().mark();
    let (start, middle) = (GapId::new("start"), GapId::new("middle"));
    assert_eq!((start.as_str(), format!("{middle:?}").as_str()), ("start", "\"middle\""));
    assert!(!transcript.gap(start.clone(), None).new, "a gap is no message");
    transcript.gap(middle.clone(), mark(&transcript, "one"));
    assert_eq!(shown(&transcript, View::Display), ["gap", "one", "gap", "three"]);
    let open: Vec<_> = transcript.open_gaps().map(|row| row.gap().unwrap().id().clone()).collect();
    assert_eq!(open, [start.clone(), middle.clone()]);
    transcript.sight(message("two", 2));
    assert_eq!(shown(&transcript, View::Display), ["gap", "one", "gap", "two", "three"]);
    assert!(transcript.gap(middle.clone(), mark(&transcript, "two")).any);
    assert_eq!(shown(&transcript, View::Display), ["gap", "one", "two", "gap", "three"]);
    assert!(!transcript.gap(middle.clone(), mark(&transcript, "one")).any, "it only rises");
    transcript.close_gap(&middle);
    transcript.close_gap(&start);
    transcript.gap(middle.clone(), mark(&transcript, "three"));
    assert!(transcript.gap_row(&middle).unwrap().gap().unwrap().is_closed(), "closed is for good");
    assert_eq!(transcript.open_gaps().count(), 0);
    assert_eq!(shown(&transcript, View::Display), ["one", "two", "three"]);
}

#[test]
fn segments_follow_each_other_by_start() {
    let mut transcript = Transcript::new();
    let item =
        |segment: &str, name: &str, second| Sighting { segment: segment.into(), ..message(name, second) };
    transcript.sight_all([item("late", "l", 1), item("early", "e", 9), item("undeclared", "u", 0)]);
    transcript.want_diffs(View::Full, true);
    let mut mirror = Mirror::from(&transcript.snapshot(View::Full));
    transcript.segment(&"late".into(), Some(at(100)));
    transcript.segment(&"early".into(), Some(at(200)));
    assert_eq!(shown(&transcript, View::Full), ["l", "e", "u"]);
    transcript.segment(&"early".into(), Some(at(50)));
    transcript.segment(&"early".into(), Some(at(300)));
    assert_eq!(shown(&transcript, View::Full), ["e", "l", "u"], "the earlier start counts");
    mirror.apply_all(&transcript.take_diffs(View::Full)).unwrap();
    assert_eq!(mirror, transcript.snapshot(View::Full));
    let order: Vec<_> = transcript.segments().map(|(id, start)| (id.as_str(), start)).collect();
    assert_eq!(order, [("early", Some(at(50))), ("late", Some(at(100))), ("undeclared", None)]);
    let position = |name| transcript.spot(transcript.get(&id(name)).unwrap().mark().unwrap());
    assert!(position("e") < position("l") && position("l") < position("u"));
    transcript.sight(item("a segment", "a", 0));
    transcript.segment(&"a segment".into(), Some(at(150)));
    let mark = |name| transcript.get(&id(name)).unwrap().mark().unwrap();
    assert!(transcript.compare(&mark("a"), &mark("l")).is_gt(), "by start, not by name");
    assert!(transcript.spot(mark("a")) > transcript.spot(mark("l")));
}

#[test]
fn a_message_of_several_segments_stands_in_the_first() {
    let mut transcript = Transcript::new();
    let item = |segment: &str, second| Sighting { segment: segment.into(), ..message("m", second) };
    transcript.segment(&"a".into(), Some(at(20)));
    transcript.segment(&"b".into(), Some(at(30)));
    transcript.sight(item("a", 2));
    assert!(transcript.sight(Sighting { place: None, ..item("b", 3) }).any);
    assert!(transcript.sight(item("b", 3)).any, "its place there is news");
    transcript.want_diffs(View::Full, true);
    let row = |transcript: &mut Transcript| {
        let row = transcript.snapshot(View::Full)[0].clone();
        (row.segment().unwrap().to_string(), row.place().unwrap().primary)
    };
    assert_eq!(row(&mut transcript), ("a".to_owned(), Primary::Instant(at(2))));
    // The order of segments that have no rows is nobody's news.
    transcript.segment(&"c".into(), Some(at(40)));
    transcript.segment(&"d".into(), Some(at(50)));
    transcript.segment(&"d".into(), Some(at(35)));
    assert!(transcript.take_diffs(View::Full).is_empty());
    transcript.segment(&"b".into(), Some(at(10)));
    assert_eq!(row(&mut transcript), ("b".to_owned(), Primary::Instant(at(3))));
    assert!(matches!(transcript.take_diffs(View::Full)[..], [Diff::Reset(_)]));
}

#[test]
fn a_gap_of_several_segments_lies_behind_the_last() {
    let mut transcript = Transcript::new();
    let item = |segment: &str, name: &str| Sighting { segment: segment.into(), ..message(name, 1) };
    transcript.segment(&"a".into(), Some(at(20)));
    transcript.segment(&"b".into(), Some(at(30)));
    transcript.sight_all([item("a", "one"), item("b", "two")]);
    for name in ["one", "two"] {
        let mark = transcript.get(&id(name)).unwrap().mark();
        transcript.gap(GapId::new("g"), mark);
    }
    assert_eq!(shown(&transcript, View::Full), ["one", "two", "gap"]);
    transcript.segment(&"b".into(), Some(at(10)));
    assert_eq!(shown(&transcript, View::Full), ["two", "one", "gap"]);
}

#[test]
fn most_rows_find_their_place_in_a_few_comparisons() {
    // Entries that are their own keys.
    let mut order = Order::default();
    for n in 0..1_000 {
        order.insert(n, n as u32 * 10);
    }
    let find = |order: &Order, key: u32| {
        let mut comparisons = 0;
        let at = order.belongs(|entry| {
            comparisons += 1;
            entry.cmp(&key)
        });
        (at, comparisons)
    };
    assert_eq!(find(&Order::default(), 1), (0, 0));
    assert_eq!(find(&order, 9_991), (1_000, 1), "at the end");
    assert_eq!(find(&order, 9_985), (999, 2), "right before it");
    assert_eq!(find(&order, 9_955), (996, 6), "a little late");
    assert_eq!(find(&order, 9_905), (991, 8));
    order.insert(500, 4_995);
    assert_eq!(find(&order, 4_996), (501, 3), "behind the one that came last");
    assert_eq!(find(&order, 4_994), (500, 3), "and before it");
    assert_eq!(find(&order, 4_985), (499, 4));
    assert_eq!(find(&order, 4_975), (498, 6));
    let mut short = Order::default();
    for n in 1..5 {
        short.insert(n - 1, n as u32 * 10);
    }
    assert_eq!(find(&short, 25), (2, 3), "halves as soon as few are left");
    let mut front = Order::default();
    front.insert(0, 1_000);
    for n in 1..100 {
        front.insert(0, 1_000 - n);
        assert_eq!(find(&front, 900), (0, 2), "at the front, again and again");
    }
    // Rows in order, or in reverse order, stand where their number says.
    let (mut forward, mut backward) = (Order::default(), Order::default());
    for slot in 0..10 {
        forward.insert(slot, slot as u32);
        backward.insert(0, slot as u32);
    }
    assert_eq!((forward.guess(3), backward.guess(3)), (Some(3), Some(6)));
    assert_eq!((forward.guess(10), order.guess(7)), (None, None));
    for key in (5..10_000).step_by(10) {
        let (at, comparisons) = find(&order, key);
        assert_eq!(at, (key as usize + 5) / 10 + usize::from(key > 4_995), "{key}");
        assert!(comparisons <= 22, "{key}: {comparisons}");
    }
}

#[test]
fn an_estimated_place_keeps_its_neighbourhood_until_the_exact_one_is_known() {
    let mut transcript = Transcript::new();
    let estimate = message("x", 9).with_place(Place::estimated(Primary::Instant(at(1)), 1));
    transcript.sight_all([message("one", 1), message("two", 2), estimate]);
    assert_eq!(shown(&transcript, View::Full), ["one", "x", "two"]);
    transcript.sight(message("x", 3));
    assert_eq!(shown(&transcript, View::Full), ["one", "two", "x"]);
    let mut timeless = message("y", 4);
    timeless.time = None;
    transcript.sight(timeless.clone().with_place(Place::estimated(Primary::Instant(at(4)), 1)));
    assert!(transcript.get(&id("y")).unwrap().time().unwrap().estimated);
    transcript.sight(timeless);
    assert!(!transcript.get(&id("y")).unwrap().time().unwrap().estimated);
}

#[test]
fn files_join_by_id_with_their_furthest_progress() {
    let file = |name: &str, status| Attachment {
        id: name.into(),
        name: name.into(),
        content_type: "image/png".into(),
        size: None,
        status,
    };
    let mut transcript = Transcript::new();
    let both = vec![file("f", AttachmentStatus::InProgress), file("g", AttachmentStatus::InProgress)];
    transcript.sight(message("m", 1).with_content(Content::Files(both)));
    let one = vec![file("g", AttachmentStatus::Approved)];
    assert!(transcript.sight(message("m", 1).with_content(Content::Files(one))).content);
    let row = transcript.get(&id("m")).unwrap();
    let mut states: Vec<_> = row.attachments().iter().map(|f| (f.id.as_str(), f.status)).collect();
    states.sort();
    assert_eq!(states, [("f", AttachmentStatus::InProgress), ("g", AttachmentStatus::Approved)]);
    // Of two that the newest says nothing of, each shows as far as anybody told.
    let files = |files| message("n", 2).with_content(Content::Files(files));
    transcript.sight_all([
        files(vec![file("x", AttachmentStatus::Rejected)]),
        files(vec![file("z", AttachmentStatus::Approved), file("y", AttachmentStatus::InProgress)]),
        files(vec![file("y", AttachmentStatus::Approved), file("z", AttachmentStatus::InProgress)]),
    ]);
    let row = transcript.get(&id("n")).unwrap();
    let states: Vec<_> = row.attachments().iter().map(|f| (f.id.as_str(), f.status)).collect();
    let approved = AttachmentStatus::Approved;
    assert_eq!(states, [("x", AttachmentStatus::Rejected), ("y", approved), ("z", approved)]);
    let nameless = Attachment { name: "".into(), ..file("g", AttachmentStatus::Deleted) };
    transcript.sight(message("m", 1).with_content(Content::Files(vec![nameless])));
    let row = transcript.get(&id("m")).unwrap();
    let gone = row.attachments().iter().find(|file| file.id.as_str() == "g").unwrap();
    assert_eq!((&*gone.name, gone.status), ("g", AttachmentStatus::Deleted), "the name stays");
}

#[test]
fn snapshots_are_shared_until_something_changes() {
    let mut transcript = Transcript::new();
    transcript.sight(message("m", 1));
    let one = transcript.snapshot(View::Full);
    transcript.sight(message("m", 1));
    assert!(one.same(&transcript.snapshot(View::Full)));
    transcript.receipt(&id("m"), read("ann"));
    let two = transcript.snapshot(View::Full);
    assert!(!one.same(&two));
    assert_eq!(one[0].receipts(), [], "what was read before stays as it was");
    assert_eq!(two[0].receipts(), [read("ann")]);
    assert_ne!(one, two);
}

#[test]
fn diffs_that_nobody_takes_become_one_reset() {
    let mut transcript = Transcript::new();
    assert!(transcript.take_diffs(View::Full).is_empty(), "nobody wants them");
    transcript.want_diffs(View::Full, true);
    // Each change goes to another row, lest one row grows with all of them.
    let name = |n: usize| (n % 1_000).to_string();
    transcript.sight_all((0..1_000).map(|n| message(&name(n), n as i64)));
    transcript.take_diffs(View::Full);
    for n in 0..order::MAX_WAITING {
        let mut update = message(&name(n), 0).with_content(text(&n.to_string()));
        update.version = n as u32 + 1;
        update.place = None;
        transcript.sight(update);
    }
    assert_eq!(transcript.take_diffs(View::Full).len(), order::MAX_WAITING);
    for n in 0..=order::MAX_WAITING {
        transcript.receipt(&id(&name(n)), read(&n.to_string()));
    }
    let diffs = transcript.take_diffs(View::Full);
    assert_eq!(diffs, [Diff::Reset(transcript.snapshot(View::Full))]);
    transcript.sight(message("again", 1_001));
    assert_eq!(transcript.take_diffs(View::Full).len(), 1);
    transcript.want_diffs(View::Full, false);
    transcript.sight(message("more", 1_002));
    assert!(transcript.take_diffs(View::Full).is_empty());
}

#[test]
fn a_copy_refuses_a_diff_that_does_not_fit() {
    let mut transcript = Transcript::new();
    transcript.sight(message("m", 1));
    let snapshot = transcript.snapshot(View::Full);
    let row = Arc::clone(&snapshot[0]);
    let mut mirror = Mirror::new();
    assert!(mirror.is_empty());
    let misfits = [
        Diff::Insert { at: 1, row: Arc::clone(&row) },
        Diff::Set { at: 0, row: Arc::clone(&row) },
        Diff::Remove { at: 0 },
        Diff::Move { from: 0, to: 0 },
    ];
    for diff in &misfits {
        assert!(mirror.apply(diff).is_err(), "{diff:?}");
    }
    mirror.reset(&snapshot);
    assert_eq!((mirror.len(), mirror.get(0)), (1, Some(&row)));
    let out = mirror.apply(&Diff::Move { from: 0, to: 1 }).unwrap_err();
    assert_eq!(out.to_string(), "the diff is for row 1, the copy has 1 rows");
    assert_eq!(mirror, snapshot);
    assert_eq!((mirror.iter().count(), (&snapshot).into_iter().count()), (1, 1));
    transcript.sight(message("n", 2));
    let longer = transcript.snapshot(View::Full);
    assert_ne!(mirror, longer);
    mirror.reset(&longer);
    assert_eq!((mirror.len(), mirror.is_empty()), (2, false));
}

#[test]
fn the_ends_of_what_has_a_place_and_an_id() {
    let mut transcript = Transcript::new();
    transcript.gap(GapId::new("g"), None);
    transcript.sight_all([
        bare(0, "no id"),
        own("mine", 1),
        message("first", 2),
        message("last", 3),
        own("me", 4),
    ]);
    transcript.local(LocalRow::new(token("t"), 0, text("unsent"), queued()));
    let name = |row: Option<&Arc<Row>>| row.and_then(|row| row.message_id()).unwrap().to_string();
    assert_eq!(name(transcript.oldest_placed()), "mine");
    assert_eq!(name(transcript.newest_placed()), "me");
    assert_eq!(name(transcript.oldest_of_others()), "first");
    assert_eq!(name(transcript.newest_of_others()), "last");
    let mark = Transcript::mark_of(&message("between", 2)).unwrap();
    let newest = transcript.newest_placed().unwrap().mark().unwrap();
    assert!(transcript.compare(&mark, &newest).is_lt());
}

#[test]
fn trimmed_messages_are_counted_when_they_come_again() {
    let mut transcript = Transcript::new();
    transcript.sight_all((0..10).map(|n| message(&n.to_string(), n)));
    transcript.receipt(&id("waiting"), read("ann"));
    transcript.sight(Sighting { chunk: Some(Chunk::Part(2)), ..message("never begun", 1) });
    transcript.gap(GapId::new("old"), transcript.get(&id("2")).unwrap().mark());
    transcript.gap(GapId::new("edge"), transcript.get(&id("6")).unwrap().mark());
    transcript.local(LocalRow::new(token("t"), 0, text("unsent"), queued()));
    transcript.trim(4);
    assert_eq!(shown(&transcript, View::Full), ["gap", "7", "8", "9", "unsent"]);
    assert_eq!(transcript.trimmed(), 7);
    assert_eq!(transcript.hidden().count(), 0);
    let change = transcript.sight(message("3", 3));
    assert_eq!((change.row, change.new), (None, false));
    assert!(transcript.gap(GapId::new("older"), Transcript::mark_of(&message("1", 1))).row.is_none());
    assert!(transcript.sight(message("8", 8)).row.is_some());
    assert!(transcript.sight(message("7.5", 7)).new);
    assert_eq!(transcript.trimmed(), 9);
    assert_eq!(transcript.len(View::Full), 6);
    transcript.trim(100);
    assert_eq!(transcript.trimmed(), 9);
    let mut again = Transcript::from_json_lines(transcript.json_lines()).unwrap();
    assert_eq!(again.to_json_lines(), transcript.to_json_lines());
    assert!(again.sight(message("3", 3)).row.is_none());
    // Merging takes over what was trimmed.
    let mut other = Transcript::new();
    other.sight_all((0..10).map(|n| message(&n.to_string(), n)));
    other.merge(&transcript);
    assert_eq!(shown(&other, View::Full), ["gap", "7", "7.5", "8", "9", "unsent"]);
}

#[test]
fn a_bad_line_is_named() {
    let error = |text: &str| {
        let error = Transcript::from_json_lines(text.lines()).unwrap_err();
        (error.line, error.to_string())
    };
    assert_eq!(error(""), (1, "line 1: not the header of a transcript".into()));
    assert_eq!(error("{\"row\":{}}").0, 1);
    assert_eq!(
        error("\n{\"transcript\":{\"version\":2}}"),
        (2, "line 2: format version 2 is not known".into())
    );
    let header = "{\"transcript\":{\"version\":1}}\n";
    assert_eq!(error(&format!("{header}\n{header}")).0, 3);
    let (line, text) = error(&format!("{header}{{\"row\":{{\"no_such_field\":1}}}}"));
    assert_eq!(line, 2);
    assert!(text.contains("no_such_field"), "{text}");
    assert_eq!(error(&format!("{header}{{\"row\":")).0, 2);
    let failure = Transcript::from_json_lines(["nonsense"]).unwrap_err();
    assert_eq!(crate::Error::from(failure).kind(), &ErrorKind::InvalidInput);
    let mut empty = Transcript::from_json_lines(header.lines()).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.to_json_lines(), header);
    empty.sight(message("m", 1));
    assert!(!empty.is_empty());
}

#[test]
fn plain_text_is_one_line_for_each_message_and_nobody_writes_in_anothers_name() {
    let mut transcript = Transcript::new();
    transcript.sight(message("joined", 0).with_content(Content::Event(SystemEvent::Joined)));
    transcript.sight(message("m", 1).with_content(text("hello\r\nBob: I agree\u{1b}[1m")));
    transcript.sight(question("q", 2, "r"));
    transcript.gap(GapId::new("g"), transcript.get(&id("m")).unwrap().mark());
    transcript.local(LocalRow::new(token("t"), 0, text("bye"), queued()));
    transcript.sight(Sighting { from: None, own: None, ..message("anonymous", 4) });
    let file = Attachment {
        id: "f".into(),
        name: "cat.png".into(),
        content_type: "image/png".into(),
        size: None,
        status: AttachmentStatus::Approved,
    };
    let files = vec![file.clone(), Attachment { id: "g".into(), ..file }];
    transcript.sight(
        message("f", 3).with_sender(Participant::new(Role::Bot), false).with_content(Content::Files(files)),
    );
    assert_eq!(
        transcript.to_plain_text(),
        "1970-01-01T00:00:01.000Z Ann: hello\n    Bob: I agree [1m\n\
         […]\n\
         1970-01-01T00:00:02.000Z Ann: Which? [One]\n\
         1970-01-01T00:00:03.000Z Bot: [file: cat.png, cat.png]\n\
         1970-01-01T00:00:04.000Z anonymous\n\
         Customer: bye\n"
    );
}

#[test]
fn the_vendors_text_is_kept_with_each_version() {
    let raw = |body: &str| Some(Arc::from(body));
    let mut transcript = Transcript::new();
    transcript.sight(Sighting { raw: raw("1"), ..message("m", 1) });
    let mut corrected = Sighting { raw: raw("2"), version: 1, ..message("m", 1).with_content(text("n")) };
    transcript.sight(corrected.clone());
    let row = transcript.get(&id("m")).unwrap();
    assert_eq!(row.raw().map(|raw| &**raw), Some("2"));
    assert_eq!(row.versions().filter_map(|version| version.raw.as_deref()).collect::<Vec<_>>(), ["2", "1"]);
    // Told in two ways, the lesser text counts, whatever comes first.
    corrected.raw = raw("0");
    assert!(transcript.sight(corrected.clone()).any);
    corrected.raw = raw("9");
    assert!(!transcript.sight(corrected.clone()).any);
    corrected.raw = None;
    assert!(!transcript.sight(corrected).any);
    assert_eq!(transcript.get(&id("m")).unwrap().raw().map(|raw| &**raw), Some("0"));
}

#[test]
fn what_is_told_again_hides_no_news_beside_it() {
    let raw = |body: &str| Some(Arc::from(body));
    let mut transcript = Transcript::new();
    let first = Sighting { raw: raw("1"), ..message("m", 9) };
    let second = Sighting { raw: raw("2"), version: 1, ..message("m", 9).with_content(text("n")) };
    let third = Sighting { raw: raw("3"), content: None, ..message("m", 9) };
    for known in [&first, &second, &third] {
        assert!(transcript.sight(known.clone()).any);
        assert!(!transcript.sight(known.clone()).any);
    }
    // Each is known to the letter, but for an earlier time.
    for (known, earlier) in [first, second, third].into_iter().zip([8, 7, 6].map(at)) {
        assert!(transcript.sight(known.with_time(earlier)).any);
        assert_eq!(transcript.get(&id("m")).unwrap().time().unwrap().at, earlier);
    }
}

#[test]
fn what_a_log_shows_of_it() {
    let mut transcript = Transcript::new();
    transcript.sight_all([message("a", 1), message("b", 2), message("c", 3), message("d", 4)]);
    transcript.trim(3);
    for name in ["x", "y"] {
        transcript.receipt(&id(name), read("ann"));
    }
    transcript.sight(message("b", 9).with_alias(id("y")));
    assert_eq!(format!("{transcript:?}"), "Transcript { rows: 3, hidden: 1, trimmed: 1, .. }");
    let row = transcript.get(&id("c")).unwrap();
    assert_eq!(format!("{:?}", row.handle()), "RowId(2)");
    let text = format!("{row:?}");
    assert!(text.starts_with("Row { handle: RowId(2), ") && text.contains("visibility: Shown"), "{text}");
    transcript.gap(GapId::new("hole"), None);
    let gap = format!("{:?}", transcript.gap_row(&GapId::new("hole")).unwrap());
    assert!(gap.contains("\"hole\""), "{gap}");
    assert!(format!("{:?}", transcript.snapshot(View::Full)).starts_with("[Row { "));
}
