"""One engine of `benches/hf.py` in a process of its own.

    python hf_worker.py ENGINE TOKENIZER CORES

TOKENIZER is a `tokenizer.json`. The first line of the output lists the engine's calls. Then each
line of the input is a JSON object, answered by one: {"texts": path} reads a JSON list of texts;
{"call": name, "from": 0, "to": 10, "times": 2} encodes some of them that many times, {"seconds":
[...]}, or {"error": ...}; with "check" also the "digest" of the result. Imports nothing of this
repository but `bpe_rs`, because it runs in the environments of the peers, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# From texts to what is called with the clock running, and from its result to plain lists.
Call = tuple[Callable[[list[str]], Callable[[], object]], Callable[[Any], Any]]
PAD = "<|endoftext|>"


def plain(batch: Any) -> Any:
    """The columns of a result of a tokenizer of `transformers`."""
    names = ("input_ids", "attention_mask")
    return [getattr(batch[name], "tolist", lambda b=batch, n=name: b[n])() for name in names]


def each(call: Callable[[Any], object]) -> Callable[[list[str]], Callable[[], object]]:
    """One call after the other; the results are dropped, as in a loop over a data set."""

    def start(texts: list[str]) -> Callable[[], object]:
        def run() -> object:
            last = None
            for text in texts:
                last = call(text)
            return last

        return run

    return start


def whole(call: Callable[[list[str]], object]) -> Callable[[list[str]], Callable[[], object]]:
    """One call with all texts."""
    return lambda texts: lambda: call(texts)


def through_transformers(tokenizer: Any) -> dict[str, Call]:
    """Calls of a tokenizer with the interface of `transformers`."""
    return {
        "tok(text)": (each(tokenizer), plain),
        "tok(batch)": (whole(tokenizer), plain),
        "tok(batch, padding, np)": (
            whole(lambda texts: tokenizer(texts, padding=True, return_tensors="np")),
            plain,
        ),
        **map_dataset(tokenizer),
    }


def bare(encode: Any, encode_batch: Any) -> dict[str, Call]:
    """Calls of an object with the interface of `tokenizers.Tokenizer`."""

    def ids(row: Any) -> list[int]:
        return list(map(int, row))

    return {
        "encode(text).ids": (each(lambda text: encode(text).ids), ids),
        "encode_batch(texts)": (whole(encode_batch), lambda rows: [ids(row.ids) for row in rows]),
    }


def fast_tokenizer(path: str) -> Any:
    """A tokenizer of `transformers`, loaded as users load one (which is what peers patch)."""
    from transformers import PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, Path(folder) / "tokenizer.json")
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD}
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
        return PreTrainedTokenizerFast.from_pretrained(folder)


def map_dataset(tokenizer: Any) -> dict[str, Call]:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    datasets.disable_caching()
    datasets.disable_progress_bars()

    def start(texts: list[str]) -> Callable[[], object]:
        data = datasets.Dataset.from_dict({"text": texts})
        return lambda: data.map(lambda rows: tokenizer(rows["text"]), batched=True)

    return {"datasets.map(batched)": (start, lambda mapped: mapped["input_ids"][:])}


def own_encoding(path: str) -> dict[str, Call]:
    """`bpe_rs.Encoding` of the vocabulary, where there is one: no normaliser, no template."""
    import bpe_rs

    file = json.loads(Path(path).read_text())
    if file["model"].get("byte_fallback"):
        return {}
    part = Path(tempfile.gettempdir()) / f"{os.getpid()}.json"
    part.write_text(json.dumps(file | {"normalizer": None, "post_processor": None}))
    encoding = bpe_rs.Encoding.from_file(part)
    part.unlink()
    return {
        "Encoding.encode": (each(lambda text: encoding.encode(text)), list),
        "Encoding.encode_batch": (whole(encoding.encode_batch), list),
    }


def calls(engine: str, path: str) -> dict[str, Call]:
    """What an engine can do, by the name of the call."""
    if engine == "ours":
        from bpe_rs import hf

        tokenizer = hf.from_pretrained_fast(fast_tokenizer(path))
        backend = tokenizer.backend_tokenizer
        return {
            **own_encoding(path),
            **bare(backend.encode, backend.encode_batch),
            **through_transformers(tokenizer),
        }
    if engine == "tokenizers":
        tokenizer = fast_tokenizer(path)
        backend = tokenizer.backend_tokenizer
        return {
            **bare(backend.encode, backend.encode_batch_fast),
            **through_transformers(tokenizer),
        }
    if engine == "tokenizers rc":
        import tokenizers

        tokenizer: Any = tokenizers.Tokenizer.from_file(path)
        if hasattr(tokenizer, "compile"):  # the third candidate has compiled tokenizers only
            tokenizer = tokenizer.compile()
        return bare(tokenizer.encode, tokenizer.encode_batch)
    if engine in ("snaptokens", "fastokens"):
        package: Any = __import__(engine)
        package.patch_transformers()
        tokenizer = fast_tokenizer(path)
        own = package.Tokenizer.from_file(path)
        # By default they leave special tokens out.
        encode = partial(own.encode, add_special_tokens=True)
        encode_batch = partial(own.encode_batch, add_special_tokens=True)
        return {**bare(encode, encode_batch), **through_transformers(tokenizer)}
    if engine == "gigatoken":
        import gigatoken  # pyright: ignore[reportMissingImports]

        return through_transformers(gigatoken.Tokenizer(fast_tokenizer(path)).as_hf())
    if engine == "tokie":
        import tokie  # pyright: ignore[reportMissingImports]

        tokenizer = tokie.Tokenizer.from_json(path)
        return bare(tokenizer.encode, tokenizer.encode_batch)
    raise SystemExit(f"expected an engine, got {engine}")


def answer(known: dict[str, Call], texts: list[str], asked: dict[str, Any]) -> dict[str, Any]:
    """The seconds, and perhaps the digest, of a call."""
    start, result = known[asked["call"]]
    run = start(texts[asked["from"] : asked["to"]])
    seconds, got = [], None
    for _ in range(asked.get("times", 1)):
        del got
        begin = time.perf_counter()
        got = run()
        seconds.append(time.perf_counter() - begin)
    found: dict[str, Any] = {"seconds": seconds}
    if asked.get("check"):
        found["digest"] = hashlib.sha256(json.dumps(result(got)).encode()).hexdigest()
    return found


def main() -> None:
    engine, path, cores = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        # Before anything starts threads or counts cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    answers = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()):
        known = calls(engine, path)
        print(json.dumps(list(known)), file=answers, flush=True)
        texts: list[str] = []
        for line in sys.stdin:
            asked = json.loads(line)
            if "texts" in asked:
                texts = json.loads(Path(asked["texts"]).read_text())
                found: dict[str, Any] = {}
            else:
                try:
                    found = answer(known, texts, asked)
                except BaseException as error:  # a panic of Rust is no Exception
                    found = {"error": f"{type(error).__name__}: {error}"[:100]}
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
