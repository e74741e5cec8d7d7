"""`import gptpy` is quick, and refuses a `bpe_rs` that another project has installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gptpy


def imported(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new process that finds `paths` before everything else."""
    root = str(Path(gptpy.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), root])}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def test_only_what_is_used_is_imported():
    heavy = "{'torch', 'numpy', 'pydantic', 'bpe_rs', 'importlib.metadata'}"
    for code in ("import gptpy", "from gptpy.cli import _parser; _parser().format_help()"):
        done = imported(f"{code}; import sys; print(sorted({heavy} & set(sys.modules)))")
        assert done.stdout.strip() == "[]", (code, done)


def test_every_public_name_is_found():
    for name in gptpy._MODULES:
        assert getattr(gptpy, name) is not None and name in dir(gptpy)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        gptpy.Nothing  # noqa: B018


def foreign_package(folder: Path, *, installed: bool) -> Path:
    """What an unrelated project puts under the same name, as pip or as somebody's folder."""
    package = folder / "bpe_rs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from ._bpe_rs import Tokenizer\n")
    if installed:
        about = folder / "bpe_rs-9.9.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bpe-rs\nVersion: 9.9\n")
        (about / "RECORD").write_text("bpe_rs/__init__.py,,\nbpe_rs-9.9.dist-info/METADATA,,\n")
    return package / "__init__.py"


@pytest.mark.parametrize("installed", [True, False])
def test_a_foreign_bpe_rs_is_named_with_what_to_do(tmp_path, installed):
    found = foreign_package(tmp_path, installed=installed)
    done = imported("import gptpy", tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: gptpy needs its own bpe_rs") and str(found) in last
    if installed:
        assert "the distribution bpe-rs 9.9, not to gptpy-bpe" in last
        assert "pip uninstall bpe-rs" in last and "pip install gptpy-bpe" in last
    else:
        assert "to no installed distribution" in last and "pip install gptpy-bpe" in last


def test_a_folder_without_a_package_is_foreign_only_if_ours_is_missing(tmp_path):
    (tmp_path / "bpe_rs").mkdir()
    assert imported("import gptpy", tmp_path).returncode == 0, "a real package comes before it"
