//! The state of `_core.Encoding`.

use std::collections::BTreeSet;
use std::sync::Arc;

use pyo3::prelude::*;

use super::special::selection;
use crate::encoding::Encoding;
use crate::python::ids::IntObjects;
use crate::special::{FinderCache, SpecialPolicy, SpecialSelection};

/// A vocabulary, a pattern and special tokens.
#[pyclass(name = "Encoding", subclass, frozen, module = "bpe_rs._core")]
pub(in crate::python) struct PyEncoding {
    pub(super) core: Arc<Encoding>,
    finders: FinderCache,
    pub(super) ints: IntObjects,
    pub(super) max_id: u32,
}

impl PyEncoding {
    pub(in crate::python) fn new(core: Encoding) -> Self {
        Self::sharing(Arc::new(core))
    }

    pub(super) fn sharing(core: Arc<Encoding>) -> Self {
        let max_id = core.max_token_value().unwrap_or(0);
        Self {
            core,
            finders: FinderCache::default(),
            ints: IntObjects::default(),
            max_id,
        }
    }

    pub(in crate::python) fn core(&self) -> &Encoding {
        &self.core
    }

    /// The policy that the arguments ask for. As in tiktoken none is allowed by default, and all
    /// that are not allowed are disallowed.
    pub(super) fn policy(
        &self,
        allowed: Option<&Bound<'_, PyAny>>,
        disallowed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<SpecialPolicy<'_>> {
        let allowed = match allowed {
            Some(given) => selection("allowed_special", given)?,
            None => SpecialSelection::Only(BTreeSet::new()),
        };
        let disallowed = match disallowed {
            Some(given) => selection("disallowed_special", given)?,
            None => SpecialSelection::All,
        };
        let special = self.core.special();
        Ok(SpecialPolicy::new(
            special,
            &self.finders,
            allowed,
            disallowed,
        ))
    }
}
