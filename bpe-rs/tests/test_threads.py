"""Calls of all kinds at once: the same results as one after the other, GIL or none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import bpe_rs
import pytest

TEXT = "The quick brown fox, 你好 👍🏽 jumps\n\n  over 12345 lazy dogs' tails. " * 40
THREADS = 8


def calls() -> dict[str, Callable[[], Any]]:
    enc = bpe_rs.get_encoding("cl100k_base")
    fresh = bpe_rs.Encoding(
        "fresh",
        pat_str=r"\w+|\W+",
        mergeable_ranks=bpe_rs.get_encoding("r50k_base").mergeable_ranks,
        special_tokens={"<x>": 60000},
    )
    words = bpe_rs.WordTokenizer.train(TEXT, num_merges=50)
    ids = enc.encode(TEXT)
    return {
        "encode": lambda: enc.encode(TEXT),
        "encode_to_numpy": lambda: enc.encode_to_numpy(TEXT).tolist(),
        "encode_batch": lambda: enc.encode_batch([TEXT, "b", TEXT], num_threads=2),
        "decode": lambda: enc.decode(ids),
        "single": lambda: [enc.encode_single_token(bytes([b])) for b in range(256)],
        "fresh": lambda: fresh.encode(TEXT + "<x>", allowed_special={"<x>"}),
        "special": lambda: [
            fresh.encode("a<x>b", allowed_special={"<x>", str(n)}) for n in range(300)
        ],
        "unstable": lambda: sorted(enc.encode_with_unstable("hello fan")[1]),
        "words": lambda: words.encode(TEXT),
        "train": lambda: bpe_rs.train([TEXT], vocab_size=300).mergeable_ranks,
        "registry": lambda: [bpe_rs.get_encoding(n).name for n in bpe_rs.list_encoding_names()],
        "values": lambda: len(enc.token_byte_values()),
    }


def test_calls_at_once() -> None:
    work = calls()
    # A second, untouched set of objects, so that tables are first built by several threads.
    expected = {name: call() for name, call in calls().items()}
    start = threading.Barrier(THREADS)
    failures: list[str] = []

    def run(number: int) -> None:
        start.wait()
        names = list(work)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            try:
                if work[name]() != expected[name]:
                    failures.append(f"{name}: another result")
            except Exception as error:
                failures.append(f"{name}: {error!r}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(
    not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled(),  # type: ignore[attr-defined]
    reason="needs a free-threaded interpreter",
)
def test_importing_does_not_switch_the_gil_on() -> None:
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]
