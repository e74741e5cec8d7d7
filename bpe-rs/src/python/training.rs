//! `_core.learn`: from words and their counts to merges.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::counting::PyWordCounts;
use super::encoding::PyEncoding;
use super::progress::ProgressCheck;
use super::text::utf8;
use super::threads::{requested, NumThreads};
use crate::encoding::Encoding;
use crate::error::quoted;
use crate::pretokenize::{Pretokenizer, NAMED};
use crate::special::SpecialTokens;
use crate::train::count::Counter;
use crate::train::{LearnedMerges, StartTokens, TieBreak, TrainOptions};

/// Learned merges on top of an alphabet or a vocabulary.
#[pyclass(name = "LearnedMerges", frozen, module = "bpe_rs._core")]
struct PyLearnedMerges(LearnedMerges);

#[pymethods]
impl PyLearnedMerges {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// The bytes of the learned tokens, in the order in which they were learned.
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let tokens = self.0.tokens();
        PyList::new(py, tokens.iter().map(|token| PyBytes::new(py, token)))
    }

    /// The encoding of the alphabet and the first `merges` merges.
    fn encoding(
        &self,
        merges: usize,
        name: &str,
        pattern: &str,
        special_tokens: Vec<(String, u32)>,
    ) -> PyResult<PyEncoding> {
        Ok(PyEncoding::new(Encoding::new(
            name,
            self.0.vocab(merges)?,
            Pretokenizer::new(pattern)?,
            SpecialTokens::new(special_tokens)?,
        )))
    }
}

/// Learn merges from `counts`, starting from the bytes of `alphabet` or the tokens of `base`.
///
/// With `consume`, `counts` are emptied to free their memory before merging starts.
#[pyfunction]
#[pyo3(signature = (counts, *, alphabet, base=None, vocab_size, tie_break, min_frequency,
                    max_token_length, max_token_words=None, num_threads, consume, callback=None))]
#[allow(clippy::too_many_arguments)]
fn learn(
    py: Python<'_>,
    counts: &Bound<'_, PyWordCounts>,
    alphabet: &[u8],
    base: Option<PyRef<'_, PyEncoding>>,
    vocab_size: u32,
    tie_break: &str,
    min_frequency: u64,
    max_token_length: Option<u32>,
    max_token_words: Option<u32>,
    num_threads: Option<NumThreads>,
    consume: bool,
    callback: Option<Py<PyAny>>,
) -> PyResult<PyLearnedMerges> {
    let options = TrainOptions {
        vocab_size,
        tie_break: tie_break_of(tie_break)?,
        min_frequency,
        max_token_length,
        max_token_words,
        threads: requested(num_threads)?,
    };
    let start = match &base {
        Some(base) => StartTokens::Vocab(base.core().vocab()),
        None => StartTokens::Bytes(alphabet),
    };
    let mut check = ProgressCheck::new(callback);
    let corpus = {
        let counts = counts.try_borrow()?;
        let counts = &counts.0;
        let progress = &mut |done| check.step(done);
        py.detach(|| start.corpus(counts, options.tie_break, progress))
    };
    let corpus = match corpus {
        Ok(corpus) => corpus,
        Err(error) => return check.result(Err(error)),
    };
    if consume {
        counts.try_borrow_mut()?.0 = Counter::new(".", &[], 1)?.finish();
    }
    start.check_size(&corpus, vocab_size)?;
    let learned = py.detach(|| corpus.learn(&options, &mut |done| check.step(done)));
    let learned = check.result(learned)?;
    Ok(PyLearnedMerges(LearnedMerges::new(start, &learned)))
}

fn tie_break_of(name: &str) -> PyResult<TieBreak> {
    TieBreak::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = TieBreak::NAMES.iter().map(|(name, _)| *name).collect();
        PyValueError::new_err(format!(
            "tie_break: expected one of {}, got {}",
            known.join(", "),
            quoted(name)
        ))
    })
}

/// The regular expression that the argument `pattern` is or names.
///
/// # Errors
/// `ValueError` for a regular expression with an error in it, or for what looks like a name but is
/// none.
#[pyfunction]
fn regex_of(pattern: &Bound<'_, PyAny>) -> PyResult<String> {
    let pattern = utf8("pattern", pattern)?;
    let found = Pretokenizer::new(pattern)
        .map_err(|error| PyValueError::new_err(format!("pattern: {error}")))?;
    if found.name().is_none() && looks_like_a_name(pattern) {
        let names = NAMED
            .iter()
            .flat_map(|named| [&[named.name], named.aliases].concat());
        return Err(PyValueError::new_err(format!(
            "pattern: expected one of {}, or a regular expression, got {}; a regular expression \
             that looks like a name is written in a group: {}",
            names.collect::<Vec<_>>().join(", "),
            quoted(pattern),
            quoted(format!("(?:{pattern})")),
        )));
    }
    Ok(found.regex().into())
}

/// Whether a pattern is a letter and then letters, digits, `_`, `-`, and points between digits, as
/// the names of patterns are.
fn looks_like_a_name(pattern: &str) -> bool {
    let is_digit = |at: usize| pattern.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let mut bytes = pattern.bytes().enumerate();
    pattern.len() > 1
        && pattern.starts_with(|first: char| first.is_ascii_alphabetic())
        && bytes.all(|(at, byte)| match byte {
            b'.' => is_digit(at - 1) && is_digit(at + 1),
            _ => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
        })
}

/// The 256 bytes in the order in which a tie-break numbers them.
#[pyfunction]
fn byte_order<'py>(tie_break: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let alphabet = tie_break_of(utf8("tie_break", tie_break)?)?.alphabet();
    Ok(PyBytes::new(tie_break.py(), &alphabet))
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyLearnedMerges>()?;
    m.add_function(wrap_pyfunction!(byte_order, m)?)?;
    m.add_function(wrap_pyfunction!(regex_of, m)?)?;
    m.add_function(wrap_pyfunction!(learn, m)?)
}
