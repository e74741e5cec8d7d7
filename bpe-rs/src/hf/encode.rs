//! Encoding: inputs to [`Encoding`]s, alone or in batches, and the fast path that gives ids only.

use std::sync::Arc;

use super::encoding::Encoding;
use super::post;
use super::source::Source;
use super::tokenizer::Tokenizer;
use crate::error::Result;
use crate::format::params::{Padding, Truncation};
use crate::threads::{self, ReusableBuffers};

/// One input sequence.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A text.
    Text(&'a str),
    /// Words, each encoded by itself.
    Words(Vec<&'a str>),
}

impl Tokenizer {
    /// Encodes one input or a pair: truncation, special tokens; no padding.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up; `Invalid` where truncation cannot be met.
    pub fn encode(
        &self,
        input: &Input<'_>,
        pair: Option<&Input<'_>>,
        add_special_tokens: bool,
        truncation: Option<&Truncation>,
    ) -> Result<Encoding> {
        let first = self.encode_input(input, 0)?;
        let second = pair.map(|pair| self.encode_input(pair, 1)).transpose()?;
        self.post_process(first, second, add_special_tokens, truncation)
    }

    fn encode_input(&self, input: &Input<'_>, type_id: u32) -> Result<Encoding> {
        let source = match input {
            Input::Text(text) => Source::of_text(self, text)?,
            Input::Words(words) => Source::of_words(self, words)?,
        };
        Ok(Encoding::of_source(Arc::new(source), type_id))
    }

    /// Truncates, then puts special tokens around: what follows the encoding of the sequences.
    ///
    /// # Errors
    /// `Invalid` where truncation cannot be met.
    pub fn post_process(
        &self,
        first: Encoding,
        second: Option<Encoding>,
        add_special_tokens: bool,
        truncation: Option<&Truncation>,
    ) -> Result<Encoding> {
        let (mut first, mut second) = (first, second);
        if let Some(truncation) = truncation {
            let added = match add_special_tokens {
                true => self.added_by_post_processor(second.is_some()),
                false => 0,
            };
            // Special tokens that do not fit at all: Hugging Face's engine then truncates nothing.
            if let Some(room) = truncation.max_length.checked_sub(added) {
                post::truncate(&mut first, second.as_mut(), room, truncation)?;
            }
        }
        let processor = self.parts.post_processor.as_ref();
        Ok(post::process(processor, first, second, add_special_tokens))
    }

    /// How many special tokens the post-processor adds.
    pub fn added_by_post_processor(&self, is_pair: bool) -> usize {
        self.parts
            .post_processor
            .as_ref()
            .map_or(0, |processor| post::count(processor, is_pair))
    }

    /// Encodes many inputs, on several threads where there is enough to do, and pads them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], for the first input that fails.
    pub fn encode_batch(
        &self,
        inputs: &[(Input<'_>, Option<Input<'_>>)],
        add_special_tokens: bool,
        truncation: Option<&Truncation>,
        padding: Option<&Padding>,
    ) -> Result<Vec<Encoding>> {
        let encode = |inputs: &[(Input<'_>, Option<Input<'_>>)]| {
            inputs
                .iter()
                .map(|(input, pair)| {
                    self.encode(input, pair.as_ref(), add_special_tokens, truncation)
                })
                .collect::<Result<Vec<_>>>()
        };
        let size = |input: &Input<'_>| match input {
            Input::Text(text) => text.len(),
            Input::Words(words) => words.iter().map(|word| word.len()).sum(),
        };
        let bytes: usize = inputs
            .iter()
            .map(|(input, pair)| size(input) + pair.as_ref().map_or(0, size))
            .sum();
        // Below this the threads cost more than they save.
        const BYTES_A_THREAD: usize = 64 << 10;
        let threads = threads::available()
            .min(bytes / BYTES_A_THREAD)
            .min(inputs.len())
            .max(1);
        let chunks: Vec<_> = inputs
            .chunks(inputs.len().div_ceil(threads * 4).max(1))
            .collect();
        let mut encodings = Vec::with_capacity(inputs.len());
        let work = |_, (): &mut (), made: &mut Vec<Encoding>, at: usize| {
            *made = encode(chunks[at])?;
            Ok(())
        };
        let done = |made: &mut Vec<Encoding>, _| {
            encodings.append(made);
            Ok(())
        };
        threads::in_order(
            chunks.len(),
            threads,
            &mut ReusableBuffers::default(),
            work,
            done,
        )?;
        if let Some(padding) = padding {
            post::pad_batch(&mut encodings, padding);
        }
        Ok(encodings)
    }

    /// Appends the ids of a text.
    pub(super) fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut stretches = Vec::new();
        self.cut_raw(text, &mut stretches);
        let mut inner = Vec::new();
        for (range, token) in stretches {
            if let Some(id) = token {
                ids.push(id);
                continue;
            }
            let part = &text[range];
            let normalized;
            let part = if self.parts.normalizers.keeps(part) {
                part
            } else {
                normalized = self.parts.normalizers.apply(part);
                &normalized
            };
            inner.clear();
            self.cut_normalized(part, &mut inner);
            for (range, token) in inner.drain(..) {
                match token {
                    Some(id) => ids.push(id),
                    None => self.encode_segment(&part[range], ids)?,
                }
            }
        }
        Ok(())
    }

    /// Appends the ids of text that is normalised and has no added tokens.
    fn encode_segment(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        if self.model.has_all_bytes() {
            if let Some(pattern) = self.parts.splitter.sole_pattern() {
                return self.model.encode_pattern(pattern, text, ids);
            }
        }
        for (range, prefixed) in self.pieces(text)? {
            let piece = &text[range];
            if prefixed {
                self.encode_piece(format!(" {piece}").as_bytes(), ids)?;
            } else {
                self.encode_piece(piece.as_bytes(), ids)?;
            }
        }
        Ok(())
    }
}
