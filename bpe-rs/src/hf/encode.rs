//! Encoding of single inputs and of batches.

use super::encoded_input::EncodedInput;
use super::encoded_sequence::EncodedSequence;
use super::post_process;
use super::tokenizer::Tokenizer;
use crate::error::Result;
use crate::format::components::{Padding, Truncation};
use crate::threads::{self, ReusableBuffers};

/// One input sequence.
#[derive(Clone, Debug)]
pub enum InputSequence<'a> {
    /// A text.
    Text(&'a str),
    /// Words, each encoded by itself.
    Words(Vec<&'a str>),
}

/// An input: one sequence or a pair.
pub type InputPair<'a> = (InputSequence<'a>, Option<InputSequence<'a>>);

impl InputSequence<'_> {
    /// The number of texts that are encoded each by itself.
    pub(super) fn texts(&self) -> usize {
        match self {
            Self::Text(_) => 1,
            Self::Words(words) => words.len(),
        }
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Words(words) => words.iter().map(|word| word.len()).sum(),
        }
    }
}

impl Tokenizer {
    /// Encode one sequence or a pair, truncate it and add special tokens; no padding.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up; `Invalid` where truncation cannot be met.
    pub fn encode(
        &self,
        input: &InputSequence<'_>,
        pair: Option<&InputSequence<'_>>,
        add_special_tokens: bool,
        truncation: Option<&Truncation>,
    ) -> Result<EncodedInput> {
        let first = self.encode_sequence(input, 0)?;
        let second = pair.map(|pair| self.encode_sequence(pair, 1)).transpose()?;
        self.post_process(first, second, add_special_tokens, truncation)
    }

    fn encode_sequence(&self, input: &InputSequence<'_>, type_id: u32) -> Result<EncodedInput> {
        let sequence = match input {
            InputSequence::Text(text) => EncodedSequence::of_text(self, text)?,
            InputSequence::Words(words) => EncodedSequence::of_words(self, words)?,
        };
        Ok(EncodedInput::of_sequence(sequence, type_id))
    }

    /// Truncate encoded sequences, then add special tokens.
    ///
    /// # Errors
    /// `Invalid` where truncation cannot be met.
    pub fn post_process(
        &self,
        first: EncodedInput,
        second: Option<EncodedInput>,
        add_special_tokens: bool,
        truncation: Option<&Truncation>,
    ) -> Result<EncodedInput> {
        let (mut first, mut second) = (first, second);
        if let Some(truncation) = truncation {
            let added = match add_special_tokens {
                true => self.num_added_by_post_processor(second.is_some()),
                false => 0,
            };
            // If not even the special tokens fit, Hugging Face's engine truncates nothing.
            if let Some(room) = truncation.max_length.checked_sub(added) {
                post_process::truncate(&mut first, second.as_mut(), room, truncation)?;
            }
        }
        let processor = self.pipeline.post_processor.as_ref();
        Ok(post_process::process(
            processor,
            first,
            second,
            add_special_tokens,
        ))
    }

    /// The number of special tokens that the post-processor adds.
    pub fn num_added_by_post_processor(&self, is_pair: bool) -> usize {
        self.pipeline
            .post_processor
            .as_ref()
            .map_or(0, |processor| post_process::count(processor, is_pair))
    }

    /// Encode many inputs, on several threads where that is faster, and pad them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], for the first input that fails.
    pub fn encode_batch(
        &self,
        inputs: &[InputPair<'_>],
        add_special_tokens: bool,
        truncation: Option<&Truncation>,
        padding: Option<&Padding>,
    ) -> Result<Vec<EncodedInput>> {
        let encode = |inputs: &[InputPair<'_>]| {
            inputs
                .iter()
                .map(|(input, pair)| {
                    self.encode(input, pair.as_ref(), add_special_tokens, truncation)
                })
                .collect::<Result<Vec<_>>>()
        };
        let bytes: usize = inputs
            .iter()
            .map(|(input, pair)| input.bytes() + pair.as_ref().map_or(0, InputSequence::bytes))
            .sum();
        // For less text a thread costs more than it saves.
        const MIN_BYTES_PER_THREAD: usize = 64 << 10;
        let threads = threads::available_threads()
            .min(bytes / MIN_BYTES_PER_THREAD)
            .min(inputs.len())
            .max(1);
        let chunks: Vec<_> = inputs
            .chunks(inputs.len().div_ceil(threads * 4).max(1))
            .collect();
        let mut batch = Vec::with_capacity(inputs.len());
        let work = |_, (): &mut (), encoded: &mut Vec<EncodedInput>, at: usize| {
            *encoded = encode(chunks[at])?;
            Ok(())
        };
        let done = |encoded: &mut Vec<EncodedInput>, _| {
            batch.append(encoded);
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
            post_process::pad_batch(&mut batch, padding)?;
        }
        Ok(batch)
    }
}
