//! The byte-level alphabet: every byte as one printable character.
//!
//! GPT-2's `encoder.json` introduced it so that a vocabulary of byte strings fits into JSON: the 188
//! bytes that are printable in Latin-1 stand for themselves, the other 68 become `U+0100` upwards in
//! byte order. Source: Radford et al. 2019 (GPT-2); the same table is used by every byte-level
//! `tokenizer.json`.

/// True for bytes that the alphabet writes as themselves.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const fn build_alphabet() -> [char; 256] {
    let mut table = ['\0'; 256];
    let mut byte = 0usize;
    let mut next = 0x100u32;
    while byte < 256 {
        let code = if is_printable(byte as u8) {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        table[byte] = match char::from_u32(code) {
            Some(character) => character,
            None => unreachable!(),
        };
        byte += 1;
    }
    table
}

/// `ALPHABET[b]` is the character that stands for byte `b`.
pub const ALPHABET: [char; 256] = build_alphabet();

/// Byte of the characters `U+0100..U+0144`, in order.
const fn build_shifted() -> [u8; 68] {
    let mut table = [0u8; 68];
    let mut byte = 0usize;
    while byte < 256 {
        let code = ALPHABET[byte] as usize;
        if code >= 0x100 {
            table[code - 0x100] = byte as u8;
        }
        byte += 1;
    }
    table
}

const SHIFTED: [u8; 68] = build_shifted();

/// The byte that `character` stands for, or `None` outside the alphabet.
pub fn byte_of(character: char) -> Option<u8> {
    match character as u32 {
        code @ 0..=0xFF if is_printable(code as u8) => Some(code as u8),
        code @ 0x100..=0x143 => Some(SHIFTED[code as usize - 0x100]),
        _ => None,
    }
}

/// `bytes` written in the alphabet.
pub fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| ALPHABET[byte as usize]).collect()
}

/// The bytes of a token written in the alphabet, or `None` when one of its characters is outside it
/// (an added token in plain text).
pub fn to_bytes(token: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(token.len());
    for character in token.chars() {
        bytes.push(byte_of(character)?);
    }
    Some(bytes)
}

/// The bytes that a token decodes to: read through the alphabet where every character belongs to it,
/// otherwise its own UTF-8 bytes. This is what a `ByteLevel` decoder does with a token.
pub fn decoded_bytes(token: &str) -> Vec<u8> {
    to_bytes(token).unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for byte in 0..=255u8 {
            assert_eq!(byte_of(ALPHABET[byte as usize]), Some(byte));
        }
        let distinct: std::collections::HashSet<char> = ALPHABET.into_iter().collect();
        assert_eq!(distinct.len(), 256);
    }

    #[test]
    fn known_values() {
        assert_eq!(to_text(b" a\n\0\xff"), "ĠaĊĀÿ");
        assert_eq!(
            ALPHABET[0xAD], 'Ń',
            "the soft hyphen is the last one shifted"
        );
    }

    #[test]
    fn characters_outside_the_alphabet() {
        for character in [' ', '\n', '\u{7f}', '\u{ad}', '\u{144}', '中'] {
            assert_eq!(byte_of(character), None, "{character:?}");
        }
        assert_eq!(to_bytes("a b"), None);
        assert_eq!(decoded_bytes("<a b>"), b"<a b>");
        assert_eq!(decoded_bytes("Ġé"), b" \xe9");
    }
}
