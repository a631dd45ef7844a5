"""The report, written again from what is stored."""

from __future__ import annotations

from rich.console import Console

from cryoloom.cli.commands.show import report as command


def test_it_is_written_and_its_place_is_printed(cryoloom, project, monkeypatch):
    monkeypatch.setattr(command, "console", Console(width=300))
    assert not (project.folder / "report.html").exists()
    assert "report.html" in cryoloom("report")
    assert "TS_03" in (project.folder / "report.html").read_text(encoding="utf-8")
