"""The demo simulates once and continues where it stopped."""

from __future__ import annotations

import pytest

from cryoloom.engine import demo
from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.project import Project


@pytest.fixture
def calls(monkeypatch):
    """The simulator and the processing, replaced by notes of their calls."""
    made = []

    def simulate(params, folder):
        folder.mkdir(parents=True)
        (folder / "truth.json").write_text("{}")
        made.append("simulated")

    def process(self, raw, *, device, listener):
        made.append((raw.name, device))
        return "summary"

    monkeypatch.setattr(demo, "simulate_session", simulate)
    monkeypatch.setattr(Project, "process", process)
    return made


def test_raw_movies_are_made_once_and_the_project_is_opened_again(calls, tmp_path):
    said = []
    for _ in range(2):
        project, summary = demo.make_demo(
            tmp_path / "demo", listener=NullListener(), device="cpu", say=said.append
        )
        assert project.folder == tmp_path / "demo" / "project"
        assert summary == "summary"
    assert calls == ["simulated", ("raw", "cpu"), ("raw", "cpu")]
    assert "simulating raw movies into" in said[0]
    assert "raw movies are already in" in said[2]
