//! Owns request quotas: token buckets on tokio's clock. Source: §4.3.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use super::{config::Quota, faults::Operation};

#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<HashMap<Operation, (f64, Instant)>>);

impl Buckets {
    /// Takes one token; `false` if there is none.
    pub(super) fn take(&self, operation: Operation, quota: Quota) -> bool {
        let now = Instant::now();
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, at) = buckets.entry(operation).or_insert((quota.burst, now));
        *level = (*level + now.duration_since(*at).as_secs_f64() * quota.rate).min(quota.burst);
        *at = now;
        let free = *level >= 1.0;
        if free {
            *level -= 1.0;
        }
        free
    }
}
