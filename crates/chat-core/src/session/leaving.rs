//! Owns the ways out: leaving, the end of the chat, and closing after the last handle.

use std::sync::Arc;

use tokio::{sync::oneshot, time::Instant};

use super::state::{Effect, Leaving, State, Ticket};

use crate::{
    command::Command,
    error::{Delivery, Error, ErrorKind, Result},
    event::EndReason,
    link::{LinkInput, LinkState},
    outbox::OutboxInput,
    poll::PollInput,
};

impl State {
    /// This side wants to leave.
    pub(super) fn leave(&mut self, now: Instant, end: bool, done: oneshot::Sender<Result<()>>) {
        if let Some(error) = self.inactive() {
            let _ = done.send(Err(error));
            return;
        }
        self.leaving = Some(Leaving { end, deadline: now + self.settings.end_timeout, waiting: Some(done) });
        self.submit_leave();
    }

    /// Submits the leave that waits, once the connection stands and what was accepted has been sent.
    pub(super) fn submit_leave(&mut self) {
        if self.outbox.is_empty() {
            self.force_leave();
        }
    }

    pub(super) fn force_leave(&mut self) {
        let Some(live) = &self.live else { return };
        if let Some(leaving) = &mut self.leaving
            && let Some(done) = leaving.waiting.take()
        {
            let handle = Arc::clone(&live.handle);
            let command = Command::Leave { end: leaving.end };
            let ticket = Ticket::Leave { done: Some(done) };
            self.effects.push(Effect::Submit { ticket, handle, command });
        }
    }

    pub(super) fn on_leave_answer(
        &mut self,
        now: Instant,
        done: Option<oneshot::Sender<Result<()>>>,
        result: Result<()>,
    ) {
        let failed = result.is_err();
        if let Some(done) = done {
            let _ = done.send(result);
        }
        if failed {
            // Not left after all: the session goes on.
            self.leaving = None;
        } else if let Some(leaving) = &mut self.leaving {
            leaving.deadline = now + self.settings.end_timeout;
        }
    }

    /// The chat is over: tell everybody, once, last.
    pub(super) fn finish(&mut self, now: Instant, reason: EndReason) {
        if self.ended.is_some() {
            return;
        }
        tracing::info!(transport = %self.transport, ?reason, "chat ended");
        self.ended = Some(reason.clone());
        self.outbox_input(now, OutboxInput::Ended);
        self.release_echoes(now);
        let generation = self.link.generation();
        self.link_input(now, LinkInput::Ended { generation });
        if self.link.state() != LinkState::Ended {
            // It ended while no connection stood.
            self.link_input(now, LinkInput::Closing);
        }
        for event in self.others_typing.clear() {
            self.publish_typing(event);
        }
        if reason != EndReason::Left {
            let changes = self.roster.end();
            self.publish_roster(changes, None);
        }
        self.live = None;
        self.backfill = None;
        self.poll_input(now, PollInput::Stop);
        self.poll = None;
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Err(Error::new(ErrorKind::SessionEnded, "").into()));
        }
        if reason != EndReason::Left {
            self.effects.push(Effect::Forget);
        }
        self.flush();
        self.fanout.end(reason);
    }

    /// The last handle is gone: send what was accepted, then stop.
    pub(super) fn begin_close(&mut self, now: Instant) {
        if self.closing.is_none() {
            self.closing = Some(now + self.settings.linger);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        if self.ended.is_some() {
            return true;
        }
        self.closing.is_some()
            && (self.closed || self.outbox.is_empty() || self.link.state() == LinkState::Failed)
    }

    /// The driver has stopped.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.live = None;
        self.flush();
        self.waiters.clear();
        self.fanout.close();
    }

    /// The vendor's own end did not come, or the leave could not even be sent.
    pub(super) fn leave_overdue(&mut self, now: Instant) {
        if self.live.is_some()
            && let Some(leaving) = &mut self.leaving
            && leaving.waiting.is_some()
        {
            // What is still queued has had its time.
            leaving.deadline = now + self.settings.end_timeout;
            return self.force_leave();
        }
        let Some(leaving) = self.leaving.take() else { return };
        match leaving.waiting {
            Some(done) => {
                let error = Error::new(ErrorKind::Timeout, "no connection to leave through")
                    .with_delivery(Delivery::NotSent);
                let _ = done.send(Err(error));
            }
            None => self.finish(now, if leaving.end { EndReason::EndedByUs } else { EndReason::Left }),
        }
    }
}
