//! [`Tokenizer`]: the parts put together.

use std::sync::Arc;

use super::added::{AddedVocab, Stretch};
use super::model::Model;
use super::normalize::{Aligned, Normalizers};
use super::split::{Piece, Splitter};
use crate::error::{Error, Result};
use crate::format::components::{Decoder, Normalizer, PostProcessor, PreTokenizer};
use crate::format::{AddedToken, TokenizerJson};

/// Byte-level BPE the way a `tokenizer.json` describes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(super) model: Arc<Model>,
    pub(super) parts: Arc<Parts>,
    /// Whether control tokens in a text are encoded as ordinary text.
    plain_special: bool,
}

/// What stands around the model.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    normalizer: Option<Normalizer>,
    pub(super) normalizers: Normalizers,
    pre_tokenizer: Option<PreTokenizer>,
    pub(super) splitter: Arc<Splitter>,
    pub(super) post_processor: Option<PostProcessor>,
    pub(super) decoder: Option<Decoder>,
    pub(super) added: AddedVocab,
    /// Whether an added token may match something else than its own content.
    has_flexible_tokens: bool,
}

/// A token to add: everything but its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its text.
    pub content: String,
    /// Match only between word boundaries.
    pub single_word: bool,
    /// Swallow white space on the left.
    pub lstrip: bool,
    /// Swallow white space on the right.
    pub rstrip: bool,
    /// Match in the normalised text.
    pub normalized: bool,
    /// A control token.
    pub special: bool,
}

impl Tokenizer {
    /// From a checked `tokenizer.json`. Its truncation and padding are the caller's to apply.
    ///
    /// # Errors
    /// `Invalid` where vocabulary, merges and added tokens contradict each other or a pattern is
    /// no regular expression.
    pub fn new(file: TokenizerJson) -> Result<Self> {
        let normalizers = Normalizers::new(file.normalizer.as_ref());
        let splitter = Splitter::new(file.pre_tokenizer.as_ref())?;
        let parts = Parts {
            normalizer: file.normalizer,
            normalizers,
            pre_tokenizer: file.pre_tokenizer,
            splitter: Arc::new(splitter),
            post_processor: file.post_processor,
            decoder: file.decoder,
            added: AddedVocab::default(),
            has_flexible_tokens: false,
        };
        let model = Arc::new(Model::new(file.model)?);
        let tokenizer = Self {
            model,
            parts: Arc::new(parts),
            plain_special: false,
        };
        let mut wanted = file.added_tokens;
        wanted.sort_by_key(|token| token.id);
        let new: Vec<NewToken> = wanted.iter().cloned().map(NewToken::from).collect();
        let (tokenizer, _) = tokenizer.with_added_tokens(&new)?;
        // Ids follow from the order; a file that says otherwise means something else.
        for token in &wanted {
            let given = tokenizer.parts.added.id_of(&token.content);
            if given != Some(token.id) {
                return Err(Error::invalid(format!(
                    "added_tokens: expected ids that continue the vocabulary, got {} for {:?}, \
                     which would be {given:?}",
                    token.id, token.content
                )));
            }
        }
        Ok(tokenizer)
    }

    /// The file that describes this tokenizer, without truncation and padding.
    pub fn to_file(&self) -> TokenizerJson {
        TokenizerJson {
            truncation: None,
            padding: None,
            added_tokens: self.parts.added.sorted().into_iter().cloned().collect(),
            normalizer: self.parts.normalizer.clone(),
            pre_tokenizer: self.parts.pre_tokenizer.clone(),
            post_processor: self.parts.post_processor.clone(),
            decoder: self.parts.decoder.clone(),
            model: self.model.file.clone(),
        }
    }

    /// Adds tokens; returns how many of them were new.
    ///
    /// A token of the vocabulary keeps its id, another gets the next free one.
    ///
    /// # Errors
    /// `Invalid` where there are too many to search for.
    pub fn with_added_tokens(&self, tokens: &[NewToken]) -> Result<(Self, usize)> {
        let mut all: Vec<AddedToken> = self.parts.added.sorted().into_iter().cloned().collect();
        let mut count = 0;
        for token in tokens {
            let is_known = all
                .iter()
                .any(|known| NewToken::from(known.clone()) == *token);
            if token.content.is_empty() || is_known {
                continue;
            }
            let known = all.iter().find(|known| known.content == token.content);
            let id = known
                .map(|known| known.id)
                .or_else(|| self.model.id_of(&token.content));
            let id = id.unwrap_or_else(|| {
                let size = self.model.len() as u32;
                all.iter()
                    .map(|known| known.id + 1)
                    .max()
                    .map_or(size, |next| next.max(size))
            });
            all.retain(|known| known.id != id);
            all.push(token.clone().with_id(id));
            count += 1;
        }
        let parts = self.parts.with_added(all)?;
        Ok((
            Self {
                parts: Arc::new(parts),
                ..self.clone()
            },
            count,
        ))
    }

    /// With another normaliser.
    ///
    /// # Errors
    /// As [`Tokenizer::with_added_tokens`].
    pub fn with_normalizer(&self, normalizer: Option<Normalizer>) -> Result<Self> {
        let mut parts = (*self.parts).clone();
        parts.normalizers = Normalizers::new(normalizer.as_ref());
        parts.normalizer = normalizer;
        let added = parts.added.sorted().into_iter().cloned().collect();
        Ok(Self {
            parts: Arc::new(parts.with_added(added)?),
            ..self.clone()
        })
    }

    /// With another pre-tokenizer.
    ///
    /// # Errors
    /// `Invalid` where its last step is not `ByteLevel` or a pattern is no regular expression.
    pub fn with_pre_tokenizer(&self, pre_tokenizer: Option<PreTokenizer>) -> Result<Self> {
        TokenizerJson {
            pre_tokenizer: pre_tokenizer.clone(),
            ..TokenizerJson::default()
        }
        .check_byte_level()?;
        let splitter = Arc::new(Splitter::new(pre_tokenizer.as_ref())?);
        let parts = Parts {
            pre_tokenizer,
            splitter,
            ..(*self.parts).clone()
        };
        Ok(Self {
            parts: Arc::new(parts),
            ..self.clone()
        })
    }

    /// With another post-processor.
    #[must_use]
    pub fn with_post_processor(&self, post_processor: Option<PostProcessor>) -> Self {
        let parts = Parts {
            post_processor,
            ..(*self.parts).clone()
        };
        Self {
            parts: Arc::new(parts),
            ..self.clone()
        }
    }

    /// With another decoder.
    #[must_use]
    pub fn with_decoder(&self, decoder: Option<Decoder>) -> Self {
        let parts = Parts {
            decoder,
            ..(*self.parts).clone()
        };
        Self {
            parts: Arc::new(parts),
            ..self.clone()
        }
    }

    /// With control tokens in texts read as ordinary text (`true`) or as the tokens (`false`).
    #[must_use]
    pub fn with_plain_special(&self, plain_special: bool) -> Self {
        Self {
            plain_special,
            ..self.clone()
        }
    }

    /// The normaliser.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.parts.normalizer.as_ref()
    }

    /// The pre-tokenizer.
    pub fn pre_tokenizer(&self) -> Option<&PreTokenizer> {
        self.parts.pre_tokenizer.as_ref()
    }

    /// The post-processor.
    pub fn post_processor(&self) -> Option<&PostProcessor> {
        self.parts.post_processor.as_ref()
    }

    /// The decoder.
    pub fn decoder(&self) -> Option<&Decoder> {
        self.parts.decoder.as_ref()
    }

    /// The added tokens.
    pub fn added(&self) -> &AddedVocab {
        &self.parts.added
    }

    /// The model's tokens and ids, in file order.
    pub fn model_vocab(&self) -> &[(String, u32)] {
        &self.model.file.vocab
    }

    /// Whether a string is a token of the model, added or not.
    pub fn is_in_model(&self, token: &str) -> bool {
        self.model.id_of(token).is_some()
    }

    /// The id of a token string.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.parts
            .added
            .id_of(token)
            .or_else(|| self.model.id_of(token))
    }

    /// The string of an id.
    pub fn id_to_token(&self, id: u32) -> Option<&str> {
        self.parts.added.string(id).or_else(|| self.model.token(id))
    }

    pub(super) fn encode_piece(&self, piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        self.model.encode_piece(piece, ids)
    }

    pub(super) fn pieces(&self, text: &str) -> Result<Vec<Piece>> {
        self.parts.splitter.pieces(text)
    }

    pub(super) fn cut_raw(&self, text: &str, out: &mut Vec<Stretch>) {
        self.parts.added.cut_raw(text, self.plain_special, out);
    }

    pub(super) fn cut_normalized(&self, text: &str, out: &mut Vec<Stretch>) {
        self.parts
            .added
            .cut_normalized(text, self.plain_special, out);
    }

    pub(super) fn normalize(&self, aligned: &mut Aligned) {
        aligned.normalize(&self.parts.normalizers);
    }

    /// Length of a token that merging made: in bytes, or written in the byte-level alphabet.
    pub(super) fn token_len(&self, id: u32, written: bool) -> usize {
        if written {
            self.model.token(id).map_or(0, str::len)
        } else {
            self.model.token_len(id)
        }
    }

    pub(super) fn has_all_bytes(&self) -> bool {
        self.model.has_all_bytes()
    }

    pub(super) fn has_flexible_tokens(&self) -> bool {
        self.parts.has_flexible_tokens
    }
}

impl Parts {
    fn with_added(&self, tokens: Vec<AddedToken>) -> Result<Self> {
        let has_flexible_tokens = tokens.iter().any(|token| {
            token.lstrip || token.rstrip || token.normalized && self.normalizer.is_some()
        });
        let added = AddedVocab::new(tokens, &self.normalizers)?;
        Ok(Self {
            added,
            has_flexible_tokens,
            ..self.clone()
        })
    }
}

impl NewToken {
    fn with_id(self, id: u32) -> AddedToken {
        AddedToken {
            id,
            content: self.content,
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized,
            special: self.special,
        }
    }
}

impl From<AddedToken> for NewToken {
    fn from(token: AddedToken) -> Self {
        Self {
            content: token.content,
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: token.normalized,
            special: token.special,
        }
    }
}
