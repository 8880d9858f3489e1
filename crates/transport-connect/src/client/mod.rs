//! Owns the client: a [`Transport`](chat_core::Transport) over the Participant Service and the WebSocket gateway.

mod desk;
mod details;
mod driver;
mod files;
mod handle;
mod service;
mod start;
mod tap;
mod transport;
mod vendor;

pub use desk::{
    AgentContact, AgentDesk, Channel, ContactNotice, ContactSource, DeskEvent, DeskTransport, SocketGrant,
};
pub use start::{MapAnswer, StartedContact};
pub use transport::{ConnectBuilder, ConnectTransport};
pub use vendor::{ConnectSessionExt, ViewDescription};

use chat_core::TransportId;

/// The name of this adapter in configuration and errors.
pub const TRANSPORT_ID: TransportId = TransportId::new("connect");
