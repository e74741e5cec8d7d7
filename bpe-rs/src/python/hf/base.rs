//! `_core.HfTokenizerBase`: the calls of `bpe_rs.hf.Tokenizer` in which a frame of Python takes as
//! long as a short text.

use std::sync::OnceLock;

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::columns;
use super::encoding::PyHfEncoding;
use super::guarded::Guarded;
use super::results::TextResult;
use super::settings::PySettings;
use super::thread_settings::PyThreadSettings;
use super::PyHfTokenizer;

/// What `bpe_rs.hf.Tokenizer` derives from.
#[pyclass(name = "HfTokenizerBase", subclass, frozen, module = "bpe_rs._core")]
#[derive(Default)]
pub(super) struct PyBase {
    /// The tokenizer, which methods that change something replace.
    core: Guarded<Option<Py<PyHfTokenizer>>>,
    /// Set once.
    settings: OnceLock<Py<PyThreadSettings>>,
}

#[pymethods]
impl PyBase {
    /// Takes any arguments: they are for the `__init__` of the class that derives from it.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn py_new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    #[getter]
    fn _core<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyHfTokenizer>> {
        let copy = |core: &mut Option<Py<_>>| core.as_ref().map(|core| core.clone_ref(py));
        let core = self.core.with(py, copy);
        let missing = || PyAttributeError::new_err("_core");
        Ok(core.ok_or_else(missing)?.into_bound(py))
    }

    #[setter(_core)]
    fn set_core(&self, py: Python<'_>, core: Py<PyHfTokenizer>) {
        let before = self.core.with(py, |held| held.replace(core));
        drop(before);
    }

    #[getter]
    fn _settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyThreadSettings>> {
        let settings = self.settings.get().map(|settings| settings.bind(py));
        let missing = || PyAttributeError::new_err("_settings");
        settings.cloned().ok_or_else(missing)
    }

    #[setter(_settings)]
    fn set_settings(&self, settings: Py<PyThreadSettings>) -> PyResult<()> {
        let again = |_| PyAttributeError::new_err("_settings: expected to be set once");
        self.settings.set(settings).map_err(again)
    }

    /// Encode a text, or the words of one, or a pair of either.
    ///
    /// Raises TypeError for other input, ValueError where truncation is impossible.
    #[pyo3(signature = (sequence, pair=None, is_pretokenized=false, add_special_tokens=true))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        sequence: &Bound<'py, PyAny>,
        pair: Option<&Bound<'py, PyAny>>,
        is_pretokenized: bool,
        add_special_tokens: bool,
    ) -> PyResult<PyHfEncoding> {
        let core = self._core(py)?;
        let settings = self.thread_settings(py)?;
        if let (None, false, true) = (pair, is_pretokenized, settings.get().is_plain()) {
            if let Ok(text) = sequence.cast::<PyString>() {
                if let Some(result) = TextResult::new(&core, text, add_special_tokens)? {
                    return Ok(PyHfEncoding::of_text(result));
                }
            }
        }
        PyHfTokenizer::encode(
            &core,
            sequence,
            pair,
            is_pretokenized,
            add_special_tokens,
            &settings,
        )
    }

    /// What a tokenizer of `transformers`, whose back end this is, returns for one text and no other
    /// argument, as an object of `class_`, which is a `LazyBatchEncoding`. None where its ordinary call
    /// must be asked.
    fn _batch_of_text<'py>(
        &self,
        py: Python<'py>,
        tokenizer: &Bound<'py, PyAny>,
        text: &Bound<'py, PyAny>,
        class_: &Bound<'py, PyType>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Ok(text) = text.cast_exact::<PyString>() else {
            return Ok(None);
        };
        let settings = self.thread_settings(py)?;
        let attributes = attributes(tokenizer)?;
        let attribute = |name: &Bound<'py, PyString>| match attributes.get_item(name)? {
            Some(value) => Ok(value),
            None => tokenizer.getattr(name),
        };
        let split = attribute(intern!(py, "split_special_tokens"))?;
        if !settings.get().is_plain() || split.is_truthy()? {
            return Ok(None);
        }
        let core = self._core(py)?;
        let names = attribute(intern!(py, "model_input_names"))?;
        let Some(columns) = columns::of_text(&core, text, &names, &settings)? else {
            return Ok(None);
        };
        let most = attribute(intern!(py, "model_max_length"))?;
        if most.lt(columns.longest)? {
            return Ok(None);
        }
        let batch = new_object(class_)?;
        batch.setattr(intern!(py, "data"), &columns.data)?;
        batch.setattr(intern!(py, "_n_sequences"), columns.n_sequences)?;
        batch.setattr(intern!(py, "_columns"), Bound::new(py, columns)?)?;
        Ok(Some(batch))
    }
}

impl PyBase {
    /// The calling thread's settings.
    fn thread_settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySettings>> {
        let missing = || PyAttributeError::new_err("_settings");
        let of_threads = self.settings.get().ok_or_else(missing)?;
        Ok(of_threads.get().get(py)?.into_bound(py))
    }
}

/// The `__dict__` of an object that has one. The usual way would ask the `__getattr__` of the class.
fn attributes<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let py = object.py();
    // SAFETY: the object lives and the GIL is held; returns a new reference, or null with an exception
    // for an object without `__dict__`.
    let found = unsafe {
        let found = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, found)?
    };
    Ok(found.cast_into()?)
}

/// `object.__new__(class)`: an object without a call of `__init__`.
fn new_object<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let arguments = PyTuple::empty(py);
    // SAFETY: every type has `tp_new` of `object`, which takes a type, a tuple and null, checks that
    // the type may be made, and returns a new reference or null with an exception; the GIL is held.
    unsafe {
        let new = ffi::PyType_GetSlot(&raw mut ffi::PyBaseObject_Type, ffi::Py_tp_new);
        let new: ffi::newfunc = std::mem::transmute(new);
        let made = new(
            class.as_type_ptr(),
            arguments.as_ptr(),
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, made)
    }
}
