//! Owns the command line: `demo` (the default), `sim`, `chat`; what fails is one line on standard error.

mod chat;
mod demo;
mod failure;
mod json;
mod output;
mod reader;
mod render;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::failure::{Context, Result};

/// One chat API for any contact centre: a demonstration, a simulator, a terminal chat.
#[derive(Debug, Parser)]
#[command(name = "chatctl", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// What to log, on standard error: `info`, or `chat_core=debug,chat_net=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: the demo.
    #[command(flatten)]
    demo: demo::DemoArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a conversation over real sockets and checks it against the centre's truth (the default).
    Demo(demo::DemoArgs),
    /// Serves a simulated contact centre to unmodified vendor clients, until it is stopped.
    Sim(sim::SimArgs),
    /// Chats in the terminal: what is typed is sent, what is said is printed.
    Chat(chat::ChatArgs),
}

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            // Nobody is left to be told if this fails too.
            let _ = failure.report();
            failure.exit_code()
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode> {
    if let Some(filter) = &cli.log {
        let filter = EnvFilter::try_new(filter).context("--log")?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    let code = runtime.block_on(async {
        match cli.command.unwrap_or(Command::Demo(cli.demo)) {
            Command::Demo(args) => demo::run(args).await,
            Command::Sim(args) => sim::run(args).await,
            Command::Chat(args) => chat::run(args).await,
        }
    });
    // A thread that waits for standard input would hold the process up.
    runtime.shutdown_background();
    code
}
