//! Owns the task of one connection: from the contact's log through the network's faults into the event channel.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chat_core::{
    EndReason, Error, ErrorKind, EventSender, RawEvent, SessionUpdate, Terminal, TransportEvent,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    centre::{Inner, State},
    connection::{Closed, Shared},
    faults::{EventKind, Fault, Point},
    item::{Frame, WireId},
    network::lost,
    transport::ended_while_away,
};

/// Frames taken from the log at a time: what a connection has in hand beside its channel.
const BATCH: usize = 64;
/// How long an event waits to be overtaken, if nothing comes.
const HOLD: Duration = Duration::from_secs(1);

/// What is due, in the order of the line.
#[derive(Debug)]
enum Due {
    Event(TransportEvent),
    /// From here on it waits for so many behind it to overtake it.
    Hold(TransportEvent, u32),
    Terminal(Terminal),
    HalfOpen(Duration),
}

#[derive(Debug)]
struct Held {
    event: TransportEvent,
    overtakers: u32,
    until: Instant,
}

/// One connection's task. Dropping it takes the connection off the contact.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) centre: Arc<Inner>,
    pub(crate) contact: usize,
    pub(crate) id: WireId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tap: bool,
    ready: VecDeque<(Instant, Due)>,
    held: Vec<Held>,
    /// Message frames before this position were told by a replay.
    replayed: u64,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.close(Closed::Lost);
        self.centre.close(self.contact, self.id);
    }
}

impl Driver {
    pub(crate) const fn new(centre: Arc<Inner>, contact: usize, id: WireId, shared: Arc<Shared>) -> Self {
        Self {
            centre,
            contact,
            id,
            shared,
            tap: false,
            ready: VecDeque::new(),
            held: Vec::new(),
            replayed: 0,
        }
    }

    /// Runs until a terminal is due or the stream is dropped.
    pub(crate) async fn run(mut self, sender: EventSender) {
        let heartbeat = self.centre.profile.heartbeat;
        let mut beat = heartbeat.map(|every| Instant::now() + every);
        loop {
            let deadline = match self.advance() {
                Ok(deadline) => deadline,
                Err(terminal) => return self.finish(&sender, terminal),
            };
            let now = Instant::now();
            let (next, terminal) = self.next_due(now);
            if let Some(terminal) = terminal {
                return self.finish(&sender, terminal);
            }
            let timer = [deadline, beat, next.filter(|at| *at > now)].into_iter().flatten().min();
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                () = sender.closed() => return,
                // A full channel stops neither the deadline nor what is to be learnt from the contact.
                permit = sender.reserve(), if next.is_some_and(|at| at <= now) => match permit {
                    Ok(permit) => permit.send(self.take(now)),
                    Err(_) => return,
                },
                () = shared.woken() => {}
                () = at(timer) => {}
            }
            if let (Some(every), Some(due)) = (heartbeat, beat)
                && due <= Instant::now()
            {
                // A full channel proves that the connection lives.
                let _ = sender.try_send(TransportEvent::Alive);
                beat = Some(Instant::now() + every);
            }
        }
    }

    fn finish(self, sender: &EventSender, terminal: Terminal) {
        if matches!(terminal, Terminal::Ended(_)) {
            // A poll that brought the end was answered.
            self.shared.delivered(u64::MAX);
        }
        self.shared.close(match &terminal {
            Terminal::Ended(EndReason::Left) => Closed::Left,
            Terminal::Ended(_) => Closed::Ended,
            Terminal::Lost(_) => Closed::Lost,
        });
        sender.finish(terminal);
    }

    /// Learns from the contact: the connection's fate, or new frames, or a deadline.
    fn advance(&mut self) -> Result<Option<Instant>, Terminal> {
        let centre = Arc::clone(&self.centre);
        centre.quietly(|state| {
            let State { contacts, network, mint, .. } = state;
            let stored = mint.stored;
            let contact = &mut contacts[self.contact];
            let Some(at) = contact.wires.iter().position(|wire| wire.id == self.id) else {
                return Err(lost(Error::new(ErrorKind::Internal, "the connection is unknown")));
            };
            let now = Instant::now();
            let log_end = contact.log_end();
            let wire = &mut contact.wires[at];
            if let Some(fate) = wire.fate.take() {
                return Err(fate);
            }
            if let Some((at, terminal)) = &wire.deadline
                && *at <= now
            {
                return Err(terminal.clone());
            }
            let deadline = wire.deadline.as_ref().map(|(at, _)| *at);
            if wire.half_open {
                self.ready.clear();
                self.held.clear();
                wire.next = log_end;
                contact.trim();
                return Ok(deadline);
            }
            if let Some(before) = wire.renew_before.take() {
                self.ready.push_back((now, Due::Event(TransportEvent::RenewBefore(before))));
            }
            let declare = std::mem::take(&mut wire.declare);
            // A polled connection tells nothing before its first poll.
            let replay = wire.replay && (wire.polled || wire.limit.is_none());
            wire.replay &= !replay;
            if declare {
                let (_, earlier) = contact.segments.split_last().expect("a contact begins with a segment");
                for segment in earlier {
                    let update = SessionUpdate::Segment {
                        id: segment.id.clone(),
                        started_at: Some(segment.started_at),
                    };
                    self.ready.push_back((now, Due::Event(TransportEvent::Session(Box::new(update)))));
                }
            }
            if replay {
                self.replayed = log_end;
                for item in &contact.items {
                    for sighting in contact.sightings(item, &centre.profile) {
                        self.line_up(now, TransportEvent::Message(Box::new(sighting)));
                    }
                }
            }
            let wire = &mut contact.wires[at];
            if std::mem::take(&mut wire.end_after_replay) {
                self.ready.push_back((now, Due::Terminal(ended_while_away())));
            }
            let end = wire.limit.unwrap_or(log_end).min(log_end);
            let mut next = wire.next;
            while next < end && self.ready.len() < BATCH {
                let offset = usize::try_from(next - contact.log_base).unwrap_or(usize::MAX);
                let Some(frame) = contact.log.get(offset) else { break };
                let faults = match frame {
                    Frame::Event { kind, .. } => network.fire(Point::Event(*kind), stored),
                    Frame::End(_) => Vec::new(),
                };
                let broken = faults.iter().find(|fault| matches!(fault, Fault::Cut | Fault::HalfOpen(_)));
                if let Some(fault) = broken.filter(|_| wire.asked) {
                    // The reply breaks off here; the next begins with what it did not bring.
                    wire.next = next;
                    if let Fault::HalfOpen(millis) = fault {
                        wire.half_open(Duration::from_millis(*millis));
                    }
                    wire.cut();
                    break;
                }
                self.pass(frame, next, &faults, now);
                next += 1;
            }
            let polled = wire.limit.is_some();
            contact.wires[at].next = next;
            contact.trim();
            if self.ready.is_empty() && polled && next >= end {
                // The reply is complete: nobody can overtake any more.
                self.ready.extend(self.held.drain(..).map(|held| (now, Due::Event(held.event))));
            }
            if self.ready.is_empty() && self.held.is_empty() {
                self.shared.delivered(next);
            }
            Ok(deadline)
        })
    }

    /// Puts one frame into the line, as the faults want it.
    fn pass(&mut self, frame: &Frame, position: u64, faults: &[Fault], now: Instant) {
        let (event, kind, except) = match frame {
            Frame::Event { event, kind, except } => (event, *kind, *except),
            Frame::End(reason) => {
                return self.ready.push_back((now, Due::Terminal(Terminal::Ended(reason.clone()))));
            }
        };
        if except == Some(self.id) || (kind == EventKind::Message && position < self.replayed) {
            return;
        }
        let mut at = now;
        let mut copies = 1;
        let mut overtakers = None;
        for fault in faults {
            match fault {
                Fault::Drop => return,
                Fault::Delay(millis) => at += Duration::from_millis(*millis),
                Fault::Duplicate(times) => copies += times.min(&16),
                Fault::Reorder(window) => overtakers = Some(*window),
                Fault::Cut => {
                    let error = Error::new(ErrorKind::Network, "the connection was cut");
                    return self.ready.push_back((now, Due::Terminal(lost(error))));
                }
                Fault::HalfOpen(millis) => {
                    return self.ready.push_back((now, Due::HalfOpen(Duration::from_millis(*millis))));
                }
                _ => {}
            }
        }
        for _ in 1..copies {
            self.line_up(at, event.clone());
        }
        match overtakers {
            Some(overtakers) if overtakers > 0 => {
                self.ready.push_back((at, Due::Hold(event.clone(), overtakers)));
            }
            _ => self.line_up(at, event.clone()),
        }
    }

    /// Puts an event at the end of the line, behind its raw form if that is asked for.
    fn line_up(&mut self, at: Instant, event: TransportEvent) {
        if self.tap {
            self.ready.push_back((at, Due::Event(TransportEvent::Raw(Box::new(raw(&event))))));
        }
        self.ready.push_back((at, Due::Event(event)));
    }

    /// When the next event is due, or the terminal that is.
    fn next_due(&mut self, now: Instant) -> (Option<Instant>, Option<Terminal>) {
        while self.ready.front().is_some_and(|(at, due)| matches!(due, Due::Hold(..)) && *at <= now) {
            if let Some((_, Due::Hold(event, overtakers))) = self.ready.pop_front() {
                self.held.push(Held { event, overtakers, until: now + HOLD });
            }
        }
        if self.held.iter().any(|held| held.overtakers == 0 || held.until <= now) {
            return (Some(now), None);
        }
        match self.ready.front() {
            Some((at, Due::Event(_) | Due::Hold(..))) => {
                let held = self.held.iter().map(|held| held.until).min();
                (Some(held.map_or(*at, |until| until.min(*at))), None)
            }
            Some((_, Due::Terminal(Terminal::Ended(_)))) if !self.held.is_empty() => {
                // The end waits for those whom nobody will overtake now.
                self.held.iter_mut().for_each(|held| held.overtakers = 0);
                (Some(now), None)
            }
            Some((_, Due::Terminal(_))) => match self.ready.pop_front() {
                Some((_, Due::Terminal(terminal))) => (None, Some(terminal)),
                _ => (None, None),
            },
            Some((_, Due::HalfOpen(dead_after))) => {
                let dead_after = *dead_after;
                self.ready.clear();
                self.held.clear();
                self.centre.quietly(|state| {
                    let wires = &mut state.contacts[self.contact].wires;
                    if let Some(wire) = wires.iter_mut().find(|wire| wire.id == self.id) {
                        wire.half_open(dead_after);
                    }
                });
                (None, None)
            }
            None => (self.held.iter().map(|held| held.until).min(), None),
        }
    }

    /// Takes the event that [`next_due`](Self::next_due) announced.
    fn take(&mut self, now: Instant) -> TransportEvent {
        if let Some(at) = self.held.iter().position(|held| held.overtakers == 0 || held.until <= now) {
            return self.held.remove(at).event;
        }
        for held in &mut self.held {
            held.overtakers = held.overtakers.saturating_sub(1);
        }
        match self.ready.pop_front() {
            Some((_, Due::Event(event))) => event,
            _ => TransportEvent::Alive,
        }
    }
}

async fn at(timer: Option<Instant>) {
    match timer {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The traffic behind `event`, as the tap shows it.
fn raw(event: &TransportEvent) -> RawEvent {
    match event {
        TransportEvent::Message(sighting) => {
            RawEvent::new("message", serde_json::to_string(sighting).unwrap_or_default())
        }
        TransportEvent::Typing(typing) => RawEvent::new("typing", format!("{typing:?}")),
        TransportEvent::Other(other) => (**other).clone(),
        other => RawEvent::new("event", format!("{other:?}")),
    }
}
