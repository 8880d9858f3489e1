//! Bayeux: our client against our server, over a network in memory that is cut, half open and restarted. Paused time.

#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used)]

mod client;
mod rig;
mod server;
