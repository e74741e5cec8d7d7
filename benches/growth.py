"""How the time of `encode` grows with the text, over families that are hard for encoders.

    python benches/growth.py                       # 10^4 to 10^7 bytes, three vocabularies
    python benches/growth.py --most 18 --names r50k_base
    python benches/growth.py --write benches/records/growth.md

Whole calls `Encoding.encode(text)` to a list, with empty caches, minimum of several. The clock is
the thread's CPU time, since other work on a shared machine comes in bursts; a doubling is called
too steep where it takes more than 2.2 times as long. Before a text is timed, its ids are decoded
and compared with it.

The process keeps the memory that it frees (glibc's `mallopt`; `--give-back` leaves the allocator
alone). Otherwise small results live in memory that is used again and large ones in fresh pages,
which is another price a byte: one doubling per family, wherever the allocator changes its mind,
then looks up to four times as long, and no encoder could help it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import bpe_rs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bpe-rs" / "tests"))
from hard_texts import FAMILIES  # noqa: E402

SMALLEST = 10_000
LIMIT = 2.2
CACHE = 64 << 20


def keep_memory() -> None:
    """Ask the C library not to give freed memory back, where it is glibc."""
    trim_threshold, mmap_max = -1, -4
    with contextlib.suppress(AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2_000_000_000)


def seconds(encoding: bpe_rs.Encoding, text: str, repeats: int) -> float:
    """CPU seconds of one call with empty caches: the least of `repeats`."""
    best = float("inf")
    for _ in range(repeats):
        encoding.set_cache_limit(CACHE)  # empties them
        gc.collect()
        start = time.thread_time()
        encoding.encode(text)
        best = min(best, time.thread_time() - start)
    return best


def column(encoding: bpe_rs.Encoding, make: Callable[[int], str], doublings: int) -> list[float]:
    """Nanoseconds a byte at each size."""
    row = []
    for k in range(doublings + 1):
        text = make(SMALLEST << k)
        size = len(text.encode())
        if encoding.decode(encoding.encode(text)) != text:
            raise AssertionError(f"{encoding.name}: ids of {text[:40]!r}... do not decode to it")
        repeats = min(200, max(3, (1 << 20) // size))
        row.append(1e9 * seconds(encoding, text, repeats) / size)
    return row


def measure(name: str, doublings: int, only: str | None) -> list[tuple[str, list[float]]]:
    """A row for every family."""
    encoding = bpe_rs.Encoding(name)
    encoding.encode("warm")
    rows = []
    for family, make in FAMILIES.items():
        if only is not None and only not in family:
            continue
        rows.append((family, column(encoding, make, doublings)))
        print(name, line(*rows[-1]), flush=True)
    return rows


def steepest(row: list[float]) -> float:
    """The largest factor of a doubling."""
    return max(2 * after / before for before, after in pairwise(row))


def line(family: str, row: list[float]) -> str:
    """One row of the table."""
    cells = " | ".join(f"{value:.1f}" for value in row)
    over = (row[-1] * 2 ** (len(row) - 1) / row[0]) ** (1 / (len(row) - 1))
    return f"| {family} | {cells} | {over:.2f} | {steepest(row):.2f} |"


def table(name: str, rows: list[tuple[str, list[float]]]) -> str:
    """Markdown."""
    sizes = [f"{SMALLEST << k:,}" for k in range(len(rows[0][1]))]
    head = ["family", *sizes, "mean factor", "steepest"]
    return "\n".join(
        [
            f"### {name}",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *(line(*row) for row in rows),
            "",
        ]
    )


def main() -> None:
    """Measure, print, and append to the record where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="*", default=["r50k_base", "cl100k_base", "o200k_base"])
    parser.add_argument("--most", type=int, default=10, help="doublings of 10,000 bytes")
    parser.add_argument("--only", help="families whose name contains this")
    parser.add_argument("--write", type=Path, metavar="FILE", help="append the tables to a file")
    parser.add_argument("--give-back", action="store_true", help="the allocator's usual ways")
    options = parser.parse_args()
    if not options.give_back:
        keep_memory()
    if options.most < 1:
        parser.error(f"--most: expected at least 1 doubling, got {options.most}")
    tables, steep = [], []
    for name in options.names:
        rows = measure(name, options.most, options.only)
        tables.append(table(name, rows))
        steep += [f"{name}: {family}" for family, row in rows if steepest(row) > LIMIT]
    print(f"doublings above {LIMIT}: {', '.join(steep) or 'none'}")
    if options.write:
        text = f"""
{date.today().isoformat()}, 2 cores of a shared x86-64 server (Zen 5), other work on it; Python
{platform.python_version()}, release build. Doublings above {LIMIT}: {", ".join(steep) or "none"}.

{chr(10).join(tables)}"""
        with options.write.open("a") as file:
            file.write(text.rstrip() + "\n")


if __name__ == "__main__":
    main()
