"""The demo: where it goes, and quiet where scripts read."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app


@pytest.mark.parametrize("json", [False, True])
def test_the_folder_and_what_is_said(monkeypatch, tmp_path, json):
    seen = {}

    def make(directory, *, listener, device, say):
        say("simulating raw movies")
        seen.update(directory=directory, device=device)
        return "project", "summary"

    monkeypatch.setattr("cryoloom.engine.demo.make_demo", make)
    monkeypatch.setattr("cryoloom.cli.conclusion.conclude", lambda *given: seen.update(concluded=given))
    result = CliRunner().invoke(
        app, ["demo", str(tmp_path), "--device", "cpu", *(["--json"] if json else [])]
    )
    assert result.exit_code == 0, result.output
    assert seen == {"directory": tmp_path, "device": "cpu", "concluded": ("project", "summary", json)}
    assert ("simulating raw movies" in result.output) == (not json)
