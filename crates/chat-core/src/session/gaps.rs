//! Owns what is known to be complete: confirming what came, opening gaps, and filling them.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    backfill::{Backfill, Confirmed, Next, Older},
    event::{ChatEvent, SessionEvent},
    ingest::Origin,
    state::{State, Ticket},
};

use crate::{
    capabilities::Capability,
    command::{Command, HistoryPage},
    error::Result,
    link::LinkInput,
    message::AliasKind,
    transcript::{GapId, Row, Transcript},
};

impl State {
    pub(super) fn open_gap(&mut self) {
        if self.open_gap.is_some() || !self.capabilities.can(Capability::History) {
            return;
        }
        let Some(confirmed) = &self.confirmed else { return };
        let id = GapId::random();
        self.transcript.gap(id.clone(), Some(confirmed.spot.mark().clone()));
        self.open_gap = Some(id);
    }

    pub(super) fn begin_backfill(&mut self, now: Instant, generation: u64) {
        if !self.capabilities.can(Capability::History) {
            return self.end_backfill(now, generation, Ok((None, Older::None)));
        }
        let limit = self.settings.backfill_page.min(self.capabilities.history_page_max.unwrap_or(u32::MAX));
        let (run, request) = Backfill::begin(
            generation,
            self.confirmed.clone(),
            limit,
            self.settings.backfill_max_pages,
            self.settings.initial_history,
        );
        self.backfill = Some(Box::new(run));
        self.submit(now, Ticket::Backfill { generation }, Command::History(request));
    }

    pub(super) fn on_backfill_answer(&mut self, now: Instant, generation: u64, result: Result<HistoryPage>) {
        // A run of an earlier connection: what it brought is merged all the same.
        let running = self.backfill.as_ref().is_some_and(|run| run.generation == generation);
        let next = match result {
            Ok(page) => {
                let points = self.sight_page(now, &page);
                let items = page.items.len();
                if !running {
                    return;
                }
                self.backfill.as_mut().map(|run| run.page(items, points, page.next))
            }
            Err(_) if !running => return,
            Err(error) => self.backfill.as_mut().map(|run| run.failed(error)),
        };
        match next {
            None => {}
            Some(Next::Ask(request)) => {
                self.submit(now, Ticket::Backfill { generation }, Command::History(request));
            }
            Some(Next::Complete { confirmed, older }) => {
                self.end_backfill(now, generation, Ok((confirmed, older)))
            }
            Some(Next::Failed(error)) => self.end_backfill(now, generation, Err(error)),
        }
    }

    /// Joins a page of the past, and gives the places of its identified rows.
    pub(super) fn sight_page(&mut self, now: Instant, page: &HistoryPage) -> Vec<Confirmed> {
        let mut points = Vec::with_capacity(page.items.len());
        for item in &page.items {
            let id = item.aliases.message_id();
            self.sight(now, item.clone(), Origin::Past);
            if let Some(id) = id
                && let Some(mark) = Transcript::mark_of(item)
            {
                points.push(Confirmed { id, spot: self.transcript.spot(mark) });
            }
        }
        points
    }

    pub(super) fn end_backfill(
        &mut self,
        now: Instant,
        generation: u64,
        result: Result<(Option<Confirmed>, Older)>,
    ) {
        self.backfill = None;
        match result {
            Ok((confirmed, older)) => {
                if let Some(confirmed) = confirmed {
                    self.confirm(confirmed);
                }
                if older != Older::Unchanged {
                    self.older = older;
                }
                if let Some(gap) = self.open_gap.take() {
                    self.transcript.close_gap(&gap);
                }
                self.complete = true;
                if !self.ready {
                    self.ready = true;
                    self.flush_arrived();
                    self.publish(ChatEvent::Session(Arc::new(SessionEvent::Ready)));
                }
                self.link_input(now, LinkInput::Backfilled { generation });
            }
            Err(error) => {
                self.publish(ChatEvent::Session(Arc::new(SessionEvent::GapOpen(error.clone()))));
                self.link_input(now, LinkInput::BackfillFailed { generation, error });
            }
        }
    }

    pub(super) fn confirm(&mut self, point: Confirmed) {
        if self.confirmed.as_ref().is_none_or(|confirmed| confirmed.spot < point.spot) {
            self.confirmed = Some(point);
        }
    }

    /// A message came on the live connection: it confirms what is older, once enough newer ones have followed that none can
    /// have been overtaken.
    pub(super) fn note_live(&mut self, row: &Arc<Row>) {
        if row.place().is_none() || row.aliases().least(AliasKind::Message).is_none() {
            return;
        }
        self.recent.push_back(Arc::clone(row));
        if self.recent.len() <= self.settings.overlap.max(1) {
            return;
        }
        if let Some(row) = self.recent.pop_front() {
            if self.passed.as_ref().is_none_or(|passed| self.transcript.compare_rows(passed, &row).is_lt()) {
                self.passed = Some(row);
            }
            self.since_confirmed += 1;
            // Looked at once in a while: each look goes over all recent ones.
            if self.since_confirmed >= self.settings.overlap {
                self.confirm_passed();
            }
        }
    }

    /// What has passed is confirmed, unless it overtook one of those that came after it.
    pub(super) fn confirm_passed(&mut self) {
        self.since_confirmed = 0;
        let overtook = |passed: &Row| {
            self.recent.iter().any(|later| self.transcript.compare_rows(passed, later).is_ge())
        };
        if self.complete
            && let Some(passed) = self.passed.take_if(|passed| !overtook(passed))
            && let (Some(id), Some(mark)) = (passed.message_id(), passed.mark())
        {
            let spot = self.transcript.spot(mark);
            self.confirm(Confirmed { id, spot });
        }
    }

    /// The connection is gone: the last live messages are asked for again.
    pub(super) fn settle_confirmed(&mut self) {
        self.confirm_passed();
        self.passed = None;
        self.recent.clear();
        self.complete = false;
    }
}
