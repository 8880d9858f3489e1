//! Owns the check that each published crate builds with each of its features alone, and with none.
//!
//! Run by `.ci/run`. A crate whose features only work together breaks for whoever picks one, and no build of the whole
//! workspace shows it, because cargo unites the features there.

use std::{
    io::Write as _,
    process::{Command, ExitCode},
};

use serde_json::Value;

fn main() -> ExitCode {
    let mut failed = Vec::new();
    for (package, features) in published() {
        for feature in std::iter::once(None).chain(features.iter().map(Some)) {
            let shown = feature.map_or("no feature", String::as_str);
            say(&format!("{package}: {shown}"));
            if !builds(&package, feature.map(String::as_str)) {
                failed.push(format!("{package}: {shown}"));
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    say(&format!("do not build without warnings:\n{}", failed.join("\n")));
    ExitCode::FAILURE
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(e2e::workspace());
    command
}

/// The crates that are published, with their features, `default` included.
fn published() -> Vec<(String, Vec<String>)> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .expect("cargo runs: it runs this program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        // `publish = false` is an empty list of registries.
        .filter(|package| package["publish"].is_null())
        .map(|package| {
            let name = package["name"].as_str().expect("a package has a name").to_owned();
            let features = package["features"].as_object().expect("a package has a map of features");
            (name, features.keys().cloned().collect())
        })
        .collect()
}

/// Clippy builds on what `cargo check` has built, and can turn warnings into errors without building anew.
fn builds(package: &str, feature: Option<&str>) -> bool {
    let mut command = cargo();
    command.args(["clippy", "--quiet", "--locked", "--package", package, "--lib", "--no-default-features"]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    command.args(["--", "-D", "warnings"]).status().is_ok_and(|status| status.success())
}

fn say(line: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}
