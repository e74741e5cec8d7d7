//! [`Tokenizer`]: the parts put together.

use std::sync::Arc;

use super::added::{AddedVocab, Stretch};
use super::encoding::Encoding;
use super::model::Model;
use super::normalize::{Aligned, Normalizers};
use super::post;
use super::source::Source;
use super::split::{Piece, Splitter};
use crate::error::{Error, Result};
use crate::format::byte_level;
use crate::format::components::{Decoder, Normalizer, PostProcessor, PreTokenizer};
use crate::format::params::{Padding, Truncation};
use crate::format::{AddedToken, TokenizerJson};

/// Byte-level BPE the way a `tokenizer.json` describes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    model: Arc<Model>,
    parts: Arc<Parts>,
    /// Whether control tokens in a text are encoded as ordinary text.
    plain_special: bool,
}

/// What stands around the model.
#[derive(Clone, Debug)]
struct Parts {
    normalizer: Option<Normalizer>,
    normalizers: Normalizers,
    pre_tokenizer: Option<PreTokenizer>,
    splitter: Arc<Splitter>,
    post_processor: Option<PostProcessor>,
    decoder: Option<Decoder>,
    added: AddedVocab,
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

/// One input sequence.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A text.
    Text(&'a str),
    /// Words, each encoded by itself.
    Words(Vec<&'a str>),
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
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(bytes / BYTES_A_THREAD)
            .min(inputs.len())
            .max(1);
        let mut encodings = if threads == 1 {
            encode(inputs)?
        } else {
            let share = inputs.len().div_ceil(threads * 4);
            let next = std::sync::atomic::AtomicUsize::new(0);
            let chunks: Vec<_> = inputs.chunks(share).collect();
            let results: Vec<_> = chunks.iter().map(|_| std::sync::OnceLock::new()).collect();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| loop {
                        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(chunk) = chunks.get(at) else { break };
                        let _ = results[at].set(encode(chunk));
                    });
                }
            });
            let mut all = Vec::with_capacity(inputs.len());
            for result in results {
                all.extend(result.into_inner().unwrap_or_else(|| Ok(Vec::new()))?);
            }
            all
        };
        if let Some(padding) = padding {
            post::pad_batch(&mut encodings, padding);
        }
        Ok(encodings)
    }

    /// Decodes ids; unknown ones are left out, as are control tokens if `skip_special`.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let added = &self.parts.added;
        let tokens = ids.iter().filter_map(|&id| {
            let token = self.id_to_token(id)?;
            let is_special = || {
                added
                    .id_of(token)
                    .and_then(|id| added.get(id))
                    .is_some_and(|t| t.special)
            };
            (!(skip_special && is_special())).then_some(token)
        });
        self.decode_tokens(tokens)
    }

    /// Decodes token strings.
    pub fn decode_tokens<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> String {
        if self.parts.decoder.is_none() {
            return tokens.collect::<Vec<_>>().join(" ");
        }
        let mut bytes = Vec::new();
        for token in tokens {
            bytes.extend(byte_level::decoded_bytes(token));
        }
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Normalises a text.
    pub fn normalize_text(&self, text: &str) -> String {
        self.parts.normalizers.apply(text)
    }

    /// Splits a text as the pre-tokenizer does: pieces in the byte-level alphabet, with the
    /// characters that they stand for.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub fn pre_tokenize(&self, text: &str) -> Result<Vec<(String, (usize, usize))>> {
        let aligned = Aligned::new(text, 0);
        let pieces = self.pieces(text)?;
        let characters = |bytes: usize| text[..bytes].chars().count();
        Ok(pieces
            .into_iter()
            .map(|(range, prefixed)| {
                let mut part = aligned.slice(range.clone());
                if prefixed {
                    part.prepend_space(&aligned, range.start);
                }
                let source = part.source_of(0..part.text.len());
                let offsets = (characters(source.start), characters(source.end));
                (byte_level::to_text(part.text.as_bytes()), offsets)
            })
            .collect())
    }

    /// Encodes one piece given in the byte-level alphabet: ids and the bytes of the piece that
    /// each stands for.
    ///
    /// # Errors
    /// `Invalid` for a character outside the alphabet.
    pub fn tokenize_piece(&self, piece: &str) -> Result<Vec<(u32, (usize, usize))>> {
        let bytes = byte_level::to_bytes(piece).ok_or_else(|| {
            Error::invalid(format!(
                "expected characters of the byte-level alphabet, got {piece:?}"
            ))
        })?;
        let mut ids = Vec::new();
        self.encode_piece(&bytes, &mut ids)?;
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
