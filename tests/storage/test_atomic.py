"""Files and folders appear whole or not at all, whoever writes at the same time."""

import os
import threading
from pathlib import Path
from stat import S_ISDIR

import pytest

from gptpy.storage import atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folders_replace_or_vanish(tmp_path):
    target = tmp_path / "a"
    with atomic.folder(target) as inside:
        (inside / "one").write_text("1")
        (inside / "deeper").mkdir()
    with pytest.raises(RuntimeError), atomic.folder(target) as inside:
        (inside / "two").write_text("2")
        raise RuntimeError
    assert names(target) == ["deeper", "one"]
    with atomic.folder(target) as inside:
        (inside / "three").write_text("3")
    assert names(target) == ["three"] and names(tmp_path) == ["a"]


def test_files_replace_or_stay(tmp_path, monkeypatch):
    path = tmp_path / "f"
    atomic.write_text(path, "öld")
    assert path.read_bytes() == "öld".encode()
    with pytest.raises(RuntimeError), atomic.file(path) as out:
        out.write(b"half")
        raise RuntimeError
    monkeypatch.setattr(atomic.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        atomic.write_text(path, "new")
    assert path.read_bytes() == "öld".encode() and names(tmp_path) == ["f"]


@pytest.mark.parametrize("call", ["open", "fsync"])
def test_a_system_that_flushes_no_folders_still_writes_files(tmp_path, monkeypatch, call):
    """Windows opens no folder; some network file systems do not flush them."""
    real = getattr(atomic.os, call)

    def refuse(target, *rest):
        folder = Path(target).is_dir() if call == "open" else S_ISDIR(os.fstat(target).st_mode)
        if folder:
            raise PermissionError(13, "Permission denied")
        return real(target, *rest)

    monkeypatch.setattr(atomic.os, call, refuse)
    atomic.write_text(tmp_path / "f", "text")
    with atomic.folder(tmp_path / "a") as inside:
        (inside / "one").write_text("1")
    assert names(tmp_path) == ["a", "f"]


def test_a_block_that_writes_nothing_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic.named(tmp_path / "f"):
        pass
    assert names(tmp_path) == []


def test_threads_that_write_one_file_do_not_share_a_temporary_one(tmp_path):
    path, both_open = tmp_path / "f", threading.Barrier(2, timeout=10)
    errors = []

    def write(letter: bytes) -> None:
        try:
            with atomic.file(path) as out:
                out.write(letter * 10)
                both_open.wait()
                out.write(letter * 10)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and path.read_bytes() in (b"a" * 20, b"b" * 20)
    assert names(tmp_path) == ["f"]


def test_temporary_names_stay_beside_the_target_and_say_whose_they_are(tmp_path):
    """`runs.checkpoint` finds what a killed process left by `.step-N.*`."""
    path = tmp_path / "step-3"
    made = {atomic.temporary_name(path, "old") for _ in range(100)}
    assert len(made) == 100
    for name in made:
        assert name.parent == tmp_path and name.name.split(".")[1] == "step-3"
        assert name.match(".step-3.*.old")
