//! Owns the checks of the workspace's own rules: who may depend on whom, and which words a crate must not know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each crate may use of its siblings, outside its tests. A new crate has to be entered here.
const MAY_USE: &[(&str, &[&str])] = &[
    ("chat-core", &[]),
    ("chat-sim", &["chat-core"]),
    // The simulated centre stands behind the fronts that the suite runs over, by feature.
    ("chat-conformance", &["chat-core", "chat-sim"]),
    ("chat-net", &["chat-core"]),
    ("transport-connect", &["chat-core", "chat-net"]),
    ("transport-gms-v2", &["chat-core", "chat-net"]),
    ("transport-nexus-v3", &["chat-core", "chat-net"]),
    ("widget-events", &["chat-core"]),
    ("session-store-sqlite", &["chat-core"]),
    ("session-store-redis", &["chat-core"]),
    ("chat-transport", BELOW_THE_FACADE),
    ("chatctl", EVERYTHING),
    ("examples", EVERYTHING),
];

const BELOW_THE_FACADE: &[&str] = &[
    "chat-core",
    "chat-sim",
    "chat-conformance",
    "chat-net",
    "transport-connect",
    "transport-gms-v2",
    "transport-nexus-v3",
    "widget-events",
    "session-store-sqlite",
    "session-store-redis",
];

const EVERYTHING: &[&str] = &[
    "chat-core",
    "chat-sim",
    "chat-conformance",
    "chat-net",
    "chat-transport",
    "transport-connect",
    "transport-gms-v2",
    "transport-nexus-v3",
    "widget-events",
    "session-store-sqlite",
    "session-store-redis",
];

const VENDOR_CRATES: [&str; 3] = ["transport-connect", "transport-gms-v2", "transport-nexus-v3"];

/// Sockets, HTTP, TLS: what the crates that decide must not have anywhere below them.
const NETWORK: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "native-tls",
    "reqwest",
    "rustls",
    "socket2",
    "tokio-rustls",
    "tokio-tungstenite",
    "tower",
    "tungstenite",
];

/// Vendors' names. "Connect" is not among them: as a word of code it is what a transport does.
const VENDOR_WORDS: &[&str] = &["amazon", "aws", "chatjs", "cometd", "genesys", "gms", "nexus"];

/// Crates whose code knows no vendor. Their comments may cite one as a source.
const VENDOR_NEUTRAL: &[&str] = &["chat-core", "chat-sim", "chat-conformance", "chat-net"];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(e2e::workspace())
        .output()
        .expect("cargo runs: it runs this test");
    assert!(
        output.status.success(),
        "cargo {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

struct Package {
    name: String,
    folder: PathBuf,
    /// Name, and whether it is for tests only.
    dependencies: Vec<(String, bool)>,
}

fn packages() -> Vec<Package> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"]))
            .expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            folder: Path::new(&text(&package["manifest_path"])).parent().expect("a folder").to_owned(),
            dependencies: package["dependencies"]
                .as_array()
                .expect("a list of dependencies")
                .iter()
                .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
                .collect(),
        })
        .collect()
}

fn vendor_packages() -> Vec<Package> {
    let mut packages = packages();
    packages.retain(|package| VENDOR_CRATES.contains(&package.name.as_str()));
    assert!(!packages.is_empty(), "the vendor crates are gone: adapt VENDOR_CRATES");
    packages
}

/// Every package below the selected ones, as name → versions.
fn tree(edges: &str, selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let mut arguments = vec!["tree", "--locked", "--edges", edges, "--prefix", "none"];
    arguments.extend(selection);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in cargo(&arguments).lines() {
        if let Some((name, rest)) = line.split_once(" v") {
            let version = rest.split(' ').next().expect("split gives one item at least");
            found.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    assert!(!found.is_empty(), "cargo tree {selection:?} told nothing");
    found
}

/// What a user of the selected packages builds.
const SHIPPED: &str = "normal,build";

#[test]
fn each_crate_uses_only_the_siblings_below_it() {
    let packages = packages();
    let members: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages.iter().filter(|package| package.name != "e2e") {
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == package.name)
            .unwrap_or_else(|| panic!("{}: say in MAY_USE what it may use", package.name));
        for (dependency, only_tests) in &package.dependencies {
            if members.contains(dependency.as_str()) && !only_tests {
                assert!(allowed.contains(&dependency.as_str()), "{} must not use {dependency}", package.name);
            }
        }
    }
}

#[test]
fn the_crates_that_decide_have_no_network_below_them() {
    let members: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    for (name, siblings) in [
        ("chat-core", &[][..]),
        ("chat-sim", &["chat-core"][..]),
        ("chat-conformance", &["chat-core", "chat-sim"]),
    ] {
        for below in tree(SHIPPED, &["--package", name, "--all-features"]).keys() {
            assert!(!NETWORK.contains(&below.as_str()), "{name} has {below} below it");
            assert!(
                below == name || !members.contains(below) || siblings.contains(&below.as_str()),
                "{name} has its sibling {below} below it"
            );
        }
    }
}

#[test]
fn a_front_alone_has_no_http_client_below_it() {
    for package in vendor_packages() {
        let below =
            tree(SHIPPED, &["--package", &package.name, "--no-default-features", "--features", "front"]);
        for forbidden in ["reqwest", "chat-net"] {
            assert!(!below.contains_key(forbidden), "the front of {} has {forbidden} below it", package.name);
        }
        assert!(below.contains_key("hyper"), "a front serves HTTP: is `front` still the feature's name?");
    }
}

#[test]
fn no_vendor_crate_knows_another() {
    for package in vendor_packages() {
        for (dependency, _) in &package.dependencies {
            assert!(!VENDOR_CRATES.contains(&dependency.as_str()), "{} uses {dependency}", package.name);
        }
    }
}

#[test]
fn each_backend_of_the_facade_comes_alone() {
    for (feature, backend) in [("connect", "transport-connect"), ("gms-v2", "transport-gms-v2")] {
        let selection = ["--package", "chat-transport", "--no-default-features", "--features", feature];
        let below = tree(SHIPPED, &selection);
        for vendor in VENDOR_CRATES {
            assert_eq!(below.contains_key(vendor), vendor == backend, "{feature}: {vendor}");
        }
    }
}

#[test]
fn nothing_depends_on_the_end_to_end_checks() {
    for package in packages() {
        for (dependency, _) in &package.dependencies {
            assert_ne!(dependency, "e2e", "{} depends on e2e", package.name);
        }
    }
}

#[test]
fn only_the_network_crate_has_the_http_client() {
    for package in packages() {
        for (dependency, only_tests) in &package.dependencies {
            assert!(
                dependency != "reqwest" || *only_tests || package.name == "chat-net",
                "{} depends on reqwest itself",
                package.name
            );
        }
    }
}

#[test]
fn there_is_one_websocket_and_one_tls_library() {
    let everything = tree("all", &["--workspace", "--all-features"]);
    for name in ["tungstenite", "tokio-tungstenite", "rustls", "hyper", "http"] {
        let versions = everything.get(name).unwrap_or_else(|| panic!("{name} is gone: adapt this test"));
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
    assert!(!everything.contains_key("native-tls"), "TLS is rustls with a named provider");
}

#[test]
fn code_that_serves_every_vendor_names_none() {
    let mut found = Vec::new();
    for package in packages() {
        if !VENDOR_NEUTRAL.contains(&package.name.as_str()) {
            continue;
        }
        for file in rust_files(&package.folder.join("src")) {
            let source = fs::read_to_string(&file).expect("a source file is readable");
            for (number, line) in without_comments(&source).lines().enumerate() {
                let words = words(line);
                for (at, word) in words.iter().enumerate() {
                    // The cryptography library of that name is no vendor of chats.
                    let library = word == "aws" && words.get(at + 1).is_some_and(|next| next == "lc");
                    if VENDOR_WORDS.contains(&word.as_str()) && !library {
                        found.push(format!("{}:{}: {word}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "vendor names in neutral code:\n{}", found.join("\n"));
}

#[test]
fn each_module_says_first_what_it_is_for() {
    let mut silent = Vec::new();
    for package in packages() {
        for file in rust_files(&package.folder.join("src")) {
            let source = fs::read_to_string(&file).expect("a source file is readable");
            // A file of tests alone says so by its name.
            let said = source.starts_with("//!") || source.starts_with("#![doc = include_str!");
            if !said && !file.ends_with("tests.rs") {
                silent.push(file.display().to_string());
            }
        }
    }
    assert!(silent.is_empty(), "no //! line at the top:\n{}", silent.join("\n"));
}

#[test]
fn what_runs_in_node_is_pinned_and_names_no_registry() {
    for folder in ["chatjs", "cometd"] {
        let folder = e2e::workspace().join("crates/e2e").join(folder);
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of ours is readable");
        let package: Value = serde_json::from_str(&read("package.json")).expect("package.json is JSON");
        for (name, version) in package["dependencies"].as_object().expect("a map of dependencies") {
            let exact = version
                .as_str()
                .is_some_and(|version| version.bytes().all(|c| c == b'.' || c.is_ascii_digit()));
            assert!(exact, "{name}: {version} is no exact version");
        }
        // A download address in the lock file binds everyone to one registry.
        let lock: Value =
            serde_json::from_str(&read("package-lock.json")).expect("package-lock.json is JSON");
        for (name, package) in lock["packages"].as_object().expect("a map of packages") {
            assert!(package.get("resolved").is_none(), "{name} has an address");
            assert!(name.is_empty() || package["integrity"].is_string(), "{name} has no checksum");
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder entry is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The source with every comment's text taken out; lines keep their numbers.
fn without_comments(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (block_comment(rest), false),
            '"' => (quoted(rest), true),
            'r' if !ends_in_word(&code) => (raw_string(rest).unwrap_or(1), true),
            // A character; otherwise a lifetime, which is a word like any other.
            '\'' => (character(rest).unwrap_or(1), true),
            _ => (first.len_utf8(), true),
        };
        let (piece, after) = rest.split_at(length);
        if is_code {
            code.push_str(piece);
        } else {
            code.extend(piece.chars().filter(|character| *character == '\n'));
        }
        rest = after;
    }
    code
}

/// Whether an `r` after `code` belongs to a word; `br"…"` is a raw string too.
fn ends_in_word(code: &str) -> bool {
    code.ends_with(|last: char| last != 'b' && (last.is_alphanumeric() || last == '_'))
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0_usize);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(content.find(&end).map_or(rest.len(), |at| 1 + hashes + 1 + at + end.len()))
}

fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        // The escaped character itself may be a quote.
        characters.next();
        return characters.find(|(_, character)| *character == '\'').map(|(at, _)| at + 1);
    }
    characters.next().filter(|(_, character)| *character == '\'').map(|(at, _)| at + 1)
}

/// The words of a line, in lower case: `fooBar_baz` is three.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_was_lower = false;
    for character in line.chars() {
        if !character.is_alphanumeric() || (character.is_uppercase() && before_was_lower) {
            words.push(String::new());
        }
        if character.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(character.to_lowercase());
        }
        before_was_lower = character.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn comments_are_told_from_code() {
    let source = "let a = \"// gms\"; // aws\n/* nexus /* deep */ amazon */ let b = 'x'; let c = '\\''; // gone\n\
                  let d = r#\"/* cometd \"# ; fn f<'a>() {} /* end";
    assert_eq!(
        without_comments(source),
        "let a = \"// gms\"; \n let b = 'x'; let c = '\\''; \nlet d = r#\"/* cometd \"# ; fn f<'a>() {} "
    );
    assert_eq!(words("GmsClient my_nexusThing"), ["gms", "client", "my", "nexus", "thing"]);
}
