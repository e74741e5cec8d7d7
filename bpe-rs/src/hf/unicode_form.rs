//! Unicode normalisation forms, and where in a text they may change anything.
//!
//! Most of a text is in its form already. A normalisation takes many times as long as a look at each
//! character, so only the stretches that it may change go through it.

use std::ops::{Range, RangeInclusive};
use std::sync::LazyLock;

use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{
    is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick, IsNormalized, UnicodeNormalization,
};

/// Unicode normalisation forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnicodeForm {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

/// What the quick check of UAX #15 says of a character: [`PLAIN`], [`UNSURE`], or else the combining
/// class of a mark that stays as it is unless the mark before it has a higher class.
type Class = u8;
/// Begins a stretch that depends on nothing before it, and stays as it is unless what follows joins it.
const PLAIN: Class = 0;
/// May become something else or join what is before it. No combining class has this number.
const UNSURE: Class = 255;

/// The first bytes of the characters from U+4000 to U+9FFF, all plain in every form.
const IDEOGRAPHS: RangeInclusive<u8> = 0xE4..=0xE9;

/// The classes of the characters below U+10000, by form.
static CLASSES: [LazyLock<Box<[Class]>>; 4] = [
    LazyLock::new(|| UnicodeForm::Nfc.classes()),
    LazyLock::new(|| UnicodeForm::Nfd.classes()),
    LazyLock::new(|| UnicodeForm::Nfkc.classes()),
    LazyLock::new(|| UnicodeForm::Nfkd.classes()),
];

impl UnicodeForm {
    fn classes(self) -> Box<[Class]> {
        let characters = (0..0x1_0000).map(char::from_u32);
        characters
            .map(|c| c.map_or(UNSURE, |c| self.class(c)))
            .collect()
    }

    fn class(self, c: char) -> Class {
        let alone = std::iter::once(c);
        let check = match self {
            Self::Nfc => is_nfc_quick(alone),
            Self::Nfd => is_nfd_quick(alone),
            Self::Nfkc => is_nfkc_quick(alone),
            Self::Nfkd => is_nfkd_quick(alone),
        };
        match check {
            IsNormalized::Yes => canonical_combining_class(c),
            IsNormalized::No | IsNormalized::Maybe => UNSURE,
        }
    }

    /// The first stretch of `text` from byte `from` on that the form may change; `from` must be 0 or
    /// the end of the stretch before. What is outside of all stretches stays as it is, and each is
    /// normalised as if it stood alone.
    pub(super) fn next_change(self, text: &str, from: usize) -> Option<Range<usize>> {
        let classes: &[Class] = &CLASSES[self as usize];
        let class = |c: char| match classes.get(c as usize) {
            Some(class) => *class,
            None => self.class(c),
        };
        // Where the last plain character begins, and the class of the mark before.
        let (mut start, mut last) = (from, PLAIN);
        let mut at = from;
        while let Some(byte) = text.as_bytes().get(at) {
            if byte.is_ascii() || IDEOGRAPHS.contains(byte) {
                (start, at) = skip_plain(text.as_bytes(), at);
                last = PLAIN;
                continue;
            }
            let c = text[at..].chars().next()?;
            match class(c) {
                PLAIN => (start, last) = (at, PLAIN),
                mark if mark != UNSURE && mark >= last => last = mark,
                _ => {
                    let mut rest = text[at..].char_indices().skip(1);
                    let next = rest.find(|&(_, c)| class(c) == PLAIN);
                    return Some(start..next.map_or(text.len(), |(len, _)| at + len));
                }
            }
            at += c.len_utf8();
        }
        None
    }

    /// The characters of `text` in this form, each with a number as Hugging Face's normalisation gives
    /// it: 1 for one that is added to the one before, `-n` for one that replaces `n + 1` characters, 0
    /// for one that replaces one.
    pub(super) fn each(self, text: &str, take: &mut dyn FnMut(char, isize)) {
        let take = |(c, change)| take(c, change);
        match self {
            Self::Nfc => text.nfc().for_each(take),
            Self::Nfd => text.nfd().for_each(take),
            Self::Nfkc => text.nfkc().for_each(take),
            Self::Nfkd => text.nfkd().for_each(take),
        }
    }
}

/// Pass over ASCII and ideographs from byte `at` on, at least one of them, which are plain in every form:
/// where the last of them begins, and where it ends.
fn skip_plain(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let mut start = at;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii() {
            at += leading_ascii(&bytes[at..]);
            start = at - 1;
        } else if IDEOGRAPHS.contains(byte) {
            (start, at) = (at, at + 3);
        } else {
            break;
        }
    }
    (start, at)
}

/// The number of bytes of ASCII at the beginning of `bytes`.
fn leading_ascii(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<16>();
    let whole = words.iter().take_while(|word| word.is_ascii()).count();
    let rest = &bytes[16 * whole..];
    16 * whole + rest.iter().take_while(|byte| byte.is_ascii()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rounds, Random};

    const FORMS: [UnicodeForm; 4] = [
        UnicodeForm::Nfc,
        UnicodeForm::Nfd,
        UnicodeForm::Nfkc,
        UnicodeForm::Nfkd,
    ];

    fn whole(form: UnicodeForm, text: &str) -> String {
        let mut out = String::new();
        form.each(text, &mut |c, _| out.push(c));
        out
    }

    /// The text in its form, by stretches.
    fn by_stretches(form: UnicodeForm, text: &str) -> String {
        let (mut out, mut done) = (String::new(), 0);
        while let Some(change) = form.next_change(text, done) {
            out += &text[done..change.start];
            out += &whole(form, &text[change.clone()]);
            done = change.end;
        }
        out + &text[done..]
    }

    #[test]
    fn plain_characters_stay_and_join_nothing_before_them() {
        for form in FORMS {
            for c in '\0'..=char::MAX {
                let alone = whole(form, &c.to_string());
                if form.class(c) != UNSURE {
                    assert_eq!(alone, c.to_string(), "{form:?}");
                }
                if c.is_ascii() || IDEOGRAPHS.contains(&c.to_string().as_bytes()[0]) {
                    assert_eq!(form.class(c), PLAIN, "{c:?}");
                }
                // What is composed of others ends in a character that is not plain.
                let parts = whole(UnicodeForm::Nfd, &c.to_string());
                if parts.chars().count() > 1 && form == UnicodeForm::Nfc && alone == c.to_string() {
                    let last = parts.chars().next_back().expect("two at least");
                    assert_ne!(form.class(last), PLAIN, "{c:?}");
                }
            }
        }
    }

    #[test]
    fn stretches_give_what_the_whole_text_does() {
        // Marks of several classes, letters with and without them, Korean letters and syllables,
        // characters that have other forms, of one to four bytes.
        let tricky = "aeoAé䀀鿿\u{300}\u{301}\u{315}\u{327}\u{323}\u{345}\u{5b0}\u{5b4}\u{94d}\u{9be}\u{9c7}\u{1100}\u{1161}\u{11a7}\u{11a8}가각\u{212b}\u{340}\u{344}\u{3099}か中\u{f900}\u{1d15e}\u{1d165}\u{1d16e}\u{110ba}\u{1109a}\u{110a5}\u{fb1d}ק’ﬁ①\u{2f800}\u{a0}\u{115b9}\u{115af}";
        let letters: Vec<char> = tricky.chars().collect();
        let mut random = Random(5);
        let mut kept = [0; 4];
        for _ in 0..rounds(200_000, 300) {
            let len = 1 + random.below(9);
            let text: String = random.picks(&letters, len);
            for form in FORMS {
                assert_eq!(by_stretches(form, &text), whole(form, &text), "{text:?}");
                kept[form as usize] += usize::from(form.next_change(&text, 0).is_none());
            }
        }
        assert!(kept.iter().all(|&kept| kept > 0));
        let long = "x".repeat(40) + "e\u{301}" + &"y".repeat(40);
        assert_eq!(UnicodeForm::Nfc.next_change(&long, 0), Some(40..43));
    }

    #[test]
    fn common_texts_are_in_their_form() {
        for text in ["naïve – Привет 中文 한국", "हिन्दी में", "ภาษาไทย", "עִבְרִית"]
        {
            assert_eq!(UnicodeForm::Nfc.next_change(text, 0), None, "{text}");
        }
    }
}
