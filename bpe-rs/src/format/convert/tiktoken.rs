//! `.tiktoken`, and the side file with what it leaves out: pattern and special tokens.

use std::path::{Path, PathBuf};

use serde_json::{json, Value};

use super::options::LoadOptions;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::format::tiktoken;
use crate::io::read_text;
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// `x.tiktoken.json` beside `x.tiktoken`.
pub(super) fn side_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".json");
    path.with_file_name(name)
}

pub(super) fn load_tiktoken(path: &Path, options: LoadOptions) -> Result<Encoding> {
    let in_file =
        |path: &Path, error: Error| Error::invalid(format!("{}: {error}", path.display()));
    let ranks = tiktoken::parse(&read_text(path)?).map_err(|error| in_file(path, error))?;
    let name = options.name_for(path);
    let side = side_path(path);
    let (mut pattern, mut special) = (options.pattern, options.special_tokens);
    if side.exists() && (pattern.is_none() || special.is_none()) {
        let (side_pattern, side_special) =
            read_side(&read_text(&side)?).map_err(|error| in_file(&side, error))?;
        pattern = pattern.or(Some(side_pattern));
        special = special.or(Some(side_special));
    }
    let pattern = pattern.ok_or_else(|| {
        Error::invalid(format!(
            "{}: a .tiktoken file has no pattern; expected pattern= (and special_tokens=), or a \
             side file {}",
            path.display(),
            side.display()
        ))
    })?;
    let vocab = Vocab::from_ranks(ranks).map_err(|error| in_file(path, error))?;
    let special = SpecialTokens::new(special.unwrap_or_default())?;
    Ok(Encoding::new(
        name,
        vocab,
        Pretokenizer::new(&pattern)?,
        special,
    ))
}

fn read_side(text: &str) -> Result<(String, Vec<(String, u32)>)> {
    let expected = || {
        Error::invalid("expected {\"pattern\": \"...\", \"special_tokens\": {\"<|x|>\": id, ...}}")
    };
    let value: Value = serde_json::from_str(text).map_err(|_| expected())?;
    let pattern = value
        .get("pattern")
        .and_then(Value::as_str)
        .ok_or_else(expected)?;
    let entries = value
        .get("special_tokens")
        .and_then(Value::as_object)
        .ok_or_else(expected)?;
    let special = entries
        .iter()
        .map(|(token, id)| {
            let id = id
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(expected)?;
            Ok((token.clone(), id))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok((pattern.to_string(), special))
}

pub(super) fn to_tiktoken(encoding: &Encoding) -> Result<(String, String)> {
    let vocab = encoding.vocab();
    let ranks = || vocab.tokens().iter().map(|(id, bytes)| (bytes, id));
    if !vocab.is_ranked() {
        return Err(Error::invalid(
            "a .tiktoken file merges in the order of ids, this encoding merges in another; \
             save as tokenizer.json",
        ));
    }
    let special: serde_json::Map<String, Value> = encoding
        .special()
        .iter()
        .map(|(token, id)| (token.into(), id.into()))
        .collect();
    let side = json!({"pattern": encoding.pattern().regex(), "special_tokens": special});
    Ok((tiktoken::write(ranks()), format!("{side:#}\n")))
}
