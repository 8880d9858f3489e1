//! One chat API, any vendor: the transport contract, the message model, the transcript and the session. No I/O, no vendor.

pub mod capabilities;
pub mod error;
pub mod ids;
pub mod secret;
pub mod time;

pub use capabilities::{Capabilities, Capability, CapabilitySet, KeyRule};
pub use error::{Delivery, Error, ErrorKind, Result, Retry, VendorError};
pub use ids::{AttachmentId, ClientToken, MessageId, ParticipantId, Scope, SegmentId, TransportId};
pub use secret::Secret;
pub use time::{SystemClock, Timestamp, VirtualClock, WallClock};
