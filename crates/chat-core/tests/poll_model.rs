//! The poll machine against models that look at the whole past each time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use chat_core::{ErrorKind, Poll, PollAction, PollClass, PollEvent, PollInput, PollPolicy, ServerHealth};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio::time::Instant;

// ---- what readers are told ------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq)]
enum Past {
    Answer(PollClass),
    Reset,
}

/// What has been heard of the server so far. Each question is answered from the whole past.
#[derive(Debug, Clone)]
struct Heard {
    limit: u32,
    /// The chat is being restored.
    restoring: bool,
    past: Vec<Past>,
}

impl Heard {
    /// What happened since the last good answer, up to `end`.
    fn outage(&self, end: usize) -> &[Past] {
        let begin = self.past[..end].iter().rposition(|past| *past == Past::Answer(PollClass::Good));
        &self.past[begin.map_or(0, |index| index + 1)..end]
    }

    fn failed(&self, end: usize) -> bool {
        self.outage(end)
            .iter()
            .any(|past| matches!(past, Past::Answer(PollClass::Exception | PollClass::NoAnswer)))
    }

    fn unanswered(&self, end: usize) -> bool {
        self.outage(end).contains(&Past::Answer(PollClass::NoAnswer))
    }

    /// Whether readers have been told, in either way, that the server is offline.
    fn offline(&self, end: usize) -> Option<PollEvent> {
        let outage = self.outage(end);
        if self.restoring && outage.len() == end {
            return self.failed(end).then_some(PollEvent::RestoredOffline);
        }
        let exceeded = (1..=outage.len()).any(|upto| {
            let since_reset = outage[..upto].iter().rev().take_while(|past| **past != Past::Reset);
            let exceptions = since_reset.filter(|past| **past == Past::Answer(PollClass::Exception)).count();
            exceptions > self.limit as usize
        });
        exceeded.then_some(PollEvent::ServerWentOffline)
    }

    /// What the newest entry must publish: what is so now and was not so before.
    fn news(&self) -> Vec<PollEvent> {
        let (before, now) = (self.past.len() - 1, self.past.len());
        let mut news = Vec::new();
        let lost = |was: bool, is: bool| !was && is;
        let back = |was: bool, is: bool| was && !is;
        if lost(self.failed(before), self.failed(now)) {
            news.push(PollEvent::ConnectionPending);
        }
        if lost(self.unanswered(before), self.unanswered(now)) {
            news.push(PollEvent::Disconnected);
        }
        if back(self.unanswered(before), self.unanswered(now)) {
            news.push(PollEvent::Reconnected);
        }
        if self.offline(before).is_none() {
            news.extend(self.offline(now));
        }
        if back(self.offline(before).is_some(), self.offline(now).is_some()) {
            news.push(PollEvent::ServerBackOnline);
        }
        if back(self.failed(before), self.failed(now)) {
            news.push(PollEvent::ConnectionRestored);
        }
        news
    }
}

fn class() -> impl Strategy<Value = PollClass> {
    prop_oneof![
        2 => Just(PollClass::Good),
        6 => Just(PollClass::Exception),
        2 => Just(PollClass::NoAnswer),
        1 => Just(PollClass::Other),
    ]
}

fn limit() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(5), 0..8u32]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_change_of_the_servers_health_is_told_once(
        limit in limit(),
        restoring: bool,
        past in prop::collection::vec(
            prop_oneof![20 => class().prop_map(Past::Answer), 1 => Just(Past::Reset)], 0..40),
    ) {
        let mut health = ServerHealth::new(limit).restoring(restoring);
        let mut heard = Heard { limit, restoring, past: Vec::new() };
        for past in past {
            heard.past.push(past);
            match past {
                Past::Answer(class) => prop_assert_eq!(health.note(class), heard.news()),
                Past::Reset => health.reset_exceptions(),
            }
        }
    }
}

// ---- when it polls --------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
struct World {
    policy: PollPolicy,
    /// Lengths of alternating stretches with and without a network.
    stretches: Vec<Duration>,
    /// How long a poll without an answer takes to fail.
    timeout: Duration,
    /// Polls after which a message comes.
    messages: Vec<bool>,
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

const BUDGET: Duration = Duration::from_secs(45);

fn world() -> impl Strategy<Value = World> {
    (
        (millis(500..8_000), millis(100..3_000), millis(1_000..60_000), millis(500..90_000)),
        prop::collection::vec(millis(1..60_000), 1..12),
        millis(0..3_000),
        prop::collection::vec(any::<bool>(), 1..16),
    )
        .prop_map(|((interval, active, idle, cap), stretches, timeout, messages)| World {
            policy: PollPolicy::default()
                .with_interval(Some(interval))
                .with_active(active, Duration::from_secs(10))
                .with_idle(idle, Duration::from_secs(20))
                .with_backoff_cap(cap)
                .with_budget(Some(BUDGET)),
            stretches,
            timeout,
            messages,
        })
}

impl World {
    /// Whether the network works at this time, and until when.
    fn network(&self, at: Duration) -> (bool, Duration) {
        let mut end = Duration::ZERO;
        for (index, stretch) in self.stretches.iter().enumerate() {
            end += *stretch;
            if at < end {
                return (index % 2 == 0, end);
            }
        }
        (true, Duration::MAX)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_servers_budget_is_never_missed_while_the_network_works(world in world(), seed: u64) {
        let start = Instant::now();
        let base = world.policy.interval.unwrap();
        let mut poll = Poll::new(world.policy.clone(), seed);
        poll.handle(start, PollInput::Released);
        poll.handle(start, PollInput::Start);
        let mut good = start;
        let mut begun = start;
        let mut warned = Vec::new();
        for round in 0..60 {
            let (works, until) = world.network(begun - start);
            let answered = begun + if works { Duration::ZERO } else { world.timeout };
            let class = if works { PollClass::Good } else { PollClass::NoAnswer };
            if works {
                // It was answered in time, unless the network came back too late for another try.
                let back = world.stretches.iter().scan(Duration::ZERO, |sum, stretch| {
                    *sum += *stretch;
                    Some(*sum)
                });
                let back = back.skip(1).step_by(2).filter(|end| start + *end <= begun).last();
                let heal = back.map_or(good, |back| good.max(start + back));
                if heal + base.mul_f64(1.1).max(world.timeout) <= good + BUDGET {
                    prop_assert!(begun <= good + BUDGET, "{:?} after the last answer", begun - good);
                }
                let silence = begun - good;
                prop_assert_eq!(warned.len(), usize::from(silence >= Duration::from_secs(30)));
                good = begun;
                warned.clear();
            }
            poll.handle(answered, PollInput::Answered { class, retry_after: None });
            if works && world.messages[round % world.messages.len()] {
                poll.handle(answered, PollInput::Activity);
            }
            let mut now = answered;
            let next = loop {
                now = now.max(poll.deadline().unwrap());
                let actions = poll.handle(now, PollInput::Tick);
                warned.extend(actions.contains(&PollAction::Publish(PollEvent::BudgetAtRisk)).then_some(now));
                if actions.contains(&PollAction::PollNow) {
                    break now;
                }
            };
            prop_assert!(next - begun <= (BUDGET / 3).mul_f64(1.1).max(world.timeout), "{:?}", next - begun);
            prop_assert!(next > begun, "never a busy loop");
            begun = next;
            if works && until == Duration::MAX && round > 50 {
                break;
            }
        }
    }
}

// ---- the loop -------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
struct Model {
    heard: Heard,
    running: bool,
    held: bool,
    in_flight: bool,
    /// The newest poll of this connection failed; the server asked for patience.
    failing: bool,
    told: bool,
    expected: Result<Vec<PollAction>, ErrorKind>,
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop,
    Released,
    Held,
    Manual,
    Answer(PollClass, Option<Duration>),
    Heard(PollClass),
    Served,
    Activity,
    NetworkUp,
    Reset,
    Tick,
}

impl Model {
    fn told(&mut self, class: PollClass) -> Result<Vec<PollAction>, ErrorKind> {
        self.heard.past.push(Past::Answer(class));
        Ok(self.heard.news().into_iter().map(PollAction::Publish).collect())
    }

    /// A running loop polls at once when it can.
    fn go_on(&mut self, mut out: Vec<PollAction>) -> Result<Vec<PollAction>, ErrorKind> {
        if self.running && !self.held && !self.in_flight {
            self.in_flight = true;
            out.push(PollAction::PollNow);
        }
        Ok(out)
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        (limit(), any::<bool>())
            .prop_map(|(limit, restoring)| Self {
                heard: Heard { limit, restoring, past: Vec::new() },
                running: false,
                held: true,
                in_flight: false,
                failing: false,
                told: false,
                expected: Ok(Vec::new()),
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let told = prop_oneof![4 => Just(None), 1 => Just(Some(Duration::from_secs(9)))];
        prop_oneof![
            2 => Just(Step::Start),
            1 => Just(Step::Stop),
            2 => Just(Step::Released),
            1 => Just(Step::Held),
            4 => Just(Step::Manual),
            8 => (class(), told).prop_map(|(class, told)| Step::Answer(class, told)),
            1 => class().prop_map(Step::Heard),
            1 => Just(Step::Served),
            1 => Just(Step::Activity),
            1 => Just(Step::NetworkUp),
            1 => Just(Step::Reset),
            6 => Just(Step::Tick),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.expected = match step {
            Step::Manual if state.held => Err(ErrorKind::Network),
            Step::Manual if state.in_flight => Err(ErrorKind::PollRunning),
            Step::Manual => {
                state.in_flight = true;
                Ok(vec![PollAction::PollNow])
            }
            Step::Start if !state.running => {
                state.running = true;
                state.go_on(vec![PollAction::Publish(PollEvent::PollingStarted)])
            }
            Step::Stop if state.running => {
                state.running = false;
                Ok(vec![PollAction::Publish(PollEvent::PollingStopped)])
            }
            Step::Released => {
                (state.held, state.in_flight, state.failing) = (false, false, false);
                state.go_on(Vec::new())
            }
            Step::Held => {
                (state.held, state.in_flight) = (true, false);
                Ok(Vec::new())
            }
            Step::Answer(class, told) if state.in_flight => {
                state.in_flight = false;
                (state.failing, state.told) = (*class != PollClass::Good, told.is_some());
                state.told(*class)
            }
            Step::Heard(class) => state.told(*class),
            Step::Reset => {
                state.heard.past.push(Past::Reset);
                Ok(Vec::new())
            }
            Step::NetworkUp if state.failing && !state.told => state.go_on(Vec::new()),
            Step::Tick => state.go_on(Vec::new()),
            _ => Ok(Vec::new()),
        };
        state
    }
}

struct Machine {
    poll: Poll,
    now: Instant,
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let policy = PollPolicy::default().with_exception_limit(model.heard.limit);
        Self { poll: Poll::new(policy, 1).restoring(model.heard.restoring), now: Instant::now() }
    }

    fn apply(mut machine: Self, model: &Model, step: Step) -> Self {
        let now = machine.now;
        let poll = &mut machine.poll;
        let got = match step {
            Step::Start => Ok(poll.handle(now, PollInput::Start)),
            Step::Stop => Ok(poll.handle(now, PollInput::Stop)),
            Step::Released => Ok(poll.handle(now, PollInput::Released)),
            Step::Held => Ok(poll.handle(now, PollInput::Held)),
            Step::Manual => poll.manual(now).map_err(|error| error.kind().clone()),
            Step::Answer(class, retry_after) => {
                Ok(poll.handle(now, PollInput::Answered { class, retry_after }))
            }
            Step::Heard(class) => Ok(poll.handle(now, PollInput::Heard(class))),
            Step::Served => Ok(poll.handle(now, PollInput::Served)),
            Step::Activity => Ok(poll.handle(now, PollInput::Activity)),
            Step::NetworkUp => Ok(poll.handle(now, PollInput::NetworkUp)),
            Step::Reset => Ok(poll.handle(now, PollInput::ResetExceptions)),
            Step::Tick => {
                if let Some(at) = poll.deadline() {
                    assert!(at <= now + Duration::from_secs(11), "the loop never sleeps for longer");
                    machine.now = now.max(at);
                }
                Ok(poll.handle(machine.now, PollInput::Tick))
            }
        };
        assert_eq!(got, model.expected);
        machine
    }

    fn check_invariants(machine: &Self, model: &Model) {
        assert_eq!(machine.poll.deadline().is_some(), model.running && !model.held && !model.in_flight);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_poll_machine_does_what_the_model_says(sequential 1..60 => Machine);
}
