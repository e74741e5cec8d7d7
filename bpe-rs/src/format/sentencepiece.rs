//! SentencePiece's `.model` files with byte-pair models.
//!
//! Such a model merges the neighbours whose concatenation is the piece of the highest score. A
//! [`TokenizerJson`] lists merges instead: every way to split a piece into two, in the order of
//! scores.

use std::collections::HashMap;

use super::charsmap::CharacterMap;
use super::components::{Decoder, Normalizer, Pattern};
use super::model::BpeModel;
use super::protobuf::{fields, Value};
use super::tokenizer_json::{AddedToken, TokenizerJson};
use crate::error::{quoted, Error, Result};

/// What stands for a space.
const SPACE: &str = "\u{2581}";

/// The kinds of pieces, by their numbers in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

#[derive(Debug)]
struct Piece {
    text: String,
    score: f32,
    kind: Kind,
}

/// What a file says of training and of normalisation, with SentencePiece's defaults.
#[derive(Debug)]
struct Specification {
    model_type: u64,
    byte_fallback: bool,
    whitespace_as_suffix: bool,
    character_map: Vec<u8>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
}

impl Default for Specification {
    fn default() -> Self {
        Self {
            model_type: 1,
            byte_fallback: false,
            whitespace_as_suffix: false,
            character_map: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        }
    }
}

/// Reads a `.model` file. The tokenizer gives the ids of SentencePiece's `encode`, which adds no
/// control symbols; they are special tokens, which SentencePiece does not look for in a text.
///
/// # Errors
/// `Invalid` for another file, for other models than BPE, and for what is not reproduced exactly.
pub fn parse(file: &[u8]) -> Result<TokenizerJson> {
    let (pieces, specification) = read(file)
        .map_err(|error| Error::invalid(format!("expected a SentencePiece model: {error}")))?;
    specification.check()?;
    if !specification.character_map.is_empty() {
        CharacterMap::new(&specification.character_map)?;
    }
    for piece in &pieces {
        let problem = match piece.kind {
            Kind::Unused => "unused pieces",
            Kind::UserDefined if specification.add_dummy_prefix => {
                "user-defined symbols with add_dummy_prefix"
            }
            Kind::UserDefined if specification.remove_extra_whitespaces => {
                "user-defined symbols with remove_extra_whitespaces"
            }
            // A rule of the map may reach into a symbol that SentencePiece does not see then.
            Kind::UserDefined if !specification.character_map.is_empty() => {
                "user-defined symbols with a character map"
            }
            Kind::UserDefined if piece.text.contains(SPACE) => "user-defined symbols of spaces",
            _ => continue,
        };
        return Err(refuse(&format!("{problem} ({})", quoted(&piece.text))));
    }
    let unknown = pieces.iter().find(|piece| piece.kind == Kind::Unknown);
    let model = BpeModel {
        merges: merges(&pieces)?,
        unk_token: unknown.map(|piece| piece.text.clone()),
        fuse_unk: true,
        byte_fallback: specification.byte_fallback,
        vocab: (0..)
            .zip(&pieces)
            .map(|(id, piece)| (piece.text.clone(), id))
            .collect(),
        ..BpeModel::default()
    };
    Ok(TokenizerJson {
        added_tokens: added_tokens(&pieces),
        normalizer: Some(specification.to_normalizer()),
        decoder: Some(specification.to_decoder()),
        model,
        ..TokenizerJson::default()
    })
}

fn refuse(what: &str) -> Error {
    Error::invalid(format!(
        "SentencePiece model: {what}: not reproduced exactly; use the library sentencepiece for \
         this file"
    ))
}

fn read(file: &[u8]) -> Result<(Vec<Piece>, Specification)> {
    let (mut pieces, mut specification) = (Vec::new(), Specification::default());
    for field in fields(file)? {
        match field {
            (1, Value::Bytes(piece)) => pieces.push(read_piece(piece)?),
            (2, Value::Bytes(trainer)) => specification.read_trainer(trainer)?,
            (3, Value::Bytes(normalizer)) => specification.read_normalizer(normalizer)?,
            _ => {}
        }
    }
    match pieces.is_empty() {
        true => Err(Error::invalid("it has no pieces")),
        false => Ok((pieces, specification)),
    }
}

fn read_piece(message: &[u8]) -> Result<Piece> {
    let (mut text, mut score, mut kind) = (String::new(), 0.0, Kind::Normal);
    for field in fields(message)? {
        match field {
            (1, Value::Bytes(bytes)) => text = utf8(bytes)?,
            (2, Value::Fixed32(bytes)) => score = f32::from_le_bytes(bytes),
            (3, Value::Varint(number)) => {
                kind = match number {
                    1 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    other => {
                        return Err(Error::invalid(format!("a piece has the type {other}")));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Piece { text, score, kind })
}

fn utf8(bytes: &[u8]) -> Result<String> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| Error::invalid("a text is not UTF-8"))
}

impl Specification {
    fn read_trainer(&mut self, message: &[u8]) -> Result<()> {
        for field in fields(message)? {
            match field {
                (3, Value::Varint(number)) => self.model_type = number,
                (24, Value::Varint(number)) => self.whitespace_as_suffix = number != 0,
                (35, Value::Varint(number)) => self.byte_fallback = number != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, message: &[u8]) -> Result<()> {
        for field in fields(message)? {
            match field {
                (2, Value::Bytes(map)) => self.character_map = map.to_vec(),
                (3, Value::Varint(number)) => self.add_dummy_prefix = number != 0,
                (4, Value::Varint(number)) => self.remove_extra_whitespaces = number != 0,
                (5, Value::Varint(number)) => self.escape_whitespaces = number != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let kind = match self.model_type {
            2 => None,
            1 => Some("UNIGRAM"),
            3 => Some("WORD"),
            4 => Some("CHAR"),
            _ => Some("another"),
        };
        if let Some(kind) = kind {
            return Err(Error::invalid(format!(
                "SentencePiece model: expected the model_type BPE, got {kind}; use the library \
                 sentencepiece for this file"
            )));
        }
        if self.whitespace_as_suffix {
            return Err(refuse("treat_whitespace_as_suffix"));
        }
        if !self.escape_whitespaces {
            return Err(refuse("escape_whitespaces=false"));
        }
        Ok(())
    }

    fn to_normalizer(&self) -> Normalizer {
        if !self.character_map.is_empty() {
            return Normalizer::SentencePiece {
                precompiled_charsmap: CharacterMap::to_base64(&self.character_map),
                add_dummy_prefix: self.add_dummy_prefix,
                remove_extra_whitespaces: self.remove_extra_whitespaces,
            };
        }
        let replace = |pattern, content: &str| Normalizer::Replace {
            pattern,
            content: content.into(),
        };
        let mut normalizers = Vec::new();
        if self.remove_extra_whitespaces {
            // At the end also what stands for a space already.
            normalizers.push(replace(Pattern::Regex(r"\A +|[ ▁]+\z".into()), ""));
            normalizers.push(replace(Pattern::Regex(" {2,}".into()), " "));
        }
        if self.add_dummy_prefix {
            normalizers.push(Normalizer::Prepend {
                prepend: SPACE.into(),
            });
        }
        normalizers.push(replace(Pattern::String(" ".into()), SPACE));
        Normalizer::Sequence { normalizers }
    }

    fn to_decoder(&self) -> Decoder {
        let mut decoders = vec![
            Decoder::Replace {
                pattern: Pattern::String(SPACE.into()),
                content: " ".into(),
            },
            Decoder::ByteFallback,
            Decoder::Fuse,
        ];
        // The added space, or all at the start.
        let start = match (self.remove_extra_whitespaces, self.add_dummy_prefix) {
            (true, _) => u32::MAX as usize,
            (false, added) => usize::from(added),
        };
        if start > 0 {
            decoders.push(Decoder::Strip {
                content: ' ',
                start,
                stop: 0,
            });
        }
        Decoder::Sequence { decoders }
    }
}

/// Control symbols as special tokens, user-defined ones as tokens that are found in the text.
fn added_tokens(pieces: &[Piece]) -> Vec<AddedToken> {
    let token = |(id, piece): (u32, &Piece)| {
        let special = match piece.kind {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => false,
            Kind::Normal | Kind::Unused | Kind::Byte => return None,
        };
        Some(AddedToken {
            id,
            content: piece.text.clone(),
            special,
            ..AddedToken::default()
        })
    };
    (0..).zip(pieces).filter_map(token).collect()
}

/// Every way to split a piece into two pieces, the pieces of the highest score first.
fn merges(pieces: &[Piece]) -> Result<Vec<(u32, u32)>> {
    let normal = || {
        let numbered = (0u32..).zip(pieces);
        numbered.filter(|(_, piece)| piece.kind == Kind::Normal)
    };
    let ids: HashMap<&str, u32> = normal()
        .map(|(id, piece)| (piece.text.as_str(), id))
        .collect();
    let mut longer: Vec<(u32, &Piece)> = normal()
        .filter(|(_, piece)| piece.text.chars().nth(1).is_some())
        .collect();
    longer.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
    if let Some(two) = longer
        .windows(2)
        .find(|two| two[0].1.score == two[1].1.score)
    {
        // Then the place in the text decides, not the piece.
        return Err(refuse(&format!(
            "the pieces {} and {}, which have one score",
            quoted(&two[0].1.text),
            quoted(&two[1].1.text)
        )));
    }
    let mut merges = Vec::with_capacity(longer.len());
    for (_, piece) in longer {
        let text = &piece.text;
        let splits = text.char_indices().skip(1);
        merges.extend(splits.filter_map(|(at, _)| {
            let (left, right) = text.split_at(at);
            Some((*ids.get(left)?, *ids.get(right)?))
        }));
    }
    Ok(merges)
}
