//! Cuts where the script of a text changes.

use std::ops::Range;

use super::script_table::SCRIPTS;

/// The number of characters that stand beside any script.
const ANY: u8 = 0;

/// The number of the script of a character.
fn script(character: char) -> u8 {
    let code = match character {
        ' ' => return ANY,
        _ => character as u32,
    };
    let after = SCRIPTS.partition_point(|(first, _)| *first <= code);
    SCRIPTS[..after].last().map_or(ANY, |(_, script)| *script)
}

/// Append the parts of `text`. What stands before the first character that has a script is left out, as
/// in Hugging Face's engine.
pub(super) fn cut(text: &str, out: &mut Vec<Range<usize>>) {
    let (mut last, mut start) = (ANY, None);
    for (at, character) in text.char_indices() {
        let script = script(character);
        if script == ANY || script == last {
            continue;
        }
        out.extend(start.map(|start| start..at));
        (last, start) = (script, Some(at));
    }
    out.extend(start.map(|start| start..text.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_in_order() {
        assert!(SCRIPTS.windows(2).all(|two| two[0].0 < two[1].0));
        let pairs = [('a', 'é', true), ('あ', '一', true), ('a', 'я', false)];
        for (left, right, are_one) in pairs {
            assert_eq!(script(left) == script(right), are_one, "{left} {right}");
        }
    }

    #[test]
    fn parts() {
        let mut parts = Vec::new();
        cut("  abc, あ一 ー!", &mut parts);
        assert_eq!(parts, [2..5, 5..7, 7..17, 17..18]);
        parts.clear();
        cut("   ", &mut parts);
        assert!(parts.is_empty());
    }
}
