//! Owns `chatctl sim`: the simulated centre, served to vendor clients.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use chat_core::SystemClock;
use chat_sim::{Centre, FaultPlan, Script};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use transport_connect::front::{ConnectFront, FrontConfig as ConnectConfig};
use transport_gms_v2::front::{FrontConfig as GmsConfig, GmsFront};

use crate::{
    failure::{Context, Result},
    output::Output,
};

/// Where each is served unless told otherwise.
const CONNECT: &str = "127.0.0.1:8971";
const GMS: &str = "127.0.0.1:8972";

/// How the centre is, and where it is served. Without an address, everything is served at its usual place.
#[derive(Debug, clap::Args)]
pub(crate) struct SimArgs {
    /// Serve Amazon Connect chat at this address [usual: 127.0.0.1:8971; port 0 takes a free one].
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// Serve Genesys GMS chat, REST and CometD, at this address [usual: 127.0.0.1:8972].
    #[arg(long, value_name = "HOST:PORT")]
    gms: Option<String>,
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

impl SimArgs {
    /// Where Connect and GMS are served, if they are.
    fn addresses(&self) -> [Option<&str>; 2] {
        match [self.connect.as_deref(), self.gms.as_deref()] {
            [None, None] => [Some(CONNECT), Some(GMS)],
            asked => asked,
        }
    }
}

/// Serves until it is stopped. Says where, in one line of JSON, once it listens.
pub(crate) async fn run(args: SimArgs) -> Result<ExitCode> {
    let centre = centre(&args).await?;
    let [connect_at, gms_at] = args.addresses();
    let mut serving = JoinSet::new();
    let mut told = Map::new();
    if let Some(address) = connect_at {
        let (listener, base) = listen(address).await?;
        told.insert("connect".into(), connect(&centre, listener, &base, &mut serving));
    }
    if let Some(address) = gms_at {
        let (listener, base) = listen(address).await?;
        told.insert("gms".into(), gms(&centre, listener, &base, &mut serving));
    }
    Output.line(&Value::Object(told).to_string())?;
    tokio::select! {
        Some(served) = serving.join_next() => served.context("serving")?.context("serving")?,
        stopped = stop_signal() => stopped.context("waiting for a signal")?,
    }
    // The fronts end with what serves them.
    serving.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// A listener, and its base URL.
async fn listen(address: &str) -> Result<(TcpListener, String)> {
    let what = || format!("listening on {address}");
    let listener = TcpListener::bind(address).await.with_context(what)?;
    let base = format!("http://{}", listener.local_addr().with_context(what)?);
    Ok((listener, base))
}

/// Serves Connect; what its clients have to be told.
fn connect(
    centre: &Centre,
    listener: TcpListener,
    base: &str,
    serving: &mut JoinSet<io::Result<()>>,
) -> Value {
    let config = ConnectConfig::new(base);
    let start_chat_url = format!("{base}{}", config.start_chat_path);
    let front = ConnectFront::new(Arc::new(centre.transport()), config);
    serving.spawn(async move { front.serve(listener).await });
    json!({ "endpoint": base, "start_chat_url": start_chat_url })
}

/// Serves GMS; what its clients have to be told.
fn gms(centre: &Centre, listener: TcpListener, base: &str, serving: &mut JoinSet<io::Result<()>>) -> Value {
    let urls = GmsUrls::new(base);
    let front = GmsFront::new(Arc::new(centre.transport()), GmsConfig::new());
    serving.spawn(async move { front.serve(listener).await });
    json!({ "data_url": urls.data, "cometd_url": urls.cometd, "companion_url": urls.companion })
}

/// Where GMS is below a base URL.
pub(crate) struct GmsUrls {
    /// REST, with the service.
    pub(crate) data: String,
    /// CometD.
    pub(crate) cometd: String,
    /// Files of chats over CometD.
    pub(crate) companion: String,
}

impl GmsUrls {
    /// With the front's own names.
    pub(crate) fn new(base: &str) -> Self {
        Self {
            data: format!("{base}/genesys/2/chat/customer-support"),
            cometd: format!("{base}/genesys/cometd"),
            companion: format!("{base}/genesys/2/chat-ntf"),
        }
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sim: SimArgs,
    }

    #[test]
    fn everything_is_served_at_its_usual_place_unless_something_is_asked_for() {
        let served = |arguments: &[&str]| {
            let line = Line::parse_from([&["sim"], arguments].concat());
            line.sim.addresses().map(|address| address.map(str::to_owned))
        };
        let some = |address: &str| Some(address.to_owned());
        assert_eq!(served(&[]), [some("127.0.0.1:8971"), some("127.0.0.1:8972")]);
        assert_eq!(served(&["--gms", "[::1]:80"]), [None, some("[::1]:80")]);
        assert_eq!(served(&["--connect", "[::1]:0", "--gms", "[::1]:1"]), [some("[::1]:0"), some("[::1]:1")]);
    }
}
