//! Owns the faults that a test can order: data, set at any time, used up as they happen.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::wire::Operation;

/// What goes wrong. Counts say how often; each time takes one away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FrontFaults {
    /// Answers that are replaced; the first that fits is used.
    pub answers: Vec<AnswerFault>,
    /// Good replies that name another alias than before (§4).
    pub change_alias: u32,
    /// The next good reply has a `nextPosition` that is so much lower (§8.1).
    pub step_back: Option<u64>,
    /// Replies that hold each event twice.
    pub duplicate_events: u32,
    /// Replies whose events come in reverse (§5.4).
    pub reverse_events: u32,
    /// Events that are not pushed over CometD, though they stand in the transcript. Of several sessions, the one that would have
    /// been told next misses them.
    pub lose_pushes: u32,
    /// The chat server fails, and another one takes over (§8.1). Happens to every chat at the next call.
    pub failover: Option<Failover>,
}

/// What another chat server makes of the chats that it takes over. The alias changes always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failover {
    /// Digits of the messages so far are masked from now on (§8.4).
    pub mask: bool,
    /// The agents leave and join again.
    pub rejoin: bool,
}

/// A replaced answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerFault {
    /// Which operation; `None` for any.
    pub operation: Option<Operation>,
    /// What happens instead.
    pub instead: Instead,
    /// How often.
    pub times: u32,
}

/// What happens instead of an answer. On CometD only what a reply or its absence can say happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Instead {
    /// `statusCode` 1; nothing is done.
    Transient,
    /// `statusCode` 2 with this error; nothing is done.
    Failed {
        /// The error's code.
        code: i64,
        /// Whether the chat is said to be over.
        ended: bool,
    },
    /// An HTTP status with this error; nothing is done.
    Refused {
        /// The status.
        status: u16,
        /// The error's code.
        code: i64,
    },
    /// A web page of this status, as a proxy in between would send; nothing is done.
    Html(u16),
    /// Status 200 and this text, as a firewall would send; nothing is done.
    Text(String),
    /// JSON that is cut off, with status 200; nothing is done.
    BrokenJson,
    /// Status 503 with `Retry-After` in seconds; nothing is done.
    RetryAfter(u64),
    /// Status 429 with `Retry-After` in seconds; nothing is done.
    TooManyRequests(u64),
    /// No answer, ever; nothing is done.
    Hang,
    /// The connection is cut; nothing is done.
    Cut,
    /// The answer comes, so much later.
    Delay(Duration),
    /// The call comes so much later, whether its client still waits or not.
    Late(Duration),
    /// Everything is done, and the answer is `statusCode` 1.
    TransientAfterwards,
    /// Everything is done, and the answer is a web page of this status.
    HtmlAfterwards(u16),
    /// Everything is done, and the connection is cut in the middle of the answer.
    TruncateAnswer,
    /// Everything is done, and the connection is cut instead of an answer.
    LoseAnswer,
    /// Everything is done, and every connection is cut.
    LoseEverything,
    /// Everything is done, and no answer ever comes.
    HangAfterwards,
}

impl AnswerFault {
    /// `times` times, `operation` answers otherwise.
    pub const fn new(operation: Operation, instead: Instead, times: u32) -> Self {
        Self { operation: Some(operation), instead, times }
    }
}

/// What to do with one good reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReplyFault {
    pub(super) change_alias: bool,
    pub(super) step_back: u64,
    pub(super) duplicate: bool,
    pub(super) reverse: bool,
}

/// The faults that are left.
#[derive(Debug, Default)]
pub(super) struct FaultState(Mutex<FrontFaults>);

fn take(count: &mut u32) -> bool {
    let due = *count > 0;
    *count = count.saturating_sub(1);
    due
}

impl FaultState {
    fn lock(&self) -> MutexGuard<'_, FrontFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: FrontFaults) {
        *self.lock() = faults;
    }

    pub(super) fn get(&self) -> FrontFaults {
        self.lock().clone()
    }

    pub(super) fn answer(&self, operation: Operation) -> Option<Instead> {
        let mut faults = self.lock();
        let found = faults
            .answers
            .iter_mut()
            .find(|fault| fault.times > 0 && fault.operation.is_none_or(|one| one == operation))?;
        found.times -= 1;
        Some(found.instead.clone())
    }

    pub(super) fn failover(&self) -> Option<Failover> {
        self.lock().failover.take()
    }

    /// How many of so many events are not pushed.
    pub(super) fn lost(&self, events: usize) -> usize {
        let mut faults = self.lock();
        let lost = faults.lose_pushes.min(u32::try_from(events).unwrap_or(u32::MAX));
        faults.lose_pushes -= lost;
        lost as usize
    }

    /// What happens to a reply that holds events, or none.
    pub(super) fn reply(&self, has_events: bool) -> ReplyFault {
        let mut faults = self.lock();
        ReplyFault {
            change_alias: take(&mut faults.change_alias),
            step_back: faults.step_back.take().unwrap_or_default(),
            duplicate: has_events && take(&mut faults.duplicate_events),
            reverse: has_events && take(&mut faults.reverse_events),
        }
    }
}
