"""What an attention call asks for, checked once, before anything is launched."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import NamedTuple

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
REFERENCE_DTYPES = (*DTYPES, torch.float64)
MIN_HEAD_DIM, MAX_HEAD_DIM = 16, 256


class AttentionOptions(NamedTuple):
    """Everything but q, k, v. Absent numbers are 0, absent tensors None.

    scale: multiplies q @ k. causal: query i sees keys up to S - T + i. window: each query sees the
    `window` nearest keys (in both directions unless causal), 0 for all. softcap: scores become
    softcap * tanh(score / softcap). dropout_p: probability of dropping an attention weight.
    cu_seqlens: (documents + 1,) int32/int64, where packed documents begin in the B * T positions.
    key_padding_mask: (B, S) bool, True where a key may be seen. alibi_slopes: (H,) float32.
    sinks: (H,) float, an extra logit a head in the softmax's denominator. seed: () int64, replays
    the dropout. cu_seqlens_k: the documents of the keys, where they have lengths of their own
    (B = 1). window_right: keys after itself that a query sees unless causal, -1 for as many as
    before it; with cu_seqlens only.
    """

    scale: float
    causal: bool = True
    window: int = 0
    softcap: float = 0.0
    dropout_p: float = 0.0
    cu_seqlens: Tensor | None = None
    key_padding_mask: Tensor | None = None
    alibi_slopes: Tensor | None = None
    sinks: Tensor | None = None
    seed: Tensor | None = None
    cu_seqlens_k: Tensor | None = None
    window_right: int = -1

    @property
    def keys_to_the_right(self) -> int | None:
        """How many keys after itself a query sees at most; None for all."""
        if self.causal:
            return 0
        if self.window_right >= 0:
            return self.window_right
        return self.window - 1 if self.window else None


def _shape(tensor: Tensor) -> str:
    return "(" + ", ".join(str(size) for size in tensor.shape) + ")"


def check_qkv(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Shapes, dtypes and devices of q (B, T, H, D) and k, v (B, S, H_kv, D).

    Raises TypeError for a dtype, ValueError for everything else.
    """
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
        if tensor.dim() != 4:
            raise ValueError(
                f"{name}: expected 4 dimensions (batch, time, heads, head_dim), "
                f"got {_shape(tensor)}"
            )
    B, _T, H, D = q.shape
    if k.shape != v.shape:
        raise ValueError(f"k and v: expected one shape, got {_shape(k)} and {_shape(v)}")
    if k.shape[0] != B or k.shape[3] != D:
        raise ValueError(
            f"k and v: expected batch {B} and head_dim {D} as in q {_shape(q)}, got {_shape(k)}"
        )
    H_kv = k.shape[2]
    if H_kv == 0 or H % H_kv:
        raise ValueError(
            f"heads: expected q's {H} heads to be a multiple of k's and v's heads, got {H_kv}"
        )
    if not MIN_HEAD_DIM <= D <= MAX_HEAD_DIM:
        raise ValueError(
            f"head_dim: expected {MIN_HEAD_DIM} to {MAX_HEAD_DIM}, got {D}; "
            "use backend='reference' or another attention for other sizes"
        )
    if not (q.dtype == k.dtype == v.dtype):
        raise TypeError(
            f"q, k, v: expected one dtype, got {q.dtype}, {k.dtype}, {v.dtype}; cast them first"
        )
    if q.dtype not in REFERENCE_DTYPES:
        raise TypeError(f"dtype: expected float32, float16 or bfloat16, got {q.dtype}")
    if not (q.device == k.device == v.device):
        raise ValueError(
            f"q, k, v: expected one device, got {q.device}, {k.device}, {v.device}; move them first"
        )


def check_options(q: Tensor, k: Tensor, options: AttentionOptions) -> None:
    """Numbers and side tensors of a call whose q, k, v passed `check_qkv`.

    Raises TypeError for a dtype, ValueError for everything else. Looks at shapes only, so that it
    can run while a graph is traced; `check_cu_seqlens` looks at values.
    """
    B, T, H, _D = q.shape
    S = k.shape[1]
    # Comparisons, not math.isfinite: under torch.compile the scale may be symbolic.
    if not 0 < options.scale < math.inf:
        raise ValueError(f"scale: expected a positive finite number, got {options.scale}")
    if options.window < 0:
        raise ValueError(f"window: expected a number of keys >= 1 or None, got {options.window}")
    if not 0 <= options.softcap < math.inf:
        raise ValueError(
            f"softcap: expected a positive finite number or None, got {options.softcap}"
        )
    if not 0.0 <= options.dropout_p < 1.0:
        raise ValueError(f"dropout_p: expected 0 <= p < 1, got {options.dropout_p}")
    for name in (
        "cu_seqlens", "key_padding_mask", "alibi_slopes", "sinks", "seed", "cu_seqlens_k"
    ):  # fmt: skip
        tensor = getattr(options, name)
        if tensor is not None and tensor.device != q.device:
            raise ValueError(f"{name}: expected device {q.device} as q, got {tensor.device}")
    if options.cu_seqlens is not None:
        cu_seqlens = options.cu_seqlens
        if cu_seqlens.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"cu_seqlens: expected int32 or int64, got {cu_seqlens.dtype}")
        if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 2:
            raise ValueError(
                f"cu_seqlens: expected shape (documents + 1,), got {_shape(cu_seqlens)}"
            )
        if options.cu_seqlens_k is None and T != S:
            raise ValueError(f"cu_seqlens: expected as many keys as queries, got T={T} and S={S}")
    if options.cu_seqlens_k is not None:
        _check_key_documents(B, options.cu_seqlens, options.cu_seqlens_k)
    mask = options.key_padding_mask
    if mask is not None:
        if mask.dtype != torch.bool:
            raise TypeError(
                f"key_padding_mask: expected bool (True where a key may be seen), got {mask.dtype}"
            )
        if mask.shape != (B, S):
            raise ValueError(f"key_padding_mask: expected ({B}, {S}), got {_shape(mask)}")
    for name in ("alibi_slopes", "sinks"):
        tensor = getattr(options, name)
        if tensor is None:
            continue
        if not tensor.is_floating_point():
            raise TypeError(f"{name}: expected a floating dtype, got {tensor.dtype}")
        if tensor.shape != (H,):
            raise ValueError(f"{name}: expected shape ({H},), one a head, got {_shape(tensor)}")
    if options.dropout_p and options.seed is None:
        raise ValueError("seed: expected an int64 scalar with dropout_p > 0, got None")
    if options.seed is not None and (options.seed.dtype != torch.int64 or options.seed.dim() != 0):
        raise TypeError(
            f"seed: expected an int64 scalar, got {options.seed.dtype} {_shape(options.seed)}"
        )


def _check_key_documents(B: int, cu_seqlens: Tensor | None, cu_seqlens_k: Tensor) -> None:
    if cu_seqlens is None or B != 1:
        raise ValueError(
            "cu_seqlens_k: expected one row of packed documents and cu_seqlens of the queries, "
            f"got B={B}" + (" and no cu_seqlens" if cu_seqlens is None else "")
        )
    if cu_seqlens_k.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"cu_seqlens_k: expected int32 or int64, got {cu_seqlens_k.dtype}")
    if cu_seqlens_k.shape != cu_seqlens.shape:
        raise ValueError(
            f"cu_seqlens_k: expected as many documents as the queries have, {_shape(cu_seqlens)}, "
            f"got {_shape(cu_seqlens_k)}"
        )


_checked: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}


def check_cu_seqlens(
    cu_seqlens: Tensor, total: int, name: str = "cu_seqlens", what: str = "B * T"
) -> None:
    """Values of cu_seqlens: from 0 to `total`, never falling. Raises ValueError.

    On a GPU reading them would wait for it, and no graph could be captured: there the device itself
    asserts, later. A tensor that passed is remembered (by identity and version): a model with many
    layers pays once a batch.
    """
    key = id(cu_seqlens)
    known = _checked.get(key)
    if known is not None and known[0]() is cu_seqlens and known[1:] == (cu_seqlens._version, total):
        return
    if cu_seqlens.device.type == "cpu":
        _check_values(cu_seqlens.tolist(), total, name, what)
    else:
        ends = (cu_seqlens[0] == 0) & (cu_seqlens[-1] == total)
        torch.ops.aten._assert_async.msg(
            ends & (cu_seqlens[1:] >= cu_seqlens[:-1]).all(),
            f"{name}: expected values that never fall, from 0 to {what} = {total}",
        )
    reference = weakref.ref(cu_seqlens, lambda _: _checked.pop(key, None))
    _checked[key] = (reference, cu_seqlens._version, total)


def _check_values(values: list[int], total: int, name: str, what: str) -> None:
    if values[0] != 0:
        raise ValueError(f"{name}: expected to begin with 0, got {values[0]}")
    if values[-1] != total:
        raise ValueError(f"{name}: expected to end with {what} = {total}, got {values[-1]}")
    for index, (before, after) in enumerate(itertools.pairwise(values)):
        if after < before:
            raise ValueError(
                f"{name}: expected values that never fall, "
                f"got {before} then {after} at index {index + 1}"
            )


def dropout_threshold(dropout_p: float) -> int:
    """A weight is dropped when its uniform 32-bit draw lies below this number."""
    return min(round(dropout_p * 2**32), 2**32 - 1)


def seed_tensor(seed: int | Tensor | None, device: torch.device) -> Tensor:
    """An int64 scalar on the device; None draws one from torch's generator.

    torch.manual_seed fixes that draw, and activation checkpointing replays it.
    """
    if isinstance(seed, Tensor):
        return seed
    if seed is None:
        return torch.randint(2**62, (), device=device, dtype=torch.int64)
    return torch.full((), seed, device=device, dtype=torch.int64)
