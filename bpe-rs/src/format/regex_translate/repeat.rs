//! Quantifiers.

use super::{Last, Step, Translation};
use crate::format::regex_tokens::is_range;
use crate::pretokenize::RegexEngine;

impl Translation<'_> {
    /// A quantifier with the sign behind it that makes it lazy or possessive.
    pub(super) fn quantifier(&mut self, token: &str) -> Step {
        if is_range(token) && self.flags().fold && self.folded.may_pair() {
            return Err(token.into());
        }
        self.folded.clear();
        let is_fixed = is_range(token) && !token.contains(',');
        let mut here = token.to_owned();
        let next = self.peek();
        let is_exact = is_fixed && next != "?" && next != "+";
        if self.flags().looks_behind && !is_exact {
            return Err(format!("{token} in what looks behind"));
        }
        if is_range(token) {
            let (least, most) = token[1..token.len() - 1]
                .split_once(',')
                .unwrap_or(("1", ""));
            let number = |text: &str| text.parse::<u32>().map_err(|_| token.to_owned());
            if !is_fixed && !most.is_empty() && !least.is_empty() && number(least)? > number(most)?
            {
                return Err(format!("{token}, whose bounds are not in order"));
            }
            if token.starts_with("{,") {
                here = format!("{{0,{most}}}");
            }
            if next == "?" && is_fixed {
                // There, once or not at all.
                self.repeat(&here)?;
                self.at += 1;
                let next = self.peek();
                if matches!(next, "*" | "+" | "?") || is_range(next) {
                    return Err(format!("{token}?{next}"));
                }
                return self.repeat("?");
            }
            // There, a plus repeats the whole.
            if next == "?" {
                self.at += 1;
                here.push('?');
            }
            return self.repeat(&here);
        }
        if next == "?" || next == "+" {
            self.at += 1;
            here.push_str(next);
        }
        self.repeat(&here)
    }

    /// Whether what is written from `start` on may match nothing.
    fn may_be_nothing(&self, start: usize) -> bool {
        let written = &self.out[start..];
        written.starts_with('(') | matches!(self.last, Last::Repeated(_))
            && !matches!(RegexEngine::may_match_nothing(written), Ok(false))
    }

    fn repeat(&mut self, quantifier: &str) -> Step {
        // How often a loop goes round that matches nothing is not the same.
        let is_loose = match self.last {
            Last::Atom(start) => quantifier.len() > 1 && self.may_be_nothing(start),
            Last::Repeated(start) => self.may_be_nothing(start),
            Last::Nothing => false,
        };
        if is_loose {
            return Err(format!("{quantifier} behind what may match nothing"));
        }
        let start = match self.last {
            Last::Nothing => return Err(format!("{quantifier} behind nothing that it can repeat")),
            Last::Atom(start) => start,
            Last::Repeated(start) => {
                self.out.insert_str(start, "(?:");
                self.out.push(')');
                start
            }
        };
        self.out.push_str(quantifier);
        self.last = Last::Repeated(start);
        Ok(())
    }
}
