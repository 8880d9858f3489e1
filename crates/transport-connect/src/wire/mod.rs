//! Owns the shapes of Amazon Connect chat as they travel: requests, answers, socket frames, items. No logic, no I/O.
//!
//! What the service sends is read leniently: every member is optional, `null` is absent, a member of the wrong type is
//! absent, and whoever decodes still has the text it came from. What a client sends is read strictly (types must fit).
//! Source: the published service model `connectparticipant` 2018-09-07 and what the vendor's clients do.

mod lenient;

pub mod content_type;
pub mod control;
pub mod errors;
pub mod frames;
pub mod interactive;
pub mod item;
pub mod participant;
pub mod start_chat;

pub use content_type::ContentType;
pub use frames::{Frame, decode_frame};
pub use item::Item;
