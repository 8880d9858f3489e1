//! Owns one chat as the client follows it: every reply goes through here, and comes out as events, decisions and what to save.

use chat_core::{MessageId, Sighting, TransportEvent};
use serde_json::{Map, Value};

use super::{
    cursor::{Cursor, Step},
    epochs::Epochs,
    own::Own,
};
use crate::{
    map::{Mapped, Mapper},
    wire::{Identity, Operation, Parameters, Position, Reply},
};

/// A chat that stands.
#[derive(Debug)]
pub(crate) struct Chat {
    identity: Identity,
    cursor: Cursor,
    mapper: Mapper,
    /// The service may have been restored from an older copy: nothing is believed until everything is read again.
    doubted: bool,
}

/// What a good reply comes to.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// For the session, in this order.
    pub(crate) events: Vec<TransportEvent>,
    /// The chat is over, once these events are delivered.
    pub(crate) over: bool,
    /// What is to be saved has changed.
    pub(crate) changed: bool,
    /// The events of this reply cannot be understood before everything is read again: ask from [`Chat::position`], which brings
    /// them, too. While that is under way, further replies may say the same.
    pub(crate) ask_again: bool,
}

/// A page of the transcript.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Oldest first.
    pub(crate) items: Vec<Sighting>,
    /// For the session, before the page.
    pub(crate) events: Vec<TransportEvent>,
    /// What is to be saved has changed.
    pub(crate) changed: bool,
    /// Nothing of this page can be understood: ask for everything, and cut it.
    pub(crate) ask_again: bool,
}

impl Chat {
    /// A chat that has just begun. Then [`take`](Self::take) the same reply. `None` if the reply names no chat.
    pub(crate) fn started(reply: &Reply, mask: char) -> Option<Self> {
        let mut identity = Identity::default();
        identity.adopt(reply);
        let mapper = Mapper::new(identity.chat_id.as_deref()?, Own::default(), Epochs::default(), mask);
        Some(Self { identity, cursor: Cursor::START, mapper, doubted: false })
    }

    /// A chat from what was saved, or from what the vendor's own widget shows: `secureKey`, `sessionID`, `alias`, `userId`. Without a
    /// position everything is read again. `None` without id or key.
    pub(crate) fn resumed(saved: &Map<String, Value>, mask: char) -> Option<Self> {
        let text = |key: &str| saved.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut identity = Identity::default();
        let chat_id = text(SESSION_ID).or(text("chatId"))?;
        identity.chat_id = Some(chat_id.to_owned());
        identity.secure_key = Some(text(SECURE_KEY)?.into());
        identity.user_id = text(USER_ID).map(String::from);
        identity.alias = text(ALIAS).map(String::from);
        let number = |key: &str| saved.get(key).and_then(Value::as_u64);
        let epochs = saved.get(EPOCHS).cloned().and_then(|epochs| serde_json::from_value(epochs).ok());
        let mapper = Mapper::new(
            chat_id,
            Own::known(number(PARTICIPANT)),
            Epochs::resume(epochs.unwrap_or_default()),
            mask,
        );
        let cursor = number(POSITION).map_or(Cursor::START, Cursor::at);
        Some(Self { identity, cursor, mapper, doubted: false })
    }

    /// What it takes to come back, under the vendor's names where it has some. Holds the key.
    pub(crate) fn saved(&self) -> Map<String, Value> {
        let mut saved = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.map(|value| saved.insert(key.into(), value));
        let Identity { chat_id, user_id, secure_key, alias } = &self.identity;
        put(SESSION_ID, chat_id.as_deref().map(Value::from));
        put(SECURE_KEY, secure_key.as_ref().map(|key| key.expose().into()));
        put(USER_ID, user_id.as_deref().map(Value::from));
        put(ALIAS, alias.as_deref().map(Value::from));
        put(POSITION, Some(self.cursor.next().into()));
        put(PARTICIPANT, self.mapper.own.id().map(Value::from));
        put(EPOCHS, serde_json::to_value(self.mapper.epochs.saved()).ok());
        saved
    }

    /// Which chat, and who in it.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Names, places, and who is who.
    pub(crate) const fn mapper(&self) -> &Mapper {
        &self.mapper
    }

    /// Parameters of a call of this chat.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters::of(self.identity.clone())
    }

    /// From where to ask for what is new.
    pub(crate) fn position(&self) -> Position {
        if self.doubted { Position::Everything } else { self.cursor.position() }
    }

    /// The first index not read yet.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor.next()
    }

    /// From where to ask for the message with this name, itself included. `None` for what is no name of a message.
    pub(crate) fn position_of(&self, id: &MessageId) -> Option<Position> {
        self.mapper.epochs.position(id)
    }

    /// A good reply to a call that asked for `asked`.
    pub(crate) fn take(&mut self, operation: Operation, asked: Option<Position>, reply: &Reply) -> Taken {
        if !self.identity.is_of(reply) {
            return Taken::default();
        }
        let is_full = asked == Some(Position::Everything);
        let mut taken = self.meet(is_full, reply);
        if taken.ask_again {
            return taken;
        }
        let before = self.cursor;
        let mut cursor = self.cursor;
        let step = cursor.processed(operation, asked, reply);
        if step == Step::Back && !is_full && !taken.over {
            (self.cursor, self.doubted) = (cursor, true);
            return Taken { ask_again: true, ..taken };
        }
        self.cursor = cursor;
        // Typing that was asked for is news, even if a restored copy numbers it as what was read before.
        let read_to = if let Some(Position::From(index)) = asked { index } else { before.next() };
        let Mapped { events, epoch_begins } = self.mapper.live(reply, read_to);
        if let Some(index) = epoch_begins {
            self.cursor.rewind(index);
            self.cursor.processed(operation, Some(self.cursor.position()), reply);
        }
        taken.events = events;
        taken.changed |= self.cursor != before || epoch_begins.is_some();
        taken
    }

    /// A message that nobody asked for, or the answer to an operation that asked for nothing, on the chat channel.
    pub(crate) fn hear(&mut self, reply: &Reply) -> Taken {
        if !self.identity.is_of(reply) {
            return Taken::default();
        }
        let mut taken = self.meet(false, reply);
        if taken.ask_again {
            return taken;
        }
        let before = self.cursor;
        self.cursor.pushed(reply);
        taken.events = self.mapper.live(reply, before.next()).events;
        taken.changed |= self.cursor != before;
        taken
    }

    /// A good reply to a request for history. It does not move the cursor: whoever asked may cut it.
    pub(crate) fn page(&mut self, asked: Position, reply: &Reply) -> Page {
        let is_full = asked == Position::Everything;
        let Taken { changed, ask_again, over, .. } = self.meet(is_full, reply);
        let mut cursor = self.cursor;
        let stepped_back = cursor.processed(Operation::Refresh, Some(asked), reply) == Step::Back;
        if ask_again || stepped_back && !is_full && !over {
            self.doubted = true;
            return Page { changed, ask_again: true, ..Page::default() };
        }
        let (items, events, epoch_begins) = self.mapper.page(reply);
        if let Some(index) = epoch_begins {
            self.cursor.rewind(index);
        }
        Page { items, events, changed: changed || epoch_begins.is_some(), ask_again: false }
    }

    /// Takes over the identity. Another chat server may serve a restored copy, and an index may stand for another event than it did:
    /// then everything is read again, so that a new numbering begins where it really began.
    fn meet(&mut self, is_full: bool, reply: &Reply) -> Taken {
        let server = self.identity.alias.clone();
        let changed = self.identity.adopt(reply);
        let moved = server.is_some() && server != self.identity.alias;
        self.doubted = !is_full && (self.doubted || moved || self.mapper.epochs.doubts(reply.events()));
        let has_events = !reply.events().is_empty();
        let over = reply.chat_ended == Some(true);
        Taken { changed, over, ask_again: self.doubted && has_events && !over, events: Vec::new() }
    }
}

const SESSION_ID: &str = "sessionID";
const SECURE_KEY: &str = "secureKey";
const USER_ID: &str = "userId";
const ALIAS: &str = "alias";
const POSITION: &str = "transcriptPosition";
const PARTICIPANT: &str = "participantId";
const EPOCHS: &str = "epochs";

#[cfg(test)]
mod tests;
