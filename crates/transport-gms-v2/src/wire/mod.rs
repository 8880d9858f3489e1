//! Owns the shapes of the GMS chat API v2 as they travel, over REST and over CometD: calls, replies, transcript events. No logic, no I/O.
//!
//! What the service sends is read leniently: a member that is missing, `null` or of the wrong type is absent, and whoever reads still
//! has the text it came from. What a client sends is read strictly. Source: the protocol notes, by section.

mod errors;
mod event;
mod files;
mod lenient;
mod operation;
mod parameters;
mod position;
mod redact;
mod reply;

pub use errors::{ErrorCode, ErrorEntry};
pub use event::{
    EventType, FILE_DESCRIPTION, FILE_ID, FILE_NAME, FILE_SIZE, FileFacts, Party, PartyType, TranscriptEvent,
};
pub use files::FileLimits;
pub use operation::{Operation, Route};
pub use parameters::{Auth, Malformed, Parameters};
pub use position::Position;
pub use redact::redact;
pub use reply::{Identity, Reply, StatusCode};
