//! Owns what the session tells the transcript beside sightings: local rows, gaps, links; and what changes by each fact.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind},
    message::{Alias, Content, Receipt, SendState},
    time::Timestamp,
};

use super::{
    place::Mark,
    row::{RowId, Visibility},
};

/// A message that this session sends, before any vendor has told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRow {
    /// The client token, as an alias.
    pub token: Alias,
    /// Orders local rows among themselves.
    pub sequence: u64,
    /// What is sent.
    pub content: Content,
    /// When it was written, on this machine's clock; shown, never used for order.
    pub at: Option<Timestamp>,
    /// How far sending has come.
    pub state: SendState,
    /// Keep it out of the display view.
    pub quiet: bool,
}

impl LocalRow {
    /// A row for `content` under `token`.
    pub const fn new(token: Alias, sequence: u64, content: Content, state: SendState) -> Self {
        Self { token, sequence, content, at: None, state, quiet: false }
    }

    /// Sets when it was written.
    #[must_use]
    pub const fn written_at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }
}

/// Names a gap, in all readers and over restarts: two gaps with one id are one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GapId(Arc<str>);

impl GapId {
    /// Takes the text as it is.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// A new random id.
    pub fn random() -> Self {
        Self(crate::ids::ClientToken::random().to_shared())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for GapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A hole in the transcript: behind `after`, something may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    pub(super) id: GapId,
    /// By segment, each the greatest. Which of several is the greatest depends on the order of segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) after: Vec<Mark>,
    #[serde(default)]
    pub(super) closed: bool,
    #[serde(skip)]
    pub(super) greatest: usize,
}

impl Gap {
    pub(super) fn new(id: GapId, after: Option<Mark>, closed: bool) -> Self {
        Self { id, after: after.into_iter().collect(), closed, greatest: 0 }
    }

    /// Its name.
    pub const fn id(&self) -> &GapId {
        &self.id
    }

    /// Behind what it lies; `None` for the start of the transcript.
    pub fn after(&self) -> Option<&Mark> {
        self.after.get(self.greatest)
    }

    /// Whether what was missing has been found.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Closed latches, `after` only rises. Says whether something changed.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let mut changed = other.closed && !self.closed;
        self.closed |= other.closed;
        for mark in &other.after {
            match self.after.binary_search_by(|own| own.segment.cmp(&mark.segment)) {
                Ok(at) if mark.rank() > self.after[at].rank() => self.after[at] = mark.clone(),
                Ok(_) => continue,
                Err(at) => self.after.insert(at, mark.clone()),
            }
            changed = true;
        }
        changed
    }
}

/// A link that the transcript refused, because it would make one message of two. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The token that was to be linked.
    pub token: Alias,
    /// The vendor's id that it was to be linked with.
    pub id: Alias,
    /// What stands in the way: the other token at this id, or the other id of this token.
    pub other: Alias,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token and the id belong to different messages")
    }
}

impl std::error::Error for Conflict {}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::new(ErrorKind::Conflict, "link a client token").with_source(conflict)
    }
}

/// What one fact has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The row that the fact is part of now; `None` if it is older than what was trimmed away, and was only counted.
    pub row: Option<RowId>,
    /// The message is visible for the first time: true once per message, whatever becomes of its row.
    pub new: bool,
    /// A message that was known already has a new content.
    pub content: bool,
    /// The send state has changed.
    pub state: bool,
    /// Receipts that told something new, as they are now.
    pub receipts: Vec<Receipt>,
    /// Anything at all has changed.
    pub any: bool,
    /// Whether and where the row is shown now.
    pub visibility: Visibility,
}

impl Change {
    pub(super) const fn counted() -> Self {
        Self {
            row: None,
            new: false,
            content: false,
            state: false,
            receipts: Vec::new(),
            any: false,
            visibility: Visibility::Empty,
        }
    }
}
