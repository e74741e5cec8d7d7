"""Seconds to open a `tokenizer.json`: ours and Hugging Face's in turn, equal ids checked first.

    make bench-load

Each file holds a vocabulary that the wheel carries, as `Encoding.save` writes it. A load is timed
from the file's name to the finished object; what was loaded before is dropped meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import bpe_rs
import tokenizers
from bpe_rs import hf
from train import processor

VOCABULARIES = ["gpt2", "cl100k_base", "o200k_base"]
TEXT = "Hello, world! naïve café, 12345 tokens\n\t你好，世界 🙂"
OPEN: dict[str, Callable[[str], Any]] = {
    "tokenizers": tokenizers.Tokenizer.from_file,
    "hf.Tokenizer": hf.Tokenizer.from_file,
    "Encoding": bpe_rs.Encoding.from_file,
}


def ids_of(opened: Any) -> list[int]:
    """The ids of `TEXT`."""
    if isinstance(opened, bpe_rs.Encoding):
        return opened.encode_ordinary(TEXT)
    return opened.encode(TEXT, add_special_tokens=False).ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds: int = parser.parse_args().rounds
    print(f"\n{date.today()}, {processor()}, tokenizers {tokenizers.__version__}; medians, ms\n")
    print("| file | " + " | ".join(OPEN) + " | tokenizers / hf.Tokenizer |")
    print("|---|" + "---|" * (len(OPEN) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for name in VOCABULARIES:
            path = str(Path(folder) / f"{name}.json")
            bpe_rs.get_encoding(name).save(path)
            first, *others = [ids_of(open_(path)) for open_ in OPEN.values()]
            if any(other != first for other in others):
                raise SystemExit(f"{name}: the ids differ")
            seconds: dict[str, list[float]] = {who: [] for who in OPEN}
            for _ in range(rounds):
                for who, open_ in OPEN.items():
                    start = time.perf_counter()
                    opened = open_(path)
                    seconds[who].append(time.perf_counter() - start)
                    del opened
            medians = {who: statistics.median(times) for who, times in seconds.items()}
            cells = " | ".join(f"{1e3 * median:.0f}" for median in medians.values())
            print(f"| {name} | {cells} | {medians['tokenizers'] / medians['hf.Tokenizer']:.2f} |")


if __name__ == "__main__":
    main()
