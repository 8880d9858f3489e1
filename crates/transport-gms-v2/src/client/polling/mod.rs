//! Owns the polling connection: how it comes to be, and one call of it. It has no task: whoever asks for something does the work.

mod files;
mod handle;
mod history;
mod open;
mod refresh;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_core::{RawEvent, TransportEvent};
use chat_net::http::{CookieJar, Reply as HttpReply};

use super::{chat::Chat, outlet::Outlet, service::Way, transport::Inner};
use crate::{
    error::{Answer, ChatState, Failure},
    wire::{Operation, Parameters, Reply, redact},
};

pub(crate) use open::{resume, start, verify};

/// One polling connection.
#[derive(Debug)]
pub(crate) struct Polling {
    inner: Arc<Inner>,
    /// Balancers keep a chat on one node by their cookies (§4.1).
    jar: CookieJar,
    chat: Mutex<Chat>,
    outlet: Outlet,
    /// Refreshes never overlap: the cursor is theirs.
    refreshing: tokio::sync::Mutex<()>,
    /// Messages leave one after the other.
    sending: tokio::sync::Mutex<()>,
    tap: bool,
}

impl Polling {
    /// Never held across an `await`.
    fn chat(&self) -> MutexGuard<'_, Chat> {
        self.chat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parameters of this chat's party.
    fn parameters(&self) -> Parameters {
        self.chat().followed.parameters()
    }

    /// One call.
    async fn ask(&self, operation: Operation, parameters: &Parameters) -> Result<Reply, Failure> {
        let answer = self.inner.service.call(Way::Rest, operation, parameters, &self.jar).await;
        self.judge(operation, &answer.map_err(not_answered)?)
    }

    fn judge(&self, operation: Operation, answer: &HttpReply) -> Result<Reply, Failure> {
        if self.tap {
            let body = String::from_utf8_lossy(&answer.body);
            let raw = RawEvent::new(operation.name(), &*redact(&body));
            self.outlet.hint(TransportEvent::Raw(Box::new(raw)));
        }
        judge(operation, answer)
    }
}

/// A failure of the network says nothing about the chat.
fn not_answered(error: chat_core::Error) -> Failure {
    Failure { error, chat: ChatState::GoesOn }
}

/// What an HTTP answer means.
fn judge(operation: Operation, answer: &HttpReply) -> Result<Reply, Failure> {
    if answer.status.is_success()
        && let Err(error) = answer.json(operation.name())
    {
        return Err(not_answered(error));
    }
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    Answer { status, retry_after, body: &answer.body }.judge(operation)
}
