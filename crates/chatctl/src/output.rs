//! Owns standard output: a locked writer that notices a closed pipe, and texts of others made harmless.

use std::io::{ErrorKind, IsTerminal, Write};

use crate::failure::{Context, Failure, Result};

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output;

impl Output {
    /// Writes one line, and sends it off at once: a pipe's reader sees the transcript grow too.
    pub(crate) fn line(self, line: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
            written => written.context("writing"),
        }
    }

    /// Whether to write in colour: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    #[expect(clippy::disallowed_methods, reason = "the environment belongs to binaries")]
    pub(crate) fn colours(self) -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// The text in one line, without anything that a terminal obeys: control characters are left out, white space becomes a blank,
/// and marks that turn the direction of writing, with which a text can be made to look like another, are left out too.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

/// JSON with the control characters that its grammar lets stand (DEL and U+0080 to U+009F) escaped: the same value, and nothing
/// that a terminal obeys.
pub(crate) fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Only texts can hold them, and there an escape is the same.
            '\u{7f}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        assert_eq!(printable("a\x1b[31mred\x1b]0;title\x07\u{9b}2J\r\x08b\x7f"), "a[31mred]0;title2Jb");
        assert_eq!(printable("two\nlines\tand\u{202e}more"), "two lines andmore");
        assert_eq!(printable("Grüße 👋🏽"), "Grüße 👋🏽");
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = "a\x1b\u{9b}\x7f\"ü";
        let json = escape_json(&serde_json::to_string(text).unwrap());
        assert!(!json.chars().any(char::is_control), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
