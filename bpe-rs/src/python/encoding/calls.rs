//! What several methods share: convert texts or ids, work without the GIL, convert the result.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::class::PyEncoding;
use super::special::check;
use crate::encode::Rows;
use crate::error::Error;
use crate::python::ids::{ids_of, with_reusable_buffers};
use crate::python::text::{text, texts, utf8_of};
use crate::python::threads::{requested, NumThreads};
use crate::special::SpecialPolicy;

/// Texts of fewer bytes, and fewer ids, are processed while holding the GIL, because releasing and
/// reacquiring it costs more.
const MIN_LEN_TO_RELEASE_GIL: usize = 4096;
/// Rows that become lists between two looks at pending signals.
const ROWS_PER_CHECK: usize = 1 << 12;

impl PyEncoding {
    /// Encode one text and call `make` with its ids. They are borrowed from a reusable buffer for
    /// a short text, owned for a long one. Without a policy special tokens are plain text.
    pub(super) fn with_encoded_ids<T>(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        policy: Option<&SpecialPolicy<'_>>,
        make: impl FnOnce(Cow<'_, [u32]>) -> PyResult<T>,
    ) -> PyResult<T> {
        let text = text(input)?;
        if let Some(policy) = policy {
            check(policy, &text)?;
        }
        let allowed = policy.and_then(SpecialPolicy::allowed);
        if text.len() < MIN_LEN_TO_RELEASE_GIL {
            let take = |ids: &[u32]| make(Cow::Borrowed(ids));
            return self.core.with_ids(&text, allowed, take)?;
        }
        let run = || {
            // Room for the ids of most texts: cheaper than growing.
            let mut ids = Vec::with_capacity(text.len() / 3 + 64);
            match allowed {
                Some(allowed) => self.core.encode(&text, allowed, &mut ids)?,
                None => self.core.encode_ordinary(&text, &mut ids)?,
            }
            Ok::<_, Error>(ids)
        };
        make(Cow::Owned(py.detach(run)?))
    }

    /// Ids as a Python list.
    pub(super) fn list<'py>(&self, py: Python<'py>, ids: &[u32]) -> PyResult<Bound<'py, PyList>> {
        self.ints.list(py, ids, self.max_id)
    }

    /// The rows of a batch as a list of lists.
    pub(super) fn lists<'py>(&self, py: Python<'py>, rows: &Rows) -> PyResult<Bound<'py, PyList>> {
        let all = PyList::empty(py);
        for (i, row) in rows.iter().enumerate() {
            if i % ROWS_PER_CHECK == ROWS_PER_CHECK - 1 {
                py.check_signals()?;
            }
            all.append(self.list(py, row)?)?;
        }
        Ok(all)
    }

    /// The number of ids of one text; `None` as soon as there are more than `limit`.
    pub(super) fn count_up_to(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        limit: usize,
        policy: &SpecialPolicy<'_>,
    ) -> PyResult<Option<usize>> {
        let text = text(input)?;
        check(policy, &text)?;
        let run = || self.core.count_with_special(&text, policy.allowed(), limit);
        Ok(if text.len() < MIN_LEN_TO_RELEASE_GIL {
            run()
        } else {
            py.detach(run)
        }?)
    }

    /// Decode ids and call `make` with their bytes.
    pub(super) fn with_decoded_bytes<T>(
        &self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        make: impl FnOnce(&[u8]) -> PyResult<T>,
    ) -> PyResult<T> {
        with_reusable_buffers(|buffer, bytes| {
            let ids = match ids_of(tokens, buffer) {
                Ok(ids) => ids,
                Err(error) => return (Err(error), Vec::new()),
            };
            let mut run = || self.core.decode(&ids, bytes);
            let done = if ids.len() < MIN_LEN_TO_RELEASE_GIL {
                run()
            } else {
                py.detach(run)
            };
            let result = done.map_err(Into::into).and_then(|()| make(bytes));
            (result, ids)
        })
    }

    /// Encode a batch of texts.
    pub(super) fn encode_rows(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        num_threads: Option<NumThreads>,
        policy: Option<&SpecialPolicy<'_>>,
    ) -> PyResult<Rows> {
        let strings = texts(input)?;
        let strings = utf8_of(&strings)?;
        if let Some(policy) = policy {
            strings
                .iter()
                .try_for_each(|string| check(policy, string))?;
        }
        let threads = requested(num_threads)?;
        let allowed = policy.and_then(SpecialPolicy::allowed);
        Ok(py.detach(|| self.core.encode_batch(&strings, allowed, threads))?)
    }
}
