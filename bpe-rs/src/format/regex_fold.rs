//! What Hugging Face's regex engine matches regardless of case: there, one character may be equal to
//! several (ß and ss, Unicode's CaseFolding.txt, status F).

use fancy_regex::Regex;

use super::regex_tokens::escapes;

/// Pairs of letters that one character is equal to.
const PAIRS: [&str; 5] = ["ss", "st", "ff", "fi", "fl"];

/// The letters of a pattern that are compared regardless of case, as far as they are neighbours.
#[derive(Debug, Default)]
pub(super) struct FoldedLetters(String);

impl FoldedLetters {
    /// Something else follows.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the last letter, repeated, is a pair that one character is equal to.
    pub(super) fn may_pair(&self) -> bool {
        self.0.ends_with(['s', 'f'])
    }

    /// A letter that follows; what it makes of the pattern that the engines read differently.
    pub(super) fn push(&mut self, letter: char) -> Result<(), String> {
        self.0.extend(letter.to_lowercase());
        let pair = PAIRS.into_iter().find(|pair| self.0.ends_with(pair));
        if pair.is_some() || folds_to_several(letter) {
            let what = pair.map_or_else(|| letter.to_string(), String::from);
            return Err(format!("{what} regardless of case"));
        }
        Ok(())
    }
}

/// Whether a character is equal to several regardless of case, or belongs to several that are equal
/// to one. Some more are counted in, for short ranges.
fn folds_to_several(character: char) -> bool {
    character.to_lowercase().any(|character| {
        matches!(
            character,
            'ß' | 'ŉ' | 'ǰ' | 'ʼ' | 'ʾ' | 'İ'
                | '\u{300}'..='\u{3ff}'
                | '\u{530}'..='\u{58f}'
                | '\u{1e96}'..='\u{1e9e}'
                | '\u{1f00}'..='\u{1fff}'
                | '\u{fb00}'..='\u{fb17}'
        )
    })
}

/// The characters that `character` is equal to regardless of case, where these are several.
fn several(character: char) -> Option<String> {
    let upper = character.to_lowercase().flat_map(char::to_uppercase);
    let folded: String = upper.flat_map(char::to_lowercase).collect();
    folded.chars().nth(1).is_some().then_some(folded)
}

/// The class `here`, which is `class` translated, where case does not count: its characters, and then
/// all that one of them is equal to.
///
/// # Errors
/// What the engines read differently.
pub(super) fn folded_class(class: &str, here: &str) -> Result<String, String> {
    let inside = &class[1..];
    // A class of what is not listed matches one character in both engines.
    if inside.starts_with('^') {
        return Ok(here.into());
    }
    // There, what is nested is folded with the whole; here, before it is negated or intersected.
    let is_nested = inside.replace("[:", "").contains('[') || inside.contains("&&");
    let is_complement = |escape: &str| {
        matches!(escape.as_bytes(), [_, b'W' | b'S' | b'D' | b'H' | b'P', ..])
            || escape.starts_with("\\p{^")
    };
    if is_nested || inside.contains("[:^") || escapes(inside).any(is_complement) {
        return Err(format!("the class {class} regardless of case"));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " '’_,.-".contains(c);
    if inside.trim_end_matches(']').chars().all(is_plain) {
        return Ok(here.into());
    }
    let members = Regex::new(here).map_err(|error| format!("the class {class} ({error})"))?;
    let mut all = vec![here.to_owned()];
    for character in '\u{df}'..='\u{fb17}' {
        let Some(letters) = several(character) else {
            continue;
        };
        let is_member = members.is_match(character.encode_utf8(&mut [0; 4]));
        if is_member.unwrap_or(false) && !all.contains(&letters) {
            all.push(letters);
        }
    }
    Ok(match &all[..] {
        [class] => class.clone(),
        all => format!("(?:{})", all.join("|")),
    })
}
