//! An encoding: vocabulary, pattern and special tokens under one name.

use sha2::{Digest, Sha256};

use crate::decode::{decode_into, ShortTokens};
use crate::encode::{
    count, encode_into, encode_texts, EncodeText, Lease, Rows, Scratch, ScratchPool,
};
use crate::error::{quoted, Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::special::{Finder, SpecialTokens};
use crate::threads::ForkOnce;
use crate::vocab::Vocab;

/// The first call that decodes at least this many ids builds the table of short tokens.
const MANY_IDS: usize = 1024;

/// A complete tokenizer: text to ids and back.
#[derive(Debug)]
pub struct Encoding {
    name: String,
    vocab: Vocab,
    pattern: Pretokenizer,
    special: SpecialTokens,
    fingerprint: ForkOnce<[u8; 32]>,
    by_bytes: ForkOnce<Vec<u32>>,
    short_tokens: ForkOnce<ShortTokens>,
    pool: ScratchPool,
}

impl Encoding {
    /// An encoding of these parts.
    pub fn new(
        name: impl Into<String>,
        vocab: Vocab,
        pattern: Pretokenizer,
        special: SpecialTokens,
    ) -> Self {
        Self {
            name: name.into(),
            vocab,
            pattern,
            special,
            fingerprint: ForkOnce::new(),
            by_bytes: ForkOnce::new(),
            short_tokens: ForkOnce::new(),
            pool: ScratchPool::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tokens and merges.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The pattern that cuts text before merging.
    pub fn pattern(&self) -> &Pretokenizer {
        &self.pattern
    }

    /// Its special tokens, which are plain text unless the caller allows them.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The highest id, special or not; `None` if there are no tokens at all.
    pub fn max_token_value(&self) -> Option<u32> {
        self.special
            .iter()
            .map(|(_, id)| id)
            .chain(self.vocab.max_id())
            .max()
    }

    /// Check that there are `expected` tokens, special ones included, with the ids 0 to
    /// `expected - 1`.
    ///
    /// # Errors
    /// `Invalid` for another number of tokens or another highest id.
    pub fn check_n_vocab(&self, expected: usize) -> Result<()> {
        let (tokens, special) = (self.vocab.len(), self.special.len());
        if tokens + special != expected {
            return Err(Error::invalid(format!(
                "expected explicit_n_vocab={expected} tokens, got {tokens} mergeable and {special} special ones"
            )));
        }
        let count = self.max_token_value().map_or(0, |id| id as usize + 1);
        if count != expected {
            return Err(Error::invalid(format!(
                "expected ids below {expected} for explicit_n_vocab={expected}, got ids below {count}"
            )));
        }
        Ok(())
    }

    /// Append the ids of `text` to `out`; special tokens are plain text.
    ///
    /// # Errors
    ///
    /// `Pattern` when the regex engine gives up, `Invalid` for a byte without a token or a text of
    /// 4 GiB or more.
    pub fn encode_ordinary(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        self.pool
            .with(|scratch| encode_into(&self.vocab, &self.pattern, text, scratch, out))
    }

    /// The number of ids that [`Self::encode_ordinary`] gives; `None` as soon as there are more than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_ordinary`].
    pub fn count(&self, text: &str, limit: usize) -> Result<Option<usize>> {
        self.pool
            .with(|scratch| count(&self.vocab, &self.pattern, text, limit, scratch))
    }

    /// Append the ids of `text` to `out`; the special tokens that `allowed` finds become their ids.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_ordinary`].
    pub fn encode(&self, text: &str, allowed: &Finder, out: &mut Vec<u32>) -> Result<()> {
        self.pool
            .with(|scratch| self.encode_with_scratch(scratch, text, allowed, out))
    }

    /// Calls `take` with the ids of `text` and returns its result. The ids lie in a reusable buffer,
    /// because for a short text an allocation takes a good part of the time.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_ordinary`].
    pub fn with_ids<T>(
        &self,
        text: &str,
        allowed: Option<&Finder>,
        take: impl FnOnce(&[u32]) -> T,
    ) -> Result<T> {
        self.pool.with(|scratch| {
            scratch.with_ids(|scratch, ids| {
                // Enough for most texts; reserving too much costs less than growing.
                ids.reserve(text.len() / 3 + 64);
                self.encode_text(scratch, text, allowed, ids)?;
                Ok(take(ids))
            })
        })
    }

    /// [`Self::encode_with_scratch`] where `allowed` is given, else without special tokens.
    fn encode_text(
        &self,
        scratch: &mut Scratch,
        text: &str,
        allowed: Option<&Finder>,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        match allowed {
            Some(allowed) => self.encode_with_scratch(scratch, text, allowed, ids),
            None => encode_into(&self.vocab, &self.pattern, text, scratch, ids),
        }
    }

    /// Buffers and caches for many calls of [`Self::encode_with_scratch`]: those that `thread` had last,
    /// if they are free. Taking them for each short text would cost more than encoding it.
    pub(crate) fn lease(&self, thread: usize) -> Lease<'_> {
        self.pool.lease_of(thread)
    }

    /// [`Self::encode`] with the caller's buffers and caches.
    pub(crate) fn encode_with_scratch(
        &self,
        scratch: &mut Scratch,
        text: &str,
        allowed: &Finder,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let (vocab, pattern) = (&self.vocab, &self.pattern);
        let mut from = 0;
        while let Some((start, end, id)) = self.special.find(allowed, text, from) {
            encode_into(vocab, pattern, &text[from..start], scratch, out)?;
            out.push(id);
            from = end;
        }
        encode_into(vocab, pattern, &text[from..], scratch, out)
    }

    /// The ids of many texts, on up to `threads` threads; the special tokens that `allowed` finds
    /// become their ids. A long text without any of them is shared between threads.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_ordinary`].
    pub fn encode_batch(
        &self,
        texts: &[&str],
        allowed: Option<&Finder>,
        threads: usize,
    ) -> Result<Rows> {
        let encoder = BatchEncoder {
            encoding: self,
            allowed,
        };
        encode_texts(&self.pool, texts, threads, &encoder)
    }

    /// Limit the caches of each thread to about `bytes`, and empty them.
    pub fn set_cache_limit(&self, bytes: usize) {
        self.pool.set_limit(bytes);
    }

    /// Bytes that the caches of idle threads hold.
    pub fn cache_bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// Append the bytes of `ids`, special ones included, to `out`.
    ///
    /// # Errors
    ///
    /// `NotFound` for an id that is no token; `out` then has the bytes of the ids before it.
    pub fn decode(&self, ids: &[u32], out: &mut Vec<u8>) -> Result<()> {
        let tokens = self.vocab.tokens();
        let token = |id| tokens.get(id).or_else(|| self.special.bytes_of(id));
        let none = ShortTokens::default();
        let short = match self.short_tokens.get() {
            Some(short) => short,
            None if ids.len() < MANY_IDS => &none,
            None => self.short_tokens.get_or_init(|| {
                let special = self.special.iter();
                ShortTokens::new(
                    tokens
                        .iter()
                        .chain(special.map(|(t, id)| (id, t.as_bytes()))),
                )
            }),
        };
        decode_into(short, token, ids, out)
    }

    /// The bytes of one token, special or not.
    ///
    /// # Errors
    ///
    /// `NotFound` for an id that is no token.
    pub fn token_bytes(&self, id: u32) -> Result<&[u8]> {
        let token = self
            .vocab
            .tokens()
            .get(id)
            .or_else(|| self.special.bytes_of(id));
        token.ok_or_else(|| Error::not_found(format!("expected an id of {}, got {id}", self.name)))
    }

    /// The id of the token, special or not, with exactly these bytes.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub fn token_id(&self, token: &[u8]) -> Result<u32> {
        let special = || {
            std::str::from_utf8(token)
                .ok()
                .and_then(|t| self.special.id_of(t))
        };
        self.vocab.id_of(token).or_else(special).ok_or_else(|| {
            Error::not_found(format!(
                "expected a token of {}, got {}",
                self.name,
                quoted(String::from_utf8_lossy(token))
            ))
        })
    }

    /// The ids of all mergeable tokens, ordered by the tokens' bytes.
    pub fn ids_by_bytes(&self) -> &[u32] {
        self.by_bytes.get_or_init(|| {
            let tokens = self.vocab.tokens();
            let mut ids: Vec<u32> = tokens.iter().map(|(id, _)| id).collect();
            ids.sort_unstable_by_key(|&id| tokens.get(id));
            ids
        })
    }

    /// SHA-256 of everything that decides which ids a text gets. Two encodings with equal
    /// fingerprints encode alike, whatever files they came from.
    ///
    /// The digest covers, numbers as little-endian u32 and strings with their length before them:
    /// "bpe-rs 1", the pattern's regular expression, the count of tokens and each (id, bytes) by
    /// id, the count of merges and each (left, right, merged) by priority, the count of tokens
    /// that merging does not produce but whole pieces become and their ids, the count of special
    /// tokens and each (id, text) by id and text.
    pub fn fingerprint(&self) -> &[u8; 32] {
        self.fingerprint.get_or_init(|| {
            let mut hash = FingerprintHash(Sha256::new());
            hash.bytes(b"bpe-rs 1");
            hash.bytes(self.pattern.engine().pattern().as_bytes());
            hash.number(self.vocab.tokens().len() as u32);
            for (id, token) in self.vocab.tokens().iter() {
                hash.number(id);
                hash.bytes(token);
            }
            let merges = self.vocab.merges();
            hash.number(merges.len() as u32);
            for (left, right, merged) in merges {
                [left, right, merged]
                    .into_iter()
                    .for_each(|id| hash.number(id));
            }
            let whole = self.vocab.whole_piece_ids();
            hash.number(whole.len() as u32);
            whole.into_iter().for_each(|id| hash.number(id));
            let mut special: Vec<_> = self.special.iter().map(|(text, id)| (id, text)).collect();
            special.sort_unstable();
            hash.number(special.len() as u32);
            for (id, text) in special {
                hash.number(id);
                hash.bytes(text.as_bytes());
            }
            hash.0.finalize().into()
        })
    }
}

/// SHA-256 of numbers and strings in the form that [`Encoding::fingerprint`] documents.
struct FingerprintHash(Sha256);

impl FingerprintHash {
    fn number(&mut self, number: u32) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        self.0.update(bytes);
    }
}
/// Encodes the texts of a batch, with the special tokens that `allowed` finds.
struct BatchEncoder<'a> {
    encoding: &'a Encoding,
    allowed: Option<&'a Finder>,
}

impl EncodeText for BatchEncoder<'_> {
    fn append_ids(&self, scratch: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        self.encoding.encode_text(scratch, text, self.allowed, ids)
    }

    fn by_pattern(&self, text: &str) -> Option<(&Vocab, &Pretokenizer)> {
        let special = &self.encoding.special;
        let found = self
            .allowed
            .and_then(|allowed| special.find(allowed, text, 0));
        found
            .is_none()
            .then_some((&self.encoding.vocab, &self.encoding.pattern))
    }
}
