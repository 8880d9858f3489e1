//! Owns the server's instants and ids: instants that strictly rise, ids that carry the same millisecond.

use std::sync::Arc;

use chat_core::{Timestamp, WallClock};

/// Makes instants and ids.
#[derive(Debug)]
pub(crate) struct Mint {
    clock: Arc<dyn WallClock>,
    chance: fastrand::Rng,
    last: i64,
    /// So many instants in a row are the same.
    equal: u32,
    used: u32,
    /// Items that were ever stored, for the fault rules that wait for so many.
    pub(crate) stored: usize,
}

impl Mint {
    pub(crate) fn new(clock: Arc<dyn WallClock>, seed: u64, equal: u32) -> Self {
        Self {
            clock,
            chance: fastrand::Rng::with_seed(seed),
            last: 0,
            equal: equal.max(1),
            used: 0,
            stored: 0,
        }
    }

    /// Now, without minting: for expiries.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn millis(&mut self) -> i64 {
        if self.last == 0 || self.used >= self.equal {
            // Under a paused clock 250 messages have one instant: the next one is a millisecond later.
            self.last = self.clock.now().as_millis().max(self.last + 1);
            self.used = 0;
        }
        self.used += 1;
        self.last
    }

    /// An instant later than any before, unless the profile wants equal ones.
    pub(crate) fn instant(&mut self) -> Timestamp {
        let millis = self.millis();
        stamp(millis)
    }

    /// An instant, and a UUID version 7 of the same millisecond.
    pub(crate) fn instant_and_id(&mut self) -> (Timestamp, Arc<str>) {
        let millis = self.millis();
        (stamp(millis), self.uuid(millis))
    }

    /// A UUID version 7 for something that needs no instant of its own.
    pub(crate) fn id(&mut self) -> Arc<str> {
        let millis = self.clock.now().as_millis();
        self.uuid(millis)
    }

    fn uuid(&mut self, millis: i64) -> Arc<str> {
        let mut random = [0; 10];
        self.chance.fill(&mut random);
        let millis = u64::try_from(millis).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Arc::from(&*uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}

fn stamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).expect("the clock stays before the year 9999")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_core::VirtualClock;

    use super::*;

    fn mint(equal: u32) -> Mint {
        Mint::new(VirtualClock::starting_at(Timestamp::from_millis(1_000).unwrap()), 1, equal)
    }

    #[tokio::test(start_paused = true)]
    async fn instants_rise_strictly_under_a_paused_clock_and_ids_carry_them() {
        let mut mint = mint(1);
        let minted: Vec<_> = (0..250).map(|_| mint.instant_and_id()).collect();
        assert!(minted.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        for (time, id) in &minted {
            let (secs, nanos) = uuid::Uuid::parse_str(id).unwrap().get_timestamp().unwrap().to_unix();
            assert_eq!(i64::try_from(secs).unwrap() * 1_000 + i64::from(nanos) / 1_000_000, time.as_millis());
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(mint.instant().as_millis(), 11_000, "the clock leads again once it is ahead");
    }

    #[tokio::test(start_paused = true)]
    async fn equal_instants_come_when_asked_for() {
        let mut mint = mint(3);
        let minted: Vec<_> = (0..6).map(|_| mint.instant().as_millis()).collect();
        assert_eq!(minted, [1_000, 1_000, 1_000, 1_001, 1_001, 1_001]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_gives_one_run() {
        assert_eq!(mint(1).instant_and_id(), mint(1).instant_and_id());
    }
}
