//! Owns what becomes of the things that a connection tells: sightings into the transcript, the rest into events.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    event::{
        AuthenticationEvent, ChatEvent, DeepHeartbeat, MessageBatch, ParticipantEvent, ReceiptEvent,
        SessionEvent,
    },
    state::State,
};
use crate::{
    capabilities::Capability,
    command::ReceiptKind,
    event::{EndReason, ParticipantUpdate, SessionUpdate, TransportEvent, TypingUpdate},
    ids::{ClientToken, ParticipantId},
    link::LinkInput,
    message::{AliasKind, Content, Participant, Role, Sighting, SystemEvent},
    outbox::OutboxInput,
    poll::PollInput,
    roster::{RosterEvent, RosterFact},
    time::Timestamp,
    transcript::Row,
    typing::TypingEvent,
};

/// Where a sighting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The live connection.
    Live,
    /// A page of the past, while joining, restoring or filling a gap.
    Past,
    /// The answer to an own send.
    Answer,
    /// Any but the answer, and found to be an own send by its likeness.
    Echo,
}

impl Origin {
    /// Whether it tells of something that was said here.
    const fn is_of_send(self) -> bool {
        matches!(self, Self::Answer | Self::Echo)
    }
}

impl State {
    /// Takes what connection `generation` tells, in order.
    pub(super) fn on_events(
        &mut self,
        now: Instant,
        generation: u64,
        events: impl Iterator<Item = TransportEvent>,
    ) {
        for event in events {
            self.on_event(now, generation, event);
        }
    }

    fn on_event(&mut self, now: Instant, generation: u64, event: TransportEvent) {
        if self.ended.is_some() {
            return;
        }
        let current = generation == self.link.generation() || Some(generation) == self.live_generation();
        match event {
            TransportEvent::Message(sighting) => self.sight(now, *sighting, Origin::Live),
            TransportEvent::Typing(update) => self.on_typing(now, *update),
            TransportEvent::Participant(update) => {
                let changes = self.roster.update(&update);
                self.publish_roster(changes, update.time);
            }
            TransportEvent::Session(update) => self.on_session_update(now, *update),
            TransportEvent::Gap(_) => {
                self.open_gap();
                self.link_input(now, LinkInput::GapSeen { generation });
            }
            TransportEvent::Alive => {}
            TransportEvent::RenewBefore(at) => {
                self.link_input(now, LinkInput::RenewBefore { generation, at })
            }
            TransportEvent::Other(raw) => self.publish(ChatEvent::Other(Arc::from(raw))),
            TransportEvent::Raw(raw) => self.publish(ChatEvent::Raw(Arc::from(raw))),
            TransportEvent::Lost(lost) => {
                if current {
                    self.on_lost(now, generation, *lost);
                }
            }
            // That the chat is over is a fact about the chat, whichever connection says it; that this side left is not.
            TransportEvent::Ended(EndReason::Left) if !current => {}
            TransportEvent::Ended(reason) => self.finish(now, reason),
        }
    }

    /// Joins one sighting into the transcript and tells what is new.
    pub(super) fn sight(&mut self, now: Instant, sighting: Sighting, origin: Origin) {
        if !origin.is_of_send() {
            if let Some(token) = self.own_token(&sighting) {
                // The row has the vendor's name before its send is told as sent.
                self.sight_now(now, sighting, origin);
                return self.outbox_input(now, OutboxInput::EchoSeen { token });
            } else if self.explain(now, &sighting) {
                return;
            } else if self.outbox.unsettled().is_some() && self.may_echo(&sighting) {
                let restored = origin == Origin::Past;
                if let Some(freed) = self.held.hold(sighting, restored) {
                    self.sight_now(
                        now,
                        freed.sighting,
                        if freed.restored { Origin::Past } else { Origin::Live },
                    );
                }
                return;
            }
        }
        self.sight_now(now, sighting, origin);
    }

    /// The fate of the send in flight is known: what was held back can be told apart now.
    pub(super) fn release_echoes(&mut self, now: Instant) {
        let open = self.outbox.unsettled().is_some();
        if open && self.awaited.is_empty() {
            return;
        }
        for held in self.held.release() {
            if self.explain(now, &held.sighting) {
                continue;
            }
            if open {
                self.held.hold(held.sighting, held.restored);
                continue;
            }
            self.sight_now(now, held.sighting, if held.restored { Origin::Past } else { Origin::Live });
        }
    }

    fn own_token(&self, sighting: &Sighting) -> Option<ClientToken> {
        sighting
            .aliases
            .iter()
            .filter(|alias| alias.kind == AliasKind::Token)
            .map(|alias| ClientToken::new(Arc::clone(&alias.value)))
            .find(|token| self.outbox.body(token).is_some())
    }

    pub(super) fn sight_now(&mut self, now: Instant, sighting: Sighting, origin: Origin) {
        let change = match origin {
            Origin::Answer => self.transcript.answered(sighting),
            Origin::Live | Origin::Past | Origin::Echo => self.transcript.sight(sighting),
        };
        let Some(id) = change.row else { return };
        if !change.any && origin != Origin::Live {
            return;
        }
        let Some(row) = self.transcript.by_handle(id).cloned() else { return };
        if origin == Origin::Live {
            self.note_live(&row);
        }
        for receipt in &change.receipts {
            self.on_receipt(&row, &receipt.by, receipt.delivered, receipt.read);
        }
        if change.new {
            self.on_new_row(now, &row, origin);
        } else {
            self.follow_teller(&row);
        }
    }

    fn on_new_row(&mut self, now: Instant, row: &Arc<Row>, origin: Origin) {
        match row.content() {
            None => {}
            Some(Content::Event(event)) => self.on_system_event(row, event.clone()),
            Some(_) => {
                self.note_speaker(row);
                if !row.is_own()
                    && let Some(who) = row.from()
                {
                    for event in self.others_typing.over(who) {
                        self.publish_typing(event);
                    }
                    let person = matches!(who.role, Role::Agent | Role::Customer | Role::Supervisor);
                    if origin == Origin::Live && person && self.settings.auto_delivered {
                        self.mark(now, row, ReceiptKind::Delivered);
                    }
                }
                if origin == Origin::Live {
                    self.poll_input(now, PollInput::Activity);
                }
                if !origin.is_of_send() {
                    let restored = origin == Origin::Past;
                    if restored != self.arrived_restored {
                        self.flush_arrived();
                        self.arrived_restored = restored;
                    }
                    self.arrived.push(Arc::clone(row));
                }
            }
        }
    }

    fn on_system_event(&mut self, row: &Arc<Row>, event: SystemEvent) {
        match event {
            SystemEvent::Rehydrated => self.publish(ChatEvent::Session(Arc::new(SessionEvent::Rehydrated))),
            SystemEvent::TransferSucceeded | SystemEvent::TransferFailed => {
                let succeeded = event == SystemEvent::TransferSucceeded;
                self.publish(ChatEvent::Session(Arc::new(SessionEvent::Transfer { succeeded })));
            }
            SystemEvent::WorkflowCancelled => {
                self.publish(ChatEvent::Session(Arc::new(SessionEvent::WorkflowCancelled)));
            }
            SystemEvent::Authentication { phase, session } => {
                self.publish(ChatEvent::Authentication(Arc::new(AuthenticationEvent { phase, session })));
            }
            SystemEvent::Typing => {}
            event => {
                if matches!(event, SystemEvent::Left | SystemEvent::AutoDisconnected)
                    && let Some(who) = row.from()
                {
                    for event in self.others_typing.over(who) {
                        self.publish_typing(event);
                    }
                }
                // Of the end the roster learns when; the readers learn of it through the terminal event, once.
                self.note_participant(row, Some(event));
            }
        }
    }

    /// Who speaks is in the chat, even if nobody told of the joining. Of those who are known to be there it is no news.
    fn note_speaker(&mut self, row: &Row) {
        let present = row.from().and_then(|who| who.id.as_ref()).is_some_and(|id| {
            self.roster
                .members()
                .iter()
                .any(|member| member.connected() && member.who.id.as_ref() == Some(id))
        });
        if !present {
            self.note_participant(row, None);
        }
    }

    /// A row tells something about its sender.
    fn note_participant(&mut self, row: &Row, event: Option<SystemEvent>) {
        let who = match (row.from(), &event) {
            (Some(who), _) => who.clone(),
            (None, Some(SystemEvent::Ended)) => Participant::new(Role::System),
            (None, _) => return,
        };
        let time = row.time().map(|time| time.at);
        let changes = match row.mark() {
            Some(mark) => {
                let spot = self.transcript.spot(mark);
                self.tellers.insert(row.handle(), spot.clone());
                self.roster.set(spot, RosterFact { who, event, time })
            }
            None => match event {
                Some(event) => self.roster.update(&ParticipantUpdate { who, event, time }),
                None => Vec::new(),
            },
        };
        self.publish_roster(changes, time);
    }

    /// What a row told of a participant counts where the row stands, and it may have moved.
    fn follow_teller(&mut self, row: &Row) {
        let (Some(told_at), Some(mark)) = (self.tellers.get_mut(&row.handle()), row.mark()) else { return };
        let spot = self.transcript.spot(mark);
        if *told_at != spot {
            let was = std::mem::replace(told_at, spot.clone());
            let changes = self.roster.relocate(&was, spot);
            self.publish_roster(changes, row.time().map(|time| time.at));
        }
    }

    pub(super) fn publish_roster(&mut self, changes: Vec<RosterEvent>, time: Option<Timestamp>) {
        for change in changes {
            let agents_connected = self.roster.agents_connected();
            self.publish(ChatEvent::Participant(Arc::new(ParticipantEvent {
                change,
                time,
                agents_connected,
            })));
        }
    }

    fn on_typing(&mut self, now: Instant, update: TypingUpdate) {
        if self.settings.keep_typing_rows
            && let Some(item) = &update.item
        {
            self.transcript.sight(item.clone());
        }
        if update.own {
            return;
        }
        for event in self.others_typing.update(now, &update) {
            self.publish_typing(event);
        }
    }

    pub(super) fn publish_typing(&mut self, event: TypingEvent) {
        self.publish(ChatEvent::Typing(Arc::new(event)));
    }

    fn on_receipt(
        &mut self,
        row: &Row,
        by: &ParticipantId,
        delivered: Option<Timestamp>,
        read: Option<Timestamp>,
    ) {
        if self.info.as_ref().and_then(|info| info.participant.as_ref()) == Some(by) {
            // Our own, from another tab or an earlier process: no news, and not to be sent again.
            if let Some(mark) = row.mark() {
                let spot = self.transcript.spot(mark);
                if delivered.is_some() {
                    self.receipts.known(ReceiptKind::Delivered, &spot);
                }
                if read.is_some() {
                    self.receipts.known(ReceiptKind::Read, &spot);
                }
            }
            return;
        }
        if !row.is_own() {
            return;
        }
        let Some(message) = row.message_id() else { return };
        let (kind, time) = match (read, delivered) {
            (Some(_), _) => (ReceiptKind::Read, read),
            (None, Some(_)) => (ReceiptKind::Delivered, delivered),
            (None, None) => return,
        };
        let spot = row.mark().map(|mark| self.transcript.spot(mark));
        if !self.receipts_heard.note(by, spot, kind) {
            return;
        }
        self.publish(ChatEvent::Receipt(Arc::new(ReceiptEvent { message, by: by.clone(), kind, time })));
    }

    fn on_session_update(&mut self, now: Instant, update: SessionUpdate) {
        match update {
            SessionUpdate::Saved(saved) => {
                self.saved = Some(saved);
                self.changed();
            }
            SessionUpdate::Segment { id, started_at } => {
                self.transcript.segment(&id, started_at);
                if let Some(info) = &mut self.info {
                    info.segment = id;
                    self.changed();
                }
            }
            SessionUpdate::Capabilities(capabilities) => {
                let anew = !self.capabilities.can(Capability::Poll);
                self.capabilities = capabilities;
                self.outbox
                    .set_vendor(capabilities.can(Capability::IdempotentSend), capabilities.settle_within);
                self.follow_polling(now, anew);
            }
            SessionUpdate::ChatServer(class) => self.on_chat_server(now, class),
            SessionUpdate::OwnId(id) => {
                if let Some(info) = &mut self.info {
                    info.participant = Some(id);
                    self.changed();
                }
            }
            SessionUpdate::DeepHeartbeat(outcome) => {
                if outcome.is_ok() {
                    self.last_good_heartbeat = Some(self.clock.now());
                }
                let last_good = self.last_good_heartbeat;
                self.publish(ChatEvent::DeepHeartbeat(Arc::new(DeepHeartbeat { outcome, last_good })));
            }
            SessionUpdate::Queue { position } => {
                self.publish(ChatEvent::Session(Arc::new(SessionEvent::Queue { position })));
            }
        }
    }

    /// Publishes the messages that came since the last turn.
    pub(super) fn flush_arrived(&mut self) {
        if self.arrived.is_empty() {
            return;
        }
        let mut messages = std::mem::take(&mut self.arrived);
        if self.fanout.is_idle() {
            return;
        }
        messages.sort_by(|a, b| self.transcript.compare_rows(a, b));
        let batch = MessageBatch { messages, restored: self.arrived_restored, session: self.info.clone() };
        self.publish(ChatEvent::Messages(Arc::new(batch)));
    }
}
