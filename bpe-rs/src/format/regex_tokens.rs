//! The tokens of a regular expression in Oniguruma's syntax.

/// The tokens of a pattern: escapes, classes, `{n,m}` ranges, beginnings of groups, comments and single
/// characters.
pub(super) fn tokens(pattern: &str) -> Vec<&str> {
    let bytes = pattern.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'\\' => escape_end(pattern, at),
            b'[' => class_end(pattern, at),
            b'(' => group_start_end(pattern, at),
            b'{' => range_end(pattern, at).unwrap_or(at + 1),
            _ => at + pattern[at..].chars().next().map_or(1, char::len_utf8),
        };
        tokens.push(&pattern[at..end]);
        at = end;
    }
    tokens
}

/// Whether a token is `{n}`, `{n,}`, `{,m}` or `{n,m}`.
pub(super) fn is_range(token: &str) -> bool {
    token.len() > 2 && token.starts_with('{')
}

/// End of the range at `at`; `None` where the brace stands for itself.
fn range_end(pattern: &str, at: usize) -> Option<usize> {
    let len = pattern[at..].find('}')?;
    let inside = &pattern[at + 1..at + len];
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_range = is_number(least) && is_number(most) && !(least.is_empty() && most.is_empty());
    is_range.then_some(at + len + 1)
}

/// End of `(`, `(?:`, `(?<=`, `(?<name>`, `(?i)`, `(?#comment)` or the like at `at`.
fn group_start_end(pattern: &str, at: usize) -> usize {
    let Some(rest) = pattern[at + 1..].strip_prefix('?') else {
        return at + 1;
    };
    let start = at + 2;
    let until = |end: char| rest[1..].find(end).map(|len| start + 1 + len + 1);
    let named = match rest.as_bytes() {
        [b'<', b'=' | b'!', ..] => Some(start + 2),
        [b'<', ..] => until('>'),
        [b'\'', ..] => until('\''),
        [b'#', ..] => until(')'),
        _ => None,
    };
    named.unwrap_or_else(|| {
        let is_flag = |c: char| c.is_ascii_alphabetic() || c == '-';
        let flags = rest.len() - rest.trim_start_matches(is_flag).len();
        let last = rest[flags..].chars().next().map_or(0, char::len_utf8);
        start + flags + last
    })
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

/// End of `\x`, `\p{..}`, `\x{..}`, `\u{..}` or `\k<..>` at `at`.
pub(super) fn escape_end(pattern: &str, at: usize) -> usize {
    let mut characters = pattern[at + 1..].chars();
    let Some(letter) = characters.next() else {
        return pattern.len();
    };
    let end = at + 1 + letter.len_utf8();
    let rest = &pattern[end..];
    let until = |close: char| rest.find(close).map_or(pattern.len(), |len| end + len + 1);
    match letter {
        'p' | 'P' | 'x' | 'u' if rest.starts_with('{') => return until('}'),
        'k' if rest.starts_with('<') => return until('>'),
        _ => {}
    }
    // `\xE9` has two digits at most.
    let digits = rest.bytes().take(2).take_while(u8::is_ascii_hexdigit);
    end + if letter == 'x' { digits.count() } else { 0 }
}

/// The escapes of a class.
pub(super) fn escapes(class: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += class[at..].find('\\')?;
        let end = escape_end(class, at);
        let escape = &class[at..end];
        at = end;
        Some(escape)
    })
}
