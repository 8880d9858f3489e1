//! Owns one chat: its transcript as the service tells it, who is in it, and the session behind.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chat_core::{
    Capability, ChatEvent, ChatSession, ClientToken, Events, LinkState, OutgoingBody, PendingSend, Role,
    RosterEvent, Secret, View,
};
use futures::FutureExt;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use super::{
    Shared,
    config::FrontConfig,
    faults::Failover,
    state::{End, State},
};
use crate::wire::{Identity, Position, Reply, TranscriptEvent};

/// How long the backend may take to end a chat that is to end.
const END_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Chat {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) secure_key: Secret,
    pub(super) service: String,
    /// The client may be away for as long as it likes.
    asynchronous: bool,
    pub(super) session: ChatSession,
    config: Arc<FrontConfig>,
    state: Mutex<State>,
    /// Told after each change of the transcript.
    news: watch::Sender<()>,
}

/// What a chat begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) secure_key: Secret,
    pub(super) service: String,
    pub(super) asynchronous: bool,
    pub(super) session: ChatSession,
    pub(super) nickname: Arc<str>,
}

/// Refreshes of one chat.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    now: u32,
    at_once: u32,
}

/// A refresh that is under way.
#[derive(Debug)]
pub(super) struct Refreshing(Arc<Chat>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.state().refreshes.now -= 1;
    }
}

impl Chat {
    pub(super) fn new(beginning: Beginning, config: &Arc<FrontConfig>) -> Self {
        let Beginning { id, user_id, secure_key, service, asynchronous, session, nickname } = beginning;
        let state = State::new(Arc::clone(config), nickname);
        Self {
            id,
            user_id,
            secure_key,
            service,
            asynchronous,
            session,
            config: Arc::clone(config),
            state: Mutex::new(state),
            news: watch::Sender::new(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and tells those who wait for something.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let result = act(&mut self.state());
        self.news.send_replace(());
        result
    }

    /// Told after each change of the transcript.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// A request came.
    pub(super) fn touch(&self) {
        self.state().asked = Instant::now();
    }

    /// Whether a request came within this time, or somebody is attached.
    pub(super) fn is_heard(&self, within: Duration) -> bool {
        let state = self.state();
        state.attached > 0 || state.asked.elapsed() < within
    }

    /// A refresh is under way until what this gives is dropped.
    pub(super) fn refreshing(self: &Arc<Self>) -> Refreshing {
        let refreshes = &mut self.state().refreshes;
        refreshes.now += 1;
        refreshes.at_once = refreshes.at_once.max(refreshes.now);
        Refreshing(Arc::clone(self))
    }

    pub(super) fn refreshes_at_once(&self) -> u32 {
        self.state().refreshes.at_once
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().ended
    }

    pub(super) fn can(&self, capability: Capability) -> bool {
        self.session.capabilities().can(capability)
    }

    /// Who this is, as every good reply says.
    pub(super) fn identity(&self) -> Identity {
        let user_id = Some(self.user_id.clone());
        Identity { user_id, secure_key: Some(self.secure_key.clone()), ..self.names() }
    }

    /// What a failure says of it.
    pub(super) fn names(&self) -> Identity {
        Identity { chat_id: Some(self.id.clone()), alias: Some(self.alias()), ..Identity::default() }
    }

    pub(super) fn alias(&self) -> String {
        self.state().alias.to_string()
    }

    /// A good answer: what there is from `position` on.
    pub(super) fn reply(&self, position: Position) -> Reply {
        let identity = self.identity();
        let mut state = self.state();
        let events = state.log.read(position);
        Reply::success(identity, events, state.log.next(), state.ended)
    }

    /// Whether the backend cannot be reached now. One that was given up is asked for once more.
    pub(super) fn is_cut_off(&self) -> bool {
        match self.session.link_state() {
            LinkState::Live | LinkState::Backfilling => self.state().unpolled,
            LinkState::Ended => false,
            LinkState::Failed => {
                // It refuses only if the chat is over, which is told soon.
                let _ = self.session.reconnect(None);
                true
            }
            _ => true,
        }
    }

    /// Hands a message to the session. The chat's lock is held, so that nothing of it is told before it is known here.
    pub(super) fn send(
        &self,
        body: OutgoingBody,
        message_type: Option<Arc<str>>,
        file: Option<Arc<str>>,
    ) -> chat_core::Result<PendingSend> {
        let mut state = self.state();
        let pending = self.session.send_with(body, Value::Null)?;
        state.sending(pending.token(), message_type, file);
        Ok(pending)
    }

    /// The message certainly did not arrive.
    pub(super) fn not_sent(&self, token: &ClientToken) {
        self.state().not_sent(token);
    }

    /// Resolves once the message stands in the transcript.
    pub(super) async fn told(&self, token: &ClientToken) {
        self.while_untold(|state| state.is_untold(token)).await;
    }

    /// Resolves once what the backend took stands in the transcript.
    pub(super) async fn said(&self, ticket: u64) {
        self.while_untold(|state| state.is_unsaid(ticket)).await;
    }

    async fn while_untold(&self, untold: impl Fn(&State) -> bool) {
        let mut news = self.news();
        if untold(&self.state()) {
            // A backend that is polled shows it no sooner. If a poll is under way, or none can be made, it is shown later.
            let _ = self.session.poll();
        }
        while untold(&self.state()) {
            // The sender lives in `self`: an error cannot be.
            let _ = news.changed().await;
        }
    }

    /// The client was handed these: the backend is told, where it wants to know.
    pub(super) fn delivered(&self, events: &[TranscriptEvent]) {
        let Some(newest) = events.iter().filter_map(|event| event.index).max() else { return };
        if !self.can(Capability::DeliveredReceipts) {
            return;
        }
        let message = self.state().message_at(newest);
        // A chat that is over wants to know nothing.
        let _ = message.map(|message| self.session.mark_delivered(&message));
    }

    /// The same chat on another chat server (§8.1).
    pub(super) fn fail_over(&self, how: &Failover) {
        self.change(|state| {
            state.alias += 1;
            if how.mask {
                state.log.mask();
            }
            if how.rejoin {
                let time = state.utc(None);
                for seat in state.parties.others() {
                    state.depart(seat, time);
                    state.arrive(seat, time);
                }
            }
        });
    }

    pub(super) fn change_alias(&self) {
        self.state().alias += 1;
    }

    /// A CometD session asked to hear of the chat.
    pub(super) fn count_listening(&self) {
        self.state().listenings += 1;
    }

    /// A CometD session is attached, or no longer.
    pub(super) fn attach(&self, on: bool) {
        let mut state = self.state();
        if on {
            state.attached += 1;
        } else {
            state.attached = state.attached.saturating_sub(1);
            // The time that the client may be away begins; it was not heard of now.
            state.detached = Instant::now();
        }
    }

    /// The index that the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.state().log.next()
    }

    pub(super) fn finish(&self, end: End) {
        self.change(|state| {
            self.release(state);
            state.finish(end);
        });
    }

    /// Rows that waited for those before them are told.
    fn release(&self, state: &mut State) {
        if state.withheld_until().is_some() && !state.ended {
            state.take_rows(&self.session.snapshot(View::Full));
        }
    }

    /// Takes in what the session tells. Says whether the chat is over.
    fn take(&self, events: Vec<ChatEvent>) -> bool {
        let mut roster = false;
        self.change(|state| {
            let filling = self.session.link_state() == LinkState::Backfilling;
            if !filling {
                self.release(state);
            }
            for event in events {
                match event {
                    ChatEvent::Participant(event) => {
                        roster = true;
                        if let RosterEvent::Renamed(member) = &event.change {
                            state.renamed(&member.who);
                        }
                    }
                    other => state.take(other, filling),
                }
            }
            if roster && !state.ended {
                let own = self.session.info().and_then(|info| info.participant);
                for member in self.session.participants() {
                    let is_own = match &member.who.id {
                        Some(id) => own.as_ref() == Some(id),
                        None => member.who.role == Role::Customer,
                    };
                    if !is_own {
                        state.reconcile(&member);
                    }
                }
            }
            state.ended
        })
    }

    /// When something is due that nobody asks for.
    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let flex = (!self.asynchronous).then(|| state.flex());
        [flex, state.idle(), state.order_due()].into_iter().flatten().min()
    }

    /// Something may be due. Says whether the backend's chat is to end.
    fn tick(&self) -> bool {
        self.change(|state| {
            let now = Instant::now();
            let gone = !self.asynchronous && state.flex() <= now;
            if gone || [state.withheld_until(), state.idle()].into_iter().flatten().any(|due| due <= now) {
                self.release(state);
            }
            state.order_tick(now);
            if gone {
                debug!(chat = self.id, "the client is gone");
                state.finish(End::ClientGone);
                return true;
            }
            state.idle_tick(now)
        })
    }

    /// Ends the chat at the backend, for as long as it takes within reason.
    pub(super) async fn give_up(&self) {
        if let Ok(Err(error)) = timeout(END_WITHIN, self.session.end()).await {
            debug!(%error, "the backend did not end the chat");
        }
    }
}

/// Runs until the chat is over, then keeps it for those who have not heard of its end.
pub(super) async fn drive(front: Arc<Shared>, chat: Arc<Chat>, mut events: Events) {
    let mut news = chat.news();
    loop {
        let due = async {
            match chat.deadline() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else {
                    chat.finish(End::Closed);
                    break;
                };
                let mut batch = vec![event];
                while let Some(Some(event)) = events.next().now_or_never() {
                    batch.push(event);
                }
                if chat.take(batch) {
                    break;
                }
            }
            // Something may be due sooner than before.
            _ = news.changed() => {}
            () = due => if chat.tick() {
                chat.give_up().await;
                break;
            }
        }
    }
    drop(events);
    if chat.session.ended().is_none() {
        chat.give_up().await;
    }
    tokio::time::sleep(chat.config.ended_kept).await;
    front.forget(&chat);
}
