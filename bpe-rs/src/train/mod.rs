//! Training: words and their counts in, merges out.
//!
//! [`Corpus`] holds the distinct words of the training text as tokens; [`Corpus::learn`] merges
//! the most frequent pair again and again. The merges are those of counting all pairs anew before
//! every merge, which the tests' reference implementation does.
//!
//! What makes it fast: words are records that vector instructions search (`records`, `apply`), long
//! ones in chunks (`layout`); every pair lists its words once, when it first appears (`new_pairs`);
//! counts only fall afterwards, so a queue with outdated ranks is exact (`queue`); rare pairs are
//! not tracked until they matter (`tracked`, `count_pairs`).

mod apply;
mod corpus;
pub mod count;
mod count_pairs;
mod growing_vocab;
mod layout;
mod merge_loop;
mod neighbourhood;
mod new_pairs;
mod options;
mod pair_counts;
mod queue;
mod records;
mod start_tokens;
mod thread_counts;
mod tracked;

#[cfg(test)]
mod tests;

pub use corpus::{Corpus, Segment, WordSource};
pub use growing_vocab::Learned;
pub use options::{TieBreak, TrainOptions};
pub use start_tokens::{LearnedMerges, StartTokens};
