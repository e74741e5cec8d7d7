//! `_core.HfColumns`: the columns of a batch as lists or arrays, without an object for each text.

use numpy::{PyArray2, PyArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::encoding::PyHfEncoding;
use super::ints::Ints;
use super::results::{Buffer, Call, Inputs};
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

/// The columns of an encoded batch.
#[pyclass(name = "HfColumns", frozen, module = "bpe_rs._core")]
pub(super) struct PyColumns {
    /// The columns by name.
    #[pyo3(get)]
    pub(super) data: Py<PyDict>,
    /// The number of tokens of the longest row.
    #[pyo3(get)]
    pub(super) longest: usize,
    /// The number of tokens of each row, unless there is one.
    lengths: Vec<usize>,
    /// The number of input sequences that the first `Encoding` tells.
    #[pyo3(get)]
    pub(super) n_sequences: usize,
    call: Call,
}

#[pymethods]
impl PyColumns {
    /// The number of tokens of each row.
    #[getter]
    fn lengths(&self) -> Vec<usize> {
        match self.lengths.is_empty() {
            true => vec![self.longest],
            false => self.lengths.clone(),
        }
    }

    /// The `Encoding` of each row.
    fn encodings(&self, py: Python<'_>) -> PyResult<Vec<PyHfEncoding>> {
        let encodings = self.call.encodings(py)?.into_iter();
        let ints = &self.call.tokenizer().ints;
        let encoding = |inner| PyHfEncoding::with_ints(inner, ints.clone());
        Ok(encodings.map(encoding).collect())
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

/// The columns of one text without truncation and padding. `names`: a list that tells which are wanted.
/// `None` where `encode_batch` must be asked, which also has the errors.
pub(super) fn of_text<'py>(
    tokenizer: &Bound<'py, PyHfTokenizer>,
    text: &Bound<'py, PyString>,
    names: &Bound<'py, PyAny>,
    settings: &Bound<'py, PySettings>,
) -> PyResult<Option<PyColumns>> {
    let (py, this) = (tokenizer.py(), tokenizer.get());
    let (Ok(utf8), Some(layout)) = (text.to_str(), this.layout(false, true)) else {
        return Ok(None);
    };
    let Some(ids) = this.list_of_text(py, utf8, layout)? else {
        return Ok(None);
    };
    let longest = ids.len();
    let data = PyDict::new(py);
    data.set_item(intern!(py, "input_ids"), &ids)?;
    let name = intern!(py, "token_type_ids");
    if names.contains(name)? {
        let runs = layout.runs_of_text(Column::TypeIds, longest);
        data.set_item(name, list_of_runs(py, longest, &runs)?)?;
    }
    let name = intern!(py, "attention_mask");
    if names.contains(name)? {
        data.set_item(name, list_of_runs(py, longest, &[(1, longest)])?)?;
    }
    Ok(Some(PyColumns {
        data: data.unbind(),
        longest,
        lengths: Vec::new(),
        n_sequences: layout.n_sequences,
        call: Call::new(tokenizer, Inputs::text(text), true, settings),
    }))
}

/// Encode `inputs`; `None` where `encode_batch` must be asked (see
/// [`crate::hf::Tokenizer::encode_flat`]), and for arrays of rows that differ in length.
pub(super) fn encode<'py>(
    tokenizer: &Bound<'py, PyHfTokenizer>,
    inputs: Inputs,
    wanted: Wanted,
    add_special_tokens: bool,
    settings: &Bound<'py, PySettings>,
) -> PyResult<Option<PyColumns>> {
    let py = tokenizer.py();
    let this = tokenizer.get();
    let batch = inputs.encode_flat(py, this, add_special_tokens, settings.get())?;
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
            let name = PyString::intern(py, name);
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
        call: Call::new(tokenizer, inputs, add_special_tokens, settings),
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
