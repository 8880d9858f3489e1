//! Owns the task of one connection over CometD: takes in what the chat channel brings, says goodbye, tells how it ended.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use chat_core::{
    EndReason, Error, ErrorKind, GapHint, PollClass, RawEvent, SessionUpdate, Terminal, TransportEvent,
};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    InVain, Lost,
    line::{Heard, Line, gone},
    may_go_on,
};
use crate::{
    bayeux::client::{Closed, Deliveries, Event, Incoming},
    client::{chat::Mode, connection::ChatConnection, transport::Inner},
    error::ChatState,
    machine::Taken,
    wire::{Operation, Position, Reply, StatusCode, redact},
};

/// How many events may wait for the session before no more are taken from the server.
const WAITING_MAX: usize = 1024;
/// How long who comes back may read what was said meanwhile, if it was the last. Reading it ends the chat.
const LAST_READ: Duration = Duration::from_secs(2);
/// How long the end may wait for those who read the transcript when it came.
const READ_OUT: Duration = Duration::from_secs(10);
/// How long the goodbye may take, what is under way included.
const GOODBYE: Duration = Duration::from_secs(4);

/// Says whether the chat's notifications come now.
type Work = Pin<Box<dyn Future<Output = bool> + Send>>;

pub(super) struct Driver {
    inner: Arc<Inner>,
    connection: Arc<ChatConnection>,
    line: Arc<Line>,
    deliveries: Deliveries,
    /// Before this connection, until one of its connects is answered.
    in_vain: InVain,
    /// Reads the transcript again, or asks for notifications again.
    work: Option<Work>,
    /// The chat's notifications come.
    attached: bool,
    /// The chat server did not answer when it was asked last.
    failing: bool,
    /// When to ask for notifications again.
    ask_at: Option<Instant>,
    /// We came back, and what was missed may still be read until then.
    read_until: Option<Instant>,
    /// The chat is over, and ends then, if nobody reads it any more.
    over_at: Option<Instant>,
    /// The chat is over, and ends then at the latest.
    over_by: Option<Instant>,
    /// Goodbye is being said, until then.
    goodbye: Option<Instant>,
}

impl Driver {
    pub(super) fn new(
        inner: &Arc<Inner>,
        connection: Arc<ChatConnection>,
        line: Arc<Line>,
        deliveries: Deliveries,
        in_vain: InVain,
    ) -> Self {
        let inner = Arc::clone(inner);
        Self {
            inner,
            connection,
            line,
            deliveries,
            in_vain,
            work: None,
            attached: true,
            failing: false,
            ask_at: None,
            read_until: None,
            over_at: None,
            over_by: None,
            goodbye: None,
        }
    }

    /// Takes in what came before the task: the answer that the chat stands by, and news. `attached`: from where notifications
    /// were asked for with success; a start needs no asking.
    pub(super) fn begin(&mut self, told: Reply, attached: Option<Position>, early: Vec<Reply>) {
        match (attached, told.status_code) {
            (Some(asked), _) => {
                let operation = Operation::RequestNotifications;
                let taken = self.connection.chat().take(operation, Some(asked), &told);
                self.connection.chat().ended_away = taken.over;
                self.read_until = Some(Instant::now() + LAST_READ);
                self.taken(taken);
            }
            (None, Some(StatusCode::Ok)) => self.news(&told),
            // The chat server is not available.
            (None, _) => {
                self.attached = false;
                self.unavailable();
            }
        }
        for reply in early {
            self.news(&reply);
        }
    }

    pub(super) async fn run(mut self) {
        let outlet = &Arc::clone(&self.connection).outlet;
        let closed = loop {
            if let (Some(terminal), None) = (self.line.terminal(), self.goodbye) {
                match terminal {
                    Terminal::Ended(reason) => self.say_goodbye(&reason),
                    Terminal::Lost(_) => break None,
                }
            }
            tokio::select! {
                biased;
                () = outlet.closed() => return self.line.close(),
                () = self.line.ending() => {}
                _ = outlet.drain(), if outlet.waiting() > 0 => {}
                () = until(self.goodbye) => break None,
                () = until(self.over_at) => self.over(),
                () = until(self.ask_at), if self.work.is_none() => self.ask_again(),
                attached = at_work(&mut self.work) => {
                    self.work = None;
                    self.attached |= attached;
                    self.settle();
                }
                event = self.deliveries.next(), if outlet.waiting() < WAITING_MAX => match event {
                    Some(Event::Delivery(incoming)) => self.take_in(&incoming),
                    Some(Event::Alive) => {
                        self.in_vain = InVain::default();
                        // A hint: who has events waiting has signs of life enough.
                        if outlet.waiting() == 0 {
                            outlet.hint(TransportEvent::Alive);
                        }
                    }
                    Some(Event::Closed(closed)) => break Some(closed),
                    None => break None,
                },
            }
        };
        self.line.close();
        let terminal = self.line.terminal().unwrap_or_else(|| self.lost(closed));
        self.line.finish(terminal.clone());
        tokio::select! {
            () = outlet.closed() => {}
            _ = outlet.drain() => outlet.finish(terminal),
        }
    }

    /// The session is over, and nobody wanted it.
    fn lost(&self, closed: Option<Closed>) -> Terminal {
        let hub = self.inner.cometd.as_ref();
        let keep = |session| {
            let chat_id = self.connection.chat().followed.identity().chat_id.clone();
            if let (Some(hub), Some(chat_id)) = (hub, chat_id) {
                hub.keep(Lost { chat_id, session, stood: true, in_vain: self.in_vain.lost() });
            }
        };
        let (error, resumable) = match closed {
            Some(Closed::Unconnected(error)) => {
                keep(self.line.publisher().session().filter(|_| may_go_on(&error)));
                (error, true)
            }
            // One that is forgotten again and again is no way to follow a chat, whether nodes or tabs take it from each other.
            Some(Closed::Forgotten(error)) => {
                keep(None);
                (gone(error), true)
            }
            // It says to stop: what is left is polling, if there is a way.
            Some(Closed::Refused(error)) => {
                let mut chat = self.connection.chat();
                let polls = hub.is_some_and(|hub| hub.fallback_after.is_some()) && !chat.asynchronous;
                if polls {
                    chat.mode = Mode::Polling;
                    let saved = SessionUpdate::Saved(chat.saved());
                    drop(chat);
                    self.connection.outlet.queue(vec![TransportEvent::Session(Box::new(saved))]);
                }
                (error, polls)
            }
            Some(Closed::Left) | None => {
                (Error::new(ErrorKind::Internal, "the Bayeux session stopped"), true)
            }
        };
        Terminal::Lost(chat_core::Lost { error, resumable })
    }

    /// Closes the Bayeux session. Who leaves a chat that goes on says how far it was read (§9.4, rule 6).
    fn say_goodbye(&mut self, reason: &EndReason) {
        self.goodbye = Some(Instant::now() + GOODBYE);
        self.ask_at = None;
        let mut ext = Map::new();
        if *reason == EndReason::Left {
            let position = self.connection.chat().followed.cursor().to_string();
            ext.insert("transcriptPosition".into(), Value::String(position));
        }
        let publisher = self.line.publisher().clone();
        self.work = Some(Box::pin(async move {
            // A session that is over already is what was wanted.
            let _ = timeout(GOODBYE, publisher.disconnect(ext)).await;
            false
        }));
    }

    fn take_in(&mut self, incoming: &Incoming) {
        let text = incoming.data.get();
        let reply = if self.line.is_channel(&incoming.channel) { Reply::read(text) } else { None };
        let Some(reply) = reply else {
            let raw = RawEvent::new(incoming.channel.as_str(), &*redact(text));
            self.connection.outlet.queue(vec![TransportEvent::Other(Box::new(raw))]);
            return;
        };
        self.connection.show("data", text);
        match reply.status_code {
            Some(StatusCode::Ok) => self.available(),
            Some(StatusCode::Transient) => self.unavailable(),
            _ => {}
        }
        let heard = {
            let chat = self.connection.chat();
            self.line.hear(&chat.followed.mapper().own, reply)
        };
        match heard {
            Heard::News(reply) => self.news(&reply),
            Heard::Failure(failure) if failure.chat != ChatState::GoesOn => {
                let connection = Arc::clone(&self.connection);
                self.work_on(async move {
                    connection.examine(failure).await;
                    false
                });
            }
            Heard::Answer | Heard::Failure(_) => {}
        }
    }

    /// The transcript goes on.
    fn news(&mut self, reply: &Reply) {
        let (taken, skipped) = {
            let mut chat = self.connection.chat();
            let (before, first) =
                (chat.followed.cursor(), reply.events().iter().filter_map(|event| event.index).min());
            // Numbers are used up by what others are not told. But without acknowledgements, a push may also have been lost.
            let skipped = first.is_some_and(|first| first > before);
            (chat.hear(reply), skipped)
        };
        let acknowledged = self.line.publisher().session().is_some_and(|session| session.is_acknowledged());
        self.taken(taken);
        if skipped && !acknowledged {
            self.connection.outlet.queue(vec![TransportEvent::Gap(GapHint::SinceConfirmed)]);
        }
    }

    fn taken(&mut self, taken: Taken) {
        let Taken { events, over, ask_again, .. } = taken;
        self.connection.outlet.queue(events);
        self.connection.save();
        if over {
            self.over();
        } else if ask_again {
            let connection = Arc::clone(&self.connection);
            self.work_on(async move {
                connection.look_again().await;
                false
            });
        }
    }

    /// The chat is over: who reads it now may read it out, for the service soon knows nothing of it.
    fn over(&mut self) {
        let now = Instant::now();
        let by = *self.over_by.get_or_insert(now + READ_OUT);
        let read_until = self.read_until.max(self.line.read_until()).map(|until| until.min(by));
        self.over_at = read_until.filter(|until| now < *until);
        if self.over_at.is_none() {
            self.connection.over();
        }
    }

    /// One thing at a time: what is under way reads the same transcript.
    fn work_on(&mut self, work: impl Future<Output = bool> + Send + 'static) {
        if self.work.is_none() {
            self.work = Some(Box::pin(work));
        }
    }

    /// The chat server answers.
    fn available(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.tell_health(PollClass::Good);
        }
        self.settle();
    }

    /// The service answers, and cannot reach the chat server: it is asked again until it does.
    fn unavailable(&mut self) {
        self.failing = true;
        self.tell_health(PollClass::Exception);
        self.later();
    }

    /// Nothing is asked again once all is well.
    fn settle(&mut self) {
        if self.attached && !self.failing {
            self.ask_at = None;
        }
    }

    fn tell_health(&self, class: PollClass) {
        let update = SessionUpdate::ChatServer(class);
        self.connection.outlet.queue(vec![TransportEvent::Session(Box::new(update))]);
    }

    fn later(&mut self) {
        if self.goodbye.is_none() {
            self.ask_at = Some(Instant::now() + self.inner.config.timings.poll_interval);
        }
    }

    fn ask_again(&mut self) {
        self.later();
        let connection = Arc::clone(&self.connection);
        self.work_on(async move { connection.attach().await });
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn at_work(work: &mut Option<Work>) -> bool {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
