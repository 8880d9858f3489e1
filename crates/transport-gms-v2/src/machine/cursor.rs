//! Owns the client's position in the transcript: how far it has read, and from where to ask (§5.4, §8.1).

use crate::wire::{Operation, Position, Reply, StatusCode};

/// How far the transcript is read. It moves by good replies whose events have been processed, and by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The first index not read yet. Never goes back, but for [`Cursor::rewind`].
    next: u64,
    /// Where the service says that the transcript ends, if that is before `next`: it was restored from an older copy, and will use
    /// the numbers in between again.
    behind: Option<u64>,
}

/// What a reply did to the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It stands, or has moved on.
    On,
    /// The service's transcript ends before what was read, and did not a moment ago: ask for everything once, to see whether what
    /// stands there is still the same.
    Back,
}

impl Cursor {
    /// Nothing is read yet.
    pub(crate) const START: Self = Self { next: 1, behind: None };

    /// Everything before `next` is read.
    pub(crate) const fn at(next: u64) -> Self {
        Self { next: if next == 0 { 1 } else { next }, behind: None }
    }

    /// The first index not read yet: what is to be saved.
    pub(crate) const fn next(self) -> u64 {
        self.next
    }

    /// From where to ask. Never past what the service has: it would be told nothing until the service has caught up.
    pub(crate) fn position(self) -> Position {
        Position::at(self.behind.map_or(self.next, |behind| behind.min(self.next)))
    }

    /// A good reply to a call that asked for `asked` was processed. A call that did not ask, or asked from beyond the cursor, proves
    /// nothing about what stands in between: its `nextPosition` is past messages that nobody has read.
    pub(crate) fn processed(&mut self, operation: Operation, asked: Option<Position>, reply: &Reply) -> Step {
        let asks_unless_told = matches!(operation, Operation::Refresh | Operation::RequestNotifications);
        let from = match asked {
            Some(Position::Everything) => 1,
            Some(Position::From(index)) => index,
            None if asks_unless_told => 1,
            None | Some(Position::Nothing | Position::Last) => return Step::On,
        };
        // An answer to a send that lacks the message itself is not the piece that was asked for.
        let empty_send = operation == Operation::Send && reply.events().is_empty();
        if reply.status_code != Some(StatusCode::Ok) || from > self.next || empty_send {
            return Step::On;
        }
        self.read_to(last(reply));
        let Some(end) = reply.next_position else { return Step::On };
        let step = self.end_is(end);
        self.next = self.next.max(end);
        step
    }

    /// Pushed events were processed. They say nothing about what was pushed before them and lost.
    pub(crate) fn pushed(&mut self, reply: &Reply) -> Step {
        if reply.status_code != Some(StatusCode::Ok) || reply.events().is_empty() {
            return Step::On;
        }
        self.read_to(last(reply));
        Step::On
    }

    /// What stands from `index` on is another transcript than the one that was read.
    pub(crate) fn rewind(&mut self, index: u64) {
        *self = Self::at(index.min(self.next));
    }

    fn read_to(&mut self, last: Option<u64>) {
        self.next = self.next.max(last.map_or(0, |last| last.saturating_add(1)));
    }

    fn end_is(&mut self, end: u64) -> Step {
        if end >= self.next {
            self.behind = None;
            return Step::On;
        }
        let known = self.behind.is_some_and(|behind| end >= behind);
        self.behind = Some(end);
        if known { Step::On } else { Step::Back }
    }
}

fn last(reply: &Reply) -> Option<u64> {
    reply.events().iter().filter_map(|event| event.index).max()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(indexes: &[u64], next: Option<u64>) -> Reply {
        let events: Vec<_> = indexes.iter().map(|index| format!(r#"{{"index":{index}}}"#)).collect();
        let next = next.map(|next| format!(r#","nextPosition":{next}"#)).unwrap_or_default();
        Reply::read(&format!(r#"{{"statusCode":0,"messages":[{}]{next}}}"#, events.join(","))).unwrap()
    }

    fn polled(cursor: &mut Cursor, indexes: &[u64], next: Option<u64>) -> Step {
        let asked = cursor.position();
        cursor.processed(Operation::Refresh, Some(asked), &reply(indexes, next))
    }

    #[test]
    fn it_follows_the_highest_index_and_the_next_position() {
        let mut cursor = Cursor::START;
        assert_eq!(cursor.position(), Position::Everything);
        polled(&mut cursor, &[1], None);
        assert_eq!(cursor.next(), 2);
        polled(&mut cursor, &[14, 11], Some(17));
        assert_eq!((cursor.next(), cursor.position()), (17, Position::From(17)));
        polled(&mut cursor, &[17, 18], Some(18));
        assert_eq!(cursor.next(), 19);
    }

    #[test]
    fn a_send_that_asked_for_nothing_leaves_it() {
        let mut cursor = Cursor::at(2);
        for (asked, indexes) in
            [(None, &[][..]), (Some(Position::From(2)), &[]), (Some(Position::From(3)), &[3])]
        {
            cursor.processed(Operation::Send, asked, &reply(indexes, Some(9)));
            assert_eq!(cursor.next(), 2, "{asked:?}");
        }
        cursor.processed(Operation::Send, Some(Position::From(2)), &reply(&[2, 3], Some(4)));
        assert_eq!(cursor.next(), 4);
    }

    #[test]
    fn neither_failures_nor_keep_alives_nor_the_newest_alone_move_it() {
        let mut cursor = Cursor::at(5);
        for asked in [Position::Nothing, Position::Last, Position::From(7)] {
            cursor.processed(Operation::Refresh, Some(asked), &reply(&[8], Some(9)));
        }
        let failure = Reply::read(r#"{"statusCode":1,"nextPosition":9,"messages":[{"index":8}]}"#).unwrap();
        cursor.processed(Operation::Refresh, Some(Position::From(5)), &failure);
        cursor.pushed(&failure);
        assert_eq!(cursor, Cursor::at(5));
    }

    #[test]
    fn a_push_moves_it_behind_its_own_events_only() {
        let mut cursor = Cursor::at(3);
        cursor.pushed(&reply(&[], Some(20)));
        assert_eq!(cursor.next(), 3);
        cursor.pushed(&reply(&[3], Some(20)));
        assert_eq!(cursor.next(), 4);
    }

    #[test]
    fn a_service_that_steps_back_is_asked_from_where_it_stands() {
        let mut cursor = Cursor::at(8);
        assert_eq!(polled(&mut cursor, &[], Some(3)), Step::Back);
        assert_eq!((cursor.next(), cursor.position()), (8, Position::From(3)));
        assert_eq!(polled(&mut cursor, &[], Some(3)), Step::On, "said once");
        assert_eq!(polled(&mut cursor, &[3, 4], Some(5)), Step::On);
        assert_eq!(cursor.position(), Position::From(5));
        assert_eq!(polled(&mut cursor, &[], Some(4)), Step::Back, "and again if it steps back again");
        assert_eq!(polled(&mut cursor, &[4, 5, 6, 7, 8], Some(9)), Step::On);
        assert_eq!((cursor.next(), cursor.position()), (9, Position::From(9)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Polls, sends and pushes of a transcript that grows: whatever the cursor passes was delivered.
        #[test]
        fn nothing_is_passed_that_was_not_delivered(
            steps in prop::collection::vec((0u8..4, 1u64..4, any::<bool>()), 1..60),
        ) {
            let (mut cursor, mut stored, mut delivered) = (Cursor::START, 0u64, 0u64);
            for (kind, grows, told) in steps {
                stored += grows;
                let next = told.then_some(stored + 1);
                let before = cursor;
                match kind {
                    0 => {
                        let from = match cursor.position() {
                            Position::Everything => 1,
                            Position::From(index) => index,
                            other => panic!("{other:?}"),
                        };
                        prop_assert!(from <= delivered + 1);
                        let indexes: Vec<_> = (from..=stored).collect();
                        cursor.processed(Operation::Refresh, Some(cursor.position()), &reply(&indexes, next));
                        delivered = stored;
                    }
                    1 => { cursor.processed(Operation::Send, None, &reply(&[], Some(stored + 1))); }
                    2 => { cursor.processed(Operation::Send, Some(Position::From(stored)), &reply(&[stored], next));
                           if stored <= delivered + 1 { delivered = delivered.max(stored); } }
                    _ => { cursor.processed(Operation::Refresh, Some(Position::Nothing), &reply(&[], next)); }
                }
                prop_assert!(cursor.next() <= delivered + 1, "{cursor:?} after {kind}, {delivered} delivered");
                prop_assert!(cursor.next() >= before.next());
            }
        }

        #[test]
        fn no_reply_makes_it_panic_or_go_back(indexes: Vec<u64>, next: Option<u64>, start: u64) {
            let mut cursor = Cursor::at(start);
            let before = cursor.next();
            polled(&mut cursor, &indexes, next);
            prop_assert!(cursor.next() >= before);
            polled(&mut cursor, &[], Some(0));
            prop_assert!(cursor.next() >= before);
        }
    }
}
