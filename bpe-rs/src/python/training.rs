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
use crate::encoding::Encoding as Core;
use crate::error::{Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::train::count::{Counter, WordCounts as Counts};
use crate::train::{Corpus, Options, Tick, TieBreak, Words};
use crate::vocab::Vocab;

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

/// What training found: merges upon an alphabet or a vocabulary.
#[pyclass(frozen, module = "bpe_rs._core")]
struct Learned {
    /// The bytes that were tokens at the start; `None` when an encoding was extended.
    alphabet: Option<Vec<u8>>,
    /// Tokens at the start.
    start: Vec<Vec<u8>>,
    merges: Vec<(u32, u32)>,
}

#[pymethods]
impl Learned {
    fn __len__(&self) -> usize {
        self.merges.len()
    }

    /// The tokens learned, in order.
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut tokens = self.start.clone();
        for &(left, right) in &self.merges {
            let token = [&tokens[left as usize][..], &tokens[right as usize]].concat();
            tokens.push(token);
        }
        let learned = tokens[self.start.len()..].iter();
        PyList::new(py, learned.map(|token| PyBytes::new(py, token)))
    }

    /// The encoding of the alphabet and the first `merges` merges.
    fn encoding(
        &self,
        merges: usize,
        name: &str,
        pattern: &str,
        special_tokens: Vec<(String, u32)>,
    ) -> PyResult<Encoding> {
        let Some(alphabet) = &self.alphabet else {
            return Err(PyValueError::new_err("these merges extend an encoding"));
        };
        let merges = &self.merges[..merges.min(self.merges.len())];
        Ok(Encoding::from_core(Core::new(
            name,
            Vocab::from_training(alphabet, merges)?,
            Pretokenizer::new(pattern)?,
            SpecialTokens::new(special_tokens)?,
        )))
    }
}

/// Learn merges from `counts`, which are left empty if `consume` says so: their memory is given
/// back before merging starts. Starts from the bytes of `alphabet` or from the tokens of `base`.
#[pyfunction]
#[pyo3(signature = (counts, *, alphabet, base=None, vocab_size, tie_break, min_frequency,
                    max_token_length, threads, consume, callback=None))]
#[allow(clippy::too_many_arguments)]
fn learn(
    py: Python<'_>,
    counts: &Bound<'_, WordCounts>,
    alphabet: &[u8],
    base: Option<PyRef<'_, Encoding>>,
    vocab_size: u32,
    tie_break: &str,
    min_frequency: u64,
    max_token_length: Option<u32>,
    threads: usize,
    consume: bool,
    callback: Option<Py<PyAny>>,
) -> PyResult<Learned> {
    let tie_break = rule(tie_break)?;
    let base = base.as_deref();
    let mut door = Door::new(callback);
    let corpus = {
        let held = counts.try_borrow()?;
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
        counts.try_borrow_mut()?.0 = Counter::new(".", &[], 1)?.finish();
    }
    let options = Options {
        vocab_size,
        tie_break,
        min_frequency,
        max_token_length,
        threads,
    };
    let start = match base {
        None => alphabet.iter().map(|&byte| vec![byte]).collect(),
        Some(base) => {
            let tokens = base.core().vocab().tokens();
            tokens.iter().map(|(_, token)| token.to_vec()).collect()
        }
    };
    let learned = py.detach(|| corpus.learn(&options, &mut |done| door.tick(u64::from(done))));
    let learned = door.leave(learned)?;
    Ok(Learned {
        alphabet: base.is_none().then(|| alphabet.to_vec()),
        start,
        merges: learned
            .iter()
            .map(|merge| (merge.left, merge.right))
            .collect(),
    })
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
    m.add_class::<Learned>()?;
    m.add_function(wrap_pyfunction!(byte_order, m)?)?;
    m.add_function(wrap_pyfunction!(learn, m)?)
}
