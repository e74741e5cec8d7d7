"""Text from a model: the prompt as training wrote it, the continuation piece by piece."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import torch

from gptpy.config.data import DataConfig
from gptpy.data.chat import Message, request_segments, segment_ids
from gptpy.inference.pieces import TextPieces
from gptpy.model import LanguageModel
from gptpy.model.sampling import end_ids, stream
from gptpy.tokenizer import Tokenizer, is_lossless


class TextTokenizer(Protocol):
    """What `stream_text` needs of a tokenizer."""

    def encode_ordinary(self, text: str) -> list[int]: ...

    def decode_bytes(self, tokens: Sequence[int]) -> bytes: ...


def prompt_ids(
    tokenizer: Tokenizer,
    prompt: str,
    data: DataConfig,
    end: int | None,
    beginning: Sequence[int] = (),
) -> tuple[list[int], list[int] | None]:
    """The ids that generation begins with, in the form of the training rows, and the source's.

    `data`: the run's. In form "lines" a text comes after an end-of-text, and so does one that no
    template has written in form "chat"; in "pairs" it is the source, which the encoder reads.
    `beginning`: ids before a text in form "stream".
    """
    ids = list(tokenizer.encode_ordinary(prompt))
    if data.form == "stream" or end is None:
        return [*beginning, *ids], None
    return ([end], [*ids, end]) if data.form == "pairs" else ([end, *ids], None)


def prepare_prompt(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    data: DataConfig,
    end: int | None,
    beginning: Sequence[int] = (),
) -> tuple[list[int], dict[str, Any]]:
    """The ids that generation begins with, in the form of the training rows, and model inputs.

    As `prompt_ids`, but in form "chat" the prompt is the user's turn; the encoder reads a source
    once, here.
    """
    if data.form == "chat" and end is not None:
        request = request_segments([Message("user", prompt)], data.template)
        return segment_ids(request, tokenizer, end), {}
    ids, source = prompt_ids(tokenizer, prompt, data, end, beginning)
    if source is None:
        return ids, {}
    read = torch.tensor([source], dtype=torch.int64, device=model.device)
    was_training = model.training
    with torch.inference_mode():
        memory = model.eval().encode(read)  # type: ignore[operator]
    model.train(was_training)
    return ids, {"memory": memory}


def shown_prompt(tokenizer: Tokenizer, prompt: str, data: DataConfig, *, raw: bool = False) -> str:
    """The prompt as it is shown before the continuation.

    Empty if the prompt is a chat turn (unless `raw`) or a source, which the reply does not
    continue. A word-level tokenizer writes one space between words, whatever the prompt has.
    """
    if data.form == "pairs" or (data.form == "chat" and not raw):
        return ""
    if is_lossless(tokenizer):
        return prompt
    return tokenizer.decode(tokenizer.encode_ordinary(prompt))


def stream_text(
    model: LanguageModel,
    tokenizer: TextTokenizer,
    prompt: str | Sequence[int],
    max_new_tokens: int,
    *,
    stop: Sequence[str] = (),
    eos_id: int | Collection[int] | None = None,
    **sampling,
) -> Iterator[str]:
    """Yield the continuation of `prompt`, each piece as soon as later tokens cannot change it.

    A character of several tokens is held back until it is complete (malformed bytes become U+FFFD),
    and so is what may be the beginning of a `stop` string. Ends before the first `stop` string, on
    whatever tokens it falls, or at `eos_id`, one or several; neither is part of the text. An empty
    prompt starts from the first `eos_id`. `sampling`: see `stream`. Raises `ValueError` for an
    empty stop string.
    """
    if any(not s for s in stop):
        raise ValueError("stop: expected non-empty strings, got an empty one")
    tokens = tokenizer.encode_ordinary(prompt) if isinstance(prompt, str) else list(prompt)
    ends = end_ids(eos_id)
    if not tokens:
        if not ends:
            raise ValueError("the prompt is empty and there is no end-of-text token to start from")
        tokens = ends[:1]
    ids = torch.tensor([tokens], dtype=torch.int64, device=model.device)
    pieces = TextPieces(tokenizer, stop)
    was_training = model.training
    model.eval()
    try:
        for token in stream(model, ids, max_new_tokens, **sampling):
            if int(token) in ends:
                break
            if piece := pieces.add(int(token)):
                yield piece
            if pieces.stopped_by is not None:
                return
        if piece := pieces.finish():
            yield piece
    finally:
        model.train(was_training)
