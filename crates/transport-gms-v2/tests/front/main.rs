//! The front over the simulated centre: plain HTTP over in-memory streams, in virtual time.
#![cfg(feature = "front")]
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, dead_code, reason = "helpers of tests")]

mod rest;
mod rig;
