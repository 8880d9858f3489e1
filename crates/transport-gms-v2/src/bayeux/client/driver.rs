//! Owns the task of one session: feeds the machine and obeys it. Decides nothing.

use std::{collections::VecDeque, sync::Arc};

use chat_core::{Result, Secret};
use serde_json::{Map, Value, value::RawValue};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    BayeuxSession, Closed, Cookies, Event, Shared,
    link::{Input, Link},
    machine::{Machine, Output, Way},
};

type Answer = oneshot::Sender<Result<()>>;

/// What the application wants.
#[derive(Debug)]
pub(super) enum Order {
    Publish { channel: String, data: Box<RawValue>, answer: Answer },
    Subscribe { channel: String, answer: Answer },
    Disconnect { ext: Map<String, Value> },
}

/// A session's task; dropping it stops it.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(driver: Driver) -> Self {
        Self(tokio::spawn(Box::new(driver).run()))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Driver {
    link: Link,
    machine: Machine,
    orders: mpsc::Receiver<Order>,
    answer: Option<Answer>,
    events: mpsc::Sender<Event>,
    /// What the channel had no room for.
    waiting: VecDeque<Event>,
    max_waiting: usize,
    shared: Arc<Shared>,
    cookies: Cookies,
    way: Way,
    connected: bool,
    closed: Option<Closed>,
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "each is a part of the one session; called once")]
    pub(super) fn new(
        link: Link,
        machine: Machine,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
        shared: Arc<Shared>,
        max_waiting: usize,
        cookies: Cookies,
        way: Way,
    ) -> Self {
        Self {
            link,
            machine,
            orders,
            answer: None,
            events,
            waiting: VecDeque::new(),
            max_waiting,
            shared,
            cookies,
            way,
            connected: false,
            closed: None,
        }
    }

    /// Handshakes, or goes on with a session, until the first connect is answered.
    pub(super) async fn establish(&mut self, session: Option<(Secret, Option<i64>)>) -> Result<()> {
        let now = Instant::now();
        match session {
            Some((client_id, ack)) => self.machine.resume(now, client_id, ack),
            None => self.machine.handshake(now),
        }
        loop {
            self.obey();
            if let Some(closed) = self.closed.take() {
                return Err(closed.into_error());
            }
            if self.connected {
                return Ok(());
            }
            tokio::select! {
                biased;
                input = self.link.next() => self.take_in(input),
                () = until(self.machine.deadline()) => self.machine.timeout(Instant::now()),
            }
        }
    }

    /// Drives the session to its end.
    pub(super) async fn run(mut self: Box<Self>) {
        let events = self.events.clone();
        let mut ordered = true;
        loop {
            self.obey();
            self.pass_on();
            if self.closed.is_some() {
                break;
            }
            self.machine.pause(Instant::now(), self.waiting.len() >= self.max_waiting);
            self.obey();
            tokio::select! {
                biased;
                () = events.closed() => return,
                () = until(self.machine.deadline()) => self.machine.timeout(Instant::now()),
                permit = events.reserve(), if !self.waiting.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.waiting.pop_front()) {
                        permit.send(event);
                    }
                }
                order = self.orders.recv(), if ordered && self.machine.is_free() => match order {
                    Some(order) => self.take_order(order),
                    None => ordered = false,
                },
                // A socket may bring more than was connected for: then it is read no further.
                input = self.link.next(), if self.waiting.len() < self.max_waiting.saturating_mul(2) => {
                    self.take_in(input);
                }
            }
        }
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Publish { answer, .. } | Order::Subscribe { answer, .. } = order {
                let _ = answer.send(Err(super::over()));
            }
        }
        while let Some(event) = self.waiting.pop_front() {
            if events.send(event).await.is_err() {
                return;
            }
        }
        self.shared.lock().closed = self.closed.take();
    }

    fn take_order(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Publish { channel, data, answer } => {
                self.answer = Some(answer);
                self.machine.publish(now, channel, data);
            }
            Order::Subscribe { channel, answer } => {
                self.answer = Some(answer);
                self.machine.subscribe(now, channel);
            }
            Order::Disconnect { ext } => self.machine.disconnect(now, ext),
        }
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Received(exchange, messages) => self.machine.received(Instant::now(), exchange, messages),
            Input::Failed(exchange, error) => self.machine.failed(exchange, error),
        }
    }

    /// Carries out what the machine wants.
    fn obey(&mut self) {
        let mut news = false;
        while let Some(output) = self.machine.poll() {
            news = true;
            match output {
                Output::Send(request) => self.link.send(*request),
                Output::Connected => self.connected = true,
                Output::Deliver(incoming) => self.waiting.push_back(Event::Delivery(incoming)),
                // A hint: who has not taken the last one needs no other.
                Output::Alive if matches!(self.waiting.back(), Some(Event::Alive)) => {}
                Output::Alive => self.waiting.push_back(Event::Alive),
                Output::Answered(result) => {
                    if let Some(answer) = self.answer.take() {
                        let _ = answer.send(result);
                    }
                }
                Output::Over(closed) => self.closed = Some(closed),
            }
        }
        if news && let Some((client_id, ack)) = self.machine.session() {
            let session = BayeuxSession {
                client_id: client_id.clone(),
                ack,
                way: self.way,
                cookies: self.cookies.clone(),
            };
            self.shared.lock().session = Some(session);
        }
    }

    /// Gives the reader what there is room for.
    fn pass_on(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(error) => {
                    self.waiting.push_front(error.into_inner());
                    return;
                }
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
