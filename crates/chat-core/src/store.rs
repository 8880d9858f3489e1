//! Owns the session-data hooks: what is kept between processes, where, and which chats are active in this one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    outbox::StoredSend,
    time::Timestamp,
    transport::{SavedSession, SessionInfo},
};

/// The version of [`StoredSession`] that this library writes. A newer one is refused, untouched.
pub const STORED_VERSION: u32 = 1;

/// All that is kept of a session: enough to come back and to send what was accepted. Holds credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredSession {
    /// [`STORED_VERSION`] when written.
    pub version: u32,
    /// The vendor's session data.
    pub saved: SavedSession,
    /// Which chat.
    #[serde(default)]
    pub info: Option<SessionInfo>,
    /// When it was last saved, on this machine's clock: its age decides whether it may be restored.
    #[serde(default)]
    pub saved_at: Option<Timestamp>,
    /// Messages that were accepted and are not yet known to be stored by the vendor.
    #[serde(default)]
    pub outbox: Vec<StoredSend>,
    /// The pre-filters.
    #[serde(default)]
    pub filters: Vec<String>,
}

impl StoredSession {
    /// A record that holds the vendor's session data alone.
    pub const fn new(saved: SavedSession) -> Self {
        Self {
            version: STORED_VERSION,
            saved,
            info: None,
            saved_at: None,
            outbox: Vec::new(),
            filters: Vec::new(),
        }
    }
}

/// Where sessions are kept. Called on start (load), on every change (save), and when the chat is over or lost (delete).
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// What is kept under `key`.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    async fn load(&self, key: &str) -> Result<Option<StoredSession>>;

    /// Keeps `session` under `key`. When this returns, it is durable: a queued message leaves only afterwards.
    ///
    /// # Errors
    /// `StoreUnavailable`: the message is then refused, never pretended.
    async fn save(&self, key: &str, session: &StoredSession) -> Result<()>;

    /// Forgets `key`.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    async fn delete(&self, key: &str) -> Result<()>;
}

/// A store that lives as long as the process.
#[derive(Default)]
pub struct MemoryStore(Mutex<HashMap<String, StoredSession>>);

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load(&self, key: &str) -> Result<Option<StoredSession>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    async fn save(&self, key: &str, session: &StoredSession) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into(), session.clone());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}

/// What a session key is doing in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Starting,
    Restoring,
    Active,
}

/// A store, and which of its keys are active in this process: a second start or restore under one key is refused.
/// Cheap to clone.
#[derive(Clone)]
pub struct SessionDirectory {
    store: Arc<dyn SessionStore>,
    uses: Arc<Mutex<HashMap<String, Use>>>,
}

impl SessionDirectory {
    /// Keeps sessions in `store`.
    pub fn new(store: impl SessionStore) -> Self {
        Self { store: Arc::new(store), uses: Arc::default() }
    }

    /// Keeps sessions in memory.
    pub fn in_memory() -> Self {
        Self::new(MemoryStore::default())
    }

    /// The session data under `key`, if any.
    ///
    /// # Errors
    /// `StoreUnavailable`; `Config` if a newer version of this library wrote it.
    pub async fn load(&self, key: &str) -> Result<Option<StoredSession>> {
        let stored = self.store.load(key).await?;
        if let Some(stored) = &stored
            && stored.version > STORED_VERSION
        {
            return Err(Error::new(ErrorKind::Config, "the saved session is of a newer version"));
        }
        Ok(stored)
    }

    /// Saves under `key`.
    pub(crate) async fn save(&self, key: &str, session: &StoredSession) -> Result<()> {
        self.store.save(key, session).await
    }

    /// Forgets `key`, unless a chat is active under it.
    ///
    /// # Errors
    /// `AlreadyActive`, `StoreUnavailable`.
    pub async fn forget(&self, key: &str) -> Result<()> {
        if self.lock().contains_key(key) {
            return Err(Error::new(ErrorKind::AlreadyActive, ""));
        }
        self.store.delete(key).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.store.delete(key).await
    }

    /// Claims `key` for a start.
    pub(crate) fn claim_start(&self, key: &str) -> Result<Claim> {
        self.claim(key, Use::Starting)
    }

    /// Claims `key` for a restore.
    pub(crate) fn claim_restore(&self, key: &str) -> Result<Claim> {
        self.claim(key, Use::Restoring)
    }

    fn claim(&self, key: &str, wanted: Use) -> Result<Claim> {
        let mut uses = self.lock();
        match uses.get(key) {
            Some(Use::Restoring) => Err(Error::new(ErrorKind::AlreadyRestoring, "")),
            Some(Use::Starting | Use::Active) => Err(Error::new(ErrorKind::AlreadyActive, "")),
            None => {
                uses.insert(key.into(), wanted);
                Ok(Claim { directory: self.clone(), key: key.into() })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDirectory").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A key in use. Dropping it frees the key.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) directory: SessionDirectory,
    pub(crate) key: String,
}

impl Claim {
    /// The chat is active from now on.
    pub(crate) fn activate(&self) {
        self.directory.lock().insert(self.key.clone(), Use::Active);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.directory.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_serves_one_chat_at_a_time() {
        let directory = SessionDirectory::in_memory();
        let claim = directory.claim_restore("a").unwrap();
        assert_eq!(*directory.claim_restore("a").unwrap_err().kind(), ErrorKind::AlreadyRestoring);
        claim.activate();
        assert_eq!(*directory.claim_restore("a").unwrap_err().kind(), ErrorKind::AlreadyActive);
        assert_eq!(*directory.claim_start("a").unwrap_err().kind(), ErrorKind::AlreadyActive);
        assert!(directory.claim_start("b").is_ok(), "another key is free");
        drop(claim);
        assert!(directory.claim_start("a").is_ok(), "freed");
    }

    #[tokio::test]
    async fn a_newer_record_is_refused_and_left_alone() {
        let store = MemoryStore::default();
        let mut record =
            StoredSession::new(SavedSession { transport: "x".into(), data: serde_json::Map::new() });
        record.version = STORED_VERSION + 1;
        store.save("a", &record).await.unwrap();
        let directory = SessionDirectory::new(store);
        assert_eq!(*directory.load("a").await.unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(directory.store.load("a").await.unwrap(), Some(record));
    }
}
