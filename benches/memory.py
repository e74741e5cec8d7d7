"""Resident memory over millions of different documents, and of strings of 300 MB.

    python benches/memory.py                            # everything, about ten minutes
    python benches/memory.py --documents 1000000        # shorter
    python benches/memory.py --write                    # and benches/records/memory.{md,png}

Every way to encode runs in a process of its own over documents whose words never repeat, so that
cached pieces are evicted all the time. The first tenth fills the caches; from there on the curve
must be flat.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import bpe_rs

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = 100
WAYS = ["list", "numpy", "count", "batch", "file", "list, caches of 4 MiB"]
LARGE = 300_000_000


def resident() -> float:
    """Resident memory of this process now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def document(number: int) -> str:
    """A text of about 90 bytes; no two have a word of letters in common but "of"."""
    word = ""
    rest = number * 2_654_435_761 % (1 << 40)
    while rest:
        rest, digit = divmod(rest, 21)
        word += "bcdfghjklmnpqrstvwxyz"[digit] + "aeiou"[digit % 5]
    return f"{word} of un{word}ly {number}: {word.upper()}'s {word[::-1]}é, {word}tion\n"


def encode(way: str, documents: int) -> Iterator[float]:
    """Encode `documents` documents one way; the resident memory, `SAMPLES` times."""
    encoding = bpe_rs.get_encoding("cl100k_base")
    if way == "list, caches of 4 MiB":
        encoding.set_cache_limit(4 << 20)
    share = documents // SAMPLES
    if way == "file":
        yield from encode_file(encoding, documents)
        return
    for sample in range(SAMPLES):
        numbers = range(sample * share, (sample + 1) * share)
        if way.startswith("list"):
            for number in numbers:
                encoding.encode(document(number))
        elif way == "numpy":
            for number in numbers:
                encoding.encode_to_numpy(document(number))
        elif way == "count":
            for number in numbers:
                encoding.count(document(number))
        else:
            for start in range(numbers.start, numbers.stop, 1000):
                encoding.encode_batch([document(n) for n in range(start, start + 1000)])
        yield resident()


def encode_file(encoding: bpe_rs.Encoding, documents: int) -> Iterator[float]:
    """The same with `encode_files` and `out=`: JSON lines, made first, memory at each report."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "documents.jsonl", Path(folder) / "out.ids"
        with path.open("w") as file:
            for number in range(documents):
                file.write(json.dumps({"text": document(number)}) + "\n")
        total, seen = path.stat().st_size, []
        gc.collect()

        def report(done: int) -> None:
            if done * SAMPLES // total >= len(seen):
                seen.append(resident())

        encoding.encode_files(path, out=out, progress=report)
        yield from seen


def large(way: str) -> dict[str, float]:
    """A string of 300 MB there and back: seconds, and the most memory beyond the string's."""
    encoding = bpe_rs.get_encoding("r50k_base")
    line = "The quick brown fox jumps over the lazy dog, it's 2024; x=1234567 'tis été 你好 🙂.\n"
    text = line * (LARGE // len(line.encode()))
    encoding.encode("warm")
    before, start = resident(), time.perf_counter()
    ids = encoding.encode(text) if way == "list" else encoding.encode_to_numpy(text)
    encoded, peak = time.perf_counter() - start, highest()
    start = time.perf_counter()
    back = encoding.decode(ids)
    decoded = time.perf_counter() - start
    if back != text:
        raise AssertionError("300 MB do not come back")
    return {
        "MB": round(len(text.encode()) / 1e6),
        "ids": len(ids),
        "encode s": round(encoded, 2),
        "decode s": round(decoded, 2),
        "text MB": round(before),
        "peak of encoding MB": round(peak),
        "peak of both MB": round(highest()),
    }


def highest() -> float:
    """The most resident memory of this process so far, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def run(*arguments: str) -> list[str]:
    """The lines that this script prints in another process."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


def draw(curves: dict[str, list[float]], documents: int, path: Path) -> None:
    """The curves as an image."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for way, curve in curves.items():
        axes.plot([documents * (k + 1) / len(curve) / 1e6 for k in range(len(curve))], curve)
        axes.annotate(way, (documents / 1e6, curve[-1]), fontsize=7)
    axes.set_xlabel("million different documents")
    axes.set_ylabel("resident MB")
    axes.set_ylim(bottom=0)
    axes.legend(curves, fontsize=7)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Measure, print, write the record where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--write", action="store_true", help="write benches/records/memory.*")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--large", choices=["list", "numpy"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.documents < 1000 * SAMPLES:
        parser.error(f"--documents: expected at least {1000 * SAMPLES}, got {options.documents}")
    if options.way:
        for value in encode(options.way, options.documents):
            print(value)
        return
    if options.large:
        print(json.dumps(large(options.large)))
        return
    curves, rows = {}, []
    for way in options.ways:
        start = time.perf_counter()
        lines = run("--way", way, "--documents", str(options.documents))
        curve = curves[way] = [float(line) for line in lines]
        settled = curve[len(curve) // 10 :]
        rows.append(
            f"| {way} | {curve[0]:.0f} | {settled[0]:.0f} | {max(settled):.0f} "
            f"| {curve[-1]:.0f} | {time.perf_counter() - start:.0f} |"
        )
        print(rows[-1], flush=True)
    strings = {way: json.loads(run("--large", way)[0]) for way in ("list", "numpy")}
    for way, row in strings.items():
        print(way, row, flush=True)
    if options.write:
        heads = list(strings["list"])
        large_rows = [
            f"| {way} | {' | '.join(f'{row[head]:,}' for head in heads)} |"
            for way, row in strings.items()
        ]
        text = f"""# Memory

Written by `python benches/memory.py --write`, {date.today().isoformat()}, 2 cores of a shared
x86-64 server (Zen 5), other work on it, Python {platform.python_version()}, release build.

Resident MB while {options.documents:,} different documents of about 90 bytes are encoded with
cl100k_base (caches of 64 MiB a thread where nothing else is said; `batch` and `file` have two):
after the first hundredth, after a tenth, the most from there on, at the end. Seconds include making
the documents in Python.

| way | 1 % | 10 % | most after | end | s |
|---|---|---|---|---|---|
{chr(10).join(rows)}

![resident memory](memory.png)

A string of 300 MB with r50k_base and back, compared:

| ids as | {" | ".join(heads)} |
|{"---|" * (len(heads) + 1)}
{chr(10).join(large_rows)}
"""
        (ROOT / "benches" / "records" / "memory.md").write_text(text)
        draw(curves, options.documents, ROOT / "benches" / "records" / "memory.png")


if __name__ == "__main__":
    main()
