"""Waiting threads sleep soon on a busy machine, unless the user has said how they wait."""

import os

import pytest

from gptpy.cli import cores


@pytest.fixture
def environment(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(("others", "busy"), [(0.0, False), (0.25, False), (3.0, True)])
def test_only_a_busy_machine_waits_shortly(environment, others, busy):
    environment.setattr(cores, "others_running", lambda: others)
    environment.setenv("GOMP_SPINCOUNT", "x")
    environment.delenv("GOMP_SPINCOUNT")
    assert cores.share_cores() is busy
    assert os.environ.get("GOMP_SPINCOUNT") == (cores.SHORT_WAIT if busy else None)


def test_the_users_choice_stays(environment):
    environment.setattr(cores, "others_running", lambda: 9.0)
    environment.setenv("OMP_WAIT_POLICY", "active")
    assert cores.share_cores() is False
    assert "GOMP_SPINCOUNT" not in os.environ


def test_counting_others_never_fails():
    assert cores.others_running(samples=2, pause=0) >= 0
