"""How the time of `encode` grows with the text, over families that are hard for encoders.

    python benches/growth.py                       # 10^4 to 10^7 bytes, three vocabularies
    python benches/growth.py --most 5 --names r50k_base --only letters blanks
    python benches/growth.py --write benches/records/growth.md

Timed is the whole call `Encoding.encode(text)` to a list in the thread's CPU time, empty caches and
the freeing of the list included; the first call is not timed, its ids are checked.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import bpe_rs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bpe-rs" / "tests"))
from hard_texts import FAMILIES  # noqa: E402

# Method. A size is timed on at least AT_LEAST bytes of different texts: repeating one short text
# trains the branch predictor and keeps its table lines cached, which no longer text can have. Sizes
# alternate over several rounds and the least time of a text counts, because other programs only
# add time. Rows run in several processes, because the placement of pages decides which table lines
# collide in the second-level cache; the median over processes counts, and rows near the limit get
# more processes.
SMALLEST = 10_000
AT_LEAST = 1 << 19
LIMIT = 2.2
NEAR = 2.1
PROCESSES = 5
MORE_PROCESSES = 10
ROUNDS = 3
CACHE = 64 << 20
ALL_PROCESSES = PROCESSES + MORE_PROCESSES
TEXT_OF_RECORD = f"""# Growth of `encode`

Written by `python benches/growth.py --write FILE`: nanoseconds of CPU time a byte for whole calls
`Encoding.encode(text)` to a Python list, with empty caches; the factors are those of the time when
the text doubles: the mean one, and the steepest. Medians over {PROCESSES} processes, and over
{ALL_PROCESSES} in rows that had a doubling above {NEAR} in the first {PROCESSES}. The script says
what is timed and how.
"""


def keep_memory() -> None:
    """Ask glibc to keep freed memory; does nothing elsewhere.

    Otherwise small results live in reused memory and large ones in fresh pages, and the step
    between the two looks like growth of the encoder. `--give-back` leaves the allocator alone.
    """
    trim_threshold, mmap_max = -1, -4
    with contextlib.suppress(AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2_000_000_000)


def texts_of(make: Callable[[int], str], size: int) -> list[str]:
    """Texts of a family of about `size` bytes each: random ones differ."""
    return [make(size - at) for at in range(max(1, AT_LEAST // size))]


def check(encoding: bpe_rs.Encoding, text: str) -> None:
    """Encode `text` and compare what its ids stand for with it."""
    if encoding.decode(encoding.encode(text)) != text:
        raise AssertionError(f"{encoding.name}: ids of {text[:40]!r}... do not decode to it")


def column(encoding: bpe_rs.Encoding, sizes: list[list[str]]) -> list[float]:
    """Nanoseconds a byte for the texts of each size, in this process."""
    seconds = [[float("inf")] * len(texts) for texts in sizes]
    for _ in range(ROUNDS):
        for texts, least in zip(sizes, seconds, strict=True):
            for at, text in enumerate(texts):
                encoding.set_cache_limit(CACHE)  # empties the caches
                start = time.thread_time()
                encoding.encode(text)
                least[at] = min(least[at], time.thread_time() - start)
    return [
        1e9 * sum(least) / sum(len(text.encode()) for text in texts)
        for texts, least in zip(sizes, seconds, strict=True)
    ]


def measure_column(name: str, file: Path, give_back: bool, checked: bool) -> None:
    """What each process does: the texts are in `file`, the row is printed."""
    if not give_back:
        keep_memory()
    gc.disable()  # a collection empties the processor's caches, and lists of ints have no cycles
    sizes: list[list[str]] = json.loads(file.read_text())
    encoding = bpe_rs.Encoding(name)
    for texts in sizes:
        for text in texts:
            # A first call makes the `int` objects, whether its ids are looked at or not.
            encoding.encode(text) if checked else check(encoding, text)
    print(json.dumps(column(encoding, sizes)))


Columns = list[list[float]]


def run_processes(count: int, name: str, file: Path, give_back: bool, checked: bool) -> Columns:
    """Nanoseconds a byte for the texts of each size in `file`, in each of `count` processes."""
    columns: Columns = []
    for at in range(count):
        command = [sys.executable, __file__, "--file", str(file), "--names", name]
        command += ["--give-back"] * give_back + ["--checked"] * (checked or at > 0)
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        columns.append(json.loads(child.stdout))
    return columns


def medians(columns: Columns) -> list[float]:
    """Over processes."""
    return [statistics.median(prices) for prices in zip(*columns, strict=True)]


def measure(
    names: list[str], doublings: int, only: list[str], give_back: bool
) -> dict[str, list[tuple[str, Columns]]]:
    """Rows of all families for each vocabulary."""
    families = [name for name in FAMILIES if not only or any(part in name for part in only)]
    measured: dict[tuple[str, str], Columns] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "texts.json")

        def add(family: str, names: list[str], processes: int) -> None:
            sizes = [texts_of(FAMILIES[family], SMALLEST << k) for k in range(doublings + 1)]
            file.write_text(json.dumps(sizes))
            for name in names:
                columns = measured.setdefault((name, family), [])
                columns += run_processes(processes, name, file, give_back, bool(columns))
                print(name, line(family, columns), flush=True)

        for family in families:
            add(family, names, PROCESSES)
        for family in families:
            near = [name for name in names if steepest(measured[name, family]) > NEAR]
            if near:
                add(family, near, MORE_PROCESSES)
    return {name: [(family, measured[name, family]) for family in families] for name in names}


def steepest(columns: Columns) -> float:
    """The largest factor of a doubling."""
    factors = [[2 * after / before for before, after in pairwise(prices)] for prices in columns]
    return max(medians(factors))


def line(family: str, columns: Columns) -> str:
    """One row of the table."""
    prices = medians(columns)
    cells = " | ".join(f"{price:.1f}" for price in prices)
    over = 2 * (prices[-1] / prices[0]) ** (1 / (len(prices) - 1))
    return f"| {family} | {cells} | {over:.2f} | {steepest(columns):.2f} |"


def table(name: str, rows: list[tuple[str, Columns]]) -> str:
    """Markdown."""
    sizes = [f"{SMALLEST << k:,}" for k in range(len(rows[0][1][0]))]
    head = ["family", *sizes, "mean factor", "steepest"]
    return "\n".join(
        [
            f"## {name}",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *(line(*row) for row in rows),
            "",
        ]
    )


def main() -> None:
    """Measure, print, and write the record where asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="*", default=["r50k_base", "cl100k_base", "o200k_base"])
    parser.add_argument("--most", type=int, default=10, help="doublings of 10,000 bytes")
    parser.add_argument("--only", nargs="*", default=[], help="families with this in their names")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the record anew")
    parser.add_argument("--give-back", action="store_true", help="the allocator's usual ways")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--checked", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.most < 1:
        parser.error(f"--most: expected at least 1 doubling, got {options.most}")
    if options.file:
        return measure_column(options.names[0], options.file, options.give_back, options.checked)
    measured = measure(options.names, options.most, options.only, options.give_back)
    if not any(measured.values()):
        parser.error(f"--only: expected part of one of {', '.join(FAMILIES)}; got {options.only}")
    all_steepest = {
        f"{name}: {family}": steepest(columns)
        for name, rows in measured.items()
        for family, columns in rows
    }
    steep = [f"{row} ({factor:.2f})" for row, factor in all_steepest.items() if factor > LIMIT]
    verdict = (
        f"Of {len(all_steepest)} rows, above {LIMIT}: {', '.join(steep) or 'none'}; the steepest "
        f"doubling of all: {max(all_steepest.values()):.2f}."
    )
    print(verdict)
    if options.write:
        tables = "\n".join(table(name, rows) for name, rows in measured.items())
        options.write.write_text(
            f"{TEXT_OF_RECORD}\n{date.today().isoformat()}, 2 cores of a shared x86-64 server "
            f"(Zen 5), other work on it; Python\n{platform.python_version()}, release build. "
            f"{verdict}\n\n{tables.rstrip()}\n"
        )


if __name__ == "__main__":
    main()
