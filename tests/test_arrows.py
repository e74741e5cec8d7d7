"""Dependencies point one way (DESIGN.md): read from the sources, so that no import runs."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON_ROOTS = {
    "gptpy": REPOSITORY / "gptpy",
    "gptpy_kernels": REPOSITORY / "triton_kernels" / "gptpy_kernels",
    "bpe_rs": REPOSITORY / "bpe-rs" / "python" / "bpe_rs",
}

# Lower rooms know nothing of higher ones: a module may import only from rooms below its own.
GPTPY_LEVELS = [
    {"config"},
    {"symbols"},
    {"atomic", "run_lock"},
    {
        "attention",
        "tokenizer",
        "precision",
        "schedule",
        "progress",
        "distributed",
        "shards",
    },
    {"model", "data", "optim", "parallel"},
    {"checkpoint", "plot"},
    {"generation", "evaluate", "loading", "export"},
    {"train"},
    {"quickstart", "finetune", "report", "compare"},
    {"cli"},
]
RUST_FORBIDDEN = {
    "error": {"pretokenize", "vocab", "encode", "decode", "train", "format", "words", "python"},
    "pretokenize": {"vocab", "encode", "decode", "train", "format", "words", "python"},
    "vocab": {"encode", "decode", "train", "words", "python"},
    "encode": {"train", "words", "python"},
    "decode": {"train", "words", "python"},
    "train": {"words", "python"},
    "format": {"train", "words", "python"},
    "words": {"python"},
}


def imported_modules(path: Path, package: str) -> set[str]:
    """Absolute names of the modules that a Python file imports, relative ones resolved."""
    names: set[str] = set()
    root = PYTHON_ROOTS[package]
    parts = (package, *path.relative_to(root).with_suffix("").parts)
    inside = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = inside[: len(inside) - node.level + 1]
                module = ".".join([*base, *([node.module] if node.module else [])])
            else:
                module = node.module or ""
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def python_files(package: str) -> list[Path]:
    return sorted(PYTHON_ROOTS[package].rglob("*.py"))


@pytest.mark.parametrize("package", ["bpe_rs", "gptpy_kernels"])
def test_lower_packages_do_not_know_gptpy(package: str):
    for path in python_files(package):
        tops = {name.split(".")[0] for name in imported_modules(path, package)}
        assert "gptpy" not in tops, f"{path} imports gptpy"
        if package == "bpe_rs":
            assert "torch" not in tops or "hf" in path.parts, f"{path} imports torch"


def test_config_imports_nothing_of_gptpy():
    for path in sorted((PYTHON_ROOTS["gptpy"] / "config").rglob("*.py")):
        for name in imported_modules(path, "gptpy"):
            assert not name.startswith("gptpy") or name.startswith("gptpy.config"), (
                f"{path} imports {name}"
            )


def test_gptpy_rooms_point_down():
    level_of = {room: level for level, rooms in enumerate(GPTPY_LEVELS) for room in rooms}
    root = PYTHON_ROOTS["gptpy"]
    for path in python_files("gptpy"):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        if room in {"__init__", "__main__"}:
            continue
        assert room in level_of, f"{path}: place the room {room!r} in GPTPY_LEVELS"
        for name in imported_modules(path, "gptpy"):
            parts = name.split(".")
            if parts[0] != "gptpy" or len(parts) < 2 or parts[1] not in level_of:
                continue
            other = parts[1]
            assert other == room or level_of[other] < level_of[room], (
                f"{path} (room {room}) imports {name}"
            )


def test_only_cli_prints():
    for package in PYTHON_ROOTS:
        for path in python_files(package):
            if package == "gptpy" and path.relative_to(PYTHON_ROOTS["gptpy"]).parts[0] == "cli":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id != "print", f"{path}:{node.lineno} prints"


def test_rust_rooms_point_down():
    source = REPOSITORY / "bpe-rs" / "src"
    for room, forbidden in RUST_FORBIDDEN.items():
        single = source / f"{room}.rs"
        files = [single] if single.exists() else sorted((source / room).rglob("*.rs"))
        for path in files:
            used = set(re.findall(r"\bcrate::(\w+)", path.read_text(encoding="utf-8")))
            assert not used & forbidden, f"{path} uses {sorted(used & forbidden)}"
