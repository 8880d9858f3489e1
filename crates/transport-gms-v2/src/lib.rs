//! Genesys GMS chat API v2 from both ends: the vendor's shapes, the client as a transport (REST polling and CometD push), and the
//! service for unmodified clients.

pub mod bayeux;
pub mod wire;

#[cfg(feature = "front")]
pub mod front;

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
pub use client::{GmsBuilder, GmsSessionExt, GmsTransport};
#[cfg(feature = "client")]
pub use config::{CometdConfig, GmsConfig, Timings};

#[cfg(test)]
#[path = "../tests/support/samples.rs"]
mod samples;
