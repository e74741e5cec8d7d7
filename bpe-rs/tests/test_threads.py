"""Concurrent calls, with a GIL or without one; the worker pool at forks and signals."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import bpe_rs
import pytest
from programs import run_program

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


def test_concurrent_calls() -> None:
    work = calls()
    # Computed on other objects, so that the threads are the first to use those in `work`.
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


@pytest.fixture(scope="module", params=["r50k_base", "o200k_base"])
def encoding(request):
    return bpe_rs.get_encoding(request.param)


def test_threads_share_an_encoding(encoding):
    rng = random.Random(2)
    texts = ["".join(rng.choices("abc dé\n你1 ", k=3000)) for _ in range(40)]
    want = [encoding.encode_ordinary(text) for text in texts]
    got: list[list[list[int]]] = [[] for _ in range(4)]

    def work(at):
        got[at] = [encoding.encode_ordinary(text) for text in texts]

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(rows == want for rows in got)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_encode():
    code = """
import os, bpe_rs
encoding = bpe_rs.get_encoding("gpt2")
want = encoding.encode_batch(["a b c"] * 100)
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if encoding.encode_batch(["a b c"] * 100) == want else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
    run_program(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("others", [0, 3], ids=["idle workers", "busy workers"])
def test_children_of_a_process_whose_threads_encode(others):
    code = f"""
import os, threading, bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
batch = [f"a text of its own, {{i}} times " * 100 for i in range(200)]
want = encoding.encode_batch(batch, num_threads=1)
end, wrong = threading.Event(), []
def work():
    while not end.is_set():
        if encoding.encode_batch(batch) != want:
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range({others})]
for thread in threads: thread.start()
for _ in range(20):
    assert encoding.encode_batch(batch) == want
    child = os.fork()
    if child == 0:
        # And in a grandchild.
        right = all(encoding.encode_batch(batch) == want for _ in range(3))
        if right and (grandchild := os.fork()) != 0:
            right = os.waitpid(grandchild, 0)[1] == 0
        elif right:
            right = encoding.encode_batch(batch) == want
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
end.set()
for thread in threads: thread.join()
assert not wrong
"""
    run_program(code)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals")
def test_workers_do_not_receive_signals_that_the_program_waits_for():
    """A program blocks a signal in its own threads before it waits for it, not in ours."""
    code = """
import os, signal, time, bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
for _ in range(5):
    encoding.encode_batch(["a text of its own " * 1000] * 40, num_threads=2)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.05)
assert signal.sigwait({signal.SIGTERM}) == signal.SIGTERM
"""
    run_program(code)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_block_all_signals_but_synchronous_ones():
    code = """
import glob, signal, time, bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
batch = ["a text of its own " * 1000] * 40
synchronous = {
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT,
    signal.SIGSYS,
}
others = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD}

def masks_of_workers():
    for path in glob.glob("/proc/self/task/*/status"):
        try:
            fields = dict(line.split(":", 1) for line in open(path))
        except OSError:
            continue  # it has just ended
        if fields["Name"].strip() == "bpe-rs":
            yield int(fields["SigBlk"], 16)

seen, until = [], time.monotonic() + 10
while not seen and time.monotonic() < until:
    encoding.encode_batch(batch, num_threads=2)
    seen = list(masks_of_workers())
print(len(seen) > 0 or bpe_rs._core.available_threads() == 1)
for mask in seen:
    blocked = {number for number in synchronous | others if mask >> (number - 1) & 1}
    assert blocked == others, blocked
"""
    assert run_program(code) == "True\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_the_number_of_threads_follows_the_affinity_mask():
    code = """
import os, time, bpe_rs
assert bpe_rs._core.available_threads() <= len(os.sched_getaffinity(0))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
time.sleep(0.15)  # an answer is reused for 0.1 s
assert bpe_rs._core.available_threads() == 1
"""
    run_program(code)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_idle_workers_end_before_a_fork():
    code = """
import glob, os, time

def workers():
    names = []
    for path in glob.glob("/proc/self/task/*/comm"):
        try:
            names.append(open(path).read().strip())
        except OSError:
            pass  # it has just ended
    return names.count("bpe-rs")

def at_fork():
    # Handlers run last in, first out: ours after the package's. They would end anyway in a second.
    until = time.monotonic() + 0.4
    while workers() and time.monotonic() < until:
        pass
    assert workers() == 0, workers()
    print("none")

os.register_at_fork(before=at_fork)
import bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
batch = ["a text of its own " * 1000] * 40
for _ in range(3):
    encoding.encode_batch(batch)
    until = time.monotonic() + 10
    while len(os.sched_getaffinity(0)) > 1 and not workers():
        # Started, but not yet under its name.
        assert time.monotonic() < until
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    assert run_program(code) == "none\n" * 3
