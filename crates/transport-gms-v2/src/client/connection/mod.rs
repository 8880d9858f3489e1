//! Owns a connection of a chat, whatever its way: one call of it, and how it ends.

mod files;
mod handle;
mod history;
mod refresh;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_core::{
    ClientToken, Connection, Delivery, Error, ErrorKind, RawEvent, Result, Retry, StartRequest, Terminal,
    TransportEvent, event_channel,
};
use chat_net::http::Reply as HttpReply;

use super::{
    capabilities::capabilities,
    chat::Chat,
    cometd,
    outlet::Outlet,
    service::{Cookies, Way},
    transport::Inner,
};
use crate::{
    error::{Answer, ChatState, Failure},
    machine::Expect,
    wire::{EventType, Operation, Parameters, Position, Reply, redact},
};

/// The way of a connection's calls.
#[derive(Debug)]
pub(crate) enum Line {
    /// REST. Balancers keep a chat on one node by their cookies (§4.1).
    Rest(Cookies),
    /// The chat channel of CometD; files go to its companion.
    Channel(Arc<cometd::Line>),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ChatConnection {
    inner: Arc<Inner>,
    line: Line,
    chat: Mutex<Chat>,
    pub(super) outlet: Outlet,
    /// Refreshes never overlap: the cursor is theirs.
    refreshing: tokio::sync::Mutex<()>,
    /// Messages leave one after the other.
    sending: tokio::sync::Mutex<()>,
    tap: bool,
}

impl ChatConnection {
    /// A connection that stands. Nothing is asked yet.
    pub(super) fn stand(inner: &Arc<Inner>, chat: Chat, line: Line, tap: bool) -> (Arc<Self>, Connection) {
        let (sender, events) = event_channel(inner.config.event_buffer);
        let (session, saved) = (chat.info(), chat.saved());
        let capabilities = capabilities(&inner.config, chat.mode);
        let own = Arc::new(Self {
            inner: Arc::clone(inner),
            line,
            chat: chat.into(),
            outlet: Outlet::new(sender),
            refreshing: tokio::sync::Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            tap,
        });
        let connection = Connection { session, capabilities, saved, handle: Arc::clone(&own) as _, events };
        (own, connection)
    }

    /// Sends the first message that a start asked for. A chat without it is not what was asked for: it is ended again.
    ///
    /// # Errors
    /// Final if the message may have arrived.
    pub(super) async fn greet(&self, request: &StartRequest) -> Result<()> {
        let Some(text) = &request.initial_message else { return Ok(()) };
        let Err(error) = self.send_text(&ClientToken::random(), text).await else { return Ok(()) };
        let _ = self.ask(Operation::Disconnect, &self.parameters()).await;
        Err(not_repeated(error))
    }

    /// Never held across an `await`.
    pub(super) fn chat(&self) -> MutexGuard<'_, Chat> {
        self.chat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parameters of this chat's party.
    pub(super) fn parameters(&self) -> Parameters {
        self.chat().followed.parameters()
    }

    /// One call.
    pub(super) async fn ask(&self, operation: Operation, parameters: &Parameters) -> Result<Reply, Failure> {
        match &self.line {
            Line::Rest(cookies) => {
                let answer = self.inner.service.call(Way::Rest, operation, parameters, cookies).await;
                self.judge(operation, &answer.map_err(not_answered)?)
            }
            Line::Channel(line) => {
                let expect = self.expect(operation, parameters);
                line.ask(operation, parameters.clone(), expect).await
            }
        }
    }

    /// What the answer on the chat channel must show.
    fn expect(&self, operation: Operation, parameters: &Parameters) -> Expect {
        let event = |kind, text: &Option<String>| Expect::Event { kind, text: text.clone() };
        let read_to = self.chat().followed.cursor();
        match operation {
            Operation::Send => match &parameters.message_type {
                Some(tagged) if self.inner.config.correlation_token => {
                    Expect::Message { message_type: tagged.clone() }
                }
                _ => Expect::Text { text: parameters.message.clone().unwrap_or_default(), from: read_to },
            },
            Operation::Refresh => match parameters.position {
                Some(Position::Everything) | None => Expect::Replay { from: 1, read_to },
                Some(Position::From(from)) => Expect::Replay { from, read_to },
                Some(Position::Nothing) => Expect::Nothing,
                Some(Position::Last) => Expect::Any,
            },
            Operation::RequestNotifications => Expect::Any,
            Operation::RequestChat => Expect::Started,
            Operation::Disconnect => Expect::End,
            Operation::StartTyping => event(EventType::TypingStarted, &None),
            Operation::StopTyping => event(EventType::TypingStopped, &None),
            Operation::PushUrl => event(EventType::PushUrl, &parameters.push_url),
            Operation::CustomNotice => event(EventType::CustomNotice, &parameters.message),
            Operation::UpdateNickname => event(EventType::NicknameUpdated, &None),
            _ => Expect::Nothing,
        }
    }

    fn judge(&self, operation: Operation, answer: &HttpReply) -> Result<Reply, Failure> {
        self.show(operation.name(), &String::from_utf8_lossy(&answer.body));
        let reply = judge(operation, answer)?;
        if !self.chat().followed.identity().is_of(&reply) {
            let error = Error::new(ErrorKind::UnexpectedResponse, "the answer is about another chat");
            return Err(not_answered(error));
        }
        Ok(reply)
    }

    /// Shows an answer to the tap, without its secrets.
    pub(super) fn show(&self, kind: &str, text: &str) {
        if self.tap {
            self.outlet.hint(TransportEvent::Raw(Box::new(RawEvent::new(kind, &*redact(text)))));
        }
    }

    /// Whether the terminal is set, or nobody listens any more.
    pub(super) fn is_over(&self) -> bool {
        let leaving = match &self.line {
            Line::Rest(_) => false,
            Line::Channel(line) => line.terminal().is_some(),
        };
        leaving || self.outlet.is_over()
    }

    /// Sets the terminal. Over CometD it comes once the session has said goodbye.
    pub(super) fn finish(&self, terminal: Terminal) {
        match &self.line {
            Line::Rest(_) => self.outlet.finish(terminal),
            Line::Channel(line) => line.finish(terminal),
        }
    }
}

/// A failure of the network says nothing about the chat.
pub(super) fn not_answered(error: Error) -> Failure {
    Failure { error, chat: ChatState::GoesOn }
}

/// What an HTTP answer means.
pub(super) fn judge(operation: Operation, answer: &HttpReply) -> Result<Reply, Failure> {
    if answer.status.is_success()
        && let Err(error) = answer.json(operation.name())
    {
        return Err(not_answered(error));
    }
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    Answer { status, retry_after, body: &answer.body }.judge(operation)
}

/// Whether a start that failed like this may be repeated: only if it certainly began nothing.
pub(super) fn not_repeated(error: Error) -> Error {
    // `statusCode` 1 and a balancer's 503 mean "not now".
    let not_now = *error.kind() == ErrorKind::Server && matches!(error.vendor().status, Some(200 | 503));
    if error.delivery() == Delivery::Unknown && !not_now { error.with_retry(Retry::Never) } else { error }
}

/// The service answers, and cannot reach the chat server (`statusCode` 1).
pub(super) fn is_offline(error: &Error) -> bool {
    *error.kind() == ErrorKind::Server && error.vendor().status == Some(200)
}

/// The service knows that there is no such chat for these keys.
pub(super) fn is_gone(error: &Error) -> bool {
    let by_service = error.vendor().code.is_some();
    match error.kind() {
        ErrorKind::SessionLost | ErrorKind::SessionEnded => true,
        // A gateway knows nothing about the chat.
        ErrorKind::AccessDenied => by_service,
        _ => false,
    }
}

/// Whether the answer to a look, which asks for nothing so that nobody sees it, must be asked for once more (§3.2).
pub(super) fn leaves_doubt(looked: &Result<Reply, Failure>) -> bool {
    matches!(looked, Err(Failure { chat: ChatState::Doubtful, .. }))
}

/// The answer to a second look has the last word.
pub(super) fn last_word(looked: Result<Reply, Failure>) -> Result<Reply, Failure> {
    looked.map_err(|failure| match failure.chat {
        ChatState::Doubtful if *failure.error.kind() == ErrorKind::Refused => {
            let error = Error::new(ErrorKind::SessionLost, "the service does not know the chat")
                .with_vendor(failure.error.vendor().clone());
            Failure { error, chat: ChatState::Doubtful }
        }
        _ => failure,
    })
}

/// Whether the chat exists, by a look.
///
/// # Errors
/// Nobody who knows has answered.
pub(super) fn exists(looked: Result<Reply, Failure>) -> Result<bool> {
    match looked {
        Ok(reply) => Ok(reply.chat_ended != Some(true)),
        Err(Failure { chat: ChatState::Over, .. }) => Ok(false),
        Err(Failure { error, .. }) if is_gone(&error) => Ok(false),
        Err(Failure { error, .. }) => Err(error),
    }
}
