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
from corpora import SHARED

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
        # The first run, which is not counted, leaves the modules compiled, as installers do.
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
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
    """Two processes with one thread each, at the same time, each on its core and with all of
    `batches`; the seconds are those of one share. This bounds what two threads can reach: where two
    virtual cores share a physical one, far less than twice the speed of one."""

    def __init__(self, name: str, batches: list[list[str]]) -> None:
        self.name, self.batches = name, batches
        self.connections: list[Connection] = []

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        for at in range(2):
            here, there = context.Pipe()
            arguments = there, at, self.name, self.batches
            context.Process(target=serve, args=arguments, daemon=True).start()
            self.connections.append(here)

    def __call__(self) -> float:
        if not self.connections:
            self.start()
        start = time.perf_counter()
        for connection in self.connections:
            connection.send("go")
        for connection in self.connections:
            connection.recv()
        return (time.perf_counter() - start) / 2

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


def serve(connection: Connection, at: int, name: str, batches: list[list[str]]) -> None:
    """One of `TwoProcesses`, until the connection ends."""
    if hasattr(os, "sched_getaffinity"):
        # Linux may schedule both on one core for a while although another is idle.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[at % len(cores)]})
    encoding = bpe_rs.Encoding(name)
    run = each(lambda batch: encoding.encode_batch_to_numpy(batch, num_threads=1), batches)
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
