"""Waiting threads sleep early on a busy machine, unless the user has said how they wait."""

import os

import pytest

from gptpy.cli import openmp


@pytest.fixture
def environment(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "x")  # so that it is restored afterwards
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(("others", "busy"), [(0.0, False), (0.25, False), (3.0, True)])
def test_only_a_busy_machine_spins_shortly(environment, others, busy):
    environment.setattr(openmp, "other_runnable_threads", lambda: others)
    assert openmp.shorten_spinning() is busy
    assert os.environ.get("GOMP_SPINCOUNT") == (openmp.SHORT_SPIN if busy else None)


def test_the_users_choice_stays(environment):
    environment.setattr(openmp, "other_runnable_threads", lambda: 9.0)
    environment.setenv("OMP_WAIT_POLICY", "active")
    assert openmp.shorten_spinning() is False
    assert "GOMP_SPINCOUNT" not in os.environ


def test_counting_others_never_fails():
    assert openmp.other_runnable_threads(samples=2, pause=0) >= 0
