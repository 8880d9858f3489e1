//! The table in the documentation is the list, and the list leaves no capability out.

use chat_core::Capability;

#[test]
fn the_table_is_up_to_date() {
    let written = include_str!("../CASES.md");
    assert!(
        written == chat_conformance::table(),
        "run `cargo run -p chat-conformance --example table > crates/chat-conformance/CASES.md`"
    );
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<_> = chat_conformance::CASES.iter().map(|case| case.id).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), chat_conformance::CASES.len());
}

#[test]
fn every_capability_has_a_case() {
    let of_its_own = [
        // Asked for with the start; what follows is what `Restore` and `Persistent` are about.
        Capability::Async,
        // Contacts come from a source of the application's: the adapter's own tests.
        Capability::AgentSession,
        // No two vendors have the same.
        Capability::Vendor,
    ];
    for capability in Capability::ALL.into_iter().filter(|capability| !of_its_own.contains(capability)) {
        let needed = chat_conformance::CASES.iter().any(|case| case.needs.capabilities.contains(&capability));
        assert!(needed, "no case is about {capability}");
    }
}
