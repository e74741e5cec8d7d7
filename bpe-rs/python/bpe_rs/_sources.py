"""Sources of text: files of several formats, or texts from Python.

Rust reads plain, `.gz`, `.zst` and JSON lines files; this module groups them for it, and reads
Parquet files (with pyarrow, the extra `gptpy-bpe[parquet]`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

Text = str | bytes
PathLike = str | bytes | os.PathLike[str]

# Limits of a batch of texts for one call of Rust: enough for all threads, little enough to hold.
BATCH_BYTES = 8 << 20
BATCH_TEXTS = 1 << 16
PARQUET_ROWS = 1024
# Arrow's names of the types that hold text, or bytes that may be UTF-8.
TEXT_TYPES = frozenset(
    {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}
)


# Endings of the names of files that hold texts. A name without white space that has one is not
# counted as a text, because it is more probably a file that the caller means, or a misspelt one.
ENDINGS = frozenset(
    {".csv", ".gz", ".json", ".jsonl", ".md", ".ndjson", ".parquet", ".pq", ".tsv", ".txt", ".zst"}
)


def as_path(value: object, argument: str) -> Path:
    """A path that may be str, bytes or os.PathLike; TypeError or ValueError names the argument."""
    try:
        # Encoded and decoded, because not every str is the name of a file.
        return Path(os.fsdecode(os.fsencode(value)))  # pyright: ignore[reportArgumentType]
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{argument}: expected a path as str or os.PathLike, got {kind}") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument}: expected the name of a file: {error}") from None


def as_bytes(value: object, argument: str) -> bytes:
    """The UTF-8 of a text that may be str or bytes; TypeError or ValueError names the argument."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{argument}: expected str or bytes, got {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument}: expected str without lone surrogates: {error}") from None


def as_text(value: object, argument: str) -> str:
    """A text that may be str or bytes in UTF-8; TypeError or ValueError names the argument."""
    data = as_bytes(value, argument)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{argument}: expected UTF-8, got {value!r}: {error}") from None


def texts_or_paths(source: object) -> tuple[Iterable[Text], None] | tuple[None, list[Path]]:
    """The texts or the files of a source, by type alone: whether a file exists changes nothing.

    A `str` or `os.PathLike` by itself names a file, an iterable of `os.PathLike` names several,
    and any other iterable holds texts.
    Raises TypeError for anything else, FileNotFoundError for a file that does not exist,
    IsADirectoryError for a folder, ValueError for texts that look like the names of files.
    """
    if isinstance(source, str | os.PathLike):
        return None, [_existing(source)]
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        kind = type(source).__name__
        raise TypeError(
            "source: expected a path, an iterable of paths (pathlib.Path) or of texts (str or "
            f"bytes), or WordCounts, got {kind}"
        )
    if isinstance(source, Mapping):
        raise TypeError(
            f"source: expected texts or files, got a {type(source).__name__}; words that are "
            "counted already go through WordCounts.from_mapping"
        )
    items = iter(source)
    first = list(islice(items, 1))
    if first and isinstance(first[0], os.PathLike):
        return None, [_existing(item) for item in chain(first, items)]
    first += islice(items, 99)
    if first and all(is_file_name(item) for item in first):
        raise ValueError(
            f"source: expected texts in this iterable of str, got {first[0]!r}, which looks like "
            "the name of a file; pass files as pathlib.Path, and texts like this one as bytes"
        )
    return chain(first, items), None


def is_file_name(item: object) -> bool:
    """Whether a text looks like the name of a file, whatever files there are."""
    return (
        isinstance(item, str)
        and len(item.split()) == 1
        and Path(item).suffix.lower() in ENDINGS
        and len(item) < 4096
    )


def _existing(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"source: expected only paths after a path, got {type(path).__name__}")
    name = os.fsdecode(path)
    if os.path.isdir(name):  # noqa: PTH112  # Path.is_dir raises for a name that is too long
        raise IsADirectoryError(
            f"{name} is a folder, expected a file; pass its files, for example "
            f'sorted(Path("{name}").rglob("*.txt"))'
        )
    if not os.path.exists(name):  # noqa: PTH110  # as above
        shown = name if len(name) < 80 else name[:60] + "..."
        raise FileNotFoundError(
            f"{shown}: no such file; to use a text itself, pass it in a list: [text]"
        )
    return Path(name)


def is_parquet(path: Path) -> bool:
    """Whether a file is read with pyarrow."""
    return path.suffix.lower() in {".parquet", ".pq"}


def runs(paths: Iterable[Path]) -> Iterator[tuple[list[Path], bool]]:
    """`paths` in order: single Parquet files (True), and runs of others (False), which Rust reads.

    Rust gets a whole run at once, so that all threads share many small files.
    """
    run: list[Path] = []
    for path in paths:
        if is_parquet(path):
            if run:
                yield run, False
                run = []
            yield [path], True
        else:
            run.append(path)
    if run:
        yield run, False


def text_batches(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """`texts` in lists of some megabytes; TypeError for one that is neither str nor bytes."""
    batch: list[Text] = []
    size = 0
    for text in texts:
        if not isinstance(text, str | bytes):
            raise TypeError(f"expected texts of type str or bytes, got {type(text).__name__}")
        batch.append(text)
        size += len(text)
        if size >= BATCH_BYTES or len(batch) >= BATCH_TEXTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def parquet_texts(path: Path, column: str) -> Iterator[list[str]]:
    """The texts of one column of a Parquet file, a batch of rows at a time, without nulls.

    The column holds strings, or bytes in UTF-8, in any of Arrow's layouts (large, view,
    dictionary). Raises ImportError without pyarrow, ValueError for another kind of file or column.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{path}: reading Parquet needs pyarrow; install gptpy-bpe[parquet]"
        ) from error
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: expected a Parquet file: {error}") from error
    with file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise ValueError(
                f"{path}: expected a column {column!r}, got {', '.join(schema.names)}: name "
                "another (field, text_column)"
            )
        kind = schema.field(column).type
        values = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        if str(values) not in TEXT_TYPES:
            raise ValueError(
                f"{path}: expected strings, or bytes in UTF-8, in the column {column!r}, got {kind}"
            )
        before = 0
        for rows in file.iter_batches(batch_size=PARQUET_ROWS, columns=[column]):
            yield _column_texts(rows.column(0), f"{path}: column {column!r}", before)
            before += len(rows)


def _column_texts(values: pyarrow.Array, where: str, before: int) -> list[str]:
    """The texts of an array without its nulls. `before`: the rows before it, for errors."""
    try:
        return [_as_str(value) for value in values.to_pylist() if value is not None]
    except UnicodeDecodeError:  # also from `to_pylist`: Arrow does not check the bytes of strings
        for row, value in enumerate(values, before):
            try:
                _as_str(value.as_py() or "")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{where}, row {row}: expected UTF-8, got the byte "
                    f"{error.object[error.start]:#04x} at {error.start}"
                ) from None
        raise


def _as_str(value: Text) -> str:
    return value if isinstance(value, str) else value.decode("utf-8")
