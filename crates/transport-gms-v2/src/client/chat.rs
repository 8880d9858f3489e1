//! Owns what a connection knows of its chat beside what the machine follows: its name, who is in it, what is typed, what to save.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chat_core::{
    EndReason, Error, ErrorKind, MessageId, Result, SavedSession, SessionInfo, SessionUpdate, Timestamp,
    TransportEvent,
};
use serde_json::Value;
use tokio::time::Instant;

use super::TRANSPORT_ID;
use crate::{
    config::GmsConfig,
    machine::{Chat as Followed, Page, Taken},
    wire::{EventType, Operation, PartyType, Position, Reply},
};

/// How a chat is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// REST alone.
    Polling,
    /// CometD, with its companion for files.
    Cometd,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Cometd => "cometd",
        }
    }

    /// How the chat was followed that was saved; unknown for data of the vendor's own client.
    pub(crate) fn of(saved: &SavedSession) -> Option<Self> {
        [Self::Polling, Self::Cometd].into_iter().find(|mode| saved.text(MODE) == Some(mode.as_str()))
    }
}

/// Members of what is saved that the machine does not know.
const MODE: &str = "mode";
const NICKNAME: &str = "nickname";
const STARTED_AT: &str = "startedAt";
const ASYNCHRONOUS: &str = "asynchronous";

/// More than take part in a chat.
const PARTIES_MAX: usize = 256;

/// One chat, as one connection sees it.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) followed: Followed,
    pub(crate) mode: Mode,
    /// It may sleep for days, and must not be polled (§8.5).
    pub(crate) asynchronous: bool,
    nickname: Option<String>,
    started_at: Option<Timestamp>,
    /// Where the transcript ends, as last told.
    end: u64,
    /// What is being typed.
    pub(crate) preview: Option<Arc<str>>,
    /// We have asked for the end.
    pub(crate) ending: bool,
    /// It ended while nobody was there.
    pub(crate) ended_away: bool,
    /// Agents and supervisors: whether they are there, and by which event that is known.
    agents: BTreeMap<u64, (u64, bool)>,
    /// The transcript was read from its beginning: who is not known to be in the chat, is not.
    whole: bool,
    /// Something worth saving has changed since.
    changed: bool,
    saved_at: Instant,
    save_every: Duration,
}

impl Chat {
    /// The chat that the answer to a start tells of. `None` without id or key: there is nothing to come back to then.
    pub(crate) fn started(
        reply: &Reply,
        nickname: Option<String>,
        mode: Mode,
        config: &GmsConfig,
    ) -> Option<Self> {
        let mut followed = Followed::started(reply, config.mask)?;
        followed.identity().secure_key.as_ref()?;
        // What it tells comes again with the first refresh, and with it what it leaves out.
        followed.take(Operation::RequestChat, None, reply);
        let first = reply.events().first().and_then(|event| event.utc_time);
        let started_at = first.and_then(Timestamp::from_millis);
        Some(Self::new(followed, mode, nickname, started_at, config))
    }

    /// A chat from what was saved.
    ///
    /// # Errors
    /// `InvalidInput` without key or id; `SessionLost` if another transport saved it.
    pub(crate) fn resumed(saved: &SavedSession, mode: Mode, config: &GmsConfig) -> Result<Self> {
        if saved.transport != TRANSPORT_ID.as_str() {
            return Err(Error::new(ErrorKind::SessionLost, "the saved session is another transport's"));
        }
        let followed = Followed::resumed(&saved.data, config.mask)
            .ok_or_else(|| Error::invalid_input("a saved session needs sessionID and secureKey"))?;
        let nickname = saved.text(NICKNAME).map(str::to_owned);
        let started_at = saved.text(STARTED_AT).and_then(Timestamp::parse);
        let mut chat = Self::new(followed, mode, nickname, started_at, config);
        chat.asynchronous = match saved.text(ASYNCHRONOUS) {
            Some(text) => text == "true",
            // The vendor's own client does not say.
            None => config.asynchronous && Mode::of(saved).is_none(),
        };
        Ok(chat)
    }

    fn new(
        followed: Followed,
        mode: Mode,
        nickname: Option<String>,
        started_at: Option<Timestamp>,
        config: &GmsConfig,
    ) -> Self {
        Self {
            end: followed.cursor(),
            followed,
            mode,
            asynchronous: false,
            nickname,
            started_at,
            preview: None,
            ending: false,
            ended_away: false,
            agents: BTreeMap::new(),
            whole: false,
            changed: false,
            saved_at: Instant::now(),
            // The age of what is saved is taken for the time since the last sign of life (§10.7).
            save_every: config.timings.restore_timeout / 6,
        }
    }

    pub(crate) fn info(&self) -> SessionInfo {
        let mapper = self.followed.mapper();
        let mut info = SessionInfo::new(mapper.scope().clone(), mapper.segment().clone());
        info.started_at = self.started_at;
        info.participant = mapper.own_id();
        info.display_name = self.nickname.as_deref().map(Into::into);
        info
    }

    /// What it takes to come back, under the vendor's names where it has some.
    pub(crate) fn saved(&self) -> SavedSession {
        let mut data = self.followed.saved();
        let mut put = |key: &str, value: Option<String>| {
            value.map(|value| data.insert(key.to_owned(), Value::String(value)));
        };
        put(MODE, Some(self.mode.as_str().to_owned()));
        put(NICKNAME, self.nickname.clone());
        put(STARTED_AT, self.started_at.map(|time| time.to_string()));
        put(ASYNCHRONOUS, self.asynchronous.then(|| "true".to_owned()));
        SavedSession::new(TRANSPORT_ID, data)
    }

    /// What is to be saved, if it is time to: after a change, and now and then as a sign of life.
    pub(crate) fn save(&mut self) -> Option<TransportEvent> {
        let now = Instant::now();
        if !self.changed && now.duration_since(self.saved_at) < self.save_every {
            return None;
        }
        (self.changed, self.saved_at) = (false, now);
        Some(TransportEvent::Session(Box::new(SessionUpdate::Saved(self.saved()))))
    }

    /// A good reply to a call that asked for `asked`.
    pub(crate) fn take(&mut self, operation: Operation, asked: Option<Position>, reply: &Reply) -> Taken {
        self.note(asked, reply);
        let taken = self.followed.take(operation, asked, reply);
        self.changed |= taken.changed;
        taken
    }

    /// A message of the chat channel that brings news.
    pub(crate) fn hear(&mut self, reply: &Reply) -> Taken {
        self.note(None, reply);
        let heard = self.followed.hear(reply);
        self.changed |= heard.changed;
        heard
    }

    /// A good reply to a request for a page of the transcript.
    pub(crate) fn page(&mut self, asked: Position, reply: &Reply) -> Page {
        self.note(Some(asked), reply);
        let page = self.followed.page(asked, reply);
        self.changed |= page.changed;
        page
    }

    /// Where the transcript ends, as far as known.
    pub(crate) fn end(&self) -> u64 {
        self.end.max(self.followed.cursor())
    }

    /// From which index on to ask for a message.
    pub(crate) fn place_of(&self, id: &MessageId) -> Option<u64> {
        match self.followed.position_of(id)? {
            Position::From(index) => Some(index),
            _ => Some(1),
        }
    }

    /// Why it is over, once it is.
    pub(crate) const fn end_reason(&self) -> EndReason {
        match (self.ending, self.ended_away) {
            (true, _) => EndReason::EndedByUs,
            (false, true) => EndReason::EndedWhileAway,
            (false, false) => EndReason::EndedByService,
        }
    }

    /// Whether an agent is in the chat; `None` if too little of it was read to tell.
    pub(crate) fn agent(&self) -> Option<bool> {
        let present = self.agents.values().any(|(_, present)| *present);
        (present || self.whole).then_some(present)
    }

    fn note(&mut self, asked: Option<Position>, reply: &Reply) {
        self.end = reply.next_position.unwrap_or(self.end);
        self.whole |= asked == Some(Position::Everything);
        for event in reply.events() {
            let Some(from) = &event.from else { continue };
            let (Some(id), Some(index)) = (from.participant_id, event.index) else { continue };
            if !matches!(from.kind, Some(PartyType::Agent | PartyType::Supervisor)) {
                continue;
            }
            // A page of the past changes nothing that something newer told.
            let present = event.kind != Some(EventType::ParticipantLeft);
            let known = self.agents.entry(id).or_insert((index, present));
            if known.0 <= index {
                *known = (index, present);
            }
            while self.agents.len() > PARTIES_MAX {
                self.agents.pop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn saved(data: Value) -> SavedSession {
        serde_json::from_value(json!({"transport": "gms-v2", "data": data})).unwrap()
    }

    fn chat() -> Chat {
        let saved = saved(json!({"secureKey": "hunter2", "sessionID": "c"}));
        Chat::resumed(&saved, Mode::Polling, &GmsConfig::default()).unwrap()
    }

    fn refreshed(chat: &mut Chat, asked: Position, events: Value) {
        let reply = json!({"statusCode": 0, "messages": events}).to_string();
        chat.take(Operation::Refresh, Some(asked), &Reply::read(&reply).unwrap());
    }

    fn agent(index: u64, kind: &str) -> Value {
        json!({"index": index, "type": kind, "utcTime": index * 1000, "from": {"participantId": 2, "type": "Agent"}})
    }

    #[test]
    fn what_was_saved_comes_back_and_shows_no_key() {
        let data = json!({"secureKey": "hunter2", "sessionID": "c", "mode": "cometd", "nickname": "Jonny",
            "startedAt": "2026-05-04T09:00:00.000Z", "asynchronous": "true"});
        let chat = Chat::resumed(&saved(data.clone()), Mode::Cometd, &GmsConfig::default()).unwrap();
        let again = chat.saved();
        for (key, value) in data.as_object().unwrap() {
            assert_eq!(again.data.get(key), Some(value));
        }
        assert_eq!(Mode::of(&again), Some(Mode::Cometd));
        assert_eq!(chat.info().display_name.as_deref(), Some("Jonny"));
        assert!(!format!("{chat:?} {again:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_resumed_is_refused() {
        let kind = |saved: &SavedSession| {
            Chat::resumed(saved, Mode::Polling, &GmsConfig::default()).unwrap_err().kind().clone()
        };
        for data in [json!({}), json!({"sessionID": "c"}), json!({"secureKey": "k", "sessionID": ""})] {
            assert_eq!(kind(&saved(data)), ErrorKind::InvalidInput);
        }
        let other = SavedSession { transport: "connect".into(), data: Map::new() };
        assert_eq!(kind(&other), ErrorKind::SessionLost);
        assert_eq!(Mode::of(&other), None);
    }

    #[test]
    fn whether_an_agent_is_there_is_told_by_the_newest_event() {
        let mut chat = chat();
        assert_eq!(chat.agent(), None, "nothing is read yet");
        refreshed(&mut chat, Position::From(9), json!([agent(9, "ParticipantLeft")]));
        assert_eq!(chat.agent(), None, "somebody may have joined before");
        refreshed(
            &mut chat,
            Position::Everything,
            json!([agent(4, "ParticipantJoined"), agent(5, "Message")]),
        );
        assert_eq!(chat.agent(), Some(false));
        refreshed(&mut chat, Position::From(10), json!([agent(12, "ParticipantJoined")]));
        assert_eq!(chat.agent(), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_saved_after_a_change_and_as_a_sign_of_life() {
        let mut chat = chat();
        assert!(chat.save().is_none());
        refreshed(&mut chat, Position::Everything, json!([agent(1, "ParticipantJoined")]));
        assert!(chat.save().is_some());
        assert!(chat.save().is_none(), "once");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(chat.save().is_some(), "well inside the minute after which it could not be restored");
    }
}
