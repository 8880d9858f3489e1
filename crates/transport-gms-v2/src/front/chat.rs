//! Owns one chat: its transcript as the service tells it, who is in it, and the session behind.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chat_core::{
    Capability, ChatEvent, ChatSession, ClientToken, Content, Diff, ErrorKind, Events, LinkState, MessageId,
    OutgoingBody, Participant, PendingSend, PollEvent, Role, RosterEvent, Row, RowId, Secret, SystemEvent,
    TypingEvent, session::ConnectionEvent,
};
use futures::FutureExt;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use super::{
    Shared,
    config::{FrontConfig, Inactivity},
    convert::{Draft, Happening, happening, other, said},
    faults::Failover,
    files::Shelf,
    log::Log,
    parties::{CLIENT, Parties, Seat},
};
use crate::wire::{EventType, Identity, Position, Reply, TranscriptEvent};

/// How long the backend may take to end a chat that is to end.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Own notices whose echo is awaited; beyond this the oldest is not.
const EXPECTED_MOST: usize = 64;

#[derive(Debug)]
pub(super) struct Chat {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) secure_key: Secret,
    pub(super) service: String,
    /// The client may be away for as long as it likes.
    asynchronous: bool,
    pub(super) session: ChatSession,
    config: Arc<FrontConfig>,
    state: Mutex<State>,
    /// Told after each change of the transcript.
    news: watch::Sender<()>,
}

/// What a chat begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) secure_key: Secret,
    pub(super) service: String,
    pub(super) asynchronous: bool,
    pub(super) session: ChatSession,
    pub(super) nickname: Arc<str>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) log: Log,
    pub(super) parties: Parties,
    pub(super) files: Shelf,
    config: Arc<FrontConfig>,
    /// What of each row was told.
    rows: HashMap<RowId, Content>,
    /// What comes in pieces, until it is whole.
    held: HashMap<RowId, Arc<Row>>,
    sends: HashMap<ClientToken, Sending>,
    /// What others said, by index: for receipts.
    messages: Vec<(u64, MessageId)>,
    expected: VecDeque<Expected>,
    tickets: u64,
    alias: u32,
    /// The backend is polled, and does not answer well.
    unpolled: bool,
    /// Whoever keeps the chat alive without asking: attached CometD sessions.
    attached: usize,
    asked: Instant,
    refreshes: Refreshes,
    happened: Instant,
    alerted: Option<Instant>,
    pub(super) ended: bool,
    system: Participant,
}

/// A message or file of the client's on its way to the backend.
#[derive(Debug, Default)]
struct Sending {
    message_type: Option<Arc<str>>,
    file: Option<Arc<str>>,
    index: Option<u64>,
}

/// Something of the client's that the backend may echo, or not.
#[derive(Debug)]
struct Expected {
    ticket: u64,
    content: Content,
    /// It stands in the transcript.
    told: bool,
}

/// Refreshes of one chat.
#[derive(Debug, Default)]
struct Refreshes {
    now: u32,
    at_once: u32,
}

/// A refresh that is under way.
#[derive(Debug)]
pub(super) struct Refreshing(Arc<Chat>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.state().refreshes.now -= 1;
    }
}

/// How a chat comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client left, or was removed.
    ClientGone,
    /// Everybody leaves, the client last (§5.2).
    Closed,
}

impl Chat {
    pub(super) fn new(beginning: Beginning, config: &Arc<FrontConfig>) -> Self {
        let Beginning { id, user_id, secure_key, service, asynchronous, session, nickname } = beginning;
        let now = Instant::now();
        let mut state = State {
            log: Log::default(),
            parties: Parties::new(config.bots, nickname),
            files: Shelf::default(),
            config: Arc::clone(config),
            rows: HashMap::new(),
            held: HashMap::new(),
            sends: HashMap::new(),
            messages: Vec::new(),
            expected: VecDeque::new(),
            tickets: 0,
            alias: 200 + u32::from(random_byte()),
            unpolled: false,
            attached: 0,
            asked: now,
            refreshes: Refreshes::default(),
            happened: now,
            alerted: None,
            ended: false,
            system: Participant::new(Role::System),
        };
        let time = state.utc(None);
        state.tell(Draft::new(EventType::ParticipantJoined), CLIENT, time);
        Self {
            id,
            user_id,
            secure_key,
            service,
            asynchronous,
            session,
            config: Arc::clone(config),
            state: Mutex::new(state),
            news: watch::Sender::new(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and tells those who wait for something.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let result = act(&mut self.state());
        self.news.send_replace(());
        result
    }

    /// Told after each change of the transcript.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// A request came.
    pub(super) fn touch(&self) {
        self.state().asked = Instant::now();
    }

    /// Whether a request came within this time, or somebody is attached.
    pub(super) fn is_heard(&self, within: Duration) -> bool {
        let state = self.state();
        state.attached > 0 || state.asked.elapsed() < within
    }

    /// A refresh is under way until what this gives is dropped.
    pub(super) fn refreshing(self: &Arc<Self>) -> Refreshing {
        let refreshes = &mut self.state().refreshes;
        refreshes.now += 1;
        refreshes.at_once = refreshes.at_once.max(refreshes.now);
        Refreshing(Arc::clone(self))
    }

    pub(super) fn refreshes_at_once(&self) -> u32 {
        self.state().refreshes.at_once
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().ended
    }

    pub(super) fn can(&self, capability: Capability) -> bool {
        self.session.capabilities().can(capability)
    }

    /// Who this is, as every good reply says.
    pub(super) fn identity(&self) -> Identity {
        let user_id = Some(self.user_id.clone());
        Identity { user_id, secure_key: Some(self.secure_key.clone()), ..self.names() }
    }

    /// What a failure says of it.
    pub(super) fn names(&self) -> Identity {
        Identity { chat_id: Some(self.id.clone()), alias: Some(self.alias()), ..Identity::default() }
    }

    pub(super) fn alias(&self) -> String {
        self.state().alias.to_string()
    }

    /// A good answer: what there is from `position` on.
    pub(super) fn reply(&self, position: Position) -> Reply {
        let identity = self.identity();
        let mut state = self.state();
        let events = state.log.read(position);
        Reply::success(identity, events, state.log.next(), state.ended)
    }

    /// Whether the backend cannot be reached now. One that was given up is asked for once more.
    pub(super) fn is_cut_off(&self) -> bool {
        match self.session.link_state() {
            LinkState::Live | LinkState::Backfilling => self.state().unpolled,
            LinkState::Ended => false,
            LinkState::Failed => {
                // It refuses only if the chat is over, which is told soon.
                let _ = self.session.reconnect(None);
                true
            }
            _ => true,
        }
    }

    /// Hands a message to the session. The chat's lock is held, so that nothing of it is told before it is known here.
    pub(super) fn send(
        &self,
        body: OutgoingBody,
        message_type: Option<Arc<str>>,
        file: Option<Arc<str>>,
    ) -> chat_core::Result<PendingSend> {
        let mut state = self.state();
        let pending = self.session.send_with(body, Value::Null)?;
        state.sends.insert(pending.token().clone(), Sending { message_type, file, index: None });
        Ok(pending)
    }

    /// Resolves once the message stands in the transcript.
    pub(super) async fn told(&self, token: &ClientToken) {
        let mut news = self.news();
        while self.state().sends.get(token).is_some_and(|sending| sending.index.is_none()) {
            // The sender lives in `self`: an error cannot be.
            let _ = news.changed().await;
        }
    }

    /// The client was handed these: the backend is told, where it wants to know.
    pub(super) fn delivered(&self, events: &[TranscriptEvent]) {
        let Some(newest) = events.iter().filter_map(|event| event.index).max() else { return };
        if !self.can(Capability::DeliveredReceipts) {
            return;
        }
        let message = self.state().message_at(newest);
        // A chat that is over wants to know nothing.
        let _ = message.map(|message| self.session.mark_delivered(&message));
    }

    /// The same chat on another chat server (§8.1).
    pub(super) fn fail_over(&self, how: &Failover) {
        self.change(|state| {
            state.alias += 1;
            if how.mask {
                state.log.mask();
            }
            if how.rejoin {
                let time = state.utc(None);
                for seat in state.parties.others() {
                    state.depart(seat, time);
                    state.arrive(seat, time);
                }
            }
        });
    }

    pub(super) fn change_alias(&self) {
        self.state().alias += 1;
    }

    /// A CometD session is attached, or no longer.
    pub(super) fn attach(&self, on: bool) {
        let mut state = self.state();
        state.attached = if on { state.attached + 1 } else { state.attached.saturating_sub(1) };
        state.asked = Instant::now();
    }

    /// The index that the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.state().log.next()
    }

    pub(super) fn finish(&self, end: End) {
        self.change(|state| state.finish(end));
    }

    /// Takes in what the session tells. Says whether the chat is over.
    fn take(&self, events: Vec<ChatEvent>) -> bool {
        let mut roster = false;
        self.change(|state| {
            for event in events {
                match event {
                    ChatEvent::Participant(event) => {
                        roster = true;
                        if let RosterEvent::Renamed(member) = &event.change {
                            state.renamed(&member.who);
                        }
                    }
                    other => state.take(other),
                }
            }
            if roster && !state.ended {
                let own = self.session.info().and_then(|info| info.participant);
                for member in self.session.participants() {
                    if member.who.id.is_none() && member.who.role == Role::Customer || member.who.id == own {
                        continue;
                    }
                    state.reconcile(&member);
                }
            }
            state.ended
        })
    }

    /// When something is due that nobody asks for.
    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let flex = (!self.asynchronous).then(|| state.flex());
        [flex, state.idle()].into_iter().flatten().min()
    }

    /// Something may be due. Says whether the backend's chat is to end.
    fn tick(&self) -> bool {
        self.change(|state| {
            let now = Instant::now();
            if !self.asynchronous && state.flex() <= now {
                debug!(chat = self.id, "the client is gone");
                state.finish(End::ClientGone);
                return true;
            }
            state.idle_tick(now)
        })
    }

    /// Ends the chat at the backend, for as long as it takes within reason.
    pub(super) async fn give_up(&self) {
        if let Ok(Err(error)) = timeout(END_WITHIN, self.session.end()).await {
            debug!(%error, "the backend did not end the chat");
        }
    }
}

fn random_byte() -> u8 {
    uuid::Uuid::new_v4().as_bytes()[0]
}

/// Runs until the chat is over, then keeps it for those who have not heard of its end.
pub(super) async fn drive(front: Arc<Shared>, chat: Arc<Chat>, mut events: Events) {
    loop {
        let due = async {
            match chat.deadline() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else {
                    chat.finish(End::Closed);
                    break;
                };
                let mut batch = vec![event];
                while let Some(Some(event)) = events.next().now_or_never() {
                    batch.push(event);
                }
                if chat.take(batch) {
                    break;
                }
            }
            () = due => if chat.tick() {
                chat.give_up().await;
                break;
            }
        }
    }
    drop(events);
    if chat.session.ended().is_none() {
        chat.give_up().await;
    }
    tokio::time::sleep(chat.config.ended_kept).await;
    front.forget(&chat);
}

impl State {
    /// The instant in whole seconds, as the service writes it (§5.1).
    pub(super) fn utc(&self, row: Option<&Row>) -> i64 {
        let at = row.and_then(Row::time).map_or_else(|| self.config.clock.now(), |time| time.at);
        at.as_millis().div_euclid(1000) * 1000
    }

    pub(super) fn tell(&mut self, draft: Draft, seat: Seat, time: i64) -> u64 {
        let from = self.parties.party(seat);
        self.log.push(draft.by(from, time))
    }

    /// Whoever does something is here.
    fn arrive(&mut self, seat: Seat, time: i64) {
        if self.parties.enter(seat) {
            let mut event = Draft::new(EventType::ParticipantJoined).by(self.parties.party(seat), time);
            event.event_attributes = self.parties.attributes(seat);
            self.log.push(event);
            self.active();
        }
    }

    fn depart(&mut self, seat: Seat, time: i64) {
        if self.parties.is_here(seat) {
            self.tell(Draft::new(EventType::ParticipantLeft), seat, time);
            self.parties.leave(seat);
            self.active();
        }
    }

    /// The newest message of somebody else, up to this index.
    pub(super) fn message_at(&self, index: u64) -> Option<MessageId> {
        let older = self.messages.partition_point(|(at, _)| *at <= index);
        self.messages.get(older.checked_sub(1)?).map(|(_, id)| id.clone())
    }

    fn active(&mut self) {
        self.happened = Instant::now();
        self.alerted = None;
    }

    fn take(&mut self, event: ChatEvent) {
        if self.ended {
            return;
        }
        match event {
            ChatEvent::Transcript(diff) => match &*diff {
                Diff::Insert { row, .. } | Diff::Set { row, .. } => self.take_row(row),
                Diff::Reset(snapshot) => snapshot.iter().for_each(|row| self.take_row(row)),
                _ => {}
            },
            ChatEvent::Missed { snapshot, .. } => snapshot.iter().for_each(|row| self.take_row(row)),
            ChatEvent::Typing(typing) => self.take_typing(&typing),
            ChatEvent::Other(raw) => {
                let system = self.system.clone();
                let seat = self.parties.seat(&system);
                let time = self.utc(None);
                self.arrive(seat, time);
                self.tell(other(&raw), seat, time);
            }
            ChatEvent::Connection(change) => {
                if let ConnectionEvent::Broken(error) = &*change
                    && is_final(error.kind())
                {
                    self.finish(End::Closed);
                }
            }
            ChatEvent::Poll(event) => match event {
                PollEvent::ConnectionPending | PollEvent::Disconnected | PollEvent::RestoredOffline => {
                    self.unpolled = true;
                }
                PollEvent::Reconnected | PollEvent::ServerBackOnline | PollEvent::ConnectionRestored => {
                    self.unpolled = false;
                }
                _ => {}
            },
            ChatEvent::Ended(_) => self.finish(End::Closed),
            _ => {}
        }
    }

    fn take_row(&mut self, row: &Arc<Row>) {
        let Some(content) = row.content().filter(|_| row.gap().is_none()) else { return };
        let own = row.is_own();
        let pending = row.send_state().is_some_and(|state| !state.sent) && row.place().is_none();
        if pending {
            return;
        }
        let time = self.utc(Some(row));
        // Pieces have no version yet; what this session sends needs none.
        if row.versions().next().is_none() && row.send_state().is_none() {
            return self.hold(row, time);
        }
        self.held.remove(&row.handle());
        if let Content::Files(files) = content {
            return self.take_files(row, files, time);
        }
        let known = self.rows.insert(row.handle(), content.clone());
        let is_event = matches!(content, Content::Event(_));
        let again = known.as_ref().is_some_and(|known| own || is_event || known == content);
        if again || own && self.is_echo(content) {
            return;
        }
        let seat = self.seat_of(row);
        if let Content::Event(event) = content {
            return self.take_event(row, event, seat, time);
        }
        let token = row.token().filter(|token| self.sends.contains_key(token));
        let sending = token.as_ref().and_then(|token| self.sends.get(token));
        if sending.is_some_and(|sending| sending.index.is_some()) {
            return;
        }
        let message_type = sending.and_then(|sending| sending.message_type.clone());
        self.arrive(seat, time);
        let draft = said(content, row.from()).with_type(message_type);
        let index = self.tell(draft, seat, time);
        self.active();
        if !own {
            self.messages.extend(row.message_id().map(|id| (index, id)));
        }
        if let Some(sending) = token.and_then(|token| self.sends.get_mut(&token)) {
            sending.index = Some(index);
        }
    }

    fn seat_of(&mut self, row: &Row) -> Seat {
        if row.is_own() {
            return CLIENT;
        }
        let who = row.from().cloned().unwrap_or_else(|| self.system.clone());
        self.parties.seat(&who)
    }

    /// An answer in pieces: its sender types until it is whole.
    fn hold(&mut self, row: &Arc<Row>, time: i64) {
        if self.held.insert(row.handle(), Arc::clone(row)).is_none() {
            let seat = self.seat_of(row);
            self.arrive(seat, time);
            self.pass(Draft::new(EventType::TypingStarted).with_text(""), seat, time);
        }
    }

    fn take_event(&mut self, row: &Row, event: &SystemEvent, seat: Seat, time: i64) {
        match happening(event) {
            Happening::Enters => self.arrive(seat, time),
            Happening::Leaves => self.depart(seat, time),
            Happening::Renamed => row.from().into_iter().for_each(|who| self.renamed(who)),
            Happening::Over => {}
            Happening::Unseen => self.log.skip(),
            Happening::Told(draft) => {
                self.arrive(seat, time);
                self.tell(draft, seat, time);
            }
        }
    }

    fn take_files(&mut self, row: &Row, files: &[chat_core::Attachment], time: i64) {
        let own = row.is_own();
        let token = row.token();
        let reserved = token.as_ref().and_then(|token| self.sends.get(token)?.file.clone());
        let mut drafts = Vec::new();
        for file in files {
            drafts.extend(self.files.sighted(file, own, reserved.as_deref()));
        }
        let seat = self.seat_of(row);
        for draft in drafts {
            self.arrive(seat, time);
            self.tell(draft, seat, time);
            self.active();
        }
        if let Some(sending) = token.and_then(|token| self.sends.get_mut(&token)) {
            sending.index.get_or_insert(self.log.next());
        }
    }

    fn take_typing(&mut self, typing: &TypingEvent) {
        let (who, draft) = match typing {
            TypingEvent::Started { who, preview } | TypingEvent::Preview { who, preview } => {
                (who, Draft::new(EventType::TypingStarted).with_text(preview.clone().unwrap_or_default()))
            }
            TypingEvent::Stopped { who } => (who, Draft::new(EventType::TypingStopped).with_text("")),
            _ => return,
        };
        let seat = self.parties.seat(who);
        let time = self.utc(None);
        if matches!(typing, TypingEvent::Stopped { .. }) && !self.parties.is_here(seat) {
            return;
        }
        self.arrive(seat, time);
        self.pass(draft, seat, time);
    }

    fn pass(&mut self, draft: Draft, seat: Seat, time: i64) {
        let event = draft.by(self.parties.party(seat), time);
        self.log.push_passing(event, Instant::now() + self.config.typing_kept);
    }

    /// The client types, or stopped: it takes an index.
    pub(super) fn own_typing(&mut self, draft: Draft) {
        if self.config.own_typing_shown {
            let time = self.utc(None);
            self.pass(draft, CLIENT, time);
        } else {
            self.log.skip();
        }
    }

    /// Somebody came or went without an item that says so.
    fn reconcile(&mut self, member: &chat_core::Member) {
        let seat = self.parties.seat(&member.who);
        let time = self.utc(None);
        if member.connected() {
            self.arrive(seat, time);
        } else {
            self.depart(seat, time);
        }
    }

    /// Somebody else has another name.
    fn renamed(&mut self, who: &Participant) {
        let seat = self.parties.seat(who);
        let Some(name) = &who.name else { return };
        if self.parties.is_here(seat) && self.parties.rename(seat, name) {
            let time = self.utc(None);
            self.tell(Draft::new(EventType::NicknameUpdated), seat, time);
        }
    }

    // ---- what the client says beside messages ----

    /// The client is about to say this; the backend may echo it.
    pub(super) fn expect(&mut self, content: Content) -> u64 {
        self.tickets += 1;
        if self.expected.len() >= EXPECTED_MOST {
            self.expected.pop_front();
        }
        self.expected.push_back(Expected { ticket: self.tickets, content, told: false });
        self.tickets
    }

    /// The backend took it, or not: it is told now, unless an echo was faster.
    pub(super) fn expected(&mut self, ticket: u64, taken: bool) {
        let Some(at) = self.expected.iter().position(|expected| expected.ticket == ticket) else { return };
        let Some(expected) = self.expected.get_mut(at) else { return };
        if expected.told || !taken {
            self.expected.remove(at);
            return;
        }
        expected.told = true;
        let content = expected.content.clone();
        self.say(&content);
    }

    fn say(&mut self, content: &Content) {
        let time = self.utc(None);
        let who = Participant::new(Role::Customer);
        let draft = match content {
            Content::Event(SystemEvent::NameUpdated) => Draft::new(EventType::NicknameUpdated),
            content => said(content, Some(&who)),
        };
        self.tell(draft, CLIENT, time);
        self.active();
    }

    /// Whether an own row is the echo of what was told here already. One that comes first is told now.
    fn is_echo(&mut self, content: &Content) -> bool {
        let Some(at) = self.expected.iter().position(|expected| expected.content == *content) else {
            return false;
        };
        if let Some(expected) = self.expected.get_mut(at) {
            if expected.told {
                self.expected.remove(at);
                return true;
            }
            expected.told = true;
        }
        self.say(content);
        true
    }

    // ---- the end ----

    fn flex(&self) -> Instant {
        let since = if self.attached > 0 { Instant::now() } else { self.asked };
        since + self.config.flex_disconnect
    }

    fn idle(&self) -> Option<Instant> {
        let Inactivity { alert_after, close_after, .. } = self.config.inactivity.as_ref()?;
        Some(match self.alerted {
            None => self.happened + *alert_after,
            Some(at) => at + *close_after,
        })
    }

    /// Warns, or closes; says whether it closes.
    fn idle_tick(&mut self, now: Instant) -> bool {
        let Some(rules) = self.config.inactivity.clone() else { return false };
        if self.idle().is_none_or(|due| due > now) {
            return false;
        }
        let system = self.system.clone();
        let seat = self.parties.seat(&system);
        let time = self.utc(None);
        let closes = self.alerted.is_some();
        if !self.parties.is_here(seat) {
            self.parties.enter(seat);
        }
        let text = if closes { rules.close_text } else { rules.alert_text };
        self.tell(Draft::new(EventType::Notice).with_text(text), seat, time);
        self.alerted = Some(now);
        if closes {
            self.finish(End::ClientGone);
        }
        closes
    }

    /// The chat is over: who is here leaves, and nothing follows.
    fn finish(&mut self, end: End) {
        if self.ended {
            return;
        }
        let time = self.utc(None);
        let mut unfinished: Vec<_> = std::mem::take(&mut self.held).into_values().collect();
        unfinished.sort_by_key(|row| row.handle());
        for row in unfinished {
            let seat = self.seat_of(&row);
            if let Some(content) = row.content() {
                self.tell(said(content, row.from()), seat, time);
            }
        }
        if end == End::Closed {
            for seat in self.parties.others() {
                self.depart(seat, time);
            }
        }
        self.depart(CLIENT, time);
        self.ended = true;
    }
}

const fn is_final(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AccessDenied
            | ErrorKind::Unauthorized
            | ErrorKind::SessionEnded
            | ErrorKind::SessionLost
            | ErrorKind::RestoreTimeout
            | ErrorKind::NotFound
    )
}
