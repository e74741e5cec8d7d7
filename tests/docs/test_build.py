"""The documentation builds without a warning."""

import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

pytest.importorskip("sphinx")


def test_builds_without_warnings(tmp_path: Path) -> None:
    folders = ["-d", str(tmp_path / "trees"), ".", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/docs/index.html").is_file()
    assert (tmp_path / "out/index.html").is_file()
