"""Which sequences compute how many tokens in the next step, and who holds which blocks.

Running sequences come first, one token each; what is left of the step's tokens goes to prompts, in
parts. Where blocks are short, the sequence that came last gives its own up and waits; later its
tokens are computed again. The oldest is never interrupted, so that every request ends.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Any

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.inference.blocks import NO_CLAIM, BlockPool, digests
from gptpy.model.paged import Chunk, PagedKeysValues


@dataclass(eq=False)
class Sequence:
    """One text in the making. Its context are the ids from `start` on, at positions from 0."""

    arrival: tuple[int, int]
    """Number of the request and of the text in it: who came first."""
    ids: list[int]
    prompt_length: int
    start: int = 0
    computed: int = 0
    """Tokens of the context whose keys and values are stored."""
    blocks: list[int] = field(default_factory=list)
    first: int = 0
    """Leading blocks that it no longer needs; they are not in `blocks`."""
    drafts: list[int] = field(default_factory=list)
    """Guesses of the next tokens."""
    root: bytes = b""
    """What its keys depend on beside the ids."""
    memory: Any = None
    digests: list[bytes] = field(default_factory=list)
    cached: int = 0
    """Tokens of the context that were stored when it began to run."""
    block_tokens: int = 1
    most: int = 0
    """Ids that it will have at most, where that is known: so much room is kept side by side."""
    claim: range = NO_CLAIM
    state: Any = None
    """The engine's."""

    @property
    def length(self) -> int:
        """Tokens of the context."""
        return len(self.ids) - self.start

    @property
    def pending(self) -> int:
        """Tokens of the context that are not computed yet."""
        return self.length - self.computed

    @property
    def new_count(self) -> int:
        return len(self.ids) - self.prompt_length

    @property
    def new_ids(self) -> list[int]:
        return self.ids[self.prompt_length :]

    def chunk(self, count: int) -> Chunk:
        """The next `count` tokens, guesses among them."""
        at = self.start + self.computed
        ids = [*self.ids[at : at + count], *self.drafts][:count]
        last = -(-(self.computed + count) // self.block_tokens) - self.first
        return Chunk(ids, self.computed, self.blocks[:last], self.first, self.memory)


class Scheduler:
    """Waiting and running sequences over one pool of blocks."""

    def __init__(
        self,
        pool: BlockPool,
        cache: PagedKeysValues,
        c: GPTConfig,
        *,
        max_running: int,
        step_tokens: int,
    ) -> None:
        self.pool, self.cache, self.block_tokens = pool, cache, cache.block_tokens
        self.context, self.max_running, self.step_tokens = c.block_size, max_running, step_tokens
        self.window = None if c.full_attention_every else c.window
        self.keeps_nothing = c.architecture == "bigram"
        """Whether the model has no keys and values."""
        self.rolling = self.keeps_nothing or rolls_exactly(c)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.preemptions = 0
        self._computing: dict[bytes, Sequence] = {}
        """Digests of blocks that a running sequence is about to fill."""

    def check_room(self, length: int, count: int) -> None:
        """`ConfigError` if `count` texts of `length` tokens can never run at the same time."""
        if count > self.max_running:
            raise ConfigError(
                f"beams: expected at most max_running = {self.max_running}, got {count}"
            )
        length = min(length, self.context)
        if not self.keeps_nothing and count * -(-length // self.block_tokens) > self.pool.capacity:
            fits = self.pool.capacity // count * self.block_tokens
            each = f" in each of {count} beams" if count > 1 else ""
            raise ConfigError(
                f"prompt and max_tokens, {length} tokens{each}, do not fit the cache of "
                f"{self.pool.capacity * self.block_tokens}: {fits} do; "
                "shorten them, or give the engine a larger cache_tokens"
            )

    def add(self, sequence: Sequence) -> None:
        """Lets a sequence wait for its turn."""
        sequence.block_tokens = self.block_tokens
        insort(self.waiting, sequence, key=lambda s: s.arrival)

    def remove(self, sequence: Sequence, *, tainted: bool = False) -> None:
        """Ends a sequence, waiting or running. `tainted`: its numbers must not be used again."""
        for queue in (self.waiting, self.running):
            if sequence in queue:
                queue.remove(sequence)
        self._give_up(sequence, tainted)

    def fork(self, parent: Sequence, child: Sequence) -> bool:
        """Lets `child`, whose context is the parent's, run on the parent's blocks.

        Full blocks are shared, the last one is copied. Without room the child waits; then False.
        """
        full = parent.computed // self.block_tokens - parent.first
        copied = len(parent.blocks[full:]) > 0 and parent.computed % self.block_tokens > 0
        child.block_tokens, child.start = self.block_tokens, parent.start
        child.root, child.memory = parent.root, parent.memory
        fits = len(self.running) < self.max_running and self.pool.available >= copied
        if parent not in self.running or not fits:
            self.add(child)
            return False
        for block in parent.blocks[:full]:
            self.pool.share(block)
        child.blocks = parent.blocks[:full]
        child.claim = self._claim(child, full + parent.first, copied)
        if copied:
            child.blocks += self.pool.take(1, child.claim)
            self.cache.copy(parent.blocks[full], child.blocks[-1])
        child.computed, child.first = parent.computed, parent.first
        child.digests = list(parent.digests)
        self.running.append(child)
        return True

    def plan(self) -> list[tuple[Sequence, int]]:
        """The next step: sequences and how many tokens each computes, with blocks for them."""
        planned: dict[Sequence, int] = {}
        budget = self.step_tokens
        for sequence in sorted(self.running, key=lambda s: (s.pending > 1, s.arrival)):
            if sequence not in self.running or not sequence.pending:
                continue
            self._crop(sequence)
            count = sequence.pending + len(sequence.drafts)
            if sequence.pending > 1:
                count = min(count, budget)
            if count > 0 and self._take_blocks(sequence, count, planned):
                count = min(count, sequence.pending + len(sequence.drafts))
                planned[sequence] = count
                budget -= count
        self._admit(planned, budget)
        while not planned and self.waiting and self.running:
            # All that run wait for a sibling that waits: whoever came last makes room for it.
            last = max(self.running, key=lambda s: s.arrival)
            if last.arrival < self.waiting[0].arrival:
                break
            self._preempt(last)
            self._admit(planned, self.step_tokens)
        return list(planned.items())

    def computed(self, sequence: Sequence, count: int) -> None:
        """Notes that `count` more tokens of the context are stored."""
        sequence.computed += count
        size = self.block_tokens
        full = sequence.computed // size
        if self.keeps_nothing:
            return
        known = len(sequence.digests)
        if known < full:
            root = sequence.digests[-1] if known else sequence.root
            begin, end = (sequence.start + n * size for n in (known, full))
            sequence.digests += digests(sequence.ids[begin:end], size, root)
        for n in range((sequence.computed - count) // size, full):
            if n >= sequence.first:
                self.pool.name(sequence.blocks[n - sequence.first], sequence.digests[n])
            if self._computing.get(sequence.digests[n]) is sequence:
                del self._computing[sequence.digests[n]]
        if self.window is not None:
            self._drop(sequence, max(0, sequence.computed - self.window + 1) // size)

    def _drop(self, sequence: Sequence, first: int) -> None:
        """Gives up blocks that no window reaches any more."""
        count = min(first - sequence.first, len(sequence.blocks))
        if count > 0:
            self._release(sequence.blocks[:count])
            del sequence.blocks[:count]
            sequence.first += count

    def _crop(self, sequence: Sequence) -> None:
        """Leaves the oldest tokens out where the context is full; the rest moves to position 0.

        A quarter more than necessary goes, so that computing the rest anew is rare.
        """
        if self.rolling:
            return
        room = self.context - sequence.length
        del sequence.drafts[max(0, room) :]
        if room >= 0:
            return
        self._give_up(sequence)
        sequence.start = len(sequence.ids) - max(1, self.context - max(1, self.context // 4))

    def _release(self, blocks: list[int], tainted: bool = False) -> None:
        self.cache.zero(self.pool.release(blocks, tainted=tainted))

    def _give_up(self, sequence: Sequence, tainted: bool = False) -> None:
        """Releases all blocks: the context is to be computed from its beginning."""
        self._release(sequence.blocks, tainted)
        self.pool.unclaim(sequence.claim)
        sequence.claim = NO_CLAIM
        for digest in sequence.digests:
            if self._computing.get(digest) is sequence:
                del self._computing[digest]
        sequence.blocks, sequence.digests, sequence.drafts = [], [], []
        sequence.computed = sequence.first = 0

    def _take_blocks(self, sequence: Sequence, count: int, planned: dict[Sequence, int]) -> bool:
        """Blocks for `count` more tokens, from others that came later if need be."""
        if self.keeps_nothing:
            return True
        while True:
            needed = -(-(sequence.computed + count) // self.block_tokens)
            needed -= sequence.first + len(sequence.blocks)
            if needed <= self.pool.available:
                if not sequence.blocks:  # its context was cropped
                    self.pool.unclaim(sequence.claim)
                    sequence.claim = self._claim(sequence, 0, needed)
                sequence.blocks += self.pool.take(max(0, needed), sequence.claim)
                return True
            if sequence.drafts:
                count -= len(sequence.drafts)
                sequence.drafts = []
                continue
            last = max(self.running, key=lambda s: s.arrival)
            self._preempt(last)
            planned.pop(last, None)
            if last is sequence:
                return False

    def _preempt(self, sequence: Sequence) -> None:
        self.preemptions += 1
        self.running.remove(sequence)
        self._give_up(sequence)
        if self.rolling and sequence.length > self.context:
            sequence.start = len(sequence.ids) - self.context
        insort(self.waiting, sequence, key=lambda s: s.arrival)

    def _admit(self, planned: dict[Sequence, int], budget: int) -> None:
        """Starts waiting sequences in the order of arrival, as long as there is room."""
        for sequence in list(self.waiting):
            if budget <= 0 or len(self.running) >= self.max_running:
                return
            if sequence.length > self.context:
                sequence.start = len(sequence.ids) - self.context
            if self.keeps_nothing:
                sequence.computed = sequence.length - 1
            else:
                found = self._find_beginning(sequence)
                if found is None:
                    continue
                total = -(-sequence.length // self.block_tokens)
                # One block to spare: its first new token may need it.
                if total - len(found) + bool(self.running) > self.pool.available:
                    self._release(found)
                    return
                sequence.claim = self._claim(sequence, len(found), total - len(found))
                sequence.blocks = found + self.pool.take(total - len(found), sequence.claim)
                sequence.computed = sequence.cached = len(found) * self.block_tokens
                for digest in sequence.digests[len(found) :]:
                    self._computing.setdefault(digest, sequence)
            self.waiting.remove(sequence)
            self.running.append(sequence)
            planned[sequence] = min(sequence.pending, budget)
            budget -= planned[sequence]

    def _claim(self, sequence: Sequence, held: int, needed: int) -> range:
        """Room side by side for all blocks of a sequence behind the `held` ones."""
        most = min(max(sequence.most - sequence.start, sequence.length), self.context)
        return self.pool.claim(-(-most // self.block_tokens) - held, max(needed, 1))

    def _find_beginning(self, sequence: Sequence) -> list[int] | None:
        """The blocks that hold the beginning of its context, now also held by it.

        None if another sequence is about to compute the next block: better to wait for that. The
        last token is computed in any case, for its logits.
        """
        if not sequence.digests:
            ids = sequence.ids[sequence.start :]
            sequence.digests = digests(ids, self.block_tokens, sequence.root)
        found: list[int] = []
        for digest in sequence.digests[: (sequence.length - 1) // self.block_tokens]:
            block = self.pool.find(digest)
            if block is None:
                if digest in self._computing:
                    self._release(found)
                    return None
                break
            self.pool.share(block)
            found.append(block)
        return found


def rolls_exactly(c: GPTConfig) -> bool:
    """Whether a text of any length goes on as its last `block_size` tokens would.

    So it is where positions are relative and windows reach, through all layers together, no further
    back than that.
    """
    if c.window is None or c.full_attention_every or c.architecture != "decoder":
        return False
    reach = c.n_layer * (c.window - 1) + 1
    return c.position in ("rope", "alibi", "none") and reach <= c.block_size
