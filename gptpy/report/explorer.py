"""What the report's explorers hold: attention of every head, and the probability of each token."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import torch

from gptpy.inference.pieces import token_text
from gptpy.report.attention import Source, weights_of
from gptpy.report.shown import translated
from gptpy.runs.opening import Loaded

MOST_WEIGHTS = 1 << 19
"""Weights of one text that a report holds, two bytes each: of more layers some are left out."""


def attention_of(loaded: Loaded, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Attention on `ids` by kind, the most telling first; nothing for a model without attention.

    "tokens" look at "looked_at"; "weights" is base64 of uint16 `(layers, heads, T, S)`,
    65535 times the square root of each weight, little-endian; "layers" are their numbers.
    """
    architecture = loaded.config.model.architecture
    if architecture == "bigram":
        return []
    if architecture != "encoder-decoder":
        border = loaded.end_of_text if loaded.config.data.document_mask else None
        kind = "encoder" if architecture == "encoder" else "self"
        maps = weights_of(loaded.model, ids, "self", end_of_text=border)
        return [_packed(loaded, kind, maps, ids, ids)]
    target, source = translated(loaded, ids)
    rows: dict[str, tuple[Sequence[int], Sequence[int]]] = {
        "cross": (target, source[0]),
        "self": (target, target),
        "encoder": (source[0], source[0]),
    }
    return [
        _packed(loaded, kind, _of_kind(loaded, target, kind, source), *both)
        for kind, both in rows.items()
    ]


def _of_kind(
    loaded: Loaded, target: Sequence[int], kind: str, source: Source
) -> list[torch.Tensor]:
    return weights_of(loaded.model, target, kind, source)


def _packed(
    loaded: Loaded,
    kind: str,
    maps: Sequence[torch.Tensor],
    rows: Sequence[int],
    columns: Sequence[int],
) -> dict[str, Any]:
    room = max(1, MOST_WEIGHTS // maps[0].numel())
    count = min(len(maps), room)
    layers = sorted({round(i * (len(maps) - 1) / max(count - 1, 1)) for i in range(count)})
    weights = torch.stack([maps[layer] for layer in layers]).clamp(0, 1).sqrt()
    numbers = (weights * 65535).round().to(torch.int32).numpy().astype("<u2")
    return {
        "kind": kind,
        "layers": layers,
        "shape": list(numbers.shape),
        "tokens": [_token(loaded, i) for i in rows],
        "looked_at": [_token(loaded, i) for i in columns],
        "weights": base64.b64encode(numbers.tobytes()).decode("ascii"),
    }


@torch.inference_mode()
def likelihoods(loaded: Loaded, ids: Sequence[int], alternatives: int = 5) -> list[dict[str, Any]]:
    """Each of `ids` with its log-probability after those before it, and the likeliest tokens there.

    The first has none. Empty for an encoder and an encoder-decoder, which do not continue a text.
    """
    if loaded.config.model.architecture.startswith("encoder"):
        return []
    logits, _ = loaded.model(torch.tensor([list(ids)], device=loaded.model.device))
    logprobs = logits[0].float().log_softmax(-1).cpu()
    found: list[dict[str, Any]] = [{**_token(loaded, ids[0]), "logprob": None, "alternatives": []}]
    for row, token in zip(logprobs, ids[1:], strict=False):
        best = row.topk(min(alternatives, len(row)))
        others = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        found.append(
            {
                **_token(loaded, token),
                "logprob": round(row[token].item(), 4),
                "alternatives": [{**_token(loaded, i), "logprob": round(v, 4)} for i, v in others],
            }
        )
    return found


def _token(loaded: Loaded, token: int) -> dict[str, Any]:
    text = "<end>" if token == loaded.end_of_text else token_text(loaded.tokenizer, token)
    return {"id": token, "text": text}
