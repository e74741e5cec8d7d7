//! Unicode normalisation forms, and where in a text they may change anything.
//!
//! Most of a text is in its form already. A normalisation takes many times as long as a look at each
//! character, so only the stretches that it may change go through it.

use std::ops::Range;
use std::sync::LazyLock;

use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{
    is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick, IsNormalized, UnicodeNormalization,
};

use crate::simd::{dispatch, Bytes64, Level};

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

    fn class_of(self, c: char) -> Class {
        match CLASSES[self as usize].get(c as usize) {
            Some(class) => *class,
            None => self.class(c),
        }
    }

    /// The first stretch of `text` from byte `from` on that the form may change; `from` must be 0 or
    /// the end of the stretch before. What is outside of all stretches stays as it is, and each is
    /// normalised as if it stood alone.
    pub(super) fn next_change(self, text: &str, from: usize) -> Option<Range<usize>> {
        next_change(self, text, from)
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

dispatch! { S =>
    fn next_change(form: UnicodeForm, text: &str, from: usize) -> Option<Range<usize>> {
        next_change_with::<S>(form, text, from)
    }
}

#[inline(always)]
fn next_change_with<S: Bytes64>(
    form: UnicodeForm,
    text: &str,
    from: usize,
) -> Option<Range<usize>> {
    // Where the last plain character ends, where the last one that had to be looked up does, and the
    // class of the mark before.
    let (mut plain, mut seen, mut last) = (from, from, PLAIN);
    // Without vectors so many questions take longer than the few characters.
    let asks_more = form == UnicodeForm::Nfc && Level::current() != Level::Portable;
    let mut block = from;
    while block < text.len() {
        let rest = &text.as_bytes()[block..];
        // SAFETY: `S` comes from `dispatch!`.
        let v = unsafe {
            match rest.first_chunk() {
                Some(bytes) => S::load(bytes),
                None => S::load_few(rest),
            }
        };
        let mut unclear = unclear(v, asks_more);
        while unclear != 0 {
            let at = block + unclear.trailing_zeros() as usize;
            unclear &= unclear - 1;
            if at > seen {
                (plain, last) = (at, PLAIN);
            }
            let c = text[at..].chars().next()?;
            seen = at + c.len_utf8();
            match form.class_of(c) {
                PLAIN => (plain, last) = (seen, PLAIN),
                mark if mark != UNSURE && mark >= last => last = mark,
                _ => {
                    let before = text[from..plain].chars().next_back();
                    let start = plain - before.map_or(0, char::len_utf8);
                    let mut rest = text[seen..].char_indices();
                    let next = rest.find(|&(_, c)| form.class_of(c) == PLAIN);
                    return Some(start..next.map_or(text.len(), |(len, _)| seen + len));
                }
            }
        }
        block += 64;
    }
    None
}

/// The first bytes of the characters of a block that may be other than plain: all that are so in some
/// form, with `is_nfc` in NFC, where few others remain in most texts.
#[inline(always)]
fn unclear<S: Bytes64>(block: S, is_nfc: bool) -> u64 {
    if block.high() == 0 {
        return 0;
    }
    // From U+4000 to U+9FFF.
    let ideographs = block.range(0xE4, 0xE9);
    let unclear = block.range(0xC2, 0xF4) & !ideographs;
    if unclear == 0 || !is_nfc {
        return unclear;
    }
    // The second and the third byte of a character, at the place of its first. Those behind the block
    // are not seen: characters that it cuts stay unclear.
    let second = |low, high| block.range(low, high) >> 1;
    let third = |low, high| block.range(low, high) >> 2;
    // To U+02FF, U+03C0 to U+047F, U+AC00 to U+D7FF: Latin, Greek, Cyrillic, Korean.
    let letters = block.range(0xC2, 0xCB)
        | block.range(0xCF, 0xD1)
        | block.range(0xEB, 0xED)
        | block.eq(0xEA) & second(0xB0, 0xBF);
    // From U+3000 on: punctuation of Chinese, kana.
    let japanese = second(0x80, 0x80) & third(0x80, 0xA9)
        | second(0x82, 0x82) & third(0x9B, 0xBF)
        | second(0x81, 0x81)
        | second(0x83, 0xBF);
    // General punctuation from U+2002 on, fullwidth forms, emoji.
    let others = block.eq(0xE2) & second(0x80, 0x80) & third(0x82, 0xBF)
        | block.eq(0xEF) & second(0xBC, 0xBF)
        | block.eq(0xF0) & second(0x9F, 0x9F);
    unclear & !(letters | block.eq(0xE3) & japanese | others)
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
                // What is composed of others ends in a character that is not plain.
                let parts = whole(UnicodeForm::Nfd, &c.to_string());
                if parts.chars().count() > 1 && form == UnicodeForm::Nfc && alone == c.to_string() {
                    let last = parts.chars().next_back().expect("two at least");
                    assert_ne!(form.class(last), PLAIN, "{c:?}");
                }
            }
        }
    }

    /// The reference of `next_change`: one character after the other.
    fn change_by_characters(form: UnicodeForm, text: &str) -> Option<Range<usize>> {
        let (mut start, mut last, mut change) = (0, PLAIN, None);
        for (at, c) in text.char_indices() {
            match (form.class(c), change) {
                (PLAIN, Some(change)) => return Some(change..at),
                (PLAIN, None) => (start, last) = (at, PLAIN),
                (UNSURE, None) => change = Some(start),
                (mark, None) if mark < last => change = Some(start),
                (mark, _) => last = mark,
            }
        }
        change.map(|change| change..text.len())
    }

    #[test]
    fn every_character_is_seen_wherever_it_stands() {
        Level::for_each(|level| {
            for form in FORMS {
                // Behind them there are only variation selectors and private characters.
                for c in '\u{80}'..'\u{40000}' {
                    // Few marks have a class as high as the one before, which stays as it is.
                    let text = format!("a\u{360}{c}\u{301}b");
                    let wanted = change_by_characters(form, &text);
                    assert_eq!(
                        form.next_change(&text, 0),
                        wanted,
                        "{c:?}, {form:?}, {level:?}"
                    );
                }
            }
        });
    }

    #[test]
    fn changes_are_found_at_the_ends_of_blocks() {
        let letters: Vec<char> = "a\u{300}\u{327}\u{345}中。、\u{302a}か\u{3099}가가\u{11a8}é‘\u{2000}，\u{f900}😀\u{1d15e}и"
            .chars()
            .collect();
        let mut random = Random(8);
        let mut changed = 0;
        Level::for_each(|level| {
            for round in 0..rounds(20_000, 200) {
                let part: String = random.picks(&letters, 1 + round % 5);
                let plain = ["x", "中", "é", "。", "😀"][random.below(5)];
                let before = plain.repeat(random.below(140) / plain.len());
                let after = plain.repeat(random.below(90) / plain.len());
                let text = "x".repeat(random.below(4)) + &before + &part + &after;
                for form in FORMS {
                    let wanted = change_by_characters(form, &text);
                    let found = form.next_change(&text, 0);
                    assert_eq!(found, wanted, "{text:?}, {form:?}, {level:?}");
                    changed += usize::from(found.is_some_and(|found| found.start > 64));
                }
            }
        });
        assert!(changed > 0);
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
