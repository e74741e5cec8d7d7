//! Between files and [`Encoding`]s.

mod ranks;
mod strings;
mod tokenizer_json;

use std::path::{Path, PathBuf};

use ranks::{load_tiktoken, side_path, to_tiktoken};
use strings::{from_vocab_merges, merges_path, to_vocab_merges};
pub use tokenizer_json::{from_tokenizer_json, to_tokenizer_json};

use super::{vocab_merges, TokenizerJson};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::io::{read_text, write_atomic};

/// The forms in which an encoding can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ranks in base64; pattern and special tokens in a side file, `NAME.tiktoken.json`.
    Tiktoken,
    /// Hugging Face's `tokenizer.json`.
    TokenizerJson,
    /// `vocab.json` with a `merges.txt` beside it; always GPT-2's pattern.
    VocabMerges,
}

impl Format {
    /// By its name: "tiktoken", "tokenizer.json" or "vocab.json".
    ///
    /// # Errors
    /// `Invalid` for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "tiktoken" => Ok(Self::Tiktoken),
            "tokenizer.json" => Ok(Self::TokenizerJson),
            "vocab.json" => Ok(Self::VocabMerges),
            other => Err(Error::invalid(format!(
                "expected format \"tiktoken\", \"tokenizer.json\" or \"vocab.json\", got {other:?}"
            ))),
        }
    }

    /// By the name of the file.
    ///
    /// # Errors
    /// `Invalid` where the name says nothing.
    pub fn of_path(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match () {
            () if name.ends_with(".tiktoken") => Ok(Self::Tiktoken),
            () if name.ends_with("vocab.json") => Ok(Self::VocabMerges),
            () if name.ends_with(".json") => Ok(Self::TokenizerJson),
            () => Err(Error::invalid(format!(
                "{}: expected a name that ends in .tiktoken, vocab.json or .json, or format=",
                path.display()
            ))),
        }
    }
}

/// What a file may leave open.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The encoding's name; the file's by default.
    pub name: Option<String>,
    /// The pattern, where the file has none.
    pub pattern: Option<String>,
    /// The special tokens, where the file has none.
    pub special_tokens: Option<Vec<(String, u32)>>,
}

/// Reads an encoding.
///
/// # Errors
/// `Io`; `Invalid` where the file is not of its format, or holds what an [`Encoding`] does not
/// reproduce exactly.
pub fn load(path: &Path, format: Format, options: Options) -> Result<Encoding> {
    let in_file = |error: Error| match error.kind() {
        crate::error::Kind::Io => error,
        _ => Error::invalid(format!("{}: {error}", path.display())),
    };
    match format {
        Format::Tiktoken => load_tiktoken(path, options),
        Format::TokenizerJson => {
            let file = TokenizerJson::parse(&read_text(path)?).map_err(in_file)?;
            from_tokenizer_json(file, name_of(path, &options), options).map_err(in_file)
        }
        Format::VocabMerges => {
            let merges = merges_path(path)?;
            let model =
                vocab_merges::parse(&read_text(path)?, &read_text(&merges)?).map_err(in_file)?;
            from_vocab_merges(model, name_of(path, &options), options).map_err(in_file)
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
    };
    for (path, text) in &files {
        write_atomic(path, text.as_bytes())?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn name_of(path: &Path, options: &Options) -> String {
    let stem = || {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    options.name.clone().unwrap_or_else(stem)
}
