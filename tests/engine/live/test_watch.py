"""A session watched while it is played: pieces, disorder, what never comes; the same bits as a batch run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cryoloom.engine.history.results import final_items
from cryoloom.engine.live.closing import ask_to_close
from cryoloom.engine.live.watch import watch
from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.simulate.live import LivePlan, play_session
from cryoloom.simulate.session import SimulationParams, simulate_session
from makers.watched_sessions import MINUTE, Diary, watching

SMALL = {
    "image_shape_yx": (96, 128), "tilt_min_deg": -30, "tilt_max_deg": 30, "tilt_step_deg": 15, "n_frames": 4,
    "n_series": 3, "n_particles": 8, "n_vesicles": 1, "n_beads": 4, "crowd_phase_rad": 0.0,
    "n_dead_columns": 0, "n_dead_pixels": 5, "n_hot_pixels": 2,
}  # fmt: skip
N_TILTS = 5
WORKFLOW = "name: short\nsteps:\n  - step: import_movies\n  - step: prepare_gain\n  - step: align_frames\n"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A finished session of three series of five tilts."""
    folder = tmp_path_factory.mktemp("session")
    simulate_session(SimulationParams(**SMALL), folder / "raw")
    (folder / "short.yaml").write_text(WORKFLOW)
    return folder


@pytest.fixture
def live(tmp_path):
    folder = tmp_path / "live"
    folder.mkdir()
    return folder


def play(session, live, **plan):
    player = threading.Thread(target=play_session, args=(session / "raw", live, LivePlan(**plan)))
    player.start()
    return player


def batch(session, live, folder):
    """The same folder, processed when all is there."""
    project = Project.create(folder)
    project.process(
        live,
        workflow=session / "short.yaml",
        parameters={"import_movies": {"leave_out_missing": True}},
        gain=session / "raw" / "gain.mrc",
        device="cpu",
    )
    return project


def stacks(project):
    """Key, tilts and pixels of every finished series."""
    return {
        item.name: (item.key, project.value(item).tilts, project.value(item).stack.present)
        for item in final_items(project.database)
    }


def assert_same(watched, batched, names):
    found, expected = stacks(watched), stacks(batched)
    assert sorted(found) == sorted(names)
    for name in names:
        assert found[name][0] == expected[name][0]
        for mine, its in zip(found[name][1], expected[name][1], strict=True):
            assert mine == its
        for role, pixels in expected[name][2].items():
            np.testing.assert_array_equal(found[name][2][role][:], pixels[:])


def movies_of(session):
    return sorted(path.name for path in (session / "raw" / "frames").iterdir())


def test_a_live_session_gives_what_a_batch_run_gives(session, live, tmp_path):
    movies, diary = movies_of(session), Diary()
    player = play(
        session, live, seconds_per_tilt=0.2, out_of_order=True, interleaved=True,
        missing=frozenset({movies[3]}), cut=frozenset({movies[6]}), abandoned={"TS_03": 2},
    )  # fmt: skip
    project = Project.create(tmp_path / "project")
    summary = watching(
        session, live, project, diary,
        tilts=N_TILTS, close_minutes=1.5 / MINUTE, missing_minutes=2.5 / MINUTE, idle_minutes=3 / MINUTE,
    )  # fmt: skip
    player.join()
    assert not summary.failed
    assert not summary.stopped
    (abandoned,) = summary.left_out
    assert abandoned.name == "TS_03"
    assert "abandoned with 2 of 5 tilts" in abandoned.reason
    sources = {item.name: item for item in project.database.items(1)}
    assert any("TS_01: 4 of 5 tilts came; closed: nothing new" in w for w in sources["TS_01"].warnings)
    assert any(f"the movie {movies[3]} is missing" in w for w in sources["TS_01"].warnings)
    assert any(f"{movies[6]} is truncated" in w for w in sources["TS_02"].warnings)
    assert f"{movies[3]} missing" in " ".join(diary.notes)
    # Movies were aligned before their series was closed, and what was kept of them is gone.
    assert ("align_frames", "TS_01") in diary.ahead
    assert not list((project.folder / "cache").rglob("*.npz"))
    indices = [tilt.acquisition_index for tilt in stacks(project)["TS_01"][1]]
    assert sorted(indices) == [0, 1, 2, 4]
    assert_same(project, batch(session, live, tmp_path / "batch"), ["TS_01", "TS_02"])
    assert (project.folder / "report.html").exists()


def test_a_late_tilt_opens_its_series_again(session, live, tmp_path):
    movies, diary = movies_of(session), Diary()
    play(session, live, seconds_per_tilt=0.0, missing=frozenset({movies[2]})).join()
    project = Project.create(tmp_path / "project")
    stop = tmp_path / "over"
    worker = threading.Thread(
        target=watching, args=(session, live, project, diary), kwargs={"stop_file": stop}
    )
    worker.start()
    diary.wait_for("TS_02", "open")
    with pytest.raises(UserInputError, match="no series 'TS_77' is being watched; there are TS_01, TS_02"):
        ask_to_close(project.folder, ["TS_77"])
    ask_to_close(project.folder, ["TS_01", "TS_02"])
    diary.wait_for("TS_01", "closed")
    diary.wait_for("TS_02", "align_frames")
    assert diary.states["TS_01"].note == "4 of 5 tilts; closed: by word"
    assert diary.states["TS_03"].state == "open"
    (live / "frames" / movies[2]).write_bytes((session / "raw" / "frames" / movies[2]).read_bytes())
    diary.wait_for("TS_01", "open")
    assert f"{movies[2]} came after it was closed" in diary.states["TS_01"].note
    for path in (live / "frames").glob("TS_02*"):  # raw data are moved away: that is no news
        path.unlink()
    stop.touch()
    worker.join()
    assert {one.name: one.state for one in series_being_watched(project.folder)} == dict.fromkeys(
        ("TS_01", "TS_02", "TS_03"), "closed"
    )
    assert diary.worked_on.count(("align_frames", "TS_01")) == 2
    assert diary.worked_on.count(("align_frames", "TS_02")) == 1
    source = next(item for item in project.database.items(1) if item.name == "TS_01")
    assert any("opened again" in warning for warning in source.warnings)
    batched = batch(session, session / "raw", tmp_path / "batch")
    for name, (_, tilts, pixels) in stacks(project).items():  # other paths, so other keys; the same bits
        assert len(tilts) == N_TILTS
        for role, expected in stacks(batched)[name][2].items():
            np.testing.assert_array_equal(pixels[role][:], expected[:])


def test_a_watch_that_is_run_again_makes_nothing_anew(session, live, tmp_path):
    play(session, live, seconds_per_tilt=0.0).join()
    project = Project.create(tmp_path / "project")
    watching(session, live, project, tilts=N_TILTS, idle_minutes=1 / MINUTE)
    for path in (live / "frames").glob("TS_01*"):
        path.unlink()
    diary = Diary()
    summary = watching(session, live, Project.open(project.folder), diary, idle_minutes=0.5 / MINUTE)
    assert diary.worked_on == diary.ahead == []
    assert not summary.failed
    assert {state.state for state in diary.states.values()} == {"closed"}


def test_a_folder_that_is_not_there_yet_is_waited_for(session, tmp_path):
    project, diary = Project.create(tmp_path / "project"), Diary()
    summary = watching(session, tmp_path / "later", project, diary, idle_minutes=0.3 / MINUTE)
    assert (summary.n_done, summary.failed) == (0, [])
    assert "later does not exist yet" in diary.troubles[0]
    assert project.database.plans() == ()
    timer = threading.Timer(0.5, lambda: shutil.copytree(session / "raw", tmp_path / "later"))
    timer.start()
    summary = watching(session, tmp_path / "later", project, idle_minutes=5.0 / MINUTE)
    timer.join()
    assert summary.n_done > 0


def test_a_request_that_cannot_be_watched_is_refused(session, live, tmp_path):
    project = Project.create(tmp_path / "project")
    with pytest.raises(UserInputError, match="begins with import_movies; tomogram_from_stack begins with"):
        watch(project, live, Diary(), workflow="tomogram_from_stack")
    with pytest.raises(UserInputError, match=r"gain reference .* does not exist"):
        watching(session, live, project, parameters={"import_movies": {"gain": "no.mrc"}})


@pytest.fixture
def ctrl_c():
    """SIGINT as at a terminal: a shell's background jobs are started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_gives_up_cleanly_and_keeps_what_was_aligned(session, live, tmp_path):
    play(session, live, seconds_per_tilt=0.0).join()
    project, diary = Project.create(tmp_path / "project"), Diary()

    def interrupt():
        diary.wait_for("TS_01", "open")
        while not list((project.folder / "cache" / "align_frames").rglob("*.npz")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=interrupt)
    hand.start()
    summary = watching(session, live, project, diary)  # nothing would end it
    hand.join()
    assert summary.stopped
    assert diary.worked_on == []
    assert not list(project.folder.rglob("*.part"))
    assert "running" not in {run.state for run in project.database.runs()}
    summary = watching(session, live, project, tilts=N_TILTS, idle_minutes=0.5 / MINUTE)
    assert not summary.failed
    assert len(stacks(project)) == 3


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from makers.watched_sessions import watching
from cryoloom.engine.project import Project
session, live, project = map(Path, sys.argv[1:])
watching(session, live, Project.open(project, create=True), tilts={n_tilts},
         close_minutes=60, missing_minutes=60, stop_file=live / "over")
"""


@pytest.mark.parametrize("n_kills", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_a_killed_watch_goes_on_where_it_was(session, live, tmp_path, rng, n_kills):
    def start():
        program = PROGRAM.format(n_tilts=N_TILTS, here=str(Path(__file__).resolve().parents[2]))
        return subprocess.Popen([sys.executable, "-c", program, session, live, tmp_path / "project"])

    def n_results():
        return len(list((tmp_path / "project").rglob("*.npz"))) + len(
            list((tmp_path / "project" / "runs").rglob("images.mrc"))
        )

    movies = movies_of(session)
    player = play(
        session, live, seconds_per_tilt=0.2 if n_kills == 1 else 4.0, missing=frozenset({movies[7]})
    )
    for _ in range(n_kills):
        process, had, deadline = start(), n_results(), time.monotonic() + 15
        while n_results() <= had and time.monotonic() < deadline:  # perhaps all that came is aligned
            time.sleep(0.02)
        assert process.poll() is None
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    player.join()
    (live / "over").touch()
    project = Project.open(tmp_path / "project", create=True)
    diary = Diary()
    had = {
        (run.node, item.name) for run in project.database.runs() for item in project.database.items(run.id)
    }
    assert not watching(session, live, project, diary, tilts=N_TILTS, stop_file=live / "over").failed
    assert not had & set(diary.worked_on)
    assert not list(project.folder.rglob("*.part"))
    names = ["TS_01", "TS_02", "TS_03"]
    assert_same(project, batch(session, live, tmp_path / "batch"), names)
