//! One list of behaviour cases that judges any chat transport.
//!
//! An adapter brings a [`Harness`]: fresh clients, the contact centre behind them, the network between, a clock. What its
//! [`Capabilities`](chat_core::Capabilities) and the harness's [`Powers`] allow decides which cases run; nobody chooses by hand. After each
//! case the invariants are checked over all that the sessions told.
//!
//! Inside a test crate, one line makes a test of each case, and one more that compares the cases not run with a checked-in list:
//!
//! ```
//! # #[cfg(feature = "sim")] mod example {
//! use chat_conformance::{conformance, sim::SimHarness};
//! use chat_sim::Profile;
//!
//! conformance!(push, harness = SimHarness::new(Profile::push()), not_run = ["a_poll_is_made_by_hand"]);
//! # }
//! ```
//!
//! Anywhere else, one call runs them all: [`run_all`]. The guide is `docs/conformance.md`.

mod case;
mod cases;
mod check;
pub mod harness;
#[macro_use]
mod macros;
mod recorder;
mod runner;
#[cfg(feature = "sim")]
pub mod sim;
mod world;

pub use bytes::Bytes;
pub use case::{Case, Needs, not_run, table};
pub use cases::CASES;
pub use harness::{
    Action, Actor, Clock, ContactCentre, Disturbance, Failure, Harness, Network, NetworkKind, Power, Powers,
    Request, StoredItem, Truth,
};
#[doc(hidden)]
pub use runner::__test;
pub use runner::{Failure as CaseFailure, Report, cases_not_run, run_all, run_case};
