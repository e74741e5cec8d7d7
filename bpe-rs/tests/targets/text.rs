//! Text to pieces to ids and back.

use std::collections::HashMap;

use bpe_rs::internals::{self, Level, PieceEncoder, Scratch, NAMED};
use bpe_rs::{Encoding, Pretokenizer, SpecialTokens, Vocab};

use super::{published, text, Bytes};

const NAMES: [&str; 4] = ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"];

/// The pieces by the regular expression; `None` where its engine gives up.
fn by_engine(pattern: &Pretokenizer, text: &str) -> Option<Vec<std::ops::Range<usize>>> {
    let mut pieces = Vec::new();
    let found = pattern
        .engine()
        .pieces(text, &mut |piece| pieces.push(piece));
    found.ok().map(|()| pieces)
}

/// Named patterns: every SIMD level cuts where the regular expression does.
pub(crate) fn scan(data: &[u8]) {
    let mut bytes = Bytes(data);
    let pattern = Pretokenizer::new(NAMED[bytes.below(NAMED.len())].name).unwrap();
    let text = text(bytes.0);
    let Some(want) = by_engine(&pattern, &text) else {
        return;
    };
    for level in Level::available() {
        level.force();
        let mut pieces = Vec::new();
        pattern
            .pieces(&text, &mut |piece| pieces.push(piece))
            .unwrap();
        assert_eq!(pieces, want, "{level:?} {:?} {text:?}", pattern.name());
    }
}

/// tiktoken's rule as it is stated: merge the two neighbours whose joint token has the lowest rank, the
/// leftmost of equal ones.
fn by_ranks(encoding: &Encoding, piece: &[u8], ids: &mut Vec<u32>) {
    if let Some(id) = encoding.vocab().id_of(piece) {
        ids.push(id);
        return;
    }
    let mut ends: Vec<usize> = (0..=piece.len()).collect();
    loop {
        let rank = |three: &[usize]| encoding.vocab().id_of(&piece[three[0]..three[2]]);
        let ranks = ends.windows(3).map(rank).enumerate();
        let Some((_, at)) = ranks.filter_map(|(at, rank)| Some((rank?, at))).min() else {
            break;
        };
        ends.remove(at + 1);
    }
    for two in ends.windows(2) {
        ids.push(encoding.vocab().id_of(&piece[two[0]..two[1]]).unwrap());
    }
}

/// Published vocabularies: every way to encode gives the ids of the rule, and these decode to the
/// text.
pub(crate) fn encode(data: &[u8]) {
    let mut bytes = Bytes(data);
    let encoding = published(bytes.pick(&NAMES));
    let level = bytes.pick(&Level::available());
    let cache = [0, 1 << 12, 1 << 20][bytes.below(3)];
    check(encoding, level, cache, &text(bytes.0));
}

fn check(encoding: &Encoding, level: Level, cache: usize, text: &str) {
    let (vocab, pattern) = (encoding.vocab(), encoding.pattern());
    let Some(pieces) = by_engine(pattern, text) else {
        return;
    };
    let (mut want, mut slow) = (Vec::new(), PieceEncoder::default());
    for piece in pieces {
        let piece = &text.as_bytes()[piece];
        // The rule takes quadratic time; longer pieces are compared in unit tests.
        if piece.len() <= 300 {
            by_ranks(encoding, piece, &mut want);
        } else {
            slow.encode(vocab, piece, &mut want).unwrap();
        }
    }
    level.force();
    let mut scratch = Scratch::new(cache);
    for _ in 0..2 {
        let mut ids = vec![7];
        internals::encode_into(vocab, pattern, text, &mut scratch, &mut ids).unwrap();
        let first = ids[1..]
            .iter()
            .zip(&want)
            .position(|(got, want)| got != want);
        let (name, lengths) = (encoding.name(), (ids.len() - 1, want.len()));
        assert!(
            ids[1..] == want,
            "{level:?} {name} {lengths:?} differ at {first:?}: {text:?}"
        );
        let counted = internals::count(vocab, pattern, text, want.len(), &mut scratch);
        assert_eq!(counted.unwrap(), Some(want.len()));
    }
    let mut decoded = Vec::new();
    encoding.decode(&want, &mut decoded).unwrap();
    if pattern.name().is_some() {
        assert_eq!(decoded, text.as_bytes());
    }
    // Special tokens: each one found is in the text, and decoding gives the whole text.
    let (mut special, mut again) = (Vec::new(), Vec::new());
    let finder = encoding.special().finder();
    encoding.encode(text, finder, &mut special).unwrap();
    if pattern.name().is_some() {
        encoding.decode(&special, &mut again).unwrap();
        assert_eq!(again, text.as_bytes());
    }
    let (mut at, mut found) = (0, 0);
    while let Some((place, string)) = finder.find(text, at) {
        assert!(text[place..].starts_with(string));
        (at, found) = (place + string.len(), found + 1);
    }
    let is_special = |id: &&u32| encoding.special().bytes_of(**id).is_some();
    assert_eq!(special.iter().filter(is_special).count(), found);
}

/// Vocabularies with ranks in any order, and any pattern.
pub(crate) fn own_vocabulary(data: &[u8]) {
    const PATTERNS: [&str; 7] = [
        "gpt2",
        "cl100k",
        "o200k",
        "llama3",
        "qwen2",
        r"[ab]+|\s",
        r"(?s:.)(?=b)|\w+?(?!a)",
    ];
    const LETTERS: &[u8] = b"abcab ab\xc3\xa9\n1";
    let mut bytes = Bytes(data);
    let pattern = Pretokenizer::new(bytes.pick(&PATTERNS)).unwrap();
    let level = bytes.pick(&Level::available());
    let mut ranks: HashMap<Vec<u8>, u32> = HashMap::new();
    for _ in 0..bytes.below(40) {
        let len = 2 + bytes.below(7);
        let token: Vec<u8> = (0..len).map(|_| bytes.pick(LETTERS)).collect();
        let rank = bytes.below(5000) as u32;
        if !ranks.values().any(|&other| other == rank) {
            ranks.entry(token).or_insert(rank);
        }
    }
    let vocab_ranks = ranks.into_iter();
    let all = vocab_ranks.chain((0..=255).map(|byte| (vec![byte], 9000 + u32::from(byte))));
    let vocab = Vocab::from_ranks(all).unwrap();
    let special = SpecialTokens::new([("<|x|>".into(), 9300), ("ab".into(), 9301)]).unwrap();
    let encoding = Encoding::new("own", vocab, pattern, special);
    let mut text = text(bytes.0);
    if bytes.byte() % 2 == 0 {
        let letters = ["a", "b", "c", " ", "\n", "1", "é"];
        text = (0..bytes.0.len()).map(|_| bytes.pick(&letters)).collect();
    }
    check(&encoding, level, 1 << 12, &text);
}

/// Any ids decode to bytes or an error, the same all at once as one by one.
pub(crate) fn decode(data: &[u8]) {
    let mut bytes = Bytes(data);
    let encoding = published(bytes.pick(&NAMES));
    let mut ids = Vec::new();
    while !bytes.is_empty() {
        let high = [0, 1, 2, 3, 255][bytes.below(5)];
        ids.push(high << 16 | bytes.below(1 << 16) as u32);
    }
    let mut one_by_one = Vec::new();
    let unknown = ids.iter().find(|&&id| match encoding.token_bytes(id) {
        Ok(token) => {
            one_by_one.extend_from_slice(token);
            false
        }
        Err(_) => true,
    });
    let mut all = Vec::new();
    match encoding.decode(&ids, &mut all) {
        Ok(()) => assert!(unknown.is_none() && all == one_by_one, "{ids:?}"),
        Err(error) => {
            let id = unknown.expect("all of the ids are known");
            assert!(error.to_string().contains(&id.to_string()), "{error}: {id}");
        }
    }
}
