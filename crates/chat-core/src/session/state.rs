//! Owns the state of one session: the machines, the transcript, and what they want done. Takes facts and `now`, does no I/O.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use serde_json::Value;
use tokio::{sync::oneshot, time::Instant};

use super::{
    backfill::{Backfill, Confirmed, Next, Older},
    echo::{AwaitedEchoes, HeldEchoes},
    event::{ChatEvent, ConnectionEvent, SentMessage, SessionEvent},
    fanout::{Fanout, Ring},
    heard::ReceiptsHeard,
    ingest::Origin,
    settings::SessionSettings,
};
use crate::{
    capabilities::{Capabilities, Capability},
    channel::EventStream,
    command::{Ack, Command, HistoryPage, OutgoingBody},
    error::{Delivery, Error, ErrorKind, Result, Retry},
    event::{EndReason, Lost},
    ids::{ClientToken, TransportId},
    link::{Link, LinkAction, LinkEvent, LinkInput, LinkState, Purpose},
    message::{Attachment, AttachmentStatus, Content},
    outbox::{Outbox, OutboxInput, StoredBody, StoredSend},
    poll::{Poll, PollInput},
    receipts::Receipts,
    roster::Roster,
    store::{STORED_VERSION, StoredSession},
    time::{Timestamp, WallClock},
    transcript::{Diff, Filter, GapId, Row, Snapshot, Spot, Transcript, View},
    transport::{
        ConnectError, ConnectRequest, Connection, ConnectionHandle, Intent, SavedSession, SessionInfo,
    },
    typing::{OthersTyping, OwnTyping},
};

/// What the driver is to do.
pub(super) enum Effect {
    Connect {
        generation: u64,
        request: ConnectRequest,
    },
    Drop {
        generation: u64,
    },
    Submit {
        ticket: Ticket,
        handle: Arc<dyn ConnectionHandle>,
        command: Command,
    },
    Save,
    /// Save, and tell the outbox: it sends nothing that is not kept.
    Persist {
        version: u64,
    },
    Forget,
}

/// Which request an answer belongs to.
#[derive(Debug)]
pub(super) enum Ticket {
    Send { token: ClientToken, attempt: u32 },
    Settle { token: ClientToken },
    Typing,
    Receipt(crate::command::ReceiptSignal),
    Backfill { generation: u64 },
    Poll,
    Leave { done: Option<oneshot::Sender<Result<()>>> },
}

/// How the session came to be.
#[derive(Debug, Clone)]
pub(super) enum Origination {
    Start,
    Join,
    Restore { asynchronous: bool },
}

/// Waits for the outcome of one accepted send.
pub(super) struct Waiter {
    pub(super) outcome: oneshot::Sender<Result<SentMessage>>,
    pub(super) metadata: Value,
}

pub(super) struct State {
    pub(super) transport: TransportId,
    pub(super) settings: Arc<SessionSettings>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) effects: Vec<Effect>,

    pub(super) link: Link,
    pub(super) outbox: Outbox,
    pub(super) receipts: Receipts<Spot>,
    pub(super) receipts_heard: ReceiptsHeard,
    pub(super) own_typing: OwnTyping,
    pub(super) others_typing: OthersTyping,
    pub(super) poll: Option<Box<Poll>>,
    pub(super) roster: Roster<Spot>,
    pub(super) transcript: Transcript,
    pub(super) fanout: Fanout,
    pub(super) held: HeldEchoes,
    pub(super) awaited: AwaitedEchoes,
    /// The send whose own echo is being looked for.
    pub(super) settling: Option<(ClientToken, OutgoingBody)>,
    /// New credentials were asked for because a send was refused.
    pub(super) refreshing: bool,
    pub(super) seed: u64,

    pub(super) info: Option<SessionInfo>,
    pub(super) capabilities: Capabilities,
    pub(super) saved: Option<SavedSession>,
    pub(super) filters: Vec<String>,
    /// Goes up with every change that is worth saving.
    revision: u64,
    pub(super) last_good_heartbeat: Option<Timestamp>,

    origination: Origination,
    first: Option<Intent>,
    opened: Option<oneshot::Sender<Result<(), ConnectError>>>,
    live: Option<Live>,
    pub(super) backfill: Option<Box<Backfill>>,
    pub(super) confirmed: Option<Confirmed>,
    /// The last live messages, and the newest of those before them.
    recent: VecDeque<Confirmed>,
    passed: Option<Confirmed>,
    since_confirmed: usize,
    open_gap: Option<GapId>,
    /// Whether the live connection's first backfill is done: only then does what it brings confirm anything.
    complete: bool,
    ready: bool,
    pub(super) older: Older,
    first_attempts: u32,

    pub(super) arrived: Vec<Arc<Row>>,
    pub(super) arrived_restored: bool,
    pub(super) waiters: HashMap<ClientToken, Waiter>,

    leaving: Option<Leaving>,
    pub(super) ended: Option<EndReason>,
    closing: Option<Instant>,
    closed: bool,
}

struct Live {
    generation: u64,
    handle: Arc<dyn ConnectionHandle>,
}

/// This side leaves.
struct Leaving {
    end: bool,
    deadline: Instant,
    /// Still to be submitted, once the connection stands.
    waiting: Option<oneshot::Sender<Result<()>>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("link", &self.link.state())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What a new session begins with.
pub(super) struct Beginning {
    pub(super) transport: TransportId,
    pub(super) capabilities: Capabilities,
    pub(super) settings: Arc<SessionSettings>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) origination: Origination,
    pub(super) intent: Intent,
    pub(super) outbox: Outbox,
    pub(super) transcript: Transcript,
    pub(super) filters: Vec<String>,
    pub(super) info: Option<SessionInfo>,
    pub(super) sends: Vec<StoredSend>,
    pub(super) seed: u64,
}

impl State {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning {
            transport,
            capabilities,
            settings,
            clock,
            origination,
            intent,
            outbox,
            transcript,
            filters,
            info,
            sends,
            seed,
        } = beginning;
        let expires = settings.typing_expires_after.unwrap_or(capabilities.typing_expires_after);
        let saved = match &intent {
            Intent::Resume(saved) | Intent::Join(saved) => Some(saved.clone()),
            Intent::Start(_) => None,
        };
        let mut state = Self {
            transport,
            effects: Vec::new(),
            link: Link::new(settings.backoff.clone(), seed),
            outbox,
            receipts: Receipts::new(settings.receipts.clone()),
            receipts_heard: ReceiptsHeard::default(),
            own_typing: OwnTyping::new(settings.typing.clone()),
            others_typing: OthersTyping::new(expires),
            poll: None,
            roster: Roster::default(),
            transcript,
            fanout: Fanout::default(),
            held: HeldEchoes::default(),
            awaited: AwaitedEchoes::default(),
            settling: None,
            refreshing: false,
            seed,
            info,
            capabilities,
            saved,
            filters,
            revision: 0,
            last_good_heartbeat: None,
            origination,
            first: Some(intent),
            opened: None,
            live: None,
            backfill: None,
            confirmed: None,
            recent: VecDeque::new(),
            passed: None,
            since_confirmed: 0,
            open_gap: None,
            complete: false,
            ready: false,
            older: Older::Unchanged,
            first_attempts: 0,
            arrived: Vec::new(),
            arrived_restored: false,
            waiters: HashMap::new(),
            leaving: None,
            ended: None,
            closing: None,
            closed: false,
            settings,
            clock,
        };
        state.restore_sends(Instant::now(), sends);
        state
    }

    /// Takes over what an earlier process had accepted and not sent.
    fn restore_sends(&mut self, now: Instant, sends: Vec<StoredSend>) {
        if sends.is_empty() {
            return;
        }
        let shown: Vec<_> =
            sends.iter().map(|send| (send.token.clone(), stored_content(&send.body))).collect();
        let actions = self.outbox.restore(now, sends);
        for (token, content) in shown {
            self.show_local(&token, content);
        }
        self.obey_outbox(now, actions);
    }

    /// Begins to connect; `opened` hears how the first connect went.
    pub(super) fn open(&mut self, now: Instant, opened: oneshot::Sender<Result<(), ConnectError>>) {
        self.opened = Some(opened);
        self.link_input(now, LinkInput::Open);
    }

    // ---- what the machines want -------------------------------------------------------------------------------------

    pub(super) fn link_input(&mut self, now: Instant, input: LinkInput) {
        let actions = self.link.handle(now, input);
        self.obey_links(now, actions);
    }

    pub(super) fn obey_links(&mut self, now: Instant, actions: Vec<LinkAction>) {
        for action in actions {
            self.obey_link(now, action);
        }
    }

    /// Connects again by hand.
    pub(super) fn reconnect(&mut self, now: Instant, credentials: Option<SavedSession>) -> Result<()> {
        let renewed = credentials.is_some();
        if let Some(credentials) = credentials {
            if credentials.transport != self.transport.as_str() {
                return Err(Error::invalid_input("these session data are of another transport"));
            }
            self.saved = Some(credentials);
            self.changed();
        }
        let actions = self.link.reconnect(now, renewed)?;
        self.obey_links(now, actions);
        Ok(())
    }

    fn obey_link(&mut self, now: Instant, action: LinkAction) {
        match action {
            LinkAction::Connect { generation, purpose } => {
                let intent = match (&self.saved, purpose) {
                    (Some(saved), Purpose::Resume | Purpose::Renew) => Intent::Resume(saved.clone()),
                    (Some(saved), Purpose::First) => match &self.first {
                        Some(Intent::Join(_)) => Intent::Join(saved.clone()),
                        _ => Intent::Resume(saved.clone()),
                    },
                    (None, _) => match &self.first {
                        Some(intent) => intent.clone(),
                        None => return,
                    },
                };
                let mut request = ConnectRequest::new(intent);
                request.tap = self.settings.tap;
                self.effects.push(Effect::Connect { generation, request });
            }
            LinkAction::Backfill { generation } => self.begin_backfill(now, generation),
            LinkAction::DropConnection { generation } => self.effects.push(Effect::Drop { generation }),
            LinkAction::ReleaseSends => {
                self.outbox_input(now, OutboxInput::Released);
                self.submit_leave();
            }
            LinkAction::HoldSends => self.outbox_input(now, OutboxInput::Held),
            LinkAction::Publish(event) => self.on_link_event(now, event),
        }
    }

    fn on_link_event(&mut self, now: Instant, event: LinkEvent) {
        let info = self.info.clone();
        let event = match (event, info) {
            (LinkEvent::Established, Some(info)) => {
                let session = match self.origination {
                    Origination::Start => SessionEvent::Started(info.clone()),
                    Origination::Join => SessionEvent::Restored { info: info.clone(), asynchronous: false },
                    Origination::Restore { asynchronous } => {
                        SessionEvent::Restored { info: info.clone(), asynchronous }
                    }
                };
                self.publish(ChatEvent::Session(Arc::new(session)));
                if let Some(opened) = self.opened.take() {
                    // The caller may have given up waiting.
                    let _ = opened.send(Ok(()));
                }
                ConnectionEvent::Established(info)
            }
            (LinkEvent::Restored, Some(info)) => ConnectionEvent::Restored(info),
            (LinkEvent::Pending(error), _) => ConnectionEvent::Pending(error),
            (LinkEvent::Lost(error), _) => ConnectionEvent::Lost(error),
            (LinkEvent::Broken(error), _) => {
                if let Some(opened) = self.opened.take() {
                    let saved = self.saved.clone().map(Box::new);
                    let _ = opened.send(Err(ConnectError { error: error.clone(), saved }));
                }
                if let Some(Leaving { waiting: Some(done), .. }) = self.leaving.take() {
                    let _ = done.send(Err(error.clone()));
                }
                self.refreshed(now, false);
                ConnectionEvent::Broken(error)
            }
            _ => return,
        };
        self.publish(ChatEvent::Connection(Arc::new(event)));
    }

    // ---- connecting -------------------------------------------------------------------------------------------------

    /// A connection stands. Gives its events to the driver, unless nobody wants it any more.
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        generation: u64,
        connection: Connection,
    ) -> Option<EventStream> {
        if self.ended.is_some() || self.closed || Some(generation) != self.link.attempting() {
            return None;
        }
        let Connection { session, capabilities, saved, handle, events } = connection;
        let restoring = matches!(self.origination, Origination::Restore { .. }) && !self.ready;
        let renewed = self.live.is_some();
        self.transcript.segment(&session.segment, session.started_at);
        if let Some(id) = &session.participant {
            self.transcript.own_participant(id.clone());
        }
        self.roster.set_started_at(session.started_at);
        self.info = Some(session);
        self.capabilities = capabilities;
        self.outbox.set_vendor(capabilities.can(Capability::IdempotentSend), capabilities.settle_within);
        if self.settings.typing_expires_after.is_none() {
            self.others_typing.set_expires_after(capabilities.typing_expires_after);
        }
        self.saved = Some(saved);
        self.first = None;
        self.settle_confirmed();
        self.live = Some(Live { generation, handle });
        self.changed();
        self.link_input(now, LinkInput::Connected { generation });
        if renewed {
            self.publish(ChatEvent::Connection(Arc::new(ConnectionEvent::Renewed)));
        }
        // Whatever made it, the credentials were good for it.
        self.refreshing = false;
        self.outbox_input(now, OutboxInput::Refreshed { ok: true });
        self.start_polling(now, restoring);
        Some(events)
    }

    /// A connection could not be made.
    pub(super) fn on_connect_failed(&mut self, now: Instant, generation: u64, failure: ConnectError) {
        if self.ended.is_some() || self.closed || Some(generation) != self.link.attempting() {
            return;
        }
        let ConnectError { mut error, saved } = failure;
        if let Some(saved) = saved {
            self.saved = Some(*saved);
            self.changed();
        }
        if *error.kind() == ErrorKind::SessionEnded {
            return self.finish(now, EndReason::EndedWhileAway);
        }
        if *error.kind() == ErrorKind::SessionLost {
            self.effects.push(Effect::Forget);
        }
        if matches!(error.retry(), Retry::Never | Retry::WithNewCredentials) {
            self.refreshed(now, false);
        }
        if self.opened.is_some() {
            self.first_attempts += 1;
            if self.first_attempts >= self.settings.first_connect_attempts {
                error = error.with_retry(Retry::Never);
            }
        }
        let started = self.saved.is_some();
        self.link_input(now, LinkInput::ConnectFailed { generation, error, started });
    }

    /// The new credentials that a refused send asked for are there, or cannot be had.
    fn refreshed(&mut self, now: Instant, ok: bool) {
        // Any new connection may have what the queue waits for; a failure concerns only who asked.
        if std::mem::take(&mut self.refreshing) || ok {
            self.outbox_input(now, OutboxInput::Refreshed { ok });
        }
    }

    pub(super) fn on_lost(&mut self, now: Instant, generation: u64, lost: Lost) {
        self.settle_confirmed();
        self.open_gap();
        if self.live_generation() == Some(generation) {
            self.live = None;
        }
        self.backfill = None;
        self.link_input(now, LinkInput::Lost { generation, error: lost.error, resumable: lost.resumable });
    }

    pub(super) fn live_generation(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.generation)
    }

    /// The way in, if the connection stands.
    pub(super) fn handle(&self) -> Result<Arc<dyn ConnectionHandle>> {
        if let Some(error) = self.inactive() {
            return Err(error);
        }
        match &self.live {
            Some(live) => Ok(Arc::clone(&live.handle)),
            None => Err(Error::new(ErrorKind::Network, "not connected at the moment")),
        }
    }

    /// Why nothing can be asked for, if so.
    pub(super) fn inactive(&self) -> Option<Error> {
        if self.ended.is_some() || self.leaving.is_some() || self.closed {
            return Some(Error::new(ErrorKind::NotActive, ""));
        }
        if self.link.state() == LinkState::Failed {
            return Some(Error::new(ErrorKind::NotActive, "the connection was given up; reconnect first"));
        }
        None
    }

    /// Whether the poll loop can be controlled.
    pub(super) fn pollable(&self) -> Result<()> {
        self.require(Capability::Poll)?;
        self.inactive().map_or(Ok(()), Err)
    }

    /// Checks `command` against what the transport can do.
    pub(super) fn check(&self, command: &Command) -> Result<()> {
        match command.capability() {
            Some(capability) => self.require(capability),
            None => Ok(()),
        }
    }

    pub(super) fn require(&self, capability: Capability) -> Result<()> {
        if self.capabilities.can(capability) {
            Ok(())
        } else {
            Err(Error::unsupported(capability, self.transport))
        }
    }

    // ---- gaps -------------------------------------------------------------------------------------------------------

    pub(super) fn open_gap(&mut self) {
        if self.open_gap.is_some() || !self.capabilities.can(Capability::History) {
            return;
        }
        let Some(confirmed) = &self.confirmed else { return };
        let id = GapId::random();
        self.transcript.gap(id.clone(), Some(confirmed.spot.mark().clone()));
        self.open_gap = Some(id);
    }

    fn begin_backfill(&mut self, now: Instant, generation: u64) {
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

    fn on_backfill_answer(&mut self, now: Instant, generation: u64, result: Result<HistoryPage>) {
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

    fn end_backfill(&mut self, now: Instant, generation: u64, result: Result<(Option<Confirmed>, Older)>) {
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

    fn confirm(&mut self, point: Confirmed) {
        if self.confirmed.as_ref().is_none_or(|confirmed| confirmed.spot < point.spot) {
            self.confirmed = Some(point);
        }
    }

    /// A message came on the live connection: it confirms what is older, once enough newer ones have followed that none can
    /// have been overtaken.
    pub(super) fn note_live(&mut self, row: &Row) {
        let (Some(id), Some(mark)) = (row.message_id(), row.mark()) else { return };
        let spot = self.transcript.spot(mark);
        self.recent.push_back(Confirmed { id, spot });
        if self.recent.len() <= self.settings.overlap.max(1) {
            return;
        }
        if let Some(point) = self.recent.pop_front() {
            if self.passed.as_ref().is_none_or(|passed| passed.spot < point.spot) {
                self.passed = Some(point);
            }
            self.since_confirmed += 1;
            // Looked at once in a while: each look goes over all recent ones.
            if self.since_confirmed >= self.settings.overlap {
                self.confirm_passed();
            }
        }
    }

    /// What has passed is confirmed, unless it overtook one of those that came after it.
    fn confirm_passed(&mut self) {
        self.since_confirmed = 0;
        if self.complete
            && let Some(passed) =
                self.passed.take_if(|passed| self.recent.iter().all(|later| passed.spot < later.spot))
        {
            self.confirm(passed);
        }
    }

    /// The connection is gone: the last live messages are asked for again.
    fn settle_confirmed(&mut self) {
        self.confirm_passed();
        self.passed = None;
        self.recent.clear();
        self.complete = false;
    }

    // ---- answers ----------------------------------------------------------------------------------------------------

    /// Asks the connection. Without one, the answer is at once that nothing was sent.
    pub(super) fn submit(&mut self, now: Instant, ticket: Ticket, command: Command) {
        if let Some(ticket) = self.submit_if_live(ticket, command) {
            let error = Error::new(ErrorKind::Network, "not connected at the moment");
            self.take_answer(now, ticket, Err(error));
        }
    }

    /// Asks the connection; gives the ticket back if there is none.
    pub(super) fn submit_if_live(&mut self, ticket: Ticket, command: Command) -> Option<Ticket> {
        match &self.live {
            Some(live) => {
                let handle = Arc::clone(&live.handle);
                self.effects.push(Effect::Submit { ticket, handle, command });
                None
            }
            None => Some(ticket),
        }
    }

    pub(super) fn on_answer(&mut self, now: Instant, ticket: Ticket, result: Result<Ack>) {
        if self.ended.is_some() {
            return;
        }
        // A send's failure is told once it is final, a poll's by the poll machine.
        if let Err(error) = &result
            && !matches!(
                ticket,
                Ticket::Send { .. } | Ticket::Settle { .. } | Ticket::Backfill { .. } | Ticket::Leave { .. }
            )
        {
            self.publish(ChatEvent::Error(error.clone()));
        }
        self.take_answer(now, ticket, result);
    }

    fn take_answer(&mut self, now: Instant, ticket: Ticket, result: Result<Ack>) {
        match ticket {
            Ticket::Send { token, attempt } => self.on_send_answer(now, token, attempt, result),
            Ticket::Settle { token } => self.on_settle_answer(now, token, page_of(result)),
            Ticket::Typing => {}
            Ticket::Receipt(signal) => self.on_receipt_answer(now, &signal, result.is_err()),
            Ticket::Backfill { generation } => self.on_backfill_answer(now, generation, page_of(result)),
            Ticket::Poll => self.on_poll_answer(now, result),
            Ticket::Leave { done } => self.on_leave_answer(now, done, result.map(drop)),
        }
    }

    /// The store has answered; `version` is set if the outbox waits for it.
    pub(super) fn on_stored(&mut self, now: Instant, version: Option<u64>, result: Result<()>) {
        if let Err(error) = &result {
            self.publish(ChatEvent::Error(error.clone()));
        }
        if let Some(version) = version {
            self.outbox_input(
                now,
                match result {
                    Ok(()) => OutboxInput::Saved { version },
                    Err(error) => OutboxInput::StoreFailed { version, error },
                },
            );
        }
    }

    /// The outbox has changed and wants it kept.
    pub(super) fn persist(&mut self, version: u64) {
        self.revision += 1;
        self.effects.push(Effect::Persist { version });
    }

    // ---- leaving and ending -----------------------------------------------------------------------------------------

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

    fn force_leave(&mut self) {
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

    fn on_leave_answer(
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

    // ---- time -------------------------------------------------------------------------------------------------------

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        [
            self.link.deadline(),
            self.outbox.deadline(),
            self.receipts.deadline(),
            self.own_typing.deadline(),
            self.others_typing.deadline(),
            self.poll.as_deref().and_then(Poll::deadline),
            self.leaving.as_ref().map(|leaving| leaving.deadline),
            self.closing,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.link.deadline()) {
            self.link_input(now, LinkInput::Tick);
        }
        if due(self.outbox.deadline()) {
            self.outbox_input(now, OutboxInput::Tick);
        }
        if due(self.receipts.deadline()) {
            self.receipts_tick(now);
        }
        if due(self.own_typing.deadline()) {
            let actions = self.own_typing.tick(now);
            self.obey_typing_all(actions);
        }
        if due(self.others_typing.deadline()) {
            for event in self.others_typing.tick(now) {
                self.publish_typing(event);
            }
        }
        if due(self.poll.as_deref().and_then(Poll::deadline)) {
            self.poll_input(now, PollInput::Tick);
        }
        if due(self.leaving.as_ref().map(|leaving| leaving.deadline)) {
            self.leave_overdue(now);
        }
        if due(self.closing) {
            self.closed = true;
        }
    }

    /// The vendor's own end did not come, or the leave could not even be sent.
    fn leave_overdue(&mut self, now: Instant) {
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

    // ---- telling ----------------------------------------------------------------------------------------------------

    pub(super) fn publish(&mut self, event: ChatEvent) {
        // The rows that an event speaks of are in the reader's copy before the event comes.
        self.flush_diffs();
        self.fanout.publish(&event, None);
    }

    /// Publishes what has come up since the last turn.
    pub(super) fn flush(&mut self) {
        self.flush_diffs();
        self.flush_arrived();
    }

    fn flush_diffs(&mut self) {
        for view in [View::Full, View::Display] {
            let diffs = self.transcript.take_diffs(view);
            if diffs.is_empty() {
                continue;
            }
            for diff in diffs {
                self.fanout.publish(&ChatEvent::Transcript(Arc::new(diff)), Some(view));
            }
            if !self.fanout.wants(view) {
                self.transcript.want_diffs(view, false);
            }
        }
    }

    pub(super) fn snapshot(&mut self, view: View) -> Snapshot {
        self.flush_diffs();
        self.transcript.snapshot(view)
    }

    // ---- keeping ----------------------------------------------------------------------------------------------------

    /// Something worth saving has changed.
    pub(super) fn changed(&mut self) {
        self.revision += 1;
        if !matches!(self.effects.last(), Some(Effect::Save)) {
            self.effects.push(Effect::Save);
        }
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is to be kept, and its revision. `None` before there is anything, and after the end.
    pub(super) fn record(&self, now: Timestamp) -> Option<(u64, StoredSession)> {
        if self.ended.as_ref().is_some_and(|reason| *reason != EndReason::Left) {
            return None;
        }
        let saved = self.saved.clone()?;
        Some((
            self.revision,
            StoredSession {
                version: STORED_VERSION,
                saved,
                info: self.info.clone(),
                saved_at: Some(now),
                outbox: self.outbox.stored(),
                filters: self.filters.clone(),
            },
        ))
    }

    // ---- reading ----------------------------------------------------------------------------------------------------

    /// A new reader, whose first event is the transcript as it stands.
    pub(super) fn subscribe(&mut self, view: View) -> Arc<Ring> {
        let snapshot = self.snapshot(view);
        self.transcript.want_diffs(view, true);
        let first = (!snapshot.is_empty()).then(|| ChatEvent::Transcript(Arc::new(Diff::Reset(snapshot))));
        self.fanout.subscribe(view, self.settings.reader_capacity, first)
    }

    pub(super) fn apply_filters(&mut self) {
        // Each was compiled before it was taken in.
        let filters = self.filters.iter().filter_map(|pattern| Filter::new(pattern).ok()).collect();
        self.transcript.set_filters(filters);
    }
}

fn stored_content(body: &StoredBody) -> Content {
    match body {
        StoredBody::Text(text) => Content::Text(text.clone()),
        StoredBody::File { name } => Content::Files(vec![Attachment {
            id: "".into(),
            name: Arc::from(name.as_str()),
            content_type: "".into(),
            size: None,
            status: AttachmentStatus::InProgress,
        }]),
    }
}

fn page_of(result: Result<Ack>) -> Result<HistoryPage> {
    match result? {
        Ack::History(page) => Ok(page),
        _ => {
            Err(Error::new(ErrorKind::Internal, "the adapter answered a history request with something else"))
        }
    }
}
