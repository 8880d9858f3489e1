//! Owns `chatctl demo`: a scripted conversation over real sockets, and the verdict on it.

mod judge;
mod run;
mod sabotage;
mod script;

use std::process::ExitCode;

use crate::{
    failure::Result,
    json::JsonLines,
    output::{Output, printable},
    render::{Terminal, share},
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
    let watcher = if args.json {
        share(JsonLines::new(sink()))
    } else {
        share(Terminal::new(sink(), Output.colours(), script::CUSTOMER))
    };
    let verdict = run::play(&script::conversation(), watcher, args.without).await?;
    if args.json {
        JsonLines::new(sink()).write(&verdict.json())?;
    } else {
        let colour = match (Output.colours(), verdict.good()) {
            (false, _) => ["", ""],
            (true, true) => ["\x1b[1;32m", "\x1b[0m"],
            (true, false) => ["\x1b[1;31m", "\x1b[0m"],
        };
        let [begin, end] = colour;
        for complaint in &verdict.complaints {
            Output.line(&format!("{begin}bad: {}{end}", printable(complaint)))?;
        }
        Output.line(&format!("{begin}summary: {}{end}", verdict.line()))?;
    }
    Ok(if verdict.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
