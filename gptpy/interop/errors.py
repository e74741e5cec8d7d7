"""The error of export and import, and a check that both file formats share."""

from __future__ import annotations

from pathlib import Path

from gptpy.config.errors import ConfigError


class ExportError(ConfigError):
    """A model, file or folder that cannot be converted: the message says why and what to do."""


def file_target(path: str | Path) -> Path:
    """The path of a file to write; `ExportError` where there is a folder."""
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path}: is a folder; give the name of the file to write")
    return path
