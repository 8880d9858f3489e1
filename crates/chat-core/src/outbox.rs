//! Owns what waits to be sent: order, retries, settling of unknown outcomes. No I/O.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub use self::signals::{
    Departure, OutboxAction, OutboxInput, OutboxPolicy, StoredBody, StoredSend, StoredStage,
};
use crate::{
    backoff::Backoff,
    command::{OutgoingBody, Sent},
    error::{Delivery, Error, ErrorKind, Result},
    ids::ClientToken,
    message::{SendStage, SendState},
};

mod lane;
mod signals;

/// How long to wait before a store that failed is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The outbox machine.
///
/// One send is in flight at a time, in the order of pushing; the head of the queue is the only one that can be on the wire.
#[derive(Debug)]
pub struct Outbox {
    policy: OutboxPolicy,
    queue: VecDeque<Entry>,
    /// Reported as failed and kept for a retry by hand; the oldest make room.
    failed: VecDeque<Entry>,
    next_sequence: u64,
    released: bool,
    ended: bool,
    access: Access,
    /// Nothing leaves before.
    lane_until: Option<Instant>,
    /// Of the head, once it has failed: most heads never do.
    backoff: Option<Box<Backoff>>,
    seed: u64,
    version: u64,
    saved: u64,
    saving: Option<u64>,
    store_retry: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    token: ClientToken,
    sequence: u64,
    attempt: u32,
    body: Body,
    stage: Stage,
    queued_at: Instant,
    first_sent: Option<Instant>,
    /// The first attempt that may have arrived, for all that is known.
    doubt: Option<u32>,
    /// The version that held it first.
    born: u64,
    /// Its echo was seen before its answer.
    echoed: bool,
    /// New credentials were fetched for it already.
    refreshed: bool,
    /// It must not leave again: what is on its way may arrive.
    given_up: bool,
}

#[derive(Debug)]
enum Body {
    Here(OutgoingBody),
    /// A file of an earlier process.
    Gone {
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    InFlight,
    Unknown { since: Instant, search: Search },
    Failed { may_have_arrived: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    Due(Instant),
    Running { begun: Instant },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Fine,
    Refreshing,
    Refused,
}

impl Entry {
    fn state(&self, sent: bool) -> SendState {
        let stage = match self.stage {
            Stage::Queued => SendStage::Queued,
            Stage::InFlight => SendStage::Sending,
            Stage::Unknown { .. } => SendStage::Unknown,
            Stage::Failed { .. } => SendStage::Failed,
        };
        SendState { sent, attempt: self.attempt, stage }
    }

    fn report(&self, out: &mut Vec<OutboxAction>) {
        out.push(OutboxAction::State { token: self.token.clone(), state: self.state(false) });
    }

    /// On the wire, or waiting to be settled.
    const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::InFlight | Stage::Unknown { .. })
    }

    /// Whether it may have arrived.
    const fn may_be_there(&self) -> bool {
        self.is_open() || self.doubt.is_some()
    }

    fn unknown_at(&mut self, now: Instant) {
        self.doubt.get_or_insert(self.attempt);
        self.stage = Stage::Unknown { since: now, search: Search::Due(now) };
    }
}

impl Outbox {
    fn backoff(&mut self) -> &mut Backoff {
        self.backoff.get_or_insert_with(|| Box::new(Backoff::new(self.policy.retry.clone(), self.seed)))
    }

    /// Empty and held. `seed` makes the jitter reproducible.
    pub fn new(policy: OutboxPolicy, seed: u64) -> Self {
        Self {
            backoff: None,
            seed,
            policy,
            queue: VecDeque::new(),
            failed: VecDeque::new(),
            next_sequence: 0,
            released: false,
            ended: false,
            access: Access::Fine,
            lane_until: None,
            version: 0,
            saved: 0,
            saving: None,
            store_retry: None,
        }
    }

    /// Takes over what an earlier process stored; call it before anything else. Sends that may have arrived are settled
    /// first; files are reported failed, since their bytes are gone. The time to live counts from `now`.
    pub fn restore(&mut self, now: Instant, stored: Vec<StoredSend>) -> Vec<OutboxAction> {
        let mut out = Vec::new();
        for StoredSend { token, sequence, attempt, body, stage, .. } in stored {
            self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
            let (body, gone) = match body {
                StoredBody::Text(text) => (Body::Here(OutgoingBody::Text(text)), false),
                StoredBody::File { name } => (Body::Gone { name }, true),
            };
            let may_have_arrived = matches!(stage, StoredStage::Unknown | StoredStage::FailedUnknown);
            let failed = matches!(stage, StoredStage::Failed | StoredStage::FailedUnknown);
            let mut entry = Entry {
                token,
                sequence,
                attempt,
                body,
                stage: Stage::Failed { may_have_arrived },
                queued_at: now,
                first_sent: None,
                doubt: None,
                born: 0,
                echoed: false,
                refreshed: false,
                given_up: false,
            };
            if failed || gone {
                entry.report(&mut out);
                if gone && !failed {
                    let delivery = if may_have_arrived { Delivery::Unknown } else { Delivery::NotSent };
                    let error = Error::new(ErrorKind::Io, "the file's bytes went with the process");
                    out.push(OutboxAction::Done {
                        token: entry.token.clone(),
                        result: Err(error.with_delivery(delivery)),
                    });
                }
                self.keep(entry);
            } else {
                entry.stage = Stage::Queued;
                if may_have_arrived {
                    entry.unknown_at(now);
                }
                entry.report(&mut out);
                self.queue.push_back(entry);
            }
        }
        out
    }

    /// What to store: everything that is not sent.
    pub fn stored(&self) -> Vec<StoredSend> {
        let store = |(index, entry): (usize, &Entry)| StoredSend {
            token: entry.token.clone(),
            sequence: entry.sequence,
            attempt: entry.attempt,
            body: match &entry.body {
                Body::Here(OutgoingBody::Text(text)) => StoredBody::Text(text.clone()),
                Body::Here(OutgoingBody::File(file)) => StoredBody::File { name: file.name.as_ref().into() },
                Body::Gone { name } => StoredBody::File { name: name.clone() },
            },
            stage: match entry.stage {
                Stage::Queued | Stage::InFlight | Stage::Unknown { .. } if entry.given_up => {
                    StoredStage::FailedUnknown
                }
                // It may leave without another save.
                Stage::Queued if entry.may_be_there() || (index == 0 && self.released) => {
                    StoredStage::Unknown
                }
                Stage::Queued => StoredStage::Queued,
                Stage::InFlight | Stage::Unknown { .. } => StoredStage::Unknown,
                Stage::Failed { may_have_arrived: false } => StoredStage::Failed,
                Stage::Failed { may_have_arrived: true } => StoredStage::FailedUnknown,
            },
            after: None,
        };
        self.queue.iter().enumerate().chain(self.failed.iter().enumerate()).map(store).collect()
    }

    /// Sets what the connection's capabilities say.
    pub const fn set_vendor(&mut self, idempotent: bool, settle_within: Duration) {
        self.policy.idempotent = idempotent;
        self.policy.settle_within = settle_within;
    }

    /// Queues a send under a new token.
    ///
    /// # Errors
    /// `QueueFull` at the capacity, `SessionEnded` after the end.
    pub fn push(&mut self, now: Instant, body: OutgoingBody) -> Result<(ClientToken, Vec<OutboxAction>)> {
        self.check_room()?;
        let token = ClientToken::random();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.version += 1;
        let entry = Entry {
            token: token.clone(),
            sequence,
            attempt: 0,
            body: Body::Here(body),
            stage: Stage::Queued,
            queued_at: now,
            first_sent: None,
            doubt: None,
            born: self.version,
            echoed: false,
            refreshed: false,
            given_up: false,
        };
        let mut out = Vec::new();
        entry.report(&mut out);
        self.queue.push_back(entry);
        self.go_on(now, &mut out);
        Ok((token, out))
    }

    /// Takes a send back, or forgets a failed one.
    ///
    /// # Errors
    /// `NotFound` if it is not in the outbox, `Conflict` if it may be on the wire already.
    pub fn cancel(&mut self, now: Instant, token: &ClientToken) -> Result<Vec<OutboxAction>> {
        let mut out = Vec::new();
        let entry = if let Some(index) = self.find(token) {
            if self.queue[index].may_be_there() {
                return Err(Error::new(ErrorKind::Conflict, "the message may be on its way already"));
            }
            self.take(index)
        } else if let Some(index) = self.failed.iter().position(|entry| entry.token == *token) {
            self.failed.remove(index)
        } else {
            None
        };
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such message waits"))?;
        let state = SendState { stage: SendStage::Cancelled, ..entry.state(false) };
        out.push(OutboxAction::State { token: token.clone(), state });
        if !matches!(entry.stage, Stage::Failed { .. }) {
            let result = Err(Error::new(ErrorKind::Cancelled, "send"));
            out.push(OutboxAction::Done { token: token.clone(), result });
        }
        self.version += 1;
        self.go_on(now, &mut out);
        Ok(out)
    }

    /// Takes a send back if it waits; what may be on its way already makes no further attempt: it arrives, or is looked for
    /// and reported failed.
    ///
    /// # Errors
    /// `NotFound` if it does not wait.
    pub fn give_up(&mut self, now: Instant, token: &ClientToken) -> Result<Vec<OutboxAction>> {
        let not_found = || Error::new(ErrorKind::NotFound, "no such message waits");
        let index = self.find(token).ok_or_else(not_found)?;
        let entry = &mut self.queue[index];
        if !entry.may_be_there() {
            return self.cancel(now, token);
        }
        entry.given_up = true;
        if self.policy.idempotent && matches!(entry.stage, Stage::Unknown { .. }) {
            // Nobody has looked for it so far: it would have been sent again.
            entry.unknown_at(now);
        }
        self.version += 1;
        let mut out = Vec::new();
        self.go_on(now, &mut out);
        Ok(out)
    }

    /// Tries a failed send again, under the same token, behind what waits. One that has not failed is left as it is.
    ///
    /// # Errors
    /// `NotFound` if it is not in the outbox, `QueueFull`, `SessionEnded` after the end, `Io` if it is a file whose bytes
    /// are gone.
    pub fn retry(&mut self, now: Instant, token: &ClientToken) -> Result<Vec<OutboxAction>> {
        let mut out = Vec::new();
        if self.find(token).is_some() {
            return Ok(out);
        }
        let index = self
            .failed
            .iter()
            .position(|entry| entry.token == *token)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such message has failed"))?;
        if matches!(self.failed[index].body, Body::Gone { .. }) {
            return Err(Error::new(ErrorKind::Io, "the file's bytes went with the process"));
        }
        self.check_room()?;
        let mut entry = self.failed.remove(index).expect("the index was just found");
        self.version += 1;
        entry.attempt += 1;
        entry.queued_at = now;
        entry.born = self.version;
        entry.refreshed = false;
        entry.given_up = false;
        if matches!(entry.stage, Stage::Failed { may_have_arrived: true }) {
            entry.unknown_at(now);
        } else {
            entry.stage = Stage::Queued;
        }
        entry.report(&mut out);
        self.queue.push_back(entry);
        self.go_on(now, &mut out);
        Ok(out)
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Instant, input: OutboxInput) -> Vec<OutboxAction> {
        let mut out = Vec::new();
        match input {
            OutboxInput::Released => {
                if !self.released {
                    self.released = true;
                    // The connection is new, so the credentials were good for it.
                    self.access = Access::Fine;
                    // The stored head must say that it may leave.
                    self.version += u64::from(!self.queue.is_empty());
                }
            }
            OutboxInput::Held => self.released = false,
            OutboxInput::Acked { token, sent, .. } => self.sent(&token, sent, &mut out),
            OutboxInput::EchoSeen { token } => match self.find(&token) {
                // The answer is still to come, and it tells more.
                Some(index) if self.queue[index].stage == Stage::InFlight => {
                    let entry = &mut self.queue[index];
                    if !std::mem::replace(&mut entry.echoed, true) {
                        out.push(OutboxAction::State { token, state: entry.state(true) });
                    }
                }
                _ => self.sent(&token, Sent::default(), &mut out),
            },
            OutboxInput::Failed { token, attempt, error } => {
                if let Some(index) = self.find(&token)
                    && self.queue[index].attempt == attempt
                    && self.queue[index].is_open()
                {
                    self.attempt_failed(now, index, error, &mut out);
                }
            }
            OutboxInput::SettleDone { token, found: true } => self.sent(&token, Sent::default(), &mut out),
            OutboxInput::SettleDone { token, found: false } => self.not_found(now, &token, &mut out),
            OutboxInput::SettleFailed { token, error } => self.search_failed(now, &token, error, &mut out),
            OutboxInput::ConnectionLost => self.connection_lost(now, &mut out),
            OutboxInput::Refreshed { ok: true } => self.access = Access::Fine,
            OutboxInput::Refreshed { ok: false } => {
                if self.access == Access::Refreshing {
                    self.access = Access::Refused;
                    if self.queue.front().is_some_and(|entry| entry.refreshed) {
                        self.fail(0, Error::new(ErrorKind::Unauthorized, "send"), &mut out);
                    }
                }
            }
            OutboxInput::Saved { version } => {
                self.saved = self.saved.max(version);
                self.saving = None;
            }
            OutboxInput::StoreFailed { version, error } => {
                self.saving = None;
                self.store_retry = Some(now + STORE_RETRY);
                while let Some(index) =
                    self.queue.iter().rposition(|entry| entry.born > self.saved && entry.born <= version)
                {
                    self.fail(index, error.clone(), &mut out);
                }
            }
            OutboxInput::Ended => self.end(&mut out),
            OutboxInput::Tick => {
                if self.store_retry.is_some_and(|at| at <= now) {
                    self.store_retry = None;
                }
                while let Some(index) =
                    self.queue.iter().position(|entry| self.expiry(entry).is_some_and(|at| at <= now))
                {
                    self.fail(index, Error::new(ErrorKind::Expired, "waited too long to be sent"), &mut out);
                }
            }
        }
        self.go_on(now, &mut out);
        out
    }

    /// When to call with [`OutboxInput::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        let head = self.queue.front().filter(|_| self.may_send()).and_then(|entry| match entry.stage {
            Stage::Unknown { search, .. } if !self.policy.idempotent || entry.given_up => match search {
                Search::Due(at) => Some(at),
                Search::Running { .. } => None,
            },
            Stage::Queued | Stage::Unknown { .. } => self.lane_until,
            _ => None,
        });
        let expiry = self.queue.iter().filter_map(|entry| self.expiry(entry)).min();
        [head, expiry, self.store_retry].into_iter().flatten().min()
    }

    /// What was given to send under this token, while it is not sent.
    pub fn body(&self, token: &ClientToken) -> Option<&OutgoingBody> {
        match &self.entry(token)?.body {
            Body::Here(body) => Some(body),
            Body::Gone { .. } => None,
        }
    }

    /// The local order of this send, while it is not sent.
    pub fn sequence(&self, token: &ClientToken) -> Option<u64> {
        self.entry(token).map(|entry| entry.sequence)
    }

    /// The send that is in flight or unknown, if any: own sightings without a known alias must be held back meanwhile.
    pub fn unsettled(&self) -> Option<&ClientToken> {
        self.queue.iter().find(|entry| entry.is_open()).map(|entry| &entry.token)
    }

    /// How many wait, the one in flight included.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
