//! Owns the decisions of a connection, without I/O: facts and `now` in, actions out. Drivers obey.

mod socket;
mod token;

pub(crate) use socket::{Control, Output, Received, SocketMachine};
pub(crate) use token::TokenClock;
