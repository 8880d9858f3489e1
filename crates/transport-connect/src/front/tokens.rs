//! Owns the three credentials: participant tokens, connection tokens, socket URLs. Source: §1.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::contact::Contact;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Participant,
    Connection,
    SocketUrl,
}

/// Whose a token is.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) contact: Arc<Contact>,
    pub(super) participant: Arc<str>,
}

#[derive(Debug)]
struct Grant {
    kind: Kind,
    caller: Caller,
    expires: Option<Instant>,
}

/// Tokens of one participant beyond this are forgotten, oldest first: a client that asks in a loop must not fill the memory.
const PER_PARTICIPANT: usize = 2048;

#[derive(Default)]
struct Inner {
    grants: HashMap<Arc<str>, Grant>,
    by_participant: HashMap<Arc<str>, VecDeque<Arc<str>>>,
}

impl Inner {
    fn good(&self, kind: Kind, token: &str) -> Option<Caller> {
        let grant = self.grants.get(token)?;
        let good = grant.kind == kind && grant.expires.is_none_or(|expires| Instant::now() < expires);
        // A token that was made while its contact ended is none.
        (good && !grant.caller.contact.is_over()).then(|| grant.caller.clone())
    }
}

#[derive(Default)]
pub(super) struct Tokens(Mutex<Inner>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new token, random. `life: None` for as long as the participant is part of the contact.
    pub(super) fn mint(&self, kind: Kind, caller: Caller, life: Option<Duration>) -> Arc<str> {
        let prefix = match kind {
            Kind::Participant => "PT.",
            Kind::Connection => "CT.",
            Kind::SocketUrl => "",
        };
        let one = uuid::Uuid::new_v4().simple();
        let two = uuid::Uuid::new_v4().simple();
        let token: Arc<str> = format!("{prefix}{one}{two}").into();
        let mut inner = self.lock();
        let own = inner.by_participant.entry(Arc::clone(&caller.participant)).or_default();
        own.push_back(Arc::clone(&token));
        // The participant token is the first and stays.
        let stale = if own.len() > PER_PARTICIPANT { own.remove(1) } else { None };
        if let Some(stale) = stale {
            inner.grants.remove(&stale);
        }
        let expires = life.map(|life| Instant::now() + life);
        inner.grants.insert(Arc::clone(&token), Grant { kind, caller, expires });
        token
    }

    /// Whose token this is, if it is one of `kind` and still good.
    pub(super) fn check(&self, kind: Kind, token: &str) -> Option<Caller> {
        self.lock().good(kind, token)
    }

    /// The same, and the token is used up.
    pub(super) fn redeem(&self, kind: Kind, token: &str) -> Option<Caller> {
        let mut inner = self.lock();
        let caller = inner.good(kind, token)?;
        inner.grants.remove(token);
        Some(caller)
    }

    /// Forgets every token of a participant.
    pub(super) fn revoke(&self, participant: &str) {
        let mut inner = self.lock();
        for token in inner.by_participant.remove(participant).into_iter().flatten() {
            inner.grants.remove(&token);
        }
    }

    /// Every token of the participants who are there, used up or not.
    pub(super) fn handed_out(&self) -> Vec<Arc<str>> {
        self.lock().by_participant.values().flatten().cloned().collect()
    }

    /// Lets every connection token expire now.
    pub(super) fn expire_connection_tokens(&self) {
        let now = Instant::now();
        let connection = |grant: &&mut Grant| grant.kind == Kind::Connection;
        self.lock().grants.values_mut().filter(connection).for_each(|grant| grant.expires = Some(now));
    }
}
