//! Text to pieces: what the pattern cuts, merges never cross.

mod engine;
mod patterns;

use std::ops::Range;

pub use engine::Engine;
pub use patterns::{NamedPattern, Rules, NAMED};

use crate::error::Result;

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

    /// Call `emit` with every piece of `text`, in order.
    ///
    /// Errors: `Pattern` when the regex engine gives up (never for a named pattern).
    pub fn pieces(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        self.engine.pieces(text, emit)
    }

    /// Call `emit(base, bounds)` for stretches of pieces without gaps: piece `i` of a stretch is
    /// `base + bounds[i] .. base + bounds[i + 1]`. The form for hot loops: one call for hundreds
    /// of pieces.
    ///
    /// Errors: as [`Self::pieces`].
    pub fn stretches(&self, text: &str, emit: &mut dyn FnMut(usize, &[u32])) -> Result<()> {
        const PIECES: usize = 512;
        const BYTES: usize = 1 << 30;
        let (mut base, mut bounds) = (0, Vec::with_capacity(PIECES + 1));
        self.pieces(text, &mut |piece| {
            let end = base + bounds.last().map_or(0, |&b| b as usize);
            let full = bounds.len() > PIECES || piece.end - base > BYTES;
            if bounds.is_empty() || end != piece.start || full {
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
        let near = near.min(text.len().saturating_sub(1));
        (from + 1..=near).rev().find(|&at| {
            text[at] == b' '
                && text[at - 1].is_ascii_alphabetic()
                && text.get(at + 1).is_some_and(u8::is_ascii_alphabetic)
        })
    }
}
