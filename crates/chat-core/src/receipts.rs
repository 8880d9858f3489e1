//! Owns which receipts go out, and when: few, never twice, for the newest message. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    command::{ReceiptKind, ReceiptSignal},
    ids::MessageId,
};

/// How [`Receipts`] behave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiptPolicy {
    /// Send receipts at all.
    pub enabled: bool,
    /// Receipts are collected for this long, and the newest is sent at its end.
    pub window: Duration,
    /// A delivered receipt is held back for this long: reading overtakes it.
    pub delivered_delay: Duration,
}

impl Default for ReceiptPolicy {
    /// On, 5 s, 300 ms.
    fn default() -> Self {
        Self { enabled: true, window: Duration::from_secs(5), delivered_delay: Duration::from_millis(300) }
    }
}

/// The receipt machine. `P` is the order of messages in the transcript; a message's order must not change.
#[derive(Debug)]
pub struct Receipts<P = u64> {
    policy: ReceiptPolicy,
    newest: Option<P>,
}

impl<P: Ord + Clone> Receipts<P> {
    /// Nothing sent yet.
    pub const fn new(policy: ReceiptPolicy) -> Self {
        Self { policy, newest: None }
    }

    /// Switches receipts on or off. Off drops what waits.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.policy.enabled = enabled;
    }

    /// The message at `position` was delivered or read here. Returns what to send now.
    pub fn mark(
        &mut self,
        now: Instant,
        message: &MessageId,
        kind: ReceiptKind,
        position: P,
    ) -> Vec<ReceiptSignal> {
        let _ = (now, message, kind);
        self.newest = Some(position);
        Vec::new()
    }

    /// A receipt of ours for the message at `position` stands in the vendor's transcript already (sent by an earlier
    /// process or another tab).
    pub fn known(&mut self, kind: ReceiptKind, position: &P) {
        let _ = (kind, position);
    }

    /// A signal could not be sent: it goes out once more with the next window, unless a newer one does.
    pub fn failed(&mut self, now: Instant, signal: &ReceiptSignal) {
        let _ = (now, signal);
    }

    /// [`deadline`](Self::deadline) has come. Returns what to send now.
    pub fn tick(&mut self, now: Instant) -> Vec<ReceiptSignal> {
        let _ = now;
        Vec::new()
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}
