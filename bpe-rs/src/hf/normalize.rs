//! Normalisers.

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::is_combining_mark;

use super::aligned::AlignedText;
use super::matcher::Matcher;
use super::precompiled::{Precompiled, SentencePiece};
use super::unicode_form::UnicodeForm;
use crate::error::Result;
use crate::format::byte_level;
use crate::format::charsmap::CharacterMap;
use crate::format::components::Normalizer;

/// The normalisers of a tokenizer, in the order in which they apply.
#[derive(Debug, Default)]
pub(super) struct Normalizers(Vec<Step>);

#[derive(Debug)]
enum Step {
    Form(UnicodeForm),
    Lowercase,
    Strip { left: bool, right: bool },
    Filter(fn(char) -> bool),
    Map(fn(char) -> char),
    Prepend(String),
    Replace { matcher: Matcher, content: String },
    ByteLevel,
    SpacesAroundChinese,
    Precompiled(Box<Precompiled>),
    SentencePiece(Box<SentencePiece>),
}

impl Normalizers {
    /// Compile `normalizer`.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is no regular expression or that Hugging Face's engine reads
    /// differently.
    pub(super) fn new(normalizer: Option<&Normalizer>) -> Result<Self> {
        let mut steps = Vec::new();
        if let Some(normalizer) = normalizer {
            flatten(normalizer, &mut steps)?;
        }
        Ok(Self(steps))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The character that stands for a space afterwards, and whether one comes before the text; `None`
    /// where anything else is changed, too.
    pub(super) fn space_mark(&self) -> Option<(char, bool)> {
        let one = |text: &str| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        };
        let (replaced, before) = match &self.0[..] {
            [Step::Replace { matcher, content }] => ((matcher, content), None),
            [Step::Prepend(before), Step::Replace { matcher, content }]
            | [Step::Replace { matcher, content }, Step::Prepend(before)] => {
                ((matcher, content), Some(before))
            }
            _ => return None,
        };
        let mark = one(replaced.1).filter(|_| replaced.0.is_space())?;
        let is_mark = before.is_none_or(|before| one(before) == Some(mark));
        is_mark.then_some((mark, before.is_some()))
    }

    /// A quick test that implies that normalisation does not change `text`: no form changes ASCII,
    /// and most texts are in NFC as people write them.
    pub(super) fn surely_keeps(&self, text: &str) -> bool {
        self.0.is_empty() || {
            let is_ascii = text.is_ascii();
            self.0.iter().all(|step| match step {
                Step::Form(form) => is_ascii || form.next_change(text, 0).is_none(),
                Step::Precompiled(precompiled) => precompiled.surely_keeps(text),
                _ => false,
            })
        }
    }

    /// The normalised text.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        let mut aligned = AlignedText::unaligned(text, 0);
        self.normalize(&mut aligned)?;
        Ok(aligned.text.into_owned())
    }

    /// Apply the normalisers one after the other.
    ///
    /// # Errors
    /// As [`Normalizers::apply`].
    pub(super) fn normalize(&self, text: &mut AlignedText<'_>) -> Result<()> {
        self.0.iter().try_for_each(|step| step.apply(text))
    }
}

impl Step {
    fn apply(&self, text: &mut AlignedText<'_>) -> Result<()> {
        match self {
            Self::Form(form) => text.normalize(*form),
            Self::Lowercase => text.expand(|c, out| out.extend(c.to_lowercase())),
            Self::Strip { left, right } => {
                let end = match right {
                    true => text.text.trim_end().len(),
                    false => text.text.len(),
                };
                let kept = &text.text[..end];
                let start = match left {
                    true => end - kept.trim_start().len(),
                    false => 0,
                };
                text.keep(start..end);
            }
            Self::Filter(keeps) => text.expand(|c, out| out.extend(keeps(c).then_some(c))),
            Self::Map(map) => text.expand(|c, out| out.push(map(c))),
            Self::Prepend(before) => text.prepend(before),
            Self::Replace { .. } if text.text.is_empty() => {}
            Self::Replace { matcher, content } if !text.is_aligned() => {
                text.text = matcher.replaced(&text.text, content)?.into();
            }
            Self::Replace { matcher, content } => {
                let mut matches = Vec::new();
                matcher.find(&text.text, &mut matches)?;
                text.replace_all(&matches, content);
            }
            Self::ByteLevel => text.expand(|c, out| {
                let mut utf8 = [0; 4];
                let bytes = c.encode_utf8(&mut utf8).bytes();
                out.extend(bytes.map(|byte| byte_level::ALPHABET[usize::from(byte)]));
            }),
            Self::Precompiled(precompiled) => precompiled.apply(text),
            Self::SentencePiece(sentencepiece) => sentencepiece.apply(text),
            Self::SpacesAroundChinese => text.expand(|c, out| match is_chinese(c) {
                true => out.extend([' ', c, ' ']),
                false => out.push(c),
            }),
        }
        Ok(())
    }
}

fn flatten(normalizer: &Normalizer, steps: &mut Vec<Step>) -> Result<()> {
    match normalizer {
        Normalizer::Nfc => steps.push(Step::Form(UnicodeForm::Nfc)),
        Normalizer::Nfd => steps.push(Step::Form(UnicodeForm::Nfd)),
        Normalizer::Nfkc => steps.push(Step::Form(UnicodeForm::Nfkc)),
        Normalizer::Nfkd => steps.push(Step::Form(UnicodeForm::Nfkd)),
        Normalizer::Lowercase => steps.push(Step::Lowercase),
        Normalizer::Strip {
            strip_left,
            strip_right,
        } => steps.push(Step::Strip {
            left: *strip_left,
            right: *strip_right,
        }),
        Normalizer::StripAccents => steps.push(Step::Filter(|c| !is_combining_mark(c))),
        Normalizer::Nmt => {
            steps.push(Step::Filter(|c| !is_nmt_control(c)));
            steps.push(Step::Map(|c| if is_nmt_space(c) { ' ' } else { c }));
        }
        Normalizer::Prepend { prepend } => steps.push(Step::Prepend(prepend.clone())),
        Normalizer::Replace { pattern, content } => steps.push(Step::Replace {
            matcher: Matcher::new(pattern)?,
            content: content.clone(),
        }),
        Normalizer::ByteLevel => steps.push(Step::ByteLevel),
        Normalizer::Precompiled {
            precompiled_charsmap,
        } => {
            let map = CharacterMap::from_base64(precompiled_charsmap)?;
            steps.push(Step::Precompiled(Box::new(Precompiled::new(map))));
        }
        Normalizer::SentencePiece {
            precompiled_charsmap,
            add_dummy_prefix,
            remove_extra_whitespaces,
        } => steps.push(Step::SentencePiece(Box::new(SentencePiece {
            map: CharacterMap::from_base64(precompiled_charsmap)?,
            add_dummy_prefix: *add_dummy_prefix,
            remove_extra_whitespaces: *remove_extra_whitespaces,
        }))),
        Normalizer::BertNormalizer {
            clean_text,
            handle_chinese_chars,
            strip_accents,
            lowercase,
        } => {
            if *clean_text {
                steps.push(Step::Filter(|c| !is_bert_control(c)));
                steps.push(Step::Map(|c| if c.is_whitespace() { ' ' } else { c }));
            }
            if *handle_chinese_chars {
                steps.push(Step::SpacesAroundChinese);
            }
            if strip_accents.unwrap_or(*lowercase) {
                steps.push(Step::Form(UnicodeForm::Nfd));
                steps.push(Step::Filter(|c| !c.is_mark_nonspacing()));
            }
            if *lowercase {
                steps.push(Step::Lowercase);
            }
        }
        Normalizer::Sequence { normalizers } => {
            normalizers
                .iter()
                .try_for_each(|item| flatten(item, steps))?;
        }
    }
    Ok(())
}

/// What BERT drops: NUL, U+FFFD, control, format, private and unassigned characters.
fn is_bert_control(character: char) -> bool {
    match character {
        '\0' | '\u{fffd}' => true,
        '\t' | '\n' | '\r' => false,
        _ => character.is_other(),
    }
}

/// CJK ideographs.
fn is_chinese(character: char) -> bool {
    matches!(
        character as u32,
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

/// What `Nmt` drops.
fn is_nmt_control(character: char) -> bool {
    matches!(
        character as u32,
        0x01..=0x08 | 0x0B | 0x0E..=0x1F | 0x7F | 0x8F | 0x9F
    )
}

/// What `Nmt` makes a space.
fn is_nmt_space(character: char) -> bool {
    matches!(
        character as u32,
        0x09 | 0x0A | 0x0C | 0x0D | 0x1680 | 0x200B
            ..=0x200F | 0x2028 | 0x2029 | 0x2581 | 0xFEFF | 0xFFFD
    )
}
