"""JavaScript modules as one script: pages opened from a disk cannot import files."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (function|class|const) (\w+)", re.MULTILINE)


def bundled(entry: Path, folder: Path) -> str:
    """`entry` and the modules that it imports, its own first from its folder, then from `folder`.

    Each module becomes a function that returns what it exports, in the order of its imports. Only
    the forms `import { a, b } from "./name.js"` and `export function|class|const name` are known;
    `ValueError` for another one and for imports in a circle.
    """
    done: dict[str, str] = {}
    _add(entry.stem, entry, folder, done, ())
    return "\n".join(done.values())


def _add(name: str, path: Path, folder: Path, done: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{path}: imports in a circle: {' > '.join([*above, name])}")
    text = path.read_text(encoding="utf-8")
    for _, other in _IMPORT.findall(text):
        if other not in done:
            _add(other, folder / f"{other}.js", folder, done, (*above, name))
    text = _IMPORT.sub(lambda m: f"const {{{m[1]}}} = module_{m[2]};\n", text)
    names = [m[2] for m in _EXPORT.finditer(text)]
    text = _EXPORT.sub(r"\1 \2", text)
    left = re.search(r"^(import|export) .*", text, re.MULTILINE)
    if left is not None:
        raise ValueError(f"{path}: a form that is not bundled: {left[0]!r}")
    done[name] = f"const module_{name} = (() => {{\n{text}return {{ {', '.join(names)} }};\n}})();"
