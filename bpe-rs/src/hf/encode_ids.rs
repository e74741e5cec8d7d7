//! Text to ids and nothing else: the fast path.
//!
//! Its reference is `TokenDetails::add`, which also records where every token comes from.

use super::added_tokens::TextSegment;
use super::aligned::AlignedText;
use super::dropout::Random;
use super::layout::{Layout, Part};
use super::pre_tokenize::PreTokenized;
use super::tokenizer::Tokenizer;
use crate::encode::{encode_into, encode_texts, EncodeText, Rows, Scratch};
use crate::error::Result;
use crate::pretokenize::Pretokenizer;
use crate::threads;
use crate::vocab::Vocab;

impl EncodeText for Tokenizer {
    fn append_ids(&self, scratch: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        self.encode_text_with(scratch, text, &mut Random::default(), ids)
    }

    fn by_pattern(&self, text: &str) -> Option<(&Vocab, &Pretokenizer)> {
        self.sole_pattern_of(text)
    }
}

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
        self.pool()
            .with(|scratch| self.encode_text_with(scratch, text, random, ids))
    }

    /// Call `take` with the ids of one text and of the special tokens that `layout`, that of one
    /// sequence, puts around it. They lie in a reusable buffer, because for a short text an allocation
    /// takes a good part of the time. `None` where dropout must not be asked twice.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`].
    pub fn with_text_ids<T>(
        &self,
        text: &str,
        layout: &Layout,
        take: impl FnOnce(&[u32]) -> T,
    ) -> Result<Option<T>> {
        if self.model.has_dropout() {
            return Ok(None);
        }
        self.pool().with(|scratch| {
            scratch.with_ids(|scratch, ids| {
                self.append_text_ids(scratch, text, layout, ids)?;
                Ok(Some(take(ids)))
            })
        })
    }

    /// [`Tokenizer::with_text_ids`] of a long text, in memory of their own.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`].
    pub fn text_ids(&self, text: &str, layout: &Layout) -> Result<Option<Vec<u32>>> {
        if self.model.has_dropout() {
            return Ok(None);
        }
        let mut ids = Vec::new();
        self.pool()
            .with(|scratch| self.append_text_ids(scratch, text, layout, &mut ids))?;
        Ok(Some(ids))
    }

    fn append_text_ids(
        &self,
        scratch: &mut Scratch,
        text: &str,
        layout: &Layout,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        // Enough for most texts; reserving too much costs less than growing.
        ids.reserve(text.len() / 3 + 64);
        layout.parts.iter().try_for_each(|part| match *part {
            Part::Special { id, .. } => {
                ids.push(id);
                Ok(())
            }
            Part::Sequence { .. } => {
                self.encode_text_with(scratch, text, &mut Random::default(), ids)
            }
        })
    }

    /// The ids of many texts, on several threads where that is faster. There must be no dropout,
    /// whose random numbers depend on the order of the texts.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_text`], for the first text that fails; `Invalid` for one of 4 GiB or
    /// more.
    pub(super) fn encode_texts(&self, texts: &[&str]) -> Result<Rows> {
        encode_texts(self.pool(), texts, threads::available_threads(), self)
    }

    /// The vocabulary and the pattern of `text` if that is one part, which stays as it is and which a
    /// pattern cuts; `None` where this takes more than a quick look.
    #[inline]
    fn sole_pattern_of(&self, text: &str) -> Option<(&Vocab, &Pretokenizer)> {
        let pattern = self.pipeline.compiled_pre_tokenizer.sole_pattern()?;
        let vocab = self.model.vocab_of_all_bytes()?;
        let added = &self.pipeline.added;
        let is_one_part = !added.raw.may_match(text) && !added.normalized.may_match(text);
        let is_kept = is_one_part && self.pipeline.normalizers.surely_keeps(text);
        is_kept.then_some((vocab, pattern))
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
        // So it is with most texts. Of a short one even this look takes a good part of the time.
        if let Some((vocab, pattern)) = self.sole_pattern_of(text) {
            return encode_into(vocab, pattern, text, scratch, ids);
        }
        self.split_raw(text, |TextSegment { range, added }| {
            if let Some(id) = added {
                ids.push(id);
                return Ok(());
            }
            let part = &text[range.clone()];
            let is_kept = normalizers.surely_keeps(part);
            let encode = |scratch: &mut Scratch, ids: &mut Vec<u32>, random: &mut Random| {
                self.encode_part(part, range.start, is_kept, scratch, random, ids)
            };
            // To encode what only a pattern cuts takes little longer than to remember it.
            let is_quick = is_kept && pre_tokenizer.sole_pattern().is_some();
            if is_quick || self.model.has_dropout() {
                return encode(scratch, ids, random);
            }
            let tag = self.tag(range.start == 0);
            let key = scratch.memo.key(tag, part);
            if let Some(known) = scratch.memo.ids(key, tag, part) {
                ids.extend_from_slice(known);
                return Ok(());
            }
            let done = ids.len();
            encode(scratch, ids, random)?;
            scratch.memo.insert(key, tag, part, &ids[done..]);
            Ok(())
        })
    }

    /// Append the ids of `part`, which lies between added tokens of a text from its byte `start` on;
    /// `is_kept`: normalisation surely does not change it.
    fn encode_part(
        &self,
        part: &str,
        start: usize,
        is_kept: bool,
        scratch: &mut Scratch,
        random: &mut Random,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if let Some(spaces) = &self.spaces {
            // Those of normalised text may have marks.
            if self.pipeline.added.normalized.is_empty()
                && spaces.encode(&self.model, part, start, scratch, ids)?
            {
                return Ok(());
            }
        }
        let needs_alignment = self
            .pipeline
            .compiled_pre_tokenizer
            .needs_alignment(!is_kept);
        let mut part = match needs_alignment {
            true => AlignedText::new(part, start),
            false => AlignedText::unaligned(part, start),
        };
        if !is_kept {
            self.pipeline.normalizers.normalize(&mut part)?;
        }
        self.split_normalized(&part.text, |TextSegment { range, added }| match added {
            Some(id) => {
                ids.push(id);
                Ok(())
            }
            None => self.encode_plain(part.slice(range), scratch, random, ids),
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
        if let (Some(pattern), Some(vocab)) =
            (pre_tokenizer.sole_pattern(), model.vocab_of_all_bytes())
        {
            return encode_into(vocab, pattern, &text.text, scratch, ids);
        }
        let PreTokenized { text, pieces } = pre_tokenizer.pre_tokens(text)?;
        model.encode_pieces(&text.text, &pieces, scratch, random, ids)
    }
}
