//! Owns a bare connection, as the contract's cases read it.

use std::{fmt, sync::Arc};

use chat_core::{
    Capability, Command, Connection, ConnectionHandle, EventStream, PollScope, SavedSession, TransportEvent,
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::timeout;

use crate::{
    recorder::line,
    world::{LOOK, PATIENCE},
};

/// A bare connection, read by hand. A polled one is polled while it is read.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) saved: SavedSession,
    pub(crate) handle: Arc<dyn ConnectionHandle>,
    events: EventStream,
    polled: bool,
    polling: Polling,
}

#[derive(Default)]
struct Polling(Option<BoxFuture<'static, ()>>);

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Polling").field(&self.0.is_some()).finish()
    }
}

impl Wire {
    pub(crate) fn new(connection: Connection) -> Self {
        let Connection { capabilities, saved, handle, events, .. } = connection;
        let polled = capabilities.can(Capability::Poll);
        Self { saved, handle, events, polled, polling: Polling::default() }
    }

    /// The next thing that it tells; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<TransportEvent> {
        timeout(PATIENCE, self.read()).await.expect("the connection tells something in time")
    }

    async fn read(&mut self) -> Option<TransportEvent> {
        loop {
            if self.polled && self.polling.0.is_none() {
                let handle = Arc::clone(&self.handle);
                let poll = async move {
                    // A poll of a connection that is gone fails, and its terminal is on the way.
                    let _ = handle.submit(Command::Poll(PollScope::New)).await;
                    tokio::time::sleep(LOOK).await;
                };
                self.polling.0 = Some(poll.boxed());
            }
            let polling = async {
                match &mut self.polling.0 {
                    Some(poll) => poll.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.events.next() => return event,
                () = polling => self.polling.0 = None,
            }
        }
    }

    /// Reads messages until one says `last`, and gives all their texts.
    pub(crate) async fn texts_until(&mut self, last: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            match self.next().await {
                Some(TransportEvent::Message(sighting)) => {
                    let text = sighting.content.as_ref().and_then(line);
                    let done = text.as_deref() == Some(last);
                    texts.extend(text);
                    if done {
                        return texts;
                    }
                }
                Some(TransportEvent::Lost(_) | TransportEvent::Ended(_)) | None => {
                    panic!("the connection is over before {last:?}; it told {texts:?}")
                }
                Some(_) => {}
            }
        }
    }

    /// Reads until the terminal, which must be the last.
    pub(crate) async fn terminal(&mut self) -> TransportEvent {
        loop {
            match self.next().await {
                Some(event @ (TransportEvent::Lost(_) | TransportEvent::Ended(_))) => {
                    let after = self.next().await;
                    assert!(after.is_none(), "{after:?} came after the terminal {event:?}");
                    return event;
                }
                Some(_) => {}
                None => panic!("the stream ends without a terminal"),
            }
        }
    }

    /// Drops the stream, keeps the handle.
    pub(crate) fn drop_stream(self) -> Arc<dyn ConnectionHandle> {
        self.handle
    }
}
