"""Guesses of the next tokens, which the model verifies in one pass.

A guess is kept if it is the token that the model chooses at this place anyway (`sampling.choose`,
whose noise depends on the place alone). So guesses change the speed, not the text for a seed.
"""

from __future__ import annotations

from collections.abc import Sequence as Ids
from typing import Any, Protocol

from gptpy.config.errors import ConfigError
from gptpy.inference.runner import Runner
from gptpy.inference.sampling import Sampling, choose
from gptpy.inference.scheduler import Sequence
from gptpy.model.paged import Chunk

LONGEST_MATCH, SHORTEST_MATCH = 4, 2


class Speculation(Protocol):
    """A source of guesses."""

    def propose(
        self, sequences: Ids[tuple[Sequence, Sampling, bytes, int]]
    ) -> dict[Sequence, list[int]]:
        """At most so many guesses (the last item) for sequences with settings and noise keys."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended."""
        ...


class PromptLookup:
    """What followed the last few tokens when they stood in the text before (Saxena 2023)."""

    def __init__(self, tokens: int = 8) -> None:
        _check_tokens(tokens)
        self.tokens = tokens
        self._seen: dict[Sequence, tuple[int, dict[tuple[int, ...], int]]] = {}
        """For each sequence how many ids are entered, and where n-grams of them ended last."""

    def propose(
        self, sequences: Ids[tuple[Sequence, Sampling, bytes, int]]
    ) -> dict[Sequence, list[int]]:
        found = {}
        for sequence, _, _, most in sequences:
            ids = sequence.ids
            at = self._find(sequence)
            if at is not None and most > 0:
                found[sequence] = ids[at : at + min(self.tokens, most)]
        return found

    def forget(self, sequence: Sequence) -> None:
        self._seen.pop(sequence, None)

    def _find(self, sequence: Sequence) -> int | None:
        ids = sequence.ids
        entered, ends = self._seen.get(sequence, (0, {}))
        for end in range(entered + 1, len(ids)):  # the last token's n-grams are what is sought
            for n in range(SHORTEST_MATCH, min(LONGEST_MATCH, end) + 1):
                ends[tuple(ids[end - n : end])] = end
        self._seen[sequence] = len(ids) - 1, ends
        for n in range(LONGEST_MATCH, SHORTEST_MATCH - 1, -1):
            at = ends.get(tuple(ids[-n:])) if len(ids) >= n else None
            if at is not None:
                return at
        return None


class DraftModel:
    """What a smaller model with the same vocabulary chooses, with the same noise."""

    def __init__(
        self,
        model: Any,
        number_type: str | None = None,
        *,
        tokens: int = 4,
        cache_tokens: int | None = None,
    ) -> None:
        _check_tokens(tokens)
        self.tokens = tokens
        self.runner = Runner(model, number_type, cache_tokens=cache_tokens)
        self.vocab_size = self.runner.config.vocab_size
        if self.runner.config.architecture == "encoder-decoder":
            raise ConfigError("an encoder-decoder cannot guess for another model: take a decoder")
        self._states: dict[Sequence, _DraftState] = {}

    def propose(
        self, sequences: Ids[tuple[Sequence, Sampling, bytes, int]]
    ) -> dict[Sequence, list[int]]:
        active = []
        for sequence, settings, key, most in sequences:
            state = self._states.setdefault(sequence, _DraftState())
            count = min(self.tokens, most)
            if state.prepare(sequence, count, self.runner):
                active.append((sequence, state, settings, key, count))
        guesses: dict[Sequence, list[int]] = {item[0]: [] for item in active}
        while active:
            chunks = [
                state.chunk(sequence.ids, guesses[sequence]) for sequence, state, *_ in active
            ]
            logits = self.runner.logits(chunks, [1] * len(chunks))
            for (_, state, *_), chunk in zip(active, chunks, strict=True):
                state.computed += len(chunk.ids)
            keys = [
                (key, sequence.new_count + len(guesses[sequence]))
                for sequence, _, _, key, _ in active
            ]
            tokens = choose(logits, [item[2] for item in active], keys)
            for (sequence, *_), token in zip(active, tokens, strict=True):
                guesses[sequence].append(token)
            active = [item for item in active if len(guesses[item[0]]) < item[4]]
        for sequence, guessed in guesses.items():
            state = self._states[sequence]
            state.length, state.guesses = len(sequence.ids), guessed
        return guesses

    def forget(self, sequence: Sequence) -> None:
        state = self._states.pop(sequence, None)
        if state is not None:
            state.release(self.runner)


class _DraftState:
    """What the draft model has stored of a sequence: `computed` tokens from `start` on."""

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.start = self.computed = 0
        self.length = 0
        """Ids of the sequence at the last call; the `guesses` came after them."""
        self.guesses: list[int] = []

    def prepare(self, sequence: Sequence, count: int, runner: Runner) -> bool:
        """Keeps what is still right and takes blocks for `count` guesses; False without room."""
        if count < 1:
            return False
        context = runner.config.block_size
        new = sequence.ids
        if len(new) - self.start + count > context:
            # As the engine does: the last three quarters, computed anew.
            self.start = max(0, len(new) - max(1, context - max(count, context // 4)))
            self.computed = 0
            if len(new) - self.start + count > context:
                return False
        # The last id is computed in any case, for its logits.
        stored = min(self.start + self.computed, len(new) - 1)
        right = min(max(self.length, self.start), stored)
        while right < stored and self.guesses[right - self.length] == new[right]:
            right += 1
        self.computed = right - self.start
        size = runner.block_tokens
        needed = -(-(len(new) - self.start + count) // size) - len(self.blocks)
        if needed > runner.pool.available:
            self.release(runner)
            return False
        self.blocks += runner.pool.take(max(0, needed))
        return True

    def chunk(self, ids: list[int], guesses: list[int]) -> Chunk:
        """What is not stored yet of the ids and the guesses."""
        text = [*ids[self.start + self.computed :], *guesses]
        if self.start + self.computed > len(ids):
            text = guesses[self.start + self.computed - len(ids) :]
        return Chunk(text, self.computed, self.blocks)

    def release(self, runner: Runner) -> None:
        runner.pool.release(self.blocks)
        self.blocks, self.computed = [], 0


def _check_tokens(tokens: int) -> None:
    if tokens < 1:
        raise ConfigError(f"tokens: expected an integer >= 1, got {tokens}")
