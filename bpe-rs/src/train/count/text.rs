//! Cutting texts into words.

use crate::error::Result;
use crate::pretokenize::Pretokenizer;
use crate::special::Finder;
use crate::text_cuts::TextCuts;

use super::table::WordTable;

/// Cuts text into words: by a pattern, after special tokens are cut out.
pub(super) struct Splitter {
    pub(super) pattern: Pretokenizer,
    pub(super) special: Vec<String>,
    finder: Finder,
}

impl Splitter {
    pub(super) fn new(pattern: &str, special: &[String]) -> Result<Self> {
        Ok(Self {
            pattern: Pretokenizer::new(pattern)?,
            finder: Finder::new(special.iter().map(String::as_str)),
            special: special.to_vec(),
        })
    }

    /// Counts the words of `text`, which stands at `origin` in the corpus.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up; `Invalid` for a text of 4 GiB or more.
    pub(super) fn count(&self, text: &str, origin: u64, table: &mut WordTable) -> Result<()> {
        let mut from = 0;
        while let Some((start, special)) = self.finder.find(text, from) {
            self.count_plain(&text[from..start], origin + from as u64, table)?;
            from = start + special.len();
        }
        self.count_plain(&text[from..], origin + from as u64, table)
    }

    fn count_plain(&self, text: &str, origin: u64, table: &mut WordTable) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.pattern.stretches(text, &mut |base, bounds| {
            table.add_pieces(text.as_bytes(), base, bounds, origin);
        })
    }

    /// Where a text may be cut so that the words of the parts are those of the whole.
    pub(super) fn cuts(&self) -> TextCuts<'_> {
        TextCuts::new(&self.pattern, self.special.iter().map(String::as_str))
    }
}
