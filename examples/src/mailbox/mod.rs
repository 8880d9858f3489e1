//! A contact centre that exists nowhere else, and the transport to it: what it takes to bring a vendor of one's own.
//!
//! [`PostOffice`] is the vendor: chats are mailboxes, messages are numbered letters. [`MailboxTransport`] is the adapter, about as
//! long as an adapter has to be: it makes one attempt to connect, tells what it sees and carries out commands. Reconnecting, filling
//! gaps, knowing a message again, order and resending come with the session. `tests/custom_transport.rs` holds it to the same
//! conformance suite as the vendors' transports.

mod office;
mod transport;

pub use office::{Letter, PostOffice, Window};
pub use transport::MailboxTransport;
