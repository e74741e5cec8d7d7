"""Lay the kernels out as a repository of Hugging Face's hub: `python tools/kernel_hub.py OUT`.

They are pure Python, so what the hub's builder would make is a copy: `torch-ext/` holds the source,
`build/torch-universal/` the one variant, which runs with every torch and every version of CUDA.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "triton_kernels" / "gptpy_kernels"
NAME = "gptpy_kernels"


def lay_out(folder: Path) -> Path:
    """Write the repository into `folder`, which must be empty or missing; the built variant."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: expected an empty or missing folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE.parent / "build.toml", folder)
    shutil.copy(REPOSITORY / "LICENSE", folder)
    shutil.copy(REPOSITORY / "docs" / "kernels.md", folder / "README.md")
    variant = folder / "build" / "torch-universal"
    for target in (folder / "torch-ext" / NAME, variant):
        shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = {"name": "gptpy-kernels", "version": 1, "license": "MIT", "python-depends": []}
    (variant / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    return variant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    try:
        variant = lay_out(arguments.folder)
    except OSError as error:
        print(f"kernel_hub: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.folder}: build.toml, torch-ext/, {variant.relative_to(arguments.folder)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
