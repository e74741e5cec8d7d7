"""What a file is, by its first bytes: a text in UTF-8, in another encoding, or no text at all."""

from __future__ import annotations

from pathlib import Path

from gptpy.data.errors import DataError

HEAD_BYTES = 1 << 12  # enough to know what a file is
# Byte order marks of other encodings; UTF-32's little-endian one begins with UTF-16's
MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# Which of four bytes are zero in a text without a mark
ZEROS = {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE", "x000": "UTF-32LE", "000x": "UTF-32BE"}
KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "compressed by gzip (a name in .gz would say so)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd (a name in .zst would say so)",
    b"PAR1": "a Parquet file",
    b"%PDF-": "a PDF file",
    b"\x89PNG": "an image",
    b"GPTPYIDS": "an id file",
}


def refuse_no_text(head: bytes, path: str | Path) -> None:
    """Raise `DataError` where the first bytes of a file show that it is not UTF-8 text."""
    reason = other_encoding(head) or other_kind(head)
    if reason:
        raise DataError(f"{path}: {reason}")


def other_encoding(head: bytes) -> str | None:
    """What to say of a text in UTF-16 or UTF-32, known by its mark or by its zero bytes."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return _to_convert(name)
    if len(head) < 4:
        return None
    # Western text has zeros in every second byte, or in three of four, and nowhere else
    zeros = [head[place::4].count(0) / len(head[place::4]) for place in range(4)]
    for pattern, name in ZEROS.items():
        pairs = zip(pattern, zeros, strict=True)
        if all((share > 0.7) if zero == "0" else (share < 0.1) for zero, share in pairs):
            return _to_convert(name)
    return None


def _to_convert(name: str) -> str:
    kind = name[:6]
    return f"is {kind}, expected UTF-8; convert it: iconv -f {name} -t UTF-8 FILE > NEW"


def other_kind(head: bytes) -> str | None:
    """What to say of a file that is no text at all."""
    for magic, name in KINDS.items():
        if head.startswith(magic):
            return f"is {name}, expected a UTF-8 text"
    return binary(head.index(0)) if b"\0" in head else None


def binary(offset: int) -> str:
    """What to say of a file with a zero byte."""
    return f"is binary (byte {offset} is zero); a UTF-8 text is needed"
