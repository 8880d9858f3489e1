//! Owns the pages of the transcript: which items, in which order, and where the next page starts. Source: §11.

use chat_core::Timestamp;

use super::answer::Refusal;
use crate::wire::participant::{GetTranscriptRequest, ScanDirection, SortOrder};

/// Where an item stands: milliseconds, then order of arrival. Never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) millis: i64,
    pub(super) sequence: u64,
}

impl Key {
    const MIN: Self = Self { millis: i64::MIN, sequence: 0 };
    const MAX: Self = Self { millis: i64::MAX, sequence: u64::MAX };
}

/// A checked request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageQuery {
    pub(super) direction: ScanDirection,
    pub(super) order: SortOrder,
    pub(super) limit: usize,
    /// Items beyond this, in the direction; the key itself only if `inclusive`.
    pub(super) from: Key,
    pub(super) inclusive: bool,
}

/// What to page through: keys of the visible items, oldest first, and how to find one by id.
pub(super) trait Shelf {
    fn keys(&self) -> Vec<Key>;
    fn find(&self, id: &str) -> Option<Key>;
}

fn refused(what: &str) -> Refusal {
    Refusal::validation(format!("Validation exception due to invalid parameter: {what}"))
}

fn token(direction: ScanDirection, key: Key) -> String {
    let direction = if direction == ScanDirection::Forward { 'f' } else { 'b' };
    format!("{direction}.{}.{}", key.millis, key.sequence)
}

fn untoken(text: &str) -> Option<(ScanDirection, Key)> {
    let mut parts = text.split('.');
    let direction = match parts.next()? {
        "f" => ScanDirection::Forward,
        "b" => ScanDirection::Backward,
        _ => return None,
    };
    let millis = parts.next()?.parse().ok()?;
    let sequence = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((direction, Key { millis, sequence }))
}

impl PageQuery {
    /// Reads a request. `include_start` says whether the item that a start position names is returned itself.
    pub(super) fn read(
        request: &GetTranscriptRequest,
        shelf: &impl Shelf,
        include_start: bool,
    ) -> Result<Self, Refusal> {
        let limit = match request.max_results {
            None | Some(0) => 10,
            Some(limit @ 1..=100) => usize::try_from(limit).expect("1 to 100"),
            Some(_) => return Err(refused("MaxResults")),
        };
        let order = request.sort_order.unwrap_or(SortOrder::Descending);
        if let Some(text) = request.next_token.as_deref() {
            let (direction, from) = untoken(text).ok_or_else(|| refused("NextToken"))?;
            if request.scan_direction.is_some_and(|asked| asked != direction) {
                return Err(refused("NextToken belongs to another query"));
            }
            return Ok(Self { direction, order, limit, from, inclusive: false });
        }
        let start = request.start_position.clone().unwrap_or_default();
        let given = [start.id.is_some(), start.absolute_time.is_some(), start.most_recent.is_some()];
        let given = given.into_iter().filter(|given| *given).count();
        if given > 1 {
            return Err(refused("StartPosition"));
        }
        let usual = if given == 0 { ScanDirection::Backward } else { ScanDirection::Forward };
        let direction = request.scan_direction.unwrap_or(usual);
        let forward = direction == ScanDirection::Forward;
        if forward && given == 0 {
            return Err(refused("ScanDirection FORWARD needs a StartPosition"));
        }
        let (from, inclusive) = if let Some(id) = &start.id {
            (shelf.find(id).ok_or_else(|| refused("StartPosition.Id"))?, include_start)
        } else if let Some(time) = &start.absolute_time {
            let time = Timestamp::parse(time).ok_or_else(|| refused("StartPosition.AbsoluteTime"))?;
            let sequence = if forward { 0 } else { u64::MAX };
            (Key { millis: time.as_millis(), sequence }, true)
        } else if let Some(recent) = start.most_recent {
            let recent = match recent {
                0..=100 => usize::try_from(recent).expect("0 to 100"),
                _ => return Err(refused("StartPosition.MostRecent")),
            };
            let keys = shelf.keys();
            let at = keys.len().saturating_sub(recent);
            (keys.get(at).copied().unwrap_or(Key::MAX), true)
        } else {
            (Key::MAX, true)
        };
        Ok(Self { direction, order, limit, from, inclusive })
    }

    /// The keys of the page in the order asked for, and the token of the next one, if there is more.
    pub(super) fn page(&self, keys: &[Key]) -> (Vec<Key>, Option<String>) {
        let forward = self.direction == ScanDirection::Forward;
        let fits = |key: &&Key| {
            (self.inclusive && **key == self.from)
                || if forward { **key > self.from } else { **key < self.from }
        };
        let mut page: Vec<Key> = if forward {
            keys.iter().filter(fits).take(self.limit + 1).copied().collect()
        } else {
            keys.iter().rev().filter(fits).take(self.limit + 1).copied().collect()
        };
        let more = page.len() > self.limit;
        page.truncate(self.limit);
        let next = page.last().filter(|_| more).map(|last| token(self.direction, *last));
        page.sort_unstable();
        if self.order == SortOrder::Descending {
            page.reverse();
        }
        (page, next)
    }

    /// A token that leads to the same page again.
    pub(super) fn again(&self) -> String {
        let Key { millis, sequence } = self.from;
        let key = match (self.inclusive, self.direction) {
            (false, _) => self.from,
            (true, ScanDirection::Forward) if sequence > 0 => Key { millis, sequence: sequence - 1 },
            (true, ScanDirection::Forward) if self.from == Key::MIN => self.from,
            (true, ScanDirection::Forward) => Key { millis: millis - 1, sequence: u64::MAX },
            (true, ScanDirection::Backward) => Key { millis, sequence: sequence.saturating_add(1) },
        };
        token(self.direction, key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Keys(Vec<Key>);

    impl Shelf for Keys {
        fn keys(&self) -> Vec<Key> {
            self.0.clone()
        }
        fn find(&self, id: &str) -> Option<Key> {
            self.0.get(id.parse::<usize>().ok()?).copied()
        }
    }

    fn shelf(count: u64) -> Keys {
        // Two items share each millisecond.
        Keys((0..count).map(|n| Key { millis: 1_000 + (n / 2) as i64, sequence: n }).collect())
    }

    fn request(json: &str) -> GetTranscriptRequest {
        serde_json::from_str(json).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the page size and order, following the tokens gives every item once and ends.
        #[test]
        fn tokens_lead_through_everything_once(count in 0u64..60, limit in 1i64..20, forward: bool, ascending: bool, again: bool) {
            let shelf = shelf(count);
            let mut ask = request("{}");
            ask.max_results = Some(limit);
            ask.sort_order = Some(if ascending { SortOrder::Ascending } else { SortOrder::Descending });
            if forward {
                ask = GetTranscriptRequest { start_position: request(r#"{"StartPosition":{"AbsoluteTime":"1970-01-01T00:00:00Z"}}"#).start_position, ..ask };
            }
            let mut pages = Vec::new();
            loop {
                let mut query = PageQuery::read(&ask, &shelf, false).map_err(|e| TestCaseError::fail(e.message))?;
                if again {
                    // An empty page with a token that leads back must lose nothing.
                    ask.next_token = Some(query.again());
                    query = PageQuery::read(&ask, &shelf, false).map_err(|e| TestCaseError::fail(e.message))?;
                }
                let (page, next) = query.page(&shelf.0);
                prop_assert!(page.len() <= limit as usize);
                let in_order = if ascending { page.is_sorted() } else { page.iter().rev().is_sorted() };
                prop_assert!(in_order);
                pages.push(page);
                match next {
                    Some(next) => ask.next_token = Some(next),
                    None => break,
                }
            }
            let mut all: Vec<Key> = pages.concat();
            prop_assert_eq!(all.len(), shelf.0.len());
            all.sort_unstable();
            prop_assert_eq!(all, shelf.0);
        }
    }

    #[test]
    fn start_positions() {
        let shelf = shelf(10);
        let page = |json: &str, include| {
            let query =
                PageQuery::read(&request(json), &shelf, include).map_err(|refusal| refusal.message)?;
            Ok::<_, String>(query.page(&shelf.0).0.iter().map(|key| key.sequence).collect::<Vec<_>>())
        };
        let ascending = |rest: &str| format!(r#"{{"SortOrder":"ASCENDING","MaxResults":3,{rest}}}"#);
        let id = ascending(r#""StartPosition":{"Id":"4"}"#);
        assert_eq!(page(&id, false), Ok(vec![5, 6, 7]));
        assert_eq!(page(&id, true), Ok(vec![4, 5, 6]));
        let back = ascending(r#""ScanDirection":"BACKWARD","StartPosition":{"Id":"4"}"#);
        assert_eq!(page(&back, false), Ok(vec![1, 2, 3]));
        let time = ascending(r#""StartPosition":{"AbsoluteTime":"1970-01-01T00:00:01.002Z"}"#);
        assert_eq!(page(&time, false), Ok(vec![4, 5, 6]));
        assert_eq!(page(&ascending(r#""StartPosition":{"MostRecent":2}"#), false), Ok(vec![8, 9]));
        assert_eq!(page(&ascending(r#""StartPosition":{}"#), false), Ok(vec![7, 8, 9]));
        assert_eq!(page("{}", false).unwrap(), (0..10).rev().collect::<Vec<_>>());
        for wrong in [
            r#"{"ScanDirection":"FORWARD"}"#,
            r#"{"ScanDirection":"FORWARD","StartPosition":{}}"#,
            r#"{"StartPosition":{"Id":"99"}}"#,
            r#"{"StartPosition":{"Id":"1","MostRecent":1}}"#,
            r#"{"StartPosition":{"AbsoluteTime":"yesterday"}}"#,
            r#"{"MaxResults":101}"#,
            r#"{"NextToken":"x"}"#,
            r#"{"NextToken":"b.1.1","ScanDirection":"FORWARD"}"#,
        ] {
            assert!(page(wrong, false).is_err(), "{wrong}");
        }
    }
}
