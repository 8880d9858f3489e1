//! Owns a session store that outlives the processes that use it, as restoring needs.

use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{MemoryStore, Result, SavedSession, SessionDirectory, SessionStore, StoredSession};

use crate::world::World;

/// A store that outlives the processes that use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(Arc<MemoryStore>);

impl Shelf {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that holds these session data under "tab".
    pub(crate) async fn with(saved: SavedSession) -> Self {
        let shelf = Self::new();
        shelf.save("tab", &StoredSession::new(saved)).await.expect("a memory store takes all");
        shelf
    }

    /// What another process sees of it.
    pub(crate) fn directory(&self) -> SessionDirectory {
        SessionDirectory::new(self.clone())
    }

    pub(crate) async fn holds(&self, key: &str) -> bool {
        self.load(key).await.expect("a memory store answers").is_some()
    }

    /// Waits until `met` holds of what is kept under "one".
    pub(crate) async fn until(
        &self,
        world: &World,
        what: &str,
        met: impl Fn(Option<&StoredSession>) -> bool,
    ) {
        let look = async || {
            let kept = self.load("one").await.expect("a memory store answers");
            met(kept.as_ref()).then_some(())
        };
        world.bench.until_async(what, look).await;
    }
}

#[async_trait]
impl SessionStore for Shelf {
    async fn load(&self, key: &str) -> Result<Option<StoredSession>> {
        self.0.load(key).await
    }

    async fn save(&self, key: &str, session: &StoredSession) -> Result<()> {
        self.0.save(key, session).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }
}
