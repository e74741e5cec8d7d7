//! The wire format of protocol buffers, as far as reading a message takes: fields with their numbers.

use crate::error::{Error, Result};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number or a truth value.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32([u8; 4]),
}

/// The fields of a message, in the order of the file.
///
/// # Errors
/// `Invalid` where the bytes are no message.
pub(super) fn fields(message: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut rest = message;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let field = field(&mut rest);
        fields.push(field.ok_or_else(|| {
            let at = message.len() - rest.len();
            Error::invalid(format!(
                "expected a field of a protocol buffer at byte {at}"
            ))
        })?);
    }
    Ok(fields)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => Value::Fixed64(*take(rest, 8)?.first_chunk()?),
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, len)?)
        }
        5 => Value::Fixed32(*take(rest, 4)?.first_chunk()?),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_fields() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x12, 2, b'a', b'b'],
            &[0x1d, 0, 0, 0x80, 0x3f],
            &[0x21, 1, 2, 3, 4, 5, 6, 7, 8],
        ]
        .concat();
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"ab")),
            (3, Value::Fixed32(1f32.to_le_bytes())),
            (4, Value::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
        ];
        assert_eq!(fields(&message).unwrap(), expected);
        let is_cut = |len: &usize| ![3, 7, 12].contains(len);
        for len in (1..message.len()).filter(is_cut) {
            assert!(fields(&message[..len]).is_err(), "{len}");
        }
        assert!(fields(&[0x0b]).is_err() && fields(&[0xff; 12]).is_err());
    }
}
