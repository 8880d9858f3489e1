//! Bayeux 1.0, the protocol of CometD, from both ends and with nothing of chat in it. Source: §9.1 and the protocol's
//! specification.

pub mod message;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "front")]
pub mod server;
