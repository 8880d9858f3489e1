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

/// Most lost connections that are remembered.
const LOST_MAX: usize = 10_000;
/// Most messages that may come while a chat is being taken up.
const EARLY_MAX: usize = 1024;

/// The CometD server, as all connections of a transport share it.
#[derive(Debug)]
pub(crate) struct Hub {
    client: BayeuxClient,
    channel: String,
    /// Starts that failed in succession: they have no chat yet that could count for itself.
    starts_in_vain: AtomicU32,
    fallback_after: Option<u32>,
    /// A chat may have lost several, and whoever comes back takes one out: a session must never have two connections, which would
    /// take each other's connects away for ever (§9.1).
    lost: Mutex<VecDeque<Lost>>,
}

/// A connection that was lost, or could not be made.
#[derive(Debug)]
struct Lost {
    chat_id: String,
    /// The session that can be gone on with.
    session: Option<BayeuxSession>,
    /// It stood once.
    stood: bool,
    in_vain: InVain,
}

/// What has failed since a connect was answered last.
#[derive(Debug, Clone, Copy, Default)]
struct InVain {
    /// Handshakes and connects.
    attempts: u32,
    /// Connections that stood, and were lost.
    lost: u32,
}

impl InVain {
    /// An attempt has failed.
    const fn failed(self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self }
    }

    /// What stood was lost.
    const fn lost(self) -> Self {
        Self { lost: self.lost.saturating_add(1), ..self.failed() }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// The CometD server cannot be had.
    Session(Error),
    /// It has failed so often that the chat goes on by polling.
    GivenUp(Error),
    /// The chat cannot.
    Chat(Error),
}

impl NotOpen {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Session(error) | Self::GivenUp(error) | Self::Chat(error) => error,
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
            starts_in_vain: AtomicU32::new(0),
            fallback_after: fallback.then_some(cometd.fallback_after),
            lost: Mutex::default(),
        }))
    }

    /// Remembers a connection.
    fn keep(&self, one: Lost) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push_back(one);
        if lost.len() > LOST_MAX {
            lost.pop_front();
        }
    }

    /// Forgets the lost connections of this chat: it is polled now.
    pub(crate) fn forget(&self, chat_id: &str) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.retain(|one| one.chat_id != chat_id);
    }

    /// A connection of this chat. Nobody else gets it.
    fn take(&self, chat_id: &str) -> Option<Lost> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lost.iter().position(|one| one.chat_id == chat_id)?;
        lost.remove(at)
    }

    /// A session: the one that the chat had, if the server still knows it, or a new one (§9.4, rules 2 and 3).
    /// `may_poll`: the chat is not of those that are never polled.
    async fn open(&self, chat_id: Option<&str>, may_poll: bool) -> Result<Opening, NotOpen> {
        let fresh = |chat_id: &str| Lost {
            chat_id: chat_id.to_owned(),
            session: None,
            stood: false,
            in_vain: InVain::default(),
        };
        let mut lost = chat_id.map(|chat_id| self.take(chat_id).unwrap_or_else(|| fresh(chat_id)));
        let given_up = |in_vain: u32| may_poll && self.fallback_after.is_some_and(|after| in_vain >= after);
        // Another one would stand, too, and be lost.
        if lost.as_ref().is_some_and(|lost| given_up(lost.in_vain.lost)) {
            return Err(NotOpen::GivenUp(Error::new(ErrorKind::Network, "no connection has lasted")));
        }
        let error = match self.session(lost.as_mut().and_then(|lost| lost.session.as_mut())).await {
            Ok(opened) => {
                self.starts_in_vain.store(0, Ordering::Relaxed);
                return Ok(Opening::new(opened, self, lost));
            }
            Err(error) => error,
        };
        let in_vain = match lost {
            Some(mut lost) => {
                lost.session.take_if(|_| !may_go_on(&error));
                lost.in_vain = lost.in_vain.failed();
                let in_vain = lost.in_vain.attempts;
                // If the chat cannot be polled either, the network is away, and it is tried again.
                self.keep(lost);
                in_vain
            }
            // It does not pass its end: that many failures do not happen.
            None => self.starts_in_vain.fetch_add(1, Ordering::Relaxed).saturating_add(1),
        };
        let error = gone(error);
        Err(if given_up(in_vain) { NotOpen::GivenUp(error) } else { NotOpen::Session(error) })
    }

    async fn session(&self, known: Option<&mut BayeuxSession>) -> Result<(Publisher, Deliveries)> {
        if let Some(known) = known {
            match self.client.resume(known.clone()).await {
                Err(error) if *error.kind() == ErrorKind::SessionLost => {}
                settled => return settled,
            }
        }
        self.client.handshake().await
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
    /// The connection that this one is made for; `None` for a new chat.
    lost: Option<Lost>,
    line: Arc<Line>,
    deliveries: Deliveries,
    /// News that came before the chat stood.
    early: Vec<Reply>,
    /// All that came, for the tap.
    raw: Vec<String>,
}

impl Opening {
    fn new((publisher, deliveries): (Publisher, Deliveries), hub: &Hub, lost: Option<Lost>) -> Self {
        let line = Arc::new(Line::new(publisher, hub.channel.clone()));
        Self { lost, line, deliveries, early: Vec::new(), raw: Vec::new() }
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
        let Self { line, deliveries, early, raw, lost } = self;
        let in_vain = lost.map(|lost| lost.in_vain).unwrap_or_default();
        let way = connection::Line::Channel(Arc::clone(&line));
        let (own, connection) = ChatConnection::stand(inner, chat, way, tap);
        for text in raw {
            own.show("data", &text);
        }
        let mut driver = Driver::new(inner, Arc::clone(&own), line, deliveries, in_vain);
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
    let may_poll = !parameters.is_asynchronous();
    let mut opening = hub(inner)?.open(None, may_poll).await?;
    let nobody = Own::default();
    let asked = opening.ask(&nobody, Operation::RequestChat, &parameters, Expect::Started).await;
    let reply = asked.map_err(|failure| NotOpen::Chat(not_repeated(failure.error)))?;
    let name = start::display_name(&parameters);
    let Some(mut chat) = Chat::started(&reply, name, Mode::Cometd, &inner.config) else {
        let error = Error::new(ErrorKind::UnexpectedResponse, "requestChat: neither id nor key");
        return Err(NotOpen::Chat(not_repeated(error)));
    };
    chat.asynchronous = parameters.is_asynchronous();
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
    let mut opening = hub.open(chat_id.as_deref(), !chat.asynchronous).await?;
    let mut parameters = chat.followed.parameters();
    let asked = chat.followed.position();
    parameters.position = Some(asked);
    let own = chat.followed.mapper().own.clone();
    let looked = opening.look(&own, Operation::RequestNotifications, &parameters, Expect::Any).await;
    let returns = opening.lost.as_ref().is_some_and(|lost| lost.stood);
    let told = match looked {
        // Who was there a moment ago is told the last words.
        Ok(reply) if reply.chat_ended == Some(true) && !returns => {
            opening.close().await;
            return Err(NotOpen::Chat(Error::new(ErrorKind::SessionEnded, "the chat is over")));
        }
        Ok(reply) => (reply, Some(asked)),
        Err(failure) if is_offline(&failure.error) => (Reply::default(), None),
        Err(failure) => {
            if let Some(mut lost) = opening.lost {
                (lost.session, lost.in_vain) = (None, lost.in_vain.failed());
                hub.keep(lost);
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
        hub(inner).map_err(NotOpen::into_error)?.open(None, false).await.map_err(NotOpen::into_error)?;
    let mut parameters = chat.followed.parameters();
    parameters.position = Some(Position::Nothing);
    let own = chat.followed.mapper().own.clone();
    let looked = opening.look(&own, Operation::Refresh, &parameters, Expect::Nothing).await;
    opening.close().await;
    exists(looked)
}
