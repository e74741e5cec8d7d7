"""Tiles of an earlier commit beside today's, by today's gates: for `kernel_table.py --before`."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gptpy_kernels.attention import configs
from kernel_gates import attention
from kernel_gates.compilation import KernelReport, name_of

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = "triton_kernels/gptpy_kernels/attention"
COLUMNS = (
    "kernel", "device", "dtype", "D", "level",
    "tile before", "products before", "predicted before", "verdict before",
    "tile now", "products now", "predicted now", "verdict now",
)  # fmt: skip

Pairs = list[tuple[attention.Case, attention.Case]]


def tiles_of(commit: str) -> Any:
    """The table of tiles of a commit; RuntimeError for one that git does not know."""
    for name in ("tile_table", "configs"):  # where the table stood, the present place first
        shown = subprocess.run(
            ["git", "-C", str(REPOSITORY), "show", f"{commit}:{FOLDER}/{name}.py"],
            capture_output=True, check=False,
        )  # fmt: skip
        if not shown.returncode:
            break
    else:
        raise RuntimeError(f"no table of tiles in {commit}: {shown.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "earlier_tiles.py"
        path.write_bytes(shown.stdout)
        spec = importlib.util.spec_from_file_location("gptpy_kernels.attention.earlier_tiles", path)
        assert spec is not None and spec.loader is not None
        earlier = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = earlier  # its named tuples look for it
        spec.loader.exec_module(earlier)
    return earlier.TABLE


def changed_since(commit: str) -> Pairs:
    """The cases of the table of tiles of a commit that read differently today, beside today's."""
    earlier = tiles_of(commit)
    pairs = []
    for now in attention.table_cases():
        kind, itemsize = configs.class_of(now.architecture), 4 if now.dtype == "fp32" else 2
        key = (kind, itemsize, now.kernel, now.features)
        tile = earlier.get(key, {}).get(now.head_dim)
        # An architecture with two tables has cases of both.
        is_todays = now.config == configs.TABLE.get(key, {}).get(now.head_dim)
        if is_todays and tile is not None and tuple(tile) != tuple(now.config):
            pairs.append((now._replace(config=configs.TileConfig(*tile)), now))
    return pairs


def cells(case: attention.Case, report: KernelReport | str) -> list[str]:
    c = case.config
    tile = f"{c.block_m}x{c.block_n}, {c.num_warps} warps, {c.num_stages} stages"
    if isinstance(report, str):
        return [tile, "", "", report.splitlines()[-1][:60]]
    issued, share = case.duplication(report), case.predicted_share(report)
    return [
        tile,
        f"{issued:.2f} x" if issued else "",
        f"{share[0]:.0%} ({share[1]})" if share else "",
        "; ".join(case.problems(report)) or "clean",
    ]


def before_rows(pairs: Pairs, reports: list[Any]) -> list[list[str]]:
    """A row for each pair; the reports of all earlier cases, then of all of today's."""
    n = len(pairs)
    return [
        [
            now.kernel, name_of(now.architecture), now.dtype, str(now.head_dim), now.features,
            *cells(then, reports[i]), *cells(now, reports[n + i]),
        ]
        for i, (then, now) in enumerate(pairs)
    ]  # fmt: skip
