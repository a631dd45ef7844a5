"""Commands that only read or write the database: what they say, and that they import nothing heavy."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.contract import all_steps
from cryoloom.contract.discovery import step_summaries
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.store.curation import Curation
from makers.fakes import fake_steps
from makers.old_projects import project_with_choices_of_version_3

__all__ = ["fake_steps"]

HEAVY = ("torch", "numba", "scipy", "dask", "distributed", "sqlalchemy", "pandas", "zarr")


@pytest.fixture
def project(fake_steps, tmp_path):
    project = Project.create(tmp_path / "p")
    steps = [{"step": s} for s in ("find_series", "draw", "smooth")]
    project.run_workflow(Workflow.model_validate({"name": "fake", "steps": steps}))
    return project


@pytest.fixture
def cryoloom(project, monkeypatch):
    monkeypatch.chdir(project.folder.parent)

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, [*arguments, "--project", "p"], env={"COLUMNS": "300"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return invoke


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "steps",
        "status --project P",
        "status --json --project P",
        "results --project P",
        "results --tilts --project P",
        "status --explain --project P",
        "alerts --project P",
        "log --project P",
        "log --graph --project P",
        "decisions --project P",
        "exclude TS_01 1 --project P",
        "include TS_01 1 --project P",
        "comment TS_01 good --project P",
        "undo --project P",
        "stop --project P",
        "workflow list",
    ],
)
def test_nothing_heavy_is_imported(command, tmp_path):
    folder = project_with_choices_of_version_3(tmp_path / "old")
    Curation(folder, _anna()).exclude("TS_01", [2])  # brings the tables up to date
    arguments = [str(folder) if word == "P" else word for word in command.split()]
    code = (
        "import sys\n"
        f"sys.argv = ['cryoloom', *{arguments!r}]\n"
        "from cryoloom.cli.entry import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('\\nheavy', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    environment = {**os.environ, "LOGNAME": "anna"}
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines()[-1] == "heavy []"


def test_help_of_every_command_imports_nothing_heavy():
    """A user who only reads what a command can do does not wait for the engine."""
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from cryoloom.cli.group import CommandGroup\n"
        "from cryoloom.cli.main import app\n"
        "for name in CommandGroup(name='cryoloom').summaries():\n"
        "    assert CliRunner().invoke(app, [name, '--help']).exit_code == 0, name\n"
        f"    heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "    assert not heavy, f'{name} --help imports {heavy}'\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr


def _anna():
    from cryoloom.store.decisions import Author

    return Author("anna")


def test_the_table_of_tilts_needs_no_torch(tmp_path):
    folder = project_with_choices_of_version_3(tmp_path / "old")
    table = _without_torch(folder, "results", "--csv")
    assert table[0].startswith("series,state,acquisition_index,")
    assert len(table) == 1 + 3 * 5


def test_history_needs_no_torch(tmp_path):
    """Runs of real steps: their figures, sentences and sources are read from the source."""
    folder = project_with_choices_of_version_3(tmp_path / "old")
    _as_real_steps(folder, draw="align_frames")
    runs = [json.loads(line) for line in _without_torch(folder, "log", "--json")]
    last = max(run["run"] for run in runs if run["step"] == "reconstruct")
    text = "\n".join(_without_torch(folder, "methods", "--run", str(last)))
    assert "[1]" in text
    assert "\n".join(_without_torch(folder, "log", "--methods"))
    compared = json.loads("".join(_without_torch(folder, "compare", str(last), str(last), "--json")))
    assert compared["runs"][0]["step"] == "reconstruct"


def test_the_axis_of_a_session_needs_no_torch(tmp_path):
    folder = project_with_choices_of_version_3(tmp_path / "old")
    _as_real_steps(folder, draw="align_series")
    _without_torch(folder, "axis", code=2)  # all values were read: none of them has a measured axis


def _as_real_steps(folder, draw):
    """Give the runs of fake steps the names of real ones."""
    names = {"find_series": "import_movies", "draw": draw, "spot": "exclude_tilts", "smooth": "reconstruct"}
    with closing(sqlite3.connect(folder / "project.sqlite")) as database, database:
        for fake, real in names.items():
            database.execute("UPDATE runs SET step = ?, parameters = '{}' WHERE step = ?", (real, fake))


def _without_torch(folder, *words, code=0):
    """Lines that a command prints; neither torch nor numba may be imported for them."""
    script = (
        "import sys\n"
        f"sys.argv = ['cryoloom', *{words!r}, '--project', {str(folder)!r}]\n"
        "from cryoloom.cli.entry import main\n"
        "try:\n    main()\n"
        f"except SystemExit as end:\n    assert (end.code or 0) == {code}, end.code\n"
        "print('\\n', 'torch' in sys.modules, 'numba' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    *lines, heavy = completed.stdout.rstrip().splitlines()
    assert heavy.split() == ["False", "False"]
    return [line for line in lines if line.strip()]


def test_names_of_steps_are_read_from_their_source():
    assert dict(step_summaries()) == {name: step.summary for name, step in all_steps().items()}


def test_an_unknown_word_is_answered_with_the_nearest(project):
    result = CliRunner().invoke(app, ["exlude", "TS_01"])
    assert result.exit_code == 2
    assert "Did you mean" in result.output
    assert "exclude" in result.output


def test_names_are_completed_without_anything_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['cryoloom']\n"
        "from cryoloom.cli.entry import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print('heavy', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    asked = {"_CRYOLOOM_COMPLETE": "complete_bash", "COMP_WORDS": "cryoloom st", "COMP_CWORD": "1"}
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **asked}
    )
    *names, heavy = completed.stdout.splitlines()
    assert {"status", "steps", "stop"} <= set(names)
    assert heavy == "heavy []"


def test_the_choices_of_a_parameter_are_listed_whole():
    result = CliRunner().invoke(app, ["run", "import_alignment", "--help"], env={"COLUMNS": "300"})
    assert "One of: auto, imod, aretomo, warp, relion5, cets." in result.output


def test_an_unknown_step_is_reported_with_the_nearest(fake_steps):
    with pytest.raises(UserInputError, match="there is no step 'smoth'; did you mean smooth"):
        CliRunner().invoke(app, ["run", "smoth", "--project", "p"], catch_exceptions=False)
