//! The binary as its users run it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

fn chatctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    chatctl(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// A command that is killed when the test is over, however it ends.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str], input: Stdio) -> Self {
        let mut child =
            chatctl(arguments).stdin(input).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("readable")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the demo runs in another process, in real time")]
fn the_demo_in_a_pipe_is_plain_good_and_quick() {
    let begun = Instant::now();
    let output = run(&[]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert_eq!(text(&output.stderr), "");
    assert!(!shown.contains('\x1b'), "{shown}");
    let verdict: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("summary: ")).collect();
    assert_eq!(
        verdict,
        [
            "summary: messages 262, recovered 250, duplicates 0, lost 0, order ok, over Amazon Connect",
            "summary: messages 262, recovered 250, duplicates 0, lost 0, order ok, over Genesys GMS, polling",
            "summary: messages 262, recovered 250, duplicates 0, lost 0, order ok, over Genesys GMS, CometD",
            "left out over Genesys GMS, polling, which cannot do it: delivered receipts, read receipts",
            "left out over Genesys GMS, CometD, which cannot do it: delivered receipts, read receipts",
            "the same over all 3: 262 rows, equal in role, kind and text or file name",
        ]
    );
    for said in [
        "Concierge  Welcome!",
        "Ada  Yes, one moment.",
        "[file: receipt.txt]",
        "Maria is typing",
        "Maria has read it",
    ] {
        assert!(shown.contains(said), "{said} is missing in\n{shown}");
    }
}

/// The objects that `arguments` writes.
fn json_lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn the_demo_as_json_lines_is_an_object_a_line_and_ends_with_the_summary() {
    let output = run(&["demo", "--json"]);
    let lines = json_lines(&output);
    assert!(output.status.success());
    assert!(lines.iter().all(|line| line["event"].is_string()));
    let comparison = lines.last().expect("a comparison");
    assert_eq!((&comparison["event"], &comparison["ok"]), (&"comparison".into(), &true.into()));
    assert_eq!((&comparison["rows"], &comparison["differences"]), (&262.into(), &json!([])));
    assert_eq!(comparison["left_out"]["connect"], json!([]));
    for transport in ["connect", "gms", "gms-cometd"] {
        let of: Vec<_> = lines.iter().filter(|line| line["transport"] == transport).collect();
        let last = of.last().expect("a summary");
        assert_eq!((&last["event"], &last["ok"]), (&"summary".into(), &true.into()));
        assert_eq!((&last["messages"], &last["recovered"]), (&262.into(), &250.into()));
        assert_eq!(
            (&last["duplicates"], &last["lost"], &last["order"]),
            (&0.into(), &0.into(), &"ok".into())
        );
        let has = |event: &str| of.iter().any(|line| line["event"] == event);
        assert!(["transcript", "messages", "typing", "ended"].into_iter().all(has), "{transport}");
        let expected = if transport == "connect" { "receipt" } else { "session" };
        assert!(has(expected), "{transport}");
    }
}

#[test]
fn the_demo_over_one_transport_compares_nothing() {
    let output = run(&["--transport", "gms", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let lines = json_lines(&output);
    assert!(lines.iter().all(|line| line["transport"] == "gms"));
    let states = lines.iter().filter(|line| line["event"] == "poll").map(|line| &line["state"]);
    let states: Vec<_> = states.collect();
    // A cut is one for polling, too: polls fail, which is told once, and come through again.
    for state in ["Disconnected", "Reconnected"] {
        assert_eq!(states.iter().filter(|told| **told == state).count(), 1, "{state}: {states:?}");
    }
}

/// The summary of each transport.
fn sabotaged(part: &str) -> Vec<Value> {
    let output = run(&["--json", "--without", part]);
    assert_eq!(output.status.code(), Some(1), "the exit status tells");
    let summaries: Vec<_> =
        json_lines(&output).into_iter().filter(|line| line["event"] == "summary").collect();
    assert_eq!(summaries.len(), 3);
    assert!(summaries.iter().all(|summary| summary["ok"] == false), "{summaries:?}");
    summaries
}

#[test]
fn without_gap_fill_messages_are_lost_and_the_demo_says_so() {
    for summary in sabotaged("gap-fill") {
        assert_eq!((&summary["recovered"], &summary["lost"]), (&0.into(), &250.into()), "{summary}");
    }
}

#[test]
fn without_deduplication_messages_are_doubled_and_the_demo_says_so() {
    for summary in sabotaged("deduplication") {
        assert!(summary["duplicates"].as_u64() > Some(0), "{summary}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_demo_without_a_word() {
    let mut demo = chatctl(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    drop(demo.stdout.take());
    let output = demo.wait_with_output().expect("ends");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn the_simulator_says_where_it_listens_and_a_chat_goes_through_it() {
    let addresses = ["sim", "--connect", "127.0.0.1:0", "--gms", "127.0.0.1:0", "--seed", "7"];
    let mut sim = Running::start(&addresses, Stdio::null());
    let line: Value = serde_json::from_str(&sim.line()).expect("one line of JSON");
    let url = |vendor: &str, name: &str| line[vendor][name].as_str().expect("a URL").to_owned();
    let [endpoint, start] = ["endpoint", "start_chat_url"].map(|name| url("connect", name));
    assert_eq!(start, format!("{endpoint}/startChatContact"));
    assert!(!endpoint.ends_with(":0"), "the port is the real one");
    let [data, cometd, companion] = ["data_url", "cometd_url", "companion_url"].map(|name| url("gms", name));
    let base = data.strip_suffix("/genesys/2/chat/customer-support").expect("the whole chat URL");
    assert_eq!(
        (&*cometd, &*companion),
        (&*format!("{base}/genesys/cometd"), &*format!("{base}/genesys/2/chat-ntf"))
    );

    for options in [
        &["--connect-endpoint", &endpoint, "--start-chat-url", &start][..],
        &["--gms-data-url", &data],
        &["--gms-cometd-url", &cometd, "--gms-companion-url", &companion],
    ] {
        chat_goes_through(options);
    }
    assert!(sim.child.try_wait().expect("known").is_none(), "the simulator goes on");
}

fn chat_goes_through(options: &[&str]) {
    let arguments = [&["chat", "--name", "Eve"], options].concat();
    let mut chat = Running::start(&arguments, Stdio::piped());
    let mut typed = chat.child.stdin.take().expect("piped");
    while !chat.line().contains("Maria. How can I help?") {}
    writeln!(typed, "My order is late").expect("it reads");
    while !chat.line().contains("Maria  I see: My order is late") {}
    drop(typed);
    let rest: Vec<String> = chat.lines.by_ref().map(|line| line.expect("readable")).collect();
    assert!(rest.iter().any(|line| line.contains("the chat has ended")), "{options:?}: {rest:?}");
    assert!(chat.child.wait().expect("ends").success());
}

#[test]
fn the_simulator_serves_what_it_is_asked_for_alone() {
    let mut sim = Running::start(&["sim", "--gms", "127.0.0.1:0"], Stdio::null());
    let line: Value = serde_json::from_str(&sim.line()).expect("one line of JSON");
    assert_eq!(line.as_object().expect("an object").keys().collect::<Vec<_>>(), ["gms"]);
}

#[test]
fn what_fails_is_one_line_with_its_causes() {
    for (arguments, parts) in [
        (&["sim", "--script", "no/such/file"][..], ["reading no/such/file", "No such file"]),
        (&["sim", "--connect", "nowhere"], ["listening on nowhere", "invalid"]),
        (&["--log", "chat_core=nonsense"], ["--log", "level filter"]),
        (
            &["chat", "--connect-endpoint", "http://127.0.0.1:9", "--start-chat-url", "ftp://x"],
            ["the options", "URL"],
        ),
        (&["chat", "--gms-data-url", "http://gms.example/chat"], ["the options", "data_url"]),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stderr);
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with("error: ") && parts.iter().all(|part| told.contains(part)), "{told}");
    }
}
