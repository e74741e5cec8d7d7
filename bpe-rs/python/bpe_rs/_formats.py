"""Encodings in files of other tools: `Encoding.from_file`, `Encoding.save`, and pickles."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bpe_rs import _core
from bpe_rs._sources import PathLike, as_path, as_text

if TYPE_CHECKING:
    from bpe_rs._encoding import Encoding

    E = TypeVar("E", bound=Encoding)

Format = Literal["tiktoken", "tokenizer.json", "vocab.json", "tekken.json"]


def load(
    cls: type[E],
    path: PathLike,
    *,
    format: Format | None = None,
    name: str | None = None,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | Mapping[bytes, int] | None = None,
) -> E:
    """The encoding in a file, as a `cls`; see `Encoding.from_file`."""
    source = as_path(path, "path")
    name = None if name is None else as_text(name, "name")
    pattern = None if pattern is None else _core.regex_of(pattern)
    if format is None:
        source = _file_in(source)
    special = None
    if special_tokens is not None:
        special = [(as_text(text, "special_tokens"), id) for text, id in special_tokens.items()]
    if format is None and source.suffix == ".tiktoken" and pattern is None and special is None:
        published = _published(source, name)
        if published is not None:
            return cls(published)
    is_vocab = format == "vocab.json" or (format is None and source.name.endswith("vocab.json"))
    if not is_vocab or pattern is not None:
        return cls(_core.load_encoding(source, format, name, pattern, special))
    # A vocabulary and its merges do not tell the pattern.
    whole = source.with_name("tokenizer.json")
    if source.name == "vocab.json" and whole.is_file():
        return cls(_core.load_encoding(whole, None, name or source.stem, None, special))
    loaded = _core.load_encoding(source, "vocab.json", name, "gpt2", special)
    if loaded.fingerprint != _core.Encoding("gpt2").fingerprint:
        warnings.warn(
            f"{source}: vocab.json and merges.txt name no pattern, and GPT-2's is taken; if the "
            'model has another, pass pattern= (pattern="gpt2" says that this is right)',
            stacklevel=3,
        )
    return cls(loaded)


def save(self: Encoding, path: PathLike, *, format: Format | None = None) -> list[Path]:
    """Write the encoding; returns the files written, each of them atomically.

    The format by default follows from the file's name: `NAME.tiktoken` (with a side file for
    pattern and special tokens), `vocab.json` (with `merges.txt`), any other `.json` for
    `tokenizer.json`.

    Raises `ValueError` where the format cannot hold the encoding exactly, and `OSError`.
    """
    return _core.save_encoding(self, as_path(path, "path"), format)


def from_json(cls: type[E], name: str, text: str) -> E:
    """The encoding that the text of a `tokenizer.json` describes, as a `cls`; for unpickling."""
    return cls(_core.encoding_from_json(name, text))


def reduce(encoding: Encoding) -> tuple[Any, ...]:
    """The pickle of an encoding whose merges do not follow from its ids."""
    return from_json, (type(encoding), encoding.name, _core.encoding_to_json(encoding))


def _file_in(path: Path) -> Path:
    """The tokenizer's file in a folder; a path that is no folder as it is."""
    if not path.is_dir():
        return path
    for name in ("tokenizer.json", "vocab.json"):
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(f"{path}: expected a tokenizer.json or vocab.json in this folder")


def _published(path: Path, name: str | None) -> _core.Encoding | None:
    """The encoding in a rank file without a side file that bears the name of a published encoding
    and is equal to it. Pattern and special tokens, which the file lacks, are the published ones.
    """
    has_side_file = path.with_name(path.name + ".json").exists()
    if has_side_file or path.stem not in _core.list_encoding_names():
        return None
    published = _core.Encoding(path.stem)
    special = list(published.special_tokens.items())
    loaded = _core.load_encoding(path, "tiktoken", name, published.pat_str, special)
    return loaded if loaded.fingerprint == published.fingerprint else None
