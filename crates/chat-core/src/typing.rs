//! Owns typing indications: ours, throttled and stopped by themselves; the others', expiring. No I/O.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{command::TypingSignal, event::TypingUpdate, message::Participant};

/// How [`OwnTyping`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypingPolicy {
    /// "Types" is sent at most once in this time.
    pub repeat_every: Duration,
    /// After the last key, "stopped" is sent when this has passed.
    pub stop_after: Duration,
    /// A changed preview text is sent at most once in this time.
    pub preview_every: Duration,
    /// After a stop, or a message, the next "types" is sent at once, whatever `repeat_every` says. For transports that
    /// can express a stop.
    pub restart_at_once: bool,
}

impl Default for TypingPolicy {
    /// Every 10 s, stopped after 5 s, previews every 2 s.
    fn default() -> Self {
        Self {
            repeat_every: Duration::from_secs(10),
            stop_after: Duration::from_secs(5),
            preview_every: Duration::from_secs(2),
            restart_at_once: false,
        }
    }
}

/// What the driver must do about our own typing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypingAction {
    /// Send it; a failure is of no consequence.
    Send(TypingSignal),
    /// Tell the readers: we type, or stopped.
    Own {
        /// Types now, or stopped.
        on: bool,
    },
}

/// Our own typing.
#[derive(Debug)]
pub struct OwnTyping {
    policy: TypingPolicy,
}

impl OwnTyping {
    /// Not typing.
    pub const fn new(policy: TypingPolicy) -> Self {
        Self { policy }
    }

    /// A key was pressed (or the caller says "types" again): starts by itself, stops by itself.
    pub fn key(&mut self, now: Instant, preview: Option<Arc<str>>) -> Vec<TypingAction> {
        let _ = (now, preview, &self.policy);
        Vec::new()
    }

    /// Types from now on, until told otherwise.
    pub fn start(&mut self, now: Instant, preview: Option<Arc<str>>) -> Vec<TypingAction> {
        let _ = (now, preview);
        Vec::new()
    }

    /// Types no more.
    pub fn stop(&mut self, now: Instant) -> Vec<TypingAction> {
        let _ = now;
        Vec::new()
    }

    /// A message of ours leaves: that ends typing, without a signal of its own.
    pub fn message_sent(&mut self, now: Instant) -> Vec<TypingAction> {
        let _ = now;
        Vec::new()
    }

    /// [`deadline`](Self::deadline) has come.
    pub fn tick(&mut self, now: Instant) -> Vec<TypingAction> {
        let _ = now;
        Vec::new()
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// What readers are told about the others' typing, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypingEvent {
    /// Types now.
    Started {
        /// Who.
        who: Participant,
        /// The text so far, if the vendor shows it.
        preview: Option<Arc<str>>,
    },
    /// The text so far has changed.
    Preview {
        /// Who.
        who: Participant,
        /// The text so far.
        preview: Option<Arc<str>>,
    },
    /// Types no more.
    Stopped {
        /// Who.
        who: Participant,
    },
}

/// The others' typing.
#[derive(Debug)]
pub struct OthersTyping {
    expires_after: Duration,
}

impl OthersTyping {
    /// Nobody types. An indication is over after `expires_after`
    /// ([`Capabilities::typing_expires_after`](crate::Capabilities::typing_expires_after)).
    pub const fn new(expires_after: Duration) -> Self {
        Self { expires_after }
    }

    /// Sets when an indication is over, for those that come from now on.
    pub const fn set_expires_after(&mut self, expires_after: Duration) {
        self.expires_after = expires_after;
    }

    /// Somebody types, or stopped. Our own typing (from another tab) is ignored.
    pub fn update(&mut self, now: Instant, update: &TypingUpdate) -> Vec<TypingEvent> {
        let _ = (now, update);
        Vec::new()
    }

    /// A message of `who` arrived, or `who` left: typing is over.
    pub fn over(&mut self, who: &Participant) -> Vec<TypingEvent> {
        let _ = who;
        Vec::new()
    }

    /// The chat is over: nobody types.
    pub fn clear(&mut self) -> Vec<TypingEvent> {
        Vec::new()
    }

    /// Who types, in order of their starting.
    pub fn typing(&self) -> impl Iterator<Item = &Participant> {
        std::iter::empty()
    }

    /// [`deadline`](Self::deadline) has come.
    pub fn tick(&mut self, now: Instant) -> Vec<TypingEvent> {
        let _ = now;
        Vec::new()
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}
