"""How the time of `train` grows with the length of a word, over families hard for trainers.

    python benches/train_growth.py                        # 10^4 to 1.3 * 10^6 bytes
    python benches/train_growth.py --most 4 --only letters
    python benches/train_growth.py --write benches/records/train-growth.md

Each text is one word: the pattern takes all of it. Timed is `train` of 1,000 merges in the
process's CPU time, on one thread; a short word is first compared with the reference
implementation, a longer one must decode to its text. Further rows count words with more and more
special tokens, and train word-level tokenizers.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import bpe_rs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bpe-rs" / "tests"))
from hard_texts import FAMILIES  # noqa: E402
from reference_training import reference_train, words_of  # noqa: E402

ALL = r"[\s\S]+"
SMALLEST = 10_000
MERGES = 1_000
ROUNDS = 3
RECORD = f"""# Growth of `train`

Written by `python benches/train_growth.py --write FILE`: milliseconds of CPU time to learn
{MERGES:,} merges from one word of so many bytes, and the factors of the time when the word doubles:
the mean one and the steepest. Least of {ROUNDS} runs. Short words pay for 1,000 merges, whatever
their length, so the first factors lie below 2.
"""


def check(make: Callable[[int], str]) -> None:
    """Compare short words with the reference, and a longer text with what it decodes to."""
    short = make(600)
    expected = reference_train(words_of([short], ALL), 280, "huggingface")
    found = bpe_rs.train([short], vocab_size=280, pattern=ALL)
    if [found.decode_single_token_bytes(i) for i in range(found.n_vocab)] != expected:
        raise AssertionError(f"other merges than the reference for {short[:40]!r}...")
    text = make(SMALLEST)
    trained = bpe_rs.train([text], vocab_size=256 + MERGES, pattern=ALL)
    if trained.decode(trained.encode(text)) != text:
        raise AssertionError(f"ids of {text[:40]!r}... do not decode to it")


def milliseconds(call: Callable[[], object]) -> float:
    """The least CPU time of a few runs."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def rows() -> dict[str, Callable[[int], Callable[[], object]]]:
    """For each row the call to be timed at a size."""

    def training(make: Callable[[int], str]) -> Callable[[int], Callable[[], object]]:
        def at(size: int) -> Callable[[], object]:
            text = make(size)
            return lambda: bpe_rs.train([text], vocab_size=256 + MERGES, pattern=ALL, num_threads=1)

        return at

    def special(size: int) -> Callable[[], object]:
        names = [f"<|reserved_{i}|>" for i in range(size // 10)]
        text = ("some words " * 10 + names[-1]) * (size // 100)
        return lambda: bpe_rs.count_words([text], special_tokens=names, num_threads=1)

    def words(form: str) -> Callable[[int], Callable[[], object]]:
        def at(size: int) -> Callable[[], object]:
            text = FAMILIES["four letters"](size)
            return lambda: bpe_rs.WordTokenizer.train(text, num_merges=MERGES, form=form)  # type: ignore[arg-type]

        return at

    table = {name: training(make) for name, make in FAMILIES.items()}
    table["count_words, special tokens"] = special
    table["WordTokenizer, notebook"] = words("notebook")
    table["WordTokenizer, standard"] = words("standard")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--most", type=int, default=7, help="doublings of 10^4 bytes")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name has one of these")
    parser.add_argument("--write", type=Path, help="file of the record")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = [SMALLEST << k for k in range(arguments.most + 1)]
    head = " | ".join(f"{size:,}" for size in sizes)
    lines = [f"| bytes | {head} | mean | steepest |", "|---" * (len(sizes) + 3) + "|"]
    print("\n".join(lines), flush=True)
    for name, at in rows().items():
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        if name in FAMILIES:
            check(FAMILIES[name])
        times = [milliseconds(at(size)) for size in sizes]
        factors = [later / earlier for earlier, later in pairwise(times)]
        mean = (times[-1] / times[0]) ** (1 / max(1, len(factors)))
        cells = " | ".join(f"{t:.1f}" for t in times)
        lines.append(f"| {name} | {cells} | {mean:.2f} | {max(factors, default=0):.2f} |")
        print(lines[-1], flush=True)
    if arguments.write:
        day = f"{date.today():%d %B %Y}"
        arguments.write.write_text(RECORD + f"\n{day}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
