"""The probe that admits the attention kernel: real launches, compared with the reference.

Sizes are such that the kernel's loop over full tiles runs at least twice in both directions, with
masked tiles on either side of it: one tile alone would never reach that loop. `probe_paged` is the
same for the kernel of single queries over paged keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gptpy.model.attention.reference import Masks, reference

LARGEST_TILE = {"cuda": 128, "cpu": 32}
"""Rows or keys of the largest tile; on a CPU of Triton's interpreter."""
SEED = 2**40 + 5


class Use(NamedTuple):
    """How a model will call attention: see `choice.choose_backend`."""

    device: torch.device
    dtype: torch.dtype
    head_dim: int
    features: frozenset[str]
    heads: tuple[int, int]
    dropout_p: float
    autocast: torch.dtype | None
    training: bool


class _Call(NamedTuple):
    """One probe launch: sizes, and what attention is asked."""

    T: int
    S: int
    masks: Masks
    window: int | None
    softcap: float | None
    dropout_p: float
    backward: bool


def _calls(use: Use) -> Iterator[_Call]:
    tile = LARGEST_TILE.get(use.device.type, 128)
    T = 3 * tile + 33
    heads = 2 * (use.heads[0] // use.heads[1])
    masks = Masks(
        "bidirectional" not in use.features,
        alibi_slopes=0.5 ** torch.arange(1, heads + 1) if "alibi" in use.features else None,
    )
    window = 2 * tile + 9 if "window" in use.features else None
    softcap = 2.0 if "softcap" in use.features else None
    if "padding" in use.features:
        masks.key_padding_mask = torch.ones(2, T, dtype=torch.bool)
        masks.key_padding_mask[0, T - 40 :] = False
        masks.key_padding_mask[1, :3] = False
    plain = _Call(T, T, masks, window, softcap, 0.0, use.training)
    yield plain
    if use.training and use.dropout_p:
        yield plain._replace(dropout_p=use.dropout_p)
    if use.training and "documents" in use.features:
        packed = Masks(
            masks.causal,
            masks.key_padding_mask,
            torch.tensor([0, 7, T, T + tile // 2 + 1, 2 * T]),
            masks.alibi_slopes,
        )
        yield plain._replace(masks=packed, dropout_p=use.dropout_p)
    if not masks.causal:  # an encoder-decoder's bidirectional model is causal, and crosses, too
        yield plain._replace(masks=Masks(True, alibi_slopes=masks.alibi_slopes))
        if "padding" not in use.features:
            yield plain._replace(T=T - 29)
    if masks.causal and not use.training:  # generation: one query over a cached prefix
        yield plain._replace(T=1)


def probe(kernel: Callable[..., Any], use: Use) -> str | None:
    """What is wrong with the kernel's numbers, or None. Raises what a launch raises."""
    types: list[torch.dtype | None] = [None]
    if use.autocast not in (None, use.dtype):
        types = [use.autocast, None]
    for autocast in types:
        for call in _calls(use):
            error, limit = _compare(kernel, use, call, autocast)
            if not error <= limit:
                number_type = autocast or use.dtype
                return (
                    f"its probe launch in {str(number_type).removeprefix('torch.')} at T = "
                    f"{call.T}, S = {call.S} was off by {error:.1e} of the largest value"
                )
    return None


def _compare(
    kernel: Callable[..., Any], use: Use, call: _Call, autocast: torch.dtype | None
) -> tuple[float, float]:
    """The largest error of output and gradients, relative to the largest value, and its limit."""
    generator = torch.Generator().manual_seed(0)
    group = use.heads[0] // use.heads[1]
    masked = call.masks.key_padding_mask is not None or call.masks.cu_seqlens is not None
    rows = 2 if masked else 1

    def draw(length: int, heads: int) -> Tensor:
        x = torch.randn(rows, length, heads, use.head_dim, generator=generator)
        return x.to(autocast or use.dtype)  # what the kernel will see

    q, k, v, g = (
        draw(call.T, 2 * group), draw(call.S, 2), draw(call.S, 2), draw(call.T, 2 * group)
    )  # fmt: skip
    masks = replace(call.masks)  # which keeps what it has combined, for one T and S

    def there(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(use.device)

    leaves = [x.to(use.device, use.dtype, copy=True) for x in (q, k, v)]
    for leaf in leaves:
        leaf.requires_grad_(call.backward)
    arguments: dict[str, Any] = {
        "causal": masks.causal, "window": call.window, "softcap": call.softcap,
    }  # fmt: skip
    tensors = {
        "cu_seqlens": masks.cu_seqlens, "key_padding_mask": masks.key_padding_mask,
        "alibi_slopes": masks.alibi_slopes,
    }  # fmt: skip
    dropout: dict[str, Any] = {}
    if call.dropout_p:
        dropout = {"dropout_p": call.dropout_p, "seed": SEED}
    context = nullcontext() if autocast is None else torch.autocast(use.device.type, dtype=autocast)
    with context:
        out = kernel(
            *leaves,
            **arguments,
            **dropout,
            **{name: there(x) for name, x in tensors.items()},
            backend="triton",
        )
    exact = [x.detach().double().requires_grad_(call.backward) for x in (q, k, v)]
    if dropout:  # which weights a seed drops is the kernels' own: their reference replays it
        want = kernel(*exact, **arguments, **dropout, **tensors, backend="reference")
    else:
        want = reference(exact[0], exact[1], exact[2], masks, call.window, call.softcap)
    pairs: list[tuple[Tensor, Tensor]] = [(out.detach(), want.detach())]
    if call.backward:
        out.backward(g.to(out))
        want.backward(g.to(want))
        pairs += [(x.grad, y.grad) for x, y in zip(leaves, exact, strict=True)]  # type: ignore[misc]
    errors = [(a.double().cpu() - b).abs().max() / b.abs().max() for a, b in pairs]
    worst = torch.stack(errors).nan_to_num(nan=torch.inf).max().item()
    return worst, _limit(autocast or use.dtype)


PAGED_LENGTHS = {"cuda": (1, 1900, 641), "cpu": (1, 150, 65)}
"""Keys of the sequences of `probe_paged`: the longest takes several turns in each of its splits."""


def probe_paged(kernel: Callable[..., Any], use: Use, block_tokens: int) -> str | None:
    """`probe` for one new token a sequence and keys in blocks, laid out as generation keeps them.

    What no sequence holds is not a number, so that reading it shows.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = PAGED_LENGTHS.get(use.device.type, PAGED_LENGTHS["cuda"])
    group, size = use.heads[0] // use.heads[1], block_tokens
    width = -(-max(lengths) // size)
    order = torch.randperm(len(lengths) * width, generator=generator)
    table = order.view(len(lengths), width).int()
    shape = (2, 2, len(lengths) * width, size, use.head_dim)  # keys and values, heads, blocks
    blocks = torch.full(shape, math.nan, dtype=use.dtype)
    q = torch.randn(len(lengths), 1, 2 * group, use.head_dim, generator=generator).to(use.dtype)
    slopes = 0.5 ** torch.arange(1, 2 * group + 1) if "alibi" in use.features else None
    window = lengths[-1] - 9 if "window" in use.features else None
    softcap = 2.0 if "softcap" in use.features else None
    want = []
    for row, length in enumerate(lengths):
        k, v = torch.randn(2, length, 2, use.head_dim, generator=generator).to(use.dtype)
        places = torch.arange(length)
        stored = torch.stack((k, v)).transpose(1, 2)  # (2, heads, length, D)
        blocks[:, :, table[row, places // size].long(), places % size] = stored
        exact = [x[None].double() for x in (q[row], k, v)]
        masks = Masks(alibi_slopes=slopes)
        want.append(reference(exact[0], exact[1], exact[2], masks, window, softcap))
    keys, values = blocks.to(use.device).permute(0, 2, 3, 1, 4)
    out = kernel(
        q.to(use.device),
        keys,
        values,
        torch.tensor(lengths, dtype=torch.int32, device=use.device),
        block_table=table.to(use.device),
        window=window,
        softcap=softcap,
        alibi_slopes=None if slopes is None else slopes.to(use.device),
        backend="triton",
    )
    exact_out = torch.cat(want)
    error = (out.double().cpu() - exact_out).abs().max() / exact_out.abs().max()
    worst, limit = error.nan_to_num(nan=torch.inf).item(), _limit(use.dtype)
    if worst <= limit:
        return None
    number_type = str(use.dtype).removeprefix("torch.")
    return (
        f"its probe launch in {number_type} with blocks of {size} tokens was off by {worst:.1e} of "
        "the largest value"
    )


def _limit(dtype: torch.dtype) -> float:
    """The largest error that rounding explains; float32 products may be TF32."""
    return 2e-2 if dtype in (torch.float16, torch.bfloat16) else 5e-3
