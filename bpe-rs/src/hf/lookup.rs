//! From characters, tokens and words of an encoded input to one another.

use std::ops::Range;

use super::encoded_input::EncodedInput;

impl EncodedInput {
    /// The input sequence that a token belongs to; `None` for tokens of none.
    pub fn sequence_of(&self, token: usize) -> Option<usize> {
        if token >= self.len() {
            return None;
        }
        let sequences = self.sequences();
        if sequences.is_empty() {
            return Some(0);
        }
        // Those that overlap may be in any order in Hugging Face's engine.
        let of = sequences.iter().filter(|(_, range)| range.contains(&token));
        of.map(|(sequence, _)| *sequence).min()
    }

    /// The token that stands for a character of an input sequence.
    pub fn char_to_token(&self, character: usize, sequence: usize) -> Option<usize> {
        let offsets = self.offsets();
        self.sequence_range(sequence).find(|&at| {
            let (start, end) = offsets[at];
            (start as usize..end as usize).contains(&character)
        })
    }

    /// The word that a character of an input sequence belongs to.
    pub fn char_to_word(&self, character: usize, sequence: usize) -> Option<u32> {
        let token = self.char_to_token(character, sequence)?;
        self.word_ids()[token]
    }

    /// The characters that a token of an input sequence stands for.
    pub fn token_to_chars(&self, token: usize) -> Option<(u32, u32)> {
        self.sequence_of(token)?;
        Some(self.offsets()[token])
    }

    /// The word that a token of an input sequence belongs to.
    pub fn token_to_word(&self, token: usize) -> Option<u32> {
        self.sequence_of(token)?;
        self.word_ids()[token]
    }

    /// The tokens of a word, from the first to the last.
    pub fn word_to_tokens(&self, word: u32, sequence: usize) -> Option<Range<usize>> {
        let words = self.word_ids();
        let mut tokens = self
            .sequence_range(sequence)
            .filter(|&at| words[at] == Some(word));
        let first = tokens.next()?;
        Some(first..tokens.next_back().unwrap_or(first) + 1)
    }

    /// The characters of a word.
    pub fn word_to_chars(&self, word: u32, sequence: usize) -> Option<(u32, u32)> {
        let tokens = self.word_to_tokens(word, sequence)?;
        let offsets = self.offsets();
        Some((offsets[tokens.start].0, offsets[tokens.end - 1].1))
    }
}
