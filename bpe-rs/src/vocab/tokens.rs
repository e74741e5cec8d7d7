//! The bytes of every token, by id, in one buffer.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// The bytes of every token. Ids can have gaps.
#[derive(Debug, Clone, Default)]
pub struct TokenBytes {
    bytes: Vec<u8>,
    /// Token `id` is `bytes[ends[id - 1]..ends[id]]`, an empty range for an unused id.
    ends: Vec<u32>,
    /// The ranges of tokens whose ids lie far beyond the number of tokens before them.
    sparse: HashMap<u32, (u32, u32)>,
    /// The id of the empty token, which some rank files list. No text is encoded as it.
    empty: Option<u32>,
    len: usize,
    max_id: Option<u32>,
}

impl TokenBytes {
    /// No tokens, with room for `tokens` of them with `bytes` bytes in total.
    pub(super) fn with_capacity(tokens: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(tokens),
            ..Self::default()
        }
    }

    /// Append a token.
    ///
    /// # Errors
    /// `Invalid` if `id` is not above every id so far, if a second token is empty, or if the
    /// tokens have 4 GiB or more in total.
    pub(super) fn push(&mut self, id: u32, token: &[u8]) -> Result<()> {
        if !self.add_range(id, token.len()) {
            return Err(self.refusal(id, token.len()));
        }
        self.bytes.extend_from_slice(token);
        Ok(())
    }

    /// Append the token whose bytes are those of tokens `left` and `right`.
    ///
    /// # Errors
    /// As [`Self::push`], and `Invalid` if `left` or `right` is not a token.
    pub(super) fn push_joined(&mut self, id: u32, left: u32, right: u32) -> Result<()> {
        let part = |part| match self.range(part) {
            Some((start, end)) => Ok(start as usize..end as usize),
            None => Err(Error::invalid(format!(
                "expected the id of a token before {id}, got {part}"
            ))),
        };
        let (left, right) = (part(left)?, part(right)?);
        let len = left.len() + right.len();
        if !self.add_range(id, len) {
            return Err(self.refusal(id, len));
        }
        self.bytes.extend_from_within(left);
        self.bytes.extend_from_within(right);
        Ok(())
    }

    /// Enter token `id`, whose bytes are the next `len` that are appended; `false` if it is refused.
    fn add_range(&mut self, id: u32, len: usize) -> bool {
        let end = self.bytes.len() + len;
        let is_second_empty = len == 0 && self.empty.is_some();
        if self.max_id.is_some_and(|max| id <= max) || is_second_empty || end > u32::MAX as usize {
            return false;
        }
        if len == 0 {
            self.empty = Some(id);
        }
        let (start, end) = (self.bytes.len() as u32, end as u32);
        self.max_id = Some(id);
        self.len += 1;
        // An unused id costs four bytes in `ends`, so a gap of a few thousand ids is cheaper
        // there than in the map. The bound grows with the number of tokens, not with the length
        // of `ends`: otherwise each of a few far ids could double the table.
        if (id as usize) < 2 * self.len + (1 << 16) && self.sparse.is_empty() {
            self.ends.resize(id as usize, start);
            self.ends.push(end);
        } else {
            self.sparse.insert(id, (start, end));
        }
        true
    }

    /// Why [`Self::add_range`] refuses a token.
    #[cold]
    fn refusal(&self, id: u32, len: usize) -> Error {
        Error::invalid(match self.max_id {
            Some(max) if id <= max => format!("expected ids above {max}, got {id}"),
            _ if len == 0 => format!("expected one empty token at most, got another with id {id}"),
            _ => format!("expected tokens of less than 4 GiB in total, got more with id {id}"),
        })
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
        match self.range(id) {
            Some((from, to)) => Some(&self.bytes[from as usize..to as usize]),
            None => (self.empty == Some(id)).then_some(&[]),
        }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no tokens.
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

    /// The highest id, `None` without tokens.
    pub fn max_id(&self) -> Option<u32> {
        self.max_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_number_of_tokens_not_with_their_ids() {
        // Each id is a little below twice the last, the most that a table may grow by.
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
        let mut all = TokenBytes::default();
        for (id, token) in tokens.clone() {
            all.push(id, token).unwrap();
        }
        assert!(all.ends.len() < 1 << 17, "{}", all.ends.len());
        assert_eq!((all.len(), all.max_id()), (ids.len(), ids.last().copied()));
        assert!(all.iter().eq(tokens));
        for id in [1, 6, 8, 64_999, 65_536, 1 << 20, u32::MAX] {
            assert_eq!(all.get(id), None);
        }
    }

    #[test]
    fn tokens_out_of_order_empty_or_of_missing_parts_are_refused() {
        let mut tokens = TokenBytes::default();
        tokens.push(5, b"a").unwrap();
        for (result, problem) in [
            (tokens.clone().push(5, b"b"), "ids above 5, got 5"),
            (tokens.clone().push(4, b"b"), "ids above 5, got 4"),
            (tokens.clone().push_joined(6, 5, 4), "before 6, got 4"),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        tokens.push_joined(6, 5, 5).unwrap();
        assert_eq!(tokens.get(6), Some(&b"aa"[..]));

        for far in [8, 1 << 30] {
            let mut tokens = tokens.clone();
            tokens.push(far, b"").unwrap();
            assert_eq!(tokens.get(far), Some(&b""[..]));
            assert_eq!(tokens.get(far - 1), None);
            assert_eq!((tokens.len(), tokens.iter().count()), (3, 3));
            assert!(tokens.push(far + 1, b"").is_err());
        }
    }
}
