//! Owns paging through a contact's items, both ways.

use chat_core::{
    Cursor, Direction, Error, HistoryFrom, HistoryPage, HistoryRequest, MessageId, Result, Timestamp,
};

use crate::{
    contact::{Contact, not_found},
    item::Key,
    profile::Profile,
};

/// Items of a page, where neither the request nor the profile says less.
const PAGE_MAX: u32 = 1_000;

/// Where a page starts, as its cursor tells: opaque to clients.
#[derive(Debug, PartialEq)]
struct Mark {
    direction: Direction,
    key: Key,
    made: i64,
    /// The page before was an empty one.
    after_empty: bool,
}

impl Mark {
    fn encode(&self) -> Cursor {
        let direction = if self.direction == Direction::Older { 'o' } else { 'n' };
        let empty = u8::from(self.after_empty);
        let Key { segment, order, id } = &self.key;
        Cursor(format!("{direction}.{empty}.{}.{segment}.{order}.{id}", self.made).into())
    }

    fn decode(cursor: &Cursor) -> Option<Self> {
        let mut parts = cursor.0.splitn(6, '.');
        let direction = match parts.next()? {
            "o" => Direction::Older,
            "n" => Direction::Newer,
            _ => return None,
        };
        Some(Self {
            direction,
            after_empty: parts.next()? == "1",
            made: parts.next()?.parse().ok()?,
            key: Key {
                segment: parts.next()?.parse().ok()?,
                order: parts.next()?.parse().ok()?,
                id: MessageId::new(parts.next()?),
            },
        })
    }
}

/// One page, as the profile pages.
///
/// # Errors
/// `NotFound` if the item to start at is gone; `InvalidInput` for a start that the direction does not have, or a cursor of another
/// query; `Expired` for a cursor that is too old.
pub(crate) fn page(
    contact: &Contact,
    profile: &Profile,
    request: &HistoryRequest,
    now: Timestamp,
) -> Result<HistoryPage> {
    let items = &contact.items;
    let older = request.direction == Direction::Older;
    let limit = request.limit.min(profile.capabilities.history_page_max.unwrap_or(PAGE_MAX)).max(1) as usize;
    // Overlapping pages of one item would bring the same item for ever.
    let overlap = profile.history_inclusive && limit > 1;
    let mut after_empty = false;
    // How many items stand before the cut: those before it are older, those behind it newer.
    let cut = match &request.from {
        HistoryFrom::Newest if older => items.len(),
        HistoryFrom::Oldest if !older => 0,
        HistoryFrom::Message(id) => {
            let at = items
                .iter()
                .position(|item| item.key.id == *id)
                .ok_or_else(|| not_found("the message to start at"))?;
            if profile.history_inclusive == older { at + 1 } else { at }
        }
        HistoryFrom::Time(time) if older => items.partition_point(|item| item.time <= *time),
        HistoryFrom::Time(time) => items.partition_point(|item| item.time < *time),
        HistoryFrom::Cursor(cursor) => {
            let mark = Mark::decode(cursor)
                .filter(|mark| mark.direction == request.direction)
                .ok_or_else(|| Error::invalid_input("the cursor of another query"))?;
            let age = now.as_millis().saturating_sub(mark.made);
            let valid = profile.cursor_valid_for.map(|valid| i64::try_from(valid.as_millis()));
            if valid.is_some_and(|valid| valid.is_ok_and(|valid| age > valid)) {
                return Err(Error::new(chat_core::ErrorKind::Expired, "the history cursor"));
            }
            after_empty = mark.after_empty;
            // The item that the cursor names was the last of the page before, and is told again if paging is inclusive.
            if overlap == older {
                items.partition_point(|item| item.key <= mark.key)
            } else {
                items.partition_point(|item| item.key < mark.key)
            }
        }
        _ => return Err(Error::invalid_input("the start of the page")),
    };
    let range =
        if older { cut.saturating_sub(limit)..cut } else { cut..cut.saturating_add(limit).min(items.len()) };
    let mark = |key: &Key, after_empty| {
        Mark { direction: request.direction, key: key.clone(), made: now.as_millis(), after_empty }.encode()
    };
    let more = if older { range.start > 0 } else { range.end < items.len() };
    if profile.empty_pages && !after_empty && !range.is_empty() {
        // The same place again, behind an empty page.
        let edge = if older { &items[range.end - 1].key } else { &items[range.start].key };
        let edge = match (overlap, older) {
            (true, _) => Some(edge),
            (false, true) => items.get(range.end).map(|item| &item.key),
            (false, false) => range.start.checked_sub(1).map(|before| &items[before].key),
        };
        if let Some(edge) = edge {
            return Ok(HistoryPage { items: Vec::new(), next: Some(mark(edge, true)) });
        }
    }
    let edge = if older { range.clone().next() } else { range.clone().next_back() };
    let next = match (&request.from, edge) {
        (HistoryFrom::Cursor(cursor), _) if profile.stuck_cursor => Some(cursor.clone()),
        (_, Some(edge)) if more => Some(mark(&items[edge].key, false)),
        _ => None,
    };
    let items = items[range].iter().flat_map(|item| contact.sightings(item, profile)).collect();
    Ok(HistoryPage { items, next })
}
