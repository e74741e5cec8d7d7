"""The error of a model that does not fit another program's format."""

from __future__ import annotations

from pathlib import Path

from gptpy.config.errors import ConfigError


class ExportError(ConfigError):
    """What does not fit, and what to do."""


def file_target(path: str | Path) -> Path:
    """Where one file is to be written; `ExportError` where a folder is in its place."""
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path}: is a folder; give the name of the file to write")
    return path
