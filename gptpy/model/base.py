"""What every network of the package can do, whatever its shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model.attention import choose_backend
from gptpy.model.cache import KVCache
from gptpy.model.fast.fused import choose_fusions
from gptpy.model.groups import parameter_groups
from gptpy.model.sampling import generate


class LanguageModel(nn.Module):
    """Base of all networks; `forward(ids, targets=None, *, reduction) -> (logits, loss)`."""

    architectures: tuple[str, ...] = ()

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if config.architecture not in self.architectures:
            raise ValueError(
                f"{type(self).__name__} is for architecture "
                f"{' or '.join(map(repr, self.architectures))}, got {config.architecture!r}: "
                "gptpy.model.build_model(config) picks the class"
            )
        self.config = config
        self.fusions: frozenset[str] = frozenset()
        self.attention_backend = "reference" if config.attention_softcap else "sdpa"

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' type."""
        return next(self.parameters()).dtype

    def select_attention(
        self, requested: str | None = None, *, dtype: torch.dtype | None = None
    ) -> tuple[str, str]:
        """Chooses the attention back end for this model where it lies now: (name, reason).

        Call it once a run, after moving the model; `dtype` is autocast's, if any. Raises
        `ValueError` when a `requested` back end cannot be had.
        """
        c = self.config
        asked_for = {
            "softcap": c.attention_softcap is not None,
            "alibi": c.position == "alibi",
            "window": c.window is not None,
            "bidirectional": c.architecture != "decoder",
        }
        features = {name for name, asked in asked_for.items() if asked}
        name, reason = choose_backend(
            self.device,
            dtype or self.dtype,
            c.head_size,
            requested,
            features=features,
            context=c.block_size,
        )
        self.attention_backend = name
        return name, reason

    def select_fusions(
        self, requested: Iterable[str] | None = None, *, dtype: torch.dtype | None = None
    ) -> tuple[frozenset[str], str]:
        """Chooses which layers run as fused kernels where the model lies now: (names, reason).

        `requested`: names of `fused.FUSIONS`; None leaves all off, as at birth. `dtype` is
        autocast's, if any. Raises `ValueError` when they cannot be had.
        """
        dtype = dtype or self.dtype
        names, reason = choose_fusions(self.config, self.device, dtype, requested)
        for name, module in self.named_modules():
            # Norms of single heads stay plain: rows of 64 numbers would not fill a program.
            if hasattr(module, "fusions") and not name.endswith(("q_norm", "k_norm")):
                module.fusions = names  # pyright: ignore[reportAttributeAccessIssue]
        return names, reason

    def num_parameters(self, *, embeddings: bool = True) -> int:
        """Parameters, each counted once; without `embeddings`, tables of ids and positions off."""
        total = sum(p.numel() for p in self.parameters())
        if not embeddings:
            tables = [m for m in self.modules() if isinstance(m, nn.Embedding)]
            total -= sum(p.numel() for m in tables for p in m.parameters())
        return total

    def configure_parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for an optimizer, each `{"name", "params", "param_names"}`; see `groups`."""
        return parameter_groups(self)

    def make_cache(self, batch: int, capacity: int | None = None) -> KVCache | None:
        """An empty cache for generation, or None where the network has no use for one."""
        return None

    def generate(self, ids: Tensor, max_new_tokens: int, **settings: Any) -> Tensor:
        """`(B, T)` ids to `(B, T + new)`, with the settings of `sampling.generate`."""
        return generate(self, ids, max_new_tokens, **settings)


def check_ids(ids: Tensor, block_size: int, name: str = "ids") -> None:
    """Raises `ValueError` unless `ids` is `(B, T)` of integers with `1 <= T <= block_size`."""
    if ids.dim() != 2 or ids.is_floating_point():
        raise ValueError(
            f"{name}: expected a (B, T) tensor of integers, got shape {tuple(ids.shape)}, "
            f"{ids.dtype}; one sequence is ids[None, :]"
        )
    if not 1 <= ids.shape[1] <= block_size:
        raise ValueError(
            f"{name}: expected 1 to {block_size} tokens (block_size), got {ids.shape[1]}: "
            "crop them, or make a model with a larger block_size"
        )
