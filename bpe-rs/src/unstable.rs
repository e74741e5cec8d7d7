//! Encoding of text that more text may follow, and of bytes that are not UTF-8.
//!
//! The last tokens of a text can change when more text follows: "hello fan" ends in " fan", but
//! "hello fantastic" does not. [`Encoding::encode_with_unstable`] gives the tokens that stay, and
//! every way in which tokens can cover the rest. The results are tiktoken's. To keep long runs of
//! white space linear, pieces that recur among the candidates are merged once, and candidates are
//! found by bisection among the sorted tokens.

use std::collections::{BTreeSet, HashMap};

use crate::encode::PieceEncoder;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::special::Finder;

/// Pieces of at least this many bytes are merged once for all candidates.
const MEMO_MIN_BYTES: usize = 32;

impl Encoding {
    /// Append the ids of one piece, without cutting it by the pattern: its own id if it is a token,
    /// else those that its bytes merge to.
    ///
    /// # Errors
    /// `Invalid` for a byte without a token.
    pub fn encode_single_piece(&self, piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        PieceEncoder::default().encode(self.vocab(), piece, ids)
    }

    /// Append the ids of `bytes`, which need not be UTF-8. The pattern cuts the valid part; its
    /// last piece, with the white space before it, is merged together with the bytes that follow.
    ///
    /// # Errors
    /// As [`Encoding::encode_ordinary`].
    pub fn encode_bytes(&self, bytes: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => return self.encode_ordinary(text, ids),
            Err(error) => error.valid_up_to(),
        };
        let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
        let (mut head, last) = self.encode_tracking(text, None)?;
        let mut tail = self.bytes_of_tail(&mut head, last)?;
        tail.extend_from_slice(&bytes[valid..]);
        ids.append(&mut head);
        self.encode_single_piece(&tail, ids)
    }

    /// The ids that stay whatever follows `text`, and every sequence of ids that may follow them
    /// and covers the rest of `text`.
    ///
    /// # Errors
    /// As [`Encoding::encode_ordinary`].
    pub fn encode_with_unstable(
        &self,
        text: &str,
        allowed: Option<&Finder>,
    ) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        let (mut stable, last) = self.encode_tracking(text, allowed)?;
        let rest = self.bytes_of_tail(&mut stable, last)?;
        if rest.is_empty() {
            return Ok((stable, Vec::new()));
        }
        Ok((stable, self.completions(&rest)?.into_iter().collect()))
    }

    /// The ids of `text`, and how many of them belong to its last piece: 0 if the text ends with a
    /// special token.
    fn encode_tracking(&self, text: &str, allowed: Option<&Finder>) -> Result<(Vec<u32>, usize)> {
        let (mut ids, mut last) = (Vec::new(), 0);
        let mut pieces = PieceEncoder::default();
        for (plain, special) in self.special().split(allowed, text) {
            let part = &text[plain];
            self.pattern().try_pieces(part, |piece| {
                let before = ids.len();
                pieces.encode(self.vocab(), &part.as_bytes()[piece], &mut ids)?;
                last = ids.len() - before;
                Ok(())
            })?;
            if let Some((_, id)) = special {
                ids.push(id);
                last = 0;
            }
        }
        Ok((ids, last))
    }

    /// Remove the `last` ids from the end of `ids`, and if they begin with white space all ids of
    /// white space before them; returns their bytes. White space may be joined by patterns like
    /// `\s*[\r\n]+`: a line feed and a space are two pieces until another line feed follows.
    fn bytes_of_tail(&self, ids: &mut Vec<u32>, mut last: usize) -> Result<Vec<u8>> {
        let is_space = |id: u32| {
            let token = self.vocab().tokens().get(id);
            token.is_some_and(|bytes| bytes.iter().all(|byte| b" \n\t".contains(byte)))
        };
        if last > 0 && is_space(ids[ids.len() - last]) {
            while last < ids.len() && is_space(ids[ids.len() - last - 1]) {
                last += 1;
            }
        }
        let tail = ids.split_off(ids.len() - last);
        let mut bytes = Vec::new();
        self.decode(&tail, &mut bytes)?;
        Ok(bytes)
    }

    /// Every sequence of tokens that covers `rest` when something follows it.
    fn completions(&self, rest: &[u8]) -> Result<BTreeSet<Vec<u32>>> {
        let tokens = self.vocab().tokens();
        let sorted = self.ids_by_bytes();
        let starting_with = |start: &[u8]| {
            let from = sorted.partition_point(|&id| tokens.get(id) < Some(start));
            let start = start.to_vec();
            sorted[from..]
                .iter()
                .filter_map(|&id| tokens.get(id).map(|bytes| (id, bytes)))
                .take_while(move |(_, bytes)| bytes.starts_with(&start))
        };
        let mut found: BTreeSet<Vec<u32>> = BTreeSet::new();
        found.extend(starting_with(rest).map(|(id, _)| vec![id]));

        // A token may begin inside `rest`, at `cut`, and reach beyond its end. The bytes before it
        // may then merge differently.
        let mut memo = HashMap::new();
        for cut in 1..rest.len() {
            for (_, straddling) in starting_with(&rest[cut..]) {
                let bytes = [&rest[..cut], straddling].concat();
                let mut covered = 0;
                let mut sequence = self.encode_candidate(&bytes, &mut memo)?;
                let needed = sequence.iter().position(|&id| {
                    covered += tokens.get(id).map_or(0, <[u8]>::len);
                    covered >= rest.len()
                });
                if let Some(at) = needed {
                    sequence.truncate(at + 1);
                }
                found.insert(sequence);
            }
        }

        // `\s+(?!\S)` leaves the last white space to what follows, so it may become a piece of its
        // own.
        if let Some((at, c)) = last_char(rest) {
            if at > 0 && c.is_whitespace() {
                let mut sequence = Vec::new();
                self.encode_single_piece(&rest[..at], &mut sequence)?;
                self.encode_single_piece(&rest[at..], &mut sequence)?;
                found.insert(sequence);
            }
        }
        Ok(found)
    }

    /// The ids of `bytes`: cut by the pattern if they are UTF-8, else as one piece.
    fn encode_candidate(
        &self,
        bytes: &[u8],
        memo: &mut HashMap<Vec<u8>, Vec<u32>>,
    ) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.encode_single_piece(bytes, &mut ids)?;
            return Ok(ids);
        };
        self.pattern().try_pieces(text, |range| {
            let piece = &bytes[range];
            if piece.len() < MEMO_MIN_BYTES {
                return self.encode_single_piece(piece, &mut ids);
            }
            if !memo.contains_key(piece) {
                let mut fresh = Vec::new();
                self.encode_single_piece(piece, &mut fresh)?;
                memo.insert(piece.to_vec(), fresh);
            }
            ids.extend_from_slice(&memo[piece]);
            Ok(())
        })?;
        Ok(ids)
    }
}

/// The last character of `bytes` and its position, if they end with a whole one.
fn last_char(bytes: &[u8]) -> Option<(usize, char)> {
    let from = bytes.len().saturating_sub(4);
    (from..bytes.len()).rev().find_map(|at| {
        let text = std::str::from_utf8(&bytes[at..]).ok()?;
        let mut chars = text.chars();
        let only = chars.next()?;
        chars.next().is_none().then_some((at, only))
    })
}
