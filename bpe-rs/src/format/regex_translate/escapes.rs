//! Escapes, references and the escapes of classes.

use std::borrow::Cow;

use super::{group_name, Step, Translation};
use crate::format::regex_classes::{class_escape_here, escape_here};
use crate::format::regex_tokens::escapes;

/// Letters of the escapes that both engines read alike.
const ESCAPES: &str = "aAdDefnpPrsStuvxz";

impl<'a> Translation<'a> {
    pub(super) fn escape(&mut self, escape: &'a str) -> Step {
        let fold = self.flags().fold;
        let bytes = escape.as_bytes();
        let mut here = Cow::Borrowed(escape);
        match bytes.get(1) {
            Some(b'0') if self.peek().starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(format!("{escape} with more digits"));
            }
            Some(b'R') if self.flags().looks_behind => {
                return Err(format!("{escape} in what looks behind"));
            }
            Some(b'1'..=b'9' | b'k') => self.check_back_reference(escape)?,
            Some(b'p' | b'P') if escape.contains("{^") => {
                let other = if bytes[1] == b'p' { "\\P{" } else { "\\p{" };
                let other = escape[2..].replacen("{^", other, 1);
                here = match escape_here(&other) {
                    Some(known) => known.into(),
                    None => check_escape(&other).map(|()| other.into())?,
                };
            }
            _ => match escape_here(escape) {
                Some(known) => here = known.into(),
                None => check_escape(escape)?,
            },
        }
        match bytes.get(1) {
            Some(b'x' | b'u') if fold => return Err(format!("{escape} regardless of case")),
            // Classes keep their case there.
            Some(b'p' | b'P' | b'w' | b'W' | b'h' | b'H') if fold => {
                here = format!("(?-i:{here})").into();
            }
            _ => {}
        }
        self.write_atom(&here);
        Ok(())
    }

    /// Check a reference to what a group matched.
    fn check_back_reference(&self, escape: &str) -> Step {
        if self.flags().fold {
            return Err(format!("the reference {escape} regardless of case"));
        }
        let named = escape.strip_prefix("\\k<");
        let name = named.map_or(&escape[1..], |name| name.trim_end_matches('>'));
        let is_digit = |token: &str| token.starts_with(|c: char| c.is_ascii_digit());
        let is_known = match named {
            Some(_) => self.tokens[..self.at]
                .iter()
                .any(|token| group_name(token) == Some(name)),
            None => {
                let number: Option<usize> = name.parse().ok();
                let is_one = number.is_some_and(|number| number <= self.opened());
                is_one && self.names.is_empty() && !is_digit(self.peek())
            }
        };
        // The group must have ended, too.
        match is_known && self.groups.iter().all(|group| group.name != name) {
            true => Ok(()),
            false => Err(format!("the reference {escape}")),
        }
    }
}

/// Check a class `[...]`.
pub(super) fn check_class(class: &str) -> Step {
    if class.contains("--") {
        return Err("-- in a class".into());
    }
    let mut others = escapes(&class[1..]).filter(|escape| class_escape_here(escape).is_none());
    others.try_for_each(check_escape)
}

/// Check an escape.
fn check_escape(escape: &str) -> Step {
    let letter = escape.chars().nth(1);
    let is_alike = match letter {
        None => false,
        Some('p' | 'P') => {
            let name: String = escape[2..]
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect();
            escape[2..].starts_with('{')
                && !escape.contains('^')
                && !["graph", "print", "word"].contains(&name.to_lowercase().as_str())
        }
        // Two digits are a byte there and a character here.
        Some('x') => !escape[2..].starts_with(|digit: char| digit > '7' && digit != '{'),
        Some(letter) => !letter.is_ascii_alphanumeric() || ESCAPES.contains(letter),
    };
    is_alike.then_some(()).ok_or_else(|| escape.to_string())
}
