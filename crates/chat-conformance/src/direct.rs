//! Owns the network of an adapter that is called directly, without bytes: all disturbances, at the calls between session and adapter.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chat_core::{
    Ack, Capabilities, Command, ConnectError, ConnectRequest, Connection, ConnectionHandle, Delivery, Error,
    ErrorKind, EventStream, Intent, Lost, OutgoingBody, Result, Retry, SavedSession, Transport,
    TransportEvent, TransportId,
};
use futures::{StreamExt, stream};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::harness::{Disturbance, Failure, Network, Request};

/// After how long a half-open connection is found to be lost.
const DEAD_AFTER: Duration = Duration::from_secs(20);

/// How long an overtaken event waits for those that overtake it.
const OVERTAKEN_FOR: Duration = Duration::from_secs(1);

/// The network of a pushed adapter that is called directly, without bytes: it disturbs the calls between the session and the adapter.
/// Where there are bytes, disturb those: an adapter that reads them is judged by how it does.
///
/// ```
/// # use std::sync::Arc;
/// # use chat_conformance::DirectNetwork;
/// # use chat_core::Transport;
/// # fn client() -> impl Transport + 'static { chat_sim::Centre::new().transport() }
/// let network = DirectNetwork::default(); // what `Harness::network` gives
/// let transport: Arc<dyn Transport> = network.before(client()); // what `Harness::transport` gives
/// ```
#[derive(Debug, Clone, Default)]
pub struct DirectNetwork(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A new value ends the connections of before.
    breaks: watch::Sender<Break>,
}

/// How often connections were broken, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Break {
    cuts: u64,
    silences: u64,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    lifetime: Option<Duration>,
    delay: Duration,
    duplicate: u32,
    reorder: u32,
    lose: u32,
    refuse: Option<(u32, Failure)>,
    lose_start_answer: bool,
    orders: VecDeque<Order>,
}

/// What happens to requests of a kind.
#[derive(Debug, Clone, Copy)]
struct Order {
    request: Request,
    times: u32,
    instead: Instead,
}

#[derive(Debug, Clone, Copy)]
enum Instead {
    Fail(Failure),
    FailStored(Failure),
    Late(Duration),
    StoreThenCut,
}

impl DirectNetwork {
    /// `client`, behind this network.
    pub fn before(&self, client: impl Transport + 'static) -> Arc<dyn Transport> {
        Arc::new(Behind { client, network: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        self.0.breaks.send_modify(|breaks| breaks.cuts += 1);
    }

    fn order(&self, request: Request, times: u32, instead: Instead) {
        self.state().orders.push_back(Order { request, times, instead });
    }

    fn ordered(&self, command: &Command) -> Option<Instead> {
        let request = kind(command)?;
        let mut state = self.state();
        let order = state.orders.iter_mut().find(|order| order.request == request && order.times > 0)?;
        order.times -= 1;
        Some(order.instead)
    }
}

impl Network for DirectNetwork {
    fn disturb(&self, what: Disturbance) {
        match what {
            Disturbance::Cut => {
                self.state().down = true;
                self.cut();
            }
            Disturbance::Break => self.cut(),
            Disturbance::HalfOpen => self.0.breaks.send_modify(|breaks| breaks.silences += 1),
            Disturbance::Delay(by) => self.state().delay = by,
            Disturbance::Duplicate(times) => self.state().duplicate = times,
            Disturbance::Reorder(window) => self.state().reorder = window,
            Disturbance::Lose(count) => self.state().lose = count,
            Disturbance::StoreThenCut(request) => self.order(request, 1, Instead::StoreThenCut),
            Disturbance::LateAnswer(request, by) => self.order(request, 1, Instead::Late(by)),
            Disturbance::Fail(request, times, failure) => self.order(request, times, Instead::Fail(failure)),
            Disturbance::FailStored(request, failure) => {
                self.order(request, 1, Instead::FailStored(failure));
            }
            Disturbance::RefuseConnects(times, failure) => self.state().refuse = Some((times, failure)),
            Disturbance::LoseStartAnswer => self.state().lose_start_answer = true,
            Disturbance::Expire(lifetime) => self.state().lifetime = Some(lifetime),
        }
    }

    fn heal(&self) {
        *self.state() = State::default();
    }
}

const fn kind(command: &Command) -> Option<Request> {
    Some(match command {
        Command::Send(outgoing) => match outgoing.body {
            OutgoingBody::File(_) => Request::File,
            _ => Request::Text,
        },
        Command::History(_) => Request::History,
        Command::Receipt(_) => Request::Receipt,
        Command::Leave { .. } => Request::Leave,
        Command::Poll(_) => Request::Poll,
        _ => return None,
    })
}

fn error(failure: Failure) -> Error {
    let kind = match failure {
        Failure::RateLimited(_) => ErrorKind::RateLimited,
        Failure::Server => ErrorKind::Server,
        Failure::Refused => ErrorKind::Refused,
        Failure::Unauthorized => ErrorKind::Unauthorized,
        Failure::AccessDenied => ErrorKind::AccessDenied,
        Failure::SessionLost => ErrorKind::SessionLost,
        Failure::Network => ErrorKind::Network,
        Failure::Timeout => ErrorKind::Timeout,
    };
    let error = Error::new(kind, "disturbed");
    match failure {
        Failure::RateLimited(Some(after)) => error.with_retry(Retry::After(after)),
        _ => error,
    }
}

fn broken(delivery: Delivery) -> Error {
    Error::new(ErrorKind::Network, "the connection is cut").with_delivery(delivery)
}

async fn late(by: Duration) {
    if !by.is_zero() {
        sleep(by).await;
    }
}

struct Behind<T> {
    client: T,
    network: DirectNetwork,
}

impl<T: fmt::Debug> fmt::Debug for Behind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

#[async_trait]
impl<T: Transport> Transport for Behind<T> {
    fn id(&self) -> TransportId {
        self.client.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let (refused, delay, lose_answer) = {
            let mut state = self.network.state();
            let refused = match &mut state.refuse {
                Some((times, failure)) if *times > 0 => {
                    *times -= 1;
                    Some(error(*failure))
                }
                _ => state.down.then(|| broken(Delivery::NotSent)),
            };
            let starts = refused.is_none() && matches!(request.intent, Intent::Start(_));
            (refused, state.delay, starts && std::mem::take(&mut state.lose_start_answer))
        };
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        late(delay).await;
        let breaks = self.network.0.breaks.subscribe();
        let mut connection = self.client.connect(request).await?;
        if lose_answer {
            return Err(broken(Delivery::Unknown).into());
        }
        let since = *breaks.borrow();
        let expires = self.network.state().lifetime.map(|lifetime| Instant::now() + lifetime);
        let way = Way { network: self.network.clone(), since, breaks, expires };
        connection.handle = Arc::new(Handle { inner: connection.handle, way: way.clone() });
        let ready = expires.map(TransportEvent::RenewBefore).into_iter().collect();
        let events = Events { inner: connection.events, way, ready, held: None, seen: 0 };
        connection.events = EventStream::new(stream::unfold(Some(events), Events::step));
        Ok(connection)
    }

    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        if self.network.state().down {
            return Err(broken(Delivery::NotSent));
        }
        self.client.verify(saved).await
    }
}

/// What both ends of a connection know of it.
#[derive(Debug, Clone)]
struct Way {
    network: DirectNetwork,
    /// How often connections had been broken when this one was made.
    since: Break,
    breaks: watch::Receiver<Break>,
    expires: Option<Instant>,
}

impl Way {
    fn is_cut(&self) -> bool {
        self.breaks.borrow().cuts != self.since.cuts
    }

    fn is_silent(&self) -> bool {
        self.breaks.borrow().silences != self.since.silences
    }

    /// Returns when the connection is cut, was silent for long, or expires.
    async fn lost(&mut self) {
        match self.expires {
            Some(expires) => drop(tokio::time::timeout_at(expires, self.broken()).await),
            None => self.broken().await,
        }
    }

    async fn broken(&mut self) {
        let since = self.since;
        let cut = |now: &Break| now.cuts != since.cuts;
        let broken = |now: &Break| cut(now) || now.silences != since.silences;
        // The network outlives its connections.
        drop(self.breaks.wait_for(broken).await);
        if !self.is_cut() {
            let _ = tokio::time::timeout(DEAD_AFTER, self.breaks.wait_for(cut)).await;
        }
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut way = self.clone();
        tokio::select! {
            biased;
            () = way.lost() => None,
            done = work => Some(done),
        }
    }
}

/// The stream's end of a connection.
struct Events {
    inner: EventStream,
    way: Way,
    ready: VecDeque<TransportEvent>,
    /// One that is overtaken: by so many, or until then.
    held: Option<(TransportEvent, u32, Instant)>,
    seen: u32,
}

impl Events {
    async fn step(events: Option<Self>) -> Option<(TransportEvent, Option<Self>)> {
        let mut events = events?;
        loop {
            if let Some(event) = events.ready.pop_front() {
                let terminal = matches!(event, TransportEvent::Lost(_) | TransportEvent::Ended(_));
                return Some((event, (!terminal).then_some(events)));
            }
            let overtaken = events.held.as_ref().map(|(_, _, until)| *until);
            let mut way = events.way.clone();
            let silent = events.way.is_silent();
            tokio::select! {
                biased;
                () = way.lost() => {
                    let lost = Lost { error: broken(Delivery::Unknown), resumable: true };
                    return Some((TransportEvent::Lost(Box::new(lost)), None));
                }
                () = sleep_until(overtaken.unwrap_or_else(Instant::now)), if overtaken.is_some() => events.release(),
                event = events.inner.next(), if !silent => match event {
                    // It fell silent while it was being read.
                    Some(_) if events.way.is_silent() => {}
                    Some(event) => events.pass(event).await,
                    None => {
                        events.release();
                        if events.ready.is_empty() {
                            return None;
                        }
                    }
                },
            }
        }
    }

    fn release(&mut self) {
        self.ready.extend(self.held.take().map(|(event, _, _)| event));
    }

    /// Lets one through, or not, or more often, or later.
    async fn pass(&mut self, event: TransportEvent) {
        if matches!(event, TransportEvent::Lost(_) | TransportEvent::Ended(_)) {
            self.release();
            self.ready.push_back(event);
            return;
        }
        let (lost, delay, duplicate, reorder) = {
            let mut state = self.way.network.state();
            let lost = state.lose > 0;
            state.lose = state.lose.saturating_sub(1);
            (lost, state.delay, state.duplicate, state.reorder)
        };
        if lost || self.way.within(late(delay)).await.is_none() {
            return;
        }
        self.seen += 1;
        if reorder > 0 && self.held.is_none() && self.seen.is_multiple_of(2) {
            self.held = Some((event, reorder, Instant::now() + OVERTAKEN_FOR));
            return;
        }
        self.ready.extend(std::iter::repeat_n(event, 1 + duplicate as usize));
        if let Some((_, left, _)) = &mut self.held {
            *left -= 1;
            if *left == 0 {
                self.release();
            }
        }
    }
}

/// The commands' end of a connection.
#[derive(Debug)]
struct Handle {
    inner: Arc<dyn ConnectionHandle>,
    way: Way,
}

#[async_trait]
impl ConnectionHandle for Handle {
    async fn submit(&self, command: Command) -> Result<Ack> {
        if self.way.is_cut() {
            return Err(broken(Delivery::NotSent));
        }
        if self.way.is_silent() {
            self.way.clone().lost().await;
            return Err(Error::new(ErrorKind::Timeout, "nobody answers").with_delivery(Delivery::Unknown));
        }
        let delay = self.way.network.state().delay;
        if self.way.within(late(delay)).await.is_none() {
            return Err(broken(Delivery::NotSent));
        }
        let ordered = self.way.network.ordered(&command);
        if let Some(Instead::Fail(failure)) = ordered {
            return Err(error(failure));
        }
        let answer = self.inner.submit(command).await;
        match ordered {
            Some(Instead::FailStored(failure)) => Err(error(failure).with_delivery(Delivery::Unknown)),
            Some(Instead::StoreThenCut) => {
                self.way.network.cut();
                Err(broken(Delivery::Unknown))
            }
            Some(Instead::Late(by)) => match self.way.within(late(by)).await {
                Some(()) => answer,
                None => Err(broken(Delivery::Unknown)),
            },
            _ => answer,
        }
    }
}
