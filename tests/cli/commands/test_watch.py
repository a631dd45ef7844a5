"""Live processing: the options it is given, and that Ctrl-C of a service manager stops it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app


@pytest.fixture
def run(monkeypatch, tmp_path):
    seen = {}

    def watch(project, raw, listener, options, **more):
        seen.update(raw=raw, options=options, listener=type(listener).__name__, **more)
        seen["on_terminate"] = signal.getsignal(signal.SIGTERM)
        return "summary"

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("cryoloom.engine.live.watch.watch", watch)
    monkeypatch.setattr(
        "cryoloom.cli.conclusion.conclude", lambda *given, again, **more: seen.update(again=again)
    )

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["watch", "raw", "--project", str(tmp_path / "p"), *arguments])
        assert result.exit_code == 0, result.output
        return seen

    yield invoke
    signal.signal(signal.SIGTERM, before)


def test_what_is_asked_reaches_the_session(run):
    seen = run(
        "--tilts",
        "41",
        "--idle-minutes",
        "30",
        "--stop-file",
        "stop",
        "--gain",
        "g.mrc",
        "--set",
        "reconstruct.binning=4",
    )
    assert seen["raw"] == Path("raw")
    assert (seen["options"].tilts, seen["options"].idle_minutes, seen["options"].stop_file) == (
        41,
        30.0,
        Path("stop"),
    )
    assert seen["gain"] == Path("g.mrc")
    assert seen["parameters"] == {"reconstruct": {"binning": 4}}
    assert seen["workflow"] == "tomogram"
    assert seen["again"] == "the same `cryoloom watch`"


def test_a_series_with_movies_missing_is_not_closed_before_others(run):
    seen = run("--close-minutes", "90", "--missing-minutes", "10")
    assert seen["options"].missing_minutes == 90.0


def test_scripts_get_events(run):
    assert run()["listener"] == "WatchBoard"
    assert run("--json")["listener"] == "JsonWatchListener"


def test_a_service_manager_stops_it_as_ctrl_c_does(run):
    with pytest.raises(KeyboardInterrupt):
        run()["on_terminate"](signal.SIGTERM, None)
