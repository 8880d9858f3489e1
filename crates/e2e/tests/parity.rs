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

/// What one vendor's modes can do of a feature.
#[derive(Debug, PartialEq, Eq)]
struct VendorRow {
    id: String,
    modes: Vec<String>,
    tests: Vec<String>,
}

/// The rows of a vendor that depend on it: all of these letters have to be there.
const OF_THE_VENDOR: [char; 2] = ['L', 'M'];

fn rows(table: &str) -> Vec<Row> {
    table.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [id, _what, api, tests, state] = cells.as_slice() else { return None };
    if !is_id(id) {
        return None;
    }
    let tests = tests_of(tests);
    let text = |cell: &str| if cell == "—" { String::new() } else { cell.to_owned() };
    Some(Row { id: (*id).to_owned(), api: text(api), tests, state: (*state).to_owned() })
}

fn vendor_rows(table: &str) -> Vec<VendorRow> {
    table.lines().filter_map(vendor_row).collect()
}

fn vendor_row(line: &str) -> Option<VendorRow> {
    let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [id, polling, cometd, tests] = cells.as_slice() else { return None };
    let modes = vec![(*polling).to_owned(), (*cometd).to_owned()];
    is_id(id).then(|| VendorRow { id: (*id).to_owned(), modes, tests: tests_of(tests) })
}

fn is_id(cell: &str) -> bool {
    let mut letters = cell.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && letters.next().is_some_and(|digit| digit.is_ascii_digit())
}

fn tests_of(cell: &str) -> Vec<String> {
    cell.split("<br>")
        .flat_map(|tests| tests.split(','))
        .map(|test| test.trim().trim_matches('`').to_owned())
        .filter(|test| !test.is_empty() && test != "—")
        .collect()
}

/// What is wrong with a vendor's table.
fn vendor_faults(rows: &[VendorRow], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (letter, size) in GROUPS.iter().filter(|(letter, _)| OF_THE_VENDOR.contains(letter)) {
        for id in (1..=*size).map(|number| format!("{letter}{number}")) {
            let times = rows.iter().filter(|row| row.id == id).count();
            if times != 1 {
                faults.push(format!("{id}: {times} rows for the vendor"));
            }
        }
    }
    for VendorRow { id, modes, tests } in rows {
        for mode in modes {
            let (word, reason) = mode.split_once(": ").unwrap_or((mode, ""));
            if !matches!((word, reason.trim().is_empty()), ("yes", _) | ("no" | "part" | "not yet", false)) {
                faults
                    .push(format!("{id}: `yes`, or `no`, `part` or `not yet` with the reason, not `{mode}`"));
            }
        }
        if tests.is_empty() && modes.iter().any(|mode| !mode.starts_with("not yet")) {
            faults.push(format!("{id}: no test for the vendor"));
        }
        faults.extend(
            tests.iter().filter(|test| !exists(test)).map(|test| format!("{id}: there is no test {test}")),
        );
    }
    faults
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
    let table = read(&workspace.join("docs/parity.md"));
    let mut faults = faults(&rows(&table), |name| test_exists(&workspace, name));
    faults.extend(vendor_faults(&vendor_rows(&table), |name| test_exists(&workspace, name)));
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
fn what_is_missing_for_a_vendor_is_found() {
    let ids = |letter: char, size: u32| (1..=size).map(move |number| format!("{letter}{number}"));
    let row = |id: String| format!("| {id} | yes: so far | no: the vendor has none | `there::is` |");
    let mut table: Vec<String> = ids('L', 17).chain(ids('M', 15)).map(row).collect();
    let exists = |name: &str| name == "there::is";
    assert_eq!(vendor_faults(&vendor_rows(&table.join("\n")), exists), Vec::<String>::new());

    table.remove(0);
    table[0] = "| L2 | yes | perhaps | `not::there` |".to_owned();
    table[1] = "| L3 | no: | not yet: later | — |".to_owned();
    assert_eq!(
        vendor_faults(&vendor_rows(&table.join("\n")), exists),
        [
            "L1: 0 rows for the vendor",
            "L2: `yes`, or `no`, `part` or `not yet` with the reason, not `perhaps`",
            "L2: there is no test not::there",
            "L3: `yes`, or `no`, `part` or `not yet` with the reason, not `no:`",
            "L3: no test for the vendor",
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
