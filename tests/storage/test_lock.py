"""One writer a run directory; a dead one blocks nobody."""

import errno
import os
import subprocess
import sys

import pytest

from gptpy.config import ConfigError
from gptpy.storage import lock
from gptpy.storage.lock import LOCK, only_writer

HOLDER = """
import sys, time
from pathlib import Path
from gptpy.storage.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("!", flush=True)
    time.sleep(600)
"""
needs_locks = pytest.mark.skipif(lock.fcntl is None, reason="this system has no flock")


@needs_locks
def test_a_second_writer_is_refused_until_the_first_ends(tmp_path):
    run = tmp_path / "runs" / "a"
    (tmp_path / "same").symlink_to(run)
    with only_writer(run):
        for path in (run, tmp_path / "same"):
            with (
                pytest.raises(ConfigError, match=rf"a?.*another process \(pid {os.getpid()} on "),
                only_writer(path),
            ):
                pass
        with only_writer(tmp_path / "other"):
            (run / "kept").touch()
    assert [path.name for path in run.iterdir()] == ["kept"]
    with pytest.raises(KeyError), only_writer(run):
        raise KeyError
    with only_writer(run):
        assert (run / LOCK).is_file()


def test_what_wrote_nothing_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), only_writer(tmp_path / "a"):
        raise KeyError
    (tmp_path / "b").mkdir()
    with only_writer(tmp_path / "b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@needs_locks
def test_a_killed_writer_holds_nobody_up(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.read(1) == b"!"
            with pytest.raises(ConfigError, match=f"pid {child.pid} on "), only_writer(tmp_path):
                pass
        finally:
            child.kill()
    assert (tmp_path / LOCK).is_file(), "the dead do not tidy up"
    with only_writer(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@needs_locks
def test_a_file_that_was_taken_away_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Its last holder unlinks the file between our opening it and our locking it."""
    real, calls = lock.fcntl.flock, []

    def flock(handle, how):
        calls.append(handle)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        elif len(calls) == 2:  # and somebody else makes another
            (tmp_path / LOCK).rename(tmp_path / "old")
            (tmp_path / LOCK).touch()
        real(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with only_writer(tmp_path):
        monkeypatch.undo()
        assert len(calls) == 3
        with pytest.raises(ConfigError), only_writer(tmp_path):
            pass


@pytest.mark.parametrize("kind", ["no module", "no support"])
def test_without_locks_nobody_is_refused(tmp_path, monkeypatch, kind):
    if kind == "no module":
        monkeypatch.setattr(lock, "fcntl", None)
    elif lock.fcntl is None:
        pytest.skip("this system has no flock")
    else:

        def flock(handle, how):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(lock.fcntl, "flock", flock)
    with only_writer(tmp_path), only_writer(tmp_path):
        assert not list(tmp_path.iterdir())
