"""What is wrong in raw data fails its own item with one clear sentence; `resume` processes it later."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.graph.raw_data import plan_for_raw_data
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import sentence
from cryoloom.engine.project import Project
from cryoloom.errors import CryoloomError, UserInputError
from cryoloom.formats.pixels.mrc import MrcSink, write_mrc
from cryoloom.simulate.session import SimulationParams, simulate_session

PARAMS = SimulationParams(
    seed=3,
    n_series=2,
    tilt_min_deg=-12,
    tilt_max_deg=12,
    tilt_step_deg=6,
    image_shape_yx=(96, 128),
    pixel_size_angstrom=10.0,
    n_frames=3,
    n_particles=5,
    n_vesicles=1,
    n_beads=4,
)


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    simulate_session(PARAMS, folder)
    return folder


@pytest.fixture
def raw(session, tmp_path) -> Path:
    return Path(shutil.copytree(session, tmp_path / "raw"))


def workflow(raw: Path, **source: object) -> Workflow:
    """Import, gain, motion: as far as raw data matter."""
    plan = plan_for_raw_data(raw, None, {})
    parameters = {**plan.steps[0].parameters, **source}
    first = plan.steps[0].model_copy(update={"parameters": parameters})
    return Workflow(name="movies", steps=(first, *plan.steps[1:3]))


def movies(raw: Path, series: str) -> list[Path]:
    return sorted(raw.rglob(f"{series}*.tif"))


def process(raw: Path, **source: object):
    project = Project.open(raw.parent / "project", create=True)
    return project, project.run_workflow(workflow(raw, **source))


def assert_one_sentence(text: str) -> None:
    assert "\n" not in text
    assert "Traceback" not in text
    assert 20 < len(text) < 700


def truncate(raw: Path) -> None:
    path = movies(raw, "TS_01")[2]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(raw: Path) -> None:
    movies(raw, "TS_01")[1].unlink()


def empty(raw: Path) -> None:
    movies(raw, "TS_01")[0].write_bytes(b"")


def not_a_movie(raw: Path) -> None:
    movies(raw, "TS_01")[0].write_text("these are not the movies you are looking for")


def other_size(raw: Path) -> None:
    tifffile.imwrite(movies(raw, "TS_01")[0], np.ones((3, 64, 64), np.uint8), photometric="minisblack")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, r"truncated|cut off|expected|bytes"),
        (lose, r"missing|not there|no movie|not found"),
        (empty, r"empty|0 bytes|is not a TIFF"),
        (not_a_movie, r"is not a TIFF"),
    ],
)
def test_a_bad_movie_fails_its_series_alone(raw, spoil, words):
    whole = {path: path.read_bytes() for path in movies(raw, "TS_01")}
    spoil(raw)
    project, summary = process(raw)
    assert {item.name for item in summary.failed} == {"TS_01"}
    text = sentence(summary.failed[0].error)
    assert_one_sentence(text)
    assert "traceback" not in summary.failed[0].error
    assert re.search(words, text), text
    assert not list(project.folder.rglob("*.part"))
    assert not list(project.folder.glob("runs/*/TS_01/*.mrc"))
    assert (
        len(list(project.folder.glob("runs/*_align_frames/TS_02/*.mrc"))) == 2
    )  # images and even; odd is computed
    for path, content in whole.items():
        path.write_bytes(content)
    summary = project.resume()
    assert not summary.failed
    assert len(list(project.folder.glob("runs/*_align_frames/TS_01/images.mrc"))) == 1


def test_a_movie_of_another_size_is_left_out_of_its_series(raw):
    """One tilt is lost, not the series; movies of two sizes in like numbers would be two series."""
    other_size(raw)
    project, summary = process(raw)
    assert not summary.failed
    imported = next(one for one in project.results() if (one.step, one.item) == ("import_movies", "TS_01"))
    assert any("has another shape than the other movies" in warning for warning in imported.warnings)


def test_nan_in_a_movie_is_caught(raw):
    bad = np.ones((3, 96, 128), np.float32)
    bad[1, 50:60, 50:60] = np.nan
    tifffile.imwrite(movies(raw, "TS_01")[0], bad, photometric="minisblack")
    _, summary = process(raw)
    assert {item.name for item in summary.failed} == {"TS_01"}
    assert_one_sentence(sentence(summary.failed[0].error))
    assert re.search("NaN|finite", sentence(summary.failed[0].error))


def test_a_gain_of_the_wrong_shape_names_both_shapes(raw):
    write_mrc(next(raw.glob("*gain*.mrc")), np.ones((50, 60), np.float32), 10.0)
    _, summary = process(raw)
    assert {item.name for item in summary.failed} == {"TS_01", "TS_02"}
    text = sentence(summary.failed[0].error)
    assert_one_sentence(text)
    assert "50" in text
    assert "96" in text


def edit_mdoc(raw: Path, series: str, pattern: str, replacement: str) -> None:
    path = next(raw.rglob(f"{series}*.mdoc"))
    path.write_text(re.sub(pattern, replacement, path.read_text()))


def test_zero_dose_asks_for_the_dose(raw):
    edit_mdoc(raw, "TS_01", r"ExposureDose = .*", "ExposureDose = 0")
    edit_mdoc(raw, "TS_01", r"(FrameDosesAndNumber|DoseRate|CountsPerElectron|PriorRecordDose) = .*\n", "")
    project, summary = process(raw)
    assert {item.name for item in summary.failed} == {"TS_01"}
    text = sentence(summary.failed[0].error)
    assert_one_sentence(text)
    assert "dose_per_tilt_per_angstrom2" in text
    summary = project.run_workflow(workflow(raw, dose_per_tilt_per_angstrom2=3.0))
    assert not summary.failed


def test_a_series_of_one_tilt_is_no_tilt_series(raw):
    path = next(raw.rglob("TS_01*.mdoc"))
    text = path.read_text()
    second = [match.start() for match in re.finditer(r"\[ZValue", text)][1]
    path.write_text(text[:second])
    _, summary = process(raw)
    assert {item.name for item in summary.failed} == {"TS_01"}
    assert_one_sentence(sentence(summary.failed[0].error))


def test_duplicate_angles_are_kept_and_reported(raw):
    angles = re.findall(r"TiltAngle = (.*)", next(raw.rglob("TS_01*.mdoc")).read_text())
    edit_mdoc(raw, "TS_01", rf"TiltAngle = {re.escape(angles[1])}", f"TiltAngle = {angles[0]}")
    project, summary = process(raw)
    assert not summary.failed
    item = next(i for i in project.database.items() if i.name == "TS_01")
    assert any("acquired more than once" in text for text in item.warnings)
    assert len(project.value(item).tilts) == 5


def test_nothing_to_import_is_said(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserInputError, match=r"mdoc|nothing"):
        process(tmp_path / "raw")


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_loses_nothing(raw, monkeypatch, trouble):
    write = MrcSink.__setitem__
    n_writes = 0

    def fail_later(self, index, values):
        nonlocal n_writes
        n_writes += 1
        if n_writes > 4:
            raise OSError(trouble, os.strerror(trouble), "images.mrc")
        write(self, index, values)

    with monkeypatch.context() as patch:
        patch.setattr(MrcSink, "__setitem__", fail_later)
        project, summary = process(raw)
    assert {item.name for item in summary.failed} == {"TS_01", "TS_02"}
    text = sentence(summary.failed[0].error)
    assert_one_sentence(text)
    assert os.strerror(trouble) in text
    assert not list(project.folder.rglob("*.part"))
    assert not list(project.folder.glob("runs/*/*/*.mrc"))
    assert not project.resume().failed


def test_a_project_on_a_full_disk_is_one_sentence(raw, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(CryoloomError, match="No space left"):
        process(raw)


def test_an_input_folder_that_vanishes_fails_items_and_comes_back(raw):
    away = raw.with_name("away")

    class Thief(NullListener):
        def started(self, task):
            if raw.exists():
                raw.rename(away)

    project = Project.create(raw.parent / "project")
    summary = project.run_workflow(workflow(raw), listener=Thief())
    assert summary.failed
    for item in summary.failed:
        assert_one_sentence(sentence(item.error))
    assert not list(project.folder.rglob("*.part"))
    away.rename(raw)
    assert not project.resume().failed
    done = {item.name for item in project.database.items() if item.state == "done"}
    assert done == {"TS_01", "TS_02"}
