//! Owns playing the demo: a customer's session over a stage, and both sides' acts in turn.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use chat_core::{
    AttachmentStatus, BackoffPolicy, Capability, ChatEvent, ChatSession, Content, Download, Mirror,
    PendingSend, PollEvent, ReceiptKind, ReceiptPolicy, Row, SessionSettings, StartRequest, Transport,
    TypingEvent, Upload, session::ConnectionEvent,
};
use chat_sim::{ContactConsole, ItemTruth, Truth};
use futures::TryStreamExt;
use tokio::{sync::watch, time::timeout};

use super::{
    compare::{Kind, Shown},
    judge::{Said, Stored, Verdict},
    sabotage::{Part, Without},
    script::{Act, CUSTOMER, File, Who},
    stage::Stage,
};
use crate::{
    failure::{Context, Failure, Result},
    reader,
    render::SharedWatcher,
};

/// How long an act may take to have its effect: far longer than it does, far shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(4);

/// The same once something has gone wrong: the verdict is clear, and the rest is quick or does not come.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// How it went.
pub(super) struct Performance {
    /// What the centre's truth says to what was shown.
    pub(super) verdict: Verdict,
    /// What stood on the screen at the end.
    pub(super) shown: Vec<Shown>,
    /// What the transport cannot do, and the script asked for.
    pub(super) left_out: BTreeSet<Capability>,
}

/// Plays `acts` on `stage` before `watcher`. What does not happen is a complaint of the verdict; only what makes the demo itself
/// impossible is an error.
pub(super) async fn play(
    acts: &[Act],
    stage: Stage,
    watcher: SharedWatcher,
    without: Option<Part>,
) -> Result<Performance> {
    let sabotage = without.map(|part| Without::new(Arc::clone(&stage.transport), part));
    let transport = match &sabotage {
        Some(sabotage) => Arc::clone(sabotage) as Arc<dyn Transport>,
        None => Arc::clone(&stage.transport),
    };
    let session = ChatSession::over(transport)
        .settings(settings())
        .start(StartRequest::named(CUSTOMER))
        .await
        .context("starting the chat")?;

    let (told, seen) = watch::channel(Seen::default());
    let events = session.events();
    let mut reading = tokio::spawn({
        let watcher = watcher.clone();
        async move {
            reader::read(events, &watcher, |event, transcript| {
                told.send_modify(|seen| seen.hear(event, transcript));
            })
            .await
        }
    });

    let contact = stage.centre.console().wait_for_contact().await;
    let mut player = Player {
        session,
        contact,
        stage: &stage,
        sabotage,
        seen,
        watcher,
        offline: Vec::new(),
        cut: None,
        left_out: BTreeSet::new(),
        complaints: Vec::new(),
    };
    let mut played = Ok(());
    for act in acts {
        played = player.act(act).await;
        if played.is_err() {
            break;
        }
    }
    // The reader comes to its end with the chat; if it failed, that is why the player could not go on.
    match timeout(player.patience(), &mut reading).await {
        Ok(read) => read.context("reading the session")??,
        Err(_) => {
            reading.abort();
            player.complaints.push("the customer was not told that the chat has ended".into());
        }
    }
    played?;
    Ok(player.performance())
}

/// The library's own settings, but for a person who waits less long: shorter delays and windows.
fn settings() -> SessionSettings {
    let backoff =
        BackoffPolicy::default().with_base(Duration::from_millis(100)).with_cap(Duration::from_millis(400));
    let mut receipts = ReceiptPolicy::default();
    receipts.window = Duration::from_millis(100);
    receipts.delivered_delay = Duration::from_millis(50);
    // Room for the whole burst: the terminal is slower than loopback.
    SessionSettings::default().with_backoff(backoff).with_receipts(receipts).with_reader_capacity(2048)
}

/// What the reader was told so far.
#[derive(Debug, Default)]
struct Seen {
    transcript: Mirror,
    lost: usize,
    restored: usize,
    typing: Vec<String>,
    receipts: Vec<ReceiptKind>,
}

impl Seen {
    fn hear(&mut self, event: &ChatEvent, transcript: &Mirror) {
        match event {
            ChatEvent::Transcript(_) | ChatEvent::Missed { .. } => self.transcript.clone_from(transcript),
            ChatEvent::Connection(event) => match &**event {
                ConnectionEvent::Lost(_) => self.lost += 1,
                ConnectionEvent::Restored(_) => self.restored += 1,
                _ => {}
            },
            // There is no connection to lose in polling: the polls fail, and come through again.
            ChatEvent::Poll(PollEvent::Disconnected) => self.lost += 1,
            ChatEvent::Poll(PollEvent::Reconnected) => self.restored += 1,
            ChatEvent::Typing(event) => {
                if let TypingEvent::Started { who, .. } = &**event {
                    self.typing.push(who.name.as_deref().unwrap_or_default().to_owned());
                }
            }
            ChatEvent::Receipt(event) => self.receipts.push(event.kind),
            _ => {}
        }
    }

    /// What stands on the screen.
    fn shown(&self) -> Vec<Said> {
        self.transcript.iter().filter(|row| row.gap().is_none()).map(|row| said_of_row(row)).collect()
    }

    fn shows(&self, said: &Said) -> bool {
        self.transcript.iter().any(|row| said_of_row(row) == *said)
    }

    fn receipts(&self, kind: ReceiptKind) -> usize {
        self.receipts.iter().filter(|one| **one == kind).count()
    }
}

fn said(author: Option<&str>, content: Option<&Content>) -> Said {
    let what = match content {
        Some(Content::Text(text)) => text.body.to_string(),
        Some(Content::Files(files)) => file_names(files.iter().map(|file| &*file.name)),
        // Nothing else is said in the demo: whatever it is, the other side does not have it.
        other => format!("{other:?}"),
    };
    Said { author: author.map(Into::into), what }
}

fn file_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", names.into_iter().collect::<Vec<_>>().join(", "))
}

fn said_of_row(row: &Row) -> Said {
    let name = row.from().and_then(|from| from.name.as_deref()).unwrap_or_default();
    said((!row.is_own()).then_some(name), row.content())
}

fn shown_of_row(row: &Row) -> Shown {
    let role = row.from().map(|from| from.role.clone());
    let kind = match row.content() {
        _ if row.gap().is_some() => Kind::Gap,
        Some(Content::Text(_)) => Kind::Text,
        Some(Content::Files(_)) => Kind::Files,
        _ => Kind::Other,
    };
    Shown { role, kind, what: said_of_row(row).what }
}

fn said_of_item(item: &ItemTruth) -> Said {
    let name = item.from.name.as_deref().unwrap_or_default();
    said((!item.own).then_some(name), Some(&item.content))
}

/// Messages; what only happened is not shown to people.
fn messages(truth: &Truth) -> impl Iterator<Item = &ItemTruth> {
    truth.items.iter().filter(|item| !matches!(item.content, Content::Event(_)))
}

struct Player<'a> {
    session: ChatSession,
    contact: ContactConsole,
    stage: &'a Stage,
    sabotage: Option<Arc<Without>>,
    seen: watch::Receiver<Seen>,
    watcher: SharedWatcher,
    /// Said while the network was cut.
    offline: Vec<PendingSend>,
    /// Numbers of the items before the cut, and at its end.
    cut: Option<(u64, u64)>,
    left_out: BTreeSet<Capability>,
    complaints: Vec<String>,
}

impl Player<'_> {
    async fn act(&mut self, act: &Act) -> Result<()> {
        let denied: Vec<_> = act.needs().iter().filter(|need| !self.can(**need)).collect();
        if !denied.is_empty() {
            self.left_out.extend(denied);
            return Ok(());
        }
        match act {
            Act::CustomerSays(text) => {
                let pending = self.session.send_text(*text).with_context(|| format!("saying {text:?}"))?;
                self.arrives(pending, text).await;
                self.centre(&format!("did not get {text:?}"), |truth| truth.own_texts().contains(text)).await;
            }
            Act::CustomerSaysOffline(text) => {
                self.offline.push(self.session.send_text(*text).with_context(|| format!("saying {text:?}"))?);
            }
            Act::CustomerTypes => {
                self.session.typing(true).context("typing")?;
                self.centre("did not see the customer type", |truth| truth.typing.iter().any(|one| one.on))
                    .await;
            }
            Act::CustomerReads => self.customer_reads().await?,
            Act::CustomerSends(file) => {
                let upload = Upload::from_bytes(file.name, file.content_type, file.bytes);
                let pending = self.session.send_file(upload).context("sending a file")?;
                self.arrives(pending, file.name).await;
                self.fetch(None, file).await?;
            }
            Act::Says(who, text) => {
                self.as_who(who).say(*text).context("the centre")?;
                let said = Said { author: Some(who.name.into()), what: (*text).into() };
                self.reader(&format!("was not shown {text:?}"), |seen| seen.shows(&said)).await?;
            }
            Act::Types(who) => {
                self.as_who(who).types(true).context("the centre")?;
                self.reader("did not see the agent type", |seen| {
                    seen.typing.iter().any(|name| name == who.name)
                })
                .await?;
            }
            Act::Reads(who) => self.reads(who).await?,
            Act::Sends(who, file) => {
                self.as_who(who).send_file(file.name, file.content_type, file.bytes).context("the centre")?;
                self.fetch(Some(who), file).await?;
            }
            Act::Leaves(who) => drop(self.as_who(who).leave().context("the centre")?),
            Act::Pause(time) => tokio::time::sleep(*time).await,
            Act::Cut => {
                self.set_away(true);
                self.stage.cable.cut();
                self.reader("was not told of the cut", |seen| seen.lost > 0).await?;
                let before = self.newest();
                self.cut = Some((before, before));
                self.note("the network is cut, and nothing comes through")?;
            }
            Act::Burst(who, count) => {
                let who = self.as_who(who);
                for number in 1..=*count {
                    who.say(format!("Box {number} of {count} is packed")).context("the centre")?;
                }
                self.note(&format!("meanwhile the centre has stored {count} messages"))?;
            }
            Act::Heal => {
                self.heal().await?;
                self.set_away(false);
            }
            Act::End(who) => self.as_who(who).end().context("the centre")?,
        }
        Ok(())
    }

    async fn customer_reads(&mut self) -> Result<()> {
        self.centre("was not told that a message was delivered", |truth| {
            truth.receipts.iter().any(|receipt| receipt.kind == ReceiptKind::Delivered)
        })
        .await;
        let read =
            |truth: &Truth| truth.receipts.iter().filter(|receipt| receipt.kind == ReceiptKind::Read).count();
        let before = read(&self.contact.truth());
        let newest = {
            let seen = self.seen.borrow();
            seen.transcript.iter().rev().find(|row| !row.is_own()).and_then(|row| row.message_id())
        };
        let Some(newest) = newest else {
            self.complaints.push("there is nothing to read".into());
            return Ok(());
        };
        self.session.mark_read(&newest).context("reading")?;
        self.centre("was not told that a message was read", |truth| read(truth) > before).await;
        Ok(())
    }

    async fn reads(&mut self, who: &Who) -> Result<()> {
        let truth = self.contact.truth();
        let Some(newest) = messages(&truth).filter(|item| item.own).last() else { return Ok(()) };
        for (kind, what) in [(ReceiptKind::Delivered, "delivered"), (ReceiptKind::Read, "read")] {
            let before = self.seen.borrow().receipts(kind);
            let who = self.as_who(who);
            match kind {
                ReceiptKind::Delivered => who.gets(&newest.id),
                ReceiptKind::Read => who.reads(&newest.id),
            }
            .context("the centre")?;
            let what = format!("was not told that a message was {what}");
            self.reader(&what, |seen| seen.receipts(kind) > before).await?;
        }
        Ok(())
    }

    /// The customer fetches a file that stands in the transcript, and compares.
    async fn fetch(&mut self, who: Option<&Who>, file: &File) -> Result<()> {
        let said = Said { author: who.map(|who| who.name.into()), what: file_names([file.name]) };
        let ready = |row: &Arc<Row>| {
            let files = row.attachments().iter();
            (said_of_row(row) == said)
                .then(|| {
                    files.filter(|file| file.status == AttachmentStatus::Approved).map(|file| file.id.clone())
                })
                .and_then(|mut ids| ids.next())
        };
        let name = file.name;
        self.reader(&format!("was not shown the file {name}"), |seen| {
            seen.transcript.iter().any(|row| ready(row).is_some())
        })
        .await?;
        let id = self.seen.borrow().transcript.iter().find_map(ready);
        let Some(id) = id else { return Ok(()) };
        let fetched = async {
            let Download { bytes, .. } = self.session.download(&id).await?;
            bytes
                .try_fold(Vec::new(), |mut all, piece| async move {
                    all.extend_from_slice(&piece);
                    Ok(all)
                })
                .await
        };
        match timeout(self.patience(), fetched).await {
            Ok(Ok(bytes)) if bytes == file.bytes => {}
            Ok(Ok(_)) => self.complaints.push(format!("the file {name} came back changed")),
            Ok(Err(error)) => self.complaints.push(format!("the file {name} could not be fetched: {error}")),
            Err(_) => self.complaints.push(format!("the file {name} could not be fetched in time")),
        }
        Ok(())
    }

    /// The network comes back. What was missed and what waited finds its way.
    async fn heal(&mut self) -> Result<()> {
        let until = self.newest();
        if let Some((_, end)) = &mut self.cut {
            *end = until;
        }
        self.note("the network is back")?;
        self.stage.cable.mend();
        self.reader("was not told that the connection is back", |seen| seen.restored > 0).await?;
        for pending in std::mem::take(&mut self.offline) {
            self.arrives(pending, "what was said while the network was cut").await;
        }
        let truth = self.contact.truth();
        let stored: HashSet<Said> = messages(&truth).map(said_of_item).collect();
        self.reader("was not shown all that is stored", |seen| {
            // Counting first: it is asked with every message.
            seen.transcript.len() >= stored.len() && stored.is_subset(&seen.shown().into_iter().collect())
        })
        .await
    }

    const fn patience(&self) -> Duration {
        if self.complaints.is_empty() { PATIENCE } else { SHORT_PATIENCE }
    }

    fn set_away(&self, away: bool) {
        if let Some(sabotage) = &self.sabotage {
            sabotage.set_away(away);
        }
    }

    fn can(&self, need: Capability) -> bool {
        self.session.capabilities().can(need)
    }

    fn note(&self, text: &str) -> Result<()> {
        self.watcher.lock().note(&format!("-- {text} --"))
    }

    /// The number of the newest item.
    fn newest(&self) -> u64 {
        self.contact.truth().items.iter().map(|item| item.index).max().unwrap_or_default()
    }

    fn as_who(&self, who: &Who) -> ContactConsole {
        self.contact.acting_as(who.role.clone(), who.name)
    }

    async fn arrives(&mut self, pending: PendingSend, what: &str) {
        match timeout(self.patience(), pending).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.complaints.push(format!("{what:?} was not sent: {error}")),
            Err(_) => self.complaints.push(format!("{what:?} was not sent in time")),
        }
    }

    async fn centre(&mut self, complaint: &str, met: impl Fn(&Truth) -> bool) {
        if timeout(self.patience(), self.contact.wait_for(met)).await.is_err() {
            self.complaints.push(format!("the centre {complaint}"));
        }
    }

    async fn reader(&mut self, complaint: &str, met: impl Fn(&Seen) -> bool) -> Result<()> {
        match timeout(self.patience(), self.seen.wait_for(|seen| met(seen))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) => return Err(Failure::new("the session stopped before the demo was over")),
            Err(_) => {}
        }
        self.complaints.push(format!("the customer {complaint}"));
        Ok(())
    }

    /// The centre's truth against what stands on the screen.
    fn performance(self) -> Performance {
        let truth = self.contact.truth();
        let (before, end) = self.cut.unwrap_or_default();
        let stored: Vec<Stored> = messages(&truth)
            .map(|item| Stored {
                said: said_of_item(item),
                while_cut: item.index > before && item.index <= end,
            })
            .collect();
        let seen = self.seen.borrow();
        let mut verdict = Verdict::new(&stored, &seen.shown());
        verdict.complaints.extend(self.complaints);
        let gaps = seen.transcript.iter().filter(|row| row.gap().is_some()).count();
        if gaps > 0 {
            verdict.complaints.push(format!("open gaps in the transcript: {gaps}"));
        }
        let shown = seen.transcript.iter().map(|row| shown_of_row(row)).collect();
        Performance { verdict, shown, left_out: self.left_out }
    }
}
