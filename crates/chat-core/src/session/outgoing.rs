//! Owns what goes out: messages, receipts, typing, polls; and what their answers mean.

use std::sync::Arc;

use serde_json::Value;
use tokio::{sync::oneshot, time::Instant};

use super::{
    event::{ChatEvent, SentMessage},
    ingest::Origin,
    settling::shown,
    state::{Origination, State, Ticket, Waiter},
};
use crate::{
    capabilities::Capability,
    command::{Ack, Command, OutgoingBody, PollScope, ReceiptKind, ReceiptSignal, Sent, TypingSignal},
    error::{Error, Result, Retry},
    ids::{ClientToken, Scope, TransportId},
    message::{Alias, Content, SendStage, SendState, TextFormat},
    outbox::{OutboxAction, OutboxInput},
    poll::{Poll, PollAction, PollClass, PollEvent, PollInput},
    transcript::{LocalRow, Row},
    typing::TypingAction,
};

impl State {
    // ---- messages ---------------------------------------------------------------------------------------------------

    /// Accepts a message: it stands in the transcript from now on.
    pub(super) fn push(
        &mut self,
        now: Instant,
        body: OutgoingBody,
        metadata: Value,
    ) -> Result<(ClientToken, oneshot::Receiver<Result<SentMessage>>)> {
        if let Some(error) = self.inactive() {
            return Err(error);
        }
        self.check_body(&body)?;
        let content = shown(&body);
        let (token, actions) = self.outbox.push(now, body)?;
        self.poll_input(now, PollInput::Activity);
        let (outcome, receiver) = oneshot::channel();
        self.waiters.insert(token.clone(), Waiter { outcome, metadata });
        self.show_local(&token, content);
        let typing = self.own_typing.message_sent(now);
        self.obey_typing_all(typing);
        self.obey_outbox(now, actions);
        Ok((token, receiver))
    }

    /// Puts a queued message into the transcript.
    pub(super) fn show_local(&mut self, token: &ClientToken, content: Content) {
        let alias = Alias::token(&self.scope(), token);
        let sequence = self.outbox.sequence(token).unwrap_or_default();
        let state = SendState { sent: false, attempt: 0, stage: SendStage::Queued };
        let quiet = matches!(&content, Content::Text(text) if text.format == TextFormat::PageTurn);
        let row = LocalRow { quiet, ..LocalRow::new(alias, sequence, content, state) };
        self.transcript.local(row.written_at(self.clock.now()));
    }

    fn check_body(&self, body: &OutgoingBody) -> Result<()> {
        match body {
            OutgoingBody::Text(text) => {
                if text.body.trim().is_empty() {
                    return Err(Error::invalid_input("no message text provided"));
                }
                if let Some(limit) = self.capabilities.text_max_bytes
                    && text.body.len() as u64 > u64::from(limit)
                {
                    return Err(Error::too_large("text", text.body.len() as u64, limit.into(), "bytes"));
                }
                if let Some(limit) = self.capabilities.text_max_chars {
                    let count = text.body.chars().count() as u64;
                    if count > u64::from(limit) {
                        return Err(Error::too_large("text", count, limit.into(), "characters"));
                    }
                }
            }
            OutgoingBody::File(upload) => {
                if upload.name.trim().is_empty() {
                    return Err(Error::invalid_input("the file has no name"));
                }
                if upload.size == 0 {
                    return Err(Error::invalid_input("the file is empty"));
                }
                if let Some(limit) = self.capabilities.file_max_bytes
                    && upload.size > limit
                {
                    return Err(Error::too_large("file", upload.size, limit, "bytes"));
                }
                let types = self.capabilities.file_types;
                if !types.is_empty()
                    && !types.iter().any(|known| known.eq_ignore_ascii_case(&upload.content_type))
                {
                    return Err(Error::invalid_input("this type of file is not accepted"));
                }
            }
        }
        body.capability().map_or(Ok(()), |capability| self.require(capability))
    }

    pub(super) fn scope(&self) -> Scope {
        self.info.as_ref().map_or_else(|| Scope::new(""), |info| info.scope.clone())
    }

    pub(super) fn cancel(&mut self, now: Instant, token: &ClientToken) -> bool {
        match self.outbox.cancel(now, token) {
            Ok(actions) => {
                self.obey_outbox(now, actions);
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn give_up(&mut self, now: Instant, token: &ClientToken) {
        if let Ok(actions) = self.outbox.give_up(now, token) {
            self.obey_outbox(now, actions);
        }
    }

    pub(super) fn outbox_input(&mut self, now: Instant, input: OutboxInput) {
        let actions = self.outbox.handle(now, input);
        self.obey_outbox(now, actions);
    }

    pub(super) fn obey_outbox(&mut self, now: Instant, actions: Vec<OutboxAction>) {
        for action in actions {
            match action {
                OutboxAction::Send(outgoing) => {
                    self.departs(&outgoing.token);
                    let ticket = Ticket::Send { token: outgoing.token.clone(), attempt: outgoing.attempt };
                    self.submit(now, ticket, Command::Send(outgoing));
                }
                OutboxAction::Settle { token, body, .. } => self.settle(now, token, body),
                OutboxAction::State { token, state } => {
                    let alias = Alias::token(&self.scope(), &token);
                    self.transcript.set_send_state(&alias, state);
                }
                OutboxAction::Done { token, result } => self.resolve(&token, result),
                OutboxAction::RefreshCredentials => self.refresh_credentials(now),
                OutboxAction::Persist { version } => self.persist(version),
            }
        }
        self.release_echoes(now);
        self.submit_leave();
    }

    fn resolve(&mut self, token: &ClientToken, result: Result<Sent>) {
        if let Err(error) = &result {
            self.publish(ChatEvent::Error(error.clone()));
        }
        let Some(waiter) = self.waiters.remove(token) else { return };
        let metadata = waiter.metadata;
        let result = result.map(|sent| {
            let row = self.transcript.get(&Alias::token(&self.scope(), token));
            let told = sent.sighting.as_deref();
            SentMessage {
                id: told
                    .and_then(|sighting| sighting.aliases.message_id())
                    .or_else(|| row.and_then(|row| row.message_id())),
                time: told.and_then(|sighting| sighting.time),
                metadata,
            }
        });
        // Nobody waiting is fine: the message stands in the transcript.
        let _ = waiter.outcome.send(result);
    }

    pub(super) fn on_send_answer(
        &mut self,
        now: Instant,
        token: ClientToken,
        attempt: u32,
        result: Result<Ack>,
    ) {
        let input = match result {
            Ok(Ack::Sent(sent)) => {
                if let Some(told) = &sent.sighting {
                    self.sight_own(now, &token, told, Origin::Answer);
                }
                OutboxInput::Acked { token, attempt, sent }
            }
            Ok(_) => OutboxInput::Acked { token, attempt, sent: Sent::default() },
            Err(error) => OutboxInput::Failed { token, attempt, error },
        };
        let acked = match &input {
            OutboxInput::Acked { token, .. } => {
                self.outbox.body(token).map(|body| (token.clone(), shown(body)))
            }
            _ => None,
        };
        if let Some((token, content)) = acked {
            self.await_echo(token, content);
        }
        self.outbox_input(now, input);
    }

    /// The credentials were refused on a send: the connection is made anew, once.
    fn refresh_credentials(&mut self, now: Instant) {
        match self.link.reconnect(now, true) {
            Ok(actions) => {
                self.refreshing = true;
                self.obey_links(now, actions);
            }
            Err(_) => self.outbox_input(now, OutboxInput::Refreshed { ok: false }),
        }
    }

    // ---- receipts ---------------------------------------------------------------------------------------------------

    /// A message was delivered or read here.
    pub(super) fn mark(&mut self, now: Instant, row: &Arc<Row>, kind: ReceiptKind) {
        let capability = match kind {
            ReceiptKind::Delivered => Capability::DeliveredReceipts,
            ReceiptKind::Read => Capability::ReadReceipts,
        };
        if !self.capabilities.can(capability) {
            return;
        }
        let (Some(id), Some(mark)) = (row.message_id(), row.mark()) else { return };
        let spot = self.transcript.spot(mark);
        let signals = self.receipts.mark(now, &id, kind, spot);
        self.send_receipts(now, signals);
    }

    pub(super) fn receipts_tick(&mut self, now: Instant) {
        let signals = self.receipts.tick(now);
        self.send_receipts(now, signals);
    }

    fn send_receipts(&mut self, now: Instant, signals: Vec<ReceiptSignal>) {
        for signal in signals {
            self.submit(now, Ticket::Receipt(signal.clone()), Command::Receipt(signal));
        }
    }

    pub(super) fn on_receipt_answer(&mut self, now: Instant, signal: &ReceiptSignal, failed: bool) {
        if failed {
            self.receipts.failed(now, signal);
        }
    }

    // ---- typing -----------------------------------------------------------------------------------------------------

    pub(super) fn obey_typing_all(&mut self, actions: Vec<TypingAction>) {
        for action in actions {
            self.obey_typing(action);
        }
    }

    fn obey_typing(&mut self, action: TypingAction) {
        match action {
            TypingAction::Send(signal) => {
                let signal = if self.capabilities.can(Capability::TypingPreview) {
                    signal
                } else {
                    TypingSignal { preview: None, ..signal }
                };
                // Typing is of the moment: while there is no connection it is dropped.
                self.submit_if_live(Ticket::Typing, Command::Typing(signal));
            }
            TypingAction::Own { .. } => {}
        }
    }

    // ---- polling ----------------------------------------------------------------------------------------------------

    /// Polls, or no longer, as the connection that stands now can. `anew` if nothing that is under way concerns it.
    pub(super) fn follow_polling(&mut self, now: Instant, anew: bool) {
        if self.capabilities.can(Capability::Poll) {
            let policy = self.settings.poll.for_vendor(&self.capabilities);
            self.poll_machine().set_policy(policy);
            if anew {
                self.poll_input(now, PollInput::Released);
            }
            self.poll_input(now, PollInput::Start);
        } else {
            self.poll_input(now, PollInput::Held);
            self.poll_input(now, PollInput::Stop);
        }
    }

    /// A push connection says how the chat server answers.
    pub(super) fn on_chat_server(&mut self, now: Instant, class: PollClass) {
        self.poll_machine();
        self.poll_input(now, PollInput::Heard(class));
    }

    /// The machine, made when it is first needed: most connections never are polled.
    pub(super) fn poll_machine(&mut self) -> &mut Poll {
        let Self { poll, settings, capabilities, seed, origination, ready, .. } = self;
        poll.get_or_insert_with(|| {
            let restoring = matches!(origination, Origination::Restore { .. }) && !*ready;
            Box::new(Poll::new(settings.poll.for_vendor(capabilities), *seed).restoring(restoring))
        })
    }

    /// A request was answered well: to a polled server it proves that the chat goes on, as a poll does.
    pub(super) fn served(&mut self, now: Instant) {
        self.poll_input(now, PollInput::Served);
    }

    pub(super) fn poll_input(&mut self, now: Instant, input: PollInput) {
        if let Some(poll) = &mut self.poll {
            let actions = poll.handle(now, input);
            self.obey_poll(now, actions);
            self.open_lane(now);
        }
    }

    /// Sends leave while the link lets them and the chat server can be reached: into an outage they would be sent in vain, until
    /// they are given up.
    pub(super) fn open_lane(&mut self, now: Instant) {
        let open = self.lane.released && !self.poll.as_deref().is_some_and(Poll::is_cut_off);
        if std::mem::replace(&mut self.lane.open, open) != open {
            self.outbox_input(now, if open { OutboxInput::Released } else { OutboxInput::Held });
        }
    }

    pub(super) fn obey_poll(&mut self, now: Instant, actions: Vec<PollAction>) {
        for action in actions {
            match action {
                PollAction::PollNow => {
                    // The machine asks for nothing while no connection stands.
                    let Some(generation) = self.live_generation() else { continue };
                    self.submit(now, Ticket::Poll { generation }, Command::Poll(PollScope::New));
                }
                PollAction::Publish(event) => {
                    log_poll(self.transport, event);
                    self.publish(ChatEvent::Poll(event));
                }
            }
        }
    }

    pub(super) fn on_poll_answer(&mut self, now: Instant, generation: u64, result: Result<Ack>) {
        // What an earlier connection says about itself is of no interest any more.
        if self.live_generation() != Some(generation) {
            return;
        }
        let class = PollClass::of(&result);
        let retry_after = match result.map_err(|error| error.retry()) {
            Err(Retry::After(delay)) => Some(delay),
            _ => None,
        };
        self.poll_input(now, PollInput::Answered { class, retry_after });
    }
}

/// For the application's own subscriber.
fn log_poll(transport: TransportId, event: PollEvent) {
    match event {
        PollEvent::Disconnected | PollEvent::ServerWentOffline | PollEvent::RestoredOffline => {
            tracing::warn!(%transport, ?event, "the chat server is out of reach");
        }
        PollEvent::BudgetAtRisk => {
            tracing::warn!(%transport, "no request was answered for long: the server may give the chat up");
        }
        event => tracing::debug!(%transport, ?event, "polling"),
    }
}
