"""Decoding: the public call, its checks, its operator and its launch. Forward only."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..attention.launch import matmul_precision, padded_head_dim
from ..attention.options import AttentionOptions, check_options, check_qkv
from ..availability import check_backend, choose_backend
from ..devices import amd_architecture, on_device_of
from ..namespace import NAMESPACE
from . import reference

__all__ = ["attention_with_kv_cache"]

MAX_QUERY_ROWS = 128  # queries times heads a group
MAX_SPLITS = 64


def _check_cache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_lengths: Tensor,
    block_table: Tensor | None,
) -> int:
    """Shapes of a call; the longest sequence that the cache can hold. TypeError, ValueError."""
    B, T, H, _D = q.shape
    if k_cache.dim() != 4 or k_cache.shape != v_cache.shape:
        raise ValueError(
            "k_cache, v_cache: expected one shape (batch or pages, length, kv heads, head_dim), "
            f"got {tuple(k_cache.shape)} and {tuple(v_cache.shape)}"
        )
    # The same rules as for attention: heads, head_dim, dtypes, devices.
    check_qkv(q, k_cache[:1].expand(B, -1, -1, -1), v_cache[:1].expand(B, -1, -1, -1))
    if cache_lengths.shape != (B,) or cache_lengths.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"cache_lengths: expected ({B},) int32 or int64, "
            f"got {tuple(cache_lengths.shape)} {cache_lengths.dtype}"
        )
    if block_table is None:
        if k_cache.shape[0] != B:
            raise ValueError(
                f"k_cache: expected batch {B} as q, got {k_cache.shape[0]}; "
                "pass block_table for a paged cache"
            )
        capacity = k_cache.shape[1]
    else:
        if block_table.dim() != 2 or block_table.shape[0] != B:
            raise ValueError(f"block_table: expected ({B}, pages), got {tuple(block_table.shape)}")
        if block_table.dtype != torch.int32:
            raise TypeError(f"block_table: expected int32, got {block_table.dtype}")
        capacity = block_table.shape[1] * k_cache.shape[1]
    for name, tensor in (("cache_lengths", cache_lengths), ("block_table", block_table)):
        if tensor is not None and tensor.device != q.device:
            raise ValueError(f"{name}: expected device {q.device} as q, got {tensor.device}")
    if T * (H // k_cache.shape[2]) > MAX_QUERY_ROWS:
        raise ValueError(
            f"q: expected at most {MAX_QUERY_ROWS} queries times heads a group, "
            f"got {T} * {H // k_cache.shape[2]}; use causal_attention for a prompt"
        )
    return capacity


def _check_values(
    cache_lengths: Tensor, block_table: Tensor | None, cache: Tensor, capacity: int
) -> None:
    """Lengths and page numbers in range: only where looking at them does not wait for a GPU."""
    if cache_lengths.device.type != "cpu" or not cache_lengths.numel():
        return
    low, high = int(cache_lengths.min()), int(cache_lengths.max())
    if low < 0 or high > capacity:
        raise ValueError(f"cache_lengths: expected 0 to {capacity}, got {low} to {high}")
    if block_table is None:
        return
    for b, length in enumerate(cache_lengths.tolist()):
        used = block_table[b, : -(-length // cache.shape[1])]
        if used.numel() and (int(used.min()) < 0 or int(used.max()) >= cache.shape[0]):
            raise ValueError(
                f"block_table: expected pages 0 to {cache.shape[0] - 1}, got {used.tolist()} "
                f"in row {b}"
            )


class Tile(NamedTuple):
    """How the splitting kernel runs: query rows, keys at a time, warps, pipeline stages."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


def choose_tile(rows: int, block_d: int, itemsize: int, amd: bool = False) -> Tile:
    """The largest tile for `rows` query rows that the compile gates find free of spills.

    amd: on AMD's devices a program has 64 KB of shared memory.
    """
    padded = max(16, 1 << (rows - 1).bit_length())
    if itemsize == 2:
        block_n = 64 if block_d <= 128 else 32
        most = 64 if block_d <= 128 else 32
        return (
            Tile(padded, block_n, 4, 3) if padded <= 16 else Tile(min(padded, most), block_n, 8, 2)
        )
    # float32 products take three registers for one: fewer rows, keys read again for each tile.
    if block_d > 128:
        return Tile(16, 16, 8, 2)
    if padded <= 16:
        return Tile(16, 32, 4, 2 if amd and block_d > 64 else 3)
    return Tile(32, 16, 8, 2)


def needs_pages(block_d: int, itemsize: int) -> bool:
    """Whether a contiguous cache is read as one page a sequence.

    In float32 at D = 256 that form of the kernel needs fewer registers; the other spills.
    """
    return itemsize == 4 and block_d > 128


def choose_splits(device: torch.device, programs: int, capacity: int, block_n: int) -> int:
    """Splits that give every multiprocessor two programs, none shorter than four key blocks."""
    if device.type == "cuda":
        wanted = 2 * torch.cuda.get_device_properties(device).multi_processor_count
    else:
        wanted = 3 * programs  # the interpreter: enough to exercise the joining kernel
    longest = max(1, capacity // (4 * block_n)) if device.type == "cuda" else MAX_SPLITS
    return max(1, min(MAX_SPLITS, longest, -(-wanted // max(1, programs))))


def _launch(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_lengths: Tensor,
    block_table: Tensor | None,
    options: AttentionOptions,
) -> tuple[Tensor, Tensor]:
    from .kernel import decode_join_kernel, decode_split_kernel

    B, T, H, D = q.shape
    H_kv = k_cache.shape[2]
    group = H // H_kv
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = torch.empty(B, H, T, device=q.device, dtype=torch.float32)
    if out.numel() == 0:
        return out, lse
    block_d = padded_head_dim(D)
    if block_table is None and needs_pages(block_d, q.element_size()):
        block_table = torch.arange(B, device=q.device, dtype=torch.int32)[:, None]
    page = k_cache.shape[1]
    capacity = page if block_table is None else page * block_table.shape[1]
    amd = amd_architecture(q.device) is not None
    tile = choose_tile(T * group, block_d, q.element_size(), amd)
    if q.device.type != "cuda":
        tile = Tile(16, 16, 4, 1)  # the interpreter: small tests have several blocks
    row_tiles = -(-T * group // tile.block_m)
    rows = row_tiles * tile.block_m
    splits = choose_splits(q.device, B * H_kv, capacity, tile.block_n)
    cache_lengths = cache_lengths.contiguous()  # the kernel takes no strides for these
    if block_table is not None and block_table.stride(1) != 1:
        block_table = block_table.contiguous()
    slopes, sinks = (
        None if x is None else x.float().contiguous() for x in (options.alibi_slopes, options.sinks)
    )
    partial = torch.empty(B * H_kv, splits, rows, block_d, device=q.device, dtype=torch.float32)
    partial_lse = torch.empty(B * H_kv, splits, rows, device=q.device, dtype=torch.float32)
    on_device_of(q, decode_split_kernel)[(B * H_kv, splits, row_tiles)](
        q, k_cache, v_cache, partial, partial_lse, cache_lengths, block_table, slopes,
        *q.stride(), *k_cache.stride(), *v_cache.stride(),
        0 if block_table is None else block_table.stride(0),
        T, H_kv, capacity, options.scale, options.window, options.softcap or 1.0, rows,
        GROUP=group, PAGE=page if block_table is not None else 1, D=D, BLOCK_D=block_d,
        BLOCK_M=tile.block_m, BLOCK_N=tile.block_n, PAGED=block_table is not None,
        HAS_WINDOW=options.window > 0, HAS_SOFTCAP=options.softcap > 0,
        HAS_ALIBI=options.alibi_slopes is not None,
        PRECISION=matmul_precision(q.dtype, q.device), num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )  # fmt: skip
    on_device_of(q, decode_join_kernel)[(B * H_kv * T * group,)](
        partial, partial_lse, out, lse, sinks,
        *out.stride(), T, H_kv, splits, rows, GROUP=group, D=D, BLOCK_D=block_d,
        BLOCK_S=max(2, 1 << (splits - 1).bit_length()), HAS_SINKS=sinks is not None,
        num_warps=4,
    )  # fmt: skip
    return out, lse


@torch.library.custom_op(f"{NAMESPACE}::attention_with_kv_cache", mutates_args=())
def _operator(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_lengths: Tensor,
    block_table: Tensor | None,
    scale: float,
    window: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    sinks: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """See the public `attention_with_kv_cache`."""
    options = AttentionOptions(
        scale, window=window, softcap=softcap, alibi_slopes=alibi_slopes, sinks=sinks
    )
    page = k_cache.shape[1]
    capacity = page if block_table is None else page * block_table.shape[1]
    _check_values(cache_lengths, block_table, k_cache, capacity)
    function = _launch if choose_backend(q, backend) == "triton" else None
    function = function or reference.attention_with_kv_cache
    return function(q, k_cache, v_cache, cache_lengths, block_table, options)


@_operator.register_fake
def _(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    B, T, H, _D = q.shape
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty(q.shape), q.new_empty((B, H, T), dtype=dtype)


def attention_with_kv_cache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_lengths: Tensor,
    *,
    block_table: Tensor | None = None,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    alibi_slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    return_lse: bool = False,
    backend: Literal["triton", "reference"] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Causal attention of the newest tokens q (B, T, H, D) over a cache: (B, T, H, D).

    k_cache, v_cache: (B, capacity, H_kv, D), or pages (pages, page_size, H_kv, D) with block_table
    (B, pages a sequence) int32 naming the pages of every sequence in order. cache_lengths: (B,),
    keys of every sequence, the T new ones (already written into the cache) included. The other
    arguments as in `causal_attention`. T times heads a group is at most 128.

    Raises TypeError or ValueError naming what was expected; on a GPU the values of cache_lengths
    and block_table are not read (that would wait), lengths beyond the capacity are cut.
    RuntimeError when a gradient is asked for: decoding is forward only.
    """
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k_cache, v_cache)):
        raise RuntimeError(
            "attention_with_kv_cache: expected inputs without gradients (decoding is forward only);"
            " call it under torch.no_grad(), or use causal_attention"
        )
    _check_cache(q, k_cache, v_cache, cache_lengths, block_table)
    if window is not None and window < 1:
        raise ValueError(f"window: expected a number of keys >= 1 or None, got {window}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap: expected a positive finite number or None, got {softcap}")
    options = AttentionOptions(
        q.shape[-1] ** -0.5 if scale is None else float(scale),
        window=window or 0,
        softcap=float(softcap or 0.0),
        alibi_slopes=alibi_slopes,
        sinks=sinks,
    )
    check_options(q, k_cache, options)
    out, lse = _operator(
        q, k_cache, v_cache, cache_lengths, block_table, options.scale, options.window,
        options.softcap, alibi_slopes, sinks, check_backend(backend),
    )  # fmt: skip
    return (out, lse) if return_lse else out
