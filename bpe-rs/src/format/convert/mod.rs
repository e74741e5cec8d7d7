//! Reading and writing [`Encoding`]s in every format.

mod options;
mod tekken;
mod tiktoken;
mod tokenizer_json;
mod vocab_merges;

use std::path::{Path, PathBuf};

pub use options::LoadOptions;
use tekken::from_tekken;
use tiktoken::{load_tiktoken, side_path, to_tiktoken};
pub use tokenizer_json::{from_tokenizer_json, to_tokenizer_json};
use vocab_merges::{from_vocab_merges, merges_path, to_vocab_merges};

use super::tokenizer_json::TokenizerJson;
use crate::encoding::Encoding;
use crate::error::{quoted, Error, ErrorKind, Result};
use crate::io::{read_text, write_atomic};

/// The formats in which an encoding can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ranks in base64; pattern and special tokens in a side file, `NAME.tiktoken.json`.
    Tiktoken,
    /// Hugging Face's `tokenizer.json`.
    TokenizerJson,
    /// `vocab.json` with a `merges.txt` beside it; always GPT-2's pattern.
    VocabMerges,
    /// Mistral's `tekken.json`; read only.
    Tekken,
}

impl Format {
    /// The format of that name: "tiktoken", "tokenizer.json", "vocab.json" or "tekken.json".
    ///
    /// # Errors
    /// `Invalid` for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "tiktoken" => Ok(Self::Tiktoken),
            "tokenizer.json" => Ok(Self::TokenizerJson),
            "vocab.json" => Ok(Self::VocabMerges),
            "tekken.json" => Ok(Self::Tekken),
            other => Err(Error::invalid(format!(
                "format: expected 'tiktoken', 'tokenizer.json', 'vocab.json' or 'tekken.json', got \
                 {}",
                quoted(other)
            ))),
        }
    }

    /// The format that the name of a file tells.
    ///
    /// # Errors
    /// `Invalid` where it tells none.
    pub fn of_path(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match () {
            () if name.ends_with(".tiktoken") => Ok(Self::Tiktoken),
            () if name.ends_with("vocab.json") => Ok(Self::VocabMerges),
            () if name.starts_with("tekken") && name.ends_with(".json") => Ok(Self::Tekken),
            () if name.ends_with(".json") => Ok(Self::TokenizerJson),
            () => Err(Error::invalid(format!(
                "{}: expected a name that ends in .tiktoken, vocab.json or .json, or format=",
                path.display()
            ))),
        }
    }
}

/// Reads an encoding.
///
/// # Errors
/// `Io`; `Invalid` where the file is not of its format, or holds what an [`Encoding`] does not
/// reproduce exactly.
pub fn load(path: &Path, format: Format, options: LoadOptions) -> Result<Encoding> {
    let in_file = |error: Error| match error.kind() {
        ErrorKind::Io => error,
        _ => Error::invalid(format!("{}: {error}", path.display())),
    };
    match format {
        Format::Tiktoken => load_tiktoken(path, options),
        Format::TokenizerJson => {
            let file = TokenizerJson::parse(&read_text(path)?).map_err(in_file)?;
            from_tokenizer_json(file, options.name_for(path), options).map_err(in_file)
        }
        Format::VocabMerges => {
            let merges = merges_path(path)?;
            let model = super::vocab_merges::parse(&read_text(path)?, &read_text(&merges)?)
                .map_err(in_file)?;
            from_vocab_merges(model, options.name_for(path), options).map_err(in_file)
        }
        Format::Tekken => {
            let file = super::tekken::parse(&read_text(path)?).map_err(in_file)?;
            from_tekken(file, options.name_for(path), options).map_err(in_file)
        }
    }
}

/// Writes an encoding; returns the files written. Each is replaced whole or not at all.
///
/// # Errors
/// `Io`; `Invalid` where the format cannot hold the encoding exactly.
pub fn save(encoding: &Encoding, path: &Path, format: Format) -> Result<Vec<PathBuf>> {
    let cannot = |error: Error| Error::invalid(format!("{}: {error}", path.display()));
    let files = match format {
        Format::Tiktoken => {
            let (ranks, side) = to_tiktoken(encoding).map_err(cannot)?;
            vec![(side_path(path), side), (path.to_path_buf(), ranks)]
        }
        Format::TokenizerJson => {
            let file = to_tokenizer_json(encoding).map_err(cannot)?;
            vec![(path.to_path_buf(), file.to_text(true))]
        }
        Format::VocabMerges => {
            let (vocab, merges) = to_vocab_merges(encoding).map_err(cannot)?;
            vec![(merges_path(path)?, merges), (path.to_path_buf(), vocab)]
        }
        Format::Tekken => {
            return Err(cannot(Error::invalid(
                "tekken.json is only read; save as tokenizer.json or .tiktoken",
            )))
        }
    };
    for (path, text) in &files {
        write_atomic(path, text.as_bytes())?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}
