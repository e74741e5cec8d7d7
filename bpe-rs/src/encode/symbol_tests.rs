//! Vocabularies of characters against the definition: Hugging Face's rules, step by step.

use std::collections::HashMap;

use super::*;
use crate::testing::{rounds, Random};
use crate::vocab::{CharacterModel, MergeRule, Vocab};

/// A model with the strings that its [`CharacterModel`] borrows.
#[derive(Debug, Default)]
struct Model {
    tokens: Vec<(String, u32)>,
    merges: Vec<MergeRule>,
    unknown: Option<&'static str>,
    fuse_unknown: bool,
    byte_fallback: bool,
    prefix: &'static str,
    suffix: &'static str,
    whole_pieces: bool,
}

impl Model {
    fn id(&self, token: &str) -> Option<u32> {
        let found = self.tokens.iter().find(|(known, _)| known == token);
        found.map(|(_, id)| *id)
    }

    fn token(&self, id: u32) -> &str {
        let found = self.tokens.iter().find(|(_, known)| *known == id);
        &found.unwrap().0
    }

    fn add(&mut self, token: &str) -> u32 {
        self.id(token).unwrap_or_else(|| {
            let id = 3 * self.tokens.len() as u32;
            self.tokens.push((token.into(), id));
            id
        })
    }

    /// Make a merge of two tokens, unless the result would be too long or the merge is there.
    fn merge(&mut self, left: u32, right: u32) {
        let right_token = self.token(right);
        let Some(rest) = right_token.strip_prefix(self.prefix) else {
            return;
        };
        let left_rest = self.token(left).trim_start_matches(self.prefix);
        let joined = format!("{}{rest}", self.token(left));
        let is_new = !self.merges.contains(&(left, right));
        if is_new && !rest.is_empty() && !left_rest.is_empty() && joined.chars().count() < 14 {
            self.add(&joined);
            self.merges.push((left, right));
        }
    }

    fn vocab(&self) -> Result<Vocab> {
        Vocab::from_characters(&CharacterModel {
            tokens: &self.tokens,
            merges: &self.merges,
            unknown: self.unknown,
            fuse_unknown: self.fuse_unknown,
            byte_fallback: self.byte_fallback,
            prefix: self.prefix,
            suffix: self.suffix,
            whole_pieces: self.whole_pieces,
        })
    }

    /// The ids of a piece, with the bytes that each stands for.
    fn encode(&self, piece: &str) -> Vec<(u32, usize)> {
        if let Some(id) = self.id(piece).filter(|_| self.whole_pieces) {
            return vec![(id, piece.len())];
        }
        let mut parts = Vec::new();
        let mut waiting: Option<(u32, usize)> = None;
        for (at, character) in piece.char_indices() {
            let len = character.len_utf8();
            let mut token = character.to_string();
            if at > 0 {
                token.insert_str(0, self.prefix);
            }
            if at + len == piece.len() {
                token.push_str(self.suffix);
            }
            if let Some(id) = self.id(&token) {
                parts.extend(waiting.take());
                parts.push((id, len));
                continue;
            }
            if self.byte_fallback {
                let bytes = token
                    .bytes()
                    .map(|byte| self.id(&format!("<0x{byte:02X}>")));
                if let Some(ids) = bytes.collect::<Option<Vec<u32>>>() {
                    parts.extend(ids.into_iter().map(|id| (id, 1)));
                    continue;
                }
            }
            if let Some(id) = self.unknown.and_then(|token| self.id(token)) {
                let before = waiting
                    .filter(|_| self.fuse_unknown)
                    .map_or(0, |(_, len)| len);
                parts.extend(waiting.filter(|_| !self.fuse_unknown));
                waiting = Some((id, before + len));
            }
        }
        parts.extend(waiting);
        let line: HashMap<MergeRule, usize> = self.merges.iter().copied().zip(0..).collect();
        loop {
            let lines = parts.windows(2).map(|two| line.get(&(two[0].0, two[1].0)));
            let best = lines
                .enumerate()
                .filter_map(|(at, line)| Some((*line?, at)));
            let Some((_, at)) = best.min() else {
                return parts;
            };
            let (right, len) = parts.remove(at + 1);
            let rest = &self.token(right)[self.prefix.len()..];
            let joined = format!("{}{rest}", self.token(parts[at].0));
            parts[at] = (self.id(&joined).unwrap(), parts[at].1 + len);
        }
    }
}

fn random_model(random: &mut Random, round: usize) -> Model {
    let mut model = Model {
        unknown: random.pick(&[None, Some("<unk>"), Some("?")]),
        fuse_unknown: random.below(2) == 0,
        byte_fallback: round.is_multiple_of(2),
        whole_pieces: random.below(4) == 0,
        ..Model::default()
    };
    if !model.byte_fallback {
        model.prefix = random.pick(&["", "##"]);
        model.suffix = random.pick(&["", "</w>"]);
    }
    for token in ["<unk>", "?"] {
        model.add(token);
    }
    let letters = ["a", "b", "é", "中", "▁", "<", "0", "x", "6", "1", ">"];
    let letters = &letters[..random.pick(&[2, 5, letters.len()])];
    let mut known: Vec<u32> = Vec::new();
    for letter in letters {
        let forms = [
            (*letter).to_owned(),
            format!("{letter}{}", model.suffix),
            format!("{}{letter}", model.prefix),
            format!("{}{letter}{}", model.prefix, model.suffix),
        ];
        known.extend(forms.iter().map(|form| model.add(form)));
    }
    let missing = random.pick(&[0, 0, 1, 128]);
    for byte in (0..=255u8).skip(missing) {
        let id = model.add(&format!("<0x{byte:02X}>"));
        if round.is_multiple_of(3) && [b'a', 0xC3, 0xA9, 0xE4].contains(&byte) {
            known.push(id);
        }
    }
    if round.is_multiple_of(5) {
        known.push(model.add("<unk>"));
    }
    for _ in 0..random.below(30) {
        let (left, right) = (random.pick(&known), random.pick(&known));
        model.merge(left, right);
        let last = model.tokens.last().unwrap().1;
        known.push(last);
    }
    if round.is_multiple_of(7) {
        for (left, right) in [
            ("<", "0"),
            ("<0", "x"),
            ("<0x", "6"),
            ("<0x6", "1"),
            ("<0x61", ">"),
        ] {
            let (left, right) = (model.add(left), model.add(right));
            model.merge(left, right);
        }
    }
    if random.below(2) == 0 {
        for at in (1..model.merges.len()).rev() {
            model.merges.swap(at, random.below(at + 1));
        }
    }
    model
}

#[test]
fn symbols_merge_as_defined() {
    let mut random = Random(7);
    let (mut tried, mut refused) = (0, 0);
    for round in 0..rounds(1200, 5) {
        let model = random_model(&mut random, round);
        let vocab = match model.vocab() {
            Ok(vocab) => vocab,
            Err(error) => {
                assert!(
                    error.to_string().contains("not reproduced exactly"),
                    "{error}"
                );
                refused += 1;
                continue;
            }
        };
        tried += 1;
        let pieces: Vec<String> = (0..12)
            .map(|_| {
                // Of all kinds, of ASCII and marks, and of these with other characters here and there.
                let letters = random.pick(&[
                    "aaabbé中▁▁<0x61>zßü🎉?",
                    "aab▁▁<0x61>z",
                    "aaaaaaaabbbbbbbb▁▁▁▁▁▁zzzz<0x61>aaaabbbbaaaabbbbzzzz▁▁▁▁é\u{7f}\0中",
                ]);
                let letters: Vec<char> = letters.chars().collect();
                let most = random.pick(&[40, 40, 40, 250]);
                let len = 1 + random.below(most);
                random.picks(&letters, len)
            })
            .collect();
        let mut encoder = PieceEncoder::default();
        for piece in &pieces {
            let want = model.encode(piece);
            let ids: Vec<u32> = want.iter().map(|token| token.0).collect();
            let mut got = Vec::new();
            encoder.encode(&vocab, piece.as_bytes(), &mut got).unwrap();
            assert_eq!(got, ids, "{piece} {model:?}");
            let mut got = Vec::new();
            encoder
                .encode_with_lengths(&vocab, piece, &mut got)
                .unwrap();
            assert_eq!(got, want, "{piece} {model:?}");
        }
        // Through the caches, with gaps between some of the pieces.
        let (mut text, mut ranges) = (String::new(), Vec::new());
        for piece in pieces.iter().chain(&pieces) {
            if random.below(2) == 0 {
                text.push_str("gap");
            }
            ranges.push(text.len()..text.len() + piece.len());
            text.push_str(piece);
        }
        let want: Vec<u32> = ranges
            .iter()
            .flat_map(|range| model.encode(&text[range.clone()]))
            .map(|token| token.0)
            .collect();
        let mut scratch = Scratch::new(1 << 16);
        for _ in 0..2 {
            let mut got = Vec::new();
            encode_pieces(
                &vocab,
                vocab.symbols(),
                &text,
                ranges.iter().cloned(),
                &mut scratch,
                &mut got,
            )
            .unwrap();
            assert_eq!(got, want, "{model:?}");
        }
    }
    assert!(tried > 4 * refused, "{tried} tried, {refused} refused");
}

#[test]
fn a_long_piece_is_linear() {
    let mut model = Model::default();
    let (a, b) = (model.add("a"), model.add("▁"));
    model.merge(a, a);
    model.merge(b, a);
    let vocab = model.vocab().unwrap();
    let text = "a▁".repeat(rounds(200_000, 100));
    let mut ids = Vec::new();
    let piece = 0..text.len();
    encode_pieces(
        &vocab,
        vocab.symbols(),
        &text,
        [piece],
        &mut Scratch::new(1 << 20),
        &mut ids,
    )
    .unwrap();
    assert_eq!(ids.len(), text.len() / 4 + 1);
}

#[test]
fn a_missing_unknown_token_is_an_error() {
    let mut model = Model {
        unknown: Some("<none>"),
        ..Model::default()
    };
    model.add("a");
    let vocab = model.vocab().unwrap();
    let mut ids = Vec::new();
    let encoder = &mut PieceEncoder::default();
    encoder.encode(&vocab, b"aa", &mut ids).unwrap();
    let error = encoder.encode(&vocab, b"ab", &mut ids).unwrap_err();
    assert!(error.to_string().contains("<none>"), "{error}");
}
