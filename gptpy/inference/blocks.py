"""Who holds which block of the key and value cache, and which blocks hold a known beginning.

A full block is known by a digest of all tokens up to its end, so that a request whose prompt begins
alike takes the block instead of computing it. Blocks that nobody holds keep their contents until
they are needed, the least recently used first.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from heapq import heapify, heappop, heappush


def digests(ids: Sequence[int], block_tokens: int, root: bytes = b"") -> list[bytes]:
    """One digest for each full block of `ids`; `root` stands for what else keys depend on."""
    found = []
    for start in range(0, len(ids) - block_tokens + 1, block_tokens):
        block = array("q", ids[start : start + block_tokens]).tobytes()
        root = hashlib.blake2b(root + block, digest_size=16).digest()
        found.append(root)
    return found


class BlockPool:
    """Reference counts of blocks `1` to `n_blocks - 1`; block 0 is never given out."""

    def __init__(self, n_blocks: int) -> None:
        self.capacity = n_blocks - 1
        self._free = list(range(1, n_blocks))
        heapify(self._free)  # the lowest first: memory is taken when a block is first used
        self._holders: dict[int, int] = {}
        self._digest_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Blocks with known contents that nobody holds, the least recently used first."""
        self._tainted: set[int] = set()

    @property
    def available(self) -> int:
        """Blocks that `take` can give."""
        return len(self._free) + len(self._idle)

    @property
    def held(self) -> int:
        """Blocks that some sequence holds."""
        return len(self._holders)

    def take(self, count: int) -> list[int]:
        """`count` blocks with one holder each. The caller has checked `available`."""
        taken = []
        for _ in range(count):
            if self._free:
                block = heappop(self._free)
            else:
                block, _ = self._idle.popitem(last=False)
                self._forget(block)
            self._holders[block] = 1
            taken.append(block)
        return taken

    def share(self, block: int) -> None:
        """Adds a holder."""
        self._idle.pop(block, None)
        self._holders[block] = self._holders.get(block, 0) + 1

    def release(self, blocks: Sequence[int], *, tainted: bool = False) -> list[int]:
        """Removes a holder of each. `tainted`: what they hold must not be used again.

        Returns the tainted blocks that nobody holds now: the caller clears them.
        """
        dirty = []
        for block in reversed(blocks):  # the end of a text is given away before its beginning
            if tainted:
                self._forget(block)
                self._tainted.add(block)
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            del self._holders[block]
            if block in self._tainted:
                self._tainted.remove(block)
                dirty.append(block)
            if block in self._digest_of:
                self._idle[block] = None
            else:
                heappush(self._free, block)
        return dirty

    def find(self, digest: bytes) -> int | None:
        """The block that holds the text of this digest."""
        return self._block_of.get(digest)

    def name(self, block: int, digest: bytes) -> None:
        """Says what a full block holds; of two blocks with the same text the first is found."""
        known = digest in self._block_of or block in self._digest_of
        if not known and block not in self._tainted:
            self._block_of[digest] = block
            self._digest_of[block] = digest

    def clear(self) -> None:
        """Forgets all contents, as when the weights change."""
        for block in list(self._digest_of):
            self._forget(block)
        for block in self._idle:
            heappush(self._free, block)
        self._idle.clear()

    def _forget(self, block: int) -> None:
        digest = self._digest_of.pop(block, None)
        if digest is not None:
            del self._block_of[digest]
