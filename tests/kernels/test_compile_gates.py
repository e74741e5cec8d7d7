"""What a GPU would run, compiled without one: no spills, shared memory within the limit, warp-group
products (wgmma) and bulk copies (TMA) where they are meant to be."""

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from gptpy_kernels.attention import configs
from kernel_gates import (
    amd_code,
    attention,
    compilation,
    decoding,
    fused,
    machine_code,
    nvidia_code,
    reports,
)
from kernel_gates.attention import Case
from kernel_gates.compilation import REPOSITORY, STORE, KernelReport, compile_all
from kernel_gates.nvidia_code import PATTERNS


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
    select("amd", "forward", 64),
]
BROKEN = fused.Case("rope", 90, "no such type", 64)
ALL = [
    *attention.table_cases(), *attention.hopper_cases(), *fused.table_cases(),
    *decoding.table_cases(),
]  # fmt: skip


@pytest.fixture(scope="session")
def fast_reports() -> dict[Any, KernelReport | str]:
    pytest.importorskip("triton")
    cases = [*FAST, BROKEN]
    return dict(zip(cases, compile_all(cases), strict=True))


@pytest.mark.parametrize("case", FAST, ids=str)
def test_kernels_compile_clean(case, fast_reports):
    assert_clean(case, fast_reports[case])


@pytest.fixture(scope="session")
def all_reports() -> dict[Any, KernelReport | str]:
    pytest.importorskip("triton")
    return dict(zip(ALL, compile_all(ALL, store=STORE), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_entry_of_the_table_compiles_clean(case, all_reports):
    assert_clean(case, all_reports[case])


def test_a_spilling_kernel_is_refused():
    """The gate itself: a tile far too large for the registers must not pass."""
    none = dict.fromkeys(PATTERNS, 0)
    report = KernelReport(255, 8, 16, 150_000, 100, {**none, "local_store": 2, "local_load": 2}, ())
    assert report.problems(90) == ["spills 16 bytes (2 local stores, 2 loads)"]
    clean = report._replace(spilled_bytes=0, counts=none)
    assert clean.problems(80) == []
    assert clean.problems(89) == ["shared memory 150000 > 101376 bytes"]
    serial = clean._replace(warnings=("Potential Performance Loss: wgmma serialized",))
    assert serial.problems(90) == ["Potential Performance Loss: wgmma serialized"]


def test_a_kernel_that_misses_the_instructions_meant_is_refused():
    none = dict.fromkeys(PATTERNS, 0)
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


# Two loops, as a disassembler writes them: the first has a mask, the second is the loop over full
# tiles; a wait for a barrier and a trap at the end are loops without products.
SASS = """
        /*0010*/                   MOV R1, c[0x0][0x28] ;
        /*0020*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;
        /*0030*/                   MUFU.EX2 R3, R4 ;
        /*0040*/                   FSEL R3, R3, RZ, P1 ;
        /*0050*/               @P0 BRA 0x20 ;
        /*0060*/                   HGMMA.64x32x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0070*/                   HGMMA.64x32x16.F32.BF16 R24, R8, gdesc[UR4].tnspB, R24 ;
        /*0080*/                   MUFU.EX2 R3, R4 ;
        /*0090*/                   LDSM.16.M88.4 R12, [R7] ;
        /*00a0*/                   LDS.128 R16, [R7] ;
        /*00b0*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*00c0*/              @!P1 BRA 0xc0 ;
        /*00d0*/                   BRA 0x60 ;
        /*00e0*/                   BRA 0xe0;
"""


def test_loops_are_read_from_machine_code():
    masked, full = nvidia_code.loops(SASS, warps=8)
    assert masked.matrix_flops == 2 * 16 * 8 * 16 * 8 and masked.exp2 == 32 * 8
    assert full == machine_code.Loop(
        matrix_flops=2 * (2 * 64 * 32 * 16) * 2,  # two products of two warp groups
        exp2=32 * 8,
        shared_bytes=((64 + 32) + 32) * 16 * 2 * 2 + (512 + 512) * 8,
        barriers=1,
        instructions=8 * 8,
    )
    assert full.cycles(90)["exponentials"] == 32 * 8 / 16


def test_a_product_computed_twice_is_refused():
    """dK/dV of 64 keys by 8 warps: both warp groups need all scores, and compute them."""
    counts = {**dict.fromkeys(PATTERNS, 0), "hgmma": 1, "tma_load": 1}
    config = configs.TileConfig(64, 64, 8, 2, tma=True)
    case = Case("key_gradient", 90, "bf16", 128, "causal", config)
    loop = machine_code.Loop(case.matrix_flops, 64 * 64, 100_000, 5, 1000)
    report = KernelReport(128, 0, 0, 1000, 100, counts, (), loop)
    assert case.problems(report) == []
    share = case.predicted_share(report)
    assert share is not None and share[0] == 1 and share[1] == "matrix"
    twice = report._replace(loop=loop._replace(matrix_flops=loop.matrix_flops * 3 // 2))
    assert case.problems(twice) == ["1.50 times the matrix products that are needed"]
    assert case.predicted_share(twice) == (pytest.approx(2 / 3), "matrix")
    exact = case._replace(
        kernel="forward", dtype="fp32", config=config._replace(tma=False)
    )  # fmt: skip
    needed = exact.matrix_flops
    split = report._replace(loop=loop._replace(matrix_flops=3 * needed))
    assert exact.problems(split) == [], "float32 is multiplied in three TF32 parts"
    again = report._replace(loop=loop._replace(matrix_flops=6 * needed))
    assert exact.problems(again) == ["2.00 times the matrix products that are needed"]
    amd = exact._replace(architecture="gfx942")
    found = amd.problems(split._replace(counts={**counts, "mfma": 1}))
    assert found == ["3.00 times the matrix products that are needed"], "AMD's takes it whole"
    slow = case.predicted_share(report._replace(loop=loop._replace(shared_bytes=262_144)))
    assert slow == (pytest.approx(0.5), "shared memory")


AMDGCN = """
.LBB0_1:                                ; the loop with a mask
	v_mfma_f32_16x16x16_bf16 v[0:3], v[4:5], v[6:7], v[0:3]
	v_exp_f32_e32 v1, v1
	v_cndmask_b32_e32 v1, v2, v1, vcc
	v_cndmask_b32_e32 v1, v2, v1, vcc
	s_cbranch_scc1 .LBB0_1
.LBB0_2:                                ; the loop over full tiles
	ds_read_b128 v[8:11], v20
	ds_write2st64_b64 v21, v[0:1], v[2:3] offset1:4
	v_mfma_f32_32x32x8_bf16_1k a[0:15], v[4:5], v[6:7], a[0:15]
	v_exp_f32_e32 v1, v1
	v_pk_mul_f32 v[2:3], v[2:3], v[4:5]
	s_barrier
	s_add_i32 s0, s0, 64
	s_cbranch_scc0 .LBB0_2
	scratch_store_dwordx2 off, v[0:1], off offset:8
    .agpr_count:     16
    .group_segment_fixed_size: 0
    .private_segment_fixed_size: 24
    .vgpr_count:     140
    .vgpr_spill_count: 5
"""


def test_loops_are_read_from_amd_assembly():
    masked, full = amd_code.loops(AMDGCN, warps=4)
    assert masked.matrix_flops == 2 * 16 * 16 * 16 * 4 and masked.instructions == 3 * 4
    assert full == machine_code.Loop(
        matrix_flops=2 * 32 * 32 * 8 * 4,
        exp2=64 * 4,
        shared_bytes=(16 + 2 * 8) * 64 * 4,
        barriers=1,
        instructions=2 * 4,  # of the vector units
    )
    assert full.cycles("gfx942")["issue"] == 8
    metadata = SimpleNamespace(shared=70_000, num_warps=4)
    found = amd_code.read(SimpleNamespace(asm={"amdgcn": AMDGCN}, metadata=metadata), "")
    report = KernelReport(**found, warnings=())
    assert (report.registers, report.counts["mfma"], report.loop) == (140, 2, full)
    assert report.problems("gfx942") == [
        "spills 24 bytes (1 local stores, 0 loads)", "shared memory 70000 > 65536 bytes",
    ]  # fmt: skip


def test_a_compiler_error_is_a_complaint_not_a_crash(fast_reports):
    complaint = fast_reports[BROKEN]
    assert isinstance(complaint, str) and complaint


def test_reports_are_kept_until_a_kernel_changes(tmp_path, monkeypatch):
    key = reports.key_of(("forward", {"BLOCK_M": 64}), "3.9.0")
    assert key != reports.key_of(("forward", {"BLOCK_M": 32}), "3.9.0")
    assert key != reports.key_of(("forward", {"BLOCK_M": 64}), "3.10.0")
    assert reports.read_report(tmp_path, key) is None
    reports.write_report(tmp_path, key, {"registers": 7})
    assert reports.read_report(tmp_path, key) == {"registers": 7}
    (tmp_path / f"{key}.json").write_text('{"regis')  # a full disk
    assert reports.read_report(tmp_path, key) is None
    code = 'def f(x):\n    """What it does."""\n    return x  # why\n'
    assert reports._without_docstrings(code) == "def f(x):\n    return x"
    monkeypatch.setattr(reports, "_sources", lambda: "another kernel")
    assert key != reports.key_of(("forward", {"BLOCK_M": 64}), "3.9.0")


def test_what_is_kept_is_shown_without_compiling(tmp_path, monkeypatch):
    pytest.importorskip("triton")
    asked = []

    def read(folder, key):
        asked.append((folder, key))
        counts = dict.fromkeys(PATTERNS, 0)
        return {**GOOD, "counts": counts} if len(asked) == 1 else None

    monkeypatch.setattr(compilation, "read_report", read)
    case = fused.Case("rope", 90, "bf16", 64)
    found = compile_all([case, case._replace(columns=128)], store=tmp_path, kept_only=True)
    assert isinstance(found[0], KernelReport) and found[0].registers == 7
    assert found[1] == compilation.NOT_COMPILED
    assert [folder for folder, _ in asked] == [tmp_path] * 2 and asked[0][1] != asked[1][1]


GOOD = {
    "registers": 7, "stack_bytes": 0, "spilled_bytes": 0, "shared_bytes": 0, "instructions": 9,
    "warnings": [],
}  # fmt: skip


def test_tiles_that_have_changed_stand_beside_todays(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benches"))
    table = importlib.import_module("kernel_table_before")
    key = ("small", 2, "forward", "causal")
    earlier = {name: dict(entries) for name, entries in configs.TABLE.items()}
    earlier[key][64] = earlier[key][64]._replace(num_warps=16)
    monkeypatch.setattr(table, "tiles_of", lambda commit: earlier)
    pairs = table.changed_since("a commit")
    assert {now.architecture for _, now in pairs} == {89, 120}
    for then, now in pairs:
        assert then.config.num_warps == 16 and now.config == configs.TABLE[key][64]
        assert then._replace(config=now.config) == now
    row = table.before_rows(pairs, ["no result"] * 4)[0]
    assert len(row) == len(table.COLUMNS) and "16 warps" in row[5] and row[8] == "no result"
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="no table of tiles in no-such-commit"):
        table.tiles_of("no-such-commit")
