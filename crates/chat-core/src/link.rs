//! Owns the life of a session's link: when to connect, renew, fill gaps, wait, and give up. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    backoff::{Backoff, BackoffPolicy},
    error::{Error, ErrorKind, Result, Retry},
};

pub use self::signals::{LinkAction, LinkEvent, LinkInput, LinkState, Purpose};

mod signals;

/// A connection is replaced this long before its time, at most; half of it at least, drawn by lot.
const RENEW_LEAD: Duration = Duration::from_secs(120);

/// The link machine.
#[derive(Debug)]
pub struct Link {
    state: LinkState,
    /// The number of the newest attempt.
    newest: u64,
    /// The number of the connection that stands, or stood last.
    current: u64,
    standing: bool,
    attempt: Option<(u64, Purpose)>,
    /// New credentials came while an attempt with the old ones was under way.
    credentials_waiting: bool,
    /// A saved session exists.
    started: bool,
    established: bool,
    /// `Lost` was published and `Restored` was not.
    lost: bool,
    /// `Pending` was published and no connection stood since.
    pending: bool,
    released: bool,
    closing: bool,
    backoff: Backoff,
    /// The server asked for this much patience.
    not_before: Option<Instant>,
    renewal: Option<Box<Renewal>>,
    backfill: Backfill,
    /// For what is retried while a connection stands: no budget, because nothing is given up with it.
    policy: BackoffPolicy,
    rng: fastrand::Rng,
}

/// A planned replacement of the standing connection.
#[derive(Debug)]
struct Renewal {
    before: Option<Instant>,
    next: Option<Instant>,
    backoff: Backoff,
}

/// Fetching what was missed over the standing connection.
#[derive(Debug)]
struct Backfill {
    running: bool,
    /// Something was missed while it ran: run once more.
    again: bool,
    gap: bool,
    retry_at: Option<Instant>,
    /// From the first failure on.
    backoff: Option<Box<Backoff>>,
}

impl Link {
    /// Idle. `seed` makes the jitter reproducible.
    pub fn new(policy: BackoffPolicy, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let backoff = Backoff::new(policy.clone(), rng.u64(..));
        let policy = policy.with_budget(None).with_max_attempts(None);
        Self {
            state: LinkState::Idle,
            newest: 0,
            current: 0,
            standing: false,
            attempt: None,
            credentials_waiting: false,
            started: false,
            established: false,
            lost: false,
            pending: false,
            released: false,
            closing: false,
            backoff,
            not_before: None,
            renewal: None,
            backfill: Backfill { running: false, again: false, gap: true, retry_at: None, backoff: None },
            policy,
            rng,
        }
    }

    /// Where it is.
    pub const fn state(&self) -> LinkState {
        self.state
    }

    /// The number of the connection that stands, or stood last; 0 before the first.
    pub const fn generation(&self) -> u64 {
        self.current
    }

    /// The number of the connection that is being made, if any.
    pub fn attempting(&self) -> Option<u64> {
        self.attempt.as_ref().map(|(generation, _)| *generation)
    }

    /// Whether something may still be missing from the transcript.
    pub const fn gap_open(&self) -> bool {
        self.backfill.gap
    }

    /// When to call with [`LinkInput::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        let renewal = self.renewal.as_ref().and_then(|renewal| renewal.next);
        match self.state {
            LinkState::Waiting { until, .. } => Some(until),
            LinkState::Live | LinkState::Backfilling => {
                [renewal.filter(|_| self.attempt.is_none()), self.backfill.retry_at]
                    .into_iter()
                    .flatten()
                    .min()
            }
            _ => None,
        }
    }

    /// Connects again by hand. Leaves `Failed`, ends a wait, joins an attempt that is under way; over a standing
    /// connection it renews if there are new credentials and does nothing otherwise.
    ///
    /// # Errors
    /// `SessionEnded` once the chat has ended, or is being left.
    pub fn reconnect(&mut self, now: Instant, new_credentials: bool) -> Result<Vec<LinkAction>> {
        let mut out = Vec::new();
        if self.closing || self.state == LinkState::Ended {
            return Err(Error::new(ErrorKind::SessionEnded, "reconnect"));
        }
        if self.attempt.is_some() {
            self.credentials_waiting |= new_credentials;
        } else if !self.standing {
            self.backoff.reset();
            self.connect(now, &mut out);
        } else if new_credentials {
            self.renew(&mut out);
        }
        Ok(out)
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: LinkInput) -> Vec<LinkAction> {
        let mut out = Vec::new();
        match input {
            LinkInput::Open if self.state == LinkState::Idle => self.connect(now, &mut out),
            LinkInput::Open => {}
            LinkInput::Connected { generation } => self.connected(now, generation, &mut out),
            LinkInput::ConnectFailed { generation, error, started } => {
                self.connect_failed(now, generation, error, started, &mut out);
            }
            LinkInput::Backfilled { generation } if self.backfills(generation) => {
                self.backfill.backoff = None;
                self.backfill.gap = false;
                self.backfill_over(&mut out);
                if self.backfill.again {
                    self.start_backfill(&mut out);
                }
            }
            LinkInput::BackfillFailed { generation, error } if self.backfills(generation) => {
                let Self { backfill, policy, rng, .. } = self;
                let delay = if is_final(&error) {
                    None
                } else {
                    let fresh = || Box::new(Backoff::new(policy.clone(), rng.u64(..)));
                    backfill.backoff.get_or_insert_with(fresh).next(now, retry_after(&error))
                };
                backfill.retry_at = delay.map(|delay| now + delay);
                self.backfill_over(&mut out);
            }
            LinkInput::Lost { generation, error, resumable } if self.stands(generation) => {
                self.connection_lost(now, error, resumable, &mut out);
            }
            LinkInput::RenewBefore { generation, at } if self.stands(generation) && !self.closing => {
                let lead = (at.saturating_duration_since(now) / 4).min(RENEW_LEAD);
                let next = at - lead + lead.mul_f64(self.rng.f64() / 2.0);
                let backoff = Backoff::new(self.policy.clone(), self.rng.u64(..));
                let next = Some(next.max(now));
                self.renewal = Some(Box::new(Renewal { before: Some(at), next, backoff }));
            }
            LinkInput::Ended { generation } if self.stands(generation) => {
                self.standing = false;
                self.end(&mut out);
            }
            LinkInput::GapSeen { generation } if self.stands(generation) => {
                self.backfill.gap = true;
                if self.backfill.running {
                    self.backfill.again = true;
                } else {
                    self.start_backfill(&mut out);
                }
            }
            // What an older connection says about its own state is of no interest any more.
            LinkInput::Backfilled { .. }
            | LinkInput::BackfillFailed { .. }
            | LinkInput::Lost { .. }
            | LinkInput::RenewBefore { .. }
            | LinkInput::Ended { .. }
            | LinkInput::GapSeen { .. } => {}
            LinkInput::Tick => self.tick(now, &mut out),
            LinkInput::NetworkUp => {
                if matches!(self.state, LinkState::Waiting { .. })
                    && self.not_before.is_none_or(|at| at <= now)
                {
                    self.connect(now, &mut out);
                }
            }
            LinkInput::Closing => {
                self.closing = true;
                self.renewal = None;
                if !self.standing {
                    self.end(&mut out);
                } else if let Some((generation, _)) = self.attempt.take() {
                    out.push(LinkAction::DropConnection { generation });
                }
            }
        }
        out
    }

    const fn stands(&self, generation: u64) -> bool {
        self.standing && self.current == generation
    }

    const fn backfills(&self, generation: u64) -> bool {
        self.stands(generation) && self.backfill.running
    }

    /// An attempt while nothing stands.
    fn connect(&mut self, now: Instant, out: &mut Vec<LinkAction>) {
        self.backoff.start(now);
        self.not_before = None;
        self.state = LinkState::Connecting { attempt: self.backoff.attempt() };
        self.begin(if self.started { Purpose::Resume } else { Purpose::First }, out);
    }

    /// An attempt while a connection stands.
    fn renew(&mut self, out: &mut Vec<LinkAction>) {
        if let Some(renewal) = &mut self.renewal {
            renewal.next = None;
        }
        self.begin(Purpose::Renew, out);
    }

    fn begin(&mut self, purpose: Purpose, out: &mut Vec<LinkAction>) {
        debug_assert!(self.attempt.is_none(), "never two attempts at once");
        self.newest += 1;
        self.credentials_waiting = false;
        self.attempt = Some((self.newest, purpose));
        out.push(LinkAction::Connect { generation: self.newest, purpose });
    }

    fn connected(&mut self, now: Instant, generation: u64, out: &mut Vec<LinkAction>) {
        if self.attempt.is_none_or(|(expected, _)| expected != generation) {
            // An attempt that was called off got through nevertheless.
            if generation != self.current {
                out.push(LinkAction::DropConnection { generation });
            }
            return;
        }
        self.attempt = None;
        self.started = true;
        self.pending = false;
        self.renewal = None;
        if self.standing {
            out.push(LinkAction::DropConnection { generation: self.current });
        } else {
            self.state = LinkState::Backfilling;
            self.backoff.good(now);
        }
        self.current = generation;
        self.standing = true;
        if !self.established {
            self.established = true;
            out.push(LinkAction::Publish(LinkEvent::Established));
        } else if self.lost {
            out.push(LinkAction::Publish(LinkEvent::Restored));
        }
        self.lost = false;
        self.start_backfill(out);
        if self.credentials_waiting {
            self.renew(out);
        }
    }

    fn connect_failed(
        &mut self,
        now: Instant,
        generation: u64,
        error: Error,
        started: bool,
        out: &mut Vec<LinkAction>,
    ) {
        if self.attempt.is_none_or(|(expected, _)| expected != generation) {
            return;
        }
        self.attempt = None;
        self.started |= started;
        if *error.kind() == ErrorKind::SessionEnded {
            if self.standing {
                self.standing = false;
                out.push(LinkAction::DropConnection { generation: self.current });
            }
            self.end(out);
        } else if self.standing {
            self.renewal_failed(now, &error, out);
        } else if self.credentials_waiting {
            self.connect(now, out);
        } else if is_final(&error) {
            self.fail(error, out);
        } else {
            self.wait(now, error, true, out);
        }
    }

    /// The old connection still stands: try again while there is time, else leave it until it is lost.
    fn renewal_failed(&mut self, now: Instant, error: &Error, out: &mut Vec<LinkAction>) {
        if self.credentials_waiting {
            return self.renew(out);
        }
        let policy = &self.policy;
        let seed = self.rng.u64(..);
        let renewal = self.renewal.get_or_insert_with(|| {
            Box::new(Renewal { before: None, next: None, backoff: Backoff::new(policy.clone(), seed) })
        });
        renewal.next = (!is_final(error))
            .then(|| renewal.backoff.next(now, retry_after(error)))
            .flatten()
            .map(|delay| now + delay)
            .filter(|next| renewal.before.is_none_or(|before| *next < before));
    }

    fn connection_lost(&mut self, now: Instant, error: Error, resumable: bool, out: &mut Vec<LinkAction>) {
        self.standing = false;
        self.renewal = None;
        self.backfill.running = false;
        self.backfill.retry_at = None;
        self.backfill.gap = true;
        self.hold(out);
        if self.closing || *error.kind() == ErrorKind::SessionEnded {
            return self.end(out);
        }
        self.lost = true;
        out.push(LinkAction::Publish(LinkEvent::Lost(error.clone())));
        if self.attempt.is_some() {
            // A renewal is under way: it is the reconnect now.
            self.backoff.start(now);
            self.state = LinkState::Connecting { attempt: self.backoff.attempt() };
        } else if resumable {
            self.wait(now, error, false, out);
        } else {
            self.fail(error, out);
        }
    }

    fn wait(&mut self, now: Instant, error: Error, attempted: bool, out: &mut Vec<LinkAction>) {
        let floor = retry_after(&error);
        let Some(delay) = self.backoff.next(now, floor) else { return self.fail(error, out) };
        // A delay holds the floor, as far as it is obeyed at all.
        self.not_before = floor.map(|floor| now + floor.min(delay));
        self.state = LinkState::Waiting { until: now + delay, attempt: self.backoff.attempt() };
        if attempted && !self.pending {
            self.pending = true;
            out.push(LinkAction::Publish(LinkEvent::Pending(error)));
        }
    }

    fn fail(&mut self, error: Error, out: &mut Vec<LinkAction>) {
        self.state = LinkState::Failed;
        out.push(LinkAction::Publish(LinkEvent::Broken(error)));
    }

    fn end(&mut self, out: &mut Vec<LinkAction>) {
        if self.state == LinkState::Ended {
            return;
        }
        self.state = LinkState::Ended;
        self.hold(out);
        if let Some((generation, _)) = self.attempt.take() {
            out.push(LinkAction::DropConnection { generation });
        }
        out.push(LinkAction::Publish(LinkEvent::Ended));
    }

    fn start_backfill(&mut self, out: &mut Vec<LinkAction>) {
        self.backfill.running = true;
        self.backfill.again = false;
        self.backfill.gap = true;
        self.backfill.retry_at = None;
        out.push(LinkAction::Backfill { generation: self.current });
    }

    /// Complete or not: the sends may leave.
    fn backfill_over(&mut self, out: &mut Vec<LinkAction>) {
        self.backfill.running = false;
        self.state = LinkState::Live;
        if !self.released {
            self.released = true;
            out.push(LinkAction::ReleaseSends);
        }
    }

    fn hold(&mut self, out: &mut Vec<LinkAction>) {
        if std::mem::take(&mut self.released) {
            out.push(LinkAction::HoldSends);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<LinkAction>) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if let LinkState::Waiting { until, .. } = self.state {
            if until <= now {
                self.connect(now, out);
            }
        } else if self.standing {
            if self.attempt.is_none() && due(self.renewal.as_ref().and_then(|renewal| renewal.next)) {
                self.renew(out);
            }
            if due(self.backfill.retry_at) {
                self.start_backfill(out);
            }
        }
    }
}

/// Whether another attempt with the same credentials is in vain.
fn is_final(error: &Error) -> bool {
    matches!(error.retry(), Retry::Never | Retry::WithNewCredentials)
        || matches!(
            error.kind(),
            ErrorKind::AccessDenied
                | ErrorKind::Unauthorized
                | ErrorKind::SessionLost
                | ErrorKind::Tls
                | ErrorKind::Config
        )
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error.retry() {
        Retry::After(delay) => Some(delay),
        _ => None,
    }
}
