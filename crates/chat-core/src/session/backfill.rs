//! Owns the filling of gaps: which page to ask for next, and when a gap is proven closed.

use std::collections::HashSet;

use crate::{
    command::{Cursor, Direction, HistoryFrom, HistoryRequest},
    error::{Error, ErrorKind},
    ids::MessageId,
    transcript::Spot,
};

/// What an earlier complete page, or an unbroken connection, has confirmed: nothing is missing up to here.
#[derive(Debug, Clone)]
pub(super) struct Confirmed {
    pub(super) id: MessageId,
    pub(super) spot: Spot,
}

/// One run over the history, page after page.
#[derive(Debug)]
pub(super) struct Backfill {
    /// For which connection.
    pub(super) generation: u64,
    way: Way,
    target: Option<Confirmed>,
    limit: u32,
    pages_left: u32,
    items_left: u32,
    seen: HashSet<Cursor>,
    /// The newest mark that the pages brought: confirmed once the run is complete.
    newest: Option<Confirmed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the confirmed point towards now.
    Forward,
    /// From now back past the confirmed point, or to the start.
    Backward,
}

/// What comes after a page.
#[derive(Debug)]
pub(super) enum Next {
    /// Ask for this.
    Ask(HistoryRequest),
    /// Complete: everything up to `confirmed` is there. `older` is where older items begin, if there may be any.
    Complete { confirmed: Option<Confirmed>, older: Older },
    /// Cannot be completed now.
    Failed(Error),
}

/// What is known about items older than those at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Older {
    /// Nothing new is known.
    Unchanged,
    /// They begin at this cursor.
    From(Cursor),
    /// There are none.
    None,
}

impl Backfill {
    /// Begins a run. Without a confirmed point it goes back to the start, or until `initial` items are there.
    pub(super) fn begin(
        generation: u64,
        target: Option<Confirmed>,
        limit: u32,
        max_pages: u32,
        initial: u32,
    ) -> (Self, HistoryRequest) {
        let way = if target.is_some() { Way::Forward } else { Way::Backward };
        let run = Self {
            generation,
            way,
            target,
            limit: limit.max(1),
            pages_left: max_pages.max(1),
            items_left: if way == Way::Backward { initial } else { u32::MAX },
            seen: HashSet::new(),
            newest: None,
        };
        let request = run.first();
        (run, request)
    }

    fn first(&self) -> HistoryRequest {
        match (self.way, &self.target) {
            (Way::Forward, Some(target)) => HistoryRequest {
                direction: Direction::Newer,
                from: HistoryFrom::Message(target.id.clone()),
                limit: self.limit,
            },
            _ => HistoryRequest {
                direction: Direction::Older,
                from: HistoryFrom::Newest,
                limit: self.limit.min(self.items_left.max(1)),
            },
        }
    }

    /// A page came: `marks` are the places of its items (those that have one).
    pub(super) fn page(
        &mut self,
        items: usize,
        marks: impl IntoIterator<Item = Confirmed>,
        next: Option<Cursor>,
    ) -> Next {
        let mut oldest: Option<Spot> = None;
        for point in marks {
            if oldest.as_ref().is_none_or(|oldest| point.spot < *oldest) {
                oldest = Some(point.spot.clone());
            }
            if self.newest.as_ref().is_none_or(|newest| newest.spot < point.spot) {
                self.newest = Some(point);
            }
        }
        self.items_left = self.items_left.saturating_sub(u32::try_from(items).unwrap_or(u32::MAX));
        self.pages_left = self.pages_left.saturating_sub(1);

        let met = self.way == Way::Backward
            && match (&self.target, &oldest) {
                (Some(target), Some(oldest)) => *oldest <= target.spot,
                _ => false,
            };
        if met {
            return self.complete(Older::Unchanged);
        }
        let Some(cursor) = next else {
            return self.complete(if self.way == Way::Backward { Older::None } else { Older::Unchanged });
        };
        if self.way == Way::Backward && self.target.is_none() && self.items_left == 0 {
            return self.complete(Older::From(cursor));
        }
        if !self.seen.insert(cursor.clone()) {
            return Next::Failed(Error::new(ErrorKind::UnexpectedResponse, "the history runs in a circle"));
        }
        if self.pages_left == 0 {
            return Next::Failed(Error::new(
                ErrorKind::Timeout,
                "the gap is larger than the settings allow at once",
            ));
        }
        Next::Ask(HistoryRequest {
            direction: if self.way == Way::Forward { Direction::Newer } else { Direction::Older },
            from: HistoryFrom::Cursor(cursor),
            limit: self.limit.min(self.items_left.max(1)),
        })
    }

    /// A page failed. A start position that the server no longer accepts is answered by going back from the newest.
    pub(super) fn failed(&mut self, error: Error) -> Next {
        let refused =
            matches!(error.kind(), ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::InvalidInput);
        if refused && self.way == Way::Forward {
            self.way = Way::Backward;
            self.seen.clear();
            return Next::Ask(self.first());
        }
        Next::Failed(error)
    }

    fn complete(&mut self, older: Older) -> Next {
        let newest = self.newest.take();
        let confirmed = match (newest, self.target.take()) {
            (Some(newest), Some(target)) => Some(if newest.spot < target.spot { target } else { newest }),
            (newest, target) => newest.or(target),
        };
        Next::Complete { confirmed, older }
    }
}
