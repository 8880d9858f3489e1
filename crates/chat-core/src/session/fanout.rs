//! Owns the readers: a bounded ring for each, allocated when the first event comes. Nobody waits for a slow one.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use futures::{Stream, task::AtomicWaker};

use super::{event::ChatEvent, shared::Shared};
use crate::{event::EndReason, transcript::View};

/// One reader's queue.
#[derive(Debug)]
pub(super) struct Ring {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    view: View,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<ChatEvent>,
    /// Events dropped since the reader last looked. While it is not zero, nothing is queued: the snapshot will hold it.
    missed: u64,
    ended: Option<Closing>,
}

impl Queue {
    fn push(&mut self, events: &[ChatEvent], capacity: usize) {
        if self.missed == 0 && self.events.len() + events.len() <= capacity {
            self.events.extend(events.iter().cloned());
        } else {
            self.missed += (self.events.len() + events.len()) as u64;
            self.events = VecDeque::new();
        }
    }
}

/// How a reader's stream comes to its end.
#[derive(Debug, Clone)]
enum Closing {
    Ended(EndReason),
    /// The session was closed without an end of the chat.
    Closed,
    Done,
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All readers of one session.
#[derive(Debug, Default)]
pub(super) struct Fanout {
    readers: Vec<Weak<Ring>>,
    closing: Option<Closing>,
    /// There has been a reader: later ones join in the middle.
    greeted: bool,
}

impl Fanout {
    /// A new reader, whose first events are `first`.
    pub(super) fn subscribe(&mut self, view: View, capacity: usize, first: Vec<ChatEvent>) -> Arc<Ring> {
        self.greeted = true;
        let ring = Arc::new(Ring {
            queue: Mutex::new(Queue { events: first.into(), missed: 0, ended: self.closing.clone() }),
            waker: AtomicWaker::new(),
            view,
            capacity: capacity.max(2),
        });
        self.readers.retain(|reader| reader.strong_count() > 0);
        self.readers.push(Arc::downgrade(&ring));
        ring
    }

    /// Whether there has been no reader yet.
    pub(super) const fn is_fresh(&self) -> bool {
        !self.greeted
    }

    /// Whether anybody reads this view.
    pub(super) fn wants(&self, view: View) -> bool {
        self.readers.iter().any(|reader| reader.upgrade().is_some_and(|ring| ring.view == view))
    }

    /// Whether anybody reads at all.
    pub(super) fn is_idle(&self) -> bool {
        self.readers.iter().all(|reader| reader.strong_count() == 0)
    }

    /// Whether a reader that has kept up so far has no room for so many events more.
    pub(super) fn is_crowded(&self, events: usize) -> bool {
        self.readers.iter().filter_map(Weak::upgrade).any(|ring| {
            let queue = ring.lock();
            queue.missed == 0 && queue.events.len() + events > ring.capacity
        })
    }

    /// Gives `events` to all readers, or to those of one view.
    pub(super) fn publish(&mut self, events: &[ChatEvent], only: Option<View>) {
        let mut gone = false;
        for reader in &self.readers {
            let Some(ring) = reader.upgrade() else {
                gone = true;
                continue;
            };
            if only.is_some_and(|view| view != ring.view) {
                continue;
            }
            ring.lock().push(events, ring.capacity);
            ring.waker.wake();
        }
        if gone {
            self.readers.retain(|reader| reader.strong_count() > 0);
        }
    }

    /// The chat is over: the last event of every reader, present and future.
    pub(super) fn end(&mut self, reason: EndReason) {
        self.finish(Closing::Ended(reason));
    }

    /// The session closes, the chat goes on: streams end without a terminal event.
    pub(super) fn close(&mut self) {
        self.finish(Closing::Closed);
    }

    fn finish(&mut self, closing: Closing) {
        if self.closing.is_some() {
            return;
        }
        for ring in self.readers.iter().filter_map(Weak::upgrade) {
            ring.lock().ended = Some(closing.clone());
            ring.waker.wake();
        }
        self.closing = Some(closing);
    }
}

/// The events of a session, for one reader. The first is a `Reset` with the transcript as it stands, if it holds anything: what is
/// in it comes as no [`ChatEvent::Messages`] again. The session's first reader is then told what happened to connection and
/// session before it came: started, established, ready. The last event is [`ChatEvent::Ended`]; without it the stream ends only
/// if the session was closed.
///
/// A reader may be slow: it then gets [`ChatEvent::Missed`] with the number of events and the transcript as it stands.
#[derive(Debug)]
pub struct Events {
    ring: Arc<Ring>,
    shared: Arc<Shared>,
}

impl Events {
    pub(super) const fn new(ring: Arc<Ring>, shared: Arc<Shared>) -> Self {
        Self { ring, shared }
    }

    /// The next event, or `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<ChatEvent> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<ChatEvent>> {
        let mut queue = self.ring.lock();
        if queue.missed > 0 {
            drop(queue);
            // The snapshot and the end of the missing stretch must be one moment: publishers hold this lock too.
            let mut state = self.shared.lock();
            let snapshot = state.snapshot(self.ring.view);
            let events = std::mem::take(&mut self.ring.lock().missed);
            return Poll::Ready(Some(ChatEvent::Missed { events, snapshot }));
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        match queue.ended {
            None => {
                // Publishers need the lock before they wake.
                self.ring.waker.register(cx.waker());
                Poll::Pending
            }
            Some(Closing::Closed | Closing::Done) => Poll::Ready(None),
            Some(Closing::Ended(ref reason)) => {
                let last = ChatEvent::Ended(reason.clone());
                queue.ended = Some(Closing::Done);
                Poll::Ready(Some(last))
            }
        }
    }
}

impl Stream for Events {
    type Item = ChatEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ChatEvent>> {
        self.poll(cx)
    }
}
