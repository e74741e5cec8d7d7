//! The slow twin: any regular expression, run by a regex engine.

use std::ops::Range;
use std::sync::OnceLock;

use fancy_regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};

/// Steps the engine may go back in one match before it gives up with an error.
const BACKTRACK_LIMIT: usize = 10_000_000;

/// A regular expression, compiled when first used.
///
/// A named pattern never needs its engine outside of tests, and compiling `\p{L}` classes costs
/// milliseconds that a short-lived process would notice.
#[derive(Debug)]
pub struct Engine {
    pattern: String,
    regex: OnceLock<Regex>,
}

impl Engine {
    /// An engine for a pattern known to be valid, compiled at first use.
    pub(super) fn lazy(pattern: &str) -> Self {
        Self {
            pattern: pattern.into(),
            regex: OnceLock::new(),
        }
    }

    /// Compile `pattern` now.
    ///
    /// Errors: `Invalid` when it is not a regular expression.
    pub fn new(pattern: &str) -> Result<Self> {
        let engine = Self::lazy(pattern);
        engine.regex()?;
        Ok(engine)
    }

    /// The regular expression.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    fn regex(&self) -> Result<&Regex> {
        if let Some(regex) = self.regex.get() {
            return Ok(regex);
        }
        let regex = RegexBuilder::new(&self.pattern)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|e| {
                Error::invalid(format!(
                    "expected a regular expression or one of the named patterns, got {:?}: {e}",
                    self.pattern
                ))
            })?;
        Ok(self.regex.get_or_init(|| regex))
    }

    /// Call `emit` with every match in order. Text between matches is left out, as tiktoken does;
    /// empty matches are skipped.
    ///
    /// Errors: `Pattern` when the engine gives up.
    pub fn pieces(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        for found in self.regex()?.find_iter(text) {
            let found = found.map_err(|e| {
                Error::pattern(format!(
                    "the regex engine gave up on a text of {} bytes with pattern {:?}: {e}; \
                     shorten the text or use a named pattern",
                    text.len(),
                    self.pattern
                ))
            })?;
            if found.start() < found.end() {
                emit(found.start()..found.end());
            }
        }
        Ok(())
    }
}
