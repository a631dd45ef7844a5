"""Whether a task is still wanted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cryoloom.engine.worker import interruption
from cryoloom.engine.worker.interruption import STOP_FILE, StepInterrupted, StillWanted, ask_to_stop
from cryoloom.store.lock import coordinator_lock


def test_work_goes_on_until_the_user_stops_it(tmp_path):
    wanted = StillWanted(tmp_path, "", "align of TS_01")
    wanted.look(now=True)
    ask_to_stop(tmp_path)
    assert (tmp_path / STOP_FILE).exists()
    with pytest.raises(StepInterrupted, match="align of TS_01 was stopped by the user"):
        wanted.look(now=True)


def test_it_looks_only_now_and_then(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(interruption, "time", SimpleNamespace(monotonic=lambda: clock.now))
    wanted = StillWanted(tmp_path, "", "align of TS_01")
    wanted.look()
    ask_to_stop(tmp_path)
    clock.now += 0.09
    assert wanted.look() is None  # a tenth of a second has not gone by
    clock.now += 0.02
    with pytest.raises(StepInterrupted, match="stopped by the user"):
        wanted.look()


def test_another_coordinator_takes_over(tmp_path):
    with coordinator_lock(tmp_path) as first:
        wanted = StillWanted(tmp_path, first, "align of TS_01")
        wanted.look(now=True)
    with (
        coordinator_lock(tmp_path),
        pytest.raises(StepInterrupted, match="align of TS_01: another process took over"),
    ):
        wanted.look(now=True)
