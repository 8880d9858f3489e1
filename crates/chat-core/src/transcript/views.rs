//! Owns what readers hold: snapshots, the diffs that lead from one to the next, and the copy that applies them.

use std::{collections::VecDeque, fmt, ops::Deref, sync::Arc};

use super::row::{Row, RowId};

/// Which rows a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum View {
    /// All rows that are not hidden: messages, system events and open gaps.
    Full,
    /// What people are shown: messages and open gaps, without system events, filtered rows, superseded questions and the
    /// vendor's own traffic.
    Display,
}

/// The rows of a view at one moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Snapshot(Arc<Vec<Arc<Row>>>);

impl Snapshot {
    /// Whether both are the very same moment: then nothing has changed between them.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<Arc<Row>> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Arc<Row>>>(iter: I) -> Self {
        Self(Arc::new(iter.into_iter().collect()))
    }
}

impl Deref for Snapshot {
    type Target = [Arc<Row>];

    fn deref(&self) -> &[Arc<Row>] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Snapshot {
    type Item = &'a Arc<Row>;
    type IntoIter = std::slice::Iter<'a, Arc<Row>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.same(other) || self.0 == other.0
    }
}

impl Eq for Snapshot {}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One step from a snapshot to the next. Steps are applied in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diff {
    /// A row appears.
    Insert {
        /// Its position.
        at: usize,
        /// The row.
        row: Arc<Row>,
    },
    /// A row has changed.
    Set {
        /// Its position.
        at: usize,
        /// The row, as it is now.
        row: Arc<Row>,
    },
    /// A row goes elsewhere, unchanged.
    Move {
        /// Where it was.
        from: usize,
        /// Where it goes, counted after it was taken out.
        to: usize,
    },
    /// A row disappears.
    Remove {
        /// Its position.
        at: usize,
    },
    /// Everything may have changed.
    Reset(Snapshot),
}

/// A diff did not fit the copy: one was left out, or came twice. Take a fresh snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfStep {
    /// The position that the copy does not have.
    pub at: usize,
    /// How many rows the copy has.
    pub len: usize,
}

impl fmt::Display for OutOfStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the diff is for row {}, the copy has {} rows", self.at, self.len)
    }
}

impl std::error::Error for OutOfStep {}

/// A reader's copy of a view, kept up to date by diffs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror(VecDeque<Arc<Row>>);

impl Mirror {
    /// An empty copy.
    pub const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Takes one step.
    ///
    /// # Errors
    /// [`OutOfStep`] if the diff is not for this copy, which is then unchanged.
    pub fn apply(&mut self, diff: &Diff) -> Result<(), OutOfStep> {
        let len = self.0.len();
        let within = |at: usize, end: usize| if at < end { Ok(()) } else { Err(OutOfStep { at, len }) };
        match diff {
            Diff::Insert { at, row } => {
                within(*at, len + 1)?;
                self.0.insert(*at, Arc::clone(row));
            }
            Diff::Set { at, row } => {
                within(*at, len)?;
                self.0[*at] = Arc::clone(row);
            }
            Diff::Move { from, to } => {
                within(*from, len)?;
                within(*to, len)?;
                if let Some(row) = self.0.remove(*from) {
                    self.0.insert(*to, row);
                }
            }
            Diff::Remove { at } => {
                within(*at, len)?;
                self.0.remove(*at);
            }
            Diff::Reset(snapshot) => self.0 = snapshot.iter().cloned().collect(),
        }
        Ok(())
    }

    /// Takes many steps.
    ///
    /// # Errors
    /// At the first diff that does not fit.
    pub fn apply_all<'a>(&mut self, diffs: impl IntoIterator<Item = &'a Diff>) -> Result<(), OutOfStep> {
        diffs.into_iter().try_for_each(|diff| self.apply(diff))
    }

    /// Starts again from `snapshot`.
    pub fn reset(&mut self, snapshot: &Snapshot) {
        self.0 = snapshot.iter().cloned().collect();
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Row>> + ExactSizeIterator {
        self.0.iter()
    }

    /// The row at a position.
    pub fn get(&self, at: usize) -> Option<&Arc<Row>> {
        self.0.get(at)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&Snapshot> for Mirror {
    fn from(snapshot: &Snapshot) -> Self {
        Self(snapshot.iter().cloned().collect())
    }
}

impl PartialEq<Snapshot> for Mirror {
    fn eq(&self, other: &Snapshot) -> bool {
        self.0.iter().eq(other.iter())
    }
}

/// Where a page in memory starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageFrom {
    /// The first rows.
    Oldest,
    /// The last rows.
    Newest,
    /// The rows right before this one, which need not be in the view.
    Before(RowId),
    /// The rows right after this one, which need not be in the view.
    After(RowId),
}
