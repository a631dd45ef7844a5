"""`cryoloom watch` and `cryoloom close` as they are typed."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.errors import UserInputError
from cryoloom.simulate.session import SimulationParams, simulate_session

TINY = {
    "image_shape_yx": (64, 80), "tilt_min_deg": -30, "tilt_max_deg": 30, "tilt_step_deg": 30, "n_frames": 2,
    "n_series": 2, "n_particles": 2, "n_vesicles": 0, "n_beads": 1, "crowd_phase_rad": 0.0,
    "n_dead_columns": 0, "n_dead_pixels": 0, "n_hot_pixels": 0,
}  # fmt: skip
QUICK = ["--settle-seconds", "0.2", "--look-seconds", "0.1"]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    simulate_session(SimulationParams(**TINY), folder / "raw")
    (folder / "w.yaml").write_text("name: short\nsteps:\n  - step: import_movies\n  - step: align_frames\n")
    return folder


def typed(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_session_ends_and_another_watch_finds_nothing_to_do(session, tmp_path):
    raw, project = tmp_path / "raw", tmp_path / "p"
    shutil.copytree(session / "raw", raw)
    next((raw / "frames").glob("TS_02_001*")).unlink()
    command = ("watch", raw, "--project", project, "--workflow", session / "w.yaml", *QUICK)
    ended = typed(*command, "--tilts", 3, "--set", "align_frames.binning=2", "--idle-minutes", 0.01)
    assert ended.exit_code == 0, ended.output
    assert "TS_01  3 of 3 tilts; closed: all 3 tilts came" in ended.output
    assert "TS_02  abandoned with 2 of 3 tilts; closed: the session ended; a series needs 3" in ended.output
    assert "report:" in ended.output
    with pytest.raises(UserInputError, match="no series 'TS_09' is being watched; there are TS_01, TS_02"):
        raise typed("close", "TS_09", "--project", project).exception
    (raw / "over").touch()
    again = typed(*command, "--set", "align_frames.binning=2", "--stop-file", raw / "over", "--json")
    events = [json.loads(line) for line in again.output.splitlines()]
    assert not [event for event in events if event["event"] in ("started", "processed_ahead")]
    states = {event["item"]: event["state"] for event in events if event["event"] == "series"}
    assert states == {"TS_01": "closed", "TS_02": "abandoned"}


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_wrong_requests(tmp_path, folder):
    result = typed("watch", folder, "--workflow", "x", "--project", tmp_path / "p")
    assert "no workflow 'x'" in str(result.exception)
    assert not (tmp_path / "p").exists()


def test_a_simulated_session_can_come_live(tmp_path):
    settings = [
        word
        for name, value in TINY.items()
        for word in ("--set", f"{name}={value}".replace("(", "[").replace(")", "]"))
    ]
    result = typed("simulate", tmp_path / "raw", "--live", 0.01, *settings)
    assert result.exit_code == 0, result.output
    assert "one tilt every 0.01 s is written to" in result.output
    assert len(list((tmp_path / "raw" / "frames").iterdir())) == 6
    assert (tmp_path / "raw" / "TS_02.mrc.mdoc").exists()
