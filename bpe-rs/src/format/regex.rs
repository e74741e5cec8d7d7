//! Regular expressions in Hugging Face's dialect (Oniguruma, Ruby syntax).

use std::borrow::Cow;

use super::regex_classes::{class_escape_here, class_here, escape_end, escape_here};
use crate::error::{Error, Result};
use crate::pretokenize::NAMED;

/// `pattern` as Hugging Face writes it: `$` and `^` mean the ends of the text here and of a line
/// there, and only here is `{n,m}+` possessive.
///
/// # Errors
/// `Invalid` for what has no counterpart: a possessive `{n,m}+` after a group, `\w`.
pub(super) fn for_hugging_face(pattern: &str) -> Result<String> {
    let tokens = tokens(pattern);
    let mut out: Vec<String> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at];
        match token {
            "$" => out.push("\\z".into()),
            "^" => out.push("\\A".into()),
            _ if is_range(token) && tokens.get(at + 1) == Some(&"+") => {
                let atom = out.pop().filter(|atom| atom != ")");
                let atom = atom.ok_or_else(|| {
                    Error::invalid(format!(
                        "expected a pattern that tokenizer.json can hold, got a possessive \
                         {token}+ behind a group in {pattern}; write it as (?>...)"
                    ))
                })?;
                out.push(format!("(?>{atom}{token})"));
                at += 1;
            }
            _ => out.push(token.into()),
        }
        at += 1;
    }
    let made = out.concat();
    // What has to be written in another way for this engine means something else in the other.
    match translated(&made)? {
        same if same == made => Ok(made),
        _ => Err(differ(&made, "an escape whose meaning is another there")),
    }
}

/// A pattern of a `tokenizer.json` for this crate's engine: the regular expression of a named pattern
/// where it was made from that, otherwise itself, as this engine has to read it.
///
/// # Errors
/// `Invalid` for what the two engines read differently.
pub(crate) fn from_hugging_face(pattern: &str) -> Result<String> {
    let is_made_from = |regex: &str| for_hugging_face(regex).is_ok_and(|made| made == pattern);
    if let Some(named) = NAMED.iter().find(|named| is_made_from(named.regex)) {
        return Ok(named.regex.into());
    }
    translated(pattern)
}

/// Letters of the escapes that both engines read alike.
const ESCAPES: &str = "aAdDefnpPrsStuvxz";

/// The beginnings of groups that both engines read alike.
const GROUPS: [&str; 9] = [
    "(", "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?-i:",
];

fn differ(pattern: &str, what: &str) -> Error {
    Error::invalid(format!(
        "expected a pattern that Hugging Face's regex engine and this one read alike, got {what} in \
         {pattern}; write it without, or use the original tokenizer"
    ))
}

/// A pattern that is written for Hugging Face's engine, for this one.
///
/// Both engines find the same matches but for what is translated or refused here. The classes `\s`,
/// `\d` and `\p{..}` are the same sets of characters in both (compared over all code points, as are the
/// translations of [`super::regex_classes`]). There, `{n,m}+` repeats what `{n,m}` repeats; here, it
/// would be possessive. Regardless of case, Hugging Face's engine also lets one character match two (ß and ss), and
/// `\p{..}` keeps its case.
fn translated(pattern: &str) -> Result<String> {
    let differ = |what: &str| differ(pattern, what);
    let tokens = tokens(pattern);
    let mut out = String::with_capacity(pattern.len());
    // For each open group, whether case is ignored in it.
    let mut folds = vec![false];
    // Whether a group or an alternative begins here.
    let mut begins = true;
    // The letters up to here that are compared regardless of case.
    let mut folded = String::new();
    // Where in `out` each open group and the last atom begin.
    let (mut open, mut atom) = (Vec::new(), 0);
    for (at, token) in tokens.iter().enumerate() {
        let fold = folds.last().copied().unwrap_or(false);
        let began = std::mem::replace(&mut begins, false);
        let mut written = Cow::Borrowed(*token);
        let is_quantifier = matches!(*token, "*" | "+" | "?" | "|") || is_range(token);
        if !is_quantifier && *token != ")" {
            atom = out.len();
        }
        let first = token.chars().next().unwrap_or_default();
        match *token {
            "^" | "$" => {
                return Err(differ(&format!(
                    "{token}, the end of a line or of the text"
                )))
            }
            // Elsewhere, all alternatives that follow belong to it in the other engine.
            "(?i)" if began => {
                if let Some(fold) = folds.last_mut() {
                    *fold = true;
                }
            }
            "(?i)" => return Err(differ("(?i) in the middle of a group")),
            _ if GROUPS.contains(token) => {
                folds.push(match *token {
                    "(?i:" => true,
                    "(?-i:" => false,
                    _ => fold,
                });
                begins = true;
                open.push(out.len());
            }
            _ if token.starts_with("(?") => return Err(differ(&format!("the group {token}"))),
            ")" => {
                folds.pop();
                atom = open.pop().unwrap_or(0);
            }
            "|" => {
                begins = true;
                folded.clear();
            }
            _ if is_range(token) => {
                let next = tokens.get(at + 1).copied().unwrap_or_default();
                if next == "?" && !token.contains(',') {
                    return Err(differ(&format!("{token}{next}")));
                }
                if token.starts_with("{,") || fold && folded.ends_with(['s', 'f']) {
                    return Err(differ(token));
                }
                if next == "+" {
                    out.insert_str(atom, "(?:");
                    written = format!("{token})").into();
                }
                folded.clear();
            }
            _ if first == '[' => {
                check_class(token, fold).map_err(|what| differ(&what))?;
                written = class_here(token).map_err(|what| differ(&what))?;
                folded.clear();
            }
            "\\<" | "\\>" => written = token[1..].into(),
            _ if first == '\\' => {
                if let Some(here) = escape_here(token) {
                    written = here.into();
                } else {
                    check_escape(token).map_err(|what| differ(&what))?;
                }
                match token.as_bytes().get(1) {
                    Some(b'p' | b'P') if fold => {
                        written = format!("(?-i:{token})").into();
                    }
                    Some(b'x' | b'u') if fold => {
                        return Err(differ(&format!("{token} regardless of case")));
                    }
                    _ => {}
                }
                folded.clear();
            }
            "." | "*" | "+" | "?" => folded.clear(),
            _ if fold => {
                folded.extend(first.to_lowercase());
                let pair = ["ss", "st", "ff", "fi", "fl"]
                    .into_iter()
                    .find(|pair| folded.ends_with(pair));
                if pair.is_some() || folds_to_several(first) {
                    let what = pair.map_or_else(|| first.to_string(), String::from);
                    return Err(differ(&format!("{what} regardless of case")));
                }
            }
            _ => {}
        }
        out.push_str(&written);
    }
    Ok(out)
}

/// Whether a character is equal to several regardless of case, or belongs to several that are equal
/// to one (Unicode's CaseFolding.txt, status F). Some more are counted in, for short ranges.
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

/// Check a class `[...]`.
fn check_class(class: &str, fold: bool) -> std::result::Result<(), String> {
    for operator in ["--", "~~"] {
        if class.contains(operator) {
            return Err(format!("{operator} in a class"));
        }
    }
    let inside = &class[1..];
    let mut others = escapes(inside).filter(|escape| class_escape_here(escape).is_none());
    others.try_for_each(check_escape)?;
    // A class of what is not listed matches one character in both engines.
    if !fold || inside.starts_with('^') {
        return Ok(());
    }
    let is_safe = |escape: &str| match escape.as_bytes() {
        [_, b'p', ..] => escape[2..]
            .trim_start_matches(['{', ' '])
            .starts_with(['N', 'P', 'S', 'Z']),
        [_, b's' | b'd' | b'r' | b'n' | b't' | b'f' | b'v', ..] => true,
        [_, other, ..] => !other.is_ascii_alphanumeric(),
        _ => false,
    };
    let unsafe_escape = escapes(inside).find(|escape| !is_safe(escape));
    let is_range = || inside.contains('-') && !inside.is_ascii();
    if unsafe_escape.is_some()
        || inside.contains('[')
        || inside.contains("&&")
        || inside.chars().any(folds_to_several)
        || is_range()
    {
        return Err(format!("the class {class} regardless of case"));
    }
    Ok(())
}

/// Check an escape.
fn check_escape(escape: &str) -> std::result::Result<(), String> {
    let letter = escape.chars().nth(1);
    let is_alike = match letter {
        None => false,
        Some('p' | 'P') => {
            let name: String = escape[2..]
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect();
            escape[2..].starts_with('{')
                && !["graph", "print", "word"].contains(&name.to_lowercase().as_str())
        }
        // Two digits are a byte there and a character here.
        Some('x') => !escape[2..].starts_with(|digit: char| digit > '7' && digit != '{'),
        Some(letter) => !letter.is_ascii_alphanumeric() || ESCAPES.contains(letter),
    };
    is_alike.then_some(()).ok_or_else(|| escape.to_string())
}

/// The escapes of a class.
fn escapes(class: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += class[at..].find('\\')?;
        let end = escape_end(class, at);
        let escape = &class[at..end];
        at = end;
        Some(escape)
    })
}

fn is_range(token: &str) -> bool {
    token.len() > 2 && token.starts_with('{') && token.bytes().any(|byte| byte.is_ascii_digit())
}

/// The tokens of a pattern: escapes, classes, `{...}` ranges, beginnings of groups and single
/// characters.
fn tokens(pattern: &str) -> Vec<&str> {
    let bytes = pattern.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'\\' => escape_end(pattern, at),
            b'[' => class_end(pattern, at),
            b'(' => group_start_end(pattern, at),
            b'{' => pattern[at..].find('}').map_or(at + 1, |len| at + len + 1),
            _ => at + pattern[at..].chars().next().map_or(1, char::len_utf8),
        };
        tokens.push(&pattern[at..end]);
        at = end;
    }
    tokens
}

/// End of `(`, `(?:`, `(?<=`, `(?i)` or the like at `at`.
fn group_start_end(pattern: &str, at: usize) -> usize {
    let Some(rest) = pattern[at + 1..].strip_prefix('?') else {
        return at + 1;
    };
    let flags = rest.len()
        - rest
            .trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '-')
            .len();
    let flags = if rest.starts_with('<') { 1 } else { flags };
    let last = rest[flags..].chars().next().map_or(0, char::len_utf8);
    at + 2 + flags + last
}

/// End of the class at `at`, nested classes included.
fn class_end(pattern: &str, at: usize) -> usize {
    let mut depth = 0;
    let mut here = at;
    while here < pattern.len() {
        let character = pattern[here..].chars().next().unwrap_or('\0');
        match character {
            '\\' => {
                here = escape_end(pattern, here);
                continue;
            }
            '[' => {
                depth += 1;
                // A `]` that comes first is a member.
                let negated = usize::from(pattern[here + 1..].starts_with('^'));
                here += negated + usize::from(pattern[here + 1 + negated..].starts_with(']'));
            }
            ']' if depth == 1 => return here + 1,
            ']' => depth -= 1,
            _ => {}
        }
        here += character.len_utf8();
    }
    pattern.len()
}

#[cfg(test)]
mod tests {
    use super::{for_hugging_face, from_hugging_face};

    #[test]
    fn anchors_and_possessive_ranges() {
        for (ours, theirs) in [
            (r"\s++$|\s", r"\s++\z|\s"),
            (r"^a[$^]\$", r"\Aa[$^]\$"),
            (r"\p{N}{1,3}+| ?x", r"(?>\p{N}{1,3})| ?x"),
            (r"[ab]{2}+c{1,2}", r"(?>[ab]{2})c{1,2}"),
            (r"[^\]$]+é", r"[^\]$]+é"),
        ] {
            assert_eq!(for_hugging_face(ours).unwrap(), theirs);
        }
        let error = for_hugging_face("(ab){2}+").unwrap_err().to_string();
        assert!(error.contains("{2}+"), "{error}");
    }

    #[test]
    fn what_the_engines_read_differently() {
        for pattern in [
            r"a$",
            r"^a",
            r"(?s:.)",
            r"(?i:ss)",
            r"(?i)ß",
            r"(?i)[à-ÿ]",
            r"(?i)(s)(t)",
            r"(?i)s{2}",
            r"(?i:ΐ)",
            r"a(?i)b|c",
            r"(?m:.)",
            r"a{2}?",
            r"\p{Word}",
            r"\xE9",
            r"\pL",
            r"(a)\1",
            r"(?<n>a)",
            r"a{,2}",
            r"[\b]",
            r"[\R]",
            r"\X",
            r"(?i)[a-z&&b]",
            r"(?i)[\w]",
            r"[[:sideways:]]",
        ] {
            assert!(from_hugging_face(pattern).is_err(), "{pattern}");
        }
        for pattern in [
            r"\s?\p{L}+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)",
            r#"[!"\#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"#,
            r"[一-龥ࠀ-一가-퟿]+",
            r"(?i:['’]s|é)|[]a]|[^]&]+|a{2,}?",
            r"(?<=[a-z])(?=[A-Z])|(?<!a)b",
            r"(?i:s)(t)",
            r"[\p{Lu}&&[^\p{Han}]]+",
        ] {
            assert_eq!(from_hugging_face(pattern).unwrap(), pattern);
        }
        for (theirs, ours) in [
            (r"\<a\>", r"<a>"),
            (r"a(?:b|c){1,3}+d{2}+", r"a(?:(?:b|c){1,3})+(?:d{2})+"),
            (r"[\h-]\h", r"[[0-9a-fA-F]-][0-9a-fA-F]"),
            (r"[[:^digit:]x]", r"[[^\p{Nd}]x]"),
            (r"\R", r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])"),
            (r"(?i)\p{Lu}|(?-i:\p{Lu})", r"(?i)(?-i:\p{Lu})|(?-i:\p{Lu})"),
        ] {
            assert_eq!(from_hugging_face(theirs).unwrap(), ours);
            assert!(for_hugging_face(theirs).is_err());
        }
    }
}
