//! Owns the check of `docs/parity.md`: every feature has its row, every test that a row names exists.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The features, by the letter of their group and its size.
const GROUPS: [(char, u32); 7] = [('L', 17), ('M', 15), ('R', 13), ('T', 10), ('P', 8), ('W', 5), ('X', 8)];

#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: String,
    api: String,
    tests: Vec<String>,
    state: String,
}

fn rows(table: &str) -> Vec<Row> {
    table.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [id, _what, api, tests, state] = cells.as_slice() else { return None };
    let mut letters = id.chars();
    if !letters.next()?.is_ascii_uppercase() || !letters.next()?.is_ascii_digit() {
        return None;
    }
    let tests = tests
        .split("<br>")
        .flat_map(|tests| tests.split(','))
        .map(|test| test.trim().trim_matches('`').to_owned())
        .filter(|test| !test.is_empty() && test != "—")
        .collect();
    let text = |cell: &str| if cell == "—" { String::new() } else { cell.to_owned() };
    Some(Row { id: (*id).to_owned(), api: text(api), tests, state: (*state).to_owned() })
}

/// What is wrong with the table.
fn faults(rows: &[Row], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for row in rows {
        *count.entry(row.id.as_str()).or_default() += 1;
    }
    let expected: Vec<String> = GROUPS
        .iter()
        .flat_map(|(letter, size)| (1..=*size).map(move |number| format!("{letter}{number}")))
        .collect();
    for id in &expected {
        match count.get(id.as_str()) {
            None => faults.push(format!("{id}: no row")),
            Some(1) => {}
            Some(times) => faults.push(format!("{id}: {times} rows")),
        }
    }
    for row in rows {
        let id = &row.id;
        if !expected.contains(id) {
            faults.push(format!("{id}: no such feature"));
        }
        match row.state.split_once(": ").unwrap_or((&row.state, "")) {
            ("done", "") => {}
            ("part" | "not yet", reason) if !reason.trim().is_empty() => {}
            _ => faults
                .push(format!("{id}: the state is `done`, `part: …` or `not yet: …`, not `{}`", row.state)),
        }
        if !row.state.starts_with("not yet") {
            if row.tests.is_empty() {
                faults.push(format!("{id}: `{}` without a test", row.state));
            }
            if row.api.is_empty() {
                faults.push(format!("{id}: `{}` without an API", row.state));
            }
        }
        for test in &row.tests {
            if !exists(test) {
                faults.push(format!("{id}: there is no test {test}"));
            }
        }
    }
    faults
}

/// Whether the workspace has the test that the table names.
fn test_exists(workspace: &Path, name: &str) -> bool {
    let Some((place, function)) = name.rsplit_once("::") else { return false };
    if place == "conformance" {
        return chat_conformance::Case::named(function).is_some();
    }
    if place.ends_with(".rs") {
        let file = workspace.join(place);
        return file.is_file() && has_test(&read(&file), function);
    }
    let package = place.split("::").next().unwrap_or(place).replace('_', "-");
    [workspace.join("crates").join(&package), workspace.join(&package)]
        .iter()
        .flat_map(|folder| [folder.join("src"), folder.join("tests")])
        .flat_map(|folder| sources(&folder))
        .any(|file| has_test(&read(&file), function))
}

/// Whether `source` has a function of that name with a test attribute before it.
fn has_test(source: &str, function: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let heads = [format!("fn {function}("), format!("async fn {function}(")];
    lines.iter().enumerate().any(|(at, line)| {
        heads.iter().any(|head| line.starts_with(head.as_str()))
            && lines[..at]
                .iter()
                .rev()
                .take_while(|above| above.starts_with("#[") || above.starts_with("//"))
                .any(|above| above.starts_with("#[") && above.contains("test"))
    })
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                sources(&path)
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_feature_has_its_row_and_every_named_test_exists() {
    let workspace = e2e::workspace();
    let faults =
        faults(&rows(&read(&workspace.join("docs/parity.md"))), |name| test_exists(&workspace, name));
    assert!(faults.is_empty(), "docs/parity.md:\n{}", faults.join("\n"));
}

#[test]
fn a_missing_row_a_missing_test_and_an_empty_reason_are_found() {
    let row = |id: &str, tests: &str, state: &str| format!("| {id} | what | `api` | {tests} | {state} |");
    let mut table: Vec<String> = GROUPS
        .iter()
        .flat_map(|(letter, size)| (1..=*size).map(move |number| format!("{letter}{number}")))
        .map(|id| row(&id, "`there::is`", "done"))
        .collect();
    let exists = |name: &str| name == "there::is";
    assert_eq!(faults(&rows(&table.join("\n")), exists), Vec::<String>::new());

    table.remove(0);
    table[0] = row("L2", "`there::is`<br>`not::there`, `nor::there`", "done");
    table[1] = row("L3", "—", "done");
    table[2] = row("L4", "—", "not yet:");
    table[3] = row("L5", "—", "not yet: later");
    table.push(row("X9", "there::is", "part: half"));
    assert_eq!(
        faults(&rows(&table.join("\n")), exists),
        [
            "L1: no row",
            "L2: there is no test not::there",
            "L2: there is no test nor::there",
            "L3: `done` without a test",
            "L4: the state is `done`, `part: …` or `not yet: …`, not `not yet:`",
            "X9: no such feature",
        ]
    );
}

#[test]
fn a_test_is_found_by_file_and_by_crate_and_only_as_a_test() {
    let workspace = e2e::workspace();
    let own = "a_test_is_found_by_file_and_by_crate_and_only_as_a_test";
    assert!(test_exists(&workspace, &format!("crates/e2e/tests/parity.rs::{own}")));
    assert!(test_exists(&workspace, &format!("e2e::parity::{own}")));
    assert!(!test_exists(&workspace, &format!("crates/e2e/tests/structure.rs::{own}")));
    assert!(!test_exists(&workspace, "crates/e2e/tests/parity.rs::has_test"));
    assert!(!test_exists(&workspace, "crates/none/tests/none.rs::none"));
    assert!(test_exists(&workspace, &format!("conformance::{}", chat_conformance::CASES[0].id)));
    assert!(!test_exists(&workspace, "conformance::none"));
}
