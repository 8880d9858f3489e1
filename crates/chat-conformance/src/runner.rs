//! Owns the running of cases: a fresh harness and a fresh runtime each, the invariants after each, a report of all.

use std::{any::Any, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;

use crate::{
    case::{Case, NotRun, not_run},
    cases::CASES,
    check,
    harness::{Clock, Harness, NetworkKind},
    world::World,
};

/// Why a case failed: what was wrong, and all that happened until then.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The case.
    pub case: &'static str,
    /// What was wrong.
    pub message: String,
    /// What each session told, in order, with the seconds since the start of the case.
    pub history: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n\nWhat was recorded:\n{}", self.case, self.message, self.history)
    }
}

impl std::error::Error for Failure {}

/// What became of all cases.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Those that went well.
    pub passed: Vec<&'static str>,
    /// Those that did not.
    pub failed: Vec<Failure>,
    /// Those that do not concern the harness.
    pub not_run: Vec<NotRun>,
}

impl Report {
    /// Whether nothing failed.
    pub const fn is_good(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failed {
            writeln!(f, "{failure}\n")?;
        }
        let (passed, failed) = (self.passed.len(), self.failed.len());
        write!(f, "{passed} passed, {failed} failed, {} not run", self.not_run.len())?;
        if !self.not_run.is_empty() {
            let names: Vec<_> = self.not_run.iter().map(|case| case.case).collect();
            write!(f, ": {}", names.join(", "))?;
        }
        Ok(())
    }
}

/// Runs one case on a fresh harness, and checks the invariants.
///
/// # Errors
/// What was wrong, with the recorded history.
///
/// # Panics
/// If no runtime can be built, or called from within one.
pub fn run_case<H: Harness + 'static>(
    case: &'static Case,
    harness: impl AsyncFnOnce() -> H,
) -> Result<(), Failure> {
    block_on(async {
        let harness = prepare(harness()).await;
        assert!(case.needs.met_by(&*harness), "{} does not concern this harness", case.id);
        attempt(case, harness).await
    })
}

/// Runs every case that concerns the harness, each on a fresh one. This is the call for adapters outside this workspace:
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use chat_conformance::{run_all, sim::SimHarness};
///
/// # let profile = chat_sim::Profile::minimal();
/// let report = run_all(async || SimHarness::new(profile.clone()));
/// assert!(report.is_good(), "{report}");
/// # }
/// ```
///
/// # Panics
/// If no runtime can be built, or called from within one.
pub fn run_all<H: Harness + 'static>(harness: impl AsyncFn() -> H) -> Report {
    let mut report = Report { not_run: cases_not_run(&harness), ..Report::default() };
    for case in CASES {
        let outcome = block_on(async {
            let harness = prepare(harness()).await;
            if case.needs.met_by(&*harness) { Some(attempt(case, harness).await) } else { None }
        });
        match outcome {
            None => {}
            Some(Ok(())) => report.passed.push(case.id),
            Some(Err(failure)) => report.failed.push(failure),
        }
    }
    report
}

/// The cases that do not concern the harness, and why, by name.
///
/// # Panics
/// If no runtime can be built, or called from within one.
pub fn cases_not_run<H: Harness + 'static>(harness: impl AsyncFnOnce() -> H) -> Vec<NotRun> {
    block_on(async { not_run(&*prepare(harness()).await) })
}

/// Each case has a runtime of its own: nothing that one leaves behind reaches the next.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime takes nothing but a timer and a poller").block_on(work)
}

async fn prepare<H: Harness + 'static>(harness: impl Future<Output = H>) -> Arc<dyn Harness> {
    let harness = harness.await;
    if harness.clock() == Clock::Virtual {
        assert_ne!(
            harness.network_kind(),
            NetworkKind::Sockets,
            "virtual time takes waiting for a socket for idling"
        );
        tokio::time::pause();
    }
    Arc::new(harness)
}

async fn attempt(case: &'static Case, harness: Arc<dyn Harness>) -> Result<(), Failure> {
    let mut world = World::new(harness);
    let outcome = AssertUnwindSafe(async {
        (case.run)(&mut world).await;
        check::all(&mut world).await;
    })
    .catch_unwind()
    .await;
    match outcome {
        Ok(()) => Ok(()),
        Err(panic) => {
            Err(Failure { case: case.id, message: message(&*panic), history: world.history().await })
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
        .unwrap_or_else(|| "panicked".into())
}

/// What a generated test does.
#[doc(hidden)]
pub fn __test<H: Harness + 'static>(id: &str, harness: impl AsyncFnOnce() -> H) {
    let case = Case::named(id).expect("the tests are made from the list");
    let outcome = block_on(async {
        let harness = prepare(harness()).await;
        // The list of cases not run is a test of its own.
        if case.needs.met_by(&*harness) { attempt(case, harness).await } else { Ok(()) }
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
