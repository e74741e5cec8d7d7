"""SwiGLU: silu(gate) * up without the intermediate, and both gradients in one pass."""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp2(x * -1.4426950408889634))


@triton.jit
def swiglu_kernel(X, Y, stride_n, C, BLOCK: tl.constexpr):
    """Y (N, C) contiguous = silu(gate) * up of X (N, 2 C), gate first."""
    row = tl.program_id(0).to(tl.int64)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = o_c < C
    p_gate = X + row * stride_n + o_c
    gate = tl.load(p_gate, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(p_gate + C, mask=inside, other=0.0).to(tl.float32)
    y = gate * _sigmoid(gate) * up
    tl.store(Y + row * C + o_c, y.to(Y.dtype.element_ty), mask=inside)


@triton.jit
def swiglu_backward_kernel(Grad, X, GradX, stride_n, C, BLOCK: tl.constexpr):
    """GradX (N, 2 C) contiguous for Grad (N, C)."""
    row = tl.program_id(0).to(tl.int64)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = o_c < C
    grad = tl.load(Grad + row * C + o_c, mask=inside, other=0.0).to(tl.float32)
    p_gate = X + row * stride_n + o_c
    gate = tl.load(p_gate, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(p_gate + C, mask=inside, other=0.0).to(tl.float32)
    sigmoid = _sigmoid(gate)
    silu = gate * sigmoid
    d_gate = grad * up * (sigmoid + silu * (1.0 - sigmoid))
    p_out = GradX + row * (2 * C) + o_c
    kind = GradX.dtype.element_ty
    tl.store(p_out, d_gate.to(kind), mask=inside)
    tl.store(p_out + C, (grad * silu).to(kind), mask=inside)
