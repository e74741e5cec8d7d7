"""Texts: checked reading, and the one that `gptpy quickstart` takes when none is given."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from gptpy.data.ids import DataError
from gptpy.storage import atomic

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHAKESPEARE = "tinyshakespeare.txt"
SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@dataclass(frozen=True)
class Text:
    """A text and where it came from; `note` says so when it is not what was hoped for."""

    data: bytes
    name: str
    note: str | None = None


def read_text(path: str | Path) -> bytes:
    """The bytes of a UTF-8 text file.

    Raises `DataError` with one line when the file is missing, a directory, unreadable, empty,
    binary or not UTF-8. A byte order mark at the beginning is left out.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(
            f"{path}: is a directory; give one text file (`gptpy prepare` reads directories)"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not data.removeprefix(BYTE_ORDER_MARK):
        raise DataError(f"{path}: is empty")
    if b"\0" in data:
        raise DataError(f"{path}: is binary (byte {data.index(0)} is zero); a UTF-8 text is needed")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8: byte {error.start} is {data[error.start]:#04x}; convert it, "
            "for example with iconv"
        ) from None
    return data.removeprefix(BYTE_ORDER_MARK)


def split_text(data: bytes, fraction: float = 0.9) -> tuple[bytes, bytes]:
    """Training and validation bytes, cut at `int(fraction * n)` or the next character's start."""
    cut = int(fraction * len(data))
    while cut < len(data) and data[cut] & 0xC0 == 0x80:
        cut += 1
    return data[:cut], data[cut:]


def default_text(*, download: bool = True) -> Text:
    """Tiny Shakespeare, or the prose that ships with CPython where it cannot be had.

    Looks in `$GPTPY_DATA_DIR`, then in gptpy's cache folder, then downloads into the cache. What is
    found must have the published sha256.
    """
    problems = []
    folder = os.environ.get("GPTPY_DATA_DIR")
    cached = cache_folder() / SHAKESPEARE
    for path in ([Path(folder) / SHAKESPEARE] if folder else []) + [cached]:
        if not path.is_file():
            continue
        data = read_text(path)
        if hashlib.sha256(data).hexdigest() == SHAKESPEARE_SHA256:
            return Text(data, "Tiny Shakespeare")
        problems.append(f"{path} has another sha256")
    if download:
        try:
            data = _download(SHAKESPEARE_URL, SHAKESPEARE_SHA256)
        except (OSError, ValueError) as error:
            problems.append(f"download failed: {error}")
        else:
            _keep(cached, data)
            return Text(data, "Tiny Shakespeare")
    reason = "; ".join(problems) or "not found"
    return Text(
        python_prose(),
        "Python's own documentation",
        f"Tiny Shakespeare is not to be had ({reason}): training on the prose that ships with "
        "Python instead. Put tinyshakespeare.txt into $GPTPY_DATA_DIR to use it.",
    )


def cache_folder() -> Path:
    """Where downloads stay: `$XDG_CACHE_HOME/gptpy` or `~/.cache/gptpy`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gptpy"


def python_prose() -> bytes:
    """About half a megabyte of English: the help topics in every CPython."""
    from pydoc_data.topics import topics

    return "\n\n".join(text for _, text in sorted(topics.items())).encode("utf-8")


def _download(url: str, sha256: str, timeout: float = 10.0, limit: int = 1 << 24) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as response:
        data = response.read(limit)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{url} has sha256 {found[:12]}, expected {sha256[:12]}")
    return data


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, data)
    except OSError:
        pass  # a cache that cannot be written only costs the next run a download
