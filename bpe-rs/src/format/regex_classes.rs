//! Sets of characters that Hugging Face's regex engine has under names which mean other sets here.
//! Their translations were compared over all code points.

use std::borrow::Cow;

use super::regex_tokens::escape_end;

/// `\w`, outside of classes: there, six characters of Latin-1 belong to it that have no letter's
/// properties, and the joiners do not.
const WORD: &str = r"[[\w\x{B2}\x{B3}\x{B9}\x{BC}\x{BD}\x{BE}]--[\x{200C}\x{200D}]]";
const NOT_WORD: &str = r"[[^\w\x{B2}\x{B3}\x{B9}\x{BC}\x{BD}\x{BE}]\x{200C}\x{200D}]";
/// `\w` in a class.
const CLASS_WORD: &str = r"[\w--[\x{200C}\x{200D}]]";
const CLASS_NOT_WORD: &str = r"[\W\x{200C}\x{200D}]";
const HEX: &str = "[0-9a-fA-F]";
const NOT_HEX: &str = "[^0-9a-fA-F]";
/// `\R`.
const LINE_END: &str = r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])";

/// The POSIX classes, as the insides of classes.
const POSIX: [(&str, &str); 14] = [
    ("alpha", r"\p{Alphabetic}"),
    ("alnum", r"\p{Alphabetic}\p{Nd}"),
    ("digit", r"\p{Nd}"),
    ("space", r"\s"),
    ("upper", r"\p{Uppercase}"),
    ("lower", r"\p{Lowercase}"),
    ("punct", r"\p{P}\p{S}"),
    ("cntrl", r"\p{Cc}"),
    ("xdigit", "0-9a-fA-F"),
    ("word", CLASS_WORD),
    ("graph", r"[^\s\p{Cc}\p{Cn}\p{Cs}]"),
    ("print", r"[[^\p{Cc}\p{Cn}\p{Cs}]--[\x{2028}\x{2029}]]"),
    ("ascii", r"\x00-\x7F"),
    ("blank", r"\p{Zs}\t"),
];

/// An escape outside of classes for this engine; `None` where it is the same or not known.
pub(super) fn escape_here(escape: &str) -> Option<String> {
    Some(match escape {
        r"\w" => WORD.into(),
        r"\W" => NOT_WORD.into(),
        r"\h" => HEX.into(),
        r"\H" => NOT_HEX.into(),
        r"\R" => LINE_END.into(),
        r"\N" => r"[^\n]".into(),
        r"\0" => r"\x00".into(),
        r"\b" => format!("(?:(?<={WORD})(?!{WORD})|(?<!{WORD})(?={WORD}))"),
        r"\B" => format!("(?:(?<={WORD})(?={WORD})|(?<!{WORD})(?!{WORD}))"),
        _ => return None,
    })
}

/// The same for an escape in a class.
pub(super) fn class_escape_here(escape: &str) -> Option<&'static str> {
    Some(match escape {
        r"\w" => CLASS_WORD,
        r"\W" => CLASS_NOT_WORD,
        r"\h" => HEX,
        r"\H" => NOT_HEX,
        r"\b" => r"\x08",
        _ => return None,
    })
}

/// A class for this engine.
///
/// # Errors
/// A POSIX class that is not known.
pub(super) fn class_here(class: &str) -> Result<Cow<'_, str>, String> {
    let (mut out, mut at, mut done) = (String::new(), 0, 0);
    while at < class.len() {
        let rest = &class[at..];
        let (here, end) = if rest.starts_with('\\') {
            let end = escape_end(class, at);
            (class_escape_here(&class[at..end]).map(String::from), end)
        } else if let Some((name, end)) = posix_at(class, at) {
            let is_not = name.starts_with('^');
            let known = POSIX
                .iter()
                .find(|(known, _)| *known == name.trim_start_matches('^'));
            let (_, inside) = known.ok_or_else(|| format!("[:{name}:]"))?;
            (
                Some(format!("[{}{inside}]", if is_not { "^" } else { "" })),
                end,
            )
        } else {
            (None, at + rest.chars().next().map_or(1, char::len_utf8))
        };
        if let Some(here) = here {
            out.push_str(&class[done..at]);
            out.push_str(&here);
            done = end;
        }
        at = end;
    }
    if done == 0 {
        return Ok(class.into());
    }
    out.push_str(&class[done..]);
    Ok(out.into())
}

/// The name of the POSIX class at `at`, and where it ends.
fn posix_at(class: &str, at: usize) -> Option<(&str, usize)> {
    let rest = class[at..].strip_prefix("[:")?;
    let len = rest.find(":]")?;
    Some((&rest[..len], at + 2 + len + 2))
}
