"""What tokens look like in answers: their texts, log-probabilities and alternatives."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from gptpy.inference.pieces import Decodes, bytes_of, token_text
from gptpy.inference.request import TokenLogprob

LEAST = -9999.0
"""Stands for minus infinity, which JSON lacks, as OpenAI has it."""


def number(logprob: float) -> float:
    """A log-probability that JSON can hold."""
    return logprob if logprob >= LEAST else LEAST


class CompletionLogprobs:
    """The `logprobs` of one completion; offsets go on from chunk to chunk."""

    def __init__(self, tokenizer: Decodes, with_ids: bool) -> None:
        self._tokenizer, self._with_ids = tokenizer, with_ids
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def of(self, found: Sequence[TokenLogprob]) -> dict[str, Any]:
        """OpenAI's four lists, and the alternatives with ids."""
        offsets = []
        for one in found:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(bytes_of(self._tokenizer, one.id)))
        listed = [
            [
                {"id": i, "token": token_text(self._tokenizer, i), "logprob": number(logprob)}
                for i, logprob in one.alternatives
            ]
            for one in found
        ]
        told = {
            "tokens": [token_text(self._tokenizer, one.id) for one in found],
            "token_logprobs": [number(one.logprob) for one in found],
            # Of tokens with the same text the likeliest is told.
            "top_logprobs": [
                {other["token"]: other["logprob"] for other in reversed(alternatives)}
                for alternatives in listed
            ],
            "text_offset": offsets,
        }
        return {**told, "alternatives": listed} if self._with_ids else told


class ChatLogprobs:
    """The `logprobs` of an answer."""

    def __init__(self, tokenizer: Decodes, with_ids: bool) -> None:
        self._tokenizer, self._with_ids = tokenizer, with_ids

    def of(self, found: Sequence[TokenLogprob]) -> dict[str, Any]:
        """`content`: one object for each token."""
        content = [
            {
                **self._token(one.id, one.logprob),
                "top_logprobs": [self._token(*other) for other in one.alternatives],
            }
            for one in found
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        told = {
            "token": token_text(self._tokenizer, token),
            "logprob": number(logprob),
            "bytes": list(bytes_of(self._tokenizer, token)),
        }
        return {**told, "id": token} if self._with_ids else told
