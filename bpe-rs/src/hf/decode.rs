//! Decoding, and single steps of the pipeline for inspection.

use super::normalize::AlignedText;
use super::pre_tokenize::PreToken;
use super::tokenizer::Tokenizer;
use crate::error::{quoted, Error, Result};
use crate::format::byte_level;

impl Tokenizer {
    /// The text of ids. Unknown ids are skipped, and control tokens if `skip_special`.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let added = &self.pipeline.added;
        let tokens = ids.iter().filter_map(|&id| {
            self.id_to_token(id)
                .filter(|token| !(skip_special && added.is_special(token)))
        });
        self.decode_tokens(tokens)
    }

    /// The text of token strings; invalid UTF-8 becomes U+FFFD. Without a decoder the strings are
    /// joined by spaces.
    pub fn decode_tokens<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> String {
        if self.pipeline.decoder.is_none() {
            return tokens.collect::<Vec<_>>().join(" ");
        }
        let mut bytes = Vec::new();
        for token in tokens {
            bytes.extend(byte_level::decoded_bytes(token));
        }
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// The normalised text.
    pub fn normalize_text(&self, text: &str) -> String {
        self.pipeline.normalizers.apply(text)
    }

    /// The pre-tokens of a text, in the byte-level alphabet, with the characters that they stand
    /// for.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub fn pre_tokenize(&self, text: &str) -> Result<Vec<(String, (usize, usize))>> {
        let aligned = AlignedText::new(text, 0);
        let characters = |bytes: usize| text[..bytes].chars().count();
        Ok(self
            .pre_tokens(text)?
            .into_iter()
            .map(|PreToken { range, space_added }| {
                let mut part = aligned.slice(range.clone());
                if space_added {
                    part.prepend_space(&aligned, range.start);
                }
                let original = part.original_range(0..part.text.len());
                let offsets = (characters(original.start), characters(original.end));
                (byte_level::to_text(part.text.as_bytes()), offsets)
            })
            .collect())
    }

    /// Encode one pre-token given in the byte-level alphabet: ids, and the bytes of `piece` that
    /// each stands for.
    ///
    /// # Errors
    /// `Invalid` for a character outside the alphabet.
    pub fn tokenize_piece(&self, piece: &str) -> Result<Vec<(u32, (usize, usize))>> {
        let bytes = byte_level::to_bytes(piece).ok_or_else(|| {
            Error::invalid(format!(
                "expected characters of the byte-level alphabet, got {piece}",
                piece = quoted(piece)
            ))
        })?;
        let mut ids = Vec::new();
        self.model
            .with_scratch(|scratch| self.model.encode_piece(&bytes, scratch, &mut ids))?;
        let mut start = 0;
        Ok(ids
            .into_iter()
            .map(|id| {
                let len = self.id_to_token(id).map_or(0, str::len);
                start += len;
                (id, (start - len, start))
            })
            .collect())
    }
}
