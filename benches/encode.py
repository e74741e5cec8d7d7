"""Encoding: ours and the peers in turn, the same ids first. `make bench-encode`.

Every case runs ours and each peer alternately, several rounds; the table gives the median speed of
each and the median of the rounds' ratios, next to the ratio that ours must reach. Files and batches
are measured twice, on one core and on all; the peers have no other way to ask for one thread.
`--quick` takes about five minutes. The table is appended to `benches/records/encode.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

if "--one-core" in sys.argv and hasattr(os, "sched_setaffinity"):
    # Before anything starts threads or counts cores.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import bpe_rs
import gigatoken  # pyright: ignore[reportMissingImports]
import numpy as np
import tiktoken
from corpora import REPOSITORY, slices, texts
from encode_peers import DISTRIBUTIONS, installed, list_encoders
from encode_runs import (
    FirstPass,
    Fresh,
    Run,
    Timed,
    TwoProcesses,
    clock,
    each,
    ready,
    their_ready,
    theirs,
    vocabulary,
)
from machine import processor

# A case: its name, bytes of input, and what each peer does.
Case = tuple[str, int, dict[str, Run]]
# An upper bound for two threads: two independent processes. Two cores of a virtual machine may
# share a physical one, which gives less than twice the speed of one.
HOST = "2 processes of 1 thread"
# Ours must reach this multiple of a peer's speed, for English and r50k.
MUSTS = {
    "file, first pass, start-up included": {"gigatoken": 2.5},
    "file, again": {"gigatoken": 1.3},
    "20 KB documents to lists": {"gigatoken": 2, "tiktoken": 15},
    "200 characters to lists": {"gigatoken": 4, "tiktoken": 6},
    "200 characters to numpy": {"gigatoken": 1},
    "fresh object, 4 KiB to numpy, its making not counted": {"gigatoken": 2},
    "batch of 1 MiB, all cores": {"ours, 1 thread": 1.7, HOST: 0.85},
    "batch of 128 KiB, all cores": {"ours, 1 thread": 1.3, HOST: 0.65},
    "decode a list": {"tiktoken": 4},
    "decode an array to bytes (tiktoken: a list)": {"1 GB/s": 1},
}
OTHER_MUSTS = {
    "file, first pass, start-up included": {"gigatoken": 2.3},
    "file, again": {"gigatoken": 1.6},
}


def total(parts: list[str]) -> int:
    return sum(len(part.encode()) for part in parts)


def cases(name: str, text: str, folder: Path, one_core: bool) -> Iterator[Case]:
    """The cases of one encoding and corpus, files only on one core; the ids are checked first."""
    special = bpe_rs.get_encoding(name).special_tokens
    plain = text
    for token in special:  # gigatoken cannot take them as plain text
        plain = plain.replace(token, " ")
    path, first, second = (folder / f"{part}.txt" for part in ("all", "first", "second"))
    cut = plain.index("\n", len(plain) // 2)
    for file, part in ((path, plain), (first, plain[:cut]), (second, plain[cut:])):
        file.write_text(part, encoding="utf-8", newline="")
    size = path.stat().st_size
    ours, giga = bpe_rs.Encoding(name), theirs(name)
    compat = giga.as_tiktoken()
    peer_encoding = tiktoken.Encoding(
        name, pat_str=ours.pat_str, mergeable_ranks=ours.mergeable_ranks, special_tokens=special
    )
    sample = plain[: 1 << 20]
    want = peer_encoding.encode_ordinary(sample)
    assert ours.encode_ordinary(sample) == want, name
    assert np.asarray(giga.encode(sample)).ravel().tolist() == want, name
    assert np.size(ours.encode_files(path)) == giga_count(giga, path), name

    yield (
        "file, first pass, start-up included",
        size,
        {peer: FirstPass(peer, name, path) for peer in ("ours", "gigatoken")},
    )
    yield (
        "file, fresh object in a process that has encoded before",
        size,
        {
            "ours": lambda: bpe_rs.Encoding(name).encode_files(path),
            "gigatoken": lambda: theirs(name).encode_files([path]),
        },
    )
    yield (
        "file, new text, caches kept",
        second.stat().st_size,
        {
            "ours": Timed(lambda: bpe_rs.Encoding(name), lambda e: e.encode_files(first), second),
            "gigatoken": Timed(
                lambda: theirs(name), lambda e: e.encode_files([first]), second, lists=True
            ),
        },
    )
    yield (
        "file, again",
        size,
        {"ours": lambda: ours.encode_files(path), "gigatoken": lambda: giga.encode_files([path])},
    )
    yield (
        "file to an id file, again",
        size,
        {"ours": lambda: ours.encode_files(path, out=folder / "ids.bin")},
    )
    if one_core:
        return
    ours.save(folder / "tokenizer.json")
    others = list_encoders(name, folder, sample, want)
    for label, length, most in (
        ("200 characters", 200, 3000),
        ("4 KiB", 4096, 250),
        ("20 KB documents", 20_000, 60),
        ("64 KiB", 65_536, 20),
        ("1 MiB", 1 << 20, 2),
    ):
        parts = slices(plain, length, most)
        yield (
            f"{label} to lists",
            total(parts),
            {
                "ours": each(ours.encode_ordinary, parts),
                "gigatoken": each(compat.encode_ordinary, parts),
                "tiktoken": each(peer_encoding.encode_ordinary, parts),
                **{peer: each(encode, parts) for peer, encode in others.items()},
            },
        )
        yield (
            f"{label} to numpy",
            total(parts),
            {"ours": each(ours.encode_to_numpy, parts), "gigatoken": each(giga.encode, parts)},
        )
    fresh = slices(plain, 4096, 8)
    yield (
        "fresh object, 4 KiB to numpy, its making not counted",
        total(fresh),
        {
            "ours": Fresh(lambda: ready(name).encode_to_numpy, fresh),
            "gigatoken": Fresh(lambda: their_ready(name).encode, fresh),
        },
    )
    for label, batch, times in (
        ("1 MiB", slices(plain, 20_000, 52), 10),
        ("128 KiB", slices(plain, 2_000, 64), 50),
    ):
        batches = [batch] * times  # a single batch ends before a second core is awake
        with contextlib.closing(TwoProcesses(name, batches)) as two:
            yield (
                f"batch of {label}, all cores",
                times * total(batch),
                {
                    "ours": each(ours.encode_batch_to_numpy, batches),
                    "ours, 1 thread": each(
                        functools.partial(ours.encode_batch_to_numpy, num_threads=1), batches
                    ),
                    HOST: two,
                    "gigatoken": each(giga.encode_batch, batches),
                },
            )
    array = np.array(want, np.uint32)
    assert ours.decode(want) == sample and ours.decode_bytes(array) == sample.encode()
    yield (
        "decode a list",
        5 * total([sample]),
        {"ours": each(ours.decode, [want] * 5), "tiktoken": each(peer_encoding.decode, [want] * 5)},
    )
    yield (
        "decode an array to bytes (tiktoken: a list)",
        5 * total([sample]),
        {
            "ours": each(ours.decode_bytes, [array] * 5),
            "tiktoken": each(peer_encoding.decode_bytes, [want] * 5),
        },
    )


def giga_count(giga: gigatoken.Tokenizer, path: Path) -> int:
    """How many ids gigatoken has for a file."""
    return sum(np.asarray(row).size for row in giga.encode_files([path]))


def measure(case: Case, rounds: int) -> dict[str, object]:
    name, size, runs = case
    if HOST in runs:  # the second core's speed varies from moment to moment
        rounds = max(rounds, 25)
    seconds: dict[str, list[float]] = {peer: [] for peer in runs}
    for at in range(rounds + 1):
        for peer, run in runs.items():
            time.sleep(0.02)  # lets spinning threads of the previous run go to sleep
            took = clock(run)
            if at > 0:  # the first round warms
                seconds[peer].append(took)
    speed = {peer: size / statistics.median(t) / 1e6 for peer, t in seconds.items()}
    ratio = {
        peer: statistics.median(b / a for a, b in zip(seconds["ours"], t, strict=True))
        for peer, t in seconds.items()
        if peer != "ours"
    }
    return {"case": name, "MB/s": speed, "ratio": ratio}


def musts_of(case: str, name: str, corpus: str) -> dict[str, float]:
    """The ratios that ours must reach; 20 % less for other vocabularies and corpora."""
    share = 1 if (name, corpus) == ("r50k_base", "English") else 0.8
    musts = {peer: share * must for peer, must in MUSTS.get(case, {}).items()}
    if corpus in ("multilingual", "Chinese"):
        musts |= OTHER_MUSTS.get(case, {})
    return musts


def row(result: dict, name: str, corpus: str) -> tuple[str, str]:
    """A line of the table, and one that says which musts were missed, if any."""
    musts = musts_of(result["case"], name, corpus)
    cores = " (1 core)" if result.get("one core") else ""
    label = f"{name} {corpus}: {result['case']}{cores}"
    ours, reached = result["MB/s"]["ours"], dict(result["ratio"])
    if "1 GB/s" in musts:
        reached["1 GB/s"] = ours / 1000
    ratios = [
        f"{ratio:.2f}x {peer}" + (f" (must {musts[peer]:.3g})" if peer in musts else "")
        for peer, ratio in reached.items()
    ]
    missed = [
        text
        for text, peer in zip(ratios, reached, strict=True)
        if reached[peer] < musts.get(peer, 0)
    ]
    speeds = ", ".join(
        f"{peer} {speed:.1f}" for peer, speed in result["MB/s"].items() if peer != "ours"
    )
    line = f"| {label} | {ours:.1f} | {speeds} | {', '.join(ratios)} |"
    return line, f"- {label}: {', '.join(missed)}" if missed else ""


def start_up(rounds: int) -> dict[str, float]:
    """A fresh process that loads o200k_base and encodes one word, less a bare interpreter."""
    vocab = vocabulary("o200k_base")
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
    return {p: round(1e3 * (statistics.median(t) - bare), 1) for p, t in seconds.items()}


def results(options: argparse.Namespace, rounds: int) -> Iterator[tuple[str, str, dict]]:
    """(encoding, corpus, result) of every case on the cores that this process may use."""
    names = ["r50k_base", "cl100k_base", "o200k_base"]
    start, colon, _ = options.only.partition(":")
    for corpus, text in texts(options.quick).items():
        # Two of the peers know cl100k_base and o200k_base only.
        quick = names[:2] if corpus in ("English", "multilingual") else names[:1]
        for name in quick if options.quick else names:
            if colon and start not in f"{name} {corpus}" and f"{name} {corpus}" not in start:
                continue
            with tempfile.TemporaryDirectory() as folder:
                for case in cases(name, text, Path(folder), options.one_core):
                    if options.only in f"{name} {corpus}: {case[0]}":
                        yield name, corpus, {**measure(case, rounds), "one core": options.one_core}


def on_one_core(options: argparse.Namespace, rounds: int) -> Iterable[tuple[str, str, dict]]:
    """The same of a process that has one core."""
    command = [sys.executable, __file__, "--one-core", "--rounds", str(rounds)]
    command += ["--quick"] if options.quick else []
    command += ["--only", options.only]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield tuple(json.loads(line))
    if child.returncode:
        raise SystemExit(f"the run on one core failed with exit status {child.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five minutes instead of twenty")
    parser.add_argument("--rounds", type=int, help="rounds a case (3, or 5 without --quick)")
    parser.add_argument("--only", default="", help="rows whose first cell contains this")
    parser.add_argument("--one-core", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 5)
    if options.one_core:
        for result in results(options, rounds):
            print(json.dumps(result), flush=True)
        return
    started = start_up(rounds)
    others = [DISTRIBUTIONS.get(peer, peer) for peer in installed()]
    peers = ("gigatoken", "tiktoken", *others, "gptpy-bpe", "numpy")
    versions = ", ".join(f"{peer} {importlib.metadata.version(peer)}" for peer in peers)
    lines = [
        f"## {date.today().isoformat()}{', quick' if options.quick else ''}",
        "",
        f"{processor()}, Python {platform.python_version()}, "
        f"{versions}; medians of {rounds} rounds, MB of UTF-8 a second, ids checked before.",
        "",
        f"`get_encoding('o200k_base')` in a fresh process, import included, ms above a bare "
        f"interpreter: {started}.",
        "",
        "| case | ours | peers | ours against |",
        "|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    missed = []
    for source in (results(options, rounds), on_one_core(options, rounds)):
        for name, corpus, result in source:
            line, miss = row(result, name, corpus)
            lines.append(line)
            missed += [miss] if miss else []
            print(line, flush=True)
    if lines[-1] == "|---|---|---|---|":
        parser.error(f"--only: expected part of a row's first cell, got {options.only!r}")
    lines += ["", "Below what issue 4 asks for:" if missed else "Nothing is below its must.", ""]
    print("\n".join([*lines[-2:], *missed]))
    lines += missed
    path = REPOSITORY / "benches" / "records" / "encode.md"
    with path.open("a") as file:
        file.write("\n".join([*lines, "", ""]))


if __name__ == "__main__":
    main()
