//! Owns the network between customers and the centre: which rules fire, and the hand that tests disturb it with.

use std::time::Duration;

use crate::{
    centre::Centre,
    connection::Wire,
    faults::{CommandKind, EventKind, Fault, FaultError, FaultPlan, FaultRule, Point, When},
};
use chat_core::{Error, Lost, Terminal};

#[derive(Debug)]
pub(crate) struct NetworkState {
    pub(crate) down: bool,
    /// How long connections live that are opened now.
    pub(crate) lifetime: Option<Duration>,
    rules: Vec<Armed>,
    chance: fastrand::Rng,
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    seen: u32,
    fired: bool,
    /// Added while running: `heal` takes it away.
    passing: bool,
}

impl NetworkState {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let mut network = Self {
            down: false,
            lifetime: None,
            rules: Vec::new(),
            chance: fastrand::Rng::with_seed(plan.seed),
        };
        for rule in plan.rules {
            network.arm(rule, false);
        }
        network
    }

    fn arm(&mut self, rule: FaultRule, passing: bool) {
        self.rules.push(Armed { rule, seen: 0, fired: false, passing });
    }

    /// What goes wrong with the thing that passes `point` now. `stored` is the number of items that the centre holds.
    pub(crate) fn fire(&mut self, point: Point, stored: usize) -> Vec<Fault> {
        let Self { rules, chance, .. } = self;
        rules
            .iter_mut()
            .filter(|armed| armed.rule.at.covers(point))
            .filter_map(|armed| {
                armed.seen = armed.seen.saturating_add(1);
                let fires = match armed.rule.when {
                    When::Always => true,
                    When::Nth(n) => armed.seen == n,
                    When::EveryNth(n) => n > 0 && armed.seen.is_multiple_of(n),
                    When::First(n) => armed.seen <= n,
                    When::Percent(percent) => chance.u8(..100) < percent,
                    When::AfterItems(items) => !armed.fired && stored >= items as usize,
                };
                armed.fired |= fires;
                fires.then(|| armed.rule.what.clone())
            })
            .collect()
    }
}

impl Point {
    /// Whether a rule at `self` concerns what passes `actual`.
    fn covers(self, actual: Self) -> bool {
        match (self, actual) {
            (Self::Submit(CommandKind::Any), Self::Submit(_))
            | (Self::Event(EventKind::Any), Self::Event(_)) => true,
            _ => self == actual,
        }
    }
}

/// The network as tests disturb it: [`Console::network`](crate::Console::network).
#[derive(Debug, Clone)]
pub struct Network {
    centre: Centre,
}

impl Network {
    pub(crate) const fn new(centre: Centre) -> Self {
        Self { centre }
    }

    /// Cuts every connection, and lets none through until [`heal`](Self::heal): connecting fails with `Network`, not sent. A
    /// polled connection stands through it: what is asked of it fails.
    pub fn cut(&self) {
        self.centre.inner.change(|state| state.network.down = true);
        self.drop_connections();
    }

    /// Everything passes again: a cut ends, and the rules that were added here are gone. Those of the plan stay.
    pub fn heal(&self) {
        self.centre.inner.change(|state| {
            state.network.down = false;
            state.network.lifetime = None;
            state.network.rules.retain(|armed| !armed.passing);
        });
    }

    /// Cuts every connection once; new ones come through. Of a polled one, what is under way fails.
    pub fn drop_connections(&self) {
        self.each_connection(Wire::cut);
    }

    /// Every connection looks alive from here on and carries nothing; each is lost after `dead_after`, as a heartbeat would
    /// find. New connections are good. What is asked of a polled one times out until then.
    pub fn half_open(&self, dead_after: Duration) {
        self.each_connection(|wire| wire.half_open(dead_after));
    }

    /// Every open connection should be replaced within `within`, and is lost then.
    pub fn renew(&self, within: Duration) {
        self.each_connection(|wire| wire.renew(within));
    }

    /// Connections that are opened until [`heal`](Self::heal) live so long, as with
    /// [`connection_lifetime`](crate::Profile::connection_lifetime).
    pub fn limit_life(&self, lifetime: Duration) {
        self.centre.inner.change(|state| state.network.lifetime = Some(lifetime));
    }

    /// Holds every event and every command up for `by`, until [`heal`](Self::heal).
    pub fn delay(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.add(FaultRule::new(Point::Event(EventKind::Any), Fault::Delay(millis)));
        self.add(FaultRule::new(Point::Submit(CommandKind::Any), Fault::Delay(millis)));
    }

    /// Every event comes `times` times more, until [`heal`](Self::heal).
    pub fn duplicate(&self, times: u32) {
        self.add(FaultRule::new(Point::Event(EventKind::Any), Fault::Duplicate(times)));
    }

    /// Every other event is overtaken by `window` later ones, until [`heal`](Self::heal).
    pub fn reorder(&self, window: u32) {
        let rule = FaultRule::new(Point::Event(EventKind::Any), Fault::Reorder(window));
        self.add(rule.when(When::EveryNth(2)));
    }

    /// The next `count` events vanish.
    pub fn drop_events(&self, count: u32) {
        self.add(FaultRule::new(Point::Event(EventKind::Any), Fault::Drop).when(When::First(count)));
    }

    /// The next command of this kind fails, and is not carried out.
    pub fn fail_next(&self, kind: CommandKind, error: FaultError) {
        self.add(FaultRule::new(Point::Submit(kind), Fault::Error(error)).when(When::First(1)));
    }

    /// The next `count` attempts to connect fail.
    pub fn refuse_connects(&self, count: u32, error: FaultError) {
        self.add(FaultRule::new(Point::Connect, Fault::Error(error)).when(When::First(count)));
    }

    /// The next command of this kind is carried out; its answer is lost with the connection.
    pub fn store_then_cut(&self, kind: CommandKind) {
        self.add(FaultRule::new(Point::Submit(kind), Fault::StoreThenCut).when(When::First(1)));
    }

    /// Adds a rule, until [`heal`](Self::heal). It counts from now.
    pub fn add(&self, rule: FaultRule) {
        self.centre.inner.change(|state| state.network.arm(rule, true));
    }

    fn each_connection(&self, mut act: impl FnMut(&mut Wire)) {
        self.centre.inner.change(|state| {
            state.contacts.iter_mut().flat_map(|contact| &mut contact.wires).for_each(&mut act);
        });
    }
}

/// The terminal of a connection that is gone, of a chat that is not.
pub(crate) const fn lost(error: Error) -> Terminal {
    Terminal::Lost(Lost { error, resumable: true })
}
