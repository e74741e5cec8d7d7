//! `tokenizer.json` files that are no more than an [`Encoding`].

use std::collections::HashMap;

use super::options::LoadOptions;
use super::vocab_merges::{model_of, vocab_without};
use crate::encoding::Encoding;
use crate::error::{quoted, Error, Result};
use crate::format::components::{
    Behavior, ByteLevel, Decoder, Pattern, PostProcessor, PreTokenizer,
};
use crate::format::regex;
use crate::format::tokenizer_json::{AddedToken, TokenizerJson};
use crate::pretokenize::{Pretokenizer, RegexEngine};
use crate::special::SpecialTokens;

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
                "tokenizer.json has one token an id, this encoding has {} and {} for {}; save as \
                 .tiktoken",
                pair[0].0, pair[1].0, pair[0].1
            )));
        }
    }
    let by_token: HashMap<&str, u32> = special.iter().map(|(text, id)| (&text[..], *id)).collect();
    for (token, known) in &model.vocab {
        if let Some(id) = by_token.get(&token[..]).filter(|id| *id != known) {
            return Err(Error::invalid(format!(
                "tokenizer.json has one id a token, this encoding has {id} for the special token \
                 {} and {known} for the token of the vocabulary; save as .tiktoken",
                quoted(token)
            )));
        }
    }
    // Added tokens outside the vocabulary get the ids that follow it. Special tokens with other ids
    // have to be entries of the vocabulary.
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
                    "tokenizer.json cannot keep {token} out of ordinary text with this pattern; \
                     save as .tiktoken",
                    token = quoted(token)
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
            special: true,
            ..AddedToken::default()
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
            // An encoding drops text that its pattern does not match, as `Removed` with `invert`
            // does; a named pattern matches all text.
            let split = PreTokenizer::Split {
                pattern: Pattern::Regex(pattern),
                behavior: if name.is_some() {
                    Behavior::Isolated
                } else {
                    Behavior::Removed
                },
                invert: name.is_none(),
            };
            PreTokenizer::Sequence {
                pretokenizers: vec![split, PreTokenizer::ByteLevel(byte_level(false))],
            }
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
/// space, added tokens with `lstrip`, `rstrip` or `single_word`.
pub fn from_tokenizer_json(
    file: TokenizerJson,
    name: String,
    options: LoadOptions,
) -> Result<Encoding> {
    let refuse = |what: &str| {
        Error::invalid(format!(
            "{what} is beyond an Encoding; bpe_rs.hf.Tokenizer.from_file reads this file"
        ))
    };
    if file.normalizer.is_some() {
        return Err(refuse("a normalizer"));
    }
    file.check_byte_level()?;
    file.check_added_ids()?;
    for token in &file.added_tokens {
        if token.lstrip || token.rstrip || token.single_word {
            return Err(refuse(&format!(
                "added token {} with lstrip, rstrip or single_word",
                quoted(&token.content)
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
            pattern: Pattern::Regex(regex),
            behavior,
            invert,
        }, PreTokenizer::ByteLevel(last)]
            if !last.use_regex && !last.add_prefix_space =>
        {
            let regex = regex::from_hugging_face(regex)?;
            match (behavior, invert) {
                (Behavior::Removed, true) => regex,
                (Behavior::Isolated, _) if Pretokenizer::new(&regex)?.name().is_some() => regex,
                (Behavior::Isolated, _) if RegexEngine::may_match_nothing(&regex)? => {
                    return Err(refuse("a split by a pattern that can match nothing"));
                }
                // The text between matches is a piece, too.
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
