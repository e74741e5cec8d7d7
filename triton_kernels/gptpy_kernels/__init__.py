"""Fused attention and other hot paths of a GPT in Triton, each with a plain-torch reference.

Importing this package needs torch only: triton is imported when a kernel is first launched, so the
references work on every platform.
"""

from .attention import attention_reference, causal_attention, varlen_attention
from .availability import available
from .decoding import attention_with_kv_cache
from .fused import apply_rope, cross_entropy, linear_cross_entropy, rms_norm, swiglu

__all__ = [
    "apply_rope",
    "attention_reference",
    "attention_with_kv_cache",
    "available",
    "causal_attention",
    "cross_entropy",
    "linear_cross_entropy",
    "rms_norm",
    "swiglu",
    "varlen_attention",
]
