//! The BPE model of a `tokenizer.json`: token strings and ids around a [`Vocab`] of bytes.

use foldhash::{HashMap, HashMapExt};

use crate::encode::{encode_into, encode_texts, Rows, Scratch, ScratchPool};
use crate::error::{quoted, Error, Result};
use crate::format::{byte_level, BpeModel};
use crate::pretokenize::{Pretokenizer, TextCuts};
use crate::threads;
use crate::vocab::Vocab;

/// Token strings, ids and merges.
#[derive(Debug)]
pub(super) struct Model {
    /// The model as it was read, for writing it again.
    pub(super) file: BpeModel,
    pub(super) vocab: Vocab,
    by_token: HashMap<String, u32>,
    /// By id: index into `file.vocab`.
    by_id: HashMap<u32, u32>,
    /// Which bytes are tokens; `None` if all are.
    known_bytes: Option<Box<[bool; 256]>>,
    /// Buffers and caches for `vocab`.
    pool: ScratchPool,
}

impl Model {
    /// The model in a file.
    ///
    /// # Errors
    /// `Invalid` where vocabulary and merges contradict each other, or for an `unk_token` that
    /// would be needed.
    pub(super) fn new(file: BpeModel) -> Result<Self> {
        let mut by_token = HashMap::with_capacity(file.vocab.len());
        let mut by_id = HashMap::with_capacity(file.vocab.len());
        let mut tokens = Vec::with_capacity(file.vocab.len());
        let mut known_bytes = [false; 256];
        for (index, (token, id)) in file.vocab.iter().enumerate() {
            by_token.insert(token.clone(), *id);
            by_id.insert(*id, index as u32);
            // A token outside the byte-level alphabet is never the result of merging bytes.
            if let Some(bytes) = byte_level::to_bytes(token).filter(|bytes| !bytes.is_empty()) {
                if let [byte] = bytes[..] {
                    known_bytes[byte as usize] = true;
                }
                tokens.push((bytes, *id));
            }
        }
        let vocab = Vocab::from_merges(tokens, &file.merges, file.ignore_merges)?;
        let has_all = known_bytes.iter().all(|known| *known);
        if let (false, Some(unknown)) = (has_all, &file.unk_token) {
            return Err(Error::invalid(format!(
                "model: unk_token {unknown} with bytes that are no tokens is not reproduced \
                 exactly (expected a token for each of the 256 bytes, or unk_token null); use the \
                 original tokenizer for this file",
                unknown = quoted(unknown)
            )));
        }
        let known_bytes = (!has_all).then(|| Box::new(known_bytes));
        Ok(Self {
            file,
            vocab,
            by_token,
            by_id,
            known_bytes,
            pool: ScratchPool::default(),
        })
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.file.vocab.len()
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        self.by_token.get(token).copied()
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.by_id
            .get(&id)
            .map(|&index| self.file.vocab[index as usize].0.as_str())
    }

    /// Length in bytes of a token that stands for bytes.
    pub(super) fn token_len(&self, id: u32) -> usize {
        self.vocab.tokens().get(id).map_or(0, <[u8]>::len)
    }

    /// Whether every byte is a token.
    pub(super) fn has_all_bytes(&self) -> bool {
        self.known_bytes.is_none()
    }

    /// Call `work` with buffers and caches for encoding.
    pub(super) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        self.pool.with(work)
    }

    /// The ids of many texts, on several threads where that is faster; `encode` appends those of one.
    pub(super) fn encode_texts(
        &self,
        texts: &[&str],
        encode: impl Fn(&mut Scratch, &str, &mut Vec<u32>) -> Result<()> + Sync,
    ) -> Result<Rows> {
        // A long text is not shared between threads, because added tokens may lie across its cuts.
        let cuts = None::<&TextCuts<'_>>;
        encode_texts(
            &self.pool,
            texts,
            threads::available_threads(),
            cuts,
            encode,
        )
    }

    /// Append the ids of `text`, cut by `pattern`. Every byte must be a token.
    pub(super) fn encode_pattern(
        &self,
        pattern: &Pretokenizer,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        encode_into(&self.vocab, pattern, text, scratch, ids)
    }

    /// Append the ids of one piece.
    pub(super) fn encode_piece(
        &self,
        piece: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let encoder = scratch.piece_encoder();
        let Some(known) = &self.known_bytes else {
            return encoder.encode(&self.vocab, piece, ids);
        };
        if let Some(id) = self.vocab.whole_piece(piece) {
            ids.push(id);
            return Ok(());
        }
        // A byte that is no token is dropped, so its neighbours become neighbours.
        let is_known = |byte: &u8| known[usize::from(*byte)];
        let piece: Vec<u8> = piece.iter().copied().filter(is_known).collect();
        encoder.encode(&self.vocab, &piece, ids)
    }
}
