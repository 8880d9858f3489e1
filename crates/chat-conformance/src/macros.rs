//! Owns the macro that makes tests of the list.

/// Makes a module with one test for each case of the list, and one that compares the cases not run with a checked-in list.
///
/// `harness` is an expression, awaits allowed, that makes a fresh [`Harness`](crate::Harness); it is evaluated for each case, inside its
/// runtime.
///
/// A case that the harness cannot run is a test too: it passes without running, and stands in the list of those not run.
#[macro_export]
macro_rules! conformance {
    ($name:ident, harness = $harness:expr, not_run = [$($not_run:literal),* $(,)?] $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn harness() -> impl $crate::Harness + 'static {
                $harness
            }

            #[test]
            fn the_cases_not_run_are_those_on_the_list() {
                let mut listed: ::std::vec::Vec<&str> = ::std::vec![$($not_run),*];
                listed.sort_unstable();
                let actual = $crate::cases_not_run(harness);
                assert!(listed == actual, "the cases not run are now:\n{actual:#?}");
            }

            $crate::__each_case!(harness);
        }
    };
}
