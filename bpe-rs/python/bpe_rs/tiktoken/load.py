"""Reading and writing rank files. The published encodings do not need any."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import tempfile
import urllib.request
from pathlib import Path

from bpe_rs import _core


def read_file(blobpath: str) -> bytes:
    """The contents of a file, or of an http(s) address."""
    if "://" not in blobpath:
        return Path(blobpath).read_bytes()
    if blobpath.startswith(("http://", "https://")):
        with urllib.request.urlopen(blobpath) as response:
            return response.read()
    try:
        import blobfile  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "blobfile is not installed. Please install it by running `pip install blobfile`."
        ) from error
    with blobfile.BlobFile(blobpath, "rb") as file:
        return file.read()


def check_hash(data: bytes, expected_hash: str) -> bool:
    """Whether the SHA-256 of `data`, in hexadecimal, is `expected_hash`.

    >>> check_hash(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    True
    """
    return hashlib.sha256(data).hexdigest() == expected_hash


def read_file_cached(blobpath: str, expected_hash: str | None = None) -> bytes:
    """`read_file`, which for an address keeps a copy in `TIKTOKEN_CACHE_DIR`.

    Local files are not copied, because a copy could be out of date. A cached copy with another
    hash than expected is fetched again. Raises ValueError when the fetched one differs, too.
    """
    cached = _cache_path(blobpath) if "://" in blobpath else None
    if cached is not None and cached.exists():
        data = cached.read_bytes()
        if expected_hash is None or check_hash(data, expected_hash):
            return data
        cached.unlink(missing_ok=True)
    data = read_file(blobpath)
    if expected_hash is not None and not check_hash(data, expected_hash):
        raise ValueError(
            f"Hash mismatch for data downloaded from {blobpath} (expected {expected_hash}). "
            "This may indicate a corrupted download. Please try again."
        )
    if cached is not None:
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            _core.write_atomic(cached, data)
        except OSError:
            # A read-only cache folder costs another download the next time, not this result.
            pass
    return data


def _cache_path(blobpath: str) -> Path | None:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if folder is None:
        folder = str(Path(tempfile.gettempdir(), "data-gym-cache"))
    if folder == "":
        return None
    # tiktoken's name for the copy; not a matter of security.
    name = hashlib.sha1(blobpath.encode(), usedforsecurity=False).hexdigest()
    return Path(folder, name)


def load_tiktoken_bpe(tiktoken_bpe_file: str, expected_hash: str | None = None) -> dict[bytes, int]:
    """Tokens and ranks of a `.tiktoken` file. A line is a token in base 64 and its rank.

    Raises ValueError that quotes a line of another form.
    """
    ranks = {}
    for line in read_file_cached(tiktoken_bpe_file, expected_hash).splitlines():
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"Error parsing line {line!r} in {tiktoken_bpe_file}") from error
    return ranks


def dump_tiktoken_bpe(bpe_ranks: dict[bytes, int], tiktoken_bpe_file: str) -> None:
    """Write a `.tiktoken` file, by ascending rank; an existing file is replaced atomically."""
    lines = (
        base64.b64encode(token) + b" %d\n" % rank
        for token, rank in sorted(bpe_ranks.items(), key=lambda item: item[1])
    )
    _core.write_atomic(tiktoken_bpe_file, b"".join(lines))


def data_gym_to_mergeable_bpe_ranks(
    vocab_bpe_file: str,
    encoder_json_file: str,
    vocab_bpe_hash: str | None = None,
    encoder_json_hash: str | None = None,
    clobber_one_byte_tokens: bool = False,
) -> dict[bytes, int]:
    """Ranks from GPT-2's two files: the list of merges and the vocabulary.

    Both write bytes as printable characters. Ranks are single bytes first, then merges in order.
    With `clobber_one_byte_tokens` the single bytes get the ids that the vocabulary gives them.
    Raises ValueError when the two files disagree.
    """
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    byte_of = {chr(b): b for b in printable}
    hidden = [b for b in range(256) if b not in printable]
    # Bytes without a printable character of their own take those from U+0100 on.
    byte_of.update({chr(256 + n): b for n, b in enumerate(hidden)})

    def decode(text: str) -> bytes:
        return bytes(byte_of[c] for c in text)

    merges = read_file_cached(vocab_bpe_file, vocab_bpe_hash).decode()
    ranks = {bytes([b]): rank for rank, b in enumerate([*printable, *hidden])}
    for line in merges.split("\n")[1:-1]:
        first, second = line.split()
        ranks[decode(first) + decode(second)] = len(ranks)

    vocabulary = json.loads(read_file_cached(encoder_json_file, encoder_json_hash))
    # The two special tokens that the vocabulary may list are not mergeable.
    for special in ("<|endoftext|>", "<|startoftext|>"):
        vocabulary.pop(special, None)
    listed = {decode(token): rank for token, rank in vocabulary.items()}
    if clobber_one_byte_tokens:
        ranks.update({token: listed[token] for token in ranks if len(token) == 1})
    if ranks != listed:
        differing = next(t for t in ranks.keys() | listed.keys() if ranks.get(t) != listed.get(t))
        raise ValueError(
            f"{encoder_json_file} does not fit {vocab_bpe_file}: token {differing!r} has rank "
            f"{ranks.get(differing)} by the merges and id {listed.get(differing)}"
        )
    return ranks
