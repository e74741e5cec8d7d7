//! `_core.learn`: from words and their counts to merges.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::counting::PyWordCounts;
use super::encoding::PyEncoding;
use super::progress::ProgressCheck;
use super::threads::{requested, NumThreads};
use crate::encoding::Encoding;
use crate::pretokenize::Pretokenizer;
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
                    max_token_length, num_threads, consume, callback=None))]
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
    num_threads: Option<NumThreads>,
    consume: bool,
    callback: Option<Py<PyAny>>,
) -> PyResult<PyLearnedMerges> {
    let options = TrainOptions {
        vocab_size,
        tie_break: tie_break_of(tie_break)?,
        min_frequency,
        max_token_length,
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
            "expected tie_break to be one of {}, got {name:?}",
            known.join(", ")
        ))
    })
}

/// The 256 bytes in the order in which a tie-break numbers them.
#[pyfunction]
fn byte_order<'py>(py: Python<'py>, tie_break: &str) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &tie_break_of(tie_break)?.alphabet()))
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyLearnedMerges>()?;
    m.add_function(wrap_pyfunction!(byte_order, m)?)?;
    m.add_function(wrap_pyfunction!(learn, m)?)
}
