//! `_core.HfColumns`: the columns of a batch as lists or arrays, without an object for each text.

use std::sync::Arc;

use numpy::{PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::arguments::{OwnedSequence, StoredSequence};
use super::encoding::PyHfEncoding;
use super::ints::Ints;
use super::settings::PySettings;
use super::{borrowed, OwnedPair, PyHfTokenizer};
use crate::format::components::Direction;
use crate::hf::{Column, EncodedInput, FlatBatch, Run};
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

    /// What the call returns, as objects.
    fn encodings(&self, py: Python<'_>) -> PyResult<Vec<PyHfEncoding>> {
        let inputs = (0..self.len()).map(|at| self.input(py, at));
        let owned: Vec<_> = inputs.collect();
        let (tokenizer, settings) = (self.tokenizer.get(), self.settings.get());
        tokenizer.encode_owned(py, &owned, self.add_special_tokens, settings)
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

    /// An object for each row.
    pub(super) fn into_encodings(self, ints: &Arc<Ints>) -> Vec<PyHfEncoding> {
        let rows = 0..self.batch.len();
        let shared = Arc::new(self);
        rows.map(|row| PyHfEncoding::of_row(shared.clone(), row, ints.clone()))
            .collect()
    }
}

/// The columns of an encoded batch.
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
    call: Call,
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
        self.call.encodings(py)
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
    /// Whether a list is the only row itself.
    pub(super) only_row: bool,
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
    owned: Vec<OwnedPair<'py>>,
    wanted: Wanted,
    add_special_tokens: bool,
    settings: &Bound<'py, PySettings>,
) -> PyResult<Option<PyColumns>> {
    let py = tokenizer.py();
    let this = tokenizer.get();
    // `encode_batch` has the error.
    let Ok(inputs) = borrowed(&owned) else {
        return Ok(None);
    };
    let batch = this.encode_flat(py, &inputs, add_special_tokens, settings.get())?;
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
                None if wanted.only_row => {
                    let row = Buffer::default().list(py, &batch, 0, column, &this.ints)?;
                    data.set_item(name, row)?;
                }
                None => data.set_item(name, lists(py, &batch, column, &this.ints)?)?,
            }
        }
    }
    let lengths: Vec<usize> = (0..batch.len()).map(|row| batch.row_len(row)).collect();
    Ok(Some(PyColumns {
        data: data.unbind(),
        longest: lengths.iter().copied().max().unwrap_or(0),
        lengths,
        n_sequences: batch.n_sequences(0),
        call: Call::new(tokenizer, owned, add_special_tokens, settings),
    }))
}

fn lists<'py>(
    py: Python<'py>,
    batch: &FlatBatch,
    column: Column,
    ints: &Ints,
) -> PyResult<Bound<'py, PyList>> {
    let all = PyList::empty(py);
    let mut buffer = Buffer::default();
    for row in 0..batch.len() {
        if row % ROWS_PER_CHECK == ROWS_PER_CHECK - 1 {
            py.check_signals()?;
        }
        all.append(buffer.list(py, batch, row, column, ints)?)?;
    }
    Ok(all)
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

fn array<'py>(
    py: Python<'py>,
    batch: &FlatBatch,
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
