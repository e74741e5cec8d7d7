//! What a caller may say about an encoding that is read.

use std::path::Path;

/// What the file of an encoding may leave open.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The encoding's name; the file's by default.
    pub name: Option<String>,
    /// The pattern, where the file has none.
    pub pattern: Option<String>,
    /// The special tokens, where the file has none.
    pub special_tokens: Option<Vec<(String, u32)>>,
}

impl LoadOptions {
    /// The name given, or that of the file without its extension.
    pub(super) fn name_for(&self, path: &Path) -> String {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        self.name.clone().unwrap_or_else(|| stem.into_owned())
    }
}
