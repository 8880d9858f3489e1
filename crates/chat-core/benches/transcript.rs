//! What the transcript costs, as ratios to the least that could do: appending each row to a `Vec` and its id to a `HashMap`
//! (the same rows, the same id type, the same hasher, nothing reserved), measured in turn in the same run.
//!
//! `cargo bench -p chat-core --bench transcript`, or with `-- --quick` for a glance. Diffs of the full view are wanted and
//! taken every 64 rows in all patterns but those that say otherwise.
#![expect(clippy::print_stdout, reason = "the table is the purpose")]

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use chat_core::{
    Alias, Content, MessageId, Participant, Place, Primary, Role, Scope, SegmentId, Sighting, Text,
    Timestamp,
    transcript::{Transcript, View},
};

/// Rows between two takings of diffs, as a session does after each batch of events.
const BATCH: usize = 64;

struct Source {
    scope: Scope,
    segment: SegmentId,
    agent: Participant,
    customer: Participant,
}

impl Source {
    fn new() -> Self {
        Self {
            scope: Scope::new("8a5dbf2e-1d9e-4d4a-9a3c-6f1f4f7cc3a2"),
            segment: SegmentId::new("8a5dbf2e-1d9e-4d4a-9a3c-6f1f4f7cc3a2"),
            agent: Participant::new(Role::Agent).with_id("agent").with_name("Ann"),
            customer: Participant::new(Role::Customer).with_id("customer").with_name("Bob"),
        }
    }

    fn alias(&self, n: usize) -> Alias {
        Alias::message(&self.scope, &MessageId::new(format!("018f3f2e-0000-7000-8000-{n:012x}")))
    }

    /// A message as Connect tells it: an id of 36 characters, an instant, a sender and a short text.
    fn sighting(&self, n: usize) -> Sighting {
        let time = Timestamp::from_millis(1_777_000_000_000 + n as i64 * 700)
            .expect("within the years of the calendar");
        let own = n.is_multiple_of(3);
        let from = if own { &self.customer } else { &self.agent };
        Sighting::new(self.segment.clone())
            .with_alias(self.alias(n))
            .with_place(Place::exact(Primary::Instant(time)))
            .with_time(time)
            .with_sender(from.clone(), own)
            .with_content(Content::Text(Text::plain(format!("This is message number {n} of the chat."))))
    }

    fn update(&self, n: usize) -> Sighting {
        let mut update = Sighting::new(self.segment.clone())
            .with_alias(self.alias(n))
            .with_content(Content::Text(Text::plain(format!("This is message number {n}, corrected."))));
        update.version = 1;
        update
    }

    fn pattern(&self, pattern: Pattern, n: usize) -> Vec<Sighting> {
        let order: Vec<usize> = match pattern {
            Pattern::InOrder => (0..n).collect(),
            Pattern::Duplicates => {
                (0..n).map(|i| if i % 10 == 9 { i - 1 - (i * 7) % 9 } else { i }).collect()
            }
            Pattern::Shuffled => shuffled_within(n, 16),
            Pattern::Reversed => (0..n).rev().collect(),
            Pattern::Pages => {
                let starts: Vec<usize> = (0..n).step_by(100).collect();
                starts.into_iter().rev().flat_map(|start| start..(start + 100).min(n)).collect()
            }
        };
        order.into_iter().map(|i| self.sighting(i)).collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pattern {
    InOrder,
    Duplicates,
    Shuffled,
    Reversed,
    Pages,
}

fn shuffled_within(n: usize, window: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut order: Vec<usize> = (0..n).collect();
    for chunk in order.chunks_mut(window) {
        random.shuffle(chunk);
    }
    order
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = std::time::Instant::now();
    let result = work();
    (start.elapsed(), result)
}

type Baseline = (Vec<Sighting>, HashMap<Alias, u32>);

fn baseline(input: Vec<Sighting>) -> Baseline {
    let mut rows = Vec::new();
    let mut names = HashMap::new();
    for sighting in input {
        let alias = sighting.aliases.iter().next().expect("each row has one").clone();
        names.insert(alias, rows.len() as u32);
        rows.push(sighting);
    }
    (rows, names)
}

fn feed(transcript: &mut Transcript, input: Vec<Sighting>, diffs: bool) {
    for (sighting, n) in input.into_iter().zip(1_usize..) {
        black_box(transcript.sight(sighting));
        if diffs && n.is_multiple_of(BATCH) {
            drop(black_box(transcript.take_diffs(View::Full)));
        }
    }
}

fn subject(input: Vec<Sighting>, diffs: bool) -> Transcript {
    let mut transcript = Transcript::new();
    transcript.want_diffs(View::Full, diffs);
    feed(&mut transcript, input, diffs);
    transcript
}

/// Nanoseconds of the baseline for each row, and the ratio; the least of the rounds, because other work on the machine only
/// ever adds.
fn compare(input: &[Sighting], rounds: usize, diffs: bool) -> (f64, f64) {
    let mut base = Vec::new();
    let mut own = Vec::new();
    for round in 0..rounds {
        let (one, other) = (input.to_vec(), input.to_vec());
        let (a, b);
        // Each goes first in turn.
        if round.is_multiple_of(2) {
            a = timed(|| baseline(one));
            drop(a.1);
            b = timed(|| subject(other, diffs));
            drop(b.1);
        } else {
            b = timed(|| subject(other, diffs));
            drop(b.1);
            a = timed(|| baseline(one));
            drop(a.1);
        }
        base.push(a.0.as_secs_f64() * 1e9 / input.len() as f64);
        own.push(b.0.as_secs_f64() * 1e9 / input.len() as f64);
    }
    let base = least(&base);
    (base, least(&own) / base)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Resident memory of this process in bytes, where the system tells.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn bytes_per_row(source: &Source, n: usize) -> Option<(f64, f64)> {
    let start = resident()?;
    let mut transcript = Transcript::new();
    for i in 0..n {
        transcript.sight(source.sighting(i));
    }
    let middle = resident()?;
    let base = baseline_streamed(source, n);
    let end = resident()?;
    drop((transcript, base));
    let per_row = |from: usize, to: usize| to.saturating_sub(from) as f64 / n as f64;
    Some((per_row(start, middle), per_row(middle, end)))
}

fn baseline_streamed(source: &Source, n: usize) -> Baseline {
    let mut rows = Vec::new();
    let mut names = HashMap::new();
    for i in 0..n {
        let sighting = source.sighting(i);
        names.insert(source.alias(i), rows.len() as u32);
        rows.push(sighting);
    }
    (rows, names)
}

/// Nanoseconds for each call.
fn each(calls: usize, mut work: impl FnMut(usize)) -> f64 {
    let (time, ()) = timed(|| (0..calls).for_each(&mut work));
    time.as_secs_f64() * 1e9 / calls as f64
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let sizes: &[usize] = if quick { &[1_000, 10_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let source = Source::new();
    println!("rows of {} bytes (sighting alone)\n", size_of::<Sighting>());
    let memory = bytes_per_row(&source, if quick { 10_000 } else { 200_000 });

    println!("ratio to append + one hash insert; in brackets nanoseconds of that for each row");
    print!("{:<28}", "");
    for n in sizes {
        print!("{n:>18}");
    }
    println!();
    let rounds = |n: usize| (2_000_000 / n).clamp(3, if quick { 20 } else { 40 });
    let patterns = [
        ("in order", Pattern::InOrder, true),
        ("in order, no diffs", Pattern::InOrder, false),
        ("10 % duplicates", Pattern::Duplicates, true),
        ("shuffled within 16", Pattern::Shuffled, true),
        ("reversed", Pattern::Reversed, true),
        ("pages of 100 backwards", Pattern::Pages, true),
    ];
    let mut per_row = Vec::new();
    for (name, pattern, diffs) in patterns {
        print!("{name:<28}");
        for n in sizes {
            let input = source.pattern(pattern, *n);
            let (base, ratio) = compare(&input, rounds(*n), diffs);
            if pattern == Pattern::InOrder && diffs {
                per_row.push(base);
            }
            print!("{:>18}", format!("{ratio:.2} [{base:.0}]"));
        }
        println!();
    }

    let names = ["update by id", "update by id, no diffs", "snapshot, each row", "last 50, each row"];
    let mut table = vec![Vec::new(); names.len()];
    for (n, base) in sizes.iter().zip(&per_row) {
        let mut lines = vec![Vec::new(); names.len()];
        for round in 0..rounds(*n).min(5) {
            let input = source.pattern(Pattern::InOrder, *n);
            let mut random = fastrand::Rng::with_seed(round as u64);
            let updates = |random: &mut fastrand::Rng| -> Vec<Sighting> {
                let mut order: Vec<usize> = (0..*n).collect();
                random.shuffle(&mut order);
                order.truncate(100_000);
                order.into_iter().map(|i| source.update(i)).collect()
            };
            for (line, diffs) in [(0, true), (1, false)] {
                let mut transcript = subject(input.clone(), false);
                transcript.want_diffs(View::Full, diffs);
                let updates = updates(&mut random);
                let count = updates.len() as f64;
                let (time, ()) = timed(|| feed(&mut transcript, updates, diffs));
                lines[line].push(time.as_secs_f64() * 1e9 / count / base);
                if line == 1 {
                    let (time, snapshot) = timed(|| transcript.snapshot(View::Full));
                    lines[2].push(time.as_secs_f64() * 1e9 / snapshot.len() as f64 / base);
                    drop(snapshot);
                    let last = each(1_000, |_| drop(black_box(transcript.last(View::Full, 50))));
                    lines[3].push(last / 50.0 / base);
                }
            }
        }
        for (column, line) in table.iter_mut().zip(lines) {
            column.push(least(&line));
        }
    }
    for (name, ratios) in names.iter().zip(&table) {
        print!("{name:<28}");
        for ratio in ratios {
            print!("{:>18}", format!("{ratio:.2}"));
        }
        println!();
    }

    if let Some((transcript, base)) = memory {
        println!("\nresident bytes for each row, id and text included: {transcript:.0}; baseline {base:.0}");
    }
    black_box(Arc::new(()));
}
