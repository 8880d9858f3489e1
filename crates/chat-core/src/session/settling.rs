//! Owns the search for the own echo of a send whose answer was lost, and the links between sends and their echoes.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::{
    backfill::{Backfill, Confirmed, Next},
    event::ChatEvent,
    ingest::Origin,
    state::{State, Ticket},
};
use crate::{
    capabilities::Capability,
    command::{Command, HistoryPage, OutgoingBody},
    error::Result,
    ids::{ClientToken, SegmentId},
    message::{Alias, AliasKind, Aliases, Attachment, AttachmentStatus, Content, Primary, Sighting},
    outbox::{Departure, OutboxInput, StoredSend, StoredStage},
    transcript::{Row, Transcript, View},
};

impl Departure {
    fn of(row: &Row) -> Option<Self> {
        Some(Self { id: row.message_id()?, segment: row.segment()?.clone(), place: row.place()? })
    }

    /// Whether what stands there was stored before the send left. What shares its instant may not have been.
    fn is_behind(&self, segment: &SegmentId, primary: Primary) -> bool {
        *segment == self.segment && primary < self.place.primary
    }
}

/// The search that is under way.
#[derive(Debug)]
pub(super) struct Settling {
    token: ClientToken,
    body: OutgoingBody,
    run: Backfill,
}

/// Where the chat stood when each send first left; `None` if nothing was known of it then. Of those that may be searched for.
pub(super) type Departures = HashMap<ClientToken, Option<Departure>>;

impl State {
    /// The send leaves. Where the chat stood then is where a search for its echo may stop.
    pub(super) fn departs(&mut self, token: &ClientToken) {
        let outbox = &self.outbox;
        self.departures.retain(|token, _| outbox.body(token).is_some());
        if !self.departures.contains_key(token) {
            let newest = self.newest();
            self.departures.insert(token.clone(), newest);
        }
    }

    fn departure(&self, token: &ClientToken) -> Option<&Departure> {
        self.departures.get(token)?.as_ref()
    }

    /// The sends as they are to be stored: with where the chat stood when they left, or may leave.
    pub(super) fn stored_sends(&self) -> Vec<StoredSend> {
        let mut sends = self.outbox.stored();
        for send in &mut sends {
            if matches!(send.stage, StoredStage::Unknown | StoredStage::FailedUnknown) {
                send.after = match self.departures.get(&send.token) {
                    Some(departure) => departure.clone(),
                    None => self.newest(),
                };
            }
        }
        sends
    }

    /// Where the chat stands now.
    fn newest(&self) -> Option<Departure> {
        self.transcript.newest_placed().and_then(|row| Departure::of(row))
    }

    /// Looks for the own echo of an unanswered send, in everything that came since the send first left.
    pub(super) fn settle(&mut self, now: Instant, token: ClientToken, body: OutgoingBody) {
        if !self.capabilities.can(Capability::History) {
            // What the connection has told is all there is to look through.
            return self.settle_over(now, token, &body);
        }
        let generation = self.link.generation();
        let target = self.departure(&token).and_then(|departure| self.target(departure));
        let limit = self.settings.backfill_page.min(self.capabilities.history_page_max.unwrap_or(u32::MAX));
        let (run, request) =
            Backfill::begin(generation, target, limit, self.settings.backfill_max_pages, u32::MAX);
        self.settling = Some(Box::new(Settling { token: token.clone(), body, run }));
        self.submit(now, Ticket::Settle { token, generation }, Command::History(request));
    }

    fn target(&self, departure: &Departure) -> Option<Confirmed> {
        let Departure { id, segment, place } = departure;
        let bare =
            Sighting::new(segment.clone()).with_alias(Alias::message(&self.scope(), id)).with_place(*place);
        let mark = Transcript::mark_of(&bare)?;
        Some(Confirmed { id: id.clone(), spot: self.transcript.spot(mark) })
    }

    pub(super) fn on_settle_answer(
        &mut self,
        now: Instant,
        token: ClientToken,
        generation: u64,
        result: Result<HistoryPage>,
    ) {
        let mine =
            |settling: &mut Box<Settling>| settling.token == token && settling.run.generation == generation;
        // Another search may have begun since; what this one brings is news all the same.
        let settling = self.settling.take_if(mine);
        let result = result.map(|page| (self.sight_page(now, &page), page));
        // An echo that names its send has settled it by now.
        let Some(mut settling) = settling.filter(|_| self.outbox.unsettled() == Some(&token)) else { return };
        let next = match result {
            Ok((points, page)) => settling.run.page(page.items.len(), points, page.next),
            Err(error) => settling.run.failed(error),
        };
        match next {
            Next::Ask(request) => {
                self.settling = Some(settling);
                self.submit(now, Ticket::Settle { token, generation }, Command::History(request));
            }
            Next::Complete { .. } => self.settle_over(now, token, &settling.body),
            Next::Failed(error) => self.outbox_input(now, OutboxInput::SettleFailed { token, error }),
        }
    }

    /// All that there is has been seen.
    fn settle_over(&mut self, now: Instant, token: ClientToken, body: &OutgoingBody) {
        let echo = self.find_echo(&token, &shown(body));
        if let Some(echo) = &echo {
            self.sight_own(now, &token, echo, Origin::Echo);
        }
        self.outbox_input(now, OutboxInput::SettleDone { token, found: echo.is_some() });
    }

    /// The first own sighting of this content since the send left that nothing else explains.
    fn find_echo(&self, token: &ClientToken, wanted: &Content) -> Option<Sighting> {
        if self.is_named_by_its_echo(wanted) {
            return None;
        }
        let departure = self.departure(token);
        let before = |segment: &SegmentId, primary| {
            departure.is_some_and(|departure| departure.is_behind(segment, primary))
        };
        // A search that came too late, or was called off, has let its echo into the transcript.
        let standing = self
            .transcript
            .rows(View::Full)
            .rev()
            .take_while(|row| {
                departure.is_none_or(|departure| row.message_id().as_ref() != Some(&departure.id))
            })
            .filter(|row| row.is_own() && row.token().is_none() && same(wanted, row.original()))
            .filter(|row| match (row.segment(), row.place()) {
                (Some(segment), Some(place)) => !before(segment, place.primary),
                _ => false,
            })
            .last();
        if let Some(row) = standing {
            let mut bare = Sighting::new(row.segment()?.clone());
            bare.aliases = row.aliases().clone();
            return Some(bare);
        }
        let held = || {
            self.held
                .iter()
                .filter(|held| same(wanted, held.content.as_ref()) && !self.knows_any(&held.aliases))
                .filter(|held| !held.place.is_some_and(|place| before(&held.segment, place.primary)))
        };
        // One without a name gives way to its copy with one.
        held().find(|held| !held.aliases.is_empty()).or_else(|| held().next()).cloned()
    }

    // ---- echoes -----------------------------------------------------------------------------------------------------

    /// Whether the echo of such a send says by itself whose it is: then no likeness makes another message its echo.
    fn is_named_by_its_echo(&self, content: &Content) -> bool {
        self.capabilities.can(Capability::EchoToken) && matches!(content, Content::Text(_))
    }

    /// Whether an own sighting without a known name may be the echo of a send that nothing else tells apart.
    pub(super) fn may_echo(&self, sighting: &Sighting) -> bool {
        sighting.own == Some(true)
            && names_its_send(sighting).is_none()
            && !sighting.content.as_ref().is_some_and(|content| self.is_named_by_its_echo(content))
            && !self.knows_any(&sighting.aliases)
    }

    /// Waits for the echo of a send whose answer told no name.
    pub(super) fn await_echo(&mut self, token: ClientToken, content: Content) {
        if !self.has_vendor_name(&token) && !self.is_named_by_its_echo(&content) {
            self.awaited.push(token, content);
        }
    }

    /// Whether the vendor has told a name of its own for the send.
    fn has_vendor_name(&self, token: &ClientToken) -> bool {
        let row = self.transcript.get(&Alias::token(&self.scope(), token));
        row.is_some_and(|row| row.aliases().iter().any(|alias| alias.kind != AliasKind::Token))
    }

    /// Whether `sighting` is the echo of a send whose answer told no id: then the two are linked.
    pub(super) fn explain(&mut self, now: Instant, sighting: &Sighting) -> bool {
        if self.awaited.is_empty() || !self.may_echo(sighting) || self.is_past(sighting) {
            return false;
        }
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|token| !self.has_vendor_name(token));
        let named = !sighting.aliases.is_empty();
        let token = awaited.find(named, |sent| same(sent, sighting.content.as_ref()));
        self.awaited = awaited;
        match token {
            Some(token) => {
                self.sight_own(now, &token, sighting, Origin::Echo);
                true
            }
            None => false,
        }
    }

    /// Whether it stands before everything that is known: paging back finds such, and they echo nothing of now.
    fn is_past(&self, sighting: &Sighting) -> bool {
        let oldest = self.transcript.oldest_placed().and_then(|row| row.mark());
        match (Transcript::mark_of(sighting), oldest) {
            (Some(mark), Some(oldest)) => self.transcript.compare(&mark, &oldest).is_lt(),
            _ => false,
        }
    }

    /// Links the client token with the vendor's ids, and joins what the answer or the echo tells.
    pub(super) fn sight_own(&mut self, now: Instant, token: &ClientToken, told: &Sighting, origin: Origin) {
        let own = Alias::token(&self.scope(), token);
        let mut told = told.clone();
        let others: Vec<_> = told.aliases.iter().filter(|alias| **alias != own).cloned().collect();
        for alias in &others {
            if let Err(conflict) = self.transcript.link(&own, alias) {
                self.publish(ChatEvent::Error(conflict.into()));
                return;
            }
        }
        told.aliases.insert(own);
        told.own = Some(true);
        self.sight_now(now, told, origin);
    }

    /// Whether the transcript holds a message under one of these names.
    pub(super) fn knows_any(&self, aliases: &Aliases) -> bool {
        aliases.iter().any(|alias| self.transcript.get(alias).is_some())
    }
}

/// How an outgoing message stands in the transcript before the vendor has it.
pub(super) fn shown(body: &OutgoingBody) -> Content {
    match body {
        OutgoingBody::Text(text) => Content::Text(text.clone()),
        OutgoingBody::File(upload) => Content::Files(vec![Attachment {
            id: "".into(),
            name: Arc::clone(&upload.name),
            content_type: Arc::clone(&upload.content_type),
            size: Some(upload.size),
            status: AttachmentStatus::InProgress,
        }]),
    }
}

/// Which send a sighting says that it echoes: then neither time nor content make it another's.
fn names_its_send(sighting: &Sighting) -> Option<&str> {
    sighting.aliases.least(AliasKind::Token).map(|alias| &*alias.value)
}

/// Whether a vendor's content is what was sent. Only for settling a send whose answer was lost.
fn same(wanted: &Content, seen: Option<&Content>) -> bool {
    match (wanted, seen) {
        (Content::Text(wanted), Some(Content::Text(seen))) => wanted.body == seen.body,
        (Content::Files(wanted), Some(Content::Files(seen))) => {
            wanted.len() == seen.len()
                && wanted.iter().zip(seen).all(|(wanted, seen)| wanted.name == seen.name)
        }
        _ => false,
    }
}
