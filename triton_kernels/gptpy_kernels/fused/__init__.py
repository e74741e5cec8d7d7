"""The other hot paths of a training step: loss, norm, rotation, gated activation."""

from .cross_entropy import cross_entropy, linear_cross_entropy
from .rms_norm import rms_norm
from .rope import apply_rope
from .swiglu import swiglu

__all__ = ["apply_rope", "cross_entropy", "linear_cross_entropy", "rms_norm", "swiglu"]
