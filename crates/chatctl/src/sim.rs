//! Owns `chatctl sim`: the simulated centre, served to vendor clients.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use chat_core::SystemClock;
use chat_sim::{Centre, FaultPlan, Script};
use serde_json::json;
use tokio::net::TcpListener;
use transport_connect::front::{ConnectFront, FrontConfig};

use crate::{
    failure::{Context, Result},
    output::Output,
};

/// Where Connect is served unless told otherwise.
const CONNECT: &str = "127.0.0.1:8971";

/// How the centre is, and where it is served. Without an address, everything is served at its usual place.
#[derive(Debug, clap::Args)]
pub(crate) struct SimArgs {
    /// Serve Amazon Connect chat at this address [usual: 127.0.0.1:8971; port 0 takes a free one].
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// What happens in each chat: a file with a JSON list of steps. Unless given, a bot welcomes, the queue moves, an agent
    /// joins and answers every message.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// What goes wrong: a file with a fault plan in JSON.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The seed of all ids, and of what the fault plan leaves to chance (there it replaces the plan's own).
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Serves until it is stopped. Says where, in one line of JSON, once it listens.
pub(crate) async fn run(args: SimArgs) -> Result<ExitCode> {
    let centre = centre(&args).await?;
    let address = args.connect.as_deref().unwrap_or(CONNECT);
    let what = || format!("listening on {address}");
    let listener = TcpListener::bind(address).await.with_context(what)?;
    let endpoint = format!("http://{}", listener.local_addr().with_context(what)?);
    let config = FrontConfig::new(&*endpoint);
    let start_chat_url = format!("{endpoint}{}", config.start_chat_path);
    let front = ConnectFront::new(Arc::new(centre.transport()), config);
    Output.line(
        &json!({ "connect": { "endpoint": endpoint, "start_chat_url": start_chat_url } }).to_string(),
    )?;
    tokio::select! {
        served = front.serve(listener) => served.context("serving")?,
        stopped = stop_signal() => stopped.context("waiting for a signal")?,
    }
    front.shutdown();
    Ok(ExitCode::SUCCESS)
}

async fn centre(args: &SimArgs) -> Result<Centre> {
    let script = match &args.script {
        Some(path) => Script::from_json(&read(path).await?).with_context(|| path.display().to_string())?,
        None => Script::demo(),
    };
    let mut faults: FaultPlan = match &args.faults {
        Some(path) => serde_json::from_str(&read(path).await?)
            .with_context(|| format!("{}: a fault plan", path.display()))?,
        None => FaultPlan::default(),
    };
    let mut builder = Centre::builder().clock(Arc::new(SystemClock)).script(script);
    if let Some(seed) = args.seed {
        faults.seed = seed;
        builder = builder.seed(seed);
    }
    Ok(builder.faults(faults).build())
}

async fn read(path: &Path) -> Result<String> {
    tokio::fs::read_to_string(path).await.with_context(|| format!("reading {}", path.display()))
}

/// Waits for the interrupt key, or where there are signals for the request to terminate.
async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
