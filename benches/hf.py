"""Through Hugging Face's interface: ours and the peers in turn, the same results first.

    make bench-hf BENCH_ARGS="--quick"

A row is a call on texts of one corpus and size with one vocabulary. Every engine runs in a process
of its own (`hf_worker.py`), one for each vocabulary and number of threads; the calls of all engines
alternate, round by round, on the same texts. Each round has texts that no call of the process has
had before ("new"), which are then encoded again ("again"). The sizes begin at different places of
a corpus. Only English is long enough for all of them: where another corpus comes to its end, it
begins again with other cuts. There a "new" text has not been seen as a whole, but its words have,
above all in Chinese (0.7 MB). An engine whose ids or masks differ from those of `tokenizers` is
named and not timed. Two threads are for calls with a batch only: others take one text at a time.

What a peer's objects lack is no reason to leave it out: gigatoken's shim is no tokenizer of
`transformers` (dicts without `encodings`, arrays of uint32); the `Encoding` of fastokens has no
offsets, words or token strings, that of tokenizers 1.0 nothing but ids, type ids and mask.

Peers are looked for in this environment and in those of GPTPY_HF_PEERS, Pythons separated by colons
(one with tokenizers 1.0, one with the others and `datasets`). The summary is appended to
`benches/records/hf.md`, all rows replace `benches/records/hf.csv`; neither is written with `--only`
or `--call`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from corpora import REPOSITORY, texts
from hf_shapes import SHAPES, shape
from hf_table import SHARES, Row, compared_with, csv_lines, summary
from machine import processor

WORKER = Path(__file__).with_name("hf_worker.py")
# Distribution of each peer; the key is the worker's name of it.
PEERS = {
    "tokenizers": "tokenizers",
    "tokenizers rc": "tokenizers",
    "snaptokens": "snaptokens",
    "fastokens": "fastokens",
    "gigatoken": "gigatoken",
    "tokie": "tokie",
}
# Bytes of a text.
SIZES = {"200 characters": 200, "4 KB": 4096, "100 KB": 100_000}
BATCHED = ("tok(batch)", "tok(batch, padding, np)", "datasets.map(batched)", "encode_batch(texts)")
OWN = ("Encoding.encode", "Encoding.encode_batch")
# A peer this many times slower than ours needs no further rounds.
HOPELESS = 8
# Most of it is not the tokenizer's, and it takes long: so many rounds must do.
MAP, MAP_ROUNDS = "datasets.map(batched)", 3


def pythons() -> dict[str, tuple[str, str]]:
    """The Python and the version of each peer that is there."""
    found = {"tokenizers": (sys.executable, importlib.metadata.version("tokenizers"))}
    for python in filter(None, os.environ.get("GPTPY_HF_PEERS", "").split(":")):
        program = (
            "import importlib.metadata as m, json, sys\n"
            "names = {d.metadata['Name']: d.version for d in m.distributions()}\n"
            "print(json.dumps(names))"
        )
        listed = subprocess.run([python, "-c", program], capture_output=True, check=True)
        versions = json.loads(listed.stdout)
        for peer, name in PEERS.items():
            if name not in versions or (name == "tokenizers") != (peer == "tokenizers rc"):
                continue
            if peer != "tokenizers rc" or versions[name].startswith("1."):
                found[peer] = (python, versions[name])
    return found


class Worker:
    """An engine's process."""

    def __init__(self, engine: str, python: str, path: Path, cores: int) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, str(WORKER), engine, str(path), str(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "true"},
        )
        self.calls: list[str] = []

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, **asked: Any) -> dict[str, Any]:
        """The answer; an "error" where the process is over."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            got = self.read()
        except BrokenPipeError:
            got = None
        if got is None:
            self.calls = []
            return {"error": self.why()}
        return got

    def why(self) -> str:
        """The last line that a process over its end has written as an error."""
        self.close()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1][:100] if lines else "no message"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Case:
    """Texts of one corpus and size, a part of them for each round of each call.

    Of `cases` that share the corpus this is `number`; each begins at a place of its own. At the end
    the texts go on from the corpus's beginning; once around, they have other cuts.
    """

    def __init__(
        self, text: str, size: int, total: int, parts: int, number: int = 0, cases: int = 1
    ) -> None:
        length = max(1, round(size * len(text) / len(text.encode())))
        self.count = max(1, total // size)
        needed = parts * self.count
        # Texts from one end of the corpus to the other, and the cuts that this takes.
        around = max(1, len(text) // length - 1)
        rounds = -(-needed // around)
        begin = len(text) * number // cases
        self.texts = []
        for at in range(needed):
            turn, place = divmod(at, around)
            start = begin + place * length + turn * length // rounds
            self.texts.append(taken(text, start % len(text), length))

    def part(self, at: int) -> dict[str, int]:
        return {"from": at * self.count, "to": (at + 1) * self.count}

    def megabytes(self, at: int) -> float:
        part = self.part(at)
        return sum(len(text.encode()) for text in self.texts[part["from"] : part["to"]]) / 1e6


def taken(text: str, start: int, length: int) -> str:
    """`length` characters from `start` on, the corpus being a ring."""
    part = text[start : start + length]
    return part + text[: length - len(part)]


def measured(
    case: Case, call: str, at: int, workers: dict[str, Worker], rounds: int, problems: Counter[str]
) -> dict[str, tuple[float, float]]:
    """The speed of each engine with new texts and with the same again, once their results agree.
    The parts of the call begin with number `at`."""
    wanted = None
    able = {}
    for engine in sorted(workers, key="tokenizers".__ne__):
        worker = workers[engine]
        if call not in worker.calls:
            continue
        got = worker.ask(call=call, check=True, **case.part(at))
        if "error" in got:
            problems[f"{engine}, {call}: {got['error']}"] += 1
            worker.calls = [each for each in worker.calls if each != call]
        elif call not in OWN and wanted not in (None, got["digest"]):
            if engine == "ours":
                raise SystemExit(f"{call}: ours differs from tokenizers")
            problems[f"{engine}, {call}: other ids or masks"] += 1
        else:
            able[engine] = worker
            wanted = got["digest"] if engine == "tokenizers" else wanted
    speeds: dict[str, list[tuple[float, float]]] = {engine: [] for engine in able}
    for turn in range(min(rounds, MAP_ROUNDS) if call == MAP else rounds):
        part = at + 1 + turn
        megabytes = case.megabytes(part)
        for engine, worker in able.items():
            if turn > 0 and speeds["ours"][0][0] > HOPELESS * speeds[engine][0][0]:
                continue
            time.sleep(0.002)  # lets spinning threads of the previous run go to sleep
            got = worker.ask(call=call, times=2, **case.part(part))
            if "error" not in got:
                new, again = got["seconds"][0], got["seconds"][-1]
                speeds[engine].append((megabytes / new, megabytes / again))
    return {
        engine: (median(new for new, _ in got), median(again for _, again in got))
        for engine, got in speeds.items()
        if got
    }


def share(case: Case, call: str, at: int, ours: Worker) -> float | None:
    """The speed of our call divided by that of `bpe_rs.Encoding`'s, the same texts in turn."""
    own = compared_with(call)
    if own not in ours.calls:
        return None
    ratios = []
    for _ in range(5):
        times = {}
        for each in (own, call):
            got = ours.ask(call=each, times=3, **case.part(at))
            if "error" in got:
                return None
            times[each] = got["seconds"][-1]
        ratios.append(times[own] / times[call])
    return median(ratios)


def rows(options: argparse.Namespace, there: dict[str, str], notes: list[str]) -> Iterator[Row]:
    """All rows; what peers cannot do is added to `notes`."""
    corpora = texts(quick=False)
    folder = REPOSITORY / "target" / "bench-hf"
    for name in SHAPES:
        wanted = [
            (corpus, size, cores)
            for cores in options.cores
            for corpus in corpora
            for size in SIZES
            if options.only in f"{name} {corpus} {size} {cores} threads"
        ]
        path = shape(name, folder) if wanted else Path()
        for cores in sorted({cores for _, _, cores in wanted}):
            workers = {
                engine: Worker(engine, python, path, cores) for engine, python in there.items()
            }
            problems: Counter[str] = Counter()
            for engine, worker in workers.items():  # all start at the same time
                worker.calls = worker.read() or []
                if not worker.calls:
                    problems[f"{engine}: {worker.why()}"] += 1
                    if engine in ("ours", "tokenizers"):
                        raise SystemExit(f"{name}, {engine}: {worker.why()}")
            for corpus, size, _ in (each for each in wanted if each[2] == cores):
                yield from case_rows(
                    options, (name, corpus, size, cores), corpora[corpus], workers, problems
                )
            for worker in workers.values():
                worker.close()
            notes += [
                f"- {name}, {cores} threads: {what} ({count} times)"
                for what, count in problems.items()
            ]


def case_rows(
    options: argparse.Namespace,
    place: tuple[str, str, str, int],
    text: str,
    workers: dict[str, Worker],
    problems: Counter[str],
) -> Iterator[Row]:
    calls = [c for c in workers["ours"].calls if place[3] == 1 or c in BATCHED or c == OWN[1]]
    calls = [call for call in calls if options.call in call or call in OWN]
    parts = options.rounds + 1
    case = Case(
        text.replace("<|", "< |"),
        SIZES[place[2]],
        options.kilobytes * 1000,
        len(calls) * parts,
        list(SIZES).index(place[2]),
        len(SIZES),
    )
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "texts.json"
        sample.write_text(json.dumps(case.texts))
        for worker in workers.values():
            if worker.calls:
                worker.ask(texts=str(sample))
    for number, call in enumerate(calls):
        able = {engine: worker for engine, worker in workers.items() if call in worker.calls}
        at = number * parts
        speeds = measured(case, call, at, able, options.rounds, problems)
        is_bounded = place[3] == 1 and place[2] in SHARES.get(call, {})
        yield Row(place, call, speeds, share(case, call, at, able["ours"]) if is_bounded else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds of 60 KB")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--kilobytes", type=int, help="of a round")
    parser.add_argument("--only", default="", help="cases that contain this")
    parser.add_argument("--call", default="", help="calls that contain this")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.kilobytes = options.kilobytes or (60 if options.quick else 200)
    found = pythons()
    engines = {"ours": sys.executable} | {peer: python for peer, (python, _) in found.items()}
    notes: list[str] = []
    done: list[Row] = []
    begin = time.monotonic()
    for row in rows(options, engines, notes):
        done.append(row)
        print(row.line(), flush=True)
    versions = ", ".join(f"{peer} {version}" for peer, (_, version) in found.items())
    heading = [
        f"## {date.today().isoformat()}",
        "",
        f"{processor()}, Python {platform.python_version()}, transformers "
        f"{importlib.metadata.version('transformers')}, {versions}; medians of {options.rounds} "
        f"rounds of {options.kilobytes} KB, MB of UTF-8 a second; "
        f"{time.monotonic() - begin:.0f} s; load {os.getloadavg()[0]:.1f} at the end.",
        "",
    ]
    lines = [*heading, *summary(done), "", *notes, ""]
    print("\n".join(lines))
    if not options.only and not options.call:
        records = REPOSITORY / "benches" / "records"
        with (records / "hf.md").open("a") as file:
            file.write("\n".join(["", *lines]))
        (records / "hf.csv").write_text("\n".join([*csv_lines(done), ""]))


if __name__ == "__main__":
    main()
