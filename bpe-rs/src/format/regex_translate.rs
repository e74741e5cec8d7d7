//! A regular expression in Oniguruma's syntax, token by token, for this crate's engine.

use super::regex_classes::{class_here, escape_here};
use super::regex_fold::{folded_class, FoldedLetters};
use super::regex_tokens::{is_range, tokens};
use crate::error::{Error, Result};

mod escapes;
mod repeat;

use escapes::check_class;

/// The beginnings of groups that are written alike and change no setting.
const GROUPS: [&str; 7] = ["(", "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"];

/// The error for a part of a pattern that the engines read differently.
pub(super) fn differ(pattern: &str, what: &str) -> Error {
    Error::invalid(format!(
        "expected a pattern that Hugging Face's regex engine and this one read alike, got {what} in \
         {pattern}; write it without, or use the original tokenizer"
    ))
}

/// A pattern that is written for Hugging Face's engine, for this one.
///
/// Both engines find the same matches but for what is translated or refused here. The classes `\s`,
/// `\d` and `\p{..}` are the same sets of characters in both (compared over all code points, as are the
/// translations of [`super::regex_classes`]).
///
/// # Errors
/// `Invalid` with the part that is read differently.
pub(super) fn translated(pattern: &str) -> Result<String> {
    let mut translation = Translation::new(pattern);
    translation
        .run()
        .map_err(|what| differ(pattern, &what))
        .map(|()| translation.out)
}

/// The settings of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// Case does not count.
    fold: bool,
    /// `.` matches the end of a line.
    dot_all: bool,
    /// White space and comments are left out.
    extended: bool,
    /// Inside of what looks behind.
    looks_behind: bool,
}

#[derive(Debug)]
struct Group {
    /// Where it begins in what is written.
    start: usize,
    flags: Flags,
    /// Whether settings in the middle of a group opened it, so that it ends with that group.
    is_implicit: bool,
    /// By what a reference calls it.
    name: String,
}

/// What a quantifier would repeat.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// Nothing, or what both engines do not repeat.
    Nothing,
    /// What is written from here on.
    Atom(usize),
    /// The same, with a quantifier already.
    Repeated(usize),
}

struct Translation<'a> {
    tokens: Vec<&'a str>,
    /// The token that is read next.
    at: usize,
    out: String,
    groups: Vec<Group>,
    last: Last,
    /// Whether a group or an alternative begins here.
    begins: bool,
    folded: FoldedLetters,
    names: Vec<&'a str>,
}

type Step = std::result::Result<(), String>;

impl<'a> Translation<'a> {
    fn new(pattern: &'a str) -> Self {
        let tokens = tokens(pattern);
        let names = tokens.iter().filter_map(|token| group_name(token));
        Self {
            names: names.collect(),
            tokens,
            at: 0,
            out: String::with_capacity(pattern.len()),
            groups: vec![Group {
                start: 0,
                flags: Flags::default(),
                is_implicit: false,
                name: String::new(),
            }],
            last: Last::Nothing,
            begins: true,
            folded: FoldedLetters::default(),
        }
    }

    fn flags(&self) -> Flags {
        self.groups.last().map_or(Flags::default(), |g| g.flags)
    }

    /// The next token, if any.
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn run(&mut self) -> Step {
        while self.at < self.tokens.len() {
            let token = self.tokens[self.at];
            self.at += 1;
            if self.flags().extended && self.skips(token) || token.starts_with("(?#") {
                continue;
            }
            let began = std::mem::replace(&mut self.begins, false);
            self.token(token, began)?;
        }
        while self.groups.len() > 1 && self.close_implicit() {}
        Ok(())
    }

    /// Whether a token of an extended pattern is white space or a comment, which is then skipped.
    fn skips(&mut self, token: &str) -> bool {
        if token == "#" {
            while !matches!(self.peek(), "" | "\n") {
                self.at += 1;
            }
        }
        matches!(token, "#" | " " | "\t" | "\n" | "\r" | "\x0b" | "\x0c")
    }

    fn token(&mut self, token: &'a str, began: bool) -> Step {
        let flags = self.flags();
        let first = token.chars().next().unwrap_or_default();
        match token {
            "^" => self.write_anchor(self.line_start()),
            "$" => self.write_anchor("(?m:$)"),
            "\\Z" => self.write_anchor(r"(?=\n?\z)"),
            "\\A" | "\\z" | "\\b" | "\\B" => {
                let here = escape_here(token).unwrap_or_else(|| token.into());
                self.write_anchor(&here);
            }
            "." if flags.dot_all => self.write_atom("(?s:.)"),
            "|" => {
                self.begins = true;
                self.folded.clear();
                self.last = Last::Nothing;
                self.out.push('|');
            }
            ")" => return self.close(),
            "*" | "+" | "?" => return self.quantifier(token),
            _ if is_range(token) => return self.quantifier(token),
            "{" => self.write_atom("\\{"),
            "\\<" | "\\>" => self.write_atom(&token[1..]),
            _ if GROUPS.contains(&token) => {
                let looks_behind = flags.looks_behind || token.starts_with("(?<");
                self.open(
                    token,
                    Flags {
                        looks_behind,
                        ..flags
                    },
                );
            }
            _ if group_name(token).is_some() => return self.open_named(token),
            _ if token.starts_with("(?") => return self.settings(token, began),
            _ if first == '[' => {
                check_class(token)?;
                // There, it stands for itself.
                let mut here = class_here(token)?.replace("~~", "~\\~");
                if flags.fold {
                    here = folded_class(token, &here)?;
                }
                self.write_atom(&here);
            }
            _ if first == '\\' => return self.escape(token),
            _ => {
                if flags.fold && token != "." {
                    self.folded.push(first)?;
                } else {
                    self.folded.clear();
                }
                self.last = Last::Atom(self.out.len());
                self.out.push_str(token);
            }
        }
        Ok(())
    }

    fn write_atom(&mut self, here: &str) {
        self.folded.clear();
        self.last = Last::Atom(self.out.len());
        self.out.push_str(here);
    }

    /// Write what matches nothing, which that engine does not repeat.
    fn write_anchor(&mut self, here: &str) {
        self.folded.clear();
        self.last = Last::Nothing;
        self.out.push_str(here);
    }

    /// `^`: there, behind the last character of the text no line begins.
    fn line_start(&self) -> &'static str {
        let next = self.peek().chars().next();
        let is_character = next.is_some_and(|c| c.is_alphanumeric() || "▁[ _.".contains(c));
        let after = self.tokens.get(self.at + 1).copied().unwrap_or_default();
        // A character that has to follow says so as well, and the faster engine finds it.
        let is_optional = matches!(after, "*" | "?") || is_range(after);
        match is_character && !is_optional && !self.flags().extended {
            true => "(?m:^)",
            false => r"(?:\A|(?m:^)(?!\z))",
        }
    }

    fn open(&mut self, token: &str, flags: Flags) {
        let name = match group_name(token) {
            Some(name) => name.to_owned(),
            None if token == "(" => self.opened().to_string(),
            None => String::new(),
        };
        self.push_group(flags, false, name);
        self.out.push_str(token);
    }

    /// How many groups without names were opened up to here.
    fn opened(&self) -> usize {
        self.tokens[..self.at]
            .iter()
            .filter(|token| **token == "(")
            .count()
    }

    fn push_group(&mut self, flags: Flags, is_implicit: bool, name: String) {
        self.begins = true;
        self.last = Last::Nothing;
        self.groups.push(Group {
            start: self.out.len(),
            flags,
            is_implicit,
            name,
        });
    }

    fn open_named(&mut self, token: &'a str) -> Step {
        let name = group_name(token).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name || self.names.iter().filter(|each| **each == name).count() > 1 {
            return Err(format!("the group {token}"));
        }
        self.open(&format!("(?<{name}>"), self.flags());
        Ok(())
    }

    /// `(?i)`, `(?m-x:` and the like.
    fn settings(&mut self, token: &str, began: bool) -> Step {
        let flags = changed(self.flags(), token).ok_or_else(|| format!("the group {token}"))?;
        let fold = match (flags.fold, self.flags().fold) {
            (true, false) => "i",
            (false, true) => "-i",
            (true, true) if token == "(?i)" || token == "(?i:" => "i",
            (false, false) if token == "(?-i:" => "-i",
            _ => "",
        };
        if token.ends_with(':') {
            self.open(&format!("(?{fold}:"), flags);
            return Ok(());
        }
        if began && self.groups.len() == 1 {
            // To the end, all alternatives included, in both.
            if let Some(group) = self.groups.last_mut() {
                group.flags = flags;
            }
            if !fold.is_empty() {
                self.out.push_str(&format!("(?{fold})"));
            }
            self.begins = true;
            return Ok(());
        }
        // Elsewhere, all alternatives that follow in the group belong to it.
        self.push_group(flags, true, String::new());
        self.out.push_str(&format!("(?{fold}:"));
        Ok(())
    }

    /// Close the group that settings opened, if such a one is open.
    fn close_implicit(&mut self) -> bool {
        let is_implicit = self.groups.last().is_some_and(|group| group.is_implicit);
        if is_implicit {
            self.groups.pop();
            self.out.push(')');
        }
        is_implicit
    }

    fn close(&mut self) -> Step {
        while self.close_implicit() {}
        if self.groups.len() < 2 {
            return Err("an unmatched )".into());
        }
        let start = self.groups.pop().map_or(0, |group| group.start);
        let is_look = |kind: &str| self.out[start..].starts_with(kind);
        // That engine does not repeat what looks around.
        self.last = match ["(?=", "(?!", "(?<=", "(?<!"].into_iter().any(is_look) {
            true => Last::Nothing,
            false => Last::Atom(start),
        };
        self.out.push(')');
        Ok(())
    }
}

/// The name of `(?<name>` or `(?'name'`.
fn group_name(token: &str) -> Option<&str> {
    let name = |start, end| token.strip_prefix(start)?.strip_suffix(end);
    name("(?<", '>').or_else(|| name("(?'", '\''))
}

/// `flags` with the changes of `(?im-x:` or `(?im-x)`; `None` for settings that are not known.
fn changed(mut flags: Flags, token: &str) -> Option<Flags> {
    let letters = token.strip_prefix("(?")?.trim_end_matches([':', ')']);
    let mut on = true;
    for letter in letters.chars() {
        match letter {
            '-' => on = false,
            'i' => flags.fold = on,
            'm' => flags.dot_all = on,
            'x' => flags.extended = on,
            _ => return None,
        }
    }
    (!letters.is_empty() && token.ends_with([':', ')'])).then_some(flags)
}
