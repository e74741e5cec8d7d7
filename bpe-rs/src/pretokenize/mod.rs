//! Text to pieces: what the pattern cuts, merges never cross.

mod bounds;
mod classes;
mod cuts;
mod engine;
mod masks;
mod patterns;
mod scalar;
mod scanner;

use std::ops::Range;

pub(crate) use cuts::TextCuts;
pub use engine::Engine;
pub use patterns::{NamedPattern, Rules, NAMED};
pub use scanner::Scanner;

use crate::error::{Error, Result};
use classes::{class_at, LETTER, NUMBER, SPACE, WORD};

/// Cuts text into pieces by a named pattern or by any regular expression.
#[derive(Debug)]
pub struct Pretokenizer {
    named: Option<&'static NamedPattern>,
    regex: String,
    engine: Engine,
}

impl Pretokenizer {
    /// `pattern`: a name ("gpt2", "cl100k", "o200k", "llama3", "qwen2", ...) or a regular
    /// expression. One that equals a named pattern's takes the fast path.
    ///
    /// Errors: `Invalid` when it is neither.
    pub fn new(pattern: &str) -> Result<Self> {
        let named = patterns::find(pattern);
        let regex = named.map_or(pattern, |n| n.regex);
        // An unnamed pattern is compiled now so that a mistake in it is told where it was made.
        let engine = if named.is_some() {
            Engine::lazy(regex)
        } else {
            Engine::new(regex)?
        };
        // Keep the caller's spelling of a known expression: files round-trip unchanged.
        let by_name = named.is_some_and(|n| n.name == pattern || n.aliases.contains(&pattern));
        let regex = if by_name { regex } else { pattern }.to_string();
        Ok(Self {
            named,
            regex,
            engine,
        })
    }

    /// The regular expression.
    pub fn regex(&self) -> &str {
        &self.regex
    }

    /// The named pattern's name, if it is one.
    pub fn name(&self) -> Option<&'static str> {
        self.named.map(|n| n.name)
    }

    /// The regex engine on the same pattern: the twin that every fast path is tested against.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The named pattern's rules, for a [`Scanner`].
    pub fn rules(&self) -> Option<Rules> {
        self.named.map(|n| n.rules)
    }

    /// Call `emit` with every piece of `text`, in order.
    ///
    /// Errors: `Pattern` when the regex engine gives up (never for a named pattern).
    pub fn pieces(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        self.stretches(text, &mut |base, bounds| {
            for piece in bounds.windows(2) {
                emit(base + piece[0] as usize..base + piece[1] as usize);
            }
        })
    }

    /// Call `emit(base, bounds)` for stretches of pieces without gaps: piece `i` of a stretch is
    /// `base + bounds[i] .. base + bounds[i + 1]`. The form for hot loops: one call for hundreds
    /// of pieces.
    ///
    /// Errors: as [`Self::pieces`], and `Invalid` for a text of 4 GiB or more.
    pub fn stretches(&self, text: &str, emit: &mut dyn FnMut(usize, &[u32])) -> Result<()> {
        check_length(text)?;
        let Some(rules) = self.rules() else {
            return self.engine_stretches(text, emit);
        };
        let (mut scanner, mut at) = (Scanner::new(), 0);
        while at < text.len() {
            let end = scanner.next(rules, text, at);
            emit(at, scanner.bounds());
            at = end;
        }
        Ok(())
    }

    /// [`Self::stretches`] by the regex engine.
    fn engine_stretches(&self, text: &str, emit: &mut dyn FnMut(usize, &[u32])) -> Result<()> {
        const PIECES: usize = 512;
        let (mut base, mut bounds) = (0, Vec::with_capacity(PIECES + 1));
        self.engine.pieces(text, &mut |piece| {
            let end = base + bounds.last().map_or(0, |&b| b as usize);
            if bounds.is_empty() || end != piece.start || bounds.len() > PIECES {
                if !bounds.is_empty() {
                    emit(base, &bounds);
                    bounds.clear();
                }
                base = piece.start;
                bounds.push(0);
            }
            bounds.push((piece.end - base) as u32);
        })?;
        if !bounds.is_empty() {
            emit(base, &bounds);
        }
        Ok(())
    }

    /// A position in `from + 1 ..= near` where `text` may be cut: the pieces of the two parts are
    /// the pieces of the whole. `None` where no such place is certain, and always for a pattern
    /// that is not named. `from` is a character's first byte.
    pub fn safe_cut(&self, text: &[u8], from: usize, near: usize) -> Option<usize> {
        let rules = self.named?.rules;
        // `text` may end inside a character: none that is looked at may reach beyond it.
        let near = near.min(text.len().saturating_sub(4));
        let class_before = |at: usize| {
            let first = (from..at).rev().find(|&i| text[i] & 0xC0 != 0x80);
            first.map(|first| class_at(text, first).0)
        };
        (from + 1..=near).rev().find(|&at| {
            let here = text[at];
            if here & 0xC0 == 0x80 {
                return false;
            }
            let class = class_at(text, at).0;
            let before = class_before(at).unwrap_or(0);
            // No piece goes on behind a letter with what is none, or behind a number likewise; nor
            // does one end elsewhere when the text ends there instead. But o200k's words go on
            // with marks and contractions.
            if before & NUMBER != 0 {
                return class & NUMBER == 0;
            }
            if before & LETTER != 0 {
                let in_word = rules == Rules::O200k && (class & WORD != 0 || here == b'\'');
                return class & LETTER == 0 && !in_word;
            }
            // Nothing but white space and punctuation reaches across a line's end. At its end a
            // text keeps white space together that GPT-2 elsewhere splits.
            text[at - 1] == b'\n'
                && (here.is_ascii_alphanumeric() || here >= 0xC2 && class & SPACE == 0)
                && class_before(at - 1).is_some_and(|class| class & SPACE == 0)
        })
    }
}

/// Places in a text are numbers of 32 bits.
///
/// Errors: `Invalid` for a text of 4 GiB or more.
pub(crate) fn check_length(text: &str) -> Result<()> {
    if text.len() > u32::MAX as usize {
        return Err(Error::invalid(format!(
            "expected texts below 4 GiB, got {} bytes: cut it into parts",
            text.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
