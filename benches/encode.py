"""Encoding: ours and the peers in turn, the same ids first. `make bench-encode`.

Every case runs ours and each peer alternately, several rounds; the table gives the median of
each and the median of the rounds' ratios. `--quick` takes about two minutes. Results are appended
to `benches/records/encode.jsonl`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import bpe_rs
import gigatoken  # pyright: ignore[reportMissingImports]
import numpy as np
import tiktoken

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GPTPY_SHARED", REPOSITORY.parent / "shared"))
Run = Callable[[], object]
# A case: its name, bytes of input, and what each peer does.
Case = tuple[str, int, dict[str, Run]]


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


def total(parts: list[str]) -> int:
    return sum(len(part.encode()) for part in parts)


def theirs(name: str) -> gigatoken.Tokenizer:
    return gigatoken.Tokenizer.from_tiktoken(SHARED / "vocab" / f"{name}.tiktoken")


def cases(name: str, corpus: str, text: str, folder: Path) -> Iterator[Case]:
    """The cases of one encoding and corpus; each checks its ids before it is timed."""
    special = bpe_rs.get_encoding(name).special_tokens
    plain = text
    for token in special:  # gigatoken cannot take them as plain text
        plain = plain.replace(token, " ")
    path = folder / f"{corpus}.txt"
    path.write_text(plain, encoding="utf-8", newline="")
    size = path.stat().st_size
    ours, giga = bpe_rs.Encoding(name), theirs(name)
    compat = giga.as_tiktoken()
    twin = tiktoken.Encoding(
        name, pat_str=ours.pat_str, mergeable_ranks=ours.mergeable_ranks, special_tokens=special
    )
    sample = plain[: 1 << 20]
    assert ours.encode_ordinary(sample) == twin.encode_ordinary(sample), (name, corpus)
    flat = np.asarray(giga.encode(sample)).ravel()
    assert ours.encode_ordinary(sample) == flat.tolist(), (name, corpus)

    yield (
        f"{name} {corpus}: file, first pass, start-up included",
        size,
        {
            "ours": lambda: bpe_rs.Encoding(name).encode_files(path),
            "gigatoken": lambda: theirs(name).encode_files([path]),
        },
    )
    yield (
        f"{name} {corpus}: file, again",
        size,
        {"ours": lambda: ours.encode_files(path), "gigatoken": lambda: giga.encode_files([path])},
    )
    documents = slices(plain, 20_000, 60)
    yield (
        f"{name} {corpus}: 20 KB documents to lists",
        total(documents),
        {
            "ours": lambda: [ours.encode_ordinary(part) for part in documents],
            "gigatoken": lambda: [compat.encode_ordinary(part) for part in documents],
            "tiktoken": lambda: [twin.encode_ordinary(part) for part in documents],
        },
    )
    short = slices(plain, 200, 3000)
    yield (
        f"{name} {corpus}: 200 characters to lists",
        total(short),
        {
            "ours": lambda: [ours.encode_ordinary(part) for part in short],
            "gigatoken": lambda: [compat.encode_ordinary(part) for part in short],
            "tiktoken": lambda: [twin.encode_ordinary(part) for part in short],
        },
    )
    yield (
        f"{name} {corpus}: 200 characters to numpy",
        total(short),
        {
            "ours": lambda: [ours.encode_to_numpy(part) for part in short],
            "gigatoken": lambda: [giga.encode(part) for part in short],
        },
    )
    fresh = slices(plain, 4096, 4)
    yield (
        f"{name} {corpus}: fresh object, 4 KiB, its making not counted",
        total(fresh),
        {
            "ours": Fresh(lambda: ready(name), fresh),
            "gigatoken": Fresh(lambda: theirs(name), fresh),
        },
    )
    for label, batch in (
        ("1 MiB", slices(plain, 20_000, 52)),
        ("128 KiB", slices(plain, 2_000, 64)),
    ):
        yield (
            f"{name} {corpus}: encode_batch of {label}, 2 threads (peer: 1 thread)",
            total(batch),
            {
                "ours": lambda batch=batch: ours.encode_batch_to_numpy(batch, num_threads=2),
                "1 thread": lambda batch=batch: ours.encode_batch_to_numpy(batch, num_threads=1),
                "gigatoken": lambda batch=batch: giga.encode_batch(batch),
            },
        )
    ids = ours.encode_ordinary(sample)
    array = np.array(ids, np.uint32)
    yield (
        f"{name} {corpus}: decode a list",
        total([sample]),
        {"ours": lambda: ours.decode(ids), "tiktoken": lambda: twin.decode(ids)},
    )
    yield (
        f"{name} {corpus}: decode an array to bytes",
        total([sample]),
        {"ours": lambda: ours.decode_bytes(array), "tiktoken": lambda: twin.decode_bytes(ids)},
    )


def ready(name: str) -> bpe_rs.Encoding:
    """A fresh object whose tables are there, as a peer's are after construction."""
    encoding = bpe_rs.Encoding(name)
    encoding.encode_ordinary("")
    encoding.count("x")
    encoding.set_cache_limit(32 << 20)
    return encoding


class Fresh:
    """Encode each part by an object that has encoded nothing before; times only that."""

    def __init__(self, make: Callable[[], object], parts: list[str]) -> None:
        self.make, self.parts = make, parts

    def __call__(self) -> float:
        seconds = 0.0
        for part in self.parts:
            encoding = self.make()
            start = time.perf_counter()
            encoding.encode(part)  # pyright: ignore[reportAttributeAccessIssue]
            seconds += time.perf_counter() - start
        return seconds


def clock(run: Run) -> float:
    if isinstance(run, Fresh):
        return run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(case: Case, rounds: int) -> dict[str, object]:
    name, size, runs = case
    seconds: dict[str, list[float]] = {peer: [] for peer in runs}
    for at in range(rounds + 1):
        for peer, run in runs.items():
            took = clock(run)
            if at > 0:  # the first round warms
                seconds[peer].append(took)
    speed = {peer: round(size / statistics.median(t) / 1e6, 1) for peer, t in seconds.items()}
    ratio = {
        peer: round(statistics.median(b / a for a, b in zip(seconds["ours"], t, strict=True)), 2)
        for peer, t in seconds.items()
        if peer != "ours"
    }
    return {"case": name, "MB/s": speed, "ours against": ratio}


def start_up(rounds: int) -> dict[str, object]:
    """A fresh process that loads o200k_base and encodes one word, less a bare interpreter."""
    vocab = SHARED / "vocab" / "o200k_base.tiktoken"
    programs = {
        "bare": "pass",
        "ours": "import bpe_rs; bpe_rs.get_encoding('o200k_base')",
        "ours, first encode": "import bpe_rs; bpe_rs.get_encoding('o200k_base').encode('x')",
        "tiktoken": "import tiktoken, tiktoken.load as l; import tiktoken_ext.openai_public as p;"
        f"p.load_tiktoken_bpe = lambda *a, **k: l.load_tiktoken_bpe({str(vocab)!r});"
        "tiktoken.Encoding(**p.o200k_base())",
        "gigatoken": f"import gigatoken; gigatoken.Tokenizer.from_tiktoken({str(vocab)!r})",
    }
    seconds: dict[str, list[float]] = {peer: [] for peer in programs}
    for _ in range(rounds):
        for peer, program in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            seconds[peer].append(time.perf_counter() - start)
    bare = statistics.median(seconds.pop("bare"))
    return {
        "case": "o200k_base: fresh process, import included, ms",
        "ms": {p: round(1e3 * (statistics.median(t) - bare), 1) for p, t in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes instead of twenty")
    parser.add_argument("--rounds", type=int, help="rounds a case (3, or 5 without --quick)")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 5)
    names = ["r50k_base"] if options.quick else ["r50k_base", "cl100k_base", "o200k_base"]
    rows = [start_up(rounds)]
    print(json.dumps(rows[-1]), flush=True)
    corpora = texts(options.quick)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for corpus, text in corpora.items():
                for case in cases(name, corpus, text, Path(folder)):
                    rows.append(measure(case, rounds))
                    print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    record = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "quick": options.quick,
        "rounds": rounds,
        "rows": rows,
    }
    path = REPOSITORY / "benches" / "records" / "encode.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
