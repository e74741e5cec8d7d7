//! [`Pretokenizer`]: a pattern with the implementation that cuts text by it; and where a text may be
//! cut into parts.

use std::ops::Range;

use super::classes::{class_at, LETTER, NUMBER, SPACE, WORD};
use super::patterns::{find_named, NamedPattern, Rules};
use super::regex_engine::RegexEngine;
use super::scanner::Scanner;
use crate::error::{Error, Result};
use crate::io::Cuts;

/// Cuts text into pieces by a named pattern or by any other regular expression.
#[derive(Debug)]
pub struct Pretokenizer {
    named: Option<&'static NamedPattern>,
    regex: String,
    engine: RegexEngine,
}

impl Pretokenizer {
    /// `pattern`: a name ("gpt2", "cl100k", "o200k", "llama3", "qwen2", ...) or a regular
    /// expression. One that equals a named pattern's takes the fast path.
    ///
    /// # Errors
    /// `Invalid` when it is neither.
    pub fn new(pattern: &str) -> Result<Self> {
        let named = find_named(pattern);
        let regex = named.map_or(pattern, |n| n.regex);
        // Any other pattern is compiled now, so that an error in it is reported here.
        let engine = if named.is_some() {
            RegexEngine::lazy(regex)
        } else {
            RegexEngine::new(regex)?
        };
        // Keep the caller's spelling of a known expression, so that files round-trip unchanged.
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

    /// The regex engine on the same pattern: the reference that the scanners are tested against.
    pub fn engine(&self) -> &RegexEngine {
        &self.engine
    }

    /// The rules for a [`Scanner`], if the pattern is a named one.
    pub(crate) fn rules(&self) -> Option<Rules> {
        self.named.map(|n| n.rules)
    }

    /// Call `emit` with every piece of `text`, in order.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up (never for a named pattern), and `Invalid` for a
    /// text of 4 GiB or more.
    pub fn pieces(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        self.stretches(text, &mut |base, bounds| {
            for piece in bounds.windows(2) {
                emit(base + piece[0] as usize..base + piece[1] as usize);
            }
        })
    }

    /// [`Self::pieces`] until `each` returns an error.
    pub(crate) fn try_pieces(
        &self,
        text: &str,
        mut each: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let mut result = Ok(());
        self.pieces(text, &mut |piece| {
            if result.is_ok() {
                result = each(piece);
            }
        })?;
        result
    }

    /// Call `emit(base, bounds)` for stretches of pieces without gaps: piece `i` of a stretch is
    /// `base + bounds[i] .. base + bounds[i + 1]`. This is the form for hot loops, because one call
    /// is for hundreds of pieces.
    ///
    /// # Errors
    /// As [`Self::pieces`].
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
        /// Most pieces in a stretch.
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

    /// The last position in `from + 1..=near` where a cut certainly leaves the pieces of `text` as
    /// they are, however the text goes on; `None` if there is none, or no named pattern. `from` is the
    /// first byte of a character; `text` is UTF-8, but may end inside a character.
    pub(crate) fn safe_cut(&self, text: &[u8], from: usize, near: usize) -> Option<usize> {
        let rules = self.named?.rules;
        // No character that is looked at may reach beyond the end of `text`.
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
            if rules == Rules::Superwords {
                return is_cut_of_superwords(text, from, at);
            }
            // A piece ends between a number and something else, and likewise between a letter and
            // something else, and it ends there too if the text does. But o200k's words continue
            // with marks and contractions.
            if before & NUMBER != 0 {
                return class & NUMBER == 0;
            }
            if before & LETTER != 0 {
                let in_word = rules == Rules::O200k && (class & WORD != 0 || here == b'\'');
                return class & LETTER == 0 && !in_word;
            }
            // Only white space and punctuation reach across the end of a line. The character
            // before the newline must not be white space, because GPT-2 keeps white space together
            // at the end of a text and splits it elsewhere.
            text[at - 1] == b'\n'
                && (here.is_ascii_alphanumeric() || here >= 0xC2 && class & SPACE == 0)
                && class_before(at - 1).is_some_and(|class| class & SPACE == 0)
        })
    }
}

/// [`Pretokenizer::safe_cut`] at `at` for [`Rules::Superwords`].
fn is_cut_of_superwords(text: &[u8], from: usize, at: usize) -> bool {
    let first_before = |at: usize| (from..at).rev().find(|&i| text[i] & 0xC0 != 0x80);
    let Some(last) = first_before(at) else {
        return false;
    };
    let (before, class) = (class_at(text, last).0, class_at(text, at).0);
    let is_other = |class: u8| class & (LETTER | NUMBER | SPACE) == 0;
    if (before | class) & NUMBER != 0 {
        // A number begins and ends pieces, but a run of ' ' gives its last one to what follows.
        return before & class & NUMBER == 0 && text[last] != b' ';
    }
    // Behind two of punctuation and more a piece ends. A '/' may belong to those before it.
    is_other(before)
        && !is_other(class)
        && !matches!(text[at], b'\r' | b'\n')
        && first_before(last).is_some_and(|i| is_other(class_at(text, i).0) && text[i] != b'/')
}

/// Where a text may be cut into parts that are handled independently: the pieces of the parts are
/// those of the whole, and no special token is split.
pub(crate) struct TextCuts<'a> {
    pattern: &'a Pretokenizer,
    /// In byte order.
    special: Vec<&'a [u8]>,
    /// Length of the longest special token.
    longest: usize,
}

impl<'a> TextCuts<'a> {
    pub(crate) fn new(
        pattern: &'a Pretokenizer,
        special: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut special: Vec<&[u8]> = special.into_iter().map(str::as_bytes).collect();
        special.sort_unstable();
        Self {
            pattern,
            longest: special.iter().map(|token| token.len()).max().unwrap_or(0),
            special,
        }
    }

    /// The start of a special token that begins before `cut` and ends after it, or would if the text
    /// went on so.
    fn special_across(&self, text: &[u8], cut: usize) -> Option<usize> {
        let first = cut.saturating_sub(self.longest.saturating_sub(1));
        (first..cut).find(|&start| {
            // What reaches over the cut begins like the text up to there and one byte more.
            let begin = &text[start..text.len().min(cut + 1)];
            let from = self.special.partition_point(|special| *special < begin);
            let alike = self.special[from..].iter();
            let mut alike = alike.take_while(|special| special.starts_with(begin));
            alike.any(|special| {
                let seen = special.len().min(text.len() - start);
                start + special.len() > cut && text[start..start + seen] == special[..seen]
            })
        })
    }
}

impl Cuts for TextCuts<'_> {
    fn exist(&self) -> bool {
        self.pattern.rules().is_some()
    }

    fn context(&self) -> usize {
        self.longest
    }

    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut near = text.len();
        loop {
            let cut = self.pattern.safe_cut(text, from, near)?;
            match self.special_across(text, cut) {
                None => return Some(cut),
                Some(start) if start > from => near = start,
                Some(_) => return None,
            }
        }
    }
}

/// Check that positions in `text` fit into 32 bits.
///
/// # Errors
/// `Invalid` for a text of 4 GiB or more.
pub(crate) fn check_length(text: &str) -> Result<()> {
    if text.len() > u32::MAX as usize {
        return Err(Error::invalid(format!(
            "expected texts below 4 GiB, got {} bytes: cut it into parts",
            text.len()
        )));
    }
    Ok(())
}
