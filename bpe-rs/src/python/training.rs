//! `_core.learn`: words and their counts to merges.

use std::cell::RefCell;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::counting::WordCounts;
use super::encoding::Encoding;
use super::progress::ProgressCheck;
use crate::encode::PieceEncoder;
use crate::encoding::Encoding as Core;
use crate::error::{Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::train::count::{Counter, WordCounts as Counts};
use crate::train::{Corpus, Options, Tick, TieBreak, Words};
use crate::vocab::Vocab;

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
    let mut check = ProgressCheck::new(callback);
    let corpus = {
        let held = counts.try_borrow()?;
        let counts = &held.0;
        let tick = &mut |done| check.step(u64::from(done));
        if tie_break == TieBreak::FirstSeen {
            let words = in_order(counts)?;
            py.detach(|| corpus_of(words.as_slice(), alphabet, base, tick))
        } else {
            py.detach(|| corpus_of(counts, alphabet, base, tick))
        }
    };
    let corpus = match corpus {
        Ok(corpus) => corpus,
        Err(error) => return check.result(Err(error)),
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
    let learned = py.detach(|| corpus.learn(&options, &mut |done| check.step(u64::from(done))));
    let learned = check.result(learned)?;
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
    m.add_class::<Learned>()?;
    m.add_function(wrap_pyfunction!(byte_order, m)?)?;
    m.add_function(wrap_pyfunction!(learn, m)?)
}
