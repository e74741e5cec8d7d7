//! `tekken.json`, the tokenizer file of Mistral's models since NeMo.
//!
//! Its tokens are ranks as in a `.tiktoken` file. Special tokens have the first ids, so the id of a
//! token is its rank after them; of the listed tokens only as many count as `default_vocab_size`
//! leaves room for.

use serde::Deserialize;

use super::tiktoken::from_base64;
use crate::error::{quoted, Error, Result};

/// The special tokens of files that do not list them (`version` v3 and before), by id.
const UNLISTED: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// What a `tekken.json` says of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tekken {
    /// The regular expression that cuts texts.
    pub pattern: String,
    /// Tokens with their ids, which are also the order of merges.
    pub tokens: Vec<(Vec<u8>, u32)>,
    /// Special tokens with their ids.
    pub special: Vec<(String, u32)>,
}

#[derive(Deserialize)]
struct File {
    config: Config,
    vocab: Vec<Token>,
    #[serde(default)]
    special_tokens: Option<Vec<Special>>,
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    default_vocab_size: u32,
    default_num_special_tokens: u32,
}

#[derive(Deserialize)]
struct Token {
    rank: u32,
    token_bytes: String,
}

#[derive(Deserialize)]
struct Special {
    rank: u32,
    token_str: String,
}

/// Reads a `tekken.json`.
///
/// # Errors
/// `Invalid` for another file, for tokens that are not base64 or do not have the ranks from 0 on, and
/// for special tokens that do not fit.
pub fn parse(text: &str) -> Result<Tekken> {
    let file: File = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("expected a tekken.json: {error}")))?;
    let count = file.config.default_num_special_tokens;
    let room = file
        .config
        .default_vocab_size
        .checked_sub(count)
        .filter(|&room| room as usize <= file.vocab.len())
        .ok_or_else(|| {
            Error::invalid(format!(
                "expected a default_vocab_size from {count} (the special tokens) to {most} (with \
                 all tokens), got {got}",
                most = count as usize + file.vocab.len(),
                got = file.config.default_vocab_size
            ))
        })?;
    let mut tokens = Vec::with_capacity(room as usize);
    for (expected, token) in (0..room).zip(&file.vocab) {
        let bytes = from_base64(&token.token_bytes).ok_or_else(|| {
            Error::invalid(format!(
                "vocab: expected token_bytes in base64, got {got}",
                got = quoted(&token.token_bytes)
            ))
        })?;
        if token.rank != expected {
            return Err(Error::invalid(format!(
                "vocab: expected the token of rank {expected}, got that of rank {got}",
                got = token.rank
            )));
        }
        tokens.push((bytes, count + expected));
    }
    let listed = match file.special_tokens {
        Some(listed) => listed
            .into_iter()
            .map(|special| (special.token_str, special.rank))
            .collect(),
        None => (0..)
            .zip(UNLISTED)
            .map(|(id, token)| (token.to_string(), id))
            .collect(),
    };
    let special = filled(listed, count)?;
    Ok(Tekken {
        pattern: file.config.pattern,
        tokens,
        special,
    })
}

/// `listed`, which have the first ids in order, and fillers up to `count`.
fn filled(listed: Vec<(String, u32)>, count: u32) -> Result<Vec<(String, u32)>> {
    let mut special = listed;
    let in_order = special
        .iter()
        .map(|(_, id)| *id)
        .eq(0..special.len() as u32);
    if !in_order || special.len() > count as usize {
        return Err(Error::invalid(format!(
            "special_tokens: expected at most {count}, with the ranks from 0 on in order"
        )));
    }
    special.extend((special.len() as u32..count).map(|id| (format!("<SPECIAL_{id}>"), id)));
    Ok(special)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(vocab_size: u32, special: &str) -> String {
        format!(
            r#"{{"config": {{"pattern": "a|b", "num_vocab_tokens": 2, "version": "v7",
                "default_vocab_size": {vocab_size}, "default_num_special_tokens": 3}},
                "vocab": [{{"rank": 0, "token_bytes": "YQ==", "token_str": "a"}},
                          {{"rank": 1, "token_bytes": "Yg==", "token_str": null}}]{special}}}"#
        )
    }

    #[test]
    fn ids_follow_the_special_tokens() {
        let listed = r#", "special_tokens": [{"rank": 0, "token_str": "<s>", "is_control": true}]"#;
        let tekken = parse(&file(5, listed)).unwrap();
        assert_eq!(tekken.tokens, [(b"a".to_vec(), 3), (b"b".to_vec(), 4)]);
        let names: Vec<_> = tekken
            .special
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["<s>", "<SPECIAL_1>", "<SPECIAL_2>"]);
        assert_eq!(parse(&file(4, listed)).unwrap().tokens.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (size, special, problem) in [
            (6, "", "default_vocab_size"),
            (2, "", "default_vocab_size"),
            (5, "", "special_tokens"),
            (
                5,
                r#", "special_tokens": [{"rank": 1, "token_str": "<s>"}]"#,
                "special_tokens",
            ),
        ] {
            let error = parse(&file(size, special)).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert!(parse("{}").unwrap_err().to_string().contains("tekken.json"));
    }
}
