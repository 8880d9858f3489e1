//! Owns the one backend connection of a contact: takes in what it tells, brings it back when it is lost, closes it at the end.

use std::{sync::Arc, time::Duration};

use chat_core::{
    Ack, Capability, Command, ConnectError, ConnectRequest, Connection, Direction, Error, EventStream,
    HistoryFrom, HistoryRequest, Intent, PollScope, SavedSession, SessionUpdate, StartRequest,
    TransportEvent,
};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use super::{Shared, contact::Contact};

/// First and longest pause between attempts to come back.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long before its end a connection is replaced, at most.
const RENEW_EARLY: Duration = Duration::from_secs(10);
/// Attempts to get into a chat that was started without a connection.
const FIRST_ATTEMPTS: u32 = 3;
/// Pages that one gap may take.
const GAP_PAGES: usize = 1000;
/// How long the backend may take to end a chat that is to end.
pub(super) const END_WITHIN: Duration = Duration::from_secs(5);

enum Next {
    Lost,
    Over,
    /// The connection is to be replaced before this moment.
    RenewBefore(Instant),
    /// The moment to replace it has come.
    Renew,
}

/// A new chat, once. One that was started but not reached is resumed, not started again.
pub(super) async fn begin(front: &Shared, start: StartRequest) -> Result<Connection, Error> {
    let asked = ConnectRequest::new(Intent::Start(Box::new(start)));
    let mut failed = match front.transport.connect(asked).await {
        Ok(connection) => return Ok(connection),
        Err(failed) => failed,
    };
    for _ in 1..FIRST_ATTEMPTS {
        let Some(saved) = failed.saved else { break };
        sleep(PAUSES.0).await;
        match front.transport.connect(ConnectRequest::new(Intent::Resume((*saved).clone()))).await {
            Ok(connection) => return Ok(connection),
            Err(again) => failed = ConnectError { error: again.error, saved: Some(saved) },
        }
    }
    Err(failed.error)
}

/// Runs until the contact is over, then finishes it.
pub(super) async fn drive(front: Arc<Shared>, contact: Arc<Contact>, first: Connection, ends: Instant) {
    let opens = Instant::now() + front.config.open_within;
    let Connection { mut saved, mut events, .. } = first;
    let mut renew = None;
    loop {
        let next = tokio::select! {
            biased;
            () = contact.over() => Next::Over,
            next = listen(&front, &contact, &mut events, &mut saved) => next,
            () = poll(&front, &contact) => Next::Over,
            () = unopened(&contact, opens) => { give_up(&front, &contact).await; Next::Over }
            () = sleep_until(ends) => { give_up(&front, &contact).await; Next::Over }
            () = due(renew) => Next::Renew,
        };
        match next {
            Next::Over => break,
            Next::RenewBefore(moment) => {
                let now = Instant::now();
                let early = (moment.saturating_duration_since(now) / 10).min(RENEW_EARLY);
                renew = Some(moment.checked_sub(early).unwrap_or(now));
                continue;
            }
            Next::Renew => {
                renew = None;
                let again = ConnectRequest::new(Intent::Resume(saved.clone()));
                // If it fails, the old one serves until it is lost.
                if let Ok(connection) = front.transport.connect(again).await {
                    contact.set_link(Some(connection.handle));
                    // What the old one still holds comes first; what both tell is one.
                    while let Some(Some(TransportEvent::Message(sighting))) = events.next().now_or_never() {
                        contact.truth().sight(*sighting);
                    }
                    saved = connection.saved;
                    events = connection.events;
                    fill_gap(&front, &contact).await;
                }
                continue;
            }
            Next::Lost => {}
        }
        renew = None;
        contact.set_link(None);
        let back = tokio::select! {
            biased;
            () = contact.over() => None,
            back = come_back(&front, &saved) => back,
            () = sleep_until(ends) => None,
        };
        let Some(connection) = back else { break };
        saved = connection.saved;
        events = connection.events;
        contact.set_link(Some(connection.handle));
        fill_gap(&front, &contact).await;
    }
    front.finish(&contact);
}

async fn due(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Asks again and again, where the vendor only answers. What it brings comes as events.
async fn poll(front: &Shared, contact: &Contact) {
    let interval = contact.capabilities.poll_interval.filter(|_| contact.capabilities.can(Capability::Poll));
    let Some(interval) = interval else { return std::future::pending().await };
    loop {
        let command = Command::Poll(PollScope::New);
        if let Err(error) = contact.submit(command, front.config.backend_within).await {
            debug!(%error, "poll failed");
        }
        sleep(interval).await;
    }
}

/// The customer never came (§1).
async fn unopened(contact: &Contact, at: Instant) {
    sleep_until(at).await;
    if contact.truth().customer_connected() {
        std::future::pending::<()>().await;
    }
}

/// Ends the chat at the backend, for as long as it takes within reason.
async fn give_up(front: &Shared, contact: &Contact) {
    let leave = contact.submit(Command::Leave { end: true }, front.config.backend_within);
    if let Ok(Err(error)) = timeout(END_WITHIN, leave).await {
        debug!(%error, "the backend did not end the chat");
    }
}

async fn listen(
    front: &Shared,
    contact: &Contact,
    events: &mut EventStream,
    saved: &mut SavedSession,
) -> Next {
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Message(sighting) => {
                contact.truth().sight(*sighting);
                contact.sighted();
                if contact.truth().ended {
                    return Next::Over;
                }
            }
            TransportEvent::Typing(update) => contact.truth().typing(&update),
            TransportEvent::Participant(update) => contact.truth().participant(*update),
            TransportEvent::Session(update) => match *update {
                SessionUpdate::Saved(new) => *saved = new,
                SessionUpdate::OwnId(id) => contact.truth().own_id(id),
                SessionUpdate::Segment { id, started_at } => contact.truth().segment(id.as_str(), started_at),
                _ => {}
            },
            TransportEvent::RenewBefore(moment) => return Next::RenewBefore(moment),
            TransportEvent::Gap(_) => fill_gap(front, contact).await,
            TransportEvent::Other(raw) => contact.truth().other(&raw),
            TransportEvent::Ended(reason) => {
                debug!(?reason, "the backend's chat is over");
                return Next::Over;
            }
            TransportEvent::Lost(lost) => {
                debug!(error = %lost.error, resumable = lost.resumable, "the backend is lost");
                return if lost.resumable { Next::Lost } else { Next::Over };
            }
            _ => {}
        }
    }
    Next::Lost
}

/// Tries until it stands, or is refused for good.
async fn come_back(front: &Shared, saved: &SavedSession) -> Option<Connection> {
    use chat_core::ErrorKind as Kind;
    let mut pause = PAUSES.0;
    loop {
        match front.transport.connect(ConnectRequest::new(Intent::Resume(saved.clone()))).await {
            Ok(connection) => return Some(connection),
            Err(failed) => match failed.error.kind() {
                Kind::AccessDenied
                | Kind::Unauthorized
                | Kind::SessionEnded
                | Kind::SessionLost
                | Kind::RestoreTimeout
                | Kind::Unsupported { .. } => return None,
                _ => debug!(error = %failed.error, "the backend does not come back yet"),
            },
        }
        sleep(pause.mul_f64(fastrand::f64())).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Takes in what was missed since the last message that an unbroken connection told.
async fn fill_gap(front: &Shared, contact: &Contact) {
    if !contact.capabilities.can(Capability::History) {
        return;
    }
    let starts = contact.truth().confirmed();
    for start in starts {
        match page_from(front, contact, start).await {
            Ok(()) => return,
            Err(error) => debug!(%error, "the gap stays open"),
        }
    }
}

async fn page_from(front: &Shared, contact: &Contact, start: HistoryFrom) -> Result<(), Error> {
    let mut from = start;
    for _ in 0..GAP_PAGES {
        let request = HistoryRequest { direction: Direction::Newer, from: from.clone(), limit: 100 };
        let Ack::History(page) =
            contact.submit(Command::History(request), front.config.backend_within).await?
        else {
            return Ok(());
        };
        let mut truth = contact.truth();
        for sighting in page.items {
            if truth.past_contact(&sighting).is_none() {
                truth.sight(sighting);
            }
        }
        drop(truth);
        contact.sighted();
        match page.next.map(HistoryFrom::Cursor) {
            // A cursor that leads to itself leads nowhere.
            Some(next) if next != from => from = next,
            _ => return Ok(()),
        }
    }
    Ok(())
}
