"""Beam search: the likeliest texts found by keeping the best few beginnings at every length."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gptpy.inference.request import Request
from gptpy.inference.scheduler import Scheduler, Sequence


@dataclass
class Hypothesis:
    """A text that has ended, and its score."""

    ids: list[int]
    score: float
    end_id: int | None


@dataclass
class Beams:
    """The hypotheses of one request. All of them grow by a token at the same time."""

    request: Request
    logprobs: dict[Sequence, float] = field(default_factory=dict)
    """The sum of each growing hypothesis."""
    finished: list[Hypothesis] = field(default_factory=list)
    _rows: dict[Sequence, Tensor] = field(default_factory=dict)
    _born: int = 0

    def offer(self, sequence: Sequence, logits: Tensor) -> bool:
        """Takes the logits of one hypothesis, `(V,)`; True when those of all are there."""
        self._rows[sequence] = logits.log_softmax(-1)
        return len(self._rows) == len(self.logprobs)

    def advance(self, scheduler: Scheduler) -> bool:
        """Grows all hypotheses by a token; False when the search has ended.

        It ends when the best that grows is, at its present length, no better than the worst of
        `beams` that have ended.
        """
        request, parents = self.request, list(self.logprobs)
        totals = torch.stack([self._rows[s] + self.logprobs[s] for s in parents])  # (beams, V)
        # Each hypothesis has `len(end_ids)` ways to end; so many more leave `beams` that grow.
        count = min(request.beams * (1 + len(request.end_ids)), totals.numel())
        scores, places = totals.flatten().topk(count)
        length = len(parents[0].new_ids) + 1
        children: list[tuple[Sequence, int, float]] = []
        for rank, (score, place) in enumerate(zip(scores.tolist(), places.tolist(), strict=True)):
            parent, token = parents[place // totals.shape[1]], place % totals.shape[1]
            if score == -torch.inf:
                break
            if token in request.end_ids:
                if rank < request.beams:
                    self._finish([*parent.new_ids, token], score, token)
            elif len(children) < request.beams:
                children.append((parent, token, score))
        last = length >= request.max_tokens
        if last:
            for parent, token, score in children:
                self._finish([*parent.new_ids, token], score, None)
        worst = min((h.score for h in self.finished), default=-torch.inf)
        full = len(self.finished) >= request.beams
        if last or not children or (full and self._score(children[0][2], length) <= worst):
            for parent in parents:
                scheduler.remove(parent)
            self.logprobs = {}
            return False
        self.logprobs, self._rows = self._grow(scheduler, children), {}
        return True

    def _grow(
        self, scheduler: Scheduler, children: list[tuple[Sequence, int, float]]
    ) -> dict[Sequence, float]:
        """The children as sequences: the first of a parent goes on in its place."""
        first = {parent: token for parent, token, _ in reversed(children)}
        for parent in self.logprobs:
            if parent not in first:
                scheduler.remove(parent)
        grown: dict[Sequence, float] = {}
        continued: set[Sequence] = set()
        for parent, token, score in children:
            child = parent
            if parent in continued:
                self._born += 1
                arrival = (parent.arrival[0], self._born)
                child = Sequence(
                    arrival, list(parent.ids), parent.prompt_length, state=parent.state
                )
                scheduler.fork(parent, child)
                child.ids.append(token)
            continued.add(parent)
            grown[child] = score
        for parent, token in first.items():  # after all have been split off
            parent.ids.append(token)
        return grown

    def _finish(self, ids: list[int], score: float, end_id: int | None) -> None:
        self.finished.append(Hypothesis(ids, self._score(score, len(ids)), end_id))
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.request.beams :]

    def _score(self, logprob: float, length: int) -> float:
        return logprob / length**self.request.length_penalty
