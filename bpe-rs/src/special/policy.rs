//! Which special tokens a text may hold: tiktoken's `allowed_special` and `disallowed_special`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::tokens::{Finder, SpecialTokens};
use crate::threads::lock;

/// A choice of special tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecialSelection {
    /// All of the encoding's.
    All,
    /// These strings, which need not all be special tokens.
    Only(BTreeSet<String>),
}

/// Finders of sets that callers passed before, because building a finder costs more than a short
/// call. Bounded.
#[derive(Debug, Default)]
pub struct FinderCache(Mutex<HashMap<BTreeSet<String>, Arc<Finder>>>);

impl FinderCache {
    /// Sets that are kept. When there are more, all are dropped.
    const MAX_SETS: usize = 128;

    fn finder_of(&self, strings: BTreeSet<String>) -> FinderChoice<'static> {
        if strings.is_empty() {
            return FinderChoice::None;
        }
        let mut kept = lock(&self.0);
        if let Some(finder) = kept.get(&strings) {
            return FinderChoice::Cached(Arc::clone(finder));
        }
        if kept.len() >= Self::MAX_SETS {
            kept.clear();
        }
        let finder = Arc::new(Finder::new(strings.iter().map(String::as_str)));
        kept.insert(strings, Arc::clone(&finder));
        FinderChoice::Cached(finder)
    }
}

#[derive(Debug)]
enum FinderChoice<'a> {
    None,
    All(&'a Finder),
    Cached(Arc<Finder>),
}

impl FinderChoice<'_> {
    fn finder(&self) -> Option<&Finder> {
        match self {
            Self::None => None,
            Self::All(finder) => Some(finder),
            Self::Cached(finder) => Some(finder),
        }
    }
}

/// What to do about special tokens in a text: encode the allowed ones as special tokens, refuse a
/// text with a disallowed one, take all others as plain text.
///
/// ```
/// use bpe_rs::{FinderCache, SpecialPolicy, SpecialSelection, SpecialTokens};
///
/// let tokens = SpecialTokens::new([("<end>".to_string(), 256), ("<pad>".to_string(), 257)])?;
/// let allowed = SpecialSelection::Only(["<end>".to_string()].into());
/// let cache = FinderCache::default();
/// let policy = SpecialPolicy::new(&tokens, &cache, allowed, SpecialSelection::All);
/// assert_eq!(policy.disallowed_in("text<end>"), None);
/// assert_eq!(policy.disallowed_in("text<pad>"), Some("<pad>"));
/// # Ok::<(), bpe_rs::Error>(())
/// ```
#[derive(Debug)]
pub struct SpecialPolicy<'a> {
    allowed: FinderChoice<'a>,
    disallowed: FinderChoice<'a>,
}

impl<'a> SpecialPolicy<'a> {
    /// tiktoken's rules: [`SpecialSelection::All`] for `disallowed` means all that are not allowed.
    pub fn new(
        special: &'a SpecialTokens,
        cache: &FinderCache,
        allowed: SpecialSelection,
        disallowed: SpecialSelection,
    ) -> Self {
        let disallowed = match (disallowed, &allowed) {
            (SpecialSelection::Only(set), _) => cache.finder_of(set),
            (SpecialSelection::All, SpecialSelection::All) => FinderChoice::None,
            (SpecialSelection::All, SpecialSelection::Only(set)) if set.is_empty() => {
                FinderChoice::All(special.finder())
            }
            (SpecialSelection::All, SpecialSelection::Only(set)) => {
                let rest = special
                    .iter()
                    .map(|(text, _)| text)
                    .filter(|text| !set.contains(*text));
                cache.finder_of(rest.map(String::from).collect())
            }
        };
        let allowed = match allowed {
            SpecialSelection::All => FinderChoice::All(special.finder()),
            SpecialSelection::Only(mut set) => {
                // Other strings may be allowed; they stay plain text.
                set.retain(|string| special.id_of(string).is_some());
                cache.finder_of(set)
            }
        };
        Self {
            allowed,
            disallowed,
        }
    }

    /// The finder of the allowed tokens; `None` where none is allowed.
    pub fn allowed(&self) -> Option<&Finder> {
        self.allowed.finder()
    }

    /// The first disallowed token in `text`.
    pub fn disallowed_in(&self, text: &str) -> Option<&str> {
        let (_, token) = self.disallowed.finder()?.find(text, 0)?;
        Some(token)
    }
}
