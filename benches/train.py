"""Training from a file, ours and the peers' in turn: seconds, memory, and whether they agree.

    make bench-train                                # everything
    python benches/train.py --corpus english --vocab 32768 --rounds 3
    python benches/train.py --checksums             # learned tokens only, every vocabulary
    python benches/train.py --scaling plot.png      # cost against corpus and vocabulary

Every run is a process of its own that is timed from the open file's name to the learned tokens,
imports excluded. Before anything is timed, the tokens of ours are compared with those of every
peer that promises a tie-break; memory is the peak above what the process held after its imports.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from machine import processor
from train_peers import MUST_EQUAL, SEPARATOR, TRAINERS

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GPTPY_SHARED", ROOT.parent / "shared"))
# (corpus, pattern, vocabulary)
TABLE = [
    ("english", "gpt2", 32_768),
    ("english", "gpt2", 50_257),
    ("english", "gpt2", 100_256),
    ("multilingual", "gpt2", 32_768),
    ("multilingual", "gpt2", 50_257),
    ("code", "gpt2", 32_768),
    ("english", "cl100k", 100_256),
    ("english", "o200k", 100_256),
]
PATTERNS = ["gpt2", "cl100k", "o200k"]
# Vocabularies whose learned tokens are compared.
SIZES = [512, 4096, 32_768, 50_257, 100_256]


# --- corpora -----------------------------------------------------------------------------------


def corpus(name: str, folder: Path) -> Path:
    """The corpus as a plain file in `folder`, made if it is not there yet."""
    path = folder / f"{name}.txt"
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for piece in CORPORA[name]():
                file.write(piece)
        part.replace(path)
    return path


def unpacked(name: str) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        with gzip.open(SHARED / "data" / name) as file:
            while piece := file.read(1 << 20):
                yield piece

    return pieces


def python_code() -> Iterator[bytes]:
    """A hundred megabytes of the standard library and of what is installed beside it."""
    left = 100_000_000
    paths = sysconfig.get_paths()
    files = [path for key in ("stdlib", "purelib") for path in Path(paths[key]).rglob("*.py")]
    for path in sorted(set(files)):
        try:
            text = path.read_text()
        except (UnicodeDecodeError, OSError):
            continue
        piece = (text.replace(SEPARATOR, "") + SEPARATOR).encode()
        left -= len(piece)
        yield piece
        if left <= 0:
            return


CORPORA = {
    "english": unpacked("english-100mb.txt.gz"),
    "multilingual": unpacked("multilingual-22mb.txt.gz"),
    "code": python_code,
}


# --- one run -----------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def work(trainer: str, path: Path, pattern: str, vocab: int) -> dict:
    """Train once, here."""
    run = TRAINERS[trainer]()
    before = resident()
    start = time.perf_counter()
    tokens = run(path, pattern, vocab)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # Single bytes are left out: every trainer numbers them in its own way.
    learned = [token for token in tokens if len(token) > 1]
    return {
        "seconds": seconds,
        "megabytes": max(peak - before, 0) / 1e6,
        "merges": len(learned),
        "sha256": digest_of(learned),
        "sha256 at": {size: digest_of(learned[: size - 256]) for size in SIZES if size <= vocab},
    }


def digest_of(learned: list[bytes]) -> str:
    digest = hashlib.sha256()
    for token in learned:
        digest.update(len(token).to_bytes(4, "little") + token)
    return digest.hexdigest()


def run_apart(trainer: str, path: Path, pattern: str, vocab: int) -> dict:
    """Train once in a process of its own."""
    command = [sys.executable, __file__, "--work", trainer, str(path), pattern, str(vocab)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{trainer} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


# --- the table ---------------------------------------------------------------------------------


def trainers_of(pattern: str, peers: list[str]) -> list[str]:
    skipped = {"gigatoken"} if pattern != "gpt2" else set()
    mine = ["bpe_rs", "bpe_rs 1 thread", "bpe_rs pair"]
    return mine + [peer for peer in peers if peer not in skipped]


def bench(rows: list[tuple[str, str, int]], peers: list[str], rounds: int, folder: Path) -> list:
    records = []
    for name, pattern, vocab in rows:
        path = corpus(name, folder)
        names = trainers_of(pattern, peers)
        runs: dict[str, list[dict]] = {trainer: [] for trainer in names}
        for at in range(rounds):
            for trainer in names:
                # The slowest peers take up to a minute: once is enough to place them.
                if at and min(run["seconds"] for run in runs[trainer]) > 10:
                    continue
                runs[trainer].append(run_apart(trainer, path, pattern, vocab))
        check_equal(runs)
        best = {c: min(run["seconds"] for run in done) for c, done in runs.items()}
        print(f"\n{name} {path.stat().st_size / 1e6:.0f} MB, {pattern}, {vocab:,} tokens")
        print("| | best s | times ours | peak MB | sha256 of the learned tokens |")
        print("|---|---|---|---|---|")
        for trainer, done in runs.items():
            memory = min(run["megabytes"] for run in done)
            ratio = best[trainer] / best["bpe_rs"]
            print(
                f"| {trainer} | {best[trainer]:.3f} | {ratio:.1f} | {memory:.0f} "
                f"| {done[0]['sha256'][:16]} |"
            )
        sys.stdout.flush()
        records.append(
            {
                "corpus": name,
                "bytes": path.stat().st_size,
                "pattern": pattern,
                "vocab": vocab,
                "runs": runs,
            }
        )
    return records


def checksums(names: list[str], patterns: list[str], peers: list[str], folder: Path) -> None:
    """One run of each at the largest vocabulary, without timing: smaller ones are its beginning."""
    for name in names:
        for pattern in patterns:
            path = corpus(name, folder)
            runs = {
                trainer: run_apart(trainer, path, pattern, SIZES[-1])
                for trainer in trainers_of(pattern, peers)
            }
            print(f"\n{name}, {pattern}: sha256 of the learned tokens at each vocabulary")
            print(f"| | {' | '.join(f'{size:,}' for size in SIZES)} |\n|---{'|---' * len(SIZES)}|")
            for trainer, run in runs.items():
                digests = (digest[:16] for digest in run["sha256 at"].values())
                print(f"| {trainer} | {' | '.join(digests)} |")
            sys.stdout.flush()
            check_equal({trainer: [run] for trainer, run in runs.items()})


def check_equal(runs: dict[str, list[dict]]) -> None:
    """Stop when two that must agree do not."""
    digests = {trainer: {run["sha256"] for run in done} for trainer, done in runs.items()}
    for trainer, found in digests.items():
        if len(found) > 1:
            raise SystemExit(f"error: {trainer} is not deterministic: {found}")
    for peer, ours in {**MUST_EQUAL, "bpe_rs 1 thread": "bpe_rs"}.items():
        if peer in digests and ours in digests and digests[peer] != digests[ours]:
            raise SystemExit(f"error: {peer} and {ours} learned different tokens")


def scaling(plot: Path, folder: Path) -> None:
    """Seconds of ours against corpus size and against vocabulary, as a plot."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path = corpus("english", folder)
    text = path.read_bytes()
    sizes, by_size = [], []
    for share in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        part = folder / "part.txt"
        part.write_bytes(text[: int(len(text) * share)] if share <= 1 else text * int(share))
        best = min(run_apart("bpe_rs", part, "gpt2", 8192)["seconds"] for _ in range(3))
        sizes.append(part.stat().st_size / 1e6)
        by_size.append(best)
        part.unlink()
    vocabularies = [1024, 4096, 16_384, 32_768, 65_536, 131_072]
    by_vocabulary = [
        min(run_apart("bpe_rs", path, "gpt2", vocab)["seconds"] for _ in range(3))
        for vocab in vocabularies
    ]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    left.loglog(sizes, by_size, "o-")
    left.set(xlabel="corpus, MB", ylabel="seconds", title="8,192 tokens")
    right.plot(vocabularies, by_vocabulary, "o-")
    right.set(xlabel="vocabulary", ylabel="seconds", title="English, 100 MB", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(plot, dpi=120)
    for size, seconds in zip(sizes, by_size, strict=True):
        print(f"{size:8.1f} MB, 8,192 tokens: {seconds:.3f} s")
    for vocab, seconds in zip(vocabularies, by_vocabulary, strict=True):
        print(f"100 MB, {vocab:7,} tokens: {seconds:.3f} s")
    print(f"plot: {plot}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Training from a file, ours and the peers' in turn."
    )
    parser.add_argument("--corpus", choices=sorted(CORPORA), action="append")
    parser.add_argument("--pattern", choices=PATTERNS)
    parser.add_argument("--vocab", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["gigatoken", "rustbpe", "huggingface"])
    parser.add_argument("--folder", type=Path, help="where the unpacked corpora are kept")
    parser.add_argument("--record", type=Path, help="write all runs as JSON")
    parser.add_argument("--scaling", type=Path, metavar="PLOT", help="only draw the cost of ours")
    parser.add_argument("--checksums", action="store_true", help="only compare, time nothing")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        trainer, path, pattern, vocab = args.work
        print(json.dumps(work(trainer, Path(path), pattern, int(vocab))))
        return
    rows = [
        row
        for row in TABLE
        if (not args.corpus or row[0] in args.corpus)
        and (not args.pattern or row[1] == args.pattern)
        and (not args.vocab or row[2] in args.vocab)
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if args.scaling:
            scaling(args.scaling, folder)
            return
        if args.checksums:
            checksums(
                args.corpus or sorted(CORPORA),
                [args.pattern] if args.pattern else PATTERNS,
                args.peers,
                folder,
            )
            return
        records = bench(rows, args.peers, args.rounds, folder)
    if args.record:
        result = {"date": str(date.today()), "machine": processor(), "rows": records}
        args.record.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
