//! Owns the front's tasks: none outlives it.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use tokio::{sync::watch, task::JoinSet};

/// Dropping it aborts every task.
#[derive(Debug)]
pub(super) struct Tasks {
    set: Mutex<JoinSet<()>>,
    stopped: watch::Sender<bool>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { set: Mutex::new(JoinSet::new()), stopped: watch::Sender::new(false) }
    }

    /// Runs `future` until it ends or the front does.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if *self.stopped.borrow() {
            return;
        }
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.spawn(future);
    }

    /// How many run.
    pub(super) fn count(&self) -> usize {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.len()
    }

    /// Aborts every task; later ones do not start.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
        self.set.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Resolves once stopped.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.subscribe();
        async move {
            // An error means that the front is gone: stopped as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }
}
