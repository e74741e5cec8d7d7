"""What the assembler made of every kernel, without a GPU: `make kernel-table`.

Registers, spills, shared memory and instruction counts of every entry of the static table of
attention tiles, and of the fused and decoding kernels (four seconds a kernel and more). Reports are
kept in target/kernel-gates: an interrupted run goes on where it stopped, and what has not changed
is not compiled again. --kept shows what is there without compiling anything. --before COMMIT adds
the tiles of that commit that have changed since, by today's gates. Writes
benches/records/kernel-table.md with --write.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("triton_kernels", "tools", "benches")]

from gptpy_kernels.attention import configs  # noqa: E402
from kernel_gates import attention, decoding, fused  # noqa: E402
from kernel_gates.compilation import (  # noqa: E402
    NOT_COMPILED,
    STORE,
    KernelReport,
    compile_all,
    name_of,
)
from kernel_table_before import COLUMNS as BEFORE_COLUMNS  # noqa: E402
from kernel_table_before import before_rows, changed_since  # noqa: E402

COLUMNS = ("kernel", "device", "dtype", "size", "level", "tile", "warps", "stages", "TMA",
           "registers", "spilled", "shared", "wgmma", "tcgen05", "mma", "TMA loads", "exp2",
           "instructions", "products", "barriers", "predicted", "verdict")  # fmt: skip

Reports = list[tuple[Any, KernelReport | str]]

# Shares of the 989 TFLOP/s of an H100's 16-bit products without a mask at T = 16k, by head dim:
# FA2, cuDNN, FA3. From the figures of Shah et al., arXiv:2407.08608.
PUBLISHED = {
    "forward": {64: (324, 413, 497), 128: (370, 595, 648), 256: (326, 581, 756)},
    "backward": {64: (291, 433, 474), 128: (322, 516, 561)},
}
H100_PEAK = 989


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
    left = [case.kernel, name_of(case.architecture), case.dtype, case.size, *[""] * 5]
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
                 n["tcgen05"], n["hmma"] + n["mfma"], n["tma_load"], n["exp2"],
                 report.instructions, *waste(case, report),
                 "; ".join(case.problems(report)) or "clean"]  # fmt: skip
    return [str(cell) for cell in (*left, *right)]


def markdown(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: tuple[str, ...] | list[str]) -> str:
        padded = [f" {x:<{w}} " for x, w in zip(cells, widths, strict=True)]
        return "|" + "|".join(padded) + "|"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([line(columns), rule, *map(line, rows)])


def shares(reports: Reports) -> dict[tuple[str, Any, int], float]:
    """Predicted shares of peak by kernel, architecture and head dim, for 16-bit causal attention.

    Where a class has two tables (with and without bulk copies) the better of the two.
    """
    found: dict[tuple[str, Any, int], float] = {}
    for case, report in reports:
        if not isinstance(case, attention.Case) or isinstance(report, str):
            continue
        share = case.predicted_share(report)
        if share is None or case.features != "causal":
            continue
        key = (case.kernel, case.architecture, case.head_dim)
        found[key] = max(found.get(key, 0.0), min(share[0], 1.0))
    return found


def passes(found: dict[tuple[str, Any, int], float]) -> dict[tuple[str, Any, int], float]:
    """From shares of kernels those of passes: "forward", "backward".

    A backward pass counts five products. Ours computes seven, in two kernels.
    """
    result = {}
    for architecture, dim in dict.fromkeys((a, d) for _, a, d in found):
        forward, keys, queries = (found.get((k, architecture, dim)) for k in attention.PRODUCTS)
        if forward:
            result["forward", architecture, dim] = forward
        if keys and queries:
            result["backward", architecture, dim] = 5 / (4 / keys + 3 / queries)
    return result


def against_others(reports: Reports, earlier: Reports) -> str:
    """Predicted shares beside published ones: a table for every architecture and head dim.

    earlier: reports of the tiles of an earlier commit, where they were others.
    """
    now = passes(shares(reports))
    then = passes({**shares(reports), **shares(earlier)}) if earlier else {}
    rows = []
    for (way, architecture, dim), share in now.items():
        published = PUBLISHED[way].get(dim) if architecture == 90 else None
        others = [f"{x / H100_PEAK:.0%}" for x in published] if published else ["", "", ""]
        # Fifth-generation products show no shape: their share would mean nothing.
        if architecture != 100:
            old = then.get((way, architecture, dim))
            before = f"{old:.0%}" if old else ""
            rows.append([way, name_of(architecture), str(dim), before, f"{share:.0%}", *others])
    columns = ("pass", "device", "D", "ours before", "ours, predicted", "FA2", "cuDNN", "FA3")
    return markdown(columns, rows)


def before(commit: str, workers: int, kept_only: bool) -> tuple[str, Reports]:
    """The section about the tiles of an earlier commit, and the reports of those tiles."""
    pairs = changed_since(commit)
    cases = [case for column in zip(*pairs, strict=True) for case in column]
    found = compile_all(cases, workers=workers, store=STORE, kept_only=kept_only)
    text = (
        f"## Tiles of {commit}, before and after\n\n"
        "Entries of the table of tiles at that commit that have changed since; both compiled from "
        "today's kernels and judged by today's gates. Predicted, not measured.\n\n"
        + markdown(BEFORE_COLUMNS, before_rows(pairs, found))
        + "\n\n"
    )
    return text, list(zip(cases, found, strict=True))[: len(pairs)]


def record(
    table: str, reports: Reports, missing: int, version: str, earlier: tuple[str, Reports]
) -> str:
    left_out = f" {missing} kernels are not compiled yet and missing here." if missing else ""
    return (
        "# Kernels as compiled\n\n"
        f"triton {version}, ahead of time, no GPU: `make kernel-table`. Nothing here is measured."
        f"{left_out}\n"
        "\n## Predicted shares of peak, beside published ones\n\n"
        "Predicted: what the busiest unit (matrix, shared memory, exponentials, instruction issue) "
        "leaves of the matrix units' peak in the loop over full tiles, if all units overlap "
        "perfectly: an upper bound. FA2, cuDNN and FA3 are measurements by others, of an H100 at "
        "T = 16k without a mask (arXiv:2407.08608), as shares of its 989 TFLOP/s. On an A100 FA2 "
        "reaches 73 % forward and 63 % backward at best (arXiv:2307.08691).\n\n"
        + against_others(reports, earlier[1])
        + "\n\n"
        + earlier[0]
        + "## Every kernel\n\n"
        "wgmma, tcgen05, mma (AMD: mfma), TMA loads and exp2 count machine instructions. products: "
        "matrix operations in the loop over full tiles, over those needed. On sm_100 the machine "
        "code shows no shape of products: predictions above 100 % mean nothing. gfx942 (AMD's "
        "MI300): registers of a thread, those that hold sums included; compiles, unmeasured.\n\n"
        + table
        + "\n"
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--class", dest="kind", choices=sorted(configs.CLASS_ARCHITECTURES),
        help="one class of devices; all by default",
    )  # fmt: skip
    parser.add_argument("--head-dim", type=int, help="attention at one padded head dim only")
    parser.add_argument("--workers", type=int, default=2, help="compilers at a time")
    parser.add_argument("--kept", action="store_true", help="compile nothing: what is there")
    parser.add_argument("--before", metavar="COMMIT", help="also tiles changed since a commit")
    parser.add_argument("--write", action="store_true", help="also write the record")
    arguments = parser.parse_args()
    if arguments.write and (arguments.kind or arguments.head_dim):
        parser.error("--write needs every kernel: leave --class and --head-dim away")
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
    found = compile_all(cases, workers=arguments.workers, store=STORE, kept_only=arguments.kept)
    everything = zip(cases, found, strict=True)
    reports = [
        (case, report)
        for case, report in everything
        if not (isinstance(report, str) and NOT_COMPILED in report)
    ]
    missing = len(cases) - len(reports)
    rows = [row(case, report) for case, report in reports]
    table = markdown(COLUMNS, rows)
    print(table)
    refused = sum(r[-1] != "clean" for r in rows)
    print(f"\n{len(rows)} kernels compiled with triton {triton.__version__}, {refused} refused")
    if missing:
        print(f"{missing} are not compiled yet")
    earlier: tuple[str, Reports] = ("", [])
    if arguments.before:
        earlier = before(arguments.before, arguments.workers, arguments.kept)
        print(earlier[0])
    if arguments.write:
        path = REPOSITORY / "benches" / "records" / "kernel-table.md"
        text = record(table, reports, missing, triton.__version__, earlier)
        path.write_text(text, encoding="utf-8")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
