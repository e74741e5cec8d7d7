"""Generation for many requests at once (continuous batching): `submit`, then `step` until done.

A step is one forward pass for all running sequences and for parts of waiting prompts, and one
choice of a token for each. Requests come and go between steps. On a CPU in fp32 a request's texts
and log-probabilities are the same, bit for bit, whatever runs beside it.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.inference.beam import Beams
from gptpy.inference.constraints import Matcher
from gptpy.inference.pieces import Decodes, TextPieces
from gptpy.inference.request import (
    FinishReason,
    Handle,
    Output,
    Piece,
    Request,
    Statistics,
    TokenLogprob,
)
from gptpy.inference.runner import Runner
from gptpy.inference.sampling import adjusted, choose, noise_key, usable_rows
from gptpy.inference.scheduler import Scheduler, Sequence
from gptpy.inference.speculative import Speculation


@dataclass
class _Text:
    """What the engine knows of a sequence."""

    handle: Handle
    output: Output
    pieces: TextPieces
    key: bytes
    matcher: Matcher | None = None
    beams: Beams | None = None


class Engine:
    """One model and its running requests.

    `number_type`: see `weights.prepare`. At most `max_running` texts grow at the same time, and a
    step computes about `step_tokens`: fewer let running texts wait less for the prompts of others.
    `cache_tokens`: tokens whose keys and values are kept, in blocks of `block_tokens`. Without
    `exact`, fp32 on a CPU is faster for a few texts at a time and their last bits depend on what
    runs beside them. `speculation`: a source of guesses.

    `submit` and `Handle.cancel` may come from any thread, everything else from one.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Decodes | None = None,
        *,
        number_type: str | None = None,
        max_running: int = 64,
        step_tokens: int = 512,
        cache_tokens: int | None = None,
        block_tokens: int = 16,
        exact: bool = True,
        speculation: Speculation | None = None,
    ) -> None:
        for name, value in (("max_running", max_running), ("step_tokens", step_tokens)):
            if value < 1:
                raise ConfigError(f"{name}: expected an integer >= 1, got {value}")
        self.runner = Runner(
            model,
            number_type,
            block_tokens=block_tokens,
            cache_tokens=cache_tokens,
            exact=exact,
        )
        c = self.config = self.runner.config
        guessed = getattr(speculation, "vocab_size", c.vocab_size)
        if guessed != c.vocab_size:
            raise ConfigError(
                f"speculation: a model with {c.vocab_size} tokens cannot use guesses of one with "
                f"{guessed}: both need the same tokenizer"
            )
        self.tokenizer, self.speculation = tokenizer, speculation
        self.scheduler = Scheduler(
            self.runner.pool,
            self.runner.cache,
            c,
            max_running=max_running,
            step_tokens=step_tokens,
        )
        self.statistics = Statistics(blocks=self.runner.pool.capacity)
        self._numbers = itertools.count()
        self._inbox: list[Handle] = []
        self._handles: dict[Handle, list[Sequence]] = {}

    # ---- Requests

    def submit(self, request: Request) -> Handle:
        """Takes a request; it begins in a later step. `ConfigError` if it can never be done."""
        request.check_model(self.config)
        self.scheduler.check_room(len(request.prompt) + request.max_tokens, request.beams)
        if request.stop and self.tokenizer is None:
            raise ConfigError("stop: an engine without a tokenizer knows no text")
        seed = secrets.randbits(63) if request.seed is None else request.seed
        handle = Handle(next(self._numbers), request, seed)
        self._inbox.append(handle)
        return handle

    def generate(self, requests: Iterable[Request]) -> list[Handle]:
        """Does all requests; their handles in order."""
        handles = [self.submit(request) for request in requests]
        while self.busy:
            self.step()
        return handles

    def stream(self, request: Request) -> Iterator[Piece]:
        """The pieces of one request as they come. Leaving the loop cancels it."""
        handle = self.submit(request)
        try:
            while not handle.done:
                yield from (piece for piece in self.step() if piece.handle is handle)
        finally:
            handle.cancel()

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._inbox or self._handles)

    # ---- One step

    def step(self) -> list[Piece]:
        """Computes the next tokens; what has been added to texts, and which of them ended."""
        pieces: list[Piece] = []
        self._start_and_cancel(pieces)
        self._guess()
        plan = self.scheduler.plan()
        if plan:
            self._compute(plan, pieces)
            self.statistics.steps += 1
        s = self.statistics
        s.running, s.waiting = len(self.scheduler.running), len(self.scheduler.waiting)
        s.blocks_held, s.preemptions = self.runner.pool.held, self.scheduler.preemptions
        return pieces

    def _start_and_cancel(self, pieces: list[Piece]) -> None:
        while self._inbox:
            handle = self._inbox.pop(0)
            self._handles[handle] = [self._make_sequence(handle, 0)]
            self.statistics.prompt_tokens += len(handle.request.prompt)
            if not handle.cancelled:
                self.scheduler.add(self._handles[handle][0])
        for handle in [h for h in self._handles if h.cancelled]:
            rest = {s.state.output.index: s.state.pieces for s in self._handles[handle]}
            for sequence in self._handles[handle]:
                self._leave(sequence)
            for output in handle.outputs:
                if output.finish_reason is None:
                    text = rest[output.index].finish() if output.index in rest else ""
                    self._finish(handle, output, "cancelled", pieces, text)

    def _make_sequence(self, handle: Handle, index: int) -> Sequence:
        request = handle.request
        prompt = list(request.prompt)
        key = noise_key(handle.seed, index)
        matcher = None if request.constraint is None else request.constraint.start()
        text = TextPieces(self.tokenizer, request.stop)
        state = _Text(handle, handle.outputs[index], text, key, matcher)
        most = len(prompt) + request.max_tokens
        sequence = Sequence((handle.number, index), prompt, len(prompt), most=most, state=state)
        if request.beams > 1:
            state.beams = Beams(request, {sequence: 0.0})
        if request.source is not None:
            sequence.root = repr(list(request.source)).encode()
        return sequence

    def _guess(self) -> None:
        if self.speculation is None:
            return
        able = []
        for sequence in self.scheduler.running:
            text: _Text = sequence.state
            most = text.handle.request.max_tokens - len(text.output.ids) - 1
            if sequence.pending == 1 and text.beams is None and most > 0:
                able.append((sequence, text.handle.request.sampling, text.key, most))
        for sequence, guesses in self.speculation.propose(able).items():
            sequence.drafts = guesses

    def _compute(self, plan: list[tuple[Sequence, int]], pieces: list[Piece]) -> None:
        for sequence, _ in plan:
            text: _Text = sequence.state
            request = text.handle.request
            if request.source is not None and sequence.memory is None:
                sequence.memory = self.runner.memory_of(request.source)
            further = sequence.cached - text.handle.cached_tokens
            if sequence.arrival[1] == sequence.new_count == 0 and further > 0:
                text.handle.cached_tokens += further
                self.statistics.cached_tokens += further
        chunks = [sequence.chunk(count) for sequence, count in plan]
        rows: list[tuple[Sequence, int, int]] = []  # sequence, row of the logits, guesses verified
        wanted: list[int] = []
        row = 0
        for sequence, count in plan:
            wanted.append(1 + len(sequence.drafts) if count >= sequence.pending else 0)
            if wanted[-1]:
                rows.append((sequence, row, 0))
            row += wanted[-1]
        logits = self.runner.logits(chunks, wanted)
        for sequence, count in plan:  # guesses are counted when they have been found right
            self.scheduler.computed(sequence, min(count, sequence.pending))
        usable = usable_rows(logits)
        while rows:
            rows = self._choose(logits, usable, rows, pieces)
        for sequence, _ in plan:
            sequence.drafts = []

    def _choose(
        self,
        logits: Tensor,
        usable: list[bool],
        rows: list[tuple[Sequence, int, int]],
        pieces: list[Piece],
    ) -> list[tuple[Sequence, int, int]]:
        """A token for each row. Returns the rows behind guesses that were right."""
        ready: list[tuple[Sequence, int, int]] = []
        changed: dict[int, Tensor] = {}  # by place in `ready`
        for sequence, row, verified in rows:
            text: _Text = sequence.state
            own = self._adjusted(sequence, logits[row]) if usable[row] else None
            if not usable[row]:
                self._fail(sequence, "the model's logits are not finite numbers", pieces)
            elif own is not None and own.amax() == -torch.inf:
                self._fail(sequence, "no token is left to choose", pieces)
            elif text.beams is not None:
                self._grow_beams(text.beams, sequence, logits[row] if own is None else own, pieces)
            else:
                for one in (sequence, *self._split(sequence)):
                    if own is not None:
                        changed[len(ready)] = own
                    ready.append((one, row, verified))
        if not ready:
            return []
        places = [row for _, row, _ in ready]
        every = not changed and places == list(range(len(logits)))  # then nothing is copied
        chosen_from = logits if every else logits[places]
        for place, own in changed.items():
            chosen_from[place] = own
        tokens = choose(
            chosen_from,
            [sequence.state.handle.request.sampling for sequence, *_ in ready],
            [(sequence.state.key, sequence.new_count) for sequence, *_ in ready],
        )
        further = []
        for (sequence, row, verified), token in zip(ready, tokens, strict=True):
            handle: Handle = sequence.state.handle
            guess = sequence.drafts[verified] if verified < len(sequence.drafts) else None
            goes_on = self._append(sequence, token, logits[row], pieces)
            if guess is None:
                continue
            for counts in (handle, self.statistics):
                counts.drafted += 1
                counts.accepted += guess == token
            if guess == token and goes_on:
                self.scheduler.computed(sequence, 1)
                further.append((sequence, row + 1, verified + 1))
        return further

    def _adjusted(self, sequence: Sequence, logits: Tensor) -> Tensor | None:
        """`logits: (V,)` with everything that a request forbids or changes, None if nothing."""
        text: _Text = sequence.state
        request = text.handle.request
        banned = request.end_ids if sequence.new_count < request.min_tokens else ()
        if not (request.sampling.changes_logits or banned or text.matcher is not None):
            return None
        prompt = sequence.ids[: sequence.prompt_length]
        logits = adjusted(logits, request.sampling, prompt, sequence.new_ids, tuple(banned))
        if text.matcher is not None:
            allowed = text.matcher.allowed(len(logits)).to(logits.device)
            logits = logits.masked_fill(~allowed, -torch.inf)
        return logits

    def _split(self, sequence: Sequence) -> list[Sequence]:
        """The other samples of a prompt that has just been computed, those with room to run."""
        text: _Text = sequence.state
        handle = text.handle
        if text.output.index or len(self._handles[handle]) == handle.request.n:
            return []
        running = []
        for index in range(1, handle.request.n):
            other = self._make_sequence(handle, index)
            self._handles[handle].append(other)
            if self.scheduler.fork(sequence, other):
                running.append(other)
        return running

    def _append(self, sequence: Sequence, token: int, logits: Tensor, pieces: list[Piece]) -> bool:
        """Adds a token to its text; whether the text goes on."""
        text: _Text = sequence.state
        handle, output, request = text.handle, text.output, text.handle.request
        sequence.ids.append(token)
        output.ids.append(token)
        self.statistics.new_tokens += 1
        handle.first_token_at = handle.first_token_at or time.monotonic()
        piece = Piece(handle, output.index, "", [token], [])
        if request.logprobs is not None:
            piece.logprobs.append(TokenLogprob.of(logits, token, request.logprobs))
            output.logprobs += piece.logprobs
        reason: FinishReason | None = None
        ends = (None if request.constraint is None else request.constraint.end_id,)
        if token in request.end_ids or token in ends:
            reason, output.stopped_by = "stop", token
        else:
            if text.matcher is not None:
                output.error = text.matcher.take(token)
            may_stop = len(output.ids) >= request.min_tokens
            piece.text = text.pieces.add(token, may_stop=may_stop)
            output.stopped_by = text.pieces.stopped_by
            if output.error:
                reason = "error"
            elif output.stopped_by is not None or (text.matcher and text.matcher.complete):
                reason = "stop"
            elif len(output.ids) >= request.max_tokens:
                reason = "length"
        output.text += piece.text
        pieces.append(piece)
        if reason is not None:
            self._leave(sequence)
            self._finish(handle, output, reason, pieces, text.pieces.finish())
        return reason is None

    def _grow_beams(
        self, beams: Beams, sequence: Sequence, logits: Tensor, pieces: list[Piece]
    ) -> None:
        text: _Text = sequence.state
        if not beams.offer(sequence, logits):
            return
        self.statistics.new_tokens += 1
        goes_on = beams.advance(self.scheduler)
        self._handles[text.handle] = list(beams.logprobs)
        if goes_on:
            return
        for output, found in zip(text.handle.outputs, beams.finished, strict=False):
            output.ids, output.score, output.stopped_by = found.ids, found.score, found.end_id
            words = TextPieces(self.tokenizer)
            shown = found.ids if found.end_id is None else found.ids[:-1]
            whole = "".join(map(words.add, shown)) + words.finish()
            reason = "length" if found.end_id is None else "stop"
            self._finish(text.handle, output, reason, pieces, whole, found.ids)
        for output in text.handle.outputs[len(beams.finished) :]:
            output.error = "there are fewer texts than asked for"
            self._finish(text.handle, output, "error", pieces)

    # ---- The end of a text

    def _leave(self, sequence: Sequence, *, tainted: bool = False) -> None:
        self.scheduler.remove(sequence, tainted=tainted)
        if self.speculation is not None:
            self.speculation.forget(sequence)

    def _fail(self, sequence: Sequence, problem: str, pieces: list[Piece]) -> None:
        """Ends one text, or all of the request's where they are not separate yet."""
        text: _Text = sequence.state
        handle = text.handle
        alone = text.beams is None and len(self._handles[handle]) == handle.request.n
        for other in [sequence] if alone else list(self._handles[handle]):
            self._leave(other, tainted=True)
        for output in [text.output] if alone else handle.outputs:
            if output.finish_reason is None:
                output.error = problem
                self._finish(handle, output, "error", pieces)

    def _finish(
        self,
        handle: Handle,
        output: Output,
        reason: FinishReason,
        pieces: list[Piece],
        rest: str = "",
        ids: list[int] | None = None,
    ) -> None:
        output.finish_reason = reason
        output.text += rest
        pieces.append(Piece(handle, output.index, rest, ids or [], [], reason))
        if handle.done:
            handle.finished_at = time.monotonic()
            del self._handles[handle]
