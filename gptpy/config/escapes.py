"""Escapes in texts from the command line, where a line break cannot be typed easily."""

from __future__ import annotations

import re

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\"}


def unescaped(text: str) -> str:
    r"""`text` with `\n`, `\r`, `\t`, `\0` and `\\` as what they stand for; others stay."""
    return re.sub(r"\\([nrt0\\])", lambda found: ESCAPES[found[1]], text)
