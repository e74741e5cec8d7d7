"""The server under load: speed beside the engine called directly, latencies, errors, memory.

    python benches/serve_load.py                       # everything, some minutes
    python benches/serve_load.py --requests 1000       # shorter
    python benches/serve_load.py --write               # and benches/records/serve-load.md

A model of 1 M parameters with random weights behind `gptpy serve` in a process of its own. First
the ids of the server and of the engine are compared. Clients speak HTTP over kept connections in
this process and do little more than split events, so that they cost the server's core nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

from gptpy.inference.server.service import PACE

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 16
CROWD = 64
VOCAB = 1000
WORDS = "the quick brown fox jumps over a lazy dog while seven wizards make toxic brew "


def make_run(folder: Path) -> Path:
    """A run directory of a random model of 1 M parameters."""
    from gptpy.config import GPTConfig
    from gptpy.config.run import RunConfig
    from gptpy.model import build_model
    from gptpy.runs import checkpoint
    from gptpy.tokenizer import save_tokenizer, train_tokenizer

    draw = random.Random(0)
    text = [" ".join(draw.sample(WORDS.split(), 9)) for _ in range(300)]
    tokenizer = train_tokenizer(text, VOCAB)
    torch.manual_seed(0)
    model = build_model(GPTConfig.preset("modern-1m", vocab_size=VOCAB, block_size=512))
    folder.mkdir()
    (folder / "config.toml").write_text(RunConfig(model=model.config).to_toml())
    save_tokenizer(tokenizer, folder)
    checkpoint.save(folder, 0, tensors={"model": model.state_dict()}, state={})
    return folder


@contextmanager
def server(run: Path, threads: int) -> Iterator[tuple[str, int, int]]:
    """`gptpy serve` in a process of its own: host, port, process id."""
    command = [sys.executable, "-m", "gptpy", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://(.+):(\d+)", process.stdout.readline())
        assert found, "the server did not start"
        yield found[1], int(found[2]), process.pid
    finally:
        process.terminate()
        code = process.wait(60)
        assert code == 0, f"the server ended with {code}"


# ---- The process


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process now, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


# ---- Clients


@dataclass
class Seen:
    """What one client saw of its requests."""

    ids: list[list[int]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    tokens: int = 0
    errors: int = 0


async def ask(
    host: str, port: int, bodies: list[dict[str, Any]], seen: Seen, count_ids: bool
) -> None:
    """Sends requests one after the other over one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    for body in bodies:
        text = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json"
        begun = time.perf_counter()
        writer.write(f"{head}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        status = await reader.readline()
        length = None
        while (line := (await reader.readline()).lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if length is not None:
            answer = await reader.readexactly(length)
            if b" 200 " not in status:
                seen.errors += 1
                continue
            found = json.loads(answer)
            seen.tokens += found["usage"]["completion_tokens"]
            if count_ids:
                seen.ids.append(found["choices"][0]["token_ids"])
            continue
        await _read_events(reader, seen, begun, count_ids)
    writer.close()


async def _read_events(
    reader: asyncio.StreamReader, seen: Seen, begun: float, count_ids: bool
) -> None:
    ids: list[int] = []
    last = None
    ended = False
    while size := int(await reader.readline(), 16):
        chunk = await reader.readexactly(size + 2)
        now = time.perf_counter()
        (seen.first if last is None else seen.between).append(now - (last or begun))
        last = now
        for line in chunk.split(b"\n"):
            if line == b"data: [DONE]":
                ended = True
            elif line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    seen.errors += 1
                else:
                    for choice in event["choices"]:
                        ids += choice["token_ids"]
    await reader.readline()
    seen.errors += not ended
    seen.tokens += len(ids)
    if count_ids:
        seen.ids.append(ids)


def crowd(host: str, port: int, work: list[list[dict[str, Any]]], count_ids: bool) -> list[Seen]:
    """All clients at once; `work`: the bodies of each."""

    async def all_at_once() -> list[Seen]:
        seen = [Seen() for _ in work]
        tasks = (
            ask(host, port, bodies, one, count_ids) for bodies, one in zip(work, seen, strict=True)
        )
        await asyncio.gather(*tasks)
        return seen

    return asyncio.run(all_at_once())


def percentile(values: list[float], part: float) -> float:
    """Milliseconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]


# ---- The parts


def speed(where: tuple[str, int, int], run: Path, rounds: int, new: int) -> list[str]:
    """Tokens/s of sixteen clients, whole and streamed, and of the engine, in turn."""
    from gptpy.inference.engine import Engine
    from gptpy.inference.request import Request
    from gptpy.runs.opening import load

    host, port, pid = where
    loaded = load(run, device="cpu", dtype="float32")
    draw = random.Random(1)
    prompts = [[draw.randrange(256) for _ in range(draw.randint(8, 64))] for _ in range(CLIENTS)]
    bodies = [
        {
            "prompt": prompt, "max_tokens": new, "min_tokens": new, "seed": k,
            "return_token_ids": True,
        }
        for k, prompt in enumerate(prompts)
    ]  # fmt: skip
    found: dict[str, list[tuple[float, float]]] = {"engine": [], "whole": [], "streamed": []}
    engine = Engine(loaded.model, loaded.tokenizer)
    expected: list[list[int]] = []
    for turn in range(rounds + 1):
        # Other seeds each time, and prompts of their own, so that no round finds kept blocks
        for body in bodies:
            body["prompt"] = [(i + turn) % 256 for i in body["prompt"]]
        requests = [
            Request(body["prompt"], new, new, seed=body["seed"], end_ids=frozenset(loaded.ends))
            for body in bodies
        ]
        used, begun = time.process_time(), time.perf_counter()
        handles = engine.generate(requests)
        results = {"engine": (time.perf_counter() - begun, time.process_time() - used)}
        expected = [handle.outputs[0].ids for handle in handles]
        for name, stream in (("whole", False), ("streamed", True)):
            body_seeds = [[{**body, "stream": stream}] for body in bodies]
            used, begun = processor_seconds(pid), time.perf_counter()
            seen = crowd(host, port, body_seeds, True)
            results[name] = (time.perf_counter() - begun, processor_seconds(pid) - used)
            assert [one.ids[0] for one in seen] == expected, f"{name}: other ids than the engine's"
        if turn:  # the first warms up
            for name, times in results.items():
                found[name].append(times)
    tokens = CLIENTS * new
    rate = {name: tokens / median(wall for wall, _ in times) for name, times in found.items()}
    cost = {name: median(cpu for _, cpu in times) / tokens for name, times in found.items()}
    shares = {
        name: median(e[0] / t[0] for e, t in zip(found["engine"], times, strict=True))
        for name, times in found.items()
    }
    lines = [
        f"{CLIENTS} clients, {new} new tokens each, prompts of 8 to 64 tokens; equal ids checked; "
        f"medians of {rounds} rounds in turn:",
        "",
        "| | tokens/s | of the engine's | processor ms a token | of the engine's |",
        "|---|---|---|---|---|",
    ]
    for name, title in (
        ("engine", "engine called directly"),
        ("whole", "server, whole answers"),
        ("streamed", "server, streamed"),
    ):
        lines.append(
            f"| {title} | {rate[name]:,.0f} | {shares[name]:.2f} | {1000 * cost[name]:.3f} | "
            f"{cost['engine'] / cost[name]:.2f} |"
        )
    return lines


def latencies(where: tuple[str, int, int], each: int) -> list[str]:
    """64 clients at once with mixed lengths, streamed."""
    draw = random.Random(2)
    work = [
        [
            {
                "prompt": [draw.randrange(256) for _ in range(draw.choice([4, 30, 120, 400]))],
                "max_tokens": draw.choice([4, 16, 64, 100]), "seed": k, "stream": True,
                "return_token_ids": True,
            }
            for k in range(each)
        ]
        for _ in range(CROWD)
    ]  # fmt: skip
    begun = time.perf_counter()
    seen = crowd(*where[:2], work, False)
    seconds = time.perf_counter() - begun
    first = [t for one in seen for t in one.first]
    between = [t for one in seen for t in one.between]
    tokens = sum(one.tokens for one in seen)
    return [
        f"{CROWD} clients at once, {each} streamed requests each, prompts of 4 to 400 tokens, 4 to "
        f"100 new ones: {CROWD * each} requests, {sum(one.errors for one in seen)} errors, "
        f"{tokens / seconds:,.0f} tokens/s.",
        "",
        "| ms | p50 | p99 |",
        "|---|---|---|",
        f"| first token | {percentile(first, 0.5):.0f} | {percentile(first, 0.99):.0f} |",
        f"| between events, one in {1e3 * PACE:.0f} ms at most | {percentile(between, 0.5):.1f} | "
        f"{percentile(between, 0.99):.1f} |",
    ]


def memory(where: tuple[str, int, int], requests: int) -> list[str]:
    """Small requests, half of them streamed; resident memory on the way."""
    host, port, pid = where
    tenth = max(CLIENTS, requests // 10)
    samples = []
    errors = 0
    begun = time.perf_counter()
    for part in range(10):
        work = [
            [
                {
                    "prompt": [part, client, k % 256], "max_tokens": 2, "seed": k,
                    "stream": k % 2 == 0, "return_token_ids": True,
                }
                for k in range(tenth // CLIENTS)
            ]
            for client in range(CLIENTS)
        ]  # fmt: skip
        errors += sum(one.errors for one in crowd(host, port, work, False))
        samples.append(resident_mb(pid))
    seconds = time.perf_counter() - begun
    done = 10 * (tenth // CLIENTS) * CLIENTS
    return [
        f"{done:,} small requests of {CLIENTS} clients, every second streamed: {errors} errors, "
        f"{done / seconds:,.0f} requests/s. Resident MB after each tenth: "
        f"{', '.join(f'{mb:.0f}' for mb in samples)}; growth behind the first tenth "
        f"{samples[-1] - samples[0]:+.1f} MB.",
    ]


def main() -> None:
    """Measures, prints, and writes the record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--requests", type=int, default=10_000, help="small ones, for memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=4, help="requests of each of the 64 clients")
    parser.add_argument("--new", type=int, default=128, help="new tokens of a request")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in both processes")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "one-million")
        with server(run, arguments.threads) as where:
            parts = []
            for part in (
                lambda: speed(where, run, arguments.rounds, arguments.new),
                lambda: latencies(where, arguments.each),
                lambda: memory(where, arguments.requests),
            ):
                parts.append(part())
                print("\n".join(parts[-1]), "\n", flush=True)
    about = (
        f"`modern-1m` with {VOCAB} tokens in fp32, {arguments.threads} torch thread in each process"
    )
    load = f"{before[0]:.1f} before, {os.getloadavg()[0]:.1f} after"
    lines = [
        "# The server under load",
        "",
        f"Written by `python benches/serve_load.py --write`, {date.today()}, "
        f"{os.cpu_count()} cores of a shared {platform.machine()} server, load {load}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{about}.",
    ]
    for part in parts:
        lines += ["", *part]
    text = "\n".join(lines) + "\n"
    if arguments.write:
        (ROOT / "benches" / "records" / "serve-load.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
