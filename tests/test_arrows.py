"""Dependencies point one way (DESIGN.md). Read from the sources: nothing is imported or compiled.

A module is a file. Four things are checked, in Python and in Rust: a room imports only rooms below
it; no circle of files exists anywhere, inside a room too; nothing is imported by a name in a
string (optional extras aside); only `cli` prints.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
RUST = REPOSITORY / "bpe-rs" / "src"
PYTHON = {
    "gptpy": REPOSITORY / "gptpy",
    "gptpy_kernels": REPOSITORY / "triton_kernels" / "gptpy_kernels",
    "bpe_rs": REPOSITORY / "bpe-rs" / "python" / "bpe_rs",
}

# From the ground up. A room imports only rooms of lines above its own.
GPTPY_LEVELS = [
    {"config"},
    {"storage"},
    {"devices", "tokenizer"},
    {"model"},
    {"runs", "interop"},
    {"data"},
    {"inference", "evaluation"},
    {"report"},
    {"train"},
    {"quickstart"},
    {"cli"},
]
# Which other package a room may import, beside those that every room may (numpy, torch, ...).
PACKAGES = {"bpe_rs": {"tokenizer", "data"}, "gptpy_kernels": {"model"}}

# Imports by string that stay: names loaded on first use, so that `import gptpy` is quick; modules
# that other packages add to tiktoken by its plug-in convention.
BY_STRING = {
    "gptpy/__init__.py",
    "bpe-rs/python/bpe_rs/tiktoken/_plugins.py",
}

Graph = dict[str, set[str]]


def circles(graph: Graph) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan 1972), sorted."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in order:
            visit(node)
    return sorted(found)


# ---- Python


def python_modules(package: str) -> dict[str, Path]:
    """Every file of a package by its dotted name; a package's `__init__` bears the folder's."""
    root = PYTHON[package]
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = [package, *path.relative_to(root).with_suffix("").parts]
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def runtime_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run, inside functions too: all but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from runtime_imports(ast.Module([other], []))
        else:
            yield from runtime_imports(node)


def imported_names(path: Path, module: str) -> set[str]:
    """Dotted names that a file imports, relative ones resolved: modules, and names inside them."""
    inside = module.split(".")
    if path.name != "__init__.py":
        inside = inside[:-1]
    names: set[str] = set()
    for node in runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
            continue
        source = node.module or ""
        if node.level:
            base = inside[: len(inside) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
        names.update(f"{source}.{alias.name}" for alias in node.names)
    return names


def room_of(module: str) -> str:
    """The first folder or file below the package; empty for the package itself."""
    return [*module.split("."), ""][1]


def python_graph(package: str) -> Graph:
    """Which file imports which: a name that is no file belongs to the file that defines it."""
    modules = python_modules(package)
    root = PYTHON[package]
    # An extension module has a stub and no source: nothing is imported from there
    stubs = {
        ".".join([package, *p.relative_to(root).with_suffix("").parts]) for p in root.rglob("*.pyi")
    }
    graph: Graph = {}
    for module, path in modules.items():
        targets = set()
        for name in imported_names(path, module):
            while name and name not in modules and name not in stubs:
                name = name.rpartition(".")[0]
            targets.add(name)
        graph[module] = targets - stubs - {"", module}
    return graph


@pytest.mark.parametrize(
    "package",
    PYTHON,
)
def test_python_files_form_no_circle(package: str):
    assert circles(python_graph(package)) == []


def test_gptpy_rooms_point_down():
    level_of = {room: level for level, rooms in enumerate(GPTPY_LEVELS) for room in rooms}
    for module, targets in python_graph("gptpy").items():
        room = room_of(module)
        if room in {"", "__main__"}:  # the package's public list, and `python -m gptpy`
            continue
        assert room in level_of, f"{module}: place the room {room!r} in GPTPY_LEVELS"
        for target in targets:
            other = room_of(target)
            assert other == room or (other and level_of[other] < level_of[room]), (
                f"{module} imports {target}"
            )


def test_packages_below_do_not_know_those_above():
    for package, above in (("bpe_rs", {"gptpy", "gptpy_kernels"}), ("gptpy_kernels", {"gptpy"})):
        for module, path in python_modules(package).items():
            tops = {name.split(".")[0] for name in imported_names(path, module)}
            assert not tops & above, f"{module} imports {sorted(tops & above)}"
            if package == "bpe_rs":
                assert "torch" not in tops or "hf" in module.split("."), f"{module} imports torch"


def test_only_some_rooms_know_the_packages_below():
    for module, path in python_modules("gptpy").items():
        room = room_of(module)
        for package, rooms in PACKAGES.items():
            names = {name.split(".")[0] for name in imported_names(path, module)}
            assert package not in names or not room or room in rooms, f"{module} imports {package}"


def test_nothing_is_imported_by_string():
    """`import_module("gptpy.x")` and `__import__` hide an arrow from every reader and tool."""
    for package in PYTHON:
        for path in python_modules(package).values():
            if path.relative_to(REPOSITORY).as_posix() in BY_STRING:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                    "import_module",
                    "__import__",
                ):
                    argument = ast.unparse(node.args[0]) if node.args else ""
                    own = any(name in argument for name in PYTHON)
                    assert isinstance(node.args[0], ast.Constant) and not own, (
                        f"{path}:{node.lineno} imports {argument} by string"
                    )


def test_only_cli_prints():
    for package in PYTHON:
        for module, path in python_modules(package).items():
            if module.startswith("gptpy.cli"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id != "print", f"{path}:{node.lineno} prints"


# ---- Rust

# From the ground up, as above. Features may leave rooms out; the arrows stay.
RUST_LEVELS = [
    {"error"},
    {"io", "threads", "simd", "memory"},
    {"pretokenize", "vocab"},
    {"encode", "decode", "special"},
    {"encoding"},
    {"unstable", "offsets", "registry"},
    {"format", "train"},
    {"words"},
    {"files"},
    {"hf"},
    {"python"},
]


def rust_modules() -> dict[str, Path]:
    """Every file of the crate by its path of modules, `encode::cache`; `mod.rs` bears the folder's
    name, `lib.rs` none."""
    modules = {}
    for path in sorted(RUST.rglob("*.rs")):
        parts = list(path.relative_to(RUST).with_suffix("").parts)
        if not only_for_tests(path, parts[-1]) and "tests" not in parts[:-1]:
            modules["::".join(parts[:-1] if parts[-1] in ("mod", "lib") else parts)] = path
    return modules


def only_for_tests(path: Path, name: str) -> bool:
    """Whether the file's parent declares it under `#[cfg(test)]`."""
    parents = (path.parent / "mod.rs", path.parent.with_suffix(".rs"), RUST / "lib.rs")
    declared = re.compile(rf"#\[cfg\(test\)\]\s*mod {name};")
    return any(p.is_file() and declared.search(p.read_text(encoding="utf-8")) for p in parents)


def rust_paths(text: str) -> Iterator[str]:
    """The paths below `crate::` and `super::` that a source names; `{a, b::c}` one by one.

    Comments, strings and `#[cfg(test)]` modules are left out.
    """
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    text = re.split(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod \w+ \{", text)[0]
    for found in re.finditer(r"\b((?:super::)+|crate::)((?:\w+::)*)(\w+|\{)", text):
        prefix = found[1] + found[2]
        if found[3] != "{":
            yield prefix + found[3]
            continue
        depth, item, start = 0, "", found.end()
        for character in text[start:]:
            if character == "{":
                depth += 1
            if character == "}":
                depth -= 1
            if depth < 0 or (character == "," and depth == 0):
                name = item.split("{")[0].split(" as ")[0].strip()
                if name:
                    yield prefix + name.removesuffix("::")
                item = ""
                if depth < 0:
                    break
            else:
                item += character


def rust_graph() -> Graph:
    """Which file uses which through `crate::` or `super::`.

    What a `mod.rs` uses of its own children, which it declares, is no arrow: it could not be
    otherwise.
    """
    modules = rust_modules()
    graph: Graph = {}
    for module, path in modules.items():
        inside = module.split("::") if module else []
        targets = set()
        for found in rust_paths(path.read_text(encoding="utf-8")):
            parts = found.split("::")
            base = list(inside) if parts[0] == "super" else []
            while parts and parts[0] in ("super", "crate"):
                if parts.pop(0) == "super":
                    base = base[:-1]
            target = [*base, *parts]
            while target and "::".join(target) not in modules:
                target.pop()
            if target:
                targets.add("::".join(target))
        graph[module] = targets - {module}
    del graph[""]
    return graph


def test_rust_files_form_no_circle():
    assert circles(rust_graph()) == []


def test_rust_rooms_point_down():
    level_of = {room: level for level, rooms in enumerate(RUST_LEVELS) for room in rooms}
    for module, targets in rust_graph().items():
        room = module.split("::")[0]
        assert room in level_of, f"{module}: place the room {room!r} in RUST_LEVELS"
        for target in targets:
            other = target.split("::")[0]
            assert other == room or level_of[other] < level_of[room], f"{module} uses {target}"


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
