//! The tracked pairs: those that occur at least `threshold` times.
//!
//! Most pairs of a corpus are too rare ever to be merged. The count of a pair only falls, so a pair
//! below the threshold can be ignored until none above it is left; then all pairs are counted again
//! with a lower threshold ([`TrackedPairs::count_again`]). Merges do not depend on the thresholds.

use super::growing_vocab::GrowingVocab;
use super::layout::RecordLayout;
use super::pair_counts::{PairCount, PairCounts};
use super::queue::RankedPair;
use super::records::Records;
use crate::error::Result;
use crate::memory::LargeVec;

/// The pairs that occur at least `threshold` times, with all their occurrences.
pub(super) struct TrackedPairs {
    pub(super) table: PairCounts,
    /// Starts of records; every pair owns a run of them, in corpus order. A posting whose record
    /// has lost the pair since is stale.
    pub(super) postings: LargeVec<u32>,
    pub(super) threshold: u64,
}

/// Postings between two calls of `check`.
const POSTINGS_PER_CHECK: usize = 1 << 16;
/// How many postings ahead records are prefetched.
const AHEAD: usize = 16;

impl TrackedPairs {
    /// No pair is tracked yet.
    pub(super) fn none() -> Self {
        Self {
            table: PairCounts::with_room_for(0),
            postings: LargeVec::with_capacity(0),
            threshold: u64::MAX,
        }
    }

    /// Drop the pairs that have become too rare, and all stale postings.
    pub(super) fn sweep<L: RecordLayout>(
        &mut self,
        records: &Records<L>,
        check: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut kept = self.frequent_pairs();
        // In the order of their runs, so that postings only move towards the front.
        kept.sort_unstable_by_key(|slot| slot.start);
        let (mut end, mut visited) = (0, 0);
        for slot in &mut kept {
            let run = slot.start as usize..(slot.start + slot.postings) as usize;
            slot.start = end as u32;
            visited += run.len();
            if visited > POSTINGS_PER_CHECK {
                check()?;
                visited = 0;
            }
            for at in run {
                if let Some(&ahead) = self.postings.get(at + AHEAD) {
                    records.prefetch(ahead);
                }
                let record = self.postings[at];
                if records.word(record).any_pair(|pair| pair == slot.pair) {
                    self.postings[end] = record;
                    end += 1;
                }
            }
            slot.postings = end as u32 - slot.start;
        }
        self.postings.shorten(end);
        self.rebuild(kept, 0);
        Ok(())
    }

    /// Drop the pairs that have become too rare, so that `more` can be added without growing the
    /// table.
    #[cold]
    pub(super) fn drop_rare_pairs(&mut self, more: usize) {
        let kept = self.frequent_pairs();
        self.rebuild(kept, more);
    }

    fn frequent_pairs(&self) -> Vec<PairCount> {
        let is_frequent = |slot: &&PairCount| slot.count >= self.threshold;
        let frequent = self.table.iter().filter(is_frequent);
        // Room for just these: a vector that grows takes up to three times as much.
        let mut pairs = Vec::with_capacity(frequent.clone().count());
        pairs.extend(frequent);
        pairs
    }

    fn rebuild(&mut self, pairs: Vec<PairCount>, more: usize) {
        // The old table is freed before the new one is allocated.
        self.table = PairCounts::with_room_for(0);
        self.table = PairCounts::with_room_for(pairs.len() + pairs.len() / 2 + more);
        for slot in pairs {
            *self.table.entry(slot.pair) = slot;
        }
    }
}

/// The pair of `slot` at the rank that it has now.
pub(super) fn rank<L: RecordLayout, R: RankedPair>(
    slot: &mut PairCount,
    postings: &[u32],
    records: &Records<L>,
    vocab: &GrowingVocab<'_>,
) -> R {
    let first = if R::POSITIONAL {
        first_occurrence(slot, postings, records, vocab)
    } else {
        0
    };
    R::new(slot.count, slot.pair, vocab.merged_length(slot.pair), first)
}

/// Where `slot.pair` occurs first: record in the upper half, byte offset in it in the lower.
/// The stale postings before it are dropped, since no merge brings their pair back.
fn first_occurrence<L: RecordLayout>(
    slot: &mut PairCount,
    postings: &[u32],
    records: &Records<L>,
    vocab: &GrowingVocab<'_>,
) -> u64 {
    while slot.postings > 0 {
        let record = postings[slot.start as usize];
        let word = records.word(record);
        let mut offset = word.offset();
        let found = word.any_pair(|pair| {
            let found = pair == slot.pair;
            if !found {
                offset += vocab.length(pair.left());
            }
            found
        });
        if found {
            return (record as u64) << 32 | offset as u64;
        }
        slot.start += 1;
        slot.postings -= 1;
    }
    u64::MAX
}
