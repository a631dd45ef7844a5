"""Coordinators, workers and whole trees of processes are killed at random moments, disks are full.

Nothing recorded is lost, nothing half-made has a name, and no more is done again than was in flight.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import final_items
from cryoloom.engine.project import Project
from cryoloom.errors import TransientError
from cryoloom.formats.pixels.mrc import MrcPixels
from makers.crashes import FAKE_PROGRAM, descendants, kill, recorded, start
from makers.fakes import N_TILTS, fake_steps

__all__ = ["fake_steps"]

N_SERIES = 12
N_WORKERS = 2
REAL_PROGRAM = """
import sys
from pathlib import Path
from cryoloom.engine.project import Project
folder, executor, raw = sys.argv[1:]
Project.open(folder, create=True).process(Path(raw), device="cpu")
"""


def fake_plan(tally, seconds=0.03):
    steps = [
        {"step": "find_series", "parameters": {"n_series": N_SERIES}},
        {"step": "draw", "parameters": {"seconds": seconds, "tally": str(tally)}},
        {"step": "smooth"},
    ]
    return Workflow.model_validate({"name": "fake", "steps": steps})


def wait_for_progress(folder: Path, before: dict, process: subprocess.Popen[bytes]) -> None:
    database = folder / "project.sqlite"
    n_now = len(before)
    while n_now == len(before) and process.poll() is None:
        time.sleep(0.02)
        if database.exists():
            with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
                n_now = connection.execute("SELECT count(*) FROM items WHERE state = 'done'").fetchone()[0]


def assert_whole(folder: Path) -> None:
    """Whatever has a name is whole."""
    for made in folder.rglob("images.mrc"):
        assert made.stat().st_size == 1024 + N_TILTS * 8 * 10 * 4
        assert np.isfinite(MrcPixels(made)[:]).all()


def assert_finished(project: Project) -> None:
    finals = final_items(project.database)
    assert len(finals) == N_SERIES
    for item in finals:
        series = project.value(item)
        np.testing.assert_array_equal(series.weighted.images[:], series.stack.images[:])
    assert not list(project.folder.rglob("*.part"))


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.parametrize(
    ("executor", "n_kills"),
    [
        ("threads", 3),
        pytest.param("threads", 50, marks=pytest.mark.slow),
        pytest.param("local", 10, marks=pytest.mark.slow),
    ],
)
def test_a_killed_coordinator_loses_nothing(tmp_path, rng, executor, n_kills):
    folder, tally = tmp_path / "project", tmp_path / "tally"
    tally.mkdir()
    plan, before = fake_plan(tally, 0.03 if executor == "threads" else 0.3), {}
    for _ in range(n_kills):
        process = start(FAKE_PROGRAM, folder, executor, plan.model_dump_json())
        wait_for_progress(folder, before, process)
        time.sleep(rng.uniform(0, 0.1))
        workers = descendants(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive  # workers do not outlive a coordinator of this machine
        assert before.items() <= recorded(folder).items()
        before = recorded(folder)
        assert_whole(folder)
    project = Project.open(folder)
    assert not project.resume().failed
    assert_finished(project)
    assert len(list(tally.iterdir())) <= N_SERIES + n_kills * N_WORKERS


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.slow  # its fast twin is in test_dask_executor
@pytest.mark.parametrize("n_kills", [1, 15])
def test_killed_workers_cost_what_they_were_doing(tmp_path, rng, n_kills):
    folder, tally = tmp_path / "project", tmp_path / "tally"
    tally.mkdir()
    seconds = 0.5 if n_kills == 1 else 3.0
    process = start(FAKE_PROGRAM, folder, "local", fake_plan(tally, seconds).model_dump_json())
    n_killed = 0
    while n_killed < n_kills and process.poll() is None:
        time.sleep(rng.uniform(0.2, 1.0))
        busy = [one for one in descendants(process) if "spawn_main" in " ".join(one.cmdline())]
        if list(tally.iterdir()) and busy:
            kill([busy[rng.integers(len(busy))]])
            n_killed += 1
    assert process.wait(240) == 0
    assert n_killed == n_kills
    project = Project.open(folder)
    assert_whole(folder)
    failed = [item for item in project.database.items() if item.state == "failed"]
    assert all("was lost 3 times" in item.error["message"] for item in failed)
    assert not project.resume().failed
    assert_finished(project)
    assert len(list(tally.iterdir())) <= N_SERIES + n_kills + len(failed)


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.parametrize("n_kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_tree_of_processes_killed_at_once_loses_nothing(tmp_path, rng, n_kills):
    folder, tally = tmp_path / "project", tmp_path / "tally"
    tally.mkdir()
    plan, before = fake_plan(tally, 0.3), {}
    for n_killed in range(n_kills):
        process = start(FAKE_PROGRAM, folder, "local", plan.model_dump_json())
        wait_for_progress(folder, before, process)
        time.sleep(rng.uniform(0, 0.5))
        tree = descendants(process)
        if process.poll() is not None:
            assert n_killed >= n_kills / 2  # all was done before
            break
        tree.append(psutil.Process(process.pid))
        rng.shuffle(tree)
        kill(tree)
        process.wait()
        assert before.items() <= recorded(folder).items()
        before = recorded(folder)
        assert_whole(folder)
    project = Project.open(folder)
    assert not project.resume().failed
    assert_finished(project)
    assert len(list(tally.iterdir())) <= N_SERIES + n_kills * N_WORKERS


@pytest.mark.slow  # real steps; its fast twin is above
def test_real_steps_killed_and_resumed_give_what_an_undisturbed_run_gives(tmp_path, rng):
    from cryoloom.simulate.session import SimulationParams, simulate_session

    params = SimulationParams(
        seed=3,
        n_series=2,
        tilt_min_deg=-42,
        tilt_max_deg=42,
        tilt_step_deg=6,
        image_shape_yx=(256, 288),
        pixel_size_angstrom=5.0,
        n_frames=4,
        n_particles=20,
        n_vesicles=2,
        n_beads=10,
    )
    raw, folder = tmp_path / "raw", tmp_path / "project"
    simulate_session(params, raw)
    quiet = Project.create(tmp_path / "quiet")
    assert not quiet.process(raw, device="cpu").failed
    before = {}
    for _ in range(5):
        process = start(REAL_PROGRAM, folder, "threads", str(raw))
        wait_for_progress(folder, before, process)
        time.sleep(rng.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before.items() <= recorded(folder).items()
        before = recorded(folder)
    project = Project.open(folder)
    assert not project.resume(device="cpu").failed
    made = {path.relative_to(folder): path for path in folder.glob("runs/*/*/*.mrc")}
    expected = {path.relative_to(quiet.folder): path for path in quiet.folder.glob("runs/*/*/*.mrc")}
    assert made.keys() == expected.keys()
    for name, path in made.items():
        np.testing.assert_array_equal(MrcPixels(path)[:], MrcPixels(expected[name])[:])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB of its own, where mounting is permitted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.parametrize("free_kib", [4, 40, 120])
def test_a_full_disk_is_survived(small_disk, tmp_path, free_kib):
    tally = tmp_path / "tally"
    tally.mkdir()
    project = Project.create(small_disk / "project")
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize - free_kib * 1024))
    try:
        failed = project.run_workflow(fake_plan(tally, 0)).failed
        sentences = {item.error["kind"] + item.error["message"] for item in failed}
    except TransientError as error:  # the database itself had no room
        sentences = {f"TransientError{error.message}"}
    assert sentences
    assert all(text.startswith("TransientError") and "free" in text for text in sentences), sentences
    filler.unlink()
    before = recorded(project.folder)
    assert_whole(project.folder)
    again = Project.open(project.folder)
    assert not again.run_workflow(fake_plan(tally, 0)).failed
    assert before.items() <= recorded(project.folder).items()
    assert_finished(again)
