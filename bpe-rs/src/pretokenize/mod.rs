//! Text to pieces: what the pattern cuts, merges never cross.

mod bounds;
mod classes;
mod engine;
mod masks;
mod patterns;
mod scalar;
mod scanner;

use std::ops::Range;

pub use engine::Engine;
pub use patterns::{NamedPattern, Rules, NAMED};
pub use scanner::Scanner;

use crate::error::{Error, Result};
use classes::{class_at, SPACE};

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
        if text.len() > u32::MAX as usize {
            return Err(Error::invalid(format!(
                "expected texts below 4 GiB, got {} bytes: cut it into parts",
                text.len()
            )));
        }
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
    /// that is not named.
    pub fn safe_cut(&self, text: &[u8], from: usize, near: usize) -> Option<usize> {
        self.named?;
        // `text` may end inside a character: none that is looked at may reach beyond it.
        let near = near.min(text.len().saturating_sub(4));
        (from + 1..=near).rev().find(|&at| {
            let (before, here) = (text[at - 1], text[at]);
            match here {
                // A word takes the one blank before it, and another word ended before that.
                b' ' => {
                    before.is_ascii_alphabetic()
                        && text.get(at + 1).is_some_and(u8::is_ascii_alphabetic)
                }
                // Nothing but white space and punctuation reaches across a line's end.
                _ if before == b'\n' => {
                    let solid = |at: usize| class_at(text, at).0 & SPACE == 0;
                    let first_of = |at: usize| (0..=at).rev().find(|&i| text[i] & 0xC0 != 0x80);
                    // At its end a text keeps white space together that GPT-2 elsewhere splits.
                    (here.is_ascii_alphanumeric() || here >= 0xC2 && solid(at))
                        && at >= from + 2
                        && first_of(at - 2).is_some_and(solid)
                }
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests;
