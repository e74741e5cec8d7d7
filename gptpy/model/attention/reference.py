"""The formula of attention: which keys a query sees, and the weighted sum of their values.

It is the reference that every other back end is compared with. Also what the layers of one forward
pass share (`ForwardState`), and how a layer is called by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptpy.model.cache import KVCache
from gptpy.model.tables import position_tables


@dataclass
class Masks:
    """Who sees whom in one forward pass; its layers differ by their window alone."""

    causal: bool = True
    key_padding_mask: Tensor | None = None
    """`(B, S)`, True where a key is a real token."""
    cu_seqlens: Tensor | None = None
    """`(n + 1,)` offsets of documents in the flattened `(B * T)` tokens, ends of rows among them: a
    query sees keys of its own document only."""
    alibi_slopes: Tensor | None = None
    """`(H,)`: the score falls by the head's slope for each token of distance."""
    _combined: dict[tuple[int | None, bool], Tensor | None] = field(
        default_factory=dict, init=False, repr=False
    )

    def combined(
        self, q: Tensor, k: Tensor, window: int | None = None, *, added: bool = False
    ) -> Tensor | None:
        """All masks as one tensor that broadcasts to `(B, H, T, S)`, or None without any.

        Boolean, True where a query sees a key. With ALiBi, or if `added`, numbers of the type of
        `q` to add to the scores, `-inf` where it does not. `window`: a query sees its own key and
        the `window - 1` before it (unless `causal`, as many after it, too). Made once for all
        layers with one window, which must agree in T and S.
        """
        if window is not None and window >= k.shape[1]:
            window = None
        if (window, added) not in self._combined:
            mask = self._combine(q, k, window)
            if added and mask is not None and mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -math.inf)
            self._combined[window, added] = mask
        return self._combined[window, added]

    def _combine(self, q: Tensor, k: Tensor, window: int | None) -> Tensor | None:
        (B, T), S = q.shape[:2], k.shape[1]
        # The queries are the last T of the S positions.
        distance = torch.arange(S - T, S, device=q.device)[:, None]
        distance = distance - torch.arange(S, device=q.device)[None, :]  # (T, S)
        visible: list[Tensor] = []  # each broadcasts to (B, 1, T, S)
        if self.causal:
            visible.append(distance >= 0)
        if window is not None:
            visible.append(distance.abs() < window)
        if self.cu_seqlens is not None:
            if T != S:
                raise ValueError(
                    f"cu_seqlens needs as many queries as keys, got {T} and {S}: "
                    "documents are for training, not for a cache"
                )
            documents = document_ids(self.cu_seqlens, B, S)
            visible.append((documents[:, :, None] == documents[:, None, :])[:, None])
        if self.key_padding_mask is not None:
            visible.append(self.key_padding_mask.bool()[:, None, None, :])
        mask = None
        for part in visible:
            mask = part if mask is None else mask & part
        if self.alibi_slopes is None:
            return mask
        bias = (-self.alibi_slopes[:, None, None].float() * distance.abs()).to(q.dtype)[None]
        return bias if mask is None else torch.where(mask, bias, -math.inf)


def document_ids(cu_seqlens: Tensor, batch: int, length: int) -> Tensor:
    """The number of each token's document, `(batch, length)`, from offsets `(n + 1,)`."""
    tokens = torch.arange(batch * length, device=cu_seqlens.device)
    found = torch.searchsorted(cu_seqlens.to(tokens.dtype), tokens, right=True)
    return found.view(batch, length)


def attention_weights(
    q: Tensor,
    k: Tensor,
    masks: Masks,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """`softmax(q k^T / sqrt(D) + mask)` for each head, `(B, H, T, S)`, in at least fp32.

    Arguments as `reference`. Exactly zero where a query does not see a key; of a query that sees
    none, everywhere.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    k = k.repeat_interleave(q.shape[2] // k.shape[2], dim=2).to(wide)  # (B, S, H, D)
    scores = torch.einsum("bthd,bshd->bhts", q.to(wide), k) * (1 / math.sqrt(q.shape[-1]))
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    mask = masks.combined(q, k, window)
    if mask is not None:
        boolean = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if boolean else scores + mask.to(wide)
    weights = torch.softmax(scores, dim=-1)
    return torch.where(torch.isneginf(scores).all(-1, keepdim=True), 0.0, weights)


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Masks,
    window: int | None = None,
    softcap: float | None = None,
    dropout_p: float = 0.0,
    *,
    return_attention: bool = False,
) -> Any:
    """`softmax(q k^T / sqrt(D) + mask) v` for each head; `(B, T, H, D)`, dtype of `q`.

    `q: (B, T, H, D)`; `k, v: (B, S, H_kv, D)`, with H_kv a divisor of H. With S > T the queries are
    the last T positions. `softcap` c: scores become `c tanh(scores / c)`. Computed in at least
    fp32. A query that sees no key gets zeros. `return_attention`: also the weights `(B, H, T, S)`,
    before dropout.
    """
    weights = attention_weights(q, k, masks, window, softcap)
    kept = F.dropout(weights, dropout_p, training=dropout_p > 0)
    values = v.repeat_interleave(q.shape[2] // v.shape[2], dim=2).to(weights.dtype)
    out = torch.einsum("bhts,bshd->bthd", kept, values).to(q.dtype)
    return (out, weights) if return_attention else out


@dataclass
class ForwardState:
    """What the layers of one forward pass share; made by the network."""

    attend: Callable[..., Tensor] = reference
    """A back end of `attention/`, with the signature of `reference`."""
    masks: Masks = field(default_factory=Masks)
    cache: KVCache | None = None
    """Keys and values of earlier tokens, while generating."""
    rotation: tuple[Tensor, Tensor] | None = None
    """RoPE's cosines and sines of the tokens at hand, `(T, D / 2)` each."""
    memory: Tensor | None = None
    """An encoder's output `(B, S, C)`, which cross-attention looks at."""
    memory_masks: Masks | None = None

    def span(self, ids: Tensor, block_size: int) -> tuple[int, int]:
        """Where `ids: (B, T)` begin and end in the text: they follow the tokens in the cache.

        Raises `ValueError` unless they are integers and fit `block_size`.
        """
        if ids.dim() != 2 or ids.is_floating_point():
            raise ValueError(
                f"ids: expected a (B, T) tensor of integers, got shape {tuple(ids.shape)}, "
                f"{ids.dtype}; one sequence is ids[None, :]"
            )
        if not 1 <= ids.shape[1] <= block_size:
            raise ValueError(
                f"ids: expected 1 to {block_size} tokens (block_size), got {ids.shape[1]}: "
                "crop them, or make a model with a larger block_size"
            )
        start = 0 if self.cache is None else self.cache.length
        end = start + ids.shape[1]
        if end > block_size:
            raise ValueError(
                f"{end} tokens with those in the cache are more than block_size = {block_size}: "
                "start again from the last tokens"
            )
        return start, end

    def locate(self, position: str, tables: Any, start: int, end: int) -> None:
        """The tokens stand at `start..end`: what attention needs of the `tables` of positions."""
        if position == "rope":
            self.rotation = (tables["cos"][start:end], tables["sin"][start:end])
        elif position == "alibi":
            self.masks.alibi_slopes = tables["slopes"]


def recording(keep: Callable[[Tensor], Any]) -> Callable[..., Tensor]:
    """`reference` as a back end that hands the weights of each call to `keep`."""

    def attend(*arguments: Any) -> Tensor:
        out, weights = reference(*arguments, return_attention=True)
        keep(weights)
        return out

    return attend


def called_alone(
    layer: nn.Module, x: Tensor, state: ForwardState | None, return_attention: bool
) -> Any:
    """`layer(x, state)`; without a state, `x: (B, T, C)` are the first T tokens of a text.

    `return_attention`: with the weights of each attention in the layer, `(out, (B, H, T, S), ...)`.
    """
    if state is None:
        c: Any = layer.config
        state = ForwardState(masks=Masks(c.architecture != "encoder"))
        tables = position_tables(c, x.shape[1])
        moved = {name: table.to(x.device) for name, table in tables.items()}
        state.locate(c.position, moved, 0, x.shape[1])
    if not return_attention:
        return layer(x, state)
    weights: list[Tensor] = []
    out = layer(x, replace(state, attend=recording(weights.append)))
    return (out, *weights)
