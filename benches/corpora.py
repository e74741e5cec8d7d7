"""The texts that the benchmarks encode."""

from __future__ import annotations

import gzip
import os
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GPTPY_SHARED", REPOSITORY.parent / "shared"))


def texts(quick: bool) -> dict[str, str]:
    """The corpora, by name."""
    size = 20_000_000 if quick else 100_000_000

    def packed(name: str) -> str:
        return gzip.decompress((SHARED / "data" / name).read_bytes()).decode()

    multilingual = packed("multilingual-22mb.txt.gz")
    library = Path(sysconfig.get_path("stdlib"))
    sources = (path.read_bytes() for path in sorted(library.rglob("*.py")))
    code = b"\n".join(sources).decode(errors="replace")
    chinese = "".join(
        line
        for line in multilingual.splitlines(keepends=True)
        if sum("\u4e00" <= c <= "\u9fff" for c in line) * 2 > len(line)
    )
    return {
        "English": packed("english-100mb.txt.gz")[:size],
        "multilingual": multilingual[: size // 4 if quick else None],
        "code": code[:size],
        "Chinese": chinese,
    }


def slices(text: str, size: int, most: int) -> list[str]:
    """Up to `most` parts of `size` characters."""
    return [text[at : at + size] for at in range(0, min(len(text), size * most), size)]
