//! The Python extension module `bpe_rs._core`: conversions only, no algorithms.

use pyo3::prelude::*;

#[pymodule]
mod _core {}
