//! Owns an agent's shared socket: one task reads it and hands each item to the contact that it belongs to.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use chat_core::{Error, ErrorKind, Result};
use chat_net::ws::WsMessage;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::SocketGrant;
use crate::{
    client::{driver::SocketIo, service::Service, transport::dial},
    machine::{Output, Received, SocketMachine},
    wire::{ContentType, Frame, Item, decode_frame},
};

/// What a contact is fed.
#[derive(Debug, Clone)]
pub(super) enum Feed {
    /// An item, as text.
    Item(Arc<str>),
    /// Something that may be anybody's: kind and text.
    Stray(Arc<str>, Arc<str>),
    Alive,
    Deep(Result<(), Error>),
    Renew(Instant),
}

/// How many items may wait for one contact. Nobody waits for it: beyond that it is told of a gap, and pages.
const FEED: usize = 64;

/// One contact's place.
#[derive(Debug)]
struct Place {
    number: u64,
    chain: String,
    contact: String,
    feed: mpsc::Sender<Feed>,
    overflow: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    places: Mutex<Places>,
    stop: Notify,
    renewing: AtomicBool,
}

#[derive(Debug, Default)]
struct Places {
    list: Vec<Place>,
    next: u64,
    lost: Option<Error>,
}

/// A shared socket. Its task ends with the last holder.
#[derive(Debug)]
pub(super) struct Hub(Arc<State>);

impl Drop for Hub {
    fn drop(&mut self) {
        self.0.stop.notify_one();
    }
}

/// A contact's end of the shared socket.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    number: u64,
    pub(super) feed: mpsc::Receiver<Feed>,
    overflow: Arc<AtomicBool>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.places().list.retain(|place| place.number != self.number);
    }
}

impl Seat {
    /// Whether items were dropped since the last time.
    pub(super) fn take_overflow(&self) -> bool {
        self.overflow.swap(false, Ordering::AcqRel)
    }

    /// Why the socket is gone.
    pub(super) fn lost(&self) -> Error {
        let lost = self.hub.places().lost.clone();
        lost.unwrap_or_else(|| Error::new(ErrorKind::Network, "the shared socket is gone"))
    }
}

/// The socket that stands, if any. Opening another is single flight.
#[derive(Debug, Default)]
pub(super) struct Hubs(tokio::sync::Mutex<Option<Arc<Hub>>>);

impl Hubs {
    /// The socket that stands, or a new one if there is none or its replacement is due.
    pub(super) async fn current(&self, open: impl AsyncFnOnce() -> Result<Hub>) -> Result<Arc<Hub>> {
        let mut current = self.0.lock().await;
        if let Some(hub) = &*current
            && hub.serves()
        {
            return Ok(Arc::clone(hub));
        }
        let hub = Arc::new(open().await?);
        // The one before lives on while contacts hold it.
        *current = Some(Arc::clone(&hub));
        Ok(hub)
    }
}

impl Hub {
    /// Opens a socket and waits until its subscription stands.
    pub(super) async fn open(service: &Service, grant: SocketGrant) -> Result<Self> {
        let stream = dial(service, grant.url).await?;
        let mut machine = SocketMachine::new(service.timings);
        machine.opened(Instant::now(), grant.life);
        let state = Arc::new(State::default());
        let mut task = Task {
            io: SocketIo::new(stream),
            machine,
            state: Arc::clone(&state),
            established: false,
            lost: None,
        };
        task.establish().await?;
        tokio::spawn(task.run());
        Ok(Self(state))
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether new contacts may sit here.
    fn serves(&self) -> bool {
        self.places().lost.is_none() && !self.0.renewing.load(Ordering::Acquire)
    }

    /// Seats a contact.
    ///
    /// # Errors
    /// Why the socket is gone, if it is.
    pub(super) fn seat(self: &Arc<Self>, chain: &str, contact: &str) -> Result<Seat> {
        let (sender, feed) = mpsc::channel(FEED);
        let overflow = Arc::new(AtomicBool::new(false));
        let mut places = self.places();
        if let Some(error) = &places.lost {
            return Err(error.clone());
        }
        let number = places.next;
        places.next += 1;
        places.list.push(Place {
            number,
            chain: chain.to_owned(),
            contact: contact.to_owned(),
            feed: sender,
            overflow: Arc::clone(&overflow),
        });
        drop(places);
        Ok(Seat { hub: Arc::clone(self), number, feed, overflow })
    }
}

struct Task {
    io: SocketIo,
    machine: SocketMachine,
    state: Arc<State>,
    established: bool,
    lost: Option<Error>,
}

impl Task {
    async fn establish(&mut self) -> Result<()> {
        while !self.established {
            self.step(None).await;
            if let Some(error) = self.lost.take() {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn run(mut self) {
        let state = Arc::clone(&self.state);
        while self.lost.is_none() {
            if self.step(Some(&state.stop)).await {
                self.io.close().await;
                return;
            }
        }
        let mut places = state.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.lost = self.lost.take();
        // Their feeds end with this, behind what they were fed before.
        places.list.clear();
    }

    /// One turn. Says whether to stop.
    async fn step(&mut self, stop: Option<&Notify>) -> bool {
        self.obey();
        if self.lost.is_some() || (stop.is_none() && self.established) {
            return false;
        }
        let deadline = self.machine.deadline().unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            () = async {
                match stop {
                    Some(stop) => stop.notified().await,
                    None => std::future::pending().await,
                }
            } => return true,
            () = tokio::time::sleep_until(deadline) => self.machine.timeout(Instant::now()),
            () = poll_fn(|cx| self.poll_socket(cx)) => {}
        }
        false
    }

    fn obey(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(control) => self.io.queue(control),
                Output::Established => self.established = true,
                Output::Alive => self.tell_all(&Feed::Alive),
                Output::Deep(result) => self.tell_all(&Feed::Deep(result)),
                Output::Renew(before) => {
                    self.state.renewing.store(true, Ordering::Release);
                    self.tell_all(&Feed::Renew(before));
                }
                Output::Lost(error) => {
                    self.lost.get_or_insert(error);
                }
                // Nobody ends a shared socket.
                Output::Ended(_) => {}
            }
        }
        self.machine.writing(Instant::now(), self.io.is_writing());
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let was_writing = self.io.is_writing();
        if let Err(error) = self.io.poll_write(cx) {
            self.lost.get_or_insert(error);
            return Poll::Ready(());
        }
        let mut progress = was_writing && !self.io.is_writing();
        let now = Instant::now();
        for _ in 0..64 {
            match self.io.poll_read(cx) {
                Poll::Ready(Ok(message)) => {
                    self.take_in(now, &message);
                    progress = true;
                }
                Poll::Ready(Err(error)) => {
                    self.lost.get_or_insert(error);
                    return Poll::Ready(());
                }
                Poll::Pending => break,
            }
        }
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take_in(&mut self, now: Instant, message: &WsMessage) {
        let WsMessage::Text(text) = message else {
            self.machine.received(now, Frame::Empty);
            return;
        };
        match self.machine.received(now, decode_frame(text)) {
            Received::Item(item) => self.route(&item),
            Received::Other(kind, text) => self.tell_all(&Feed::Stray(kind.as_ref().into(), text.into())),
            Received::Control => {}
        }
    }

    /// To the contact that an item names; receipts that name none may be anybody's; other items that name none belong to the
    /// only contact there is, or else to nobody in particular.
    fn route(&self, text: &str) {
        let item = Item::decode(text).unwrap_or_default();
        let named = [item.initial_contact_id.as_deref(), item.contact_id.as_deref()];
        let feed = Feed::Item(text.into());
        if named.iter().flatten().any(|id| !id.is_empty()) {
            self.tell(&feed, |place| {
                named.iter().flatten().any(|id| *id == place.chain || *id == place.contact)
            });
            return;
        }
        let receipts = item.content_type() == Some(ContentType::MessageMetadata)
            || item.kind.as_deref() == Some(Item::MESSAGE_METADATA);
        let alone = self.state.places.lock().unwrap_or_else(PoisonError::into_inner).list.len() == 1;
        if receipts || alone {
            self.tell_all(&feed);
        } else {
            self.tell_all(&Feed::Stray("aws/chat".into(), text.into()));
        }
    }

    fn tell_all(&self, feed: &Feed) {
        self.tell(feed, |_| true);
    }

    fn tell(&self, feed: &Feed, whom: impl Fn(&Place) -> bool) {
        let places = self.state.places.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places.list.iter().filter(|place| whom(place)) {
            let counts = !matches!(feed, Feed::Alive | Feed::Deep(_));
            if place.feed.try_send(feed.clone()).is_err() && counts {
                place.overflow.store(true, Ordering::Release);
            }
        }
    }
}
