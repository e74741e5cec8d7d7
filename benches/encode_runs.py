"""What `benches/encode.py` times: each kind of run gives its own seconds."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import bpe_rs
import gigatoken  # pyright: ignore[reportMissingImports]

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GPTPY_SHARED", REPOSITORY.parent / "shared"))
Run = Callable[[], object]

FIRST_PASS = {
    "ours": """
import bpe_rs
ids = bpe_rs.Encoding({name!r}).encode_files({path!r})
""",
    "gigatoken": """
import gigatoken
ids = gigatoken.Tokenizer.from_tiktoken({vocab!r}).encode_files([{path!r}])
""",
}


def vocabulary(name: str) -> Path:
    """The published rank file."""
    return SHARED / "vocab" / f"{name}.tiktoken"


def theirs(name: str) -> gigatoken.Tokenizer:
    """A new object of gigatoken's."""
    return gigatoken.Tokenizer.from_tiktoken(vocabulary(name))


def each(call: Callable[..., object], parts: Sequence[object]) -> Run:
    """One call after the other."""

    def run() -> None:
        for part in parts:
            call(part)

    return run


def ready(name: str) -> bpe_rs.Encoding:
    """A fresh object whose tables are there, as a peer's are after construction."""
    encoding = bpe_rs.Encoding(name)
    encoding.encode_ordinary("")
    encoding.count("x")
    encoding.set_cache_limit(64 << 20)
    return encoding


def their_ready(name: str) -> gigatoken.Tokenizer:
    """The same of gigatoken's."""
    tokenizer = theirs(name)
    tokenizer.encode("x")
    return tokenizer


class FirstPass:
    """What a user waits for: a fresh process imports the library, makes the object and encodes a
    file. The interpreter's own start and end are not counted."""

    def __init__(self, peer: str, name: str, path: Path) -> None:
        body = FIRST_PASS[peer].format(name=name, path=str(path), vocab=str(vocabulary(name)))
        self.program = (
            f"import time\nstart = time.perf_counter()\n{body}\nprint(time.perf_counter() - start)"
        )

    def __call__(self) -> float:
        command = [sys.executable, "-c", self.program]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return float(done.stdout)


class Fresh:
    """Encode each part by an object that has encoded nothing before; times only that."""

    def __init__(self, make: Callable[[], Callable[[str], object]], parts: list[str]) -> None:
        self.make, self.parts = make, parts

    def __call__(self) -> float:
        seconds = 0.0
        for part in self.parts:
            encode = self.make()
            start = time.perf_counter()
            encode(part)
            seconds += time.perf_counter() - start
        return seconds


class Timed:
    """Encode a file by a new object that has encoded another; times only the second."""

    def __init__(
        self,
        make: Callable[[], bpe_rs.Encoding | gigatoken.Tokenizer],
        prepare: Callable[..., object],
        path: Path,
        lists: bool = False,
    ) -> None:
        self.make, self.prepare, self.paths = make, prepare, [path] if lists else path

    def __call__(self) -> float:
        encoding = self.make()
        self.prepare(encoding)
        start = time.perf_counter()
        encoding.encode_files(self.paths)  # pyright: ignore[reportArgumentType]
        return time.perf_counter() - start


class TwoProcesses:
    """One thread here and one in another process at the same time, each with all of `batches`; the
    seconds are those of one share. Threads can reach no more than this: where two cores of a rented
    machine are two halves of one, it is far from twice the speed of one thread."""

    def __init__(self, name: str, batches: list[list[str]]) -> None:
        self.name, self.batches = name, batches
        self.other: Connection | None = None

    def start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        context.Process(target=serve, args=(there, self.name, self.batches), daemon=True).start()
        self.run = one_thread(self.name, self.batches)
        return here

    def __call__(self) -> float:
        self.other = self.other or self.start()
        start = time.perf_counter()
        self.other.send("go")
        self.run()
        self.other.recv()
        return (time.perf_counter() - start) / 2

    def close(self) -> None:
        if self.other:
            self.other.close()


def one_thread(name: str, batches: list[list[str]]) -> Run:
    encoding = bpe_rs.Encoding(name)
    return each(lambda batch: encoding.encode_batch_to_numpy(batch, num_threads=1), batches)


def serve(connection: Connection, name: str, batches: list[list[str]]) -> None:
    """The other of `TwoProcesses`."""
    run = one_thread(name, batches)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        run()
        connection.send("done")


def clock(run: Run) -> float:
    """Seconds of a run."""
    if isinstance(run, (FirstPass, Fresh, Timed, TwoProcesses)):
        return run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
