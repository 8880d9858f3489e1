//! Owns one contact of a desk: its credentials, and the task that passes on what the shared socket brings.

use std::{future::poll_fn, sync::Arc};

use chat_core::{
    Connection, EndReason, EventSender, GapHint, Lost, RawEvent, Result, SessionUpdate, Terminal,
    TransportEvent, event_channel,
};
use tokio::time::Instant;

use super::hub::{Feed, Hub, Seat};
use crate::{
    client::{
        details::Details,
        driver::{Orders, Renewal, Shared, ends, poll_option, raw, renew, renewed},
        handle::Handle,
        service::{Credentials, Service, life},
        tap::{self, Tap, Tapped},
        transport::ConnectTransport,
    },
    config::ParticipantKind,
    error::{ended, is_denied_by_service, unexpected},
    map::{Chat, People},
    wire::{frames::TOPIC_CHAT, participant::ConnectionType},
};

/// Seats a contact, acknowledges it, and fetches its credentials.
pub(super) async fn connect(
    transport: &ConnectTransport,
    hub: Arc<Hub>,
    details: Details,
    first: bool,
    tap: bool,
) -> Result<Connection> {
    let (tap, tapped) = Tap::new(tap);
    let service = &transport.0.service;
    // First the seat: what comes while the contact is acknowledged waits in the feed.
    let seat = hub.seat(details.chain(), &details.contact_id)?;
    drop(hub);
    let types = [ConnectionType::ConnectionCredentials];
    let (answer, server_now) = service
        .create_connection(&details.participant_token, &types, true, &tap)
        .await
        .map_err(|error| if !first && is_denied_by_service(&error) { ended(&error) } else { error })?;
    let token = answer.connection_credentials.unwrap_or_default();
    let value =
        token.connection_token.ok_or_else(|| unexpected("CreateParticipantConnection: a part is missing"))?;
    let life = life(token.expiry.as_deref(), server_now);
    let credentials =
        Arc::new(Credentials::new(details.participant_token.clone(), value, life, &service.timings, tap));
    let chat = Arc::new(details.chat(ParticipantKind::Agent));
    let shared = Arc::new(Shared::default());
    let (events, stream) = event_channel(transport.0.config.event_buffer.0);
    let driver = ContactDriver {
        seat,
        chat: Arc::clone(&chat),
        people: People::default(),
        events,
        tapped,
        shared: Arc::clone(&shared),
        service: Arc::clone(service),
        credentials: Arc::clone(&credentials),
    };
    tokio::spawn(driver.run());
    Ok(Connection {
        session: details.info(&chat),
        capabilities: details.capabilities(&transport.0.config),
        saved: details.to_saved(),
        handle: Arc::new(Handle {
            service: Arc::clone(service),
            credentials,
            chat,
            shared,
            uploads: Arc::clone(&transport.0.uploads),
        }),
        events: stream,
    })
}

struct ContactDriver {
    seat: Seat,
    chat: Arc<Chat>,
    people: People,
    events: EventSender,
    tapped: Option<Tapped>,
    shared: Arc<Shared>,
    service: Arc<Service>,
    credentials: Arc<Credentials>,
}

impl ContactDriver {
    async fn run(mut self) {
        let mut renewal: Option<Renewal> = None;
        let mut timer = std::pin::pin!(tokio::time::sleep_until(Instant::now()));
        // One item at a time is mapped and waits here for room; the feed holds the rest.
        let mut waiting: Vec<TransportEvent> = Vec::new();
        let (events, shared) = (self.events.clone(), Arc::clone(&self.shared));
        let terminal = loop {
            let renew_at = if renewal.is_none() { self.credentials.due() } else { None };
            if let Some(at) = renew_at
                && timer.deadline() != at
            {
                timer.as_mut().reset(at);
            }
            let mut end = None;
            tokio::select! {
                biased;
                () = events.closed() => return shared.set_over(),
                () = shared.ordered() => match shared.orders() {
                    Orders { ended: Some(reason), .. } => end = Some(reason),
                    Orders { leave: true, .. } => end = Some(EndReason::Left),
                    _ => {}
                },
                () = timer.as_mut(), if renew_at.is_some() => {
                    renewal = Some(renew(&self.service, &self.credentials));
                }
                result = poll_fn(|cx| poll_option(&mut renewal, cx)) => {
                    renewal = None;
                    renewed(&shared, result);
                }
                permit = events.reserve(), if !waiting.is_empty() => {
                    if let Ok(permit) = permit {
                        permit.send(waiting.remove(0));
                    }
                }
                Some(answer) = tap::next(&mut self.tapped), if waiting.is_empty() => waiting.push(raw(answer)),
                feed = self.seat.feed.recv(), if waiting.is_empty() => match feed {
                    Some(feed) => end = self.take_in(feed, &mut waiting),
                    None => break Terminal::Lost(Lost { error: self.seat.lost(), resumable: true }),
                },
            }
            if waiting.is_empty() && self.seat.take_overflow() {
                waiting.push(TransportEvent::Gap(GapHint::SinceConfirmed));
            }
            if let Some(reason) = end {
                break Terminal::Ended(reason);
            }
        };
        self.shared.set_over();
        while let Some(Ok(answer)) = self.tapped.as_mut().map(Tapped::try_recv) {
            waiting.push(raw(answer));
        }
        for event in waiting {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
        self.events.finish(terminal);
    }

    fn take_in(&mut self, feed: Feed, out: &mut Vec<TransportEvent>) -> Option<EndReason> {
        match feed {
            Feed::Item(text) => {
                if self.tapped.is_some() {
                    out.push(raw(RawEvent::new(TOPIC_CHAT, Arc::clone(&text))));
                }
                let (event, consequence) = self.chat.socket_item(&mut self.people, &text);
                out.push(event);
                return ends(consequence, &self.chat, false);
            }
            Feed::Stray(kind, text) => {
                out.push(TransportEvent::Other(Box::new(RawEvent::new(kind, text))));
            }
            Feed::Alive => out.push(TransportEvent::Alive),
            Feed::Deep(result) => {
                out.push(TransportEvent::Session(Box::new(SessionUpdate::DeepHeartbeat(result))));
            }
            Feed::Renew(before) => out.push(TransportEvent::RenewBefore(before)),
        }
        None
    }
}
