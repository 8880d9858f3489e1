//! Amazon Connect chat from both ends: the vendor's shapes, the client as a transport, and the service for unmodified clients.

#[cfg(feature = "front")]
pub mod front;
pub mod wire;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
mod config;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
mod machine;
#[cfg(feature = "client")]
mod map;

#[cfg(feature = "client")]
pub use client::{AgentDesk, ConnectBuilder, ConnectSessionExt, ConnectTransport, ContactSource, MapAnswer};
#[cfg(feature = "client")]
pub use config::{ConnectConfig, EventBuffer, ParticipantKind, ResponseMode, StartChat, Timings};
