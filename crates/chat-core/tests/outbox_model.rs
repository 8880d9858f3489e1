//! The outbox against a flat model, and against the truth at the vendor: nothing lost, nothing doubled, nothing said wrongly.

use std::{collections::BTreeSet, time::Duration};

use chat_core::{
    BackoffPolicy, ClientToken, Delivery, Error, ErrorKind, Outbox, OutboxAction, OutboxInput, OutboxPolicy,
    OutgoingBody, Retry, SendStage, Sent, Text,
};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio::time::Instant;

const CAPACITY: usize = 6;
const TRIES: u32 = 4;
const SETTLE: Duration = Duration::from_secs(10);
/// A search that finds nothing is repeated after a quarter of the time, so that the fifth is the last.
const LAST_SEARCH: u32 = 4;
/// Drawn delays are too short to matter between two searches.
const CAP: Duration = Duration::from_millis(1);
const AFTER: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    InFlight,
    Unknown,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    None,
    Due,
    Running,
    /// Repeated when time passes, without a step towards the last one.
    Again,
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Fine,
    Refreshing,
    Refused,
}

/// How an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    NotSent,
    NotSentAfter,
    NotSentFinal,
    /// Nobody knows: the vendor stored it, or not.
    Unknown {
        stored: bool,
    },
    RateLimited,
    Refused,
    Unauthorized,
    SessionEnded,
}

impl Failure {
    fn error(self) -> Error {
        match self {
            Self::NotSent => Error::new(ErrorKind::Network, ""),
            Self::NotSentAfter => Error::new(ErrorKind::Server, "")
                .with_delivery(Delivery::NotSent)
                .with_retry(Retry::After(AFTER)),
            Self::NotSentFinal => Error::new(ErrorKind::Io, ""),
            Self::Unknown { .. } => Error::new(ErrorKind::Timeout, ""),
            Self::RateLimited => Error::new(ErrorKind::RateLimited, ""),
            Self::Refused => Error::new(ErrorKind::Refused, ""),
            Self::Unauthorized => Error::new(ErrorKind::Unauthorized, ""),
            Self::SessionEnded => Error::new(ErrorKind::SessionEnded, ""),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Release,
    Hold,
    Lost {
        stored: bool,
    },
    /// An answer to the attempt that is in flight or has become unknown.
    Acked,
    Fails(Failure),
    Echo(usize),
    Found,
    NotFound,
    SearchFails {
        again: bool,
    },
    Tick,
    Cancel(usize),
    GiveUp(usize),
    Retry(usize),
    Refreshed(bool),
    Ended,
}

#[derive(Debug, Clone)]
struct Message {
    number: usize,
    attempt: u32,
    stage: Stage,
    doubt: Option<u32>,
    refreshed: bool,
    echoed: bool,
    given_up: bool,
    /// The last attempt that left.
    left: Option<u32>,
    /// The truth: the attempt that the vendor stored.
    stored: Option<u32>,
}

impl Message {
    fn store(&mut self, stored: bool) {
        if stored {
            self.stored.get_or_insert(self.attempt);
        }
    }
}

#[derive(Debug, Clone)]
struct Model {
    idempotent: bool,
    pushed: usize,
    released: bool,
    ended: bool,
    access: Access,
    queue: Vec<Message>,
    failed: Vec<Message>,
    sent: Vec<usize>,
    /// The lane waits for a while.
    waiting: bool,
    search: Search,
    searches: u32,
    tries: u32,
    said: Vec<String>,
}

impl Model {
    fn say(&mut self, what: String) {
        self.said.push(what);
    }

    fn state(&mut self, message: &Message, sent: bool) {
        let stage = match message.stage {
            Stage::Queued => SendStage::Queued,
            Stage::InFlight => SendStage::Sending,
            Stage::Unknown => SendStage::Unknown,
            Stage::Failed => SendStage::Failed,
        };
        self.say(format!("{} is {sent} {} {stage:?}", message.number, message.attempt));
    }

    fn head_state(&mut self) {
        let head = self.queue[0].clone();
        self.state(&head, false);
    }

    fn may_send(&self) -> bool {
        self.released && !self.ended && self.access == Access::Fine
    }

    /// Whether the head is looked for instead of sent again.
    fn asks(&self) -> bool {
        !self.idempotent || self.queue.first().is_some_and(|head| head.given_up)
    }

    fn pump(&mut self) {
        if !self.may_send() || self.queue.is_empty() {
            return;
        }
        let asks = self.asks();
        let head = &mut self.queue[0];
        if head.given_up && head.stage == Stage::Queued && head.doubt.is_some() {
            head.stage = Stage::Unknown;
            self.search = Search::Due;
            self.searches = 0;
            self.head_state();
        }
        let head = &mut self.queue[0];
        match head.stage {
            Stage::Unknown if asks && self.search == Search::Due => {
                self.search = Search::Running;
                let number = head.number;
                self.say(format!("settle {number}"));
            }
            Stage::Unknown if asks => {}
            Stage::Queued | Stage::Unknown if !self.waiting => {
                head.attempt += u32::from(head.stage == Stage::Unknown);
                head.stage = Stage::InFlight;
                head.left = Some(head.attempt);
                self.head_state();
                let (number, attempt) = (self.queue[0].number, self.queue[0].attempt);
                self.say(format!("send {number} {attempt}"));
            }
            _ => {}
        }
    }

    fn take(&mut self, index: usize) -> Message {
        if index == 0 {
            self.waiting = false;
            self.tries = 0;
            self.search = if self.queue.get(1).is_some_and(|next| next.stage == Stage::Unknown) {
                Search::Due
            } else {
                Search::None
            };
            self.searches = 0;
        }
        self.queue.remove(index)
    }

    fn sent(&mut self, number: usize) {
        let (message, pending) =
            if let Some(index) = self.queue.iter().position(|message| message.number == number) {
                (self.take(index), true)
            } else if let Some(index) = self.failed.iter().position(|message| message.number == number) {
                (self.failed.remove(index), false)
            } else {
                return;
            };
        if !message.echoed {
            self.state(&message, true);
        }
        if pending {
            self.say(format!("{number} done"));
        }
        self.sent.push(number);
    }

    fn fail(&mut self, index: usize) {
        let mut message = self.take(index);
        let open = matches!(message.stage, Stage::InFlight | Stage::Unknown);
        if open {
            message.doubt.get_or_insert(message.attempt);
        }
        message.stage = Stage::Failed;
        self.state(&message, false);
        let unknown = message.doubt.is_some();
        self.say(format!("{} failed, unknown: {unknown}", message.number));
        self.failed.push(message);
        if self.failed.len() > CAPACITY {
            self.failed.remove(0);
        }
    }

    fn try_again(&mut self) -> bool {
        let again = self.tries < TRIES;
        self.tries += u32::from(again);
        again
    }

    fn requeue(&mut self) {
        self.queue[0].stage = Stage::Queued;
        self.queue[0].attempt += 1;
        self.search = Search::None;
        self.searches = 0;
        self.head_state();
    }

    fn unknown(&mut self) {
        let head = &mut self.queue[0];
        head.stage = Stage::Unknown;
        head.doubt.get_or_insert(head.attempt);
        self.search = Search::Due;
        self.searches = 0;
        if self.try_again() {
            self.waiting = true;
            self.head_state();
        } else {
            self.fail(0);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        while let Some(head) = self.queue.first() {
            if head.echoed {
                self.sent(head.number);
            } else {
                self.fail(0);
            }
        }
    }

    fn fails(&mut self, failure: Failure) {
        let head = &mut self.queue[0];
        if let Failure::Unknown { stored } = failure {
            head.store(stored);
        }
        if head.echoed {
            let number = head.number;
            return self.sent(number);
        }
        if let Failure::Unknown { .. } = failure {
            if head.stage == Stage::InFlight {
                self.unknown();
            }
            return;
        }
        head.stage = Stage::Queued;
        head.doubt = head.doubt.filter(|first| *first < head.attempt);
        if head.given_up && head.doubt.is_none() && failure != Failure::SessionEnded {
            return self.fail(0);
        }
        match failure {
            Failure::SessionEnded => self.end(),
            Failure::Unauthorized if head.refreshed => {
                self.access = Access::Refused;
                self.fail(0);
            }
            Failure::Unauthorized => {
                head.refreshed = true;
                self.waiting = false;
                self.requeue();
                if self.access != Access::Refreshing {
                    self.access = Access::Refreshing;
                    self.say("refresh".into());
                }
            }
            Failure::NotSentFinal | Failure::Refused => self.fail(0),
            _ if self.try_again() => {
                self.waiting = true;
                self.requeue();
            }
            _ => {
                self.fail(0);
                self.waiting = failure == Failure::NotSentAfter;
            }
        }
    }

    fn time_passes(&mut self) {
        if !self.may_send() || self.queue.is_empty() {
            return;
        }
        match (self.queue[0].stage, self.search) {
            (Stage::Unknown, Search::Later) if self.asks() => {
                self.searches += 1;
                self.waiting = false;
                self.search = Search::Due;
            }
            (Stage::Unknown, Search::Again) if self.asks() => self.search = Search::Due,
            (Stage::Unknown, _) if self.asks() => {}
            (Stage::Queued | Stage::Unknown, _) => self.waiting = false,
            _ => {}
        }
    }

    fn head(&self, stages: &[Stage]) -> Option<&Message> {
        self.queue.first().filter(|head| stages.contains(&head.stage))
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any::<bool>()
            .prop_map(|idempotent| Self {
                idempotent,
                pushed: 0,
                released: false,
                ended: false,
                access: Access::Fine,
                queue: Vec::new(),
                failed: Vec::new(),
                sent: Vec::new(),
                waiting: false,
                search: Search::None,
                searches: 0,
                tries: 0,
                said: Vec::new(),
            })
            .boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        let failure = prop_oneof![
            4 => Just(Failure::NotSent),
            2 => Just(Failure::NotSentAfter),
            1 => Just(Failure::NotSentFinal),
            8 => any::<bool>().prop_map(|stored| Failure::Unknown { stored }),
            2 => Just(Failure::RateLimited),
            1 => Just(Failure::Refused),
            2 => Just(Failure::Unauthorized),
        ];
        let mut likely = vec![
            (8, Just(Step::Push).boxed()),
            (6, Just(Step::Tick).boxed()),
            (1, Just(Step::Hold).boxed()),
            (if model.released { 1 } else { 10 }, Just(Step::Release).boxed()),
            (1, prop_oneof![Just(Step::Refreshed(true)), Just(Step::Refreshed(false))].boxed()),
        ];
        if model.pushed > 0 {
            let any_number = 0..model.pushed;
            likely.push((1, any_number.clone().prop_map(Step::Cancel).boxed()));
            likely.push((3, any_number.clone().prop_map(Step::Retry).boxed()));
            likely.push((2, any_number.clone().prop_map(Step::GiveUp).boxed()));
            likely.push((2, any_number.prop_map(Step::Echo).boxed()));
        }
        if model.head(&[Stage::InFlight, Stage::Unknown]).is_some() {
            likely.push((8, Just(Step::Acked).boxed()));
            likely.push((16, failure.prop_map(Step::Fails).boxed()));
            likely.push((3, any::<bool>().prop_map(|stored| Step::Lost { stored }).boxed()));
        }
        if model.search == Search::Running {
            likely.push((6, Just(Step::Found).boxed()));
            likely.push((30, Just(Step::NotFound).boxed()));
            likely.push((4, any::<bool>().prop_map(|again| Step::SearchFails { again }).boxed()));
        }
        if model.access == Access::Refreshing {
            likely.push((9, prop::bool::weighted(0.7).prop_map(Step::Refreshed).boxed()));
        }
        if model.pushed > 8 {
            likely.push((1, Just(Step::Ended).boxed()));
            likely.push((1, Just(Step::Fails(Failure::SessionEnded)).boxed()));
        }
        prop::strategy::Union::new_weighted(likely).boxed()
    }

    /// Only what can be true happens: what was not stored is neither acknowledged late nor found, and the other way round.
    fn preconditions(model: &Self, step: &Step) -> bool {
        let all = || model.queue.iter().chain(&model.failed);
        match *step {
            Step::Acked => model
                .head(&[Stage::InFlight, Stage::Unknown])
                .is_some_and(|head| head.stage == Stage::InFlight || head.stored.is_some()),
            Step::Fails(failure) => model.head(&[Stage::InFlight, Stage::Unknown]).is_some_and(|head| {
                let here = head.echoed || head.stored == Some(head.attempt);
                head.left == Some(head.attempt) && (matches!(failure, Failure::Unknown { .. }) || !here)
            }),
            Step::Echo(number) => all().any(|message| {
                message.number == number && (message.stored.is_some() || message.stage == Stage::InFlight)
            }),
            Step::Found => model.search == Search::Running && model.queue[0].stored.is_some(),
            Step::NotFound => {
                model.search == Search::Running
                    && (model.queue[0].stored.is_none() || model.searches < LAST_SEARCH)
            }
            Step::SearchFails { .. } => model.search == Search::Running,
            // Behind others its time to settle would run while they are settled: the model has no clock for that.
            Step::Retry(number) => {
                number < model.pushed
                    && (model.idempotent
                        || model.queue.is_empty()
                        || model
                            .failed
                            .iter()
                            .all(|failed| failed.number != number || failed.doubt.is_none()))
            }
            Step::Cancel(number) => number < model.pushed,
            // As with retries: behind others its time to settle would run.
            Step::GiveUp(number) => {
                number < model.pushed
                    && model
                        .queue
                        .iter()
                        .skip(1)
                        .all(|message| message.number != number || message.doubt.is_none())
            }
            _ => true,
        }
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        let m = &mut model;
        m.said.clear();
        match *step {
            Step::Push if m.ended => m.say("SessionEnded".into()),
            Step::Push if m.queue.len() == CAPACITY => m.say("QueueFull".into()),
            Step::Push => {
                let message = Message {
                    number: m.pushed,
                    attempt: 0,
                    stage: Stage::Queued,
                    doubt: None,
                    refreshed: false,
                    echoed: false,
                    given_up: false,
                    left: None,
                    stored: None,
                };
                m.state(&message, false);
                m.queue.push(message);
                m.pushed += 1;
            }
            Step::Release if !m.released => {
                m.released = true;
                m.access = Access::Fine;
            }
            Step::Hold => m.released = false,
            Step::Lost { stored } => {
                if let Some(head) = m.queue.first_mut() {
                    match head.stage {
                        Stage::InFlight if head.echoed => {
                            let number = head.number;
                            m.sent(number);
                        }
                        Stage::InFlight => {
                            head.store(stored);
                            m.unknown();
                        }
                        Stage::Unknown => m.search = Search::Due,
                        _ => {}
                    }
                }
            }
            Step::Acked => {
                m.queue[0].store(true);
                let number = m.queue[0].number;
                m.sent(number);
            }
            Step::Fails(failure) => m.fails(failure),
            Step::Echo(number) => match m.queue.iter().position(|message| message.number == number) {
                Some(index) if m.queue[index].stage == Stage::InFlight => {
                    m.queue[index].store(true);
                    if !m.queue[index].echoed {
                        m.queue[index].echoed = true;
                        let message = m.queue[index].clone();
                        m.state(&message, true);
                    }
                }
                _ => m.sent(number),
            },
            Step::Found => {
                let number = m.queue[0].number;
                m.sent(number);
            }
            Step::NotFound if m.searches >= LAST_SEARCH => {
                m.queue[0].doubt = None;
                if m.queue[0].given_up {
                    m.queue[0].stage = Stage::Queued;
                    m.fail(0);
                } else {
                    m.requeue();
                }
            }
            Step::NotFound => m.search = Search::Later,
            Step::SearchFails { again } => {
                if again && m.try_again() {
                    m.search = Search::Again;
                } else {
                    m.fail(0);
                }
            }
            Step::Tick => m.time_passes(),
            Step::Cancel(number) => {
                if let Some(index) = m.queue.iter().position(|message| message.number == number) {
                    let message = &m.queue[index];
                    if message.stage != Stage::Queued || message.doubt.is_some() {
                        m.say("Conflict".into());
                        return model;
                    }
                    let message = m.take(index);
                    m.say(format!("{number} is false {} Cancelled", message.attempt));
                    m.say(format!("{number} cancelled"));
                } else if let Some(index) = m.failed.iter().position(|message| message.number == number) {
                    let message = m.failed.remove(index);
                    m.say(format!("{number} is false {} Cancelled", message.attempt));
                } else {
                    m.say("NotFound".into());
                    return model;
                }
            }
            Step::GiveUp(number) => {
                let Some(index) = m.queue.iter().position(|message| message.number == number) else {
                    m.say("NotFound".into());
                    return model;
                };
                let message = &mut m.queue[index];
                if message.stage == Stage::Queued && message.doubt.is_none() {
                    let message = m.take(index);
                    m.say(format!("{number} is false {} Cancelled", message.attempt));
                    m.say(format!("{number} cancelled"));
                } else {
                    message.given_up = true;
                    if m.idempotent && message.stage == Stage::Unknown {
                        m.search = Search::Due;
                        m.searches = 0;
                    }
                }
            }
            Step::Retry(number) => {
                if m.queue.iter().any(|message| message.number == number) {
                    return model;
                }
                let Some(index) = m.failed.iter().position(|message| message.number == number) else {
                    m.say("NotFound".into());
                    return model;
                };
                if m.ended || m.queue.len() == CAPACITY {
                    m.say(if m.ended { "SessionEnded" } else { "QueueFull" }.into());
                    return model;
                }
                let mut message = m.failed.remove(index);
                message.attempt += 1;
                message.refreshed = false;
                message.given_up = false;
                message.stage = if message.doubt.is_some() { Stage::Unknown } else { Stage::Queued };
                m.state(&message, false);
                if m.queue.is_empty() && message.stage == Stage::Unknown {
                    m.search = Search::Due;
                }
                m.queue.push(message);
            }
            Step::Refreshed(true) => m.access = Access::Fine,
            Step::Refreshed(false) if m.access == Access::Refreshing => {
                m.access = Access::Refused;
                if m.queue.first().is_some_and(|head| head.refreshed) {
                    m.fail(0);
                }
            }
            Step::Ended => m.end(),
            _ => {}
        }
        m.pump();
        model
    }
}

struct Machine {
    outbox: Outbox,
    now: Instant,
    tokens: Vec<ClientToken>,
    resolved: BTreeSet<usize>,
}

impl Machine {
    fn tell(&mut self, input: OutboxInput) -> Vec<String> {
        let actions = self.outbox.handle(self.now, input);
        self.said(actions)
    }

    fn said(&self, actions: Vec<OutboxAction>) -> Vec<String> {
        let number = |token: &ClientToken| {
            self.tokens.iter().position(|other| other == token).expect("only what was pushed is spoken of")
        };
        actions
            .into_iter()
            .map(|action| match action {
                OutboxAction::Send(outgoing) => {
                    format!("send {} {}", number(&outgoing.token), outgoing.attempt)
                }
                OutboxAction::Settle { token, .. } => format!("settle {}", number(&token)),
                OutboxAction::State { token, state } => {
                    format!("{} is {} {} {:?}", number(&token), state.sent, state.attempt, state.stage)
                }
                OutboxAction::Done { token, result: Ok(_) } => format!("{} done", number(&token)),
                OutboxAction::Done { token, result: Err(error) } => match error.kind() {
                    ErrorKind::Cancelled => format!("{} cancelled", number(&token)),
                    _ => {
                        let unknown = error.delivery() == Delivery::Unknown;
                        format!("{} failed, unknown: {unknown}", number(&token))
                    }
                },
                OutboxAction::RefreshCredentials => "refresh".into(),
                other => format!("{other:?}"),
            })
            .collect()
    }
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let mut policy = OutboxPolicy::default();
        policy.capacity = CAPACITY;
        policy.idempotent = model.idempotent;
        policy.settle_within = SETTLE;
        policy.retry = BackoffPolicy::default()
            .with_base(CAP)
            .with_cap(CAP)
            .with_budget(None)
            .with_max_attempts(Some(TRIES));
        let outbox = Outbox::new(policy, 7);
        Self { outbox, now: Instant::now(), tokens: Vec::new(), resolved: BTreeSet::new() }
    }

    fn apply(mut machine: Self, model: &Model, step: Step) -> Self {
        let this = &mut machine;
        let now = this.now;
        let head = || {
            let stored = this.outbox.stored();
            let head = stored.first().expect("a precondition of the steps that ask for it");
            (head.token.clone(), head.attempt)
        };
        let refused = |error: Error| vec![format!("{:?}", error.kind())];
        let got = match step {
            Step::Push => {
                let body = OutgoingBody::Text(Text::plain(this.tokens.len().to_string()));
                match this.outbox.push(now, body) {
                    Ok((token, actions)) => {
                        this.tokens.push(token);
                        this.said(actions)
                    }
                    Err(error) => refused(error),
                }
            }
            Step::Release => this.tell(OutboxInput::Released),
            Step::Hold => this.tell(OutboxInput::Held),
            Step::Lost { .. } => this.tell(OutboxInput::ConnectionLost),
            Step::Acked => {
                let (token, attempt) = head();
                this.tell(OutboxInput::Acked { token, attempt, sent: Sent::default() })
            }
            Step::Fails(failure) => {
                let (token, attempt) = head();
                this.tell(OutboxInput::Failed { token, attempt, error: failure.error() })
            }
            Step::Echo(number) => this.tell(OutboxInput::EchoSeen { token: this.tokens[number].clone() }),
            Step::Found => {
                let (token, _) = head();
                this.tell(OutboxInput::SettleDone { token, found: true })
            }
            Step::NotFound => {
                let (token, _) = head();
                this.tell(OutboxInput::SettleDone { token, found: false })
            }
            Step::SearchFails { again } => {
                let kind = if again { ErrorKind::Timeout } else { ErrorKind::AccessDenied };
                let error = Error::new(kind, "");
                let (token, _) = head();
                this.tell(OutboxInput::SettleFailed { token, error })
            }
            Step::Tick => {
                if let Some(at) = this.outbox.deadline() {
                    assert!(at <= now + SETTLE, "no wait is longer than that");
                    this.now = now.max(at);
                }
                this.tell(OutboxInput::Tick)
            }
            Step::Cancel(number) => match this.outbox.cancel(now, &this.tokens[number].clone()) {
                Ok(actions) => this.said(actions),
                Err(error) => refused(error),
            },
            Step::GiveUp(number) => match this.outbox.give_up(now, &this.tokens[number].clone()) {
                Ok(actions) => this.said(actions),
                Err(error) => refused(error),
            },
            Step::Retry(number) => {
                this.resolved.remove(&number);
                match this.outbox.retry(now, &this.tokens[number].clone()) {
                    Ok(actions) => this.said(actions),
                    Err(error) => refused(error),
                }
            }
            Step::Refreshed(ok) => this.tell(OutboxInput::Refreshed { ok }),
            Step::Ended => this.tell(OutboxInput::Ended),
        };
        assert_eq!(got, model.said);
        if got.iter().any(|line| line.starts_with("send ")) {
            let head = &model.queue[0];
            assert!(
                !head.given_up && (model.idempotent || head.stored.is_none()),
                "{} is there already: this would double it",
                head.number
            );
        }
        machine
    }

    fn check_invariants(machine: &Self, model: &Model) {
        assert_eq!(machine.outbox.len(), model.queue.len());
        let open = |message: &&Message| matches!(message.stage, Stage::InFlight | Stage::Unknown);
        assert_eq!(
            machine.outbox.unsettled(),
            model.queue.iter().find(open).map(|message| &machine.tokens[message.number])
        );
        for message in &model.failed {
            assert!(
                message.stored.is_none() || message.doubt.is_some(),
                "{} is there, but was reported as not sent",
                message.number
            );
        }
        if machine.outbox.deadline().is_some_and(|at| at <= machine.now) {
            panic!("a deadline that has passed would make the driver spin");
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_the_model_says(sequential 1..80 => Machine);
}
