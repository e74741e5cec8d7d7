"""Attention weights that functions, layers and networks return: every mask is honoured."""

from typing import Any

import pytest
import torch

import gptpy
from gptpy.config import GPTConfig
from gptpy.model import Block, SelfAttention, build_model, plain_formulas
from gptpy.model.attention import Masks, reference
from gptpy.model.transformer import CrossAttention, ForwardState

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 32,
    "vocab_size": 29,
    "block_size": 16,
}
SETTINGS: dict[str, Any] = {
    "gpt2": {},
    "modern-1m": {"n_kv_head": 2, "init_head": "normal", "init_residual": "normal"},
    "encoder-mini": {},
}


def make(preset, **settings):
    torch.manual_seed(0)
    shape = {**SHAPE, **SETTINGS.get(preset, {}), "init_std": 0.3, **settings}
    return build_model(GPTConfig.preset(preset, **shape)).eval()


def some_ids(batch=2, length=12):
    return torch.randint(29, (batch, length), generator=torch.Generator().manual_seed(0))


def check(weights, seen):
    """`weights (B, H, T, S)`: rows sum to one over what is `seen (B, T, S)`, else exactly zero."""
    seen = seen[:, None].expand_as(weights)
    assert (weights[~seen] == 0).all()
    some = seen.any(-1)
    torch.testing.assert_close(weights.sum(-1), some.float())


CAUSAL = torch.ones(12, 12, dtype=torch.bool).tril().expand(2, -1, -1)
PADDING = torch.tensor([[0, 0] + [1] * 10, [1] * 12]).bool()


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m", "encoder-mini"])
def test_maps_honour_padding_and_documents(preset):
    model = make(preset)
    around = CAUSAL if preset != "encoder-mini" else torch.ones_like(CAUSAL)
    for weights in gptpy.attention_maps(model, some_ids(), key_padding_mask=PADDING)["self"]:
        check(weights, around & PADDING[:, None, :])
    documents = torch.tensor([[0] * 5 + [1] * 7, [2] * 12])
    same = documents[:, :, None] == documents[:, None, :]
    offsets = torch.tensor([0, 5, 12, 24])
    for weights in gptpy.attention_maps(model, some_ids(), cu_seqlens=offsets)["self"]:
        check(weights, around & same)
    single = gptpy.attention_maps(model, some_ids()[:1])["self"]
    assert [w.shape for w in single] == [(4, 12, 12)] * 2


def test_maps_honour_windows_and_alibi():
    model = make("modern-1m", window=3, full_attention_every=2)
    narrow, wide = gptpy.attention_maps(model, some_ids())["self"]
    distance = torch.arange(12)[:, None] - torch.arange(12)
    check(narrow, CAUSAL & (distance < 3))
    check(wide, CAUSAL)
    for weights in gptpy.attention_maps(make("gpt2", position="alibi"), some_ids())["self"]:
        check(weights, CAUSAL)


def test_maps_of_an_encoder_decoder_honour_the_padding_of_its_source():
    model = make("encoder-decoder-mini", n_encoder_layer=2)
    source, mask = some_ids(2, 12), PADDING
    maps = gptpy.attention_maps(model, some_ids(2, 5), source=source, source_padding_mask=mask)
    assert {kind: len(found) for kind, found in maps.items()} == {
        "encoder": 2,
        "self": 2,
        "cross": 2,
    }
    for weights in maps["cross"]:
        check(weights, mask[:, None, :].expand(2, 5, 12))
    for weights in maps["encoder"]:
        check(weights, mask[:, None, :].expand(2, 12, 12))
    for weights in maps["self"]:
        check(weights, CAUSAL[:, :5, :5])


def test_maps_leave_the_network_as_it_was():
    model = make("modern-1m").train()
    before = model.attention_backend
    gptpy.attention_maps(model, some_ids())
    assert model.attention_backend == before and model.training
    assert not any(m._forward_pre_hooks for m in model.modules())
    with pytest.raises(ValueError, match="ids: expected"):
        gptpy.attention_maps(model, torch.zeros(12))
    assert model.attention_backend == before
    assert gptpy.attention_maps(make("bigram"), some_ids()) == {}


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m"])
def test_a_layer_by_itself_computes_what_it_computes_in_the_network(preset):
    model = make(preset)
    x = torch.randn(2, 12, 32)
    state = ForwardState(masks=Masks())
    state.locate(model.config.position, model.tables, 0, 12)
    blocks: Any = model.blocks
    block = blocks[1]
    torch.testing.assert_close(block(x), block(x, state))
    torch.testing.assert_close(block.attention(x), block.attention(x, state))
    out, weights = block(x, return_attention=True)
    torch.testing.assert_close(out, block(x))
    check(weights, CAUSAL)
    out, weights = block.attention(x, state, return_attention=True)
    torch.testing.assert_close(out, block.attention(x))
    check(weights, CAUSAL)
    with plain_formulas(model):
        torch.testing.assert_close(block(x), block(x, state))


def test_layers_need_three_lines():
    config = GPTConfig(n_embd=32, n_head=4, position="rope")
    out, weights = SelfAttention(config)(torch.randn(2, 5, 32), return_attention=True)
    assert out.shape == (2, 5, 32) and weights.shape == (2, 4, 5, 5)
    assert Block(config)(torch.randn(2, 5, 32)).shape == (2, 5, 32)
    # Longer than block_size, which is the network's limit
    assert Block(config.replace(block_size=4))(torch.randn(1, 9, 32)).shape == (1, 9, 32)


def test_cross_attention_and_the_function_return_weights():
    config = GPTConfig(n_embd=32, n_head=4)
    state = ForwardState(memory=torch.randn(2, 7, 32), memory_masks=Masks(causal=False))
    layer = CrossAttention(config, 0)
    out, weights = layer(torch.randn(2, 5, 32), state, return_attention=True)
    assert out.shape == (2, 5, 32) and weights.shape == (2, 4, 5, 7)
    q, k, v = (torch.randn(2, 6, 4, 8) for _ in range(3))
    out, weights = reference(q, k, v, Masks(), return_attention=True)
    torch.testing.assert_close(out, reference(q, k, v, Masks()))
    torch.testing.assert_close(out, torch.einsum("bhts,bshd->bthd", weights, v))
