//! Text to ids and nothing else: the fast path.
//!
//! Its reference is `TokenDetails::add`, which also records where every token comes from.

use super::added_tokens::TextSegment;
use super::aligned::AlignedText;
use super::dropout::Random;
use super::pre_tokenize::PreTokenized;
use super::tokenizer::Tokenizer;
use crate::encode::{Rows, Scratch};
use crate::error::Result;

impl Tokenizer {
    /// Append the ids of a text. `random` decides about dropout.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up on the text.
    pub(super) fn encode_text(
        &self,
        text: &str,
        random: &mut Random,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.model
            .with_scratch(|scratch| self.encode_text_with(scratch, text, random, ids))
    }

    /// The ids of many texts, on several threads where that is faster. There must be no dropout,
    /// whose random numbers depend on the order of the texts.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_text`], for the first text that fails; `Invalid` for one of 4 GiB or
    /// more.
    pub(super) fn encode_texts(&self, texts: &[&str]) -> Result<Rows> {
        self.model.encode_texts(texts, |scratch, text, ids| {
            self.encode_text_with(scratch, text, &mut Random::default(), ids)
        })
    }

    fn encode_text_with(
        &self,
        scratch: &mut Scratch,
        text: &str,
        random: &mut Random,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let normalizers = &self.pipeline.normalizers;
        let pre_tokenizer = &self.pipeline.compiled_pre_tokenizer;
        self.split_raw(text, |TextSegment { range, added }| {
            if let Some(id) = added {
                ids.push(id);
                return Ok(());
            }
            let part = &text[range.clone()];
            let is_kept = normalizers.surely_keeps(part);
            let mut part = match pre_tokenizer.needs_alignment(!is_kept) {
                true => AlignedText::new(part, range.start),
                false => AlignedText::unaligned(part, range.start),
            };
            if !is_kept {
                normalizers.normalize(&mut part)?;
            }
            self.split_normalized(&part.text, |TextSegment { range, added }| match added {
                Some(id) => {
                    ids.push(id);
                    Ok(())
                }
                None => self.encode_plain(part.slice(range), scratch, random, ids),
            })
        })
    }

    /// Append the ids of normalised text without added tokens.
    fn encode_plain(
        &self,
        text: AlignedText<'_>,
        scratch: &mut Scratch,
        random: &mut Random,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let (model, pre_tokenizer) = (&self.model, &self.pipeline.compiled_pre_tokenizer);
        if let Some(pattern) = pre_tokenizer.sole_pattern() {
            if model.encode_pattern(pattern, &text.text, scratch, ids)? {
                return Ok(());
            }
        }
        let PreTokenized { text, pieces } = pre_tokenizer.pre_tokens(text)?;
        model.encode_pieces(&text.text, &pieces, scratch, random, ids)
    }
}
