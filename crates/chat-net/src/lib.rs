//! The network stack under the chat transports. Knows no vendor, retries nothing.
//!
//! Build one [`Net`] and share it between all sessions:
//!
//! - [`http`]: an HTTP client as a tower stack, with time-outs, host policy, caps and redaction;
//! - [`ws`]: the WebSocket dialer;
//! - [`policy`]: which hosts may be talked to;
//! - [`tls`]: who is trusted, with a provider that is named here and never the process default;
//! - `memory` (feature of that name): a network in memory, for tests.
//!
//! ```no_run
//! use chat_net::{HostPolicy, Net, NetConfig, http::{Body, Operation}, ws::{DialRequest, WsMessage}};
//!
//! # async fn example() -> chat_core::Result<()> {
//! let net = Net::new(&NetConfig::default().user_agent_suffix("shop/7"))?;
//!
//! let request = http::Request::post("https://api.example.org/connect")
//!     .header("content-type", "application/json")
//!     .extension(Operation("connect"))
//!     .body(Body::from("{}"))
//!     .map_err(|_| chat_core::Error::invalid_input("request"))?;
//! let reply = net.http().send(request).await?;
//! if !reply.status.is_success() {
//!     return Err(reply.status_error("connect"));
//! }
//! let url = read_url(reply.json("connect")?);
//!
//! // A URL from an answer is held to the vendor's hosts, at public addresses.
//! let vendor = HostPolicy::vendor(["example.org"]);
//! let mut socket = net.dialer().dial(DialRequest::new(url).handed_out(vendor)).await?;
//! while let Some(WsMessage::Text(text)) = socket.next().await.transpose()? {
//!     assert!(!text.as_str().is_empty());
//! }
//! # Ok(()) }
//! # fn read_url(_: &[u8]) -> String { String::new() }
//! ```
//!
//! Errors are [`chat_core::Error`]: they say whether the request may have arrived, and never show a URL or a secret.
//! The crate logs operation, method, host, status and duration at `debug`, and nothing else. The libraries below it log
//! frames and heads at `trace` through `log`: do not enable `trace` for `tungstenite` or `hyper` in production.
//!
//! | Feature | Meaning |
//! |---|---|
//! | `ring` (default) | TLS by ring. Wins if `aws-lc-rs` is on as well |
//! | `aws-lc-rs` | TLS by AWS-LC |
//! | `memory` | the network in memory |
//!
//! With neither provider the crate builds, and [`Net::new`] fails with a configuration error.

mod config;
mod error;
pub mod http;
#[cfg(feature = "memory")]
pub mod memory;
pub mod policy;
pub mod tls;
pub mod ws;

pub use self::{
    config::NetConfig,
    http::HttpClient,
    policy::{HostPolicy, same_origin},
    ws::Dialer,
};

/// The network: an HTTP client and a WebSocket dialer with the same settings. A clone is cheap and shares both.
#[derive(Debug, Clone)]
pub struct Net {
    http: HttpClient,
    dialer: Dialer,
}

impl Net {
    /// Builds the network of this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](chat_core::ErrorKind::Config): headers, proxy or certificates malformed, or no TLS provider.
    pub fn new(config: &NetConfig) -> chat_core::Result<Self> {
        let tls = tls::client_config(&config.trust)?;
        let leaf = http::production_leaf(config, &tls)?;
        Ok(Self {
            http: HttpClient::builder(config).leaf(leaf).build()?,
            dialer: Dialer::over_tcp(config, tls)?,
        })
    }

    /// Puts the same stack over a network in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](chat_core::ErrorKind::Config): headers malformed.
    #[cfg(feature = "memory")]
    pub fn in_memory(network: &memory::MemoryNetwork, config: &NetConfig) -> chat_core::Result<Self> {
        Ok(Self {
            http: HttpClient::builder(config).memory(network).build()?,
            dialer: Dialer::in_memory(network, config)?,
        })
    }

    /// From parts built apart, as with layers of your own.
    pub fn from_parts(http: HttpClient, dialer: Dialer) -> Self {
        Self { http, dialer }
    }

    /// The HTTP client.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// The WebSocket dialer.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }
}
