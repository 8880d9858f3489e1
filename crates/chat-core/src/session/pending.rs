//! Owns the future of one accepted send.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{event::SentMessage, shared::Shared};
use crate::{
    error::{Error, ErrorKind, Result},
    ids::ClientToken,
};

/// A message that the session has accepted. It stands in the transcript already, and will be sent or reported failed whatever
/// becomes of this future.
///
/// Resolves when the vendor has the message, or when it is given up.
///
/// # Cancel safety
/// Dropping it changes nothing: the message is still sent. [`cancel`](Self::cancel) takes it back while it is queued.
#[derive(Debug)]
#[must_use = "the message is sent anyway, but only this future tells whether it arrived"]
pub struct PendingSend {
    token: ClientToken,
    outcome: oneshot::Receiver<Result<SentMessage>>,
    shared: Arc<Shared>,
}

impl PendingSend {
    pub(super) const fn new(
        token: ClientToken,
        outcome: oneshot::Receiver<Result<SentMessage>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { token, outcome, shared }
    }

    /// The idempotency key, under which the message stands in the transcript until the vendor's id is known.
    pub const fn token(&self) -> &ClientToken {
        &self.token
    }

    /// Takes the message back. Says whether it was still queued; if not, it goes on.
    pub fn cancel(&self) -> bool {
        self.shared.cancel(&self.token)
    }

    /// Takes the message back if it is still queued; if not, no further attempt is made. What is on its way may arrive, and the
    /// future then resolves well; otherwise it fails once the message was looked for. For those who have told somebody else
    /// that they may send it again.
    pub fn give_up(&self) {
        self.shared.give_up(&self.token);
    }
}

impl Future for PendingSend {
    type Output = Result<SentMessage>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| {
            outcome.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::NotActive, "the session was closed before it was sent"))
            })
        })
    }
}
