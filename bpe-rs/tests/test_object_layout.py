"""Lists and ints accessed in place (`src/python/ids/object_layout.rs`).

The reference are the same calls through the stable ABI, in a process with `BPE_RS_STABLE_ABI=1`.
"""

from __future__ import annotations

from programs import run_program

PROGRAM = """
import gc, random, sys
import bpe_rs

encoding = bpe_rs.get_encoding("r50k_base")
source = random.Random(5)
words = "the of and 12345 !? \\n def self.x".split(" ") + ["\\u043f\\u0440", "\\u4f60"]
for length in (0, 1, 2, 31, 32, 33, 64, 1000, 20_000):
    text = " ".join(source.choices(words, k=length))
    ids = encoding.encode_ordinary(text)
    assert type(ids) is list and all(type(i) is int for i in ids)
    assert encoding.decode(ids) == text, length
    assert encoding.decode([int(str(i)) for i in ids]) == text, length  # other objects
    print(length, ids)

class Id(int):
    pass

def said(ids):
    try:
        return encoding.decode_bytes(ids)
    except Exception as error:
        return type(error).__name__, str(error)

big = [2**k + d for k in (15, 16, 29, 30, 31, 32, 60, 63, 64, 200) for d in (-1, 0, 1)]
for bad in [*big, *(-n for n in big), 0, -1, True, False, None, 1.0, "1", b"1", Id(7), [7], 50256]:
    print(repr(bad), said([bad]), said([1, 2, bad]), said([bad] * 40))

def mutating():
    class Sly:
        def __init__(self, owner):
            self.owner = owner
        def __index__(self):
            self.owner.clear()
            gc.collect()
            return 7
    ids = [1, 2, 3]
    ids += [Sly(ids), 4, 5]
    return said(ids)

print(mutating())
lists = [encoding.encode_ordinary("hello world") for _ in range(100)]
before = [sys.getrefcount(i) for i in lists[0]]
del lists[50:]
after = [sys.getrefcount(i) for i in lists[0]]
print("references gone:", [a - b for a, b in zip(before, after)])
lists[0].append(3)
lists[1].sort()
del lists[2][0]
lists[3][:] = []
gc.collect()
print(lists[:4])
"""


IN_PLACE = """
import sys, sysconfig
from bpe_rs import _core
known = sys.implementation.name == "cpython" and (3, 10) <= sys.version_info < (3, 15)
gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
print(_core._in_place, known and gil)
"""

# A finalizer that runs while a list is made, and encodes: it must not wait for that list.
COLLECTED = """
import gc
import bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
class Owner:
    def __del__(self):
        print(encoding.encode("hello"))
gc.collect()
gc.disable()
kept = [[] for _ in range(300)]
cycle = [Owner()]
cycle.append(cycle)
del cycle
gc.set_threshold(gc.get_count()[0] + 2)
gc.enable()
for _ in range(100):
    assert encoding.encode("hello") == [31373]
"""


def run(stable: str) -> str:
    return run_program(PROGRAM, BPE_RS_STABLE_ABI=stable)


def test_known_versions_are_read_in_place():
    used, known = run_program(IN_PLACE, BPE_RS_STABLE_ABI="0").split()
    assert used == known
    assert run_program(IN_PLACE, BPE_RS_STABLE_ABI="1").split()[0] == "False"


def test_a_finalizer_while_a_list_is_made():
    assert run_program(COLLECTED) == "[31373]\n"


def test_access_in_place_equals_the_stable_abi():
    assert run("0") == run("1")


def test_references_are_counted():
    """Freeing 50 of a hundred lists drops 50 references to each id."""
    assert "references gone: [50, 50]" in run("0").splitlines()
