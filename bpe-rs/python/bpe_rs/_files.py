"""Reading and writing encodings: what `Encoding.from_file` and `Encoding.save` do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bpe_rs import _core

if TYPE_CHECKING:
    from bpe_rs._encoding import Encoding

    E = TypeVar("E", bound=Encoding)

Format = Literal["tiktoken", "tokenizer.json", "vocab.json"]


def load(
    cls: type[E],
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,
    name: str | None = None,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> E:
    """The encoding in a file, as a `cls`; see `Encoding.from_file`."""
    source = _inside(Path(path)) if format is None else Path(path)
    special = None if special_tokens is None else list(special_tokens.items())
    if format is None and source.suffix == ".tiktoken" and pattern is None and special is None:
        published = _published(source)
        if published is not None:
            pattern, special = published.pat_str, list(published.special_tokens.items())
    return cls(_core.load_encoding(source, format, name, pattern, special))


def save(
    encoding: Encoding, path: str | os.PathLike[str], *, format: Format | None = None
) -> list[Path]:
    """Write an encoding; see `Encoding.save`."""
    return _core.save_encoding(encoding, Path(path), format)


def from_json(cls: type[E], name: str, text: str) -> E:
    """The encoding of the text of a `tokenizer.json`, as a `cls`; for unpickling."""
    return cls(_core.encoding_from_json(name, text))


def reduce(encoding: Encoding) -> tuple[Any, ...]:
    """How an encoding that is not in the registry pickles, when its ids say not all about its
    merges."""
    return from_json, (type(encoding), encoding.name, _core.encoding_to_json(encoding))


def _inside(path: Path) -> Path:
    """In a folder the tokenizer's file; a file as it is."""
    if not path.is_dir():
        return path
    for name in ("tokenizer.json", "vocab.json"):
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(f"{path}: expected a tokenizer.json or vocab.json in this folder")


def _published(path: Path) -> Encoding | None:
    """The published encoding that this rank file is named after and equal to."""
    from bpe_rs._encoding import get_encoding, list_encoding_names

    if path.with_name(path.name + ".json").exists() or path.stem not in list_encoding_names():
        return None
    published = get_encoding(path.stem)
    special = list(published.special_tokens.items())
    loaded = _core.load_encoding(path, "tiktoken", None, published.pat_str, special)
    return published if loaded.fingerprint == published.fingerprint else None
