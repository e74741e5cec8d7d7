//! `vocab.json` with `merges.txt`, and what it shares with `tokenizer.json`: vocabularies of strings
//! in the byte-level alphabet.

use std::path::{Path, PathBuf};

use foldhash::HashSet;

use super::options::LoadOptions;
use crate::encoding::Encoding;
use crate::error::{quoted, Error, Result};
use crate::format::model::BpeModel;
use crate::format::{byte_level, vocab_merges};
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// `x-merges.txt` beside `x-vocab.json`.
pub(super) fn merges_path(vocab: &Path) -> Result<PathBuf> {
    let name = vocab.file_name().unwrap_or_default().to_string_lossy();
    let prefix = name.strip_suffix("vocab.json").ok_or_else(|| {
        Error::invalid(format!(
            "{}: expected a name that ends in vocab.json, with a merges.txt beside it",
            vocab.display()
        ))
    })?;
    Ok(vocab.with_file_name(format!("{prefix}merges.txt")))
}

pub(super) fn from_vocab_merges(
    model: BpeModel,
    name: String,
    options: LoadOptions,
) -> Result<Encoding> {
    let pattern = Pretokenizer::new(options.pattern.as_deref().unwrap_or("gpt2"))?;
    let special = options.special_tokens.unwrap_or_else(|| {
        // A token of several characters that no merge makes can only be a special token.
        let joined = model.merged_tokens();
        let made: HashSet<String> = joined
            .map(|(left, right)| left.to_owned() + right)
            .collect();
        let is_whole = |token: &str| token.chars().count() > 1 && !made.contains(token);
        model
            .vocab
            .iter()
            .filter(|(token, _)| is_whole(token))
            .cloned()
            .collect()
    });
    let vocab = vocab_without(&model, &special)?;
    Ok(Encoding::new(
        name,
        vocab,
        pattern,
        SpecialTokens::new(special)?,
    ))
}

/// The vocabulary of a model without the special tokens.
pub(super) fn vocab_without(model: &BpeModel, special: &[(String, u32)]) -> Result<Vocab> {
    let special: HashSet<u32> = special.iter().map(|&(_, id)| id).collect();
    let tokens = model.vocab.iter().filter(|(_, id)| !special.contains(id));
    let tokens = tokens
        .map(|(token, id)| {
            let bytes = byte_level::to_bytes(token).ok_or_else(|| {
                Error::invalid(format!(
                    "expected tokens in the byte-level alphabet, got {} (id {id}), which is no \
                     added token either",
                    quoted(token)
                ))
            })?;
            Ok((bytes, *id))
        })
        .collect::<Result<Vec<_>>>()?;
    Vocab::from_merges(tokens, &model.merges, model.ignore_merges)
}

pub(super) fn to_vocab_merges(encoding: &Encoding) -> Result<(String, String)> {
    let lost = |what: &str| {
        Error::invalid(format!(
            "vocab.json and merges.txt cannot hold {what} of this encoding; save as tokenizer.json"
        ))
    };
    if encoding.pattern().name() != Some("gpt2") {
        return Err(lost("the pattern"));
    }
    let mut model = model_of(encoding);
    if model.ignore_merges {
        return Err(lost("the tokens that merging does not make"));
    }
    model.vocab.extend(
        encoding
            .special()
            .iter()
            .map(|(token, id)| (token.to_string(), id)),
    );
    let texts = vocab_merges::write(&model)?;
    let read_back = vocab_merges::parse(&texts.0, &texts.1)?;
    let read_back = from_vocab_merges(read_back, String::new(), LoadOptions::default())?;
    if read_back.fingerprint() != encoding.fingerprint() {
        return Err(lost("the special tokens"));
    }
    Ok(texts)
}

/// The model of an encoding, without its special tokens.
pub(super) fn model_of(encoding: &Encoding) -> BpeModel {
    let vocab = encoding.vocab();
    BpeModel {
        vocab: vocab
            .tokens()
            .iter()
            .map(|(id, bytes)| (byte_level::to_text(bytes), id))
            .collect(),
        merges: vocab
            .merges()
            .iter()
            .map(|&(left, right, _)| (left, right))
            .collect(),
        ignore_merges: !vocab.whole_piece_ids().is_empty(),
        ..BpeModel::default()
    }
}
