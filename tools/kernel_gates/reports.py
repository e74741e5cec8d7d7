"""Reports of compiled kernels, kept in a folder: one file each, named after what was compiled."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

STORE_VARIABLE = "GPTPY_KERNEL_REPORTS"
"""Environment variable that names the folder; without it everything is compiled."""
KEPT_ONLY = "GPTPY_KERNEL_REPORTS_KEPT"
"""Environment variable: where it is set, nothing is compiled; a missing report is an error."""
_TOOLS = Path(__file__).resolve().parent
_KERNELS = _TOOLS.parents[1] / "triton_kernels" / "gptpy_kernels"


@functools.cache
def _sources() -> str:
    """The code of every kernel and of what reads its machine code, without comments."""
    found = []
    for path in sorted([*_KERNELS.rglob("*.py"), *_TOOLS.glob("*_code.py")]):
        text = path.read_text(encoding="utf-8")
        if path.parent == _TOOLS or ".jit\n" in text:
            found.append(_without_docstrings(text))
    return "\n".join(found)


def _without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            node.body = [
                statement
                for statement in node.body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ] or [ast.Pass()]
    return ast.unparse(tree)


def key_of(what: Any, version: str) -> str:
    """Names a compilation: the kernel's arguments and options, Triton's version, the sources."""
    text = json.dumps([what, version, _sources()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_report(folder: Path, key: str) -> dict[str, Any] | None:
    """The fields of a report that was kept, or None."""
    try:
        return json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_report(folder: Path, key: str, fields: dict[str, Any]) -> None:
    """Keep a report; the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
        json.dump(fields, file)
    os.replace(file.name, folder / f"{key}.json")  # noqa: PTH105
