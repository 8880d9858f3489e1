//! Owns what the client decides without I/O: who it is, where it stands in the transcript, which numbering an index belongs to, and
//! which CometD message answers what.

mod chat;
mod cursor;
mod epochs;
mod expect;
mod identity;
mod own;
mod tag;

pub(crate) use chat::{Chat, Page, Taken};
pub(crate) use epochs::Epochs;
pub(crate) use expect::Expect;
pub(crate) use own::Own;
pub(crate) use tag::{read_tag, tag};
