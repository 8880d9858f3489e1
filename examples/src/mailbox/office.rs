//! Owns the vendor: mailboxes with numbered letters, and a network that can be cut.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use chat_transport::{
    ClientToken, Content, EndReason, Error, ErrorKind, Participant, Result, Role, StartRequest, SystemEvent,
    Text, Timestamp, VirtualClock, WallClock,
};
use tokio::sync::watch;

/// The vendor. Cheap to clone; all clones are the same office.
#[derive(Clone)]
pub struct PostOffice(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    clock: Arc<dyn WallClock>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) mailboxes: Vec<Mailbox>,
    /// No new line comes through.
    pub(super) down: bool,
    /// How often all lines were cut: a line that is older than the last cut is dead.
    pub(super) cuts: u64,
    /// Calls that came over lines.
    pub(super) calls: u64,
}

pub(super) struct Mailbox {
    /// What it takes to open it.
    pub(super) key: ClientToken,
    pub(super) start: Option<ClientToken>,
    pub(super) customer: Participant,
    pub(super) present: Vec<Participant>,
    pub(super) letters: Vec<Letter>,
    pub(super) closed: Option<EndReason>,
    /// Lines open now.
    pub(super) lines: usize,
    /// Lines ever opened.
    pub(super) opened: u64,
}

/// One stored letter.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its number in the mailbox, from 1.
    pub number: u64,
    /// When it came in.
    pub time: Timestamp,
    /// From whom.
    pub from: Participant,
    /// Whether the customer sent it.
    pub own: bool,
    /// What it holds.
    pub content: Content,
    /// The customer's token: a letter that comes again with it is the same one.
    pub token: Option<ClientToken>,
}

impl fmt::Debug for PostOffice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostOffice").finish_non_exhaustive()
    }
}

impl Default for PostOffice {
    fn default() -> Self {
        Self::new()
    }
}

/// # As the vendor
impl PostOffice {
    /// An office without mailboxes.
    pub fn new() -> Self {
        let opening = Timestamp::from_millis(1_777_885_200_000).expect("a date in 2026");
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            clock: VirtualClock::starting_at(opening),
        }))
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something that lines may have to tell.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let result = self.with(act);
        self.0.changed.send_replace(());
        result
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Rents a mailbox. A start that is repeated under its key is the same start.
    pub(super) fn rent(&self, request: &StartRequest) -> usize {
        let name = request.display_name().unwrap_or_else(|| "Customer".into());
        self.change(|state| {
            let known = |mailbox: &Mailbox| request.key.is_some() && mailbox.start == request.key;
            if let Some(known) = state.mailboxes.iter().position(known) {
                return known;
            }
            let customer = Participant::new(Role::Customer)
                .with_id(format!("customer-{}", state.mailboxes.len()))
                .with_name(name);
            state.mailboxes.push(Mailbox {
                key: ClientToken::random(),
                start: request.key.clone(),
                customer: customer.clone(),
                present: Vec::new(),
                letters: Vec::new(),
                closed: None,
                lines: 0,
                opened: 0,
            });
            let at = state.mailboxes.len() - 1;
            self.enter(&mut state.mailboxes[at], customer);
            if let Some(text) = request.initial_message.clone() {
                let _ = self.drop_in(&mut state.mailboxes[at], None, Content::Text(text), None);
            }
            at
        })
    }

    /// Who it is, by the name of now. Comes in first if need be.
    fn present_as(&self, mailbox: &mut Mailbox, who: Participant) -> Participant {
        if let Some(present) = mailbox.present.iter().find(|present| present.id == who.id) {
            return present.clone();
        }
        self.enter(mailbox, who.clone());
        who
    }

    fn enter(&self, mailbox: &mut Mailbox, who: Participant) {
        mailbox.present.push(who.clone());
        self.store(mailbox, who, Content::Event(SystemEvent::Joined), None);
    }

    fn store(
        &self,
        mailbox: &mut Mailbox,
        from: Participant,
        content: Content,
        token: Option<ClientToken>,
    ) -> Letter {
        let letter = Letter {
            number: mailbox.letters.len() as u64 + 1,
            time: self.0.clock.now(),
            own: from.id == mailbox.customer.id,
            from,
            content,
            token,
        };
        mailbox.letters.push(letter.clone());
        letter
    }

    /// Drops a letter in, from the customer unless told otherwise.
    pub(super) fn drop_in(
        &self,
        mailbox: &mut Mailbox,
        from: Option<Participant>,
        content: Content,
        token: Option<ClientToken>,
    ) -> Result<Letter> {
        if let Some(known) = mailbox.letters.iter().find(|letter| token.is_some() && letter.token == token) {
            return Ok(known.clone());
        }
        if mailbox.closed.is_some() {
            return Err(Error::new(ErrorKind::SessionEnded, "the mailbox is closed"));
        }
        let from = from.unwrap_or_else(|| mailbox.customer.clone());
        let from = self.present_as(mailbox, from);
        Ok(self.store(mailbox, from, content, token))
    }
}

/// # As those behind the counter
impl PostOffice {
    /// Who serves the mailbox with this number, counted from 0 in order of renting, under this name.
    pub fn window(&self, mailbox: usize, role: Role, name: &str) -> Window {
        let who = Participant::new(role).with_id(name).with_name(name);
        Window { office: self.clone(), mailbox, who }
    }

    /// How many mailboxes were ever rented.
    pub fn mailboxes(&self) -> usize {
        self.with(|state| state.mailboxes.len())
    }

    /// Lines open now, to all mailboxes.
    pub fn lines(&self) -> usize {
        self.with(|state| state.mailboxes.iter().map(|mailbox| mailbox.lines).sum())
    }

    /// Lines ever opened to a mailbox.
    pub fn opened(&self, mailbox: usize) -> u64 {
        self.with(|state| state.mailboxes[mailbox].opened)
    }

    /// Calls that came over lines, of all kinds.
    pub fn calls(&self) -> u64 {
        self.with(|state| state.calls)
    }

    /// The letters of a mailbox, in order.
    pub fn letters(&self, mailbox: usize) -> Vec<Letter> {
        self.with(|state| state.mailboxes[mailbox].letters.clone())
    }

    /// Who is there.
    pub fn present(&self, mailbox: usize) -> Vec<Participant> {
        self.with(|state| state.mailboxes[mailbox].present.clone())
    }

    /// Set once a mailbox is closed.
    pub fn closed(&self, mailbox: usize) -> Option<EndReason> {
        self.with(|state| state.mailboxes[mailbox].closed.clone())
    }

    /// Cuts all lines. Unless `once`, no new one comes through until [`heal`](Self::heal).
    pub fn cut(&self, once: bool) {
        self.change(|state| {
            state.cuts += 1;
            state.down = !once;
        });
    }

    /// Lines come through again.
    pub fn heal(&self) {
        self.change(|state| state.down = false);
    }
}

/// Somebody who serves a mailbox.
#[derive(Debug, Clone)]
pub struct Window {
    office: PostOffice,
    mailbox: usize,
    who: Participant,
}

impl Window {
    /// Joins, if not there yet.
    pub fn join(&self) {
        self.office.change(|state| {
            self.office.present_as(&mut state.mailboxes[self.mailbox], self.who.clone());
        });
    }

    /// Has another name from now on.
    pub fn rename(&self, name: &str) {
        self.office.change(|state| {
            let mailbox = &mut state.mailboxes[self.mailbox];
            let renamed = self.office.present_as(mailbox, self.who.clone()).with_name(name);
            mailbox.present.retain(|who| who.id != renamed.id);
            mailbox.present.push(renamed.clone());
            self.office.store(mailbox, renamed, Content::Event(SystemEvent::NameUpdated), None);
        });
    }

    /// Hands the mailbox to somebody else, and leaves.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub fn hand_to(&self, other: &Self) -> Result<Letter> {
        self.post(Content::Event(SystemEvent::TransferSucceeded))?;
        other.join();
        self.leave()
    }

    /// Posts anything; joins first if need be.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub fn post(&self, content: Content) -> Result<Letter> {
        self.office.change(|state| {
            let mailbox = &mut state.mailboxes[self.mailbox];
            self.office.drop_in(mailbox, Some(self.who.clone()), content, None)
        })
    }

    /// Says a text.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub fn say(&self, text: &str) -> Result<Letter> {
        self.post(Content::Text(Text::plain(text)))
    }

    /// Leaves.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub fn leave(&self) -> Result<Letter> {
        let letter = self.post(Content::Event(SystemEvent::Left))?;
        self.office.change(|state| {
            state.mailboxes[self.mailbox].present.retain(|who| who.id != self.who.id);
        });
        Ok(letter)
    }

    /// Closes the mailbox.
    pub fn close(&self) {
        self.office.change(|state| {
            state.mailboxes[self.mailbox].closed.get_or_insert(EndReason::EndedByService);
        });
    }
}
