//! What the methods have in common: texts and ids out of Python, work without the GIL.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Encoding;
use crate::encode::Rows;
use crate::error::Error;
use crate::python::ids::{ids_of, with_spare};
use crate::python::special::Policy;
use crate::python::text::{text, texts};

/// Shorter texts are encoded while holding the GIL: giving it up and taking it back costs more.
const RELEASE_FROM: usize = 4096;

impl Encoding {
    /// What `make` makes of the ids of one text, borrowed where they are few; without a policy
    /// special tokens are plain text.
    pub(super) fn ids<T>(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        policy: Option<&Policy<'_>>,
        make: impl FnOnce(Cow<'_, [u32]>) -> PyResult<T>,
    ) -> PyResult<T> {
        let text = text(input)?;
        if let Some(policy) = policy {
            policy.check(&text)?;
        }
        let allowed = policy.and_then(|policy| policy.allowed.finder());
        if text.len() < RELEASE_FROM {
            let take = |ids: &[u32]| make(Cow::Borrowed(ids));
            return self.core.with_ids(&text, allowed, take)?;
        }
        let run = || {
            // Enough for most texts; more is cheaper than growing.
            let mut ids = Vec::with_capacity(text.len() / 3 + 64);
            match allowed {
                Some(allowed) => self.core.encode(&text, allowed, &mut ids)?,
                None => self.core.encode_ordinary(&text, &mut ids)?,
            }
            Ok::<_, Error>(ids)
        };
        make(Cow::Owned(py.detach(run)?))
    }

    pub(super) fn list<'py>(&self, py: Python<'py>, ids: &[u32]) -> PyResult<Bound<'py, PyList>> {
        self.ints.list(py, ids, self.max_id)
    }

    pub(super) fn lists<'py>(&self, py: Python<'py>, rows: &Rows) -> PyResult<Bound<'py, PyList>> {
        let all = PyList::empty(py);
        for row in rows.iter() {
            all.append(self.list(py, row)?)?;
        }
        Ok(all)
    }

    pub(super) fn count_up_to(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        limit: usize,
        policy: &Policy<'_>,
    ) -> PyResult<Option<usize>> {
        let text = text(input)?;
        policy.check(&text)?;
        let allowed = policy.allowed.finder();
        let run = || self.core.count_with_special(&text, allowed, limit);
        Ok(if text.len() < RELEASE_FROM {
            run()
        } else {
            py.detach(run)
        }?)
    }

    /// What `make` makes of the bytes of ids.
    pub(super) fn decoded<T>(
        &self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        make: impl FnOnce(&[u8]) -> PyResult<T>,
    ) -> PyResult<T> {
        with_spare(|spare, bytes| {
            let ids = match ids_of(tokens, spare) {
                Ok(ids) => ids,
                Err(error) => return (Err(error), Vec::new()),
            };
            let mut run = || self.core.decode(&ids, bytes);
            let done = if ids.len() < RELEASE_FROM {
                run()
            } else {
                py.detach(run)
            };
            let result = done.map_err(Into::into).and_then(|()| make(bytes));
            (result, ids)
        })
    }

    /// Ids of a batch.
    pub(super) fn batch(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        num_threads: Option<usize>,
        policy: Option<&Policy<'_>>,
    ) -> PyResult<Rows> {
        let strings = texts(input)?;
        let strings: Vec<&str> = strings
            .iter()
            .map(|s| s.to_str())
            .collect::<PyResult<_>>()?;
        if let Some(policy) = policy {
            strings.iter().try_for_each(|string| policy.check(string))?;
        }
        let threads = crate::threads::requested(num_threads)?;
        let allowed = policy.and_then(|policy| policy.allowed.finder());
        Ok(py.detach(|| self.core.encode_batch(&strings, allowed, threads))?)
    }
}
