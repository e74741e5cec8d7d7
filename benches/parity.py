"""Ids of every text on this machine's Python installation, ours against tiktoken's.

    python benches/parity.py                  # standard library and site-packages, four rank files
    python benches/parity.py --write          # and benches/records/parity.md

Every file that is UTF-8 is compared, whatever its kind: sources, documentation, data, licences;
files of the same bytes once. Parts of a million characters, so that a difference is reported near
its place. The rank files are the published ones (their SHA-256 is part of the test suite).
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import sysconfig
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import bpe_rs
import numpy as np
import tiktoken

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"]
PART = 1 << 20


def texts(folders: list[Path], most: int) -> Iterator[str]:
    """The distinct texts below `folders`, in a fixed order, about `most` bytes of them."""
    seen: set[bytes] = set()
    size = 0
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            raw = path.read_bytes()
            digest = hashlib.sha256(raw).digest()
            if digest in seen or b"\0" in raw[:4096]:
                continue
            seen.add(digest)
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                continue
            size += len(raw)
            if size > most:
                return
            yield text


def compare(name: str, folders: list[Path], most: int) -> dict[str, int]:
    """Counts of files, bytes, ids, differences."""
    ours = bpe_rs.get_encoding(name)
    theirs = tiktoken.Encoding(
        name,
        pat_str=ours.pat_str,
        mergeable_ranks=ours.mergeable_ranks,
        special_tokens=ours.special_tokens,
    )
    counts: dict[str, int] = {"texts": 0, "bytes": 0, "ids": 0, "differences": 0}
    for text in texts(folders, most):
        counts["texts"] += 1
        for at in range(0, len(text), PART):
            part = text[at : at + PART]
            counts["bytes"] += len(part.encode())
            want = np.asarray(theirs.encode_to_numpy(part, disallowed_special=()))
            got = ours.encode_to_numpy(part, disallowed_special=())
            counts["ids"] += len(want)
            if not np.array_equal(got, want) or ours.decode(got) != part:
                counts["differences"] += 1
                print(f"{name}: differs in {part[:60]!r}...", file=sys.stderr)
    return counts


def main() -> None:
    """Compare, print, write the record where asked to; exit with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="*", default=NAMES)
    parser.add_argument("--most", type=int, default=1 << 40, help="bytes of text to compare")
    parser.add_argument("--write", action="store_true", help="write benches/records/parity.md")
    options = parser.parse_args()
    paths = sysconfig.get_paths()
    folders = [Path(paths["stdlib"]), Path(paths["purelib"])]
    rows = []
    for name in options.names:
        counts = compare(name, folders, options.most)
        cells = " | ".join(f"{value:,}" for value in counts.values())
        rows.append(f"| {name} | {cells} |")
        print(rows[-1], flush=True)
        if counts["differences"]:
            sys.exit(1)
    if options.write:
        text = f"""# Ids against tiktoken's

Written by `python benches/parity.py --write`: every text of the standard library and of
site-packages, {date.today().isoformat()}, Python {platform.python_version()}, tiktoken 0.14.0.

| rank file | texts | bytes | ids | differences |
|---|---|---|---|---|
{chr(10).join(rows)}
"""
        (ROOT / "benches" / "records" / "parity.md").write_text(text)


if __name__ == "__main__":
    main()
