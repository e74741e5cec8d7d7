//! Arguments of `_core.HfTokenizer`: added tokens, texts and words.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::format::AddedToken;
use crate::hf::{InputPair, InputSequence};
use crate::python::text::{type_name, utf8};

/// Tokens to add: strings, or `AddedToken` objects, ours or those of `tokenizers`. `special` makes
/// them control tokens; it is also set on the objects, because only they know whether their
/// `normalized` follows from it.
///
/// # Errors
/// `TypeError` for one string in place of a list, or for other items.
pub(super) fn added_tokens(tokens: &Bound<'_, PyAny>, special: bool) -> PyResult<Vec<AddedToken>> {
    if tokens.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "tokens: expected a list of tokens, got one str: put it in a list",
        ));
    }
    let read = |token: PyResult<Bound<'_, PyAny>>| {
        let token = token?;
        if token.is_instance_of::<PyString>() {
            return Ok(AddedToken {
                content: utf8("tokens", &token)?.into(),
                special,
                normalized: !special,
                ..AddedToken::default()
            });
        }
        let wrong_type = |_| {
            let got = type_name(&token);
            PyTypeError::new_err(format!(
                "tokens: expected str or AddedToken items, got {got}"
            ))
        };
        let flag = |name| {
            let value = token.getattr(name).map_err(wrong_type)?;
            value.extract::<bool>().map_err(wrong_type)
        };
        if special && !flag("special")? {
            token.setattr("special", true)?;
        }
        Ok(AddedToken {
            id: 0,
            content: utf8("tokens", &token.getattr("content").map_err(wrong_type)?)?.into(),
            single_word: flag("single_word")?,
            lstrip: flag("lstrip")?,
            rstrip: flag("rstrip")?,
            normalized: flag("normalized")?,
            special: flag("special")?,
        })
    };
    tokens.try_iter()?.map(read).collect()
}

/// A sequence as Python passes it: a text, or the words of one. Owns the strings that
/// [`InputSequence`] borrows.
pub(super) enum OwnedSequence<'py> {
    Text(Bound<'py, PyString>),
    Words(Vec<Bound<'py, PyString>>),
}

/// An [`OwnedSequence`] that does not need the GIL.
pub(super) enum StoredSequence {
    Text(Py<PyString>),
    Words(Vec<Py<PyString>>),
}

impl StoredSequence {
    pub(super) fn bind<'py>(&self, py: Python<'py>) -> OwnedSequence<'py> {
        let bind = |text: &Py<PyString>| text.bind(py).clone();
        match self {
            Self::Text(text) => OwnedSequence::Text(bind(text)),
            Self::Words(words) => OwnedSequence::Words(words.iter().map(bind).collect()),
        }
    }
}

impl<'py> OwnedSequence<'py> {
    pub(super) fn unbind(self) -> StoredSequence {
        match self {
            Self::Text(text) => StoredSequence::Text(text.unbind()),
            Self::Words(words) => {
                StoredSequence::Words(words.into_iter().map(Bound::unbind).collect())
            }
        }
    }

    fn text(object: &Bound<'py, PyAny>) -> Option<Self> {
        object
            .cast::<PyString>()
            .ok()
            .map(|text| Self::Text(text.clone()))
    }

    fn words(object: &Bound<'py, PyAny>) -> Option<Self> {
        if object.is_instance_of::<PyString>() || object.is_instance_of::<PyDict>() {
            return None;
        }
        let words = object.try_iter().ok()?.map(|item| {
            let item = item.ok()?;
            item.cast::<PyString>().ok().cloned()
        });
        words.collect::<Option<Vec<_>>>().map(Self::Words)
    }

    /// One sequence.
    ///
    /// # Errors
    /// `TypeError` with the message of Hugging Face's engine.
    pub(super) fn new(object: &Bound<'py, PyAny>, is_pretokenized: bool) -> PyResult<Self> {
        if is_pretokenized {
            return Self::words(object).ok_or_else(|| {
                PyTypeError::new_err(
                    "PreTokenizedInputSequence must be Union[List[str], Tuple[str]]",
                )
            });
        }
        Self::text(object).ok_or_else(|| PyTypeError::new_err("TextInputSequence must be str"))
    }

    /// An item of a batch: a sequence or a pair of them. Errors as [`OwnedSequence::new`].
    pub(super) fn one_or_pair(
        object: &Bound<'py, PyAny>,
        is_pretokenized: bool,
    ) -> PyResult<(Self, Option<Self>)> {
        let one = if is_pretokenized {
            Self::words(object)
        } else {
            Self::text(object)
        };
        if let Some(one) = one {
            return Ok((one, None));
        }
        let expected = || {
            PyTypeError::new_err(match is_pretokenized {
                true => {
                    "PreTokenizedEncodeInput must be Union[PreTokenizedInputSequence, \
                     Tuple[PreTokenizedInputSequence, PreTokenizedInputSequence]]"
                }
                false => {
                    "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, \
                     InputSequence]]"
                }
            })
        };
        let both = if let Ok(tuple) = object.cast::<PyTuple>() {
            tuple.iter().collect::<Vec<_>>()
        } else if let Ok(list) = object.cast::<PyList>() {
            list.iter().collect()
        } else {
            return Err(expected());
        };
        let [first, second] = &both[..] else {
            return Err(expected());
        };
        let first = Self::new(first, is_pretokenized).map_err(|_| expected())?;
        let second = Self::new(second, is_pretokenized).map_err(|_| expected())?;
        Ok((first, Some(second)))
    }

    /// The sequence that is, or is in, the argument `name`.
    ///
    /// # Errors
    /// As in `tokenizers`, `TypeError` for lone surrogates, which have no UTF-8.
    fn borrow(&self, name: &str) -> PyResult<InputSequence<'_>> {
        let borrowed = |text| {
            utf8(name, text)
                .map_err(|error| PyTypeError::new_err(error.value(text.py()).to_string()))
        };
        match self {
            Self::Text(text) => borrowed(text).map(InputSequence::Text),
            Self::Words(words) => {
                let words = words.iter().map(|word| borrowed(word));
                words.collect::<PyResult<_>>().map(InputSequence::Words)
            }
        }
    }

    /// A sequence or a pair, borrowed; `names` are the arguments that hold them.
    pub(super) fn borrow_pair<'a>(
        (first, second): &'a (Self, Option<Self>),
        names: [&str; 2],
    ) -> PyResult<InputPair<'a>> {
        let second = second.as_ref().map(|second| second.borrow(names[1]));
        Ok((first.borrow(names[0])?, second.transpose()?))
    }
}

/// A sequence or a pair.
pub(super) type OwnedPair<'py> = (OwnedSequence<'py>, Option<OwnedSequence<'py>>);

/// The inputs of a batch.
///
/// # Errors
/// As [`OwnedSequence::one_or_pair`]; `TypeError` for one string in place of a list.
pub(super) fn batch<'py>(
    input: &Bound<'py, PyAny>,
    is_pretokenized: bool,
) -> PyResult<Vec<OwnedPair<'py>>> {
    if input.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "input: expected a list of inputs, got a str",
        ));
    }
    let read = |item| OwnedSequence::one_or_pair(&item, is_pretokenized);
    match input.cast::<PyList>() {
        Ok(list) => list.iter().map(read).collect(),
        Err(_) => input.try_iter()?.map(|item| read(item?)).collect(),
    }
}

pub(super) fn borrowed<'a>(owned: &'a [OwnedPair<'_>]) -> PyResult<Vec<InputPair<'a>>> {
    let borrow = |owned| OwnedSequence::borrow_pair(owned, ["input"; 2]);
    owned.iter().map(borrow).collect()
}
