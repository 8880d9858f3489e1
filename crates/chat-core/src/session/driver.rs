//! Owns the session's one task: it obeys the state's effects and brings it facts. It decides nothing.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use super::{
    shared::{Shared, Turn},
    state::{Effect, Ticket},
};
use crate::{
    channel::EventStream,
    command::Ack,
    error::Result,
    event::TransportEvent,
    transport::{ConnectError, Connection},
};

/// Most events that are taken from one connection before the state is given a turn.
const BATCH: usize = 128;

/// What an effect came to.
pub(super) enum Outcome {
    Connected {
        generation: u64,
        result: Box<Result<Connection, ConnectError>>,
    },
    Answered {
        ticket: Ticket,
        result: Result<Ack>,
    },
    Stored {
        version: Option<u64>,
        result: Result<()>,
    },
    /// Whoever else waited for this thread has had its turn.
    Yielded,
}

struct Driver {
    shared: Arc<Shared>,
    working: FuturesUnordered<BoxFuture<'static, Outcome>>,
    streams: Vec<(u64, EventStream)>,
    batch: Vec<TransportEvent>,
    /// Answers of the store that are still due: the driver waits for them before it stops, for nothing else.
    keeping: usize,
    /// Readers have their turn before more is taken from connections.
    yielding: bool,
}

/// Runs until the chat is over or the session is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut driver = Driver {
        shared,
        working: FuturesUnordered::new(),
        streams: Vec::new(),
        batch: Vec::new(),
        keeping: 0,
        yielding: false,
    };
    driver.run().await;
}

impl Driver {
    async fn run(&mut self) {
        let mut took = false;
        loop {
            // A diff for each event, and the batch.
            let Turn { effects, deadline, crowded, done } = self.shared.turn(Instant::now(), BATCH + 1);
            for effect in effects {
                self.obey(effect);
            }
            if done && self.keeping == 0 {
                break;
            }
            if std::mem::take(&mut took) && crowded {
                self.give_way();
            }
            let timer = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(outcome) = self.working.next(), if !self.working.is_empty() => self.learn(outcome),
                generation = next_batch(&mut self.streams, &mut self.batch), if !self.streams.is_empty() && !self.yielding => {
                    took = true;
                    let mut state = self.shared.lock();
                    state.on_events(Instant::now(), generation, self.batch.drain(..));
                }
                () = timer => {}
                () = self.shared.wake.notified() => {}
            }
        }
        self.streams.clear();
        self.shared.close();
    }

    fn obey(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { generation, request } => {
                let transport = Arc::clone(&self.shared.transport);
                self.working.push(
                    async move {
                        let result = Box::new(transport.connect(request).await);
                        Outcome::Connected { generation, result }
                    }
                    .boxed(),
                );
            }
            Effect::Drop { generation } => self.streams.retain(|(of, _)| *of != generation),
            Effect::Submit { ticket, handle, command } => {
                self.working.push(
                    async move {
                        let result = handle.submit(command).await;
                        Outcome::Answered { ticket, result }
                    }
                    .boxed(),
                );
            }
            Effect::Save => self.keep(None, false),
            Effect::Persist { version } => self.keep(Some(version), false),
            Effect::Forget => self.keep(None, true),
        }
    }

    /// Lets others run once before more is taken: a reader on this thread may only lack its turn. Nobody waits for one that
    /// does not take it.
    fn give_way(&mut self) {
        self.yielding = true;
        // Among what works, with a waker of its own: events that come meanwhile wake the driver, and must not end it.
        self.working.push(tokio::task::yield_now().map(|()| Outcome::Yielded).boxed());
    }

    fn keep(&mut self, version: Option<u64>, forget: bool) {
        let shared = Arc::clone(&self.shared);
        self.keeping += 1;
        self.working.push(
            async move {
                let result = if forget { shared.forget().await } else { shared.save().await };
                Outcome::Stored { version, result }
            }
            .boxed(),
        );
    }

    fn learn(&mut self, outcome: Outcome) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        match outcome {
            Outcome::Connected { generation, result } => match *result {
                Ok(connection) => {
                    if let Some(events) = state.on_connected(now, generation, connection) {
                        // There is mostly one.
                        self.streams.reserve_exact(1);
                        self.streams.push((generation, events));
                    }
                }
                Err(error) => state.on_connect_failed(now, generation, error),
            },
            Outcome::Yielded => self.yielding = false,
            Outcome::Answered { ticket, result } => state.on_answer(now, ticket, result),
            Outcome::Stored { version, result } => {
                self.keeping -= 1;
                state.on_stored(now, version, result);
            }
        }
    }
}

/// Waits until a connection has events, and takes what is ready, in order. A connection that has said its last is removed.
async fn next_batch(streams: &mut Vec<(u64, EventStream)>, batch: &mut Vec<TransportEvent>) -> u64 {
    std::future::poll_fn(|cx| poll_batch(streams, batch, cx)).await
}

fn poll_batch(
    streams: &mut Vec<(u64, EventStream)>,
    batch: &mut Vec<TransportEvent>,
    cx: &mut Context<'_>,
) -> Poll<u64> {
    let mut index = 0;
    while index < streams.len() {
        let (generation, stream) = &mut streams[index];
        let generation = *generation;
        let mut ended = false;
        while batch.len() < BATCH {
            match std::pin::Pin::new(&mut *stream).poll_next(cx) {
                Poll::Ready(Some(event)) => batch.push(event),
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if ended {
            streams.remove(index);
        } else {
            index += 1;
        }
        if !batch.is_empty() {
            // Fair: the next turn begins with another connection.
            if streams.len() > 1 {
                streams.rotate_left(1);
            }
            return Poll::Ready(generation);
        }
    }
    Poll::Pending
}
