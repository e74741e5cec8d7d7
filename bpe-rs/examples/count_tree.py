"""Count words in several processes and add them up in a tree.

    python count_tree.py FILE... --out all.counts --processes 4

The two functions are all that an engine with map and tree reduce needs (`count_spark.py`).
`WordCounts` can be pickled, so it travels between workers as it is.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import bpe_rs


def count(path: Path) -> bpe_rs.WordCounts:
    """The words of one file."""
    return bpe_rs.count_words(path, num_threads=1)


def add(left: bpe_rs.WordCounts, right: bpe_rs.WordCounts) -> bpe_rs.WordCounts:
    """The counts of both."""
    return left.merge(right)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Count words in several processes and add them up in a tree."
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    # Spawned, not forked: this process may have threads.
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(count, args.files))
        while len(parts) > 1:
            odd = parts[-1:] if len(parts) % 2 else []
            parts = [*pool.map(add, parts[0:-1:2], parts[1::2]), *odd]
    parts[0].save(args.out)
    print(parts[0])


if __name__ == "__main__":
    main()
