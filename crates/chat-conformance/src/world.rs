//! Owns what a case holds: sessions whose every event is recorded, the agent, the centre's truth, the network.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chat_core::{
    BackoffPolicy, Capabilities, Capability, ChatEvent, ChatSession, ClientToken, ConnectError,
    ConnectRequest, Content, Error, Intent, LinkState, MessageId, OutgoingBody, PendingSend, PollEvent,
    Result, Role, Row, SendStage, SessionBuilder, SessionSettings, StartRequest, Text, View,
    session::{ConnectionEvent, SentMessage},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    harness::{Action, Actor, Disturbance, Harness, StoredItem, Truth},
    recorder::{Log, SendRecord, line, lines},
    shelf::Shelf,
    wire::Wire,
};

/// How long a case waits for anything, on the harness's clock. What takes longer does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A wait looks again this often even if nobody tells of a change: not all state has an event.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// One case's world: a harness, and all that was made in it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) bench: Arc<Bench>,
    pub(crate) chats: Vec<Chat>,
    /// Items were forgotten by the centre: transcripts may hold more than it does.
    pub(crate) pruned: bool,
    pub(crate) tasks_before: usize,
}

/// What all handles of a world share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) harness: Arc<dyn Harness>,
    began: Instant,
    changed: watch::Sender<()>,
    /// How often which line was sent in which chat, by any tab.
    sent: Mutex<Vec<(usize, String)>>,
}

impl Bench {
    /// Waits until `look` finds something.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        self.until_async(what, async || look()).await
    }

    pub(crate) async fn until_async<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "waited {} s in vain: {what}", PATIENCE.as_secs());
            let _ = timeout(LOOK, changes.changed()).await;
        }
    }

    pub(crate) async fn truth(&self, chat: usize) -> Truth {
        self.harness.centre().truth(chat).await
    }

    fn sent(&self, chat: usize) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for (_, text) in
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|(of, _)| *of == chat)
        {
            *counts.entry(text.clone()).or_default() += 1;
        }
        counts
    }
}

impl World {
    pub(crate) fn new(harness: Arc<dyn Harness>) -> Self {
        let bench =
            Bench { harness, began: Instant::now(), changed: watch::Sender::new(()), sent: Mutex::default() };
        let mut world = Self { bench: Arc::new(bench), chats: Vec::new(), pruned: false, tasks_before: 0 };
        world.tasks_before = world.tasks();
        world
    }

    /// The tasks that run now, without the bench's own.
    pub(crate) fn tasks(&self) -> usize {
        let all = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        all.saturating_sub(self.harness().background_tasks())
    }

    /// The harness.
    pub(crate) fn harness(&self) -> &dyn Harness {
        &*self.bench.harness
    }

    /// What the transport says that it can do, before connecting.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.harness().transport().capabilities()
    }

    /// The settings that cases start from: quick retries, reproducible jitter, readers that miss nothing.
    pub(crate) fn settings() -> SessionSettings {
        let backoff =
            BackoffPolicy::default().with_base(Duration::from_millis(50)).with_cap(Duration::from_secs(2));
        SessionSettings::default().with_seed(Some(7)).with_reader_capacity(1 << 16).with_backoff(backoff)
    }

    /// A builder over a fresh client.
    pub(crate) fn builder(&self) -> SessionBuilder {
        ChatSession::over(self.harness().transport()).settings(Self::settings())
    }

    /// A new chat of Ada's.
    pub(crate) async fn start(&mut self) -> Chat {
        self.start_with(Self::settings()).await
    }

    /// A new chat of Ada's, with other settings.
    pub(crate) async fn start_with(&mut self, settings: SessionSettings) -> Chat {
        let builder = self.builder().settings(settings);
        self.open(builder.start(StartRequest::named("Ada"))).await.expect("the chat starts")
    }

    /// A new chat, as `opening` opens it.
    pub(crate) async fn open(
        &mut self,
        opening: impl Future<Output = Result<ChatSession, ConnectError>>,
    ) -> Result<Chat, ConnectError> {
        let session = opening.await?;
        let chat = self.harness().centre().chats().await.saturating_sub(1);
        Ok(self.record(session, chat))
    }

    /// One more session of a chat that exists.
    pub(crate) async fn open_beside(
        &mut self,
        chat: &Chat,
        opening: impl Future<Output = Result<ChatSession, ConnectError>>,
    ) -> Result<Chat, ConnectError> {
        let session = opening.await?;
        Ok(self.record(session, chat.0.chat))
    }

    /// One more tab of the same participant: another process that comes back to the same saved session.
    pub(crate) async fn another_tab(&mut self, of: &Chat) -> Chat {
        let saved = of.session().session_data().expect("a live session has data");
        let shelf = Shelf::with(saved).await;
        let builder = self.builder().keep(&shelf.directory(), "tab");
        self.open_beside(of, builder.restore()).await.expect("a second tab comes in")
    }

    /// Records all that `session` tells from now on.
    pub(crate) fn record(&mut self, session: ChatSession, chat: usize) -> Chat {
        let name = char::from(b'A' + u8::try_from(self.chats.len() % 26).unwrap_or_default());
        let log = Log::new(self.bench.began, session.link_state());
        let cell = Arc::new(Cell {
            name,
            chat,
            bench: Arc::clone(&self.bench),
            log: Mutex::new(log),
            session: Mutex::new(Some(session.clone())),
            partial: AtomicBool::new(false),
        });
        for view in [View::Full, View::Display] {
            let mut events = session.subscribe(view);
            let cell = Arc::clone(&cell);
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    let changes_rows = view == View::Full && matches!(event, ChatEvent::Transcript(_));
                    cell.log().note(view, event);
                    if changes_rows {
                        let sent = cell.bench.sent(cell.chat);
                        cell.log().watch_doubles(&sent);
                    }
                    cell.bench.changed.send_replace(());
                }
                cell.log().closed += 1;
                cell.bench.changed.send_replace(());
            });
        }
        let chat = Chat(cell);
        self.chats.push(chat.clone());
        chat
    }

    /// The agent in a chat.
    pub(crate) fn agent(&self, chat: usize) -> Agent {
        Agent { bench: Arc::clone(&self.bench), chat, actor: Actor::new(Role::Agent, "Maria") }
    }

    /// One bare connection, without a session.
    pub(crate) async fn connect(&self, intent: Intent) -> Wire {
        let connecting = self.harness().transport().connect(ConnectRequest::new(intent)).await;
        Wire::new(connecting.expect("the connection stands"))
    }

    /// Waits until the centre has no open connection.
    pub(crate) async fn no_connections(&self) {
        let none = async || (self.harness().centre().connections().await == 0).then_some(());
        self.bench.until_async("no connection is open", none).await;
    }

    /// Whether there is a connection that can be lost.
    pub(crate) fn is_pushed(&self) -> bool {
        !self.capabilities().can(Capability::Poll)
    }

    pub(crate) fn disturb(&self, what: Disturbance) {
        self.harness().network().disturb(what);
    }

    pub(crate) fn heal(&self) {
        self.harness().network().heal();
    }

    pub(crate) fn cut(&self) {
        self.disturb(Disturbance::Cut);
    }

    /// All that was recorded, as text.
    pub(crate) async fn history(&self) -> String {
        let mut out = String::new();
        for chat in &self.chats {
            chat.0.log().tell(&chat.0.name.to_string(), &mut out);
        }
        for chat in 0..self.harness().centre().chats().await {
            let truth = self.bench.truth(chat).await;
            let items: Vec<_> = truth
                .items
                .iter()
                .map(|item| {
                    let what = line(&item.content).unwrap_or_else(|| format!("{:?}", item.content));
                    format!("{what:?} {}", item.id)
                })
                .collect();
            out.push_str(&format!(
                "centre, chat {chat}: [{}], ended: {:?}, connections: {}\n",
                items.join(", "),
                truth.ended,
                truth.connections
            ));
        }
        out
    }
}

/// One recorded session. Cheap to clone; the session itself lives until [`close`](Self::close) or the end of the case.
#[derive(Clone)]
pub(crate) struct Chat(pub(crate) Arc<Cell>);

pub(crate) struct Cell {
    pub(crate) name: char,
    pub(crate) chat: usize,
    pub(crate) bench: Arc<Bench>,
    log: Mutex<Log>,
    session: Mutex<Option<ChatSession>>,
    /// It does not have to hold all: it was asked for a part, or gave up.
    partial: AtomicBool,
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chat").field(&self.0.name).finish()
    }
}

impl Cell {
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chat {
    /// The session.
    pub(crate) fn session(&self) -> ChatSession {
        self.try_session().expect("the case has not closed it")
    }

    pub(crate) fn try_session(&self) -> Option<ChatSession> {
        self.0.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops the last handle.
    pub(crate) fn close(&self) {
        self.0.session.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Drops the last handle, and waits until the session has stopped.
    pub(crate) async fn closed(&self) {
        self.close();
        self.until("the session has stopped", |_| self.0.log().closed == 2).await;
    }

    /// The transcript of this session does not have to hold everything at the end.
    pub(crate) fn is_partial(&self) {
        self.0.partial.store(true, Ordering::Relaxed);
    }

    pub(crate) fn may_be_partial(&self) -> bool {
        self.0.partial.load(Ordering::Relaxed)
    }

    // ---- waiting ----------------------------------------------------------------------------------------------------

    /// Waits until `met` holds of the session.
    pub(crate) async fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        self.0.bench.until(what, || met(self).then_some(())).await;
    }

    /// Waits until an event like this was told, and gives it.
    pub(crate) async fn event<T>(&self, what: &str, find: impl Fn(&ChatEvent) -> Option<T>) -> T {
        self.0.bench.until(what, || self.0.log().events.iter().find_map(|(_, event)| find(event))).await
    }

    /// How many events like this were told so far.
    pub(crate) fn count(&self, like: impl Fn(&ChatEvent) -> bool) -> usize {
        self.0.log().events.iter().filter(|(_, event)| like(event)).count()
    }

    /// Waits until what people see is this.
    pub(crate) async fn shows<S: AsRef<str>>(&self, expected: &[S]) {
        let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        let deadline = Instant::now() + PATIENCE;
        let mut changes = self.0.bench.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let shown = self.lines();
            if shown == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} should show {expected:?}, and shows {shown:?}",
                self.0.name
            );
            let _ = timeout(LOOK, changes.changed()).await;
        }
    }

    /// What people see now.
    pub(crate) fn lines(&self) -> Vec<String> {
        lines(&self.session().transcript())
    }

    /// The row that shows this text.
    pub(crate) fn row(&self, text: &str) -> Option<Arc<Row>> {
        let snapshot = self.session().snapshot(View::Full);
        let row = snapshot.iter().find(|row| row.content().and_then(line).as_deref() == Some(text));
        row.cloned()
    }

    /// Waits until the connection stands, polls are answered and nothing is being fetched.
    pub(crate) async fn live(&self) {
        let live = |chat: &Self| chat.session().link_state() == LinkState::Live && !chat.polls_in_vain();
        self.until("the session is live", live).await;
    }

    /// Waits until the session has noticed that the connection is gone, or that polls have no answer.
    pub(crate) async fn lost(&self) {
        let down = |state| !matches!(state, LinkState::Live | LinkState::Backfilling);
        let lost = |chat: &Self| down(chat.session().link_state()) || chat.polls_in_vain();
        self.until("the loss is noticed", lost).await;
    }

    /// Waits until the session has told, once at least, that it is back after a loss.
    pub(crate) async fn restored(&self) {
        let back = |event: &ChatEvent| match event {
            ChatEvent::Connection(event) => matches!(**event, ConnectionEvent::Restored(_)),
            ChatEvent::Poll(event) => *event == PollEvent::Reconnected,
            _ => false,
        };
        self.until("it is back", |chat| chat.count(back) > 0).await;
    }

    /// How often this was told of polling.
    pub(crate) fn polled(&self, like: PollEvent) -> usize {
        self.count(|event| matches!(event, ChatEvent::Poll(event) if *event == like))
    }

    /// What was told of polling, in order.
    pub(crate) fn poll_events(&self) -> Vec<PollEvent> {
        let log = self.0.log();
        let polled = log.events.iter().filter_map(|(_, event)| match event {
            ChatEvent::Poll(event) => Some(*event),
            _ => None,
        });
        polled.collect()
    }

    /// Whether the session has told that polls have no answer, and not yet that they have one again.
    fn polls_in_vain(&self) -> bool {
        let of_polls = |(_, event): &(_, ChatEvent)| match event {
            ChatEvent::Poll(event @ (PollEvent::Disconnected | PollEvent::Reconnected)) => Some(*event),
            _ => None,
        };
        self.0.log().events.iter().rev().find_map(of_polls) == Some(PollEvent::Disconnected)
    }

    /// Waits until the chat is over for this session.
    pub(crate) async fn ended(&self) -> chat_core::EndReason {
        self.event("the chat is over", |event| match event {
            ChatEvent::Ended(reason) => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    // ---- the centre -------------------------------------------------------------------------------------------------

    /// What the centre knows of this chat.
    pub(crate) async fn truth(&self) -> Truth {
        self.0.bench.truth(self.0.chat).await
    }

    /// Waits until `met` holds of the centre's truth.
    pub(crate) async fn until_truth(&self, what: &str, met: impl Fn(&Truth) -> bool) -> Truth {
        let look = async || {
            let truth = self.truth().await;
            met(&truth).then_some(truth)
        };
        self.0.bench.until_async(what, look).await
    }

    /// The agent whom Ada talks to.
    pub(crate) fn agent(&self) -> Agent {
        self.actor(Role::Agent, "Maria")
    }

    /// Anybody in the centre.
    pub(crate) fn actor(&self, role: Role, name: &str) -> Agent {
        Agent { bench: Arc::clone(&self.0.bench), chat: self.0.chat, actor: Actor::new(role, name) }
    }

    // ---- sending ----------------------------------------------------------------------------------------------------

    /// Sends a text, which must be accepted.
    pub(crate) fn send(&self, text: &str) -> Sending {
        self.send_body(text, OutgoingBody::Text(Text::plain(text)))
    }

    /// Sends anything, which must be accepted and will be shown as `line`.
    pub(crate) fn send_body(&self, line: &str, body: OutgoingBody) -> Sending {
        self.try_send(line, |session| session.send_with(body, serde_json::Value::Null)).expect("accepted")
    }

    /// Sends as `send` does, and records what becomes of it.
    pub(crate) fn try_send(
        &self,
        line: &str,
        send: impl FnOnce(&ChatSession) -> Result<PendingSend>,
    ) -> Result<Sending> {
        // Recorded first: the row stands before the call returns.
        let at = {
            let mut log = self.0.log();
            log.sends.push(SendRecord { token: None, text: line.into(), outcome: None });
            let mut sent = self.0.bench.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.push((self.0.chat, line.into()));
            log.sends.len() - 1
        };
        match send(&self.session()) {
            Ok(pending) => {
                let token = pending.token().clone();
                self.0.log().sends[at].token = Some(token.clone());
                let cell = Arc::clone(&self.0);
                tokio::spawn(async move {
                    let outcome = pending.await;
                    cell.log().sends[at].outcome = Some(outcome);
                    cell.bench.changed.send_replace(());
                });
                Ok(Sending { cell: Arc::clone(&self.0), at, token })
            }
            Err(error) => {
                self.0.log().sends.remove(at);
                Err(error)
            }
        }
    }

    /// Waits until the send with this text waits: at once where no connection stands, else after an attempt that did not get through.
    pub(crate) async fn waits(&self, text: &str) {
        let waits = |chat: &Self| chat.stage(text) == Some((false, SendStage::Queued));
        self.until(&format!("{text:?} waits"), waits).await;
    }

    /// How far the send with this text has come in the transcript.
    pub(crate) fn stage(&self, text: &str) -> Option<(bool, SendStage)> {
        self.row(text)?.send_state().map(|state| (state.sent, state.stage))
    }
}

/// A send on its way.
#[derive(Debug)]
pub(crate) struct Sending {
    cell: Arc<Cell>,
    at: usize,
    pub(crate) token: ClientToken,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sending {
    /// Waits for its outcome.
    pub(crate) async fn outcome(&self) -> Result<SentMessage> {
        let text = self.cell.log().sends[self.at].text.clone();
        let look = || self.cell.log().sends[self.at].outcome.clone();
        self.cell.bench.until(&format!("the fate of {text:?}"), look).await
    }

    /// Waits until the centre has it.
    pub(crate) async fn sent(&self) -> SentMessage {
        self.outcome().await.expect("it is sent")
    }

    /// Waits until it has failed.
    pub(crate) async fn fails(&self) -> Error {
        self.outcome().await.expect_err("it fails")
    }
}

/// Somebody in the centre.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    bench: Arc<Bench>,
    chat: usize,
    actor: Actor,
}

impl Agent {
    /// Does something, which the centre must accept.
    pub(crate) async fn act(&self, action: Action) -> Option<MessageId> {
        let what = format!("{action:?}");
        let done = self.bench.harness.centre().act(self.chat, &self.actor, action).await;
        done.unwrap_or_else(|error| panic!("the centre refused {what}: {error:?}"))
    }

    async fn makes(&self, action: Action) -> MessageId {
        self.act(action).await.expect("an item comes of it")
    }

    pub(crate) async fn join(&self) {
        self.act(Action::Join).await;
    }

    pub(crate) async fn say(&self, text: &str) -> MessageId {
        self.makes(Action::Post(Content::Text(Text::plain(text)))).await
    }

    /// Says `{prefix} 1` to `{prefix} {count}`, and gives the texts.
    pub(crate) async fn say_many(&self, prefix: &str, count: usize) -> Vec<String> {
        let texts: Vec<_> = (1..=count).map(|number| format!("{prefix} {number}")).collect();
        for text in &texts {
            self.say(text).await;
        }
        texts
    }

    pub(crate) async fn post(&self, content: Content) -> MessageId {
        self.makes(Action::Post(content)).await
    }

    pub(crate) async fn types(&self, on: bool) {
        self.act(Action::Type(on)).await;
    }

    /// Reads the message with this text.
    pub(crate) async fn reads(&self, text: &str) {
        let id = self.id_of(text).await;
        self.act(Action::Read(id)).await;
    }

    /// Gets the message with this text.
    pub(crate) async fn gets(&self, text: &str) {
        let id = self.id_of(text).await;
        self.act(Action::Got(id)).await;
    }

    pub(crate) async fn id_of(&self, text: &str) -> MessageId {
        let truth = self.bench.truth(self.chat).await;
        truth.find(text).map(|item: &StoredItem| item.id.clone()).expect("the centre has the message")
    }

    pub(crate) async fn send_file(
        &self,
        name: &str,
        content_type: &str,
        bytes: impl Into<Bytes>,
    ) -> MessageId {
        let (name, content_type) = (name.into(), content_type.into());
        self.makes(Action::SendFile { name, content_type, bytes: bytes.into() }).await
    }

    pub(crate) async fn end(&self) {
        self.act(Action::End).await;
    }
}
