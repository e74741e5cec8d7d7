"""Steps of single tokens in fixed shapes: the texts of the present path, and how graphs are kept.

Attention is the kernel's plain reference here; `tests/kernels/test_engine_decoding.py` runs the
kernel itself in the interpreter.
"""

from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from gptpy.inference import decoding
from gptpy.inference.decoding import Decoder, Recorder
from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.runner import Runner
from gptpy.model.paged import Chunk

from .networks import V, network, run

WIDE = {"n_embd": 64}  # the kernels take heads of 16 columns and more
SHAPES = {
    "learned": {},
    "rope, grouped": {"position": "rope", "n_kv_head": 2, "qk_norm": True, "norm": "rmsnorm"},
    "alibi": {"position": "alibi", "n_kv_head": 1},
    "softcap": {"position": "rope", "attention_softcap": 5.0, "logit_softcap": 3.0},
    "windows": {"position": "rope", "window": 20, "full_attention_every": 2},
    "rolls": {"position": "rope", "window": 12},
}


@pytest.fixture
def admitted(monkeypatch):
    """The kernel is admitted; its plain reference stands in for it."""
    # Not at the top: it imports triton, which tests/kernels must be the first to do.
    import gptpy_kernels

    plain = gptpy_kernels.attention_with_kv_cache

    def attention(*inputs, backend, **arguments):
        assert backend == "triton"
        return plain(*inputs, backend="reference", **arguments)

    monkeypatch.setattr(gptpy_kernels, "attention_with_kv_cache", attention)
    monkeypatch.setattr(decoding, "choose_paged", lambda *use, **more: (True, "a test"))


def requests():
    """Of different lengths, so that the number of running texts is 1 to 5; one beyond the block."""
    yield Request([1, 2, 3] * 5, max_tokens=66, seed=1)
    for seed, (prompt, new) in enumerate([(1, 4), (3, 11), (17, 20), (40, 9)]):
        ids = torch.randint(V, (prompt,), generator=torch.Generator().manual_seed(seed)).tolist()
        yield Request(ids, max_tokens=new, seed=seed, n=1 + seed % 2)


@pytest.mark.parametrize("name,block_tokens", [*((n, 16) for n in SHAPES), ("rolls", 32)])
def test_the_same_texts_as_without(name, block_tokens, admitted, monkeypatch):
    model = network(**WIDE, **SHAPES[name])
    engine = Engine(model, block_tokens=block_tokens)
    decoder = engine.runner.decoder
    assert decoder is not None and not engine.runner.exact
    seen, logits = [], decoder.logits

    def watched(chunks):
        seen.append(len(chunks))
        return logits(chunks)

    monkeypatch.setattr(decoder, "logits", watched)
    found = run(engine, *requests())
    assert set(decoder._passes) == {1 << (n - 1).bit_length() for n in seen} > {1, 8}
    monkeypatch.undo()
    expected = run(Engine(model, block_tokens=block_tokens, exact=False), *requests())
    assert found == expected and sum(seen) > 90


def test_what_it_leaves_to_the_other_path(admitted):
    runner = Runner(network(**WIDE))
    decoder = runner.decoder
    assert decoder is not None
    one = Chunk([3], 20, [1, 2])
    assert decoder.takes([one, one], [1, 1])
    for chunks, wanted in (
        ([], []),
        ([one], [0]),
        ([one, Chunk([3, 4], 20, [1, 2])], [1, 1]),
        ([Chunk([3], 20, [1, 2], memory={})], [1]),
        ([Chunk([3], 64, [1, 2, 3, 4, 5])], [1]),  # behind the last learned position
        ([Chunk([3], 20, list(range(1, 8)))], [1]),
    ):
        assert not decoder.takes(chunks, wanted)
    assert Runner(network(architecture="bigram")).decoder is None
    assert Runner(network(architecture="encoder-decoder", n_encoder_layer=1)).decoder is None


def test_without_a_gpu_the_kernel_is_asked_for_by_name(monkeypatch):
    monkeypatch.delenv("GPTPY_ATTENTION", raising=False)
    assert Runner(network(**WIDE)).decoder is None
    monkeypatch.setenv("GPTPY_ATTENTION", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match="'triton' was asked for by GPTPY_ATTENTION, but"):
        Runner(network(**WIDE))


class FakeCuda:
    """Control flow of CUDA graphs: a replay repeats the pass into the memory of the recording."""

    now: Any
    """The graph that is being recorded."""

    def __init__(self, monkeypatch, error: str | None = None):
        self.events: list[str] = []
        self.recording, self.now = False, None
        self.error = error
        self.pools: set[object] = set()
        outer: Any = self

        class Stream:
            def wait_stream(self, other):
                outer.events.append("wait")

        class Graph:
            function: Any = None
            out: Any = None

            def replay(self):
                assert not outer.recording
                outer.events.append("replay")
                self.out.copy_(self.function())

        @contextmanager
        def graph(one, *, pool, capture_error_mode):
            assert capture_error_mode == "thread_local"
            outer.pools.add(pool)
            outer.recording, outer.now = True, one
            yield
            outer.recording = False
            if outer.error:
                raise RuntimeError(outer.error)

        for name, value in {
            "device": lambda device: nullcontext(), "Stream": Stream, "CUDAGraph": Graph,
            "stream": lambda stream: nullcontext(), "current_stream": Stream, "graph": graph,
            "graph_pool_handle": object,
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, value)

    def watched(self, function):
        """Tells what `function` was called for; a recording remembers it."""

        def call():
            out = function()
            if self.recording:
                self.now.function, self.now.out = function, out
            self.events.append("record" if self.recording else "call")
            return out

        return call


def test_graphs_are_recorded_once_for_each_number_of_rows(admitted, monkeypatch):
    """With fresh ids in every step, rows added and left out, against the plain calls."""
    cuda = FakeCuda(monkeypatch)
    recorder = Recorder(torch.device("cuda"))
    found = []
    for recorded in (True, False):
        runner = Runner(network(**WIDE), exact=False)
        decoder = runner.decoder
        assert isinstance(decoder, Decoder)
        if recorded:
            decoder.recorder = lambda function: recorder(cuda.watched(function))
        kept = []
        for step, rows in enumerate((3, 4, 2, 4, 3)):
            chunks = [Chunk([7 * step + row], step, [row + 1]) for row in range(rows)]
            kept.append(runner.logits(chunks, [1] * rows))
        found.append(kept)
    for a, b in zip(*found, strict=True):  # also: later passes have not written to earlier logits
        assert a.shape == b.shape and torch.equal(a, b)
    record = ["wait", "call", "call", "wait", "record"]
    assert cuda.events == [
        *record, "replay", "replay",  # 3 and 4 rows
        *record, "replay",  # 2
        "replay", "replay",
    ]  # fmt: skip
    assert len(cuda.pools) == 1, "graphs share their working memory"


def test_without_graphs_kernels_are_launched_singly(admitted, monkeypatch, caplog):
    cuda = FakeCuda(monkeypatch, "operation not permitted\nwhen stream is capturing")
    runner = Runner(network(**WIDE), exact=False)
    expected = [runner.logits([Chunk([5], 0, [row])] * row, [1] * row) for row in (1, 2)]
    runner = Runner(network(**WIDE), exact=False)
    assert runner.decoder is not None
    recorder = Recorder(torch.device("cuda"))
    runner.decoder.recorder = lambda function: recorder(cuda.watched(function))
    found = [runner.logits([Chunk([5], 0, [row])] * row, [1] * row) for row in (1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert caplog.text.count("no CUDA graphs") == 1 and "operation not permitted)" in caplog.text
    assert cuda.events.count("record") == 1, "it is tried once"


def test_a_decoder_asks_for_what_its_network_needs(monkeypatch):
    asked = []

    def choose(device, dtype, head_dim, **use):
        asked.append((device.type, dtype, head_dim, use))
        return False, "a test"

    monkeypatch.setattr(decoding, "choose_paged", choose)
    monkeypatch.setattr("gptpy.inference.runner.attends_in_bfloat16", lambda: True)
    c = {"position": "alibi", "window": 9, "n_kv_head": 2}
    assert Runner(network(**WIDE, **c), block_tokens=32).decoder is None
    Runner(network(**WIDE, attention_softcap=2.0), "bfloat16")
    first, second = asked
    assert first == (
        "cpu", torch.float32, 16,
        {"features": {"alibi", "window"}, "heads": (4, 2), "block_tokens": 32},
    )  # fmt: skip
    assert second[1] == torch.bfloat16 and second[3]["features"] == {"softcap"}
