//! Owns the transcript as the service numbers it: indexes from 1, each given once and never again (§5.4).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::time::Instant;

use crate::wire::{EventType, Position, TranscriptEvent};

/// Most events that stand for a while only; beyond this the oldest does not.
const PASSING_MOST: usize = 64;

/// The transcript of one chat. What has an index and is not shown is a gap, and takes no room.
#[derive(Debug, Default)]
pub(super) struct Log {
    events: BTreeMap<u64, TranscriptEvent>,
    /// The newest index.
    last: u64,
    /// What stands for a while only, oldest first.
    passing: VecDeque<(Instant, u64)>,
}

impl Log {
    /// The index that the next event gets.
    pub(super) const fn next(&self) -> u64 {
        self.last + 1
    }

    /// Appends an event, and gives its index.
    pub(super) fn push(&mut self, mut event: TranscriptEvent) -> u64 {
        self.last += 1;
        event.index = Some(self.last);
        self.events.insert(self.last, event);
        self.last
    }

    /// Appends an event that stands until then.
    pub(super) fn push_passing(&mut self, event: TranscriptEvent, until: Instant) {
        self.forget(Instant::now());
        let index = self.push(event);
        self.passing.push_back((until, index));
        if self.passing.len() > PASSING_MOST {
            self.pass();
        }
    }

    /// Something happened that the client is not told: it takes an index.
    pub(super) const fn skip(&mut self) {
        self.last += 1;
    }

    /// What there is from a position on.
    pub(super) fn read(&mut self, position: Position) -> Vec<TranscriptEvent> {
        self.forget(Instant::now());
        match position {
            Position::Nothing => Vec::new(),
            Position::Everything => self.from(1),
            Position::From(index) => self.from(index),
            Position::Last => self.events.values().next_back().cloned().into_iter().collect(),
        }
    }

    fn from(&self, index: u64) -> Vec<TranscriptEvent> {
        self.events.range(index..).map(|(_, event)| event.clone()).collect()
    }

    fn forget(&mut self, now: Instant) {
        while self.passing.front().is_some_and(|(until, _)| *until <= now) {
            self.pass();
        }
    }

    fn pass(&mut self) {
        if let Some((_, index)) = self.passing.pop_front() {
            self.events.remove(&index);
        }
    }

    /// Masks the digits of all messages so far (§8.4).
    pub(super) fn mask(&mut self) {
        let is_message = |event: &&mut TranscriptEvent| event.kind == Some(EventType::Message);
        for event in self.events.values_mut().filter(is_message) {
            if let Some(text) = &mut event.text {
                *text = masked(text);
            }
        }
    }
}

fn masked(text: &str) -> Arc<str> {
    text.chars().map(|c| if c.is_numeric() { '*' } else { c }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{Party, PartyType};

    fn event(kind: EventType, text: &str) -> TranscriptEvent {
        let mut event = TranscriptEvent::new(kind, Party::new(PartyType::Agent, 2, "Maria"), None, 0);
        event.text = Some(text.into());
        event
    }

    fn indexes(events: &[TranscriptEvent]) -> Vec<u64> {
        events.iter().filter_map(|event| event.index).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn positions_mean_what_the_service_says() {
        let mut log = Log::default();
        log.push(event(EventType::Message, "one"));
        log.skip();
        log.push(event(EventType::Message, "three"));
        log.skip();
        assert_eq!(log.next(), 5);
        assert_eq!(indexes(&log.read(Position::Everything)), [1, 3]);
        assert_eq!(indexes(&log.read(Position::From(2))), [3]);
        assert!(log.read(Position::From(4)).is_empty());
        assert!(log.read(Position::From(u64::MAX)).is_empty());
        assert!(log.read(Position::Nothing).is_empty());
        assert_eq!(indexes(&log.read(Position::Last)), [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_leaves_its_index_behind() {
        let mut log = Log::default();
        log.push_passing(event(EventType::TypingStarted, ""), Instant::now() + Duration::from_secs(5));
        log.push(event(EventType::Message, "one"));
        assert_eq!(indexes(&log.read(Position::Everything)), [1, 2]);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(indexes(&log.read(Position::Everything)), [2]);
        assert_eq!(log.next(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_types_without_end_takes_indexes_and_no_room() {
        let mut log = Log::default();
        log.push(event(EventType::Message, "one"));
        for _ in 0..10_000 {
            log.skip();
            log.push_passing(event(EventType::TypingStarted, "o"), Instant::now() + Duration::from_secs(5));
        }
        assert_eq!((log.next(), log.events.len()), (20_002, 1 + PASSING_MOST));
        tokio::time::advance(Duration::from_secs(5)).await;
        log.push_passing(event(EventType::TypingStarted, "o"), Instant::now() + Duration::from_secs(5));
        assert_eq!(log.events.len(), 2, "though nobody read it");
    }

    #[test]
    fn masking_hides_the_digits_of_messages() {
        let mut log = Log::default();
        log.push(event(EventType::Message, "card 4711, please"));
        log.push(event(EventType::PushUrl, "https://shop.example.test/1"));
        log.mask();
        let texts: Vec<_> =
            log.from(1).iter().map(|event| event.text.as_deref().unwrap_or_default().to_owned()).collect();
        assert_eq!(texts, ["card ****, please", "https://shop.example.test/1"]);
    }
}
