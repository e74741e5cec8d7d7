"""Fused attention and other hot paths of a GPT as Triton kernels, each with a plain-torch twin.

Importing this package needs torch only: triton is imported when a kernel is first launched, so the
references work on every platform.
"""

from .attention import attention_reference, causal_attention
from .availability import available
from .decoding import attention_with_kv_cache

__all__ = [
    "attention_reference",
    "attention_with_kv_cache",
    "available",
    "causal_attention",
]
