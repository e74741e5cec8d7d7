//! The reference implementation: any regular expression, run by a regex engine.

use std::ops::Range;

use fancy_regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};
use crate::threads::{check_interrupt, ForkOnce};

/// Backtracking steps in one match after which the engine gives up with an error.
const BACKTRACK_LIMIT: usize = 10_000_000;

/// A regular expression, compiled when first used.
///
/// A named pattern needs it in tests only, and compiling classes such as `\p{L}` takes milliseconds,
/// which a short-lived process would notice.
#[derive(Debug)]
pub struct RegexEngine {
    pattern: String,
    regex: ForkOnce<Regex>,
}

impl RegexEngine {
    /// An engine for a pattern that is known to be valid, compiled at first use.
    pub(super) fn lazy(pattern: &str) -> Self {
        Self {
            pattern: pattern.into(),
            regex: ForkOnce::new(),
        }
    }

    /// Compile `pattern` now.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is not a regular expression.
    pub(super) fn new(pattern: &str) -> Result<Self> {
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
    /// # Errors
    ///
    /// `Pattern` when the engine gives up, `Interrupted` when the caller wants to stop.
    pub fn pieces(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        /// Matches between two checks whether the caller wants to stop.
        const MATCHES_PER_CHECK: usize = 1 << 12;
        for (i, found) in self.regex()?.find_iter(text).enumerate() {
            if i % MATCHES_PER_CHECK == MATCHES_PER_CHECK - 1 {
                check_interrupt()?;
            }
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
