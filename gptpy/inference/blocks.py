"""Who holds which block of the key and value cache, and which blocks hold a known beginning.

A full block is known by a digest of all tokens up to its end, so that a request whose prompt begins
alike takes the block instead of computing it. Blocks that nobody holds keep their contents until
they are needed, the least recently used first.

Blocks of one text lie side by side where there is room: attention then reads them where they are
instead of collecting them first. To that end a text claims the free blocks that it will fill; a
claim is a wish, and whoever finds nothing else takes claimed blocks.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

FREE, CLAIMED, TAKEN = 0, 1, 2
NO_CLAIM = range(0)


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
        # Searched from the beginning: memory is taken when a block is first used
        self._map = bytearray([TAKEN]) + bytearray([FREE]) * self.capacity
        self._free = self.capacity
        """Blocks that are free or claimed."""
        self._holders: dict[int, int] = {}
        self._digest_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Blocks with known contents that nobody holds, the least recently used first."""
        self._tainted: set[int] = set()

    @property
    def available(self) -> int:
        """Blocks that `take` can give."""
        return self._free + len(self._idle)

    @property
    def held(self) -> int:
        """Blocks that some sequence holds."""
        return len(self._holders)

    def claim(self, count: int, least: int = 1) -> range:
        """Free blocks side by side for a text that will need `count`, fewer if there are not so
        many, but at least `least`; `NO_CLAIM` if there are not even those."""
        while count >= least > 0:
            first = self._map.find(bytes([FREE]) * count)
            if first >= 0:
                self._map[first : first + count] = bytes([CLAIMED]) * count
                return range(first, first + count)
            count = count // 2 if count // 2 > least or count == least else least
        return NO_CLAIM

    def unclaim(self, claim: range) -> None:
        """Others may have what the text has not taken."""
        for block in claim:
            if self._map[block] == CLAIMED:
                self._map[block] = FREE

    def take(self, count: int, claim: range = NO_CLAIM) -> list[int]:
        """`count` blocks with one holder each, of the `claim` first, in order.

        The caller has checked `available`.
        """
        taken = [block for block in claim if self._map[block] == CLAIMED][:count]
        self._hold(taken)
        while len(taken) < count:
            block = self._map.find(FREE)
            if block < 0:
                block = self._map.find(CLAIMED)
            if block < 0:
                break
            self._hold([block])
            taken.append(block)
        forgotten = [self._idle.popitem(last=False)[0] for _ in range(count - len(taken))]
        for block in forgotten:
            self._forget(block)
            self._holders[block] = 1
        # Those of an earlier text lie side by side, its end was given away first.
        return taken + sorted(forgotten)

    def _hold(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            self._map[block] = TAKEN
            self._holders[block] = 1
        self._free -= len(blocks)

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
                self._free_again(block)
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
            self._free_again(block)
        self._idle.clear()

    def _free_again(self, block: int) -> None:
        self._map[block] = FREE
        self._free += 1

    def _forget(self, block: int) -> None:
        digest = self._digest_of.pop(block, None)
        if digest is not None:
            del self._block_of[digest]
