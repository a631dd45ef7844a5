"""Alerts arrive in a file, at a program and at a web hook; what does not arrive says why."""

from __future__ import annotations

import json
import sys

import pytest

from cryoloom.engine.live import alert_delivery
from cryoloom.engine.live.alert_delivery import Message, deliver
from cryoloom.engine.live.alert_settings import AlertSettings
from makers.web_hook import Hook

MESSAGE = Message("2026-11-01T10:00:00+00:00", "HIV", "motion", "alert", "motion $(touch x); `id`", ("TS_1",))
LINE = "cryoloom HIV: motion $(touch x); `id`"


def test_a_file_gets_a_line(tmp_path):
    settings = AlertSettings(file=tmp_path / "alerts.log")
    assert deliver("file", MESSAGE, settings) == ""
    assert (tmp_path / "alerts.log").read_text() == f"2026-11-01T10:00:00+00:00 {LINE}\n"
    gone = AlertSettings(file=tmp_path / "gone" / "alerts.log")
    assert "No such file" in deliver("file", MESSAGE, gone)


def test_a_program_is_started_without_a_shell(tmp_path):
    code = (
        "import json, os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(json.dumps("
        "[sys.argv[2], sys.stdin.read(), os.environ['CRYOLOOM_ALERT_SERIES']]))"
    )
    out = tmp_path / "out.json"
    settings = AlertSettings(command=(sys.executable, "-c", code, str(out)))
    assert deliver("command", MESSAGE, settings) == ""
    assert json.loads(out.read_text()) == [LINE, f"{LINE}\n", "TS_1"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_a_program_that_fails_says_why(monkeypatch):
    fails = AlertSettings(command=(sys.executable, "-c", "raise SystemExit('no mail server')"))
    assert deliver("command", MESSAGE, fails).endswith("ended with 1: no mail server")
    missing = AlertSettings(command=("/no/such/program",))
    assert "cannot be started: No such file" in deliver("command", MESSAGE, missing)
    monkeypatch.setattr(alert_delivery, "_COMMAND_SECONDS", 0.2)
    hangs = AlertSettings(command=(sys.executable, "-c", "import time; time.sleep(60)"))
    assert "did not end within 0.2 s" in deliver("command", MESSAGE, hangs)


def test_a_web_hook_gets_json():
    with Hook() as hook:
        assert deliver("web hook", MESSAGE, AlertSettings(web_hook=hook.address)) == ""
    (got,) = hook.got
    assert (got["text"], got["project"], got["state"], got["series"]) == (LINE, "HIV", "alert", ["TS_1"])


@pytest.mark.parametrize("answer", [500, 404, 302])
def test_a_web_hook_that_refuses_says_so_and_is_not_followed_elsewhere(answer):
    with Hook([answer]) as hook:
        problem = deliver("web hook", MESSAGE, AlertSettings(web_hook=hook.address))
    assert problem == f"the web hook answered {answer}"


def test_a_web_hook_that_is_away_is_named_without_its_address():
    problem = deliver("web hook", MESSAGE, AlertSettings(web_hook="http://127.0.0.1:9/secret"))
    assert problem.startswith("the web hook did not answer")
    assert "secret" not in problem
