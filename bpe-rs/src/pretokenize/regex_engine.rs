//! The reference implementation: any regular expression, run by a regex engine.

use std::ops::Range;

use fancy_regex::{Expr, Regex, RegexBuilder};

use crate::error::{Error, Result};
use crate::threads::{check_interrupt, ForkOnce};

/// Backtracking steps in one match after which the engine gives up with an error.
const BACKTRACK_LIMIT: usize = 10_000_000;

/// A regular expression, compiled when first used: named patterns need it in tests only, and
/// compiling classes such as `\p{L}` takes milliseconds, which a short-lived process would notice.
#[derive(Debug)]
pub struct RegexEngine {
    pattern: String,
    /// Whether `regex` is the first half of `pattern`, see [`gaps_kept`].
    keeps_gaps: bool,
    regex: ForkOnce<Regex>,
}

impl RegexEngine {
    /// An engine for a pattern that is known to be valid, compiled at first use.
    pub(super) fn lazy(pattern: &str) -> Self {
        Self {
            pattern: pattern.into(),
            keeps_gaps: gaps_kept(pattern).is_some(),
            regex: ForkOnce::new(),
        }
    }

    /// Compile `pattern` now.
    ///
    /// # Errors
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
        let searched = gaps_kept(&self.pattern).unwrap_or(&self.pattern);
        let regex = RegexBuilder::new(searched)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|error| not_a_regex(&self.pattern, &error))?;
        Ok(self.regex.get_or_init(|| regex))
    }

    /// Call `emit` with every match that is not empty, in order. Text between matches is left out,
    /// as tiktoken does.
    ///
    /// # Errors
    /// `Pattern` when the engine gives up, `Interrupted` when the caller wants to stop.
    pub fn pieces(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        self.matches(text, &mut |found| {
            if !found.is_empty() {
                emit(found);
            }
        })
    }

    /// [`Self::pieces`] with the empty matches, but for those at the end of another match.
    pub(crate) fn matches(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        /// Matches between two checks whether the caller wants to stop.
        const MATCHES_PER_CHECK: usize = 1 << 12;
        let mut end = 0;
        for (i, found) in self.regex()?.find_iter(text).enumerate() {
            if i % MATCHES_PER_CHECK == MATCHES_PER_CHECK - 1 {
                check_interrupt()?;
            }
            let found = found.map_err(|e| {
                Error::pattern(format!(
                    "the regex engine gave up on a text of {} bytes with pattern {}: {e}; shorten \
                     the text or use a named pattern",
                    text.len(),
                    self.pattern
                ))
            })?;
            if self.keeps_gaps && end < found.start() {
                emit(end..found.start());
            }
            end = found.end();
            emit(found.range());
        }
        if self.keeps_gaps && end < text.len() {
            emit(end..text.len());
        }
        Ok(())
    }

    /// Whether the pattern can match nothing somewhere in a text. A match of nothing cuts a text
    /// without being a piece of it.
    pub(crate) fn may_match_nothing(pattern: &str) -> Result<bool> {
        let tree = Expr::parse_tree(pattern).map_err(|e| not_a_regex(pattern, &e))?;
        Ok(may_be_empty(&tree.expr))
    }
}

/// `X` where `pattern` is `X|(?:(?!X)[\s\S])+`: the matches of X and all that stands between them.
/// To search for X alone gives the same pieces, without a look for X before every character.
fn gaps_kept(pattern: &str) -> Option<&str> {
    let rest = pattern.len().checked_sub(r"|(?:(?!)[\s\S])+".len())?;
    let x = pattern.get(..rest / 2)?;
    let is_so = pattern == format!(r"{x}|(?:(?!{x})[\s\S])+");
    // `\G` and `\K` depend on where a search began, and an empty match would be no piece.
    let plain = || !x.contains(r"\G") && !x.contains(r"\K");
    (is_so && plain() && matches!(RegexEngine::may_match_nothing(x), Ok(false))).then_some(x)
}

fn not_a_regex(pattern: &str, error: &fancy_regex::Error) -> Error {
    Error::invalid(format!(
        "expected a regular expression or one of the named patterns, got {pattern}: {error}"
    ))
}

/// Whether `expr` may match nothing; true for what is not looked into.
fn may_be_empty(expr: &Expr) -> bool {
    match expr {
        Expr::Any { .. } | Expr::GeneralNewline { .. } | Expr::Delegate { .. } => false,
        Expr::Literal { val, .. } => val.is_empty(),
        Expr::Concat(parts) => parts.iter().all(may_be_empty),
        Expr::Alt(parts) => parts.iter().any(may_be_empty),
        Expr::Group(inner) => may_be_empty(inner),
        Expr::AtomicGroup(inner) => may_be_empty(inner),
        Expr::Repeat { child, lo, .. } => *lo == 0 || may_be_empty(child),
        _ => true,
    }
}
