"""Texts of a column of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptpy.data.errors import DataError


def parquet_texts(path: Path, field: str) -> Iterator[str]:
    """The texts of the column `field`; `DataError` for a damaged file and for rows without text."""
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path}: parquet needs pyarrow: pip install 'gptpy-lm[parquet]'") from None
    row = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
        if field not in file.schema_arrow.names:
            raise DataError(
                f"{path}: no column {field!r}, found {file.schema_arrow.names}; see --field"
            )
        for batch in file.iter_batches(columns=[field]):
            for value in batch.column(0):
                yield _cell(value, f"{path}: column {field!r}, row {row}")
                row += 1
    # The library raises errors of its own and of the system, and others for damaged bytes
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as parquet, from row {row} on: {reason}") from None


def _cell(value: Any, where: str) -> str:
    """The text of an Arrow scalar: a string, or bytes in UTF-8, in any of Arrow's layouts."""
    try:
        text = value.as_py()
        text = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:  # Arrow does not check its strings when it reads them
        raise DataError(
            f"{where} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None
    if not isinstance(text, str):
        raise DataError(f"{where} is no text: {text!r}")
    return text
