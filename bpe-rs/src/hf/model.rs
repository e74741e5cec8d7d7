//! The BPE model of a `tokenizer.json`: token strings and ids around a [`Vocab`].
//!
//! Where `ByteLevel` is the last pre-tokenizer, pieces are bytes and the vocabulary is one of bytes.
//! Everything else takes the text as characters ([`CharacterModel`]).

use std::ops::Range;

use foldhash::{HashMap, HashMapExt};

use super::dropout::{Dropout, Random};
use crate::encode::{encode_pieces, Scratch, ScratchPool};
use crate::error::{quoted, Error, Result};
use crate::format::{byte_level, BpeModel};
use crate::vocab::{CharacterModel, Symbols, Vocab};

/// Token strings, ids and merges.
#[derive(Debug)]
pub(super) struct Model {
    /// The model as it was read, for writing it again.
    pub(super) file: BpeModel,
    pub(super) vocab: Vocab,
    by_token: HashMap<String, u32>,
    /// By id: index into `file.vocab`.
    by_id: HashMap<u32, u32>,
    /// Which bytes are tokens, where the vocabulary is one of bytes.
    known_bytes: Option<KnownBytes>,
    /// Whether pieces are bytes. For a vocabulary of characters they are then written in the byte-level
    /// alphabet first.
    takes_bytes: bool,
    /// Where merges are left out at random.
    dropout: Option<Dropout>,
    /// Buffers and caches for `vocab`.
    pool: ScratchPool,
}

impl Model {
    /// The model in a file. `takes_bytes`: pieces are bytes, else characters.
    ///
    /// # Errors
    /// `Invalid` where vocabulary and merges contradict each other, or for settings that are not
    /// reproduced exactly.
    pub(super) fn new(file: BpeModel, takes_bytes: bool) -> Result<Self> {
        let mut by_token = HashMap::with_capacity(file.vocab.len());
        let mut by_id = HashMap::with_capacity(file.vocab.len());
        for (index, (token, id)) in file.vocab.iter().enumerate() {
            by_token.insert(token.clone(), *id);
            by_id.insert(*id, index as u32);
        }
        let dropout = Dropout::new(&file);
        let is_bytes = takes_bytes && file.character_setting().is_none() && dropout.is_none();
        let as_bytes = match is_bytes {
            true => byte_vocab(&file)?,
            false => None,
        };
        let (vocab, known_bytes) = match as_bytes {
            Some((vocab, known)) => (vocab, Some(known)),
            None => (character_vocab(&file)?, None),
        };
        Ok(Self {
            file,
            vocab,
            by_token,
            by_id,
            known_bytes,
            takes_bytes,
            dropout,
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

    /// The same model for pieces that are bytes, or that are characters.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub(super) fn taking(&self, takes_bytes: bool) -> Result<Self> {
        Self::new(self.file.clone(), takes_bytes)
    }

    /// Whether pieces are bytes.
    pub(super) fn takes_bytes(&self) -> bool {
        self.takes_bytes
    }

    /// Whether the vocabulary is one of bytes and has them all.
    fn has_all_bytes(&self) -> bool {
        matches!(self.known_bytes, Some(KnownBytes::All))
    }

    /// Whether merges are left out at random.
    pub(super) fn has_dropout(&self) -> bool {
        self.dropout.is_some()
    }

    /// Buffers and caches for the vocabulary.
    pub(super) fn pool(&self) -> &ScratchPool {
        &self.pool
    }

    /// Call `work` with buffers and caches for encoding.
    pub(super) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        self.pool.with(work)
    }

    /// The vocabulary, if it is one of bytes and has them all.
    pub(super) fn vocab_of_all_bytes(&self) -> Option<&Vocab> {
        Some(&self.vocab).filter(|_| self.has_all_bytes())
    }

    /// The symbols of the vocabulary for texts in which spaces stand for `mark`; `None` where such a text
    /// may get other ids than one with the mark.
    pub(super) fn symbols_with_space_as(&self, mark: char) -> Option<Symbols> {
        let is_exact = !self.takes_bytes && !self.file.ignore_merges && self.dropout.is_none();
        let symbols = self.vocab.symbols().filter(|_| is_exact)?;
        symbols.with_space_as(mark)
    }

    /// Append the ids of `pieces`, which are ranges of `text` in order.
    pub(super) fn encode_pieces(
        &self,
        text: &str,
        pieces: &[Range<usize>],
        scratch: &mut Scratch,
        random: &mut Random,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if self.dropout.is_some() {
            return pieces.iter().try_for_each(|piece| {
                let tokens = self.encode_with_ranges(&text[piece.clone()], scratch, random)?;
                ids.extend(tokens.into_iter().map(|(id, _)| id));
                Ok(())
            });
        }
        match (&self.known_bytes, self.takes_bytes) {
            (None, false) | (Some(KnownBytes::All), _) => {
                let (vocab, pieces) = (&self.vocab, pieces.iter().cloned());
                encode_pieces(vocab, vocab.symbols(), text, pieces, scratch, ids)
            }
            _ => pieces
                .iter()
                .try_for_each(|piece| self.encode_piece(&text[piece.clone()], scratch, ids)),
        }
    }

    /// Append the ids of one piece.
    pub(super) fn encode_piece(
        &self,
        piece: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let encoder = scratch.piece_encoder();
        let known = match &self.known_bytes {
            Some(KnownBytes::All) => return encoder.encode(&self.vocab, piece.as_bytes(), ids),
            Some(KnownBytes::Some(known)) => known,
            None if self.takes_bytes => {
                let piece = byte_level::to_text(piece.as_bytes());
                return encoder.encode(&self.vocab, piece.as_bytes(), ids);
            }
            None => return encoder.encode(&self.vocab, piece.as_bytes(), ids),
        };
        self.encode_known_bytes(known, piece.as_bytes(), scratch, ids)
    }

    /// Append the ids of one piece of bytes of which some are no tokens.
    fn encode_known_bytes(
        &self,
        known: &[bool; 256],
        piece: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if let Some(id) = self.vocab.whole_piece(piece) {
            ids.push(id);
            return Ok(());
        }
        // A byte that is no token is dropped, so its neighbours become neighbours.
        let is_known = |byte: &u8| known[usize::from(*byte)];
        let piece: Vec<u8> = piece.iter().copied().filter(is_known).collect();
        scratch.piece_encoder().encode(&self.vocab, &piece, ids)
    }

    /// The ids of one piece as files write it, with the bytes of it that each stands for.
    ///
    /// # Errors
    /// `Invalid` for a character outside the byte-level alphabet where pieces are bytes.
    pub(super) fn tokenize(
        &self,
        piece: &str,
        scratch: &mut Scratch,
        random: &mut Random,
    ) -> Result<Vec<(u32, usize)>> {
        let mut tokens = Vec::new();
        if let Some(dropout) = &self.dropout {
            dropout.encode(&self.vocab, piece, random, &mut tokens)?;
            return Ok(tokens);
        }
        let Some(known) = &self.known_bytes else {
            let encoder = scratch.piece_encoder();
            encoder.encode_with_lengths(&self.vocab, piece, &mut tokens)?;
            return Ok(tokens);
        };
        let bytes = byte_level::to_bytes(piece).ok_or_else(|| {
            Error::invalid(format!(
                "expected characters of the byte-level alphabet, got {piece}",
                piece = quoted(piece)
            ))
        })?;
        let mut ids = Vec::new();
        match known {
            KnownBytes::All => scratch
                .piece_encoder()
                .encode(&self.vocab, &bytes, &mut ids)?,
            KnownBytes::Some(known) => {
                self.encode_known_bytes(known, &bytes, scratch, &mut ids)?;
            }
        }
        let len = |id| self.token(id).map_or(0, str::len);
        Ok(ids.into_iter().map(|id| (id, len(id))).collect())
    }

    /// The ids of one piece, with the bytes of it that each stands for. Where characters or bytes are
    /// dropped, Hugging Face's engine adds up token lengths all the same.
    pub(super) fn encode_with_ranges(
        &self,
        piece: &str,
        scratch: &mut Scratch,
        random: &mut Random,
    ) -> Result<Vec<(u32, Range<usize>)>> {
        let mut start = 0;
        let mut next = |len: usize| {
            start += len;
            start - len..start
        };
        if self.has_all_bytes() {
            let mut ids = Vec::new();
            self.encode_piece(piece, scratch, &mut ids)?;
            let token_len = |id: u32| self.vocab.tokens().get(id).map_or(0, <[u8]>::len);
            return Ok(ids
                .into_iter()
                .map(|id| (id, next(token_len(id))))
                .collect());
        }
        let mut tokens = Vec::new();
        let encoder = scratch.piece_encoder();
        if !self.takes_bytes {
            match &self.dropout {
                Some(dropout) => dropout.encode(&self.vocab, piece, random, &mut tokens)?,
                None => encoder.encode_with_lengths(&self.vocab, piece, &mut tokens)?,
            }
            return Ok(tokens
                .into_iter()
                .map(|(id, len)| (id, next(len)))
                .collect());
        }
        // Lengths are those of the characters that bytes are written as.
        let source = alphabet_bytes(piece.as_bytes());
        if self.known_bytes.is_some() {
            let mut ids = Vec::new();
            self.encode_piece(piece, scratch, &mut ids)?;
            let token_len = |id| self.token(id).map_or(0, str::len);
            tokens.extend(ids.into_iter().map(|id| (id, token_len(id))));
        } else {
            let piece = byte_level::to_text(piece.as_bytes());
            match &self.dropout {
                Some(dropout) => dropout.encode(&self.vocab, &piece, random, &mut tokens)?,
                None => encoder.encode_with_lengths(&self.vocab, &piece, &mut tokens)?,
            }
        }
        let ranges = tokens.into_iter().map(|(id, len)| {
            let range = next(len);
            (id, source[range.start]..source[range.end - 1] + 1)
        });
        Ok(ranges.collect())
    }
}

/// Which bytes are tokens.
#[derive(Debug)]
enum KnownBytes {
    All,
    Some(Box<[bool; 256]>),
}

/// The vocabulary of a model whose pieces are bytes; `None` where it needs an unknown token.
fn byte_vocab(file: &BpeModel) -> Result<Option<(Vocab, KnownBytes)>> {
    let mut known = [false; 256];
    let mut tokens = Vec::with_capacity(file.vocab.len());
    for (token, id) in &file.vocab {
        // A token outside the byte-level alphabet is never the result of merging bytes.
        if let Some(bytes) = byte_level::to_bytes(token).filter(|bytes| !bytes.is_empty()) {
            if let [byte] = bytes[..] {
                known[byte as usize] = true;
            }
            tokens.push((bytes, *id));
        }
    }
    let known = match known.iter().all(|known| *known) {
        true => KnownBytes::All,
        false if file.unk_token.is_some() => return Ok(None),
        false => KnownBytes::Some(Box::new(known)),
    };
    let vocab = Vocab::from_merges(tokens, &file.merges, file.ignore_merges)?;
    Ok(Some((vocab, known)))
}

/// The vocabulary of a model whose pieces are characters.
fn character_vocab(file: &BpeModel) -> Result<Vocab> {
    Vocab::from_characters(&CharacterModel {
        tokens: &file.vocab,
        merges: &file.merges,
        unknown: file.unk_token.as_deref(),
        fuse_unknown: file.fuse_unk,
        byte_fallback: file.byte_fallback,
        prefix: file
            .continuing_subword_prefix
            .as_deref()
            .unwrap_or_default(),
        suffix: file.end_of_word_suffix.as_deref().unwrap_or_default(),
        whole_pieces: file.ignore_merges,
    })
}

/// For each byte of the UTF-8 of `piece` written in the byte-level alphabet, the index of the byte
/// that it stands for.
fn alphabet_bytes(piece: &[u8]) -> Vec<usize> {
    let lengths = piece
        .iter()
        .map(|&byte| byte_level::ALPHABET[usize::from(byte)].len_utf8());
    let indices = lengths.enumerate();
    indices
        .flat_map(|(index, length)| std::iter::repeat_n(index, length))
        .collect()
}
