//! Owns the macro that makes tests of the list.

/// Makes a module with one test for each case of the list, and one that compares the cases not run with a checked-in list.
///
/// `harness` is an expression, awaits allowed, that makes a fresh [`Harness`](crate::Harness); it is evaluated for each case, inside its
/// runtime.
///
/// Which cases concern the harness follows from what its transport can do ([`Capabilities`](chat_core::Capabilities)), from what
/// passes between it and the centre ([`NetworkKind`](crate::NetworkKind)) and from its [`Clock`](crate::Clock): nothing is declared, and
/// nothing is left out by hand. A case that does not concern it is a test too: it passes without running, and stands in `not_run`. A
/// capability that is switched off by mistake changes the list, and its test fails; the message is the new list, with reasons.
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
                let names: ::std::vec::Vec<&str> = actual.iter().map(|case| case.case).collect();
                let lines: ::std::vec::Vec<_> = actual.iter().map(::std::string::ToString::to_string).collect();
                assert!(listed == names, "the cases not run are now:\n{}", lines.join("\n"));
            }

            $crate::__each_case!(harness);
        }
    };
}
