"""The executor as a user names it: opened without starting anything, or refused with what is possible."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from cryoloom.engine.executors.dask_executor import DaskExecutor
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.errors import UserInputError


@pytest.mark.parametrize(
    ("workplace", "words"),
    [
        (Workplace("pbs"), "no executor 'pbs'"),
        (Workplace("dask:"), "no executor"),
        (Workplace("slurm", workers=3), "leave --workers out"),
        (Workplace("local", cluster=Path("c.yaml")), "goes with --executor slurm"),
        (Workplace("slurm", cluster=Path("/no/such.yaml")), "no cluster file"),
    ],
)
def test_a_workplace_that_makes_no_sense_is_refused(workplace, words, tmp_path):
    with pytest.raises(UserInputError, match=words):
        workplace.open(tmp_path)


def test_threads_are_opened_with_their_number_and_device(tmp_path):
    executor = Workplace("threads", "cpu", workers=3).open(tmp_path)
    try:
        assert isinstance(executor, InProcessExecutor)
        assert executor.n_slots == 3
    finally:
        executor.close()


def test_local_workers_are_chosen_and_not_started(tmp_path):
    executor = Workplace("local", "cpu", workers=2).open(tmp_path)
    assert isinstance(executor, DaskExecutor)
    before = len(psutil.Process().children(recursive=True))
    executor.close()
    assert len(psutil.Process().children(recursive=True)) == before
