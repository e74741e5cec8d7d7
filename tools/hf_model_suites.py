"""The tests of `transformers` for the tokenizers of single models, run on `bpe_rs.hf`.

python tools/hf_model_suites.py CHECKOUT [--published FOLDER] [--write] [--only MODEL ...]
python tools/hf_model_suites.py --fetch FOLDER   # published vocabularies; needs pip and a network

CHECKOUT is one of the repository of `transformers`, whose distributions leave out `tests/models`;
the installed version should be near. The tests of tokenizers written in Python are left out.
What tests load from the hub is made beforehand by `hf_hub_cache.py`: small tokenizers, and the
vocabularies that FOLDER holds. `--write` writes benches/records/hf-model-suites.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import re
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

# Nothing is downloaded: an import of `transformers` reads it.
os.environ["HF_HUB_OFFLINE"] = "1"
import hf_hub_cache
import hf_published
from hf_suites import ROOT, Outcomes, run, table

RECORD = ROOT / "benches/records/hf-model-suites.md"
Rows = dict[str, Outcomes]
"""Outcomes of tests that load BPE vocabularies, and of others."""
# What the tests of tokenizers import and read.
NEEDED = (
    "tests/*.py",
    "tests/fixtures/*.*",
    "tests/models/__init__.py",
    "tests/models/*/__init__.py",
    "tests/models/*/test_tokenization_*.py",
    "tests/tokenization/*.py",
    "tests/utils/__init__.py",
    "tests/utils/test_tokenization_utils.py",
    "utils/test_module/*.py",
)


def run_models(checkout: Path, published: Path | None, only: list[str]) -> tuple[Rows, list[str]]:
    """What became of each test, and the repositories with published vocabularies.

    Of the models named in `only`, or of all.
    """
    with tempfile.TemporaryDirectory() as work:
        # Tests are named by their path below this folder.
        folder = Path(work) / "models"
        for pattern in NEEDED:
            for path in filter(Path.is_file, checkout.glob(pattern)):
                target = folder / path.relative_to(checkout)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        found = sorted(path.relative_to(folder) for path in folder.rglob("test_tokenization_*.py"))
        targets = [path for path in found if len(path.parts) > 2]
        if only:
            targets = [path for path in targets if path.parent.name in only]
        hub = Path(work) / "hub"
        real = hf_hub_cache.fill(hub, published)
        extra = {"HF_HUB_CACHE": str(hub), "HF_SUITE_MODELS": "1"}
        extra |= {"RUN_SLOW": "1", "RUN_TOKENIZER_INTEGRATION": "1"}
        outcomes = run(folder, [str(path) for path in targets], extra)
        rows: Rows = {"BPE vocabularies": [], "other models": []}
        for each in outcomes:
            text = (folder / each["test"].split("::")[0]).read_text(encoding="utf-8")
            is_bpe = any(f'"{name}"' in text for name in hf_hub_cache.REPOSITORIES)
            rows["BPE vocabularies" if is_bpe else "other models"].append(each)
        return {title: each for title, each in rows.items() if each}, real


def version_of(checkout: Path) -> str:
    """The version of `transformers` in its repository."""
    text = (checkout / "setup.py").read_text(encoding="utf-8")
    found = re.search(r'^ +version="([^"]+)"', text, re.MULTILINE)
    return found[1] if found else "unknown"


def main() -> None:
    """Read the arguments, run the tests, print or write the table; exit 1 on a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, nargs="?")
    parser.add_argument("--published", type=Path)
    parser.add_argument("--fetch", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if args.fetch:
        return hf_published.fetch(args.fetch)
    if args.checkout is None or not (args.checkout / "tests/models").is_dir():
        parser.error("expected a check-out of transformers with tests/models")
    rows, real = run_models(args.checkout, args.published, args.only)
    tests, installed = version_of(args.checkout), version("transformers")
    text = table({f"{title}, {tests} on {installed}": each for title, each in rows.items()})
    if args.write and args.only:
        print("not recorded: only some models")
    elif args.write:
        names = ", ".join(f"`{name}`" for name in real) or "none"
        RECORD.write_text(
            "# The tests of `transformers` for single models, on `bpe_rs.hf`\n\n"
            f"Written by `make test-hf-models MODELS_ARGS=--write`, {datetime.date.today()}: "
            "`tests/models/*/test_tokenization_*.py`, `tests/tokenization` and "
            f"`tests/utils/test_tokenization_utils.py` of a check-out of version {tests}, run with "
            f"`transformers` {installed} and `tokenizers` {version('tokenizers')}, offline, slow "
            "tests included, `bpe_rs.hf.Tokenizer` under the name `tokenizers.Tokenizer`.\n\n"
            f"Repositories with published vocabularies: {names}. Those of other BPE models hold "
            "small tokenizers; tests that expect published ids then fail on Hugging Face's engine, "
            f"too.\n\n{text}",
            encoding="utf-8",
        )
    print(text)
    outcomes = itertools.chain.from_iterable(rows.values())
    sys.exit(any(each["outcome"] == "failed" for each in outcomes))


if __name__ == "__main__":
    main()
