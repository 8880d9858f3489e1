//! One chat API, any vendor: what applications depend on.
//!
//! Everything of [`chat_core`] is here; each backend is a module behind a feature of the same name:
//!
//! | feature | default | module | what |
//! |---|---|---|---|
//! | `connect` | yes | `connect` | Amazon Connect chat |
//! | `gms-v2` | no | `gms_v2` | Genesys GMS chat API v2, over polling and CometD |
//! | `sim` | no | `sim` | a contact centre in memory, for tests and demonstrations |
//! | `ring`, `aws-lc-rs` | `ring` | | TLS provider of the clients: one of the two |
//!
//! A feature only ever adds; any combination works, none included.
//!
//! The conversation from the README, over the simulated centre:
//!
#![cfg_attr(feature = "sim", doc = "```")]
#![cfg_attr(not(feature = "sim"), doc = "```ignore")]
//! use chat_transport::{ChatEvent, ChatSession, StartRequest, sim::Centre};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let centre = Centre::new();
//! let session = ChatSession::builder(centre.transport()).start(StartRequest::named("Ada")).await?;
//! let mut events = session.events();
//!
//! let sent = session.send_text("Hello")?.await?;
//! println!("stored as {:?}", sent.id);
//!
//! let agent = centre.console().wait_for_contact().await.as_agent("Maria");
//! agent.say("How can I help?")?;
//! while let Some(event) = events.next().await {
//!     if let ChatEvent::Messages(batch) = event {
//!         println!("{} message(s)", batch.messages.len());
//!         break;
//!     }
//! }
//! session.end().await?;
//! # Ok(())
//! # }
//! ```

#[doc(no_inline)]
pub use chat_core::*;

#[cfg(feature = "connect")]
#[doc(inline)]
pub use transport_connect as connect;

#[cfg(feature = "gms-v2")]
#[doc(inline)]
pub use transport_gms_v2 as gms_v2;

#[cfg(feature = "sim")]
#[doc(inline)]
pub use chat_sim as sim;

/// The README's example is compiled with the documentation tests.
#[cfg(all(doctest, feature = "sim", feature = "connect"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
