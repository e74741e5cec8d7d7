//! Whole texts seen before and their ids.
//!
//! Where a text is rewritten and cut by the vocabulary before the caches of pieces see it, that takes
//! most of the time. Prompts that begin with the same instructions and data sets that are read again
//! repeat whole texts: for these it is skipped.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt};

/// What else the ids of a text depend on: two texts with the same tag and the same bytes have the same
/// ids.
pub type Tag = u64;

/// The hash of a text and its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

#[derive(Debug)]
struct Entry {
    tag: Tag,
    text: Range<u32>,
    ids: Range<u32>,
}

/// A bounded memory of texts. When it is full it forgets all.
#[derive(Debug)]
pub struct TextMemo {
    entries: HashMap<Key, Entry>,
    /// Random, so that no texts can be made that collide.
    hashes: RandomState,
    text: Vec<u8>,
    ids: Vec<u32>,
    /// Most bytes of texts and ids.
    limit: usize,
}

impl TextMemo {
    /// An empty memory for texts and ids of `limit` bytes together.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            hashes: RandomState::default(),
            text: Vec::new(),
            ids: Vec::new(),
            limit: limit.min(u32::MAX as usize),
        }
    }

    /// The key of `text`.
    pub fn key(&self, tag: Tag, text: &str) -> Key {
        Key(self.hashes.hash_one((tag, text)))
    }

    /// The ids of `text`, whose key is `key`, if it is known.
    pub fn ids(&self, key: Key, tag: Tag, text: &str) -> Option<&[u32]> {
        let entry = self.entries.get(&key)?;
        let is_same = entry.tag == tag && self.text[at(&entry.text)] == *text.as_bytes();
        is_same.then(|| &self.ids[at(&entry.ids)])
    }

    /// Remember the ids of a text that is not known. One that takes more than a quarter of the memory
    /// is not kept.
    pub fn insert(&mut self, key: Key, tag: Tag, text: &str, ids: &[u32]) {
        /// About what an entry takes beside its text and ids.
        const ENTRY: usize = 64;
        let size = text.len() + 4 * ids.len();
        if size > self.limit / 4 {
            return;
        }
        let used = self.text.len() + 4 * self.ids.len() + ENTRY * self.entries.len();
        if used + size > self.limit {
            self.entries.clear();
            self.text.clear();
            self.ids.clear();
        }
        let entry = Entry {
            tag,
            text: appended(&mut self.text, text.as_bytes()),
            ids: appended(&mut self.ids, ids),
        };
        self.entries.insert(key, entry);
    }

    /// Bytes in use.
    pub(super) fn size(&self) -> usize {
        let entry = size_of::<(Key, Entry)>() + 1;
        self.text.capacity() + 4 * self.ids.capacity() + entry * self.entries.capacity()
    }
}

/// Append `items`; returns where they are.
fn appended<T: Copy>(to: &mut Vec<T>, items: &[T]) -> Range<u32> {
    let start = to.len() as u32;
    to.extend_from_slice(items);
    start..to.len() as u32
}

fn at(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rounds, Random};

    #[test]
    fn texts_are_found_under_their_tags_only() {
        let mut memo = TextMemo::new(1 << 12);
        let key = memo.key(1, "abc");
        assert_eq!(memo.ids(key, 1, "abc"), None);
        memo.insert(key, 1, "abc", &[7, 8]);
        assert_eq!(memo.ids(key, 1, "abc"), Some(&[7, 8][..]));
        // As if the keys were the same.
        assert_eq!(memo.ids(key, 2, "abc"), None);
        assert_eq!(memo.ids(key, 1, "abd"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut memo = TextMemo::new(1 << 12);
        let mut random = Random(1);
        let mut found = 0;
        for _ in 0..rounds(20_000, 500) {
            let text = "x".repeat(random.below(300));
            let ids = vec![text.len() as u32; text.len() / 2];
            let key = memo.key(0, &text);
            match memo.ids(key, 0, &text) {
                Some(known) => {
                    assert_eq!(known, ids);
                    found += 1;
                }
                None => memo.insert(key, 0, &text, &ids),
            }
            assert!(memo.size() <= 4 << 12, "{}", memo.size());
        }
        assert!(found > 0);
        let long = "x".repeat(5000);
        let key = memo.key(0, &long);
        memo.insert(key, 0, &long, &[1]);
        assert_eq!(memo.ids(key, 0, &long), None);
    }
}
