"""One engine of `benches/hf.py` in a process of its own.

    python hf_worker.py ENGINE TOKENIZER TEXTS CORES

TOKENIZER is a `tokenizer.json`, TEXTS a JSON list of texts. For each line on the input, the name of
a call, one line of JSON is written: {"seconds": ..., "digest": ...}, the digest only with "check "
before the name. The first line of the output lists the engine's calls. Imports nothing of this
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
from pathlib import Path
from typing import Any

# What a call returns, as plain lists and numbers.
Result = Any
Call = tuple[Callable[[], object], Callable[[Any], Result]]
PAD = "<|endoftext|>"


def plain(batch: Any) -> Result:
    """The columns of a result of a tokenizer of `transformers`."""
    names = ("input_ids", "attention_mask")
    return [getattr(batch[name], "tolist", lambda b=batch, n=name: b[n])() for name in names]


def each(call: Callable[[Any], object], texts: list[str]) -> Callable[[], object]:
    """One call after the other; the results are dropped, as in a loop over a data set."""

    def run() -> object:
        last = None
        for text in texts:
            last = call(text)
        return last

    return run


def through_transformers(tokenizer: Any, texts: list[str]) -> dict[str, Call]:
    """Calls of a tokenizer with the interface of `transformers`."""
    return {
        "tok(batch)": (lambda: tokenizer(texts), plain),
        "tok(batch, padding, np)": (
            lambda: tokenizer(texts, padding=True, return_tensors="np"),
            plain,
        ),
        "tok(text)": (each(tokenizer, texts), plain),
    }


def bare(encode: Any, encode_batch: Any, texts: list[str]) -> dict[str, Call]:
    """Calls of an object with the interface of `tokenizers.Tokenizer`."""

    def ids(row: Any) -> list[int]:
        return list(map(int, row))

    return {
        "encode(text).ids": (each(lambda text: encode(text).ids, texts), ids),
        "encode_batch(texts)": (
            lambda: encode_batch(texts),
            lambda rows: [ids(row.ids) for row in rows],
        ),
    }


def fast_tokenizer(path: str) -> Any:
    """A tokenizer of `transformers`, loaded as users load one (which is what peers patch)."""
    from transformers import PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, Path(folder) / "tokenizer.json")
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD}
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
        return PreTrainedTokenizerFast.from_pretrained(folder)


def without_normalizer(path: str) -> str:
    """A copy of the file that an `Encoding` can hold."""
    file = json.loads(Path(path).read_text())
    file["normalizer"] = None
    plain = Path(tempfile.gettempdir()) / f"{os.getpid()}.json"
    plain.write_text(json.dumps(file))
    return str(plain)


def map_dataset(tokenizer: Any, texts: list[str]) -> dict[str, Call]:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    datasets.disable_caching()
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"text": texts})

    def run() -> object:
        return data.map(lambda rows: tokenizer(rows["text"]), batched=True)

    return {"datasets.map(batched)": (run, lambda mapped: mapped["input_ids"][:])}


def calls(engine: str, path: str, texts: list[str]) -> dict[str, Call]:
    """What an engine can do, by the name of the call."""
    if engine == "ours":
        import bpe_rs
        from bpe_rs import hf

        tokenizer = hf.from_pretrained_fast(fast_tokenizer(path))
        backend = tokenizer.backend_tokenizer
        encoding = bpe_rs.Encoding.from_file(without_normalizer(path))
        return {
            "Encoding.encode_batch": (
                lambda: encoding.encode_batch(texts, disallowed_special=()),
                lambda rows: rows,
            ),
            "Encoding.encode": (
                each(lambda text: encoding.encode(text, disallowed_special=()), texts),
                lambda row: row,
            ),
            **through_transformers(tokenizer, texts),
            **bare(backend.encode, backend.encode_batch, texts),
            **map_dataset(tokenizer, texts),
        }
    if engine == "tokenizers":
        tokenizer = fast_tokenizer(path)
        backend = tokenizer.backend_tokenizer
        return {
            **through_transformers(tokenizer, texts),
            **bare(backend.encode, backend.encode_batch_fast, texts),
            **map_dataset(tokenizer, texts),
        }
    if engine == "tokenizers rc":
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(path)
        return bare(tokenizer.encode, tokenizer.encode_batch, texts)
    if engine in ("snaptokens", "fastokens"):
        package: Any = __import__(engine)
        package.patch_transformers()
        tokenizer = fast_tokenizer(path)
        own = package.Tokenizer.from_file(path)
        return {
            **through_transformers(tokenizer, texts),
            **bare(own.encode, own.encode_batch, texts),
        }
    if engine == "gigatoken":
        import gigatoken  # pyright: ignore[reportMissingImports]

        return through_transformers(gigatoken.Tokenizer(fast_tokenizer(path)).as_hf(), texts)
    if engine == "tokie":
        import tokie  # pyright: ignore[reportMissingImports]

        tokenizer = tokie.Tokenizer.from_json(path)
        return bare(tokenizer.encode, tokenizer.encode_batch, texts)
    raise SystemExit(f"expected an engine, got {engine}")


def main() -> None:
    engine, path, texts, cores = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        # Before anything starts threads or counts cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    answers = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()):
        known = calls(engine, path, json.loads(Path(texts).read_text()))
        print(json.dumps(sorted(known)), file=answers, flush=True)
        for line in sys.stdin:
            is_check = line.startswith("check ")
            run, result = known[line.strip().removeprefix("check ")]
            start = time.perf_counter()
            got = run()
            answer: dict[str, Any] = {"seconds": time.perf_counter() - start}
            if is_check:
                text = json.dumps(result(got))
                answer["digest"] = hashlib.sha256(text.encode()).hexdigest()
            del got
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
