//! Owns the suite that judges any chat transport: one list of cases, the traits of a bench, the report.
//!
#![doc = include_str!("../README.md")]

mod case;
mod cases;
mod check;
mod direct;
pub mod harness;
#[macro_use]
mod macros;
mod recorder;
mod runner;
mod shelf;
#[cfg(feature = "sim")]
pub mod sim;
mod wire;
mod world;

pub use bytes::Bytes;
pub use case::{Case, Needs, NotRun, not_run, table};
pub use cases::CASES;
pub use direct::DirectNetwork;
pub use harness::{
    Action, Actor, Clock, ContactCentre, Disturbance, Failure, Harness, Network, NetworkKind, Request,
    StoredItem, Truth,
};
#[doc(hidden)]
pub use runner::__test;
pub use runner::{Failure as CaseFailure, Report, cases_not_run, run_all, run_case};
