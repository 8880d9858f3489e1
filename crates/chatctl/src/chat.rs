//! Owns `chatctl chat`: a chat in the terminal, line by line.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use chat_core::{ChatEvent, ChatSession, PendingSend, StartRequest, Transport, Upload, session::SentMessage};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    time::timeout,
};
use transport_connect::{ConnectTransport, StartChat};
use transport_gms_v2::{CometdConfig, GmsTransport};

use crate::{
    failure::{Context, Result},
    json::JsonLines,
    output::Output,
    reader,
    render::{SharedWatcher, Terminal, share},
};

/// How long a chat that was asked to end may take to.
const END_WITHIN: Duration = Duration::from_secs(15);

/// Which contact centre, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// The name to show.
    #[arg(long, default_value = "Customer")]
    name: String,
    /// After the end of the input, stay for answers so many seconds before the chat is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    linger: u32,
    /// Print the session's events as JSON Lines.
    #[arg(long)]
    json: bool,
}

/// Where a chat is held. What several vendors need goes together with what they need alone.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct CentreArgs {
    /// The base URL of Amazon Connect's Participant Service, or of a simulator.
    #[arg(long, value_name = "URL", requires = "start_chat_url", conflicts_with_all = ["gms_data_url", "gms_cometd_url"])]
    connect_endpoint: Option<String>,
    /// The URL that starts a chat of Amazon Connect.
    #[arg(long, value_name = "URL", requires = "connect_endpoint")]
    start_chat_url: Option<String>,
    /// The whole chat URL of Genesys GMS, service name included. Polled, unless CometD is given too; then what CometD falls
    /// back to.
    #[arg(long, value_name = "URL")]
    gms_data_url: Option<String>,
    /// The CometD URL of Genesys GMS.
    #[arg(long, value_name = "URL")]
    gms_cometd_url: Option<String>,
    /// Where files go in chats over CometD.
    #[arg(long, value_name = "URL", requires = "gms_cometd_url")]
    gms_companion_url: Option<String>,
}

impl CentreArgs {
    fn transport(self) -> chat_core::Result<Arc<dyn Transport>> {
        if let (Some(endpoint), Some(start)) = (self.connect_endpoint, self.start_chat_url) {
            let builder = ConnectTransport::builder().endpoint(endpoint);
            return Ok(Arc::new(builder.start_chat(StartChat::new(start)).build()?));
        }
        let mut builder = GmsTransport::builder();
        if let Some(url) = self.gms_data_url {
            builder = builder.data_url(url);
        }
        if let Some(url) = self.gms_cometd_url {
            let mut cometd = CometdConfig::new(url);
            cometd.companion_url = self.gms_companion_url;
            builder = builder.cometd(cometd);
        }
        Ok(Arc::new(builder.build()?))
    }
}

/// Chats until the input ends, `/quit` is typed or the other side ends it.
pub(crate) async fn run(args: ChatArgs) -> Result<ExitCode> {
    let sink = Box::new(|line: &str| Output.line(line));
    let watcher: SharedWatcher = if args.json {
        share(JsonLines::new(sink))
    } else {
        share(Terminal::new(sink, Output.colours(), &args.name))
    };
    let transport = args.centre.transport().context("the options")?;
    let session = ChatSession::over(transport)
        .start(StartRequest::named(args.name))
        .await
        .context("starting the chat")?;
    watcher.lock().note("connected; /file PATH sends a file, /quit or the end of the input ends the chat")?;

    let events = session.events();
    let mut reading = tokio::spawn({
        let (session, watcher) = (session.clone(), watcher.clone());
        async move {
            reader::read(events, &watcher, |event, _| {
                if let ChatEvent::Messages(batch) = event
                    && let Some(id) =
                        batch.messages.iter().rev().find(|row| !row.is_own()).and_then(|row| row.message_id())
                {
                    // A receipt that cannot be sent is of no consequence here.
                    let _ = session.mark_read(&id);
                }
            })
            .await
        }
    });
    let mut input = Input {
        session: session.clone(),
        watcher,
        lines: BufReader::new(tokio::io::stdin()).lines(),
        pending: FuturesUnordered::new(),
    };
    tokio::select! {
        read = &mut reading => return read.context("reading the session")?.map(|()| ExitCode::SUCCESS),
        said = input.run(Duration::from_secs(args.linger.into())) => said?,
    }
    let asked = session.end().await;
    // The other side may have ended it a moment earlier.
    if session.ended().is_none() {
        asked.context("ending the chat")?;
    }
    timeout(END_WITHIN, reading).await.context("ending the chat")?.context("reading the session")??;
    Ok(ExitCode::SUCCESS)
}

/// What is typed, and what became of it.
struct Input {
    session: ChatSession,
    watcher: SharedWatcher,
    lines: Lines<BufReader<Stdin>>,
    pending: FuturesUnordered<PendingSend>,
}

impl Input {
    /// Returns once the input has ended and everything that was said has been sent, or failed.
    async fn run(&mut self, linger: Duration) -> Result<()> {
        loop {
            tokio::select! {
                line = self.lines.next_line() => match line.context("reading the input")? {
                    None => break,
                    Some(line) if line.trim() == "/quit" => break,
                    Some(line) => self.say(&line).await?,
                },
                Some(sent) = self.pending.next() => self.tell(sent)?,
            }
        }
        while let Some(sent) = self.pending.next().await {
            self.tell(sent)?;
        }
        tokio::time::sleep(linger).await;
        Ok(())
    }

    async fn say(&mut self, line: &str) -> Result<()> {
        let accepted = if let Some(path) = line.strip_prefix("/file ") {
            match upload(Path::new(path.trim())).await {
                Ok(upload) => self.session.send_file(upload),
                Err(error) => return self.watcher.lock().note(&error.to_string()),
            }
        } else if line.trim().is_empty() {
            return Ok(());
        } else {
            self.session.send_text(line)
        };
        match accepted {
            Ok(pending) => self.pending.push(pending),
            Err(error) => self.watcher.lock().note(&format!("not sent: {error}"))?,
        }
        Ok(())
    }

    fn tell(&self, sent: chat_core::Result<SentMessage>) -> Result<()> {
        match sent {
            Ok(_) => Ok(()),
            Err(error) => self.watcher.lock().note(&format!("not sent: {error}")),
        }
    }
}

/// The file at `path`, with the MIME type of the usual endings.
async fn upload(path: &Path) -> Result<Upload> {
    let bytes = tokio::fs::read(path).await.with_context(|| format!("reading {}", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let content_type = match ending.as_deref() {
        Some("txt") => "text/plain",
        Some("csv") => "text/csv",
        Some("pdf") => "application/pdf",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => "application/octet-stream",
    };
    Ok(Upload::from_bytes(name, content_type, bytes))
}
