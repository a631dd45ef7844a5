"""Alerts are raised and said once; what does not arrive is tried again, and blocks nothing."""

from __future__ import annotations

import threading
import time

import pytest

from cryoloom.engine.live import alerts as alerts_module
from cryoloom.engine.live.alert_settings import AlertSettings, Limit, keep_alert_settings
from cryoloom.engine.live.alerts import (
    FAILED,
    QUIET,
    AlertLog,
    AlertWatch,
    alert_log,
    alerts_changed,
    alerts_of,
    delivered,
    judged,
    limit_of,
)
from cryoloom.engine.live.session_points import SeriesPoint
from cryoloom.store.codec import fingerprint
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord
from makers.web_hook import Hook

MOTION = "motion_median_angstrom"
LIMITED = AlertSettings(limits={MOTION: Limit(high=8.0)})


def points(*motions, failed=()):
    return [
        SeriesPoint(
            f"TS_{i}", float(i), "align_frames", 1, "align_series" if i in failed else None, {MOTION: motion}
        )
        for i, motion in enumerate(motions)
    ]


def test_three_of_the_last_five_raise_an_alert_and_two_do_not():
    assert alerts_of(points(9, 9, 9, 3, 3, 3, 3, 3), LIMITED) == ()  # long ago
    assert alerts_of(points(3, 9, 3, 9, 3), LIMITED) == ()
    (alert,) = alerts_of(points(3, 9.5, 9, 3, 12), LIMITED)
    assert alert.subject == MOTION
    assert alert.text == "3 of the last 5 series: motion above 8 Å (TS_1 9.5 Å, TS_2 9 Å, TS_4 12 Å)"
    assert alert.series == ("TS_1", "TS_2", "TS_4")
    assert alerts_of(points(3, 9, 9, 3, 9), LIMITED.model_copy(update={"muted": (MOTION,)})) == ()


def test_without_limits_those_of_the_session_count_once_it_has_eight_series():
    usual = [3.0, 3.1, 2.9, 3.0, 3.1, 2.9, 3.0, 3.1, 2.9, 3.0]
    assert limit_of(MOTION, points(*usual), AlertSettings()).high < 5.0
    assert alerts_of(points(*usual), AlertSettings()) == ()
    (alert,) = alerts_of(points(*usual, 9, 9, 9), AlertSettings())
    assert alert.subject == MOTION
    assert alerts_of(points(3, 3.1, 2.9, 3, 30), AlertSettings(at_least=1, of_last=1)) == ()


def test_failures_and_silence_raise_alerts():
    (alert,) = alerts_of(points(3, 3, 3, 3, failed=(1, 2, 3)), AlertSettings())
    assert (alert.subject, alert.series) == (FAILED, ("TS_1", "TS_2", "TS_3"))
    assert "TS_1 in align_series" in alert.text
    quiet = AlertSettings(quiet_minutes=30)
    assert [a.subject for a in alerts_of([], quiet, 31.0)] == [QUIET]
    assert alerts_of([], quiet, 31.0) == alerts_of([], quiet, 45.0)  # one alert, not one a minute
    assert alerts_of([], quiet, 29.0) == alerts_of([], quiet, None) == ()


def test_it_is_said_once_and_once_when_it_is_over():
    settings = LIMITED.model_copy(update={"web_hook": "http://127.0.0.1:9/"})
    bad, good = points(9, 9, 9), points(9, 9, 9, 3, 3, 3)
    log = judged(AlertLog(), alerts_of(bad, settings), settings, 1e9, "HIV")
    log = judged(log, alerts_of(points(9, 9, 9, 9), settings), settings, 1e9 + 60, "HIV")
    assert [(m.state, m.subject) for m in log.said] == [("alert", MOTION)]
    assert log.active[MOTION].text.startswith("4 of the last 4")
    log = judged(log, alerts_of(good, settings), settings, 1e9 + 120, "HIV")
    assert [m.state for m in log.said] == ["alert", "over"]
    assert not log.active
    assert [(p.channel, p.message.state) for p in log.outbox] == [("web hook", "alert"), ("web hook", "over")]


def test_what_does_not_arrive_is_tried_later_and_later_in_order_and_given_up_after_a_day():
    settings = LIMITED.model_copy(update={"web_hook": "http://127.0.0.1:9/", "command": ("mail",)})
    log = judged(AlertLog(), alerts_of(points(9, 9, 9), settings), settings, 0.0, "HIV")
    log = judged(log, (), settings, 1.0, "HIV")
    tried = []

    def send(channel, message, settings):
        tried.append((channel, message.state))
        return "down" if channel == "web hook" else ""

    log = delivered(log, settings, 1.0, send)
    assert tried == [("command", "alert"), ("web hook", "alert"), ("command", "over")]
    assert [(p.channel, p.tries, p.error) for p in log.outbox] == [
        ("web hook", 1, "down"),
        ("web hook", 0, ""),
    ]
    waits = []
    for _ in range(10):
        due = log.outbox[0].next_try
        assert delivered(log, settings, due - 0.1, send) == log  # not yet
        log = delivered(log, settings, due, send)
        waits.append(log.outbox[0].next_try - due)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (10.0, 600.0)
    assert delivered(log, settings, 90_000.0, send).outbox == ()
    without = settings.model_copy(update={"web_hook": None})
    assert delivered(log, without, log.outbox[0].next_try, send).outbox == ()


@pytest.fixture
def project(tmp_path):
    """Three series that moved 9 angstrom."""
    database = Database.create(tmp_path)
    plan = {"name": "t", "description": "", "steps": [{"name": "align_frames", "step": "align_frames"}]}
    number = database.add_plan(plan, "cryoloom process raw")
    run = database.begin_run("align_frames", "align_frames", 1, {}, None, {})
    database.note_run_of_plan(number, "align_frames", run.id)
    for name in ("TS_1", "TS_2", "TS_3"):
        database.record_item(
            ItemRecord(run.id, name, fingerprint(name), "done", value={"$type": "x"}, figures={MOTION: 9.0})
        )
    database.end_run(run.id, "done")
    database.close()
    return tmp_path


def test_a_hook_that_was_down_gets_its_alert_from_the_next_watch(project, monkeypatch):
    """Down, then the watch is killed, then another watch takes over: the alert arrives, once."""
    monkeypatch.setattr(alerts_module, "_FIRST_RETRY_SECONDS", 0.05)
    with Hook([500, 200]) as hook:
        keep_alert_settings(project, LIMITED.model_copy(update={"web_hook": hook.address}))
        first = AlertWatch(project)
        first.look()
        assert (hook.got, alert_log(project).outbox[0].error) == ([], "the web hook answered 500")
        assert alerts_changed(project) > 0
        second = AlertWatch(project)
        second.look()  # the first still has the lock
        assert alert_log(project).outbox[0].tries == 1
        first._lock_file.close()  # as the system does when a process is killed
        time.sleep(0.06)
        second.look()
        second.look()
        second._lock_file.close()
    assert [one["subject"] for one in hook.got] == [MOTION]
    assert alert_log(project).outbox == ()
    assert list(alert_log(project).active) == [MOTION]


def test_a_hook_that_hangs_holds_nobody_up(project, monkeypatch):
    """The thread waits for it; who opened the watch goes on, and ends when he wants."""
    entered, release = threading.Event(), threading.Event()

    def hang(*_):
        entered.set()
        release.wait(20)
        return "slow"

    monkeypatch.setattr(alerts_module, "deliver", hang)
    keep_alert_settings(project, LIMITED.model_copy(update={"web_hook": "http://127.0.0.1:9/"}))
    began = time.monotonic()
    with AlertWatch(project, look_seconds=0.01):
        assert entered.wait(10)
        Database.open(project).close()  # the project can be written meanwhile
    assert time.monotonic() - began < 9.0  # 2 s of patience at the end, and a slow machine
    assert [one.message.state for one in alert_log(project).outbox] == ["alert"]  # not lost
    release.set()


def test_damaged_files_and_a_missing_project_stop_nothing(tmp_path, project):
    (project / "alerts_state.json").write_text("{")
    assert alert_log(project) == AlertLog()
    (project / "alerts.json").write_text("{")
    watching = AlertWatch(project)
    watching.look()
    watching._lock_file.close()
    AlertWatch(tmp_path / "nowhere").look()
