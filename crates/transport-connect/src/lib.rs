//! Amazon Connect chat from both ends: the vendor's shapes, the client as a transport, and the service for unmodified clients.

pub mod wire;

#[cfg(feature = "client")]
mod config;
#[cfg(feature = "client")]
#[allow(dead_code)]
mod error;
#[cfg(feature = "client")]
#[allow(dead_code)]
mod machine;
#[cfg(feature = "client")]
#[allow(dead_code)]
mod map;

#[cfg(feature = "client")]
pub use config::{ConnectConfig, EventBuffer, ParticipantKind, ResponseMode, StartChat, Timings};
