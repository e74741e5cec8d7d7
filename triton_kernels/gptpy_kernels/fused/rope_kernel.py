"""Rotary position embedding: both halves of a head read once, written once."""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl


@triton.jit
def rope_kernel(
    X,
    Cos,
    Sin,
    Y,
    stride_xb,
    stride_xt,
    stride_xh,
    stride_xd,
    stride_cb,
    stride_ct,
    T,
    H,
    HALF,
    sign,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Y (B, T, H, 2 * HALF) contiguous: every head of one token rotated by its angles.

    sign: +1 rotates, -1 rotates back, which is the gradient.
    """
    token = tl.program_id(0)
    b64 = (token // T).to(tl.int64)
    t64 = (token % T).to(tl.int64)
    o_d = tl.arange(0, BLOCK_D)
    angle = Cos + b64 * stride_cb + t64 * stride_ct + o_d
    cos = tl.load(angle, mask=o_d < HALF, other=0.0).to(tl.float32)
    angle = Sin + b64 * stride_cb + t64 * stride_ct + o_d
    sin = tl.load(angle, mask=o_d < HALF, other=0.0).to(tl.float32) * sign
    for start in range(0, H, BLOCK_H):
        o_h = start + tl.arange(0, BLOCK_H)
        inside = (o_h < H)[:, None] & (o_d < HALF)[None, :]
        p_x = X + b64 * stride_xb + t64 * stride_xt + o_h[:, None] * stride_xh
        first = tl.load(p_x + o_d[None, :] * stride_xd, mask=inside, other=0.0).to(tl.float32)
        second = tl.load(p_x + (o_d + HALF)[None, :] * stride_xd, mask=inside, other=0.0)
        second = second.to(tl.float32)
        p_y = Y + ((b64 * T + t64) * H + o_h[:, None]) * (2 * HALF) + o_d[None, :]
        kind = Y.dtype.element_ty
        tl.store(p_y, (first * cos - second * sin).to(kind), mask=inside)
        tl.store(p_y + HALF, (second * cos + first * sin).to(kind), mask=inside)
