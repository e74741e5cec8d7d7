//! BPE-dropout (Provilkov, Emelianenko and Voita, 2020, <https://arxiv.org/abs/1910.13267>): each
//! merge is left out with a certain probability, so that a text gets other tokens every time.
//!
//! Any merge of the list can happen then, also those that a text never reaches without dropout, so
//! the pair table of a vocabulary is not enough. This is the plain algorithm with the whole list.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::{HashMap, HashMapExt};

use crate::error::Result;
use crate::format::BpeModel;
use crate::vocab::Vocab;

/// The step of SplitMix64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Where texts get their random numbers from: each text a stream of its own.
#[derive(Debug)]
pub(super) struct Streams(AtomicU64);

impl Streams {
    /// The same streams for the same seed; without one, others every time.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        Self(AtomicU64::new(seed))
    }

    /// The next stream.
    pub(super) fn next(&self) -> Random {
        let mut random = Random(self.0.fetch_add(1, Ordering::Relaxed));
        // Neighbouring seeds must not give neighbouring places in one stream.
        Random(random.number())
    }
}

/// A stream of random numbers: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// True with probability `rate`.
    fn happens(&mut self, rate: f32) -> bool {
        ((self.number() >> 40) as f32) < rate * (1 << 24) as f32
    }
}

/// A model's merges and the probability with which each is left out.
#[derive(Debug)]
pub(super) struct Dropout {
    rate: f32,
    /// The line of each pair of ids, and the id of its result.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

/// One part of a piece: a linked list, from which merged parts are taken out.
struct Part {
    id: u32,
    /// Bytes of the piece; 0 where it is merged into the one before.
    len: usize,
    before: usize,
    after: usize,
}

impl Dropout {
    /// Of a model; `None` where no merge is left out.
    pub(super) fn new(model: &BpeModel) -> Option<Self> {
        let rate = model.dropout.filter(|rate| *rate > 0.0)?;
        let prefix = model
            .continuing_subword_prefix
            .as_deref()
            .unwrap_or_default();
        let ids: HashMap<&str, u32> = model
            .vocab
            .iter()
            .map(|(token, id)| (&token[..], *id))
            .collect();
        let mut merges = HashMap::with_capacity(model.merges.len());
        let lines = (0..).zip(model.merges.iter().zip(model.merged_tokens()));
        for (line, (&pair, (left, right))) in lines {
            let joined = format!("{left}{}", right.get(prefix.len()..).unwrap_or_default());
            if let Some(&id) = ids.get(joined.as_str()) {
                merges.insert(pair, (line, id));
            }
        }
        Some(Self { rate, merges })
    }

    /// The ids of one piece, with the bytes that each stands for.
    ///
    /// # Errors
    /// `Invalid` for a character that needs a missing unknown token.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        piece: &str,
        random: &mut Random,
        tokens: &mut Vec<(u32, usize)>,
    ) -> Result<()> {
        const NO_PART: usize = usize::MAX;
        let mut parts: Vec<Part> = Vec::new();
        if let Some(symbols) = vocab.symbols() {
            symbols.each(piece, |number, len| {
                let at = parts.len();
                parts.extend(vocab.id(number).map(|id| Part {
                    id,
                    len,
                    before: at.wrapping_sub(1),
                    after: at + 1,
                }));
            })?;
        }
        if let Some(last) = parts.last_mut() {
            last.after = NO_PART;
        }
        let merge_at = |parts: &[Part], at: usize| {
            let left = parts.get(at)?;
            let right = parts.get(left.after)?;
            self.merges.get(&(left.id, right.id)).copied()
        };
        // By line, then by place.
        let mut heap: BinaryHeap<Reverse<(u32, usize, u32)>> = (0..parts.len())
            .filter_map(|at| merge_at(&parts, at).map(|(line, id)| Reverse((line, at, id))))
            .collect();
        let mut left_out = Vec::new();
        while let Some(top) = heap.pop() {
            if random.happens(self.rate) {
                left_out.push(top);
                continue;
            }
            // What was left out has another chance with the next merge.
            heap.extend(left_out.drain(..));
            let Reverse((_, at, id)) = top;
            if parts[at].len == 0 || merge_at(&parts, at).is_none_or(|(_, now)| now != id) {
                continue;
            }
            let gone = parts[at].after;
            let after = parts[gone].after;
            parts[at].len += parts[gone].len;
            parts[at].id = id;
            parts[at].after = after;
            parts[gone].len = 0;
            if let Some(part) = parts.get_mut(after) {
                part.before = at;
            }
            for at in [parts[at].before, at] {
                heap.extend(merge_at(&parts, at).map(|(line, id)| Reverse((line, at, id))));
            }
        }
        let left = parts.into_iter().filter(|part| part.len > 0);
        tokens.extend(left.map(|part| (part.id, part.len)));
        Ok(())
    }
}
