//! Regular expressions in Hugging Face's dialect (Oniguruma, Ruby syntax).

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
                         {token}+ behind a group in {pattern:?}; write it as (?>...)"
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
    check_common(&made)?;
    Ok(made)
}

/// A pattern of a `tokenizer.json` for this crate's engine: the regular expression of a named pattern
/// where it was made from that, otherwise itself.
///
/// # Errors
/// `Invalid` for what the two engines read differently.
pub(crate) fn from_hugging_face(pattern: &str) -> Result<String> {
    let is_made_from = |regex: &str| for_hugging_face(regex).is_ok_and(|made| made == pattern);
    if let Some(named) = NAMED.iter().find(|named| is_made_from(named.regex)) {
        return Ok(named.regex.into());
    }
    check_common(pattern)?;
    Ok(pattern.into())
}

/// Letters of escapes that Oniguruma and this crate's engine read differently, or that only one of
/// them has.
const DIFFERENT: &str = "wWbBhHRXGKZkgyYNO123456789";

/// Checks that both engines read `pattern` alike.
///
/// The categories `\p{..}`, `\s` and `\d` are the same sets of characters in both (compared over
/// all code points); `\w` is not.
fn check_common(pattern: &str) -> Result<()> {
    let differ = |what: &str| {
        Err(Error::invalid(format!(
            "expected a pattern that Hugging Face's regex engine and this one read alike, got \
             {what} in {pattern:?}; write it without, or use the original tokenizer"
        )))
    };
    let tokens = tokens(pattern);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "^" | "$" => return differ(&format!("{token:?}, the end of a line or of the text")),
            _ if is_range(token) => {
                if tokens.get(at + 1) == Some(&"+") {
                    return differ(&format!("\"{token}+\""));
                }
                if token.starts_with("{,") {
                    return differ(&format!("{token:?}"));
                }
            }
            _ if token.starts_with('[') => {
                for operator in ["&&", "--", "~~", "[:"] {
                    if token.contains(operator) {
                        return differ(&format!("{operator:?} in a class"));
                    }
                }
                if let Some(escape) = escapes(&token[1..]).find(|escape| is_different(escape)) {
                    return differ(&format!("{escape:?}"));
                }
            }
            _ if is_different(token) => return differ(&format!("{token:?}")),
            _ => {}
        }
    }
    for (at, _) in pattern.match_indices("(?") {
        let rest = &pattern[at + 2..];
        let known = ["i:", ":", "=", "!", ">", "<=", "<!", "i)"];
        if !known.iter().any(|start| rest.starts_with(start)) {
            let shown: String = rest.chars().take(3).collect();
            return differ(&format!("the group (?{shown}..."));
        }
    }
    // Without case, one engine matches these with one character (ss with ß), the other does not.
    let folded = ["ss", "st", "ff", "fi", "fl"];
    if pattern.contains("(?i") {
        let lower = pattern.to_lowercase();
        if let Some(letters) = folded.iter().find(|letters| lower.contains(**letters)) {
            return differ(&format!("{letters:?} regardless of case"));
        }
    }
    Ok(())
}

/// Whether a token is an escape that the engines read differently.
fn is_different(token: &str) -> bool {
    let mut characters = token.chars();
    if characters.next() != Some('\\') {
        return false;
    }
    match characters.next() {
        Some('p' | 'P') => !token[2..].starts_with('{') || token[2..].starts_with("{^"),
        Some(letter) => DIFFERENT.contains(letter),
        None => true,
    }
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

/// The tokens of a pattern: escapes, classes, `{...}` ranges and single characters.
fn tokens(pattern: &str) -> Vec<&str> {
    let bytes = pattern.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'\\' => escape_end(pattern, at),
            b'[' => class_end(pattern, at),
            b'{' => pattern[at..].find('}').map_or(at + 1, |len| at + len + 1),
            _ => at + pattern[at..].chars().next().map_or(1, char::len_utf8),
        };
        tokens.push(&pattern[at..end]);
        at = end;
    }
    tokens
}

/// End of `\x`, `\p{..}`, `\x{..}` or `\u{..}` at `at`.
fn escape_end(pattern: &str, at: usize) -> usize {
    let mut characters = pattern[at + 1..].chars();
    let Some(letter) = characters.next() else {
        return pattern.len();
    };
    let end = at + 1 + letter.len_utf8();
    if matches!(letter, 'p' | 'P' | 'x' | 'u') && pattern[end..].starts_with('{') {
        return pattern[end..]
            .find('}')
            .map_or(pattern.len(), |len| end + len + 1);
    }
    end
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
            '[' => depth += 1,
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
            r"\w+",
            r"[\w-]",
            r"a$",
            r"^a",
            r"a{2}+",
            r"\bx",
            r"[a&&b]",
            r"(?s:.)",
            r"(?i:ss)",
            r"\pL",
            r"\p{^L}",
            r"(a)\1",
            r"[[:alpha:]]",
            r"(?<n>a)",
            r"a{,2}",
            r"\h",
        ] {
            assert!(from_hugging_face(pattern).is_err(), "{pattern}");
        }
        for pattern in [
            r"\s?\p{L}+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)",
            r#"[!"\#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"#,
            r"[一-龥ࠀ-一가-퟿]+",
        ] {
            assert_eq!(from_hugging_face(pattern).unwrap(), pattern);
        }
    }
}
