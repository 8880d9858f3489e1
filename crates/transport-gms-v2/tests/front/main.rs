//! The front as unmodified clients meet it: plain HTTP and WebSocket, over the simulated centre, on virtual time.
#![cfg(feature = "front")]
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "helpers of tests")]

mod backend;
#[cfg(feature = "client")]
mod closure;
mod cometd;
mod faults;
mod files;
mod order;
mod rest;
mod rig;
mod rules;
mod samples;
mod transcript;
