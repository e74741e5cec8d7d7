"""Output whose encoding lacks a character: it is written as an escape, and that is said."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ESCAPE = "gptpy.escape"


@contextmanager
def escaping() -> Iterator[None]:
    """Inside the block no character that is printed is an error; at its end a note may follow.

    A pipe on Windows has the encoding of a code page, and `LANG=C` means ASCII.
    """
    escaped: list[str] = []

    def escape(error: UnicodeError) -> tuple[str | bytes, int]:
        if isinstance(error, UnicodeEncodeError):
            escaped.append(error.encoding)
        return codecs.backslashreplace_errors(error)

    codecs.register_error(ESCAPE, escape)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors=ESCAPE)
    yield
    if escaped:
        if sys.stdout is not None:
            sys.stdout.flush()
        print(
            f"gptpy: characters that {escaped[0]} lacks were written as escapes; with "
            "PYTHONIOENCODING=utf-8 they are kept",
            file=sys.stderr,
        )
