//! Owns what a case is, which harness it is for, and the table of all cases.

use std::{fmt, fmt::Write as _};

use chat_core::{Capabilities, Capability};
use futures::future::LocalBoxFuture;

use crate::{
    cases::CASES,
    harness::{Clock, Harness, Power},
    world::World,
};

/// One behaviour that every transport must show.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// Its name: that of the generated test.
    pub id: &'static str,
    /// Which group it belongs to.
    pub topic: &'static str,
    /// What must be so, in a sentence.
    pub what: &'static str,
    /// What it takes to run it.
    pub needs: Needs,
    pub(crate) run: for<'a> fn(&'a mut World) -> LocalBoxFuture<'a, ()>,
}

impl Case {
    pub(crate) const fn new(
        id: &'static str,
        topic: &'static str,
        what: &'static str,
        needs: Needs,
        run: for<'a> fn(&'a mut World) -> LocalBoxFuture<'a, ()>,
    ) -> Self {
        Self { id, topic, what, needs, run }
    }

    /// The case of this name.
    pub fn named(id: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.id == id)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("id", &self.id).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// What it takes to run a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// What the transport must be able to do.
    pub capabilities: &'static [Capability],
    /// What the bench must be able to do.
    pub powers: &'static [Power],
    /// Minutes or hours pass: virtual time only.
    pub hours: bool,
}

impl Needs {
    pub(crate) const fn new(
        capabilities: &'static [Capability],
        powers: &'static [Power],
        hours: bool,
    ) -> Self {
        Self { capabilities, powers, hours }
    }

    /// Whether `harness` has all of it: a function of capabilities, powers and clock alone.
    pub fn met_by(&self, harness: &dyn Harness) -> bool {
        self.met_with(&harness.transport().capabilities(), harness)
    }

    fn met_with(&self, capabilities: &Capabilities, harness: &dyn Harness) -> bool {
        let powers = harness.powers();
        self.capabilities.iter().all(|needed| capabilities.can(*needed))
            && self.powers.iter().all(|needed| powers.has(*needed))
            && (!self.hours || harness.clock() == Clock::Virtual)
    }
}

/// The names of the cases that `harness` cannot run, in the order of the list.
pub fn not_run(harness: &dyn Harness) -> Vec<&'static str> {
    // One client for all: making one may read the certificates of the machine.
    let capabilities = harness.transport().capabilities();
    CASES.iter().filter(|case| !case.needs.met_with(&capabilities, harness)).map(|case| case.id).collect()
}

/// All cases as a table in Markdown: what documentation shows.
pub fn table() -> String {
    let mut table =
        String::from("# Cases\n\n| Topic | Case | What must be so | Needs |\n|---|---|---|---|\n");
    for case in CASES {
        let mut needs: Vec<String> =
            case.needs.capabilities.iter().map(|needed| format!("`{needed:?}`")).collect();
        needs.extend(case.needs.powers.iter().map(|needed| format!("`{needed:?}`")));
        if case.needs.hours {
            needs.push("virtual time".into());
        }
        let _ = writeln!(table, "| {} | `{}` | {} | {} |", case.topic, case.id, case.what, needs.join(", "));
    }
    table
}
