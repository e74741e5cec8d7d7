"""RMSNorm of a sum: one read of x and the residual, one write of the sum and of the norm."""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl


@triton.jit
def rms_norm_kernel(
    X,
    Residual,
    Weight,
    Y,
    Sum,
    Rstd,
    stride_n,
    stride_rn,
    C,
    eps,
    BLOCK: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
):
    """Y (N, C) = h / rms(h) * Weight with h = X + Residual; Sum (N, C) = h, Rstd (N,) float32."""
    row = tl.program_id(0).to(tl.int64)
    o_c = tl.arange(0, BLOCK)
    inside = o_c < C
    h = tl.load(X + row * stride_n + o_c, mask=inside, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        h += tl.load(Residual + row * stride_rn + o_c, mask=inside, other=0.0).to(tl.float32)
        rounded = h.to(Sum.dtype.element_ty)
        tl.store(Sum + row * C + o_c, rounded, mask=inside)
        h = rounded.to(tl.float32)  # the backward pass sees what was stored
    rstd = 1.0 / tl.sqrt(tl.sum(h * h, 0) / C + eps)
    y = h * rstd
    if HAS_WEIGHT:
        y *= tl.load(Weight + o_c, mask=inside, other=0.0).to(tl.float32)
    tl.store(Y + row * C + o_c, y.to(Y.dtype.element_ty), mask=inside)
    tl.store(Rstd + row, rstd)


@triton.jit
def rms_norm_backward_kernel(
    GradY,
    GradSum,
    Hidden,
    Weight,
    Rstd,
    GradX,
    GradWeight,
    stride_n,
    N,
    C,
    BLOCK: tl.constexpr,
    HAS_GRAD_SUM: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
):
    """GradX (N, C), and GradWeight (programs, C) float32: each program sums its own rows.

    Partial sums instead of atomics: the same bits on every run.
    """
    program = tl.program_id(0)
    o_c = tl.arange(0, BLOCK)
    inside = o_c < C
    total = tl.zeros([BLOCK], tl.float32)
    weight = tl.full([BLOCK], 1.0, tl.float32)
    if HAS_WEIGHT:
        weight = tl.load(Weight + o_c, mask=inside, other=0.0).to(tl.float32)
    for index in range(program, N, tl.num_programs(0)):
        row = tl.cast(index, tl.int64)
        rstd = tl.load(Rstd + row)
        h = tl.load(Hidden + row * stride_n + o_c, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(GradY + row * C + o_c, mask=inside, other=0.0).to(tl.float32)
        unit = h * rstd
        total += g * unit
        g *= weight
        d = (g - unit * (tl.sum(g * unit, 0) / C)) * rstd
        if HAS_GRAD_SUM:
            d += tl.load(GradSum + row * C + o_c, mask=inside, other=0.0).to(tl.float32)
        tl.store(GradX + row * C + o_c, d.to(GradX.dtype.element_ty), mask=inside)
    if HAS_WEIGHT:
        tl.store(GradWeight + program * C + o_c, total, mask=inside)
