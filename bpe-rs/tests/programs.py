"""Programs in an interpreter of their own."""

import os
import subprocess
import sys


def run_program(code: str, *arguments: str, **environment: str) -> str:
    """What the program prints. The test fails with its errors if it fails or hangs."""
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
