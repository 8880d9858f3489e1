//! Owns the network in memory: authorities, listeners, pipes and their faults. Everything above it is the production stack.
//!
//! Made for paused tokio time. It carries no TLS: `https` and `wss` are spoken in plain to whoever listens at
//! `host:443`, so that production URLs and policies can be used as they are.

use std::{
    collections::HashMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use chat_core::{Delivery, Error, Result};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::{mpsc, watch},
    time::{Sleep, sleep, timeout},
};
use tower::service_fn;

use crate::{
    error::{broken, not_connected, timed_out},
    http::{Body, HttpService},
};

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// What happens to new connections; those that hang wait here.
    mode: watch::Sender<Mode>,
}

struct State {
    listeners: HashMap<String, mpsc::Sender<MemoryStream>>,
    links: Vec<Weak<Link>>,
    pipe: usize,
    delay: Duration,
    cut_after: Option<(Direction, u64)>,
    connections: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Refuse,
    Hang,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to server.
    ToServer,
    /// From server to client.
    ToClient,
}

impl Direction {
    const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryNetwork")
            .field("listeners", &state.listeners.len())
            .field("connections", &state.connections)
            .finish_non_exhaustive()
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryNetwork {
    /// An empty network. Pipes hold 64 KiB in each direction.
    pub fn new() -> Self {
        Self::with_pipe_size(64 * 1024)
    }

    /// An empty network whose pipes hold `bytes` in each direction. A half-open connection takes as many before writes
    /// block: small pipes let tests see that.
    pub fn with_pipe_size(bytes: usize) -> Self {
        let state = State {
            listeners: HashMap::new(),
            links: Vec::new(),
            pipe: bytes.max(1),
            delay: Duration::ZERO,
            cut_after: None,
            connections: 0,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), mode: watch::Sender::new(Mode::Open) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens at `host:port`. Replaces an earlier listener there.
    pub fn listen(&self, authority: &str) -> MemoryListener {
        let (sender, accepted) = mpsc::channel(64);
        self.state().listeners.insert(authority.to_ascii_lowercase(), sender);
        MemoryListener { accepted }
    }

    /// Connects to `host:port`.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] if nobody listens there, or the network is cut. While it is half open, the call
    /// hangs, as packets into the void do.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn connect(&self, authority: &str) -> io::Result<MemoryStream> {
        let mut mode = self.0.mode.subscribe();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let now = *mode.wait_for(|mode| *mode != Mode::Hang).await.map_err(|_| refused())?;
        if now == Mode::Refuse {
            return Err(refused());
        }
        let listener =
            self.state().listeners.get(&authority.to_ascii_lowercase()).cloned().ok_or_else(refused)?;
        let place = listener.reserve().await.map_err(|_| refused())?;
        if *self.0.mode.borrow() != Mode::Open {
            return Err(refused());
        }
        let (client, server) = {
            let mut state = self.state();
            let link = Arc::new(Link(Mutex::new(LinkState {
                ways: [Way::new(), Way::new()],
                pipe: state.pipe,
                delay: state.delay,
                cut_after: state.cut_after,
            })));
            state.links.retain(|link| link.strong_count() > 0);
            state.links.push(Arc::downgrade(&link));
            state.connections += 1;
            let (client, server) = duplex(state.pipe);
            (
                MemoryStream::new(client, Arc::clone(&link), Direction::ToServer),
                MemoryStream::new(server, link, Direction::ToClient),
            )
        };
        place.send(server);
        Ok(client)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.state().connections
    }

    fn each_link(&self, change: impl Fn(&mut LinkState)) {
        let links: Vec<_> = self.state().links.iter().filter_map(Weak::upgrade).collect();
        for link in links {
            link.change(&change);
        }
    }

    /// Resets all connections and refuses new ones, until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.0.mode.send_replace(Mode::Refuse);
        self.reset();
    }

    /// Resets all connections; new ones are possible at once.
    pub fn reset(&self) {
        self.each_link(|link| link.set(Condition::Reset));
    }

    /// All connections swallow what is written, without closing, until their pipe is full; new ones hang, until
    /// [`heal`](Self::heal). The connections of before stay dead.
    pub fn half_open(&self) {
        self.0.mode.send_replace(Mode::Hang);
        self.each_link(|link| link.set(Condition::Swallow));
    }

    /// The present connections swallow what is written in one direction; the other direction, and new connections, work.
    pub fn swallow(&self, direction: Direction) {
        self.each_link(|link| {
            link.ways[direction.index()].condition = Condition::Swallow;
        });
    }

    /// New connections work again, without delay and without [`cut_after`](Self::cut_after).
    pub fn heal(&self) {
        {
            let mut state = self.state();
            state.cut_after = None;
            state.delay = Duration::ZERO;
        }
        self.each_link(|link| link.delay = Duration::ZERO);
        self.0.mode.send_replace(Mode::Open);
    }

    /// Waits this long before each chunk that is delivered, on present and new connections.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
        self.each_link(|link| link.delay = delay);
    }

    /// New connections are reset after `bytes` were delivered in `direction`.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.state().cut_after = Some((direction, bytes));
    }

    /// The leaf: one connection per request, HTTP/1.1.
    pub(crate) fn leaf(&self, connect_timeout: Duration) -> HttpService {
        let network = self.clone();
        HttpService::new(service_fn(move |request| {
            let network = network.clone();
            async move { network.exchange(request, connect_timeout).await }
        }))
    }

    async fn exchange(
        &self,
        mut request: Request<Body>,
        connect_timeout: Duration,
    ) -> Result<Response<Body>> {
        let uri = request.uri();
        let host = uri.host().ok_or_else(|| Error::invalid_input("the URL has no host"))?;
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(default));
        let named = uri.authority().map_or(host, |authority| authority.as_str());
        let named =
            HeaderValue::from_str(named).map_err(|_| Error::invalid_input("the host is not valid"))?;
        request.headers_mut().entry(header::HOST).or_insert(named);
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        *request.uri_mut() =
            target.parse::<Uri>().map_err(|_| Error::invalid_input("the URL is not valid"))?;
        let stream = timeout(connect_timeout, self.connect(&authority))
            .await
            .map_err(|_| timed_out("connect", Delivery::NotSent))?
            .map_err(|error| not_connected(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| not_connected(&error))?;
        // Ends with the response's body, or with this call.
        let driver = Driver(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        Ok(response.map(|inner| Body::wrap(Driven { inner, _sender: sender, _driver: driver })))
    }
}

struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Driven {
    inner: hyper::body::Incoming,
    _sender: hyper::client::conn::http1::SendRequest<Body>,
    _driver: Driver,
}

impl HttpBody for Driven {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        Pin::new(&mut self.inner).poll_frame(cx).map_err(|error| broken(&error))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The accepting end of an authority. Dropping it refuses new connections.
#[derive(Debug)]
pub struct MemoryListener {
    accepted: mpsc::Receiver<MemoryStream>,
}

impl MemoryListener {
    /// The server's end of the next connection; `None` once the listener was replaced and all its connections are taken.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn accept(&mut self) -> Option<MemoryStream> {
        self.accepted.recv().await
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Open,
    Swallow,
    Reset,
}

/// What both ends of a connection share.
struct Link(Mutex<LinkState>);

struct LinkState {
    /// By [`Direction`].
    ways: [Way; 2],
    pipe: usize,
    delay: Duration,
    cut_after: Option<(Direction, u64)>,
}

struct Way {
    condition: Condition,
    delivered: u64,
    swallowed: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    const fn new() -> Self {
        Self { condition: Condition::Open, delivered: 0, swallowed: 0, reader: None, writer: None }
    }
}

impl LinkState {
    fn set(&mut self, condition: Condition) {
        for way in &mut self.ways {
            // What is reset stays so.
            if way.condition != Condition::Reset {
                way.condition = condition;
            }
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut LinkState)) {
        let wakers: Vec<_> = {
            let mut state = self.lock();
            change(&mut state);
            state.ways.iter_mut().flat_map(|way| [way.reader.take(), way.writer.take()]).flatten().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// One end of a connection in memory.
pub struct MemoryStream {
    pipe: DuplexStream,
    link: Arc<Link>,
    writes: Direction,
    /// A chunk that waits for its delay; empty for the end of the stream.
    held: Option<(Pin<Box<Sleep>>, Bytes)>,
    /// A chunk that is being delivered.
    rest: Bytes,
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").field("writes", &self.writes).finish_non_exhaustive()
    }
}

fn was_reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl MemoryStream {
    fn new(pipe: DuplexStream, link: Arc<Link>, writes: Direction) -> Self {
        Self { pipe, link, writes, held: None, rest: Bytes::new() }
    }

    const fn reads(&self) -> Direction {
        match self.writes {
            Direction::ToServer => Direction::ToClient,
            Direction::ToClient => Direction::ToServer,
        }
    }

    /// What the link says to a write now; `None`: go on.
    fn write_fault(&self, cx: &mut Context<'_>, length: usize) -> Option<Poll<io::Result<usize>>> {
        let mut state = self.link.lock();
        let room = state.pipe;
        let way = &mut state.ways[self.writes.index()];
        way.writer = Some(cx.waker().clone());
        match way.condition {
            Condition::Open => None,
            Condition::Reset => Some(Poll::Ready(Err(was_reset()))),
            Condition::Swallow => {
                let taken = length.min(room.saturating_sub(way.swallowed));
                way.swallowed += taken;
                Some(if taken == 0 && length > 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) })
            }
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let direction = self.reads();
        let (delay, allowed) = {
            let mut state = self.link.lock();
            let (delay, cut_after) = (state.delay, state.cut_after);
            let way = &mut state.ways[direction.index()];
            way.reader = Some(cx.waker().clone());
            match way.condition {
                Condition::Open => {}
                Condition::Swallow => return Poll::Pending,
                Condition::Reset => return Poll::Ready(Err(was_reset())),
            }
            let allowed = match cut_after {
                Some((cut, bytes)) if cut == direction => bytes.saturating_sub(way.delivered),
                _ => u64::MAX,
            };
            (delay, allowed)
        };
        if allowed == 0 {
            Arc::clone(&self.link).change(|link| link.set(Condition::Reset));
            return Poll::Ready(Err(was_reset()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.rest.is_empty() && self.held.is_none() && delay.is_zero() && allowed == u64::MAX {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
            let length = buf.filled().len() - before;
            self.link.lock().ways[direction.index()].delivered += length as u64;
            return Poll::Ready(Ok(()));
        }
        if self.rest.is_empty() && self.held.is_none() {
            let mut chunk = vec![0; buf.remaining().min(16 * 1024)];
            let mut chunk_buf = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut chunk_buf))?;
            let chunk = Bytes::copy_from_slice(chunk_buf.filled());
            if delay.is_zero() {
                self.rest = chunk;
            } else {
                self.held = Some((Box::pin(sleep(delay)), chunk));
            }
        }
        if let Some((until, chunk)) = &mut self.held {
            ready!(until.as_mut().poll(cx));
            self.rest = std::mem::take(chunk);
            self.held = None;
        }
        let length = self.rest.len().min(buf.remaining()).min(usize::try_from(allowed).unwrap_or(usize::MAX));
        buf.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        self.link.lock().ways[direction.index()].delivered += length as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.write_fault(cx, buf.len()) {
            Some(outcome) => outcome,
            None => Pin::new(&mut self.pipe).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write_fault(cx, 0) {
            Some(outcome) => outcome.map_ok(|_| ()),
            None => Pin::new(&mut self.pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write_fault(cx, 0) {
            Some(outcome) => outcome.map_ok(|_| ()),
            None => Pin::new(&mut self.pipe).poll_shutdown(cx),
        }
    }
}
