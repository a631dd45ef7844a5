"""What a worker gives is looked at before it is recorded: nothing flawed becomes a result, no file stays."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.engine.worker.gates import GatedSink
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcSink
from makers.fakes import fake_steps

__all__ = ["fake_steps"]


def gated(role, shape, folder, **kwargs):
    path = folder / f"{role}.mrc"
    return GatedSink(role, MrcSink(path, shape, 1.0), path, **kwargs)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_enough(bad, tmp_path, rng):
    sink = gated("images", (3, 8, 10), tmp_path)
    image = rng.normal(size=(8, 10)).astype(np.float32)
    image[4, 7] = bad
    with pytest.raises(DataUnfitError, match="1 values that are not finite"):
        sink[1] = image


@pytest.mark.parametrize("constant", [0.0, -3.5])
def test_all_one_value_is_no_image(constant, tmp_path):
    sink = gated("images", (3, 8, 10), tmp_path)
    sink[:] = np.full((3, 8, 10), constant, np.float32)
    with pytest.raises(DataUnfitError, match="constant"):
        sink.check()


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"zeros": True}, "images is constant: every value is 0"),
        ({"nan": True}, "80 values that are not finite"),
        ({"flaw": "half"}, "even was left unfinished: 320 of 400"),
        ({"flaw": "shape"}, "even has the shape (5, 4, 10); expected (5, 8, 10)"),
        ({"flaw": "flat"}, "even has the shape (5, 10)"),
        ({"flaw": "pixel"}, "written with 2.5 A per pixel; expected 5"),
        ({"flaw": "name"}, "was given 'TS_01' and gave 'another'"),
        ({"flaw": "section"}, "a tilt has section 5, but the stack has 5 sections, 0 to 4"),
        ({"flaw": "type"}, "declares a TiltSeries, but gave a str"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_flawed_results_fail_their_item_and_leave_no_file(parameters, words, tmp_path):
    project = Project.create(tmp_path / "project")
    source = {"step": "find_series", "parameters": {"n_series": 1}}
    steps = [source, {"step": "draw", "parameters": parameters}, {"step": "smooth"}]
    summary = project.run_workflow(Workflow.model_validate({"name": "flawed", "steps": steps}))
    (failed,) = summary.failed
    assert words in failed.error["message"]
    assert {item.state for item in project.database.items() if item.run_id == failed.run_id} == {"failed"}
    assert {path.name for path in project.folder.glob("runs/*/TS_01/*")} == {"log.txt"}
    assert not list(project.folder.glob("runs/*/TS_01/.*"))


@pytest.mark.parametrize("index", [lambda i: i, lambda i: (i, slice(None)), lambda i: slice(i, i + 1)])
def test_sections_are_judged_one_by_one(index, tmp_path, rng):
    """A half of nothing in one section does not hide among the others."""
    sink = gated("odd", (4, 8, 10), tmp_path, sections_are_images=True)
    for i in range(4):
        image = np.zeros((8, 10)) if i == 2 else rng.normal(size=(8, 10))
        sink[index(i)] = (
            image.astype(np.float32) if not isinstance(index(i), slice) else image[None].astype(np.float32)
        )
    sink.check()
    assert sink.constant_sections == (2,)


def test_sections_written_band_by_band(tmp_path, rng):
    sink = gated("even", (3, 8, 10), tmp_path)
    values = rng.normal(size=(3, 8, 10)).astype(np.float32)
    values[1] = 5.0
    for y in (0, 4):
        sink[:, y : y + 4] = values[:, y : y + 4]
    assert sink.constant_sections == (1,)
