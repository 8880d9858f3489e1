//! Owns what a case is, which harness it is for, and the table of all cases.

use std::{fmt, fmt::Write as _};

use chat_core::{Capability, CapabilitySet};
use futures::future::LocalBoxFuture;

use crate::{
    cases::CASES,
    harness::{Clock, Harness, NetworkKind},
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

/// What it takes to run a case: what the transport can do, what passes between it and the centre, and the clock. Nothing of it is
/// declared for the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// What the transport must be able to do.
    pub capabilities: &'static [Capability],
    /// There is a connection that can be lost, and what is told can vanish on its way: not [`Capability::Poll`], where polls follow
    /// each other and nothing connects them.
    pub pushed: bool,
    /// The network can hold up and swallow what passes: every kind but [`NetworkKind::Sockets`].
    pub shaped: bool,
    /// Minutes or hours pass: [`Clock::Virtual`] only.
    pub hours: bool,
}

impl Needs {
    pub(crate) const fn all_of(capabilities: &'static [Capability]) -> Self {
        Self { capabilities, pushed: false, shaped: false, hours: false }
    }

    pub(crate) const fn pushed(self) -> Self {
        Self { pushed: true, ..self }
    }

    pub(crate) const fn shaped(self) -> Self {
        Self { shaped: true, ..self }
    }

    pub(crate) const fn hours(self) -> Self {
        Self { hours: true, ..self }
    }

    /// Whether `harness` has all of it.
    pub fn met_by(&self, harness: &dyn Harness) -> bool {
        self.missing(&Bench::of(harness)).is_empty()
    }

    /// What of it a bench lacks, by name.
    fn missing(&self, bench: &Bench) -> Vec<String> {
        let denied = self.capabilities.iter().filter(|needed| !bench.capabilities.contains(**needed));
        let words = words(
            self.pushed && bench.capabilities.contains(Capability::Poll),
            self.shaped && bench.network == NetworkKind::Sockets,
            self.hours && bench.clock == Clock::Real,
        );
        denied.map(|capability| format!("{capability:?}")).chain(words).collect()
    }

    /// All of it, by name.
    fn names(&self) -> impl Iterator<Item = String> {
        let capabilities = self.capabilities.iter().map(|needed| format!("`{needed:?}`"));
        capabilities.chain(words(self.pushed, self.shaped, self.hours))
    }
}

fn words(pushed: bool, shaped: bool, hours: bool) -> impl Iterator<Item = String> {
    let words = [(pushed, "pushed"), (shaped, "shaped"), (hours, "hours")];
    words.into_iter().filter(|(said, _)| *said).map(|(_, word)| word.to_owned())
}

/// All that decides which cases concern a harness. Read once for many cases: making a client may read the certificates of the machine.
struct Bench {
    capabilities: CapabilitySet,
    network: NetworkKind,
    clock: Clock,
}

impl Bench {
    fn of(harness: &dyn Harness) -> Self {
        Self {
            capabilities: harness.transport().capabilities().flags,
            network: harness.network_kind(),
            clock: harness.clock(),
        }
    }
}

/// A case that does not concern a harness, and why. Shown as a line of the list that is checked in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct NotRun {
    /// The case.
    pub case: &'static str,
    /// Capabilities that the transport lacks; `pushed`, `shaped` or `hours` (see [`Needs`]).
    pub lacks: Vec<String>,
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, // {}", self.case, self.lacks.join(", "))
    }
}

/// The cases that do not concern `harness`, by name: a function of capabilities, network and clock alone.
pub fn not_run(harness: &dyn Harness) -> Vec<NotRun> {
    let bench = Bench::of(harness);
    let mut list: Vec<_> = CASES
        .iter()
        .map(|case| NotRun { case: case.id, lacks: case.needs.missing(&bench) })
        .filter(|case| !case.lacks.is_empty())
        .collect();
    list.sort_unstable();
    list
}

/// All cases as a table in Markdown: what documentation shows.
pub fn table() -> String {
    let mut table = String::from(
        "# Cases\n\nA case needs capabilities of the transport, and at most: a transport that is `pushed` (not `Poll`), a network \
         that can be\n`shaped` (not sockets of the machine), a clock on which `hours` pass (virtual time).\n\n\
         | Topic | Case | What must be so | Needs |\n|---|---|---|---|\n",
    );
    for case in CASES {
        let needs: Vec<String> = case.needs.names().collect();
        let _ = writeln!(table, "| {} | `{}` | {} | {} |", case.topic, case.id, case.what, needs.join(", "));
    }
    table
}
