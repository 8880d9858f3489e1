//! The laws of the transcript, against a naive model that recomputes everything.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "transcript_laws/oracle.rs"]
mod oracle;

use std::{collections::BTreeSet, sync::Arc};

use chat_core::{
    transcript::{Filter, GapId, LocalRow, Mirror, PageFrom, Transcript},
    *,
};
use oracle::{Expected, Fact, Model, Setting, shout, tell};
use proptest::{collection::vec, option, prelude::*, sample::select};

// ---- what may be told: small alphabets, so that everything meets everything ----

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * second).unwrap()
}

fn alias() -> impl Strategy<Value = Alias> {
    let kinds = [AliasKind::Message, AliasKind::Message, AliasKind::Token, AliasKind::Attachment];
    (select(vec!["s", "z"]), select(kinds.to_vec()), select(vec!["1", "2", "3", "4", ""]))
        .prop_map(|(scope, kind, value)| Alias { scope: Scope::new(scope), kind, value: value.into() })
}

fn message_alias() -> impl Strategy<Value = Alias> {
    select(vec!["1", "2", "3", "4"]).prop_map(|id| Alias::message(&Scope::new("s"), &MessageId::new(id)))
}

fn token() -> impl Strategy<Value = Alias> {
    select(vec!["1", "2", "3"]).prop_map(|id| Alias::token(&Scope::new("s"), &ClientToken::new(id)))
}

fn segment() -> impl Strategy<Value = SegmentId> {
    select(vec!["a", "a", "a", "b", "c"]).prop_map(SegmentId::new)
}

fn place() -> impl Strategy<Value = Place> {
    let primary = prop_oneof![
        3 => (0..6_i64).prop_map(|s| Primary::Instant(at(s))),
        1 => (0..4_u64, 0..2_u64).prop_map(|(a, b)| Primary::Index(a, b)),
    ];
    prop_oneof![
        3 => primary.clone().prop_map(Place::exact),
        1 => (primary, 0..2_u32).prop_map(|(primary, tie)| Place::estimated(primary, tie)),
    ]
}

fn participant() -> impl Strategy<Value = Participant> {
    let role = select(vec![Role::Customer, Role::Agent, Role::Other("guru".into())]);
    (role, option::of(select(vec!["p", "q"])), option::of(select(vec!["Ann", "Bob"]))).prop_map(
        |(role, id, name)| Participant { id: id.map(ParticipantId::new), role, name: name.map(Arc::from) },
    )
}

fn interactive(reference: Option<&'static str>, raw: &'static str) -> Content {
    Content::Interactive(Box::new(Interactive {
        template: "ListPicker".into(),
        title: Some("Which?".into()),
        subtitle: None,
        image: None,
        choices: vec![],
        parts: vec![],
        view: None,
        reference: reference.map(Arc::from),
        raw: raw.into(),
    }))
}

fn files() -> impl Strategy<Value = Content> {
    let status = select(vec![AttachmentStatus::InProgress, AttachmentStatus::Approved]);
    let name = select(vec!["", "n", "m"]);
    let file =
        (select(vec!["f", "g"]), name, status, option::of(1..3_u64)).prop_map(|(id, name, status, size)| {
            Attachment {
                id: AttachmentId::new(id),
                name: name.into(),
                content_type: "image/png".into(),
                size,
                status,
            }
        });
    vec(file, 1..3).prop_map(|mut files| {
        files.dedup_by(|a, b| a.id == b.id);
        Content::Files(files)
    })
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        4 => select(vec!["x", "y", "secret 1"]).prop_map(|text| Content::Text(Text::plain(text))),
        1 => Just(Content::Text(Text::markdown("x"))),
        1 => files(),
        2 => (option::of(select(vec!["r", "t"])), select(vec!["1", "2"]))
            .prop_map(|(reference, raw)| interactive(reference, raw)),
        1 => Just(Content::Event(SystemEvent::Joined)),
        1 => Just(Content::Other(RawEvent::new("kind", "body"))),
    ]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let time = || option::of((0..3_i64).prop_map(at));
    (select(vec!["me", "p", "q"]), time(), time()).prop_map(|(by, delivered, read)| Receipt {
        by: ParticipantId::new(by),
        delivered,
        read,
    })
}

fn sighting() -> impl Strategy<Value = Sighting> {
    let who = (option::of(participant()), option::of(any::<bool>()), prop::bool::weighted(0.1));
    let chunk = prop_oneof![
        6 => Just(None),
        2 => (0..4_u32).prop_map(|number| Some(Chunk::Part(number))),
        1 => Just(Some(Chunk::Whole)),
    ];
    let what = (prop::option::weighted(0.8, content()), prop_oneof![4 => Just(0), 1 => 1..3_u32], chunk);
    let progress = option::of(select(vec![Processing::InProgress, Processing::Done]));
    let rest = (vec(receipt(), 0..2), progress, option::of(select(vec!["raw", "row"])));
    let time = option::of((0..3_i64).prop_map(at));
    (vec(alias(), 0..3), segment(), option::of(place()), time, who, what, rest).prop_map(
        |(aliases, segment, place, time, (from, own, quiet), (content, version, chunk), rest)| {
            let mut sighting = Sighting::new(segment);
            sighting.aliases = aliases.into();
            (sighting.place, sighting.time) = (place, time);
            (sighting.from, sighting.own, sighting.quiet) = (from, own, quiet);
            (sighting.content, sighting.version, sighting.chunk) = (content, version, chunk);
            (sighting.receipts, sighting.processing) = (rest.0, rest.1);
            sighting.raw = rest.2.map(Arc::from);
            sighting
        },
    )
}

fn state() -> impl Strategy<Value = SendState> {
    let stage = select(vec![
        SendStage::Queued,
        SendStage::Sending,
        SendStage::Unknown,
        SendStage::Failed,
        SendStage::Cancelled,
    ]);
    (prop::bool::weighted(0.3), 0..2_u32, stage).prop_map(|(sent, attempt, stage)| SendState {
        sent,
        attempt,
        stage,
    })
}

fn fact() -> impl Strategy<Value = Fact> {
    let local = (
        token(),
        0..3_u64,
        content(),
        option::of((5..7_i64).prop_map(at)),
        state(),
        prop::bool::weighted(0.1),
    );
    let local = local.prop_map(|(token, sequence, content, at, state, quiet)| {
        let mut row = LocalRow::new(token, sequence, content, state);
        (row.at, row.quiet) = (at, quiet);
        Fact::Local(row)
    });
    let gap = || select(vec!["g1", "g2"]).prop_map(GapId::new);
    let start = option::of((0..3_i64).prop_map(at));
    prop_oneof![
        12 => sighting().prop_map(Fact::Sight),
        2 => sighting().prop_map(Fact::Answered),
        1 => (segment(), start).prop_map(|(id, start)| Fact::Segment(id, start)),
        1 => Just(Fact::Own(ParticipantId::new("me"))),
        2 => local,
        1 => (token(), state()).prop_map(|(token, state)| Fact::State(token, state)),
        2 => (message_alias(), receipt()).prop_map(|(id, receipt)| Fact::Receipt(id, receipt)),
        1 => (gap(), option::of(sighting())).prop_map(|(id, after)| Fact::Gap(id, after)),
        1 => gap().prop_map(Fact::Close),
    ]
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    vec(fact(), 1..24)
}

fn filters() -> Vec<Filter> {
    vec![Filter::new(r"secret \d").unwrap()]
}

fn told(facts: &[Fact]) -> Transcript {
    let mut transcript = Transcript::new();
    for fact in facts {
        tell(&mut transcript, fact);
    }
    transcript
}

/// Everything that a transcript shows and hides, in order.
fn all(transcript: &Transcript) -> Vec<Expected> {
    let rows = transcript.rows(View::Full).chain(transcript.hidden());
    rows.map(|row| Expected::from(&**row)).collect()
}

proptest! {
    #[test]
    fn equals_the_model(facts in facts(), filtered: bool, shouting: bool) {
        let mut transcript = Transcript::new();
        if filtered {
            transcript.set_filters(filters());
        }
        if shouting {
            transcript.set_preprocessor(Some(Arc::new(|row| shout(row.original()?))));
        }
        for fact in &facts {
            tell(&mut transcript, fact);
        }
        let setting = Setting { filters: if filtered { filters() } else { vec![] }, shouting };
        let model = Model::rows(&facts, setting);
        let shown = |view| model.iter().filter(move |row| row.visibility.is_in(view)).cloned().collect::<Vec<_>>();
        let rows = |view| transcript.rows(view).map(|row| Expected::from(&**row)).collect::<Vec<_>>();
        prop_assert_eq!(rows(View::Full), shown(View::Full));
        prop_assert_eq!(rows(View::Display), shown(View::Display));
        let hidden: Vec<_> = transcript.hidden().map(|row| Expected::from(&**row)).collect();
        let expected: Vec<_> = model.iter().filter(|row| !row.visibility.is_in(View::Full)).cloned().collect();
        prop_assert_eq!(hidden, expected);
        prop_assert_eq!(transcript.len(View::Display), shown(View::Display).len());
        prop_assert_eq!(transcript.snapshot(View::Display).len(), shown(View::Display).len());
    }

    #[test]
    fn order_repetition_and_batches_do_not_matter(
        (facts, shuffled) in facts().prop_flat_map(|facts| {
            let mut twice = facts.clone();
            twice.extend(facts.iter().take(facts.len() / 2).cloned());
            (Just(facts), Just(twice).prop_shuffle())
        }),
        late_setting: bool,
    ) {
        let set = |transcript: &mut Transcript| {
            transcript.set_filters(filters());
            transcript.set_preprocessor(Some(Arc::new(|row| shout(row.original()?))));
        };
        let mut one = told(&facts);
        set(&mut one);
        let mut other = Transcript::new();
        if !late_setting {
            set(&mut other);
        }
        for fact in &shuffled {
            tell(&mut other, fact);
        }
        if late_setting {
            set(&mut other);
        }
        prop_assert_eq!(all(&one), all(&other));
        prop_assert_eq!(one.to_json_lines(), other.to_json_lines());
        for view in [View::Full, View::Display] {
            prop_assert_eq!(one.snapshot(view), other.snapshot(view));
        }
    }

    #[test]
    fn diffs_reproduce_every_snapshot(facts in facts(), batch in 1..5_usize, early: bool, with_filters: bool) {
        let mut transcript = Transcript::new();
        if !early {
            tell(&mut transcript, &facts[0]);
        }
        transcript.want_diffs(View::Full, true);
        transcript.want_diffs(View::Display, true);
        let mut full = Mirror::from(&transcript.snapshot(View::Full));
        let mut display = Mirror::from(&transcript.snapshot(View::Display));
        let middle = facts.len() / 2;
        for (number, facts) in facts.chunks(batch).enumerate() {
            if with_filters && number == middle / batch {
                transcript.set_filters(filters());
                transcript.set_preprocessor(Some(Arc::new(|row| shout(row.original()?))));
            }
            for fact in facts {
                tell(&mut transcript, fact);
            }
            full.apply_all(&transcript.take_diffs(View::Full)).unwrap();
            display.apply_all(&transcript.take_diffs(View::Display)).unwrap();
            prop_assert_eq!(&full, &transcript.snapshot(View::Full));
            prop_assert_eq!(&display, &transcript.snapshot(View::Display));
        }
        prop_assert!(transcript.take_diffs(View::Full).is_empty());
        // What is told again changes nothing, and says so.
        for fact in &facts {
            if let Some(change) = tell(&mut transcript, fact) {
                prop_assert!(!change.any && !change.new && !change.content, "{fact:?}: {change:?}");
            }
        }
        prop_assert!(transcript.take_diffs(View::Full).is_empty());
        prop_assert!(transcript.take_diffs(View::Display).is_empty());
    }

    #[test]
    fn no_row_vanishes_but_by_rule_and_each_is_new_once(facts in facts()) {
        let mut transcript = Transcript::new();
        let mut shown: BTreeSet<Alias> = BTreeSet::new();
        let mut new = BTreeSet::new();
        for fact in &facts {
            if let Some(change) = tell(&mut transcript, fact) {
                let row = transcript.by_handle(change.row.unwrap()).unwrap();
                prop_assert_eq!(row.visibility(), change.visibility);
                if change.new {
                    prop_assert!(row.visibility().is_in(View::Full));
                    prop_assert!(new.insert(row.handle()), "new twice: {row:?}");
                }
            }
            for alias in &shown {
                let row = transcript.get(alias).expect("a row that was shown is known");
                let gone = !row.visibility().is_in(View::Full);
                prop_assert!(!gone || row.visibility() == Visibility::Cancelled, "{row:?}");
            }
            let rows = transcript.rows(View::Full);
            shown.extend(rows.flat_map(|row| row.aliases().iter().cloned()));
        }
    }

    #[test]
    fn split_export_import_and_merge_change_nothing(facts in facts(), cut in 0..24_usize) {
        let whole = told(&facts);
        let (one, other) = facts.split_at(cut.min(facts.len()));
        let (mut one, other) = (told(one), told(other));
        let text = one.to_json_lines();
        one = Transcript::from_json_lines(text.lines()).unwrap();
        prop_assert_eq!(one.to_json_lines(), text);
        let mut merged = Transcript::from_json_lines(other.json_lines()).unwrap();
        merged.merge(&one);
        prop_assert_eq!(merged.to_json_lines(), whole.to_json_lines());
        prop_assert_eq!(all(&merged), all(&whole));
        one.merge(&other);
        prop_assert_eq!(all(&one), all(&whole));
        let imported = Transcript::from_json_lines(whole.json_lines()).unwrap();
        prop_assert_eq!(all(&imported), all(&whole));
    }

    #[test]
    fn pages_lead_from_end_to_end(facts in facts(), size in 1..6_usize) {
        let transcript = told(&facts);
        for view in [View::Full, View::Display] {
            let expected: Vec<_> = transcript.rows(view).cloned().collect();
            let mut backward = transcript.page(view, PageFrom::Newest, size);
            prop_assert_eq!(&backward, &transcript.last(view, size));
            while let Some(first) = backward.first().map(|row| row.handle()) {
                let page = transcript.page(view, PageFrom::Before(first), size);
                if page.is_empty() {
                    break;
                }
                backward.splice(0..0, page);
            }
            prop_assert_eq!(&backward, &expected);
            let mut forward = transcript.page(view, PageFrom::Oldest, size);
            while let Some(last) = forward.last().map(|row| row.handle()) {
                let page = transcript.page(view, PageFrom::After(last), size);
                if page.is_empty() {
                    break;
                }
                forward.extend(page);
            }
            prop_assert_eq!(&forward, &expected);
        }
        // A hidden row is a place to page from, too.
        for row in transcript.hidden() {
            let before = transcript.page(View::Full, PageFrom::Before(row.handle()), usize::MAX);
            let after = transcript.page(View::Full, PageFrom::After(row.handle()), usize::MAX);
            let full: Vec<_> = transcript.rows(View::Full).cloned().collect();
            prop_assert_eq!([before, after].concat(), full);
        }
    }

    #[test]
    fn backfill_of_any_page_size_ends_without_a_gap(
        total in 1..60_usize,
        confirmed in 0..60_usize,
        live in vec(0..60_usize, 0..8),
        size in 1..20_usize,
    ) {
        // The server has `total` messages. The reader has read the first ones, was away, and hears of some out of turn.
        let item = |n: usize| {
            Sighting::new(SegmentId::new("a"))
                .with_alias(Alias::message(&Scope::new("s"), &MessageId::new(format!("m{n}"))))
                .with_place(Place::exact(Primary::Index(n as u64, 0)))
                .with_content(Content::Text(Text::plain(n.to_string())))
        };
        let confirmed = confirmed.min(total);
        let mut transcript = Transcript::new();
        transcript.sight_all((0..confirmed).map(item));
        let after = transcript.newest_of_others().and_then(|row| row.mark());
        let gap = GapId::new("away");
        transcript.gap(gap.clone(), after.clone());
        transcript.sight_all(live.iter().filter(|n| **n < total).map(|n| item(*n)));
        prop_assert_eq!(transcript.open_gaps().count(), 1);
        // Pages from the newest back, until one passes what was confirmed, or the start.
        let mut end = total;
        loop {
            let start = end.saturating_sub(size);
            transcript.sight_all((start..end).map(item));
            let passed = after.as_ref().is_some_and(|after| {
                (start..end).any(|n| {
                    let mark = Transcript::mark_of(&item(n)).unwrap();
                    transcript.compare(&mark, after).is_le()
                })
            });
            if passed || start == 0 {
                transcript.close_gap(&gap);
                break;
            }
            end = start;
        }
        prop_assert_eq!(transcript.open_gaps().count(), 0);
        let texts: Vec<_> = transcript.rows(View::Full).map(|row| row.place().unwrap().primary).collect();
        let expected: Vec<_> = (0..total as u64).map(|n| Primary::Index(n, 0)).collect();
        prop_assert_eq!(texts, expected);
    }

    #[test]
    fn a_damaged_export_is_refused_by_line_or_read_never_a_panic(
        facts in facts(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut bytes = told(&facts).to_json_lines().into_bytes();
        for (place, byte, kind) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"{}[],:\"0\n"[byte as usize % 9]),
                _ => bytes.truncate(at),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match Transcript::from_json_lines(text.lines()) {
            Ok(mut read) => {
                // Whatever it now says, it is a transcript as any other.
                let again = Transcript::from_json_lines(read.json_lines()).unwrap();
                prop_assert_eq!(again.to_json_lines(), read.to_json_lines());
                let rows = read.rows(View::Display).count();
                prop_assert_eq!(read.snapshot(View::Display).len(), rows);
            }
            Err(error) => {
                prop_assert!((1..=text.lines().count().max(1)).contains(&error.line));
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn trimming_keeps_the_end_and_counts_what_comes_again(facts in facts(), keep in 0..6_usize) {
        let mut transcript = told(&facts);
        transcript.want_diffs(View::Full, true);
        let mut mirror = Mirror::from(&transcript.snapshot(View::Full));
        let before = transcript.snapshot(View::Full);
        let kept: Vec<_> = before[before.len().saturating_sub(keep)..].to_vec();
        transcript.trim(keep);
        mirror.apply_all(&transcript.take_diffs(View::Full)).unwrap();
        let after = transcript.snapshot(View::Full);
        prop_assert_eq!(&mirror, &after);
        for row in kept.iter().filter(|row| row.gap().is_none()) {
            prop_assert!(transcript.by_handle(row.handle()).is_some(), "{row:?} is gone");
        }
        let messages = |rows: &Snapshot| rows.iter().filter(|row| row.gap().is_none()).count();
        prop_assert_eq!(transcript.trimmed() as usize, messages(&before) - messages(&after));
        let again = Transcript::from_json_lines(transcript.json_lines()).unwrap();
        prop_assert_eq!(again.to_json_lines(), transcript.to_json_lines());
        prop_assert_eq!(again.trimmed(), transcript.trimmed());
        // It goes on as a transcript.
        for fact in &facts {
            tell(&mut transcript, fact);
        }
        mirror.apply_all(&transcript.take_diffs(View::Full)).unwrap();
        prop_assert_eq!(&mirror, &transcript.snapshot(View::Full));
    }
}
