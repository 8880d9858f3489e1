//! Owns what the README says that a machine can check: the table of capabilities, and its commands.
//!
//! `UPDATE=1 cargo test -p e2e --test readme` writes the table anew.

use std::{fs, time::Duration};

use chat_core::{Capabilities, Capability, KeyRule, Transport as _};
use chat_sim::{Centre, Profile};
use transport_connect::{ConnectTransport, StartChat};
use transport_gms_v2::{CometdConfig, GmsTransport};

const BEGIN: &str = "<!-- capabilities:begin -->\n";
const END: &str = "<!-- capabilities:end -->";

/// What has a column.
fn transports() -> Vec<(&'static str, Capabilities)> {
    let connect = ConnectTransport::builder()
        .region("us-west-2")
        .start_chat(StartChat::new("https://shop.example/start-chat"))
        .build()
        .expect("a complete configuration");
    let gms = || GmsTransport::builder().data_url("https://gms.example/genesys/2/chat/customer-support");
    let mut cometd = CometdConfig::new("https://gms.example/genesys/cometd");
    cometd.companion_url = Some("https://gms.example/genesys/2/chat-ntf".into());
    let polled = gms().build().expect("a complete configuration");
    let pushed = gms().cometd(cometd).build().expect("a complete configuration");
    let simulated = |profile: Profile| Centre::builder().profile(profile).build().transport().capabilities();
    vec![
        ("Amazon Connect", connect.capabilities()),
        ("Genesys GMS, polling", polled.capabilities()),
        ("Genesys GMS, CometD", pushed.capabilities()),
        ("simulated, pushed", simulated(Profile::push())),
        ("simulated, polled", simulated(Profile::polling())),
    ]
}

fn table() -> String {
    let transports = transports();
    let mut lines = Vec::new();
    let mut line = |head: &str, cell: &dyn Fn(&Capabilities) -> String| {
        let cells: Vec<String> = transports.iter().map(|(_, capabilities)| cell(capabilities)).collect();
        lines.push(format!("| {head} | {} |", cells.join(" | ")));
    };
    for capability in Capability::ALL {
        let name = match capability {
            Capability::Vendor => "Commands of the vendor's own".to_owned(),
            other => upper_first(&other.to_string()),
        };
        line(&name, &|one| (if one.can(capability) { "yes" } else { "no" }).to_owned());
    }
    line("Longest text", &|one| match (one.text_max_bytes, one.text_max_chars) {
        (Some(bytes), Some(characters)) => format!("{} and {characters} characters", size(bytes.into())),
        (Some(bytes), None) => size(bytes.into()),
        (None, Some(characters)) => format!("{characters} characters"),
        (None, None) => "no limit".to_owned(),
    });
    line("All user data", &|one| limit(one.user_data_max_bytes, |bytes| size(bytes.into())));
    line("Keys of user data", &|one| match one.user_data_keys {
        KeyRule::AlphanumericDashUnderscore => "letters, digits, `-`, `_`".to_owned(),
        _ => "any".to_owned(),
    });
    line("Largest file", &|one| limit(one.file_max_bytes, size));
    line("Files in a chat", &|one| limit(one.files_max_count, |count| count.to_string()));
    line("Longest page of history", &|one| match one.history_page_max {
        Some(items) => format!("{items} items"),
        None => "—".to_owned(),
    });
    line("Goes on without a connection", &|one| match one.detached_for {
        Some(time) => seconds(time),
        None => "as long as it lasts".to_owned(),
    });
    line("Restored within", &|one| limit(one.restore_within, seconds));
    line("Poll interval", &|one| one.poll_interval.map_or("—".to_owned(), seconds));
    let names: Vec<&str> = transports.iter().map(|(name, _)| *name).collect();
    format!("| | {} |\n|---|{}\n{}\n", names.join(" | "), "---|".repeat(names.len()), lines.join("\n"))
}

fn limit<T>(limit: Option<T>, show: impl Fn(T) -> String) -> String {
    limit.map_or("no limit".to_owned(), show)
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[test]
fn the_table_of_capabilities_is_what_the_transports_say() {
    let file = e2e::workspace().join("README.md");
    let readme = fs::read_to_string(&file).expect("the README is readable");
    let (before, rest) = readme.split_once(BEGIN).expect("the README has a place for the table");
    let (shown, after) = rest.split_once(END).expect("the place for the table ends");
    let wanted = table();
    if shown != wanted && e2e::switched_on("UPDATE") {
        fs::write(&file, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("the README is writable");
        return;
    }
    assert_eq!(
        shown, wanted,
        "README.md: the table of capabilities is out of date; write it anew with\n\
         UPDATE=1 cargo test -p e2e --test readme\nor by hand:\n{wanted}"
    );
}

#[test]
fn the_commands_are_those_that_ci_runs() {
    let readme = fs::read_to_string(e2e::workspace().join("README.md")).expect("the README is readable");
    let (_, rest) = readme.split_once("```sh\n").expect("the README begins with commands");
    let (commands, _) = rest.split_once("```").expect("the commands end");
    let ci: String = ["run", "demo"]
        .iter()
        .map(|script| {
            fs::read_to_string(e2e::workspace().join(".ci").join(script)).expect("a script is readable")
        })
        .collect();
    for command in commands.lines().map(|line| line.split('#').next().unwrap_or(line).trim()) {
        assert!(ci.contains(command), "`{command}` stands in the README, but CI does not run it");
    }
}
