"""The session's axis from a project's runs; outlying series are aligned again, in a run that says why."""

import numpy as np
import pytest

from cryoloom.engine.history import session_axis as module
from cryoloom.engine.history.session_axis import session_axis
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.model import Average
from makers.fakes import find_series
from makers.graphs import run as run_steps
from makers.outlying_axes import project

__all__ = ["project"]


def test_the_axis_of_a_session_comes_from_its_run(project):
    run, found = session_axis(project.database, project.folder)
    assert run.step == "align_series"
    assert found.axis_deg == pytest.approx(85.3)
    assert found.outlying == ("TS_03", "TS_05")
    assert found.common_line_axis_deg == pytest.approx(85.4)
    assert found.direction == "as in the metadata"
    assert [v.hand_agrees for v in found.verdicts] == [True, True, True, True, False]


def test_asked_for_in_vain(project, tmp_path):
    with pytest.raises(UserInputError, match="run 1 is of find_series"):
        session_axis(project.database, project.folder, 1)
    empty = Project.create(tmp_path / "empty")
    run_steps(empty, {"step": find_series.declaration.name})
    with pytest.raises(UserInputError, match="no series was aligned"):
        session_axis(empty.database, empty.folder)


def test_results_that_are_no_series_have_no_hand(project, monkeypatch):
    """Particles have the name of their series; the axis of a session with picks ended in an error."""
    read = module._value
    aligned = project.find_run("align_series").id
    average = Average("ribosome", np.zeros((4, 4, 4), np.float32), 5.0)
    monkeypatch.setattr(module, "_value", lambda *of: read(*of) if of[2].run_id == aligned else average)
    _, found = session_axis(project.database, project.folder)
    assert found.axis_deg == pytest.approx(85.3)
    assert [v.hand_agrees for v in found.verdicts] == [None] * 5
