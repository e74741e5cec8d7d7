//! Regular expressions in Hugging Face's dialect (Oniguruma, Ruby syntax).

use super::regex_tokens::{is_range, tokens};
use super::regex_translate::{differ, translated};
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
            r"^*a",
            r"(?<=a+)b",
            r"(?<=(?>a?))b",
            r"(?<!\R)b",
            r"a{2}?+",
            r"(?s:.)",
            r"(?i:ss)",
            r"(?i)ß",
            r"(?i)(s)(t)",
            r"(?i)s{2}",
            r"(?i:ΐ)",
            r"\p{Gr_aph}",
            r"\xE9",
            r"\pL",
            r"(?i)(a)\1",
            r"(?<n>a)(?<n>b)",
            r"(a)\2",
            r"a{2,1}",
            r"[\R]",
            r"\X",
            r"\K",
            r"\01",
            r"(?i)[a-z&&b]",
            r"(?i)[\W]",
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
            (r"^▁+$", r"(?m:^)▁+(?m:$)"),
            (r"^\s*\Z", r"(?:\A|(?m:^)(?!\z))\s*(?=\n?\z)"),
            (r"(a(?i)b|(?-i)c)d", r"(a(?i:b|(?-i:c)))d"),
            ("(?m:.)(?x: a b # c)\n)", "(?:(?s:.))(?:ab)"),
            (r"a{2}?b{1,3}(?#c)+c{,2}", r"(?:a{2})?(?:b{1,3})+c{0,2}"),
            (r"(?i)[ßa]|[^ß]", r"(?i)(?:[ßa]|ss)|[^ß]"),
            (r"(?'n'a)\k<n>", r"(?<n>a)\k<n>"),
            (r"a(?:b|c){1,3}+d{2}+", r"a(?:(?:b|c){1,3})+(?:d{2})+"),
            (r"[\h-]\h", r"[[0-9a-fA-F]-][0-9a-fA-F]"),
            (r"[[:^digit:]x]", r"[[^\p{Nd}]x]"),
            (r"\R", r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])"),
            (r"(?i)\p{Lu}|(?-i:\p{Lu})", r"(?i)(?-i:\p{Lu})|(?-i:\p{Lu})"),
        ] {
            assert_eq!(from_hugging_face(theirs).unwrap(), ours);
            // Written from `ours` it would not come back as this.
            assert_ne!(for_hugging_face(ours).ok().as_deref(), Some(theirs));
        }
    }
}
