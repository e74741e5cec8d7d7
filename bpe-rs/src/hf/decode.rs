//! Decoding, and single steps of the pipeline for inspection.

use super::aligned::AlignedText;
use super::tokenizer::Tokenizer;
use crate::error::Result;
use crate::format::byte_level;

impl Tokenizer {
    /// The text of ids. Unknown ids are skipped, and control tokens if `skip_special`.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let added = &self.pipeline.added;
        let tokens = ids.iter().filter_map(|&id| {
            self.id_to_token(id)
                .filter(|token| !(skip_special && added.is_special(token)))
        });
        self.decode_tokens(tokens)
    }

    /// The text of token strings; invalid UTF-8 becomes U+FFFD. Without a decoder the strings are
    /// joined by spaces.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn decode_tokens<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Result<String> {
        self.pipeline.decoders.decode(tokens)
    }

    /// The normalised text.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn normalize_text(&self, text: &str) -> Result<String> {
        self.pipeline.normalizers.apply(text)
    }

    /// The pre-tokens of a text, as the model sees them, with the characters that they stand for.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub fn pre_tokenize(&self, text: &str) -> Result<Vec<(String, (usize, usize))>> {
        let characters = |bytes: usize| text[..bytes].chars().count();
        let pre_tokenizer = &self.pipeline.compiled_pre_tokenizer;
        let cut = pre_tokenizer.pre_tokens(AlignedText::new(text, 0))?;
        let shown = |piece: &str| match pre_tokenizer.ends_in_bytes() {
            true => byte_level::to_text(piece.as_bytes()),
            false => piece.to_owned(),
        };
        let pieces = cut.pieces.into_iter().map(|piece| {
            let original = cut.text.original_range(piece.clone());
            let offsets = (characters(original.start), characters(original.end));
            (shown(&cut.text.text[piece]), offsets)
        });
        Ok(pieces.collect())
    }

    /// Encode one pre-token given as the model sees it, in the byte-level alphabet where that is one of
    /// bytes: ids, and the bytes of `piece` that each stands for.
    ///
    /// # Errors
    /// `Invalid` for a character outside the alphabet.
    pub fn tokenize_piece(&self, piece: &str) -> Result<Vec<(u32, (usize, usize))>> {
        let (mut start, mut random) = (0, self.streams.next());
        let tokens = self
            .model
            .with_scratch(|scratch| self.model.tokenize(piece, scratch, &mut random))?;
        let each = tokens.into_iter().map(|(id, len)| {
            start += len;
            (id, (start - len, start))
        });
        Ok(each.collect())
    }
}
