//! Reading a JSON object key by key, so that an unknown key is an error.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The error for a component or setting that is not supported, with what is.
pub(super) fn refuse(path: &str, what: &str, got: &str, expected: &str) -> Error {
    Error::invalid(format!(
        "{path}: {what} {got:?} is not one that bpe_rs reproduces exactly (expected {expected}); \
         use the original tokenizer for this file"
    ))
}

/// The entries of one JSON object that were not read yet.
pub(super) struct Fields {
    path: String,
    entries: Map<String, Value>,
}

impl Fields {
    pub(super) fn of(value: &Value, path: &str) -> Result<Self> {
        match value {
            Value::Object(entries) => Ok(Self {
                path: path.into(),
                entries: entries.clone(),
            }),
            other => Err(Self::mismatch(path, "an object", other)),
        }
    }

    fn mismatch(path: &str, expected: &str, got: &Value) -> Error {
        let mut got = got.to_string();
        if got.len() > 60 {
            let cut = (0..=60)
                .rev()
                .find(|&at| got.is_char_boundary(at))
                .unwrap_or(0);
            got.truncate(cut);
            got.push_str("...");
        }
        Error::invalid(format!("{path}: expected {expected}, got {got}"))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The `type` of a component.
    pub(super) fn kind(&mut self) -> Result<String> {
        self.string("type")
    }

    pub(super) fn take(&mut self, key: &str) -> Result<Value> {
        self.entries.remove(key).ok_or_else(|| {
            let keys: Vec<&String> = self.entries.keys().collect();
            Error::invalid(format!(
                "{}: expected a key {key:?}, got {keys:?}",
                self.path
            ))
        })
    }

    pub(super) fn string(&mut self, key: &str) -> Result<String> {
        match self.take(key)? {
            Value::String(text) => Ok(text),
            other => Err(Self::mismatch(
                &format!("{}.{key}", self.path),
                "a string",
                &other,
            )),
        }
    }

    /// A boolean, or `default` where the key is missing.
    pub(super) fn bool(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.entries.remove(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(Self::mismatch(
                &format!("{}.{key}", self.path),
                "true or false",
                &other,
            )),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<u32> {
        let value = self.take(key)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| {
            Self::mismatch(
                &format!("{}.{key}", self.path),
                "a number below 2^32",
                &value,
            )
        })
    }

    /// A list whose items are read by `read(value, path)`.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Value, &str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let path = format!("{}.{key}", self.path);
        match self.take(key)? {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| read(item, &format!("{path}[{index}]")))
                .collect(),
            other => Err(Self::mismatch(&path, "a list", &other)),
        }
    }

    /// Checks that every key was read.
    pub(super) fn finish(self) -> Result<()> {
        match self.entries.keys().next() {
            None => Ok(()),
            Some(key) => Err(refuse(
                &self.path,
                "setting",
                key,
                "only the settings known to it",
            )),
        }
    }
}
