//! Texts in which a mark is to stand for every space, encoded as they are.
//!
//! SentencePiece writes U+2581 for a space, and so does the normaliser or the pre-tokenizer of a
//! vocabulary that comes from there. Writing it takes time, and pieces with it are two bytes longer,
//! so that fewer fit the caches. Here a space simply has the symbol of the mark.

use memchr::memmem::Finder;

use super::model::Model;
use super::normalize::Normalizers;
use super::pre_tokenize::CompiledPreTokenizer;
use crate::encode::{encode_pieces, Scratch, ScratchPool};
use crate::error::Result;
use crate::format::components::PrependScheme;
use crate::vocab::Symbols;

/// What a pipeline does with spaces, and a vocabulary in which they are marks.
#[derive(Debug)]
pub(super) struct Spaces {
    /// Finds the mark in a text.
    mark: Finder<'static>,
    begin: Begin,
    /// Whether pieces begin at spaces; else a text is one piece.
    cuts: bool,
    symbols: Symbols,
    /// Apart from those of the model, in whose caches a space is a space.
    pool: ScratchPool,
}

/// Where a text gets a mark before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Never,
    Always,
    /// Before one that begins with no space; with `true` only at the start of the original.
    WithoutSpace(bool),
}

impl Spaces {
    /// For a pipeline that does nothing but write a mark for each space and perhaps before the text;
    /// `None` for others.
    pub(super) fn new(
        model: &Model,
        normalizers: &Normalizers,
        pre_tokenizer: &CompiledPreTokenizer,
    ) -> Option<Self> {
        let (mark, begin, cuts) = match (normalizers.space_mark(), pre_tokenizer.sole_metaspace()) {
            (Some((mark, prepends)), _) if pre_tokenizer.only_cuts_at_spaces() => {
                let begin = if prepends {
                    Begin::Always
                } else {
                    Begin::Never
                };
                (mark, begin, false)
            }
            (None, Some(settings)) if normalizers.is_empty() => {
                let begin = match settings.prepend_scheme {
                    PrependScheme::Always => Begin::WithoutSpace(false),
                    PrependScheme::First => Begin::WithoutSpace(true),
                    PrependScheme::Never => Begin::Never,
                };
                (settings.replacement, begin, settings.split)
            }
            _ => return None,
        };
        Some(Self {
            mark: Finder::new(mark.encode_utf8(&mut [0; 4])).into_owned(),
            begin,
            cuts,
            symbols: model.symbols_with_space_as(mark).filter(|_| mark != ' ')?,
            pool: ScratchPool::default(),
        })
    }

    /// Buffers and caches for [`Self::encode`].
    pub(super) fn pool(&self) -> &ScratchPool {
        &self.pool
    }

    /// Append the ids of a text that begins at byte `start` of the original; `false` for a text with the
    /// mark itself, for which nothing is done. `scratch` is of the pool.
    ///
    /// # Errors
    /// As [`encode_pieces`].
    pub(super) fn encode(
        &self,
        model: &Model,
        text: &str,
        start: usize,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<bool> {
        if text.is_empty() || self.mark.find(text.as_bytes()).is_some() {
            return Ok(false);
        }
        let begins_with_mark = match self.begin {
            Begin::Never => false,
            Begin::Always => true,
            Begin::WithoutSpace(at_start_only) => {
                !text.starts_with(' ') && (start == 0 || !at_start_only)
            }
        };
        let longer;
        let text = match begins_with_mark {
            true => {
                longer = [" ", text].concat();
                &longer
            }
            false => text,
        };
        let cuts = || {
            // Nothing to be found where a text is one piece.
            let searched = if self.cuts { text } else { "" };
            let spaces = memchr::memchr_iter(b' ', searched.as_bytes());
            spaces.filter(|&at| at > 0)
        };
        let pieces = [0]
            .into_iter()
            .chain(cuts())
            .zip(cuts().chain([text.len()]));
        let pieces = pieces.map(|(start, end)| start..end);
        encode_pieces(
            &model.vocab,
            Some(&self.symbols),
            text,
            pieces,
            scratch,
            ids,
        )?;
        Ok(true)
    }
}
