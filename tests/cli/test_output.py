"""Text in an output that cannot hold it."""

import os
import subprocess
import sys

import pytest

from gptpy.cli import errors

PROGRAM = """
import sys
from gptpy.cli.errors import escape_unprintable
from gptpy.cli.show import table
escape_unprintable()
print("caf\\u00e9 \\u65e5 \\U0001f44d", flush=True)
table("\\u65e5", [("a", "\\u65e5")])
print("\\u65e5", file=sys.stderr)
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_characters_are_escaped_with_a_word(encoding):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    if encoding == "utf-8":
        assert "café 日 👍" in out and err.strip() == "日"
        return
    first = {"ascii": "caf\\xe9"}.get(encoding, "café")
    assert out.startswith(f"{first} \\u65e5 \\U0001f44d")
    assert err.count("written as escapes") == 1 and "PYTHONIOENCODING=utf-8" in err
    assert err.splitlines()[-1] == "\\u65e5"


def test_streams_that_cannot_be_changed_are_left(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    errors.escape_unprintable()
