//! [`Tokenizer`]: a model and the pipeline around it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use serde_json::Value;

use super::added_tokens::{AddedVocab, TextSegment};
use super::decoders::Decoders;
use super::dropout::Streams;
use super::model::Model;
use super::normalize::Normalizers;
use super::pre_tokenize::CompiledPreTokenizer;
use super::spaces::Spaces;
use crate::encode::{ScratchPool, Tag};
use crate::error::{quoted, Error, Result};
use crate::format::components::{
    self, Component, Decoder, Normalizer, PostProcessor, PreTokenizer,
};
use crate::format::{AddedToken, BpeModel, TokenizerJson};
use crate::pretokenize::Pretokenizer;

/// BPE the way a `tokenizer.json` describes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(super) model: Arc<Model>,
    pub(super) pipeline: Arc<Pipeline>,
    /// For texts in which spaces become marks and nothing else is changed.
    pub(super) spaces: Option<Arc<Spaces>>,
    /// Whether control tokens in a text are encoded as plain text.
    plain_special: bool,
    /// Random numbers for dropout.
    pub(super) streams: Arc<Streams>,
}

/// The components around the model, as the file describes them and ready for use.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    normalizer: Option<Normalizer>,
    pub(super) normalizers: Arc<Normalizers>,
    pre_tokenizer: Option<PreTokenizer>,
    pub(super) compiled_pre_tokenizer: Arc<CompiledPreTokenizer>,
    pub(super) post_processor: Option<PostProcessor>,
    decoder: Option<Decoder>,
    pub(super) decoders: Decoders,
    pub(super) added: AddedVocab,
    /// No other pipeline has this number, nor a copy that was changed.
    number: u64,
}

impl Tokenizer {
    /// From a checked `tokenizer.json`. Its truncation and padding are the caller's to apply.
    ///
    /// # Errors
    /// `Invalid` where vocabulary, merges and added tokens contradict each other or a pattern is
    /// no regular expression.
    pub fn new(file: TokenizerJson) -> Result<Self> {
        file.check_added_ids()?;
        let normalizers = Normalizers::new(file.normalizer.as_ref())?;
        let compiled = CompiledPreTokenizer::new(file.pre_tokenizer.as_ref())?;
        let model = Arc::new(Model::new(file.model, compiled.ends_in_bytes())?);
        let pipeline = Pipeline {
            normalizer: file.normalizer,
            normalizers: Arc::new(normalizers),
            pre_tokenizer: file.pre_tokenizer,
            compiled_pre_tokenizer: Arc::new(compiled),
            post_processor: file.post_processor,
            decoders: Decoders::new(file.decoder.as_ref())?,
            decoder: file.decoder,
            added: AddedVocab::default(),
            number: 0,
        };
        let tokenizer = Self {
            model,
            pipeline: Arc::new(pipeline),
            spaces: None,
            plain_special: false,
            streams: Arc::new(Streams::new(None)),
        };
        let tokenizer = tokenizer.with_spaces();
        Ok(tokenizer.with_added_tokens(file.added_tokens)?.0)
    }

    /// The file that describes this tokenizer, without truncation and padding.
    pub fn to_file(&self) -> TokenizerJson {
        TokenizerJson {
            truncation: None,
            padding: None,
            added_tokens: self.pipeline.added.sorted().into_iter().cloned().collect(),
            normalizer: self.pipeline.normalizer.clone(),
            pre_tokenizer: self.pipeline.pre_tokenizer.clone(),
            post_processor: self.pipeline.post_processor.clone(),
            decoder: self.pipeline.decoder.clone(),
            model: self.model.file.clone(),
        }
    }

    /// A tokenizer with more added tokens, and how many of them were new or changed.
    ///
    /// A known token keeps its id, another gets the next free one; the `id` of `tokens` is not used.
    ///
    /// # Errors
    /// `Invalid` where there are too many to search for.
    pub fn with_added_tokens(
        &self,
        tokens: impl IntoIterator<Item = AddedToken>,
    ) -> Result<(Self, usize)> {
        let Pipeline {
            added, normalizers, ..
        } = &*self.pipeline;
        let mut added = added.clone();
        let mut next = added.next_id().max(self.model.len() as u32);
        let mut count = 0;
        for mut token in tokens {
            let known = added.id_of(&token.content);
            let id = known.or_else(|| self.model.id_of(&token.content));
            token.id = id.unwrap_or(next);
            if token.content.is_empty() || added.get(token.id) == Some(&token) {
                continue;
            }
            next = next.max(token.id.saturating_add(1));
            added.insert(token, normalizers)?;
            count += 1;
        }
        added.index(normalizers)?;
        let pipeline = (*self.pipeline).clone();
        Ok((self.with_pipeline(Pipeline { added, ..pipeline }), count))
    }

    /// A tokenizer with another model. Added tokens keep their ids.
    ///
    /// # Errors
    /// `Invalid` where vocabulary and merges contradict each other.
    pub fn with_model(&self, model: BpeModel) -> Result<Self> {
        let model = Arc::new(Model::new(model, self.model.takes_bytes())?);
        let tokenizer = Self {
            model,
            ..self.clone()
        };
        Ok(tokenizer.with_spaces())
    }

    /// The model as files describe it.
    pub fn model(&self) -> &BpeModel {
        &self.model.file
    }

    /// A tokenizer with another normaliser.
    ///
    /// # Errors
    /// As [`Tokenizer::with_added_tokens`].
    pub fn with_normalizer(&self, normalizer: Option<Normalizer>) -> Result<Self> {
        let mut pipeline = (*self.pipeline).clone();
        pipeline.normalizers = Arc::new(Normalizers::new(normalizer.as_ref())?);
        pipeline.normalizer = normalizer;
        // Added tokens match normalised text.
        pipeline.added.normalize(&pipeline.normalizers)?;
        Ok(self.with_pipeline(pipeline).with_spaces())
    }

    /// A tokenizer with another pre-tokenizer.
    ///
    /// # Errors
    /// `Invalid` where a pattern is no regular expression, and as [`Tokenizer::with_model`].
    pub fn with_pre_tokenizer(&self, pre_tokenizer: Option<PreTokenizer>) -> Result<Self> {
        let compiled = CompiledPreTokenizer::new(pre_tokenizer.as_ref())?;
        let model = match compiled.ends_in_bytes() {
            takes_bytes if takes_bytes == self.model.takes_bytes() => self.model.clone(),
            takes_bytes => Arc::new(self.model.taking(takes_bytes)?),
        };
        let tokenizer = self.with_pipeline(Pipeline {
            pre_tokenizer,
            compiled_pre_tokenizer: Arc::new(compiled),
            ..(*self.pipeline).clone()
        });
        Ok(Self { model, ..tokenizer }.with_spaces())
    }

    /// A tokenizer with another post-processor.
    #[must_use]
    pub fn with_post_processor(&self, post_processor: Option<PostProcessor>) -> Self {
        self.with_pipeline(Pipeline {
            post_processor,
            ..(*self.pipeline).clone()
        })
    }

    /// A tokenizer with another decoder.
    ///
    /// # Errors
    /// `Invalid` where a pattern is no regular expression.
    pub fn with_decoder(&self, decoder: Option<Decoder>) -> Result<Self> {
        Ok(self.with_pipeline(Pipeline {
            decoders: Decoders::new(decoder.as_ref())?,
            decoder,
            ..(*self.pipeline).clone()
        }))
    }

    /// A tokenizer whose component `name` is what `json` describes: "normalizer",
    /// "pre_tokenizer", "post_processor" or "decoder".
    ///
    /// # Errors
    /// `Invalid` for another name, a component that is not reproduced exactly, and as for the
    /// method of that component.
    pub fn with_component(&self, name: &str, json: Option<&Value>) -> Result<Self> {
        fn read<T: Component>(json: Option<&Value>, name: &str) -> Result<Option<T>> {
            json.map(|json| components::read(json, name)).transpose()
        }
        match name {
            "normalizer" => self.with_normalizer(read(json, name)?),
            "pre_tokenizer" => self.with_pre_tokenizer(read(json, name)?),
            "post_processor" => Ok(self.with_post_processor(read(json, name)?)),
            "decoder" => self.with_decoder(read(json, name)?),
            other => Err(unknown_component(other)),
        }
    }

    /// The component `name` as JSON, `None` where the tokenizer has none.
    ///
    /// # Errors
    /// `Invalid` for a name that [`Tokenizer::with_component`] does not know.
    pub fn component(&self, name: &str) -> Result<Option<Value>> {
        let pipeline = &self.pipeline;
        let json = match name {
            "normalizer" => serde_json::to_value(&pipeline.normalizer),
            "pre_tokenizer" => serde_json::to_value(&pipeline.pre_tokenizer),
            "post_processor" => serde_json::to_value(&pipeline.post_processor),
            "decoder" => serde_json::to_value(&pipeline.decoder),
            other => return Err(unknown_component(other)),
        };
        // Strings, numbers and lists of them always have a JSON form.
        Ok(json.ok().filter(|json| !json.is_null()))
    }

    fn with_pipeline(&self, pipeline: Pipeline) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            pipeline: Arc::new(Pipeline { number, ..pipeline }),
            ..self.clone()
        }
    }

    /// The tokenizer after a change of what its spaces depend on.
    fn with_spaces(mut self) -> Self {
        let Pipeline {
            normalizers,
            compiled_pre_tokenizer,
            ..
        } = &*self.pipeline;
        self.spaces = Spaces::new(&self.model, normalizers, compiled_pre_tokenizer).map(Arc::new);
        self
    }

    /// The buffers and caches of [`Tokenizer::encode_text`](Self::encode_text).
    pub(super) fn pool(&self) -> &ScratchPool {
        match &self.spaces {
            Some(spaces) => spaces.pool(),
            None => self.model.pool(),
        }
    }

    /// What the ids of a part of a text between added tokens depend on beside the model: the pipeline,
    /// how it treats control tokens, and whether the part begins the text.
    pub(super) fn tag(&self, begins: bool) -> Tag {
        self.pipeline.number << 2 | u64::from(self.plain_special) << 1 | u64::from(begins)
    }

    /// A tokenizer that encodes the control tokens in a text as plain text, or (with `false`) as the
    /// tokens that they are.
    #[must_use]
    pub fn with_plain_special(&self, plain_special: bool) -> Self {
        Self {
            plain_special,
            ..self.clone()
        }
    }

    /// A tokenizer whose dropout follows `seed`: texts that are encoded one after the other get the
    /// same tokens again.
    #[must_use]
    pub fn with_dropout_seed(&self, seed: u64) -> Self {
        Self {
            streams: Arc::new(Streams::new(Some(seed))),
            ..self.clone()
        }
    }

    /// The normaliser.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.pipeline.normalizer.as_ref()
    }

    /// The pre-tokenizer.
    pub fn pre_tokenizer(&self) -> Option<&PreTokenizer> {
        self.pipeline.pre_tokenizer.as_ref()
    }

    /// The post-processor.
    pub fn post_processor(&self) -> Option<&PostProcessor> {
        self.pipeline.post_processor.as_ref()
    }

    /// The decoder.
    pub fn decoder(&self) -> Option<&Decoder> {
        self.pipeline.decoder.as_ref()
    }

    /// The added tokens.
    pub fn added(&self) -> &AddedVocab {
        &self.pipeline.added
    }

    /// The model's tokens and ids, in file order.
    pub fn model_vocab(&self) -> &[(String, u32)] {
        &self.model.file.vocab
    }

    /// The number of tokens: the model's, and with `with_added` the added tokens that are not
    /// tokens of the model, too.
    pub fn vocab_size(&self, with_added: bool) -> usize {
        let is_new = |token: &&AddedToken| self.model.id_of(&token.content).is_none();
        let added = self.pipeline.added.sorted().into_iter();
        let added = added.filter(is_new).filter(|_| with_added).count();
        self.model_vocab().len() + added
    }

    /// The id of a token string.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.pipeline
            .added
            .id_of(token)
            .or_else(|| self.model.id_of(token))
    }

    /// The id of a token string in the model, whatever the added tokens are.
    pub fn model_id_of(&self, token: &str) -> Option<u32> {
        self.model.id_of(token)
    }

    /// The model's string of an id.
    pub fn model_token(&self, id: u32) -> Option<&str> {
        self.model.token(id)
    }

    /// The string of an id.
    pub fn id_to_token(&self, id: u32) -> Option<&str> {
        self.pipeline
            .added
            .string(id)
            .or_else(|| self.model.token(id))
    }

    /// The string that an encoded text shows for an id: the model's token where there is one, else the
    /// added token's. [`Tokenizer::id_to_token`] prefers the added token's.
    pub(super) fn encoded_token(&self, id: u32) -> Option<&str> {
        self.model
            .token(id)
            .or_else(|| self.pipeline.added.string(id))
    }

    /// The regular expression whose matches are exactly the words that the model sees; `None` where
    /// there is none, or where texts are normalised first.
    pub fn word_pattern(&self) -> Option<&str> {
        let pattern = self.pipeline.compiled_pre_tokenizer.sole_pattern();
        pattern
            .filter(|_| self.pipeline.normalizers.is_empty())
            .map(Pretokenizer::regex)
    }

    /// Split text that is not normalised yet at added tokens, and call `take` with the parts in order
    /// until it returns an error.
    pub(super) fn split_raw(
        &self,
        text: &str,
        take: impl FnMut(TextSegment) -> Result<()>,
    ) -> Result<()> {
        let added = &self.pipeline.added;
        added.split(&added.raw, text, self.plain_special, take)
    }

    /// The same of normalised text, at the other added tokens.
    pub(super) fn split_normalized(
        &self,
        text: &str,
        take: impl FnMut(TextSegment) -> Result<()>,
    ) -> Result<()> {
        let added = &self.pipeline.added;
        added.split(&added.normalized, text, self.plain_special, take)
    }
}

fn unknown_component(name: &str) -> Error {
    Error::invalid(format!(
        "expected a component, got {name}",
        name = quoted(name)
    ))
}
