"""The end of a command that worked: what it prints, and what makes it fail."""

from __future__ import annotations

import pytest

from cryoloom.cli.conclusion import conclude
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError


@pytest.fixture
def empty(tmp_path):
    project = Project.create(tmp_path / "project")
    yield project
    project.database.close()


def test_parameters_of_a_series_that_does_not_exist_are_an_error(empty, capsys):
    with pytest.raises(UserInputError, match="were set for TS_09, but the project has no such series"):
        conclude(empty, Summary(), json=True, of_series={"TS_09": {}})


def test_what_was_done_is_said_with_the_place_of_the_report(empty, capsys):
    conclude(empty, Summary(), json=False)
    assert str(empty.folder / "report.html") in "".join(capsys.readouterr().out.split("\n"))
