"""Attention: the formula with its masks, other back ends for it, and the choice among them.

All take and return the layout `(B, T, H, D)`.
"""

from gptpy.model.attention.backends import BACKENDS, Backend
from gptpy.model.attention.choice import choose_backend
from gptpy.model.attention.preferences import FEATURES
from gptpy.model.attention.reference import Masks, document_ids

__all__ = ["BACKENDS", "FEATURES", "Backend", "Masks", "choose_backend", "document_ids"]
