//! Owns the adapter: one attempt to connect, letters as sightings, commands as calls. It keeps no task and no queue of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use chat_transport::{
    Ack, Alias, Capabilities, Capability, Command, ConnectError, ConnectRequest, Connection,
    ConnectionHandle, Content, Cursor, Delivery, Direction, EndReason, Error, ErrorKind, EventStream,
    HistoryFrom, HistoryPage, HistoryRequest, Intent, Lost, MessageId, Outgoing, OutgoingBody, Place,
    Primary, Result, SavedSession, Scope, SegmentId, Sent, SessionInfo, Sighting, Transport, TransportEvent,
    TransportId,
};
use futures::stream;
use tokio::sync::watch;

use super::office::{Letter, Mailbox, PostOffice};

/// The adapter's name.
const ID: TransportId = TransportId::new("mailbox");

/// Letters of a page.
const PAGE: u32 = 50;

/// The way to a [`PostOffice`].
#[derive(Debug, Clone)]
pub struct MailboxTransport {
    office: PostOffice,
}

impl MailboxTransport {
    /// A way to this office.
    pub const fn new(office: PostOffice) -> Self {
        Self { office }
    }

    /// What opens the mailbox with this number, from any client.
    pub fn pass(&self, mailbox: usize) -> SavedSession {
        let key = self.office.with(|state| state.mailboxes[mailbox].key.clone());
        let mut pass = SavedSession::new(ID, Default::default());
        pass.data.insert("key".into(), key.as_str().into());
        pass
    }

    /// The mailbox that saved data name.
    fn find(&self, saved: &SavedSession) -> Result<usize> {
        let lost = || Error::new(ErrorKind::SessionLost, "there is no such mailbox");
        let key = saved.text("key").ok_or_else(lost)?;
        self.office
            .with(|state| state.mailboxes.iter().position(|mailbox| mailbox.key.as_str() == key))
            .ok_or_else(lost)
    }
}

#[async_trait]
impl Transport for MailboxTransport {
    fn id(&self) -> TransportId {
        ID
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new()
            .with(Capability::Start)
            .with(Capability::Join)
            .with(Capability::Restore)
            .with(Capability::Verify)
            .with(Capability::History)
            .with(Capability::IdempotentSend)
            .with(Capability::IdempotentStart)
            .with(Capability::SystemEvents)
            .with(Capability::MessageIds)
            .with(Capability::Denials);
        capabilities.history_page_max = Some(PAGE);
        capabilities
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        if self.office.with(|state| state.down) {
            return Err(Error::new(ErrorKind::Network, "the office is out of reach").into());
        }
        let at = match &request.intent {
            Intent::Start(start) => self.office.rent(start),
            Intent::Join(saved) | Intent::Resume(saved) => self.find(saved)?,
            _ => return Err(Error::unsupported(Capability::Start, ID).into()),
        };
        let started = matches!(request.intent, Intent::Start(_));
        let signs = Arc::new(Signs::default());
        let (line, customer) = self.office.with(|state| {
            let mailbox = &mut state.mailboxes[at];
            if mailbox.closed.is_some() {
                return Err(Error::new(ErrorKind::SessionEnded, "the mailbox is closed"));
            }
            mailbox.lines += 1;
            mailbox.opened += 1;
            let line = Line {
                office: self.office.clone(),
                at,
                // Who comes back reads the past in the history.
                next: if started { 0 } else { mailbox.letters.len() },
                cuts: state.cuts,
                signs: Arc::clone(&signs),
                changes: self.office.changes(),
            };
            Ok((line, mailbox.customer.clone()))
        })?;
        let mut session = SessionInfo::new(scope(at), segment(at));
        session.participant = customer.id;
        session.display_name = customer.name;
        let handle = Handle { office: self.office.clone(), at, cuts: line.cuts, signs };
        Ok(Connection {
            session,
            capabilities: self.capabilities(),
            saved: self.pass(at),
            handle: Arc::new(handle),
            events: EventStream::new(stream::unfold(Some(line), Line::step)),
        })
    }

    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        let Ok(at) = self.find(saved) else { return Ok(false) };
        Ok(self.office.with(|state| state.mailboxes[at].closed.is_none()))
    }
}

/// What both ends of a connection tell each other.
#[derive(Debug, Default)]
struct Signs {
    /// The customer asked to leave.
    left: AtomicBool,
    /// The stream has ended, or was dropped.
    over: AtomicBool,
}

/// The stream's end of a connection. Letters wait in the mailbox until they are asked for: no queue can be full.
struct Line {
    office: PostOffice,
    at: usize,
    next: usize,
    cuts: u64,
    signs: Arc<Signs>,
    changes: watch::Receiver<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.signs.over.store(true, Ordering::SeqCst);
        self.office.change(|state| state.mailboxes[self.at].lines -= 1);
    }
}

impl Line {
    /// The next event; a terminal is the last, and drops the line.
    async fn step(line: Option<Self>) -> Option<(TransportEvent, Option<Self>)> {
        let mut line = line?;
        loop {
            line.changes.mark_unchanged();
            match line.look() {
                Some(event @ TransportEvent::Message(_)) => return Some((event, Some(line))),
                Some(terminal) => return Some((terminal, None)),
                // The office lives as long as the line that holds it.
                None => drop(line.changes.changed().await),
            }
        }
    }

    fn look(&mut self) -> Option<TransportEvent> {
        self.office.clone().with(|state| {
            if state.cuts != self.cuts {
                let error = Error::new(ErrorKind::Network, "the line was cut");
                return Some(TransportEvent::Lost(Box::new(Lost { error, resumable: true })));
            }
            let mailbox = &state.mailboxes[self.at];
            if let Some(letter) = mailbox.letters.get(self.next) {
                self.next += 1;
                return Some(TransportEvent::Message(Box::new(sighting(self.at, letter))));
            }
            if self.signs.left.load(Ordering::SeqCst) {
                return Some(TransportEvent::Ended(EndReason::Left));
            }
            mailbox.closed.clone().map(TransportEvent::Ended)
        })
    }
}

/// The commands' end of a connection.
#[derive(Debug)]
struct Handle {
    office: PostOffice,
    at: usize,
    cuts: u64,
    signs: Arc<Signs>,
}

#[async_trait]
impl ConnectionHandle for Handle {
    async fn submit(&self, command: Command) -> Result<Ack> {
        self.office.change(|state| {
            state.calls += 1;
            if self.signs.over.load(Ordering::SeqCst) || state.cuts != self.cuts {
                return Err(
                    Error::new(ErrorKind::Network, "the line is dead").with_delivery(Delivery::NotSent)
                );
            }
            let mailbox = &mut state.mailboxes[self.at];
            match command {
                Command::Send(Outgoing { token, body: OutgoingBody::Text(text), .. }) => {
                    let letter = self.office.drop_in(mailbox, None, Content::Text(text), Some(token))?;
                    Ok(Ack::Sent(Sent { sighting: Some(Box::new(sighting(self.at, &letter))) }))
                }
                Command::History(request) => page(self.at, mailbox, &request).map(Ack::History),
                Command::Leave { end } => {
                    if end {
                        mailbox.closed.get_or_insert(EndReason::EndedByUs);
                    } else {
                        self.signs.left.store(true, Ordering::SeqCst);
                    }
                    Ok(Ack::Done)
                }
                other => Err(Error::unsupported(other.capability().unwrap_or(Capability::Vendor), ID)),
            }
        })
    }
}

fn scope(at: usize) -> Scope {
    Scope::from(format!("mailbox-{at}"))
}

fn segment(at: usize) -> SegmentId {
    SegmentId::from(format!("mailbox-{at}"))
}

/// What a letter tells: its names, its place by number, who, when, what.
fn sighting(at: usize, letter: &Letter) -> Sighting {
    let scope = scope(at);
    let sighting = Sighting::new(segment(at))
        .with_alias(Alias::message(&scope, &MessageId::from(format!("letter-{}", letter.number))))
        .with_place(Place::exact(Primary::Index(letter.number, 0)))
        .with_time(letter.time)
        .with_sender(letter.from.clone(), letter.own)
        .with_content(letter.content.clone());
    match &letter.token {
        Some(token) => sighting.with_alias(Alias::token(&scope, token)),
        None => sighting,
    }
}

/// A page of the letters. The cursor is the number of letters before the cut.
fn page(at: usize, mailbox: &Mailbox, request: &HistoryRequest) -> Result<HistoryPage> {
    let letters = &mailbox.letters;
    let older = request.direction == Direction::Older;
    let number =
        |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok()).filter(|n| *n <= letters.len());
    let cut = match &request.from {
        HistoryFrom::Newest => letters.len(),
        HistoryFrom::Oldest => 0,
        HistoryFrom::Message(id) => {
            let number = number(id.as_str().strip_prefix("letter-"));
            let number = number.ok_or_else(|| Error::new(ErrorKind::NotFound, "the letter"))?;
            if older { number.saturating_sub(1) } else { number }
        }
        HistoryFrom::Time(time) if older => letters.partition_point(|letter| letter.time <= *time),
        HistoryFrom::Time(time) => letters.partition_point(|letter| letter.time < *time),
        HistoryFrom::Cursor(cursor) => {
            number(Some(&cursor.0)).ok_or_else(|| Error::invalid_input("the cursor of another query"))?
        }
        _ => return Err(Error::invalid_input("the start of the page")),
    };
    let limit = request.limit.min(PAGE) as usize;
    let (range, next) = if older {
        let start = cut.saturating_sub(limit);
        (start..cut, (start > 0).then_some(start))
    } else {
        let end = (cut + limit).min(letters.len());
        (cut..end, (end < letters.len()).then_some(end))
    };
    Ok(HistoryPage {
        items: letters[range].iter().map(|letter| sighting(at, letter)).collect(),
        next: next.map(|next| Cursor(next.to_string().into())),
    })
}
