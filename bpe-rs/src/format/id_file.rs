//! Id files: a header of 64 bytes, then the ids.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic `GPTPYIDS` |
//! | 8..12 | version, u32 = 1 |
//! | 12..16 | bytes per id, u32: 2 or 4 |
//! | 16..20 | byte-order mark, u32 = 0x01020304 |
//! | 20..24 | reserved, 0 |
//! | 24..32 | count of ids, u64 |
//! | 32..64 | fingerprint of the tokenizer ([`crate::encoding::Encoding::fingerprint`]) |
//!
//! All numbers are little-endian, ids too. The Python package `gptpy` reads and writes the same.

use crate::error::{quoted, Error, Result};

/// First bytes of every id file.
pub const MAGIC: [u8; 8] = *b"GPTPYIDS";
/// The version written.
pub const VERSION: u32 = 1;
/// Written as a u32: reads differently where byte orders differ.
pub const BYTE_ORDER_MARK: u32 = 0x0102_0304;
/// Bytes before the first id.
pub const HEADER_BYTES: usize = 64;

/// Width of an id in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Two bytes: ids up to 65,535.
    U16 = 2,
    /// Four bytes.
    U32 = 4,
}

impl Width {
    /// The narrowest width that holds ids up to `max_id`.
    pub fn for_max_id(max_id: u32) -> Self {
        if max_id <= u32::from(u16::MAX) {
            Self::U16
        } else {
            Self::U32
        }
    }

    /// Bytes per id.
    pub fn bytes(self) -> usize {
        self as usize
    }

    /// Appends `ids` as they stand in a file.
    ///
    /// # Errors
    /// `Invalid` for an id that does not fit.
    pub fn write(self, ids: &[u32], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + self.bytes() * ids.len(), 0);
        match self {
            Self::U32 => {
                let (places, _) = out[start..].as_chunks_mut::<4>();
                for (place, id) in places.iter_mut().zip(ids) {
                    *place = id.to_le_bytes();
                }
            }
            Self::U16 => {
                let (places, _) = out[start..].as_chunks_mut::<2>();
                let mut all = 0;
                for (place, &id) in places.iter_mut().zip(ids) {
                    *place = (id as u16).to_le_bytes();
                    all |= id;
                }
                if all > u32::from(u16::MAX) {
                    out.truncate(start);
                    let id = ids.iter().max().copied().unwrap_or(0);
                    return Err(Error::invalid(format!(
                        "expected ids up to 65535 for two bytes each, got {id}: use four bytes"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width of an id.
    pub width: Width,
    /// How many ids follow.
    pub count: u64,
    /// Which tokenizer made them.
    pub fingerprint: [u8; 32],
}

impl Header {
    /// The header as it stands in the file.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.width as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&BYTE_ORDER_MARK.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.count.to_le_bytes());
        bytes[32..].copy_from_slice(&self.fingerprint);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// `Invalid` where `bytes` is too short or starts with no such header.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes
            .get(..HEADER_BYTES)
            .and_then(|b| b.try_into().ok())
            .ok_or_else(|| {
                Error::invalid(format!(
                    "expected an id file with a header of {HEADER_BYTES} bytes, got {} bytes",
                    bytes.len()
                ))
            })?;
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let expect = |ok: bool, what: &str, got: String| {
            if ok {
                Ok(())
            } else {
                Err(Error::invalid(format!(
                    "id file: expected {what}, got {got}"
                )))
            }
        };
        let magic = String::from_utf8_lossy(&bytes[..8]);
        expect(bytes[..8] == MAGIC, "the magic 'GPTPYIDS'", quoted(magic))?;
        expect(number(8) == VERSION, "version 1", number(8).to_string())?;
        let mark = number(16);
        expect(
            mark == BYTE_ORDER_MARK,
            "little-endian numbers",
            format!("byte order {mark:#x}"),
        )?;
        let width = match number(12) {
            2 => Width::U16,
            4 => Width::U32,
            other => {
                return Err(Error::invalid(format!(
                    "id file: expected 2 or 4 bytes per id, got {other}"
                )))
            }
        };
        let count = u64::from_le_bytes(std::array::from_fn(|i| bytes[24 + i]));
        let fingerprint = std::array::from_fn(|i| bytes[32 + i]);
        Ok(Self {
            width,
            count,
            fingerprint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_bad_ones_are_refused() {
        for width in [Width::U16, Width::U32] {
            let header = Header {
                width,
                count: 1 << 40,
                fingerprint: [7; 32],
            };
            let bytes = header.to_bytes();
            assert_eq!(Header::from_bytes(&bytes).unwrap(), header);
            for (at, what) in [
                (0, "magic"),
                (8, "version"),
                (12, "bytes per id"),
                (16, "little-endian"),
            ] {
                let mut bad = bytes;
                bad[at] ^= 0x55;
                let message = Header::from_bytes(&bad).unwrap_err().to_string();
                assert!(message.contains(what), "{message}");
            }
            assert!(Header::from_bytes(&bytes[..63]).is_err());
        }
        assert_eq!(Width::for_max_id(65_535), Width::U16);
        assert_eq!(Width::for_max_id(65_536), Width::U32);
    }
}
