//! The table in the documentation is the list.

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
