//! Owns connecting: what the link wants done, what becomes of a connection, and what may be asked of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    event::{ChatEvent, ConnectionEvent},
    state::{Effect, Leaving, Live, State},
};

use crate::{
    capabilities::Capability,
    channel::EventStream,
    command::Command,
    error::{Error, ErrorKind, Result, Retry},
    event::{EndReason, Lost},
    ids::TransportId,
    link::{LinkAction, LinkEvent, LinkInput, LinkState, Purpose},
    outbox::OutboxInput,
    poll::PollInput,
    transport::{ConnectError, ConnectRequest, Connection, ConnectionHandle, Intent, SavedSession},
};

impl State {
    // ---- what the machines want -------------------------------------------------------------------------------------

    pub(super) fn link_input(&mut self, now: Instant, input: LinkInput) {
        let actions = self.link.handle(now, input);
        self.obey_links(now, actions);
    }

    pub(super) fn obey_links(&mut self, now: Instant, actions: Vec<LinkAction>) {
        for action in actions {
            self.obey_link(now, action);
        }
    }

    /// Connects again by hand.
    pub(super) fn reconnect(&mut self, now: Instant, credentials: Option<SavedSession>) -> Result<()> {
        if credentials.as_ref().is_some_and(|credentials| credentials.transport != self.transport.as_str()) {
            return Err(Error::invalid_input("these session data are of another transport"));
        }
        // A link that refuses leaves everything as it was.
        let actions = self.link.reconnect(now, credentials.is_some())?;
        if let Some(credentials) = credentials {
            self.saved = Some(credentials);
            self.changed();
        }
        self.obey_links(now, actions);
        Ok(())
    }

    pub(super) fn obey_link(&mut self, now: Instant, action: LinkAction) {
        match action {
            LinkAction::Connect { generation, purpose } => {
                let intent = match (&self.saved, purpose) {
                    (Some(saved), Purpose::Resume | Purpose::Renew) => Intent::Resume(saved.clone()),
                    (Some(saved), Purpose::First) => match &self.first {
                        Some(Intent::Join(_)) => Intent::Join(saved.clone()),
                        _ => Intent::Resume(saved.clone()),
                    },
                    (None, _) => match &self.first {
                        Some(intent) => intent.clone(),
                        None => return,
                    },
                };
                let mut request = ConnectRequest::new(intent);
                request.tap = self.settings.tap;
                self.effects.push(Effect::Connect { generation, request });
            }
            LinkAction::Backfill { generation } => self.begin_backfill(now, generation),
            LinkAction::DropConnection { generation } => self.effects.push(Effect::Drop { generation }),
            LinkAction::ReleaseSends => {
                self.lane.released = true;
                self.open_lane(now);
                self.submit_leave();
            }
            LinkAction::HoldSends => {
                self.lane.released = false;
                self.open_lane(now);
            }
            LinkAction::Publish(event) => self.on_link_event(now, event),
        }
    }

    pub(super) fn on_link_event(&mut self, now: Instant, event: LinkEvent) {
        let info = self.info.clone();
        let event = match (event, info) {
            (LinkEvent::Established, Some(info)) => {
                let session = self.begun(&info);
                self.publish(ChatEvent::Session(Arc::new(session)));
                if let Some(opened) = self.opened.take() {
                    // The caller may have given up waiting.
                    let _ = opened.send(Ok(()));
                }
                ConnectionEvent::Established(info)
            }
            (LinkEvent::Restored, Some(info)) => ConnectionEvent::Restored(info),
            (LinkEvent::Pending(error), _) => ConnectionEvent::Pending(error),
            (LinkEvent::Lost(error), _) => ConnectionEvent::Lost(error),
            (LinkEvent::Broken(error), _) => {
                if let Some(opened) = self.opened.take() {
                    let saved = self.saved.clone().map(Box::new);
                    let _ = opened.send(Err(ConnectError { error: error.clone(), saved }));
                }
                if let Some(Leaving { waiting: Some(done), .. }) = self.leaving.take() {
                    let _ = done.send(Err(error.clone()));
                }
                self.refreshed(now, false);
                ConnectionEvent::Broken(error)
            }
            _ => return,
        };
        log(self.transport, &event);
        self.publish(ChatEvent::Connection(Arc::new(event)));
    }

    // ---- connecting -------------------------------------------------------------------------------------------------

    /// A connection stands. Gives its events to the driver, unless nobody wants it any more.
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        generation: u64,
        connection: Connection,
    ) -> Option<EventStream> {
        if self.ended.is_some() || self.closed || Some(generation) != self.link.attempting() {
            return None;
        }
        let Connection { session, capabilities, saved, handle, events } = connection;
        let renewed = self.live.is_some();
        self.transcript.segment(&session.segment, session.started_at);
        if let Some(id) = &session.participant {
            self.transcript.own_participant(id.clone());
        }
        self.roster.set_started_at(session.started_at);
        self.info = Some(session);
        self.capabilities = capabilities;
        self.outbox.set_vendor(capabilities.can(Capability::IdempotentSend), capabilities.settle_within);
        if self.settings.typing_expires_after.is_none() {
            self.others_typing.set_expires_after(capabilities.typing_expires_after);
        }
        self.saved = Some(saved);
        self.first = None;
        self.settle_confirmed();
        self.live = Some(Live { generation, handle });
        self.changed();
        if self.capabilities.can(Capability::Poll) {
            // It remembers whether the chat is being restored: without history, that is over at once.
            self.poll_machine();
        }
        self.link_input(now, LinkInput::Connected { generation });
        if renewed {
            log(self.transport, &ConnectionEvent::Renewed);
            self.publish(ChatEvent::Connection(Arc::new(ConnectionEvent::Renewed)));
        }
        // Whatever made it, the credentials were good for it.
        self.refreshing = false;
        self.outbox_input(now, OutboxInput::Refreshed { ok: true });
        self.follow_polling(now, true);
        Some(events)
    }

    /// A connection could not be made.
    pub(super) fn on_connect_failed(&mut self, now: Instant, generation: u64, failure: ConnectError) {
        if self.ended.is_some() || self.closed || Some(generation) != self.link.attempting() {
            return;
        }
        let ConnectError { mut error, saved } = failure;
        if let Some(saved) = saved {
            self.saved = Some(*saved);
            self.changed();
        }
        if *error.kind() == ErrorKind::SessionEnded {
            if let Some(opened) = self.opened.take() {
                // The caller may have given up waiting.
                let _ = opened.send(Err(error.into()));
            }
            return self.finish(now, EndReason::EndedWhileAway);
        }
        if *error.kind() == ErrorKind::SessionLost {
            self.effects.push(Effect::Forget);
        }
        if matches!(error.retry(), Retry::Never | Retry::WithNewCredentials) {
            self.refreshed(now, false);
        }
        if self.opened.is_some() {
            self.first_attempts += 1;
            if self.first_attempts >= self.settings.first_connect_attempts {
                error = error.with_retry(Retry::Never);
            }
        }
        let started = self.saved.is_some();
        self.link_input(now, LinkInput::ConnectFailed { generation, error, started });
    }

    /// The new credentials that a refused send asked for are there, or cannot be had.
    pub(super) fn refreshed(&mut self, now: Instant, ok: bool) {
        // Any new connection may have what the queue waits for; a failure concerns only who asked.
        if std::mem::take(&mut self.refreshing) || ok {
            self.outbox_input(now, OutboxInput::Refreshed { ok });
        }
    }

    pub(super) fn on_lost(&mut self, now: Instant, generation: u64, lost: Lost) {
        self.settle_confirmed();
        self.open_gap();
        if self.live_generation() == Some(generation) {
            self.live = None;
            self.poll_input(now, PollInput::Held);
        }
        self.backfill = None;
        self.link_input(now, LinkInput::Lost { generation, error: lost.error, resumable: lost.resumable });
    }

    pub(super) fn live_generation(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.generation)
    }

    /// The way in, if the connection stands.
    pub(super) fn handle(&self) -> Result<Arc<dyn ConnectionHandle>> {
        if let Some(error) = self.inactive() {
            return Err(error);
        }
        match &self.live {
            Some(live) => Ok(Arc::clone(&live.handle)),
            None => Err(Error::new(ErrorKind::Network, "not connected at the moment")),
        }
    }

    /// Why nothing can be asked for, if so.
    pub(super) fn inactive(&self) -> Option<Error> {
        if self.ended.is_some() || self.leaving.is_some() || self.closed {
            return Some(Error::new(ErrorKind::NotActive, ""));
        }
        if self.link.state() == LinkState::Failed {
            return Some(Error::new(ErrorKind::NotActive, "the connection was given up; reconnect first"));
        }
        None
    }

    /// Whether the poll loop can be controlled.
    pub(super) fn pollable(&self) -> Result<()> {
        self.require(Capability::Poll)?;
        self.inactive().map_or(Ok(()), Err)
    }

    /// Checks `command` against what the transport can do.
    pub(super) fn check(&self, command: &Command) -> Result<()> {
        if let Some(capability) = command.capability() {
            self.require(capability)?;
        }
        match (command, self.capabilities.raw_event_types) {
            (Command::Event(event), types) if !types.is_empty() && !types.contains(&&*event.kind) => {
                Err(Error::invalid_input(format!("raw events of type {:?} are not accepted", event.kind)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn require(&self, capability: Capability) -> Result<()> {
        if self.capabilities.can(capability) {
            Ok(())
        } else {
            Err(Error::unsupported(capability, self.transport))
        }
    }
}

/// For the application's own subscriber: what happened, never to whom.
fn log(transport: TransportId, event: &ConnectionEvent) {
    match event {
        ConnectionEvent::Established(_) => tracing::info!(%transport, "connection established"),
        ConnectionEvent::Restored(_) => tracing::info!(%transport, "connection restored"),
        ConnectionEvent::Renewed => tracing::debug!(%transport, "connection renewed"),
        ConnectionEvent::Pending(error) => tracing::debug!(%transport, %error, "connection attempt failed"),
        ConnectionEvent::Lost(error) => tracing::warn!(%transport, %error, "connection lost"),
        ConnectionEvent::Broken(error) => tracing::error!(%transport, %error, "connection given up"),
    }
}
