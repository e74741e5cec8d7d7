"""Cross entropy of logits, row by row: one pass for the loss, one for the gradient.

Logits are widened block by block in registers, never as a whole; softcap included. Online
log-sum-exp after Milakov & Gimelshein, arXiv:1805.02867.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

from ..attention.tiles import LN2, LOG2E, capped_tanh


@triton.jit
def cross_entropy_kernel(
    Logits,
    Targets,
    Losses,
    Lse,
    stride_n,
    V,
    softcap,
    ignore_index,
    BLOCK: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
):
    """Losses and Lse (N,) float32 of Logits (N, V): one program a row."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(Targets + row)
    p_row = Logits + row * stride_n
    m = -float("inf")
    total = 0.0
    for start in tl.range(0, V, BLOCK):
        o_v = start + tl.arange(0, BLOCK)
        x = tl.load(p_row + o_v, mask=o_v < V, other=-float("inf")).to(tl.float32)
        if HAS_SOFTCAP:
            x = tl.where(o_v < V, capped_tanh(x, 1.0, softcap) * softcap, -float("inf"))
        m_new = tl.maximum(m, tl.max(x, 0))
        m_safe = tl.where(m_new == -float("inf"), 0.0, m_new)
        total = total * tl.exp2((m - m_safe) * LOG2E) + tl.sum(tl.exp2((x - m_safe) * LOG2E), 0)
        m = m_new
    log_total = tl.log2(total) * LN2
    inside = (target >= 0) & (target < V)
    picked = tl.load(p_row + target, mask=inside, other=0.0).to(tl.float32)
    if HAS_SOFTCAP:
        picked = capped_tanh(picked, 1.0, softcap) * softcap
    # The large terms first: m + log(total) alone would lose the logarithm. A wrong target must not
    # go unseen.
    loss = tl.where(inside, (m - picked) + log_total, float("nan"))
    tl.store(Losses + row, tl.where(target == ignore_index, 0.0, loss))
    tl.store(Lse + row, m + log_total)


@triton.jit
def cross_entropy_backward_kernel(
    Grad,
    Logits,
    Targets,
    Lse,
    GradLogits,
    stride_n,
    stride_gn,
    V,
    softcap,
    ignore_index,
    BLOCK: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
):
    """GradLogits (N, V) = Grad * (softmax - onehot), times the cap's slope; zero where ignored."""
    row = tl.program_id(0).to(tl.int64)
    start = tl.program_id(1) * BLOCK
    o_v = start + tl.arange(0, BLOCK)
    target = tl.load(Targets + row)
    grad = tl.where(target == ignore_index, 0.0, tl.load(Grad + row))
    lse = tl.load(Lse + row)
    x = tl.load(Logits + row * stride_n + o_v, mask=o_v < V, other=0.0).to(tl.float32)
    slope = 1.0
    if HAS_SOFTCAP:
        t = capped_tanh(x, 1.0, softcap)
        x = t * softcap
        slope = 1.0 - t * t
    d = (tl.exp2((x - lse) * LOG2E) - tl.where(o_v == target, 1.0, 0.0)) * grad * slope
    p_out = GradLogits + row * stride_gn + o_v
    tl.store(p_out, d.to(GradLogits.dtype.element_ty), mask=o_v < V)
