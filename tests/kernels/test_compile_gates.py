"""What the GPU would run, compiled without one: no spills, shared memory within the limit, wgmma
and bulk copies where they are meant to be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gptpy_kernels.attention import configs
from gptpy_kernels.attention.gates import Case
from gptpy_kernels.compilation import KernelReport

SCRIPT = Path(__file__).with_name("compile_gate.py")


def cases_of(kind: str, dtypes: list[str], dims: list[int], levels: list[str]) -> list[Case]:
    itemsize = {"bf16": 2, "fp16": 2, "fp32": 4}
    return [
        Case(
            kernel, architecture, dtype, dim, level,
            configs.choose(kernel, kind, max(16, dim), itemsize[dtype], level),
        )
        for architecture in configs.CLASS_ARCHITECTURES[kind]
        for dtype in dtypes
        for dim in dims
        for level in levels
        for kernel in configs.KERNELS
    ]  # fmt: skip


def class_of(architecture: int) -> str:
    return next(k for k, values in configs.CLASS_ARCHITECTURES.items() if architecture in values)


def compile_all(cases: list[Case]) -> dict[Case, Any]:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env=environment,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(cases, json.loads(done.stdout), strict=True))


def assert_clean(case: Case, result: dict[str, Any]) -> KernelReport:
    assert "report" in result, result.get("error")
    report = KernelReport(**result["report"])
    kind = class_of(case.architecture)
    assert not report.problems(configs.SHARED_MEMORY_LIMIT[kind]), str(case)
    if case.dtype != "fp32" and kind == "hopper" and case.config.tma:
        assert report.counts["hgmma"] and not report.counts["hmma"], f"{case}: not all wgmma"
        assert report.counts["tma_load"], f"{case}: no bulk copies"
    return report


FAST = cases_of("hopper", ["bf16"], [128], ["causal"]) + cases_of(
    "large", ["bf16"], [64], ["causal"]
)


@pytest.fixture(scope="session")
def fast_results() -> dict[Case, Any]:
    pytest.importorskip("triton")
    return compile_all(FAST)


@pytest.mark.parametrize("case", FAST, ids=str)
def test_kernels_compile_clean(case, fast_results):
    assert_clean(case, fast_results[case])
