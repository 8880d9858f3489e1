//! Owns how a command fails: one line with the chain of causes, and the exit status.

use std::{error::Error, fmt, io::Write, process::ExitCode};

/// The result of everything that can fail here.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command gave up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was tried, and what came of it.
    Error {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Whoever read our output has gone: nothing to tell, and nobody to tell it to.
    OutputClosed,
}

impl Failure {
    /// A failure without a cause.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self::Error { what: what.into(), source: None }
    }

    /// Writes `error: …: …` to standard error, or nothing if the reader has gone.
    pub(crate) fn report(&self) -> std::io::Result<()> {
        match self {
            Self::OutputClosed => Ok(()),
            Self::Error { .. } => {
                let line = crate::output::printable(&self.to_string());
                writeln!(std::io::stderr().lock(), "error: {line}")
            }
        }
    }

    /// 1; for a reader that has gone 141, what a shell reports of programs that a closed pipe ends.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Error { .. } => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::from(141),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutputClosed => f.write_str("the output was closed"),
            Self::Error { what, source } => {
                let mut line = what.clone();
                let mut cause = source.as_deref().map(|source| source as &(dyn Error + 'static));
                while let Some(error) = cause {
                    let text = error.to_string();
                    // Some libraries repeat their cause in their own text.
                    if !line.ends_with(&text) {
                        line.push_str(": ");
                        line.push_str(&text);
                    }
                    cause = error.source();
                }
                f.write_str(&line)
            }
        }
    }
}

/// Says what was tried when something fails.
pub(crate) trait Context<T> {
    /// Adds what was tried.
    fn context(self, what: impl Into<String>) -> Result<T>;

    /// As [`context`](Self::context), made only if needed.
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| Failure::Error { what: what.into(), source: Some(error.into()) })
    }

    fn with_context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::Error { what: what(), source: Some(error.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_chain_is_one_line() {
        let inner = chat_core::Error::new(chat_core::ErrorKind::Network, "dial")
            .with_source(std::io::Error::other("no route"));
        let failure = Err::<(), _>(inner).context("connecting").unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("connecting: {}: no route", {
                chat_core::Error::new(chat_core::ErrorKind::Network, "dial")
            })
        );
    }
}
