//! Owns chats over CometD: how a connection comes to be, and what is kept for the next one. Source: §9.

mod driver;
mod line;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use chat_core::{Connection, Error, ErrorKind, Result, StartRequest};
use chat_net::Net;
use serde_json::Map;

pub(crate) use self::line::Line;
use self::{
    driver::Driver,
    line::{Heard, gone},
};
use super::{
    chat::{Chat, Mode},
    connection::{
        self, ChatConnection, exists, is_offline, last_word, leaves_doubt, not_answered, not_repeated,
    },
    start,
    transport::Inner,
};
use crate::{
    bayeux::client::{BayeuxClient, BayeuxConfig, BayeuxSession, Closed, Deliveries, Event, Publisher},
    config::GmsConfig,
    error::Failure,
    machine::{Expect, Own},
    wire::{Operation, Parameters, Position, Reply},
};

/// Most chats whose lost connections are remembered.
const LOST_MAX: usize = 256;
/// Most messages that may come while a chat is being taken up.
const EARLY_MAX: usize = 1024;

/// The CometD server, as all connections of a transport share it.
#[derive(Debug)]
pub(crate) struct Hub {
    client: BayeuxClient,
    channel: String,
    /// Handshakes and connects that failed in succession.
    failures: AtomicU32,
    fallback_after: Option<u32>,
    /// Connections that were lost: of which chat, and the session that can be gone on with, if there is one. A chat may have
    /// several, and whoever comes back takes one out: a session must never have two connections, which would take each
    /// other's connects away for ever (§9.1).
    lost: Mutex<VecDeque<(String, Option<BayeuxSession>)>>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// The CometD server cannot be had.
    Session(Error),
    /// The chat cannot.
    Chat(Error),
}

impl NotOpen {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Session(error) | Self::Chat(error) => error,
        }
    }
}

impl Hub {
    /// `None` unless configured.
    ///
    /// # Errors
    /// `Config`.
    pub(crate) fn new(config: &GmsConfig, net: &Net) -> Result<Option<Self>> {
        let Some(cometd) = &config.cometd else { return Ok(None) };
        let mut bayeux = BayeuxConfig::new(&cometd.url);
        bayeux.websocket = cometd.websocket;
        bayeux.headers = config.session_headers()?;
        let fallback = cometd.fallback && config.data_url.is_some();
        Ok(Some(Self {
            client: BayeuxClient::new(net, bayeux)?,
            channel: cometd.channel.clone(),
            failures: AtomicU32::new(0),
            fallback_after: fallback.then_some(cometd.fallback_after),
            lost: Mutex::default(),
        }))
    }

    /// Whether CometD has failed so often that a chat goes on by polling.
    pub(crate) fn is_given_up(&self) -> bool {
        self.fallback_after.is_some_and(|after| self.failures.load(Ordering::Relaxed) >= after)
    }

    /// A handshake or connect has failed, or a connect was answered.
    fn note(&self, answered: bool) {
        match answered {
            true => self.failures.store(0, Ordering::Relaxed),
            // It does not pass its end: that many failures do not happen.
            false => drop(self.failures.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Remembers that a chat has lost its connection.
    fn keep(&self, chat_id: &str, session: Option<BayeuxSession>) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push_back((chat_id.to_owned(), session));
        if lost.len() > LOST_MAX {
            lost.pop_front();
        }
    }

    /// A connection that this chat has lost. Nobody else gets it.
    fn take(&self, chat_id: &str) -> Option<Option<BayeuxSession>> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lost.iter().position(|(chat, _)| chat == chat_id)?;
        lost.remove(at).map(|(_, session)| session)
    }

    /// A session: the one that the chat had, if the server still knows it, or a new one (§9.4, rules 2 and 3).
    async fn open(&self, chat_id: Option<&str>) -> Result<Opening, NotOpen> {
        let lost = chat_id.and_then(|chat_id| Some((chat_id, self.take(chat_id)?)));
        let returns = lost.is_some();
        let failed = |error: Error, session: Option<BayeuxSession>| {
            self.note(false);
            if let Some((chat_id, _)) = lost {
                self.keep(chat_id, session);
            }
            NotOpen::Session(gone(error))
        };
        if let Some(session) = lost.as_ref().and_then(|(_, session)| session.clone()) {
            match self.client.resume(session.clone()).await {
                Ok(opened) => return Ok(Opening::new(opened, self, returns)),
                Err(error) if *error.kind() == ErrorKind::SessionLost => {}
                Err(error) => {
                    let session = may_go_on(&error).then_some(session);
                    return Err(failed(error, session));
                }
            }
        }
        match self.client.handshake().await {
            Ok(opened) => Ok(Opening::new(opened, self, returns)),
            Err(error) => Err(failed(error, None)),
        }
    }
}

/// Whether a session may be gone on with after its connect came to nothing.
///
/// A connect that another one has replaced is answered with a status of HTTP: 500 by default, another where it is configured, and
/// the body says nothing (§9.1). A server or a gateway in trouble answers no differently, so that this side cannot know that it
/// was displaced, and tells no such thing. What it can do is to leave a session alone that somebody may have: it opens one
/// of its own. Where only the newest session hears of a chat, the others are told `402`, as after a restart (§8.3): what keeps two
/// tabs from displacing each other in a circle is the back-off of their sessions, which starts anew for stable connections only.
fn may_go_on(error: &Error) -> bool {
    error.vendor().status.is_none()
}

/// A session on which no chat stands yet.
struct Opening {
    /// The chat had a connection over this transport before.
    returns: bool,
    line: Arc<Line>,
    deliveries: Deliveries,
    /// News that came before the chat stood.
    early: Vec<Reply>,
    /// All that came, for the tap.
    raw: Vec<String>,
}

impl Opening {
    fn new((publisher, deliveries): (Publisher, Deliveries), hub: &Hub, returns: bool) -> Self {
        let line = Arc::new(Line::new(publisher, hub.channel.clone()));
        Self { returns, line, deliveries, early: Vec::new(), raw: Vec::new() }
    }

    /// One operation, while nobody else listens.
    async fn ask(
        &mut self,
        own: &Own,
        operation: Operation,
        parameters: &Parameters,
        expect: Expect,
    ) -> Result<Reply, Failure> {
        let line = Arc::clone(&self.line);
        let mut asked = std::pin::pin!(line.ask(operation, parameters.clone(), expect));
        loop {
            let event = tokio::select! {
                biased;
                event = self.deliveries.next() => event,
                result = &mut asked => return result,
            };
            match event {
                Some(Event::Delivery(incoming)) if line.is_channel(&incoming.channel) => {
                    if self.raw.len() >= EARLY_MAX {
                        return Err(not_answered(Error::new(
                            ErrorKind::QueueFull,
                            "too much before the chat stands",
                        )));
                    }
                    self.raw.push(incoming.data.get().to_owned());
                    let Some(reply) = Reply::read(incoming.data.get()) else { continue };
                    match line.hear(own, reply) {
                        Heard::News(reply) => self.early.push(reply),
                        Heard::Answer | Heard::Failure(_) => {}
                    }
                }
                Some(Event::Closed(closed)) => {
                    line.close();
                    let result = asked.await;
                    return result.map_err(|failure| match &closed {
                        Closed::Left => failure,
                        _ => Failure { error: gone(failure.error), ..failure },
                    });
                }
                Some(_) => {}
                None => return asked.await,
            }
        }
    }

    /// One operation that only looks; what leaves doubt is asked once more.
    async fn look(
        &mut self,
        own: &Own,
        operation: Operation,
        parameters: &Parameters,
        expect: Expect,
    ) -> Result<Reply, Failure> {
        let looked = self.ask(own, operation, parameters, expect.clone()).await;
        if !leaves_doubt(&looked) {
            return looked;
        }
        last_word(self.ask(own, operation, parameters, expect).await)
    }

    /// Says goodbye, for a session that no chat will stand on.
    async fn close(mut self) {
        if self.line.publisher().disconnect(Map::new()).await.is_ok() {
            while self.deliveries.next().await.is_some() {}
        }
    }

    /// The chat stands. `told`: what its answer tells.
    fn stand(
        self,
        inner: &Arc<Inner>,
        chat: Chat,
        told: Reply,
        attached: Option<Position>,
        tap: bool,
    ) -> (Arc<ChatConnection>, Connection) {
        let Self { line, deliveries, early, raw, .. } = self;
        let way = connection::Line::Channel(Arc::clone(&line));
        let (own, connection) = ChatConnection::stand(inner, chat, way, tap);
        for text in raw {
            own.show("data", &text);
        }
        let mut driver = Driver::new(inner, Arc::clone(&own), line, deliveries);
        driver.begin(told, attached, early);
        tokio::spawn(driver.run());
        (own, connection)
    }
}

fn hub(inner: &Inner) -> Result<&Hub, NotOpen> {
    let missing = || NotOpen::Chat(Error::new(ErrorKind::Config, "cometd is not configured"));
    inner.cometd.as_ref().ok_or_else(missing)
}

/// Starts a chat.
///
/// # Errors
/// Final if the chat may have begun: GMS cannot tell a repeated start from another one.
pub(crate) async fn start(
    inner: &Arc<Inner>,
    request: &StartRequest,
    tap: bool,
) -> Result<Connection, NotOpen> {
    let parameters =
        start::parameters(&inner.config, request, inner.config.asynchronous).map_err(NotOpen::Chat)?;
    let mut opening = hub(inner)?.open(None).await?;
    let nobody = Own::default();
    let asked = opening.ask(&nobody, Operation::RequestChat, &parameters, Expect::Started).await;
    let reply = asked.map_err(|failure| NotOpen::Chat(not_repeated(failure.error)))?;
    let name = start::display_name(&parameters);
    let Some(chat) = Chat::started(&reply, name, Mode::Cometd, &inner.config) else {
        let error = Error::new(ErrorKind::UnexpectedResponse, "requestChat: neither id nor key");
        return Err(NotOpen::Chat(not_repeated(error)));
    };
    let (own, connection) = opening.stand(inner, chat, reply, None, tap);
    own.greet(request).await.map_err(NotOpen::Chat)?;
    Ok(connection)
}

/// Comes back to a chat: its notifications are asked for again, from where it was left. A chat server that is not available for
/// now is no obstacle: it is asked again and again.
///
/// # Errors
/// `SessionEnded`, `SessionLost`, `AccessDenied`; those of the network.
pub(crate) async fn resume(inner: &Arc<Inner>, chat: Chat, tap: bool) -> Result<Connection, NotOpen> {
    let hub = hub(inner)?;
    let chat_id = chat.followed.identity().chat_id.clone();
    let mut opening = hub.open(chat_id.as_deref()).await?;
    let mut parameters = chat.followed.parameters();
    let asked = chat.followed.position();
    parameters.position = Some(asked);
    let own = chat.followed.mapper().own.clone();
    let looked = opening.look(&own, Operation::RequestNotifications, &parameters, Expect::Any).await;
    let told = match looked {
        // Who was there a moment ago is told the last words.
        Ok(reply) if reply.chat_ended == Some(true) && !opening.returns => {
            opening.close().await;
            return Err(NotOpen::Chat(Error::new(ErrorKind::SessionEnded, "the chat is over")));
        }
        Ok(reply) => (reply, Some(asked)),
        Err(failure) if is_offline(&failure.error) => (Reply::default(), None),
        Err(failure) => {
            if let Some(chat_id) = chat_id.filter(|_| opening.returns) {
                hub.keep(&chat_id, None);
            }
            return Err(NotOpen::Chat(failure.error));
        }
    };
    Ok(opening.stand(inner, chat, told.0, told.1, tap).1)
}

/// Whether the chat still exists: a refresh that asks for nothing.
///
/// # Errors
/// Nobody who knows has answered.
pub(crate) async fn verify(inner: &Inner, chat: &Chat) -> Result<bool> {
    let mut opening =
        hub(inner).map_err(NotOpen::into_error)?.open(None).await.map_err(NotOpen::into_error)?;
    let mut parameters = chat.followed.parameters();
    parameters.position = Some(Position::Nothing);
    let own = chat.followed.mapper().own.clone();
    let looked = opening.look(&own, Operation::Refresh, &parameters, Expect::Nothing).await;
    opening.close().await;
    exists(looked)
}
