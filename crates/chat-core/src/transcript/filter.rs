//! Owns pre-filters (which texts stay out of the display view) and preprocessors (which rewrite what is shown).

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, Result},
    message::Content,
};

use super::row::Row;

/// Rewrites what a row shows: `None` keeps the original. Runs once per version of the joined content, on the session's
/// task: keep it short.
pub type Preprocessor = Arc<dyn Fn(&Row) -> Option<Content> + Send + Sync>;

/// A regular expression: texts that it matches stay out of the display view.
#[derive(Clone)]
pub struct Filter(regex::Regex);

impl Filter {
    /// The longest pattern, in bytes.
    pub const MAX_PATTERN: usize = 4096;
    /// The largest compiled program, in bytes.
    const MAX_PROGRAM: usize = 1 << 20;

    /// Compiles `pattern`. Matching takes time linear in the text, whatever the pattern.
    ///
    /// # Errors
    /// `InvalidInput` with the reason: look-around and back references, which linear-time matching does not have, a syntax
    /// error, or a pattern that is too large.
    pub fn new(pattern: &str) -> Result<Self> {
        if pattern.len() > Self::MAX_PATTERN {
            return Err(Error::invalid_input(format!(
                "filter: the pattern has {} bytes, the limit is {}",
                pattern.len(),
                Self::MAX_PATTERN
            )));
        }
        regex::RegexBuilder::new(pattern)
            .size_limit(Self::MAX_PROGRAM)
            .dfa_size_limit(Self::MAX_PROGRAM)
            .build()
            .map(Self)
            .map_err(|error| Error::invalid_input(format!("filter: {}", reason(&error))))
    }

    /// The pattern, to be saved.
    pub fn pattern(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches anywhere in `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    pub(super) fn hides(&self, content: &Content) -> bool {
        match content {
            Content::Text(text) => self.matches(&text.body),
            _ => false,
        }
    }
}

/// The last line of the compiler's message says why; those before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("the compiled pattern exceeds {limit} bytes"),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.pattern() == other.pattern()
    }
}

impl Eq for Filter {}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({:?})", self.pattern())
    }
}

impl std::str::FromStr for Filter {
    type Err = Error;

    fn from_str(pattern: &str) -> Result<Self> {
        Self::new(pattern)
    }
}
