//! The conformance suite: the client, before the front, over the simulated centre, over sockets of this machine.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use bench::Bench;

chat_conformance::conformance!(
    connect,
    harness = Bench::over_sockets().await,
    not_run = ["commands_under_way_resolve_by_themselves"]
);
