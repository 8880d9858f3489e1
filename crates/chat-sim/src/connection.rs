//! Owns one connection's server side and its handle: commands in, answers out.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chat_core::{
    Ack, Capability, ClientToken, Command, ConnectionHandle, Content, Delivery, EndReason, Error, ErrorKind,
    FileCommand, MessageId, Outgoing, OutgoingBody, PollScope, Result, Sent, SystemEvent, Terminal, Text,
    UserData,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use crate::{
    centre::{Inner, State},
    contact::{Contact, not_found},
    faults::{CommandKind, Fault, Point},
    item::{Draft, WireId, remember},
    mint::Mint,
    network::lost,
    profile::{AckDetail, Profile},
    transport::SIM,
};

/// When a request of a connection that is asked is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// One connection, as the centre keeps it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) id: WireId,
    /// The next frame of the log to take.
    pub(crate) next: u64,
    /// Frames before this one may pass: a polled connection waits for its poll.
    pub(crate) limit: Option<u64>,
    /// It is asked: what befalls the network befalls requests, and the connection is lost only if it is refused.
    pub(crate) asked: bool,
    /// It was polled at least once.
    pub(crate) polled: bool,
    /// Tell the whole transcript first.
    pub(crate) replay: bool,
    /// Tell the earlier segments first.
    pub(crate) declare: bool,
    pub(crate) renew_before: Option<Instant>,
    /// How it ends, now.
    pub(crate) fate: Option<Terminal>,
    /// How it ends, unless something else ends it before.
    pub(crate) deadline: Option<(Instant, Terminal)>,
    pub(crate) half_open: bool,
    /// Until then no request of a connection that is asked gets an answer.
    pub(crate) dark_until: Option<Instant>,
    /// The chat had ended before: the transcript is told, then that.
    pub(crate) end_after_replay: bool,
    /// The token that it came with.
    pub(crate) token: Arc<str>,
    pub(crate) shared: Arc<Shared>,
}

impl Wire {
    pub(crate) fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// The network breaks, once: the connection is lost, or what was asked of it.
    pub(crate) fn cut(&mut self) {
        if self.asked {
            // The rest of the reply comes with the next.
            self.limit = self.limit.map(|_| self.next);
            self.shared.interrupt();
        } else {
            self.lose(Error::new(ErrorKind::Network, "the connection was cut"));
        }
    }

    /// It is lost, now.
    pub(crate) fn lose(&mut self, error: Error) {
        self.fail(lost(error));
    }

    /// It ends like this, now, unless it has ended already.
    pub(crate) fn fail(&mut self, terminal: Terminal) {
        self.fate.get_or_insert(terminal);
        self.shared.close(Closed::Lost);
        self.wake();
    }

    /// It ends at `at`, if not before.
    pub(crate) fn doom(&mut self, at: Instant, terminal: Terminal) {
        if self.deadline.as_ref().is_none_or(|(earlier, _)| at < *earlier) {
            self.deadline = Some((at, terminal));
        }
    }

    /// It should be replaced within `within`, and is lost then.
    pub(crate) fn renew(&mut self, within: Duration) {
        let until = Instant::now() + within;
        self.renew_before = Some(until);
        self.doom(until, lost(Error::new(ErrorKind::Network, "closed by the server")));
        self.wake();
    }

    /// Nothing passes any more; it is found dead after `dead_after`, or passes again if it is asked.
    pub(crate) fn half_open(&mut self, dead_after: Duration) {
        if self.asked {
            self.dark_until = Some(Instant::now() + dead_after);
            return;
        }
        self.half_open = true;
        let error = Error::new(ErrorKind::Timeout, "nothing was received");
        self.doom(Instant::now() + dead_after, lost(error));
        self.wake();
    }
}

/// Why a connection takes no more commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    Lost,
    Left,
    Ended,
}

/// What driver and handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    wake: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Everything before this frame was told; `None` after a poll, until it was answered.
    delivered: Option<u64>,
    closed: Option<Closed>,
    /// How often what was under way has been lost.
    interruptions: u64,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { wake: Notify::new(), progress: watch::Sender::new(Progress::default()) })
    }

    /// Resolves when there may be something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn delivered(&self, position: u64) {
        self.progress.send_modify(|progress| progress.delivered = Some(position));
    }

    /// Closes it for commands. The first reason stays.
    pub(crate) fn close(&self, why: Closed) {
        self.progress.send_modify(|progress| {
            progress.closed.get_or_insert(why);
        });
    }

    /// What is under way is lost; the connection goes on.
    pub(crate) fn interrupt(&self) {
        self.progress.send_modify(|progress| progress.interruptions += 1);
    }

    fn closed(&self) -> Option<Closed> {
        self.progress.borrow().closed
    }

    async fn until_closed(&self) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.progress.subscribe().wait_for(|progress| progress.closed.is_some()).await;
    }

    fn interruptions(&self) -> u64 {
        self.progress.borrow().interruptions
    }

    async fn until_interrupted(&self, seen: u64) {
        let _ = self.progress.subscribe().wait_for(|progress| progress.interruptions > seen).await;
    }

    async fn until_delivered(&self, position: u64) {
        let told = |progress: &Progress| progress.delivered.is_some_and(|told| told >= position);
        let _ = self.progress.subscribe().wait_for(told).await;
    }
}

/// The way in of one connection.
pub(crate) struct Handle {
    pub(crate) centre: Arc<Inner>,
    pub(crate) contact: usize,
    pub(crate) id: WireId,
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConnection").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl ConnectionHandle for Handle {
    async fn submit(&self, command: Command) -> Result<Ack> {
        let capabilities = self.centre.quietly(|state| state.contacts[self.contact].capabilities);
        if let Some(capability) = command.capability()
            && !capabilities.can(capability)
        {
            return Err(Error::unsupported(capability, SIM));
        }
        if let Some(why) = self.shared.closed() {
            return Err(refusal(why));
        }
        let kind = CommandKind::of(&command);
        let interruptions = self.shared.interruptions();
        let faults = self.centre.change(|state| {
            let State { contacts, network, mint, .. } = state;
            *contacts[self.contact].records.submits.entry(kind).or_default() += 1;
            network.fire(Point::Submit(kind), mint.stored)
        });
        tokio::select! {
            biased;
            answer = self.carry_out(command, faults) => answer,
            () = self.shared.until_closed() => Err(interrupted()),
            () = self.shared.until_interrupted(interruptions) => Err(interrupted()),
        }
    }
}

impl Handle {
    /// Carries a command to the centre, through what goes wrong on the way, and its answer back.
    async fn carry_out(&self, command: Command, faults: Vec<Fault>) -> Result<Ack> {
        let profile = &self.centre.profile;
        let mut way = profile.request_latency;
        let mut back = profile.answer_latency;
        let mut outcome = None;
        let mut partial = None;
        for fault in faults {
            match fault {
                Fault::Delay(millis) => way += Duration::from_millis(millis),
                Fault::LateAnswer(millis) => back += Duration::from_millis(millis),
                Fault::CutUpload(percent) | Fault::Truncate(percent) => {
                    partial.get_or_insert(percent.min(100));
                }
                Fault::Cut
                | Fault::HalfOpen(_)
                | Fault::Error(_)
                | Fault::StoreThenCut
                | Fault::StoreThenError(_)
                | Fault::StoreLate(_)
                | Fault::Hang => {
                    outcome.get_or_insert(fault);
                }
                _ => {}
            }
        }
        pause(way).await;
        match &outcome {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Error(error)) => {
                pause(back).await;
                return Err(error.to_error("the request"));
            }
            Some(Fault::Cut) => {
                self.wire(Wire::cut);
                return Err(interrupted());
            }
            Some(Fault::StoreLate(millis)) => {
                self.store_late(command, Duration::from_millis(*millis));
                pause(back).await;
                return Err(Error::new(ErrorKind::Timeout, "the request"));
            }
            Some(Fault::HalfOpen(millis)) => {
                self.wire(|wire| wire.half_open(Duration::from_millis(*millis)));
            }
            _ => {}
        }
        if self.wire(|wire| wire.half_open) == Some(true) {
            self.shared.until_closed().await;
            return Err(Error::new(ErrorKind::Timeout, "no answer"));
        }
        if self.wire(|wire| wire.asked) == Some(true) {
            if self.centre.quietly(|state| state.network.down) {
                return Err(Error::new(ErrorKind::Network, "no way to the centre"));
            }
            if self.wire(|wire| wire.dark_until).flatten().is_some_and(|until| until > Instant::now()) {
                sleep(REQUEST_TIMEOUT).await;
                return Err(Error::new(ErrorKind::Timeout, "no answer"));
            }
        }
        let leaves = matches!(command, Command::Leave { .. });
        let answer = match command {
            Command::Send(Outgoing { token, body: OutgoingBody::File(upload), .. }) => {
                self.upload(token, upload, partial).await
            }
            Command::File(FileCommand::Download { id }) => {
                self.apply(|contact, _| crate::files::download(contact, &id, partial))
            }
            Command::Poll(scope) => self.poll(scope).await,
            command => self.apply(|contact, mint| self.answer(contact, mint, command)),
        };
        match outcome {
            Some(Fault::StoreThenCut) => {
                self.wire(Wire::cut);
                return Err(interrupted());
            }
            Some(Fault::StoreThenError(error)) => {
                pause(back).await;
                return Err(error.to_unknown("the request"));
            }
            _ => {}
        }
        if !leaves {
            pause(back).await;
        }
        answer
    }

    /// Stores a text so much later, whatever becomes of the connection until then.
    fn store_late(&self, command: Command, late: Duration) {
        let Command::Send(Outgoing { token, body: OutgoingBody::Text(text), .. }) = command else { return };
        let (centre, contact) = (Arc::downgrade(&self.centre), self.contact);
        let task = tokio::spawn(async move {
            sleep(late).await;
            let Some(centre) = centre.upgrade() else { return };
            centre.contact(contact, |contact, mint| {
                if contact.ended.is_none() && !contact.leaving {
                    store_text(contact, mint, &centre.profile, token, text);
                }
            });
        });
        self.centre.quietly(|state| state.contacts[self.contact].late.push(task.abort_handle()));
    }

    fn wire<R>(&self, act: impl FnOnce(&mut Wire) -> R) -> Option<R> {
        self.centre.change(|state| {
            state.contacts[self.contact].wires.iter_mut().find(|wire| wire.id == self.id).map(act)
        })
    }

    /// Does something in the centre, with the customer's credentials checked.
    pub(crate) fn apply<R>(&self, act: impl FnOnce(&mut Contact, &mut Mint) -> Result<R>) -> Result<R> {
        self.centre.contact(self.contact, |contact, mint| {
            let Some(wire) = contact.wires.iter().find(|wire| wire.id == self.id) else {
                return Err(interrupted());
            };
            if wire.token != contact.token {
                return Err(Error::new(ErrorKind::Unauthorized, "the participant's token"));
            }
            contact.last_request = Instant::now();
            act(contact, mint)
        })
    }

    fn answer(&self, contact: &mut Contact, mint: &mut Mint, command: Command) -> Result<Ack> {
        let profile = &self.centre.profile;
        match command {
            Command::Send(Outgoing { token, body: OutgoingBody::Text(text), .. }) => {
                if !contact.sent.contains_key(&token) || !self.swallows_repeats() {
                    contact.alive()?;
                    still_in(contact)?;
                    check_text(&text, contact.capabilities)?;
                }
                let id = store_text(contact, mint, profile, token, text);
                self.sent(contact, &id)
            }
            Command::History(request) => {
                crate::history::page(contact, profile, &request, mint.now()).map(Ack::History)
            }
            Command::Typing(signal) => {
                contact.alive()?;
                remember(&mut contact.records.typing, signal.clone());
                contact.typing(contact.customer.clone(), &signal, Some(self.id));
                Ok(Ack::Done)
            }
            Command::Receipt(signal) => {
                contact.alive()?;
                remember(&mut contact.records.receipts, signal.clone());
                let by = contact.customer.id.clone().ok_or_else(|| not_found("participant"))?;
                contact.receipt(mint, profile, &by, &signal, Some(self.id))?;
                Ok(Ack::Done)
            }
            Command::Event(event) => {
                contact.alive()?;
                let types = contact.capabilities.raw_event_types;
                if !types.is_empty() && !types.contains(&&*event.kind) {
                    return Err(Error::new(ErrorKind::Refused, "an event of this type"));
                }
                remember(&mut contact.records.events, event);
                Ok(Ack::Done)
            }
            Command::UserData(data) => {
                contact.alive()?;
                let merged = contact.user_data.clone().merged_under(&data);
                check_user_data(&merged, contact.capabilities)?;
                contact.user_data = merged;
                Ok(Ack::Done)
            }
            Command::Notice(notice) => {
                contact.alive()?;
                remember(&mut contact.records.notices, notice);
                Ok(Ack::Done)
            }
            Command::File(command) => crate::files::query(contact, profile, mint, command).map(Ack::File),
            Command::Leave { end } => {
                self.leave(contact, mint, end);
                Ok(Ack::Done)
            }
            Command::Vendor(command) => {
                let answer = serde_json::json!({ "name": command.name, "data": command.data });
                remember(&mut contact.records.vendor, (command.name.into(), command.data));
                Ok(Ack::Vendor(answer))
            }
            _ => Err(Error::unsupported(Capability::Vendor, SIM)),
        }
    }

    pub(crate) fn swallows_repeats(&self) -> bool {
        self.centre.profile.capabilities.can(Capability::IdempotentSend)
    }

    /// The answer to a send.
    pub(crate) fn sent(&self, contact: &Contact, id: &chat_core::MessageId) -> Result<Ack> {
        let profile = &self.centre.profile;
        let item = contact.item(id)?;
        let sighting = match profile.ack {
            AckDetail::Nothing => None,
            AckDetail::Full => contact.sightings(item, profile).pop(),
            AckDetail::IdOnly => {
                let mut sighting = contact.bare(item, profile);
                if matches!(item.content, Content::Files(_)) {
                    sighting.aliases = sighting
                        .aliases
                        .iter()
                        .filter(|alias| alias.kind == chat_core::AliasKind::Attachment)
                        .cloned()
                        .collect();
                } else {
                    sighting.time = Some(item.time);
                }
                Some(sighting)
            }
        };
        Ok(Ack::Sent(Sent { sighting: sighting.map(Box::new) }))
    }

    fn leave(&self, contact: &mut Contact, mint: &mut Mint, end: bool) {
        let profile = &self.centre.profile;
        let customer = contact.customer.clone();
        let lingers = end && profile.capabilities.can(Capability::Lingering) && contact.ended.is_none();
        for wire in contact.wires.iter_mut().filter(|wire| wire.id == self.id) {
            if lingers {
                let deadline = Instant::now() + profile.leave_deadline;
                wire.doom(deadline, Terminal::Ended(EndReason::EndedByUs));
            }
            if end {
                // What is still to come comes without a further poll.
                wire.limit = None;
            } else {
                wire.fate.get_or_insert(Terminal::Ended(EndReason::Left));
            }
            wire.wake();
        }
        if lingers {
            contact.leaving = true;
            let left = Content::Event(SystemEvent::Left);
            contact.post(mint, profile, Draft::new(customer, left));
        } else if end {
            contact.end(mint, profile, customer, EndReason::EndedByUs);
        }
    }

    async fn poll(&self, scope: PollScope) -> Result<Ack> {
        let polling = Polling::begin(self);
        let target = self.apply(|contact, _| {
            let end = contact.log_end();
            let wire = contact
                .wires
                .iter_mut()
                .find(|wire| wire.id == self.id)
                .ok_or_else(|| not_found("connection"))?;
            wire.limit = wire.limit.map(|limit| limit.max(end));
            wire.polled = true;
            wire.replay |= scope == PollScope::Full;
            self.shared.progress.send_modify(|progress| progress.delivered = None);
            wire.wake();
            Ok(end)
        })?;
        self.shared.until_delivered(target).await;
        drop(polling);
        Ok(Ack::Done)
    }
}

/// Stores an own text; one that is there already is not stored again where sends are idempotent.
fn store_text(
    contact: &mut Contact,
    mint: &mut Mint,
    profile: &Profile,
    token: ClientToken,
    text: Text,
) -> MessageId {
    if profile.capabilities.can(Capability::IdempotentSend)
        && let Some(first) = contact.sent.get(&token)
    {
        return first.clone();
    }
    let draft = Draft { token: Some(token), ..Draft::new(contact.customer.clone(), Content::Text(text)) };
    contact.post(mint, profile, draft)
}

/// Counts the polls in flight.
struct Polling<'a>(&'a Handle);

impl<'a> Polling<'a> {
    fn begin(handle: &'a Handle) -> Self {
        handle.centre.contact(handle.contact, |contact, _| {
            contact.records.polls_now += 1;
            contact.records.polls_max = contact.records.polls_max.max(contact.records.polls_now);
        });
        Self(handle)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.centre.contact(self.0.contact, |contact, _| contact.records.polls_now -= 1);
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// The connection went away while a command was on its way.
fn interrupted() -> Error {
    Error::new(ErrorKind::Network, "the connection was lost before the answer")
        .with_delivery(Delivery::Unknown)
}

/// The connection was gone before a command left.
fn refusal(why: Closed) -> Error {
    let (kind, context) = match why {
        Closed::Lost => (ErrorKind::Network, "the connection is gone"),
        Closed::Left => (ErrorKind::NotActive, "the chat was left"),
        Closed::Ended => (ErrorKind::SessionEnded, ""),
    };
    Error::new(kind, context).with_delivery(Delivery::NotSent)
}

pub(crate) fn still_in(contact: &Contact) -> Result<()> {
    if contact.leaving {
        return Err(
            Error::new(ErrorKind::NotActive, "the customer ended the chat").with_delivery(Delivery::Refused)
        );
    }
    Ok(())
}

/// The server's own check of a text.
pub(crate) fn check_text(text: &Text, capabilities: chat_core::Capabilities) -> Result<()> {
    if text.body.is_empty() {
        return Err(Error::new(ErrorKind::Refused, "an empty text"));
    }
    let bytes = text.body.len() as u64;
    let chars = text.body.chars().count() as u64;
    let limits =
        [(capabilities.text_max_bytes, bytes, "bytes"), (capabilities.text_max_chars, chars, "characters")];
    for (limit, actual, unit) in limits {
        if let Some(limit) = limit.map(u64::from).filter(|limit| actual > *limit) {
            return Err(Error::too_large("text", actual, limit, unit).with_delivery(Delivery::Refused));
        }
    }
    Ok(())
}

/// The server's own check of user data.
pub(crate) fn check_user_data(data: &UserData, capabilities: chat_core::Capabilities) -> Result<()> {
    if data.0.keys().any(|key| !capabilities.user_data_keys.accepts(key)) {
        return Err(Error::new(ErrorKind::Refused, "a key of the user data"));
    }
    let bytes: u64 = data.0.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    match capabilities.user_data_max_bytes.map(u64::from).filter(|limit| bytes > *limit) {
        Some(limit) => {
            Err(Error::too_large("user data", bytes, limit, "bytes").with_delivery(Delivery::Refused))
        }
        None => Ok(()),
    }
}
