"""Packaging: stubs that match the extension, docs, examples, a crate without Python."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import bpe_rs
import bpe_rs.hf
import bpe_rs.tiktoken
import pytest
from programs import run_program

CRATE = Path(__file__).resolve().parent.parent
SURFACES = {"bpe_rs": bpe_rs, "bpe_rs.tiktoken": bpe_rs.tiktoken, "bpe_rs.hf": bpe_rs.hf}


def test_stubs_are_true(tmp_path: Path) -> None:
    """mypy's stubtest compares `_core.pyi` with the extension module itself."""
    pytest.importorskip("mypy", reason="mypy is in the dev group")
    command = [sys.executable, "-m", "mypy.stubtest", "bpe_rs._core", "--ignore-missing-stub"]
    # Classes laid out by Rust are disjoint bases (PEP 800), which type checkers do not know yet.
    command += ["--ignore-disjoint-bases", "--concise"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(inspect.getfile(bpe_rs)).parent / "py.typed").is_file()


def names(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    return sorted(listed or (n for n in vars(module) if not n.startswith("_")))


@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m, module in SURFACES.items() for n in names(module)]
)
def test_public_names_have_docs(module: str, name: str) -> None:
    value = getattr(SURFACES[module], name)
    if inspect.ismodule(value) or not (inspect.isclass(value) or callable(value)):
        return
    assert value.__doc__, f"{module}.{name} has no docstring"


@pytest.mark.parametrize("name", names(bpe_rs))
def test_public_names_have_a_runnable_example(name: str) -> None:
    """In the docstring, or for a class in one of its methods'; `test_doctests.py` runs them."""
    value = getattr(bpe_rs, name)
    docs = [value.__doc__ or ""]
    if inspect.isclass(value):
        docs += [inspect.getdoc(getattr(value, attribute)) or "" for attribute in vars(value)]
    if name != "Progress":  # only callbacks receive one
        assert any(">>>" in doc for doc in docs)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="needs cargo")
def test_the_crate_without_python_has_no_python_in_its_tree() -> None:
    command = ["cargo", "tree", "--offline", "--prefix", "none", "--edges", "normal,build"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CRATE)
    if done.returncode != 0 and "offline" in done.stderr:
        pytest.skip("the registry's packages are not on this machine")
    assert done.returncode == 0, done.stderr
    packages = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert "fancy-regex" in packages
    assert not {p for p in packages if p.startswith(("pyo3", "numpy", "python"))}


@pytest.mark.parametrize("level", ["sse9", "AVX2", "neon,portable"])
def test_an_unknown_level_is_an_error_at_import(level: str) -> None:
    """`BPE_RS_SIMD` selects instructions. A typo must be reported, and must not crash."""
    command = [sys.executable, "-c", "import bpe_rs"]
    env = {**os.environ, "BPE_RS_SIMD": level}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: BPE_RS_SIMD: expected one of portable"), last
    assert f'got "{level}"' in last


@pytest.mark.parametrize("level", ["", "portable"])
def test_a_known_level_is_used(level: str) -> None:
    code = "import bpe_rs; print(bpe_rs.get_encoding('gpt2').encode('hello world'))"
    assert run_program(code, BPE_RS_SIMD=level) == "[31373, 995]\n"
