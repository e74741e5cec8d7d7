//! `_core.HfThreadSettings`: truncation, padding and the treatment of special tokens, one copy a
//! thread.
//!
//! `transformers` sets truncation and padding on the tokenizer before every call. If threads shared
//! them, a call in one thread could be truncated by the settings of another. So each thread has its
//! own copy, which begins as the tokenizer's when the thread first uses it; only the thread that made
//! the tokenizer also sets the tokenizer's.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::intern;
use pyo3::prelude::*;

use super::guarded::Guarded;
use super::settings::PySettings;

/// The number of a thread; no other thread ever gets it.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        // Unlike `std::thread::ThreadId`, which takes an atomic count to ask for.
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// The settings of each thread.
#[pyclass(name = "HfThreadSettings", frozen, module = "bpe_rs._core")]
pub(super) struct PyThreadSettings {
    /// The thread that made the tokenizer.
    owner: u64,
    /// A `threading.local` with the attribute `settings` in threads that have used the tokenizer.
    local: Py<PyAny>,
    /// The tokenizer's own.
    shared: Guarded<Py<PySettings>>,
    /// Those of the thread that asked last: spares it a look at `local`, which a short text notices.
    last: Guarded<Option<(u64, Py<PySettings>)>>,
}

#[pymethods]
impl PyThreadSettings {
    #[new]
    fn py_new(py: Python<'_>, settings: Py<PySettings>) -> PyResult<Self> {
        Ok(Self {
            owner: thread_number(),
            local: py.import("threading")?.call_method0("local")?.unbind(),
            shared: Guarded::new(settings),
            last: Guarded::default(),
        })
    }

    /// The calling thread's settings.
    pub(super) fn get(&self, py: Python<'_>) -> PyResult<Py<PySettings>> {
        let thread = thread_number();
        let last = self.last.with(py, |last| {
            let last = last.as_ref().filter(|(of, _)| *of == thread);
            last.map(|(_, settings)| settings.clone_ref(py))
        });
        if let Some(settings) = last {
            return Ok(settings);
        }
        let name = intern!(py, "settings");
        let local = self.local.bind(py);
        let settings = match local.getattr_opt(name)? {
            Some(settings) => settings.cast_into::<PySettings>()?.unbind(),
            None => {
                let settings = self.shared.with(py, |shared| shared.clone_ref(py));
                local.setattr(name, &settings)?;
                settings
            }
        };
        self.remember(py, thread, settings.clone_ref(py));
        Ok(settings)
    }

    /// Replace the calling thread's settings.
    fn set(&self, py: Python<'_>, settings: Py<PySettings>) -> PyResult<()> {
        let thread = thread_number();
        self.local
            .bind(py)
            .setattr(intern!(py, "settings"), &settings)?;
        if thread == self.owner {
            let settings = settings.clone_ref(py);
            let before = self
                .shared
                .with(py, |shared| std::mem::replace(shared, settings));
            drop(before);
        }
        self.remember(py, thread, settings);
        Ok(())
    }
}

impl PyThreadSettings {
    fn remember(&self, py: Python<'_>, thread: u64, settings: Py<PySettings>) {
        let before = self.last.with(py, |last| last.replace((thread, settings)));
        drop(before);
    }
}
