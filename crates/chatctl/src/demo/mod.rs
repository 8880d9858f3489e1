//! Owns `chatctl demo`: a scripted conversation over real sockets, and the verdict on it.

mod judge;
mod run;
mod sabotage;
mod script;

use std::process::ExitCode;

use serde_json::json;

use crate::{
    failure::{Context, Result},
    json::JsonLines,
    output::Output,
    render::{Terminal, Watcher},
};

/// How the demo is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Print the session's events as JSON Lines, and the summary as the last of them.
    #[arg(long)]
    json: bool,
    /// Leave a part of the session out, to see that the summary and the exit status tell.
    #[arg(long, value_enum, value_name = "PART")]
    without: Option<sabotage::Part>,
}

/// Plays the demo. Exit status 0 only if everything that the centre stored was shown, once, in order, and all else happened too.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let sink = || Box::new(|line: &str| Output.line(line));
    let watcher: Box<dyn Watcher> = if args.json {
        Box::new(JsonLines::new(sink()))
    } else {
        let mut terminal = Terminal::new(sink(), Output.colours(), script::CUSTOMER);
        terminal.note("a contact centre with Amazon Connect's protocol, on a socket of this machine")?;
        Box::new(terminal)
    };
    let verdict = run::play(&script::conversation(), watcher, args.without).await?;
    if args.json {
        let mut summary = serde_json::to_value(&verdict).context("the summary")?;
        summary["event"] = json!("summary");
        summary["ok"] = json!(verdict.good());
        JsonLines::new(sink()).write(&summary)?;
    } else {
        let colour = match (Output.colours(), verdict.good()) {
            (false, _) => ["", ""],
            (true, true) => ["\x1b[1;32m", "\x1b[0m"],
            (true, false) => ["\x1b[1;31m", "\x1b[0m"],
        };
        let [begin, end] = colour;
        for complaint in &verdict.complaints {
            Output.line(&format!("{begin}bad: {}{end}", crate::output::printable(complaint)))?;
        }
        Output.line(&format!("{begin}summary: {}{end}", verdict.line()))?;
    }
    Ok(if verdict.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
