//! Owns the settings of a server of Bayeux. What servers differ in is a field here.

use std::time::Duration;

use http::StatusCode;

/// Settings of a [`BayeuxServer`](super::BayeuxServer). Start from [`ServerConfig::default`] and set what differs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// How long a connect is held. Default 30 s.
    pub hold: Duration,
    /// How long a client is to wait between connects. Default none.
    pub interval: Duration,
    /// A session without a connect for this long (and the interval) is forgotten. Default 10 s.
    pub max_interval: Duration,
    /// Whether sessions of one browser may all have their connects held. Default [`PerBrowser::One`].
    pub sessions_per_browser: PerBrowser,
    /// How long a client is to wait between connects that are not held because another session of its browser has one. Default 2 s.
    pub shared_interval: Duration,
    /// Refuse requests that do not bring the cookie of their session's handshake. Default off.
    pub require_browser: bool,
    /// The path of the cookie. `None` leaves it out: it is then the directory of the handshake's request. Default `/`.
    pub browser_path: Option<String>,
    /// Take a single message where an array is meant. Default on; off answers 400.
    pub single_object: bool,
    /// How an unknown session is worded.
    pub unknown_session: UnknownSession,
    /// Speak the acknowledgement extension if a client offers it. Default off.
    pub acknowledge: bool,
    /// Deliver what a publish brings about in its own reply; otherwise in the connect's. Default on.
    pub deliver_with_publish: bool,
    /// Lose what is delivered while no connect is held, unless it is acknowledged. Default off.
    pub lose_unheld: bool,
    /// The status of a connect that was replaced by another one. Default 500.
    pub replaced_status: StatusCode,
    /// Offer WebSockets. Default on.
    pub websocket: bool,
    /// Most sessions; beyond it handshakes are refused. Default 10 000.
    pub max_sessions: usize,
    /// Most messages that wait for one session; beyond it the session is forgotten. Default 10 000.
    pub max_queue: usize,
    /// Most subscriptions of one session. Default 64.
    pub max_subscriptions: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            interval: Duration::ZERO,
            max_interval: Duration::from_secs(10),
            sessions_per_browser: PerBrowser::One,
            shared_interval: Duration::from_secs(2),
            require_browser: false,
            browser_path: Some("/".into()),
            single_object: true,
            unknown_session: UnknownSession::UnknownClient,
            acknowledge: false,
            deliver_with_publish: true,
            lose_unheld: false,
            replaced_status: StatusCode::INTERNAL_SERVER_ERROR,
            websocket: true,
            max_sessions: 10_000,
            max_queue: 10_000,
            max_subscriptions: 64,
        }
    }
}

/// How many sessions of one browser may have their connects held over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerBrowser {
    /// One; the others are advised to poll.
    One,
    /// All.
    Any,
}

/// How an unknown session is worded; the number is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownSession {
    /// `402::Unknown client`, as older servers say.
    UnknownClient,
    /// `402::session_unknown`, as newer ones do.
    SessionUnknown,
}
