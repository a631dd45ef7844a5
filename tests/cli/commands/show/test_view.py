"""Files in the browser, without a project."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.web import serve


def test_files_and_where_to_listen(monkeypatch):
    seen = []
    monkeypatch.setattr(
        serve, "serve", lambda projects, files, options, say: seen.append((projects, files, options))
    )
    result = CliRunner().invoke(app, ["view", "a.mrc", "b.eer", "--port", "8099", "--no-browser"])
    assert result.exit_code == 0, result.output
    ((projects, files, options),) = seen
    assert projects == []
    assert files == [Path("a.mrc"), Path("b.eer")]
    assert (options.port, options.open_browser) == (8099, False)
    assert options.host == "127.0.0.1"  # nobody else's machine by default
