"""Attention: the formula with its masks, other back ends for it, and the choice among them.

All take and return the layout `(B, T, H, D)`.
"""

from gptpy.model.attention.backends import BACKENDS, Backend
from gptpy.model.attention.choice import choose_backend, choose_paged
from gptpy.model.attention.preferences import FEATURES
from gptpy.model.attention.reference import (
    ForwardState,
    Masks,
    attention_weights,
    document_ids,
    reference,
)

__all__ = [
    "BACKENDS",
    "FEATURES",
    "Backend",
    "ForwardState",
    "Masks",
    "attention_weights",
    "choose_backend",
    "choose_paged",
    "document_ids",
    "reference",
]
