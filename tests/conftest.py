"""What every test may ask for: the shared texts and vocabularies, when a checkout has them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Spinning OpenMP threads slow each other down where other processes want the cores (see
# gptpy/cli/openmp.py). The variable is read when torch loads, which no test module has done yet.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
if "PYTEST_XDIST_WORKER" in os.environ:  # every core has a process of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch: for networks that are too small for more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
