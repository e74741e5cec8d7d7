"""The kernels inside Hugging Face's transformers: `attn_implementation="gptpy"`.

`register()` names an attention function and a mask function. The mask function passes on what the
kernels take without a full mask: nothing for a causal order, padding as (B, S) booleans, packed
sequences as cu_seqlens. Any other mask becomes the full one that transformers makes itself, and is
attended to in plain torch: correct, and as slow as "eager".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from .attention import causal_attention
from .attention.options import MAX_HEAD_DIM, MIN_HEAD_DIM
from .decoding import MAX_QUERY_ROWS, attention_with_kv_cache

Backend = Literal["triton", "reference"]

log = logging.getLogger(__name__)


def register(name: str = "gptpy", *, backend: Backend | None = None) -> None:
    """Name the kernels, so that `from_pretrained(..., attn_implementation=name)` takes them.

    backend: as in `causal_attention`; by default the kernels on NVIDIA GPUs, else the reference.
    Needs transformers >= 5. Calling it again replaces what the name stood for.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(name, partial(attention, backend=backend))
    AttentionMaskInterface.register(name, mask)


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int | Tensor = 0,
    mask_function: Callable[..., Any] | None = None,
    attention_mask: Tensor | None = None,
    **rest: Any,
) -> Tensor | None:
    """What `attention` needs to know beyond the layer's own settings.

    None, or (B, S) bool where a key may be seen, or cu_seqlens (int32, one dimension), or a full
    mask (B, 1, T, S).
    """
    found = _parts(mask_function)
    known = all(isinstance(offset, int) for offset in (q_offset, kv_offset))
    # Causal queries are the last of the keys that count; a cache of fixed size has room after them.
    stop = kv_length
    if known and "causal" in (found or ()):
        stop = int(q_offset) + q_length - int(kv_offset)
    if found is None or not known or stop > kv_length:
        return _full_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask,
            **rest,
        )  # fmt: skip
    if "packed" in found:
        return _cu_seqlens(found["packed"])
    if attention_mask is None:
        if stop == kv_length:
            return None
        return torch.ones(batch_size, stop, dtype=torch.bool, device=rest.get("device", "cpu"))
    seen = attention_mask[:, int(kv_offset) : int(kv_offset) + stop].bool()
    return torch.nn.functional.pad(
        seen, (0, stop - seen.shape[1])
    )  # keys that it does not name are hidden


def _full_mask(*arguments: Any, **rest: Any) -> Tensor:
    from transformers.masking_utils import sdpa_mask

    skips = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    found = sdpa_mask(*arguments, **{**rest, **skips})
    assert found is not None
    return found


def _parts(function: Callable[..., Any] | None) -> dict[str, Any] | None:
    """What a mask function of transformers is made of; None where a part is unknown.

    transformers composes masks from closures, so a part is known by the name of its maker:
    causal, bidirectional, window and packed (with the sequence of every token).
    """
    name = getattr(function, "__qualname__", "")
    cells = getattr(function, "__closure__", None) or ()
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    held: dict[str, Any] = {key: cell.cell_contents for key, cell in zip(names, cells, strict=True)}
    if name == "causal_mask_function":
        return {"causal": True}
    if name == "bidirectional_mask_function":
        return {"bidirectional": True}
    if name.startswith(("sliding_window_overlay.", "sliding_window_bidirectional_overlay.")):
        return {"window": True}
    if name.startswith("packed_sequence_mask_function."):
        return {"packed": held["packed_sequence_mask"]}
    if name.startswith("remap_positions_for_packed_sequence."):
        return _parts(held["mask_function"])  # within a sequence distances stay
    if name.startswith("and_masks."):
        found: dict[str, Any] = {}
        for part in held["mask_functions"]:
            parts = _parts(part)
            if parts is None:
                return None
            found |= parts
        return found
    return None


def _cu_seqlens(sequence: Tensor) -> Tensor:
    """Where sequences begin in the flattened rows; the number of entries does not depend on values.

    sequence: (B, T), the number of every token's sequence in its row. Unused entries are B * T.
    """
    begins = torch.ones_like(sequence, dtype=torch.bool)
    begins[:, 1:] = sequence[:, 1:] != sequence[:, :-1]
    total = sequence.numel()
    places = torch.arange(total, device=sequence.device, dtype=torch.int32)
    found = torch.where(begins.flatten(), places, total).sort().values
    return torch.nn.functional.pad(found, (0, 1), value=total)


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query (B, H, T, D), key, value (B, H_kv, S, D).

    Returns (B, T, H, D). `attention_mask` is what `mask` made. s_aux: sinks, (H,).
    """
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    D = query.shape[-1]
    scale = D**-0.5 if scaling is None else scaling
    full = attention_mask is not None and attention_mask.dim() == 4
    fits = key.shape == value.shape and MIN_HEAD_DIM <= D <= MAX_HEAD_DIM
    if full or not fits or position_bias is not None:
        allowed = _allowed(query, key, attention_mask, causal, sliding_window)
        return _plain(query, key, value, allowed, scale, dropout, softcap, s_aux, position_bias)
    cu_seqlens = padding = None
    if attention_mask is not None and attention_mask.dim() == 1:
        cu_seqlens = attention_mask
    elif attention_mask is not None:
        padding = attention_mask
        key, value = (x[:, :, : padding.shape[1]] for x in (key, value))
    if kwargs.get("cu_seq_lens_q") is not None and key.shape[2] == query.shape[2]:
        cu_seqlens = kwargs["cu_seq_lens_q"].to(query.device)
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    S = k.shape[1]
    window = sliding_window if sliding_window is not None and sliding_window < S else None
    if window is not None and not causal:
        window += 1  # there a window counts the keys on one side, without its own
    shared: dict[str, Any] = {
        "scale": scale, "window": window, "softcap": softcap, "sinks": s_aux, "backend": backend,
    }  # fmt: skip
    if causal and padding is None and cu_seqlens is None and _decodes(q, k, v, s_aux):
        lengths = torch.full((q.shape[0],), S, dtype=torch.int32, device=q.device)
        return attention_with_kv_cache(q, k, v, lengths, **shared), None  # type: ignore[return-value]
    out = causal_attention(
        q, k, v, causal=causal, dropout_p=dropout, cu_seqlens=cu_seqlens,
        key_padding_mask=padding, **shared,
    )  # fmt: skip
    return out, None


def _decodes(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor | None) -> bool:
    """Whether a few queries meet a long cache and nobody differentiates: split along the keys."""
    differentiated = torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in (q, k, v, sinks)
    )
    few = q.shape[1] * (q.shape[2] // k.shape[2]) <= MAX_QUERY_ROWS
    return few and q.shape[1] < k.shape[1] and not differentiated and q.dtype == k.dtype


def _allowed(
    query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, window: int | None
) -> Tensor:
    """A full mask, bool or numbers to add, for the plain formula."""
    if mask is not None and mask.dim() == 4:
        return mask[..., : key.shape[2]]
    T, S = query.shape[2], key.shape[2]
    distance = torch.arange(S - T, S, device=key.device)[:, None] - torch.arange(
        S, device=key.device
    )
    allowed = (distance >= 0) if causal else torch.ones_like(distance, dtype=torch.bool)
    if window is not None:
        allowed = allowed & (distance.abs() < window if causal else distance.abs() <= window)
    allowed = allowed[None, None]
    if mask is not None and mask.dim() == 2:
        allowed = allowed & torch.nn.functional.pad(mask, (0, S - mask.shape[1]))[:, None, None, :]
    elif mask is not None:
        places = torch.arange(query.shape[0] * T, device=mask.device, dtype=mask.dtype)
        document = torch.bucketize(places, mask[1:], right=True).view(-1, 1, T)
        allowed = allowed & (document[..., :, None] == document[..., None, :])
    return allowed


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor,
    scale: float,
    dropout: float,
    softcap: float | None,
    sinks: Tensor | None,
    bias: Tensor | None,
) -> tuple[Tensor, None]:
    """The formula with a full mask, for what no kernel takes."""
    log.info("attention of transformers: a mask or head size without a kernel, in plain torch")
    group = query.shape[1] // key.shape[1]
    k, v = (x.repeat_interleave(group, dim=1) for x in (key, value))
    s = (query @ k.transpose(2, 3)).float() * scale
    if softcap is not None:
        s = softcap * torch.tanh(s / softcap)
    if bias is not None:
        s = s + bias
    if allowed.dtype == torch.bool:
        s = s.masked_fill(~allowed, -torch.inf)
    else:
        s = s + allowed
    if sinks is not None:
        s = torch.cat([s, sinks.float().view(1, -1, 1, 1).expand(*s.shape[:3], 1)], -1)
    empty = torch.isneginf(s).all(-1, keepdim=True)
    p = torch.softmax(s, -1).masked_fill(empty, 0.0)[..., : k.shape[2]]
    p = torch.nn.functional.dropout(p, dropout, training=dropout > 0)
    return (p.to(v.dtype) @ v).transpose(1, 2).contiguous(), None
