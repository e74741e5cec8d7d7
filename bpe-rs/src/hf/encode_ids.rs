//! Text to ids and nothing else: the fast path.
//!
//! Its reference is `TokenDetails::add`, which also records where every token comes from.

use super::added_tokens::TextSegment;
use super::aligned::AlignedText;
use super::dropout::Random;
use super::pre_tokenize::PreTokenized;
use super::tokenizer::Tokenizer;
use crate::encode::Scratch;
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
        let mut segments = Vec::new();
        self.split_raw(text, &mut segments);
        let mut inner = Vec::new();
        let normalizers = &self.pipeline.normalizers;
        let pre_tokenizer = &self.pipeline.compiled_pre_tokenizer;
        self.model.with_scratch(|scratch| {
            for TextSegment { range, added } in segments {
                if let Some(id) = added {
                    ids.push(id);
                    continue;
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
                inner.clear();
                self.split_normalized(&part.text, &mut inner);
                for TextSegment { range, added } in inner.drain(..) {
                    match added {
                        Some(id) => ids.push(id),
                        None => self.encode_plain(part.slice(range), scratch, random, ids)?,
                    }
                }
            }
            Ok(())
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
