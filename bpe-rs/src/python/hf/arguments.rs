//! Arguments of `_core.HfTokenizer`: settings as tuples, inputs as strings and lists.

use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::encode::check_row_length;
use crate::format::params::{Direction, Padding, Strategy, Truncation};
use crate::hf::InputSequence;

/// `(max_length, stride, strategy, direction)`.
pub(super) type TruncationArgs = (usize, usize, String, String);
/// `(length, pad_to_multiple_of, pad_id, pad_type_id, pad_token, direction)`.
pub(super) type PaddingArgs = (Option<usize>, Option<usize>, u32, u32, String, String);

/// The direction called `name`; ValueError for another name than "left" or "right".
pub(super) fn direction(name: &str) -> PyResult<Direction> {
    match name {
        "left" => Ok(Direction::Left),
        "right" => Ok(Direction::Right),
        other => Err(PyValueError::new_err(format!(
            "Unknown `direction`: `{other}`. Use one of `left` or `right`"
        ))),
    }
}

fn direction_name(direction: Direction) -> String {
    match direction {
        Direction::Left => "left".into(),
        Direction::Right => "right".into(),
    }
}

pub(super) fn truncation(args: TruncationArgs) -> PyResult<Truncation> {
    let (max_length, stride, strategy, side) = args;
    let strategy = match strategy.as_str() {
        "longest_first" => Strategy::LongestFirst,
        "only_first" => Strategy::OnlyFirst,
        "only_second" => Strategy::OnlySecond,
        other => {
            return Err(PyValueError::new_err(format!(
                "Unknown `strategy`: `{other}`. Use one of `longest_first`, `only_first`, or \
                 `only_second`"
            )))
        }
    };
    Ok(Truncation {
        direction: direction(&side)?,
        max_length,
        strategy,
        stride,
    })
}

pub(super) fn truncation_args(truncation: &Truncation) -> TruncationArgs {
    let strategy = match truncation.strategy {
        Strategy::LongestFirst => "longest_first",
        Strategy::OnlyFirst => "only_first",
        Strategy::OnlySecond => "only_second",
    };
    let Truncation {
        direction,
        max_length,
        stride,
        ..
    } = *truncation;
    (
        max_length,
        stride,
        strategy.into(),
        direction_name(direction),
    )
}

pub(super) fn padding(args: PaddingArgs) -> PyResult<Padding> {
    let (length, pad_to_multiple_of, pad_id, pad_type_id, pad_token, side) = args;
    let direction = direction(&side)?;
    check_row_length("length", length.unwrap_or(0))?;
    check_row_length("pad_to_multiple_of", pad_to_multiple_of.unwrap_or(0))?;
    Ok(Padding {
        length,
        direction,
        pad_to_multiple_of,
        pad_id,
        pad_type_id,
        pad_token,
    })
}

pub(super) fn padding_args(padding: &Padding) -> PaddingArgs {
    let Padding {
        length,
        pad_to_multiple_of,
        pad_id,
        pad_type_id,
        ..
    } = *padding;
    let side = direction_name(padding.direction);
    (
        length,
        pad_to_multiple_of,
        pad_id,
        pad_type_id,
        padding.pad_token.clone(),
        side,
    )
}

/// A sequence as Python passes it: a text, or the words of one. Owns the strings that
/// [`InputSequence`] borrows.
pub(super) enum OwnedSequence<'py> {
    Text(Bound<'py, PyString>),
    Words(Vec<Bound<'py, PyString>>),
}

/// The UTF-8 of a string; TypeError for lone surrogates, which have none.
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|error| {
        let is_surrogate = error.is_instance_of::<PyUnicodeEncodeError>(text.py());
        match is_surrogate {
            true => PyTypeError::new_err(format!(
                "TextInputSequence must be str without lone surrogates: {error}"
            )),
            false => error,
        }
    })
}

impl<'py> OwnedSequence<'py> {
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

    fn borrow(&self) -> PyResult<InputSequence<'_>> {
        match self {
            Self::Text(text) => utf8(text).map(InputSequence::Text),
            Self::Words(words) => words
                .iter()
                .map(utf8)
                .collect::<PyResult<_>>()
                .map(InputSequence::Words),
        }
    }

    /// A sequence or a pair, borrowed.
    pub(super) fn borrow_pair(
        (first, second): &(Self, Option<Self>),
    ) -> PyResult<(InputSequence<'_>, Option<InputSequence<'_>>)> {
        let second = second.as_ref().map(Self::borrow).transpose()?;
        Ok((first.borrow()?, second))
    }
}
