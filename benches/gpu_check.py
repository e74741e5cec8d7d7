"""Run the kernel tests on this machine's GPU, or say why that cannot be done: `make gpu-check`.

Uses the Python it is started with and needs nothing installed but torch, triton, numpy and pytest:
the packages are found through PYTHONPATH. Exit code 0 when the tests passed or there is no GPU
(said so in words), 1 when they failed.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def gpu_environment() -> dict[str, str]:
    """The environment in which kernels are compiled for the GPU and found in this checkout."""
    paths = [REPOSITORY, REPOSITORY / "triton_kernels", REPOSITORY / "bpe-rs" / "python"]
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *([known] if known else [])]),
        "TRITON_INTERPRET": "0",
        "TRITON_DEFAULT_FP_FUSION": "1",
        "GPTPY_KERNEL_DEVICE": "cuda",
        "GPTPY_HOPPER_KERNEL": "1",
    }


def why_not() -> str | None:
    """Why kernels cannot run on this machine's GPU, or None."""
    sys.path[:0] = [str(REPOSITORY / "triton_kernels")]
    os.environ["TRITON_INTERPRET"] = "0"
    try:
        from gptpy_kernels import available
    except ImportError as error:
        return f"{sys.executable}: {error}"
    ready, reason = available("cuda")
    return None if ready else reason


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--timeout", type=int, default=900, help="seconds for all tests together")
    parser.add_argument("pytest_args", nargs="*", help="passed on to pytest, after --")
    arguments = parser.parse_args()
    reason = why_not()
    if reason is not None:
        print(f"gpu-check: no GPU tests run: {reason}")
        print("gpu-check: `make test` checks the same kernels in Triton's interpreter instead")
        return 0
    command = [
        sys.executable, "-m", "pytest", "tests/kernels", "--rootdir", str(REPOSITORY),
        "--import-mode=importlib", "-p", "no:cacheprovider", "-o", "addopts=", "-q",
        "--ignore=tests/kernels/test_compile_gates.py", *arguments.pytest_args,
    ]  # fmt: skip
    # A barrier mistake hangs the GPU for good: the limit ends the process, not the machine.
    try:
        return subprocess.run(
            command, cwd=REPOSITORY, env=gpu_environment(), timeout=arguments.timeout
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"gpu-check: no result within {arguments.timeout} s: a kernel may hang")
        return 1


if __name__ == "__main__":
    sys.exit(main())
