"""Clients that leave, wait too long or do not read; full queues; the end of the server.

The engine of these tests steps only when it is let: what happens within a step is counted.
"""

import asyncio
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from gptpy.inference.engine import Engine
from gptpy.inference.request import Request
from gptpy.inference.server import running
from gptpy.inference.server.answering import merged
from gptpy.inference.server.service import Service
from gptpy.inference.server.settings import ServerSettings

from .conftest import serving


class SteppedEngine(Engine):
    """Waits before each step until a test gives leave."""

    open = False

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.leave = threading.Semaphore(0)
        self.problem = None

    def step(self):
        if not self.open:
            self.leave.acquire()
        if self.problem is not None:
            raise self.problem
        return super().step()

    def run_free(self):
        self.open = True
        self.leave.release()


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def stepped(run, settings=None, **engine):
    def make():
        return SteppedEngine(run.model, run.tokenizer, **engine)

    with serving(run, make, **(settings or {})) as server:
        try:
            yield server
        finally:
            server.service.engine.run_free()


def ask(server, path="/v1/completions", **body):
    """A connection that has sent a request."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    body = {"prompt": [1, 2], "max_tokens": 40, "seed": 1, "min_tokens": 40, **body}
    send(connection, body, path)
    return connection


def send(connection, body, path="/v1/completions"):
    text = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())


def step(server, count=1):
    """Lets the engine make some steps and waits for them."""
    engine = server.service.engine
    target = engine.statistics.steps + count
    for _ in range(count):
        engine.leave.release()
    until(lambda: engine.statistics.steps >= target)


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_is_cancelled_within_a_step(run, stream):
    with stepped(run) as server:
        engine = server.service.engine
        staying, leaving = ask(server, stream=True), ask(server, stream=stream)
        until(lambda: len(server.service._owners) == 2)
        step(server, 3)
        assert len(engine.scheduler.running) == 2
        leaving.close()
        until(lambda: sum(handle.cancelled for handle in server.service._owners) == 1)
        step(server)
        assert len(engine.scheduler.running) == 1
        until(lambda: len(server.service._owners) == 1 and server.service._texts == 1)
        engine.run_free()
        until(lambda: not server.service._owners)
        text = b""
        while b"[DONE]" not in text:
            text += staying.recv(65536)
        assert text.count(b'"finish_reason":"length"') == 1
        staying.close()
        assert engine.runner.pool.held == 0


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_while_waiting_is_never_computed(run, stream):
    with stepped(run, max_running=1) as server:
        engine = server.service.engine
        first = ask(server, stream=True)
        until(lambda: len(server.service._owners) == 1)
        step(server)
        second, third = ask(server, stream=stream), ask(server, stream=True)
        until(lambda: len(server.service._owners) == 3)
        step(server)
        assert [len(engine.scheduler.running), len(engine.scheduler.waiting)] == [1, 2]
        second.close()
        until(lambda: sum(handle.cancelled for handle in server.service._owners) == 1)
        step(server)
        assert [len(engine.scheduler.running), len(engine.scheduler.waiting)] == [1, 1]
        engine.run_free()
        until(lambda: not server.service._owners)
        assert engine.statistics.new_tokens == 80
        for connection in (first, third):
            connection.close()


def test_a_full_queue_sends_clients_away(run):
    with stepped(run, {"max_waiting": 1}, max_running=2) as server:
        waiting = [ask(server, n=2), ask(server)]
        until(lambda: server.service._texts == 3)
        answer = server.post("/v1/completions", {"prompt": "a"})
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "queue_full"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        for body in ({"prompt": "a", "n": 4}, {"prompt": ["a"] * 4}):
            answer = server.post("/v1/completions", body)
            assert answer.status_code == 400, "it could never be taken"
        waiting[1].close()
        until(lambda: any(handle.cancelled for handle in server.service._owners))
        step(server)
        until(lambda: server.service._texts == 2)
        server.service.engine.run_free()
        assert server.complete(max_tokens=1)
        assert b"200 OK" in waiting[0].recv(65536)
        assert "gptpy_requests_refused_total 1.0" in server.client.get("/metrics").text


@pytest.mark.parametrize("stream", [True, False])
def test_requests_that_take_too_long(run, stream):
    with stepped(run, {"timeout_seconds": 0.3}) as server:
        with ThreadPoolExecutor(1) as pool:
            body = {"prompt": "a", "stream": stream}
            answer = pool.submit(server.post, "/v1/completions", body)
            until(lambda: any(handle.cancelled for handle in server.service._owners))
            server.service.engine.leave.release()
            found = answer.result(20)
        if stream:
            assert found.status_code == 200 and '"code":"timeout"' in found.text
            assert "[DONE]" not in found.text
        else:
            assert found.status_code == 504 and found.json()["error"]["code"] == "timeout"
            assert found.headers["x-should-retry"] == "false"
        assert server.service._texts == 0


def test_the_loop_is_woken_for_first_tokens_and_ends_and_finds_the_others_itself(run, monkeypatch):
    """While the engine stands still nobody but the loop can send what has been made."""
    with stepped(run) as server:
        woken = []
        call = server.service._call
        monkeypatch.setattr(server.service, "_call", lambda *a: woken.append(a) or call(*a))
        reader = ask(server, stream=True, return_token_ids=True, max_tokens=9, min_tokens=9)
        reader.settimeout(20)
        text = b""

        def read(count):
            nonlocal text
            while True:
                lists = re.findall(rb'"token_ids":(.*?])', text)
                ids = [i for found in lists for i in json.loads(found)]
                if len(ids) >= count:
                    return ids
                text += reader.recv(65536)

        until(lambda: len(server.service._owners) == 1)
        step(server)
        assert len(read(1)) == 1
        step(server, 5)
        assert len(read(6)) == 6 and len(woken) == 1
        step(server, 3)
        assert len(read(9)) == 9 and len(woken) == 2
        until(lambda: not server.service._ticking)
        reader.close()


def test_a_slow_reader_gets_everything_and_holds_up_nobody(run):
    """It reads nothing until others are served; then its text is whole."""
    with serving(run) as server:
        body = {"max_tokens": 300, "min_tokens": 300, "logprobs": 20, "return_token_ids": True}
        slow = ask(server, stream=True, **body)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        until(lambda: server.service.engine.statistics.new_tokens > 20)
        expected = server.complete(prompt=[1, 2], seed=1, **body)
        assert server.complete(max_tokens=5)["finish_reason"]
        until(lambda: not server.service._owners, 60)
        text = b""
        while b"[DONE]" not in text[-100:]:
            text += slow.recv(1 << 20)
        slow.close()
        lines = [line for line in text.decode().split("\r\n") if line.startswith("data: {")]
        parts = [part[6:] for line in lines for part in line.strip().split("\n\n")]
        found = [json.loads(part) for part in parts if part != "[DONE]"]
        ids = [i for event in found for i in event["choices"][0]["token_ids"]]
        assert ids == expected["token_ids"]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux ends connections")
def test_who_never_reads_is_cut_off(run, monkeypatch):
    """The system ends the connection, and with it the request."""
    monkeypatch.setattr(running, "STALLED_SECONDS", 1)
    with serving(run) as server:
        silent = socket.socket()
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.settimeout(20)
        silent.connect(("127.0.0.1", server.port))
        body = {"prompt": [1], "max_tokens": 2000, "min_tokens": 2000, "logprobs": 20}
        send(silent, {**body, "stream": True})
        until(lambda: server.service._owners)
        until(lambda: not server.server.server_state.connections, 120)
        until(lambda: not server.service._owners)
        silent.close()


def test_who_never_asks_is_cut_off(run, monkeypatch):
    monkeypatch.setattr(running, "HEADER_SECONDS", 0.2)
    with serving(run) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
            silent.sendall(b"POST /v1/comp")
            assert silent.recv(100) == b""
        assert server.complete(max_tokens=1)


def test_what_a_slow_reader_has_missed_comes_as_one(run):
    """The engine goes on, and the stream joins what has gathered for each text."""

    async def use():
        service = Service(run, lambda: Engine(run.model, run.tokenizer), ServerSettings("a"))
        service.start()
        requests = [Request([1], max_tokens=9, n=2, seed=1, logprobs=1) for _ in range(2)]
        stream = service.submit(requests, live=True)
        while service._owners:
            await asyncio.sleep(0.01)
        pieces = merged(stream, await stream.pieces())
        assert await stream.pieces() == []
        service.stop()
        return stream, pieces

    stream, pieces = asyncio.run(use())
    assert sorted(index for index, _ in pieces) == [0, 1, 2, 3]
    for index, piece in pieces:
        output = stream.handles[index // 2].outputs[index % 2]
        assert (piece.text, piece.ids) == (output.text, output.ids)
        assert piece.logprobs == output.logprobs and piece.finish_reason == output.finish_reason


def test_a_defect_of_the_engine_ends_what_it_worked_on(run):
    """Clients are told, and the next ones are served by a new engine."""
    with stepped(run) as server:
        broken = server.service.engine
        with ThreadPoolExecutor(2) as pool:
            body = {"prompt": "a", "max_tokens": 8}
            whole = pool.submit(server.post, "/v1/completions", body)
            stream = pool.submit(server.post, "/v1/completions", {**body, "stream": True})
            until(lambda: len(server.service._owners) == 2)
            broken.problem = RuntimeError("secret detail")
            broken.leave.release()
            assert whole.result(20).status_code == 500
            assert "the engine failed" in stream.result(20).text
            assert "secret" not in whole.result().text + stream.result().text
        until(lambda: server.service.healthy)
        assert server.service.engine is not broken
        server.service.engine.run_free()
        assert server.complete(max_tokens=3)["finish_reason"]
        assert server.service._texts == 0


def test_an_engine_that_cannot_be_replaced(run):
    """The server says so, refuses, and still ends."""
    made = []

    def make():
        assert not made, "there is no memory for another"
        made.append(SteppedEngine(run.model, run.tokenizer))
        return made[0]

    with serving(run, make, grace_seconds=0.2) as server:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, "/v1/completions", {"prompt": "a"})
            until(lambda: server.service._owners)
            made[0].problem = RuntimeError("a defect")
            made[0].leave.release()
            assert answer.result(20).status_code == 500
        until(lambda: not server.service.healthy)
        health = server.client.get("/health")
        assert health.status_code == 503 and health.json()["status"] == "failed"
        assert server.post("/v1/completions", {"prompt": "a"}).status_code == 503


def test_the_end_refuses_what_waits_and_finishes_what_runs(run):
    with stepped(run, max_running=1) as server:
        engine = server.service.engine
        begun = ask(server, stream=True)
        until(lambda: len(server.service._owners) == 1)
        step(server, 2)
        waiting, stream = ask(server), ask(server, stream=True)
        until(lambda: len(server.service._owners) == 3)
        step(server)
        server.server.should_exit = True
        until(lambda: server.service.draining)
        engine.leave.release()
        until(lambda: sum(handle.cancelled for handle in server.service._owners) == 2)
        engine.run_free()
        assert b"503 Service Unavailable" in waiting.recv(65536)
        refused = b""
        while b"stopping" not in refused:
            refused += stream.recv(65536)
        text = b""
        while b"[DONE]" not in text:
            text += begun.recv(65536)
        server.thread.join(20)
        assert not server.thread.is_alive()
        with pytest.raises(OSError):
            ask(server)


def test_the_end_does_not_wait_for_ever(run):
    with stepped(run, {"grace_seconds": 0.2}) as server:
        begun = ask(server, stream=True)
        until(lambda: len(server.service._owners) == 1)
        step(server, 2)
        server.server.should_exit = True
        until(lambda: server.service.draining)
        # The drain is a job between steps, and the end of grace cancels at the next.
        server.service.engine.leave.release()
        until(lambda: all(handle.cancelled for handle in server.service._owners))
        server.service.engine.leave.release()
        text = b""
        while b"stopping" not in text:
            text += begun.recv(65536)
        server.thread.join(20)
        assert not server.thread.is_alive()


def test_the_engine_rests_without_work(run):
    with serving(run) as server:
        server.complete(max_tokens=3)
        steps = server.service.engine.statistics.steps
        time.sleep(0.05)
        assert server.service.engine.statistics.steps == steps


def test_compute_runs_between_steps(run):
    """In the engine's thread; exceptions come back."""

    async def use():
        service = Service(run, lambda: Engine(run.model), ServerSettings("a"))
        service.start()
        name = await service.compute(lambda: threading.current_thread().name)
        with pytest.raises(ZeroDivisionError):
            await service.compute(lambda: 1 // 0)
        service.stop()
        return name

    assert asyncio.run(use()) == "engine"


def test_connections_are_kept(server):
    """Many requests over one connection, also behind errors."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    for body in (b'{"prompt": [1], "max_tokens": 2}', b"{", b'{"prompt": [1], "stream": true}') * 3:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        text = b""
        while not text.endswith((b"}]}}", b"0\r\n\r\n", b'"}}')) and b'"usage"' not in text:
            part = connection.recv(65536)
            assert part, text
            text += part
        assert text.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    connection.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
        b"GET /nothing HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"\r\n" * 50,
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=range(7),
)
def test_bytes_that_are_no_request(server, raw):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        text = b""
        while part := connection.recv(65536):
            text += part
        assert not text or text.startswith((b"HTTP/1.1 4", b"HTTP/1.1 404"))
    assert server.client.get("/health").status_code == 200
