//! The numbers of an encoded batch, and the call from which everything else is made on first use.

use std::borrow::Cow;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use super::arguments::{batch, borrowed, OwnedPair, OwnedSequence, StoredSequence};
use super::guarded::Guarded;
use super::ints::Ints;
use super::settings::PySettings;
use super::PyHfTokenizer;
use crate::format::components::Direction;
use crate::hf::{Column, EncodedInput, FlatBatch, Layout, Run};
use crate::python::ids::list_of_runs;

/// The arguments of a call, from which `Encoding` objects are made when someone asks for them.
pub(super) struct Call {
    tokenizer: Py<PyHfTokenizer>,
    inputs: Inputs,
    add_special_tokens: bool,
    settings: Py<PySettings>,
}

type StoredPair = (StoredSequence, Option<StoredSequence>);

/// What is encoded.
pub(super) enum Inputs {
    /// One input without a list, whose allocation a short text notices.
    One(StoredPair),
    Many(Vec<StoredPair>),
    /// Texts whose UTF-8 has been found valid.
    Texts(Vec<Py<PyString>>),
}

impl Inputs {
    /// A text.
    pub(super) fn text(text: &Bound<'_, PyString>) -> Self {
        Self::One((StoredSequence::Text(text.clone().unbind()), None))
    }

    /// One input.
    pub(super) fn one(owned: OwnedPair<'_>) -> Self {
        Self::One(stored(owned))
    }

    /// The inputs of a batch.
    ///
    /// # Errors
    /// As [`OwnedSequence::one_or_pair`]; `TypeError` for one string in place of a list.
    pub(super) fn batch(input: &Bound<'_, PyAny>, is_pretokenized: bool) -> PyResult<Self> {
        if !is_pretokenized {
            if let Some(texts) = texts(input) {
                return Ok(Self::Texts(texts));
            }
        }
        let owned = batch(input, is_pretokenized)?;
        borrowed(&owned)?;
        Ok(Self::Many(owned.into_iter().map(stored).collect()))
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(inputs) => inputs.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    fn get<'py>(&self, py: Python<'py>, at: usize) -> OwnedPair<'py> {
        let (first, second) = match self {
            Self::One(input) => input,
            Self::Many(inputs) => &inputs[at],
            Self::Texts(texts) => {
                return (OwnedSequence::Text(texts[at].bind(py).clone()), None);
            }
        };
        let second = second.as_ref().map(|second| second.bind(py));
        (first.bind(py), second)
    }

    fn owned<'py>(&self, py: Python<'py>) -> Vec<OwnedPair<'py>> {
        (0..self.len()).map(|at| self.get(py, at)).collect()
    }

    /// The numbers of a batch; `None` where `encode_all` must be asked.
    pub(super) fn encode_flat(
        &self,
        py: Python<'_>,
        tokenizer: &PyHfTokenizer,
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Option<FlatBatch>> {
        let Self::Texts(texts) = self else {
            let owned = self.owned(py);
            return tokenizer.encode_flat(py, &borrowed(&owned)?, add_special_tokens, settings);
        };
        let utf8 = texts.iter().map(|text| text.bind(py).to_str());
        let utf8: Vec<&str> = utf8.collect::<PyResult<_>>()?;
        tokenizer.encode_flat_texts(py, &utf8, add_special_tokens, settings)
    }

    /// Everything about all of them.
    pub(super) fn encode_all(
        &self,
        py: Python<'_>,
        tokenizer: &PyHfTokenizer,
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Vec<EncodedInput>> {
        let owned = self.owned(py);
        tokenizer.encode_all(py, &borrowed(&owned)?, add_special_tokens, settings)
    }
}

/// The items of a list or tuple of `str` objects with valid UTF-8; `None` for any other input.
fn texts(input: &Bound<'_, PyAny>) -> Option<Vec<Py<PyString>>> {
    let text = |item: Bound<'_, PyAny>| {
        let text = item.cast_into_exact::<PyString>().ok()?;
        text.to_str().is_ok().then(|| text.unbind())
    };
    if let Ok(list) = input.cast_exact::<PyList>() {
        return list.iter().map(text).collect();
    }
    let tuple = input.cast_exact::<PyTuple>().ok()?;
    tuple.iter().map(text).collect()
}

impl Call {
    pub(super) fn new(
        tokenizer: &Bound<'_, PyHfTokenizer>,
        inputs: Inputs,
        add_special_tokens: bool,
        settings: &Bound<'_, PySettings>,
    ) -> Self {
        Self {
            tokenizer: tokenizer.clone().unbind(),
            inputs,
            add_special_tokens,
            settings: settings.clone().unbind(),
        }
    }

    pub(super) fn tokenizer(&self) -> &PyHfTokenizer {
        self.tokenizer.get()
    }

    /// What the call returns.
    pub(super) fn encodings(&self, py: Python<'_>) -> PyResult<Vec<EncodedInput>> {
        let (tokenizer, settings) = (self.tokenizer.get(), self.settings.get());
        self.inputs
            .encode_all(py, tokenizer, self.add_special_tokens, settings)
    }

    /// The result for one input, padded to `length`.
    fn encoding(&self, py: Python<'_>, at: usize, length: usize) -> PyResult<EncodedInput> {
        let settings = self.settings.get();
        let alone = PySettings {
            padding: None,
            ..settings.clone()
        };
        let owned = [self.inputs.get(py, at)];
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

/// One text without truncation and padding: its ids, and what everything else is made of. Small,
/// because it moves into a Python object.
pub(super) struct TextResult {
    tokenizer: Py<PyHfTokenizer>,
    text: Py<PyString>,
    add_special_tokens: bool,
    /// The number of tokens, special ones included.
    pub(super) len: usize,
    ids: Guarded<TextIds>,
}

/// The ids of one text. Most callers ask once, and the list costs least while the ids are at hand.
enum TextIds {
    /// For the first who asks.
    List(Py<PyList>),
    /// That was given away. Who asks again has the text encoded again.
    Given,
    /// Of a long text, or for those who ask more often.
    Kept(Arc<Vec<u32>>),
}

impl TextResult {
    /// `None` where the general way must be asked.
    pub(super) fn new(
        tokenizer: &Bound<'_, PyHfTokenizer>,
        text: &Bound<'_, PyString>,
        add_special_tokens: bool,
    ) -> PyResult<Option<Self>> {
        let (py, this) = (tokenizer.py(), tokenizer.get());
        let layout = this.layout(false, add_special_tokens);
        let (Ok(utf8), Some(layout)) = (text.to_str(), layout) else {
            return Ok(None);
        };
        let made = this.ids_of_text(py, utf8, layout, |ids| {
            let len = ids.len();
            let ids = match ids {
                Cow::Borrowed(ids) => TextIds::List(this.ints.list(py, ids)?.unbind()),
                Cow::Owned(ids) => TextIds::Kept(Arc::new(ids)),
            };
            Ok::<_, PyErr>((len, ids))
        })?;
        Ok(made.transpose()?.map(|(len, ids)| Self {
            tokenizer: tokenizer.clone().unbind(),
            text: text.clone().unbind(),
            add_special_tokens,
            len,
            ids: Guarded::new(ids),
        }))
    }

    pub(super) fn tokenizer(&self) -> &PyHfTokenizer {
        self.tokenizer.get()
    }

    fn layout(&self) -> Option<&Arc<Layout>> {
        self.tokenizer().layout(false, self.add_special_tokens)
    }

    /// A column as a new list.
    pub(super) fn list<'py>(
        &self,
        py: Python<'py>,
        column: Column,
    ) -> PyResult<Bound<'py, PyList>> {
        match self.layout() {
            Some(layout) if column != Column::Ids => {
                list_of_runs(py, self.len, &layout.runs_of_text(column, self.len))
            }
            _ => self.ids(py),
        }
    }

    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let found = self.ids.with(py, |ids| match ids {
            TextIds::Kept(kept) => TextIds::Kept(kept.clone()),
            _ => std::mem::replace(ids, TextIds::Given),
        });
        let this = self.tokenizer();
        let kept = match found {
            TextIds::List(list) => return Ok(list.into_bound(py)),
            TextIds::Kept(kept) => kept,
            TextIds::Given => {
                let utf8 = self.text.bind(py).to_str()?;
                let again = match self.layout() {
                    Some(layout) => this.ids_of_text(py, utf8, layout, |ids| ids.into_owned())?,
                    None => None,
                };
                // `new` has been here with the same text.
                let kept = Arc::new(again.unwrap_or_default());
                let keep = TextIds::Kept(kept.clone());
                self.ids.with(py, |ids| *ids = keep);
                kept
            }
        };
        this.ints.list(py, &kept)
    }

    /// The number of input sequences that the text's `Encoding` tells.
    pub(super) fn n_sequences(&self) -> usize {
        self.layout().map_or(1, |layout| layout.n_sequences)
    }

    /// Everything about the text.
    ///
    /// # Errors
    /// As [`Results::encoding`].
    pub(super) fn encoding(&self, py: Python<'_>) -> PyResult<EncodedInput> {
        let plain = PySettings::default();
        let inputs = Inputs::text(self.text.bind(py));
        let all = inputs.encode_all(py, self.tokenizer(), self.add_special_tokens, &plain)?;
        Ok(all.into_iter().next().unwrap_or_default())
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
