"""The default workflow on a session as it is acquired: every file equal to a batch run's, to the byte."""

from __future__ import annotations

import threading

import pytest

from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.live.watch import WatchOptions, watch
from cryoloom.engine.project import Project
from cryoloom.simulate.live import LivePlan, play_session
from cryoloom.simulate.session import SimulationParams, simulate_session
from makers.loopback_slurm import loopback_slurm, why_not
from makers.watched_sessions import MINUTE, Diary

SESSION = SimulationParams(
    n_series=2,
    image_shape_yx=(320, 320),
    pixel_size_angstrom=4.0,
    tilt_step_deg=6.0,
    n_frames=4,
    n_beads=12,
)
N_TILTS = 21
LENIENT = {"import_movies": {"leave_out_missing": True}}  # as `watch` asks of a source
ENOUGH = WatchOptions(
    tilts=N_TILTS, settle_seconds=1.0, look_seconds=0.5, idle_minutes=20 / MINUTE, close_minutes=5.0
)


@pytest.fixture
def slurm(tmp_path):
    """A Slurm in the environment, and a cluster file for it."""
    if why_not():
        pytest.skip(why_not())
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("cores: 1\nmemory_gib: 4\nwall_time: '0:30:00'\njobs: 2\nhost: 127.0.0.1\n")
    with pytest.MonkeyPatch.context() as patch, loopback_slurm(tmp_path / "slurm") as found:
        for name, value in found.items():
            patch.setenv(name, value)
        yield cluster


@pytest.mark.slow  # its fast twin is in test_watch
@pytest.mark.parametrize("executor", ["local", "slurm"])
def test_live_tomograms_are_those_of_a_batch_run(tmp_path, executor, request):
    cluster = request.getfixturevalue("slurm") if executor == "slurm" else None
    simulate_session(SESSION, tmp_path / "raw")
    live = tmp_path / "live"
    live.mkdir()
    plan = LivePlan(seconds_per_tilt=0.5)
    player = threading.Thread(target=play_session, args=(tmp_path / "raw", live, plan))
    player.start()
    watched, diary = Project.create(tmp_path / "watched"), Diary()
    workplace = Workplace(executor, "cpu", cluster=cluster)
    gain = tmp_path / "raw" / "gain.mrc"
    summary = watch(watched, live, diary, ENOUGH, executor=workplace, gain=gain)
    player.join()
    assert not summary.failed
    assert "TS_01" in {item for _, item in diary.ahead}  # of the second one when workers have time
    batch = Project.create(tmp_path / "batch")
    assert not batch.process(live, device="cpu", gain=gain, parameters=LENIENT).failed
    made = {path.relative_to(batch.folder) for path in batch.folder.glob("runs/*/TS_0*/*.mrc")}
    assert {path.name for path in made} >= {"images.mrc", "even.mrc", "tomogram.mrc"}
    for path in made:
        assert (watched.folder / path).read_bytes() == (batch.folder / path).read_bytes(), path
