"""Hugging Face's own tests of `tokenizers` and of fast tokenizers, run on `bpe_rs.hf`.

python tools/hf_suites.py FOLDER            # unpacked sources; print the table
python tools/hf_suites.py FOLDER --write    # benches/records/hf-suites.md
python tools/hf_suites.py FOLDER --fetch    # fill FOLDER with the sources of the installed versions

FOLDER holds source distributions of the installed versions, or one other folder of each name, such
as a check-out: `tokenizers*` (with `bindings/python/tests` or `tests`) and `transformers*` (with
`tests/test_tokenization_common.py`); what is missing is skipped. Tests of another version are
counted under their folder's name and not recorded, because versions differ in their tests. The
tests are copied to a temporary folder and run there, offline.

The tests of single models, which that distribution leaves out: `hf_model_suites.py`.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benches/records/hf-suites.md"
PLUGIN = ROOT / "bpe-rs/tests/suites"
COLUMNS = (
    "passed",
    "refused by name",
    "needs the hub",
    "skipped by the test",
    "differs on purpose",
    "fails on theirs, too",
    "failed",
)
# Outcomes whose reasons are listed below the table.
LISTED = (
    "refused by name",
    "differs on purpose",
    "skipped by the test",
    "left out",
    "fails on theirs, too",
    "failed",
)
Outcomes = list[dict[str, str]]


def run(folder: Path, targets: Sequence[str], extra: dict[str, str] | None = None) -> Outcomes:
    """What became of each test of `targets`, run in `folder` with `extra` in the environment.

    Those that fail run once more with Hugging Face's engine.
    """
    found = run_once(folder, targets, extra or {}, control=False)
    failed = [name for name, each in found.items() if each["outcome"] == "failed"]
    if failed:
        for name, control in run_once(folder, failed, extra or {}, control=True).items():
            if control["outcome"] == "failed":
                ours, theirs = found[name]["reason"], control["reason"]
                found[name]["outcome"] = "fails on theirs, too"
                found[name]["reason"] = "" if ours == theirs else f"{ours}; theirs: {theirs}"
    return list(found.values())


def run_once(
    folder: Path, targets: Sequence[str], extra: dict[str, str], *, control: bool
) -> dict[str, dict[str, str]]:
    """The outcomes by test."""
    outcomes = folder / f"outcomes-{control}.jsonl"
    paths = [str(PLUGIN), str(folder), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_SUITE_OUTCOMES": str(outcomes),
        "HF_SUITE_CONTROL": str(int(control)),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        **extra,
    }
    options = ["-q", "-p", "hf_door", "-p", "no:cacheprovider", "--tb", "no", "--no-header"]
    options += [
        "-p",
        "no:benchmark",
        "-r",
        "N",
        "--disable-warnings",
        "--continue-on-collection-errors",
    ]
    options += ["-n", "auto", "--maxprocesses", "4", "--dist", "loadscope"]
    command = [sys.executable, "-m", "pytest", *options, "-c", os.devnull, "--rootdir", str(folder)]
    done = subprocess.run([*command, *targets], cwd=folder, env=environment, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest stopped with status {done.returncode}")
    # Sub-tests and teardowns report more than once: the last report that is no success counts.
    found: dict[str, dict[str, str]] = {}
    for line in map(json.loads, outcomes.read_text(encoding="utf-8").splitlines()):
        known = found.get(line["test"])
        if known is None or known["outcome"] == "passed":
            found[line["test"]] = line
    return found


def tokenizers_tests(source: Path, work: Path) -> Outcomes:
    """The tests of the Python package `tokenizers`."""
    tests = next(p for p in (source / "bindings/python/tests", source / "tests") if p.is_dir())
    # The fixtures ask for a folder of this name.
    folder = work / "python"
    shutil.copytree(tests, folder / "tests")
    (folder / "tests/data").mkdir(exist_ok=True)
    return run(folder, ["tests"])


def transformers_tests(source: Path, work: Path) -> Outcomes:
    """The tests that all fast tokenizers of `transformers` share, on every BPE class."""
    folder = work / "transformers"
    (folder / "tests/fixtures").mkdir(parents=True)
    for path in (source / "tests").glob("test_*mixin.py"):
        shutil.copy(path, folder / "tests")
    shutil.copy(source / "tests/test_tokenization_common.py", folder / "tests")
    (folder / "tests/__init__.py").touch()
    text = "The quick brown fox jumps over the lazy dog.\nThis is a test.\n" * 8
    (folder / "tests/fixtures/sample_text.txt").write_text(text, encoding="utf-8")
    # Inside, because tests are named by their path below the folder.
    shutil.copy(PLUGIN / "transformers_families.py", folder)
    return run(folder, ["transformers_families.py"])


SUITES = {"tokenizers": tokenizers_tests, "transformers": transformers_tests}


def fetch(folder: Path) -> None:
    """The source distributions of the installed versions, unpacked; needs pip and a network."""
    with tempfile.TemporaryDirectory() as work:
        for name in SUITES:
            wanted = f"{name}=={version(name)}"
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--no-binary", name, "--dest", work, wanted], check=False)
        for archive in Path(work).glob("*.tar.gz"):
            shutil.unpack_archive(archive, folder)


def source_of(name: str, folder: Path) -> Path | None:
    """The sources of the installed version, else the only other ones; `None` without any."""
    installed = folder / f"{name}-{version(name)}"
    if installed.is_dir():
        return installed
    others = sorted(path for path in folder.glob(f"{name}*") if path.is_dir())
    if len(others) > 1:
        listed = ", ".join(path.name for path in others)
        raise SystemExit(f"expected {installed.name} or one folder {name}* in {folder}: {listed}")
    return others[0] if others else None


def is_installed(name: str, source: Path) -> bool:
    """Whether `source` is a source distribution of the installed version."""
    about = source / "PKG-INFO"
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    return f"Version: {version(name)}" in lines


def table(found: dict[str, Outcomes]) -> str:
    """The tables of suites, of refusals and of failures, in Markdown."""
    lines = [f"| tests of | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, outcomes in found.items():
        counts = Counter(each["outcome"] for each in outcomes)
        numbers = " | ".join(str(counts[column]) for column in COLUMNS)
        lines.append(f"| {name} | {numbers} |")
    titles = {column: column for column in LISTED}
    titles["fails on theirs, too"] += ", with another message"
    for column, title in titles.items():
        reasons: Counter[str] = Counter()
        for each in itertools.chain.from_iterable(found.values()):
            if each["outcome"] == column and each["reason"]:
                reason = " ".join(each["reason"].split())
                if column in ("failed", "fails on theirs, too"):
                    reason = f"{each['test'].split('/')[-1]}: {reason}"
                reasons[reason] += 1
        if reasons:
            lines += ["", f"{title.capitalize()}:", ""]
            lines += [f"- {count} x {reason}" for reason, count in sorted(reasons.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the arguments, run the suites, print or write the table; exit 1 on a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--only", choices=SUITES)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--fetch", action="store_true")
    args = parser.parse_args()
    if args.fetch:
        return fetch(args.sources)
    found: dict[str, Outcomes] = {}
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        for name, suite in SUITES.items():
            title = f"`{name}` {version(name)}"
            source = source_of(name, args.sources) if args.only in (None, name) else None
            if source is None or not is_installed(name, source):
                missing.append(title)
            if source is None:
                print(f"skipped: {name}")
                continue
            if title in missing:
                title += f", tests of {source.name}"
            found[title] = suite(source, Path(work))
    text = table(found)
    if args.write and missing:
        print(f"not recorded: no tests of {', '.join(missing)}")
    elif args.write:
        today = datetime.date.today().isoformat()
        RECORD.write_text(
            "# Hugging Face's own tests on `bpe_rs.hf`\n\n"
            f"Written by `make test-hf-suites SUITE_ARGS=--write`, {today}. The tests run offline "
            "with `bpe_rs.hf.Tokenizer` under the name `tokenizers.Tokenizer`; those of "
            "`transformers` on every BPE class that it has, with small vocabularies, as they are "
            f"and as `from_pretrained_fast` returns them.\n\n{text}",
            encoding="utf-8",
        )
    print(text)
    outcomes = itertools.chain.from_iterable(found.values())
    sys.exit(any(each["outcome"] == "failed" for each in outcomes))


if __name__ == "__main__":
    main()
