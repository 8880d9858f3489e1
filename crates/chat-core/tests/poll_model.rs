//! The poll machine against a model that looks at the whole past each time.

use std::time::Duration;

use chat_core::{ErrorKind, Poll, PollAction, PollClass, PollEvent, PollInput, PollPolicy};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Past {
    Answer(PollClass),
    Reset,
}

#[derive(Debug, Clone)]
struct Model {
    limit: u32,
    past: Vec<Past>,
    /// Where in the past the loop was started to restore a chat.
    restored_at: Vec<usize>,
    running: bool,
    in_flight: bool,
    expected: Result<Vec<PollAction>, ErrorKind>,
}

#[derive(Debug, Clone)]
enum Step {
    Start { restoring: bool },
    Stop,
    Manual,
    Answer(PollClass),
    Reset,
    Tick,
}

impl Model {
    /// What happened since the last good poll, up to `end`.
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
        let offset = end - self.outage(end).len();
        let mut exceptions = 0;
        for (index, past) in self.outage(end).iter().enumerate() {
            let restoring = self.restored_at.iter().any(|&at| {
                at <= offset + index
                    && !self.past[at..=offset + index].contains(&Past::Answer(PollClass::Good))
            });
            match past {
                Past::Answer(PollClass::Exception) => exceptions += 1,
                Past::Answer(PollClass::NoAnswer) if restoring => {}
                Past::Reset => {
                    exceptions = 0;
                    continue;
                }
                Past::Answer(_) => continue,
            }
            if restoring {
                return Some(PollEvent::RestoredOffline);
            }
            if exceptions > self.limit {
                return Some(PollEvent::ServerWentOffline);
            }
        }
        None
    }

    /// What the newest answer must publish: what is so now and was not so before.
    fn news(&self) -> Vec<PollEvent> {
        let (before, now) = (self.past.len() - 1, self.past.len());
        let mut news = Vec::new();
        let mut changed = |was: bool, is: bool, on, off| match (was, is) {
            (false, true) => news.extend(on),
            (true, false) => news.extend(off),
            _ => {}
        };
        let failing = self.failed(now);
        if failing {
            changed(self.failed(before), true, Some(PollEvent::ConnectionPending), None);
        }
        changed(
            self.unanswered(before),
            self.unanswered(now),
            Some(PollEvent::Disconnected),
            Some(PollEvent::Reconnected),
        );
        changed(
            self.offline(before).is_some(),
            self.offline(now).is_some(),
            self.offline(now),
            Some(PollEvent::ServerBackOnline),
        );
        if !failing {
            changed(self.failed(before), false, None, Some(PollEvent::ConnectionRestored));
        }
        news
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        prop_oneof![Just(0), Just(1), Just(5), 0..8u32]
            .prop_map(|limit| Self {
                limit,
                past: Vec::new(),
                restored_at: Vec::new(),
                running: false,
                in_flight: false,
                expected: Ok(Vec::new()),
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let class = prop_oneof![
            2 => Just(PollClass::Good),
            6 => Just(PollClass::Exception),
            2 => Just(PollClass::NoAnswer),
            1 => Just(PollClass::Other { retry_after: None }),
            1 => Just(PollClass::Other { retry_after: Some(Duration::from_secs(9)) }),
        ];
        prop_oneof![
            2 => any::<bool>().prop_map(|restoring| Step::Start { restoring }),
            1 => Just(Step::Stop),
            4 => Just(Step::Manual),
            8 => class.prop_map(Step::Answer),
            1 => Just(Step::Reset),
            6 => Just(Step::Tick),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        let mut out = Vec::new();
        state.expected = match step {
            Step::Manual if state.in_flight => Err(ErrorKind::PollRunning),
            Step::Manual => {
                state.in_flight = true;
                Ok(vec![PollAction::PollNow])
            }
            Step::Start { restoring } if !state.running => {
                state.running = true;
                state.restored_at.extend(restoring.then_some(state.past.len()));
                out.push(PollAction::Publish(PollEvent::PollingStarted));
                if !state.in_flight {
                    state.in_flight = true;
                    out.push(PollAction::PollNow);
                }
                Ok(out)
            }
            Step::Stop if state.running => {
                state.running = false;
                Ok(vec![PollAction::Publish(PollEvent::PollingStopped)])
            }
            Step::Answer(class) if state.in_flight => {
                state.in_flight = false;
                state.past.push(Past::Answer(*class));
                Ok(state.news().into_iter().map(PollAction::Publish).collect())
            }
            Step::Reset => {
                state.past.push(Past::Reset);
                Ok(out)
            }
            Step::Tick if state.running && !state.in_flight => {
                state.in_flight = true;
                Ok(vec![PollAction::PollNow])
            }
            _ => Ok(out),
        };
        state
    }
}

struct Machine {
    poll: Poll,
    now: Instant,
    policy: PollPolicy,
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let policy = PollPolicy::default().with_exception_limit(model.limit);
        Self { poll: Poll::new(policy.clone(), 1), now: Instant::now(), policy }
    }

    fn apply(mut machine: Self, model: &Model, step: Step) -> Self {
        let now = machine.now;
        let got = match step {
            Step::Start { restoring } => Ok(machine.poll.handle(now, PollInput::Start { restoring })),
            Step::Stop => Ok(machine.poll.handle(now, PollInput::Stop)),
            Step::Manual => machine.poll.manual(now).map_err(|error| error.kind().clone()),
            Step::Answer(class) => Ok(machine.poll.handle(now, PollInput::Answered(class))),
            Step::Reset => Ok(machine.poll.handle(now, PollInput::ResetExceptions)),
            Step::Tick => {
                if let Some(at) = machine.poll.deadline() {
                    let longest = machine.policy.offline_interval.mul_f64(1.1);
                    assert!(at <= now + longest, "the loop never sleeps for longer than its interval");
                    machine.now = machine.now.max(at);
                }
                Ok(machine.poll.handle(machine.now, PollInput::Tick))
            }
        };
        assert_eq!(got, model.expected);
        machine
    }

    fn check_invariants(machine: &Self, model: &Model) {
        assert_eq!(machine.poll.deadline().is_some(), model.running && !model.in_flight);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_poll_machine_does_what_the_model_says(sequential 1..60 => Machine);
}
