"""The layers' formulas with fewer passes over memory and gradients written by hand, for CPUs.

A small model on a CPU spends more time between its matrix products than in them: every step of a
formula is a pass over memory, a call, and in the backward pass two more. These functions do the
same arithmetic in fp32 with as few passes as torch's own operators allow. The plain formulas stay
where they were (`norm.py`, `position.py`, `mlp.py`): they are what `torch.compile`, export and
GPUs see, and what the tests compare with.
"""

from gptpy.model.fast.heads import rotated_heads
from gptpy.model.fast.norm import rms_norm
from gptpy.model.fast.swiglu import swiglu
from gptpy.model.fast.where import compute_dtype, lean_pays

__all__ = ["compute_dtype", "lean_pays", "rms_norm", "rotated_heads", "swiglu"]
