"""Text from a model, in pieces as they come."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from gptpy.model.base import LanguageModel
from gptpy.model.sampling import generate, sample, stream

__all__ = ["TextTokenizer", "generate", "sample", "stream", "stream_text"]


class TextTokenizer(Protocol):
    """What `stream_text` needs of a tokenizer."""

    def encode_ordinary(self, text: str) -> list[int]: ...

    def decode_bytes(self, tokens: Sequence[int]) -> bytes: ...


def stream_text(
    model: LanguageModel,
    tokenizer: TextTokenizer,
    prompt: str | Sequence[int],
    max_new_tokens: int,
    *,
    stop: Sequence[str] = (),
    eos_id: int | None = None,
    **sampling,
) -> Iterator[str]:
    """The continuation of `prompt`, in pieces as soon as they are certain.

    Characters of several tokens are held back until whole (malformed bytes become U+FFFD). Ends
    before the first of the `stop` strings, wherever tokens cut it, or at `eos_id`; neither is
    part of the text. `sampling`: see `stream`. An empty prompt starts from `eos_id`.
    """
    if any(not s for s in stop):
        raise ValueError("stop: expected non-empty strings, got an empty one")
    tokens = tokenizer.encode_ordinary(prompt) if isinstance(prompt, str) else list(prompt)
    if not tokens:
        if eos_id is None:
            raise ValueError("the prompt is empty and there is no end-of-text token to start from")
        tokens = [eos_id]
    ids = torch.tensor([tokens], dtype=torch.int64, device=model.device)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held = ""
    was_training = model.training
    model.eval()
    try:
        for token in stream(model, ids, max_new_tokens, **sampling):
            token = int(token)
            if token == eos_id:
                break
            held += decoder.decode(tokenizer.decode_bytes([token]))
            found = [at for at in (held.find(s) for s in stop) if at >= 0]
            if found:
                if min(found):
                    yield held[: min(found)]
                return
            keep = _held_back(held, stop)
            if keep < len(held):
                yield held[: len(held) - keep]
                held = held[len(held) - keep :]
        held += decoder.decode(b"", final=True)
        if held:
            yield held
    finally:
        model.train(was_training)


def _held_back(text: str, stop: Sequence[str]) -> int:
    """How many of the last characters could be the beginning of a stop string."""
    longest = 0
    for s in stop:
        for n in range(min(len(s) - 1, len(text)), longest, -1):
            if text.endswith(s[:n]):
                longest = n
                break
    return longest
