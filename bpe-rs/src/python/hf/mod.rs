//! `_core.HfTokenizer` and `bpe_rs.hf.Encoding`: the pipeline of [`crate::hf`].

mod arguments;
mod encoding;
mod settings;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::text::utf8;
use crate::error::Error;
use crate::format::{vocab_merges, BpeModel, TokenizerJson};
use crate::hf::{InputPair, Tokenizer};
use arguments::{added_tokens, OwnedSequence};
use encoding::PyHfEncoding;
use settings::PySettings;

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
        inputs: &[InputPair<'_>],
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Vec<PyHfEncoding>> {
        let (truncation, padding) = (settings.truncation.as_ref(), settings.padding.as_ref());
        let tokenizer = self.inner.with_plain_special(settings.plain_special);
        let batch =
            py.detach(|| tokenizer.encode_batch(inputs, add_special_tokens, truncation, padding))?;
        Ok(batch.into_iter().map(PyHfEncoding::new).collect())
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
            Ok::<_, Error>((Self { inner }, settings))
        })?)
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
        Ok((Self { inner }, count))
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
        Ok(Self { inner })
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
        Ok(Self { inner })
    }

    /// With dropout that follows a seed.
    fn with_dropout_seed(&self, seed: u64) -> Self {
        let inner = self.inner.with_dropout_seed(seed);
        Self { inner }
    }

    /// The JSON of the model, or of its settings without vocabulary and merges.
    fn model(&self, py: Python<'_>, with_tokens: bool) -> String {
        let model = self.inner.model();
        py.detach(|| match with_tokens {
            true => model.to_json(),
            false => model.without_tokens().to_json(),
        })
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
        settings: &PySettings,
    ) -> PyResult<PyHfEncoding> {
        let first = OwnedSequence::new(sequence, is_pretokenized)?;
        let second = pair.map(|pair| OwnedSequence::new(pair, is_pretokenized));
        let owned = (first, second.transpose()?);
        let inputs = [OwnedSequence::borrow_pair(&owned, ["sequence", "pair"])?];
        let mut batch = self.encode_inputs(py, &inputs, add_special_tokens, settings)?;
        Ok(batch.pop().unwrap_or_default())
    }

    /// Encode a batch of sequences and pairs.
    fn encode_batch(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        is_pretokenized: bool,
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Vec<PyHfEncoding>> {
        if input.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "input: expected a list of inputs, got a str",
            ));
        }
        let owned = input
            .try_iter()?
            .map(|item| OwnedSequence::one_or_pair(&item?, is_pretokenized))
            .collect::<PyResult<Vec<_>>>()?;
        let inputs = owned
            .iter()
            .map(|owned| OwnedSequence::borrow_pair(owned, ["input"; 2]))
            .collect::<PyResult<Vec<_>>>()?;
        self.encode_inputs(py, &inputs, add_special_tokens, settings)
    }

    fn post_process(
        &self,
        encoding: &PyHfEncoding,
        pair: Option<&PyHfEncoding>,
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<PyHfEncoding> {
        let first = encoding.inner.clone();
        let second = pair.map(|pair| pair.inner.clone());
        let (tokenizer, truncation) = (&self.inner, settings.truncation.as_ref());
        let encoded = tokenizer.post_process(first, second, add_special_tokens, truncation)?;
        let mut batch = [encoded];
        if let Some(padding) = &settings.padding {
            crate::hf::pad_batch(&mut batch, padding)?;
        }
        let [encoded] = batch;
        Ok(PyHfEncoding::new(encoded))
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
    m.add_class::<PySettings>()?;
    // Not under its own name, because `_core.Encoding` is another class.
    m.add("HfEncoding", m.py().get_type::<PyHfEncoding>())
}
