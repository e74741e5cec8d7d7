//! `_core.HfColumns`: the columns of a batch as lists or arrays, without an object for each text.

use numpy::{PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::arguments::{OwnedSequence, StoredSequence};
use super::encoding::PyHfEncoding;
use super::ints::Ints;
use super::settings::PySettings;
use super::PyHfTokenizer;
use crate::hf::{Column, FlatBatch, Run};
use crate::python::ids::list_of_runs;

/// The columns that a call of a tokenizer of `transformers` may ask for, in its order.
const COLUMNS: [(&str, Column); 4] = [
    ("input_ids", Column::Ids),
    ("token_type_ids", Column::TypeIds),
    ("attention_mask", Column::AttentionMask),
    ("special_tokens_mask", Column::SpecialTokensMask),
];
/// Rows that become lists between two looks at pending signals.
const ROWS_PER_CHECK: usize = 1 << 12;

/// The columns of an encoded batch, and what its `Encoding` objects are made from when someone asks
/// for them.
#[pyclass(name = "HfColumns", frozen, module = "bpe_rs._core")]
pub(super) struct PyColumns {
    /// The columns by name.
    #[pyo3(get)]
    data: Py<PyDict>,
    /// The number of tokens of the longest row.
    #[pyo3(get)]
    longest: usize,
    /// The number of tokens of each row.
    lengths: Vec<usize>,
    /// The number of input sequences that the first `Encoding` tells.
    #[pyo3(get)]
    n_sequences: usize,
    tokenizer: Py<PyHfTokenizer>,
    inputs: Vec<(StoredSequence, Option<StoredSequence>)>,
    add_special_tokens: bool,
    settings: PySettings,
}

#[pymethods]
impl PyColumns {
    /// The number of tokens of each row.
    #[getter]
    fn lengths(&self) -> Vec<usize> {
        self.lengths.clone()
    }

    /// The `Encoding` of each row.
    fn encodings(&self, py: Python<'_>) -> PyResult<Vec<PyHfEncoding>> {
        let bind = |(first, second): &(StoredSequence, Option<StoredSequence>)| {
            let second = second.as_ref().map(|second| second.bind(py));
            (first.bind(py), second)
        };
        let owned: Vec<_> = self.inputs.iter().map(bind).collect();
        let tokenizer = self.tokenizer.get();
        tokenizer.encode_owned(py, &owned, self.add_special_tokens, &self.settings)
    }
}

/// What a call asks for beside ids.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) token_type_ids: bool,
    pub(super) attention_mask: bool,
    pub(super) special_tokens_mask: bool,
    /// Whether columns are arrays of int64 instead of lists of lists.
    pub(super) as_arrays: bool,
}

impl Wanted {
    fn has(self, column: Column) -> bool {
        match column {
            Column::Ids => true,
            Column::TypeIds => self.token_type_ids,
            Column::AttentionMask => self.attention_mask,
            Column::SpecialTokensMask => self.special_tokens_mask,
        }
    }
}

/// Encode `owned`; `None` where `encode_batch` must be asked (see
/// [`crate::hf::Tokenizer::encode_flat`]), and for arrays of rows that differ in length.
pub(super) fn encode<'py>(
    tokenizer: &Bound<'py, PyHfTokenizer>,
    owned: Vec<(OwnedSequence<'py>, Option<OwnedSequence<'py>>)>,
    wanted: Wanted,
    add_special_tokens: bool,
    settings: &PySettings,
) -> PyResult<Option<PyColumns>> {
    let py = tokenizer.py();
    let this = tokenizer.get();
    let batch = this.encode_flat(py, &owned, add_special_tokens, settings)?;
    let Some(batch) = batch.filter(|batch| !batch.is_empty()) else {
        return Ok(None);
    };
    let width = match (wanted.as_arrays, batch.width()) {
        (true, None) => return Ok(None),
        (true, width) => width,
        (false, _) => None,
    };
    let data = PyDict::new(py);
    for (name, column) in COLUMNS {
        if wanted.has(column) {
            let name = pyo3::types::PyString::intern(py, name);
            match width {
                Some(width) => data.set_item(name, array(py, &batch, column, width)?)?,
                None => data.set_item(name, lists(py, &batch, column, &this.ints)?)?,
            }
        }
    }
    let lengths: Vec<usize> = (0..batch.len()).map(|row| batch.row_len(row)).collect();
    Ok(Some(PyColumns {
        data: data.unbind(),
        longest: lengths.iter().copied().max().unwrap_or(0),
        lengths,
        n_sequences: batch.n_sequences(),
        tokenizer: tokenizer.clone().unbind(),
        inputs: owned
            .into_iter()
            .map(|(first, second)| (first.unbind(), second.map(OwnedSequence::unbind)))
            .collect(),
        add_special_tokens,
        settings: settings.clone(),
    }))
}

fn lists<'py>(
    py: Python<'py>,
    batch: &FlatBatch<'_>,
    column: Column,
    ints: &Ints,
) -> PyResult<Bound<'py, PyList>> {
    let (mut values, mut runs) = (Vec::new(), Vec::new());
    let mut row_list = |row| {
        if row % ROWS_PER_CHECK == ROWS_PER_CHECK - 1 {
            py.check_signals()?;
        }
        if column == Column::Ids {
            values.clear();
            batch.each_run(row, column, &mut |run| match run {
                Run::Values(ids) => values.extend_from_slice(ids),
                Run::Repeat(id, count) => values.resize(values.len() + count, id),
            });
            return ints.list(py, &values);
        }
        runs.clear();
        batch.each_run(row, column, &mut |run| match run {
            Run::Values(values) => runs.extend(values.iter().map(|&value| (value, 1))),
            Run::Repeat(value, count) => runs.push((value, count)),
        });
        list_of_runs(py, batch.row_len(row), &runs)
    };
    let all = PyList::empty(py);
    for row in 0..batch.len() {
        all.append(row_list(row)?)?;
    }
    Ok(all)
}

fn array<'py>(
    py: Python<'py>,
    batch: &FlatBatch<'_>,
    column: Column,
    width: usize,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let array = PyArray2::<i64>::zeros(py, [batch.len(), width], false);
    let mut view = array.readwrite();
    let cells = view.as_slice_mut()?;
    py.detach(|| {
        for (row, mut cells) in cells.chunks_exact_mut(width.max(1)).enumerate() {
            batch.each_run(row, column, &mut |run| {
                let count = match run {
                    Run::Values(values) => {
                        for (cell, &value) in cells.iter_mut().zip(values) {
                            *cell = value.into();
                        }
                        values.len()
                    }
                    Run::Repeat(value, count) => {
                        cells[..count].fill(value.into());
                        count
                    }
                };
                cells = &mut std::mem::take(&mut cells)[count..];
            });
        }
    });
    drop(view);
    Ok(array)
}
