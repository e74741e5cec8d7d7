"""The attention maps of one layer for a text, as the page asks for them."""

from __future__ import annotations

from typing import Any

import torch

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.inference.conversation import Prompts
from gptpy.inference.pieces import token_text
from gptpy.model.maps import attention_maps
from gptpy.runs.opening import Loaded

MOST_TOKENS = 48
"""Tokens of a text that are shown: a map has the square of it in numbers."""


def kinds_of(config: GPTConfig) -> list[str]:
    """The kinds of attention that a model has, the most telling one first."""
    if config.architecture == "encoder-decoder":
        return ["cross", "self", "encoder"]
    return [] if config.architecture == "bigram" else ["self"]


class Maps:
    """Attention maps of a run's model. One thread at a time: its back end changes for a while."""

    def __init__(self, loaded: Loaded, prompts: Prompts) -> None:
        self._loaded, self._prompts = loaded, prompts

    def of_text(self, text: str, kind: str | None = None, layer: int = 0) -> dict[str, Any]:
        """Weights `(H, T, S)` of a layer's heads, rounded to 4 digits, and the tokens' texts.

        Row t says how much token t of `tokens` takes from each token of `looked_at`. Only the first
        `MOST_TOKENS` are computed; `left_out` says how many were not. An encoder-decoder reads the
        text, and `tokens` are its own greedy reply. Raises `ConfigError` for a text without a
        token, or a kind or layer that the model does not have.
        """
        c = self._loaded.config.model
        kinds = kinds_of(c)
        if not kinds:
            raise ConfigError("a bigram model has no attention: each token depends on the last one")
        kind = kind or kinds[0]
        if kind not in kinds:
            raise ConfigError(f"kind: expected one of {', '.join(kinds)}, got {kind!r}")
        layers = c.encoder_layers if kind == "encoder" else c.n_layer
        if not 0 <= layer < layers:
            raise ConfigError(f"layer: expected 0 to {layers - 1}, got {layer}")
        ids, source, left_out = self._ids(text)
        given = {} if source is None else {"source": self._tensor(source)}
        weights = attention_maps(self._loaded.model, self._tensor(ids), **given)[kind][layer]
        query = source if kind == "encoder" and source is not None else ids
        key = ids if kind == "self" or source is None else source
        return {
            "kind": kind,
            "layer": layer,
            "tokens": [self._token(i) for i in query],
            "looked_at": [self._token(i) for i in key],
            "left_out": left_out,
            "weights": [[[round(w, 4) for w in row] for row in head] for head in weights.tolist()],
        }

    def _ids(self, text: str) -> tuple[list[int], list[int] | None, int]:
        """Ids that the decoder reads, those that the encoder reads, and how many were left out."""
        if not text:
            raise ConfigError("text: expected a text, got an empty one")
        prompt = self._prompts.of_text(text)
        most = min(MOST_TOKENS, self._loaded.config.model.block_size)
        if prompt.source is None:
            return prompt.ids[:most], None, max(0, len(prompt.ids) - most)
        left_out = max(0, len(prompt.source) - most)
        source = prompt.source[:most]
        source[-1] = prompt.source[-1]  # what is left out is before the end-of-text
        written = self._loaded.model.generate(
            self._tensor(prompt.ids),
            most - len(prompt.ids),
            temperature=0,
            eos_id=sorted(prompt.end_ids),
            source=self._tensor(source),
        )
        return written[0].tolist()[:-1] or prompt.ids, source, left_out

    def _tensor(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor([ids], dtype=torch.int64, device=self._loaded.model.device)

    def _token(self, token: int) -> dict[str, Any]:
        return {"id": token, "text": token_text(self._loaded.tokenizer, token)}
