//! The texts of a batch to ids, short ones together.
//!
//! A short text has one or two new words, and a merge is a chain of look-ups that each wait for memory.
//! So the pieces of several texts go through the caches at once, and their new words are merged side by
//! side.

use super::joined_texts::JoinedTexts;
use super::lookup::{each_batch, BYTES_PER_CHECK};
use super::scratch::Scratch;
use super::value::write;
use crate::error::Result;
use crate::pretokenize::Pretokenizer;
use crate::threads::check_interrupt;
use crate::vocab::Vocab;

/// A longer text has pieces enough of its own.
const MOST_BYTES: usize = 1 << 10;

/// Encodes the texts of a batch.
pub trait EncodeText: Sync {
    /// Append the ids of `text`.
    ///
    /// # Errors
    /// Where `text` cannot be encoded.
    fn append_ids(&self, scratch: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()>;

    /// The vocabulary and the pattern with which [`encode_into`](super::encode_into) gives the ids of
    /// `text`, too; `None` where it does not. The vocabulary is the same for all texts.
    fn by_pattern(&self, text: &str) -> Option<(&Vocab, &Pretokenizer)>;
}

/// Append the ids of `texts` and call `done` with each and where its ids end.
///
/// # Errors
/// That of the first text that fails; `Interrupted` when the caller wants to stop.
pub(super) fn encode_each<T: AsRef<str>>(
    encoder: &impl EncodeText,
    scratch: &mut Scratch,
    texts: &[T],
    ids: &mut Vec<u32>,
    mut done: impl FnMut(&T, usize),
) -> Result<()> {
    scratch.joined.clear();
    let mut unchecked = 0;
    // The first of the texts that are joined and not encoded yet, and their vocabulary.
    let (mut first, mut vocab) = (0, None);
    for (at, item) in texts.iter().enumerate() {
        let text = item.as_ref();
        unchecked += text.len();
        if unchecked >= BYTES_PER_CHECK {
            check_interrupt()?;
            unchecked = 0;
        }
        let is_short = texts.len() > 1 && text.len() <= MOST_BYTES;
        let by_pattern = is_short.then(|| encoder.by_pattern(text)).flatten();
        vocab = vocab.or(by_pattern.map(|(vocab, _)| vocab));
        let is_joined =
            by_pattern.is_some_and(|(vocab, pattern)| join(scratch, vocab, pattern, text));
        if is_joined && !scratch.joined.is_full() && at + 1 < texts.len() {
            continue;
        }
        let waiting = &texts[first..at + usize::from(is_joined)];
        first = at + 1;
        if let Some(vocab) = vocab.filter(|_| !waiting.is_empty()) {
            let had = ids.len();
            if encode_joined(scratch, vocab, ids).is_ok() {
                let ends = &scratch.joined.ends;
                waiting
                    .iter()
                    .zip(ends)
                    .for_each(|(item, &end)| done(item, end));
            } else {
                // One by one, for the error of the first that fails.
                ids.truncate(had);
                for item in waiting {
                    encoder.append_ids(scratch, item.as_ref(), ids)?;
                    done(item, ids.len());
                }
            }
            scratch.joined.clear();
        }
        if !is_joined {
            encoder.append_ids(scratch, text, ids)?;
            done(item, ids.len());
        }
    }
    Ok(())
}

/// Append the ids of the texts that are joined to `ids`, and fill their `ends`.
///
/// # Errors
/// `Invalid` for a byte without a token, not always the first one.
fn encode_joined(scratch: &mut Scratch, vocab: &Vocab, ids: &mut Vec<u32>) -> Result<()> {
    let Scratch { caches, joined, .. } = scratch;
    let JoinedTexts {
        bytes,
        bounds,
        pieces,
        ends,
    } = joined;
    // The number of pieces in earlier batches.
    let mut before = 0;
    each_batch(caches, (vocab, None), bytes, bounds, |values, arena| {
        let mut from = 0;
        while let Some(to) = pieces.get(ends.len()).map(|end| end - before) {
            if to > values.len() {
                break;
            }
            write(&values[from..to], arena, ids);
            ends.push(ids.len());
            from = to;
        }
        write(&values[from..], arena, ids);
        before += values.len();
    })?;
    // Where all texts are empty there is no batch.
    ends.resize(pieces.len(), ids.len());
    Ok(())
}

/// Add a text to those that are encoded together; `false` where it cannot be.
fn join(scratch: &mut Scratch, vocab: &Vocab, pattern: &Pretokenizer, text: &str) -> bool {
    let Some(rules) = pattern.rules() else {
        return false;
    };
    if vocab.symbols().is_some() || vocab.stages().is_some() {
        return false;
    }
    scratch.joined.add(&mut scratch.scanner, rules, text);
    true
}

#[cfg(test)]
mod tests {
    use super::super::encode_into;
    use super::*;
    use crate::encode::tests::{sample, vocab_of};
    use crate::simd::Level;
    use crate::testing::{rounds, Random};

    /// Texts without a "~" are joined.
    struct Encoder {
        vocab: Vocab,
        pattern: Pretokenizer,
    }

    impl EncodeText for Encoder {
        fn append_ids(&self, scratch: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()> {
            encode_into(&self.vocab, &self.pattern, text, scratch, ids)
        }

        fn by_pattern(&self, text: &str) -> Option<(&Vocab, &Pretokenizer)> {
            let is_plain = !text.contains('~');
            is_plain.then_some((&self.vocab, &self.pattern))
        }
    }

    /// The ids of all texts, and where those of each end; the error if there is one.
    fn together(encoder: &Encoder, texts: &[&str]) -> (Vec<u32>, Vec<usize>, Option<String>) {
        let (mut ids, mut ends, mut scratch) = (vec![7], Vec::new(), Scratch::new(1 << 16));
        let done = |text: &&str, end| {
            assert_eq!(*text, texts[ends.len()]);
            ends.push(end);
        };
        let error = encode_each(encoder, &mut scratch, texts, &mut ids, done).err();
        (ids, ends, error.map(|error| error.to_string()))
    }

    /// [`together`], one text after the other.
    fn each(encoder: &Encoder, texts: &[&str]) -> (Vec<u32>, Vec<usize>, Option<String>) {
        let (mut ids, mut ends, mut scratch) = (vec![7], Vec::new(), Scratch::new(1 << 16));
        for text in texts {
            if let Err(error) = encoder.append_ids(&mut scratch, text, &mut ids) {
                return (ids, ends, Some(error.to_string()));
            }
            ends.push(ids.len());
        }
        (ids, ends, None)
    }

    #[test]
    fn texts_together_have_the_ids_of_each() {
        let all = sample(rounds(8000, 60)).replace('x', "~");
        let cuts: Vec<usize> = all.char_indices().map(|(at, _)| at).collect();
        let tokens = ["ab", "abab", "the", " the", "12", "é", "你好"];
        for name in &["gpt2", "cl100k", "o200k"][..rounds(3, 1)] {
            let encoder = Encoder {
                vocab: vocab_of(&tokens, |i| i),
                pattern: Pretokenizer::new(name).unwrap(),
            };
            let mut random = Random(4);
            for longest in [1, 30, 300, 3000].into_iter().take(rounds(4, 2)) {
                // Empty ones, too.
                let texts: Vec<&str> = (0..rounds(400, 8))
                    .map(|_| {
                        let from = random.below(cuts.len());
                        let to = (from + random.below(longest + 1)).min(cuts.len() - 1);
                        &all[cuts[from]..cuts[to.max(from)]]
                    })
                    .collect();
                let want = each(&encoder, &texts);
                Level::for_each(|_| assert!(together(&encoder, &texts) == want, "{longest}"));
            }
        }
        for texts in [&[][..], &[""], &["", ""], &["", "a", ""], &[""; 3000]] {
            let encoder = Encoder {
                vocab: vocab_of(&tokens, |i| i),
                pattern: Pretokenizer::new("gpt2").unwrap(),
            };
            assert_eq!(together(&encoder, texts), each(&encoder, texts));
        }
    }

    #[test]
    fn the_first_text_that_fails_counts() {
        let letters = (b' '..b'z').map(|byte| (vec![byte], u32::from(byte)));
        let encoder = Encoder {
            vocab: Vocab::from_ranks(letters).unwrap(),
            pattern: Pretokenizer::new("gpt2").unwrap(),
        };
        // Long pieces are merged after short ones, so the error of "{" would come first.
        let long = "abc".repeat(30) + "}";
        let texts = ["one", "two", "", &long, "three {", "~", "four"];
        for skip in 0..texts.len() {
            let (had, want) = (
                together(&encoder, &texts[skip..]),
                each(&encoder, &texts[skip..]),
            );
            assert_eq!((had.1, had.2), (want.1, want.2), "{skip}");
        }
        assert!(each(&encoder, &texts).2.unwrap().contains("0x7d"));
    }
}
