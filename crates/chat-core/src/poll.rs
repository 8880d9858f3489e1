//! Owns the poll loop of polled transports: one poll at a time, and when the next is due. No I/O.
//! Source: protocol notes of GMS v2, sections 6, 10.3 ("Ours, settled") and 12.1, rule 4.

use std::time::Duration;

use tokio::time::Instant;

pub use self::{
    health::{PollClass, ServerHealth},
    policy::PollPolicy,
};
use crate::error::{Error, ErrorKind, Result};

mod health;
mod policy;

/// What the poll machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollInput {
    /// Poll from now on.
    Start,
    /// Poll no more. A poll that is under way still counts.
    Stop,
    /// A new connection stands. A poll that an earlier one was asked for is no longer waited for.
    Released,
    /// No connection stands: nothing is asked and nothing counted. The machine begins like this.
    Held,
    /// The poll that was asked for is answered.
    Answered {
        /// How it went.
        class: PollClass,
        /// The server's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A push connection reports how the chat server answers: counted like a poll, and the loop goes on as it was.
    Heard(PollClass),
    /// The system says that the network is back: a wait for it is over.
    NetworkUp,
    /// Another request than a poll was answered well: the server knows that the chat goes on.
    Served,
    /// A message came or was sent: more may follow soon.
    Activity,
    /// Count exceptions from 0 again.
    ResetExceptions,
    /// [`Poll::deadline`] has come.
    Tick,
}

/// What the driver must do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollAction {
    /// Poll, then report `Answered`.
    PollNow,
    /// Tell the readers.
    Publish(PollEvent),
}

/// What readers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PollEvent {
    /// Polling has started.
    PollingStarted,
    /// Polling has stopped.
    PollingStopped,
    /// The first failure, of either class.
    ConnectionPending,
    /// The first poll without an answer.
    Disconnected,
    /// The chat server is offline: the exception limit is exceeded.
    ServerWentOffline,
    /// The first poll of a restored chat failed.
    RestoredOffline,
    /// Good again, after `Disconnected`.
    Reconnected,
    /// Good again, after `ServerWentOffline` or `RestoredOffline`; followed by `ConnectionRestored`.
    ServerBackOnline,
    /// Good again, after `ConnectionPending`.
    ConnectionRestored,
    /// No request has been answered well for so long that the server may soon give the chat up
    /// ([`PollPolicy::budget`]). Once, until the next good answer.
    BudgetAtRisk,
}

/// The poll machine.
#[derive(Debug)]
pub struct Poll {
    policy: PollPolicy,
    health: ServerHealth,
    rng: fastrand::Rng,
    running: bool,
    held: bool,
    in_flight: bool,
    /// When the next poll is due, while the loop runs and none is under way.
    next: Option<Instant>,
    /// The server asked for patience until then.
    not_before: Option<Instant>,
    /// When the newest poll began.
    begun: Option<Instant>,
    /// Polls in a row that did not go well.
    failures: u32,
    /// When a request was last answered well, on a connection that stands.
    answered: Option<Instant>,
    /// Told that the budget is at risk.
    warned: bool,
    /// When a message last came or was sent; at first, when the loop started.
    active: Option<Instant>,
}

impl Poll {
    /// Stopped and held. `seed` makes the jitter reproducible.
    pub fn new(policy: PollPolicy, seed: u64) -> Self {
        Self {
            health: ServerHealth::new(policy.exception_limit),
            policy,
            rng: fastrand::Rng::with_seed(seed),
            running: false,
            held: true,
            in_flight: false,
            next: None,
            not_before: None,
            begun: None,
            failures: 0,
            answered: None,
            warned: false,
            active: None,
        }
    }

    /// Sets whether the chat is being restored: until the first good answer, a failure means "restored offline" then.
    #[must_use]
    pub const fn restoring(mut self, restoring: bool) -> Self {
        self.health = self.health.restoring(restoring);
        self
    }

    /// Whether the loop runs. It may run while it is held.
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// What was told as lost and is not yet recovered, for a reader who comes late.
    pub fn standing(&self) -> Vec<PollEvent> {
        self.health.standing()
    }

    /// How many exceptions in a row there were.
    pub const fn exceptions(&self) -> u32 {
        self.health.exceptions()
    }

    /// Whether what is sent would get nowhere now, and the loop will notice when it does again.
    pub const fn is_cut_off(&self) -> bool {
        self.running && !self.held && self.health.is_cut_off()
    }

    /// Sets what the connection's capabilities say. Counts and deadlines stay.
    pub fn set_policy(&mut self, policy: PollPolicy) {
        self.health.set_exception_limit(policy.exception_limit);
        self.policy = policy;
    }

    /// Polls by hand, whether the loop runs or not.
    ///
    /// # Errors
    /// `PollRunning` while a poll is under way, `Network` while no connection stands.
    pub fn manual(&mut self, now: Instant) -> Result<Vec<PollAction>> {
        if self.held {
            return Err(Error::new(ErrorKind::Network, "not connected at the moment"));
        }
        if self.in_flight {
            return Err(Error::new(ErrorKind::PollRunning, ""));
        }
        Ok(vec![self.poll(now)])
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: PollInput) -> Vec<PollAction> {
        let mut out = Vec::new();
        match input {
            PollInput::Start => {
                if !std::mem::replace(&mut self.running, true) {
                    self.active = Some(now);
                    out.push(PollAction::Publish(PollEvent::PollingStarted));
                    self.go_on(now, &mut out);
                }
            }
            PollInput::Stop => {
                if std::mem::take(&mut self.running) {
                    self.next = None;
                    out.push(PollAction::Publish(PollEvent::PollingStopped));
                }
            }
            PollInput::Released => {
                self.held = false;
                self.in_flight = false;
                self.failures = 0;
                self.served(now);
                self.go_on(now, &mut out);
            }
            PollInput::Held => {
                self.held = true;
                self.in_flight = false;
                self.next = None;
                self.answered = None;
            }
            PollInput::Answered { class, retry_after } => {
                if std::mem::take(&mut self.in_flight) {
                    self.answered(now, class, &mut out);
                    if self.running {
                        self.next = Some(self.next_after(now, class, retry_after));
                    }
                }
            }
            PollInput::Heard(class) => self.tell(class, &mut out),
            PollInput::NetworkUp => {
                if self.failures > 0 && self.next.is_some() && self.not_before.is_none_or(|at| at <= now) {
                    self.go_on(now, &mut out);
                }
            }
            PollInput::Served if !self.held => self.served(now),
            PollInput::Activity => self.activity(now),
            PollInput::Served => {}
            PollInput::ResetExceptions => self.health.reset_exceptions(),
            PollInput::Tick => {
                if self.warning_at().is_some_and(|at| at <= now) {
                    self.warned = true;
                    out.push(PollAction::Publish(PollEvent::BudgetAtRisk));
                }
                if self.next.is_some_and(|at| at <= now) {
                    out.push(self.poll(now));
                }
            }
        }
        out
    }

    /// When to call with [`PollInput::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        [self.next, self.warning_at()].into_iter().flatten().min()
    }

    fn poll(&mut self, now: Instant) -> PollAction {
        self.in_flight = true;
        self.next = None;
        self.not_before = None;
        self.begun = Some(now);
        PollAction::PollNow
    }

    /// Polls at once, if the loop runs and nothing stands against it.
    fn go_on(&mut self, now: Instant, out: &mut Vec<PollAction>) {
        if self.running && !self.held && !self.in_flight {
            out.push(self.poll(now));
        }
    }

    fn tell(&mut self, class: PollClass, out: &mut Vec<PollAction>) {
        out.extend(self.health.note(class).into_iter().map(PollAction::Publish));
    }

    fn answered(&mut self, now: Instant, class: PollClass, out: &mut Vec<PollAction>) {
        self.tell(class, out);
        if class == PollClass::Good {
            self.failures = 0;
            self.served(now);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }

    const fn served(&mut self, now: Instant) {
        self.answered = Some(now);
        self.warned = false;
    }

    /// More may follow soon: a poll that is far off comes nearer. What the server or a failure put off stays put off.
    fn activity(&mut self, now: Instant) {
        self.active = Some(now);
        if self.failures == 0
            && let Some(next) = self.next
        {
            let soon = self.begun.unwrap_or(now) + self.jittered(self.policy.interval_after(Duration::ZERO));
            self.next = Some(next.min(soon.max(now)));
        }
    }

    fn warning_at(&self) -> Option<Instant> {
        if self.held || self.warned {
            return None;
        }
        self.answered?.checked_add(self.policy.warning()?)
    }

    /// When the next poll is due, after one that was answered now.
    fn next_after(&mut self, now: Instant, class: PollClass, retry_after: Option<Duration>) -> Instant {
        let begun = self.begun.unwrap_or(now);
        if let Some(told) = retry_after {
            let told = told.min(self.policy.retry_after_longest());
            self.not_before = Some(now + told);
            // Never earlier than told.
            return now + told + told.mul_f64(self.rng.f64() / 10.0);
        }
        let base = self.policy.base();
        let interval = match class {
            PollClass::Good => {
                let quiet = self.active.map_or(Duration::MAX, |active| now.saturating_duration_since(active));
                self.policy.interval_after(quiet)
            }
            // The count to the exception limit keeps its pace.
            PollClass::Exception if !self.health.is_offline() => base,
            _ => self.policy.backoff(self.failures),
        };
        let mut next = begun + self.jittered(interval);
        if let (Some(answered), Some(budget)) = (self.answered, self.policy.budget) {
            // The last third of the budget is no time for patience: the network may work again any moment.
            let end = answered + budget.min(policy::LONGEST);
            let late = answered + budget.min(policy::LONGEST) * 2 / 3;
            if now < end && next > late {
                next = next.min(late.max(begun + self.jittered(base)));
            }
        }
        next.max(now)
    }

    /// Spreads a fleet: up to a tenth more or less.
    fn jittered(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(0.9 + self.rng.f64() / 5.0)
    }
}

#[cfg(test)]
mod tests;
