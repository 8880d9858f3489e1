//! Owns pages of the transcript. The service has none: a refresh from a lower position tells everything from there on (§5.4), and
//! the page is cut out of it.

use chat_core::{
    Ack, Cursor, Delivery, Direction, Error, ErrorKind, HistoryFrom, HistoryPage, HistoryRequest, MessageId,
    Primary, Result, Sighting, Timestamp,
};

use super::ChatConnection;
use crate::{error::Failure, wire::Position};

/// Which part of the transcript makes the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    /// The newest before this index, asked for from `from` on.
    Before { end: u64, from: u64 },
    /// The newest before this instant.
    BeforeTime(Timestamp),
    /// The oldest from this index on.
    From(u64),
    /// The oldest from this instant on.
    FromTime(Timestamp),
}

impl Page {
    /// `newest` is where the transcript is known to end.
    fn of(
        request: &HistoryRequest,
        position: impl Fn(&MessageId) -> Option<u64>,
        newest: u64,
    ) -> Result<Self> {
        // Typing uses up numbers: asked for twice as many, a page is seldom short.
        let reach = u64::from(request.limit.max(1)).saturating_mul(2);
        let before = |end: u64, known: u64| Self::Before { end, from: known.saturating_sub(reach).max(1) };
        let unknown =
            || Error::new(ErrorKind::NotFound, "no message of this chat").with_delivery(Delivery::NotSent);
        let number = |cursor: &Cursor| {
            cursor.0.parse::<u64>().map_err(|_| Error::invalid_input("no cursor of this chat"))
        };
        Ok(match (request.direction, &request.from) {
            (Direction::Older, HistoryFrom::Newest) => before(u64::MAX, newest),
            (Direction::Older, HistoryFrom::Message(id)) => {
                // The message itself may be among them: it tells that the page fits.
                let end = position(id).ok_or_else(unknown)?.saturating_add(1);
                before(end, end)
            }
            (Direction::Older, HistoryFrom::Cursor(cursor)) => {
                let end = number(cursor)?;
                before(end, end)
            }
            (Direction::Older, HistoryFrom::Time(time)) => Self::BeforeTime(*time),
            (Direction::Newer, HistoryFrom::Oldest) => Self::From(1),
            (Direction::Newer, HistoryFrom::Message(id)) => Self::From(position(id).ok_or_else(unknown)?),
            (Direction::Newer, HistoryFrom::Cursor(cursor)) => Self::From(number(cursor)?),
            (Direction::Newer, HistoryFrom::Time(time)) => Self::FromTime(*time),
            _ => return Err(Error::invalid_input("a page cannot start there and go that way")),
        })
    }

    const fn position(self) -> Position {
        match self {
            Self::Before { from, .. } | Self::From(from) => Position::at(from),
            Self::BeforeTime(_) | Self::FromTime(_) => Position::Everything,
        }
    }

    fn holds(self, item: &Sighting) -> bool {
        match self {
            Self::Before { end, .. } => index(item).is_none_or(|index| index < end),
            Self::From(from) => index(item).is_none_or(|index| index >= from),
            Self::BeforeTime(limit) => item.time.is_some_and(|time| time < limit),
            Self::FromTime(limit) => item.time.is_none_or(|time| time >= limit),
        }
    }

    /// Cuts the page out of what the service told, in order.
    fn cut(self, mut items: Vec<Sighting>, limit: usize) -> HistoryPage {
        items.retain(|item| self.holds(item));
        let more = items.len() > limit;
        let next = match self {
            Self::Before { .. } | Self::BeforeTime(_) => {
                items.drain(..items.len().saturating_sub(limit));
                match self {
                    _ if more => items.first().and_then(index),
                    Self::Before { from, .. } if from > 1 => Some(from),
                    _ => None,
                }
            }
            Self::From(_) | Self::FromTime(_) => {
                items.truncate(limit);
                items.last().and_then(index).filter(|_| more).map(|last| last.saturating_add(1))
            }
        };
        HistoryPage { items, next: next.map(|next| Cursor(next.to_string().into())) }
    }
}

fn index(item: &Sighting) -> Option<u64> {
    match item.place?.primary {
        Primary::Index(_, index) => Some(index),
        Primary::Instant(_) => None,
    }
}

impl ChatConnection {
    pub(super) async fn history(&self, request: &HistoryRequest) -> Result<Ack> {
        let turn = self.refreshing.lock().await;
        self.still_there()?;
        let page = {
            let chat = self.chat();
            Page::of(request, |id| chat.place_of(id), chat.end())?
        };
        match self.fetch_page(page, request.limit.max(1) as usize).await {
            Ok(page) => Ok(Ack::History(page)),
            Err(failure) => {
                drop(turn);
                Err(self.examine(failure).await)
            }
        }
    }

    async fn fetch_page(&self, page: Page, limit: usize) -> Result<HistoryPage, Failure> {
        let mut asked = page.position();
        let mut reply = self.fetch(asked).await?;
        let mut told = self.chat().page(asked, &reply);
        if told.ask_again {
            asked = Position::Everything;
            reply = self.fetch(asked).await?;
            told = self.chat().page(asked, &reply);
        }
        told.events.into_iter().for_each(|event| self.outlet.hint(event));
        self.save();
        let mut items = told.items;
        items.sort_by_key(|item| item.place);
        let ended = reply.chat_ended == Some(true);
        // Of a chat that is over no further page can be asked for: whatever was told belongs to this one.
        let page = page.cut(items, if ended { usize::MAX } else { limit });
        if ended {
            // What was said since the last poll comes before the end.
            self.take_in(asked, &reply).await;
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{Place, SegmentId};

    use super::*;

    fn items(indexes: &[u64]) -> Vec<Sighting> {
        let item = |&index: &u64| {
            let mut item =
                Sighting::new(SegmentId::from("c")).with_place(Place::exact(Primary::Index(0, index)));
            item.time = Timestamp::from_millis(index as i64 * 1_000);
            item
        };
        indexes.iter().map(item).collect()
    }

    fn ask(direction: Direction, from: HistoryFrom, limit: u32) -> Result<Page> {
        let known = |id: &MessageId| id.as_str().parse().ok();
        Page::of(&HistoryRequest { direction, from, limit }, known, 100)
    }

    /// All pages, each as its indexes.
    fn walk(direction: Direction, mut from: HistoryFrom, limit: u32, there: &[u64]) -> Vec<Vec<u64>> {
        let mut pages = Vec::new();
        loop {
            let page = ask(direction, from, limit).unwrap();
            let told = match page.position() {
                Position::Everything => items(there),
                Position::From(from) => {
                    items(&there.iter().copied().filter(|index| *index >= from).collect::<Vec<_>>())
                }
                other => panic!("{other:?}"),
            };
            let cut = page.cut(told, limit as usize);
            pages.push(cut.items.iter().filter_map(index).collect());
            assert!(pages.len() <= 200, "it goes on for ever");
            match cut.next {
                Some(next) => from = HistoryFrom::Cursor(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn older_pages_come_down_to_the_first_and_end_there() {
        let there = [1, 2, 5, 6, 7, 60, 61, 90, 99];
        for limit in [1, 2, 3, 10, 100] {
            let pages = walk(Direction::Older, HistoryFrom::Newest, limit, &there);
            assert!(pages.iter().all(|page| page.len() <= limit as usize), "{limit}");
            let all: Vec<u64> = pages.into_iter().rev().flatten().collect();
            assert_eq!(all, there, "each once, in order, at {limit}");
        }
        let before = walk(Direction::Older, HistoryFrom::Message("7".into()), 2, &there);
        assert_eq!(before.first().unwrap(), &[6, 7]);
    }

    #[test]
    fn newer_pages_go_up_to_the_end() {
        let there = [1, 2, 5, 6, 7, 60];
        assert_eq!(walk(Direction::Newer, HistoryFrom::Oldest, 4, &there), [vec![1, 2, 5, 6], vec![7, 60]]);
        assert_eq!(walk(Direction::Newer, HistoryFrom::Message("6".into()), 9, &there), [[6, 7, 60]]);
        assert_eq!(walk(Direction::Newer, HistoryFrom::Message("61".into()), 9, &there), [[0; 0]]);
    }

    #[test]
    fn a_time_is_looked_up_in_the_whole_transcript() {
        let at = HistoryFrom::Time(Timestamp::from_millis(5_500).unwrap());
        assert_eq!(walk(Direction::Older, at.clone(), 2, &[1, 2, 5, 6, 7]), [vec![2, 5], vec![1]]);
        assert_eq!(walk(Direction::Newer, at, 9, &[1, 2, 5, 6, 7]), [[6, 7]]);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let kind = |direction, from| ask(direction, from, 1).unwrap_err().kind().clone();
        assert_eq!(kind(Direction::Newer, HistoryFrom::Newest), ErrorKind::InvalidInput);
        assert_eq!(kind(Direction::Older, HistoryFrom::Oldest), ErrorKind::InvalidInput);
        assert_eq!(kind(Direction::Newer, HistoryFrom::Message("x".into())), ErrorKind::NotFound);
        assert_eq!(kind(Direction::Older, HistoryFrom::Cursor(Cursor("x".into()))), ErrorKind::InvalidInput);
    }
}
