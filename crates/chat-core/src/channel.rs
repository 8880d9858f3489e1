//! Owns the event channel between a connection's driver and its session: bounded, with a slot of its own for the terminal.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::mpsc;

use crate::{
    error::{Error, ErrorKind},
    event::{EndReason, Lost, TransportEvent},
};

/// The events of one connection: any number, then exactly one terminal. Dropping it closes the connection.
pub struct EventStream(Pin<Box<dyn Stream<Item = TransportEvent> + Send>>);

impl EventStream {
    /// Wraps any stream; it must keep the terminal's contract. Adapters use [`event_channel`].
    pub fn new(stream: impl Stream<Item = TransportEvent> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventStream(..)")
    }
}

impl Stream for EventStream {
    type Item = TransportEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TransportEvent>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// How a connection ends.
#[derive(Debug, Clone)]
pub enum Terminal {
    /// The connection is gone, the chat may go on.
    Lost(Lost),
    /// The chat is over, or was left.
    Ended(EndReason),
}

type Slot = Arc<Mutex<Option<Terminal>>>;

/// The driver's end of the channel. Cheap to clone; the terminal is due once every clone is gone or one has finished.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: mpsc::Sender<TransportEvent>,
    terminal: Slot,
}

/// The session has dropped the stream: stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamDropped;

/// A bounded channel of `capacity` events, plus the terminal's slot.
pub fn event_channel(capacity: usize) -> (EventSender, EventStream) {
    let (events, receiver) = mpsc::channel(capacity.max(1));
    let terminal = Slot::default();
    let stream = Receiver { events: receiver, terminal: Arc::clone(&terminal), done: false };
    (EventSender { events, terminal }, EventStream::new(stream))
}

impl EventSender {
    /// Waits for room and sends.
    ///
    /// # Errors
    /// [`StreamDropped`] if nobody listens any more.
    ///
    /// # Cancel safety
    /// Dropping the future before it resolves loses `event`. In a `select!`, use [`reserve`](Self::reserve).
    pub async fn send(&self, event: TransportEvent) -> Result<(), StreamDropped> {
        self.events.send(event).await.map_err(|_| StreamDropped)
    }

    /// Waits for room: one branch of the driver's `select!`, so that waiting stops neither heartbeats nor writes.
    ///
    /// # Errors
    /// [`StreamDropped`] if nobody listens any more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn reserve(&self) -> Result<EventPermit<'_>, StreamDropped> {
        self.events.reserve().await.map(EventPermit).map_err(|_| StreamDropped)
    }

    /// Sends if there is room; gives the event back if not.
    ///
    /// # Errors
    /// The event, if the channel is full or nobody listens.
    pub fn try_send(&self, event: TransportEvent) -> Result<(), TransportEvent> {
        self.events.try_send(event).map_err(|error| error.into_inner())
    }

    /// Resolves when the session has dropped the stream: close the connection then.
    pub async fn closed(&self) {
        self.events.closed().await;
    }

    /// Sets the terminal, once: a second call changes nothing. The stream yields it when the channel has drained and the driver
    /// has dropped its senders; drop them soon.
    pub fn finish(&self, terminal: Terminal) {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(terminal);
    }
}

/// Room for one event.
#[derive(Debug)]
pub struct EventPermit<'a>(mpsc::Permit<'a, TransportEvent>);

impl EventPermit<'_> {
    /// Sends.
    pub fn send(self, event: TransportEvent) {
        self.0.send(event);
    }
}

struct Receiver {
    events: mpsc::Receiver<TransportEvent>,
    terminal: Slot,
    done: bool,
}

impl Stream for Receiver {
    type Item = TransportEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TransportEvent>> {
        if self.done {
            return Poll::Ready(None);
        }
        match self.events.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(event)) => Poll::Ready(Some(event)),
            Poll::Ready(None) => {
                self.done = true;
                let terminal = self.terminal.lock().unwrap_or_else(PoisonError::into_inner).take();
                Poll::Ready(Some(match terminal {
                    Some(Terminal::Ended(reason)) => TransportEvent::Ended(reason),
                    Some(Terminal::Lost(lost)) => TransportEvent::Lost(Box::new(lost)),
                    // A driver that panicked or forgot: the session must hear of it all the same.
                    None => TransportEvent::Lost(Box::new(Lost {
                        error: Error::new(ErrorKind::Internal, "the connection's task stopped"),
                        resumable: true,
                    })),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn the_terminal_comes_last_even_through_a_full_channel() {
        let (sender, mut stream) = event_channel(1);
        sender.send(TransportEvent::Alive).await.unwrap();
        assert!(sender.try_send(TransportEvent::Alive).is_err(), "full");
        sender.finish(Terminal::Ended(EndReason::Left));
        sender.finish(Terminal::Ended(EndReason::EndedByUs));
        drop(sender);
        assert!(matches!(stream.next().await, Some(TransportEvent::Alive)));
        assert!(matches!(stream.next().await, Some(TransportEvent::Ended(EndReason::Left))));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_driver_that_vanishes_is_reported_as_lost() {
        let (sender, mut stream) = event_channel(1);
        drop(sender);
        assert!(matches!(stream.next().await, Some(TransportEvent::Lost(_))));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn the_driver_learns_that_the_stream_was_dropped() {
        let (sender, stream) = event_channel(1);
        drop(stream);
        sender.closed().await;
        assert_eq!(sender.reserve().await.unwrap_err(), StreamDropped);
    }

    #[test]
    fn an_event_is_small() {
        assert!(size_of::<TransportEvent>() <= 32, "{}", size_of::<TransportEvent>());
    }
}
