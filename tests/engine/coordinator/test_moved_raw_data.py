"""Raw data that were moved away: later steps go on from what was imported, and the user is warned."""

from __future__ import annotations

import shutil

import pytest

from cryoloom.contract import discovery
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.simulate.session import SimulationParams, simulate_session
from cryoloom.steps.import_movies import import_movies
from cryoloom.store.decisions import Author, Change
from makers.fakes import fake_steps
from makers.graphs import Diary

pytestmark = pytest.mark.usefixtures("with_import")
__all__ = ["fake_steps"]

PARAMS = SimulationParams(
    seed=5,
    n_series=2,
    tilt_min_deg=-12,
    tilt_max_deg=12,
    tilt_step_deg=6,
    image_shape_yx=(32, 48),
    pixel_size_angstrom=20.0,
    n_frames=2,
    n_particles=2,
    n_vesicles=0,
    n_beads=2,
)


class DiaryOfWarnings(Diary):
    """Remembers warnings of movies that are no longer there as well."""

    def __init__(self):
        super().__init__()
        self.warnings = []

    def finished(self, node, item):
        self.warnings += [warning for warning in item.warnings if "no longer there" in warning]


@pytest.fixture
def with_import(fake_steps, monkeypatch):
    """The step that reads movies, beside the fake ones."""
    steps = {**discovery.all_steps(), "import_movies": import_movies.declaration}
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    simulate_session(PARAMS, folder)
    return folder


@pytest.fixture
def project(raw, tmp_path):
    steps = [{"step": "import_movies", "parameters": {"directory": str(raw)}}, {"step": "draw"}]
    made = Project.create(tmp_path / "project")
    summary = made.run_workflow(Workflow.model_validate({"name": "drawn", "steps": steps}))
    assert (summary.n_done, summary.failed) == (4, [])
    return made


def leave_out_a_tilt(project, series="TS_01"):
    project.database.decide([Change("tilt", series, "3", {"keep": False, "reason": "dark"})], Author("me"))


def test_later_steps_go_on_from_what_was_imported(project, raw):
    leave_out_a_tilt(project)
    raw.rename(raw.with_name("archive"))
    diary = DiaryOfWarnings()
    summary = project.resume(listener=diary)
    assert not summary.failed
    assert diary.worked_on == [("draw", "TS_01")]
    assert len(diary.warnings) == 2
    assert "goes on as it was imported" in diary.warnings[0]
    assert str(raw) in diary.warnings[0]
    assert all(one.state == "current" for one in project.state().series.values())


def test_movies_of_one_series_were_moved(project, raw):
    for path in raw.rglob("TS_01*.tif"):
        path.unlink()
    leave_out_a_tilt(project)
    diary = DiaryOfWarnings()
    assert not project.resume(listener=diary).failed
    assert diary.worked_on == [("draw", "TS_01")]
    assert len(diary.warnings) == 1


def test_a_series_whose_mdoc_went_with_its_movies(project, raw):
    for path in raw.rglob("TS_02*"):
        path.unlink()
    leave_out_a_tilt(project, "TS_02")
    diary = DiaryOfWarnings()
    assert not project.resume(listener=diary).failed
    assert diary.worked_on == [("draw", "TS_02")]


def test_what_is_changed_in_its_place_is_no_move(project, raw):
    """A file that is there and cannot be read is an error of its series."""
    path = next(iter(sorted(raw.rglob("TS_01*.tif"))))
    path.write_bytes(b"")
    summary = project.resume()
    assert [item.name for item in summary.failed] == ["TS_01"]


def test_a_source_that_never_found_anything_still_fails(tmp_path):
    steps = [{"step": "import_movies", "parameters": {"directory": str(tmp_path / "nowhere")}}]
    project = Project.create(tmp_path / "project")
    with pytest.raises(UserInputError, match="there is no folder"):
        project.run_workflow(Workflow.model_validate({"name": "none", "steps": steps}))


def test_raw_data_that_came_back_are_read_again(project, raw):
    archive = raw.with_name("archive")
    raw.rename(archive)
    project.resume()
    shutil.move(archive, raw)
    diary = DiaryOfWarnings()
    summary = project.resume(listener=diary)
    assert not summary.failed
    assert diary.worked_on == []
    assert diary.warnings == []


def test_only_the_items_that_are_asked_for_are_taken(project, raw):
    raw.rename(raw.with_name("archive"))
    leave_out_a_tilt(project)
    leave_out_a_tilt(project, "TS_02")
    source = {"step": "import_movies", "parameters": {"directory": str(raw)}, "items": ["TS_02"]}
    diary = DiaryOfWarnings()
    asked = Workflow.model_validate({"name": "drawn", "steps": [source, {"step": "draw"}]})
    assert not project.run_workflow(asked, listener=diary).failed
    assert diary.worked_on == [("draw", "TS_02")]
