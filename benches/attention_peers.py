"""What `gpu_bench.py` measures: attention of several libraries behind one call.

Every peer takes q, k, v (B, T, H, D) and returns (B, T, H, D), causal, differentiable. Those
that a machine does not have say why.
"""

import os
from collections.abc import Callable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The answer: written out in float32."""
    q, k, v = (x.float().transpose(1, 2) for x in (q, k, v))
    s = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    hidden = torch.ones(s.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return (s.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(1, 2)


@contextmanager
def variable(name: str, value: str):
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def ours(hopper: bool) -> Attention:
    from gptpy_kernels import causal_attention

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with variable("GPTPY_HOPPER_KERNEL", "1" if hopper else "0"):
            return causal_attention(q, k, v, backend="triton")

    return attention


def sdpa(backend_name: str) -> Attention:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = getattr(SDPBackend, backend_name)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)

    return attention


def flex() -> Attention:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    # One graph for every length, head size and way. Behind the limit torch runs the function as it
    # is, with all scores in memory, and says nothing.
    torch._dynamo.config.recompile_limit = 64
    compiled = torch.compile(flex_attention, dynamic=False)
    masks: dict[int, object] = {}

    def causal(b, h, query, key):
        return query >= key

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T = q.shape[1]
        if T not in masks:
            masks[T] = create_block_mask(causal, None, None, T, T, device=str(q.device))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return compiled(q, k, v, block_mask=masks[T]).transpose(1, 2)  # pyright: ignore

    return attention


def flash_attention_3() -> Attention:
    from flash_attn_interface import flash_attn_func  # pyright: ignore[reportMissingImports]

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = flash_attn_func(q, k, v, causal=True)
        return out[0] if isinstance(out, tuple) else out

    return attention


def peers(dry_run: bool) -> dict[str, Callable[[], Attention]]:
    """Name and maker; making one may raise where its package or back end is missing."""
    if dry_run:
        return {"gptpy": lambda: ours(False), "sdpa math": lambda: sdpa("MATH")}
    makers: dict[str, Callable[[], Attention]] = {
        "gptpy": lambda: ours(False),
        "sdpa flash (FA2)": lambda: sdpa("FLASH_ATTENTION"),
        "sdpa cudnn": lambda: sdpa("CUDNN_ATTENTION"),
        "flex": flex,
        "flash-attention 3": flash_attention_3,
    }
    if torch.cuda.get_device_capability() == (9, 0):
        makers["gptpy hopper"] = lambda: ours(True)
    return makers


def error_against_plain(attention: Attention, D: int, device: str, T: int) -> float:
    """Largest relative error (Frobenius) of output and gradients on odd-sized random input."""
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    tensors = torch.randn(4, 2, T, 2, D, generator=generator).to(device, dtype)
    worst = 0.0
    results = []
    for function in (attention, plain):
        q, k, v = (x.clone().requires_grad_() for x in tensors[:3])
        out = function(q, k, v)
        grads = torch.autograd.grad(out, (q, k, v), tensors[3].to(out.dtype))
        results.append([x.detach().float() for x in (out, *grads)])
    for got, want in zip(*results, strict=True):
        error = ((got - want).norm() / want.norm()).item()
        worst = error if not error <= worst else worst  # keeps NaN
    return worst
