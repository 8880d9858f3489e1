//! Owns what readers are told of the chat server's health: failures counted in succession, each event once. No I/O, no time.
//! Source: protocol notes of GMS v2, section 10.3, "Ours, settled".

use crate::{
    command::Ack,
    error::{Error, ErrorKind, Result},
};

use super::PollEvent;

/// How a request to the chat server went: a poll, or what a push connection reports with
/// [`SessionUpdate::ChatServer`](crate::SessionUpdate::ChatServer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollClass {
    /// A well-formed good reply.
    Good,
    /// Something answered, but not the chat server.
    Exception,
    /// No HTTP answer: network failure or time-out.
    NoAnswer,
    /// An error of its own, told as [`ChatEvent::Error`](crate::ChatEvent::Error) (authentication, rate limit, 4xx): neither counts
    /// nor resets.
    Other,
}

impl PollClass {
    /// The class of an answer. `Network` and `Timeout` are no answer; `Server` and `UnexpectedResponse` come from something
    /// before the chat server.
    pub fn of(answer: &Result<Ack>) -> Self {
        answer.as_ref().map_or_else(Self::of_error, |_| Self::Good)
    }

    /// The class of a failure.
    pub fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Network | ErrorKind::Timeout => Self::NoAnswer,
            ErrorKind::Server | ErrorKind::UnexpectedResponse => Self::Exception,
            _ => Self::Other,
        }
    }
}

/// Counts exceptions in succession and tells each change once.
///
/// `Good` resets the count, `Exception` adds one, the others do neither. What was told as lost is told as recovered by the next
/// `Good`, and nothing else is.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    exception_limit: u32,
    /// Nothing good since a restore.
    restoring: bool,
    exceptions: u32,
    pending: bool,
    disconnected: bool,
    /// Told that the chat server is offline, in either way.
    offline: bool,
}

impl ServerHealth {
    /// All well so far. `exception_limit` exceptions in a row are borne; the next one means that the chat server is offline.
    pub const fn new(exception_limit: u32) -> Self {
        Self {
            exception_limit,
            restoring: false,
            exceptions: 0,
            pending: false,
            disconnected: false,
            offline: false,
        }
    }

    /// Sets whether the chat is being restored: until the next `Good`, a failure means "restored offline" then.
    #[must_use]
    pub const fn restoring(mut self, restoring: bool) -> Self {
        self.restoring = restoring;
        self
    }

    /// Sets how many exceptions in a row are borne from now on.
    pub const fn set_exception_limit(&mut self, exception_limit: u32) {
        self.exception_limit = exception_limit;
    }

    /// How many exceptions in a row there were.
    pub const fn exceptions(&self) -> u32 {
        self.exceptions
    }

    /// Counts exceptions from 0 again.
    pub const fn reset_exceptions(&mut self) {
        self.exceptions = 0;
    }

    /// Whether readers were told that the chat server is offline.
    pub const fn is_offline(&self) -> bool {
        self.offline
    }

    /// Whether readers were told that nothing gets through: no answer comes, or the chat server is offline.
    pub const fn is_cut_off(&self) -> bool {
        self.disconnected || self.offline
    }

    /// What readers were told as lost and not yet as recovered, for one who comes late.
    pub fn standing(&self) -> Vec<PollEvent> {
        let offline = if self.restoring { PollEvent::RestoredOffline } else { PollEvent::ServerWentOffline };
        [
            (self.pending, PollEvent::ConnectionPending),
            (self.disconnected, PollEvent::Disconnected),
            (self.offline, offline),
        ]
        .into_iter()
        .filter_map(|(is, event)| is.then_some(event))
        .collect()
    }

    /// Takes in how a request went, and gives what readers are to be told, in order.
    pub fn note(&mut self, class: PollClass) -> Vec<PollEvent> {
        match class {
            PollClass::Good => self.recovered(),
            PollClass::Exception | PollClass::NoAnswer => self.failed(class == PollClass::Exception),
            PollClass::Other => Vec::new(),
        }
    }

    fn recovered(&mut self) -> Vec<PollEvent> {
        let was = std::mem::replace(self, Self::new(self.exception_limit));
        [
            (was.disconnected, PollEvent::Reconnected),
            (was.offline, PollEvent::ServerBackOnline),
            (was.pending, PollEvent::ConnectionRestored),
        ]
        .into_iter()
        .filter_map(|(was, event)| was.then_some(event))
        .collect()
    }

    fn failed(&mut self, exception: bool) -> Vec<PollEvent> {
        let mut out = Vec::new();
        let mut once = |told: &mut bool, event| {
            if !std::mem::replace(told, true) {
                out.push(event);
            }
        };
        once(&mut self.pending, PollEvent::ConnectionPending);
        if exception {
            self.exceptions = self.exceptions.saturating_add(1);
        } else {
            once(&mut self.disconnected, PollEvent::Disconnected);
        }
        // Whoever restored a chat and heard that the server is offline does not hear it again.
        if self.restoring {
            once(&mut self.offline, PollEvent::RestoredOffline);
        } else if exception && self.exceptions > self.exception_limit {
            once(&mut self.offline, PollEvent::ServerWentOffline);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PollEvent::{
        ConnectionPending, ConnectionRestored, Disconnected, Reconnected, RestoredOffline, ServerBackOnline,
        ServerWentOffline,
    };

    #[test]
    fn the_server_goes_offline_when_the_limit_is_exceeded_and_comes_back_once() {
        for limit in [0, 1, 5] {
            let mut health = ServerHealth::new(limit);
            for number in 1..=limit + 20 {
                let mut expected = Vec::new();
                if number == 1 {
                    expected.push(ConnectionPending);
                }
                if number == limit + 1 {
                    expected.push(ServerWentOffline);
                }
                assert_eq!(health.note(PollClass::Exception), expected, "failure {number} of limit {limit}");
            }
            assert_eq!(health.standing(), [ConnectionPending, ServerWentOffline]);
            assert_eq!(health.note(PollClass::Good), [ServerBackOnline, ConnectionRestored]);
            assert_eq!((health.note(PollClass::Good), health.standing()), (vec![], vec![]));
        }
    }

    #[test]
    fn an_early_success_restores_the_connection_alone() {
        let mut health = ServerHealth::new(5);
        for _ in 0..5 {
            health.note(PollClass::Exception);
        }
        assert_eq!(health.note(PollClass::Good), [ConnectionRestored]);
    }

    #[test]
    fn no_answer_disconnects_once_and_is_no_exception() {
        let mut health = ServerHealth::new(0);
        assert_eq!(health.note(PollClass::NoAnswer), [ConnectionPending, Disconnected]);
        assert_eq!(health.note(PollClass::NoAnswer), []);
        assert_eq!(health.exceptions(), 0);
        assert_eq!(health.note(PollClass::Exception), [ServerWentOffline]);
        assert_eq!(health.note(PollClass::Good), [Reconnected, ServerBackOnline, ConnectionRestored]);
    }

    #[test]
    fn errors_of_their_own_neither_count_nor_reset() {
        let mut health = ServerHealth::new(1);
        assert_eq!(health.note(PollClass::Other), []);
        health.note(PollClass::Exception);
        assert_eq!(health.note(PollClass::Other), []);
        assert_eq!(health.note(PollClass::Exception), [ServerWentOffline]);
    }

    #[test]
    fn a_failure_while_restoring_means_restored_offline() {
        for class in [PollClass::Exception, PollClass::NoAnswer] {
            let mut health = ServerHealth::new(1).restoring(true);
            assert!(health.note(class).ends_with(&[RestoredOffline]));
            assert!(health.standing().ends_with(&[RestoredOffline]), "for who comes late");
            assert_eq!(health.note(PollClass::Exception), []);
            assert_eq!(health.note(PollClass::Exception), [], "told already");
            assert!(health.note(PollClass::Good).ends_with(&[ServerBackOnline, ConnectionRestored]));
            assert_eq!(health.note(PollClass::Exception), [ConnectionPending], "restored: counted as ever");
        }
    }
}
