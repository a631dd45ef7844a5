"""Every file of a project, and its copies outside, can be traced back to the movies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cryoloom.engine.history.provenance import origin_of_file
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.simulate.session import SimulationParams, simulate_session
from makers.fakes import fake_steps
from makers.graphs import run, two_branches

__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path, fake_steps):
    project = Project.create(tmp_path / "project")
    run(project, *two_branches(parameters={"width": 3}))
    return project


def image(project, node, series):
    return next(project.folder.glob(f"runs/*_{node}/{series}/images.mrc"))


def test_the_way_from_the_source_to_a_file(project):
    (origin,) = project.origin(image(project, "smooth", "TS_02"))
    assert [made.node for made, _ in origin.steps] == ["find_series", "draw", "smooth"]
    assert {item.name for _, item in origin.steps} == {"TS_02"}
    assert origin.how == "made by run 3 (smooth), TS_02"
    smooth = origin.as_data(project.folder)["steps"][-1]
    assert smooth["parameters"] == {"width": 3, "folder": None}
    assert smooth["input_runs"] == [2]
    assert smooth["environment"]["cryoloom"]
    assert smooth["seconds"] >= 0
    assert smooth["device"] == "cpu"
    json.dumps(origin.as_data(project.folder), default=str)


def test_both_ways_are_named_where_two_sets_meet(project):
    merged = next(i for i in project.database.items(project.find_run("merge").id) if i.name == "TS_01")
    names = {i.run_id: i for i in project.database.ancestors(merged)}
    nodes = {made.id: made.node for made in project.database.runs()}
    assert [nodes[run_id] for run_id in names] == ["draw", "smooth", "find_series"]


def test_a_result_taken_over_is_traced_to_who_made_it(project):
    run(
        project,
        {"step": "find_series"},
        {"step": "draw", "name": "again"},
        {"step": "smooth", "name": "smooth_again", "parameters": {"width": 5}},
    )
    (origin,) = project.origin(image(project, "smooth_again", "TS_01"))
    assert [made.node for made, _ in origin.steps] == ["find_series", "again", "smooth_again"]


@pytest.mark.parametrize("way", ["link", "copy", "symlink"])
def test_a_file_elsewhere_is_known_by_what_it_is(project, tmp_path, way):
    original, elsewhere = image(project, "draw", "TS_03"), tmp_path / "elsewhere.mrc"
    if way == "link":
        elsewhere.hardlink_to(original)
    elif way == "symlink":
        elsewhere.symlink_to(original)
    else:
        shutil.copy(original, elsewhere)
    (origin,) = project.origin(elsewhere)
    assert origin.path == elsewhere
    assert [made.node for made, _ in origin.steps] == ["find_series", "draw"]
    assert origin.steps[-1][1].name == "TS_03"
    words = {"link": "a hard link to images.mrc", "copy": "a copy of images.mrc", "symlink": "made by"}
    assert origin.how.startswith(words[way])


def test_what_is_not_of_the_project_is_refused(project, tmp_path):
    stranger = tmp_path / "stranger.mrc"
    shutil.copy(image(project, "draw", "TS_03"), stranger)
    with stranger.open("r+b") as file:
        file.seek(1500)
        file.write(b"!")
    with pytest.raises(UserInputError, match="no file of the project has its content"):
        project.origin(stranger)
    with pytest.raises(UserInputError, match="was not made by a run"):
        project.origin(project.folder / "project.sqlite")
    with pytest.raises(UserInputError, match="there is no file"):
        project.origin(tmp_path / "none.mrc")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Two simulated series, motion-corrected and exported, and where to."""
    folder = tmp_path_factory.mktemp("session")
    simulate_session(
        SimulationParams(
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
        ),
        folder / "raw",
    )
    project = Project.create(folder / "project")
    project.run("import_movies", directory=str(folder / "raw"))
    project.run("align_frames", input="import_movies")
    project.export("imod", folder / "out", link=False)
    return project, folder


def test_it_goes_back_to_the_movies(exported):
    project, folder = exported
    path = next(project.folder.glob("runs/*_align_frames/TS_02/images.mrc"))
    (origin,) = origin_of_file(project.database, project.folder, path)
    movies = {path.resolve() for path in (folder / "raw").rglob("TS_02*.tif")}
    assert movies
    assert movies == {Path(raw).resolve() for raw in origin.raw}


def test_every_exported_file_is_traced_also_when_it_moved(exported, tmp_path):
    project, folder = exported
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        (origin,) = project.origin(path)
        assert origin.steps[-1][1].name == path.parent.name
        assert origin.how.startswith("exported as imod from run 2 (align_frames)")
    stack = next(path for path in files if path.name == "TS_01.mrc")
    moved = tmp_path / "moved.mrc"
    shutil.copy(stack, moved)
    (origin,) = project.origin(moved)
    assert origin.steps[-1][1].name == "TS_01"


def test_a_table_of_several_series_has_several_origins(exported):
    project, folder = exported
    table = folder / "out" / "all.star"
    table.write_text("both")
    from cryoloom.engine.history.provenance import record_export

    items = project.database.items(2)
    record_export(project.database, "test", items, [table], folder / "out")
    assert [origin.steps[-1][1].name for origin in project.origin(table)] == ["TS_01", "TS_02"]
    record_export(project.database, "test", items, [table], folder / "out")
    assert len(project.origin(table)) == 2
