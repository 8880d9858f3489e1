//! A contact centre in memory, as a chat [`Transport`](chat_core::Transport): queues, agents and bots by script or by hand, history,
//! files, receipts, faults. No vendor.
//!
//! Three lines start it in a test: a [`Centre`], its transport for the code under test, its [`Console`] for the test.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! use chat_core::{ConnectRequest, Intent, StartRequest, Transport, TransportEvent};
//! use futures::StreamExt;
//!
//! let centre = chat_sim::Centre::new();
//! let start = Intent::Start(Box::new(StartRequest::named("Ada")));
//! let mut chat = centre.transport().connect(ConnectRequest::new(start)).await?;
//!
//! // The test is the agent, and reads what the server knows.
//! let agent = centre.console().wait_for_contact().await.as_agent("Maria");
//! agent.say("How can I help?")?;
//! assert_eq!(agent.truth().texts(), ["How can I help?"]);
//!
//! // The code under test hears of it: Ada joined, Maria joined, Maria said something.
//! let heard: Vec<_> = chat.events.by_ref().take(3).collect().await;
//! assert!(heard.iter().all(|event| matches!(event, TransportEvent::Message(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! - **What kind of centre** is a [`Profile`]: push or polling, with or without idempotent sends, history, receipts; order by instant or
//!   by index; small limits. [`Profile::all`] has them all, for tests that run on each.
//! - **What happens** is a [`Script`] of [`Step`]s, or what the test does through [`ContactConsole`].
//! - **What goes wrong** is a [`FaultPlan`], data with a seed, or what the test does through [`Network`].
//! - **What is true** is a [`Truth`]: what was stored, in which order, how often, and which calls came.
//!
//! Time is tokio's: paused time works, and moves the server's clock too. Instants that the centre mints rise strictly even then. No
//! task outlives its chat's centre or its connection's stream.

mod agent;
pub mod centre;
mod connection;
pub mod console;
mod contact;
mod driver;
pub mod faults;
mod files;
mod history;
mod item;
mod mint;
pub mod network;
pub mod profile;
pub mod script;
pub mod transport;
pub mod truth;

pub use centre::{Centre, CentreBuilder};
pub use console::{Console, ContactConsole};
pub use faults::{
    CommandKind, EventKind, Fault, FaultError, FaultErrorKind, FaultPlan, FaultRule, Point, When,
};
pub use network::Network;
pub use profile::{AckDetail, Order, Profile};
pub use script::{Script, Step};
pub use transport::SimTransport;
pub use truth::{CentreTruth, ItemTruth, Truth};
