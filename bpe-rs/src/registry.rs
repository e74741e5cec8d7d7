//! The published encodings by name.
//!
//! Source: tiktoken 0.14, `tiktoken_ext/openai_public.py`.

use crate::encoding::Encoding;
use crate::error::{quoted, Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::simd::Level;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// The parts of a published encoding, by their names.
struct Published {
    name: &'static str,
    vocab: &'static str,
    pattern: &'static str,
    special: &'static [(&'static str, u32)],
}

const END: &str = "<|endoftext|>";
static GPT2: &[(&str, u32)] = &[(END, 50256)];

static PUBLISHED: [Published; 7] = [
    Published {
        name: "gpt2",
        vocab: "r50k_base",
        pattern: "gpt2",
        special: GPT2,
    },
    Published {
        name: "r50k_base",
        vocab: "r50k_base",
        pattern: "gpt2",
        special: GPT2,
    },
    Published {
        name: "p50k_base",
        vocab: "p50k_base",
        pattern: "gpt2",
        special: GPT2,
    },
    Published {
        name: "p50k_edit",
        vocab: "p50k_base",
        pattern: "gpt2",
        special: &[
            (END, 50256),
            ("<|fim_prefix|>", 50281),
            ("<|fim_middle|>", 50282),
            ("<|fim_suffix|>", 50283),
        ],
    },
    Published {
        name: "cl100k_base",
        vocab: "cl100k_base",
        pattern: "cl100k",
        special: &[
            (END, 100257),
            ("<|fim_prefix|>", 100258),
            ("<|fim_middle|>", 100259),
            ("<|fim_suffix|>", 100260),
            ("<|endofprompt|>", 100276),
        ],
    },
    Published {
        name: "o200k_base",
        vocab: "o200k_base",
        pattern: "o200k",
        special: &[(END, 199999), ("<|endofprompt|>", 200018)],
    },
    Published {
        name: "o200k_harmony",
        vocab: "o200k_base",
        pattern: "o200k",
        special: &[
            (END, 199999),
            ("<|endofprompt|>", 200018),
            ("<|startoftext|>", 199998),
            ("<|return|>", 200002),
            ("<|constrain|>", 200003),
            ("<|channel|>", 200005),
            ("<|start|>", 200006),
            ("<|end|>", 200007),
            ("<|message|>", 200008),
            ("<|call|>", 200012),
        ],
    },
];

/// The reserved tokens of o200k_harmony: every id from 200000 to 201087 that has no other name, and
/// 200018, which has two names.
fn reserved_harmony() -> impl Iterator<Item = (String, u32)> {
    let named = [200002, 200003, 200005, 200006, 200007, 200008, 200012];
    (200_000..201_088)
        .filter(move |id| !named.contains(id))
        .map(|id| (format!("<|reserved_{id}|>"), id))
}

/// The names of the published encodings.
pub fn encoding_names() -> impl Iterator<Item = &'static str> {
    PUBLISHED.iter().map(|p| p.name)
}

/// The published encoding `name`, from the tables inside the library.
///
/// # Errors
///
/// `NotFound` for any other name, and `Invalid` where `BPE_RS_SIMD` names no level of this processor.
pub fn get_encoding(name: &str) -> Result<Encoding> {
    Level::from_env()?;
    let found = PUBLISHED.iter().find(|p| p.name == name).ok_or_else(|| {
        let known: Vec<_> = encoding_names().collect();
        Error::not_found(format!(
            "expected one of {}, got {name}",
            known.join(", "),
            name = quoted(name)
        ))
    })?;
    let special = found
        .special
        .iter()
        .map(|&(text, id)| (text.to_string(), id));
    let special = if name == "o200k_harmony" {
        SpecialTokens::new(special.chain(reserved_harmony()))
    } else {
        SpecialTokens::new(special)
    };
    let vocab = Vocab::published(found.vocab).expect("every published encoding's table is packed");
    Ok(Encoding::new(
        name,
        vocab,
        Pretokenizer::new(found.pattern)?,
        special?,
    ))
}
