//! The link machine against a flat model of what it must do next. Durations are beyond the model: the harness checks their bounds.

use std::time::Duration;

use chat_core::{
    BackoffPolicy, Error, ErrorKind, Link, LinkAction, LinkEvent, LinkInput, LinkState, Purpose, Retry,
};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio::time::Instant;

const ATTEMPTS: u32 = 3;
const HOUR: Duration = Duration::from_secs(3_600);
const AFTER: Duration = Duration::from_millis(500);
/// A longest drawn delay so short, and a stable time so long, that only [`Step::Long`] makes a link stable.
const CAP: Duration = Duration::from_millis(1);
const STABLE: Duration = Duration::from_secs(30 * 86_400);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Connecting,
    Backfilling,
    Live,
    Waiting,
    Ended,
    Failed,
}

/// What an error advises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    Again,
    After,
    Never,
    Credentials,
    Ended,
}

impl Advice {
    fn error(self) -> Error {
        match self {
            Self::Again => Error::new(ErrorKind::Network, ""),
            Self::After => Error::new(ErrorKind::RateLimited, "").with_retry(Retry::After(AFTER)),
            Self::Never => Error::new(ErrorKind::AccessDenied, ""),
            Self::Credentials => Error::new(ErrorKind::Unauthorized, ""),
            Self::Ended => Error::new(ErrorKind::SessionEnded, ""),
        }
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Never | Self::Credentials)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open,
    /// The attempt under way got through.
    Connected,
    Failed(Advice, bool),
    Backfilled,
    BackfillFailed(Advice),
    Lost(Advice, bool),
    RenewBefore,
    Ended,
    Gap,
    /// An older connection says something.
    Zombie(u8),
    /// The next deadline comes.
    Tick,
    /// A connection stands for long.
    Long,
    NetworkUp,
    Closing,
    Reconnect(bool),
}

#[derive(Debug, Clone)]
struct Model {
    phase: Phase,
    standing: Option<u64>,
    attempt: Option<u64>,
    newest: u64,
    newest_standing: u64,
    credentials_waiting: bool,
    started: bool,
    established: bool,
    lost: bool,
    pending: bool,
    closing: bool,
    released: bool,
    failures: u32,
    stable: bool,
    /// The wait is one that the server asked for.
    told_to_wait: bool,
    /// `None`: no renewal planned. Else whether one is due at some time, and whether its time, if it has one, is over.
    renewal: Option<(bool, Option<bool>)>,
    backfilling: bool,
    again: bool,
    retry_backfill: bool,
    said: Vec<String>,
}

impl Model {
    fn say(&mut self, what: impl Into<String>) {
        self.said.push(what.into());
    }

    fn connect(&mut self, purpose: &str) {
        self.newest += 1;
        self.attempt = Some(self.newest);
        self.credentials_waiting = false;
        self.say(format!("connect {} {purpose}", self.newest));
    }

    fn reconnect(&mut self) {
        self.phase = Phase::Connecting;
        self.connect(if self.started { "Resume" } else { "First" });
    }

    fn renew(&mut self) {
        if let Some((due, _)) = &mut self.renewal {
            *due = false;
        }
        self.connect("Renew");
    }

    fn hold(&mut self) {
        if self.released {
            self.released = false;
            self.say("hold");
        }
    }

    fn backfill(&mut self) {
        self.backfilling = true;
        self.again = false;
        self.retry_backfill = false;
        let standing = self.standing.expect("backfills run over a standing connection");
        self.say(format!("backfill {standing}"));
    }

    fn backfill_over(&mut self) {
        self.backfilling = false;
        self.phase = Phase::Live;
        if !self.released {
            self.released = true;
            self.say("release");
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.standing = None;
        self.hold();
        if let Some(attempt) = self.attempt.take() {
            self.say(format!("drop {attempt}"));
        }
        self.say("Ended");
    }

    fn broken(&mut self) {
        self.phase = Phase::Failed;
        self.say("Broken");
    }

    fn wait(&mut self, advice: Advice, attempted: bool) {
        if self.failures >= ATTEMPTS {
            return self.broken();
        }
        self.failures += 1;
        self.phase = Phase::Waiting;
        self.told_to_wait = advice == Advice::After;
        if attempted && !self.pending {
            self.pending = true;
            self.say("Pending");
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self {
            phase: Phase::Idle,
            standing: None,
            attempt: None,
            newest: 0,
            newest_standing: 0,
            credentials_waiting: false,
            started: false,
            established: false,
            lost: false,
            pending: false,
            closing: false,
            released: false,
            failures: 0,
            stable: false,
            told_to_wait: false,
            renewal: None,
            backfilling: false,
            again: false,
            retry_backfill: false,
            said: Vec::new(),
        })
        .boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        let advice = || {
            prop_oneof![
                8 => Just(Advice::Again),
                3 => Just(Advice::After),
                1 => Just(Advice::Never),
                1 => Just(Advice::Credentials),
                1 => Just(Advice::Ended),
            ]
        };
        let mut likely = vec![
            (1, Just(Step::Open).boxed()),
            (1, (0..6u8).prop_map(Step::Zombie).boxed()),
            (2, Just(Step::NetworkUp).boxed()),
            (1, any::<bool>().prop_map(Step::Reconnect).boxed()),
            (6, Just(Step::Tick).boxed()),
        ];
        if model.phase == Phase::Idle {
            likely.push((20, Just(Step::Open).boxed()));
        }
        if model.phase == Phase::Failed {
            likely.push((10, any::<bool>().prop_map(Step::Reconnect).boxed()));
        }
        if model.attempt.is_some() {
            likely.push((15, Just(Step::Connected).boxed()));
            likely.push((10, (advice(), any::<bool>()).prop_map(|(a, s)| Step::Failed(a, s)).boxed()));
        }
        if model.standing.is_some() {
            likely.push((8, Just(Step::Backfilled).boxed()));
            likely.push((3, advice().prop_map(Step::BackfillFailed).boxed()));
            likely
                .push((8, (advice(), prop::bool::weighted(0.9)).prop_map(|(a, r)| Step::Lost(a, r)).boxed()));
            likely.push((5, Just(Step::RenewBefore).boxed()));
            likely.push((1, Just(Step::Ended).boxed()));
            likely.push((3, Just(Step::Gap).boxed()));
            likely.push((4, Just(Step::Long).boxed()));
        }
        if model.newest > 6 {
            likely.push((1, Just(Step::Closing).boxed()));
        }
        prop::strategy::Union::new_weighted(likely).boxed()
    }

    fn preconditions(model: &Self, step: &Step) -> bool {
        match step {
            Step::Connected | Step::Failed(..) => model.attempt.is_some(),
            Step::Backfilled
            | Step::BackfillFailed(_)
            | Step::Lost(..)
            | Step::RenewBefore
            | Step::Ended
            | Step::Gap
            | Step::Long => model.standing.is_some(),
            _ => true,
        }
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        let m = &mut model;
        m.said.clear();
        match *step {
            Step::Open if m.phase == Phase::Idle => m.reconnect(),
            Step::Connected => {
                let attempt = m.attempt.take().expect("a precondition of this step");
                let old = m.standing.replace(attempt);
                m.newest_standing = attempt;
                m.started = true;
                m.pending = false;
                m.renewal = None;
                if let Some(old) = old {
                    m.say(format!("drop {old}"));
                } else {
                    m.phase = Phase::Backfilling;
                    m.stable = false;
                }
                if !m.established {
                    m.say("Established");
                } else if m.lost {
                    m.say("Restored");
                }
                m.established = true;
                m.lost = false;
                m.backfill();
                if m.credentials_waiting {
                    m.renew();
                }
            }
            Step::Failed(advice, started) => {
                m.attempt = None;
                m.started |= started;
                if advice == Advice::Ended {
                    if let Some(standing) = m.standing.take() {
                        m.say(format!("drop {standing}"));
                    }
                    m.end();
                } else if m.standing.is_some() {
                    if m.credentials_waiting {
                        m.renew();
                    } else {
                        let over = m.renewal.and_then(|(_, over)| over);
                        m.renewal = Some((!advice.is_final() && over != Some(true), over));
                    }
                } else if m.credentials_waiting {
                    m.reconnect();
                } else if advice.is_final() {
                    m.broken();
                } else {
                    m.wait(advice, true);
                }
            }
            Step::Backfilled if m.backfilling => {
                m.backfill_over();
                if m.again {
                    m.backfill();
                }
            }
            Step::BackfillFailed(advice) if m.backfilling => {
                m.backfill_over();
                m.retry_backfill = matches!(advice, Advice::Again | Advice::After);
            }
            Step::Lost(advice, resumable) => {
                m.standing = None;
                m.renewal = None;
                m.backfilling = false;
                m.retry_backfill = false;
                m.hold();
                if m.closing || advice == Advice::Ended {
                    m.end();
                    return model;
                }
                m.lost = true;
                m.say("Lost");
                if m.attempt.is_some() || resumable {
                    m.failures = if m.stable { 0 } else { m.failures };
                }
                if m.attempt.is_some() {
                    m.phase = Phase::Connecting;
                } else if resumable {
                    m.wait(advice, false);
                } else {
                    m.broken();
                }
            }
            Step::RenewBefore if !m.closing => m.renewal = Some((true, Some(false))),
            Step::Ended => m.end(),
            Step::Gap if m.backfilling => m.again = true,
            Step::Gap => m.backfill(),
            Step::Zombie(1) => {
                let zombie = m.newest_standing.saturating_sub(1);
                if zombie != m.newest_standing {
                    m.say(format!("drop {zombie}"));
                }
            }
            Step::Tick if m.phase == Phase::Waiting => m.reconnect(),
            Step::Tick if m.standing.is_some() => {
                if m.attempt.is_none() && m.renewal.is_some_and(|(due, _)| due) {
                    m.renew();
                }
                if m.retry_backfill {
                    m.backfill();
                }
            }
            Step::Long => {
                m.stable = true;
                if let Some((_, Some(over))) = &mut m.renewal {
                    *over = true;
                }
            }
            Step::NetworkUp if m.phase == Phase::Waiting && !m.told_to_wait => m.reconnect(),
            Step::Closing => {
                m.renewal = None;
                if m.standing.is_none() && m.phase != Phase::Ended {
                    m.end();
                } else if let Some(attempt) = m.attempt.take() {
                    m.say(format!("drop {attempt}"));
                }
                m.closing = true;
            }
            Step::Reconnect(_) if m.closing || m.phase == Phase::Ended => m.say("refused"),
            Step::Reconnect(new) if m.attempt.is_some() => m.credentials_waiting |= new,
            Step::Reconnect(true) if m.standing.is_some() => m.renew(),
            Step::Reconnect(_) if m.standing.is_none() => {
                m.failures = 0;
                m.reconnect();
            }
            _ => {}
        }
        model
    }
}

struct Machine {
    link: Link,
    now: Instant,
    /// The newest attempt.
    attempt: u64,
}

fn said(actions: Vec<LinkAction>) -> Vec<String> {
    actions
        .into_iter()
        .map(|action| match action {
            LinkAction::Connect { generation, purpose } => format!("connect {generation} {purpose:?}"),
            LinkAction::Backfill { generation } => format!("backfill {generation}"),
            LinkAction::DropConnection { generation } => format!("drop {generation}"),
            LinkAction::ReleaseSends => "release".into(),
            LinkAction::HoldSends => "hold".into(),
            LinkAction::Publish(event) => match event {
                LinkEvent::Established => "Established",
                LinkEvent::Pending(_) => "Pending",
                LinkEvent::Lost(_) => "Lost",
                LinkEvent::Restored => "Restored",
                LinkEvent::Broken(_) => "Broken",
                LinkEvent::Ended => "Ended",
                _ => "?",
            }
            .into(),
            _ => "?".into(),
        })
        .collect()
}

impl Machine {
    fn tell(&mut self, input: LinkInput) -> Vec<String> {
        let actions = self.link.handle(self.now, input);
        self.obey(actions)
    }

    fn obey(&mut self, actions: Vec<LinkAction>) -> Vec<String> {
        for action in &actions {
            if let LinkAction::Connect { generation, .. } = action {
                assert!(*generation > self.attempt, "numbers are never used twice");
                self.attempt = *generation;
            }
        }
        said(actions)
    }
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let policy = BackoffPolicy::default()
            .with_base(CAP)
            .with_cap(CAP)
            .with_budget(None)
            .with_max_attempts(Some(ATTEMPTS))
            .with_stable_after(STABLE);
        Self { link: Link::new(policy, 7), now: Instant::now(), attempt: 0 }
    }

    fn apply(mut machine: Self, model: &Model, step: Step) -> Self {
        let this = &mut machine;
        let generation = this.link.generation();
        let attempt = this.attempt;
        let mut expected = model.said.clone();
        let mut got = match step {
            Step::Open => this.tell(LinkInput::Open),
            Step::Connected => this.tell(LinkInput::Connected { generation: attempt }),
            Step::Failed(advice, started) => {
                let error = advice.error();
                this.tell(LinkInput::ConnectFailed { generation: attempt, error, started })
            }
            Step::Backfilled => this.tell(LinkInput::Backfilled { generation }),
            Step::BackfillFailed(advice) => {
                this.tell(LinkInput::BackfillFailed { generation, error: advice.error() })
            }
            Step::Lost(advice, resumable) => {
                this.tell(LinkInput::Lost { generation, error: advice.error(), resumable })
            }
            Step::RenewBefore => this.tell(LinkInput::RenewBefore { generation, at: this.now + HOUR }),
            Step::Ended => this.tell(LinkInput::Ended { generation }),
            Step::Gap => this.tell(LinkInput::GapSeen { generation }),
            Step::Zombie(what) => {
                let generation = generation.saturating_sub(1);
                let error = Advice::Again.error();
                match what {
                    0 if this.link.generation() > 0 => {
                        this.tell(LinkInput::Lost { generation, error, resumable: true })
                    }
                    1 => this.tell(LinkInput::Connected { generation }),
                    2 if this.link.generation() > 0 => this.tell(LinkInput::Ended { generation }),
                    3 if this.link.generation() > 0 => this.tell(LinkInput::GapSeen { generation }),
                    4 if this.link.generation() > 0 => this.tell(LinkInput::Backfilled { generation }),
                    5 => this.tell(LinkInput::ConnectFailed { generation, error, started: false }),
                    _ => Vec::new(),
                }
            }
            Step::Tick => {
                let mut got = Vec::new();
                while let Some(at) = this.link.deadline() {
                    this.now = this.now.max(at);
                    got.extend(this.tell(LinkInput::Tick));
                }
                // Renewal and backfill come in the order of their times, which the model does not know.
                got.sort();
                expected.sort();
                got
            }
            Step::Long => {
                this.now += 2 * STABLE;
                Vec::new()
            }
            Step::NetworkUp => this.tell(LinkInput::NetworkUp),
            Step::Closing => this.tell(LinkInput::Closing),
            Step::Reconnect(new) => match this.link.reconnect(this.now, new) {
                Ok(actions) => this.obey(actions),
                Err(error) => {
                    assert_eq!(*error.kind(), ErrorKind::SessionEnded);
                    vec!["refused".into()]
                }
            },
        };
        if model.phase == Phase::Ended && matches!(step, Step::Failed(..)) {
            got.sort();
            expected.sort();
        }
        assert_eq!(got, expected);
        machine
    }

    fn check_invariants(machine: &Self, model: &Model) {
        let (phase, attempt) = match machine.link.state() {
            LinkState::Idle => (Phase::Idle, 0),
            LinkState::Connecting { attempt } => (Phase::Connecting, attempt),
            LinkState::Backfilling => (Phase::Backfilling, 0),
            LinkState::Live => (Phase::Live, 0),
            LinkState::Waiting { until, attempt } => {
                let floor = if model.told_to_wait { AFTER } else { Duration::ZERO };
                let wait = until - machine.now;
                assert!(wait >= floor && wait <= floor + CAP, "{wait:?}");
                (Phase::Waiting, attempt)
            }
            LinkState::Ended => (Phase::Ended, 0),
            LinkState::Failed => (Phase::Failed, 0),
            other => panic!("{other:?}"),
        };
        assert_eq!(phase, model.phase);
        if matches!(phase, Phase::Waiting | Phase::Connecting) {
            assert_eq!(attempt, model.failures);
        }
        assert_eq!(machine.link.generation(), model.newest_standing);
        let renewal = model.attempt.is_none() && model.renewal.is_some_and(|(due, _)| due);
        let standing = model.standing.is_some() && (renewal || model.retry_backfill);
        assert_eq!(machine.link.deadline().is_some(), phase == Phase::Waiting || standing);
        assert_eq!(model.released, phase == Phase::Live, "sends leave while it is live, and only then");
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_link_machine_does_what_the_model_says(sequential 1..60 => Machine);
}

/// What the model cannot see: when things happen.
mod times {
    use super::*;

    fn live(link: &mut Link, now: Instant) {
        link.handle(now, LinkInput::Open);
        link.handle(now, LinkInput::Connected { generation: 1 });
        link.handle(now, LinkInput::Backfilled { generation: 1 });
        assert_eq!(link.state(), LinkState::Live);
    }

    #[test]
    fn a_connection_is_renewed_a_minute_or_two_before_its_time() {
        let now = Instant::now();
        let mut times = Vec::new();
        for seed in 0..200 {
            let mut link = Link::new(BackoffPolicy::default(), seed);
            live(&mut link, now);
            link.handle(now, LinkInput::RenewBefore { generation: 1, at: now + HOUR });
            times.push(now + HOUR - link.deadline().unwrap());
        }
        let (first, last) = (times.iter().max().unwrap(), times.iter().min().unwrap());
        assert!(*first <= Duration::from_secs(120) && *last >= Duration::from_secs(60));
        assert!(*first - *last > Duration::from_secs(50), "a fleet is spread");
        let mut link = Link::new(BackoffPolicy::default(), 1);
        live(&mut link, now);
        link.handle(now, LinkInput::RenewBefore { generation: 1, at: now });
        assert_eq!(link.deadline(), Some(now), "too late is at once");
    }

    #[test]
    fn a_flapping_link_is_not_hammered() {
        let mut now = Instant::now();
        let start = now;
        let mut link = Link::new(BackoffPolicy::default(), 3);
        link.handle(now, LinkInput::Open);
        let mut connects = 0;
        // Each connection stands for a second.
        while now < start + Duration::from_secs(300) {
            connects += 1;
            link.handle(now, LinkInput::Connected { generation: connects });
            now += Duration::from_secs(1);
            let error = Error::new(ErrorKind::Network, "");
            link.handle(now, LinkInput::Lost { generation: connects, error, resumable: true });
            now = link.deadline().unwrap();
            link.handle(now, LinkInput::Tick);
        }
        assert!(connects < 40, "{connects} connections in five minutes");
    }

    #[test]
    fn an_outage_beyond_the_budget_breaks_the_link_once() {
        let mut now = Instant::now();
        let start = now;
        let mut link = Link::new(BackoffPolicy::default(), 3);
        live(&mut link, now);
        now += Duration::from_secs(3_600);
        let lost = Error::new(ErrorKind::Network, "");
        let mut seen =
            said(link.handle(now, LinkInput::Lost { generation: 1, error: lost.clone(), resumable: true }));
        let mut generation = 1;
        while let Some(at) = link.deadline() {
            now = at;
            generation += 1;
            link.handle(now, LinkInput::Tick);
            let error = lost.clone();
            seen.extend(said(
                link.handle(now, LinkInput::ConnectFailed { generation, error, started: false }),
            ));
        }
        assert_eq!(seen, ["hold", "Lost", "Pending", "Broken"]);
        assert_eq!(link.state(), LinkState::Failed);
        assert_eq!(now - start, Duration::from_secs(4_200));
        let again = link.reconnect(now, false).unwrap();
        assert!(matches!(again[..], [LinkAction::Connect { purpose: Purpose::Resume, .. }]));
    }
}
