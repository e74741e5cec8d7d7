"""`gptpy serve` under sixteen clients against the engine called directly, the same requests."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CLIENTS, EACH, NEW = 16, 4, 64


def measure(model: Any, engine: Any, rounds: int, threads: int, python_path: str) -> dict[str, Any]:
    """Tokens/s of both in turn; equal ids first. Each client asks `EACH` times, one by one."""
    run = model.run()
    draw = random.Random(0)
    vocabulary = model.network.config.vocab_size
    prompts = [[draw.randrange(vocabulary - 1) for _ in range(16)] for _ in range(CLIENTS * EACH)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gptpy", "serve", str(run), "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": python_path}
    with (model.folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        if not _answers(port, server):
            last = Path(model.folder / "server.log").read_text().strip().splitlines()[-1:]
            return {"missing": f"gptpy serve did not start: {last}"}
        plain: list[float] = []
        streamed: list[float] = []
        direct: list[float] = []
        for at in range(rounds + 1):
            # The engine takes as many at a time as there are clients.
            found = [
                engine.run(prompts[i : i + CLIENTS], [NEW] * CLIENTS)
                for i in range(0, len(prompts), CLIENTS)
            ]
            spent = sum(one["seconds"] for one in found)
            whole, ids = _ask_all(port, prompts, stream=False)
            pieces, streamed_ids = _ask_all(port, prompts, stream=True)
            expected = [ids for one in found for ids in one["ids"]]
            if not at:  # warms up
                for found_ids in (ids, streamed_ids):
                    for a, b in zip(found_ids, expected, strict=True):
                        if a != b:
                            raise SystemExit(
                                f"error: the server's ids {a} are not the engine's {b}"
                            )
                continue
            direct.append(spent)
            plain.append(whole)
            streamed.append(pieces)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    tokens = len(prompts) * NEW
    share = [a / b for a, b in zip(direct, plain, strict=True)]
    share_streamed = [a / b for a, b in zip(direct, streamed, strict=True)]
    return {
        "tokens/s": {
            "engine": round(tokens / statistics.median(direct)),
            "server": round(tokens / statistics.median(plain)),
            "server, streamed": round(tokens / statistics.median(streamed)),
        },
        "share": round(statistics.median(share), 3),
        "share, streamed": round(statistics.median(share_streamed), 3),
    }


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    for _ in range(600):
        if server.poll() is not None:
            return False
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(0.1)
    return False


def _ask_all(port: int, prompts: list[list[int]], *, stream: bool) -> tuple[float, list[list[int]]]:
    """Seconds for all prompts, shared out to the clients, and the new ids.

    One thread for all clients, which only looks for the ends of answers: it shares the cores with
    the server. Answers are read when the time has been taken.
    """
    requests = [_request(prompt, stream) for prompt in prompts]
    waiting = selectors.DefaultSelector()
    answers: list[list[bytes]] = [[] for _ in range(CLIENTS)]
    for number in range(CLIENTS):
        connection = socket.create_connection(("127.0.0.1", port), timeout=120)
        waiting.register(connection, selectors.EVENT_READ, number)
    parts = [b""] * CLIENTS
    start = time.perf_counter()
    for key in list(waiting.get_map().values()):
        key.fileobj.sendall(requests[key.data])  # type: ignore[union-attr]
    while waiting.get_map():
        for key, _ in waiting.select():
            connection, number = key.fileobj, key.data
            assert isinstance(connection, socket.socket)
            got = connection.recv(1 << 16)
            parts[number] += got
            if got and not _is_whole(parts[number], stream):
                continue
            answers[number].append(parts[number])
            parts[number] = b""
            following = number + CLIENTS * len(answers[number])
            if got and following < len(requests):
                connection.sendall(requests[following])
            else:
                waiting.unregister(connection)
                connection.close()
    seconds = time.perf_counter() - start
    ids = [_ids(answers[i % CLIENTS][i // CLIENTS :][:1], stream) for i in range(len(prompts))]
    return seconds, ids


def _request(prompt: list[int], stream: bool) -> bytes:
    body = {
        "prompt": prompt,
        "max_tokens": NEW,
        "temperature": 0,
        "stream": stream,
        "return_token_ids": True,
    }
    text = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


def _is_whole(answer: bytes, stream: bool) -> bool:
    if stream and answer.startswith(b"HTTP/1.1 200"):
        return answer.endswith(b"\r\n0\r\n\r\n")
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def _ids(answer: list[bytes], stream: bool) -> list[int]:
    """The new ids of an answer; of a stream those of its events together."""
    if not answer or not answer[0].startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"error: the server answers {answer[0][:300] if answer else b''!r}")
    if not stream:
        return json.loads(answer[0].partition(b"\r\n\r\n")[2])["choices"][0]["token_ids"]
    events = re.findall(rb"data: ({.*})", answer[0])
    return [i for event in events for i in json.loads(event)["choices"][0]["token_ids"]]
