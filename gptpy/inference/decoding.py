"""The step in which all running sequences have one new token, recorded once as a CUDA graph.

Launching a small model's kernels one by one takes longer than running them. A graph is launched as
a whole, but repeats fixed shapes: the number of rows is rounded up to a power of two, and each such
number has a graph of its own, recorded when it first occurs. Elsewhere than on CUDA the same
function is called as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gptpy.config.model import GPTConfig
from gptpy.model.attention import choose_paged
from gptpy.model.paged import Chunk, PagedKeysValues, paged_hidden_states
from gptpy.model.paged_decode import DecodeStep, is_decoding

log = logging.getLogger(__name__)

Pass = Callable[[], Tensor]
WARM_UPS = 2
"""Passes before the recording: kernels are compiled and libraries take their memory."""


class Decoder:
    """Computes steps of single tokens over the cache of a `Runner`."""

    def __init__(
        self, network: Any, head: Callable[[Tensor], Tensor], cache: PagedKeysValues
    ) -> None:
        self.network, self.head, self.cache = network, head, cache
        self.config: GPTConfig = network.config
        self.recorder: Callable[[Pass], Pass] | None = None
        """What turns a pass into one that repeats it; None calls it as it is."""
        if cache.keys.device.type == "cuda":
            self.recorder = Recorder(cache.keys.device)
        self._passes: dict[int, tuple[DecodeStep, Pass]] = {}

    def takes(self, chunks: Sequence[Chunk], wanted: Sequence[int]) -> bool:
        """Whether each chunk is one token whose logits are wanted."""
        ones = len(chunks) > 0 and all(count == 1 for count in wanted)
        return ones and is_decoding(self.config, chunks, self.cache.block_tokens)

    @torch.inference_mode()
    def logits(self, chunks: Sequence[Chunk]) -> Tensor:
        """`(N, V)`, fp32, of N chunks that it `takes`."""
        rows = 1 << (len(chunks) - 1).bit_length()
        if rows not in self._passes:
            step = DecodeStep(self.config, self.cache, rows)
            step.fill(chunks)  # recording computes it: what is written twice is equal
            self._passes[rows] = step, self._prepare(step)
        step, run = self._passes[rows]
        step.fill(chunks)
        # A copy, because the next pass writes to the same memory.
        return run()[: len(chunks)].clone()

    def _prepare(self, step: DecodeStep) -> Pass:
        def compute() -> Tensor:
            step.read()
            shared: Any = step  # it has all that the layers ask of a `PagedStep`
            return self.head(paged_hidden_states(self.network, shared))

        if self.recorder is None:
            return compute
        try:
            return self.recorder(compute)
        except RuntimeError as error:  # also torch's for a lack of memory
            first_line = (str(error).strip() or "no message").splitlines()[0]
            log.warning("decoding: no CUDA graphs, kernels are launched singly (%s)", first_line)
            self.recorder = None
            return compute


class Recorder:
    """Records functions without arguments as CUDA graphs, which share their working memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._pool = device, None

    def __call__(self, function: Pass) -> Pass:
        """A function that repeats `function` on the same memory and returns the same tensor.

        RuntimeError where something in it cannot be recorded.
        """
        with torch.cuda.device(self.device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    function()
            torch.cuda.current_stream().wait_stream(side)
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # Other threads, as a server has, may go on using the device.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                out = function()

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


def make_decoder(
    network: Any, head: Callable[[Tensor], Tensor] | None, cache: PagedKeysValues
) -> Decoder | None:
    """A decoder where `choose_paged` admits the kernel for this network, else None."""
    c: GPTConfig = network.config
    if head is None or c.architecture != "decoder":
        return None
    needed = {
        "softcap": c.attention_softcap is not None,
        "alibi": c.position == "alibi",
        "window": c.window is not None,
    }
    taken, _ = choose_paged(
        cache.keys.device,
        cache.keys.dtype,
        c.head_size,
        features={name for name, is_needed in needed.items() if is_needed},
        heads=(c.n_head, c.kv_heads),
        block_tokens=cache.block_tokens,
    )
    return Decoder(network, head, cache) if taken else None
