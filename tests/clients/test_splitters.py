"""Text splitters that count with tiktoken or transformers cut the same texts on ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.clients

Both = Callable[[Callable[[ModuleType], Any]], tuple[Any, Any]]


def test_langchain_by_name(with_both: Both, shakespeare: str, multilingual: str) -> None:
    splitters = pytest.importorskip("langchain_text_splitters")

    def split(_: ModuleType) -> list[list[str]]:
        results = []
        for encoding in ("r50k_base", "cl100k_base", "o200k_base"):
            tokens = splitters.TokenTextSplitter(
                encoding_name=encoding, chunk_size=100, chunk_overlap=20
            )
            characters = splitters.RecursiveCharacterTextSplitter.from_tiktoken_encoder(
                encoding_name=encoding, chunk_size=60, chunk_overlap=10
            )
            for text in (shakespeare[:60_000], multilingual[:20_000]):
                results += [tokens.split_text(text), characters.split_text(text)]
        return results

    theirs, ours = with_both(split)
    assert ours == theirs and sum(map(len, ours)) > 1000


def test_langchain_on_transformers(transformers_pair: tuple[Any, Any], shakespeare: str) -> None:
    splitters = pytest.importorskip("langchain_text_splitters")
    theirs, ours = (
        splitters.RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
            tokenizer, chunk_size=80, chunk_overlap=10
        ).split_text(shakespeare[:50_000])
        for tokenizer in transformers_pair
    )
    assert ours == theirs and len(ours) > 100


def test_llama_index(with_both: Both, shakespeare: str, multilingual: str, tmp_path: Path) -> None:
    parser = pytest.importorskip("llama_index.core.node_parser")

    def split(tiktoken: ModuleType) -> list[list[str]]:
        encode = tiktoken.get_encoding("cl100k_base").encode
        parsers = [
            parser.TokenTextSplitter(chunk_size=90, chunk_overlap=15, tokenizer=encode),
            parser.SentenceSplitter(
                chunk_size=90,
                chunk_overlap=15,
                tokenizer=encode,
                chunking_tokenizer_fn=lambda text: text.split("\n"),
            ),
        ]
        texts = (shakespeare[:40_000], multilingual[:10_000])
        return [one.split_text(text) for one in parsers for text in texts]

    theirs, ours = with_both(split)
    assert ours == theirs and sum(map(len, ours)) > 300


def test_semchunk(
    with_both: Both, transformers_pair: tuple[Any, Any], shakespeare: str, multilingual: str
) -> None:
    semchunk = pytest.importorskip("semchunk")
    texts = [shakespeare[:60_000], multilingual[:20_000]]

    def chunk(tiktoken: ModuleType) -> list[Any]:
        # By object and by name: the latter imports tiktoken inside semchunk.
        by_object = semchunk.chunkerify(tiktoken.get_encoding("cl100k_base"), 64)
        by_name = semchunk.chunkerify("o200k_base", 64)
        return [by_object(texts), by_name(texts, offsets=True, overlap=0.25)]

    theirs, ours = with_both(chunk)
    assert ours == theirs
    first, second = (semchunk.chunkerify(tok, 64)(texts) for tok in transformers_pair)
    assert second == first and sum(map(len, second)) > 200


def test_chonkie(
    with_both: Both, transformers_pair: tuple[Any, Any], shakespeare: str, multilingual: str
) -> None:
    chonkie = pytest.importorskip("chonkie")
    texts = (shakespeare[:60_000], multilingual[:20_000])

    def chunks(tokenizer: Any) -> list[tuple[str, int, int, int]]:
        chunkers = [
            chonkie.TokenChunker(tokenizer=tokenizer, chunk_size=96, chunk_overlap=16),
            chonkie.SentenceChunker(tokenizer=tokenizer, chunk_size=96, chunk_overlap=16),
            chonkie.RecursiveChunker(tokenizer=tokenizer, chunk_size=96),
        ]
        found = [chunk for chunker in chunkers for text in texts for chunk in chunker.chunk(text)]
        return [
            (chunk.text, chunk.start_index, chunk.end_index, chunk.token_count) for chunk in found
        ]

    theirs, ours = with_both(lambda tiktoken: chunks(tiktoken.get_encoding("cl100k_base")))
    assert ours == theirs and len(ours) > 500
    theirs, ours = (chunks(tokenizer) for tokenizer in transformers_pair)
    assert ours == theirs
