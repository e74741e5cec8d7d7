"""Split-KV decoding over contiguous and paged caches, against the float64 oracle."""

from typing import Any

import attention_oracle
import pytest
import torch
from gptpy_kernels import attention_with_kv_cache

LENGTHS = [37, 1, 64, 0]
CASES: dict[str, dict[str, Any]] = {
    "one token": {},
    "grouped heads": {"H": 4},
    "three tokens": {"T": 3, "lengths": [37, 3, 64, 5]},
    "window": {"window": 9},
    "soft cap": {"softcap": 1.5},
    "alibi": {"alibi_slopes": torch.tensor([0.5, 0.25])},
    "sinks": {"sinks": torch.tensor([0.5, -1.0])},
    "three tiles of queries": {"T": 9, "H": 4, "lengths": [37, 11, 64, 9]},
    "large heads": {"D": 256, "T": 2},
    "everything": {
        "T": 2, "window": 20, "softcap": 2.0, "sinks": torch.tensor([0.5, -1.0]),
        "alibi_slopes": torch.tensor([0.5, 0.25]), "D": 24,
    },
}  # fmt: skip


def paged(cache: torch.Tensor, lengths: list[int], page_size: int) -> tuple[Any, Any]:
    """Scatter (B, capacity, H_kv, D) into shuffled pages; (pages, block table)."""
    B, capacity = cache.shape[:2]
    per_row = capacity // page_size
    order = torch.randperm(B * per_row + 3, generator=torch.Generator().manual_seed(0))
    table = order[: B * per_row].view(B, per_row).int()
    pages = torch.full((B * per_row + 3, page_size, *cache.shape[2:]), float("nan"))
    pages[table.flatten().long()] = cache.view(B * per_row, page_size, *cache.shape[2:])
    return pages, table


@pytest.mark.parametrize("backend", ["triton", "reference"])
@pytest.mark.parametrize("page_size", [None, 16])
@pytest.mark.parametrize("name", CASES)
def test_decoding_equals_oracle(name, page_size, backend, kernel_device):
    arguments = dict(CASES[name])
    T, H, D = arguments.pop("T", 1), arguments.pop("H", 2), arguments.pop("D", 16)
    lengths = arguments.pop("lengths", LENGTHS if T == 1 else [37, 5, 64, 2])
    H_kv = 2 if H == 4 else 1
    B, capacity = len(lengths), 64
    generator = torch.Generator().manual_seed(len(name))
    q = torch.randn(B, T, H, D, generator=generator)
    k, v = torch.randn(2, B, capacity, H_kv, D, generator=generator)
    for b, length in enumerate(lengths):  # what lies past a sequence must not be read
        k[b, length:], v[b, length:] = float("nan"), float("nan")
    caches, table = [k, v], None
    if page_size:
        caches[0], table = paged(k, lengths, page_size)
        caches[1], _ = paged(v, lengths, page_size)
    on_device: dict[str, Any] = {
        key: value.to(kernel_device) if isinstance(value, torch.Tensor) else value
        for key, value in arguments.items()
    }
    out, lse = attention_with_kv_cache(
        q.to(kernel_device),
        caches[0].to(kernel_device),
        caches[1].to(kernel_device),
        torch.tensor(lengths, device=kernel_device),
        block_table=None if table is None else table.to(kernel_device),
        return_lse=True,
        backend=backend,  # pyright: ignore
        **on_device,
    )
    for b, length in enumerate(lengths):
        want, want_lse = attention_oracle.attention(
            q[b : b + 1].double(),
            k[b : b + 1, :length].double(),
            v[b : b + 1, :length].double(),
            **arguments,
        )
        torch.testing.assert_close(out[b].cpu().double(), want[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(lse[b].cpu().double(), want_lse[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_decoding_in_half_precision(dtype, kernel_device):
    q = torch.randn(2, 1, 4, 32).to(dtype)
    k, v = torch.randn(2, 2, 48, 2, 32).to(dtype)
    lengths = torch.tensor([48, 19])
    got = attention_with_kv_cache(
        *(x.to(kernel_device) for x in (q, k, v, lengths)), backend="triton"
    )
    want = attention_with_kv_cache(q, k, v, lengths, backend="reference")
    assert isinstance(got, torch.Tensor) and isinstance(want, torch.Tensor)
    tolerance = 2e-3 if dtype == torch.float16 else 1.5e-2
    torch.testing.assert_close(got.cpu(), want, rtol=tolerance, atol=tolerance)


def test_lengths_slopes_and_tables_may_be_strided(kernel_device):
    q, k, v = torch.randn(3, 2, 16, 2, 16)
    lengths, slopes = torch.tensor([9, 1, 16, 1]), torch.tensor([0.5, 3.0, 0.25, 3.0])
    table = torch.tensor([[1, 0], [7, 7], [0, 1], [7, 7]], dtype=torch.int32)
    arguments = [q[:, :1], k.view(4, 8, 2, 16), v.view(4, 8, 2, 16)]
    found = []
    for copied in (False, True):
        sides = [lengths[::2], table[::2].T.contiguous().T, slopes[::2]]
        if copied:
            sides = [x.clone(memory_format=torch.contiguous_format) for x in sides]
        places, blocks, by_head = (x.to(kernel_device) for x in sides)
        query, keys, values = (x.to(kernel_device) for x in arguments)
        found.append(
            attention_with_kv_cache(
                query, keys, values, places, block_table=blocks,
                alibi_slopes=by_head, sinks=by_head, backend="triton",
            )
        )  # fmt: skip
    assert torch.equal(*found)


def test_wrong_arguments():
    q, cache = torch.randn(2, 1, 2, 16), torch.randn(2, 8, 2, 16)
    lengths = torch.tensor([3, 8])
    table = torch.zeros(2, 4, dtype=torch.int32)

    def refused(error: type[Exception], message: str, *inputs: Any, **kw: Any) -> None:
        with pytest.raises(error, match=message):
            attention_with_kv_cache(*inputs, **kw)

    refused(ValueError, r"expected one shape", q, cache, cache[:, :4], lengths)
    refused(ValueError, r"batch 2 as q, got 1", q, cache[:1], cache[:1], lengths)
    refused(ValueError, r"cache_lengths: expected \(2,\)", q, cache, cache, lengths[:1])
    refused(
        ValueError,
        r"cache_lengths: expected 0 to 8, got 3 to 9",
        q,
        cache,
        cache,
        lengths + (lengths > 3),
    )
    refused(
        TypeError,
        r"block_table: expected int32",
        q,
        cache,
        cache,
        lengths,
        block_table=table.long(),
    )
    refused(
        ValueError,
        r"block_table: expected pages 0 to 1",
        q,
        cache,
        cache,
        lengths,
        block_table=table + 5,
    )
    refused(ValueError, r"at most 128", torch.randn(2, 200, 2, 16), cache, cache, lengths)
    refused(RuntimeError, r"forward only", q.requires_grad_(), cache, cache, lengths)


def test_compiles():
    torch._dynamo.reset()
    compiled = torch.compile(attention_with_kv_cache, fullgraph=True, backend="aot_eager")
    q, cache = torch.randn(2, 1, 2, 16), torch.randn(2, 8, 2, 16)
    lengths = torch.tensor([3, 8])
    want = attention_with_kv_cache(q, cache, cache, lengths)
    torch.testing.assert_close(compiled(q, cache, cache, lengths), want)
