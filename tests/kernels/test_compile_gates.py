"""What a GPU would run, compiled without one: no spills, shared memory within the limit, warp-group
products (wgmma) and bulk copies (TMA) where they are meant to be."""

from typing import Any

import pytest
from gptpy_kernels.attention import configs
from kernel_gates import attention, decoding, fused
from kernel_gates.attention import Case
from kernel_gates.compilation import SASS_PATTERNS, KernelReport, compile_all


def assert_clean(case: Any, report: KernelReport | str) -> None:
    assert isinstance(report, KernelReport), report
    assert not case.problems(report), str(case)


def select(kind: str, kernel: str, head_dim: int) -> Case:
    config = configs.choose(kernel, kind, head_dim, 2, "causal")
    return Case(kernel, configs.CLASS_ARCHITECTURES[kind][0], "bf16", head_dim, "causal", config)


FAST = [
    *(select("hopper", kernel, 128) for kernel in configs.KERNELS),
    *(select("large", kernel, 64) for kernel in configs.KERNELS),
    select("blackwell", "forward", 64),
    attention.hopper_cases()[2],
    fused.Case("cross_entropy", 80, "bf16", 50304),
    fused.Case("rms_norm_backward", 100, "bf16", 4096),
    decoding.Case("split", 90, "bf16", 128, 8, True),
]
ALL = [
    *attention.table_cases(), *attention.hopper_cases(), *fused.table_cases(),
    *decoding.table_cases(),
]  # fmt: skip


@pytest.fixture(scope="session")
def fast_reports() -> dict[Any, KernelReport | str]:
    pytest.importorskip("triton")
    return dict(zip(FAST, compile_all(FAST), strict=True))


@pytest.mark.parametrize("case", FAST, ids=str)
def test_kernels_compile_clean(case, fast_reports):
    assert_clean(case, fast_reports[case])


@pytest.fixture(scope="session")
def all_reports() -> dict[Any, KernelReport | str]:
    pytest.importorskip("triton")
    return dict(zip(ALL, compile_all(ALL), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_entry_of_the_table_compiles_clean(case, all_reports):
    assert_clean(case, all_reports[case])


def test_a_spilling_kernel_is_refused():
    """The gate itself: a tile far too large for the registers must not pass."""
    none = dict.fromkeys(SASS_PATTERNS, 0)
    report = KernelReport(255, 8, 16, 150_000, 100, {**none, "local_store": 2, "local_load": 2}, ())
    assert report.problems(90) == ["spills 16 bytes (2 local stores, 2 loads)"]
    clean = report._replace(spilled_bytes=0, counts=none)
    assert clean.problems(80) == []
    assert clean.problems(89) == ["shared memory 150000 > 101376 bytes"]
    serial = clean._replace(warnings=("Potential Performance Loss: wgmma serialized",))
    assert serial.problems(90) == ["Potential Performance Loss: wgmma serialized"]


def test_a_kernel_that_misses_the_instructions_meant_is_refused():
    none = dict.fromkeys(SASS_PATTERNS, 0)
    report = KernelReport(128, 0, 0, 1000, 100, none, ())
    config = configs.TileConfig(64, 64, 8, 2, tma=True)
    hopper = Case("forward", 90, "bf16", 64, "causal", config)
    assert hopper.problems(report) == ["no warp-group products", "no bulk copies"]
    mixed = report._replace(counts={**none, "hgmma": 4, "hmma": 3, "tma_load": 1})
    assert hopper.problems(mixed) == ["3 products without a warp group"]
    assert hopper._replace(architecture=100).problems(report) == [
        "no bulk copies", "no fifth-generation matrix products",
    ]  # fmt: skip
    assert (
        hopper._replace(architecture=80, config=config._replace(tma=False)).problems(report) == []
    )


def test_a_compiler_error_is_a_complaint_not_a_crash():
    pytest.importorskip("triton")
    (complaint,) = compile_all([fused.Case("rope", 90, "no such type", 64)])
    assert isinstance(complaint, str) and complaint
