//! Owns how a polling connection comes to be: a start, a return, a look whether there is anything to return to.

use std::sync::Arc;

use chat_core::{
    ClientToken, Connection, Delivery, Error, ErrorKind, Result, Retry, StartRequest, event_channel,
};
use chat_net::http::CookieJar;

use super::{Polling, judge, not_answered};
use crate::{
    client::{
        capabilities::capabilities,
        chat::{Chat, Mode},
        outlet::Outlet,
        service::Way,
        start,
        transport::Inner,
    },
    error::{ChatState, Failure},
    wire::{Operation, Parameters, Position, Reply},
};

/// Starts a chat.
///
/// # Errors
/// Final if the chat may have begun: GMS cannot tell a repeated start from another one.
pub(crate) async fn start(inner: &Arc<Inner>, request: &StartRequest, tap: bool) -> Result<Connection> {
    let parameters = start::parameters(&inner.config, request, false)?;
    let jar = CookieJar::new();
    let reply = call(inner, Operation::RequestChat, &parameters, &jar)
        .await
        .map_err(|failure| not_repeated(failure.error))?;
    let name = start::display_name(&parameters);
    let Some(chat) = Chat::started(&reply, name, Mode::Polling, &inner.config) else {
        let error = Error::new(ErrorKind::UnexpectedResponse, "requestChat: neither id nor key");
        return Err(not_repeated(error));
    };
    let (polling, connection) = Polling::connect(inner, chat, jar, tap);
    if let Some(text) = &request.initial_message
        && let Err(error) = polling.send_text(&ClientToken::random(), text).await
    {
        // A chat without its first message is not what was asked for.
        let _ = polling.ask(Operation::Disconnect, &polling.parameters()).await;
        return Err(not_repeated(error));
    }
    Ok(connection)
}

/// Whether a start that failed like this may be repeated: only if it certainly began nothing.
fn not_repeated(error: Error) -> Error {
    // `statusCode` 1 and a balancer's 503 mean "not now".
    let not_now = *error.kind() == ErrorKind::Server && matches!(error.vendor().status, Some(200 | 503));
    if error.delivery() == Delivery::Unknown && !not_now { error.with_retry(Retry::Never) } else { error }
}

/// Comes back to a chat. A chat server that is not available for now is no obstacle: the polls will tell.
///
/// # Errors
/// `SessionEnded`, `SessionLost`, `AccessDenied`; those of the network.
pub(crate) async fn resume(inner: &Arc<Inner>, mut chat: Chat, tap: bool) -> Result<Connection> {
    let jar = CookieJar::new();
    match look(inner, &chat, &jar).await {
        Ok(reply) if reply.chat_ended == Some(true) => {
            return Err(Error::new(ErrorKind::SessionEnded, "the chat is over"));
        }
        Ok(reply) => drop(chat.take(Operation::Refresh, Some(Position::Nothing), &reply)),
        Err(failure) if is_offline(&failure.error) => {}
        Err(failure) => return Err(failure.error),
    }
    Ok(Polling::connect(inner, chat, jar, tap).1)
}

/// Whether the chat still exists.
///
/// # Errors
/// Nobody who knows has answered.
pub(crate) async fn verify(inner: &Arc<Inner>, chat: Chat) -> Result<bool> {
    match look(inner, &chat, &CookieJar::new()).await {
        Ok(reply) => Ok(reply.chat_ended != Some(true)),
        Err(Failure { chat: ChatState::Over, .. }) => Ok(false),
        Err(Failure { error, .. }) if is_gone(&error) => Ok(false),
        Err(Failure { error, .. }) => Err(error),
    }
}

/// A refresh that asks for nothing, so that nobody sees it. What leaves doubt is asked once more (§3.2).
async fn look(inner: &Inner, chat: &Chat, jar: &CookieJar) -> Result<Reply, Failure> {
    let mut parameters = chat.followed.parameters();
    parameters.position = Some(Position::Nothing);
    let once = || call(inner, Operation::Refresh, &parameters, jar);
    let second = match once().await {
        Err(Failure { chat: ChatState::Doubtful, .. }) => once().await,
        result => return result,
    };
    second.map_err(|failure| match failure.chat {
        ChatState::Doubtful if *failure.error.kind() == ErrorKind::Refused => {
            let error = Error::new(ErrorKind::SessionLost, "the service does not know the chat")
                .with_vendor(failure.error.vendor().clone());
            Failure { error, chat: ChatState::Doubtful }
        }
        _ => failure,
    })
}

/// The service answers, and cannot reach the chat server (`statusCode` 1).
fn is_offline(error: &Error) -> bool {
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

/// A call without a connection.
async fn call(
    inner: &Inner,
    operation: Operation,
    parameters: &Parameters,
    jar: &CookieJar,
) -> Result<Reply, Failure> {
    let answer = inner.service.call(Way::Rest, operation, parameters, jar).await.map_err(not_answered)?;
    judge(operation, &answer)
}

impl Polling {
    /// Nothing is asked yet: the first poll brings what there is.
    fn connect(inner: &Arc<Inner>, chat: Chat, jar: CookieJar, tap: bool) -> (Arc<Self>, Connection) {
        let (sender, events) = event_channel(inner.config.event_buffer);
        let (session, saved) = (chat.info(), chat.saved());
        let polling = Arc::new(Self {
            inner: Arc::clone(inner),
            jar,
            chat: chat.into(),
            outlet: Outlet::new(sender),
            refreshing: tokio::sync::Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            tap,
        });
        let capabilities = capabilities(&inner.config, Mode::Polling);
        let connection =
            Connection { session, capabilities, saved, handle: Arc::clone(&polling) as _, events };
        (polling, connection)
    }
}
