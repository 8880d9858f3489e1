//! Owns the settings of the network stack.

use std::time::Duration;

use chat_core::{Error, ErrorKind, Secret};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{policy::HostPolicy, tls::Trust};

/// Settings of a [`Net`](crate::Net). Start from [`NetConfig::default`] and set what differs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NetConfig {
    /// From name resolution to the end of the TLS handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// A whole request, its response included; for streamed bodies the longest wait between two steps. Default 30 s.
    /// A single request can set its own ([`RequestTimeout`](crate::http::RequestTimeout)).
    pub request_timeout: Duration,
    /// The longest silence within a response. Default 15 s. A single request can set its own
    /// ([`ReadIdleTimeout`](crate::http::ReadIdleTimeout)).
    pub read_idle_timeout: Duration,
    /// The longest wait for the answer to a WebSocket upgrade. Default 10 s.
    pub handshake_timeout: Duration,
    /// The longest wait for a WebSocket to take a message; a half-open connection is found by it. Default 10 s.
    pub write_timeout: Duration,
    /// Most bytes of a response that is read as a whole. Default 4 MiB. No response is decompressed.
    pub max_response_bytes: u64,
    /// Most bytes of a WebSocket message. Default 1 MiB.
    pub max_message_bytes: usize,
    /// `User-Agent`.
    pub user_agent: String,
    /// Appended to the user agent, after a space.
    pub user_agent_suffix: Option<String>,
    /// Sent with every request and upgrade, but never to a URL that a vendor handed out.
    pub extra_headers: Vec<(String, Secret)>,
    /// An HTTP proxy, as `http://[user:password@]host:port`. The environment is not consulted. Name resolution is the
    /// proxy's then: the host policy sees URLs, not addresses.
    pub proxy: Option<Secret>,
    /// Checked for every URL, except where a request brings its own ([`HandedOut`](crate::http::HandedOut)).
    pub policy: HostPolicy,
    /// Who is trusted to vouch for servers.
    pub trust: Trust,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            read_idle_timeout: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_response_bytes: 4 << 20,
            max_message_bytes: 1 << 20,
            user_agent: concat!("chat-transport/", env!("CARGO_PKG_VERSION")).into(),
            user_agent_suffix: None,
            extra_headers: Vec::new(),
            proxy: None,
            policy: HostPolicy::configured(),
            trust: Trust::Platform,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        }
    )*};
}

impl NetConfig {
    setters! {
        /// Sets [`connect_timeout`](Self::connect_timeout).
        connect_timeout: Duration,
        /// Sets [`request_timeout`](Self::request_timeout).
        request_timeout: Duration,
        /// Sets [`read_idle_timeout`](Self::read_idle_timeout).
        read_idle_timeout: Duration,
        /// Sets [`handshake_timeout`](Self::handshake_timeout).
        handshake_timeout: Duration,
        /// Sets [`write_timeout`](Self::write_timeout).
        write_timeout: Duration,
        /// Sets [`max_response_bytes`](Self::max_response_bytes).
        max_response_bytes: u64,
        /// Sets [`max_message_bytes`](Self::max_message_bytes).
        max_message_bytes: usize,
        /// Sets [`policy`](Self::policy).
        policy: HostPolicy,
        /// Sets [`trust`](Self::trust).
        trust: Trust,
    }

    /// Sets [`user_agent`](Self::user_agent).
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets [`user_agent_suffix`](Self::user_agent_suffix).
    #[must_use]
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = Some(suffix.into());
        self
    }

    /// Adds one of [`extra_headers`](Self::extra_headers).
    #[must_use]
    pub fn extra_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.extra_headers.push((name.into(), value.into()));
        self
    }

    /// Sets [`proxy`](Self::proxy).
    #[must_use]
    pub fn proxy(mut self, url: impl Into<Secret>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// The user agent, and the headers that go to configured hosts only.
    pub(crate) fn headers(&self) -> Result<(HeaderValue, HeaderMap), Error> {
        let wrong = |what: String| Error::new(ErrorKind::Config, what);
        let agent = match &self.user_agent_suffix {
            Some(suffix) => format!("{} {suffix}", self.user_agent),
            None => self.user_agent.clone(),
        };
        let agent =
            HeaderValue::try_from(agent).map_err(|_| wrong("the user agent is no header value".into()))?;
        let mut extra = HeaderMap::new();
        for (name, value) in &self.extra_headers {
            let header = HeaderName::try_from(name.as_str())
                .map_err(|_| wrong("the name of an extra header is not valid".into()))?;
            let mut value = HeaderValue::try_from(value.expose())
                .map_err(|_| wrong(format!("the value of the extra header {header} is not valid")))?;
            value.set_sensitive(true);
            extra.append(header, value);
        }
        Ok((agent, extra))
    }
}
