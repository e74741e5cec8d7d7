"""The server under OpenAI's own client, under schemathesis, and under load."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gptpy.inference.request import Handle
from gptpy.inference.server.stream import Stream
from gptpy.runs.opening import load

from ..inference.server.conftest import Running, make_run, serving

pytestmark = [pytest.mark.clients, pytest.mark.slow]

HELLO: Any = [{"role": "user", "content": "The fox?"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_run(tmp_path_factory.mktemp("runs") / "chat", "chat", block_size=128)
    loaded = load(folder, device="cpu", dtype="float32")
    with serving(loaded, api_key="k", engine={"max_running": 24}) as running:
        running.client.headers["Authorization"] = "Bearer k"
        yield running


@pytest.fixture
def client(server: Running) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)


# ---- OpenAI's client


def test_models(client: Any) -> None:
    [model] = client.models.list().data
    assert model.id == "tiny" and client.models.retrieve("tiny").id == "tiny"


def test_answers_whole_and_streamed_are_the_same(client: Any) -> None:
    settings = {"model": "tiny", "messages": HELLO, "seed": 5, "max_completion_tokens": 12}
    whole = client.chat.completions.create(**settings, n=2, logprobs=True, top_logprobs=3)
    stream = client.chat.completions.create(
        **settings, n=2, logprobs=True, top_logprobs=3, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    texts, tokens, reasons, usage = ["", ""], [[], []], ["", ""], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert tokens == [choice.logprobs.content for choice in whole.choices]
    assert usage is not None and usage.total_tokens == whole.usage.total_tokens
    assert whole.choices[0].message.role == "assistant"


def test_completions(client: Any) -> None:
    settings = {"model": "tiny", "prompt": ["The", "A fox"], "seed": 1, "max_tokens": 9}
    whole = client.completions.create(**settings, logprobs=2, extra_body={"top_k": 40})
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert len(whole.choices[0].logprobs.tokens) == len(whole.choices[0].logprobs.top_logprobs)
    texts = ["", ""]
    for chunk in client.completions.create(**settings, extra_body={"top_k": 40}, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_structured_answers(client: Any) -> None:
    pytest.importorskip("llguidance")
    pydantic = pytest.importorskip("pydantic")

    class Fox(pydantic.BaseModel):
        quick: bool
        legs: int

    schema = {"name": "Fox", "strict": True, "schema": Fox.model_json_schema()}
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, seed=1, max_tokens=120, temperature=0,
        response_format={"type": "json_schema", "json_schema": schema},
    )  # fmt: skip
    if answer.choices[0].finish_reason == "stop":
        Fox.model_validate_json(answer.choices[0].message.content)
    assert answer.choices[0].message.content.lstrip().startswith("{")


def test_errors_are_the_clients_own(client: Any, server: Running) -> None:
    openai = pytest.importorskip("openai")
    settings = {"model": "tiny", "messages": HELLO, "max_tokens": 1}
    for error, changed in (
        (openai.NotFoundError, {"model": "gpt-5"}),
        (openai.UnprocessableEntityError, {"temperature": -1}),
        (openai.UnprocessableEntityError, {"extra_body": {"top_q": 1}}),
        (openai.BadRequestError, {"max_tokens": 10**6}),
    ):
        with pytest.raises(error) as caught:
            client.chat.completions.create(**{**settings, **changed})
        assert caught.value.body["message"] and caught.value.type
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_a_client_that_closes_its_stream(client: Any, server: Running) -> None:
    stream = client.completions.create(model="tiny", prompt="a", max_tokens=4000, stream=True)
    next(iter(stream))
    stream.close()
    drained(server)


# ---- Schemathesis


def test_the_openapi_page_holds(server: Running, tmp_path: Path) -> None:
    """Requests made from the schema, right and wrong ones, for twenty seconds."""
    pytest.importorskip("schemathesis")
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json",
        "--header", "Authorization: Bearer k", "--max-time", "20", "--max-examples", "40",
        "--seed", "1", "--phases", "coverage,fuzzing", "--max-failures", "5",
        "--exclude-checks", "positive_data_acceptance,unsupported_method,ignored_auth",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    drained(server)


# ---- Load


def drained(server: Running) -> None:
    """Nothing of any request is left."""
    for _ in range(1000):
        if not server.service._owners and not server.service.engine.busy:
            break
        server.thread.join(0.02)
    assert not server.service._owners and server.service._texts == 0
    pool = server.service.engine.runner.pool
    assert pool.held == 0 and pool.available == pool.capacity


def run(work: Coroutine[Any, Any, None]) -> None:
    """`work` in a thread of its own: in this one a browser of other tests may have a loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def bodies(count: int) -> list[dict[str, Any]]:
    """Requests of mixed lengths and settings, each with its seed."""
    draw = random.Random(7)
    return [
        {
            "prompt": [draw.randrange(256) for _ in range(draw.choice([1, 5, 40, 100]))],
            "max_tokens": draw.choice([1, 8, 30, 60]),
            "seed": k,
            "temperature": draw.choice([0, 0.7, 1.2]),
            "n": draw.choice([1, 1, 2]),
            "logprobs": draw.choice([None, 2]),
            "return_token_ids": True,
        }
        for k in range(count)
    ]


async def send(server: Running, body: bytes) -> tuple[Any, Any]:
    """A connection of its own that has sent a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**16)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await writer.drain()
    return reader, writer


async def leave(server: Running, number: int) -> None:
    """Goes away, at once or in the middle of a text."""
    body = {"prompt": [1, 2], "max_tokens": 500, "min_tokens": 500, "stream": number % 2 == 0}
    reader, writer = await send(server, json.dumps(body).encode())
    if number % 4 == 0:
        await reader.readline()
    await asyncio.sleep(0.01 * (number % 5))
    writer.transport.abort() if number % 3 == 0 else writer.close()


async def read_slowly(server: Running, body: dict[str, Any]) -> list[Any]:
    """The ids of a stream that is read in small pieces."""
    reader, writer = await send(server, json.dumps({**body, "stream": True}).encode())
    text = b""
    while b"[DONE]" not in text:
        text += await reader.read(700)
        await asyncio.sleep(0.002)
    writer.close()
    found: dict[int, list[int]] = {}
    for line in text.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                found.setdefault(choice["index"], []).extend(choice["token_ids"])
    return [found[index] for index in sorted(found)]


async def malformed(server: Running, number: int) -> bytes:
    """The status line of the answer to nonsense."""
    body = [b"{", b'{"prompt": NaN}', b"\xff\xfe", b'{"prompt": "a", "n": 1, "n": 2}'][number % 4]
    reader, writer = await send(server, body)
    line = await reader.readline()
    writer.close()
    return line


def test_load(server: Running) -> None:
    """64 clients at once, and others that misbehave: every answer as if it had been asked alone."""
    import httpx

    asked = bodies(64)
    alone = [server.post("/v1/completions", body).json()["choices"] for body in asked]

    async def all_at_once() -> None:
        headers = {"Authorization": "Bearer k"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=300) as web:

            async def ask(body: dict[str, Any]) -> Any:
                while True:  # kept connections; whoever is sent away comes back
                    answer = await web.post("/v1/completions", json=body)
                    if answer.status_code != 429:
                        assert answer.status_code == 200, answer.text
                        return answer.json()["choices"]
                    assert int(answer.headers["retry-after"]) >= 1
                    await asyncio.sleep(0.2)

            others = [
                *(leave(server, k) for k in range(24)),
                *(malformed(server, k) for k in range(16)),
            ]
            slow = asyncio.gather(*(read_slowly(server, asked[k]) for k in range(4)))
            rest = asyncio.gather(*others)
            assert await asyncio.gather(*map(ask, asked)) == alone
            lines = [line for line in await rest if line is not None]
            assert len(lines) == 16 and all(b" 400 " in line for line in lines)
            expected = [[c["token_ids"] for c in alone[k]] for k in range(4)]
            assert await slow == expected

    run(all_at_once())
    drained(server)


def test_nothing_is_kept(server: Running) -> None:
    """After hundreds of requests no object of any is left (benches/serve_load.py: 10,000)."""
    before = resident_bytes()

    async def many(count: int) -> None:
        import httpx

        headers = {"Authorization": "Bearer k"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=300) as web:

            async def some(first: int) -> None:
                for k in range(first, first + count // 8):
                    body = {"prompt": [k % 256], "max_tokens": 2, "stream": k % 2 == 0}
                    answer = await web.post("/v1/completions", json=body)
                    assert answer.status_code == 200

            await asyncio.gather(*(some(n * 1000) for n in range(8)))

    run(many(240))
    drained(server)
    gc.collect()
    left = [one for one in gc.get_objects() if type(one) in (Handle, Stream)]
    assert len(left) <= 2, "what the engine's loop saw last may still be named there"
    assert resident_bytes() - before < 64 << 20


def resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        pytest.skip("the system does not say how much memory a process has")
    return pages * 4096
