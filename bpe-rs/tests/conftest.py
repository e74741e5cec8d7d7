"""Fixtures of all tests: the shared texts and vocabularies, where they are available."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def find_shared() -> Path | None:
    """The folder of texts and vocabularies that are not in the repository, or None."""
    folder = Path(os.environ.get("GPTPY_SHARED", REPOSITORY.parent / "shared"))
    return folder if (folder / "data").is_dir() else None


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """`$GPTPY_SHARED` or `../shared`; the test is skipped where there is none."""
    folder = find_shared()
    if folder is None:
        pytest.skip("no shared texts: set GPTPY_SHARED to a folder with data/ and vocab/")
    return folder
