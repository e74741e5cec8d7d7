//! Text to ids and nothing else: the fast path.
//!
//! Its reference is `TokenDetails::add`, which also records where every token comes from.

use super::added_tokens::TextSegment;
use super::pre_tokenize::PreToken;
use super::tokenizer::Tokenizer;
use crate::encode::{Rows, Scratch};
use crate::error::Result;

impl Tokenizer {
    /// Append the ids of a text.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up on the text.
    pub(super) fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        self.model
            .with_scratch(|scratch| self.encode_text_with(scratch, text, ids))
    }

    /// The ids of many texts, on several threads where that is faster.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_text`], for the first text that fails; `Invalid` for one of 4 GiB or
    /// more.
    pub(super) fn encode_texts(&self, texts: &[&str]) -> Result<Rows> {
        self.model.encode_texts(texts, |scratch, text, ids| {
            self.encode_text_with(scratch, text, ids)
        })
    }

    fn encode_text_with(
        &self,
        scratch: &mut Scratch,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.split_raw(text, |TextSegment { range, added }| {
            if let Some(id) = added {
                ids.push(id);
                return Ok(());
            }
            let part = &text[range];
            let normalized;
            let part = if self.pipeline.normalizers.surely_keeps(part) {
                part
            } else {
                normalized = self.pipeline.normalizers.apply(part);
                &normalized
            };
            self.split_normalized(part, |TextSegment { range, added }| {
                if let Some(id) = added {
                    ids.push(id);
                    return Ok(());
                }
                self.encode_plain(&part[range], scratch, ids)
            })
        })
    }

    /// Append the ids of normalised text without added tokens.
    fn encode_plain(&self, text: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) -> Result<()> {
        let model = &self.model;
        if model.has_all_bytes() {
            if let Some(pattern) = self.pipeline.compiled_pre_tokenizer.sole_pattern() {
                return model.encode_pattern(pattern, text, scratch, ids);
            }
        }
        for PreToken { range, space_added } in self.pre_tokens(text)? {
            let piece = &text[range];
            if space_added {
                model.encode_piece(format!(" {piece}").as_bytes(), scratch, ids)?;
            } else {
                model.encode_piece(piece.as_bytes(), scratch, ids)?;
            }
        }
        Ok(())
    }
}
