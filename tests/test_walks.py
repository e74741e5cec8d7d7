"""`tools/walks.py` counts the files of the package that a call enters."""

from pathlib import Path

from walks import entered, walks

import gptpy


def test_the_walks_run_and_enter_files_of_the_package(tmp_path):
    package = Path(gptpy.__file__).resolve().parent
    found = {name: entered(walk, package) for name, walk in walks(tmp_path).items()}
    batch, text, step = found.values()
    assert "gptpy/data/prepare.py" in batch and "gptpy/data/dataset.py" in batch
    assert "gptpy/runs/checkpoint.py" in text and "gptpy/model/transformer.py" in text
    assert "gptpy/train/update.py" in step and "gptpy/data/prepare.py" not in step
    assert all(lines > 0 for walk in found.values() for lines in walk.values())
    # What the layout was made for: a reader who follows one of them opens few files
    assert len(batch) <= 13 and len(text) <= 24 and len(step) <= 10
