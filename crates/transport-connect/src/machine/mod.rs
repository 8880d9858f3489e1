//! Owns the decisions of a connection, without I/O: facts and `now` in, actions out. Drivers obey.

mod pace;
mod socket;
mod token;

pub(crate) use pace::{Pace, published};
pub(crate) use socket::{Control, Output, Received, SocketMachine};
pub(crate) use token::TokenClock;
