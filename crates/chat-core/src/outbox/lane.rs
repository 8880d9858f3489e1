//! Owns how the head of the queue goes on: leaving, failing, settling.

use tokio::time::Instant;

use super::{Access, Body, Entry, Outbox, OutboxAction, Search, Stage};
use crate::{
    command::{Outgoing, Sent},
    error::{Delivery, Error, ErrorKind, Result, Retry},
    ids::ClientToken,
};

impl Outbox {
    pub(super) fn find(&self, token: &ClientToken) -> Option<usize> {
        self.queue.iter().position(|entry| entry.token == *token)
    }

    pub(super) fn entry(&self, token: &ClientToken) -> Option<&Entry> {
        self.queue.iter().chain(&self.failed).find(|entry| entry.token == *token)
    }

    pub(super) fn check_room(&self) -> Result<()> {
        if self.ended {
            return Err(Error::new(ErrorKind::SessionEnded, "send"));
        }
        if self.queue.len() >= self.policy.capacity {
            return Err(Error::new(ErrorKind::QueueFull, "outbox"));
        }
        Ok(())
    }

    /// Keeps a failed one for a retry by hand.
    pub(super) fn keep(&mut self, entry: Entry) {
        if self.failed.len() >= self.policy.capacity {
            self.failed.pop_front();
        }
        self.failed.push_back(entry);
    }

    /// Out of the queue. What follows the head starts with a clean slate.
    pub(super) fn take(&mut self, index: usize) -> Option<Entry> {
        if index == 0 {
            if let Some(backoff) = &mut self.backoff {
                backoff.reset();
            }
            self.lane_until = None;
        }
        self.queue.remove(index)
    }

    pub(super) fn may_send(&self) -> bool {
        self.released && !self.ended && self.access == Access::Fine
    }

    pub(super) fn expiry(&self, entry: &Entry) -> Option<Instant> {
        let ttl = self.policy.ttl.filter(|_| entry.stage == Stage::Queued)?;
        entry.queued_at.checked_add(ttl)
    }

    /// The end of each step: what can leave, leaves; what has changed, is stored.
    pub(super) fn go_on(&mut self, now: Instant, out: &mut Vec<OutboxAction>) {
        if self.lane_until.is_some_and(|at| at <= now) {
            self.lane_until = None;
        }
        self.pump(now, out);
        if self.policy.durable
            && self.version > self.saved
            && self.saving.is_none()
            && self.store_retry.is_none_or(|at| at <= now)
        {
            self.store_retry = None;
            self.saving = Some(self.version);
            out.push(OutboxAction::Persist { version: self.version });
        }
    }

    fn pump(&mut self, now: Instant, out: &mut Vec<OutboxAction>) {
        if !self.may_send() {
            return;
        }
        let stored = !self.policy.durable || self.saved >= self.version;
        let open = stored && self.lane_until.is_none();
        let Some(entry) = self.queue.front_mut() else { return };
        // What must not leave again is looked for, whatever the vendor.
        let idempotent = self.policy.idempotent && !entry.given_up;
        if entry.stage == Stage::Queued && entry.doubt.is_some() && !idempotent {
            // The vendor was idempotent when it left, and is not any more; or it was given up.
            entry.unknown_at(now);
            entry.report(out);
        }
        match &mut entry.stage {
            Stage::Unknown { search, .. } if !idempotent => {
                if let Search::Due(at) = *search
                    && at <= now
                    && let Body::Here(body) = &entry.body
                {
                    *search = Search::Running { begun: now };
                    out.push(OutboxAction::Settle {
                        token: entry.token.clone(),
                        since: entry.first_sent,
                        body: body.clone(),
                    });
                }
            }
            Stage::Unknown { .. } if open => {
                entry.attempt += 1;
                entry.leave(now, out);
            }
            Stage::Queued if open => entry.leave(now, out),
            _ => {}
        }
    }

    /// Whatever was known of it before: it is sent.
    pub(super) fn sent(&mut self, token: &ClientToken, sent: Sent, out: &mut Vec<OutboxAction>) {
        let (entry, pending) = if let Some(index) = self.find(token) {
            (self.take(index), true)
        } else if let Some(index) = self.failed.iter().position(|entry| entry.token == *token) {
            (self.failed.remove(index), false)
        } else {
            return;
        };
        let Some(entry) = entry else { return };
        self.version += 1;
        if !entry.echoed {
            out.push(OutboxAction::State { token: token.clone(), state: entry.state(true) });
        }
        if pending {
            out.push(OutboxAction::Done { token: token.clone(), result: Ok(sent) });
        }
    }

    /// Reported as failed, and kept. Whether it may have arrived is what its stage says; the error says so, too.
    pub(super) fn fail(&mut self, index: usize, error: Error, out: &mut Vec<OutboxAction>) {
        let Some(mut entry) = self.take(index) else { return };
        self.version += 1;
        let may_have_arrived = entry.may_be_there();
        let error = match (may_have_arrived, error.delivery()) {
            (true, _) => error.with_delivery(Delivery::Unknown),
            (false, Delivery::Unknown) => error.with_delivery(Delivery::NotSent),
            _ => error,
        };
        entry.stage = Stage::Failed { may_have_arrived };
        entry.report(out);
        out.push(OutboxAction::Done { token: entry.token.clone(), result: Err(error) });
        self.keep(entry);
    }

    pub(super) fn attempt_failed(
        &mut self,
        now: Instant,
        index: usize,
        error: Error,
        out: &mut Vec<OutboxAction>,
    ) {
        let entry = &mut self.queue[index];
        if entry.echoed {
            let token = entry.token.clone();
            return self.sent(&token, Sent::default(), out);
        }
        if *error.kind() == ErrorKind::SessionEnded {
            if error.delivery() != Delivery::Unknown {
                entry.stage = Stage::Queued;
                entry.doubt = entry.doubt.filter(|first| *first < entry.attempt);
            }
            return self.end(out);
        }
        if error.delivery() == Delivery::Unknown {
            // A connection that is lost says so first; then this is no news.
            if entry.stage == Stage::InFlight {
                self.unknown(now, index, error, out);
            }
            return;
        }
        // It did not arrive; an earlier attempt may have.
        entry.stage = Stage::Queued;
        entry.doubt = entry.doubt.filter(|first| *first < entry.attempt);
        if entry.given_up && entry.doubt.is_none() {
            return self.fail(index, error, out);
        }
        if *error.kind() == ErrorKind::Unauthorized {
            if entry.refreshed {
                self.access = Access::Refused;
                return self.fail(index, error, out);
            }
            entry.refreshed = true;
            self.lane_until = None;
            self.requeue(index, out);
            if self.access != Access::Refreshing {
                self.access = Access::Refreshing;
                out.push(OutboxAction::RefreshCredentials);
            }
            return;
        }
        let floor = match error.retry() {
            Retry::After(delay) => Some(delay),
            Retry::Backoff => None,
            Retry::Never | Retry::WithNewCredentials => return self.fail(index, error, out),
        };
        match self.backoff().next(now, floor) {
            Some(delay) => {
                self.lane_until = Some(now + delay);
                self.requeue(index, out);
            }
            None => {
                self.fail(index, error, out);
                // The server's wish holds for what follows, too.
                self.lane_until = floor.map(|floor| now + floor.min(self.policy.retry.retry_after_cap));
            }
        }
    }

    /// Back to where it was, for another attempt.
    fn requeue(&mut self, index: usize, out: &mut Vec<OutboxAction>) {
        let entry = &mut self.queue[index];
        entry.stage = Stage::Queued;
        entry.attempt += 1;
        entry.report(out);
        self.version += 1;
    }

    /// Nobody knows whether it arrived.
    fn unknown(&mut self, now: Instant, index: usize, error: Error, out: &mut Vec<OutboxAction>) {
        self.queue[index].unknown_at(now);
        let floor = match error.retry() {
            Retry::After(delay) => Some(delay),
            _ => None,
        };
        match self.backoff().next(now, floor) {
            Some(delay) => {
                self.lane_until = Some(now + delay);
                self.queue[index].report(out);
            }
            None => self.fail(index, error, out),
        }
    }

    pub(super) fn connection_lost(&mut self, now: Instant, out: &mut Vec<OutboxAction>) {
        let Some(entry) = self.queue.front_mut() else { return };
        match &mut entry.stage {
            Stage::InFlight if entry.echoed => {
                let token = entry.token.clone();
                self.sent(&token, Sent::default(), out);
            }
            Stage::InFlight => {
                let error = Error::new(ErrorKind::Network, "the connection was lost while sending");
                self.unknown(now, 0, error, out);
            }
            // The search went with the connection.
            Stage::Unknown { search, .. } => *search = Search::Due(now),
            _ => {}
        }
    }

    /// The echo is not there. It may still come, until its time is over.
    pub(super) fn not_found(&mut self, now: Instant, token: &ClientToken, out: &mut Vec<OutboxAction>) {
        let within = self.policy.settle_within;
        let Some(index) = self.find(token) else { return };
        let Stage::Unknown { since, search } = &mut self.queue[index].stage else { return };
        let Search::Running { begun } = *search else { return };
        let end = *since + within;
        if begun >= end {
            let entry = &mut self.queue[index];
            entry.doubt = None;
            if entry.given_up {
                entry.stage = Stage::Queued;
                return self.fail(index, Error::new(ErrorKind::Expired, "given up, and not found"), out);
            }
            self.requeue(index, out);
        } else {
            *search = Search::Due((now + within / 4).min(end));
        }
    }

    pub(super) fn search_failed(
        &mut self,
        now: Instant,
        token: &ClientToken,
        error: Error,
        out: &mut Vec<OutboxAction>,
    ) {
        let Some(index) = self.find(token) else { return };
        if !matches!(self.queue[index].stage, Stage::Unknown { search: Search::Running { .. }, .. }) {
            return;
        }
        let delay = match error.retry() {
            Retry::After(delay) => self.backoff().next(now, Some(delay)),
            Retry::Backoff => self.backoff().next(now, None),
            Retry::Never | Retry::WithNewCredentials => None,
        };
        match (delay, &mut self.queue[index].stage) {
            (Some(delay), Stage::Unknown { search, .. }) => *search = Search::Due(now + delay),
            _ => self.fail(index, error, out),
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<OutboxAction>) {
        self.ended = true;
        while let Some(entry) = self.queue.front() {
            if entry.echoed {
                let token = entry.token.clone();
                self.sent(&token, Sent::default(), out);
            } else {
                self.fail(0, Error::new(ErrorKind::SessionEnded, "send"), out);
            }
        }
    }
}

impl Entry {
    fn leave(&mut self, now: Instant, out: &mut Vec<OutboxAction>) {
        let Body::Here(body) = &self.body else { return };
        self.first_sent.get_or_insert(now);
        self.stage = Stage::InFlight;
        let outgoing = Outgoing { token: self.token.clone(), attempt: self.attempt, body: body.clone() };
        self.report(out);
        out.push(OutboxAction::Send(outgoing));
    }
}
