"""Seconds from Ctrl-C to the end of the process, while words are counted and while pairs merge.

python benches/train_interrupt.py english.txt
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Counting: the file again and again. Merging: so many made-up words that merging takes a while.
PROGRAM = """
import random, signal, sys
from pathlib import Path
import bpe_rs
signal.signal(signal.SIGINT, signal.default_int_handler)
phase, threads, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
if phase == "count":
    print("ready", flush=True)
    bpe_rs.train([path] * 1000, vocab_size=1000, num_threads=threads)
else:
    alphabet = bytes(97 + i % 26 for i in range(256))
    letters = random.Random(0).randbytes(60_000_000).translate(alphabet)
    words = " ".join(letters[i : i + 20].decode() for i in range(0, len(letters), 20))
    counts = bpe_rs.count_words([words], num_threads=threads)
    print("ready", flush=True)
    bpe_rs.train(counts, vocab_size=500_000, num_threads=threads)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from Ctrl-C to the process's end.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for phase in ("count", "merge"):
        for threads in (1, 2):
            waits = []
            for i in range(args.rounds):
                command = [sys.executable, "-c", PROGRAM, phase, str(threads), str(args.file)]
                process = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
                assert process.stdout is not None
                process.stdout.readline()
                # At different moments: while the corpus is built, pairs counted, merges made.
                time.sleep(0.05 + 0.4 * i)
                start = time.perf_counter()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
                waits.append(time.perf_counter() - start)
                if "KeyboardInterrupt" not in errors:
                    raise SystemExit(f"error: {phase} ended by itself: {errors}")
            middle = statistics.median(waits)
            print(f"{phase}, {threads} threads: {middle:.2f} s, at most {max(waits):.2f} s")


if __name__ == "__main__":
    main()
