"""Ctrl-C during long calls: the handler's exception comes long before the work would end."""

from __future__ import annotations

import gc
import random
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bpe_rs
import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="needs signals from a timer"
)


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def stopped_by_a_timer() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGVTALRM, stop)
    gc.disable()  # an exception that a callback of the collector meets is lost
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    gc.enable()
    signal.signal(signal.SIGVTALRM, before)


@cache
def text() -> str:
    """Words of which few repeat, so that a few megabytes keep encoders busy."""
    rng = random.Random(3)
    return " ".join(f"{rng.getrandbits(48):x}" for _ in range(400_000))


@cache
def ids() -> list[int]:
    return encoding.encode(text()[:200_000]) * 200


encoding = bpe_rs.get_encoding("r50k_base")
regex = bpe_rs.Encoding(
    "regex",
    pat_str=r"\s?\S+|\s+",
    mergeable_ranks=encoding.mergeable_ranks,
    special_tokens={},
)
words = bpe_rs.WordTokenizer.train("0123456789abcdef low low", num_merges=2)
CALLS: dict[str, Callable[[], Any]] = {
    "encode": lambda: encoding.encode(text() * 3),
    "encode, any pattern": lambda: regex.encode_to_numpy(text()),
    "encode_batch": lambda: encoding.encode_batch([text()[:500_000]] * 30, num_threads=1),
    "encode_batch, short texts": lambda: encoding.encode_batch(["a b c d"] * 1_000_000),
    "decode": lambda: encoding.decode(ids()),
    "train": lambda: bpe_rs.train([text()], vocab_size=20_000),
    "count_words": lambda: bpe_rs.count_words([text()] * 5),
    "WordTokenizer.train": lambda: bpe_rs.WordTokenizer.train(text()[:1_000_000], num_merges=300),
    "WordTokenizer.encode": lambda: words.encode(text()[:2_000_000]),
}


def cpu_seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.parametrize("name", CALLS)
def test_an_exception_of_a_signal_handler_ends_the_call(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids()  # made beforehand, with the text
        whole = cpu_seconds(CALLS[name])

        def interrupted() -> None:
            # Counts the process's own time, so that a busy machine makes no difference.
            signal.setitimer(signal.ITIMER_VIRTUAL, whole / 10)
            with pytest.raises(Stop):
                CALLS[name]()

        assert cpu_seconds(interrupted) < 0.8 * whole + 0.2


def test_encode_files_stops_and_leaves_nothing(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text(text())
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
    with pytest.raises(Stop):
        encoding.encode_files([path] * 1000, out=tmp_path / "a.ids")
    assert list(tmp_path.iterdir()) == [path]
