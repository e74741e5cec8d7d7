//! What the calls of a tokenizer share: encode with or without the GIL, one text, flat, or everything.

use std::borrow::Cow;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::encoding::PyHfEncoding;
use super::results::{Call, Inputs, Results};
use super::settings::PySettings;
use super::PyHfTokenizer;
use crate::hf::{EncodedInput, FlatBatch, InputPair, InputSequence, Layout, Tokenizer};

/// Inputs of fewer bytes are encoded while holding the GIL, because releasing and reacquiring it
/// costs more.
const MIN_BYTES_TO_RELEASE_GIL: usize = 4096;

/// Run `work` without the GIL if there are many bytes to encode: the sum of `lengths`.
fn detach<T: Send>(
    py: Python<'_>,
    lengths: impl Iterator<Item = usize>,
    work: impl FnOnce() -> T + Send,
) -> T {
    let mut bytes = 0;
    for length in lengths {
        bytes += length;
        if bytes >= MIN_BYTES_TO_RELEASE_GIL {
            return py.detach(work);
        }
    }
    work()
}

fn lengths<'a>(inputs: &'a [InputPair<'_>]) -> impl Iterator<Item = usize> + 'a {
    let second = |second: &Option<_>| second.as_ref().map_or(0, InputSequence::bytes);
    inputs
        .iter()
        .map(move |pair| pair.0.bytes() + second(&pair.1))
}

impl PyHfTokenizer {
    /// Encode inputs, many bytes without the GIL.
    pub(super) fn encode_all(
        &self,
        py: Python<'_>,
        inputs: &[InputPair<'_>],
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Vec<EncodedInput>> {
        let (truncation, padding) = (settings.truncation.as_ref(), settings.padding.as_ref());
        let tokenizer = self.inner.with_plain_special(settings.plain_special);
        Ok(detach(py, lengths(inputs), || {
            tokenizer.encode_batch(inputs, add_special_tokens, truncation, padding)
        })?)
    }

    /// What the post-processor puts around one sequence, or around a pair.
    pub(super) fn layout(&self, is_pair: bool, add_special_tokens: bool) -> Option<&Arc<Layout>> {
        let layout = &self.layouts[usize::from(add_special_tokens)][usize::from(is_pair)];
        let make = || self.inner.layout(is_pair, add_special_tokens).map(Arc::new);
        layout.get_or_init(make).as_ref()
    }

    /// The tokenizer that treats special tokens in a text as `settings` say.
    fn following(&self, settings: &PySettings) -> Cow<'_, Tokenizer> {
        match settings.plain_special {
            true => Cow::Owned(self.inner.with_plain_special(true)),
            false => Cow::Borrowed(&self.inner),
        }
    }

    /// The ids of a text as `make` wants them, with the special tokens of `layout`; `None` where
    /// [`Self::encode_all`] must be asked.
    pub(super) fn ids_of_text<T>(
        &self,
        py: Python<'_>,
        text: &str,
        layout: &Layout,
        make: impl FnOnce(Cow<'_, [u32]>) -> T,
    ) -> PyResult<Option<T>> {
        if text.len() < MIN_BYTES_TO_RELEASE_GIL {
            let take = |ids: &[u32]| make(Cow::Borrowed(ids));
            return Ok(self.inner.with_text_ids(text, layout, take)?);
        }
        let ids = py.detach(|| self.inner.text_ids(text, layout))?;
        Ok(ids.map(|ids| make(Cow::Owned(ids))))
    }

    /// The same as a list.
    pub(super) fn list_of_text<'py>(
        &self,
        py: Python<'py>,
        text: &str,
        layout: &Layout,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let list = self.ids_of_text(py, text, layout, |ids| self.ints.list(py, &ids))?;
        list.transpose()
    }

    /// [`Self::encode_flat`] of texts without pairs.
    pub(super) fn encode_flat_texts(
        &self,
        py: Python<'_>,
        texts: &[&str],
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Option<FlatBatch>> {
        let Some(layout) = self.layout(false, add_special_tokens) else {
            return Ok(None);
        };
        let tokenizer = self.following(settings);
        let (truncation, padding) = (settings.truncation.as_ref(), settings.padding.as_ref());
        let lengths = texts.iter().map(|text| text.len());
        Ok(detach(py, lengths, || {
            tokenizer.encode_flat_texts(texts, layout, truncation, padding)
        })?)
    }

    /// The same as flat columns; `None` where [`Self::encode_all`] must be asked.
    pub(super) fn encode_flat(
        &self,
        py: Python<'_>,
        inputs: &[InputPair<'_>],
        add_special_tokens: bool,
        settings: &PySettings,
    ) -> PyResult<Option<FlatBatch>> {
        let layouts = [false, true].map(|is_pair| self.layout(is_pair, add_special_tokens));
        let tokenizer = self.following(settings);
        let (truncation, padding) = (settings.truncation.as_ref(), settings.padding.as_ref());
        Ok(detach(py, lengths(inputs), || {
            tokenizer.encode_flat(inputs, layouts, truncation, padding)
        })?)
    }
}

/// An object for each input.
pub(super) fn encodings(
    tokenizer: &Bound<'_, PyHfTokenizer>,
    inputs: Inputs,
    add_special_tokens: bool,
    settings: &Bound<'_, PySettings>,
) -> PyResult<Vec<PyHfEncoding>> {
    let (py, this) = (tokenizer.py(), tokenizer.get());
    if let Some(batch) = inputs.encode_flat(py, this, add_special_tokens, settings.get())? {
        let call = Call::new(tokenizer, inputs, add_special_tokens, settings);
        return Ok(PyHfEncoding::of_rows(Results { batch, call }));
    }
    let batch = inputs.encode_all(py, this, add_special_tokens, settings.get())?;
    let encoding = |inner| PyHfEncoding::with_ints(inner, this.ints.clone());
    Ok(batch.into_iter().map(encoding).collect())
}
