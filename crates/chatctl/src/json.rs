//! Owns events as JSON Lines: one object a line, each with the member `event`.

use chat_core::{
    ChatEvent, DeliveryState, Diff, RosterEvent, Row, SessionInfo, TypingEvent,
    session::{ConnectionEvent, SessionEvent},
};
use serde_json::{Map, Value, json};

use crate::{
    failure::Result,
    output::escape_json,
    render::{Sink, Watcher},
};

/// Writes each event as a line of JSON.
pub(crate) struct JsonLines {
    sink: Sink,
    /// Members of each object.
    about: Map<String, Value>,
}

impl JsonLines {
    /// Writes to `sink`.
    pub(crate) fn new(sink: Sink) -> Self {
        Self::about(sink, Value::Null)
    }

    /// Writes to `sink`, with the members of the object `about` in each line.
    pub(crate) fn about(sink: Sink, about: Value) -> Self {
        let about = if let Value::Object(members) = about { members } else { Map::new() };
        Self { sink, about }
    }

    /// Writes any object.
    pub(crate) fn write(&mut self, value: &Value) -> Result<()> {
        let mut value = value.clone();
        if let Value::Object(members) = &mut value {
            members.extend(self.about.clone());
        }
        (self.sink)(&escape_json(&value.to_string()))
    }
}

impl Watcher for JsonLines {
    fn event(&mut self, event: &ChatEvent) -> Result<()> {
        self.write(&value(event))
    }

    fn note(&mut self, text: &str) -> Result<()> {
        self.write(&json!({ "event": "note", "text": text }))
    }
}

/// The event as JSON.
pub(crate) fn value(event: &ChatEvent) -> Value {
    match event {
        ChatEvent::Connection(event) => match &**event {
            ConnectionEvent::Established(info) => {
                json!({ "event": "connection", "state": "established", "session": session(info) })
            }
            ConnectionEvent::Restored(info) => {
                json!({ "event": "connection", "state": "restored", "session": session(info) })
            }
            ConnectionEvent::Lost(error) => {
                json!({ "event": "connection", "state": "lost", "error": error.to_string() })
            }
            ConnectionEvent::Pending(error) => {
                json!({ "event": "connection", "state": "pending", "error": error.to_string() })
            }
            ConnectionEvent::Broken(error) => {
                json!({ "event": "connection", "state": "broken", "error": error.to_string() })
            }
            ConnectionEvent::Renewed => json!({ "event": "connection", "state": "renewed" }),
            _ => json!({ "event": "connection", "state": "unknown" }),
        },
        ChatEvent::Session(event) => session_event(event),
        ChatEvent::Transcript(diff) => diff_value(diff),
        ChatEvent::Messages(batch) => {
            let messages: Vec<_> = batch.messages.iter().map(|message| row(message)).collect();
            json!({ "event": "messages", "restored": batch.restored, "messages": messages })
        }
        ChatEvent::Participant(event) => {
            let (change, member) = match &event.change {
                RosterEvent::Joined(member) => ("joined", member),
                RosterEvent::Left(member) => ("left", member),
                RosterEvent::AutoDisconnected(member) => ("auto_disconnected", member),
                RosterEvent::Invited(member) => ("invited", member),
                RosterEvent::Idle(member) => ("idle", member),
                RosterEvent::Inactive(member) => ("inactive", member),
                RosterEvent::Returned(member) => ("returned", member),
                RosterEvent::Renamed(member) => ("renamed", member),
                _ => return json!({ "event": "participant", "change": "unknown" }),
            };
            json!({
                "event": "participant", "change": change, "who": member.who,
                "time": event.time, "agents_connected": event.agents_connected,
            })
        }
        ChatEvent::Typing(event) => match &**event {
            TypingEvent::Started { who, preview } => {
                json!({ "event": "typing", "on": true, "who": who, "preview": preview })
            }
            TypingEvent::Preview { who, preview } => {
                json!({ "event": "typing", "on": true, "who": who, "preview": preview })
            }
            TypingEvent::Stopped { who } => json!({ "event": "typing", "on": false, "who": who }),
            _ => json!({ "event": "typing" }),
        },
        ChatEvent::Receipt(event) => json!({
            "event": "receipt", "kind": event.kind, "message": event.message, "by": event.by, "time": event.time,
        }),
        ChatEvent::Authentication(event) => {
            json!({ "event": "authentication", "phase": event.phase, "session": event.session })
        }
        ChatEvent::DeepHeartbeat(beat) => json!({
            "event": "deep_heartbeat",
            "error": beat.outcome.as_ref().err().map(ToString::to_string), "last_good": beat.last_good,
        }),
        ChatEvent::Poll(event) => json!({ "event": "poll", "state": format!("{event:?}") }),
        ChatEvent::Error(error) => json!({ "event": "error", "error": error.to_string() }),
        ChatEvent::Other(raw) => json!({ "event": "other", "kind": raw.kind, "body": raw.body }),
        ChatEvent::Raw(raw) => json!({ "event": "raw", "kind": raw.kind, "body": raw.body }),
        ChatEvent::Missed { events, snapshot } => {
            let rows: Vec<_> = snapshot.iter().map(|one| row(one)).collect();
            json!({ "event": "missed", "events": events, "transcript": rows })
        }
        ChatEvent::Ended(reason) => json!({ "event": "ended", "reason": reason }),
        _ => json!({ "event": "unknown" }),
    }
}

fn session_event(event: &SessionEvent) -> Value {
    match event {
        SessionEvent::Started(info) => {
            json!({ "event": "session", "state": "started", "session": session(info) })
        }
        SessionEvent::Restored { info, asynchronous } => json!({
            "event": "session", "state": "restored", "session": session(info), "asynchronous": asynchronous,
        }),
        SessionEvent::Ready => json!({ "event": "session", "state": "ready" }),
        SessionEvent::Rehydrated => json!({ "event": "session", "state": "rehydrated" }),
        SessionEvent::GapOpen(error) => {
            json!({ "event": "session", "state": "gap_open", "error": error.to_string() })
        }
        SessionEvent::Transfer { succeeded } => {
            json!({ "event": "session", "state": "transfer", "succeeded": succeeded })
        }
        SessionEvent::WorkflowCancelled => json!({ "event": "session", "state": "workflow_cancelled" }),
        SessionEvent::Queue { position } => {
            json!({ "event": "session", "state": "queue", "position": position })
        }
        _ => json!({ "event": "session", "state": "unknown" }),
    }
}

/// Without the participant's id and the like: which chat is enough to tell events of several chats apart.
fn session(info: &SessionInfo) -> Value {
    json!({ "segment": info.segment, "display_name": info.display_name })
}

fn diff_value(diff: &Diff) -> Value {
    match diff {
        Diff::Insert { at, row: one } => {
            json!({ "event": "transcript", "change": "insert", "at": at, "row": row(one) })
        }
        Diff::Set { at, row: one } => {
            json!({ "event": "transcript", "change": "set", "at": at, "row": row(one) })
        }
        Diff::Move { from, to } => json!({ "event": "transcript", "change": "move", "from": from, "to": to }),
        Diff::Remove { at } => json!({ "event": "transcript", "change": "remove", "at": at }),
        Diff::Reset(snapshot) => {
            let rows: Vec<_> = snapshot.iter().map(|one| row(one)).collect();
            json!({ "event": "transcript", "change": "reset", "rows": rows })
        }
        _ => json!({ "event": "transcript", "change": "unknown" }),
    }
}

fn row(row: &Row) -> Value {
    if row.gap().is_some() {
        return json!({ "gap": true });
    }
    let delivery = row.delivery().map(|delivery| match delivery {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Read => "read",
        _ => "sent",
    });
    json!({
        "id": row.message_id(),
        "time": row.time().map(|time| time.at),
        "from": row.from(),
        "own": row.is_own(),
        "content": row.content(),
        "send_state": row.send_state(),
        "delivery": delivery,
    })
}
