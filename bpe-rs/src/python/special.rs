//! `allowed_special` and `disallowed_special`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::special::{Finder, SpecialTokens};

/// Finders of sets that callers passed before: building one costs more than a short call.
#[derive(Default)]
pub(super) struct Finders(Mutex<HashMap<BTreeSet<String>, Arc<Finder>>>);

/// Sets kept; a program that makes up new ones for ever must not fill the memory.
const KEPT: usize = 128;

impl Finders {
    fn of(&self, strings: BTreeSet<String>) -> Which<'static> {
        if strings.is_empty() {
            return Which::None;
        }
        let mut kept = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(finder) = kept.get(&strings) {
            return Which::Some(Arc::clone(finder));
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let finder = Arc::new(Finder::new(strings.iter().map(String::as_str)));
        kept.insert(strings, Arc::clone(&finder));
        Which::Some(finder)
    }
}

/// A set of strings to look for.
pub(super) enum Which<'a> {
    None,
    All(&'a Finder),
    Some(Arc<Finder>),
}

impl Which<'_> {
    pub(super) fn finder(&self) -> Option<&Finder> {
        match self {
            Self::None => None,
            Self::All(finder) => Some(finder),
            Self::Some(finder) => Some(finder),
        }
    }
}

/// What to do about special tokens in a text.
pub(super) struct Policy<'a> {
    /// These become special tokens.
    pub(super) allowed: Which<'a>,
    /// These are refused.
    pub(super) disallowed: Which<'a>,
}

impl<'a> Policy<'a> {
    /// tiktoken's rules: `allowed` is a set or "all", by default empty; `disallowed` a collection
    /// or "all", by default "all", which means all that are not allowed.
    ///
    /// Errors: `TypeError` for anything else.
    pub(super) fn new(
        special: &'a SpecialTokens,
        finders: &Finders,
        allowed: Option<&Bound<'_, PyAny>>,
        disallowed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let allowed_set = allowed.map(|a| strings("allowed_special", a)).transpose()?;
        let allowed_set = allowed_set.unwrap_or(Given::Set(BTreeSet::new()));
        let disallowed_set = disallowed
            .map(|d| strings("disallowed_special", d))
            .transpose()?;
        let disallowed = match (disallowed_set.unwrap_or(Given::All), &allowed_set) {
            (Given::Set(set), _) => finders.of(set),
            (Given::All, Given::All) => Which::None,
            (Given::All, Given::Set(set)) if set.is_empty() => Which::All(special.finder()),
            (Given::All, Given::Set(set)) => {
                let rest = special
                    .iter()
                    .map(|(text, _)| text)
                    .filter(|text| !set.contains(*text));
                finders.of(rest.map(String::from).collect())
            }
        };
        let allowed = match allowed_set {
            Given::All => Which::All(special.finder()),
            Given::Set(mut set) => {
                // Other strings may be allowed, and stay text.
                set.retain(|string| special.id_of(string).is_some());
                finders.of(set)
            }
        };
        Ok(Self {
            allowed,
            disallowed,
        })
    }

    /// Errors: `ValueError` when `text` holds a string that is not allowed.
    pub(super) fn check(&self, text: &str) -> PyResult<()> {
        let Some((_, token)) = self
            .disallowed
            .finder()
            .and_then(|finder| finder.find(text, 0))
        else {
            return Ok(());
        };
        Err(refusal(token))
    }
}

/// tiktoken's message, word for word: programs match on it.
fn refusal(token: &str) -> PyErr {
    let quoted = Python::attach(|py| Ok(PyString::new(py, token).repr()?.to_string()));
    match quoted {
        Ok(token) => PyValueError::new_err(format!(
            "Encountered text corresponding to disallowed special token {token}.\n\
             If you want this text to be encoded as a special token, \
             pass it to `allowed_special`, e.g. `allowed_special={{{token}, ...}}`.\n\
             If you want this text to be encoded as normal text, disable the check for this token \
             by passing `disallowed_special=(enc.special_tokens_set - {{{token}}})`.\n\
             To disable this check for all special tokens, pass `disallowed_special=()`.\n"
        )),
        Err(error) => error,
    }
}

enum Given {
    All,
    Set(BTreeSet<String>),
}

fn strings(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<Given> {
    if let Ok(word) = given.cast::<PyString>() {
        return if word.to_str()? == "all" {
            Ok(Given::All)
        } else {
            Err(PyTypeError::new_err(format!(
                "expected {argument} to be \"all\" or a collection of str, got the str {word:?}"
            )))
        };
    }
    let strings: PyResult<_> = given
        .try_iter()?
        .map(|item| item?.extract::<String>())
        .collect();
    Ok(Given::Set(strings?))
}
