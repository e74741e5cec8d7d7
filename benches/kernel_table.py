"""What the assembler made of every kernel, without a GPU: `make kernel-table`.

Registers, spills, shared memory and instruction counts of every entry of the static table of
attention tiles, and of the fused and decoding kernels (about four seconds a kernel). Writes
benches/records/kernel-table.md with --write.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "triton_kernels"), str(REPOSITORY / "tools")]

from gptpy_kernels.attention import configs  # noqa: E402
from kernel_gates import attention, decoding, fused  # noqa: E402
from kernel_gates.compilation import KernelReport, compile_all  # noqa: E402

COLUMNS = ("kernel", "sm", "dtype", "size", "level", "tile", "warps", "stages", "TMA", "registers",
           "spilled", "shared", "wgmma", "tcgen05", "mma", "TMA loads", "exp2", "instructions",
           "products", "barriers", "predicted", "verdict")  # fmt: skip


def waste(case: Any, report: KernelReport) -> list[str]:
    """Products issued over needed, barriers in the loop, predicted share of peak and its bound."""
    if not isinstance(case, attention.Case) or report.loop is None:
        return ["", "", ""]
    issued, share = case.duplication(report), case.predicted_share(report)
    return [
        f"{issued:.2f} x" if issued else "",
        str(report.loop.barriers),
        f"{share[0]:.0%} ({share[1]})" if share else "",
    ]


def row(case: Any, report: KernelReport | str) -> list[str]:
    left = [case.kernel, case.architecture, case.dtype, case.size, "", "", "", "", ""]
    if isinstance(case, attention.Case):
        c = case.config
        left[4:] = [case.features, f"{c.block_m}x{c.block_n}", c.num_warps, c.num_stages,
                    "yes" if c.tma else "no"]  # fmt: skip
    elif isinstance(case, decoding.Case):
        left[0] = f"decoding {case.kernel}"
        left[4:6] = ["paged" if case.paged else "", f"{case.rows} rows"]
    if isinstance(report, str):
        right = [""] * 12 + [report.splitlines()[-1][:60]]
    else:
        n = report.counts
        right = [report.registers, report.spilled_bytes, report.shared_bytes, n["hgmma"],
                 n["tcgen05"], n["hmma"], n["tma_load"], n["exp2"], report.instructions,
                 *waste(case, report),
                 "; ".join(case.problems(report)) or "clean"]  # fmt: skip
    return [str(cell) for cell in (*left, *right)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--class", dest="kind", choices=sorted(configs.CLASS_ARCHITECTURES),
        help="one class of devices; all by default",
    )  # fmt: skip
    parser.add_argument("--head-dim", type=int, help="attention at one padded head dim only")
    parser.add_argument("--write", action="store_true", help="also write the record")
    arguments = parser.parse_args()
    try:
        import triton
    except ImportError:
        print("kernel-table: triton is not installed (it exists for Linux and Windows)")
        return 2
    kinds = [arguments.kind] if arguments.kind else list(configs.CLASS_ARCHITECTURES)
    cases: list[Any] = [*attention.table_cases(kinds)]
    cases += attention.hopper_cases() if "hopper" in kinds else []
    if arguments.head_dim:
        cases = [case for case in cases if case.head_dim == arguments.head_dim]
    else:
        architectures = [a for kind in kinds for a in configs.CLASS_ARCHITECTURES[kind]]
        for module in (fused, decoding):
            wanted = [a for a in module.ARCHITECTURES if a in architectures]
            cases += module.table_cases(wanted)
    rows = [row(c, r) for c, r in zip(cases, compile_all(cases), strict=True)]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]

    def line(cells: tuple[str, ...] | list[str]) -> str:
        padded = [f" {x:<{w}} " for x, w in zip(cells, widths, strict=True)]
        return "|" + "|".join(padded) + "|"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    table = "\n".join([line(COLUMNS), rule, *map(line, rows)])
    print(table)
    refused = sum(r[-1] != "clean" for r in rows)
    print(f"\n{len(rows)} kernels compiled with triton {triton.__version__}, {refused} refused")
    if arguments.write:
        text = (
            "# Kernels as compiled\n\n"
            f"triton {triton.__version__}, ahead of time, no GPU: `make kernel-table`. wgmma, "
            "tcgen05, mma, TMA loads and exp2 count machine instructions. products: matrix "
            "operations in the loop over full tiles, over those needed. predicted: share of the "
            "matrix units' peak that the busiest unit leaves, if all overlap; not measured.\n\n"
            + table
            + "\n"
        )
        path = REPOSITORY / "benches" / "records" / "kernel-table.md"
        path.write_text(text, encoding="utf-8")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
