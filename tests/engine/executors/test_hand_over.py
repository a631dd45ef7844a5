"""Long inputs go to workers in a file, short ones in the message."""

from __future__ import annotations

import dataclasses

import pytest

from cryoloom.engine.executors.hand_over import forget_handed_over, hand_over
from cryoloom.engine.worker.task import Task
from cryoloom.errors import TransientError


def task(project, value, **others):
    return Task(
        project=project,
        node="all",
        step="average_all",
        parameters={},
        run_folder="runs/1",
        run_id=1,
        item="all",
        key="a" * 64,
        value=value,
        others=others,
    )


LONG = tuple({"$type": "TiltSeries", "name": f"TS_{i}", "tilts": ["x" * 1000]} for i in range(1200))


def test_long_inputs_are_in_a_file_until_the_task_has_ended(tmp_path):
    whole = task(tmp_path, LONG, average_from={"name": "a"}, all_from=LONG[:2])
    handed = hand_over(whole)
    (path,) = (tmp_path / "cache" / "handed_over").iterdir()
    assert path.stat().st_size < 100_000
    assert handed.task == dataclasses.replace(whole, value={}, others={})
    assert handed.taken() == whole
    handed.forget()
    assert not path.exists()
    with pytest.raises(TransientError, match="cannot be read"):
        handed.taken()


@pytest.mark.parametrize("value", [LONG[:3], LONG[0], {"one": "y" * 2_000_000}])
def test_other_inputs_go_as_they_are(tmp_path, value):
    whole = task(tmp_path, value)
    assert hand_over(whole).taken() is whole
    assert not list(tmp_path.iterdir())


def test_what_a_dead_coordinator_left_is_removed(tmp_path):
    hand_over(task(tmp_path, LONG))
    forget_handed_over(tmp_path)
    assert not list((tmp_path / "cache").iterdir())
