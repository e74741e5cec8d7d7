//! The methods of `_core.Encoding`.

use std::borrow::Cow;

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::class::PyEncoding;
use super::construct;
use super::special::check;
use crate::python::numbers::size;
use crate::python::text::{decoded, text, utf8};
use crate::python::threads::NumThreads;

/// A list of ids, and the characters `(start, end)` of each.
type IdsAndOffsets<'py> = (Bound<'py, PyList>, Vec<(usize, usize)>);
/// The ids of all texts in one array, and where each text's begin.
type IdsAndStarts<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

#[pymethods]
impl PyEncoding {
    /// `Encoding(name, *, pat_str, mergeable_ranks, special_tokens, explicit_n_vocab=None)`. With
    /// only a name: the published encoding of that name. With only an encoding: one that shares
    /// its tables.
    #[new]
    #[pyo3(signature = (name, *, pat_str=None, mergeable_ranks=None, special_tokens=None, explicit_n_vocab=None))]
    fn py_new(
        name: &Bound<'_, PyAny>,
        pat_str: Option<&Bound<'_, PyAny>>,
        mergeable_ranks: Option<&Bound<'_, PyDict>>,
        special_tokens: Option<&Bound<'_, PyDict>>,
        explicit_n_vocab: Option<usize>,
    ) -> PyResult<Self> {
        if let Ok(other) = name.cast::<PyEncoding>() {
            return Ok(Self::sharing(other.get().core.clone()));
        }
        let name = utf8("name", name)?;
        let pattern = pat_str
            .map(|pattern| utf8("pat_str", pattern))
            .transpose()?;
        let (ranks, special) = (mergeable_ranks, special_tokens);
        let core = construct::from_arguments(name, pattern, ranks, special, explicit_n_vocab)?;
        Ok(Self::new(core))
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

    /// Whether merges happen in the order of ids, so that `mergeable_ranks` defines them.
    #[getter]
    fn _is_ranked(&self) -> bool {
        self.core.vocab().is_ranked()
    }

    /// `(left, right, merged)` ids of every merge, in the order in which merges happen.
    #[getter]
    fn _merges(&self) -> Vec<(u32, u32, u32)> {
        self.core.vocab().merges()
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
        self.with_encoded_ids(py, text, None, |ids| self.list(py, &ids))
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
        self.with_encoded_ids(py, text, Some(&policy), |ids| self.list(py, &ids))
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

    /// `count`, or None as soon as there are more than `limit`.
    #[pyo3(signature = (text, limit, *, allowed_special=None, disallowed_special=None))]
    fn count_till_limit(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        limit: &Bound<'_, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<usize>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.count_up_to(py, text, size("limit", limit, 0, u64::MAX)?, &policy)
    }

    /// Ids, and for each the characters (start, end) that it covers.
    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None))]
    fn encode_with_offsets<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<IdsAndOffsets<'py>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        let text = self::text(text)?;
        check(&policy, &text)?;
        let run = || self.core.encode_with_offsets(&text, policy.allowed());
        let (ids, offsets) = py.detach(run)?;
        Ok((self.list(py, &ids)?, offsets))
    }

    /// The ids that stay whatever follows the text, and every way in which ids can cover the rest of
    /// it.
    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None))]
    fn encode_with_unstable(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(Vec<u32>, Vec<Vec<u32>>)> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        let text = self::text(text)?;
        check(&policy, &text)?;
        Ok(py.detach(|| self.core.encode_with_unstable(&text, policy.allowed()))?)
    }

    /// Ids of a text that the pattern does not cut.
    fn _encode_single_piece(
        &self,
        py: Python<'_>,
        text_or_bytes: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<u32>> {
        let piece = match text_or_bytes.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes(),
            Err(_) => utf8("text_or_bytes", text_or_bytes)?.as_bytes(),
        };
        let mut ids = Vec::new();
        py.detach(|| self.core.encode_single_piece(piece, &mut ids))?;
        Ok(ids)
    }

    /// Ids of bytes that need not be UTF-8.
    fn _encode_bytes(&self, py: Python<'_>, text: &Bound<'_, PyBytes>) -> PyResult<Vec<u32>> {
        let (bytes, mut ids) = (text.as_bytes(), Vec::new());
        py.detach(|| self.core.encode_bytes(bytes, &mut ids))?;
        Ok(ids)
    }

    /// Limit each thread's caches to about this many bytes (8 GiB at most) and empty them.
    fn set_cache_limit(&self, bytes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.core
            .set_cache_limit(size("bytes", bytes, 0, u64::MAX)?);
        Ok(())
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
        self.with_encoded_ids(py, text, Some(&policy), |ids| {
            Ok(match ids {
                // For a few ids a copy is cheaper than a Python object that owns the buffer.
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
        num_threads: Option<NumThreads>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.lists(py, &self.encode_rows(py, text, num_threads, None)?)
    }

    #[pyo3(signature = (text, *, num_threads=None, allowed_special=None, disallowed_special=None))]
    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        num_threads: Option<NumThreads>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        self.lists(py, &self.encode_rows(py, text, num_threads, Some(&policy))?)
    }

    #[pyo3(signature = (text, *, num_threads=None, allowed_special=None, disallowed_special=None))]
    fn encode_batch_to_numpy<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        num_threads: Option<NumThreads>,
        allowed_special: Option<&Bound<'_, PyAny>>,
        disallowed_special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<IdsAndStarts<'py>> {
        let policy = self.policy(allowed_special, disallowed_special)?;
        let rows = self.encode_rows(py, text, num_threads, Some(&policy))?;
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
        self.with_decoded_bytes(py, tokens, |bytes| Ok(PyBytes::new(py, bytes)))
    }

    #[pyo3(signature = (tokens, errors="replace"))]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
        errors: &str,
    ) -> PyResult<Bound<'py, PyString>> {
        self.with_decoded_bytes(py, tokens, |bytes| decoded(py, bytes, errors))
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
