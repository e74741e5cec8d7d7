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
        _ => match property(escape)? {
            ("word", false) => WORD.into(),
            ("word", true) => NOT_WORD.into(),
            (name, is_not) => posix_here(name, is_not)?,
        },
    })
}

/// The same for an escape in a class.
pub(super) fn class_escape_here(escape: &str) -> Option<Cow<'static, str>> {
    Some(Cow::from(match escape {
        r"\w" => CLASS_WORD,
        r"\W" => CLASS_NOT_WORD,
        r"\h" => HEX,
        r"\H" => NOT_HEX,
        r"\b" => r"\x08",
        _ => {
            let (name, is_not) = property(escape)?;
            return posix_here(name, is_not).map(Cow::from);
        }
    }))
}

/// A property that this engine does not have, in lower case, and whether `escape` is what lacks it.
fn property(escape: &str) -> Option<(&'static str, bool)> {
    let (is_not, braced) = match escape.strip_prefix(r"\p") {
        Some(braced) => (false, braced),
        None => (true, escape.strip_prefix(r"\P")?),
    };
    let name = braced.strip_prefix('{')?.strip_suffix('}')?;
    let mut names = ["word", "graph", "print", "xdigit"].into_iter();
    let found = names.find(|known| known.eq_ignore_ascii_case(name));
    found.map(|name| (name, is_not))
}

/// A POSIX class as a class.
fn posix_here(name: &str, is_not: bool) -> Option<String> {
    let (_, inside) = POSIX.iter().find(|(known, _)| *known == name)?;
    Some(format!("[{}{inside}]", if is_not { "^" } else { "" }))
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
            (class_escape_here(&class[at..end]).map(Cow::into_owned), end)
        } else if let Some((name, end)) = posix_at(class, at) {
            let known = posix_here(name.trim_start_matches('^'), name.starts_with('^'));
            (Some(known.ok_or_else(|| format!("[:{name}:]"))?), end)
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
