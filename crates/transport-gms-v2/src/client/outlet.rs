//! Owns the way out of a connection that has no task of its own: events are given out by whoever brings them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chat_core::{EventSender, StreamDropped, Terminal, TransportEvent};
use futures::FutureExt;

/// Most hints that wait for room.
const HINTS_MAX: usize = 256;

/// What is told to the session.
#[derive(Debug)]
pub(crate) struct Outlet(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `None` once the terminal is set.
    sender: Option<EventSender>,
    /// What found no room yet.
    queue: VecDeque<TransportEvent>,
}

impl Outlet {
    pub(crate) fn new(sender: EventSender) -> Self {
        Self(Mutex::new(State { sender: Some(sender), queue: VecDeque::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the terminal is set, or nobody listens any more.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().sender.as_ref().is_none_or(|sender| sender.closed().now_or_never().is_some())
    }

    /// Tells these, in order, behind whatever waits already, waiting for room.
    ///
    /// # Errors
    /// Nobody listens any more.
    ///
    /// # Cancel safety
    /// What was not told yet waits for whoever tells something next.
    pub(crate) async fn tell(&self, events: Vec<TransportEvent>) -> Result<(), StreamDropped> {
        self.queue(events);
        self.drain().await
    }

    /// Tells what waits, waiting for room.
    ///
    /// # Errors
    /// Nobody listens any more.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn drain(&self) -> Result<(), StreamDropped> {
        let sender = self.lock().sender.clone().ok_or(StreamDropped)?;
        while !self.lock().queue.is_empty() {
            let permit = sender.reserve().await?;
            let next = self.lock().queue.pop_front();
            if let Some(event) = next {
                permit.send(event);
            }
        }
        Ok(())
    }

    /// Lets these wait behind whatever waits already. Who calls this keeps the number of those that wait within bounds, and drains.
    pub(crate) fn queue(&self, events: Vec<TransportEvent>) {
        let mut state = self.lock();
        if state.sender.is_some() {
            state.queue.extend(events);
        }
    }

    /// How many wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Resolves when nobody listens any more.
    pub(crate) async fn closed(&self) {
        let sender = self.lock().sender.clone();
        if let Some(sender) = sender {
            sender.closed().await;
        }
    }

    /// Tells this without waiting: now if there is room, else when something is told next.
    pub(crate) fn hint(&self, event: TransportEvent) {
        let mut state = self.lock();
        if state.queue.len() >= HINTS_MAX {
            tracing::warn!("nobody reads the events: a hint is dropped");
            return;
        }
        state.queue.push_back(event);
        state.flush();
    }

    /// Sets the terminal. It comes when everything told before was taken.
    pub(crate) fn finish(&self, terminal: Terminal) {
        let mut state = self.lock();
        state.flush();
        if let Some(sender) = state.sender.take() {
            sender.finish(terminal);
        }
    }
}

impl State {
    fn flush(&mut self) {
        let Some(sender) = &self.sender else { return };
        while let Some(event) = self.queue.pop_front() {
            if let Err(event) = sender.try_send(event) {
                self.queue.push_front(event);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{EndReason, RawEvent, event_channel};
    use futures::StreamExt;

    use super::*;

    fn raw(n: usize) -> TransportEvent {
        TransportEvent::Raw(Box::new(RawEvent::new(n.to_string(), "")))
    }

    #[tokio::test]
    async fn hints_keep_their_order_and_wait_for_nobody() {
        let (sender, mut events) = event_channel(2);
        let outlet = Outlet::new(sender);
        for n in 0..4 {
            outlet.hint(raw(n));
        }
        let reading = async {
            let mut seen = Vec::new();
            while let Some(event) = events.next().await {
                match event {
                    TransportEvent::Raw(raw) => seen.push(raw.kind.to_string()),
                    TransportEvent::Ended(EndReason::Left) => seen.push("left".into()),
                    other => panic!("{other:?}"),
                }
            }
            seen
        };
        let telling = async {
            outlet.tell(vec![raw(4)]).await.unwrap();
            assert!(!outlet.is_over());
            outlet.finish(Terminal::Ended(EndReason::Left));
            assert!(outlet.is_over());
            assert_eq!(outlet.tell(vec![raw(5)]).await, Err(StreamDropped));
        };
        let (seen, ()) = tokio::join!(reading, telling);
        assert_eq!(seen, ["0", "1", "2", "3", "4", "left"]);
    }

    #[tokio::test]
    async fn what_is_told_survives_a_caller_who_gives_up() {
        let (sender, mut events) = event_channel(1);
        let outlet = Outlet::new(sender);
        assert!(outlet.tell((0..3).map(raw).collect()).now_or_never().is_none(), "there is room for one");
        let (told, seen) = tokio::join!(outlet.tell(vec![raw(3)]), async {
            let mut seen = Vec::new();
            while seen.len() < 4 {
                if let Some(TransportEvent::Raw(raw)) = events.next().await {
                    seen.push(raw.kind.to_string());
                }
            }
            seen
        });
        assert_eq!((told, seen), (Ok(()), ["0", "1", "2", "3"].map(String::from).to_vec()));
    }

    #[tokio::test]
    async fn it_is_over_when_nobody_listens() {
        let (sender, events) = event_channel(2);
        let outlet = Outlet::new(sender);
        drop(events);
        assert!(outlet.is_over());
        assert_eq!(outlet.tell(vec![raw(1)]).await, Err(StreamDropped));
    }
}
