"""Children forked while another thread does something for the first time."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

import bpe_rs
import pytest
from programs import run_program

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# What the threads of the parent and the child do; `make()` gives objects that are not yet used.
USES = {
    "encode": ("bpe_rs.Encoding('o200k_base')", "e.encode('hello world, hello')"),
    "regex": (
        r"bpe_rs.Encoding('x', pat_str=r'\p{L}+|\P{L}+', mergeable_ranks=RANKS, "
        "special_tokens={})",
        "e.encode('hello world')",
    ),
    "decode": ("bpe_rs.Encoding('cl100k_base')", "e.decode(list(range(5000)))"),
    "fingerprint": ("bpe_rs.Encoding('r50k_base')", "e.fingerprint"),
    "single": ("bpe_rs.Encoding('cl100k_base')", "e.encode_single_token('hello')"),
    "special": (
        "bpe_rs.Encoding('o200k_harmony')",
        "e.encode('a<|call|>' * 9, allowed_special='all')",
    ),
    "get_encoding": ("None", "bpe_rs.tiktoken.get_encoding('o200k_base').encode('hello')"),
}
PROGRAM = """
import os, signal, sys, threading, time, warnings
import bpe_rs, bpe_rs.tiktoken
warnings.simplefilter("ignore")
RANKS = {bytes([i]): i for i in range(256)}
make, use = sys.argv[1:]
make, use = eval("lambda: " + make), eval("lambda e: " + use)
want = use(make())
for attempt in range(18):
    e = make()
    bpe_rs.tiktoken.registry.ENCODINGS.clear()
    thread = threading.Thread(target=use, args=(e,))
    thread.start()
    time.sleep(attempt % 6 * 0.004)
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that hangs is killed
        os._exit(0 if use(e) == want else 1)
    assert os.waitpid(child, 0)[1] == 0, attempt
    thread.join()
"""


@pytest.mark.parametrize("name", USES)
def test_a_fork_during_the_first_use_never_hangs_the_child(name: str):
    run_program(PROGRAM, *USES[name])


CHANGE = """
import json, os, signal, sys, threading, time, warnings
from bpe_rs import hf
warnings.simplefilter("ignore")
byte_level = {"type": "ByteLevel", "add_prefix_space": False}
model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
tokenizer = hf.Tokenizer.from_str(json.dumps({"model": model, "pre_tokenizer": byte_level}))
begun = threading.Event()
class Token:
    single_word = lstrip = rstrip = normalized = special = False
    @property
    def content(self):
        begun.set()
        time.sleep(0.1)
        return "<x>"
thread = threading.Thread(target=lambda: tokenizer.add_tokens([Token()]))
thread.start()
begun.wait()
child = os.fork()
signal.alarm(30)
if child == 0:
    tokenizer.add_tokens(["<y>"])
    os._exit(0 if tokenizer.token_to_id("<y>") else 1)
assert os.waitpid(child, 0)[1] == 0
thread.join()
assert tokenizer.token_to_id("<x>") == 1
"""


def test_a_fork_while_a_tokenizer_changes_leaves_no_lock_in_the_child():
    run_program(CHANGE)


def _encode(text: str) -> list[int]:
    return bpe_rs.get_encoding("p50k_base").encode(text)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="forking with threads is warned of")
def test_a_pool_of_forked_processes_made_while_threads_encode():
    thread = threading.Thread(target=_encode, args=("hello " * 1000,))
    thread.start()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        rows = pool.map_async(_encode, ["hello world"] * 4).get(timeout=60)
    thread.join()
    assert rows == [_encode("hello world")] * 4
