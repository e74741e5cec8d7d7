"""The table of `make test-hf-matrix`: what was compared with Hugging Face's engine.

python tools/hf_matrix.py RESULTS.xml           # print the table
python tools/hf_matrix.py RESULTS.xml --write   # benches/records/hf-matrix.md
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

RECORD = Path(__file__).parents[1] / "benches/records/hf-matrix.md"
REAL = "test_hf_real_files"
COLUMNS = ("texts", "pairs", "decodes")
Table = dict[tuple[str, str], Counter[str]]


def read(path: Path) -> tuple[Table, dict[str, str]]:
    """What was compared, by kind (family or file) and name; and why files are refused."""
    rows: Table = {}
    refused: dict[str, str] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        _, bracket, name = case.get("name", "").partition("[")
        if not bracket:
            continue
        name = name.removesuffix("]")
        kind = "file" if REAL in case.get("classname", "") else "family"
        skipped = case.find("skipped")
        if skipped is not None:
            refused[name] = skipped.get("message", "")
            continue
        row = rows.setdefault((kind, name), Counter())
        for each in case.iter("property"):
            row[each.get("name", "")] += int(each.get("value", "0"))
        row["differences"] += sum(case.find(bad) is not None for bad in ("failure", "error"))
    return rows, refused


def table(rows: Table, refused: dict[str, str]) -> str:
    """The table in Markdown."""
    lines = [
        "| family or file | texts | pairs | decodes | differences |",
        "|---|---|---|---|---|",
    ]
    for (kind, name), row in sorted(rows.items()):
        counts = " | ".join(f"{row[column]:,}" for column in COLUMNS)
        title = name if kind == "family" else f"`{name}`"
        lines.append(f"| {title} | {counts} | {row['differences']} |")
    total: Counter[str] = sum(rows.values(), Counter())
    counts = " | ".join(f"{total[column]:,}" for column in COLUMNS)
    lines.append(f"| all ({len(rows)}) | {counts} | {total['differences']} |")
    lines += ["", *(f"Refused: `{name}`: {why}" for name, why in sorted(refused.items()))]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Read the arguments, print or write the table; exit 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows, refused = read(args.results)
    text = table(rows, refused)
    if args.write:
        today = datetime.date.today().isoformat()
        RECORD.write_text(
            "# Ids and encodings against Hugging Face's engine\n\n"
            f"Written by `make test-hf-matrix MATRIX_ARGS=--write`, {today}, `tokenizers` "
            f"{version('tokenizers')}. Compared of each text and pair: ids, type ids, tokens, "
            "offsets, masks, word and sequence ids, overflowing parts. A difference is a test that "
            f"failed.\n\n{text}",
            encoding="utf-8",
        )
    print(text)
    sys.exit(any(row["differences"] for row in rows.values()))


if __name__ == "__main__":
    main()
