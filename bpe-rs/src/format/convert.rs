//! Between files and [`Encoding`]s.

use std::path::{Path, PathBuf};

use serde_json::{json, Value};

use super::components::{Behavior, ByteLevel, Decoder, PostProcessor, PreTokenizer, SplitPattern};
use super::file::{read_text, write_atomic};
use super::{byte_level, regex, tiktoken, vocab_merges, AddedToken, BpeModel, TokenizerJson};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

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

/// `x-merges.txt` beside `x-vocab.json`.
fn merges_path(vocab: &Path) -> Result<PathBuf> {
    let name = vocab.file_name().unwrap_or_default().to_string_lossy();
    let prefix = name.strip_suffix("vocab.json").ok_or_else(|| {
        Error::invalid(format!(
            "{}: expected a name that ends in vocab.json, with a merges.txt beside it",
            vocab.display()
        ))
    })?;
    Ok(vocab.with_file_name(format!("{prefix}merges.txt")))
}

/// `x.tiktoken.json` beside `x.tiktoken`.
fn side_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".json");
    path.with_file_name(name)
}

fn load_tiktoken(path: &Path, options: Options) -> Result<Encoding> {
    let in_file =
        |path: &Path, error: Error| Error::invalid(format!("{}: {error}", path.display()));
    let ranks = tiktoken::parse(&read_text(path)?).map_err(|error| in_file(path, error))?;
    let name = name_of(path, &options);
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

fn to_tiktoken(encoding: &Encoding) -> Result<(String, String)> {
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

fn from_vocab_merges(model: BpeModel, name: String, options: Options) -> Result<Encoding> {
    let pattern = Pretokenizer::new(options.pattern.as_deref().unwrap_or("gpt2"))?;
    let special = options.special_tokens.unwrap_or_else(|| {
        // What no merge makes and is no byte can only be meant as a whole.
        let made: std::collections::HashSet<String> = model
            .merges
            .iter()
            .map(|(left, right)| format!("{left}{right}"))
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

/// The vocabulary without its special tokens.
fn vocab_without(model: &BpeModel, special: &[(String, u32)]) -> Result<Vocab> {
    let special: std::collections::HashSet<u32> = special.iter().map(|&(_, id)| id).collect();
    let mut tokens = Vec::with_capacity(model.vocab.len());
    let mut ids = std::collections::HashMap::with_capacity(model.vocab.len());
    for (token, id) in model.vocab.iter().filter(|(_, id)| !special.contains(id)) {
        let bytes = byte_level::to_bytes(token).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| {
            Error::invalid(format!(
                "expected tokens in the byte-level alphabet, got {token:?} (id {id}), which is no \
                 added token either"
            ))
        })?;
        tokens.push((bytes, *id));
        ids.insert(token.as_str(), *id);
    }
    let find = |token: &str| {
        ids.get(token).copied().ok_or_else(|| {
            Error::invalid(format!(
                "expected merges of tokens of the vocabulary, got {token:?}"
            ))
        })
    };
    let merges = model
        .merges
        .iter()
        .map(|(left, right)| Ok((find(left)?, find(right)?)))
        .collect::<Result<Vec<_>>>()?;
    Vocab::from_merges(tokens, &merges, model.ignore_merges)
}

fn to_vocab_merges(encoding: &Encoding) -> Result<(String, String)> {
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
    let read_back = from_vocab_merges(read_back, String::new(), Options::default())?;
    if read_back.fingerprint() != encoding.fingerprint() {
        return Err(lost("the special tokens"));
    }
    Ok(texts)
}

/// Tokens and merges as strings, special tokens left out.
fn model_of(encoding: &Encoding) -> BpeModel {
    let vocab = encoding.vocab();
    let text = |id: u32| {
        vocab
            .tokens()
            .get(id)
            .map(byte_level::to_text)
            .unwrap_or_default()
    };
    BpeModel {
        vocab: vocab
            .tokens()
            .iter()
            .map(|(id, bytes)| (byte_level::to_text(bytes), id))
            .collect(),
        merges: vocab
            .merges()
            .iter()
            .map(|&(left, right, _)| (text(left), text(right)))
            .collect(),
        ignore_merges: !vocab.whole_piece_ids().is_empty(),
        ..BpeModel::default()
    }
}

/// The `tokenizer.json` of an encoding.
///
/// # Errors
/// `Invalid` where the format cannot hold the encoding exactly.
pub fn to_tokenizer_json(encoding: &Encoding) -> Result<TokenizerJson> {
    let mut model = model_of(encoding);
    let mut special: Vec<(String, u32)> = encoding
        .special()
        .iter()
        .map(|(token, id)| (token.to_string(), id))
        .collect();
    special.sort_by_key(|&(_, id)| id);
    for pair in special.windows(2) {
        if pair[0].1 == pair[1].1 {
            return Err(Error::invalid(format!(
                "tokenizer.json has one token an id, this encoding has {:?} and {:?} for {}; save \
                 as .tiktoken",
                pair[0].0, pair[1].0, pair[0].1
            )));
        }
    }
    // Added tokens get the ids after the vocabulary; others have to be part of it.
    let first = model.vocab.len() as u32;
    let continues = special
        .iter()
        .zip(first..)
        .all(|((_, id), next)| *id == next);
    if !continues {
        for (token, _) in special.iter().filter(|_| model.ignore_merges) {
            let mut pieces = 0;
            encoding.pattern().pieces(token, &mut |_| pieces += 1)?;
            if pieces == 1 {
                return Err(Error::invalid(format!(
                    "tokenizer.json cannot keep {token:?} out of ordinary text with this pattern; \
                     save as .tiktoken"
                )));
            }
        }
        model.vocab.extend(special.iter().cloned());
    }
    let added_tokens = special
        .into_iter()
        .map(|(content, id)| AddedToken {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        })
        .collect();
    let byte_level = |use_regex| ByteLevel {
        add_prefix_space: false,
        trim_offsets: true,
        use_regex,
    };
    let pre_tokenizer = match encoding.pattern().name() {
        Some("gpt2") => PreTokenizer::ByteLevel(byte_level(true)),
        name => {
            let pattern = regex::for_hugging_face(encoding.pattern().regex())?;
            // Text that a pattern does not match is dropped; the named ones match everything.
            let split = PreTokenizer::Split {
                pattern: SplitPattern::Regex(pattern),
                behavior: if name.is_some() {
                    Behavior::Isolated
                } else {
                    Behavior::Removed
                },
                invert: name.is_none(),
            };
            PreTokenizer::Sequence(vec![split, PreTokenizer::ByteLevel(byte_level(false))])
        }
    };
    Ok(TokenizerJson {
        added_tokens,
        pre_tokenizer: Some(pre_tokenizer),
        post_processor: Some(PostProcessor::ByteLevel(ByteLevel {
            trim_offsets: false,
            ..byte_level(true)
        })),
        decoder: Some(Decoder::ByteLevel(byte_level(true))),
        model,
        ..TokenizerJson::default()
    })
}

/// The encoding of a `tokenizer.json`. Special tokens that its post-processor adds are left to
/// the caller: an [`Encoding`] adds none.
///
/// # Errors
/// `Invalid` for what an [`Encoding`] does not reproduce: normalisers, several splits, a prefix
/// space, added tokens that swallow white space or want word boundaries.
pub fn from_tokenizer_json(
    file: TokenizerJson,
    name: String,
    options: Options,
) -> Result<Encoding> {
    let refuse = |what: &str| {
        Error::invalid(format!(
            "{what} is beyond an Encoding; bpe_rs.hf.Tokenizer.from_file reads this file"
        ))
    };
    if file.normalizer.is_some() {
        return Err(refuse("a normalizer"));
    }
    for token in &file.added_tokens {
        if token.lstrip || token.rstrip || token.single_word {
            return Err(refuse(&format!(
                "added token {:?} with lstrip, rstrip or single_word",
                token.content
            )));
        }
    }
    let steps = file
        .pre_tokenizer
        .as_ref()
        .map(PreTokenizer::flattened)
        .unwrap_or_default();
    let pattern = match steps[..] {
        [PreTokenizer::ByteLevel(last)] if last.use_regex && !last.add_prefix_space => {
            "gpt2".to_string()
        }
        [PreTokenizer::Split {
            pattern: SplitPattern::Regex(regex),
            behavior,
            invert,
        }, PreTokenizer::ByteLevel(last)]
            if !last.use_regex && !last.add_prefix_space =>
        {
            let regex = regex::from_hugging_face(regex)?;
            match (behavior, invert) {
                (Behavior::Removed, true) => regex,
                (Behavior::Isolated, _) if Pretokenizer::new(&regex)?.name().is_some() => regex,
                // What lies between matches is a piece, too.
                (Behavior::Isolated, _) => format!("{regex}|(?:(?!{regex})[\\s\\S])+"),
                _ => return Err(refuse("this split behavior")),
            }
        }
        _ => return Err(refuse("this pre_tokenizer")),
    };
    let pattern = Pretokenizer::new(options.pattern.as_deref().unwrap_or(&pattern))?;
    let special = options.special_tokens.unwrap_or_else(|| {
        file.added_tokens
            .iter()
            .map(|token| (token.content.clone(), token.id))
            .collect()
    });
    let vocab = vocab_without(&file.model, &special)?;
    Ok(Encoding::new(
        name,
        vocab,
        pattern,
        SpecialTokens::new(special)?,
    ))
}
