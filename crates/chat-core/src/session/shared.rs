//! Owns what the handles, the readers and the driver of one session share.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::state::{Effect, State};
use crate::{error::Result, ids::ClientToken, store::Claim, time::WallClock, transport::Transport};

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Tells the driver that the state has something for it.
    pub(super) wake: Notify,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Arc<dyn WallClock>,
    closing: AtomicBool,
    keeper: Option<Keeper>,
}

/// What a turn of the driver came to.
pub(super) struct Turn {
    /// What to do.
    pub(super) effects: Vec<Effect>,
    /// When to come back.
    pub(super) deadline: Option<Instant>,
    /// Another such turn would overrun a reader that has kept up so far.
    pub(super) crowded: bool,
    /// All is done.
    pub(super) done: bool,
}

/// Saves one session at a time, always the newest state.
#[derive(Debug)]
struct Keeper {
    claim: Mutex<Option<Claim>>,
    saved: tokio::sync::Mutex<u64>,
}

impl Shared {
    pub(super) fn new(
        state: State,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn WallClock>,
        claim: Option<Claim>,
    ) -> Arc<Self> {
        let keeper =
            claim.map(|claim| Keeper { claim: Mutex::new(Some(claim)), saved: tokio::sync::Mutex::new(0) });
        Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            transport,
            clock,
            closing: AtomicBool::new(false),
            keeper,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state from outside the driver, and tells the driver.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let result = {
            let mut state = self.lock();
            let result = change(&mut state, Instant::now());
            state.flush();
            result
        };
        self.wake.notify_one();
        result
    }

    /// One turn of the driver. `next`: how many events it may bring next time.
    pub(super) fn turn(&self, now: Instant, next: usize) -> Turn {
        let mut state = self.lock();
        if self.closing.load(Ordering::Acquire) {
            state.begin_close(now);
        }
        state.tick(now);
        state.flush();
        Turn {
            effects: mem::take(&mut state.effects),
            deadline: state.deadline(),
            crowded: state.fanout.is_crowded(next),
            done: state.is_done(),
        }
    }

    /// The last handle is gone.
    pub(super) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// The driver stops.
    pub(super) fn close(&self) {
        self.lock().close();
        if let Some(keeper) = &self.keeper {
            keeper.claim.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// The chat is active under its key from now on.
    pub(super) fn activate(&self) {
        if let Some(keeper) = &self.keeper
            && let Some(claim) = &*keeper.claim.lock().unwrap_or_else(PoisonError::into_inner)
        {
            claim.activate();
        }
    }

    /// Takes a queued message back.
    pub(super) fn cancel(&self, token: &ClientToken) -> bool {
        self.change(|state, now| state.cancel(now, token))
    }

    /// Takes a message back, or lets it make no further attempt.
    pub(super) fn give_up(&self, token: &ClientToken) {
        self.change(|state, now| state.give_up(now, token));
    }

    fn place(&self) -> Option<(&Keeper, crate::store::SessionDirectory, String)> {
        let keeper = self.keeper.as_ref()?;
        let claim = keeper.claim.lock().unwrap_or_else(PoisonError::into_inner);
        claim.as_ref().map(|claim| (keeper, claim.directory.clone(), claim.key.clone()))
    }

    /// Saves the newest state, unless it is saved already.
    pub(super) async fn save(&self) -> Result<()> {
        let Some((keeper, directory, key)) = self.place() else { return Ok(()) };
        let mut saved = keeper.saved.lock().await;
        let Some((revision, record)) = self.lock().record(self.clock.now()) else { return Ok(()) };
        if *saved < revision {
            directory.save(&key, &record).await?;
            *saved = revision;
        }
        Ok(())
    }

    /// Forgets the saved session.
    pub(super) async fn forget(&self) -> Result<()> {
        let Some((keeper, directory, key)) = self.place() else { return Ok(()) };
        let mut saved = keeper.saved.lock().await;
        directory.delete(&key).await?;
        // What is on its way to the store now is older than this.
        *saved = self.lock().revision();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousands of idle sessions: each byte here counts for all of them.
    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Shared>() <= 3_456, "{}", size_of::<Shared>());
    }
}
