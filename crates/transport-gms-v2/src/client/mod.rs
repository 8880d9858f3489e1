//! Owns the client: a [`Transport`](chat_core::Transport) over the REST service, or over CometD.

mod capabilities;
mod chat;
mod cometd;
mod connection;
mod files;
mod multipart;
mod outlet;
mod polling;
mod service;
mod start;
mod transport;
mod vendor;

pub use transport::{GmsBuilder, GmsTransport};
pub use vendor::GmsSessionExt;

use chat_core::TransportId;

/// The name of this adapter in configuration and errors.
pub const TRANSPORT_ID: TransportId = TransportId::new("gms-v2");
