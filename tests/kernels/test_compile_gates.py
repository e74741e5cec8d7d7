"""What a GPU would run, compiled without one: no spills, shared memory within the limit, warp-group
products (wgmma) and bulk copies (TMA) where they are meant to be."""

import pytest
from gptpy_kernels.attention import configs, gates
from gptpy_kernels.attention.gates import Case
from gptpy_kernels.compilation import KernelReport


def class_of(architecture: int) -> str:
    return next(k for k, values in configs.CLASS_ARCHITECTURES.items() if architecture in values)


def assert_clean(case: Case, report: KernelReport | str) -> None:
    assert isinstance(report, KernelReport), report
    kind = class_of(case.architecture)
    assert not report.problems(configs.SHARED_MEMORY_LIMIT[kind]), str(case)
    # Below 64 rows of 16 columns a tile is too small for warp-group instructions.
    if kind == "hopper" and case.config.tma and min(case.config[:2]) >= 32:
        assert report.counts["hgmma"] and not report.counts["hmma"], f"{case}: not all wgmma"
    if case.config.tma:
        assert report.counts["tma_load"], f"{case}: no bulk copies"
    if kind == "blackwell" and case.config.tma and case.kernel == "forward":
        assert report.counts["tcgen05"], f"{case}: no fifth-generation matrix products"


def select(kind: str, kernel: str, head_dim: int) -> Case:
    config = configs.choose(kernel, kind, head_dim, 2, "causal")
    return Case(kernel, configs.CLASS_ARCHITECTURES[kind][0], "bf16", head_dim, "causal", config)


FAST = [
    *(select("hopper", kernel, 128) for kernel in configs.KERNELS),
    *(select("large", kernel, 64) for kernel in configs.KERNELS),
    select("blackwell", "forward", 64),
    gates.hopper_cases()[2],
]
ALL = [*gates.table_cases(), *gates.hopper_cases()]


@pytest.fixture(scope="session")
def fast_reports() -> dict[Case, KernelReport | str]:
    pytest.importorskip("triton")
    return dict(zip(FAST, gates.compile_all(FAST), strict=True))


@pytest.mark.parametrize("case", FAST, ids=str)
def test_kernels_compile_clean(case, fast_reports):
    assert_clean(case, fast_reports[case])


@pytest.fixture(scope="session")
def all_reports() -> dict[Case, KernelReport | str]:
    pytest.importorskip("triton")
    return dict(zip(ALL, gates.compile_all(ALL), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_entry_of_the_table_compiles_clean(case, all_reports):
    assert_clean(case, all_reports[case])


def test_a_spilling_kernel_is_refused():
    """The gate itself: a tile far too large for the registers must not pass."""
    report = KernelReport(
        255, 8, 16, 1000, 100, dict.fromkeys(("local_store", "local_load"), 2), ()
    )
    assert report.problems(2000) == ["spills 16 bytes (2 local stores, 2 loads)"]
    clean = report._replace(spilled_bytes=0, counts={"local_store": 0, "local_load": 0})
    assert clean.problems(2000) == []
    assert clean.problems(999) == ["shared memory 1000 > 999 bytes"]
    serial = clean._replace(warnings=("Potential Performance Loss: wgmma serialized",))
    assert serial.problems(2000) == ["Potential Performance Loss: wgmma serialized"]
