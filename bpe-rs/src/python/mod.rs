//! The Python extension module `bpe_rs._core`: converts arguments and results, and holds no
//! algorithms.
//!
//! A call converts its arguments, releases the GIL, calls the Rust crate, and converts what comes
//! back. Text crosses the border once a batch, ids cross as one buffer.

mod counting;
mod encoding;
mod errors;
mod files;
mod formats;
mod hf;
mod ids;
mod numbers;
mod progress;
mod text;
mod threads;
mod training;
mod words;

use pyo3::prelude::*;

// `gil_used = false`: a free-threaded interpreter may keep the GIL off, because no class here
// relies on it. Most classes are `frozen`: Python hands out shared references only, and what
// changes behind them (caches, tables built on first use) lies in a `ForkOnce`, atomics or a mutex.
// PyO3's borrow flags, which are atomic, guard the few others: a second thread gets an exception,
// not a data race. There is no `static mut`. `tests/test_threads.py` runs calls of all kinds
// concurrently.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        // A bad BPE_RS_SIMD is reported here, because encoding has no way to report it.
        crate::simd::Level::from_env()?;
        // Whether lists and ints are accessed in place, for the tests.
        m.add("_in_place", super::ids::object_layout::detect(m.py())?)?;
        super::encoding::register(m)?;
        super::counting::register(m)?;
        super::training::register(m)?;
        super::formats::register(m)?;
        super::files::register(m)?;
        super::hf::register(m)?;
        super::words::register(m)?;
        super::numbers::register(m)?;
        super::progress::register();
        super::threads::register(m)
    }
}
