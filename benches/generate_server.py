"""`gptpy serve` under sixteen clients against the engine called directly, the same requests."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
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
            pieces, _ = _ask_all(port, prompts, stream=True)
            expected = [ids for one in found for ids in one["ids"]]
            if not at:  # warms up
                if ids != expected:
                    a, b = next(
                        both for both in zip(ids, expected, strict=True) if both[0] != both[1]
                    )
                    raise SystemExit(f"error: the server's ids {a} are not the engine's {b}")
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
    """Seconds for all prompts, shared out to the clients, and the new ids (not of streams)."""

    def client(number: int) -> list[list[int]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        found = []
        for prompt in prompts[number::CLIENTS]:
            body = {
                "prompt": prompt,
                "max_tokens": NEW,
                "temperature": 0,
                "stream": stream,
                "return_token_ids": True,
            }
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise SystemExit(f"error: the server answers {answer.status}: {data[:300]!r}")
            found.append([] if stream else json.loads(data)["choices"][0]["token_ids"])
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        start = time.perf_counter()
        by_client = list(pool.map(client, range(CLIENTS)))
        seconds = time.perf_counter() - start
    return seconds, [by_client[i % CLIENTS][i // CLIENTS] for i in range(len(prompts))]
