//! The stack over the network in memory, in paused time.
#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod http;
mod metrics;
mod server;
mod ws;
