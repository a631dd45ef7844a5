"""The coordinator is killed at random moments: nothing recorded is lost, nothing half-made has a name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import N_TILTS, fake_steps

from cryoloom.engine.project import Project
from cryoloom.engine.results import final_items

__all__ = ["fake_steps"]

N_SERIES = 12
PROGRAM = f"""
import sys, pathlib
import cryoloom.steps.discovery as discovery
import fakes
steps = {{f.declaration.name: f.declaration for f in (fakes.find_series, fakes.draw, fakes.smooth)}}
discovery.all_steps = lambda: steps
from cryoloom.engine.project import Project
from cryoloom.engine.workflow import Workflow
Project.open(sys.argv[1], create=True).run_workflow(Workflow.model_validate({{"name": "fake", "steps": [
    {{"step": "find_series", "parameters": {{"n_series": {N_SERIES}}}}},
    {{"step": "draw", "parameters": {{"seconds": 0.03}}}},
    {{"step": "smooth"}},
]}}))
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], env=environment)


def n_recorded(folder: Path) -> int:
    if not (folder / "project.sqlite").exists():
        return 0
    return sum(item.state == "done" for item in Project.open(folder).database.items())


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.parametrize("n_kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_coordinator_loses_nothing(tmp_path, rng, n_kills):
    folder = tmp_path / "project"
    recorded = 0
    for _ in range(n_kills):
        process = start(folder)
        while n_recorded(folder) == recorded and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = n_recorded(folder)
        assert now >= recorded
        recorded = now
    project = Project.open(folder)
    for made in folder.rglob("images.mrc"):  # whatever has a name is whole
        assert made.stat().st_size == 1024 + N_TILTS * 8 * 10 * 4
    summary = project.resume()
    assert not summary.failed
    finals = final_items(project.database)
    assert len(finals) == N_SERIES
    for item in finals:
        series = project.value(item)
        np.testing.assert_array_equal(series.weighted.images[:], series.stack.images[:])
    assert not list(folder.rglob("*.part"))
