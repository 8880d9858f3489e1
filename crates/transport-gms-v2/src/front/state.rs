//! Owns what the client of one chat is told: rows of the session and what it does itself, as events with indexes; and when a chat
//! in which nothing happens is over.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use chat_core::{
    Attachment, ChatEvent, ClientToken, Content, Diff, ErrorKind, Member, MessageId, Participant, PollEvent,
    Role, Row, RowId, Snapshot, SystemEvent, TypingEvent, session::ConnectionEvent,
};
use tokio::time::Instant;

use super::{
    chat::Refreshes,
    config::{FrontConfig, Inactivity},
    convert::{Draft, Happening, happening, other, said},
    files::Shelf,
    log::Log,
    parties::{CLIENT, Parties, Seat},
};
use crate::wire::EventType;

/// Own notices whose echo is awaited; beyond this the oldest is not.
const EXPECTED_MOST: usize = 64;

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
    /// What the client sent and the backend has, and has not shown among what others said; and until when it may do so.
    unplaced: HashMap<RowId, (Instant, Arc<Row>)>,
    /// Until when rows wait for those before them, if some do.
    withheld: Option<Instant>,
    sends: HashMap<ClientToken, Sending>,
    /// What others said, by index: for receipts.
    messages: Vec<(u64, MessageId)>,
    expected: VecDeque<Expected>,
    tickets: u64,
    pub(super) alias: u32,
    /// The backend is polled, and does not answer well.
    pub(super) unpolled: bool,
    /// Whoever keeps the chat alive without asking: attached CometD sessions.
    pub(super) attached: usize,
    /// How often CometD sessions asked to hear of the chat.
    pub(super) listenings: u64,
    /// When the last request came.
    pub(super) asked: Instant,
    /// When the last CometD session was detached.
    pub(super) detached: Instant,
    pub(super) refreshes: Refreshes,
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
    stage: Stage,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The backend was asked.
    Asked,
    /// The backend has it, and may show until then where it belongs.
    Taken(Instant),
    /// It stands in the transcript.
    Told,
}

/// How a chat comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client left, or was removed.
    ClientGone,
    /// Everybody leaves, the client last (§5.2).
    Closed,
}

fn random_byte() -> u8 {
    uuid::Uuid::new_v4().as_bytes()[0]
}

impl State {
    /// A chat begins with its client in it.
    pub(super) fn new(config: Arc<FrontConfig>, client: Arc<str>) -> Self {
        let now = Instant::now();
        let mut state = Self {
            log: Log::default(),
            parties: Parties::new(config.bots, client),
            files: Shelf::default(),
            config,
            rows: HashMap::new(),
            held: HashMap::new(),
            unplaced: HashMap::new(),
            withheld: None,
            sends: HashMap::new(),
            messages: Vec::new(),
            expected: VecDeque::new(),
            tickets: 0,
            alias: 200 + u32::from(random_byte()),
            unpolled: false,
            attached: 0,
            listenings: 0,
            asked: now,
            detached: now,
            refreshes: Refreshes::default(),
            happened: now,
            alerted: None,
            ended: false,
            system: Participant::new(Role::System),
        };
        let time = state.utc(None);
        state.tell(Draft::new(EventType::ParticipantJoined), CLIENT, time);
        state
    }

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
    pub(super) fn arrive(&mut self, seat: Seat, time: i64) {
        if self.parties.enter(seat) {
            let mut event = Draft::new(EventType::ParticipantJoined).by(self.parties.party(seat), time);
            event.event_attributes = self.parties.attributes(seat);
            self.log.push(event);
            self.active();
        }
    }

    pub(super) fn depart(&mut self, seat: Seat, time: i64) {
        if self.parties.is_here(seat) {
            self.tell(Draft::new(EventType::ParticipantLeft), seat, time);
            self.parties.leave(seat);
            self.active();
        }
    }

    /// A message or file of the client's is on its way.
    pub(super) fn sending(
        &mut self,
        token: &ClientToken,
        message_type: Option<Arc<str>>,
        file: Option<Arc<str>>,
    ) {
        self.sends.insert(token.clone(), Sending { message_type, file, index: None });
    }

    /// Nothing of it stands in the transcript, and nothing will: what was remembered of it is not needed.
    pub(super) fn not_sent(&mut self, token: &ClientToken) {
        if self.is_untold(token) {
            self.sends.remove(token);
        }
    }

    /// Whether it does not stand in the transcript yet.
    pub(super) fn is_untold(&self, token: &ClientToken) -> bool {
        self.sends.get(token).is_some_and(|sending| sending.index.is_none())
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

    /// `filling` while the session fetches what was said before: then rows wait.
    pub(super) fn take(&mut self, event: ChatEvent, filling: bool) {
        if self.ended {
            return;
        }
        match event {
            ChatEvent::Transcript(_) | ChatEvent::Missed { .. } if filling => {
                self.withheld.get_or_insert(Instant::now() + self.config.order_within);
            }
            ChatEvent::Transcript(diff) => match &*diff {
                Diff::Insert { row, .. } | Diff::Set { row, .. } => self.take_row(row),
                Diff::Reset(snapshot) => self.take_rows(snapshot),
                _ => {}
            },
            ChatEvent::Missed { snapshot, .. } => self.take_rows(&snapshot),
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

    /// Takes all rows, in order. None waits any longer for those before it.
    pub(super) fn take_rows(&mut self, snapshot: &Snapshot) {
        self.withheld = None;
        snapshot.iter().for_each(|row| self.take_row(row));
    }

    /// Until when rows wait for those before them, if some do.
    pub(super) const fn withheld_until(&self) -> Option<Instant> {
        self.withheld
    }

    fn take_row(&mut self, row: &Arc<Row>) {
        let pending = row.send_state().is_some_and(|state| !state.sent) && row.place().is_none();
        if pending || row.gap().is_some() {
            return;
        }
        let id = row.handle();
        let waited = self.unplaced.remove(&id);
        // Its answer may have overtaken what was stored before.
        let awaits_echo = row.send_state().is_some() && !row.is_heard() && !self.rows.contains_key(&id);
        if awaits_echo {
            let until = waited.map_or_else(|| Instant::now() + self.config.order_within, |(until, _)| until);
            self.unplaced.insert(id, (until, Arc::clone(row)));
        } else {
            self.tell_row(row);
        }
    }

    /// When something no longer waits for what may be before it.
    pub(super) fn order_due(&self) -> Option<Instant> {
        let unplaced = self.unplaced.values().map(|(until, _)| *until);
        let taken = self.expected.iter().filter_map(Expected::due);
        unplaced.chain(taken).chain(self.withheld).min()
    }

    /// What has waited long enough for its place is told. Rows that wait for others are not: they are taken all at once.
    pub(super) fn order_tick(&mut self, now: Instant) {
        let mut late: Vec<_> =
            self.unplaced.extract_if(|_, (until, _)| *until <= now).map(|(_, one)| one).collect();
        late.sort_by_key(|(until, row)| (*until, row.handle()));
        late.iter().for_each(|(_, row)| self.tell_row(row));
        let mut said = Vec::new();
        for expected in &mut self.expected {
            if expected.due().is_some_and(|due| due <= now) {
                expected.stage = Stage::Told;
                said.push(expected.content.clone());
            }
        }
        said.iter().for_each(|content| self.say(content));
    }

    fn tell_row(&mut self, row: &Arc<Row>) {
        let Some(content) = row.content() else { return };
        let own = row.is_own();
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
        if is_activity(content) {
            self.active();
        }
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

    fn take_files(&mut self, row: &Row, files: &[Attachment], time: i64) {
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
            let index = self.tell(draft, seat, time);
            self.active();
            if !own {
                self.messages.extend(row.message_id().map(|id| (index, id)));
            }
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
    pub(super) fn reconcile(&mut self, member: &Member) {
        let seat = self.parties.seat(&member.who);
        let time = self.utc(None);
        if member.connected() {
            self.arrive(seat, time);
        } else {
            self.depart(seat, time);
        }
    }

    /// Somebody else has another name.
    pub(super) fn renamed(&mut self, who: &Participant) {
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
        if self.expected.len() >= EXPECTED_MOST
            && let Some(oldest) = self.expected.pop_front()
            && oldest.due().is_some()
        {
            self.say(&oldest.content);
        }
        self.expected.push_back(Expected { ticket: self.tickets, content, stage: Stage::Asked });
        self.tickets
    }

    /// The backend took it, or not. Unless an echo was faster, it is told with its echo, or when none has come for long.
    pub(super) fn expected(&mut self, ticket: u64, taken: bool) {
        let Some(at) = self.expected.iter().position(|expected| expected.ticket == ticket) else { return };
        let Some(expected) = self.expected.get_mut(at) else { return };
        if expected.stage == Stage::Told || !taken {
            self.expected.remove(at);
            return;
        }
        expected.stage = Stage::Taken(Instant::now() + self.config.order_within);
    }

    /// Whether the backend took it, and it does not stand in the transcript yet.
    pub(super) fn is_unsaid(&self, ticket: u64) -> bool {
        self.expected.iter().any(|expected| expected.ticket == ticket && expected.due().is_some())
    }

    fn say(&mut self, content: &Content) {
        let time = self.utc(None);
        let who = Participant::new(Role::Customer);
        let draft = match content {
            Content::Event(SystemEvent::NameUpdated) => Draft::new(EventType::NicknameUpdated),
            content => said(content, Some(&who)),
        };
        self.tell(draft, CLIENT, time);
        if is_activity(content) {
            self.active();
        }
    }

    /// Whether an own row is the echo of what is said here. It is told now, unless it was before.
    fn is_echo(&mut self, content: &Content) -> bool {
        let Some(at) = self.expected.iter().position(|expected| expected.content == *content) else {
            return false;
        };
        let Some(expected) = self.expected.get_mut(at) else { return false };
        let stage = std::mem::replace(&mut expected.stage, Stage::Told);
        if stage != Stage::Asked {
            self.expected.remove(at);
        }
        if stage != Stage::Told {
            self.say(content);
        }
        true
    }

    // ---- the end ----

    pub(super) fn flex(&self) -> Instant {
        let since = if self.attached > 0 { Instant::now() } else { self.asked.max(self.detached) };
        since + self.config.flex_disconnect
    }

    pub(super) fn idle(&self) -> Option<Instant> {
        let Inactivity { alert_after, close_after, .. } = self.config.inactivity.as_ref()?;
        Some(match self.alerted {
            None => self.happened + *alert_after,
            Some(at) => at + *close_after,
        })
    }

    /// Warns, or closes; says whether it closes.
    pub(super) fn idle_tick(&mut self, now: Instant) -> bool {
        let Some(rules) = self.config.inactivity.clone() else { return false };
        if self.idle().is_none_or(|due| due > now) {
            return false;
        }
        let system = self.system.clone();
        let seat = self.parties.seat(&system);
        let time = self.utc(None);
        let closes = self.alerted.is_some();
        self.parties.enter_unseen(seat);
        let text = if closes { rules.close_text } else { rules.alert_text };
        self.tell(Draft::new(EventType::Notice).with_text(text), seat, time);
        self.alerted = Some(now);
        if closes {
            self.finish(End::ClientGone);
        }
        closes
    }

    /// The chat is over: who is here leaves, and nothing follows.
    pub(super) fn finish(&mut self, end: End) {
        if self.ended {
            return;
        }
        let time = self.utc(None);
        // Nothing comes before it any more.
        self.order_tick(Instant::now() + self.config.order_within);
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

impl Expected {
    /// When it is told without an echo, if that is all it waits for.
    const fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Taken(until) => Some(until),
            Stage::Asked | Stage::Told => None,
        }
    }
}

/// Whether something happens in a chat in which this is said: notices and names do not count (§6).
const fn is_activity(content: &Content) -> bool {
    !matches!(content, Content::Notice(_) | Content::Event(_))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_what_was_not_sent_nothing_is_kept() {
        let mut state = State::new(Arc::new(FrontConfig::new()), "Jane".into());
        let token = ClientToken::random();
        state.sending(&token, Some("text".into()), None);
        assert!(state.is_untold(&token));
        state.not_sent(&token);
        assert!(!state.is_untold(&token) && state.sends.is_empty());
    }
}
