//! Owns the sockets of one participant, or of one agent over all its contacts.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What a socket's task is told.
#[derive(Debug, Clone)]
pub(super) enum Post {
    /// An item, as a frame.
    Item(Utf8Bytes),
    /// Any other frame.
    Frame(Utf8Bytes),
    /// Close with this code.
    Close(u16),
    /// Drop the connection without a word.
    Cut,
}

#[derive(Debug)]
struct Slot {
    id: u64,
    post: mpsc::Sender<Post>,
    subscribed: bool,
}

/// Frames that may wait for one socket. A client that lets more wait is cut off: it fills its gap from the transcript.
const QUEUE: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    slots: Mutex<Vec<Slot>>,
    next: AtomicU64,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A further socket, unless there are `max`.
    pub(super) fn open(&self, max: usize) -> Option<(u64, mpsc::Receiver<Post>)> {
        let mut slots = self.lock();
        slots.retain(|slot| !slot.post.is_closed());
        if slots.len() >= max {
            return None;
        }
        let (post, posts) = mpsc::channel(QUEUE);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        slots.push(Slot { id, post, subscribed: false });
        Some((id, posts))
    }

    pub(super) fn close(&self, id: u64) {
        self.lock().retain(|slot| slot.id != id);
    }

    /// From now on the socket gets items; `answer` goes out before the first.
    pub(super) fn subscribe(&self, id: u64, answer: Utf8Bytes) {
        let mut slots = self.lock();
        if let Some(slot) = slots.iter_mut().find(|slot| slot.id == id) {
            slot.subscribed = slot.post.try_send(Post::Frame(answer)).is_ok();
        }
    }

    /// Sends an item to every subscribed socket.
    pub(super) fn deliver(&self, frame: &Utf8Bytes) {
        self.lock().retain(|slot| !slot.subscribed || slot.post.try_send(Post::Item(frame.clone())).is_ok());
    }

    /// Tells every socket.
    pub(super) fn tell(&self, post: &Post) {
        self.lock().retain(|slot| slot.post.try_send(post.clone()).is_ok());
    }

    /// How many sockets were ever opened.
    pub(super) fn opened(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}
