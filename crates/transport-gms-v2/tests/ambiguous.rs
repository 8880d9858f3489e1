//! Sends of which nobody knows whether they arrived: whatever the network does, each ends sent or reported failed, nothing is lost
//! and nothing stands twice, although two tabs say the same and the service swallows no repetition (§12.1, rule 5).
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use std::{collections::BTreeMap, time::Duration};

use bench::{Bench, Mode};
use chat_conformance::{Disturbance, Harness};
use chat_core::{
    Ack, AliasKind, BackoffPolicy, ChatSession, ClientToken, Command, ConnectRequest, Content, Delivery,
    Direction, HistoryFrom, HistoryRequest, Intent, MemoryStore, PendingSend, SavedSession, SessionDirectory,
    SessionSettings, SessionStore, StartRequest, StoredSession, View,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use tokio::time::{Instant, sleep, timeout};
use transport_gms_v2::front::{AnswerFault, Instead, Operation};

/// Longer than anything that is waited for; virtual.
const PATIENCE: Duration = Duration::from_secs(600);

/// Two texts, so that most are equal.
const TEXTS: [&str; 2] = ["yes", "no"];

// ---- what happens -----------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Step {
    /// One of the tabs says one of the texts.
    Send { tab: usize, text: usize },
    /// The agent says something.
    Agent,
    /// The next send of whichever tab goes like this.
    Upset(Instead),
    /// The next poll, page or return goes like this.
    Hinder(Instead),
    /// The next replies hold events twice.
    Duplicate(u32),
    /// The next replies hold events in reverse.
    Reverse(u32),
    /// The next good reply sends the reader back.
    Rewind(u64),
    /// All connections break.
    Break,
    /// The network is gone for a while.
    Cut(Duration),
    /// Time passes.
    Wait(Duration),
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

/// What may become of a send: cut before or after it is stored, late within the time in which echoes may still come, or
/// answered late, wrongly or not at all.
fn upset() -> impl Strategy<Value = Instead> {
    prop_oneof![
        prop::sample::select(vec![
            Instead::Cut,
            Instead::Hang,
            Instead::Html(502),
            Instead::Transient,
            Instead::LoseAnswer,
            Instead::LoseEverything,
            Instead::TruncateAnswer,
            Instead::HangAfterwards,
            Instead::HtmlAfterwards(504),
            Instead::TransientAfterwards,
        ]),
        millis(0..8_000).prop_map(Instead::Late),
        millis(0..120_000).prop_map(Instead::Delay),
    ]
}

fn hinder() -> impl Strategy<Value = Instead> {
    prop_oneof![
        prop::sample::select(vec![
            Instead::Cut,
            Instead::Hang,
            Instead::Html(502),
            Instead::BrokenJson,
            Instead::Transient,
            Instead::LoseAnswer,
            Instead::LoseEverything,
            Instead::TruncateAnswer,
        ]),
        millis(0..120_000).prop_map(Instead::Delay),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, 0..2usize).prop_map(|(tab, text)| Step::Send { tab, text }),
        2 => Just(Step::Agent),
        5 => upset().prop_map(Step::Upset),
        2 => hinder().prop_map(Step::Hinder),
        1 => (1..4u32).prop_map(Step::Duplicate),
        1 => (1..4u32).prop_map(Step::Reverse),
        1 => (1..6u64).prop_map(Step::Rewind),
        1 => Just(Step::Break),
        1 => millis(0..12_000).prop_map(Step::Cut),
        3 => millis(0..6_000).prop_map(Step::Wait),
    ]
}

// ---- a chat in two tabs -----------------------------------------------------------------------------------------------------

struct Rig {
    bench: Bench,
    tabs: [ChatSession; 2],
    sends: Vec<(&'static str, PendingSend)>,
    said: usize,
}

fn settings() -> SessionSettings {
    let backoff = BackoffPolicy::default()
        .with_base(Duration::from_millis(50))
        .with_cap(Duration::from_secs(2))
        .with_budget(None);
    SessionSettings::default().with_seed(Some(7)).with_reader_capacity(1 << 12).with_backoff(backoff)
}

impl Rig {
    async fn new(mode: Mode) -> Self {
        let bench = Bench::in_memory(mode);
        let builder = || ChatSession::over(bench.transport()).settings(settings());
        let one = builder().start(StartRequest::named("Jane")).await.unwrap();
        let store = MemoryStore::default();
        store.save("tab", &StoredSession::new(one.session_data().unwrap())).await.unwrap();
        let two = builder().keep(&SessionDirectory::new(store), "tab").restore().await.unwrap();
        Self { bench, tabs: [one, two], sends: Vec::new(), said: 0 }
    }

    fn fault(&self, change: impl FnOnce(&mut transport_gms_v2::front::FrontFaults)) {
        let mut faults = self.bench.front().faults();
        change(&mut faults);
        self.bench.front().set_faults(faults);
    }

    fn instead(&self, operation: Operation, instead: Instead) {
        self.fault(|faults| faults.answers.push(AnswerFault::new(operation, instead, 1)));
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send { tab, text } => {
                let text = TEXTS[text];
                self.sends.push((text, self.tabs[tab].send_text(text).expect("accepted")));
            }
            Step::Agent => {
                self.said += 1;
                let contact = self.bench.console().last_contact().unwrap();
                contact.as_agent("Maria").say(format!("a {}", self.said)).unwrap();
            }
            Step::Upset(instead) => self.instead(Operation::Send, instead),
            Step::Hinder(instead) => {
                for operation in [Operation::Refresh, Operation::RequestNotifications] {
                    self.instead(operation, instead.clone());
                }
            }
            Step::Duplicate(times) => self.fault(|faults| faults.duplicate_events = times),
            Step::Reverse(times) => self.fault(|faults| faults.reverse_events = times),
            Step::Rewind(by) => self.fault(|faults| faults.step_back = Some(by)),
            Step::Break => self.bench.network().disturb(Disturbance::Break),
            Step::Cut(by) => {
                self.bench.network().disturb(Disturbance::Cut);
                sleep(by).await;
                self.bench.network().heal();
            }
            Step::Wait(by) => sleep(by).await,
        }
    }

    /// What the service has of messages, by index: text and token.
    async fn stored(&self) -> Vec<(String, Option<String>)> {
        let saved: SavedSession = self.bench.credentials(0).await.unwrap();
        let request = ConnectRequest::new(Intent::Join(saved));
        let connection = self.bench.transport().connect(request).await.unwrap();
        let all = HistoryRequest { direction: Direction::Newer, from: HistoryFrom::Oldest, limit: 10_000 };
        let Ok(Ack::History(page)) = connection.handle.submit(Command::History(all)).await else {
            panic!("the transcript can be read");
        };
        let token = |item: &chat_core::Sighting| {
            item.aliases.least(AliasKind::Token).map(|alias| alias.value.to_string())
        };
        let text = |item: &chat_core::Sighting| match &item.content {
            Some(Content::Text(text)) => Some(text.body.to_string()),
            _ => None,
        };
        page.items.iter().filter_map(|item| Some((text(item)?, token(item)))).collect()
    }
}

/// What a tab shows as said.
fn shown(tab: &ChatSession) -> Vec<String> {
    let rows = tab.snapshot(View::Full);
    let said = rows.iter().filter(|row| row.send_state().is_none_or(|state| state.sent));
    said.filter_map(|row| match row.content() {
        Some(Content::Text(text)) => Some(text.body.to_string()),
        _ => None,
    })
    .collect()
}

async fn run(mode: Mode, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut rig = Rig::new(mode).await;
    for step in steps {
        rig.take(step).await;
    }
    rig.bench.network().heal();

    // Each send ends.
    let mut outcomes: BTreeMap<ClientToken, (&str, Option<Delivery>)> = BTreeMap::new();
    for (text, send) in std::mem::take(&mut rig.sends) {
        let token = send.token().clone();
        let Ok(outcome) = timeout(PATIENCE, send).await else {
            return Err(TestCaseError::fail(format!("the fate of {text:?} is never told")));
        };
        outcomes.insert(token, (text, outcome.err().map(|error| error.delivery())));
    }
    // What comes late has come by now.
    sleep(Duration::from_secs(20)).await;

    let contact = rig.bench.console().last_contact().unwrap();
    let truth: Vec<String> = contact.truth().texts().into_iter().map(str::to_owned).collect();
    let stored = rig.stored().await;
    let texts: Vec<String> = stored.iter().map(|(text, _)| text.clone()).collect();
    prop_assert_eq!(&texts, &truth, "the service tells the centre's truth");
    for (token, (text, failed)) in &outcomes {
        let copies = stored.iter().filter(|(_, of)| of.as_deref() == Some(token.as_str())).count();
        match failed {
            None => prop_assert_eq!(copies, 1, "{:?} was told sent", text),
            Some(Delivery::Unknown) => prop_assert!(copies <= 1, "{:?} stands {} times", text, copies),
            Some(delivery) => prop_assert_eq!(copies, 0, "{:?} was told failed: {:?}", text, delivery),
        }
    }
    // Nothing is stored that nobody sent.
    let own = stored.iter().filter(|(text, _)| TEXTS.contains(&&**text));
    for (text, token) in own {
        let known = token.as_deref().is_some_and(|token| outcomes.contains_key(&ClientToken::from(token)));
        prop_assert!(known, "{:?} with {:?} was sent by nobody", text, token);
    }
    // Both tabs show the truth.
    let deadline = Instant::now() + PATIENCE;
    for (tab, session) in rig.tabs.iter().enumerate() {
        while shown(session) != truth && Instant::now() < deadline {
            sleep(Duration::from_secs(1)).await;
        }
        prop_assert_eq!(shown(session), truth.clone(), "tab {}", tab);
    }
    Ok(())
}

fn runs(mode: Mode, cases: u32) {
    let test = |steps: Vec<Step>| {
        // A runtime of its own: nothing that one run leaves behind reaches the next.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(mode, steps))
    };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..16);
    if let Err(TestError::Fail(reason, steps)) = TestRunner::new(config).run(&steps, test) {
        panic!("{reason}\n{steps:#?}");
    }
}

#[test]
fn nothing_is_lost_or_doubled_by_polling() {
    runs(Mode::Polling, 500);
}

#[test]
fn nothing_is_lost_or_doubled_over_a_websocket() {
    runs(Mode::WebSocket, 250);
}

#[test]
fn nothing_is_lost_or_doubled_by_long_polling() {
    runs(Mode::LongPolling, 250);
}
