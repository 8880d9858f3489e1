//! Owns what leaves a part of the session out, so that everybody can see that the judge notices.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use chat_core::{
    Ack, Alias, AliasKind, Capabilities, Command, ConnectError, ConnectRequest, Connection, ConnectionHandle,
    EventStream, HistoryFrom, HistoryPage, MessageId, Result, SavedSession, Sighting, Transport,
    TransportEvent, TransportId,
};
use futures::{StreamExt, future::ready};

/// A part of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// What was missed while away is not fetched: every page of the past comes back empty, and nothing is told again.
    GapFill,
    /// A message is not known again: each sighting of it has an id of its own.
    Deduplication,
}

/// A transport over which the session cannot do its part.
#[derive(Debug)]
pub(super) struct Without {
    inner: Arc<dyn Transport>,
    part: Part,
    renamed: Arc<AtomicU64>,
    /// From the cut on, until all that was missed would have been fetched.
    away: Arc<AtomicBool>,
}

impl Without {
    /// `inner`, without `part`.
    pub(super) fn new(inner: Arc<dyn Transport>, part: Part) -> Arc<Self> {
        Arc::new(Self { inner, part, renamed: Arc::default(), away: Arc::default() })
    }

    /// What comes from here on was missed, or no longer.
    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }
}

#[async_trait]
impl Transport for Without {
    fn id(&self) -> TransportId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let mut connection = self.inner.connect(request).await?;
        let renamed = Arc::clone(&self.renamed);
        connection.handle =
            Arc::new(Handle { inner: connection.handle, part: self.part, renamed: Arc::clone(&renamed) });
        let (part, away) = (self.part, Arc::clone(&self.away));
        connection.events = EventStream::new(connection.events.filter_map(move |mut event| {
            let mut told = true;
            if let TransportEvent::Message(sighting) = &mut event {
                match part {
                    // Some transports ask for a page, others are told again by themselves.
                    Part::GapFill => told = !away.load(Ordering::Relaxed),
                    Part::Deduplication => rename(sighting, &renamed),
                }
            }
            ready(told.then_some(event))
        }));
        Ok(connection)
    }

    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        self.inner.verify(saved).await
    }
}

#[derive(Debug)]
struct Handle {
    inner: Arc<dyn ConnectionHandle>,
    part: Part,
    renamed: Arc<AtomicU64>,
}

#[async_trait]
impl ConnectionHandle for Handle {
    async fn submit(&self, mut command: Command) -> Result<Ack> {
        match self.part {
            Part::GapFill if matches!(command, Command::History(_)) => {
                Ok(Ack::History(HistoryPage::default()))
            }
            Part::GapFill => self.inner.submit(command).await,
            Part::Deduplication => {
                match &mut command {
                    Command::Receipt(receipt) => receipt.message = original(&receipt.message),
                    Command::History(request) => {
                        if let HistoryFrom::Message(id) = &mut request.from {
                            *id = original(id);
                        }
                    }
                    _ => {}
                }
                let mut ack = self.inner.submit(command).await?;
                match &mut ack {
                    Ack::History(page) => page.items.iter_mut().for_each(|item| rename(item, &self.renamed)),
                    Ack::Sent(sent) => {
                        if let Some(sighting) = &mut sent.sighting {
                            rename(sighting, &self.renamed);
                        }
                    }
                    _ => {}
                }
                Ok(ack)
            }
        }
    }
}

/// No id of a vendor holds this.
const MARK: &str = "~sighting-";

fn rename(sighting: &mut Sighting, renamed: &AtomicU64) {
    let serial = renamed.fetch_add(1, Ordering::Relaxed);
    sighting.aliases = sighting
        .aliases
        .iter()
        .map(|alias| match alias.kind {
            AliasKind::Message | AliasKind::Attachment => {
                Alias { value: format!("{}{MARK}{serial}", alias.value).into(), ..alias.clone() }
            }
            _ => alias.clone(),
        })
        .collect();
}

fn original(id: &MessageId) -> MessageId {
    MessageId::from(id.as_str().split(MARK).next().unwrap_or_default())
}
