//! `_core.WordCounter`, `_core.WordCounts` and `_core.learn`: counting words and learning merges.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyList, PyString};

use super::encoding::Encoding;
use crate::encode::PieceEncoder;
use crate::error::{Error, Result};
use crate::train::count::{Counter, WordCounts as Counts};
use crate::train::{Corpus, Options, Tick, TieBreak, Words};

/// Between two looks at signals and calls of the progress callback.
const INTERVAL: Duration = Duration::from_millis(100);

/// Lets Python in now and then: Ctrl-C, and the caller's callback with the work done.
struct Door {
    callback: Option<Py<PyAny>>,
    last: Instant,
    raised: Option<PyErr>,
}

impl Door {
    fn new(callback: Option<Py<PyAny>>) -> Self {
        Self {
            callback,
            last: Instant::now(),
            raised: None,
        }
    }

    fn tick(&mut self, done: u64) -> Result<()> {
        if self.last.elapsed() < INTERVAL {
            return Ok(());
        }
        self.last = Instant::now();
        let let_in = Python::attach(|py| {
            py.check_signals()?;
            match &self.callback {
                Some(callback) => callback.call1(py, (done,)).map(drop),
                None => Ok(()),
            }
        });
        let_in.map_err(|raised| {
            self.raised = Some(raised);
            Error::interrupted()
        })
    }

    /// `result`, or what Python has raised meanwhile.
    fn leave<T>(self, result: Result<T>) -> PyResult<T> {
        match self.raised {
            Some(raised) => Err(raised),
            None => Ok(result?),
        }
    }
}

/// Counts the words of texts and files that come one after the other.
#[pyclass(module = "bpe_rs._core")]
struct WordCounter(Option<Counter>);

impl WordCounter {
    fn counter(&mut self) -> PyResult<&mut Counter> {
        self.0
            .as_mut()
            .ok_or_else(|| PyValueError::new_err("this counter has been finished"))
    }
}

/// A `str` or UTF-8 `bytes`, borrowed from Python.
enum Text {
    Str(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl Text {
    fn extract(item: &Bound<'_, PyAny>) -> PyResult<Self> {
        if item.is_instance_of::<PyString>() {
            Ok(Self::Str(item.extract()?))
        } else if item.is_instance_of::<PyBytes>() {
            Ok(Self::Bytes(item.extract()?))
        } else {
            let kind = item.get_type().name()?;
            Err(PyTypeError::new_err(format!(
                "expected texts of type str or bytes, got {kind}"
            )))
        }
    }

    fn as_str(&self) -> Result<&str> {
        match self {
            Self::Str(text) => Ok(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|error| {
                let at = error.valid_up_to();
                Error::invalid(format!(
                    "expected texts in UTF-8, got bytes with 0x{:02x} at offset {at}",
                    bytes[at]
                ))
            }),
        }
    }
}

#[pymethods]
impl WordCounter {
    #[new]
    fn new(pattern: &str, special_tokens: Vec<String>, threads: usize) -> PyResult<Self> {
        Ok(Self(Some(Counter::new(pattern, &special_tokens, threads)?)))
    }

    #[pyo3(signature = (texts, callback=None))]
    fn add_texts(
        &mut self,
        py: Python<'_>,
        texts: &Bound<'_, PyList>,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let counter = self.counter()?;
        let texts = texts
            .iter()
            .map(|item| Text::extract(&item))
            .collect::<PyResult<Vec<_>>>()?;
        let mut door = Door::new(callback);
        let result = py.detach(|| {
            let texts = texts.iter().map(Text::as_str).collect::<Result<Vec<_>>>()?;
            counter.add_texts(&texts, &mut |done| door.tick(done))
        });
        door.leave(result)
    }

    #[pyo3(signature = (paths, field, callback=None))]
    fn add_files(
        &mut self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        field: &str,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let counter = self.counter()?;
        let mut door = Door::new(callback);
        let result = py.detach(|| counter.add_files(&paths, field, &mut |done| door.tick(done)));
        door.leave(result)
    }

    fn add_words(&mut self, words: Vec<(PyBackedBytes, u64)>) -> PyResult<()> {
        let counter = self.counter()?;
        for (word, count) in words {
            counter.add_word(&word, count);
        }
        Ok(())
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<WordCounts> {
        let counter = self.0.take();
        let counter =
            counter.ok_or_else(|| PyValueError::new_err("this counter has been finished"))?;
        Ok(WordCounts(py.detach(|| counter.finish())))
    }
}

/// Distinct words with their counts: what the Python class `bpe_rs.WordCounts` holds.
#[pyclass(module = "bpe_rs._core")]
struct WordCounts(Counts);

#[pymethods]
impl WordCounts {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn total(&self) -> u128 {
        self.0.total()
    }

    #[getter]
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    #[getter]
    fn pattern(&self) -> &str {
        self.0.regex()
    }

    #[getter]
    fn pattern_name(&self) -> Option<&'static str> {
        self.0.pattern_name()
    }

    #[getter]
    fn special_tokens(&self) -> Vec<String> {
        self.0.special().to_vec()
    }

    #[getter]
    fn is_ordered(&self) -> bool {
        self.0.is_ordered()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    fn get(&self, word: &[u8]) -> u64 {
        self.0.get(word)
    }

    fn sorted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let words = py.detach(|| self.0.sorted());
        PyList::new(
            py,
            words
                .iter()
                .map(|(word, count)| (PyBytes::new(py, word), *count)),
        )
    }

    fn merge(&mut self, py: Python<'_>, other: PyRef<'_, Self>) -> PyResult<()> {
        let (counts, other) = (&mut self.0, &other.0);
        Ok(py.detach(|| counts.merge(other))?)
    }

    fn pruned(&self, py: Python<'_>, min_count: u64) -> PyResult<Self> {
        Ok(Self(py.detach(|| self.0.pruned(min_count))?))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        Ok(py.detach(|| self.0.save(&path))?)
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self(py.detach(|| Counts::load(&path))?))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = Vec::new();
        py.detach(|| self.0.write(&mut bytes))
            .map_err(|error| Error::io("memory", error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let mut data = data;
        Ok(Self(py.detach(|| Counts::read(&mut data, "these bytes"))?))
    }
}

/// Words in the order of first occurrence, which one tie-break asks for.
fn in_order(counts: &Counts) -> PyResult<Vec<(Vec<u8>, u64)>> {
    if !counts.is_ordered() {
        return Err(PyValueError::new_err(
            "tie_break=\"first_seen\" needs the order in which words occurred first, which a file \
             of counts does not keep; count the text again or use another tie_break",
        ));
    }
    Ok(counts.in_order())
}

/// Words in tokens of the vocabulary that learning starts from: single bytes, or an encoding's.
fn corpus_of(
    words: &(impl Words + ?Sized),
    alphabet: &[u8],
    base: Option<&Encoding>,
    tick: &mut Tick<'_>,
) -> Result<Corpus> {
    let Some(base) = base else {
        return Corpus::from_bytes(words, alphabet, tick);
    };
    let vocab = base.core().vocab();
    let (ids, tokens): (Vec<u32>, Vec<Vec<u8>>) = vocab
        .tokens()
        .iter()
        .map(|(id, token)| (id, token.to_vec()))
        .unzip();
    let encoder = RefCell::new(PieceEncoder::default());
    let segment = |word: &[u8], out: &mut Vec<u32>| {
        let from = out.len();
        encoder.borrow_mut().encode(vocab, word, out)?;
        for id in &mut out[from..] {
            // Ids may have gaps (special tokens); learning numbers the tokens in their order.
            let place = ids.binary_search(id);
            *id = place.map_err(|_| Error::invalid(format!("id {id} is no token")))? as u32;
        }
        Ok(())
    };
    Corpus::from_vocabulary(words, tokens, &segment, tick)
}

/// Learn merges from `counts`, which are left empty if `consume` says so: their memory is given
/// back before merging starts. Starts from the bytes of `alphabet` or from the tokens of `base`.
/// Returns the tokens learned, in order.
#[pyfunction]
#[pyo3(signature = (counts, *, alphabet, base=None, vocab_size, tie_break, min_frequency,
                    max_token_length, threads, consume, callback=None))]
#[allow(clippy::too_many_arguments)]
fn learn<'py>(
    py: Python<'py>,
    counts: &Bound<'py, WordCounts>,
    alphabet: &[u8],
    base: Option<PyRef<'py, Encoding>>,
    vocab_size: u32,
    tie_break: &str,
    min_frequency: u64,
    max_token_length: Option<u32>,
    threads: usize,
    consume: bool,
    callback: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let tie_break = rule(tie_break)?;
    let base = base.as_deref();
    let mut door = Door::new(callback);
    let corpus = {
        let held = counts.borrow();
        let counts = &held.0;
        let tick = &mut |done| door.tick(u64::from(done));
        if tie_break == TieBreak::FirstSeen {
            let words = in_order(counts)?;
            py.detach(|| corpus_of(words.as_slice(), alphabet, base, tick))
        } else {
            py.detach(|| corpus_of(counts, alphabet, base, tick))
        }
    };
    let corpus = match corpus {
        Ok(corpus) => corpus,
        Err(error) => return door.leave(Err(error)),
    };
    if consume {
        counts.borrow_mut().0 = Counter::new(".", &[], 1)?.finish();
    }
    let options = Options {
        vocab_size,
        tie_break,
        min_frequency,
        max_token_length,
        threads,
    };
    let mut tokens = match base {
        None => alphabet.iter().map(|&byte| vec![byte]).collect(),
        Some(base) => base
            .core()
            .vocab()
            .tokens()
            .iter()
            .map(|(_, token)| token.to_vec())
            .collect::<Vec<_>>(),
    };
    let start = tokens.len();
    let learned = py.detach(|| corpus.learn(&options, &mut |done| door.tick(u64::from(done))));
    for merge in door.leave(learned)? {
        let token = [
            tokens[merge.left as usize].as_slice(),
            &tokens[merge.right as usize],
        ]
        .concat();
        tokens.push(token);
    }
    PyList::new(
        py,
        tokens[start..].iter().map(|token| PyBytes::new(py, token)),
    )
}

fn rule(tie_break: &str) -> PyResult<TieBreak> {
    TieBreak::from_name(tie_break).ok_or_else(|| {
        let known: Vec<&str> = TieBreak::NAMES.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        PyValueError::new_err(format!(
            "expected tie_break to be one of {known}, got {tie_break:?}"
        ))
    })
}

/// The 256 bytes in the order in which a tie-break numbers them.
#[pyfunction]
fn byte_order<'py>(py: Python<'py>, tie_break: &str) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &rule(tie_break)?.alphabet()))
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<WordCounter>()?;
    m.add_class::<WordCounts>()?;
    m.add_function(wrap_pyfunction!(byte_order, m)?)?;
    m.add_function(wrap_pyfunction!(learn, m)?)
}
