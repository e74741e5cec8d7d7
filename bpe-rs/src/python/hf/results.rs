//! The numbers of an encoded batch, and the call from which everything else is made on first use.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::arguments::{OwnedSequence, StoredSequence};
use super::ints::Ints;
use super::settings::PySettings;
use super::{borrowed, OwnedPair, PyHfTokenizer};
use crate::format::components::Direction;
use crate::hf::{Column, EncodedInput, FlatBatch, Run};
use crate::python::ids::list_of_runs;

/// The arguments of a call, from which `Encoding` objects are made when someone asks for them.
pub(super) struct Call {
    tokenizer: Py<PyHfTokenizer>,
    inputs: Inputs,
    add_special_tokens: bool,
    settings: Py<PySettings>,
}

type StoredPair = (StoredSequence, Option<StoredSequence>);

/// One input without a list, whose allocation a short text notices.
enum Inputs {
    One(StoredPair),
    Many(Vec<StoredPair>),
}

impl Call {
    /// A call with many inputs.
    pub(super) fn new<'py>(
        tokenizer: &Bound<'py, PyHfTokenizer>,
        owned: Vec<OwnedPair<'py>>,
        add_special_tokens: bool,
        settings: &Bound<'py, PySettings>,
    ) -> Self {
        Self {
            tokenizer: tokenizer.clone().unbind(),
            inputs: Inputs::Many(owned.into_iter().map(stored).collect()),
            add_special_tokens,
            settings: settings.clone().unbind(),
        }
    }

    /// A call with one input.
    pub(super) fn of_one<'py>(
        tokenizer: &Bound<'py, PyHfTokenizer>,
        owned: OwnedPair<'py>,
        add_special_tokens: bool,
        settings: &Bound<'py, PySettings>,
    ) -> Self {
        Self {
            inputs: Inputs::One(stored(owned)),
            ..Self::new(tokenizer, Vec::new(), add_special_tokens, settings)
        }
    }

    fn len(&self) -> usize {
        match &self.inputs {
            Inputs::One(_) => 1,
            Inputs::Many(inputs) => inputs.len(),
        }
    }

    fn input<'py>(&self, py: Python<'py>, at: usize) -> OwnedPair<'py> {
        let (first, second) = match &self.inputs {
            Inputs::One(input) => input,
            Inputs::Many(inputs) => &inputs[at],
        };
        let second = second.as_ref().map(|second| second.bind(py));
        (first.bind(py), second)
    }

    /// What the call returns.
    pub(super) fn encodings(&self, py: Python<'_>) -> PyResult<Vec<EncodedInput>> {
        let inputs = (0..self.len()).map(|at| self.input(py, at));
        let owned: Vec<_> = inputs.collect();
        let (tokenizer, settings) = (self.tokenizer.get(), self.settings.get());
        tokenizer.encode_all(py, &borrowed(&owned)?, self.add_special_tokens, settings)
    }

    /// The result for one input, padded to `length`.
    fn encoding(&self, py: Python<'_>, at: usize, length: usize) -> PyResult<EncodedInput> {
        let settings = self.settings.get();
        let alone = PySettings {
            padding: None,
            ..settings.clone()
        };
        let owned = [self.input(py, at)];
        let tokenizer = self.tokenizer.get();
        let batch =
            tokenizer.encode_all(py, &borrowed(&owned)?, self.add_special_tokens, &alone)?;
        let mut encoded = batch.into_iter().next().unwrap_or_default();
        if let Some(padding) = &settings.padding {
            let left = padding.direction == Direction::Left;
            let token = padding.pad_token.as_str().into();
            encoded.pad(length, padding.pad_id, padding.pad_type_id, &token, left)?;
        }
        Ok(encoded)
    }
}

fn stored((first, second): OwnedPair<'_>) -> StoredPair {
    (first.unbind(), second.map(OwnedSequence::unbind))
}

/// The numbers of a batch, and the call that they are the result of.
pub(super) struct Results {
    pub(super) batch: FlatBatch,
    pub(super) call: Call,
}

impl Results {
    /// Everything about a row.
    ///
    /// # Errors
    /// `KeyboardInterrupt`; else none, because the input has been encoded before.
    pub(super) fn encoding(&self, py: Python<'_>, row: usize) -> PyResult<EncodedInput> {
        self.call.encoding(py, row, self.batch.row_len(row))
    }
}

/// Memory for the values of a row.
#[derive(Default)]
pub(super) struct Buffer {
    ids: Vec<u32>,
    runs: Vec<(u32, usize)>,
}

impl Buffer {
    /// A column of a row as a list.
    pub(super) fn list<'py>(
        &mut self,
        py: Python<'py>,
        batch: &FlatBatch,
        row: usize,
        column: Column,
        ints: &Ints,
    ) -> PyResult<Bound<'py, PyList>> {
        let Self { ids, runs } = self;
        if column == Column::Ids {
            if let Some(ids) = batch.only_ids(row) {
                return ints.list(py, ids);
            }
            ids.clear();
            ids.reserve(batch.row_len(row));
            batch.each_run(row, column, &mut |run| match run {
                Run::Values(values) => ids.extend_from_slice(values),
                Run::Repeat(id, count) => ids.resize(ids.len() + count, id),
            });
            return ints.list(py, ids);
        }
        runs.clear();
        batch.each_run(row, column, &mut |run| match run {
            Run::Values(values) => runs.extend(values.iter().map(|&value| (value, 1))),
            Run::Repeat(value, count) => runs.push((value, count)),
        });
        list_of_runs(py, batch.row_len(row), runs)
    }
}
