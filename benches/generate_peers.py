"""The generators that `generate.py` measures, each in a process of its own.

    python benches/generate_peers.py NAME FOLDER THREADS

Reads lines of JSON, `{"prompts": [[id, ...], ...], "new": [n, ...]}`, and answers each with
seconds, seconds of the processor and the new ids. One process each, because every library has its
own threads, which wait for work in its own way. All run greedily, from the weights in `FOLDER`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[list[list[int]], list[int]], list[list[int]]]


def ours(folder: Path, threads: int, number_type: str, *, exact: bool = False) -> Run:
    """The engine; every run begins with an empty cache."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does
    import torch

    from gptpy.inference.engine import Engine
    from gptpy.inference.precision import limit_threads
    from gptpy.inference.request import Request
    from gptpy.inference.sampling import Sampling
    from gptpy.runs.opening import load

    torch.set_num_threads(threads)
    model = load(folder / "run", device="cpu", dtype="float32").model
    limit_threads(model)
    engine = Engine(model, number_type=number_type, exact=exact)

    def run(prompts: list[list[int]], new: list[int]) -> list[list[int]]:
        engine.runner.pool.clear()
        requests = [
            Request(prompt, count, sampling=Sampling(0.0))
            for prompt, count in zip(prompts, new, strict=True)
        ]
        return [handle.outputs[0].ids for handle in engine.generate(requests)]

    return run


def uncached(folder: Path, threads: int) -> Run:
    """`model.generate` without a cache."""
    import torch

    from gptpy.runs.opening import load

    torch.set_num_threads(threads)
    model = load(folder / "run", device="cpu", dtype="float32").model

    def run(prompts: list[list[int]], new: list[int]) -> list[list[int]]:
        found = []
        for prompt, count in zip(prompts, new, strict=True):
            ids = torch.tensor([prompt])
            text = model.generate(ids, count, temperature=0.0, use_cache=False)
            found.append(text[0, len(prompt) :].tolist())
        return found

    return run


def hugging_face(folder: Path, threads: int, dtype: str) -> Run:
    """`generate` of transformers, one batch, padded on the left."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "hf", dtype=getattr(torch, dtype)
    ).eval()
    model.generation_config.eos_token_id = None

    def run(prompts: list[list[int]], new: list[int]) -> list[list[int]]:
        length = max(map(len, prompts))
        ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor(
            [[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        )
        with torch.inference_mode():
            text = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max(new),
                pad_token_id=0,
            )
        rows = text[:, length:].tolist()
        return [row[:count] for row, count in zip(rows, new, strict=True)]

    return run


def llama_cpp(folder: Path, threads: int, dtype: str, slots: int = 1) -> Run:
    """llama.cpp's own server from a wheel, asked over its socket with ids."""
    import socket
    import urllib.request
    from concurrent.futures import ThreadPoolExecutor

    import xllamacpp  # pyright: ignore[reportMissingImports]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.port = str(folder / f"{dtype}.gguf"), port
    settings.n_parallel, settings.n_ctx = slots, slots * 1024
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(settings)
    address = f"{server.listening_address}/completion"
    pool = ThreadPoolExecutor(slots)

    def one(prompt: list[int], count: int) -> list[int]:
        body = {
            "prompt": prompt,
            "n_predict": count,
            "temperature": 0,
            "samplers": ["temperature"],
            "return_tokens": True,
            "cache_prompt": False,
            "ignore_eos": True,
        }
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)["tokens"]

    def run(prompts: list[list[int]], new: list[int]) -> list[list[int]]:
        assert server is not None  # it ends with the last reference to it
        return list(pool.map(one, prompts, new))

    return run


def ctranslate2(folder: Path, threads: int, kind: str) -> Run:
    import ctranslate2  # pyright: ignore[reportMissingImports]

    generator = ctranslate2.Generator(
        str(folder / "ct2"), device="cpu", compute_type=kind, intra_threads=threads
    )
    words = json.loads((folder / "ct2" / "vocabulary.json").read_text(encoding="utf-8"))
    numbers = {word: number for number, word in enumerate(words)}

    def run(prompts: list[list[int]], new: list[int]) -> list[list[int]]:
        results = generator.generate_batch(
            [[words[i] for i in prompt] for prompt in prompts],
            max_length=max(new),
            min_length=max(new),
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[],
        )
        found = [[numbers[word] for word in result.sequences[0]] for result in results]
        return [ids[:count] for ids, count in zip(found, new, strict=True)]

    return run


def onnx(folder: Path, threads: int) -> Run:
    """Our export, which has no cache, in onnxruntime."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(prompts: list[list[int]], new: list[int]) -> list[list[int]]:
        found = []
        for prompt, count in zip(prompts, new, strict=True):
            text = list(prompt)
            for _ in range(count):
                [logits] = session.run(None, {name: np.array([text], dtype=np.int64)})
                text.append(int(np.asarray(logits)[0, -1].argmax()))
            found.append(text[len(prompt) :])
        return found

    return run


GENERATORS: dict[str, Callable[[Path, int], Run]] = {
    "ours fp32": lambda folder, n: ours(folder, n, "float32"),
    "ours fp32, exact": lambda folder, n: ours(folder, n, "float32", exact=True),
    "ours bf16": lambda folder, n: ours(folder, n, "bfloat16"),
    "ours f16": lambda folder, n: ours(folder, n, "float16"),
    "ours int8": lambda folder, n: ours(folder, n, "int8"),
    "ours uncached": uncached,
    "HF fp32": lambda folder, n: hugging_face(folder, n, "float32"),
    "HF bf16": lambda folder, n: hugging_face(folder, n, "bfloat16"),
    "llama.cpp f32": lambda folder, n: llama_cpp(folder, n, "f32"),
    "llama.cpp f16": lambda folder, n: llama_cpp(folder, n, "f16"),
    "llama.cpp q8_0": lambda folder, n: llama_cpp(folder, n, "q8_0"),
    "llama.cpp f16, 16 slots": lambda folder, n: llama_cpp(folder, n, "f16", 16),
    "llama.cpp q8_0, 16 slots": lambda folder, n: llama_cpp(folder, n, "q8_0", 16),
    "ctranslate2 fp32": lambda folder, n: ctranslate2(folder, n, "float32"),
    "ctranslate2 bf16": lambda folder, n: ctranslate2(folder, n, "bfloat16"),
    "ctranslate2 int8": lambda folder, n: ctranslate2(folder, n, "int8"),
    "onnxruntime": onnx,
}
NEEDS = {"HF": "transformers", "llama.cpp": "xllamacpp", "ctranslate2": "ctranslate2"}
NEEDS |= {"onnxruntime": "onnxruntime"}
"""By the first word of a name: the module that the interpreter must have."""


def serve(name: str, folder: Path, threads: int) -> None:
    # Libraries write to standard output; only the answers may go to the caller.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = GENERATORS[name](folder, threads)
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start, spent = time.perf_counter(), time.process_time()
        ids = run(asked["prompts"], asked["new"])
        found = {
            "seconds": time.perf_counter() - start,
            "processor": time.process_time() - spent,
            "ids": ids,
        }
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
