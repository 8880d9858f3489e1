//! Owns how a polling connection comes to be: a start, a return, a look whether there is anything to return to. It has no task:
//! whoever asks for something does the work.

use std::sync::Arc;

use chat_core::{Connection, Error, ErrorKind, Result, StartRequest};
use chat_net::http::CookieJar;

use super::{
    chat::{Chat, Mode},
    connection::{
        ChatConnection, Line, exists, is_offline, judge, last_word, leaves_doubt, not_answered, not_repeated,
    },
    service::{Cookies, Way},
    start,
    transport::Inner,
};
use crate::{
    error::Failure,
    wire::{Operation, Parameters, Position, Reply},
};

/// Starts a chat.
///
/// # Errors
/// Final if the chat may have begun: GMS cannot tell a repeated start from another one.
pub(crate) async fn start(inner: &Arc<Inner>, request: &StartRequest, tap: bool) -> Result<Connection> {
    let parameters = start::parameters(&inner.config, request, false)?;
    let cookies = Cookies::Jar(CookieJar::new());
    let reply = call(inner, Operation::RequestChat, &parameters, &cookies)
        .await
        .map_err(|failure| not_repeated(failure.error))?;
    let name = start::display_name(&parameters);
    let Some(chat) = Chat::started(&reply, name, Mode::Polling, &inner.config) else {
        let error = Error::new(ErrorKind::UnexpectedResponse, "requestChat: neither id nor key");
        return Err(not_repeated(error));
    };
    let (polling, connection) = ChatConnection::stand(inner, chat, Line::Rest(cookies), tap);
    polling.greet(request).await?;
    Ok(connection)
}

/// Comes back to a chat. A chat server that is not available for now is no obstacle: the polls will tell.
///
/// # Errors
/// `SessionEnded`, `SessionLost`, `AccessDenied`; those of the network.
pub(crate) async fn resume(inner: &Arc<Inner>, mut chat: Chat, tap: bool) -> Result<Connection> {
    let cookies = Cookies::Jar(CookieJar::new());
    match look_at(inner, &chat, &cookies).await {
        Ok(reply) if reply.chat_ended == Some(true) => {
            return Err(Error::new(ErrorKind::SessionEnded, "the chat is over"));
        }
        Ok(reply) => drop(chat.take(Operation::Refresh, Some(Position::Nothing), &reply)),
        Err(failure) if is_offline(&failure.error) => {}
        Err(failure) => return Err(failure.error),
    }
    Ok(ChatConnection::stand(inner, chat, Line::Rest(cookies), tap).1)
}

/// Whether the chat still exists.
///
/// # Errors
/// Nobody who knows has answered.
pub(crate) async fn verify(inner: &Arc<Inner>, chat: Chat) -> Result<bool> {
    exists(look_at(inner, &chat, &Cookies::Jar(CookieJar::new())).await)
}

async fn look_at(inner: &Inner, chat: &Chat, cookies: &Cookies) -> Result<Reply, Failure> {
    let mut parameters = chat.followed.parameters();
    parameters.position = Some(Position::Nothing);
    let looked = call(inner, Operation::Refresh, &parameters, cookies).await;
    if !leaves_doubt(&looked) {
        return looked;
    }
    last_word(call(inner, Operation::Refresh, &parameters, cookies).await)
}

/// A call without a connection.
async fn call(
    inner: &Inner,
    operation: Operation,
    parameters: &Parameters,
    cookies: &Cookies,
) -> Result<Reply, Failure> {
    let answer = inner.service.call(Way::Rest, operation, parameters, cookies).await.map_err(not_answered)?;
    judge(operation, &answer)
}
