//! `_core.Encoding`: what the Python class `bpe_rs.Encoding` inherits, so that a hot call goes
//! straight into Rust without a Python frame.

use std::borrow::Cow;
use std::sync::Arc;

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::lists::Ints;
use super::special::{Finders, Policy};
use super::text::text;
use crate::encoding::Encoding as Core;

mod calls;
mod construct;

type WithOffsets<'py> = (Bound<'py, PyList>, Vec<(usize, usize)>);
type BatchArrays<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

/// A vocabulary, a pattern and special tokens.
#[pyclass(subclass, frozen, module = "bpe_rs._core")]
pub(super) struct Encoding {
    core: Arc<Core>,
    finders: Finders,
    ints: Ints,
    max_id: u32,
}

impl Encoding {
    pub(super) fn from_core(core: Core) -> Self {
        Self::sharing(Arc::new(core))
    }

    fn sharing(core: Arc<Core>) -> Self {
        let max_id = core.max_token_value().unwrap_or(0);
        Self {
            core,
            finders: Finders::default(),
            ints: Ints::default(),
            max_id,
        }
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    pub(super) fn policy(
        &self,
        allowed: Option<&Bound<'_, PyAny>>,
        disallowed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Policy<'_>> {
        Policy::new(self.core.special(), &self.finders, allowed, disallowed)
    }
}

#[pymethods]
impl Encoding {
    /// `Encoding(name, *, pat_str, mergeable_ranks, special_tokens, explicit_n_vocab=None)`, or
    /// with only a name: a published encoding, or with only an encoding: one that shares all of it.
    #[new]
    #[pyo3(signature = (name, *, pat_str=None, mergeable_ranks=None, special_tokens=None, explicit_n_vocab=None))]
    fn new(
        name: &Bound<'_, PyAny>,
        pat_str: Option<&str>,
        mergeable_ranks: Option<&Bound<'_, PyDict>>,
        special_tokens: Option<&Bound<'_, PyDict>>,
        explicit_n_vocab: Option<usize>,
    ) -> PyResult<Self> {
        if let Ok(other) = name.cast::<Encoding>() {
            return Ok(Self::sharing(other.get().core.clone()));
        }
        let name = name.extract()?;
        let (ranks, special) = (mergeable_ranks, special_tokens);
        let core = construct::core_of(name, pat_str, ranks, special, explicit_n_vocab)?;
        Ok(Self::from_core(core))
    }

    #[getter]
    fn name(&self) -> &str {
        self.core.name()
    }

    #[getter]
    fn pat_str(&self) -> &str {
        self.core.pattern().regex()
    }

    #[getter]
    fn max_token_value(&self) -> u32 {
        self.core.max_token_value().unwrap_or(0)
    }

    /// Special tokens and their ids, in the order given.
    #[getter]
    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        for (token, id) in self.core.special().iter() {
            all.set_item(token, id)?;
        }
        Ok(all)
    }

    /// Every mergeable token and its id.
    #[getter]
    fn mergeable_ranks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        for (id, token) in self.core.vocab().tokens().iter() {
            all.set_item(PyBytes::new(py, token), id)?;
        }
        Ok(all)
    }

    /// Whether merges happen in the order of ids: then `mergeable_ranks` says all about them.
    #[getter]
    fn _is_ranked(&self) -> bool {
        self.core.vocab().is_ranked()
    }

    /// SHA-256 of everything that decides which ids a text gets, in hexadecimal.
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> String {
        let digest = py.detach(|| self.core.fingerprint());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn encode_ordinary<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.ids(py, text, None, |ids| self.list(py, &ids))
    }

    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.ids(py, text, Some(&policy), |ids| self.list(py, &ids))
    }

    /// How many ids `encode` gives.
    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None))]
    fn count(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<usize>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.count_up_to(py, text, usize::MAX, &policy)
    }

    /// The same, or None as soon as there are more than `limit`.
    #[pyo3(signature = (text, limit, *, allowed_special=None, disallowed_special=None))]
    fn count_till_limit(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        limit: usize,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<usize>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.count_up_to(py, text, limit, &policy)
    }

    /// Ids and the (start, end) of each in characters.
    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None))]
    fn encode_with_offsets<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<WithOffsets<'py>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        let string = super::text::text(text)?;
        policy.check(&string)?;
        let allowed = policy.allowed.finder();
        let (ids, offsets) = py.detach(|| self.core.encode_with_offsets(&string, allowed))?;
        Ok((self.list(py, &ids)?, offsets))
    }

    /// Bound each thread's caches to about this many bytes (8 GiB at most); forgets what they hold.
    fn set_cache_limit(&self, bytes: usize) {
        self.core.set_cache_limit(bytes);
    }

    /// Bytes that the caches hold between calls.
    #[getter]
    fn cache_bytes(&self) -> usize {
        self.core.cache_bytes()
    }

    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None))]
    fn encode_to_numpy<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.ids(py, text, Some(&policy), |ids| {
            Ok(match ids {
                // A copy of a few ids is cheaper than an owner for their memory.
                Cow::Borrowed(ids) => PyArray1::from_slice(py, ids),
                Cow::Owned(ids) => PyArray1::from_vec(py, ids),
            })
        })
    }

    #[pyo3(signature = (text, *, num_threads=None))]
    fn encode_ordinary_batch<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.lists(py, &self.batch(py, text, num_threads, None)?)
    }

    #[pyo3(signature = (text, *, num_threads=None, allowed_special=None, disallowed_special=None))]
    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        num_threads: Option<usize>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.lists(py, &self.batch(py, text, num_threads, Some(&policy))?)
    }

    #[pyo3(signature = (text, *, num_threads=None, allowed_special=None, disallowed_special=None))]
    fn encode_batch_to_numpy<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        num_threads: Option<usize>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BatchArrays<'py>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        let rows = self.batch(py, text, num_threads, Some(&policy))?;
        let offsets = rows.ends.iter().map(|&end| end as i64);
        let offsets = std::iter::once(0).chain(offsets).collect();
        Ok((
            PyArray1::from_vec(py, rows.ids),
            PyArray1::from_vec(py, offsets),
        ))
    }

    fn encode_single_token(&self, text_or_bytes: &Bound<'_, PyAny>) -> PyResult<u32> {
        if let Ok(bytes) = text_or_bytes.cast::<PyBytes>() {
            return Ok(self.core.token_id(bytes.as_bytes())?);
        }
        Ok(self.core.token_id(text(text_or_bytes)?.as_bytes())?)
    }

    fn decode_single_token_bytes<'py>(
        &self,
        py: Python<'py>,
        token: u32,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core.token_bytes(token)?))
    }

    fn decode_bytes<'py>(
        &self,
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.decoded(py, tokens, |bytes| Ok(PyBytes::new(py, bytes)))
    }

    #[pyo3(signature = (tokens, errors="replace"))]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
        errors: &str,
    ) -> PyResult<Bound<'py, PyString>> {
        self.decoded(py, tokens, |bytes| super::text::decoded(py, bytes, errors))
    }

    /// The bytes of every mergeable token, sorted, as tiktoken gives them.
    fn token_byte_values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let tokens = self.core.vocab().tokens();
        let sorted = self.core.ids_by_bytes().iter();
        PyList::new(
            py,
            sorted.map(|&id| PyBytes::new(py, tokens.get(id).unwrap_or_default())),
        )
    }

    fn __repr__(&self) -> String {
        format!("<Encoding '{}'>", self.core.name())
    }
}

/// Names of the published encodings.
#[pyfunction]
fn list_encoding_names() -> Vec<&'static str> {
    crate::registry::names().collect()
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(list_encoding_names, m)?)?;
    m.add_class::<Encoding>()
}
