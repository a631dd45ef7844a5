"""The command tells the session's axis and aligns outlying series again."""

import json

from rich.console import Console
from typer.testing import CliRunner

from cryoloom.cli.main import app
from makers.outlying_axes import project

__all__ = ["project"]


def test_the_command_tells_and_mends(project, monkeypatch):
    monkeypatch.setattr("cryoloom.cli.commands.show.axis.console", Console(width=200))

    def axis(*options):
        command = ["axis", "--project", str(project.folder), "--run", "2", *options]
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    printed = axis()
    assert "session by tracks: 85.30" in printed
    assert "half a turn off, hand differs from the metadata" in printed
    assert "they agree" in printed
    assert "direction: as in the metadata" in printed
    facts = json.loads(axis("--json"))
    assert facts["outlying"] == ["TS_03", "TS_05"]
    assert facts["verdicts"][0]["told_deg"] == 86.0
    axis("--again", "--executor", "threads", "--device", "cpu")
    assert project.database.runs()[-1].parameters["axis"] == "fixed"
