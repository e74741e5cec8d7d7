"""What one client waits for: pieces of its texts, until all have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gptpy.inference.request import Handle, Piece
from gptpy.inference.server.errors import ApiError


class Stream:
    """The texts of one client's request; used on the event loop.

    `live`: whether pieces are wanted as they come. `wake`: called when the engine has something
    to look at.
    """

    def __init__(self, texts: int, live: bool, wake: Callable[[], None]) -> None:
        self.handles: list[Handle] = []
        self.live = live
        self.problem: ApiError | None = None
        """Why it ended early."""
        self._wake = wake
        self._running = texts
        self._ends: dict[Handle, int] = {}
        self._pieces: list[tuple[int, Piece]] = []
        self._news = asyncio.Event()
        self.begun = False
        """Whether a piece has come: the first one is not kept waiting."""

    @property
    def untouched(self) -> bool:
        """Whether none of its texts has begun."""
        return all(handle.first_token_at is None for handle in self.handles)

    @property
    def ended(self) -> bool:
        """Whether all texts have ended and all pieces have been given out."""
        return self._running <= 0 and not self._pieces

    async def pieces(self) -> list[tuple[int, Piece]]:
        """What has come since the last call, with the number of the prompt; empty at the end.

        The first piece and the ends of texts are given out at once, others at a `flush`. A reader
        that is slow gets more at a time: the engine does not wait for it.
        """
        if not self.ended:
            await self._news.wait()
        self._news.clear()
        found, self._pieces = self._pieces, []
        return found

    def flush(self) -> None:
        """Gives out what has come."""
        if self._pieces:
            self._news.set()

    async def wait(self) -> None:
        """Returns when all texts have ended. `ApiError` if they ended early or failed."""
        while await self.pieces():
            pass
        self.check()

    def check(self) -> None:
        """`ApiError` if the texts ended early, or the engine could not go on with one."""
        if self.problem is not None:
            raise self.problem
        for handle in self.handles:
            for output in handle.outputs:
                if output.finish_reason == "error":
                    raise ApiError(500, f"the text could not go on: {output.error}")

    def add(self, place: int, piece: Piece) -> bool:
        """Takes a piece; whether it was the last of its handle."""
        self._pieces.append((place, piece))
        if piece.finish_reason is None:
            if not self.begun:
                self.begun = True
                self._news.set()
            return False
        self._news.set()
        self._running -= 1
        ended = self._ends[piece.handle] = self._ends.get(piece.handle, 0) + 1
        return ended == piece.handle.request.n

    def end(self, problem: ApiError | None = None) -> None:
        """Ends all its texts within a step; `problem`: what the client is told."""
        if self._running > 0:
            self.problem = self.problem or problem
            for handle in self.handles:
                handle.cancel()
            self._wake()

    def fail(self, problem: ApiError) -> int:
        """Ends at once, because no piece will come any more; how many texts were running."""
        self.problem = self.problem or problem
        lost, self._running = self._running, 0
        self._news.set()
        return lost
