//! Post-processors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ByteLevel, Component};

/// The first or the second sequence in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SequenceId {
    /// The first.
    A,
    /// The second.
    B,
}

/// One item of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TemplateItem {
    /// A sequence.
    Sequence {
        /// Which one.
        id: SequenceId,
        /// The type id that its tokens get.
        type_id: u32,
    },
    /// A special token.
    SpecialToken {
        /// Its key among the template's special tokens.
        id: String,
        /// The type id that it gets.
        type_id: u32,
    },
}

/// The tokens that a special token of a template stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateToken {
    /// Its name.
    pub id: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Their strings, as many as `ids`.
    pub tokens: Vec<String>,
}

/// Makes one encoding of one or two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum PostProcessor {
    /// Trims offsets.
    ByteLevel(ByteLevel),
    /// Puts RoBERTa's special tokens around the sequences.
    RobertaProcessing {
        /// The token that ends a sequence, and its id.
        sep: (String, u32),
        /// The token that begins the first sequence, and its id.
        cls: (String, u32),
        /// As for `ByteLevel`.
        trim_offsets: bool,
        /// As for `ByteLevel`.
        add_prefix_space: bool,
    },
    /// Puts BERT's special tokens around the sequences.
    BertProcessing {
        /// The token that ends a sequence, and its id.
        sep: (String, u32),
        /// The token that begins the first sequence, and its id.
        cls: (String, u32),
    },
    /// Puts special tokens around the sequences.
    TemplateProcessing {
        /// For one sequence.
        single: Vec<TemplateItem>,
        /// For two.
        pair: Vec<TemplateItem>,
        /// The special tokens that the two name.
        special_tokens: BTreeMap<String, TemplateToken>,
    },
    /// One after the other.
    Sequence {
        /// The post-processors in order.
        processors: Vec<PostProcessor>,
    },
}

impl Component for PostProcessor {
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::ByteLevel(_) | Self::RobertaProcessing { .. } | Self::BertProcessing { .. } => {
                Ok(())
            }
            Self::Sequence { processors } => processors.iter().try_for_each(Self::check),
            Self::TemplateProcessing {
                single,
                pair,
                special_tokens,
            } => {
                for item in single.iter().chain(pair) {
                    match item {
                        TemplateItem::SpecialToken { id, .. }
                            if !special_tokens.contains_key(id) =>
                        {
                            return Err(format!("expected {id} among its special_tokens"));
                        }
                        _ => {}
                    }
                }
                let uneven = special_tokens
                    .values()
                    .find(|token| token.ids.len() != token.tokens.len());
                uneven.map_or(Ok(()), |token| {
                    Err(format!("{}: expected as many ids as tokens", token.id))
                })
            }
        }
    }
}
