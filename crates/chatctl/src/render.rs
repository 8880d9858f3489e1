//! Owns how a chat looks on a terminal: one line a message, as it comes, in colour where that is wanted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chat_core::{
    ChatEvent, Content, Diff, Mirror, Participant, ParticipantId, PollEvent, ReceiptKind, Role, RosterEvent,
    Row, RowId, TypingEvent,
    session::{ConnectionEvent, SessionEvent},
};

use crate::{failure::Result, output::printable};

/// Takes what is written, line by line.
pub(crate) type Sink = Box<dyn FnMut(&str) -> Result<()> + Send>;

/// Who watches the events of a session.
pub(crate) trait Watcher: Send {
    /// An event came.
    ///
    /// # Errors
    /// If it cannot be written.
    fn event(&mut self, event: &ChatEvent) -> Result<()>;

    /// Nothing has come for a while.
    ///
    /// # Errors
    /// If it cannot be written.
    fn quiet(&mut self) -> Result<()> {
        Ok(())
    }

    /// Something to say beside the events.
    ///
    /// # Errors
    /// If it cannot be written.
    fn note(&mut self, text: &str) -> Result<()>;
}

/// A watcher of which the reader has one end and whoever acts the other.
#[derive(Clone)]
pub(crate) struct SharedWatcher(Arc<Mutex<dyn Watcher>>);

impl SharedWatcher {
    /// The watcher. Never held across a wait.
    pub(crate) fn lock(&self) -> MutexGuard<'_, dyn Watcher + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shares a watcher.
pub(crate) fn share(watcher: impl Watcher + 'static) -> SharedWatcher {
    SharedWatcher(Arc::new(Mutex::new(watcher)))
}

/// Messages of a burst that are shown at its beginning, and at its end.
const BURST_ENDS: usize = 3;

/// Width of the column of names.
const NAMES: usize = 10;

/// A terminal.
pub(crate) struct Terminal {
    sink: Sink,
    colours: bool,
    /// The customer's name, for rows that no vendor has named yet.
    own_name: String,
    /// Who is who, for receipts.
    names: HashMap<ParticipantId, String>,
    transcript: Mirror,
    /// Messages of one author written in a row, without a pause and without anything else between them; and whose they are.
    in_a_row: usize,
    author: String,
    /// Further ones, held back until the burst is over.
    held: HashSet<RowId>,
    /// What was missed comes in, in any order: all of it is held back, and written in the transcript's order.
    catching_up: bool,
    /// A failed attempt to come back was told; not each is.
    pending_told: bool,
}

#[derive(Clone, Copy)]
enum Colour {
    Customer,
    Agent,
    Bot,
    Other,
    Note,
}

impl Terminal {
    /// A terminal for the chat of `own_name`.
    pub(crate) fn new(sink: Sink, colours: bool, own_name: &str) -> Self {
        Self {
            sink,
            colours,
            own_name: printable(own_name),
            names: HashMap::new(),
            transcript: Mirror::new(),
            in_a_row: 0,
            author: String::new(),
            held: HashSet::new(),
            catching_up: false,
            pending_told: false,
        }
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Customer => "36",
            Colour::Agent => "32",
            Colour::Bot => "35",
            Colour::Other => "33",
            Colour::Note => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    fn message(&mut self, row: &Row) -> Result<()> {
        let author = self.author(row);
        if author != self.author && !self.catching_up {
            self.flush()?;
            self.author.clone_from(&author);
        }
        if self.in_a_row == BURST_ENDS || self.catching_up {
            self.held.insert(row.handle());
            return Ok(());
        }
        self.in_a_row += 1;
        self.write(row)
    }

    fn write(&mut self, row: &Row) -> Result<()> {
        let line = self.line(row, &self.author(row));
        (self.sink)(&line)
    }

    fn author(&self, row: &Row) -> String {
        match row.from() {
            _ if row.is_own() => self.own_name.clone(),
            Some(Participant { name: Some(name), .. }) => printable(name),
            Some(Participant { role, .. }) => role_name(role),
            None => "?".to_owned(),
        }
    }

    fn line(&self, row: &Row, author: &str) -> String {
        let colour = match row.from().map(|from| &from.role) {
            _ if row.is_own() => Colour::Customer,
            Some(Role::Agent | Role::Supervisor) => Colour::Agent,
            Some(Role::Bot) => Colour::Bot,
            _ => Colour::Other,
        };
        if row.gap().is_some() {
            return self.paint(Colour::Note, &format!("{:>NAMES$}  (something is missing here)", ""));
        }
        format!("{}  {}", self.paint(colour, &format!("{author:>NAMES$}")), what(row))
    }

    /// Ends a burst: of what was held back its ends are written, in the transcript's order.
    fn flush(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let begun = std::mem::take(&mut self.in_a_row);
        if held.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> =
            self.transcript.iter().filter(|row| held.contains(&row.handle())).cloned().collect();
        let first = (BURST_ENDS - begun).min(rows.len());
        let last = rows.len().saturating_sub(BURST_ENDS).max(first);
        rows[..first].iter().try_for_each(|row| self.write(row))?;
        if last > first {
            let line = self.paint(Colour::Note, &format!("{:>NAMES$}  … {} more …", "", last - first));
            (self.sink)(&line)?;
        }
        rows[last..].iter().try_for_each(|row| self.write(row))
    }

    fn named(&mut self, who: &Participant) -> String {
        let name = who.name.as_deref().map_or_else(|| role_name(&who.role), printable);
        if let Some(id) = &who.id {
            self.names.insert(id.clone(), name.clone());
        }
        name
    }

    fn diff(&mut self, diff: &Diff) -> Result<()> {
        // The reader that feeds this has checked that it fits.
        let _ = self.transcript.apply(diff);
        match diff {
            // That something was missed is told by the connection's events, and what stays missing by `GapOpen`.
            Diff::Insert { row, .. } if row.gap().is_some() => Ok(()),
            Diff::Insert { row, .. } => self.message(row),
            Diff::Reset(rows) => rows.iter().try_for_each(|row| self.message(row)),
            _ => Ok(()),
        }
    }

    /// What an event other than a message says, if a person cares.
    fn said(&mut self, event: &ChatEvent) -> Option<String> {
        Some(match event {
            ChatEvent::Connection(event) => match &**event {
                ConnectionEvent::Established(_) => "connected".into(),
                ConnectionEvent::Lost(error) => {
                    self.pending_told = false;
                    format!("the connection is lost: {error}")
                }
                ConnectionEvent::Pending(error) if !std::mem::replace(&mut self.pending_told, true) => {
                    format!("trying to come back: {error}")
                }
                ConnectionEvent::Restored(_) => "the connection is back; fetching what was missed".into(),
                ConnectionEvent::Broken(error) => format!("gave up: {error}"),
                _ => return None,
            },
            // Polling has no connection to lose: a poll stays without an answer, and a later one has it.
            ChatEvent::Poll(PollEvent::Disconnected) => "the connection is lost".into(),
            ChatEvent::Poll(PollEvent::Reconnected) => "the connection is back".into(),
            ChatEvent::Poll(PollEvent::ServerWentOffline) => "the chat server is offline".into(),
            ChatEvent::Poll(PollEvent::ServerBackOnline) => "the chat server is back".into(),
            ChatEvent::Session(event) => match &**event {
                SessionEvent::Ready => "the transcript is whole".into(),
                SessionEvent::GapOpen(error) => format!("something is missing for now: {error}"),
                SessionEvent::Queue { position: Some(position) } => format!("number {position} in the queue"),
                SessionEvent::Transfer { succeeded: true } => "passed on to somebody else".into(),
                _ => return None,
            },
            ChatEvent::Participant(event) => {
                let (member, what) = match &event.change {
                    RosterEvent::Joined(member) => (member, "joined"),
                    RosterEvent::Left(member) => (member, "left"),
                    RosterEvent::AutoDisconnected(member) => (member, "was away for too long"),
                    RosterEvent::Renamed(member) => (member, "has a new name"),
                    _ => return None,
                };
                format!("{} {what}", self.named(&member.who))
            }
            ChatEvent::Typing(event) => match &**event {
                TypingEvent::Started { who, .. } => format!("{} is typing", self.named(who)),
                _ => return None,
            },
            ChatEvent::Receipt(event) => {
                let who = self.names.get(&event.by).map_or("the other side", String::as_str);
                match event.kind {
                    ReceiptKind::Delivered => format!("{who} got it"),
                    ReceiptKind::Read => format!("{who} has read it"),
                }
            }
            ChatEvent::Error(error) => format!("error: {error}"),
            ChatEvent::Ended(_) => "the chat has ended".into(),
            _ => return None,
        })
    }
}

impl Watcher for Terminal {
    fn event(&mut self, event: &ChatEvent) -> Result<()> {
        match event {
            ChatEvent::Transcript(diff) => self.diff(diff),
            ChatEvent::Missed { snapshot, .. } => {
                self.note("too much came at once: this is all of it")?;
                self.diff(&Diff::Reset(snapshot.clone()))
            }
            event => {
                if let Some(text) = self.said(event) {
                    self.note(&text)?;
                }
                if let ChatEvent::Connection(event) = event {
                    self.catching_up = matches!(**event, ConnectionEvent::Restored(_));
                }
                Ok(())
            }
        }
    }

    fn quiet(&mut self) -> Result<()> {
        self.catching_up = false;
        self.flush()
    }

    fn note(&mut self, text: &str) -> Result<()> {
        self.flush()?;
        let line = self.paint(Colour::Note, &format!("{:>NAMES$}  {}", "·", printable(text)));
        (self.sink)(&line)
    }
}

/// What a message holds, in one harmless line.
fn what(row: &Row) -> String {
    let text = match row.content() {
        Some(Content::Text(text)) => text.body.to_string(),
        Some(Content::Files(files)) => {
            let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
            format!("[file: {}]", names.join(", "))
        }
        Some(Content::Interactive(question)) => {
            let choices: Vec<&str> = question.choices.iter().map(|choice| &*choice.title).collect();
            format!("{} [{}]", question.title.as_deref().unwrap_or_default(), choices.join(" | "))
        }
        Some(Content::PushUrl(url)) => url.to_string(),
        Some(Content::Notice(notice)) => notice.to_string(),
        Some(Content::Other(raw)) => format!("[{}]", raw.kind),
        _ => String::new(),
    };
    printable(&text)
}

fn role_name(role: &Role) -> String {
    match role {
        Role::Customer => "customer".into(),
        Role::Agent => "agent".into(),
        Role::Supervisor => "supervisor".into(),
        Role::Bot => "bot".into(),
        Role::System => "system".into(),
        Role::Other(other) => printable(other),
        _ => "somebody".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use chat_core::{
        Alias, MessageId, Place, Primary, Scope, SegmentId, SessionInfo, Sighting, Snapshot, Text, Timestamp,
        Transcript, View,
    };

    use super::*;

    fn terminal(colours: bool) -> (Terminal, mpsc::Receiver<String>) {
        let (lines, written) = mpsc::sync_channel(1000);
        let sink = Box::new(move |line: &str| {
            lines.send(line.to_owned()).expect("the test reads");
            Ok(())
        });
        (Terminal::new(sink, colours, "Ada"), written)
    }

    fn rows(messages: &[(&str, &str)]) -> Snapshot {
        let mut transcript = Transcript::new();
        for (number, (author, text)) in messages.iter().enumerate() {
            let time = Timestamp::from_millis(1_000 + number as i64).unwrap();
            transcript.sight(
                Sighting::new(SegmentId::new("s"))
                    .with_alias(Alias::message(&Scope::new("c"), &MessageId::new(number.to_string())))
                    .with_place(Place::exact(Primary::Instant(time)))
                    .with_sender(Participant::new(Role::Agent).with_name(*author), false)
                    .with_content(Content::Text(Text::plain(*text))),
            );
        }
        transcript.snapshot(View::Display)
    }

    /// What a terminal shows of these messages, each an author and a text, as they come one by one.
    fn shown(colours: bool, messages: &[(&str, &str)]) -> Vec<String> {
        let (mut terminal, written) = terminal(colours);
        for (at, row) in rows(messages).iter().enumerate() {
            let diff = Diff::Insert { at, row: row.clone() };
            terminal.event(&ChatEvent::Transcript(diff.into())).unwrap();
        }
        terminal.quiet().unwrap();
        drop(terminal);
        written.iter().collect()
    }

    #[test]
    fn nothing_that_others_say_reaches_the_terminal_as_a_command() {
        let shown = shown(false, &[("Ma\x1b]0;owned\x07ria", "\x1b[2Jall\r\ngone\u{9b}31m\u{202e}!")]);
        assert_eq!(shown, ["Ma]0;ownedria  [2Jall gone31m!"]);
    }

    #[test]
    fn a_burst_shows_its_ends_and_says_how_many_more() {
        let texts: Vec<String> = (1..=250).map(|number| format!("box {number}")).collect();
        let messages: Vec<(&str, &str)> = texts.iter().map(|text| ("Maria", text.as_str())).collect();
        assert_eq!(
            shown(false, &messages),
            [
                "     Maria  box 1",
                "     Maria  box 2",
                "     Maria  box 3",
                "            … 244 more …",
                "     Maria  box 248",
                "     Maria  box 249",
                "     Maria  box 250",
            ]
        );
    }

    #[test]
    fn what_was_missed_is_shown_in_its_order_whatever_comes_first() {
        let texts: Vec<String> = (1..=9).map(|number| number.to_string()).collect();
        let messages: Vec<(&str, &str)> = texts.iter().map(|text| ("Maria", text.as_str())).collect();
        let (mut terminal, written) = terminal(false);
        let back = ConnectionEvent::Restored(SessionInfo::new("c", "s"));
        terminal.event(&ChatEvent::Connection(back.into())).unwrap();
        for row in rows(&messages).iter().rev() {
            let diff = Diff::Insert { at: 0, row: row.clone() };
            terminal.event(&ChatEvent::Transcript(diff.into())).unwrap();
        }
        terminal.quiet().unwrap();
        drop(terminal);
        let lines: Vec<String> =
            written.iter().skip(1).map(|line| line.trim().replace("Maria  ", "")).collect();
        assert_eq!(lines, ["1", "2", "3", "… 3 more …", "7", "8", "9"]);
    }

    #[test]
    fn a_few_messages_are_all_shown_and_another_author_ends_a_burst() {
        let six: Vec<(&str, &str)> = vec![("Maria", "x"); 6];
        assert_eq!(shown(false, &six).len(), 6);
        let two: Vec<(&str, &str)> = [vec![("Maria", "x"); 7], vec![("Tom", "y")]].concat();
        let lines = shown(false, &two);
        assert_eq!(lines.len(), 8, "{lines:?}");
        assert_eq!(lines[3], "            … 1 more …");
        assert_eq!(lines[7], "       Tom  y");
    }

    #[test]
    fn colour_is_put_around_names_alone_and_only_where_wanted() {
        assert_eq!(shown(true, &[("Maria", "hello")]), ["\x1b[32m     Maria\x1b[0m  hello"]);
    }
}
