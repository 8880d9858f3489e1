//! Owns the transcript's forms outside: JSON Lines without loss, and plain text.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    ids::{ParticipantId, SegmentId},
    message::{Content, Participant, Role},
    time::Timestamp,
};

use super::{Transcript, facts::Gap, known::Record, place::Mark, row::Row, views::View};

/// A line of an import cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ImportErrorKind,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportErrorKind {
    /// The first line is no header of a transcript.
    NoHeader,
    /// Written by a newer version of this library.
    Version(u64),
    /// No JSON of the expected shape; with the reason.
    Malformed(String),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            ImportErrorKind::NoHeader => f.write_str("not the header of a transcript"),
            ImportErrorKind::Version(version) => write!(f, "format version {version} is not known"),
            ImportErrorKind::Malformed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        Self::invalid_input("transcript to import").with_source(error)
    }
}

/// One line. The name of the variant is its only key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Transcript(Header),
    Segment {
        id: SegmentId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<Timestamp>,
    },
    Own(ParticipantId),
    Gap(Gap),
    Row(Box<Record>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    trimmed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<Mark>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

const VERSION: u64 = 1;

impl Transcript {
    /// The transcript as JSON Lines, without loss: hidden rows, all versions, receipts, gaps and segments included. Two
    /// transcripts that know the same give the same lines. Each line is one JSON object, without its line feed.
    pub fn json_lines(&self) -> impl Iterator<Item = String> {
        let header = Header { version: VERSION, trimmed: self.trimmed, floor: self.floor.clone() };
        let segments = self.segments.iter().map(|(id, start)| Line::Segment { id: id.clone(), start });
        let own = self.own.iter().cloned().map(Line::Own);
        let rows = self.sorted_rows().into_iter().map(|row| match row.gap() {
            Some(gap) => Line::Gap(gap.clone()),
            None => Line::Row(Box::new(row.known.record())),
        });
        std::iter::once(Line::Transcript(header)).chain(segments).chain(own).chain(rows).map(|line| {
            serde_json::to_string(&line)
                .expect("all keys are texts or numbers, and no value refuses to be written")
        })
    }

    /// All [lines](Self::json_lines) as one text, each with its line feed.
    pub fn to_json_lines(&self) -> String {
        self.json_lines().fold(String::new(), |text, line| text + &line + "\n")
    }

    /// Reads what [`json_lines`](Self::json_lines) wrote. Blank lines are skipped. Filters and preprocessor are not part of
    /// it.
    ///
    /// # Errors
    /// [`ImportError`] names the line, and what is wrong with it.
    pub fn from_json_lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Result<Self, ImportError> {
        let mut lines = lines.into_iter().zip(1..).filter(|(line, _)| !line.as_ref().trim().is_empty());
        let no_header = |line| ImportError { line, kind: ImportErrorKind::NoHeader };
        let (first, number) = lines.next().ok_or_else(|| no_header(1))?;
        let header = read_header(first.as_ref()).map_err(|kind| ImportError { line: number, kind })?;
        let mut transcript = Self::new();
        for (line, number) in lines {
            let line = serde_json::from_str(line.as_ref()).map_err(|error| ImportError {
                line: number,
                kind: ImportErrorKind::Malformed(error.to_string()),
            })?;
            match line {
                Line::Transcript(_) => return Err(no_header(number)),
                Line::Segment { id, start } => transcript.segment(&id, start),
                Line::Own(id) => transcript.own_participant(id),
                Line::Gap(gap) => drop(transcript.absorb_gap(gap)),
                Line::Row(record) => drop(transcript.absorb((*record).into())),
            }
        }
        (transcript.floor, transcript.trimmed) = (header.floor, header.trimmed);
        Ok(transcript)
    }

    /// The display view as plain text: one line for each message, as `2026-05-04T09:00:05.000Z Ann: Hello`.
    pub fn to_plain_text(&self) -> String {
        let mut text = String::new();
        for row in self.rows(View::Display) {
            write_line(&mut text, row).expect("writing to a string does not fail");
        }
        text
    }
}

fn read_header(line: &str) -> Result<Header, ImportErrorKind> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(|_| ImportErrorKind::NoHeader)?;
    let header = value.get("transcript").ok_or(ImportErrorKind::NoHeader)?;
    match header.get("version").and_then(serde_json::Value::as_u64) {
        None => Err(ImportErrorKind::NoHeader),
        Some(VERSION) => serde_json::from_value(header.clone())
            .map_err(|error| ImportErrorKind::Malformed(error.to_string())),
        Some(version) => Err(ImportErrorKind::Version(version)),
    }
}

fn write_line(out: &mut String, row: &Row) -> fmt::Result {
    if row.gap().is_some() {
        return writeln!(out, "[…]");
    }
    if let Some(time) = row.time() {
        write!(out, "{} ", time.at)?;
    }
    match row.from() {
        Some(Participant { name: Some(name), .. }) => write!(out, "{}: ", one_line(name))?,
        Some(Participant { role: Role::Other(role), .. }) => write!(out, "{}: ", one_line(role))?,
        Some(Participant { role, .. }) => write!(out, "{role:?}: ")?,
        None if row.is_own() => write!(out, "Customer: ")?,
        None => {}
    }
    match row.content() {
        Some(Content::Text(content)) => write!(out, "{}", one_line(&content.body))?,
        Some(Content::Files(files)) => {
            let mut names = files.iter().map(|file| one_line(&file.name));
            write!(out, "[file: {}", names.next().unwrap_or_default())?;
            names.try_for_each(|name| write!(out, ", {name}"))?;
            write!(out, "]")?;
        }
        Some(Content::Interactive(interactive)) => {
            write!(out, "{}", one_line(interactive.title.as_ref().unwrap_or(&interactive.template)))?;
            for choice in &interactive.choices {
                write!(out, " [{}]", one_line(&choice.title))?;
            }
        }
        Some(Content::PushUrl(url)) => write!(out, "{}", one_line(url))?,
        Some(Content::Notice(notice)) => write!(out, "{}", one_line(notice))?,
        Some(Content::Other(raw)) => write!(out, "[{}]", one_line(&raw.kind))?,
        Some(Content::Event(_)) | None => {}
    }
    writeln!(out)
}

/// Further lines of a text are indented, so that nobody can write a line in another one's name.
fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("\n    ").replace(|c: char| c.is_control() && c != '\n', " ")
}
