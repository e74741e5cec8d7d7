//! `_core.HfSettings`: what a thread sets on a tokenizer, checked.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

use crate::encode::check_row_length;
use crate::format::components::{Direction, Padding, PaddingLength, Strategy, Truncation};
use crate::python::numbers::whole_number;
use crate::python::text::utf8;

const DIRECTIONS: [(&str, Direction); 2] = [("left", Direction::Left), ("right", Direction::Right)];
const STRATEGIES: [(&str, Strategy); 3] = [
    ("longest_first", Strategy::LongestFirst),
    ("only_first", Strategy::OnlyFirst),
    ("only_second", Strategy::OnlySecond),
];

/// Truncation, padding, and whether special tokens in a text are plain text. Immutable.
#[pyclass(name = "HfSettings", frozen, module = "bpe_rs._core")]
#[derive(Clone, Default)]
pub(super) struct PySettings {
    pub(super) truncation: Option<Truncation>,
    pub(super) padding: Option<Padding>,
    pub(super) plain_special: bool,
}

/// Truncation by the names that `tokenizers` gives its settings.
#[derive(IntoPyObject)]
struct TruncationDict {
    max_length: usize,
    stride: usize,
    strategy: &'static str,
    direction: &'static str,
}

/// Padding by the names that `tokenizers` gives its settings.
#[derive(IntoPyObject)]
struct PaddingDict {
    length: Option<usize>,
    pad_to_multiple_of: Option<usize>,
    pad_id: u32,
    pad_type_id: u32,
    pad_token: String,
    direction: &'static str,
}

#[pymethods]
impl PySettings {
    #[new]
    fn py_new() -> Self {
        Self::default()
    }

    #[getter]
    fn truncation(&self) -> Option<TruncationDict> {
        self.truncation.as_ref().map(|truncation| TruncationDict {
            max_length: truncation.max_length,
            stride: truncation.stride,
            strategy: name_of(truncation.strategy, &STRATEGIES),
            direction: name_of(truncation.direction, &DIRECTIONS),
        })
    }

    #[getter]
    fn padding(&self) -> Option<PaddingDict> {
        self.padding.as_ref().map(|padding| PaddingDict {
            length: match padding.strategy {
                PaddingLength::BatchLongest => None,
                PaddingLength::Fixed(length) => Some(length),
            },
            pad_to_multiple_of: padding.pad_to_multiple_of,
            pad_id: padding.pad_id,
            pad_type_id: padding.pad_type_id,
            pad_token: padding.pad_token.clone(),
            direction: name_of(padding.direction, &DIRECTIONS),
        })
    }

    /// Whether nothing is set.
    #[getter]
    pub(super) fn is_plain(&self) -> bool {
        self.truncation.is_none() && self.padding.is_none() && !self.plain_special
    }

    #[getter]
    fn encode_special_tokens(&self) -> bool {
        self.plain_special
    }

    fn with_truncation(
        &self,
        max_length: &Bound<'_, PyAny>,
        stride: &Bound<'_, PyAny>,
        strategy: &Bound<'_, PyAny>,
        direction: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let truncation = Truncation {
            max_length: number("max_length", max_length, u64::MAX - 1)? as usize,
            stride: number("stride", stride, u64::MAX - 1)? as usize,
            strategy: choice("strategy", utf8("strategy", strategy)?, &STRATEGIES)?,
            direction: self::direction(utf8("direction", direction)?)?,
        };
        Ok(Self {
            truncation: Some(truncation),
            ..self.clone()
        })
    }

    fn without_truncation(&self) -> Self {
        Self {
            truncation: None,
            ..self.clone()
        }
    }

    fn with_padding(
        &self,
        direction: &Bound<'_, PyAny>,
        pad_id: &Bound<'_, PyAny>,
        pad_type_id: &Bound<'_, PyAny>,
        pad_token: &Bound<'_, PyAny>,
        length: Option<&Bound<'_, PyAny>>,
        pad_to_multiple_of: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let row_length = |name, value: Option<&Bound<'_, PyAny>>| {
            let Some(value) = value else {
                return PyResult::Ok(None);
            };
            let length = number(name, value, u64::MAX)? as usize;
            check_row_length(name, length)?;
            Ok(Some(length))
        };
        let id = |name, value| number(name, value, u32::MAX.into()).map(|id| id as u32);
        let length = row_length("length", length)?;
        let padding = Padding {
            strategy: length.map_or(PaddingLength::BatchLongest, PaddingLength::Fixed),
            direction: self::direction(utf8("direction", direction)?)?,
            pad_to_multiple_of: row_length("pad_to_multiple_of", pad_to_multiple_of)?,
            pad_id: id("pad_id", pad_id)?,
            pad_type_id: id("pad_type_id", pad_type_id)?,
            pad_token: utf8("pad_token", pad_token)?.into(),
        };
        Ok(Self {
            padding: Some(padding),
            ..self.clone()
        })
    }

    fn without_padding(&self) -> Self {
        Self {
            padding: None,
            ..self.clone()
        }
    }

    fn with_encode_special_tokens(&self, plain_special: bool) -> Self {
        Self {
            plain_special,
            ..self.clone()
        }
    }
}

/// The argument `direction`.
///
/// # Errors
/// `ValueError` for another name than "left" or "right".
pub(super) fn direction(name: &str) -> PyResult<Direction> {
    choice("direction", name, &DIRECTIONS)
}

fn choice<T: Copy>(argument: &str, name: &str, known: &[(&str, T)]) -> PyResult<T> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        PyValueError::new_err(format!(
            "Unknown `{argument}`: `{name}`. Use one of {names}"
        ))
    })
}

fn name_of<T: PartialEq>(value: T, known: &[(&'static str, T)]) -> &'static str {
    let found = known.iter().find(|(_, known)| *known == value);
    found.map_or("", |(name, _)| name)
}

/// A number up to `most`. As in `tokenizers`, one outside the limits is an `OverflowError`.
fn number(name: &str, value: &Bound<'_, PyAny>, most: u64) -> PyResult<u64> {
    whole_number(name, value, 0, most).map_err(|error| {
        let py = value.py();
        match error.is_instance_of::<PyValueError>(py) {
            true => PyOverflowError::new_err(error.value(py).to_string()),
            false => error,
        }
    })
}
