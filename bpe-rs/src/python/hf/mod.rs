//! `_core.HfTokenizer` and `bpe_rs.hf.Encoding`: the pipeline of [`crate::hf`].

mod arguments;
mod base;
mod calls;
mod columns;
mod encoding;
mod guarded;
mod ints;
mod results;
mod settings;
mod thread_settings;
mod training;

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::text::utf8;
use crate::error::Error;
use crate::format::{sentencepiece, vocab_merges, BpeModel, TokenizerJson};
use crate::hf::{Layout, Tokenizer};
use crate::threads::ForkOnce;
use arguments::{added_tokens, OwnedSequence};
use base::PyBase;
use calls::encodings;
use columns::{PyColumns, Wanted};
use encoding::PyHfEncoding;
use ints::Ints;
use results::Inputs;
use settings::PySettings;
use thread_settings::PyThreadSettings;

/// `(id, string, offsets)`.
type TokenTuple = (u32, String, (usize, usize));

/// A tokenizer. Immutable: methods that change something return another one.
#[pyclass(name = "HfTokenizer", frozen, module = "bpe_rs._core")]
pub(super) struct PyHfTokenizer {
    inner: Tokenizer,
    /// Of one sequence and of a pair, without special tokens and with them.
    layouts: [[ForkOnce<Option<Arc<Layout>>>; 2]; 2],
    ints: Arc<Ints>,
}

impl PyHfTokenizer {
    fn new(inner: Tokenizer) -> Self {
        let ints = Arc::new(Ints::new(&inner));
        Self::with_ints(inner, ints)
    }

    /// Another tokenizer with most of the same ids.
    fn with_ints(inner: Tokenizer, ints: Arc<Ints>) -> Self {
        Self {
            inner,
            layouts: Default::default(),
            ints,
        }
    }
}

#[pymethods]
impl PyHfTokenizer {
    /// From the text of a `tokenizer.json`, or its bytes; also returns the settings it holds.
    #[staticmethod]
    fn from_str(py: Python<'_>, json: &Bound<'_, PyAny>) -> PyResult<(Self, PySettings)> {
        let text = match json.cast::<PyBytes>() {
            Ok(bytes) => std::str::from_utf8(bytes.as_bytes()).map_err(|error| {
                Error::invalid(format!("tokenizer.json: expected UTF-8: {error}"))
            })?,
            Err(_) => utf8("json", json)?,
        };
        Ok(py.detach(|| {
            let mut file = TokenizerJson::parse(text)?;
            let settings = PySettings {
                truncation: file.truncation.take(),
                padding: file.padding.take(),
                plain_special: false,
            };
            let inner = Tokenizer::new(file)?;
            Ok::<_, Error>((Self::new(inner), settings))
        })?)
    }

    /// From the bytes of a SentencePiece model.
    #[staticmethod]
    fn from_sentencepiece(py: Python<'_>, file: &[u8]) -> PyResult<Self> {
        let inner = py.detach(|| Tokenizer::new(sentencepiece::parse(file)?))?;
        Ok(Self::new(inner))
    }

    fn to_str(&self, py: Python<'_>, pretty: bool, settings: &PySettings) -> String {
        py.detach(|| {
            let file = TokenizerJson {
                truncation: settings.truncation.clone(),
                padding: settings.padding.clone(),
                ..self.inner.to_file()
            };
            file.to_text(pretty)
        })
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
        Ok((Self::with_ints(inner, self.ints.clone()), count))
    }

    /// With the component `name` replaced by the one that the JSON describes, or None by none.
    fn with_component(&self, name: &str, text: Option<&str>) -> PyResult<Self> {
        let value = text
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| {
                Error::invalid(format!("{name}: expected a component as JSON: {error}"))
            })?;
        let inner = self.inner.with_component(name, value.as_ref())?;
        Ok(Self::with_ints(inner, self.ints.clone()))
    }

    /// The JSON of a component, or None.
    fn component(&self, name: &str) -> PyResult<Option<String>> {
        let value = self.inner.component(name)?;
        Ok(value.map(|value| value.to_string()))
    }

    fn model_token_to_id(&self, token: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
        Ok(self.inner.model_id_of(utf8("token", token)?))
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
        Ok(Self::new(inner))
    }

    /// With dropout that follows a seed.
    fn with_dropout_seed(&self, seed: u64) -> Self {
        let inner = self.inner.with_dropout_seed(seed);
        Self::with_ints(inner, self.ints.clone())
    }

    /// The JSON of the model, or of its settings without vocabulary and merges.
    fn model(&self, py: Python<'_>, with_tokens: bool) -> String {
        let model = self.inner.model();
        py.detach(|| match with_tokens {
            true => model.to_json(),
            false => model.without_tokens().to_json(),
        })
    }

    /// Encode one sequence or a pair. `PyBase` has a quicker way for one text.
    fn encode<'py>(
        this: &Bound<'py, Self>,
        sequence: &Bound<'py, PyAny>,
        pair: Option<&Bound<'py, PyAny>>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        settings: &Bound<'py, PySettings>,
    ) -> PyResult<PyHfEncoding> {
        let first = OwnedSequence::new(sequence, is_pretokenized)?;
        let second = pair.map(|pair| OwnedSequence::new(pair, is_pretokenized));
        let owned = (first, second.transpose()?);
        OwnedSequence::borrow_pair(&owned, ["sequence", "pair"])?;
        let encodings = encodings(this, Inputs::one(owned), add_special_tokens, settings)?;
        Ok(encodings.into_iter().next().unwrap_or_default())
    }

    /// Encode a batch of sequences and pairs.
    fn encode_batch<'py>(
        this: &Bound<'py, Self>,
        input: &Bound<'py, PyAny>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        settings: &Bound<'py, PySettings>,
    ) -> PyResult<Vec<PyHfEncoding>> {
        let inputs = Inputs::batch(input, is_pretokenized)?;
        encodings(this, inputs, add_special_tokens, settings)
    }

    /// The columns of an encoded batch; None where `encode_batch` must be asked.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn encode_columns<'py>(
        this: &Bound<'py, Self>,
        input: &Bound<'py, PyAny>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        settings: &Bound<'py, PySettings>,
        token_type_ids: bool,
        attention_mask: bool,
        special_tokens_mask: bool,
        as_arrays: bool,
        only_row: bool,
    ) -> PyResult<Option<PyColumns>> {
        // `encode_batch` has the error.
        let Ok(inputs) = Inputs::batch(input, is_pretokenized) else {
            return Ok(None);
        };
        let wanted = Wanted {
            token_type_ids,
            attention_mask,
            special_tokens_mask,
            as_arrays,
            only_row,
        };
        columns::encode(this, inputs, wanted, add_special_tokens, settings)
    }

    fn post_process(
        &self,
        py: Python<'_>,
        encoding: &PyHfEncoding,
        pair: Option<&PyHfEncoding>,
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<PyHfEncoding> {
        let first = encoding.inner(py)?.clone();
        let second = pair.map(|pair| pair.inner(py).cloned()).transpose()?;
        let (tokenizer, truncation) = (&self.inner, settings.truncation.as_ref());
        let encoded = tokenizer.post_process(first, second, add_special_tokens, truncation)?;
        let mut batch = [encoded];
        if let Some(padding) = &settings.padding {
            crate::hf::pad_batch(&mut batch, padding)?;
        }
        let [encoded] = batch;
        Ok(PyHfEncoding::with_ints(encoded, self.ints.clone()))
    }

    fn decode(&self, py: Python<'_>, ids: Vec<u32>, skip_special_tokens: bool) -> PyResult<String> {
        Ok(py.detach(|| self.inner.decode(&ids, skip_special_tokens))?)
    }

    fn decode_batch(
        &self,
        py: Python<'_>,
        sequences: Vec<Vec<u32>>,
        skip_special_tokens: bool,
    ) -> PyResult<Vec<String>> {
        let decode = |ids: &Vec<u32>| self.inner.decode(ids, skip_special_tokens);
        let texts = py.detach(|| sequences.iter().map(decode).collect::<Result<_, Error>>());
        Ok(texts?)
    }

    fn decode_tokens(&self, tokens: Vec<Bound<'_, PyAny>>) -> PyResult<String> {
        let tokens = tokens.iter().map(|token| utf8("tokens", token));
        let tokens = tokens.collect::<PyResult<Vec<_>>>()?;
        Ok(self.inner.decode_tokens(tokens.into_iter())?)
    }

    fn token_to_id(&self, token: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
        Ok(self.inner.token_to_id(utf8("token", token)?))
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

    /// The added tokens, ordered by id, as JSON.
    fn added_tokens(&self) -> String {
        // Serialising strings, numbers and lists of them cannot fail.
        serde_json::to_string(&self.inner.added().sorted()).unwrap_or_default()
    }

    fn num_special_tokens_to_add(&self, is_pair: bool) -> usize {
        self.inner.num_added_by_post_processor(is_pair)
    }

    /// The regular expression whose matches are the words that the model sees; None where there is
    /// none, or where texts are normalised first.
    fn word_pattern(&self) -> Option<&str> {
        self.inner.word_pattern()
    }

    fn normalize_str(&self, sequence: &Bound<'_, PyAny>) -> PyResult<String> {
        Ok(self.inner.normalize_text(utf8("sequence", sequence)?)?)
    }

    fn pre_tokenize_str(&self, s: &Bound<'_, PyAny>) -> PyResult<Vec<(String, (usize, usize))>> {
        Ok(self.inner.pre_tokenize(utf8("s", s)?)?)
    }

    /// The tokens of one piece in the byte-level alphabet: ids, strings and offsets.
    fn tokenize_piece(&self, sequence: &Bound<'_, PyAny>) -> PyResult<Vec<TokenTuple>> {
        let ids = self.inner.tokenize_piece(utf8("sequence", sequence)?)?;
        let token = |id| self.inner.id_to_token(id).unwrap_or_default().to_string();
        Ok(ids
            .into_iter()
            .map(|(id, offsets)| (id, token(id), offsets))
            .collect())
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyHfTokenizer>()?;
    m.add_class::<PyBase>()?;
    m.add_class::<PySettings>()?;
    m.add_class::<PyThreadSettings>()?;
    m.add_class::<PyColumns>()?;
    m.add_class::<training::PyWords>()?;
    // Not under its own name, because `_core.Encoding` is another class.
    m.add("HfEncoding", m.py().get_type::<PyHfEncoding>())
}
