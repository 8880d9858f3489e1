//! Chats over CometD: the client, before the front, over the simulated centre, in memory and in paused time.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod chats;
mod displaced;
mod faults;
mod rig;
