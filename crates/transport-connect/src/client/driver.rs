//! Owns the task of one connection: reads the socket, keeps its time, feeds the session. Obeys the machine, decides nothing.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use chat_core::{
    EndReason, Error, ErrorKind, EventSender, GapHint, Lost, RawEvent, Result, SessionUpdate, Terminal,
    TransportEvent,
};
use chat_net::ws::{WsMessage, WsStream, WsText};
use futures::{Sink, Stream};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    service::{Credentials, Service},
    tap::{self, Tapped},
};
use crate::{
    config::ParticipantKind,
    error::{closed, is_denied_by_service},
    machine::{Control, Output, Received, SocketMachine},
    map::{Chat, Consequence, People},
    wire::decode_frame,
};

/// How many frames are taken from the socket before the rest of the driver has its turn.
const BATCH: usize = 64;
/// How many events may wait before the connection stands, when nobody reads yet.
const EARLY: usize = 1024;
/// How long an orderly close may take.
const CLOSE: Duration = Duration::from_secs(1);

/// What handle and driver share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    orders: Mutex<Orders>,
    changed: Notify,
    over: AtomicBool,
}

/// What the driver is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    /// Close the connection; the chat goes on.
    pub(crate) leave: bool,
    /// The vendor is being told that we leave for good, or may have been.
    pub(crate) ending: bool,
    /// The vendor was told that we leave for good.
    pub(crate) leaving: bool,
    /// The vendor denies everything.
    pub(crate) ended: Option<EndReason>,
}

impl Shared {
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Close the connection; the chat goes on.
    pub(crate) fn leave(&self) {
        self.order(|orders| orders.leave = true);
    }

    /// The vendor is being told that we leave for good: an end is ours from here on, unless it proves not to have been told.
    pub(crate) fn ending(&self, on: bool) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).ending = on;
    }

    /// The vendor was told that we leave for good; its own end may follow.
    pub(crate) fn leaving(&self) {
        self.order(|orders| orders.leaving = true);
    }

    /// The vendor denies everything: the chat is over.
    pub(crate) fn ended(&self) {
        self.order(|orders| {
            let reason = if orders.leaving { EndReason::EndedByUs } else { EndReason::EndedByService };
            orders.ended.get_or_insert(reason);
        });
    }

    /// Waits for orders.
    pub(crate) async fn ordered(&self) {
        self.changed.notified().await;
    }

    /// The orders so far.
    pub(crate) fn orders(&self) -> Orders {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The terminal is due or taken.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn set_over(&self) {
        self.over.store(true, Ordering::Release);
    }
}

/// The socket, with what waits to be written.
#[derive(Debug)]
pub(crate) struct SocketIo {
    /// `None` once closed.
    stream: Option<WsStream>,
    out: VecDeque<Control>,
    unflushed: bool,
}

impl SocketIo {
    pub(crate) fn new(stream: WsStream) -> Self {
        Self { stream: Some(stream), out: VecDeque::new(), unflushed: false }
    }

    pub(crate) fn queue(&mut self, control: Control) {
        self.out.push_back(control);
    }

    /// Whether something waits to be written.
    pub(crate) fn is_writing(&self) -> bool {
        self.unflushed || !self.out.is_empty()
    }

    /// Writes what can be written.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut stream = Pin::new(stream);
        while let Some(control) = self.out.front() {
            match Sink::poll_ready(stream.as_mut(), cx)? {
                Poll::Ready(()) => stream.as_mut().start_send(WsText::from(control.text()))?,
                Poll::Pending => return Ok(()),
            }
            self.out.pop_front();
            self.unflushed = true;
        }
        if self.unflushed && Sink::poll_flush(stream, cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// The next frame. Errors and closes are errors.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<WsMessage>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        Pin::new(stream).poll_next(cx).map(|message| match message {
            Some(Ok(WsMessage::Closed { code, .. })) => Err(closed(code)),
            Some(message) => message,
            None => Err(closed(None)),
        })
    }

    /// Closes in an orderly way, briefly. Boxed: it happens once, and an idle connection need not hold room for it.
    pub(crate) fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let stream = self.stream.take();
        Box::pin(async move {
            if let Some(mut stream) = stream {
                let _ = timeout(CLOSE, stream.close(1000, "")).await;
            }
        })
    }

    /// Closes without a word.
    pub(crate) fn abandon(&mut self) {
        self.stream = None;
    }
}

/// One connection's task.
pub(crate) struct Driver {
    io: SocketIo,
    machine: SocketMachine,
    chat: Arc<Chat>,
    people: People,
    events: EventSender,
    /// What the channel had no room for.
    queue: VecDeque<TransportEvent>,
    /// Something was dropped before the connection stood.
    gap: bool,
    tap: bool,
    tapped: Option<Tapped>,
    shared: Arc<Shared>,
    service: Arc<Service>,
    credentials: Arc<Credentials>,
    terminal: Option<Terminal>,
    established: bool,
}

/// A renewal of the connection token, under way.
pub(crate) type Renewal = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

pub(crate) fn renew(service: &Arc<Service>, credentials: &Arc<Credentials>) -> Renewal {
    let (service, credentials) = (Arc::clone(service), Arc::clone(credentials));
    Box::pin(async move { credentials.renew(&service, credentials.current().generation).await })
}

/// Takes note of how a renewal went.
pub(crate) fn renewed(shared: &Shared, result: Result<()>) {
    match result {
        Ok(()) => tracing::debug!("the connection token was renewed"),
        Err(error) if is_denied_by_service(&error) => shared.ended(),
        Err(error) => tracing::warn!(%error, "renewing the connection token failed; it is tried again"),
    }
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "each is a part of the one connection; called once")]
    pub(crate) fn new(
        socket: WsStream,
        machine: SocketMachine,
        chat: Arc<Chat>,
        events: EventSender,
        tapped: Option<Tapped>,
        shared: Arc<Shared>,
        service: Arc<Service>,
        credentials: Arc<Credentials>,
    ) -> Self {
        Self {
            io: SocketIo::new(socket),
            machine,
            chat,
            people: People::default(),
            events,
            queue: VecDeque::new(),
            gap: false,
            tap: tapped.is_some(),
            tapped,
            shared,
            service,
            credentials,
            terminal: None,
            established: false,
        }
    }

    /// Drives the socket until the subscription is acknowledged. Nobody reads the events yet: what finds no room in the channel
    /// waits here, and beyond that is told as a gap.
    pub(crate) async fn establish(&mut self) -> Result<()> {
        loop {
            self.obey();
            if let Some(terminal) = self.terminal.take() {
                return Err(match terminal {
                    Terminal::Lost(lost) => lost.error,
                    Terminal::Ended(_) => {
                        Error::new(ErrorKind::SessionEnded, "the chat ended while connecting")
                    }
                });
            }
            if self.established {
                return Ok(());
            }
            let deadline = self.machine.deadline().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.poll_socket(cx, true)) => {}
                () = tokio::time::sleep_until(deadline) => self.machine.timeout(Instant::now()),
            }
        }
    }

    /// Drives the connection to its end.
    pub(crate) async fn run(mut self: Box<Self>) {
        let mut renewal: Option<Renewal> = None;
        let mut timer = std::pin::pin!(tokio::time::sleep_until(Instant::now()));
        let (events, shared) = (self.events.clone(), Arc::clone(&self.shared));
        let mut tapped = self.tapped.take();
        loop {
            self.obey();
            self.pass_on();
            if self.terminal.is_some() {
                break;
            }
            let full = !self.queue.is_empty();
            if full {
                self.machine.stalled();
            }
            let renew_at = if renewal.is_none() { self.credentials.due() } else { None };
            let deadline = [self.machine.deadline(), renew_at].into_iter().flatten().min();
            if let Some(deadline) = deadline
                && timer.deadline() != deadline
            {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                () = events.closed() => {
                    self.shared.set_over();
                    self.io.close().await;
                    return;
                }
                Some(answer) = tap::next(&mut tapped), if !full => self.give(raw(answer)),
                () = shared.ordered() => self.take_orders(),
                () = timer.as_mut(), if deadline.is_some() => {
                    let now = Instant::now();
                    self.machine.timeout(now);
                    if renew_at.is_some_and(|at| at <= now) {
                        renewal = Some(renew(&self.service, &self.credentials));
                    }
                }
                result = poll_fn(|cx| poll_option(&mut renewal, cx)) => {
                    renewal = None;
                    renewed(&self.shared, result);
                }
                permit = events.reserve(), if full => {
                    if let (Ok(permit), Some(event)) = (permit, self.queue.pop_front()) {
                        permit.send(event);
                    }
                }
                () = poll_fn(|cx| self.poll_socket(cx, !full)) => {}
            }
        }
        drop(events);
        while let Some(Ok(answer)) = tapped.as_mut().map(Tapped::try_recv) {
            self.queue.push_back(raw(answer));
        }
        self.finish().await;
    }

    /// Tells the session how it ended, behind everything that was received before.
    async fn finish(&mut self) {
        self.shared.set_over();
        let Some(terminal) = self.terminal.take() else { return };
        if matches!(terminal, Terminal::Ended(_)) {
            self.io.close().await;
        }
        self.io.abandon();
        while let Some(event) = self.queue.pop_front() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
        self.events.finish(terminal);
    }

    /// Carries out what the machine wants.
    fn obey(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(control) => self.io.queue(control),
                Output::Established => self.established = true,
                // Hints: if the session is busy, it has signs of life enough.
                Output::Alive => drop(self.events.try_send(TransportEvent::Alive)),
                Output::Deep(result) => {
                    let update = SessionUpdate::DeepHeartbeat(result);
                    let _ = self.events.try_send(TransportEvent::Session(Box::new(update)));
                }
                Output::Renew(before) => self.queue.push_back(TransportEvent::RenewBefore(before)),
                Output::Lost(error) => self.lose(error),
                Output::Ended(reason) => self.end(reason),
            }
        }
        self.machine.writing(Instant::now(), self.io.is_writing());
    }

    fn lose(&mut self, error: Error) {
        self.terminal.get_or_insert(Terminal::Lost(Lost { error, resumable: true }));
    }

    fn end(&mut self, reason: EndReason) {
        self.terminal.get_or_insert(Terminal::Ended(reason));
    }

    /// Gives the session what there is room for.
    fn pass_on(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            if let Err(event) = self.events.try_send(event) {
                self.queue.push_front(event);
                return;
            }
        }
        if self.gap && self.events.try_send(TransportEvent::Gap(GapHint::SinceConfirmed)).is_ok() {
            self.gap = false;
        }
    }

    fn take_orders(&mut self) {
        let Orders { leave, leaving, ended, .. } = self.shared.orders();
        if let Some(reason) = ended {
            self.end(reason);
        } else if leave {
            self.end(EndReason::Left);
        } else if leaving && !self.machine.is_leaving() {
            self.machine.leaving(Instant::now());
        }
    }

    /// Writes what waits, and takes in what has arrived, up to a batch. Ready once something has changed.
    fn poll_socket(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<()> {
        let was_writing = self.io.is_writing();
        if let Err(error) = self.io.poll_write(cx) {
            self.lose(error);
            return Poll::Ready(());
        }
        let mut progress = was_writing && !self.io.is_writing();
        if !read {
            return if progress { Poll::Ready(()) } else { Poll::Pending };
        }
        let now = Instant::now();
        for _ in 0..BATCH {
            match self.io.poll_read(cx) {
                Poll::Ready(Ok(message)) => {
                    self.take_in(now, &message);
                    progress = true;
                }
                Poll::Ready(Err(error)) => {
                    self.lose(error);
                    return Poll::Ready(());
                }
                Poll::Pending => break,
            }
            if self.terminal.is_some() || (self.established && !self.queue.is_empty()) {
                break;
            }
        }
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take_in(&mut self, now: Instant, message: &WsMessage) {
        let WsMessage::Text(text) = message else {
            // Pings and pongs prove life; binary frames are no part of this protocol.
            self.machine.received(now, crate::wire::Frame::Empty);
            return;
        };
        if self.tap {
            let kind = topic_of(text);
            self.give(raw(RawEvent::new(kind, text.as_str())));
        }
        match self.machine.received(now, decode_frame(text)) {
            Received::Item(item) => {
                let (event, consequence) = self.chat.socket_item(&mut self.people, &item);
                self.give(event);
                let ending = matches!(consequence, Consequence::ChatEnded) && self.shared.orders().ending;
                if let Some(reason) = ends(consequence, &self.chat, ending) {
                    self.end(reason);
                }
            }
            Received::Other(kind, text) => {
                self.give(TransportEvent::Other(Box::new(RawEvent::new(&*kind, text))));
            }
            Received::Control => {}
        }
    }

    /// Hands an event over, or keeps it in order behind what waits already.
    fn give(&mut self, event: TransportEvent) {
        let event = match self.queue.is_empty() {
            true => match self.events.try_send(event) {
                Ok(()) => return,
                Err(event) => event,
            },
            false => event,
        };
        if self.established || self.queue.len() < EARLY {
            self.queue.push_back(event);
        } else {
            self.gap = true;
        }
    }
}

/// Whether an item ends this participant's session, and why.
pub(crate) fn ends(consequence: Consequence, chat: &Chat, ending: bool) -> Option<EndReason> {
    match (consequence, chat.kind) {
        (Consequence::ChatEnded, _) if ending => Some(EndReason::EndedByUs),
        (Consequence::ChatEnded, _) => Some(EndReason::EndedByService),
        (Consequence::Transferred, ParticipantKind::Agent) => Some(EndReason::Transferred),
        _ => None,
    }
}

/// For the tap.
pub(crate) fn raw(shown: RawEvent) -> TransportEvent {
    TransportEvent::Raw(Box::new(shown))
}

/// The topic of a frame, for the tap.
pub(crate) fn topic_of(text: &str) -> String {
    use crate::wire::Frame;
    match decode_frame(text) {
        Frame::Chat(_) => "aws/chat".into(),
        Frame::Subscribe { .. } => "aws/subscribe".into(),
        Frame::Unsubscribe { .. } => "aws/unsubscribe".into(),
        Frame::Heartbeat => "aws/heartbeat".into(),
        Frame::Ping { .. } => "aws/ping".into(),
        Frame::OtherTopic { topic, .. } => topic.into_owned(),
        _ => String::new(),
    }
}

pub(crate) fn poll_option(renewal: &mut Option<Renewal>, cx: &mut Context<'_>) -> Poll<Result<()>> {
    match renewal {
        Some(renewal) => renewal.as_mut().poll(cx),
        None => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousands of idle sessions: each byte here counts for all of them.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Driver>() <= 1_280, "{}", size_of::<Driver>());
        let run = future_size(Driver::run);
        assert!(run <= 768, "{run}");
    }

    fn future_size<F>(_: fn(Box<Driver>) -> F) -> usize {
        size_of::<F>()
    }
}
