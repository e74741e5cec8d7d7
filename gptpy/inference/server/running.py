"""uvicorn around the application: one process, graceful ends, no connection that hangs for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from gptpy.config.errors import GptpyError

HEADER_SECONDS = 30.0
"""How long a new connection may take to send its first request's headers."""
STALLED_SECONDS = 60
"""How long a client may take nothing of what was sent to it."""
MOST_CONNECTIONS = 1000


class ServeError(GptpyError, RuntimeError):
    """The server cannot listen where it should."""

    exit_code = 1


class Connection(H11Protocol):
    """A connection that is closed where the client neither asks nor reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEADER_SECONDS, self._check_asked)
        plain = transport.get_extra_info("socket")
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None and plain is not None and plain.family != socket.AF_UNIX:
            # Linux ends the connection itself; elsewhere its keep-alive does, later.
            plain.setsockopt(socket.IPPROTO_TCP, option, STALLED_SECONDS * 1000)

    def _check_asked(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Ends gracefully at the first signal, at once at the second."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        await app.state.service.drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        # uvicorn's own raises the signal again at the end; here a graceful end is a success.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # nothing is on its way to a disk
        self.should_exit = True


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; `ServeError` with what the system says."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, number)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(address)
            found.listen(128)
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServeError(f"cannot listen on {host}, port {port}: {reason}") from None
    return found


def configuration(app: FastAPI) -> uvicorn.Config:
    """uvicorn's settings for an application of `create_app`."""
    grace: float = app.state.settings.grace_seconds
    return uvicorn.Config(
        app,
        http=Connection,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        # What is still open then belongs to clients that do not read.
        timeout_graceful_shutdown=int(grace) + 5,
    )


def serve(app: FastAPI, where: socket.socket, listening: Callable[[], None]) -> None:
    """Answers on a socket until a signal comes; `listening` is called when it has begun."""
    asyncio.run(Server(configuration(app), listening).serve(sockets=[where]))
