//! Token bytes by id.

use std::collections::HashMap;

/// The bytes of every token. Ids may have gaps and come in any order.
#[derive(Debug, Clone, Default)]
pub struct TokenBytes {
    bytes: Vec<u8>,
    /// Token `id` is `bytes[ends[id - 1]..ends[id]]` while ids are dense; a gap has no bytes.
    ends: Vec<u32>,
    /// Where a token with an id far beyond its neighbours lies.
    sparse: HashMap<u32, (u32, u32)>,
    len: usize,
}

impl TokenBytes {
    /// Room for `tokens` tokens of `bytes` bytes together.
    pub(super) fn with_capacity(tokens: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(tokens),
            ..Self::default()
        }
    }

    /// From `(id, bytes)` sorted by id, ids distinct, no token empty.
    pub fn from_sorted<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let mut all = Self::default();
        for (id, token) in tokens {
            all.push(id, token);
        }
        all
    }

    /// Append a token; `id` must be above every id so far.
    pub fn push(&mut self, id: u32, token: &[u8]) {
        debug_assert!(!token.is_empty());
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(token);
        self.place(id, start);
    }

    /// Append the token made of tokens `left` and `right`, both present.
    pub(super) fn push_joined(&mut self, id: u32, left: u32, right: u32) {
        let start = self.bytes.len();
        for part in [left, right] {
            let (from, to) = self.range(part).unwrap_or((0, 0));
            self.bytes.extend_from_within(from as usize..to as usize);
        }
        self.place(id, start as u32);
    }

    fn place(&mut self, id: u32, start: u32) {
        let end = self.bytes.len() as u32;
        self.len += 1;
        // A gap of a few thousand ids costs four bytes each; beyond that a map is smaller. Not by
        // the length of `ends`, which a handful of tokens could double each time.
        if (id as usize) < 2 * self.len + (1 << 16) && self.sparse.is_empty() {
            self.ends.resize(id as usize, start);
            self.ends.push(end);
        } else {
            self.sparse.insert(id, (start, end));
        }
    }

    #[inline]
    fn range(&self, id: u32) -> Option<(u32, u32)> {
        let at = id as usize;
        if at < self.ends.len() {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            return (start < self.ends[at]).then_some((start, self.ends[at]));
        }
        self.sparse.get(&id).copied()
    }

    /// The bytes of token `id`, if there is one.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&[u8]> {
        self.range(id)
            .map(|(from, to)| &self.bytes[from as usize..to as usize])
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All tokens by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> + '_ {
        let mut far: Vec<u32> = self.sparse.keys().copied().collect();
        far.sort_unstable();
        (0..self.ends.len() as u32)
            .chain(far)
            .filter_map(|id| self.get(id).map(|token| (id, token)))
    }

    /// The highest id, if there are tokens.
    pub fn max_id(&self) -> Option<u32> {
        let far = self.sparse.keys().max().copied();
        far.or_else(|| (self.ends.len() as u32).checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_gaps_take_room_for_their_number() {
        // Each a little below twice the last: sixteen tokens once made a table of 2^32 places.
        let ids: Vec<u32> = (0..16)
            .map(|i| (65_536u64 * ((2 << i) - 1) - 1) as u32)
            .collect();
        assert!(ids.is_sorted() && ids[15] == u32::MAX - 65_536);
        let ids: Vec<u32> = [0, 7, 65_000].into_iter().chain(ids).collect();
        let names: Vec<String> = ids.iter().map(u32::to_string).collect();
        let tokens = ids
            .iter()
            .zip(&names)
            .map(|(&id, name)| (id, name.as_bytes()));
        let all = TokenBytes::from_sorted(tokens.clone());
        assert!(all.ends.len() < 1 << 17, "{}", all.ends.len());
        assert_eq!((all.len(), all.max_id()), (ids.len(), ids.last().copied()));
        assert!(all.iter().eq(tokens));
        for id in [1, 6, 8, 64_999, 65_536, 1 << 20, u32::MAX] {
            assert_eq!(all.get(id), None);
        }
    }
}
