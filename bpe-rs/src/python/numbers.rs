//! Whole numbers from Python. An error names the argument, its limits and what came, however large
//! the number is.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::text::type_name;

/// The argument `name` as a number from `least` to `most`. With `most = u64::MAX` there is no upper
/// limit: what is larger counts as that.
///
/// # Errors
/// `TypeError` for anything but an int, or for a bool; `ValueError` for a number outside the limits.
#[pyfunction]
#[pyo3(signature = (name, value, least, most=u64::MAX))]
pub(super) fn whole_number(
    name: &str,
    value: &Bound<'_, PyAny>,
    least: u64,
    most: u64,
) -> PyResult<u64> {
    let wrong_type = || {
        PyTypeError::new_err(format!(
            "expected {name} to be int, got {}",
            type_name(value)
        ))
    };
    if value.is_instance_of::<PyBool>() {
        return Err(wrong_type());
    }
    let number = value.call_method0("__index__").map_err(|_| wrong_type())?;
    let found = match number.extract::<u64>() {
        Ok(found) => Some(found),
        Err(_) if most == u64::MAX && number.gt(0)? => Some(most),
        Err(_) => None,
    };
    found
        .filter(|found| (least..=most).contains(found))
        .ok_or_else(|| {
            // Python refuses to write thousands of digits.
            let shown = number.str().map(|number| number.to_string());
            let shown = shown.unwrap_or_else(|_| "a number of thousands of digits".into());
            PyValueError::new_err(if most == u64::MAX {
                format!("expected {name} >= {least}, got {shown}")
            } else {
                format!("expected {name} from {least} to {most}, got {shown}")
            })
        })
}

/// [`whole_number`] as a size; what is larger than any size counts as the largest.
///
/// # Errors
/// As there.
pub(super) fn size(name: &str, value: &Bound<'_, PyAny>, least: u64, most: u64) -> PyResult<usize> {
    let number = whole_number(name, value, least, most)?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("MAX_ROW_LENGTH", crate::encode::MAX_ROW_LENGTH)?;
    m.add_function(wrap_pyfunction!(whole_number, m)?)
}
