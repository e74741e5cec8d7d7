//! The Python extension module `bpe_rs._core`: conversions only, no algorithms.

mod counting;
mod encoding;
mod errors;
mod files;
mod hf;
mod hf_arguments;
mod hf_encoding;
mod idfiles;
mod ids;
mod layout;
mod lists;
mod special;
mod text;
mod training;
mod unstable;
mod words;

use pyo3::prelude::*;

// Free-threaded interpreters may keep the GIL off. Most classes are `frozen`: Python shares
// references to them, and what changes behind these (caches, tables built when first needed) lies
// in `OnceLock`, atomics or a mutex. The few others are guarded by PyO3's borrow flags, which are
// atomic: two threads at once get an exception, not a race. There is no `static mut`.
// `tests/test_threads.py` makes calls of all kinds at once, on whichever interpreter runs it.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        // Not when something is encoded: there the level is asked for where no error can be told.
        crate::simd::Level::from_env()?;
        // Whether lists and ints are read in place here: for tests.
        m.add("_in_place", super::layout::find(m.py())?)?;
        super::encoding::register(m)?;
        super::counting::register(m)?;
        super::training::register(m)?;
        super::unstable::register(m)?;
        super::files::register(m)?;
        super::idfiles::register(m)?;
        super::hf::register(m)?;
        super::words::register(m)?;
        Ok(())
    }
}
