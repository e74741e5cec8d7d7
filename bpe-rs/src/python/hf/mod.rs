//! `_core.HfTokenizer` and `bpe_rs.hf.Encoding`: the pipeline of [`crate::hf`].

mod arguments;
mod encoding;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::{vocab_merges, BpeModel, TokenizerJson};
use crate::hf::{InputSequence, Tokenizer};
use arguments::{
    added_tokens, padding, padding_args, token_arguments, truncation, truncation_args,
    OwnedSequence, PaddingArgs, TruncationArgs,
};
use encoding::PyHfEncoding;

/// `(id, string, offsets)`.
type TokenTuple = (u32, String, (usize, usize));

/// A tokenizer. Immutable: methods that change something return another one.
#[pyclass(name = "HfTokenizer", frozen, module = "bpe_rs._core")]
struct PyHfTokenizer {
    inner: Tokenizer,
}

impl PyHfTokenizer {
    /// Encode inputs without the GIL.
    fn encode_inputs(
        &self,
        py: Python<'_>,
        inputs: &[(InputSequence<'_>, Option<InputSequence<'_>>)],
        add_special_tokens: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<Vec<PyHfEncoding>> {
        let truncation = truncation_args.map(truncation).transpose()?;
        let padding = padding_args.map(padding).transpose()?;
        let batch = py.detach(|| {
            let (truncation, padding) = (truncation.as_ref(), padding.as_ref());
            let tokenizer = &self.inner;
            tokenizer.encode_batch(inputs, add_special_tokens, truncation, padding)
        })?;
        Ok(batch.into_iter().map(PyHfEncoding::new).collect())
    }
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("expected a component as JSON: {error}")))
}

#[pymethods]
impl PyHfTokenizer {
    /// From the text of a `tokenizer.json`, or its bytes; also returns its truncation and padding.
    #[staticmethod]
    fn from_str(
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
    ) -> PyResult<(Self, Option<TruncationArgs>, Option<PaddingArgs>)> {
        let text = match text.cast::<PyBytes>() {
            Ok(bytes) => std::str::from_utf8(bytes.as_bytes()).map_err(|error| {
                Error::invalid(format!("tokenizer.json: expected UTF-8: {error}"))
            })?,
            Err(_) => text.extract()?,
        };
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

    /// With tokens added, as control tokens if `special`; also returns how many were new.
    fn with_added_tokens(
        &self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        special: bool,
    ) -> PyResult<(Self, usize)> {
        let tokens = added_tokens(tokens, special)?;
        let (inner, count) = py.detach(|| self.inner.with_added_tokens(tokens))?;
        Ok((Self { inner }, count))
    }

    /// With the component `name` replaced by the one that the JSON describes, or None by none.
    fn with_component(&self, name: &str, text: Option<&str>) -> PyResult<Self> {
        let value = text.map(json).transpose()?;
        let inner = self.inner.with_component(name, value.as_ref())?;
        Ok(Self { inner })
    }

    /// The JSON of a component, or None.
    fn component(&self, name: &str) -> PyResult<Option<String>> {
        let value = self.inner.component(name)?;
        Ok(value.map(|value| value.to_string()))
    }

    fn model_token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.model_id_of(token)
    }

    fn model_id_to_token(&self, id: u32) -> Option<&str> {
        self.inner.model_token(id)
    }

    /// The texts of `vocab.json` and `merges.txt`.
    fn vocab_and_merges(&self, py: Python<'_>) -> PyResult<(String, String)> {
        Ok(py.detach(|| vocab_merges::write(self.inner.model()))?)
    }

    /// With the model that the JSON describes.
    fn with_model(&self, py: Python<'_>, text: &str) -> PyResult<Self> {
        let inner = py.detach(|| self.inner.with_model(BpeModel::from_json(text)?))?;
        Ok(Self { inner })
    }

    /// The JSON of the model, or of its settings without vocabulary and merges.
    fn model(&self, py: Python<'_>, with_tokens: bool) -> String {
        let model = self.inner.model();
        py.detach(|| match with_tokens {
            true => model.to_json(),
            false => model.without_tokens().to_json(),
        })
    }

    fn with_plain_special(&self, plain_special: bool) -> Self {
        Self {
            inner: self.inner.with_plain_special(plain_special),
        }
    }

    /// Encode one sequence or a pair.
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
    ) -> PyResult<PyHfEncoding> {
        let first = OwnedSequence::new(sequence, is_pretokenized)?;
        let second = pair.map(|pair| OwnedSequence::new(pair, is_pretokenized));
        let owned = (first, second.transpose()?);
        let inputs = [OwnedSequence::borrow_pair(&owned)?];
        let mut batch = self.encode_inputs(
            py,
            &inputs,
            add_special_tokens,
            truncation_args,
            padding_args,
        )?;
        Ok(batch.pop().unwrap_or_default())
    }

    /// Encode a batch of sequences and pairs.
    fn encode_batch(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<Vec<PyHfEncoding>> {
        if input.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("expected a list of inputs, got a str"));
        }
        let owned = input
            .try_iter()?
            .map(|item| OwnedSequence::one_or_pair(&item?, is_pretokenized))
            .collect::<PyResult<Vec<_>>>()?;
        let inputs = owned
            .iter()
            .map(OwnedSequence::borrow_pair)
            .collect::<PyResult<Vec<_>>>()?;
        self.encode_inputs(
            py,
            &inputs,
            add_special_tokens,
            truncation_args,
            padding_args,
        )
    }

    fn post_process(
        &self,
        encoding: &PyHfEncoding,
        pair: Option<&PyHfEncoding>,
        add_special_tokens: bool,
        truncation_args: Option<TruncationArgs>,
        padding_args: Option<PaddingArgs>,
    ) -> PyResult<PyHfEncoding> {
        let truncation = truncation_args.map(truncation).transpose()?;
        let first = encoding.inner.clone();
        let second = pair.map(|pair| pair.inner.clone());
        let truncation = truncation.as_ref();
        let tokenizer = &self.inner;
        let encoded = tokenizer.post_process(first, second, add_special_tokens, truncation)?;
        let mut batch = [encoded];
        if let Some(args) = padding_args {
            crate::hf::pad_batch(&mut batch, &padding(args)?)?;
        }
        let [encoded] = batch;
        Ok(PyHfEncoding::new(encoded))
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

    /// Token strings and ids, with `with_added` those of the added tokens, too.
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
        self.inner.vocab_size(with_added)
    }

    /// The added tokens by id, each as the arguments of its class.
    fn added_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for token in self.inner.added().sorted() {
            tokens.set_item(token.id, token_arguments(py, token)?)?;
        }
        Ok(tokens)
    }

    fn num_special_tokens_to_add(&self, is_pair: bool) -> usize {
        self.inner.num_added_by_post_processor(is_pair)
    }

    fn normalize_str(&self, text: &str) -> String {
        self.inner.normalize_text(text)
    }

    fn pre_tokenize_str(&self, text: &str) -> PyResult<Vec<(String, (usize, usize))>> {
        Ok(self.inner.pre_tokenize(text)?)
    }

    /// The tokens of one piece in the byte-level alphabet: ids, strings and offsets.
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
    m.add_class::<PyHfTokenizer>()?;
    // Not under its own name, because `_core.Encoding` is another class.
    m.add("HfEncoding", m.py().get_type::<PyHfEncoding>())
}
