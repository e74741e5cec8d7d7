"""The names under which the packages are published: those on the index belong to others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV") or shutil.which("uv")  # `uv run` names itself


def run(*command: str | Path, cwd: Path = REPOSITORY) -> None:
    if UV is None:
        pytest.skip("uv is not at hand")
    subprocess.run([UV, *map(str, command)], cwd=cwd, check=True, capture_output=True)


def requirements(metadata: str) -> set[str]:
    lines = Parser().parsestr(metadata).get_all("Requires-Dist", [])
    return {re.split(r"[^\w.-]", line)[0] for line in lines}


def test_the_wheel_of_gptpy_lm(tmp_path):
    run("build", "--wheel", "--python", sys.executable, "--package", "gptpy-lm", "-o", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        metadata = archive.read(name).decode("utf-8")
        folders = {n.partition("/")[0] for n in archive.namelist() if ".dist-info" not in n}
    assert Parser().parsestr(metadata)["Name"] == "gptpy-lm"
    assert folders == {"gptpy", "gptpy_kernels"}
    wanted = requirements(metadata)
    assert {"gptpy-bpe", "torch", "numpy", "safetensors"} <= wanted
    assert not wanted & {"bpe-rs", "gptpy"}, "these names belong to others"


def test_the_wheel_of_gptpy_bpe(tmp_path):
    """Its metadata as maturin writes it; `make wheels` reads that of the compiled wheel."""
    hook = "import maturin, sys; maturin.prepare_metadata_for_build_wheel(sys.argv[1])"
    python = ["--python", sys.executable, "python", "-c", hook]
    run("run", "--no-project", "--with", "maturin", *python, tmp_path, cwd=REPOSITORY / "bpe-rs")
    (path,) = tmp_path.glob("*.dist-info/METADATA")
    metadata = path.read_text(encoding="utf-8")
    assert Parser().parsestr(metadata)["Name"] == "gptpy-bpe"
    assert requirements(metadata) <= {"numpy", "pyarrow"}
