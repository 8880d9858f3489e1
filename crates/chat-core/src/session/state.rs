//! Owns the state of one session: the machines, the transcript, and what they want done. Takes facts and `now`, does no I/O.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use serde_json::Value;
use tokio::{sync::oneshot, time::Instant};

use super::{
    backfill::{Backfill, Confirmed, Older},
    echo::{AwaitedEchoes, HeldEchoes},
    event::{ChatEvent, ConnectionEvent, SentMessage, SessionEvent},
    fanout::{Fanout, Ring},
    heard::ReceiptsHeard,
    settings::SessionSettings,
    settling::{Departures, Settling},
};

use crate::{
    capabilities::Capabilities,
    command::{Ack, Command, HistoryPage},
    error::{Error, ErrorKind, Result},
    event::EndReason,
    ids::{ClientToken, TransportId},
    link::{Link, LinkInput},
    message::{Attachment, AttachmentStatus, Content},
    outbox::{Outbox, OutboxInput, StoredBody, StoredSend, StoredStage},
    poll::{Poll, PollClass, PollInput},
    receipts::Receipts,
    roster::Roster,
    store::{STORED_VERSION, StoredSession},
    time::{Timestamp, WallClock},
    transcript::{Diff, Filter, GapId, Row, RowId, Snapshot, Spot, Transcript, View},
    transport::{ConnectError, ConnectRequest, ConnectionHandle, Intent, SavedSession, SessionInfo},
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
    Settle { token: ClientToken, generation: u64 },
    Typing,
    Receipt(crate::command::ReceiptSignal),
    Backfill { generation: u64 },
    Poll { generation: u64 },
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
    pub(super) lane: Lane,
    pub(super) receipts: Receipts<Spot>,
    pub(super) receipts_heard: ReceiptsHeard,
    pub(super) own_typing: OwnTyping,
    pub(super) others_typing: OthersTyping,
    pub(super) poll: Option<Box<Poll>>,
    pub(super) roster: Roster<Spot>,
    /// Which rows have told the roster something, and where they stood then.
    pub(super) tellers: HashMap<RowId, Spot>,
    pub(super) transcript: Transcript,
    pub(super) fanout: Fanout,
    pub(super) held: HeldEchoes,
    pub(super) awaited: AwaitedEchoes,
    /// The send whose own echo is being looked for.
    pub(super) settling: Option<Box<Settling>>,
    pub(super) departures: Departures,
    /// New credentials were asked for because a send was refused.
    pub(super) refreshing: bool,
    pub(super) seed: u64,

    pub(super) info: Option<SessionInfo>,
    pub(super) capabilities: Capabilities,
    pub(super) saved: Option<SavedSession>,
    pub(super) filters: Vec<String>,
    /// Goes up with every change that is worth saving.
    pub(super) revision: u64,
    pub(super) last_good_heartbeat: Option<Timestamp>,

    pub(super) origination: Origination,
    pub(super) first: Option<Intent>,
    pub(super) opened: Option<oneshot::Sender<Result<(), ConnectError>>>,
    pub(super) live: Option<Live>,
    pub(super) backfill: Option<Box<Backfill>>,
    pub(super) confirmed: Option<Confirmed>,
    /// The last live messages, and the newest of those before them.
    pub(super) recent: VecDeque<Arc<Row>>,
    pub(super) passed: Option<Arc<Row>>,
    pub(super) since_confirmed: usize,
    pub(super) open_gap: Option<GapId>,
    /// Whether the live connection's first backfill is done: only then does what it brings confirm anything.
    pub(super) complete: bool,
    pub(super) ready: bool,
    pub(super) older: Older,
    pub(super) first_attempts: u32,

    pub(super) arrived: Vec<Arc<Row>>,
    pub(super) arrived_restored: bool,
    pub(super) waiters: HashMap<ClientToken, Waiter>,

    pub(super) leaving: Option<Leaving>,
    pub(super) ended: Option<EndReason>,
    pub(super) closing: Option<Instant>,
    pub(super) closed: bool,
}

/// Whether sends may leave.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lane {
    /// The link lets them.
    pub(super) released: bool,
    /// The outbox was told that they may.
    pub(super) open: bool,
}

pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) handle: Arc<dyn ConnectionHandle>,
}

/// This side leaves.
pub(super) struct Leaving {
    pub(super) end: bool,
    pub(super) deadline: Instant,
    /// Still to be submitted, once the connection stands.
    pub(super) waiting: Option<oneshot::Sender<Result<()>>>,
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
            lane: Lane::default(),
            receipts: Receipts::new(settings.receipts.clone()),
            receipts_heard: ReceiptsHeard::default(),
            own_typing: OwnTyping::new(settings.typing.clone()),
            others_typing: OthersTyping::new(expires),
            poll: None,
            roster: Roster::default(),
            tellers: HashMap::new(),
            transcript,
            fanout: Fanout::default(),
            held: HeldEchoes::default(),
            awaited: AwaitedEchoes::default(),
            settling: None,
            departures: Departures::default(),
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
        self.departures = sends
            .iter()
            .filter(|send| matches!(send.stage, StoredStage::Unknown | StoredStage::FailedUnknown))
            .map(|send| (send.token.clone(), send.after.clone()))
            .collect();
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
        match (&result, &ticket) {
            // The poll machine tells of itself, but for errors of their own.
            (Err(error), Ticket::Poll { .. }) if PollClass::of_error(error) != PollClass::Other => {}
            // A send's failure is told once it is final.
            (
                Err(_),
                Ticket::Send { .. } | Ticket::Settle { .. } | Ticket::Backfill { .. } | Ticket::Leave { .. },
            ) => {}
            (Err(error), _) => self.publish(ChatEvent::Error(error.clone())),
            (Ok(_), _) => self.served(now),
        }
        self.take_answer(now, ticket, result);
    }

    pub(super) fn take_answer(&mut self, now: Instant, ticket: Ticket, result: Result<Ack>) {
        match ticket {
            Ticket::Send { token, attempt } => self.on_send_answer(now, token, attempt, result),
            Ticket::Settle { token, generation } => {
                self.on_settle_answer(now, token, generation, page_of(result));
            }
            Ticket::Typing => {}
            Ticket::Receipt(signal) => self.on_receipt_answer(now, &signal, result.is_err()),
            Ticket::Backfill { generation } => self.on_backfill_answer(now, generation, page_of(result)),
            Ticket::Poll { generation } => self.on_poll_answer(now, generation, result),
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

    // ---- telling ----------------------------------------------------------------------------------------------------

    pub(super) fn publish(&mut self, event: ChatEvent) {
        // The rows that an event speaks of are in the reader's copy before the event comes.
        self.flush_diffs();
        self.fanout.publish(&[event], None);
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
            let events: Vec<_> =
                diffs.into_iter().map(|diff| ChatEvent::Transcript(Arc::new(diff))).collect();
            self.fanout.publish(&events, Some(view));
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
                outbox: self.stored_sends(),
                filters: self.filters.clone(),
            },
        ))
    }

    // ---- reading ----------------------------------------------------------------------------------------------------

    /// A new reader, whose first event is the transcript as it stands.
    pub(super) fn subscribe(&mut self, view: View) -> Arc<Ring> {
        let snapshot = self.snapshot(view);
        self.transcript.want_diffs(view, true);
        let mut first = Vec::new();
        if !snapshot.is_empty() {
            first.push(ChatEvent::Transcript(Arc::new(Diff::Reset(snapshot))));
        }
        if self.fanout.is_fresh() {
            first.extend(self.beginning());
        }
        self.fanout.subscribe(view, self.settings.reader_capacity, first)
    }

    /// How the session began, for its first reader: nobody can read before the connection stands.
    fn beginning(&self) -> Vec<ChatEvent> {
        let Some(info) = self.info.as_ref().filter(|_| self.live.is_some() && self.ended.is_none()) else {
            return Vec::new();
        };
        let mut told = vec![
            ChatEvent::Session(Arc::new(self.begun(info))),
            ChatEvent::Connection(Arc::new(ConnectionEvent::Established(info.clone()))),
        ];
        if self.ready {
            told.push(ChatEvent::Session(Arc::new(SessionEvent::Ready)));
        }
        // The first poll of a restored chat may be answered before anybody can read.
        told.extend(self.poll.iter().flat_map(|poll| poll.standing()).map(ChatEvent::Poll));
        told
    }

    /// Whether it was started, joined or restored.
    pub(super) fn begun(&self, info: &SessionInfo) -> SessionEvent {
        let info = info.clone();
        match self.origination {
            Origination::Start => SessionEvent::Started(info),
            Origination::Join => SessionEvent::Restored { info, asynchronous: false },
            Origination::Restore { asynchronous } => SessionEvent::Restored { info, asynchronous },
        }
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

pub(super) fn page_of(result: Result<Ack>) -> Result<HistoryPage> {
    match result? {
        Ack::History(page) => Ok(page),
        _ => {
            Err(Error::new(ErrorKind::Internal, "the adapter answered a history request with something else"))
        }
    }
}
