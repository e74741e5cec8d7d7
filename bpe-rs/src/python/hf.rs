//! `_core.HfTokenizer` and `bpe_rs.hf.Encoding`: the pipeline of `crate::hf` for Python.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::Value;

use super::hf_arguments::{
    padding, padding_args, truncation, truncation_args, Owned, PaddingArgs, TruncationArgs,
};
use super::hf_encoding::HfEncoding;
use crate::error::{Error, Result};
use crate::format::components::{Decoder, Normalizer, PostProcessor, PreTokenizer};
use crate::format::TokenizerJson;
use crate::hf::{NewToken, Tokenizer};

/// `(id, string, offsets)`.
type TokenTuple = (u32, String, (usize, usize));
/// `(content, single_word, lstrip, rstrip, normalized, special)`.
type TokenArgs = (String, bool, bool, bool, bool, bool);

/// The tokenizer; never changes.
#[pyclass(frozen, module = "bpe_rs._core")]
pub(super) struct HfTokenizer {
    inner: Tokenizer,
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("expected a component as JSON: {error}")))
}

#[pymethods]
impl HfTokenizer {
    /// From the text of a `tokenizer.json`; its truncation and padding come back beside it.
    #[staticmethod]
    fn from_str(
        py: Python<'_>,
        text: &str,
    ) -> PyResult<(Self, Option<TruncationArgs>, Option<PaddingArgs>)> {
        let (inner, truncation, padding) = py.detach(|| {
            let file = TokenizerJson::parse(text)?;
            let truncation = file.truncation.as_ref().map(truncation_args);
            let padding = file.padding.as_ref().map(padding_args);
            Ok::<_, Error>((Tokenizer::new(file)?, truncation, padding))
        })?;
        Ok((Self { inner }, truncation, padding))
    }

    fn to_str(
        &self,
        py: Python<'_>,
        pretty: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<String> {
        let truncation = truncation_args.map(truncation).transpose()?;
        let padding = padding_args.map(padding).transpose()?;
        Ok(py.detach(|| {
            let file = TokenizerJson {
                truncation,
                padding,
                ..self.inner.to_file()
            };
            file.to_text(pretty)
        }))
    }

    fn with_added_tokens(&self, tokens: Vec<TokenArgs>) -> PyResult<(Self, usize)> {
        let tokens: Vec<NewToken> = tokens
            .into_iter()
            .map(
                |(content, single_word, lstrip, rstrip, normalized, special)| NewToken {
                    content,
                    single_word,
                    lstrip,
                    rstrip,
                    normalized,
                    special,
                },
            )
            .collect();
        let (inner, count) = self.inner.with_added_tokens(&tokens)?;
        Ok((Self { inner }, count))
    }

    /// With a component replaced: its name and its JSON, or None for none.
    fn with_component(&self, name: &str, text: Option<&str>) -> PyResult<Self> {
        let value = text.map(json).transpose()?;
        let value = value.as_ref();
        let inner = match name {
            "normalizer" => {
                let read = |value| Normalizer::from_json(value, name);
                self.inner.with_normalizer(value.map(read).transpose()?)?
            }
            "pre_tokenizer" => {
                let read = |value| PreTokenizer::from_json(value, name);
                self.inner
                    .with_pre_tokenizer(value.map(read).transpose()?)?
            }
            "post_processor" => {
                let read = |value| PostProcessor::from_json(value, name);
                self.inner.with_post_processor(value.map(read).transpose()?)
            }
            "decoder" => {
                let read = |value| Decoder::from_json(value, name);
                self.inner.with_decoder(value.map(read).transpose()?)
            }
            other => {
                return Err(PyValueError::new_err(format!(
                    "expected a component, got {other:?}"
                )))
            }
        };
        Ok(Self { inner })
    }

    /// The JSON of a component, or None.
    fn component(&self, name: &str) -> PyResult<Option<String>> {
        let value = match name {
            "normalizer" => self.inner.normalizer().map(Normalizer::to_json),
            "pre_tokenizer" => self.inner.pre_tokenizer().map(PreTokenizer::to_json),
            "post_processor" => self.inner.post_processor().map(PostProcessor::to_json),
            "decoder" => self.inner.decoder().map(Decoder::to_json),
            other => {
                return Err(PyValueError::new_err(format!(
                    "expected a component, got {other:?}"
                )))
            }
        };
        Ok(value.map(|value| value.to_string()))
    }

    fn with_plain_special(&self, plain_special: bool) -> Self {
        Self {
            inner: self.inner.with_plain_special(plain_special),
        }
    }

    /// Encodes one sequence or a pair; pads it to itself.
    #[allow(clippy::too_many_arguments)]
    fn encode(
        &self,
        py: Python<'_>,
        sequence: &Bound<'_, PyAny>,
        pair: Option<&Bound<'_, PyAny>>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<HfEncoding> {
        let first = Owned::sequence(sequence, is_pretokenized)?;
        let second = pair
            .map(|pair| Owned::sequence(pair, is_pretokenized))
            .transpose()?;
        let inputs = [(
            first.borrow()?,
            second.as_ref().map(Owned::borrow).transpose()?,
        )];
        let truncation = truncation_args.map(truncation).transpose()?;
        let padding = padding_args.map(padding).transpose()?;
        let mut encodings = py.detach(|| {
            self.inner.encode_batch(
                &inputs,
                add_special_tokens,
                truncation.as_ref(),
                padding.as_ref(),
            )
        })?;
        Ok(HfEncoding::new(encodings.pop().unwrap_or_default()))
    }

    /// Encodes a batch.
    fn encode_batch(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<Vec<HfEncoding>> {
        if input.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("expected a list of inputs, got a str"));
        }
        let owned = input
            .try_iter()?
            .map(|item| Owned::item(&item?, is_pretokenized))
            .collect::<PyResult<Vec<_>>>()?;
        let inputs = owned
            .iter()
            .map(|(first, second)| {
                Ok((
                    first.borrow()?,
                    second.as_ref().map(Owned::borrow).transpose()?,
                ))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let truncation = truncation_args.map(truncation).transpose()?;
        let padding = padding_args.map(padding).transpose()?;
        let encodings = py.detach(|| {
            self.inner.encode_batch(
                &inputs,
                add_special_tokens,
                truncation.as_ref(),
                padding.as_ref(),
            )
        })?;
        Ok(encodings.into_iter().map(HfEncoding::new).collect())
    }

    fn post_process(
        &self,
        encoding: &HfEncoding,
        pair: Option<&HfEncoding>,
        add_special_tokens: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<HfEncoding> {
        let truncation = truncation_args.map(truncation).transpose()?;
        let first = encoding.inner.clone();
        let second = pair.map(|pair| pair.inner.clone());
        let done =
            self.inner
                .post_process(first, second, add_special_tokens, truncation.as_ref())?;
        let mut done = [done];
        if let Some(args) = padding_args {
            crate::hf::pad_batch(&mut done, &padding(args)?);
        }
        let [done] = done;
        Ok(HfEncoding::new(done))
    }

    fn decode(&self, py: Python<'_>, ids: Vec<u32>, skip_special_tokens: bool) -> String {
        py.detach(|| self.inner.decode(&ids, skip_special_tokens))
    }

    fn decode_batch(
        &self,
        py: Python<'_>,
        sequences: Vec<Vec<u32>>,
        skip_special_tokens: bool,
    ) -> Vec<String> {
        py.detach(|| {
            sequences
                .iter()
                .map(|ids| self.inner.decode(ids, skip_special_tokens))
                .collect()
        })
    }

    fn decode_tokens(&self, tokens: Vec<String>) -> String {
        self.inner.decode_tokens(tokens.iter().map(String::as_str))
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<&str> {
        self.inner.id_to_token(id)
    }

    /// Token strings and ids; of the added tokens those with ids of their own, too.
    fn get_vocab<'py>(&self, py: Python<'py>, with_added: bool) -> PyResult<Bound<'py, PyDict>> {
        let vocab = PyDict::new(py);
        for (token, id) in self.inner.model_vocab() {
            vocab.set_item(token, id)?;
        }
        if with_added {
            for token in self.inner.added().sorted() {
                vocab.set_item(&token.content, token.id)?;
            }
        }
        Ok(vocab)
    }

    fn get_vocab_size(&self, with_added: bool) -> usize {
        let model = self.inner.model_vocab().len();
        if !with_added {
            return model;
        }
        let added = self.inner.added().sorted();
        model
            + added
                .iter()
                .filter(|token| !self.inner.is_in_model(&token.content))
                .count()
    }

    /// The added tokens by id: `(id, (content, single_word, lstrip, rstrip, normalized, special))`.
    fn added_tokens(&self) -> Vec<(u32, TokenArgs)> {
        let added = self.inner.added().sorted();
        let args = added.into_iter().cloned().map(|token| {
            let id = token.id;
            let token = NewToken::from(token);
            let NewToken {
                content,
                single_word,
                lstrip,
                rstrip,
                normalized,
                special,
            } = token;
            (
                id,
                (content, single_word, lstrip, rstrip, normalized, special),
            )
        });
        args.collect()
    }

    fn num_special_tokens_to_add(&self, is_pair: bool) -> usize {
        self.inner.added_by_post_processor(is_pair)
    }

    fn normalize_str(&self, text: &str) -> String {
        self.inner.normalize_text(text)
    }

    fn pre_tokenize_str(&self, text: &str) -> PyResult<Vec<(String, (usize, usize))>> {
        Ok(self.inner.pre_tokenize(text)?)
    }

    /// Ids of one piece in the byte-level alphabet, with strings and offsets.
    fn tokenize_piece(&self, piece: &str) -> PyResult<Vec<TokenTuple>> {
        let ids = self.inner.tokenize_piece(piece)?;
        let token = |id| self.inner.id_to_token(id).unwrap_or_default().to_string();
        Ok(ids
            .into_iter()
            .map(|(id, offsets)| (id, token(id), offsets))
            .collect())
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<HfTokenizer>()?;
    // `_core.Encoding` is tiktoken's.
    m.add("HfEncoding", m.py().get_type::<HfEncoding>())
}
