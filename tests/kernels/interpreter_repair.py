"""Repairs of Triton's CPU interpreter, for tests only.

It stores bfloat16 as uint16: `tl.dot` then multiplies the bit patterns, and the conversion from
float32 truncates. Here dot widens its operands exactly and the conversion rounds to nearest even,
as the hardware does.
"""

import numpy as np


def widen(values: np.ndarray) -> np.ndarray:
    """bfloat16 bit patterns (uint16) as the float32 numbers that they stand for."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def narrow(values: np.ndarray) -> np.ndarray:
    """float32 numbers as bfloat16 bit patterns, rounded to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded >> np.uint32(16)).astype(np.uint16)


_done = False


def repair() -> None:
    """Patch the interpreter once a process."""
    global _done
    if _done:
        return
    import triton.language as tl
    from triton.runtime import interpreter

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    create_dot, convert = builder.create_dot, interpreter._convert_float

    def as_float32(x):
        return handle(widen(x.data), tl.float32) if x.dtype.scalar == tl.bfloat16 else x

    def dot(self, a, b, *rest):
        return create_dot(self, as_float32(a), as_float32(b), *rest)

    def convert_float(values, source, target, rounding):
        if source == tl.float32 and target == tl.bfloat16:
            return narrow(values)
        return convert(values, source, target, rounding)

    builder.create_dot = dot  # pyright: ignore[reportAttributeAccessIssue]
    interpreter._convert_float = convert_float
    _done = True
