//! Owns the CometD mode: operations as publishes, the transcript as pushes, the companion for files, WebSockets (§9.2–9.4).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::Secret;
use futures::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Shared,
    answer::{Body, NoAnswer, full, html},
    body::{self, Unread},
    chat::Chat,
    faults::Instead,
    route::{disturbed, has_api_key, limits, malformed},
    service::{Answered, Call, Outcome, failed, transient},
};
use crate::{
    bayeux::server::{Application, BayeuxServer, Client, Ended, Refusal, ServerConfig},
    wire::{
        ErrorCode, ErrorEntry, Identity, Operation, Parameters, PartyType, Position, Reply,
        StatusCode as ChatStatus, TranscriptEvent,
    },
};

/// Channels of services begin so.
const CHANNEL: &str = "/service/chatV2/";
/// Largest body, and largest frame.
const BODY_MAX: usize = 256 * 1024;

/// The server of the protocol, and what stands behind it.
#[derive(Debug)]
pub(super) struct Cometd {
    pub(super) server: BayeuxServer,
    swept: std::sync::Once,
}

impl Cometd {
    pub(super) fn new(config: ServerConfig, front: Weak<Shared>) -> Self {
        let hub = Hub { front, attached: Mutex::default() };
        Self { server: BayeuxServer::new(config, Arc::new(hub)), swept: std::sync::Once::new() }
    }

    fn sweep(&self, front: &Shared) {
        self.swept.call_once(|| front.spawn(self.server.sweeper()));
    }
}

/// A request to the server of the protocol.
pub(super) async fn call(
    front: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    let Some(cometd) = &front.cometd else { return Ok(html(StatusCode::NOT_FOUND)) };
    cometd.sweep(front);
    if request.method() == Method::GET {
        return Ok(upgrade(front, cometd, request));
    }
    if request.method() != Method::POST {
        return Ok(html(StatusCode::METHOD_NOT_ALLOWED));
    }
    let (parts, body) = request.into_parts();
    let body = match body::bounded(body, BODY_MAX).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => return Ok(html(StatusCode::PAYLOAD_TOO_LARGE)),
        Err(_) => return Err(NoAnswer),
    };
    Ok(cometd.server.exchange(&parts.headers, &body).await.map(full))
}

/// A request about files (§9.3).
pub(super) async fn companion(
    front: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    let Some(cometd) = &front.cometd else { return Ok(html(StatusCode::NOT_FOUND)) };
    if request.method() != Method::POST {
        return Ok(html(StatusCode::METHOD_NOT_ALLOWED));
    }
    if front.config.companion_cookie && !cometd.server.knows_browser(request.headers()) {
        return Ok(html(StatusCode::FORBIDDEN));
    }
    if !has_api_key(front, request.headers()) {
        return Ok(super::answer::invalid_api_key());
    }
    let (parts, body) = request.into_parts();
    let arrived = match body::read(&parts.headers, body, limits(front)).await {
        Ok(arrived) => arrived,
        Err(unread) => return malformed(front, unread),
    };
    let (operation, parameters) = match Parameters::from_companion(arrived.pairs) {
        Ok(read) => read,
        Err(error) => return Ok(front.refusal(ErrorEntry::new(ErrorCode::INTERNAL, error.to_string()))),
    };
    front.count_request();
    disturbed(front, Call { service: None, operation, parameters, file: arrived.file }).await
}

// ---- sockets ----

fn upgrade(front: &Arc<Shared>, cometd: &Cometd, mut request: Request<Incoming>) -> Response<Body> {
    let headers = request.headers().clone();
    let says = |name: HeaderName, text: &str| {
        headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(text.as_bytes()))
    };
    if !says(header::UPGRADE, "websocket") || !cometd.server.has_websockets() {
        return html(StatusCode::METHOD_NOT_ALLOWED);
    }
    // Browsers do not keep pages from opening sockets: the server has to.
    if headers.get(header::ORIGIN).is_some_and(|origin| !front.config.lets_in(origin)) {
        return html(StatusCode::FORBIDDEN);
    }
    if !says(header::SEC_WEBSOCKET_VERSION, "13") {
        let mut response = html(StatusCode::UPGRADE_REQUIRED);
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(key) = key.and_then(|key| HeaderValue::try_from(key).ok()) else {
        return html(StatusCode::BAD_REQUEST);
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let server = cometd.server.clone();
    let mut cut = front.cut.subscribe();
    front.spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            tokio::select! {
                biased;
                _ = cut.changed() => {}
                () = socket(&server, &headers, TokioIo::new(upgraded)) => {}
            }
        }
    });
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    response
}

async fn socket<S>(server: &BayeuxServer, headers: &http::HeaderMap, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let buffers = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * 1024 * 1024)
        .max_message_size(Some(BODY_MAX))
        .max_frame_size(Some(BODY_MAX));
    let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(buffers)).await;
    let (outgoing, incoming) = stream.split();
    // tungstenite answers pings and the closing handshake by itself.
    let texts = incoming.take_while(|frame| std::future::ready(frame.is_ok())).filter_map(|frame| async {
        match frame {
            Ok(Message::Text(text)) => Some(text.to_string()),
            _ => None,
        }
    });
    let outgoing = outgoing
        .with(|text: String| async { Ok::<_, tokio_tungstenite::tungstenite::Error>(Message::text(text)) });
    server.socket(headers, texts, outgoing).await;
}

// ---- the application ----

/// Which sessions hear of which chats.
struct Hub {
    front: Weak<Shared>,
    attached: Mutex<HashMap<Secret, Vec<Arc<Attachment>>>>,
}

/// A session that hears of a chat.
struct Attachment {
    client: Client,
    chat: Arc<Chat>,
    channel: String,
    told: Mutex<Told>,
    over: watch::Sender<bool>,
}

/// How much a session has been told.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// Everything before this index.
    next: u64,
    /// So many events of its own client.
    own: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(client: &Client, channel: &str, reply: &Reply) {
    // Texts, numbers and trees of both: nothing here can fail to be JSON.
    if let Ok(data) = to_raw_value(reply) {
        client.deliver(channel, data);
    }
}

/// A call that is not acceptable, as data: there is no status of HTTP to say so.
fn refusal(error: ErrorEntry) -> Reply {
    Reply::failure(ChatStatus::Failed, Identity::default(), false, vec![error])
}

#[async_trait]
impl Application for Hub {
    async fn on_publish(&self, client: &Client, channel: &str, data: Box<RawValue>) -> Result<(), Refusal> {
        let gone = || Refusal::new(500, "the service stops");
        let front = self.front.upgrade().ok_or_else(gone)?;
        let service = channel.strip_prefix(CHANNEL).filter(|service| front.serves(service));
        let Some(service) = service else {
            return Err(Refusal::new(404, "unknown channel"));
        };
        front.count_request();
        let (operation, parameters) = match Parameters::from_data(data.get()) {
            Ok(read) => read,
            Err(error) => {
                let mut error = ErrorEntry::new(ErrorCode::INTERNAL, error.to_string());
                front.refer(&mut error);
                deliver(client, channel, &refusal(error));
                return Ok(());
            }
        };
        let own = self.own_told(client);
        let call = Call { service: Some(service.to_owned()), operation, parameters, file: None };
        if let Some(answered) = self.disturbed(&front, call).await? {
            self.answer(&front, client, channel, (operation, own), answered);
        }
        Ok(())
    }

    fn on_ended(&self, client: &Client, _: Ended) {
        for attachment in lock(&self.attached).remove(client.id()).unwrap_or_default() {
            attachment.end();
        }
    }
}

impl Hub {
    /// Carries a call out, with what was ordered to go wrong. `None` if nothing is heard of it.
    async fn disturbed(&self, front: &Arc<Shared>, call: Call) -> Result<Option<Answered>, Refusal> {
        let answered = |reply: Reply| Ok(Some((None, Outcome::from(reply))));
        let refused = |code: u16, after: Option<u64>| {
            let mut refusal = Refusal::new(code, "refused");
            refusal.retry_after = after.map(Duration::from_secs);
            Err(refusal)
        };
        match front.faults.answer(call.operation) {
            None => Ok(Some(front.execute(call).await)),
            Some(Instead::Delay(delay)) => {
                let answered = front.execute(call).await;
                tokio::time::sleep(delay).await;
                Ok(Some(answered))
            }
            Some(Instead::Late(by)) => {
                tokio::time::sleep(by).await;
                Ok(Some(front.execute(call).await))
            }
            Some(Instead::Transient) => answered(transient()),
            Some(Instead::Failed { code, ended }) => {
                let names = Identity { chat_id: call.parameters.identity.chat_id, ..Identity::default() };
                answered(failed(names, ended, ErrorCode(code), "refused"))
            }
            Some(Instead::Refused { code, .. }) => {
                answered(failed(Identity::default(), false, ErrorCode(code), "refused"))
            }
            Some(Instead::Cut) => {
                front.cut_connections();
                refused(500, None)
            }
            // It is acknowledged, and that is all.
            Some(Instead::Hang) => Ok(None),
            // What HTTP says with a status, this protocol says with a number.
            Some(Instead::Html(status)) => refused(status, None),
            Some(Instead::TooManyRequests(after)) => refused(429, Some(after)),
            Some(Instead::RetryAfter(after)) => refused(503, Some(after)),
            Some(Instead::TransientAfterwards) => {
                front.execute(call).await;
                answered(transient())
            }
            Some(Instead::LoseEverything) => {
                front.execute(call).await;
                front.cut_connections();
                Ok(None)
            }
            Some(
                Instead::HtmlAfterwards(_)
                | Instead::TruncateAnswer
                | Instead::LoseAnswer
                | Instead::HangAfterwards,
            ) => {
                front.execute(call).await;
                Ok(None)
            }
            Some(_) => refused(500, None),
        }
    }

    /// What the session is told: what came of its call, or else the answer itself. There is nothing else to know an answer by
    /// (§9.2).
    fn answer(
        &self,
        front: &Arc<Shared>,
        client: &Client,
        channel: &str,
        (operation, own): (Operation, u64),
        (chat, outcome): Answered,
    ) {
        let reply = match outcome {
            Outcome::Reply(reply) => *reply,
            Outcome::Refused(error) => refusal(error),
            Outcome::GatewayTimeout | Outcome::File(_) => transient(),
        };
        match (operation, chat.filter(|_| reply.status_code == Some(ChatStatus::Ok))) {
            (Operation::RequestChat | Operation::RequestNotifications, Some(chat)) => {
                chat.count_listening();
                if let Some(attachment) = self.attachment(client, &chat) {
                    // It hears of everything already, and misses nothing if the answer is about something else.
                    attachment.push(front);
                    return deliver(client, channel, &reply);
                }
                // Whatever has come since this answer was made is pushed.
                let newest = reply.events().iter().filter_map(|event| event.index).max();
                let next = newest.map(|newest| newest + 1).or(reply.next_position);
                let next = next.unwrap_or_else(|| chat.next());
                deliver(client, channel, &reply);
                return self.attach(front, client, channel, chat, next);
            }
            (operation, Some(chat)) if Self::is_told(front, operation) => {
                if let Some(attachment) = self.attachment(client, &chat) {
                    attachment.push(front);
                }
                // Perhaps it was pushed already.
                if self.own_told(client) > own {
                    return;
                }
            }
            _ => {}
        }
        deliver(client, channel, &reply);
    }

    /// Whether an operation makes an event of the client's own, which is its answer. Others are answered, whatever the client's
    /// other sessions say meanwhile.
    fn is_told(front: &Shared, operation: Operation) -> bool {
        match operation {
            Operation::Send
            | Operation::CustomNotice
            | Operation::PushUrl
            | Operation::UpdateNickname
            | Operation::Disconnect => true,
            Operation::StartTyping | Operation::StopTyping => front.config.own_typing_shown,
            _ => false,
        }
    }

    /// How many events of its own client the session has been told.
    fn own_told(&self, client: &Client) -> u64 {
        let attached = lock(&self.attached);
        attached.get(client.id()).into_iter().flatten().map(|attachment| lock(&attachment.told).own).sum()
    }

    fn attachment(&self, client: &Client, chat: &Chat) -> Option<Arc<Attachment>> {
        lock(&self.attached).get(client.id())?.iter().find(|one| one.chat.id == chat.id).cloned()
    }

    /// From now on the session hears of the chat.
    fn attach(&self, front: &Arc<Shared>, client: &Client, channel: &str, chat: Arc<Chat>, next: u64) {
        if front.config.newest_listener_only {
            self.displace(&chat);
        }
        chat.attach(true);
        let attachment = Arc::new(Attachment {
            client: client.clone(),
            chat,
            channel: channel.to_owned(),
            told: Mutex::new(Told { next, own: 0 }),
            over: watch::Sender::new(false),
        });
        {
            let mut attached = lock(&self.attached);
            let of_client = attached.entry(client.id().clone()).or_default();
            // A session may see many chats end.
            of_client.retain(|one| !one.is_done());
            of_client.push(Arc::clone(&attachment));
        }
        if !client.is_open() {
            // It ended while it asked.
            for attachment in lock(&self.attached).remove(client.id()).unwrap_or_default() {
                attachment.end();
            }
        }
        front.spawn(push(Arc::downgrade(front), attachment));
    }

    /// Closes the sessions that hear of this chat.
    fn displace(&self, chat: &Chat) {
        let others: Vec<_> = {
            let attached = lock(&self.attached);
            let of_chat = |one: &&Arc<Attachment>| one.chat.id == chat.id;
            attached.values().flatten().filter(of_chat).map(|one| one.client.clone()).collect()
        };
        for client in others {
            client.close();
        }
    }
}

/// Tells a session what is new, until it or the chat ends.
async fn push(front: Weak<Shared>, attachment: Arc<Attachment>) {
    let mut news = attachment.chat.news();
    let mut over = attachment.over.subscribe();
    loop {
        let Some(front) = front.upgrade() else { return };
        attachment.push(&front);
        drop(front);
        if attachment.is_done() {
            return;
        }
        tokio::select! {
            _ = news.changed() => {}
            // An error means that the attachment is gone, which this task holds.
            _ = over.wait_for(|over| *over) => return,
        }
    }
}

impl Attachment {
    /// Whether the chat is over, and the session has been told.
    fn is_done(&self) -> bool {
        self.chat.is_over() && lock(&self.told).next >= self.chat.next()
    }

    /// Delivers what is new.
    fn push(&self, front: &Shared) {
        let mut told = lock(&self.told);
        let mut reply = self.chat.reply(Position::at(told.next));
        if reply.events().is_empty() {
            return;
        }
        let is_own = |event: &&TranscriptEvent| {
            event.from.as_ref().is_some_and(|from| from.kind == Some(PartyType::Client))
        };
        told.own += reply.events().iter().filter(is_own).count() as u64;
        told.next = reply.next_position.unwrap_or(told.next);
        if let Some(events) = &mut reply.messages {
            events.drain(..front.faults.lost(events.len()));
            if events.is_empty() {
                return;
            }
        }
        front.disturb(&self.chat, &mut reply);
        deliver(&self.client, &self.channel, &reply);
        self.chat.delivered(reply.events());
    }

    fn end(&self) {
        if !self.over.send_replace(true) {
            self.chat.attach(false);
        }
    }
}
