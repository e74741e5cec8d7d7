"""The engine in a thread of its own, and the requests of clients on the event loop.

The loop hands requests over and never waits for a step; the thread steps while there is work and
leaves what is new in `_outbox`. It wakes the loop for first tokens and ends alone: the loop looks
by itself every `PACE` seconds. Only the thread touches the engine, but for `submit` and `cancel`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from gptpy.config.errors import ConfigError
from gptpy.inference.conversation import Prompts
from gptpy.inference.engine import Engine
from gptpy.inference.request import Handle, Piece, Request
from gptpy.inference.server.errors import ApiError
from gptpy.inference.server.metrics import Metrics
from gptpy.inference.server.settings import ServerSettings
from gptpy.inference.server.stream import Stream
from gptpy.runs.opening import Loaded

logger = logging.getLogger("gptpy.server")

T = TypeVar("T")
PACE = 0.05
"""Seconds between what is sent to a client. Sending costs about as much as a token of a small
model, and waking the loop a part of that, so tokens that come faster than eyes can follow are
handed over and sent together."""
LONGEST_RETRY = 60
"""Seconds after which a refused client should have come back at the latest."""


class Service:
    """One model behind the server: `start`, then `submit`, at last `drain` and `stop`.

    `make_engine` is called again, in the thread, after a defect has ended an engine.
    """

    def __init__(
        self, loaded: Loaded, make_engine: Callable[[], Engine], settings: ServerSettings
    ) -> None:
        self.loaded, self.settings = loaded, settings
        self.prompts = Prompts(loaded)
        self.engine = make_engine()
        self.metrics = Metrics(lambda: self.engine.statistics, lambda: len(self._owners))
        self.draining = False
        self._make_engine = make_engine
        self._lock = threading.Lock()
        """Held where a request is handed over, so that no piece comes before its owner is known."""
        self._owners: dict[Handle, tuple[Stream, int]] = {}
        """Whose a handle is, and which of the stream's prompts it continues."""
        self._texts = 0
        """Texts that are waiting or running."""
        self._seconds = 1.0
        """How long texts waited and ran of late, a moving average."""
        self._outbox: deque[Piece] = deque()
        """What the thread has made and the loop has not seen."""
        self._ticking = False
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._wake = threading.Event()
        self._broken = self._ending = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # ---- On the event loop

    def start(self) -> None:
        """Starts the thread; called on the event loop that the answers go to."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether requests would be taken and worked on."""
        alive = self._thread is not None and self._thread.is_alive()
        return alive and not self.draining and not self._broken

    @property
    def most_texts(self) -> int:
        """Texts that may wait and run together."""
        return self.engine.scheduler.max_running + self.settings.max_waiting

    def submit(self, requests: Sequence[Request], *, live: bool) -> Stream:
        """Takes the requests of one client; all or none.

        `live`: pieces are wanted as they come, else only the ends. `ApiError` 429 where too many
        texts wait, 503 where the server stops, 400 for more than could ever be taken;
        `ConfigError` for what the engine refuses.
        """
        texts = sum(request.n for request in requests)
        if texts > self.most_texts:
            raise ApiError(400, f"n: at most {self.most_texts} texts are made at once, got {texts}")
        if self._texts + texts > self.most_texts:
            after = max(1, min(LONGEST_RETRY, math.ceil(self._seconds)))
            self.metrics.refused()
            raise ApiError(
                429,
                f"too many requests are waiting; try again in {after} seconds",
                code="queue_full",
                headers={"Retry-After": str(after)},
            )
        stream = Stream(texts, live, self._wake.set)
        with self._lock:
            if not self.healthy:
                raise self._refusal()
            try:
                for request in requests:
                    stream.handles.append(self.engine.submit(request))
            except ConfigError:
                for handle in stream.handles:
                    handle.cancel()
                raise
            self._owners.update({h: (stream, place) for place, h in enumerate(stream.handles)})
        self._texts += texts
        self._wake.set()
        if live and not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(PACE, self._tick)
        return stream

    async def compute(self, function: Callable[[], T]) -> T:
        """The result of `function()`, which runs in the engine's thread between two steps."""
        if not self.healthy:
            raise self._refusal()
        return await self._between_steps(function)

    def _refusal(self) -> ApiError:
        return (
            stopping() if self.draining else ApiError(503, "the engine has failed", code="failed")
        )

    async def _between_steps(self, function: Callable[[], T]) -> T:
        future: Future[T] = Future()
        self._jobs.append((function, future))
        self._wake.set()
        return await asyncio.wrap_future(future)

    async def drain(self) -> None:
        """Takes no more requests and refuses those that have not begun; the others go on.

        After `grace_seconds` these end, too.
        """
        if self.draining:
            return
        self.draining = True
        grace = self.settings.grace_seconds
        asyncio.get_running_loop().call_later(grace, self._end_all)
        # An engine that is stuck or gone does not hold up the end.
        with contextlib.suppress(asyncio.TimeoutError):
            for stream in await asyncio.wait_for(self._between_steps(self._not_begun), grace):
                stream.end(stopping())

    def stop(self) -> None:
        """Ends the thread, and all requests with it."""
        self.draining = self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        self._fail(list(self._owners), stopping())

    def _end_all(self) -> None:
        for stream, _ in list(self._owners.values()):
            stream.end(stopping())

    def _deliver(self) -> None:
        """Gives the pieces in the outbox to the streams that they belong to."""
        while self._outbox:
            piece = self._outbox.popleft()
            owner = self._owners.get(piece.handle)
            if owner is None:
                continue
            stream, place = owner
            if piece.finish_reason is not None:
                self._texts -= 1
                now = time.monotonic()
                self.metrics.finished(piece.handle, piece.handle.outputs[piece.index], now)
                self._seconds += 0.1 * (now - piece.handle.submitted_at - self._seconds)
            if stream.add(place, piece):
                del self._owners[piece.handle]

    def _tick(self) -> None:
        """Lets streams give out what they have, as long as there is one that is live."""
        self._deliver()
        live = {id(stream): stream for stream, _ in self._owners.values() if stream.live}
        for stream in live.values():
            stream.flush()
        self._ticking = bool(live)
        if live:
            asyncio.get_running_loop().call_later(PACE, self._tick)

    def _fail(self, handles: list[Handle], problem: ApiError) -> None:
        """Ends these at once: no engine works on them any more."""
        self._deliver()
        for handle in handles:
            owner = self._owners.pop(handle, None)
            if owner is not None:
                self._texts -= owner[0].fail(problem)

    # ---- In the engine's thread

    def _run(self) -> None:
        while not self._ending:
            try:
                self._turn()
            except Exception:
                logger.exception("the engine failed; another one takes its place")
                with self._lock:
                    self._broken = True
                    lost = list(self._owners)
                problem = ApiError(500, "the engine failed; the server's log has the reason")
                self._call(self._fail, lost, problem)
                try:
                    self.engine = self._make_engine()
                except Exception:
                    logger.exception("no other engine can be made")
                    break
                self._broken = False
        for _, future in self._jobs:
            future.cancel()

    def _turn(self) -> None:
        self._wake.clear()  # before looking for work: whoever comes later sets it again
        while self._jobs:
            function, future = self._jobs.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)
        if not self.engine.busy:
            self._wake.wait()
            return
        pieces = self.engine.step()
        urgent = False
        with self._lock:
            for piece in pieces:
                owner = self._owners.get(piece.handle)
                ends = piece.finish_reason is not None
                if owner is not None and (owner[0].live or ends):
                    self._outbox.append(piece)
                    urgent |= ends or not owner[0].begun
        if urgent:
            self._call(self._deliver)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._ending = True

    def _not_begun(self) -> list[Stream]:
        """The streams of which nothing is being computed."""
        begun = {sequence.state.handle for sequence in self.engine.scheduler.running}
        streams = {id(stream): stream for stream, _ in list(self._owners.values())}
        return [s for s in streams.values() if s.untouched and begun.isdisjoint(s.handles)]


def stopping() -> ApiError:
    """What clients are told while the server stops."""
    return ApiError(503, "the server is stopping", code="stopping")
