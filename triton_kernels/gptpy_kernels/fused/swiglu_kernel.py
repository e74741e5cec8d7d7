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
def swiglu_kernel(Gate, Up, Y, stride_gn, stride_un, C, BLOCK: tl.constexpr):
    """Y (N, C) contiguous = silu(Gate) * Up."""
    row = tl.program_id(0).to(tl.int64)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = o_c < C
    gate = tl.load(Gate + row * stride_gn + o_c, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(Up + row * stride_un + o_c, mask=inside, other=0.0).to(tl.float32)
    y = gate * _sigmoid(gate) * up
    tl.store(Y + row * C + o_c, y.to(Y.dtype.element_ty), mask=inside)


@triton.jit
def swiglu_backward_kernel(
    Grad, Gate, Up, GradGate, GradUp, stride_gn, stride_un, C, BLOCK: tl.constexpr
):
    """GradGate, GradUp (N, C) contiguous."""
    row = tl.program_id(0).to(tl.int64)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = o_c < C
    grad = tl.load(Grad + row * C + o_c, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(Gate + row * stride_gn + o_c, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(Up + row * stride_un + o_c, mask=inside, other=0.0).to(tl.float32)
    sigmoid = _sigmoid(gate)
    silu = gate * sigmoid
    d_gate = grad * up * (sigmoid + silu * (1.0 - sigmoid))
    kind = GradGate.dtype.element_ty
    tl.store(GradGate + row * C + o_c, d_gate.to(kind), mask=inside)
    tl.store(GradUp + row * C + o_c, (grad * silu).to(kind), mask=inside)
