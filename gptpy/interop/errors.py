"""The error of export and import, and what every writer of a format shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gptpy.config.errors import ConfigError
from gptpy.tokenizer.published import read_object


class ExportError(ConfigError):
    """A model, file or folder that cannot be converted: the message says why and what to do."""


def file_target(path: str | Path) -> Path:
    """The path of a file to write; `ExportError` where there is a folder."""
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path}: is a folder; give the name of the file to write")
    return path


def object_of(path: Path) -> dict[str, Any]:
    """A file of JSON that holds an object; empty without the file. Raises `ExportError`."""
    try:
        return read_object(path)
    except ConfigError as error:
        raise ExportError(str(error)) from None


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Inside, what the disk or the system refuses becomes an `ExportError` that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ExportError(f"{path}: cannot be written: {reason}") from None
