//! Owns `chatctl demo`: one scripted conversation over real sockets and each transport, and the verdict on it.

mod cable;
mod compare;
mod judge;
mod run;
mod sabotage;
mod script;
mod stage;

use std::process::ExitCode;

use chat_core::ChatEvent;
use futures::future::try_join_all;
use serde_json::json;

use self::{
    compare::{Comparison, Side},
    run::Performance,
    stage::{Stage, Way},
};
use crate::{
    failure::Result,
    json::JsonLines,
    output::{Output, printable},
    render::{SharedWatcher, Sink, Terminal, Watcher, share},
};

/// How the demo is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Over which transport. Over all, the conversations are held at the same time; the first is shown, and all are compared.
    #[arg(long, value_enum, value_name = "TRANSPORT", default_value_t = Choice::All)]
    transport: Choice,
    /// Print the events of all sessions as JSON Lines, and their summaries and the comparison as the last of them.
    #[arg(long)]
    json: bool,
    /// Leave a part of the session out, to see that the summary and the exit status tell.
    #[arg(long, value_enum, value_name = "PART")]
    without: Option<sabotage::Part>,
}

/// One transport, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    /// Amazon Connect.
    Connect,
    /// Genesys GMS, polling.
    Gms,
    /// Genesys GMS, pushed over CometD.
    GmsCometd,
    /// Each of them.
    All,
}

impl Choice {
    const fn ways(self) -> &'static [Way] {
        match self {
            Self::Connect => &[Way::Connect],
            Self::Gms => &[Way::Gms],
            Self::GmsCometd => &[Way::GmsCometd],
            Self::All => &Way::ALL,
        }
    }
}

/// Plays the demo. Exit status 0 only if everything that each centre stored was shown, once, in order, all else happened too, and
/// the same was shown over each transport.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let ways = args.transport.ways();
    let script = script::conversation();
    let performances = ways.iter().enumerate().map(async |(number, way)| {
        let watcher = watcher(&args, *way, number == 0);
        if number == 0 {
            watcher.lock().note(&opening(ways))?;
        }
        run::play(&script, Stage::set(*way).await?, watcher, args.without).await
    });
    let performances = try_join_all(performances).await?;
    let verdicts: Vec<_> = ways.iter().zip(&performances).map(|(way, one)| (*way, &one.verdict)).collect();
    let mut good = verdicts.iter().all(|(_, verdict)| verdict.good());
    if args.json {
        verdicts.iter().try_for_each(|(way, verdict)| json_of(*way).write(&verdict.json()))?;
    } else {
        for (way, verdict) in verdicts {
            for complaint in &verdict.complaints {
                tell(verdict.good(), &format!("bad: {}", printable(complaint)))?;
            }
            tell(verdict.good(), &format!("summary: {}, over {}", verdict.line(), way.name()))?;
        }
    }
    if ways.len() > 1 {
        let comparison = Comparison::new(sides(ways, performances));
        good &= comparison.equal();
        if args.json {
            JsonLines::new(sink()).write(&comparison.json())?;
        } else {
            comparison.lines().iter().try_for_each(|line| tell(comparison.equal(), &printable(line)))?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sides(ways: &[Way], performances: Vec<Performance>) -> Vec<Side> {
    let sides = ways.iter().zip(performances);
    sides.map(|(way, one)| Side { way: *way, shown: one.shown, left_out: one.left_out }).collect()
}

fn opening(ways: &[Way]) -> String {
    let names: Vec<_> = ways.iter().map(|way| way.name()).collect();
    match &names[..] {
        [first, others @ ..] if !others.is_empty() => {
            format!("over {first}; at the same time, unseen, over {}", others.join(", and over "))
        }
        _ => format!("over {}", names.concat()),
    }
}

fn sink() -> Sink {
    Box::new(|line: &str| Output.line(line))
}

fn json_of(way: Way) -> JsonLines {
    JsonLines::about(sink(), json!({ "transport": way.id() }))
}

/// Who watches the conversation over `way`: on the terminal there is room for one.
fn watcher(args: &DemoArgs, way: Way, first: bool) -> SharedWatcher {
    if args.json {
        share(json_of(way))
    } else if first {
        share(Terminal::new(sink(), Output.colours(), script::CUSTOMER))
    } else {
        share(Unseen)
    }
}

/// Nobody watches.
struct Unseen;

impl Watcher for Unseen {
    fn event(&mut self, _: &ChatEvent) -> Result<()> {
        Ok(())
    }

    fn note(&mut self, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A line of the verdict.
fn tell(good: bool, line: &str) -> Result<()> {
    let [begin, end] = match (Output.colours(), good) {
        (false, _) => ["", ""],
        (true, true) => ["\x1b[1;32m", "\x1b[0m"],
        (true, false) => ["\x1b[1;31m", "\x1b[0m"],
    };
    Output.line(&format!("{begin}{line}{end}"))
}
