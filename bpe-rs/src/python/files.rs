//! Reading and writing encodings and files.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::encoding::Encoding;
use crate::format::{self, Format, LoadOptions, TokenizerJson};

/// Reads an encoding; returns what `bpe_rs.Encoding` is made from.
#[pyfunction]
#[pyo3(signature = (path, format=None, name=None, pattern=None, special_tokens=None))]
fn load_encoding(
    py: Python<'_>,
    path: PathBuf,
    format: Option<&str>,
    name: Option<String>,
    pattern: Option<String>,
    special_tokens: Option<Vec<(String, u32)>>,
) -> PyResult<Encoding> {
    let options = LoadOptions {
        name,
        pattern,
        special_tokens,
    };
    let core = py.detach(|| {
        let format = format.map_or_else(|| Format::of_path(&path), Format::from_name)?;
        format::load(&path, format, options)
    })?;
    Ok(Encoding::from_core(core))
}

/// Writes an encoding; returns the files written.
#[pyfunction]
#[pyo3(signature = (encoding, path, format=None))]
fn save_encoding(
    py: Python<'_>,
    encoding: PyRef<'_, Encoding>,
    path: PathBuf,
    format: Option<&str>,
) -> PyResult<Vec<PathBuf>> {
    let core = encoding.core();
    Ok(py.detach(|| {
        let format = format.map_or_else(|| Format::of_path(&path), Format::from_name)?;
        format::save(core, &path, format)
    })?)
}

/// The text of an encoding's `tokenizer.json`.
#[pyfunction]
fn encoding_to_json(py: Python<'_>, encoding: PyRef<'_, Encoding>) -> PyResult<String> {
    let core = encoding.core();
    Ok(py.detach(|| {
        Ok::<_, crate::error::Error>(format::convert::to_tokenizer_json(core)?.to_text(false))
    })?)
}

/// The encoding of the text of a `tokenizer.json`.
#[pyfunction]
fn encoding_from_json(py: Python<'_>, name: String, text: &str) -> PyResult<Encoding> {
    let core = py.detach(|| {
        let file = TokenizerJson::parse(text)?;
        format::convert::from_tokenizer_json(file, name, LoadOptions::default())
    })?;
    Ok(Encoding::from_core(core))
}

/// Writes a file whole or not at all.
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
