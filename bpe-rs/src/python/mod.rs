//! The Python extension module `bpe_rs._core`: conversions only, no algorithms.

mod encoding;
mod errors;
mod files;
mod hf;
mod hf_encoding;
mod special;
mod text;
mod training;
mod unstable;
mod words;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        super::encoding::register(m)?;
        super::training::register(m)?;
        super::unstable::register(m)?;
        super::files::register(m)?;
        super::hf::register(m)?;
        super::words::register(m)?;
        Ok(())
    }
}
