"""A session that is played again: in the end it is the session, but for what should go wrong."""

from __future__ import annotations

import shutil
import threading
import time

import pytest

from cryoloom.formats.session.mdoc import read_mdoc
from cryoloom.simulate.live import LivePlan, play_session
from cryoloom.simulate.session import SimulationParams, simulate_session

TINY = {
    "image_shape_yx": (48, 64), "tilt_min_deg": -30, "tilt_max_deg": 30, "tilt_step_deg": 30, "n_frames": 2,
    "n_series": 2, "n_particles": 2, "n_vesicles": 0, "n_beads": 1, "crowd_phase_rad": 0.0,
    "n_dead_columns": 0, "n_dead_pixels": 0, "n_hot_pixels": 0,
}  # fmt: skip


@pytest.fixture(scope="module", params=["k3_tiff", "falcon_eer"])
def raw(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("session") / "raw"
    simulate_session(SimulationParams(**TINY, camera=request.param, eer_raw_frames=8), folder)
    return folder


def movies(folder):
    return {path.name: path.read_bytes() for path in (folder / "frames").iterdir()}


@pytest.mark.parametrize("interleaved", [False, True])
def test_all_of_it_comes(raw, tmp_path, interleaved):
    play_session(raw, tmp_path, LivePlan(0.0, out_of_order=True, interleaved=interleaved))
    assert movies(tmp_path) == movies(raw)
    for mdoc in raw.glob("*.mdoc"):
        names_in_mdoc = {section.movie_name for section in read_mdoc(mdoc).sections}
        played = read_mdoc(tmp_path / mdoc.name)
        assert {section.movie_name for section in played.sections} == names_in_mdoc
        times = [section.acquired_at for section in played.sections]
        assert times == sorted(times)
    assert (tmp_path / "truth.json").read_bytes() == (raw / "truth.json").read_bytes()


def test_what_goes_wrong(raw, tmp_path):
    names = sorted(movies(raw))
    plan = LivePlan(0.0, missing=frozenset({names[1]}), cut=frozenset({names[2]}), abandoned={"TS_02": 1})
    play_session(raw, tmp_path, plan)
    played = movies(tmp_path)
    assert sorted(played) == [names[0], names[2], names[3]]
    assert 0 < len(played[names[2]]) < len(movies(raw)[names[2]])
    mdocs = {path.name.split(".")[0]: read_mdoc(path) for path in tmp_path.glob("*.mdoc")}
    assert len(mdocs["TS_01"].sections) == 3
    assert len(mdocs["TS_02"].sections) == 1


def test_it_takes_its_time_and_grows(raw, tmp_path):
    name = sorted(movies(raw))[0]
    whole = len(movies(raw)[name])
    player = threading.Thread(target=play_session, args=(raw, tmp_path, LivePlan(0.15)))
    player.start()
    lengths = []
    while player.is_alive():
        path = tmp_path / "frames" / name
        lengths.append(path.stat().st_size if path.exists() else 0)
        time.sleep(0.01)
    assert lengths == sorted(lengths)
    assert any(0 < length < whole for length in lengths)
    assert lengths[-1] == whole


def test_movies_that_lie_beside_their_mdocs_come_with_their_tilts(raw, tmp_path):
    flat, to = tmp_path / "flat", tmp_path / "to"
    shutil.copytree(raw, flat)
    for path in (flat / "frames").iterdir():
        path.rename(flat / path.name)
    names = sorted(movies(raw))
    play_session(flat, to, LivePlan(0.0, missing=frozenset({names[1]})))
    assert sorted({path.name for path in to.iterdir()} & set(names)) == [names[0], *names[2:]]
