"""The engine's steps of single tokens by the paged kernel in the interpreter, and its admission."""

from typing import Any

import pytest
import torch

from gptpy import GPTConfig
from gptpy.inference.decoding import Decoder
from gptpy.inference.runner import Runner
from gptpy.model import build_model
from gptpy.model.paged import Chunk

SHAPES: dict[str, dict[str, Any]] = {
    "learned": {},
    "rope, grouped": {"position": "rope", "n_kv_head": 2, "qk_norm": True, "norm": "rmsnorm"},
    "alibi, window": {"position": "alibi", "n_kv_head": 1, "window": 33},
    "softcap": {"position": "rope", "attention_softcap": 5.0, "logit_softcap": 3.0},
}
V, LENGTHS = 61, (1, 70, 33)


def network(device: torch.device, **overrides: Any) -> Any:
    torch.manual_seed(1)
    shape = {"vocab_size": V, "block_size": 96, "n_layer": 2, "n_head": 4, "n_embd": 64}
    model = build_model(GPTConfig(**{**shape, **overrides})).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    return model.to(device)


@pytest.mark.parametrize("name,block_tokens", [*((n, 16) for n in SHAPES), ("rope, grouped", 48)])
def test_the_kernel_computes_the_logits_of_the_present_path(
    name, block_tokens, kernel_device, monkeypatch
):
    """Two steps of three texts of different lengths, blocks here and there, one row of padding."""
    monkeypatch.setenv("GPTPY_ATTENTION", "reference")
    runner = Runner(network(kernel_device, **SHAPES[name]), block_tokens=block_tokens, exact=False)
    assert runner.decoder is None
    decoder = Decoder(runner.network, runner.head, runner.cache)  # type: ignore[arg-type]
    ids = torch.randint(V, (len(LENGTHS), 96)).tolist()
    tables = [list(range(1 + row, 25, 3)) for row in range(len(LENGTHS))]

    def chunk(row: int, start: int, end: int) -> Chunk:
        return Chunk(ids[row][start:end], start, tables[row][: -(-end // block_tokens)])

    runner.logits([chunk(r, 0, n) for r, n in enumerate(LENGTHS)], [0] * len(LENGTHS))
    for ahead in range(2):
        last = [chunk(row, n + ahead, n + ahead + 1) for row, n in enumerate(LENGTHS)]
        expected = runner.logits(last, [1] * len(last))
        for layer in runner.cache.keys, runner.cache.values:  # the new token's are written again
            for row, n in enumerate(LENGTHS):
                block, place = divmod(n + ahead, block_tokens)
                layer[:, :, tables[row][block], place] = 9.0
        assert decoder.takes(last, [1] * len(last))
        torch.testing.assert_close(decoder.logits(last), expected, rtol=1e-4, atol=1e-4)


def test_it_is_admitted_by_a_probe_of_the_kernel(kernel_device, monkeypatch, caplog):
    monkeypatch.setenv("GPTPY_ATTENTION", "triton")
    model = network(kernel_device, **SHAPES["alibi, window"])
    with caplog.at_level("INFO"):
        assert Runner(model).decoder is not None
    assert "single tokens to keys in blocks: triton (asked for by GPTPY_ATTENTION)" in caplog.text
