//! Owns the history of one session: every event, and two copies of the transcript that are fed by diffs alone.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use chat_core::{
    ChatEvent, ClientToken, Content, Diff, Error, LinkState, MessageId, Mirror, Row, Snapshot, View,
    session::{ConnectionEvent, SentMessage},
};
use tokio::time::Instant;

/// What a message is compared by, at the centre and in transcripts. `None` for what only tells that something happened.
pub(crate) fn line(content: &Content) -> Option<String> {
    Some(match content {
        Content::Text(text) => text.body.to_string(),
        Content::Files(files) => {
            files.iter().map(|file| format!("[{}]", file.name)).collect::<Vec<_>>().join(" ")
        }
        Content::Interactive(question) => {
            format!("<{} {}>", question.template, question.title.as_deref().unwrap_or_default())
        }
        Content::Event(_) => return None,
        Content::PushUrl(url) => format!("<url {url}>"),
        Content::Notice(notice) => format!("<notice {notice}>"),
        // Vendors wrap it.
        Content::Other(_) => "<other>".into(),
        _ => "<unknown>".into(),
    })
}

/// The lines of rows, in order; open gaps stand as `<gap>`.
pub(crate) fn lines<'a>(rows: impl IntoIterator<Item = &'a Arc<Row>>) -> Vec<String> {
    rows.into_iter()
        .filter_map(|row| match row.gap() {
            Some(_) => Some("<gap>".into()),
            None => row.content().and_then(line),
        })
        .collect()
}

/// One send, from acceptance to its outcome.
#[derive(Debug)]
pub(crate) struct SendRecord {
    pub(crate) token: Option<ClientToken>,
    pub(crate) text: String,
    pub(crate) outcome: Option<Result<SentMessage, Error>>,
}

/// What one session told, and what was asked of it.
#[derive(Debug)]
pub(crate) struct Log {
    began: Instant,
    pub(crate) state_at_first: LinkState,
    pub(crate) events: Vec<(Instant, ChatEvent)>,
    pub(crate) full: Mirror,
    pub(crate) display: Mirror,
    pub(crate) sends: Vec<SendRecord>,
    /// Readers whose stream has come to its end.
    pub(crate) closed: usize,
    /// What was wrong at some moment, and may look right by the end.
    pub(crate) problems: Vec<String>,
}

impl Log {
    pub(crate) fn new(began: Instant, state_at_first: LinkState) -> Self {
        Self {
            began,
            state_at_first,
            events: Vec::new(),
            full: Mirror::new(),
            display: Mirror::new(),
            sends: Vec::new(),
            closed: 0,
            problems: Vec::new(),
        }
    }

    /// An event of the reader of `view`. The reader of the full view keeps the history.
    pub(crate) fn note(&mut self, view: View, event: ChatEvent) {
        let mirror = if view == View::Full { &mut self.full } else { &mut self.display };
        let applied = match &event {
            ChatEvent::Transcript(diff) => mirror.apply(diff),
            ChatEvent::Missed { snapshot, .. } => {
                mirror.reset(snapshot);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = applied {
            self.problems.push(format!("diffs do not reproduce the transcript: {error} ({view:?})"));
        }
        if view == View::Full {
            self.events.push((Instant::now(), event));
        }
    }

    /// I2 at every moment: nothing stands twice, not even until an echo is told apart. `sent` are the texts that all tabs
    /// of this chat have sent so far.
    pub(crate) fn watch_doubles(&mut self, sent: &HashMap<String, usize>) {
        for (text, sent) in sent {
            let own =
                |row: &&Arc<Row>| row.is_own() && row.original().and_then(line).as_deref() == Some(text);
            let shown = self.full.iter().filter(own).count();
            if shown > *sent {
                let problem = format!("I2: {text:?} was sent {sent} times and stands {shown} times");
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
            }
        }
    }

    /// The messages that were announced, in order.
    pub(crate) fn announced(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.events.iter().flat_map(|(_, event)| match event {
            ChatEvent::Messages(batch) => batch.messages.iter(),
            _ => [].iter(),
        })
    }

    /// Tells the history, a line an event.
    pub(crate) fn tell(&self, name: &str, out: &mut String) {
        for (at, event) in &self.events {
            let seconds = (*at - self.began).as_secs_f64();
            let _ = writeln!(out, "{name} {seconds:>9.3} {}", summary(event));
        }
        for send in &self.sends {
            let _ = writeln!(out, "{name} sent {:?}: {:?}", send.text, send.outcome);
        }
        for problem in &self.problems {
            let _ = writeln!(out, "{name} problem: {problem}");
        }
    }
}

/// One event in a line.
fn summary(event: &ChatEvent) -> String {
    match event {
        ChatEvent::Transcript(diff) => match &**diff {
            Diff::Insert { at, row } => format!("+{at} {}", row_summary(row)),
            Diff::Set { at, row } => format!("={at} {}", row_summary(row)),
            Diff::Move { from, to } => format!("{from}->{to}"),
            Diff::Remove { at } => format!("-{at}"),
            Diff::Reset(snapshot) => format!("reset {}", snapshot_summary(snapshot)),
            other => format!("{other:?}"),
        },
        ChatEvent::Messages(batch) => {
            let rows: Vec<_> = batch.messages.iter().map(|row| row_summary(row)).collect();
            let how = if batch.restored { "restored" } else { "new" };
            format!("messages ({how}): {}", rows.join(", "))
        }
        ChatEvent::Connection(event) => match &**event {
            ConnectionEvent::Established(_) => "established".into(),
            ConnectionEvent::Restored(_) => "restored".into(),
            other => format!("{other:?}"),
        },
        ChatEvent::Missed { events, snapshot } => format!("missed {events}: {}", snapshot_summary(snapshot)),
        other => format!("{other:?}"),
    }
}

fn snapshot_summary(snapshot: &Snapshot) -> String {
    let rows: Vec<_> = snapshot.iter().map(|row| row_summary(row)).collect();
    format!("[{}]", rows.join(", "))
}

fn row_summary(row: &Row) -> String {
    let what = match (row.gap(), row.content()) {
        (Some(_), _) => "<gap>".into(),
        (None, Some(content)) => line(content).unwrap_or_else(|| format!("{content:?}")),
        (None, None) => "<nothing>".into(),
    };
    let id = row.message_id().as_ref().map_or("-", MessageId::as_str).to_owned();
    match row.send_state() {
        Some(state) => format!("{what:?} {id} {:?}{}", state.stage, if state.sent { " sent" } else { "" }),
        None => format!("{what:?} {id}"),
    }
}
