//! Reading and writing encodings in the formats of other tools.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::encoding::PyEncoding;
use crate::format::{self, Format, LoadOptions, TokenizerJson};

/// Read an encoding from a file.
#[pyfunction]
#[pyo3(signature = (path, format=None, name=None, pattern=None, special_tokens=None))]
fn load_encoding(
    py: Python<'_>,
    path: PathBuf,
    format: Option<&str>,
    name: Option<String>,
    pattern: Option<String>,
    special_tokens: Option<Vec<(String, u32)>>,
) -> PyResult<PyEncoding> {
    let options = LoadOptions {
        name,
        pattern,
        special_tokens,
    };
    let core = py.detach(|| {
        let format = format.map_or_else(|| Format::of_path(&path), Format::from_name)?;
        format::load(&path, format, options)
    })?;
    Ok(PyEncoding::new(core))
}

/// Write an encoding to a file; returns the files written.
#[pyfunction]
#[pyo3(signature = (encoding, path, format=None))]
fn save_encoding(
    py: Python<'_>,
    encoding: PyRef<'_, PyEncoding>,
    path: PathBuf,
    format: Option<&str>,
) -> PyResult<Vec<PathBuf>> {
    let core = encoding.core();
    Ok(py.detach(|| {
        let format = format.map_or_else(|| Format::of_path(&path), Format::from_name)?;
        format::save(core, &path, format)
    })?)
}

/// An encoding as the text of a `tokenizer.json`.
#[pyfunction]
fn encoding_to_json(py: Python<'_>, encoding: PyRef<'_, PyEncoding>) -> PyResult<String> {
    let core = encoding.core();
    Ok(py.detach(|| {
        Ok::<_, crate::error::Error>(format::convert::to_tokenizer_json(core)?.to_text(false))
    })?)
}

/// The encoding that the text of a `tokenizer.json` describes.
#[pyfunction]
fn encoding_from_json(py: Python<'_>, name: String, text: &str) -> PyResult<PyEncoding> {
    let core = py.detach(|| {
        let file = TokenizerJson::parse(text)?;
        format::convert::from_tokenizer_json(file, name, LoadOptions::default())
    })?;
    Ok(PyEncoding::new(core))
}

/// Write a file atomically: afterwards it holds either its old contents or all of the new.
#[pyfunction]
fn write_atomic(py: Python<'_>, path: PathBuf, contents: &[u8]) -> PyResult<()> {
    Ok(py.detach(|| crate::io::write_atomic(&path, contents))?)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(load_encoding, m)?)?;
    m.add_function(wrap_pyfunction!(save_encoding, m)?)?;
    m.add_function(wrap_pyfunction!(encoding_to_json, m)?)?;
    m.add_function(wrap_pyfunction!(encoding_from_json, m)?)?;
    m.add_function(wrap_pyfunction!(write_atomic, m)?)
}
